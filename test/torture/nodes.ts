/**
 * Simulated PBX nodes. Each makes its planned records at a steady pace, catches up after an outage, goes on from where
 * the proxy says that it should, and keeps what was acknowledged.
 */
import { closeSync, openSync, renameSync, writeSync } from 'node:fs'
import type { Catalogue } from '../../src/catalogue/catalogue.js'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import type { Sender } from './checker.js'
import { fieldsOf, kindOf } from './numbers.js'
import { topicsOf } from './policy.js'
import { randomOf } from './schedule.js'

export interface NodeOptions {
  readonly base: number
  /** Its number. */
  readonly source: number
  readonly recordsPerBatch: number
  readonly batchesPerSecond: number
  /** What it does besides its plan comes out of this. */
  readonly seed: number
  readonly catalogue: Catalogue
  /** It can send again what was acknowledged; a real node has dropped it, and sends an empty batch in its place. */
  readonly keeps: boolean
}

const QUIET_LOOK_MS = 20

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

export abstract class Node {
  /** Batches to send in all. */
  batches = Infinity
  /** Batches sent, and those acknowledged: 1 to this. */
  sent = 0
  acknowledged = 0
  /** Times that the proxy asked for batches again that it had acknowledged. */
  forgotten = 0
  reconnects = 0
  /** It makes no records until it is told to go on; then it catches up. */
  quiet = false
  protected stopped = false
  protected readonly mixed: boolean = false
  protected readonly random: () => number
  private startedAt = 0

  constructor(
    readonly name: string,
    protected readonly options: NodeOptions,
  ) {
    this.random = randomOf(options.seed * 64 + options.source)
  }

  /** Records of so many batches. */
  records(batches: number): number {
    return batches * this.options.recordsPerBatch
  }

  /** So many batches it makes in a time. */
  planned(seconds: number): number {
    return Math.ceil(seconds * this.options.batchesPerSecond)
  }

  /** What there is to tell of it at the end. */
  get notes(): string {
    const asked = this.forgotten > 0 ? `, asked ${this.forgotten} times for what was acknowledged` : ''
    return `${this.name}: ${this.sent} sent, ${this.reconnects} reconnects${asked}`
  }

  /** Sends until {@link finish} has said how many; resolves when all is acknowledged, or it was stopped. */
  async run(): Promise<void> {
    this.startedAt = performance.now() - (this.sent / this.options.batchesPerSecond) * 1000
    this.batches = Infinity
    await this.deliver()
  }

  /** No more than what was sent, or than so many. */
  finish(batches: number): void {
    this.batches = Math.max(batches, this.sent)
  }

  stop(): void {
    this.stopped = true
  }

  get done(): boolean {
    return this.acknowledged >= this.batches
  }

  sender(): Sender {
    const { source } = this.options
    return {
      sent: this.records(this.sent),
      acknowledged: this.records(this.acknowledged),
      topicsOf: (n) => topicsOf({ source, n }, this.mixed),
    }
  }

  protected abstract deliver(): Promise<void>

  /** Waits until a batch is due. @returns whether it is still wanted */
  protected async due(batch: number): Promise<boolean> {
    const wait = this.dueIn(batch)
    if (wait > 0) await sleep(wait)
    while (this.quiet && !this.stopped) await sleep(QUIET_LOOK_MS)
    return batch <= this.batches && !this.stopped
  }

  /** ms until a batch is due; less than 0 when it was. */
  protected dueIn(batch: number): number {
    return this.startedAt + (batch / this.options.batchesPerSecond) * 1000 - performance.now()
  }

  /** A number of milliseconds out of the seed. */
  protected between(low: number, high: number): number {
    return low + this.random() * (high - low)
  }

  protected numbers(batch: number): number[] {
    const { recordsPerBatch } = this.options
    return Array.from({ length: recordsPerBatch }, (_, i) => (batch - 1) * recordsPerBatch + i + 1)
  }

  protected lines(batch: number): string {
    const { base, source } = this.options
    return (
      this.numbers(batch)
        .map((n) => JSON.stringify(fieldsOf(base, { source, n }, kindOf({ source, n }, this.mixed))))
        .join('\n') + '\n'
    )
  }
}

/** Batches not acknowledged that a node keeps before it waits. */
const WINDOW = 40
const RETRY_MS = 200

export class GrpcNode extends Node {
  protected override readonly mixed: boolean = true
  private readonly writer: RecordWriter

  constructor(
    name: string,
    private readonly address: string,
    private readonly incarnation: string,
    options: NodeOptions,
  ) {
    super(name, options)
    this.writer = new RecordWriter(options.catalogue)
  }

  private encoded(batch: number): Buffer {
    const { base, source } = this.options
    for (const n of this.numbers(batch)) {
      const kind = kindOf({ source, n }, true)
      this.writer.add(kind, fieldsOf(base, { source, n }, kind))
    }
    return this.writer.take()
  }

  protected async deliver(): Promise<void> {
    while (!this.stopped && !this.done) {
      let over = false
      const client = new DeliverClient({
        address: this.address,
        source: this.name,
        incarnation: this.incarnation,
        onEnd: () => {
          over = true
        },
        onAck: (sequence) => {
          this.acknowledged = Math.max(this.acknowledged, sequence)
        },
      })
      try {
        const timer = setTimeout(() => {
          client.cancel()
        }, CONNECT_MS)
        const from = await client.resumeAfter
        clearTimeout(timer)
        if (from < this.acknowledged) this.forgotten++
        this.acknowledged = Math.max(this.acknowledged, from)
        let progressAt = performance.now()
        let next = from + 1
        let seen = this.acknowledged
        for (;;) {
          if (over || this.stopped || this.done) break
          if (this.acknowledged > seen) {
            seen = this.acknowledged
            progressAt = performance.now()
          }
          // A connection that is half-open says nothing.
          if (performance.now() - progressAt > SILENCE_MS) break
          if (next > this.batches || next - Math.max(this.acknowledged, from) > WINDOW) {
            if (next > this.batches && this.acknowledged >= next - 1) break
            await sleep(10)
            continue
          }
          if (!(await this.due(next))) continue
          this.sent = Math.max(this.sent, next)
          client.send(next, next > this.acknowledged || this.options.keeps ? this.encoded(next) : Buffer.alloc(0))
          next++
        }
      } catch {
        // The proxy is away.
      }
      client.cancel()
      if (!this.done) {
        this.reconnects++
        await sleep(RETRY_MS)
      }
    }
  }
}

const CONNECT_MS = 5_000
/** A node that hears nothing for so long tries another connection. */
const SILENCE_MS = 12_000

/**
 * How a followed file is written:
 *
 * - `steady`: each batch as it is due, in two writes.
 * - `dripping`: some bytes, a moment, some more: its line is nearly always half written.
 * - `torn`: all that is due but for the end of the last line, which comes later; meanwhile the file is renamed now and
 *   then.
 * - `bursts`: nothing for seconds but an empty line, then all at once.
 */
export const RHYTHMS = ['steady', 'dripping', 'torn', 'bursts'] as const
export type Rhythm = (typeof RHYTHMS)[number]

/** ms, at least and at most. */
const DRIP_MS = [80, 350] as const
const TEAR_MS = [60, 1_500] as const
const QUIET_MS = [1_000, 4_000] as const
const ROTATION_MS = [6_000, 15_000] as const
const DRIP_BYTES = [30, 110] as const
/** A writer that hangs behind writes so many batches at once at most. */
const GATHERED = 300
/** Lines in a hundred that are followed by an empty one. */
const EMPTY_PERCENT = 4

/** Writes a file that the proxy follows. What is written, its line end too, counts as handed over. */
export class FileNode extends Node {
  rotations = 0
  private file: number
  private rotateAt = Infinity

  constructor(
    name: string,
    readonly path: string,
    private readonly rhythm: Rhythm,
    options: NodeOptions,
  ) {
    super(name, rhythm === 'dripping' ? { ...options, recordsPerBatch: 1, batchesPerSecond: 0.5 } : options)
    this.file = openSync(path, 'a')
  }

  override get notes(): string {
    return `${super.notes}, ${this.rhythm}${this.rhythm === 'torn' ? ` and renamed ${this.rotations} times` : ''}`
  }

  override stop(): void {
    if (!this.stopped) closeSync(this.file)
    super.stop()
  }

  protected async deliver(): Promise<void> {
    this.rotateAt = performance.now() + this.between(...ROTATION_MS)
    while (!this.stopped && !this.done) {
      if (!(await this.due(this.sent + 1))) continue
      await this.writeDue()
    }
  }

  private async writeDue(): Promise<void> {
    switch (this.rhythm) {
      case 'steady': {
        const text = this.gathered(1)
        const cut = Math.floor(this.between(0, text.length))
        this.write(text.slice(0, cut))
        this.write(text.slice(cut))
        break
      }
      case 'dripping':
        for (let rest = this.gathered(1); rest !== '' && !this.stopped;) {
          const cut = Math.floor(this.between(...DRIP_BYTES))
          this.write(rest.slice(0, cut))
          rest = rest.slice(cut)
          await sleep(this.between(...DRIP_MS))
        }
        break
      case 'torn': {
        const text = this.gathered(GATHERED)
        const last = text.trimEnd()
        const begins = last.lastIndexOf('\n') + 1
        const cut = Math.ceil(this.between(begins + 1, last.length))
        this.write(text.slice(0, cut))
        await sleep(this.between(...TEAR_MS))
        // Its writer keeps it open, and writes the rest of the line where the beginning is.
        const renamed = performance.now() >= this.rotateAt && this.rename()
        this.write(text.slice(cut))
        if (renamed) this.reopen()
        break
      }
      case 'bursts':
        await sleep(this.between(...QUIET_MS))
        this.write('\n')
        await sleep(this.between(...QUIET_MS))
        this.write(this.gathered(GATHERED))
        break
    }
    if (!this.stopped) this.acknowledged = this.sent
  }

  /**
   * All batches that are due, the next one at least, some of their lines with an empty one behind; they count as sent.
   */
  private gathered(atMost: number): string {
    let text = ''
    for (
      let count = 0;
      count < atMost && (count === 0 || (this.sent < this.batches && this.dueIn(this.sent + 1) <= 0));
      count++
    ) {
      text += this.lines(++this.sent).replaceAll('\n', () =>
        this.random() * 100 >= EMPTY_PERCENT ? '\n' : this.random() < 0.5 ? '\n\n' : '\n\r\n',
      )
    }
    return text
  }

  private write(text: string): void {
    if (!this.stopped) writeSync(this.file, text)
  }

  /** As logrotate does: the file is `.1`, what was `.1` is `.2`, and so on. @returns whether it was done */
  private rename(): boolean {
    if (this.stopped) return false
    for (let i = this.rotations; i >= 1; i--) renameSync(`${this.path}.${i}`, `${this.path}.${i + 1}`)
    renameSync(this.path, `${this.path}.1`)
    this.rotations++
    return true
  }

  private reopen(): void {
    if (this.stopped) return
    closeSync(this.file)
    this.file = openSync(this.path, 'a')
    this.rotateAt = performance.now() + this.between(...ROTATION_MS)
  }
}

const POST_TIMEOUT_MS = 20_000
/** Posts in a hundred that are sent again although they were acknowledged. */
const AGAIN_PERCENT = 3

/** Where posts go: a host with a spool folder of its own. */
export interface Host {
  readonly name: string
  /** Leads to whichever process has its folder. */
  readonly address: string
}

/**
 * Posts batches one after the other, each again under the same key until it is taken. A key is known to the spool
 * folder that took it: a post of which nobody knows whether it was taken is sent again to the same host, when that is
 * in charge again.
 */
export class HttpNode extends Node {
  repeats = 0
  /** By host: the batch that it may have taken. */
  private readonly doubts = new Map<Host, number>()
  /** By batch: who has it. */
  private readonly hosts: Host[] = []

  constructor(
    name: string,
    private readonly inCharge: () => Host,
    options: NodeOptions,
  ) {
    super(name, options)
  }

  /** All is acknowledged but for what another host may have. */
  override get done(): boolean {
    return this.sent >= this.batches && !this.doubts.has(this.inCharge())
  }

  override get notes(): string {
    return `${super.notes}, ${this.repeats} sent again on purpose`
  }

  /** Whether it has something that only this host can know of. */
  doubtful(host: Host): boolean {
    return this.doubts.has(host)
  }

  override sender(): Sender {
    const acknowledged = this.records(Math.min(this.sent, ...[...this.doubts.values()].map((doubt) => doubt - 1)))
    return {
      ...super.sender(),
      acknowledged,
      wayOf: (n) => this.hosts[Math.ceil(n / this.options.recordsPerBatch)]?.name ?? '',
    }
  }

  protected async deliver(): Promise<void> {
    while (!this.stopped && !this.done) {
      const host = this.inCharge()
      if (!this.doubts.has(host) && !(await this.due(this.sent + 1))) continue
      await this.settle(host)
    }
  }

  /** Posts what a host may have taken, or the next batch. @returns whether it was taken */
  async settle(host: Host): Promise<boolean> {
    const batch = this.doubts.get(host) ?? ++this.sent
    this.doubts.set(host, batch)
    this.hosts[batch] = host
    if (await this.post(host, batch)) {
      this.doubts.delete(host)
      this.acknowledged = this.sent - this.doubts.size
      if (this.random() * 100 < AGAIN_PERCENT && (await this.post(host, batch))) this.repeats++
      return true
    }
    this.reconnects++
    await sleep(RETRY_MS)
    return false
  }

  private async post(host: Host, batch: number): Promise<boolean> {
    try {
      const response = await fetch(`http://${host.address}/v1/calls`, {
        method: 'POST',
        body: this.lines(batch),
        signal: AbortSignal.timeout(POST_TIMEOUT_MS),
        headers: { 'content-type': 'application/x-ndjson', 'idempotency-key': `${this.name}-${batch}` },
      })
      await response.arrayBuffer()
      return response.status === 202 || response.status === 200
    } catch {
      // Perhaps taken, perhaps not.
      return false
    }
  }
}
