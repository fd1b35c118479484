/** One torture run: a Kafka, the program, simulated nodes, faults, and what an independent reader finds afterwards. */
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { MasterKey } from '../../src/keys/master.js'
import { KeyStore } from '../../src/keys/store.js'
import { FaultProxy } from '../helpers/fault-proxy.js'
import { startProxiedKafka, type ProxiedKafka } from '../helpers/kafka-cluster.js'
import type { ConsumedRecord } from '../helpers/kafka.js'
import { repositoryRoot } from '../helpers/shared.js'
import { check, type Observed, type Verdict } from './checker.js'
import { inflict } from './faults.js'
import { FileNode, GrpcNode, HttpNode, type Node } from './nodes.js'
import { firstStart } from './numbers.js'
import { POLICY, TOPICS } from './policy.js'
import { ProxyProcess, type Addresses } from './proxy-process.js'
import { leaks, observe } from './reading.js'
import type { Guarantee } from '../../src/settings/schema.js'
import { FAULTS, schedule, type Fault, type FaultKind } from './schedule.js'

export const SOURCES = ['grpc', 'file', 'http'] as const
export type SourceName = (typeof SOURCES)[number]

/** Rules that can be taken out, to see the run fail: see `sabotaged-main.ts`. `isolation`: the topics are read as if there were no transactions. */
export const SABOTAGES = ['ledger', 'early-ack', 'isolation'] as const
export type Sabotage = (typeof SABOTAGES)[number]

export interface TortureOptions {
  readonly minutes: number
  readonly seed: number
  readonly workers: number
  readonly brokers: number
  readonly sources: readonly SourceName[]
  /** Nodes of each source. */
  readonly nodes: number
  /** Records a second of each node. */
  readonly rate: number
  readonly sabotage: Sabotage | null
  /** At least once, records may come again after a fault, so many at most as were under way. */
  readonly guarantee: Guarantee
  /** Only these kinds of fault; null: all that can be done. */
  readonly faults: readonly FaultKind[] | null
  /** Time between faults, at least and at most. */
  readonly gapMs?: readonly [number, number]
  readonly say: (line: string) => void
}

export interface TortureResult {
  readonly verdict: Verdict
  readonly faults: number
  /** Why the run says nothing; empty if it does. */
  readonly voids: readonly string[]
  /** Figures that do not agree. */
  readonly disagreements: readonly string[]
}

const RECORDS_PER_BATCH = 10
const EPILOGUE_BATCHES = 20
const SETTLE_MS = 150_000
const END_LIMIT_MS = 45_000
const READ_IDLE_MS = 4_000
/** Readers at the same time: each is a Java process that mostly waits. */
const READERS = 4
const PARTITIONS = 3
/** In one transaction, or between two flushes where there are none. Two are under way at once. */
const MAX_MESSAGES = 2_000
const SABOTAGED_LINGER_MS = 700
/** Without transactions there is no commit to hold back, and nobody is fenced. */
const NEED_TRANSACTIONS = ['second proxy', 'second proxy while the first is stopped', 'a commit is held back', 'a commit\'s answer is held back'] as const

const sleep = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

export async function torture(options: TortureOptions): Promise<TortureResult> {
  const folder = mkdtempSync(join(tmpdir(), 'minim-torture-'))
  const stops: (() => Promise<unknown>)[] = []
  try {
    return await new Torture(options, folder, stops).run()
  } finally {
    for (const stop of stops.reverse()) await stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

class Torture {
  private readonly batches: number
  private readonly batchesPerSecond: number
  private readonly base: number
  private readonly nodes: Node[] = []
  private readonly proxies: ProxyProcess[] = []
  private proxy!: ProxyProcess
  private kafka!: ProxiedKafka
  private grpcDoor!: FaultProxy
  private httpDoor!: FaultProxy
  private readonly logs: string[] = []
  private readonly voids: string[] = []
  private readonly disagreements: string[] = []
  /** By node: the last record before the last process. */
  private epilogueFrom: number[] = []
  private readonly master = randomBytes(32)

  constructor(private readonly options: TortureOptions, private readonly folder: string, private readonly stops: (() => Promise<unknown>)[]) {
    this.batchesPerSecond = options.rate / RECORDS_PER_BATCH
    this.batches = Math.ceil(options.minutes * 60 * this.batchesPerSecond)
    this.base = firstStart(Date.now(), this.batches * RECORDS_PER_BATCH)
  }

  async run(): Promise<TortureResult> {
    const { options: { minutes, seed, brokers, say } } = this
    const plan = this.plan()
    say(`seed ${seed}: ${minutes} min, ${brokers} broker(s), ${this.batches * RECORDS_PER_BATCH} records of each node or more, ${plan.length} faults`)
    await this.start()
    const begun = performance.now()
    const seconds = (): string => ((performance.now() - begun) / 1000).toFixed(1)
    const sending = Promise.all(this.nodes.map((node) => node.run()))
    let done = 0
    for (const fault of plan) {
      // A fault on top of one that is still felt is meant; one on a program that has not come back yet says nothing new, mostly.
      if (fault.kind !== 'proxy killed' || fault.pick % 5 > 0) await this.until(60_000, () => this.proxy.addresses !== null)
      await sleep(Math.max(fault.gapMs, fault.atMs - (performance.now() - begun)))
      const could = await inflict(fault, {
        kafka: this.kafka, doors: [this.grpcDoor, this.httpDoor], proxy: () => this.proxy, second: () => this.launch(),
        takeOver: (proxy) => { this.takeOver(proxy) }, note: (what) => { this.disagreements.push(`${fault.kind}: ${what}`) },
      })
      if (could) done++
      say(`${seconds()} s: ${fault.kind}${fault.holdMs > 0 ? ` for ${(fault.holdMs / 1000).toFixed(1)} s` : ''}${could ? '' : ' could not be done'}; ` +
        `acknowledged ${this.nodes.map((n) => n.acknowledged).join(' ')}`)
    }
    for (const proxy of [...this.kafka.proxies, this.grpcDoor, this.httpDoor]) proxy.heal()
    for (const node of this.nodes) node.finish(this.batches)
    const settled = await Promise.race([sending.then(() => true), sleep(Math.max(0, minutes * 60_000 - (performance.now() - begun)) + SETTLE_MS).then(() => false)])
    say(`${seconds()} s: ${settled ? 'all is acknowledged' : 'not all is acknowledged'}`)
    if (!settled) this.voids.push(`nodes still wait: ${this.nodes.filter((n) => !n.done).map((n) => `${n.name} ${n.acknowledged} of ${n.batches}`).join(', ')}`)
    if (done < plan.length) this.voids.push(`${done} faults of ${plan.length}`)
    if (plan.length === 0) this.voids.push('no time for any fault')
    const produced = settled ? await this.epilogue() : null
    for (const node of this.nodes) node.stop()
    await this.endProxies()
    const verdict = await this.verdict(produced)
    const again = this.options.guarantee === 'at-least-once' ? (done + 1) * 2 * MAX_MESSAGES : 0
    if (again > 0) {
      say(`${verdict.duplicated} messages twice; ${again} may be`)
      if (verdict.duplicated > again) this.disagreements.push(`${verdict.duplicated} messages twice, more than were under way`)
    }
    return { verdict, faults: done, voids: this.voids, disagreements: this.disagreements }
  }

  private plan(): Fault[] {
    const { minutes, seed, brokers, faults, sources, gapMs } = this.options
    const without = new Set<FaultKind>()
    // The spool is a folder of one process.
    if (sources.includes('http') || sources.includes('file')) for (const kind of ['second proxy', 'second proxy while the first is stopped'] as const) without.add(kind)
    if (this.options.guarantee === 'at-least-once') for (const kind of NEED_TRANSACTIONS) without.add(kind)
    if (faults !== null) for (const kind of Object.keys(FAULTS) as FaultKind[]) if (!faults.includes(kind)) without.add(kind)
    return schedule({ seed, durationMs: minutes * 60_000, brokers, without, ...(gapMs === undefined ? {} : { gapMs }) })
  }

  private async start(): Promise<void> {
    const { brokers, nodes, sources } = this.options
    this.kafka = await startProxiedKafka({
      brokers, heap: '512m',
      properties: { 'broker.session.timeout.ms': 4_000, 'broker.heartbeat.interval.ms': 500, ...(brokers >= 3 ? { 'transaction.state.log.min.isr': 2 } : {}) },
    })
    this.stops.push(() => this.kafka.stop())
    this.grpcDoor = await FaultProxy.start()
    this.httpDoor = await FaultProxy.start()
    this.stops.push(() => Promise.all([this.grpcDoor.stop(), this.httpDoor.stop()]))
    this.stops.push(async () => {
      for (const node of this.nodes) node.stop()
      await Promise.all(this.proxies.map((proxy) => proxy.kill9()))
    })
    mkdirSync(join(this.folder, 'tmp'))
    KeyStore.create(join(this.folder, 'minim-keys.json'), new MasterKey(Buffer.from(this.master), 'test'))
    writeFileSync(join(this.folder, 'policy.yaml'), JSON.stringify(POLICY))
    let source = 0
    for (const name of sources) {
      for (let i = 0; i < nodes; i++) {
        const options = { base: this.base, source: source++, recordsPerBatch: RECORDS_PER_BATCH, batchesPerSecond: this.batchesPerSecond, catalogue: catalogue(), keeps: this.options.sabotage === 'ledger' }
        if (name === 'grpc') this.nodes.push(new GrpcNode(`node-${i}`, `127.0.0.1:${this.grpcDoor.port}`, randomUUID(), options))
        else if (name === 'file') this.nodes.push(new FileNode(`file-${i}`, join(this.folder, `calls-${i}.jsonl`), options))
        else this.nodes.push(new HttpNode(`post-${i}`, `127.0.0.1:${this.httpDoor.port}`, options))
      }
    }
    writeFileSync(join(this.folder, 'minim.yaml'), JSON.stringify(this.settings()))
    this.proxy = this.launch()
    if (!await this.until(60_000, () => this.proxy.addresses !== null)) throw new Error(`the proxy did not start: ${readFileSync(this.logs[0], 'utf8').slice(-2000)}`)
  }

  private settings(): object {
    const { workers, sources } = this.options
    return {
      cluster: 'torture', policy: 'policy.yaml', grpc: { listen: '127.0.0.1:0' }, ops: { listen: '127.0.0.1:0' },
      // As short as they may be, so that every time-out passes within a test.
      kafka: { 'bootstrap.servers': this.kafka.bootstrap, 'socket.timeout.ms': 11_000, 'transaction.timeout.ms': 12_000 },
      topics: { partitions: PARTITIONS, replication: Math.min(3, this.options.brokers) },
      // Acknowledged too early is lost only if it is not committed yet when the process ends: that has to be so at most moments, not at one in ten.
      delivery: { guarantee: this.options.guarantee, maxMessages: MAX_MESSAGES, ...(this.options.sabotage === 'early-ack' ? { lingerMs: SABOTAGED_LINGER_MS } : {}) },
      tenants: { default: { id: 1 }, acme: { id: 2 } },
      ...(workers > 1 ? { workers } : {}),
      ...(sources.includes('http') ? { http: { listen: '127.0.0.1:0' } } : {}),
      ...(sources.includes('file') ? { files: this.nodes.filter((n) => n instanceof FileNode).map(({ path, name }) => ({ path, format: 'jsonl', mapping: 'minim', source: name, follow: true, pollMs: 200 })) } : {}),
    }
  }

  /** Another process of the program; the one in charge is `proxy`. */
  private launch(): ProxyProcess {
    const root = repositoryRoot()
    const { sabotage } = this.options
    const inProcess = sabotage === 'ledger' || sabotage === 'early-ack'
    const main = join(root, 'dist', inProcess ? 'test/torture/sabotaged-main.js' : 'src/cli/main.js')
    const logFile = join(this.folder, `proxy-${this.proxies.length}.log`)
    this.logs.push(logFile)
    const { PATH, HOME } = process.env
    const made = new ProxyProcess({
      command: [process.execPath, main, 'run', '--config', join(this.folder, 'minim.yaml')], cwd: this.folder, logFile,
      env: { PATH, HOME, TMPDIR: join(this.folder, 'tmp'), MINIM_MASTER_KEY: this.master.toString('base64'), ...(inProcess ? { MINIM_TORTURE_SABOTAGE: sabotage } : {}) },
    }, (ready) => { if (ready === this.proxy || this.proxies.length === 0) this.direct(ready.addresses) })
    this.proxies.push(made)
    if (this.proxies.length === 1) this.proxy = made
    made.start()
    return made
  }

  private takeOver(proxy: ProxyProcess): void {
    if (this.proxy === proxy) return
    this.proxy = proxy
    this.direct(proxy.addresses)
    this.grpcDoor.cut()
    this.httpDoor.cut()
  }

  /** Where nodes' connections lead to. */
  private direct(addresses: Addresses | null): void {
    if (addresses === null) return
    this.grpcDoor.target = addresses.grpc
    if (addresses.http !== null) this.httpDoor.target = addresses.http
  }

  private async until(limitMs: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
    const deadline = performance.now() + limitMs
    while (!await condition()) {
      if (performance.now() > deadline) return false
      await sleep(50)
    }
    return true
  }

  /** Empty while there is nobody to ask. */
  private async metrics(): Promise<Map<string, number>> {
    const { addresses } = this.proxy
    if (addresses === null) return new Map()
    const text = await fetch(`http://${addresses.ops}/metrics`, { signal: AbortSignal.timeout(10_000) }).then((response) => response.text(), () => '')
    return new Map(text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))] as const
    }))
  }

  /**
   * A last process without faults: it takes so many more batches of each node, and what it counts is compared with what is in the topics.
   * @returns messages by topic, as it counted them
   */
  private async epilogue(): Promise<Map<string, number> | null> {
    const { say } = this.options
    const starts = this.proxy.starts
    // Followed files: written is not yet read.
    await this.until(30_000, async () => {
      return (await this.metrics()).get('minim_items_in_flight') === 0
    })
    if (this.options.sources.includes('file')) await sleep(3_000)
    this.proxy.kill('SIGTERM')
    if (!await this.until(END_LIMIT_MS, () => this.proxy.starts > starts && this.proxy.addresses !== null)) {
      this.voids.push('the last process did not start')
      return null
    }
    this.epilogueFrom = this.nodes.map((node) => node.sent * RECORDS_PER_BATCH)
    const last = Promise.all(this.nodes.map((node) => {
      const running = node.run()
      node.finish(node.sent + EPILOGUE_BATCHES)
      return running
    }))
    if (!await Promise.race([last.then(() => true), sleep(SETTLE_MS).then(() => false)])) {
      this.voids.push('the last batches were not acknowledged')
      return null
    }
    const wanted = this.nodes.length * EPILOGUE_BATCHES * RECORDS_PER_BATCH
    let found = new Map<string, number>()
    const received = (): number => [...found].filter(([name]) => name.startsWith('minim_records_received_total')).reduce((sum, [, value]) => sum + value, 0)
    await this.until(30_000, async () => {
      found = await this.metrics()
      return received() >= wanted
    })
    await sleep(500)
    found = await this.metrics()
    if (received() !== wanted) this.disagreements.push(`the last process counted ${received()} records received, ${wanted} were sent to it`)
    for (const [name, value] of found) if (name.startsWith('minim_conservation_drift_records') && value !== 0) this.disagreements.push(`${name} is ${value}`)
    if (![...found.keys()].some((name) => name.startsWith('minim_conservation_drift_records'))) this.disagreements.push('no metric of conservation')
    say(`the last process received ${received()} records; conservation ${this.disagreements.length === 0 ? 'holds' : 'is broken'}`)
    return new Map(Object.keys(TOPICS).map((topic) => [topic, found.get(`minim_messages_produced_total{topic="${topic}"}`) ?? 0]))
  }

  private async endProxies(): Promise<void> {
    const { code, ms } = await this.proxy.stop(END_LIMIT_MS)
    this.options.say(`the proxy ended with ${code} after ${ms} ms`)
    if (code !== 0) this.disagreements.push(`told to end, the proxy ended with ${code}`)
    for (const proxy of this.proxies) {
      await proxy.kill9()
      for (const end of proxy.unplanned) this.options.say(`an end that nobody asked for: ${end}`)
    }
    const notes = this.nodes.map((n) => `${n.name}: ${n.sent} sent, ${n.reconnects} reconnects${n.forgotten > 0 ? `, asked ${n.forgotten} times for what was acknowledged` : ''}`)
    this.options.say(notes.join('; '))
  }

  /** Everything that is in Kafka, and in the logs, against everything that was acknowledged. */
  private async verdict(produced: ReadonlyMap<string, number> | null): Promise<Verdict> {
    const { kafka } = this.kafka
    const isolation = this.options.sabotage === 'isolation' ? 'read_uncommitted' : 'read_committed'
    const observed: Observed[] = []
    let strays = 0
    const topics = [...Object.keys(TOPICS), 'minim.ledger', 'minim.quarantine']
    const read = new Map<string, ConsumedRecord[]>()
    for (let i = 0; i < topics.length; i += READERS) {
      await Promise.all(topics.slice(i, i + READERS).map(async (topic) => {
        read.set(topic, await kafka.consoleConsumer(topic, { timeoutMs: READ_IDLE_MS, isolation: topic in TOPICS ? isolation : 'read_uncommitted' }))
      }))
    }
    for (const [topic, messages] of read) {
      if (!(topic in TOPICS)) {
        strays += messages.filter(({ key, value }) => leaks(value) || (key !== null && leaks(key))).length
        continue
      }
      const found = messages.map((message) => observe(topic, message, { base: this.base, sources: this.nodes.length }))
      for (const message of found) observed.push(message)
      if (produced === null) continue
      const there = found.filter(({ record }) => record !== null && record.n > this.epilogueFrom[record.source]).length
      if (there !== produced.get(topic)) this.disagreements.push(`${topic}: ${there} messages of the last process, which counted ${produced.get(topic)}`)
    }
    const quarantined = read.get('minim.quarantine')?.length ?? 0
    if (quarantined > 0) this.disagreements.push(`${quarantined} good records are in quarantine`)
    for (const log of this.logs) {
      const said = readFileSync(log)
      if (leaks(said)) strays++
      // Of every process, not of the last one alone.
      if (said.includes('MINIM_CONSERVATION_DRIFT')) this.disagreements.push('a process has said that records are not accounted for')
    }
    const verdict = check(this.nodes.map((node) => node.sender()), observed)
    verdict.leaked += strays
    return verdict
  }
}
