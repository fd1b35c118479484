/**
 * Simulated PBX nodes. Each makes its planned records at a steady pace, catches up after an outage, goes on from where the proxy says
 * that it should, and keeps what was acknowledged.
 */
import { appendFileSync, writeFileSync } from 'node:fs'
import type { Catalogue } from '../../src/catalogue/catalogue.js'
import { DeliverClient } from '../../src/ingest/grpc/client.js'
import { RecordWriter } from '../../src/ingest/record-writer.js'
import type { Sender } from './checker.js'
import { fieldsOf, kindOf } from './numbers.js'
import { topicsOf } from './policy.js'

export interface NodeOptions {
  readonly base: number
  /** Its number. */
  readonly source: number
  readonly recordsPerBatch: number
  readonly batchesPerSecond: number
  readonly catalogue: Catalogue
  /** It can send again what was acknowledged; a real node has dropped it, and sends an empty batch in its place. */
  readonly keeps: boolean
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

export abstract class Node {
  /** Batches to send in all. */
  batches = Infinity
  /** Batches sent, and those acknowledged: 1 to this. */
  sent = 0
  acknowledged = 0
  /** Times that the proxy asked for batches again that it had acknowledged. */
  forgotten = 0
  reconnects = 0
  protected stopped = false
  protected readonly mixed: boolean = false
  private startedAt = 0

  constructor(readonly name: string, protected readonly options: NodeOptions) {}

  /** Sends until {@link finish} has said how many; resolves when all is acknowledged, or it was stopped. */
  async run(): Promise<void> {
    this.startedAt = performance.now() - this.sent / this.options.batchesPerSecond * 1000
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
    const { recordsPerBatch, source } = this.options
    return {
      sent: this.sent * recordsPerBatch, acknowledged: this.acknowledged * recordsPerBatch,
      topicsOf: (n) => topicsOf({ source, n }, this.mixed),
    }
  }

  protected abstract deliver(): Promise<void>

  /** Waits until a batch is due. @returns whether it is still wanted */
  protected async due(batch: number): Promise<boolean> {
    const wait = this.startedAt + batch / this.options.batchesPerSecond * 1000 - performance.now()
    if (wait > 0) await sleep(wait)
    return batch <= this.batches && !this.stopped
  }

  protected numbers(batch: number): number[] {
    const { recordsPerBatch } = this.options
    return Array.from({ length: recordsPerBatch }, (_, i) => (batch - 1) * recordsPerBatch + i + 1)
  }

  protected lines(batch: number): string {
    const { base, source } = this.options
    return this.numbers(batch).map((n) => JSON.stringify(fieldsOf(base, { source, n }, kindOf({ source, n }, this.mixed)))).join('\n') + '\n'
  }
}

/** Batches not acknowledged that a node keeps before it waits. */
const WINDOW = 40
const RETRY_MS = 200

export class GrpcNode extends Node {
  protected override readonly mixed: boolean = true
  private readonly writer: RecordWriter

  constructor(name: string, private readonly address: string, private readonly incarnation: string, options: NodeOptions) {
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
        address: this.address, source: this.name, incarnation: this.incarnation,
        onEnd: () => { over = true }, onAck: (sequence) => { this.acknowledged = Math.max(this.acknowledged, sequence) },
      })
      try {
        const timer = setTimeout(() => { client.cancel() }, CONNECT_MS)
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
          if (!await this.due(next)) continue
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

/** Writes a file that the proxy follows. What is written counts as handed over. */
export class FileNode extends Node {
  constructor(name: string, readonly path: string, options: NodeOptions) {
    super(name, options)
    writeFileSync(path, '')
  }

  protected async deliver(): Promise<void> {
    while (!this.stopped && !this.done) {
      const next = this.sent + 1
      if (!await this.due(next)) continue
      const text = this.lines(next)
      // A line is not always written at once.
      const cut = next * 37 % text.length
      appendFileSync(this.path, text.slice(0, cut))
      appendFileSync(this.path, text.slice(cut))
      this.sent = this.acknowledged = next
    }
  }
}

const POST_TIMEOUT_MS = 20_000

/** Posts batches one after the other, each again under the same key until it is taken. */
export class HttpNode extends Node {
  constructor(name: string, private readonly address: string, options: NodeOptions) {
    super(name, options)
  }

  protected async deliver(): Promise<void> {
    while (!this.stopped && !this.done) {
      const next = this.acknowledged + 1
      if (!await this.due(next)) continue
      this.sent = Math.max(this.sent, next)
      try {
        const response = await fetch(`http://${this.address}/v1/calls`, {
          method: 'POST', body: this.lines(next), signal: AbortSignal.timeout(POST_TIMEOUT_MS),
          headers: { 'content-type': 'application/x-ndjson', 'idempotency-key': `${this.name}-${next}` },
        })
        await response.arrayBuffer()
        if (response.status === 202 || response.status === 200) {
          this.acknowledged = next
          continue
        }
      } catch {
        // Perhaps taken, perhaps not: the same again.
      }
      this.reconnects++
      await sleep(RETRY_MS)
    }
  }
}
