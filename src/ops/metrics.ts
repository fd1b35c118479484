/**
 * What minim counts. Called once per committed batch, never per record; every label is out of a closed set that is
 * resolved at start, so that nothing out of a record can become a label. Anything else is counted as `other`.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { type Refusal, REFUSALS } from '../batch/batch.js'
import {
  LEFT_CONTENT,
  SOURCE_KINDS,
  SOURCE_REFUSALS,
  type SourceCounters,
  type SourceKind,
  SPOOL_REFUSALS,
  type SpoolCounters,
  type SpoolSample,
} from '../flow/counters.js'
import type { Outcome } from '../flow/outcome.js'
import { NO_PURPOSE, WITHHOLDINGS } from '../flow/outcome.js'
import { Conservation, type Drift, type Handover, SPOOL_ACCOUNT } from './conservation.js'
import type { Flow } from './flows.js'

/** How a transaction can end. `unclean`: it is not known whether it was committed until the ledger is read. */
const TRANSACTION_ENDS = ['committed', 'aborted', 'unclean'] as const
export type TransactionEnd = (typeof TRANSACTION_ENDS)[number]

/** What is asked for at each scrape. */
export interface Sample {
  readonly ready: boolean
  readonly inFlightItems: number
  readonly retainedBytes: number
}

export interface MetricsOptions {
  readonly flows: readonly Flow[]
  readonly minimVersion: string
  readonly policyVersion: string
  /**
   * Kinds whose series are there from the first scrape, at 0: those that are on. Another's come when it counts
   * something. Default: all.
   */
  readonly sources?: readonly SourceKind[]
  /** Default exactly-once. */
  readonly guarantee?: string
  /** Node's own: event loop, heap, garbage collection. On unless false. */
  readonly defaults?: boolean
}

/** Label of what is in no closed set: it stands for a mistake in minim, and keeps it from becoming a leak. */
const OTHER = 'other'

/** From a commit on this machine to a broker in trouble, s. */
const LATENCY_BUCKETS = [0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

type Child = { inc(count: number): void }
type Children = { get(label: string): Child | undefined; add(labels: readonly string[]): void }

export class Metrics {
  readonly registry = new Registry()
  readonly #received: Children
  readonly #produced: Children
  readonly #withheld: WithheldChildren
  readonly #quarantined: Children
  readonly #unknownFields: Child
  readonly #unsafeFields: Child
  readonly #dropped: Child
  readonly #latency: Histogram
  readonly #commitSeconds: Histogram
  readonly #transactions: Children
  readonly #conservation: Conservation
  readonly #sources: (kind: SourceKind) => SourceCounters
  /** What the spool counts with. */
  readonly spool: SpoolCounters
  readonly #build: BuildInfo
  #sample: () => Sample = () => ({ ready: false, inFlightItems: 0, retainedBytes: 0 })

  constructor(options: MetricsOptions) {
    const { registry } = this
    const registers = [registry]
    if (options.defaults !== false) collectDefaultMetrics({ register: registry })
    const counter = (name: string, help: string, labelNames: string[] = []): Counter =>
      new Counter({ name, help, labelNames, registers })

    const on = options.sources ?? SOURCE_KINDS
    this.#received = children(
      counter('minim_records_received_total', 'Records read, well or ill, by where they came in', ['source_kind']),
      SOURCE_KINDS,
      on,
    )
    this.#produced = children(
      counter('minim_messages_produced_total', "Messages committed to a purpose's topic", ['topic']),
      options.flows.map((flow) => flow.topic),
    )
    this.#withheld = new WithheldChildren(
      counter('minim_records_withheld_total', 'Records that a purpose may not have, by reason', ['purpose', 'reason']),
      options.flows,
    )
    this.#quarantined = children(
      counter('minim_records_quarantined_total', 'Input that went to quarantine, encrypted, by reason', ['reason']),
      REFUSALS,
    )
    this.#unknownFields = counter('minim_unknown_fields_total', 'Fields that the catalogue does not know: dropped')
    this.#unsafeFields = counter(
      'minim_unsafe_fields_total',
      "Values that are no identifier of their field's type, text that could hide one, or text that is not UTF-8: dropped",
    )
    this.#dropped = counter(
      'minim_messages_dropped_total',
      'Messages that Kafka takes neither as they are nor in quarantine: lost',
    )
    this.#transactions = children(
      counter('minim_transactions_total', 'Kafka transactions, by how they ended', ['end']),
      TRANSACTION_ENDS,
    )
    this.#latency = new Histogram({
      name: 'minim_receipt_to_commit_seconds',
      help: "From a batch's first byte to its commit, one value per batch",
      buckets: LATENCY_BUCKETS,
      registers,
    })
    this.#commitSeconds = new Histogram({
      name: 'minim_commit_seconds',
      help: 'What Kafka took to commit a transaction',
      buckets: LATENCY_BUCKETS,
      registers,
    })

    this.#sources = sourceCounters(registers, on)
    this.spool = spoolCounters(registers)

    sampledGauges(registers, () => this.#sample())
    this.#conservation = new Conservation(registers, options.flows, [...SOURCE_KINDS, SPOOL_ACCOUNT, OTHER], on)
    this.#build = new BuildInfo(registers, options)
  }

  /** A policy runs from now on. What its purposes count is there at once; what others have counted stays. */
  usePolicy(flows: readonly Flow[], policyVersion: string): void {
    this.#produced.add(flows.map((flow) => flow.topic))
    this.#withheld.add(flows)
    this.#conservation.useFlows(flows)
    this.#build.usePolicy(policyVersion)
  }

  /** What a kind of source counts with. */
  counters(kind: SourceKind): SourceCounters {
    return this.#sources(kind)
  }

  /** Where the gauges get their values, at each scrape. */
  sampleFrom(sample: () => Sample): void {
    this.#sample = sample
  }

  /**
   * Once per batch, after its commit.
   * @param latencySeconds from its first byte to the commit
   * @param sourceKind where its records came in, or how many did so where
   * @param flows of the policy that it was made by. Default: of the one that runs
   */
  onCommitted(
    outcome: Outcome,
    latencySeconds: number,
    sourceKind: SourceKind | ReadonlyMap<string, number>,
    flows?: readonly Flow[],
  ): void {
    if (typeof sourceKind === 'string') add(this.#received, sourceKind, outcome.records)
    else for (const [kind, records] of sourceKind) add(this.#received, kind, records)
    for (const topic in outcome.produced) {
      add(this.#produced, topic, outcome.produced[topic])
    }
    for (const name in outcome.withheld) {
      const count = outcome.withheld[name]
      const [purpose, , reason] = name.split('\0')
      this.#withheld.get(purpose, reason)?.inc(count)
    }
    for (const reason in outcome.quarantined) {
      add(this.#quarantined, reason, outcome.quarantined[reason as Refusal] ?? 0)
    }
    if (outcome.unknownFields > 0) this.#unknownFields.inc(outcome.unknownFields)
    if (outcome.unsafeFields > 0) this.#unsafeFields.inc(outcome.unsafeFields)
    this.#latency.observe(latencySeconds)
    this.#conservation.onCommitted(typeof sourceKind === 'string' ? sourceKind : accountOf(sourceKind), outcome, flows)
  }

  /**
   * A source has handed something over: told, at the latest, when it is decided what became of it.
   * @param source null: the spool, whatever sources its records are of
   * @param records as the source counts them; null where it has not read them
   */
  handOver(source: SourceKind | null, records: number | null): Handover {
    return this.#conservation.handOver(source ?? SPOOL_ACCOUNT, records)
  }

  /** Records are not accounted for: a defect. */
  get drifting(): boolean {
    return this.#conservation.drifting
  }

  /** Who is told when records are not accounted for. */
  driftTo(onDrift: (drift: Drift) => void): void {
    this.#conservation.onDrift = onDrift
  }

  /** Once per transaction. */
  onTransaction(end: TransactionEnd, seconds: number): void {
    add(this.#transactions, end, 1)
    if (end === 'committed') this.#commitSeconds.observe(seconds)
  }

  /** Messages that had to be given up: Kafka refuses them in every form. */
  onDropped(messages: number): void {
    this.#dropped.inc(messages)
  }
}

/** A child for each purpose and reason, and one for what is meant for no purpose. */
class WithheldChildren {
  readonly #withheld: Counter
  readonly #made = new Map<string, Child>()

  constructor(withheld: Counter, flows: readonly Flow[]) {
    this.#withheld = withheld
    this.add(flows)
    this.#made.set(`${OTHER}\0${OTHER}`, child(withheld, OTHER, OTHER))
    this.#made.set(`\0${NO_PURPOSE}`, child(withheld, 'none', NO_PURPOSE))
  }

  add(flows: readonly Flow[]): void {
    for (const { purpose } of flows) {
      if (this.#made.has(`${purpose}\0${OTHER}`)) continue
      for (const reason of [...WITHHOLDINGS, OTHER])
        this.#made.set(`${purpose}\0${reason}`, child(this.#withheld, purpose, reason))
    }
  }

  get(purpose: string, reason: string): Child | undefined {
    return (
      this.#made.get(`${purpose}\0${reason}`) ??
      this.#made.get(`${purpose}\0${OTHER}`) ??
      this.#made.get(`${OTHER}\0${OTHER}`)
    )
  }
}

/** What is asked for at each scrape. Over several workers: ready when all are. */
function sampledGauges(registers: Registry[], sample: () => Sample): void {
  const sampled = (name: string, help: string, value: (sample: Sample) => number): void => {
    // A gauge of prom-client's calls `collect` with itself as `this`.
    new Gauge({
      name,
      help,
      registers,
      aggregator: name === 'minim_ready' ? 'min' : 'sum',
      collect() {
        this.set(value(sample()))
      },
    })
  }
  sampled('minim_ready', 'Whether /readyz answers 200', ({ ready }) => Number(ready))
  sampled(
    'minim_items_in_flight',
    'Batches taken from sources and not committed yet',
    ({ inFlightItems }) => inFlightItems,
  )
  sampled('minim_bytes_retained', 'Input kept in memory until it is committed', ({ retainedBytes }) => retainedBytes)
}

/** What runs: one series, whose labels say it. */
class BuildInfo {
  readonly #gauge: Gauge
  readonly #options: MetricsOptions

  constructor(registers: Registry[], options: MetricsOptions) {
    this.#options = options
    this.#gauge = new Gauge({
      name: 'minim_build_info',
      help: 'Versions of minim and of its policy, and the guarantee of delivery',
      labelNames: ['version', 'policy', 'guarantee'],
      aggregator: 'first',
      registers,
    })
    this.usePolicy(options.policyVersion)
  }

  usePolicy(policyVersion: string): void {
    const { minimVersion, guarantee } = this.#options
    this.#gauge.reset()
    this.#gauge.labels(minimVersion, policyVersion, guarantee ?? 'exactly-once').set(1)
  }
}

/** The account of a batch out of the spool: its source's, if there was only one. */
function accountOf(sources: ReadonlyMap<string, number>): string {
  const [[first] = [SPOOL_ACCOUNT], second] = sources
  return second === undefined ? first : SPOOL_ACCOUNT
}

/** @param on kinds whose series are made at once; another's are with its first counters */
function sourceCounters(registers: Registry[], on: readonly SourceKind[]): (kind: SourceKind) => SourceCounters {
  const kind = ['source_kind']
  const received = new Counter({
    name: 'minim_source_received_total',
    help: "Posts, packets, events or lines received, each in its protocol's own units",
    labelNames: kind,
    registers,
  })
  const refused = new Counter({
    name: 'minim_source_refused_total',
    help: 'Those that no record was taken from, by reason; what is no message of the protocol is counted here alone',
    labelNames: [...kind, 'reason'],
    registers,
  })
  const left = new Counter({
    name: 'minim_source_content_left_total',
    help: 'Content of communications and names that no record has a field for: left at the source, by what it was',
    labelNames: [...kind, 'content'],
    registers,
  })
  const lag = new Gauge({
    name: 'minim_source_lag_seconds',
    help: 'Age of what a source has read last',
    labelNames: kind,
    aggregator: 'max',
    registers,
  })
  const connections = new Gauge({
    name: 'minim_source_connections',
    help: 'Senders connected',
    labelNames: kind,
    registers,
  })
  const gap = new Counter({
    name: 'minim_source_gap_seconds_total',
    help: 'Time in which a source that cannot send again was not connected',
    labelNames: kind,
    registers,
  })
  const make = (name: SourceKind): SourceCounters => {
    const all = child(received, name)
    const reasons = new Map(SOURCE_REFUSALS.map((reason) => [reason, child(refused, name, reason)]))
    const contents = new Map(LEFT_CONTENT.map((content) => [content, child(left, name, content)]))
    const [late, open, missed] = [lag.labels(name), connections.labels(name), child(gap, name)]
    late.set(0)
    open.set(0)
    return {
      received: (count) => {
        all.inc(count)
      },
      refused: (reason, count = 1) => reasons.get(reason)?.inc(count),
      left: (content) => contents.get(content)?.inc(1),
      lag: (seconds) => {
        late.set(seconds)
      },
      connections: (count) => {
        open.set(count)
      },
      gap: (seconds) => {
        missed.inc(seconds)
      },
    }
  }
  const made = new Map(on.map((name) => [name, make(name)]))
  return (kind) => {
    let counters = made.get(kind)
    if (counters === undefined) made.set(kind, (counters = make(kind)))
    return counters
  }
}

/** From a fast disk's flush to one in trouble, s. */
const PUT_BUCKETS = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1, 5]

function spoolCounters(registers: Registry[]): SpoolCounters {
  let read: () => SpoolSample = () => ({ bytes: 0, blocks: 0, oldestSeconds: 0 })
  const sampled = (name: string, help: string, value: (sample: SpoolSample) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      aggregator: name.endsWith('seconds') ? 'max' : 'sum',
      collect() {
        this.set(value(read()))
      },
    })
  }
  sampled('minim_spool_bytes', 'Octets of the spool in use on disk', (sample) => sample.bytes)
  sampled(
    'minim_spool_blocks',
    'Blocks in the spool: written together, and not in Kafka yet',
    (sample) => sample.blocks,
  )
  sampled(
    'minim_spool_oldest_seconds',
    'Age of the oldest block in the spool; 0 when it is empty',
    (sample) => sample.oldestSeconds,
  )
  const seconds = new Histogram({
    name: 'minim_spool_put_seconds',
    help: 'From when a source handed records on until they were on disk',
    buckets: PUT_BUCKETS,
    registers,
  })
  const refused = new Counter({
    name: 'minim_spool_refused_total',
    help: 'Records that the spool did not take, counted as they were handed on',
    labelNames: ['reason'],
    registers,
  })
  const reasons = new Map(SPOOL_REFUSALS.map((reason) => [reason, child(refused, reason)]))
  const damaged = new Counter({
    name: 'minim_spool_damaged_total',
    help: 'Blocks of the spool that could not be read again',
    registers,
  })
  return {
    put: (value) => {
      seconds.observe(value)
    },
    refused: (reason) => reasons.get(reason)?.inc(1),
    damaged: () => {
      damaged.inc(1)
    },
    sampleFrom: (sample) => {
      read = sample
    },
  }
}

/**
 * One bound child per label value, made at start: each series is there from the first scrape, at 0.
 * @param values the closed set
 * @param atOnce those of it that are made at start; another is when it is first counted
 */
function children(counter: Counter, values: readonly string[], atOnce: readonly string[] = values): Children {
  const known = new Set(values)
  // A policy that comes later may have more of them.
  const add = (labels: readonly string[]): void => {
    for (const value of labels) if (!made.has(value)) made.set(value, child(counter, value))
  }
  const made = new Map([...atOnce, OTHER].map((value) => [value, child(counter, value)]))
  return {
    add,
    get: (value) => {
      let found = made.get(value)
      if (found === undefined && known.has(value)) made.set(value, (found = child(counter, value)))
      return found
    },
  }
}

function child(counter: Counter, ...labels: string[]): Child {
  const bound = counter.labels(...labels)
  // prom-client shows a series once it was counted.
  bound.inc(0)
  return bound
}

function add(of: Children, label: string, count: number): void {
  ;(of.get(label) ?? of.get(OTHER))?.inc(count)
}
