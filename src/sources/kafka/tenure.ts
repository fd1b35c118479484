/**
 * The partitions of one generation, read until it is over: from where the group has got to, by a fetch at a time of
 * each broker, in pieces that are committed with their offsets.
 */
import { MinimError } from '../../errors/catalogue.js'
import type { Link } from '../../kafka/cluster.js'
import { CODE } from '../../kafka/codes.js'
import { KafkaError } from '../../kafka/errors.js'
import { type Assignment, GroupMember } from '../../kafka/member.js'
import { readRecordSet } from '../../kafka/record-set.js'
import { EARLIEST, fetch, type FetchAnswer, LATEST, MOVED, offsetAt } from '../../kafka/requests.js'
import { ArenaPool, type Piece, PieceBuilder, PieceReader } from './messages.js'
import type { KafkaInputOptions } from './options.js'
import { Pause } from './pause.js'

const FETCH_WAIT_MS = 500
const BACKOFF_MIN_MS = 200
/** Answers without a message or a step forward that are taken for chance. */
const STALLED = 20

interface Listener {
  /** @returns how long to wait */
  failed(error: unknown): number
  advanced(): void
}

/** Readings so far: the pieces of one are a stream of their own, whose failures do not reach the next. */
let readings = 0

/** The partitions of one generation. */
export class Tenure {
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
