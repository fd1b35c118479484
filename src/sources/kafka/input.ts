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
import type { SourceCounters } from '../../flow/counters.js'
import type { Intake } from '../../flow/intake.js'
import type { Logger } from '../../flow/log.js'
import type { Cluster, Link } from '../../kafka/cluster.js'
import { CODE } from '../../kafka/codes.js'
import { isNotYet, KafkaError } from '../../kafka/errors.js'
import { type Assignment, GroupMember } from '../../kafka/member.js'
import { readRecordSet, type Unpack } from '../../kafka/record-set.js'
import { EARLIEST, fetch, type FetchAnswer, LATEST, MOVED, offsetAt } from '../../kafka/requests.js'
import { ArenaPool, type MessageFormat, type Piece, PieceBuilder, PieceReader } from './messages.js'
import type { KafkaInputSettings } from './settings.js'

const FETCH_WAIT_MS = 500
const BACKOFF_MIN_MS = 200
const BACKOFF_MAX_MS = 10_000
/** Partitions may be added to a topic: how often that is looked for. */
const PARTITIONS_MS = 60_000
/** Heartbeats in a session: some may be late. */
const HEARTBEATS = 5
/** Answers without a message or a step forward that are taken for chance. */
const STALLED = 20

export interface KafkaInputOptions {
  readonly settings: KafkaInputSettings
  readonly cluster: Cluster
  readonly intake: Intake
  readonly format: MessageFormat
  readonly unpack: Unpack
  readonly counters: SourceCounters
  readonly log: Logger
  /** This proxy's name in the group. */
  readonly instance: string
  /** How long a new generation waits for its members, ms. */
  readonly rebalanceMs: number
}

/** Waits that can be cut short. */
class Pause {
  #wake: () => void = () => undefined

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  end(): void {
    this.#wake()
  }
}

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

interface Listener {
  /** @returns how long to wait */
  failed(error: unknown): number
  advanced(): void
}

/** Readings so far: the pieces of one are a stream of their own, whose failures do not reach the next. */
let readings = 0

/** The partitions of one generation. */
class Tenure {
  /** Resolves when nothing more is fetched. */
  readonly fetching: Promise<void>
  /** Pieces that are neither committed nor failed. */
  pending = 0
  readonly #options: KafkaInputOptions
  readonly #member: GroupMember
  readonly #pool: ArenaPool
  readonly #assignment: Assignment
  readonly #listener: Listener
  /** Next offset of each partition; empty: the group is to be asked. */
  readonly #positions = new Map<number, number>()
  /** When the last message read of a partition was written, while newer ones are behind it. */
  readonly #behind = new Map<number, number>()
  readonly #links = new Set<Link>()
  readonly #pause = new Pause()
  #reading = String(++readings)
  #over = false
  /** A piece failed: what the positions say is not what was taken. */
  #failure: unknown = null
  #settled: (() => void)[] = []
  #onEnd: () => void = () => undefined

  constructor(
    options: KafkaInputOptions,
    member: GroupMember,
    pool: ArenaPool,
    assignment: Assignment,
    previous: Tenure | null,
    listener: Listener,
  ) {
    this.#options = options
    this.#member = member
    this.#pool = pool
    this.#assignment = assignment
    this.#listener = listener
    this.fetching = this.#run(previous)
  }

  get lagSeconds(): number {
    let oldest = Infinity
    for (const timestamp of this.#behind.values()) oldest = Math.min(oldest, timestamp)
    return oldest === Infinity ? 0 : Math.max(0, (Date.now() - oldest) / 1000)
  }

  /** Fetches nothing more. */
  end(): void {
    this.#over = true
    this.#onEnd()
    this.#behind.clear()
    for (const link of this.#links) link.close()
    this.#pause.end()
  }

  /** Resolves when no piece is under way. */
  settled(): Promise<void> {
    if (this.pending === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#settled.push(resolve)
    })
  }

  async #run(previous: Tenure | null): Promise<void> {
    // A group that was only asked again may have the generation that it had: what is under way is committed then, and
    // must not be read twice.
    await Promise.race([
      previous?.settled(),
      new Promise<void>((resolve) => {
        this.#onEnd = resolve
      }),
    ])
    // Of more members than partitions.
    if (this.#assignment.partitions.length === 0) return
    while (!this.#over) {
      try {
        if (this.#failure !== null) await this.#forget()
        await this.#locate()
        await this.#read()
      } catch (error) {
        if (this.#over) return
        await this.#pause.wait(this.#listener.failed(error))
      }
    }
  }

  /** Waits until all is decided that was offered, then has the group asked. */
  async #forget(): Promise<void> {
    await this.settled()
    const failure = this.#failure
    this.#failure = null
    this.#positions.clear()
    this.#reading = String(++readings)
    await this.#pause.wait(this.#listener.failed(failure))
  }

  /** Finds out where to read on: where the group has got to, else at an end of the topic. */
  async #locate(): Promise<void> {
    const {
      settings: { topic, group, fromBeginning },
      log,
    } = this.#options
    const { partitions, generation, member } = this.#assignment
    const unknown = partitions.filter((partition) => !this.#positions.has(partition))
    if (unknown.length === 0) return
    const committed = await this.#member.committed(
      unknown,
      () => !this.#over,
      () => {
        log.info({ topic, group }, "a partition waits for the end of another member's transaction")
      },
    )
    const fresh = new Map<number, number>()
    for (const [partition, offset] of committed) {
      if (offset >= 0) this.#positions.set(partition, offset)
      else fresh.set(partition, await this.#end(partition, fromBeginning ? EARLIEST : LATEST))
    }
    // What comes from now on is not to be missed, though nothing of it was committed when this process ends.
    if (!fromBeginning && fresh.size > 0)
      await this.#member.commit({ group, generation, member, partitions: new Map([[topic, fresh]]) })
    for (const [partition, offset] of fresh) this.#positions.set(partition, offset)
  }

  /** First offset of a partition, or the one behind its last. */
  async #end(partition: number, time: typeof EARLIEST | typeof LATEST): Promise<number> {
    const {
      cluster,
      settings: { topic },
    } = this.#options
    const link = await this.#open(cluster.leader(topic, partition))
    try {
      return await offsetAt(link, topic, partition, time)
    } finally {
      this.#close(link)
    }
  }

  /** Reads from all leaders at once, until one of them is none any more, or a piece fails. */
  async #read(): Promise<void> {
    const {
      cluster,
      settings: { topic },
    } = this.#options
    const leaders = new Map<number, number[]>()
    for (const partition of this.#assignment.partitions) {
      const leader = cluster.leader(topic, partition)
      leaders.set(leader, [...(leaders.get(leader) ?? []), partition])
    }
    const round = { over: false }
    const ends = await Promise.allSettled(
      [...leaders].map(async ([node, partitions]) => {
        try {
          await this.#readFrom(node, partitions, round)
        } finally {
          round.over = true
        }
      }),
    )
    if (this.#over) return
    const failed = ends.find((end) => end.status === 'rejected')
    // Who leads what may have changed, whatever it was.
    await cluster.refresh([topic]).catch(() => undefined)
    if (failed !== undefined) throw failed.reason
    if (this.#failure === null) await this.#pause.wait(BACKOFF_MIN_MS)
  }

  async #readFrom(node: number, partitions: readonly number[], round: { over: boolean }): Promise<void> {
    const {
      settings: { topic, fetchBytes },
    } = this.#options
    const link = await this.#open(node)
    let stalled = 0
    try {
      for (let turn = 0; !this.#over && !round.over && this.#failure === null; turn++) {
        // Brokers fill an answer in the order of the question, and cut what does not fit: each comes first in its turn.
        const first = turn % partitions.length
        const asked = [...partitions.slice(first), ...partitions.slice(0, first)].map(
          (p) => [p, this.#positions.get(p) ?? 0] as const,
        )
        const answers = await fetch(link, topic, asked, {
          waitMs: FETCH_WAIT_MS,
          maxBytes: fetchBytes,
          partitionBytes: Math.max(65_536, Math.floor(fetchBytes / 2)),
        })
        let advanced = false
        let octets = 0
        for (const answer of answers) {
          if (this.#over || this.#failure !== null) return
          if (MOVED.has(answer.code)) {
            round.over = true
            continue
          }
          if (answer.code === CODE.offsetOutOfRange) {
            await this.#leap(answer.partition)
            continue
          }
          if (answer.code !== 0) throw new KafkaError(answer.code, 'Fetch')
          octets += answer.set.length
          if (answer.set.length > 0) advanced = (await this.#take(answer)) || advanced
          else this.#behind.delete(answer.partition)
        }
        stalled = octets === 0 || advanced ? 0 : stalled + 1
        if (stalled > STALLED)
          throw new MinimError('MINIM_KAFKA_INPUT', {
            topic,
            what: 'a broker answers with what are no messages',
            delayMs: 0,
          })
      }
    } finally {
      this.#close(link)
    }
  }

  /** Offers the messages of an answer, piece by piece. @returns whether there was a step forward */
  async #take(answer: FetchAnswer): Promise<boolean> {
    const {
      settings: { maxMessageBytes },
      format,
      unpack,
    } = this.#options
    const { partition } = answer
    const from = this.#positions.get(partition) ?? 0
    const builder = new PieceBuilder(this.#pool, format, maxMessageBytes)
    const pieces: { readonly piece: Piece; next: number }[] = []
    let next = from
    const { next: behind, timestamp } = readRecordSet(answer.set, from, answer.aborted, unpack, {
      message: (offset, bytes, start, end) => {
        if (builder.isFull(end - start)) pieces.push({ piece: builder.take(), next })
        builder.add(bytes, start, end)
        next = offset + 1
      },
      broken: (lastOffset, batch) => {
        if (builder.isFull(batch.length)) pieces.push({ piece: builder.take(), next })
        builder.addBroken(batch)
        next = lastOffset + 1
      },
    })
    if (builder.messages > 0) pieces.push({ piece: builder.take(), next })
    // Markers of transactions are behind the last message: they need not be read again.
    const last = pieces.at(-1)
    if (last !== undefined) last.next = behind
    for (let i = 0; i < pieces.length; i++) {
      if (this.#over || this.#failure !== null) {
        for (const { piece } of pieces.slice(i)) this.#pool.give(piece.arena)
        return true
      }
      await this.#offer(partition, pieces[i].piece, pieces[i].next)
    }
    if (this.#over || this.#failure !== null) return true
    this.#positions.set(partition, behind)
    if (timestamp !== null && behind < answer.stable) this.#behind.set(partition, timestamp)
    else if (behind >= answer.stable) this.#behind.delete(partition)
    return behind > from
  }

  /** Resolves when delivery has it: late when delivery is behind, and until then nothing more is fetched. */
  async #offer(partition: number, piece: Piece, next: number): Promise<void> {
    const {
      settings: { topic, group, tenant },
      intake,
      format,
      counters,
    } = this.#options
    const { generation, member } = this.#assignment
    const reader = new PieceReader(format, piece)
    const { arena, length } = piece
    const input = { reader, arena, start: 0, end: length, scratchStart: length, last: true, tenant }
    this.pending++
    await intake.offer({
      id: { source: `kafka.${topic}.${partition}`, incarnation: this.#reading },
      sequence: next,
      bytes: arena.length,
      receivedAt: performance.now(),
      offset: { group, generation, member, topic, partition, next },
      minimise: (excluded) => intake.minimise(input, excluded),
      committed: () => {
        counters.received(piece.messages)
        if (piece.unused > 0) counters.refused('unused', piece.unused)
        this.#listener.advanced()
        this.#decided(piece)
      },
      failed: (error) => {
        this.#failure ??= error
        this.#decided(piece)
      },
    })
  }

  #decided(piece: Piece): void {
    this.#pool.give(piece.arena)
    if (--this.pending > 0) return
    const settled = this.#settled
    this.#settled = []
    for (const resolve of settled) resolve()
  }

  /**
   * The topic does not have the position any more: retention was faster, or it was made anew. What is there is read,
   * from its beginning.
   */
  async #leap(partition: number): Promise<void> {
    const {
      settings: { topic },
      log,
    } = this.#options
    const position = this.#positions.get(partition) ?? 0
    const earliest = await this.#end(partition, EARLIEST)
    const latest = await this.#end(partition, LATEST)
    // Behind the end, what was read is not there any more: going back would take what is before it twice.
    const next = position < earliest ? earliest : latest
    log.error(
      { topic, partition, missing: Math.max(0, earliest - position) },
      position < earliest
        ? "messages were deleted by the topic's retention before they were read"
        : 'the topic ends before what was read of it: reading goes on at its end',
    )
    this.#positions.set(partition, next)
  }

  async #open(node: number): Promise<Link> {
    if (node < 0) throw new KafkaError(CODE.unknownPartition, 'a partition has no leader')
    const link = await this.#options.cluster.open(node)
    if (this.#over) {
      link.close()
      throw new KafkaError(CODE.unknownPartition, 'closed')
    }
    this.#links.add(link)
    return link
  }

  #close(link: Link): void {
    link.close()
    this.#links.delete(link)
  }
}
