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
 * This file is what others see of it, and says what follows upon what. Where each rule is: `phases.ts` has the phases,
 * `take-over.ts` takes the shard, `turns.ts` lets two lanes take turns, `filler.ts` puts a batch into a turn, `turn.ts`
 * commits it, `lane.ts` speaks to Kafka, `ledger.ts` reads what was taken, `poison.ts` finds what Kafka refuses.
 */
import { MinimError } from '../errors/catalogue.js'
import { shardOf } from '../flow/shards.js'
import type { SourceId, WorkItem } from '../flow/work-item.js'
import { CODE } from '../kafka/codes.js'
import { classify, type Failure } from '../kafka/errors.js'
import { checkWithLibrdkafka } from '../kafka/properties.js'
import { COMMIT_TIMEOUT_MS } from '../kafka/property-rules.js'
import type { WantedTopic } from '../kafka/topics.js'
import { Entry } from './entry.js'
import { Filler } from './filler.js'
import { Hold } from './hold.js'
import type { LanePair } from './lanes.js'
import { streamKey } from './ledger.js'
import { Limits } from './limits.js'
import { Minimiser } from './minimiser.js'
import { type DeliveryHooks, type DeliveryOptions, type DeliveryState, type DeliveryStats, noStats } from './options.js'
import { Phases } from './phases.js'
import { Queue } from './queue.js'
import { Shard } from './shard.js'
import { Streams } from './streams.js'
import { fenced, TakeOver, type TakeOverCause } from './take-over.js'
import type { Turn } from './turn.js'
import { Turns } from './turns.js'

export type { DeliveryHooks, DeliveryOptions, DeliveryPhase, DeliverySettings } from './options.js'

const DEFAULT_DRAIN_MS = 30_000

/** Retries for these reasons: Kafka cannot be got at. */
const OUTAGES: ReadonlySet<string> = new Set(['MINIM_KAFKA_NO_BROKER', 'MINIM_KAFKA_NOT_ALLOWED'])

const isUsed = (turn: Turn): boolean => turn.entries.length > 0

export class Delivery {
  readonly stats: DeliveryStats = noStats()
  readonly #hooks: DeliveryHooks
  readonly #shard: Shard
  readonly #phases: Phases
  readonly #queue: Queue
  readonly #streams = new Streams()
  readonly #filler: Filler
  readonly #takeOver: TakeOver
  #outage: MinimError | null = null

  /** @throws MinimError for a property of Kafka's clients that is minim's own, or makes no sense */
  constructor(options: DeliveryOptions) {
    const { stats } = this
    const hooks = options.hooks ?? {}
    const shard = new Shard(options)
    const limits = new Limits(shard.producer)
    const minimiser = new Minimiser(limits, stats, (error) => hooks.onNotice?.(error))
    this.#hooks = hooks
    this.#shard = shard
    this.#phases = new Phases((phase) => {
      if (phase === 'ready') this.#setOutage(null)
      hooks.onPhase?.(phase)
    })
    this.#queue = new Queue(stats)
    this.#filler = new Filler(this.#streams, minimiser, stats)
    this.#takeOver = new TakeOver({ shard, limits, minimiser, stats, hooks, streams: this.#streams })
  }

  get state(): DeliveryState {
    return { ...this.#phases.state, outage: this.#outage }
  }

  /**
   * Checks the topics, takes the shard and reads its ledger. Without a broker it goes on trying, and `state` says so.
   * @throws MinimError what no retry can mend: topics that differ, a property that librdkafka refuses, a broken ledger
   */
  async start(): Promise<void> {
    const { name } = this.#phases.current
    if (name !== 'new') throw new Error(`delivery is ${name}`)
    this.#phases.enter({ name: 'connecting', error: null })
    try {
      checkWithLibrdkafka(this.#shard.properties)
      await this.#take('connecting', { refused: [], openSince: Infinity })
    } catch (error) {
      if (error instanceof MinimError) this.#end(error, [])
      throw error
    }
  }

  /** Last sequence of a stream that is committed; 0 when there is none. */
  lastTaken(id: SourceId): number {
    return this.#streams.lastTaken(streamKey(id))
  }

  /**
   * Whether a batch was taken, or is under way, that had this number and other bytes. What is too old to be known did
   * not.
   */
  differs(id: SourceId, sequence: number, mark: Uint8Array): boolean {
    return this.#streams.differs(id, sequence, mark)
  }

  /** Last sequence of a spool, whatever its stream was called when there was another number of workers. */
  lastSpooled(incarnation: string): number {
    return this.#streams.lastSpooled(incarnation)
  }

  /** The streams of a source that the ledger knows, with the last sequence of each. */
  streamsOf(source: string): { readonly incarnation: string; readonly sequence: number }[] {
    return this.#streams.of(source)
  }

  /** Who has the shard now, for one that has lost it; null when nobody has said so in time. */
  successor(timeoutMs?: number): Promise<string | null> {
    return this.#takeOver.successor(timeoutMs)
  }

  /**
   * Takes a batch. Resolves when it is in a transaction: late when the open transaction is full, which is the
   * back-pressure. Never rejects: what becomes of the batch is told to the item.
   */
  offer(item: WorkItem): Promise<void> {
    if (this.#phases.hasEnded()) {
      item.failed(this.#phases.error ?? new MinimError('MINIM_DELIVERY_STOPPED'))
      return Promise.resolve()
    }
    const { index, count } = this.#shard
    // A group's partitions belong to whichever member has them: they have no shard.
    if (count > 1 && item.offset === undefined) {
      const owner = shardOf(item.id.source, count)
      if (owner !== index) {
        item.failed(new MinimError('MINIM_DELIVERY_WRONG_SHARD', { owner, shard: index }))
        return Promise.resolve()
      }
    }
    return new Promise((resolve) => {
      this.#queue.push(new Entry(item, this.stats, resolve))
      void this.#phases.turns?.fill()
    })
  }

  /** Resolves when everything offered so far is committed (or given up), without waiting for more to come. */
  drain(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve()
    const drained = this.#queue.drain()
    this.#phases.turns?.schedule()
    return drained
  }

  /**
   * Makes and checks topics that are to be written to from {@link useTopics} on.
   * @throws MinimError when they differ from what is wanted, or cannot be looked at
   */
  prepareTopics(wanted: readonly WantedTopic[]): Promise<void> {
    return this.#takeOver.prepareTopics(wanted)
  }

  /** These topics are what is wanted from now on, whenever topics are made and checked again. */
  useTopics(wanted: readonly WantedTopic[]): void {
    this.#shard.useTopics(wanted)
  }

  /** Drains, for so long at most, then lets go of the shard. What is left is told that it failed. */
  async stop(drainMs: number = DEFAULT_DRAIN_MS): Promise<void> {
    const { name } = this.#phases.current
    if (name === 'stopped') return
    if (name !== 'failed' && name !== 'new') {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, drainMs)
      })
      await Promise.race([this.drain(), late])
      clearTimeout(timer)
    }
    if (this.#phases.current.name === 'failed') return
    const { turns, error } = this.#phases
    const isCommitting = turns?.isCommitting === true
    const left = turns?.end() ?? []
    this.#phases.enter({ name: 'stopping', error })
    this.#giveUp(new MinimError('MINIM_DELIVERY_STOPPED'), left)
    // So that readers need not wait for the transaction to time out. A turn that is committing ends as the broker
    // decides.
    if (!isCommitting) await left[0]?.lane.abort(COMMIT_TIMEOUT_MS).catch(() => undefined)
    this.#takeOver.lanes.close()
    this.#phases.enter({ name: 'stopped', error })
  }

  /** Takes the shard and begins to take turns. */
  async #take(name: 'connecting' | 'recovering', cause: Pick<TakeOverCause, 'refused' | 'openSince'>): Promise<void> {
    const lanes = await this.#takeOver.run({
      ...cause,
      isAgain: name === 'recovering',
      isOver: () => this.#phases.hasEnded(),
      onRetry: (error) => {
        this.#phases.enter({ name, error })
        // Whatever else is said was said by a broker.
        this.#setOutage(OUTAGES.has(error.code) ? error : null)
        this.#hooks.onNotice?.(error)
      },
    })
    if (lanes === null) return
    const turns = this.#turnsOn(lanes)
    this.#phases.enter({ name: 'ready', turns, hold: this.#watch(turns) })
    void turns.fill()
  }

  #turnsOn(lanes: LanePair): Turns {
    const turns = new Turns({
      lanes,
      shard: this.#shard,
      queue: this.#queue,
      streams: this.#streams,
      filler: this.#filler,
      stats: this.stats,
      beforeCommit: async () => {
        await this.#hooks.beforeCommit?.()
      },
      onCommitted: () => {
        this.#takeOver.committed()
      },
      onReport: (report) => this.#hooks.onCommit?.(report),
      onUnclean: (error) => {
        this.#unclean(error, turns.end())
      },
      onRest: () => {
        if (this.#isIdle()) this.#queue.drained()
      },
    })
    return turns
  }

  #watch(turns: Turns): Hold | null {
    const { lanes } = this.#takeOver
    if (!this.#shard.isContested || lanes.identity === null) return null
    return new Hold({
      cluster: lanes.cluster,
      transactionalId: this.#shard.ids[0],
      identity: lanes.identity,
      commits: () => this.stats.commits,
      isResting: () => this.#isIdle(),
      onDoubt: () => {
        this.#doubt(turns.end())
      },
      onSilence: (silent, delayMs) => {
        const { bootstrap } = this.#shard
        const what = 'the transaction coordinator is silent'
        this.#setOutage(silent ? new MinimError('MINIM_KAFKA_NO_BROKER', { bootstrap, what, delayMs }) : null)
      },
    })
  }

  #setOutage(outage: MinimError | null): void {
    if (outage?.code === this.#outage?.code) return
    this.#outage = outage
    this.#hooks.onOutage?.(outage)
  }

  /** A transaction cannot be committed, or nobody knows whether it was. @param left those that are not committed */
  #unclean(error: unknown, left: readonly Turn[]): void {
    const failure = classify(error)
    const used = left.filter(isUsed)
    this.stats.aborts[failure.kind] += used.length
    const openSince = Math.min(...used.map(({ openedAt }) => openedAt))
    if (failure.kind === 'fenced' && !this.#takeOver.mayHaveTimedOut(openSince)) {
      const fatal = fenced(this.#shard)
      this.#end(fatal, left)
      this.#hooks.onFatal?.(fatal)
      return
    }
    if (failure.code === CODE.unknownPartition) this.#takeOver.checkTopicsAgain()
    this.#hooks.onNotice?.(new MinimError('MINIM_DELIVERY_ABORTED', { what: failure.text }))
    void this.#recover(failure, left, openSince)
  }

  /**
   * The id has another epoch. Whoever took the shard has written its name; a coordinator that gave up a transaction
   * raises the epoch as well, and then the shard is still ours: it is taken anew. Until that is known nothing is
   * committed; what was taken in while the coordinator was asked is filled again.
   */
  #doubt(left: readonly Turn[]): void {
    const text = 'the coordinator knows another epoch of the transactional id'
    this.#hooks.onNotice?.(new MinimError('MINIM_DELIVERY_ABORTED', { what: text }))
    // However short a transaction was open: who has the shard now is looked up.
    void this.#recover({ kind: 'fenced', code: 0, text }, left, -Infinity)
  }

  async #recover({ kind, text }: Failure, left: readonly Turn[], openSince: number): Promise<void> {
    this.#phases.enter({ name: 'recovering', error: null })
    const again = left.flatMap(({ entries }) => entries)
    const all = [...again, ...this.#queue.takeAll()]
    // A refusal is an end that is known: nothing of these transactions was committed.
    const isKnown = kind === 'refused'
    this.#queue.fill(isKnown ? all : all.filter(({ item }) => item.offset === undefined))
    if (!isKnown)
      for (const entry of all)
        if (entry.item.offset !== undefined) entry.failed(new MinimError('MINIM_DELIVERY_ABORTED', { what: text }))
    try {
      await this.#take('recovering', { openSince, refused: isKnown ? again : [] })
    } catch (error) {
      const fatal =
        error instanceof MinimError
          ? error
          : new MinimError('MINIM_DELIVERY_ABORTED', { what: classify(error).text }, { cause: error })
      this.#end(fatal, [])
      this.#hooks.onFatal?.(fatal)
    }
  }

  /** Gives everything up. @param left transactions that are not committed */
  #end(error: MinimError, left: readonly Turn[]): void {
    this.#phases.enter({ name: 'failed', error })
    this.#giveUp(error, left)
    this.#takeOver.lanes.close()
  }

  #giveUp(error: MinimError, left: readonly Turn[]): void {
    const entries = [...left.flatMap((turn) => turn.entries), ...this.#queue.takeAll()]
    for (const entry of entries) entry.failed(error)
    if (this.#isIdle()) this.#queue.drained()
  }

  #isIdle(): boolean {
    return this.#queue.isEmpty && this.#phases.turns?.isIdle !== false
  }
}
