/**
 * Delivery: minimised batches into Kafka, exactly once, to every purpose or to none. Guarded by `bench/` (row `d`,
 * `deliver`).
 *
 *   offer ──▶ waiting ──▶ open turn (being filled) ──▶ committing turn ──▶ committed
 *                ▲             │ lane b                  │ lane a
 *                └─────────────┴──────── unclean ────────┘
 *
 * - **Turns.** Two transactional producers (lanes): one is filled while the other commits. A commit starts when the one
 *   before it has succeeded, so commits are in the order of offers; meanwhile the open turn grows, which makes
 *   transactions as large as the load needs. What is committed is always a prefix of what was offered. In a partition's
 *   log, messages of two neighbouring transactions may stand interleaved, since one is sent while the other commits:
 *   their order holds within a batch.
 * - **Ledger.** The last sequence of each stream is part of the transaction. It is produced after the predecessor's
 *   commit has returned, right before its own: compaction keeps what was written last, and that must be the larger
 *   sequence.
 * - **Consumer groups.** What comes from a Kafka topic has its place there committed in the transaction, instead of a
 *   ledger entry; Kafka refuses it of a member that lost the partition. After an unclean end the group says what was
 *   taken: such batches are not filled again here but failed, and their source goes on from the group's offset (which
 *   is told once the transaction's end is decided, KIP-447).
 * - **Unclean ends.** A time-out, an abort, an error of unknown outcome: both producers are replaced (new instances,
 *   same ids), which completes or aborts what was pending; then the ledger says what was taken; the rest is filled
 *   again from the batches, which are kept until commit. Nothing is retried within a transaction: what failed is
 *   aborted, and filled again (see `lane.ts`).
 * - **Fencing.** Whoever takes the shard initialises both ids before reading the ledger. A process that finds itself
 *   fenced stops for good: taking the ids back would have two processes fence each other for ever. Commits tell it; a
 *   shard at rest asks the coordinator.
 * - **At least once**, for clusters without transactions: a turn is flushed, then its ledger records are; after an
 *   unclean end what the ledger does not hold is sent again, so up to two turns may be there twice.
 * - **Poison.** One refused message fails its whole transaction, for ever. What can be known is checked before
 *   producing (size against client and topic, timestamps); the rest is found by trial transactions that are never
 *   committed (`poison.ts`). Either way the record goes to quarantine and its batch stays whole.
 *
 * - **The clock.** What this process stamps itself (ledger, quarantine) bears its own clock's time, and Kafka refuses
 *   times too far ahead. So after a refusal a record of now is tried first: when that is refused, the clock is to blame
 *   and no record, and all waits until it is right.
 *
 * What is not here: topics' settings (`topics.ts`), which shard a source belongs to (`shards.ts`).
 */
import { randomUUID } from 'node:crypto'
import { Backoff } from '../base/backoff.js'
import { MinimError } from '../errors/catalogue.js'
import type { Guarantee } from '../flow/guarantee.js'
import { Marks } from '../flow/marks.js'
import type { Minimised } from '../flow/minimised.js'
import { MAX_SHARDS, shardOf, SPOOL_PREFIX, transactionalIds } from '../flow/shards.js'
import { LEDGER_TOPIC } from '../flow/topic-names.js'
import type { GroupOffset, SourceId, WorkItem } from '../flow/work-item.js'
import { Cluster, type GroupOffsets, type Link, Links, TRANSACTION } from '../kafka/cluster.js'
import { CODE } from '../kafka/codes.js'
import { classify, type Failure, type FailureKind, isForbidden, isRetryable } from '../kafka/errors.js'
import { checkKafkaProperties, checkWithLibrdkafka, type ProducerLimits, producerLimits } from '../kafka/properties.js'
import { COMMIT_TIMEOUT_MS, type KafkaProperties } from '../kafka/property-rules.js'
import { LONE_RECORD_OVERHEAD_BYTES, type ProducerIdentity } from '../kafka/record-batch.js'
import {
  connectionOptions,
  DEFAULT_LIMIT,
  ensureTopics,
  ledgerTopic,
  readLimits,
  type TopicLimit,
  type TopicsReport,
  type WantedTopic,
} from '../kafka/topics.js'
import { Lane, type LaneOptions } from './lane.js'
import {
  clockKey,
  encodeEntry,
  encodeOwner,
  ownerKey,
  ownerText,
  readLedger,
  streamKey,
  thisProcess,
} from './ledger.js'
import { findRefused } from './poison.js'

/** Settings under `delivery:`. */
export interface DeliverySettings {
  /** Names the installation in transactional ids. */
  readonly cluster: string
  /** At least once: no transactions, so nothing is taken back and no other process is fenced. */
  readonly guarantee: Guarantee
  /** A transaction waits this long for more before it commits. */
  readonly lingerMs: number
  /** A transaction takes no more batches from so many messages on … */
  readonly maxMessages: number
  /** … or so many bytes of messages. */
  readonly maxBytes: number
}

export interface CommitReport {
  readonly items: readonly WorkItem[]
  readonly messages: number
  readonly bytes: number
  /** From the start of the commit to its success. */
  readonly commitMs: number
}

/** What others may want to hear. All are called outside of the hot path; none may throw. */
export interface DeliveryHooks {
  onCommit?(report: CommitReport): void
  onPhase?(phase: DeliveryPhase): void
  /** Something for the log: a retry, an unclean end, a warning about topics. */
  onNotice?(error: MinimError): void
  onTopics?(report: TopicsReport): void
  /** The shard was somebody else's before, who may have ended or not: for the log. */
  onTookOver?(former: string): void
  /** Delivery has given up: the process should end with a failure. */
  onFatal?(error: MinimError): void
  /** Test only: awaited between the ledger's records and the commit. */
  beforeCommit?(): Promise<void> | void
}

export interface DeliveryOptions {
  readonly bootstrap: string
  /** Settings under `kafka:`, without `bootstrap.servers`. */
  readonly properties?: KafkaProperties
  readonly settings: DeliverySettings
  /** Topics to create and check; null on the embedded cluster, which knows neither. */
  readonly topics: readonly WantedTopic[] | null
  /** Copies of topics that are created. */
  readonly replication: number
  readonly shard?: number
  readonly shards?: number
  readonly ledgerTopic?: string
  readonly hooks?: DeliveryHooks
}

export type DeliveryPhase = 'new' | 'connecting' | 'ready' | 'recovering' | 'stopping' | 'stopped' | 'failed'

export interface DeliveryState {
  readonly phase: DeliveryPhase
  /** Batches are being taken and committed. */
  readonly ready: boolean
  /** What is in the way, if anything. */
  readonly error: MinimError | null
}

/** Plain counters, read by metrics. */
export interface DeliveryStats {
  commits: number
  messages: number
  items: number
  /** Batches that the ledger, or a transaction under way, had already. */
  skipped: number
  /** Transactions not committed, by cause. */
  readonly aborts: Record<FailureKind, number>
  /** Producers replaced, for whatever reason. */
  replaced: number
  /** Records that Kafka would not take: quarantined. */
  refusedRecords: number
  /** Messages dropped since Kafka takes not even their quarantine message. */
  unquarantinable: number
  /** Now: in transactions not yet committed, and waiting for one. */
  inFlightItems: number
  inFlightMessages: number
  waitingItems: number
  /** Bytes of batches kept until commit. */
  retainedBytes: number
}

/** A batch on its way. */
interface Entry {
  readonly item: WorkItem
  readonly key: string
  /** Set until the offer is answered. */
  answer: (() => void) | null
  /** Records that Kafka refuses: quarantined. */
  excluded: Set<number> | null
  /** Records whose quarantine message Kafka refuses as well. */
  hopeless: Set<number> | null
}

/** One transaction: what it holds, and the lane it is on. */
class Turn {
  readonly entries: Entry[] = []
  /** Batches in it, without those that only wait for one of them. */
  items = 0
  /** What the ledger will say, by stream. */
  readonly sequences = new Map<string, number>()
  /** Places that consumer groups have got to: the last one of each partition counts. */
  readonly offsets: GroupOffset[] = []
  messages = 0
  bytes = 0
  /** Of input: kept until commit, however little of it goes on. */
  inputBytes = 0
  openedAt = 0
  constructor(readonly lane: 0 | 1) {}
}

const BACKOFF_MIN_MS = 250
const BACKOFF_MAX_MS = 2_000
const QUEUE_FULL_WAIT_MS = 1
/** A transaction that was open for so much of its time-out may have been given up: clocks and ticks differ. */
const TIMED_OUT_SHARE = 0.8
/** Whoever takes a shard writes its name a few requests later. */
const OWNER_WAIT_MS = 3_000
/** How often a shard at rest is asked for: whoever lost it must not take records for much longer than this. */
const HOLD_CHECK_MS = 2_000
const HOLD_TIMEOUT_MS = 5_000
const DEFAULT_DRAIN_MS = 30_000
/** Clocks differ: a timestamp this close to the limit is refused here already. */
const CLOCK_SLACK_MS = 60_000
const MIN_BATCH_BYTES = 16_384

const immediate = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })
const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

/** Places by group, generation and member: one request for each. */
function groupOffsets(offsets: readonly GroupOffset[]): GroupOffsets[] {
  const groups = new Map<
    string,
    Omit<GroupOffsets, 'partitions'> & { readonly partitions: Map<string, Map<number, number>> }
  >()
  for (const { group, generation, member, topic, partition, next } of offsets) {
    const name = `${group} ${generation} ${member}`
    let found = groups.get(name)
    if (found === undefined) groups.set(name, (found = { group, generation, member, partitions: new Map() }))
    let partitions = found.partitions.get(topic)
    if (partitions === undefined) found.partitions.set(topic, (partitions = new Map<number, number>()))
    partitions.set(partition, next)
  }
  return [...groups.values()]
}

export class Delivery {
  readonly stats: DeliveryStats = {
    commits: 0,
    messages: 0,
    items: 0,
    skipped: 0,
    aborts: { fenced: 0, refused: 0, unknown_outcome: 0, aborted: 0 },
    replaced: 0,
    refusedRecords: 0,
    unquarantinable: 0,
    inFlightItems: 0,
    inFlightMessages: 0,
    waitingItems: 0,
    retainedBytes: 0,
  }
  readonly settings: DeliverySettings
  readonly shard: number
  readonly shards: number
  readonly #options: DeliveryOptions
  readonly #properties: KafkaProperties
  readonly #hooks: DeliveryHooks
  readonly #ledger: string
  #phase: DeliveryPhase = 'new'
  #error: MinimError | null = null
  /** Raised by every unclean end: what was begun before it has no say any more. */
  #generation = 0
  #lanes: [Lane, Lane] | null = null
  /** Of the lanes that were opened last: the next ones continue them. */
  readonly #identities: (ProducerIdentity | null)[] = [null, null]
  #cluster: Cluster | null = null
  #links: Links | null = null
  #laneReady: [boolean, boolean] = [false, false]
  #nextLane: 0 | 1 = 0
  #open: Turn | null = null
  #committing: Turn | null = null
  /** Why the open turn cannot be committed, as found while it was filled. */
  #broken: unknown = null
  #waiting: Entry[] = []
  #filling = false
  /** A batch is half produced: the open turn must not be committed. */
  #midItem = false
  #timer: NodeJS.Timeout | null = null
  #draining = 0
  #idle: (() => void)[] = []
  #taken = new Map<string, number>()
  /** Of streams' last batches, those under way among them; what the ledger had, until it is asked for. */
  #marks = new Map<string, Marks>()
  #ledgerMarks: ReadonlyMap<string, string> = new Map()
  #inFlight = new Map<string, number>()
  /** Streams with a failed batch, by its sequence: nothing later may be taken before it. */
  #brokenStreams = new Map<string, number>()
  #limits: ReadonlyMap<string, TopicLimit> = new Map()
  readonly #producer: ProducerLimits
  #batchBytes: number
  /** Takeovers since the last commit: each waits longer. */
  #setbacks = 0
  readonly #setbackWait = new Backoff(BACKOFF_MIN_MS, BACKOFF_MAX_MS)
  /** Names this process's hold on the shard, in the ledger. */
  readonly #owner = thisProcess(randomUUID())
  #owns = false
  #holdTimer: NodeJS.Timeout | null = null
  #holdLink: Link | null = null
  #checkingHold = false
  /** Commits when the hold was looked at last. */
  #commitsSeen = 0
  #formerTold = false
  /** When the oldest transaction was opened that an unclean end left: `performance.now()` ms. */
  #openSince = Infinity
  #topicsReady = false
  #unusedFenced = false
  #limitTopics: readonly string[] | null = null
  #limitSizes = new Float64Array(0)
  #limitAges = new Float64Array(0)

  constructor(options: DeliveryOptions) {
    this.#options = options
    this.#properties = options.properties ?? {}
    this.#hooks = options.hooks ?? {}
    this.settings = options.settings
    this.shard = options.shard ?? 0
    this.shards = options.shards ?? 1
    this.#ledger = options.ledgerTopic ?? LEDGER_TOPIC
    checkKafkaProperties(this.#properties)
    this.#producer = producerLimits(this.#properties)
    this.#batchBytes = this.#producer.maxBatchBytes
  }

  get state(): DeliveryState {
    return { phase: this.#phase, ready: this.#phase === 'ready', error: this.#error }
  }

  /**
   * Checks the topics, takes the shard and reads its ledger. Without a broker it goes on trying, and `state` says so.
   * @throws MinimError what no retry can mend: topics that differ, a property that librdkafka refuses, a broken ledger
   */
  async start(): Promise<void> {
    if (this.#phase !== 'new') throw new Error(`delivery is ${this.#phase}`)
    this.#setPhase('connecting')
    try {
      checkWithLibrdkafka(this.#properties)
      await this.#takeOver([])
    } catch (error) {
      if (error instanceof MinimError) this.#end(error)
      throw error
    }
  }

  /** Last sequence of a stream that is committed; 0 when there is none. */
  lastTaken(id: SourceId): number {
    return this.#taken.get(streamKey(id)) ?? 0
  }

  /**
   * Whether a batch was taken, or is under way, that had this number and other bytes. What is too old to be known did
   * not.
   */
  differs(id: SourceId, sequence: number, mark: Uint8Array): boolean {
    const key = streamKey(id)
    return (this.#marks.has(key) || this.#ledgerMarks.has(key)) && this.#marksOf(key).differs(sequence, mark)
  }

  #marksOf(key: string): Marks {
    let marks = this.#marks.get(key)
    if (marks === undefined)
      this.#marks.set(
        key,
        (marks = new Marks(this.#taken.get(key), Buffer.from(this.#ledgerMarks.get(key) ?? '', 'base64'))),
      )
    return marks
  }

  /** The same of a spool, whatever its stream was called when there was another number of workers. */
  lastSpooled(incarnation: string): number {
    let last = 0
    for (const [key, sequence] of this.#taken)
      if (key.startsWith(SPOOL_PREFIX) && key.endsWith(`\u0000${incarnation}`)) last = Math.max(last, sequence)
    return last
  }

  /** The streams of a source that the ledger knows, with the last sequence of each. */
  streamsOf(source: string): { readonly incarnation: string; readonly sequence: number }[] {
    const prefix = `${source}\u0000`
    return [...this.#taken]
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, sequence]) => ({ incarnation: key.slice(prefix.length), sequence }))
  }

  /**
   * Takes a batch. Resolves when it is in a transaction: late when the open transaction is full, which is the
   * back-pressure. Never rejects: what becomes of the batch is told to the item.
   */
  offer(item: WorkItem): Promise<void> {
    if (this.#phase === 'failed' || this.#phase === 'stopping' || this.#phase === 'stopped') {
      item.failed(this.#error ?? new MinimError('MINIM_DELIVERY_STOPPED'))
      return Promise.resolve()
    }
    // A group's partitions belong to whichever member has them: they have no shard.
    if (this.shards > 1 && item.offset === undefined) {
      const owner = shardOf(item.id.source, this.shards)
      if (owner !== this.shard) {
        item.failed(new MinimError('MINIM_DELIVERY_WRONG_SHARD', { owner, shard: this.shard }))
        return Promise.resolve()
      }
    }
    this.stats.retainedBytes += item.bytes
    this.stats.waitingItems++
    return new Promise((resolve) => {
      this.#waiting.push({ item, key: streamKey(item.id), answer: resolve, excluded: null, hopeless: null })
      void this.#fill()
    })
  }

  /** Resolves when everything offered so far is committed (or given up), without waiting for more to come. */
  drain(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve()
    this.#draining++
    this.#schedule()
    return new Promise((resolve) => {
      this.#idle.push(() => {
        this.#draining--
        resolve()
      })
    })
  }

  /** Drains, for so long at most, then lets go of the shard. What is left is told that it failed. */
  async stop(drainMs: number = DEFAULT_DRAIN_MS): Promise<void> {
    if (this.#phase === 'stopped') return
    if (this.#phase !== 'failed' && this.#phase !== 'new') {
      let timer: NodeJS.Timeout | undefined
      await Promise.race([
        this.drain(),
        new Promise<void>((resolve) => {
          timer = setTimeout(resolve, drainMs)
        }),
      ])
      clearTimeout(timer)
    }
    const failed = this.#phase === 'failed'
    if (!failed) this.#setPhase('stopping')
    this.#stopWatchingHold()
    this.#generation++
    const committing = this.#committing
    const openLane = this.#open?.lane
    this.#giveUp(new MinimError('MINIM_DELIVERY_STOPPED'))
    const lanes = this.#lanes
    // So that readers need not wait for the transaction to time out. A turn that is committing ends as the broker
    // decides.
    if (!failed && lanes !== null && openLane !== undefined && committing === null) {
      await lanes[openLane].abort(COMMIT_TIMEOUT_MS).catch(() => undefined)
    }
    this.#closeLanes()
    if (!failed) this.#setPhase('stopped')
  }

  // ---- filling
  // ------------------------------------------------------------------------------------------------------------------

  async #fill(): Promise<void> {
    if (this.#filling) return
    this.#filling = true
    try {
      for (;;) {
        const turn = this.#phase === 'ready' && this.#broken === null ? this.#turn() : null
        if (turn === null || this.#waiting.length === 0 || this.#isFull(turn)) return
        const entry = this.#waiting.shift() as Entry
        this.stats.waitingItems--
        await this.#take(entry, turn)
        this.#schedule()
        // Lets commits, sockets and timers have their turn, however fast batches come.
        await immediate()
      }
    } finally {
      this.#filling = false
      this.#schedule()
      this.#checkIdle()
    }
  }

  /** The turn being filled; null while both lanes are busy. */
  #turn(): Turn | null {
    if (this.#open === null && this.#laneReady[this.#nextLane]) {
      const lane = this.#nextLane
      this.#open = new Turn(lane)
      this.#laneReady[lane] = false
      this.#nextLane = lane === 0 ? 1 : 0
    }
    return this.#open
  }

  #isFull(turn: Turn): boolean {
    return (
      turn.messages >= this.settings.maxMessages ||
      turn.bytes >= this.settings.maxBytes ||
      turn.inputBytes >= this.settings.maxBytes
    )
  }

  async #take(entry: Entry, turn: Turn): Promise<void> {
    const { item, key } = entry
    const { offset, mark } = item
    if (mark !== undefined && this.differs(item.id, item.sequence, mark)) {
      this.#fail(
        entry,
        new MinimError('MINIM_DELIVERY_BATCH_DIFFERS', { source: item.id.source, sequence: item.sequence }),
      )
      return
    }
    if (offset === undefined && item.sequence <= (this.#taken.get(key) ?? 0)) {
      this.stats.skipped++
      this.#finish(entry)
      return
    }
    if (offset === undefined && item.sequence <= (this.#inFlight.get(key) ?? 0)) {
      // The same batch is under way: this one is done when that one is.
      this.stats.skipped++
      this.#join(entry, turn)
      return
    }
    const failedAt = this.#brokenStreams.get(key)
    if (failedAt !== undefined) {
      if (item.sequence > failedAt) {
        this.#fail(entry, new MinimError('MINIM_DELIVERY_BROKEN_STREAM'))
        return
      }
      this.#brokenStreams.delete(key)
    }
    let messages: Minimised
    let dropped: Set<number> | null
    try {
      ;[messages, dropped] = this.#minimise(entry)
    } catch (error) {
      this.#brokenStreams.set(key, item.sequence)
      this.#fail(entry, new MinimError('MINIM_DELIVERY_MINIMISE', {}, { cause: error }))
      return
    }
    const generation = this.#generation
    this.#join(entry, turn)
    if (offset === undefined) this.#inFlight.set(key, item.sequence)
    if (mark !== undefined) this.#marksOf(key).add(item.sequence, mark)
    this.#midItem = true
    try {
      let next = 0
      for (;;) {
        const lane = (this.#lanes as [Lane, Lane])[turn.lane]
        if (!lane.knows(messages.topics)) {
          await lane.learn(messages.topics)
          if (generation !== this.#generation) return
        }
        next = this.#produce(lane, messages, next, turn, dropped)
        if (next === messages.count) break
        await sleep(QUEUE_FULL_WAIT_MS)
        if (generation !== this.#generation) return
      }
      if (offset === undefined) turn.sequences.set(key, item.sequence)
      else turn.offsets.push(offset)
      turn.items++
    } catch (error) {
      if (generation !== this.#generation) return
      // The turn that commits now decides first: this one would have had to wait for it anyway.
      this.#broken = error
      if (this.#committing === null) this.#unclean(error)
    } finally {
      if (generation === this.#generation) this.#midItem = false
    }
  }

  #join(entry: Entry, turn: Turn): void {
    if (turn.entries.length === 0) turn.openedAt = performance.now()
    turn.entries.push(entry)
    turn.inputBytes += entry.item.bytes
    this.stats.inFlightItems++
    this.#answer(entry)
  }

  /** Makes the messages; records that Kafka is known to refuse become quarantine messages. */
  #minimise(entry: Entry): [Minimised, Set<number> | null] {
    let messages = entry.item.minimise(entry.excluded ?? undefined)
    const bad = this.#refusals(messages)
    if (bad === null && entry.hopeless === null) return [messages, null]
    if (bad === null) return [messages, this.#dropped(messages, entry, [])]
    const excluded = new Set(entry.excluded)
    for (const index of bad) excluded.add(messages.record[index])
    this.stats.refusedRecords += excluded.size - (entry.excluded?.size ?? 0)
    entry.excluded = excluded
    messages = entry.item.minimise(excluded)
    return [messages, this.#dropped(messages, entry, this.#refusals(messages) ?? [])]
  }

  /**
   * Messages to leave out, as a last resort: those named, and those of hopeless records. Said and counted, since they
   * are lost.
   */
  #dropped(messages: Minimised, entry: Entry, bad: readonly number[]): Set<number> | null {
    const dropped = new Set(bad)
    if (entry.hopeless !== null) {
      for (let i = 0; i < messages.count; i++) if (entry.hopeless.has(messages.record[i])) dropped.add(i)
    }
    if (dropped.size === 0) return null
    const [first] = dropped
    this.stats.unquarantinable += dropped.size
    this.#notice(
      new MinimError('MINIM_DELIVERY_UNQUARANTINABLE', {
        topic: messages.topics[messages.topic[first]] ?? '',
        count: dropped.size,
        what: 'too large, or a timestamp that it refuses',
      }),
    )
    return dropped
  }

  /**
   * Messages that Kafka would refuse: too large, or with a timestamp too far ahead. A timestamp of 0 would become the
   * time of now.
   */
  #refusals(messages: Minimised): number[] | null {
    if (messages.topics !== this.#limitTopics) this.#prepareLimits(messages)
    const { count, topic, valueLen, keyLen, timestamp } = messages
    const sizes = this.#limitSizes
    const ages = this.#limitAges
    const now = Date.now()
    let bad: number[] | null = null
    for (let i = 0; i < count; i++) {
      const t = topic[i]
      const time = timestamp[i]
      if (valueLen[i] + keyLen[i] > sizes[t] || !(time > 0) || time - now > ages[t]) {
        ;(bad ??= []).push(i)
      }
    }
    return bad
  }

  #prepareLimits(messages: Minimised): void {
    const { topics, headers } = messages
    const client = Number(this.#producer.maxMessageBytes)
    this.#limitSizes = new Float64Array(topics.length)
    this.#limitAges = new Float64Array(topics.length)
    for (let t = 0; t < topics.length; t++) {
      const limit = this.#limits.get(topics[t]) ?? DEFAULT_LIMIT
      let overhead = LONE_RECORD_OVERHEAD_BYTES
      for (const header of headers[t] ?? []) {
        for (const [name, value] of Object.entries(header))
          overhead += Buffer.byteLength(name) + Buffer.byteLength(value) + 10
      }
      this.#limitSizes[t] = Math.min(client, limit.maxMessageBytes) - overhead
      this.#limitAges[t] = limit.timestampAfterMaxMs - Math.min(CLOCK_SLACK_MS, limit.timestampAfterMaxMs / 2)
    }
    this.#limitTopics = topics
  }

  /** @returns the first message not taken, since too much waits for the brokers; or `messages.count` */
  #produce(lane: Lane, messages: Minimised, from: number, turn: Turn, dropped: Set<number> | null): number {
    const next = lane.produce(messages, from, dropped)
    turn.messages += lane.producedMessages
    turn.bytes += lane.producedBytes
    this.stats.inFlightMessages += lane.producedMessages
    return next
  }

  // ---- committing
  // ---------------------------------------------------------------------------------------------------------------

  /** Starts a commit, or a timer for it, if it is time. */
  #schedule(): void {
    const turn = this.#open
    if (
      this.#phase !== 'ready' ||
      turn === null ||
      turn.entries.length === 0 ||
      this.#committing !== null ||
      this.#midItem ||
      this.#broken !== null
    )
      return
    const left = this.settings.lingerMs - (performance.now() - turn.openedAt)
    if (left > 0 && !this.#isFull(turn) && !(this.#draining > 0 && this.#waiting.length === 0)) {
      this.#timer ??= setTimeout(
        () => {
          this.#timer = null
          this.#schedule()
        },
        Math.max(1, left),
      )
      return
    }
    if (this.#timer !== null) {
      clearTimeout(this.#timer)
      this.#timer = null
    }
    void this.#commit(turn)
  }

  async #commit(turn: Turn): Promise<void> {
    const generation = this.#generation
    const lane = (this.#lanes as [Lane, Lane])[turn.lane]
    this.#committing = turn
    this.#open = null
    // What this turn has still to send stands before what the next one has: a subject's records keep their order.
    const next = (this.#lanes as [Lane, Lane])[turn.lane === 0 ? 1 : 0]
    next.hold()
    void this.#fill()
    const startedAt = performance.now()
    try {
      // Without a transaction the ledger may only name what the brokers have.
      if (this.settings.guarantee === 'at-least-once') await lane.flush(COMMIT_TIMEOUT_MS)
      this.#produceLedger(lane, turn)
      // While the coordinator adds a group to the transaction it cannot vouch for new partitions: brokers would refuse
      // what comes for them.
      if (turn.offsets.length > 0) {
        await lane.flush(COMMIT_TIMEOUT_MS)
        next.release()
      }
      for (const offsets of groupOffsets(turn.offsets)) await lane.sendOffsets(offsets, COMMIT_TIMEOUT_MS)
      await this.#hooks.beforeCommit?.()
      await lane.commit(COMMIT_TIMEOUT_MS, () => {
        next.release()
      })
    } catch (error) {
      if (generation === this.#generation) this.#unclean(error)
      return
    }
    if (generation !== this.#generation) return
    this.#committing = null
    this.#setbacks = 0
    this.#setbackWait.reset()
    for (const [key, sequence] of turn.sequences) {
      this.#taken.set(key, sequence)
      this.#marks.get(key)?.committed(sequence)
      if (this.#inFlight.get(key) === sequence) this.#inFlight.delete(key)
    }
    this.stats.commits++
    this.stats.messages += turn.messages
    this.stats.items += turn.items
    this.stats.inFlightMessages -= turn.messages
    this.stats.inFlightItems -= turn.entries.length
    const commitMs = performance.now() - startedAt
    // The next one must not wait for what callers do on being told.
    if (this.#broken === null) {
      this.#laneReady[turn.lane] = true
      this.#schedule()
      void this.#fill()
    } else {
      this.#unclean(this.#broken)
    }
    for (const entry of turn.entries) this.#finish(entry)
    this.#hooks.onCommit?.({
      items: turn.entries.map((e) => e.item),
      messages: turn.messages,
      bytes: turn.bytes,
      commitMs,
    })
    this.#checkIdle()
  }

  #produceLedger(lane: Lane, turn: Turn): void {
    for (const [key, sequence] of turn.sequences) {
      lane.produceTo(
        this.#ledger,
        this.shard,
        Buffer.from(key, 'utf8'),
        encodeEntry(sequence, this.#marks.get(key)?.upTo(sequence)),
        Date.now(),
      )
    }
  }

  // ---- unclean ends
  // -------------------------------------------------------------------------------------------------------------

  #unclean(error: unknown): void {
    const failure = classify(error)
    const turns = [this.#committing, this.#open].filter((turn): turn is Turn => turn !== null)
    this.stats.aborts[failure.kind] += turns.filter((turn) => turn.entries.length > 0).length
    this.#openSince = Math.min(...turns.filter((turn) => turn.entries.length > 0).map((turn) => turn.openedAt))
    if (failure.kind === 'fenced' && !this.#mayHaveTimedOut()) {
      this.#fatal(new MinimError('MINIM_DELIVERY_FENCED', { shard: this.shard, cluster: this.settings.cluster }))
      return
    }
    // A topic that is gone is made again, as the policy wants it.
    if (failure.code === CODE.unknownPartition) this.#topicsReady = false
    this.#notice(new MinimError('MINIM_DELIVERY_ABORTED', { what: failure.text }))
    void this.#recover(failure, turns)
  }

  async #recover(failure: Failure, turns: readonly Turn[]): Promise<void> {
    this.#generation++
    this.#setPhase('recovering')
    const again = turns.flatMap((turn) => turn.entries)
    // A refusal is an end that is known: nothing of these transactions was committed.
    const all = [...again, ...this.#waiting]
    const ofGroups = failure.kind === 'refused' ? [] : all.filter(({ item }) => item.offset !== undefined)
    this.#waiting = ofGroups.length === 0 ? all : all.filter(({ item }) => item.offset === undefined)
    this.#resetTurns()
    for (const entry of ofGroups) this.#fail(entry, new MinimError('MINIM_DELIVERY_ABORTED', { what: failure.text }))
    try {
      await this.#takeOver(failure.kind === 'refused' ? again : [])
    } catch (error) {
      this.#fatal(
        error instanceof MinimError
          ? error
          : new MinimError('MINIM_DELIVERY_ABORTED', { what: classify(error).text }, { cause: error }),
      )
    }
  }

  #resetTurns(): void {
    this.#committing = null
    this.#open = null
    this.#broken = null
    this.#midItem = false
    this.#laneReady = [false, false]
    this.#nextLane = 0
    this.#inFlight.clear()
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.stats.inFlightItems = 0
    this.stats.inFlightMessages = 0
    this.stats.waitingItems = this.#waiting.length
  }

  /** Takes the shard, anew or again; tries until it succeeds or nothing can help. */
  async #takeOver(tried: readonly Entry[]): Promise<void> {
    // Brokers that take the shard back and refuse every transaction are not asked in a tight loop either.
    if (this.#setbacks++ > 3) await sleep(this.#setbackWait.next())
    const backoff = new Backoff(BACKOFF_MIN_MS, BACKOFF_MAX_MS)
    for (;;) {
      try {
        this.#closeLanes()
        if (this.#hasEnded()) return
        await this.#attempt(tried)
        break
      } catch (error) {
        if (this.#hasEnded()) return
        if (classify(error).kind === 'fenced') {
          if (this.#mayHaveTimedOut() && (await this.#stillOwns())) {
            // The coordinator gave up the transaction, and the id's epoch with it: it is ours to take anew.
            this.#identities.fill(null)
            continue
          }
          throw new MinimError(
            'MINIM_DELIVERY_FENCED',
            { shard: this.shard, cluster: this.settings.cluster },
            { cause: error },
          )
        }
        if (!isRetryable(error)) throw error
        const delayMs = backoff.next()
        const notice =
          error instanceof MinimError && error.code !== 'MINIM_KAFKA_UNREACHABLE'
            ? error
            : new MinimError(
                isForbidden(error) ? 'MINIM_KAFKA_NOT_ALLOWED' : 'MINIM_KAFKA_NO_BROKER',
                {
                  bootstrap: this.#options.bootstrap,
                  what: error instanceof MinimError ? error.details['what'] : classify(error).text,
                  delayMs,
                },
                { cause: error },
              )
        this.#error = notice
        this.#notice(notice)
        await sleep(delayMs)
        if (this.#hasEnded()) return
      }
    }
    if (this.#hasEnded()) {
      this.#closeLanes()
      return
    }
    this.#error = null
    this.#openSince = Infinity
    this.#laneReady = [true, true]
    this.#setPhase('ready')
    this.#watchHold()
    void this.#fill()
  }

  async #attempt(tried: readonly Entry[]): Promise<void> {
    const { topics, bootstrap, replication } = this.#options
    if (topics !== null && !this.#topicsReady) {
      const wanted = topics.some((t) => t.name === this.#ledger)
        ? topics
        : [...topics, ledgerTopic(this.shards, this.#ledger)]
      const report = await ensureTopics({ bootstrap, properties: this.#properties, wanted, replication })
      this.#setLimits(report.limits)
      this.#topicsReady = true
      this.#hooks.onTopics?.(report)
    }
    if (tried.length > 0 && topics !== null) {
      this.#setLimits(
        await readLimits({ bootstrap, properties: this.#properties }, [...new Set([...this.#limits.keys()])]),
      )
    }
    const cluster = (this.#cluster ??= new Cluster({
      bootstrap,
      clientId: this.#producer.clientId,
      createTopics: topics === null,
      connection: {
        ...connectionOptions(this.#properties),
        connectTimeout: this.#producer.connectTimeoutMs,
        requestTimeout: this.#producer.socketTimeoutMs,
      },
    }))
    // Leaders may have moved: that is what many unclean ends are about.
    await cluster.refresh([this.#ledger, ...cluster.topics])
    this.#links = new Links(cluster)
    // Both ids, before the ledger is read: what a predecessor, or our own former self, had under way is completed or
    // aborted by it.
    const a = await this.#openLane(0)
    let b: Lane
    try {
      b = await this.#openLane(1)
    } catch (error) {
      a.close()
      throw error
    }
    this.#lanes = [a, b]
    if (!this.#owns && topics !== null && this.settings.guarantee === 'exactly-once') {
      a.produceTo(this.#ledger, this.shard, Buffer.from(this.#ownerKey, 'utf8'), encodeOwner(this.#owner), Date.now())
      await this.#checkClock(a, cluster)
      await a.commit(COMMIT_TIMEOUT_MS)
      this.#owns = true
    } else if (tried.length > 0 && topics !== null) {
      a.produceTo(
        this.#ledger,
        this.shard,
        Buffer.from(clockKey(this.settings.cluster, this.shard), 'utf8'),
        Buffer.from('{}'),
        Date.now(),
      )
      await this.#checkClock(a, cluster)
      await a.abort(COMMIT_TIMEOUT_MS)
    }
    const ledger = await readLedger({
      bootstrap,
      properties: this.#properties,
      topic: this.#ledger,
      shard: this.shard,
      shards: this.shards,
      ownerKey: this.#ownerKey,
    })
    this.#taken = ledger.taken
    this.#ledgerMarks = ledger.marks
    this.#marks.clear()
    if (!this.#formerTold && ledger.owner?.id === this.#owner.id && ledger.formerOwner !== null)
      this.#hooks.onTookOver?.(ownerText(ledger.formerOwner))
    this.#formerTold = true
    if (!this.#unusedFenced) {
      await this.#fenceUnused(ledger.partitions)
      this.#unusedFenced = true
    }
    const suspects = tried.filter((entry) => entry.item.sequence > (this.#taken.get(entry.key) ?? 0))
    if (suspects.length > 0) await this.#quarantineRefused(suspects)
  }

  /**
   * Whether Kafka takes the time of this machine: a record that bears it has just been produced.
   * @throws MinimError MINIM_KAFKA_CLOCK
   */
  async #checkClock(lane: Lane, cluster: Cluster): Promise<void> {
    let refused = false
    try {
      await lane.flush(COMMIT_TIMEOUT_MS)
    } catch (error) {
      if (classify(error).code !== CODE.invalidTimestamp) throw error
      refused = true
    }
    const aheadMs = await this.#aheadMs(cluster)
    let limitMs = DEFAULT_LIMIT.timestampAfterMaxMs
    for (const { timestampAfterMaxMs } of this.#limits.values()) limitMs = Math.min(limitMs, timestampAfterMaxMs)
    const { bootstrap } = this.#options
    const seconds = (ms: number): string => `${Math.round(Math.abs(ms) / 1_000)} s`
    if (refused || (aheadMs !== null && aheadMs > limitMs)) {
      const what =
        aheadMs === null ? "too far from Kafka's" : `${seconds(aheadMs)} ${aheadMs > 0 ? 'ahead of' : 'behind'} Kafka's`
      throw new MinimError('MINIM_KAFKA_CLOCK', {
        bootstrap,
        what: `${what}, which takes no records that bear its time: all waits`,
      })
    }
    // Kafka takes old times; but to us, what senders with a right clock say lies ahead.
    if (aheadMs !== null && aheadMs < -DEFAULT_LIMIT.timestampAfterMaxMs) {
      this.#notice(
        new MinimError('MINIM_KAFKA_CLOCK', {
          bootstrap,
          what: `${seconds(aheadMs)} behind Kafka's: records of now lie ahead of it, and are refused as "clock"`,
        }),
      )
    }
  }

  /**
   * How far this machine's clock is ahead of the coordinator's, as the transaction tells that has just begun; null
   * where that is not to be had.
   */
  async #aheadMs(cluster: Cluster): Promise<number | null> {
    if (this.settings.guarantee !== 'exactly-once') return null
    const [id] = transactionalIds(this.settings.cluster, this.shard)
    try {
      const link = await cluster.coordinator(TRANSACTION, id)
      try {
        const { startMs } = await link.transactionState(id)
        return startMs === null ? null : Date.now() - startMs
      } finally {
        link.close()
      }
    } catch {
      // A broker that does not know the request, or does not let us: the time is only for the message.
      return null
    }
  }

  get #ownerKey(): string {
    return ownerKey(this.settings.cluster, this.shard)
  }

  /**
   * Whether the coordinator may have given a transaction up because it was open for too long: that looks as if somebody
   * had taken the id.
   */
  #mayHaveTimedOut(): boolean {
    return this.#owns && performance.now() - this.#openSince >= this.#producer.transactionTimeoutMs * TIMED_OUT_SHARE
  }

  /**
   * Whether nobody else has written that the shard is theirs, which whoever takes it does at once. A broker that does
   * not answer tells nothing.
   */
  async #stillOwns(): Promise<boolean> {
    const { bootstrap } = this.#options
    for (const waitMs of [0, OWNER_WAIT_MS]) {
      await sleep(waitMs)
      const { owner } = await readLedger({
        bootstrap,
        properties: this.#properties,
        topic: this.#ledger,
        shard: this.shard,
        shards: this.shards,
        ownerKey: this.#ownerKey,
      })
      if (owner?.id !== this.#owner.id) return false
    }
    return true
  }

  /**
   * Who has the shard now, for one that has lost it; null when nobody has said so in time.
   * Whoever takes it writes its name a few requests later.
   */
  async successor(timeoutMs: number = OWNER_WAIT_MS): Promise<string | null> {
    const { bootstrap } = this.#options
    let over = false
    const search = async (): Promise<string | null> => {
      while (!over) {
        const ledger = await readLedger({
          bootstrap,
          properties: this.#properties,
          topic: this.#ledger,
          shard: this.shard,
          shards: this.shards,
          ownerKey: this.#ownerKey,
        }).catch(() => null)
        if (ledger !== null && ledger.owner !== null && ledger.owner.id !== this.#owner.id)
          return ownerText(ledger.owner)
        await sleep(100)
      }
      return null
    }
    const found = await Promise.race([search(), sleep(timeoutMs).then(() => null)])
    over = true
    return found
  }

  /**
   * Looks now and then whether the shard is still ours, while no commit tells. Asking is a read, and writes nothing
   * anywhere.
   */
  #watchHold(): void {
    if (this.#options.topics === null || this.settings.guarantee === 'at-least-once') return
    this.#holdTimer ??= setInterval(() => {
      void this.#checkHold()
    }, HOLD_CHECK_MS).unref()
  }

  async #checkHold(): Promise<void> {
    const { commits } = this.stats
    const busy = commits !== this.#commitsSeen
    this.#commitsSeen = commits
    if (busy || this.#checkingHold || this.#phase !== 'ready' || !this.#isIdle()) return
    this.#checkingHold = true
    const generation = this.#generation
    // The one that whoever takes the shard takes first.
    const [id] = transactionalIds(this.settings.cluster, this.shard)
    const own = this.#identities[0]
    let timer: NodeJS.Timeout | undefined
    try {
      // One that does not answer says nothing: the next commit will, and so will the next question.
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          reject(new Error('late'))
        }, HOLD_TIMEOUT_MS)
      })
      const holder = await Promise.race([this.#askHolder(id), late])
      if (own === null || generation !== this.#generation || this.#phase !== 'ready' || this.#identities[0] !== own)
        return
      if (holder.producerId !== own.producerId || holder.epoch !== own.epoch) this.#doubtHold()
    } catch {
      this.#holdLink?.close()
      this.#holdLink = null
    } finally {
      clearTimeout(timer)
      this.#checkingHold = false
    }
  }

  /**
   * The id has another epoch. Whoever took the shard has written its name; a coordinator that gave up a transaction
   * raises the epoch as well, and then the shard is still ours: it is taken anew. Until that is known nothing is
   * committed.
   */
  #doubtHold(): void {
    const what = 'the coordinator knows another epoch of the transactional id'
    this.#notice(new MinimError('MINIM_DELIVERY_ABORTED', { what }))
    this.#openSince = -Infinity
    void this.#recover({ kind: 'fenced', code: 0, text: what }, [])
  }

  async #askHolder(id: string): Promise<ProducerIdentity> {
    const link =
      this.#holdLink?.connected === true
        ? this.#holdLink
        : await (this.#cluster as Cluster).coordinator(TRANSACTION, id)
    if (this.#holdLink !== link) this.#holdLink?.close()
    this.#holdLink = link
    if (this.#hasEnded()) link.close()
    return (await link.transactionState(id)).holder
  }

  #stopWatchingHold(): void {
    if (this.#holdTimer !== null) clearInterval(this.#holdTimer)
    this.#holdTimer = null
    this.#holdLink?.close()
    this.#holdLink = null
  }

  /** Ids of shards that are no longer used: whoever still runs with them must not write. */
  async #fenceUnused(ledgerPartitions: number): Promise<void> {
    if (this.#options.topics === null || this.settings.guarantee === 'at-least-once') return
    const { cluster } = this.settings
    for (let shard = this.shards; shard < Math.min(ledgerPartitions, MAX_SHARDS); shard++) {
      for (const [turn, id] of transactionalIds(cluster, shard).entries()) {
        const lane = await Lane.open(this.#laneOptions(id, null))
        try {
          if (turn === 0) {
            // Its former owner reads here that the shard is no longer its own, and does not take it back.
            lane.produceTo(
              this.#ledger,
              shard,
              Buffer.from(ownerKey(cluster, shard), 'utf8'),
              encodeOwner(this.#owner),
              Date.now(),
            )
            await lane.commit(COMMIT_TIMEOUT_MS)
          }
        } finally {
          lane.close()
        }
      }
    }
  }

  /** Finds the records that Kafka refuses, in trials on this shard's own id. */
  async #quarantineRefused(entries: readonly Entry[]): Promise<void> {
    const lanes = this.#lanes as [Lane, Lane]
    lanes[0].close()
    let found = 0
    let byBatch = false
    for (const entry of entries) {
      const outcome = await findRefused({
        minimise: () => this.#minimise(entry),
        exclude: (records) => {
          const excluded = (entry.excluded ??= new Set())
          for (const record of records) {
            if (excluded.has(record)) (entry.hopeless ??= new Set()).add(record)
            else excluded.add(record)
          }
        },
        open: () => this.#openLane(0),
      })
      found += outcome.records
      byBatch ||= outcome.byBatch
    }
    this.stats.refusedRecords += found
    // Each message alone is taken, all together are not: the batches are too large for a topic.
    if (found === 0 && byBatch) this.#batchBytes = Math.max(MIN_BATCH_BYTES, Math.floor(this.#batchBytes / 2))
    lanes[0] = await this.#openLane(0)
    if (byBatch) {
      lanes[1].close()
      lanes[1] = await this.#openLane(1)
    }
  }

  #setLimits(limits: ReadonlyMap<string, TopicLimit>): void {
    this.#limits = limits
    this.#limitTopics = null
    for (const { maxMessageBytes } of limits.values()) this.#batchBytes = Math.min(this.#batchBytes, maxMessageBytes)
  }

  async #openLane(index: 0 | 1): Promise<Lane> {
    const lane = await Lane.open(
      this.#laneOptions(transactionalIds(this.settings.cluster, this.shard)[index], this.#identities[index]),
    )
    this.#identities[index] = lane.identity
    return lane
  }

  #laneOptions(transactionalId: string, former: ProducerIdentity | null): LaneOptions {
    const { transactionTimeoutMs, requestTimeoutMs, maxQueuedBytes, codec } = this.#producer
    return {
      cluster: this.#cluster as Cluster,
      links: this.#links as Links,
      ledger: { topic: this.#ledger, partition: this.shard },
      transactionalId: this.settings.guarantee === 'exactly-once' ? transactionalId : null,
      transactionTimeoutMs,
      requestTimeoutMs,
      maxQueuedBytes,
      codec,
      maxBatchBytes: this.#batchBytes,
      former,
    }
  }

  #closeLanes(): void {
    this.#links?.close()
    this.#links = null
    const lanes = this.#lanes
    if (lanes === null) return
    this.#lanes = null
    this.stats.replaced += this.#phase === 'recovering' ? lanes.length : 0
    for (const lane of lanes) lane.close()
  }

  // ---- endings
  // ------------------------------------------------------------------------------------------------------------------

  #hasEnded(): boolean {
    return this.#phase === 'stopping' || this.#phase === 'stopped' || this.#phase === 'failed'
  }

  #finish(entry: Entry): void {
    this.stats.retainedBytes -= entry.item.bytes
    this.#answer(entry)
    entry.item.committed()
  }

  #fail(entry: Entry, error: MinimError): void {
    this.stats.retainedBytes -= entry.item.bytes
    this.#answer(entry)
    entry.item.failed(error)
  }

  #answer(entry: Entry): void {
    const { answer } = entry
    if (answer === null) return
    entry.answer = null
    answer()
  }

  #fatal(error: MinimError): void {
    this.#end(error)
    this.#hooks.onFatal?.(error)
  }

  /** Gives everything up. */
  #end(error: MinimError): void {
    this.#generation++
    this.#error = error
    this.#setPhase('failed')
    this.#stopWatchingHold()
    this.#giveUp(error)
    this.#closeLanes()
  }

  #giveUp(error: MinimError): void {
    const left = [...(this.#committing?.entries ?? []), ...(this.#open?.entries ?? []), ...this.#waiting]
    this.#waiting = []
    this.#resetTurns()
    for (const entry of left) this.#fail(entry, error)
    this.#checkIdle()
  }

  #isIdle(): boolean {
    return (
      this.#waiting.length === 0 &&
      !this.#midItem &&
      this.#committing === null &&
      (this.#open === null || this.#open.entries.length === 0)
    )
  }

  #checkIdle(): void {
    if (this.#idle.length === 0 || !this.#isIdle()) return
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }

  #notice(error: MinimError): void {
    this.#hooks.onNotice?.(error)
  }

  #setPhase(phase: DeliveryPhase): void {
    if (this.#phase === phase) return
    this.#phase = phase
    this.#hooks.onPhase?.(phase)
  }
}
