/** One transaction: what it holds, the lane it is on, and how it is committed. */
import type { GroupOffset } from '../flow/work-item.js'
import type { GroupOffsets } from '../kafka/cluster.js'
import { COMMIT_TIMEOUT_MS } from '../kafka/property-rules.js'
import type { Entry } from './entry.js'
import type { Lane } from './lane.js'
import { encodeEntry } from './ledger.js'
import type { DeliverySettings } from './options.js'
import type { Shard } from './shard.js'
import type { Taken } from './slots.js'
import type { Streams } from './streams.js'

export type TurnState =
  /** It is being filled and holds whole batches: it may be committed. */
  | { readonly kind: 'whole' }
  /** A batch is half in it. */
  | { readonly kind: 'filling' }
  /** It cannot be committed, as was found while it was filled. */
  | { readonly kind: 'broken'; readonly error: unknown }
  | { readonly kind: 'committing' }
  /** It is committed or given up: what was begun for it has no say any more. */
  | { readonly kind: 'over' }

export interface CommitOptions {
  readonly shard: Shard
  readonly streams: Streams
  /** The lane whose turn is next: what it has to send stands behind what this one has. */
  readonly next: Lane
  /** Awaited between the ledger's records and the commit. */
  readonly beforeCommit: () => Promise<void>
}

export class Turn {
  readonly lane: Lane
  readonly entries: Entry[] = []
  state: TurnState = { kind: 'whole' }
  /** Batches in it, without those that only wait for one of them. */
  items = 0
  messages = 0
  bytes = 0
  /** Of the first batch: `performance.now()` ms. */
  openedAt = 0
  /** Of input: kept until commit, however little of it goes on. */
  #inputBytes = 0
  /** What the ledger will say, by stream. */
  readonly sequences = new Map<string, number>()
  /** Places that consumer groups have got to: the last one of each partition counts. */
  readonly #offsets: GroupOffset[] = []

  constructor(lane: Lane) {
    this.lane = lane
  }

  isOver(): boolean {
    return this.state.kind === 'over'
  }

  isFull({ maxMessages, maxBytes }: DeliverySettings): boolean {
    return this.messages >= maxMessages || this.bytes >= maxBytes || this.#inputBytes >= maxBytes
  }

  /** A batch belongs to it from now on: it ends as this turn does. */
  join(entry: Entry): void {
    if (this.entries.length === 0) this.openedAt = performance.now()
    this.entries.push(entry)
    this.#inputBytes += entry.item.bytes
    entry.answer()
  }

  /** The lane has taken messages. */
  produced({ messages, bytes }: Taken): void {
    this.messages += messages
    this.bytes += bytes
  }

  /** A batch is in it, whole. */
  holds({ key, item }: Entry): void {
    if (item.offset === undefined) this.sequences.set(key, item.sequence)
    else this.#offsets.push(item.offset)
    this.items++
  }

  /** Resolves when it is committed. @throws whatever speaks against it, or leaves open whether it was */
  async commit({ shard, streams, next, beforeCommit }: CommitOptions): Promise<void> {
    const { lane } = this
    next.hold()
    // Without a transaction the ledger may only name what the brokers have.
    if (!shard.isExactlyOnce) await lane.flush(COMMIT_TIMEOUT_MS)
    for (const [key, sequence] of this.sequences) {
      const value = encodeEntry(sequence, streams.marksUpTo(key, sequence))
      lane.produceTo(shard.ledger, { key: Buffer.from(key, 'utf8'), value, timestamp: Date.now() })
    }
    // While the coordinator adds a group to the transaction it cannot vouch for new partitions: brokers would refuse
    // what comes for them.
    if (this.#offsets.length > 0) {
      await lane.flush(COMMIT_TIMEOUT_MS)
      next.release()
    }
    for (const offsets of byGroup(this.#offsets)) await lane.sendOffsets(offsets, COMMIT_TIMEOUT_MS)
    await beforeCommit()
    await lane.commit(COMMIT_TIMEOUT_MS, () => {
      next.release()
    })
  }
}

/** Places by group, generation and member: one request for each. */
function byGroup(offsets: readonly GroupOffset[]): GroupOffsets[] {
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
