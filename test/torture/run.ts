/** One torture run: a Kafka, the program, simulated nodes, faults, and what an independent reader finds afterwards. */
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { catalogue } from '../../src/catalogue/catalogue.js'
import type { Guarantee } from '../../src/flow/guarantee.js'
import { MasterKey } from '../../src/keys/master.js'
import { KeyStore } from '../../src/keys/store.js'
import { FaultProxy } from '../helpers/fault-proxy.js'
import { given } from '../helpers/given.js'
import type { ConsumedRecord } from '../helpers/kafka.js'
import { type ProxiedKafka, startProxiedKafka } from '../helpers/kafka-cluster.js'
import { repositoryRoot } from '../helpers/shared.js'
import { check, type Observed, type Processes, type Verdict } from './checker.js'
import { inflict } from './faults.js'
import { FileNode, GrpcNode, type Host, HttpNode, type Node, RHYTHMS } from './nodes.js'
import { firstStart } from './numbers.js'
import { POLICY, TOPICS } from './policy.js'
import { ProxyProcess, STOP_LIMIT_MS } from './proxy-process.js'
import { leaks, observe } from './reading.js'
import { type Fault, type FaultKind, FAULTS, randomOf, schedule, shuffled } from './schedule.js'

export const SOURCES = ['grpc', 'file', 'http'] as const
export type SourceName = (typeof SOURCES)[number]

/**
 * Rules that can be taken out, to see the run fail: see `sabotaged-main.ts`. `isolation`: the topics are read as if
 * there were no transactions.
 */
export const SABOTAGES = ['ledger', 'early-ack', 'lease', 'isolation'] as const
export type Sabotage = (typeof SABOTAGES)[number]

export interface TortureOptions {
  readonly minutes: number
  readonly seed: number
  readonly workers: number
  readonly brokers: number
  readonly sources: readonly SourceName[]
  /** Nodes of each source; of followed files one of each rhythm at least. */
  readonly nodes: number
  /** Records a second of each node. */
  readonly rate: number
  readonly sabotage: Sabotage | null
  /** At least once, records may come again after a fault, so many at most as were under way. */
  readonly guarantee: Guarantee
  /** Only these kinds of fault; null: all that can be done. */
  readonly faults: readonly FaultKind[] | null
  /** Kinds of fault that are left out. */
  readonly without?: readonly FaultKind[]
  /** Time between faults, at least and at most. */
  readonly gapMs?: readonly [number, number]
  readonly say: (line: string) => void
}

export interface TortureResult {
  readonly verdict: Verdict
  readonly faults: number
  readonly processes: Processes
  /** Why the run says nothing; empty if it does. */
  readonly voids: readonly string[]
  /** Figures that do not agree. */
  readonly disagreements: readonly string[]
}

const RECORDS_PER_BATCH = 10
/** So long nodes go on to send to the last process. */
const EPILOGUE_SECONDS = 1
/** Until a process is ready. */
const START_LIMIT_MS = 60_000
const SETTLE_MS = 150_000
/** A file that was renamed is finished when nothing has changed it for so long: then its successor is looked at. */
const SETTLED_FILE_MS = 2_000
const AT_REST_MS = 3 * SETTLED_FILE_MS
const READ_IDLE_MS = 4_000
/** Readers at the same time: each is a Java process that mostly waits. */
const READERS = 4
const PARTITIONS = 3
/** In one transaction, or between two flushes where there are none. Two are under way at once. */
const MAX_MESSAGES = 2_000
const SABOTAGED_LINGER_MS = 700
/** Each has a spool folder of its own; a proxy that takes over is started on the other one. */
const HOSTS = ['a', 'b'] as const
/** A rival's folder is in use only if a source has it opened. */
const NEED_SPOOL = ['second proxy on the same spool folder'] as const
/** Without transactions there is no commit to hold back, and nobody is fenced. */
const NEED_TRANSACTIONS = [
  'second proxy',
  'second proxy while the first is stopped',
  'second proxy while the first is at rest',
  'a commit is held back',
  "a commit's answer is held back",
] as const

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

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

function received(metrics: ReadonlyMap<string, number>): number {
  return [...metrics]
    .filter(([name]) => name.startsWith('minim_records_received_total'))
    .reduce((sum, [, value]) => sum + value, 0)
}

/** A host: a spool folder, and the door to whichever process has it. */
interface Place extends Host {
  readonly config: string
  readonly door: FaultProxy
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
  private readonly places: Place[] = []
  /** Where each process runs. */
  private readonly placeOf = new Map<ProxyProcess, Place>()
  private readonly logs: string[] = []
  private readonly voids: string[] = []
  private readonly disagreements: string[] = []
  /** By node: the last record before the last process. */
  private epilogueFrom: number[] = []
  private readonly master = randomBytes(32)

  constructor(
    private readonly options: TortureOptions,
    private readonly folder: string,
    private readonly stops: (() => Promise<unknown>)[],
  ) {
    this.batchesPerSecond = options.rate / RECORDS_PER_BATCH
    this.batches = Math.ceil(options.minutes * 60 * this.batchesPerSecond)
    this.base = firstStart(Date.now(), this.batches * RECORDS_PER_BATCH)
  }

  async run(): Promise<TortureResult> {
    const {
      options: { minutes, seed, brokers, say },
    } = this
    const plan = this.plan()
    say(
      `seed ${seed}: ${minutes} min, ${brokers} broker(s), ` +
        `${this.batches * RECORDS_PER_BATCH} records of each node or more, ${plan.length} faults`,
    )
    await this.start()
    const begun = performance.now()
    const seconds = (): string => ((performance.now() - begun) / 1000).toFixed(1)
    const sending = Promise.all(this.nodes.map((node) => node.run()))
    let done = 0
    for (const fault of plan) {
      // A fault on top of one that is still felt is meant; one on a program that has not come back yet says nothing
      // new, mostly.
      if (fault.kind !== 'proxy killed' || fault.pick % 5 > 0)
        await this.until(60_000, () => this.proxy.addresses !== null)
      await sleep(Math.max(fault.gapMs, fault.atMs - (performance.now() - begun)))
      const could = await inflict(fault, {
        kafka: this.kafka,
        doors: this.doors,
        proxy: () => this.proxy,
        second: () => this.launch(given(this.places.find((place) => place !== this.inCharge))),
        rival: () => this.launch(this.inCharge, true),
        quiet: (on) => {
          for (const node of this.nodes) node.quiet = on
        },
        atRest: () => this.atRest(),
        takeOver: (proxy) => {
          this.takeOver(proxy)
        },
        note: (what) => {
          this.disagreements.push(`${fault.kind}: ${what}`)
        },
        say,
      })
      if (could) done++
      const held = fault.holdMs > 0 ? ` for ${(fault.holdMs / 1000).toFixed(1)} s` : ''
      say(
        `${seconds()} s: ${fault.kind}${held}${could ? '' : ' could not be done'}; ` +
          `acknowledged ${this.nodes.map((n) => n.acknowledged).join(' ')}`,
      )
    }
    for (const proxy of [...this.kafka.proxies, ...this.doors]) proxy.heal()
    for (const node of this.nodes) node.finish(node.planned(minutes * 60))
    const settled = await Promise.race([
      sending.then(() => true),
      sleep(Math.max(0, minutes * 60_000 - (performance.now() - begun)) + SETTLE_MS).then(() => false),
    ])
    say(`${seconds()} s: ${settled ? 'all is acknowledged' : 'not all is acknowledged'}`)
    if (!settled)
      this.voids.push(
        `nodes still wait: ${this.nodes
          .filter((n) => !n.done)
          .map((n) => `${n.name} ${n.acknowledged} of ${n.batches}`)
          .join(', ')}`,
      )
    if (done < plan.length) this.voids.push(`${done} faults of ${plan.length}`)
    if (plan.length === 0) this.voids.push('no time for any fault')
    const produced = settled ? await this.epilogue() : null
    await this.endProxies(settled)
    const verdict = await this.verdict(produced)
    const again = this.options.guarantee === 'at-least-once' ? (done + 1) * 2 * MAX_MESSAGES : 0
    if (again > 0) {
      say(`${verdict.duplicated} messages twice; ${again} may be`)
      if (verdict.duplicated > again)
        this.disagreements.push(`${verdict.duplicated} messages twice, more than were under way`)
    }
    return { verdict, faults: done, processes: this.processes(), voids: this.voids, disagreements: this.disagreements }
  }

  private plan(): Fault[] {
    const { minutes, seed, brokers, faults, sources, gapMs } = this.options
    const without = new Set<FaultKind>(this.options.without)
    if (!sources.includes('http')) for (const kind of NEED_SPOOL) without.add(kind)
    if (this.options.guarantee === 'at-least-once') for (const kind of NEED_TRANSACTIONS) without.add(kind)
    if (faults !== null)
      for (const kind of Object.keys(FAULTS) as FaultKind[]) if (!faults.includes(kind)) without.add(kind)
    return schedule({ seed, durationMs: minutes * 60_000, brokers, without, ...(gapMs === undefined ? {} : { gapMs }) })
  }

  private async start(): Promise<void> {
    const { brokers, nodes, sources } = this.options
    this.kafka = await startProxiedKafka({
      brokers,
      heap: '512m',
      properties: {
        'broker.session.timeout.ms': 4_000,
        'broker.heartbeat.interval.ms': 500,
        ...(brokers >= 3 ? { 'transaction.state.log.min.isr': 2 } : {}),
      },
    })
    this.stops.push(() => this.kafka.stop())
    this.grpcDoor = await FaultProxy.start()
    for (const name of HOSTS) {
      const door = await FaultProxy.start()
      this.places.push({
        name,
        door,
        address: `127.0.0.1:${door.port}`,
        config: join(this.folder, `minim-${name}.yaml`),
      })
    }
    this.stops.push(() => Promise.all(this.doors.map((door) => door.stop())))
    this.stops.push(async () => {
      for (const node of this.nodes) node.stop()
      await Promise.all(this.proxies.map((proxy) => proxy.kill9()))
    })
    mkdirSync(join(this.folder, 'tmp'))
    KeyStore.create(join(this.folder, 'minim-keys.json'), new MasterKey(Buffer.from(this.master), 'test'))
    writeFileSync(join(this.folder, 'policy.yaml'), JSON.stringify(POLICY))
    const rhythms = shuffled(RHYTHMS, randomOf(this.options.seed))
    let source = 0
    for (const name of sources) {
      for (let i = 0; i < (name === 'file' ? Math.max(nodes, rhythms.length) : nodes); i++) {
        const options = {
          base: this.base,
          source: source++,
          seed: this.options.seed,
          recordsPerBatch: RECORDS_PER_BATCH,
          batchesPerSecond: this.batchesPerSecond,
          catalogue: catalogue(),
          keeps: this.options.sabotage === 'ledger',
        }
        if (name === 'grpc')
          this.nodes.push(new GrpcNode(`node-${i}`, `127.0.0.1:${this.grpcDoor.port}`, randomUUID(), options))
        else if (name === 'file')
          this.nodes.push(
            new FileNode(`file-${i}`, join(this.folder, `calls-${i}.jsonl`), rhythms[i % rhythms.length], options),
          )
        else this.nodes.push(new HttpNode(`post-${i}`, () => this.inCharge, options))
      }
    }
    for (const { name, config } of this.places) writeFileSync(config, JSON.stringify(this.settings(`spool-${name}`)))
    this.proxy = this.launch(this.places[0])
    if (!(await this.until(60_000, () => this.proxy.addresses !== null)))
      throw new Error(`the proxy did not start: ${readFileSync(this.logs[0], 'utf8').slice(-2000)}`)
  }

  private settings(spool: string): object {
    const { workers, sources } = this.options
    return {
      cluster: 'torture',
      policy: 'policy.yaml',
      grpc: { listen: '127.0.0.1:0' },
      ops: { listen: '127.0.0.1:0' },
      // As short as they may be, so that every time-out passes within a test.
      kafka: {
        'bootstrap.servers': this.kafka.bootstrap,
        'socket.timeout.ms': 11_000,
        'transaction.timeout.ms': 12_000,
      },
      topics: { partitions: PARTITIONS, replication: Math.min(3, this.options.brokers) },
      // Acknowledged too early is lost only if it is not committed yet when the process ends: that has to be so at most
      // moments, not at one in ten.
      delivery: {
        guarantee: this.options.guarantee,
        maxMessages: MAX_MESSAGES,
        ...(this.options.sabotage === 'early-ack' ? { lingerMs: SABOTAGED_LINGER_MS } : {}),
      },
      tenants: { default: { id: 1 }, acme: { id: 2 } },
      ...(workers > 1 ? { workers } : {}),
      ...(sources.includes('http') ? { http: { listen: '127.0.0.1:0' }, spool: { path: spool } } : {}),
      ...(sources.includes('file')
        ? {
            files: this.nodes
              .filter((n) => n instanceof FileNode)
              .map(({ path, name }) => ({
                path,
                format: 'jsonl',
                mapping: 'minim',
                source: name,
                follow: true,
                pollMs: 200,
                settleMs: SETTLED_FILE_MS,
              })),
          }
        : {}),
    }
  }

  private get doors(): FaultProxy[] {
    return [this.grpcDoor, ...this.places.map(({ door }) => door)]
  }

  /** Where the proxy in charge runs. */
  private get inCharge(): Place {
    return given(this.placeOf.get(this.proxy))
  }

  /**
   * Another process of the program; the one in charge is `proxy`. @param rival it finds its host's folder in use: no
   * node is led to it
   */
  private launch(place: Place, rival = false): ProxyProcess {
    const root = repositoryRoot()
    const { sabotage } = this.options
    const inProcess = sabotage !== null && sabotage !== 'isolation'
    const main = join(root, 'dist', inProcess ? 'test/torture/sabotaged-main.js' : 'src/cli/main.js')
    const logFile = join(this.folder, `proxy-${this.proxies.length}.log`)
    this.logs.push(logFile)
    const { PATH, HOME } = process.env
    const made = new ProxyProcess(
      {
        command: [process.execPath, main, 'run', '--config', place.config],
        cwd: this.folder,
        logFile,
        env: {
          PATH,
          HOME,
          TMPDIR: join(this.folder, 'tmp'),
          MINIM_MASTER_KEY: this.master.toString('base64'),
          ...(inProcess ? { MINIM_TORTURE_SABOTAGE: sabotage } : {}),
        },
      },
      (ready) => {
        if (!rival) this.direct(ready)
      },
    )
    this.proxies.push(made)
    this.placeOf.set(made, place)
    if (this.proxies.length === 1) this.proxy = made
    made.start(!rival)
    return made
  }

  private takeOver(proxy: ProxyProcess): void {
    if (this.proxy === proxy) return
    const { door } = this.inCharge
    this.proxy = proxy
    this.direct(proxy)
    this.grpcDoor.cut()
    door.cut()
  }

  /** Leads nodes' connections to a process: posts to its host, streams if it is in charge. */
  private direct(proxy: ProxyProcess): void {
    const { addresses } = proxy
    if (addresses === null) return
    if (proxy === this.proxy) this.grpcDoor.target = addresses.grpc
    if (addresses.http !== null) given(this.placeOf.get(proxy)).door.target = addresses.http
  }

  private async until(limitMs: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
    const deadline = performance.now() + limitMs
    while (!(await condition())) {
      if (performance.now() > deadline) return false
      await sleep(50)
    }
    return true
  }

  /** Empty while there is nobody to ask. */
  private async metrics(): Promise<Map<string, number>> {
    const { addresses } = this.proxy
    if (addresses === null) return new Map()
    const text = await fetch(`http://${addresses.ops}/metrics`, { signal: AbortSignal.timeout(10_000) }).then(
      (response) => response.text(),
      () => '',
    )
    return new Map(
      text
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => {
          const at = line.lastIndexOf(' ')
          return [line.slice(0, at), Number(line.slice(at + 1))] as const
        }),
    )
  }

  /**
   * A last process without faults: it takes so many more batches of each node, and what it counts is compared with what
   * is in the topics.
   * @returns messages by topic, as it counted them
   */
  private async epilogue(): Promise<Map<string, number> | null> {
    const { say } = this.options
    const starts = this.proxy.starts
    // Followed files: written is not yet read.
    if (!(await this.until(SETTLE_MS, () => this.atRest())))
      this.voids.push('not all was committed before the last process')
    this.proxy.kill('SIGTERM')
    if (
      !(await this.until(
        STOP_LIMIT_MS + START_LIMIT_MS,
        () => this.proxy.starts > starts && this.proxy.addresses !== null,
      ))
    ) {
      this.voids.push('the last process did not start')
      return null
    }
    this.epilogueFrom = this.nodes.map((node) => node.records(node.sent))
    const last = Promise.all(
      this.nodes.map((node) => {
        const running = node.run()
        node.finish(node.sent + Math.max(2, node.planned(EPILOGUE_SECONDS)))
        return running
      }),
    )
    if (!(await Promise.race([last.then(() => true), sleep(SETTLE_MS).then(() => false)]))) {
      this.voids.push('the last batches were not acknowledged')
      return null
    }
    const wanted = this.nodes.reduce((sum, node, i) => sum + node.records(node.sent) - this.epilogueFrom[i], 0)
    let found = new Map<string, number>()
    await this.until(30_000, async () => {
      found = await this.metrics()
      return received(found) >= wanted
    })
    await sleep(500)
    found = await this.metrics()
    const noted = this.disagreements.length
    if (received(found) !== wanted)
      this.disagreements.push(`the last process counted ${received(found)} records received, ${wanted} were sent to it`)
    for (const [name, value] of found)
      if (name.startsWith('minim_conservation_drift_records') && value !== 0)
        this.disagreements.push(`${name} is ${value}`)
    if (![...found.keys()].some((name) => name.startsWith('minim_conservation_drift_records')))
      this.disagreements.push('no metric of conservation')
    say(
      `the last process received ${received(found)} records; conservation ${this.disagreements.length === noted ? 'holds' : 'is broken'}`,
    )
    return new Map(
      Object.keys(TOPICS).map((topic) => [topic, found.get(`minim_messages_produced_total{topic="${topic}"}`) ?? 0]),
    )
  }

  /** Whether nothing is on its way to Kafka: streams, files, the spool. */
  private async idle(): Promise<boolean> {
    const found = await this.metrics()
    return (
      found.get('minim_items_in_flight') === 0 &&
      (found.get('minim_spool_blocks') ?? 0) === 0 &&
      (found.get('minim_source_lag_seconds{source_kind="file"}') ?? 0) === 0
    )
  }

  /** Idle, and for so long that a file has been looked at in between which was written to, or renamed, just now. */
  private async atRest(): Promise<boolean> {
    if (!(await this.idle())) return false
    const before = received(await this.metrics())
    await sleep(this.options.sources.includes('file') ? AT_REST_MS : 0)
    return (await this.idle()) && received(await this.metrics()) === before
  }

  /** @param settled posts of which nobody knows whether they were taken are to be sent again */
  private async endProxies(settled: boolean): Promise<void> {
    const { say } = this.options
    await this.endProxy('the proxy')
    // As an operator would: what the host that was taken over from has acknowledged, and not delivered, is in its
    // folder.
    const left = this.places.filter((place) => place !== this.inCharge && [...this.placeOf.values()].includes(place))
    for (const place of settled && this.options.sources.includes('http') ? left : []) {
      this.proxy = this.launch(place)
      if (!(await this.until(START_LIMIT_MS, () => this.proxy.addresses !== null)))
        this.voids.push(`no proxy came up for what host ${place.name} has left`)
      const blocks = (await this.metrics()).get('minim_spool_blocks')
      const doubtful = this.nodes.filter((node): node is HttpNode => node instanceof HttpNode && node.doubtful(place))
      for (const node of doubtful)
        if (!(await this.until(START_LIMIT_MS, () => node.settle(place))))
          this.voids.push(`${node.name} does not know what host ${place.name} took`)
      if (!(await this.until(SETTLE_MS, () => this.idle())))
        this.voids.push(`the spool of host ${place.name} was not drained`)
      say(`host ${place.name} had ${blocks ?? 'no'} blocks left, and was asked for ${doubtful.length} posts`)
      await this.endProxy('the proxy that drained it')
    }
    for (const node of this.nodes) node.stop()
    for (const proxy of this.proxies) {
      await proxy.kill9()
      for (const end of proxy.unplanned) say(`an end that nobody asked for: ${end}`)
      for (const why of proxy.notEnded) say(`not ended: ${why}`)
    }
    for (const { notes } of this.nodes) say(notes)
  }

  private async endProxy(name: string): Promise<void> {
    const { code, ms } = await this.proxy.stop()
    this.options.say(`${name} ended with ${code ?? 'SIGKILL'} after ${ms} ms`)
    if (code !== 0) this.disagreements.push(`told to end, ${name} ended with ${code ?? 'SIGKILL'}`)
  }

  private processes(): Processes {
    return {
      started: this.proxies.reduce((sum, { starts }) => sum + starts, 0),
      ended: this.proxies.reduce((sum, { endedInTime }) => sum + endedInTime, 0),
      notEnded: this.proxies.flatMap(({ notEnded }) => notEnded),
    }
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
      await Promise.all(
        topics.slice(i, i + READERS).map(async (topic) => {
          read.set(
            topic,
            await kafka.consoleConsumer(topic, {
              timeoutMs: READ_IDLE_MS,
              isolation: topic in TOPICS ? isolation : 'read_uncommitted',
            }),
          )
        }),
      )
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
      if (there !== produced.get(topic))
        this.disagreements.push(`${topic}: ${there} messages of the last process, which counted ${produced.get(topic)}`)
    }
    const quarantined = read.get('minim.quarantine')?.length ?? 0
    if (quarantined > 0) this.disagreements.push(`${quarantined} good records are in quarantine`)
    for (const log of this.logs) {
      const said = readFileSync(log)
      if (leaks(said)) strays++
      // Of every process, not of the last one alone.
      if (said.includes('MINIM_CONSERVATION_DRIFT'))
        this.disagreements.push('a process has said that records are not accounted for')
    }
    const verdict = check(
      this.nodes.map((node) => node.sender()),
      observed,
    )
    verdict.leaked += strays
    return verdict
  }
}
