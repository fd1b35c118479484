/**
 * One topic, read as a member of its consumer group:
 *
 *   join ──▶ partitions of a generation ──▶ where the group has got to ──▶ fetch ──▶ pieces ──▶ offer ──▶ committed, offsets with it
 *     ▲                                          ▲                                                │
 *     └── another generation ────────────────────┴── a piece failed: nobody here knows what was taken, the group does ──┘
 *
 * Nothing is remembered here that Kafka does not hold: what is committed is committed with its offsets, and whatever
 * goes wrong, reading starts again from them. Before a new generation the pieces under way are given a moment to be
 * committed, so that nothing is done twice.
 */
import { Backoff } from '../../base/backoff.js'
import { MinimError } from '../../errors/catalogue.js'
import { CODE } from '../../kafka/codes.js'
import { isNotYet, KafkaError } from '../../kafka/errors.js'
import { type Assignment, GroupMember } from '../../kafka/member.js'
import { ArenaPool } from './messages.js'
import type { KafkaInputOptions } from './options.js'
import { Pause } from './pause.js'
import { Tenure } from './tenure.js'

const BACKOFF_MIN_MS = 200
const BACKOFF_MAX_MS = 10_000
/** Partitions may be added to a topic: how often that is looked for. */
const PARTITIONS_MS = 60_000
/** Heartbeats in a session: some may be late. */
const HEARTBEATS = 5

export class KafkaInput {
  readonly #options: KafkaInputOptions
  readonly #member: GroupMember
  readonly #pool = new ArenaPool()
  readonly #backoff = new Backoff(BACKOFF_MIN_MS, BACKOFF_MAX_MS)
  readonly #pause = new Pause()
  #tenure: Tenure | null = null
  /** Nothing more is to be fetched. */
  #stopping = false
  /** Nor is the group to be told that this member is there. */
  #leaving = false
  #running: Promise<void> = Promise.resolve()

  constructor(options: KafkaInputOptions) {
    this.#options = options
    const {
      settings: { topic, group, sessionMs },
      cluster,
      instance,
      rebalanceMs,
    } = options
    this.#member = new GroupMember({ cluster, group, topic, instance, sessionMs, rebalanceMs })
  }

  /** Age of the oldest message that was read last of a partition with newer ones behind it, s. */
  get lagSeconds(): number {
    return this.#tenure?.lagSeconds ?? 0
  }

  /** @param onBroken told of a defect that ends it */
  start(onBroken: (error: unknown) => void): void {
    this.#running = this.#run().catch(onBroken)
  }

  /** Fetches nothing more. What was fetched is committed as this member's, which it stays until {@link stop}. */
  async stopTaking(): Promise<void> {
    this.#stopping = true
    const tenure = this.#tenure
    tenure?.end()
    await tenure?.fetching
  }

  /** Leaves the group. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#leaving = true
    this.#tenure?.end()
    this.#pause.end()
    await this.#member.leave()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      try {
        await this.#serve(await this.#member.join())
      } catch (error) {
        if (this.#stopping) return
        if (isFenced(error))
          throw new MinimError(
            'MINIM_KAFKA_INPUT_FENCED',
            { topic: this.#options.settings.topic, group: this.#options.settings.group },
            { cause: error },
          )
        await this.#pause.wait(this.#said(error))
      }
    }
  }

  /** Reads a generation's partitions until it is over. */
  async #serve(assignment: Assignment): Promise<void> {
    const {
      settings: { topic, group },
      log,
    } = this.#options
    log.info(
      { topic, group, generation: assignment.generation, partitions: assignment.partitions },
      'partitions of a topic are read',
    )
    const tenure = new Tenure(this.#options, this.#member, this.#pool, assignment, this.#tenure, {
      failed: (error) => this.#said(error),
      advanced: () => {
        this.#backoff.reset()
      },
    })
    this.#tenure = tenure
    // It was told to stop while it joined.
    if (this.#stopping) tenure.end()
    try {
      if ((await this.#untilOver()) === 'lost') return
      tenure.end()
      await this.#untilSettled(tenure)
    } finally {
      tenure.end()
      await tenure.fetching
    }
  }

  /** Says that this member is there until the group wants another generation of it, or has one without it. */
  async #untilOver(): Promise<'rebalance' | 'lost'> {
    const {
      settings: { topic, sessionMs },
      cluster,
    } = this.#options
    let heardAt = performance.now()
    let lookedAt = heardAt
    for (;;) {
      await this.#pause.wait(sessionMs / HEARTBEATS)
      if (this.#leaving) return 'lost'
      try {
        const code = await this.#member.heartbeat()
        if (code === CODE.fencedInstance) throw new KafkaError(code, 'Heartbeat')
        if (code !== 0) return code === CODE.rebalanceInProgress ? 'rebalance' : 'lost'
        heardAt = performance.now()
      } catch (error) {
        if (isFenced(error)) throw error
        // The coordinator is away, or another has become it: members are waited for as long as a session lasts.
        if (performance.now() - heardAt > sessionMs) throw error
      }
      if (performance.now() - lookedAt > PARTITIONS_MS) {
        lookedAt = performance.now()
        const before = cluster.partitions(topic)
        await cluster.refresh([topic]).catch(() => undefined)
        if (cluster.partitions(topic) !== before) return 'rebalance'
      }
    }
  }

  /**
   * Waits for what is under way, while the others wait for this member. What takes longer is refused by Kafka, and read
   * again.
   */
  async #untilSettled(tenure: Tenure): Promise<void> {
    const {
      settings: { sessionMs },
      rebalanceMs,
    } = this.#options
    const deadline = performance.now() + rebalanceMs / 2
    while (tenure.pending > 0 && performance.now() < deadline && !this.#leaving) {
      await Promise.race([tenure.settled(), this.#pause.wait(sessionMs / HEARTBEATS)])
      if (tenure.pending > 0) await this.#member.heartbeat().catch(() => undefined)
    }
    this.#pause.end()
  }

  /** Tells the log. @returns how long to wait */
  #said(error: unknown): number {
    const {
      settings: { topic },
      log,
    } = this.#options
    const delayMs = this.#backoff.next()
    const what =
      error instanceof MinimError
        ? String(error.details['what'] ?? error.code)
        : error instanceof KafkaError
          ? error.message
          : 'a request failed'
    // A coordinator that loads, or has moved, says so at any restart.
    const level = error instanceof KafkaError && isNotYet(error.code) ? 'debug' : 'warn'
    log[level]({ err: new MinimError('MINIM_KAFKA_INPUT', { topic, what, delayMs }, { cause: error }) })
    return delayMs
  }
}

/** Another process has the same name: coming back would have two of them throw each other out for ever. */
function isFenced(error: unknown): boolean {
  return error instanceof KafkaError && error.code === CODE.fencedInstance
}
