/**
 * Takes the shard, at the start and after each unclean end: its ids first, so that whoever had them is fenced and what
 * was pending is decided, then the ledger, which says what was taken. It tries until it succeeds, or nothing can help.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Backoff } from '../base/backoff.js'
import { MinimError } from '../errors/catalogue.js'
import { MAX_SHARDS, transactionalIds } from '../flow/shards.js'
import { CODE } from '../kafka/codes.js'
import { classify, isForbidden, isRetryable } from '../kafka/errors.js'
import { COMMIT_TIMEOUT_MS } from '../kafka/property-rules.js'
import { ensureTopics, readLimits, type WantedTopic } from '../kafka/topics.js'
import { checkClock } from './clock.js'
import type { Entry } from './entry.js'
import type { Lane } from './lane.js'
import { type LanePair, Lanes } from './lanes.js'
import { clockKey, encodeOwner, ownerKey, ownerText, thisProcess } from './ledger.js'
import type { Limits } from './limits.js'
import type { Minimiser } from './minimiser.js'
import type { DeliveryHooks, DeliveryStats } from './options.js'
import { findRefused } from './poison.js'
import { renameEntries } from './rename.js'
import type { Shard } from './shard.js'
import type { Streams } from './streams.js'

const BACKOFF_MIN_MS = 250
const BACKOFF_MAX_MS = 2_000
/** So many take-overs in a row are not waited for. */
const PROMPT_SETBACKS = 3
/** A transaction that was open for so much of its time-out may have been given up: clocks and ticks differ. */
const TIMED_OUT_SHARE = 0.8
/** Whoever takes a shard writes its name a few requests later. */
const OWNER_WAIT_MS = 3_000
const SUCCESSOR_POLL_MS = 100

export interface TakeOverOptions {
  readonly shard: Shard
  readonly limits: Limits
  readonly streams: Streams
  readonly minimiser: Minimiser
  readonly stats: DeliveryStats
  readonly hooks: DeliveryHooks
}

/** Why the shard is taken, and who waits for it. */
export interface TakeOverCause {
  /** Batches of a transaction that Kafka refused: one of them holds what it refuses. */
  readonly refused: readonly Entry[]
  /** Since when the oldest transaction was open that an unclean end left, `performance.now()` ms; Infinity for none. */
  readonly openSince: number
  /** Whether it was ours before: lanes that are closed count as replaced. */
  readonly isAgain: boolean
  /** Whether it is given up: delivery ends. */
  isOver(): boolean
  /** It failed, and is tried again. */
  onRetry(notice: MinimError): void
}

export class TakeOver {
  readonly lanes: Lanes
  readonly #options: TakeOverOptions
  /** Names this process's hold on the shard, in the ledger. */
  readonly #owner = thisProcess(randomUUID())
  /** Whether the ledger names this process. */
  #owns = false
  #areTopicsChecked = false
  #isFormerTold = false
  #areUnusedFenced = false
  /** How often it was done since the last commit: each time it waits longer. */
  #setbacks = 0
  readonly #setbackWait = new Backoff(BACKOFF_MIN_MS, BACKOFF_MAX_MS)

  constructor(options: TakeOverOptions) {
    this.#options = options
    this.lanes = new Lanes(options.shard, options.limits)
  }

  /** A transaction is committed: whatever was the matter is over. */
  committed(): void {
    this.#setbacks = 0
    this.#setbackWait.reset()
  }

  /** A topic is gone: it is made again, as the policy wants it. */
  checkTopicsAgain(): void {
    this.#areTopicsChecked = false
  }

  /**
   * Whether the coordinator may have given a transaction up because it was open for too long: that looks as if somebody
   * had taken the id.
   */
  mayHaveTimedOut(openSince: number): boolean {
    const { transactionTimeoutMs } = this.#options.shard.producer
    return this.#owns && performance.now() - openSince >= transactionTimeoutMs * TIMED_OUT_SHARE
  }

  /** @returns the lanes to go on with; null when it was given up. @throws MinimError what no retry can mend */
  async run(cause: TakeOverCause): Promise<LanePair | null> {
    // Brokers that take the shard back and refuse every transaction are not asked in a tight loop either.
    if (this.#setbacks++ > PROMPT_SETBACKS) await sleep(this.#setbackWait.next())
    const backoff = new Backoff(BACKOFF_MIN_MS, BACKOFF_MAX_MS)
    for (;;) {
      const closed = this.lanes.close()
      if (cause.isOver()) return null
      if (cause.isAgain) this.#options.stats.replaced += closed
      try {
        const lanes = await this.#attempt(cause.refused)
        if (!cause.isOver()) return lanes
      } catch (error) {
        if (!cause.isOver()) await this.#afterFailure(error, cause, backoff)
      }
    }
  }

  /** Who has the shard now, for one that has lost it; null when nobody has said so in time. */
  async successor(timeoutMs: number = OWNER_WAIT_MS): Promise<string | null> {
    const { shard } = this.#options
    let over = false
    const search = async (): Promise<string | null> => {
      while (!over) {
        const owner = await shard.readLedger().then(
          (ledger) => ledger.owner,
          () => null,
        )
        if (owner !== null && owner.id !== this.#owner.id) return ownerText(owner)
        await sleep(SUCCESSOR_POLL_MS)
      }
      return null
    }
    const found = await Promise.race([search(), sleep(timeoutMs).then(() => null)])
    over = true
    return found
  }

  /** Waits for the next attempt. @throws MinimError when there is none */
  async #afterFailure(error: unknown, cause: TakeOverCause, backoff: Backoff): Promise<void> {
    const { shard } = this.#options
    const { kind, text, code: refusal } = classify(error)
    // The topic was deleted, and the transaction's end told of another of its partitions, or not yet of this one.
    if (refusal === CODE.unknownPartition) this.checkTopicsAgain()
    if (kind === 'fenced') {
      if (this.mayHaveTimedOut(cause.openSince) && (await this.#stillOwns())) {
        // The coordinator gave up the transaction, and the id's epoch with it: it is ours to take anew.
        this.lanes.forgetIdentities()
        return
      }
      throw fenced(shard, error)
    }
    if (!isRetryable(error)) throw error
    const delayMs = backoff.next()
    const isSaid = error instanceof MinimError && error.code !== 'MINIM_KAFKA_UNREACHABLE'
    const code = isForbidden(error) ? 'MINIM_KAFKA_NOT_ALLOWED' : 'MINIM_KAFKA_NO_BROKER'
    const what = error instanceof MinimError ? error.details['what'] : text
    cause.onRetry(
      isSaid ? error : new MinimError(code, { bootstrap: shard.bootstrap, what, delayMs }, { cause: error }),
    )
    await sleep(delayMs)
  }

  async #attempt(refused: readonly Entry[]): Promise<LanePair> {
    const { streams, limits, shard } = this.#options
    await this.#checkTopics()
    if (refused.length > 0 && shard.topics !== null) {
      // What a topic takes may be less by now than when it was looked at.
      const names = shard.topics.map(({ name }) => name)
      limits.set(await readLimits({ bootstrap: shard.bootstrap, properties: shard.properties }, names))
    }
    // Both ids, before the ledger is read.
    const lanes = await this.lanes.open()
    await this.#checkIn(lanes[0], refused.length > 0)
    const ledger = await shard.readLedger()
    if (shard.renaming !== null && ledger.outdated.size > 0)
      await renameEntries(lanes[0], ledger, shard.ledger, shard.renaming.rename)
    streams.read(ledger)
    if (!this.#isFormerTold && ledger.owner?.id === this.#owner.id && ledger.formerOwner !== null)
      this.#options.hooks.onTookOver?.(ownerText(ledger.formerOwner))
    this.#isFormerTold = true
    if (!this.#areUnusedFenced) {
      await this.#fenceUnused(ledger.partitions)
      this.#areUnusedFenced = true
    }
    const suspects = refused.filter(({ key, item }) => item.sequence > streams.lastTaken(key))
    return suspects.length === 0 ? lanes : this.#quarantineRefused(lanes, suspects)
  }

  /**
   * Makes and checks topics before anything goes there.
   * @throws MinimError when they differ, or cannot be looked at
   */
  async prepareTopics(wanted: readonly WantedTopic[]): Promise<void> {
    const { shard, limits, hooks } = this.#options
    if (shard.topics === null) return
    const { bootstrap, properties, replication } = shard
    const report = await ensureTopics({ bootstrap, properties, wanted, replication })
    limits.set(report.limits)
    // What is to be said of the cluster was said at the start.
    hooks.onTopics?.({ ...report, warnings: [] })
  }

  async #checkTopics(): Promise<void> {
    const { shard, limits, hooks } = this.#options
    if (shard.topics === null || this.#areTopicsChecked) return
    const { bootstrap, properties, replication, topics: wanted } = shard
    const report = await ensureTopics({ bootstrap, properties, wanted, replication })
    limits.set(report.limits)
    this.#areTopicsChecked = true
    hooks.onTopics?.(report)
  }

  /**
   * Writes into the ledger whose the shard is, once; after a refusal a record of now is tried, since it may have been
   * the clock's.
   */
  async #checkIn(lane: Lane, afterRefusal: boolean): Promise<void> {
    const { shard, limits, hooks } = this.#options
    if (shard.topics === null) return
    const isOwner = this.#owns || !shard.isExactlyOnce
    if (isOwner && !afterRefusal) return
    lane.produceTo(shard.ledger, {
      key: Buffer.from(isOwner ? clockKey(shard.settings.cluster, shard.index) : shard.ownerKey, 'utf8'),
      value: isOwner ? Buffer.from('{}') : encodeOwner(this.#owner),
      timestamp: Date.now(),
    })
    const { cluster } = this.lanes
    await checkClock({ lane, cluster, shard, limits, onNotice: (notice) => hooks.onNotice?.(notice) })
    if (isOwner) {
      await lane.abort(COMMIT_TIMEOUT_MS)
      return
    }
    await lane.commit(COMMIT_TIMEOUT_MS)
    this.#owns = true
  }

  /**
   * Whether nobody else has written that the shard is theirs, which whoever takes it does at once. A broker that does
   * not answer tells nothing.
   */
  async #stillOwns(): Promise<boolean> {
    for (const waitMs of [0, OWNER_WAIT_MS]) {
      await sleep(waitMs)
      const { owner } = await this.#options.shard.readLedger()
      if (owner?.id !== this.#owner.id) return false
    }
    return true
  }

  /** Ids of shards that are no longer used: whoever still runs with them must not write. */
  async #fenceUnused(ledgerPartitions: number): Promise<void> {
    const { shard } = this.#options
    if (!shard.isContested) return
    const { cluster } = shard.settings
    for (let unused = shard.count; unused < Math.min(ledgerPartitions, MAX_SHARDS); unused++) {
      const place = { topic: shard.ledger.topic, partition: unused }
      for (const [turn, id] of transactionalIds(cluster, unused).entries()) {
        const lane = await this.lanes.openOther(id)
        try {
          if (turn === 0) {
            // Its former owner reads here that the shard is no longer its own, and does not take it back.
            const key = Buffer.from(ownerKey(cluster, unused), 'utf8')
            lane.produceTo(place, { key, value: encodeOwner(this.#owner), timestamp: Date.now() })
            await lane.commit(COMMIT_TIMEOUT_MS)
          }
        } finally {
          lane.close()
        }
      }
    }
  }

  /** Finds the records that Kafka refuses, in trials on this shard's own id. @returns the lanes to go on with */
  async #quarantineRefused([first]: LanePair, entries: readonly Entry[]): Promise<LanePair> {
    const { minimiser, limits, stats } = this.#options
    first.close()
    let found = 0
    let byBatch = false
    for (const entry of entries) {
      const outcome = await findRefused({
        make: () => minimiser.make(entry),
        exclude: (records) => {
          entry.exclude(records)
        },
        open: () => this.lanes.openOne(0),
      })
      found += outcome.records
      byBatch ||= outcome.byBatch
    }
    stats.refusedRecords += found
    // Each message alone is taken, all together are not: the batches are too large for a topic.
    if (found === 0 && byBatch) limits.halveBatches()
    return this.lanes.reopen()
  }
}

/** The shard is somebody else's. */
export function fenced({ index, settings }: Shard, cause?: unknown): MinimError {
  return new MinimError('MINIM_DELIVERY_FENCED', { shard: index, cluster: settings.cluster }, { cause })
}
