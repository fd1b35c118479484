/**
 * Requests of a consumer group's member and of a reader (https://kafka.apache.org/protocol), in versions that Kafka 2.5
 * to 4.x share. `@platformatic/kafka`'s consumer asks for committed offsets without waiting for transactions that hold
 * newer ones (KIP-447): a member that takes over a partition would then read again what its predecessor commits a
 * moment later.
 */
import type { Link } from './cluster.js'
import { CODE } from './codes.js'
import { KafkaError } from './errors.js'
import type { AbortedTransaction } from './record-set.js'

const FETCH_V11 = [1, 11] as const
const LIST_OFFSETS_V2 = [2, 2] as const
const OFFSET_FETCH_V7 = [9, 7] as const
const JOIN_GROUP_V5 = [11, 5] as const
const HEARTBEAT_V3 = [12, 3] as const
const LEAVE_GROUP_V3 = [13, 3] as const
const SYNC_GROUP_V3 = [14, 3] as const

/** The partition is led by another broker, or by none at the moment: ask who leads it. */
export const MOVED: ReadonlySet<number> = new Set([
  CODE.unknownPartition,
  CODE.leaderNotAvailable,
  CODE.notLeader,
  CODE.replicaNotAvailable,
  CODE.storageError,
  CODE.fencedLeaderEpoch,
  CODE.unknownLeaderEpoch,
  CODE.offsetNotAvailable,
])

const READ_COMMITTED = 1
export const EARLIEST = -2
export const LATEST = -1

/** The way partitions are shared out that Java calls `range`, so that members of other programs agree. */
const PROTOCOL = 'range'

export interface JoinAnswer {
  readonly code: number
  readonly generation: number
  readonly leader: string
  readonly member: string
  /** Only the leader is told of the others, and what they read. */
  readonly members: readonly { readonly member: string; readonly topics: readonly string[] }[]
}

/**
 * Who a member is: its id is the coordinator's, the instance its own, by which it is known again after a restart
 * (KIP-345).
 */
export interface MemberName {
  readonly group: string
  readonly member: string
  readonly instance: string
}

/** @param subscription as {@link encodeSubscription} makes it; a changed one makes the group share out anew */
export function joinGroup(
  link: Link,
  { group, member, instance }: MemberName,
  subscription: Buffer,
  sessionMs: number,
  rebalanceMs: number,
): Promise<JoinAnswer> {
  return link.send(
    JOIN_GROUP_V5,
    (w) => {
      w.appendString(group, false)
        .appendInt32(sessionMs)
        .appendInt32(rebalanceMs)
        .appendString(member, false)
        .appendString(instance, false)
        .appendString('consumer', false)
      w.appendArray(
        [PROTOCOL],
        (w, name) => {
          w.appendString(name, false).appendBytes(subscription, false)
        },
        false,
        false,
      )
    },
    (r) => {
      r.readInt32()
      const code = r.readInt16()
      const generation = r.readInt32()
      r.readNullableString(false)
      const leader = r.readString(false)
      const own = r.readString(false)
      const members = r.readArray(
        (r) => {
          const member = r.readString(false)
          r.readNullableString(false)
          return { member, topics: decodeSubscription(r.readBytes(false)) }
        },
        false,
        false,
      )
      return { code, generation, leader, member: own, members }
    },
  )
}

/** @param shares what each member is to read; of the leader only */
export function syncGroup(
  link: Link,
  { group, member, instance }: MemberName,
  generation: number,
  shares: ReadonlyMap<string, Share>,
): Promise<{ readonly code: number; readonly share: Share }> {
  return link.send(
    SYNC_GROUP_V3,
    (w) => {
      w.appendString(group, false).appendInt32(generation).appendString(member, false).appendString(instance, false)
      w.appendArray(
        [...shares],
        (w, [name, share]) => {
          w.appendString(name, false).appendBytes(encodeShare(share), false)
        },
        false,
        false,
      )
    },
    (r) => {
      r.readInt32()
      const code = r.readInt16()
      return { code, share: decodeShare(r.readBytes(false)) }
    },
  )
}

export function heartbeat(link: Link, { group, member, instance }: MemberName, generation: number): Promise<number> {
  return link.send(
    HEARTBEAT_V3,
    (w) => {
      w.appendString(group, false).appendInt32(generation).appendString(member, false).appendString(instance, false)
    },
    (r) => {
      r.readInt32()
      return r.readInt16()
    },
  )
}

export function leaveGroup(link: Link, { group, member, instance }: MemberName): Promise<number> {
  return link.send(
    LEAVE_GROUP_V3,
    (w) => {
      w.appendString(group, false).appendArray(
        [member],
        (w, name) => {
          w.appendString(name, false).appendString(instance, false)
        },
        false,
        false,
      )
    },
    (r) => {
      r.readInt32()
      return r.readInt16()
    },
  )
}

export interface CommittedAnswer {
  readonly code: number
  readonly partitions: readonly { readonly partition: number; readonly code: number; readonly offset: number }[]
}

/**
 * Where the group has got to. A partition with an offset in a transaction that is not over answers `unstableOffset`.
 */
export function committedOffsets(
  link: Link,
  group: string,
  topic: string,
  partitions: readonly number[],
): Promise<CommittedAnswer> {
  return link.send(
    OFFSET_FETCH_V7,
    (w) => {
      w.appendString(group, true)
        .appendArray([topic], (w, name) => {
          w.appendString(name, true).appendArray(
            [...partitions],
            (w, partition) => {
              w.appendInt32(partition)
            },
            true,
            false,
          )
        })
        .appendBoolean(true)
        .appendTaggedFields()
    },
    (r) => {
      r.readInt32()
      const found = r
        .readArray((r) => {
          r.readString()
          return r.readArray((r) => {
            const partition = r.readInt32()
            const offset = Number(r.readInt64())
            r.readInt32()
            r.readNullableString()
            return { partition, offset, code: r.readInt16() }
          })
        })
        .flat()
      return { code: r.readInt16(), partitions: found }
    },
    true,
  )
}

/**
 * The first offset that there is, or the one after the last that a `read_committed` reader may see. @throws KafkaError
 */
export function offsetAt(
  link: Link,
  topic: string,
  partition: number,
  time: typeof EARLIEST | typeof LATEST,
): Promise<number> {
  return link.send(
    LIST_OFFSETS_V2,
    (w) => {
      w.appendInt32(-1).appendInt8(READ_COMMITTED)
      w.appendArray(
        [topic],
        (w, name) => {
          w.appendString(name, false).appendArray(
            [partition],
            (w, number) => {
              w.appendInt32(number).appendInt64(BigInt(time))
            },
            false,
            false,
          )
        },
        false,
        false,
      )
    },
    (r) => {
      r.readInt32()
      const [answer] = r
        .readArray(
          (r) => {
            r.readString(false)
            return r.readArray(
              (r) => {
                r.readInt32()
                const code = r.readInt16()
                r.readInt64()
                return { code, offset: Number(r.readInt64()) }
              },
              false,
              false,
            )
          },
          false,
          false,
        )
        .flat()
      if (answer.code !== 0) throw new KafkaError(answer.code, 'ListOffsets')
      return answer.offset
    },
  )
}

export interface FetchAnswer {
  readonly partition: number
  readonly code: number
  /** Offsets before this one can be read by a `read_committed` reader. */
  readonly stable: number
  readonly aborted: readonly AbortedTransaction[]
  /** Record batches; valid until the next answer. */
  readonly set: Buffer
}

export interface FetchLimits {
  readonly waitMs: number
  readonly maxBytes: number
  readonly partitionBytes: number
}

/** Committed messages from each partition's position on; waits a moment when there are none. @throws KafkaError */
export function fetch(
  link: Link,
  topic: string,
  positions: readonly (readonly [partition: number, offset: number])[],
  limits: FetchLimits,
): Promise<FetchAnswer[]> {
  return link.send(
    FETCH_V11,
    (w) => {
      w.appendInt32(-1)
        .appendInt32(limits.waitMs)
        .appendInt32(1)
        .appendInt32(limits.maxBytes)
        .appendInt8(READ_COMMITTED)
        .appendInt32(0)
        .appendInt32(-1)
      w.appendArray(
        [topic],
        (w, name) => {
          w.appendString(name, false).appendArray(
            [...positions],
            (w, [partition, offset]) => {
              w.appendInt32(partition)
                .appendInt32(-1)
                .appendInt64(BigInt(offset))
                .appendInt64(-1n)
                .appendInt32(limits.partitionBytes)
            },
            false,
            false,
          )
        },
        false,
        false,
      )
      w.appendArray([] as string[], () => undefined, false, false).appendString('', false)
    },
    (r) => {
      r.readInt32()
      const code = r.readInt16()
      if (code !== 0) throw new KafkaError(code, 'Fetch')
      r.readInt32()
      return r
        .readArray(
          (r) => {
            r.readString(false)
            return r.readArray(
              (r) => {
                const partition = r.readInt32()
                const code = r.readInt16()
                r.readInt64()
                const stable = Number(r.readInt64())
                r.readInt64()
                const aborted =
                  r.readNullableArray(
                    (r) => ({ producerId: r.readInt64(), firstOffset: Number(r.readInt64()) }),
                    false,
                    false,
                  ) ?? []
                r.readInt32()
                return { partition, code, stable, aborted, set: r.readNullableBytes(false) ?? Buffer.alloc(0) }
              },
              false,
              false,
            )
          },
          false,
          false,
        )
        .flat()
    },
  )
}

// ---- what members tell each other (ConsumerProtocol, version 0)
// -------------------------------------------------------------------

/** Partitions by topic. */
export type Share = ReadonlyMap<string, readonly number[]>

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8')
  const length = Buffer.alloc(2)
  length.writeInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

const VERSION_0 = Buffer.alloc(2)
const NO_USER_DATA = int32(-1)

/** @param userData for nobody to read, but a member's subscription has changed when it has */
export function encodeSubscription(topics: readonly string[], userData: number): Buffer {
  return Buffer.concat([VERSION_0, int32(topics.length), ...topics.map(text), int32(4), int32(userData)])
}

export function encodeShare(share: Share): Buffer {
  const parts: Buffer[] = [VERSION_0, int32(share.size)]
  for (const [topic, partitions] of share) parts.push(text(topic), int32(partitions.length), ...partitions.map(int32))
  return Buffer.concat([...parts, NO_USER_DATA])
}

/** Topics of a member's subscription. Later versions add fields behind; what is no subscription names no topic. */
export function decodeSubscription(bytes: Buffer): string[] {
  const topics: string[] = []
  try {
    let at = 6
    for (let left = bytes.readInt32BE(2); left > 0; left--) {
      const length = bytes.readInt16BE(at)
      if (length < 0 || at + 2 + length > bytes.length) break
      topics.push(bytes.toString('utf8', at + 2, at + 2 + length))
      at += 2 + length
    }
  } catch {
    // It ends in the middle: what was whole counts.
  }
  return topics
}

export function decodeShare(bytes: Buffer): Map<string, number[]> {
  const share = new Map<string, number[]>()
  // Nothing to read: more members than partitions.
  if (bytes.length < 6) return share
  let at = 6
  for (let topics = bytes.readInt32BE(2); topics > 0; topics--) {
    const length = bytes.readInt16BE(at)
    const topic = bytes.toString('utf8', at + 2, at + 2 + length)
    at += 2 + length
    const partitions: number[] = []
    let count = bytes.readInt32BE(at)
    at += 4
    for (; count > 0; count--, at += 4) partitions.push(bytes.readInt32BE(at))
    share.set(topic, partitions)
  }
  return share
}

/**
 * Shares a topic's partitions out as Java's RangeAssignor does: neighbouring ones to a member, members by their ids.
 */
export function shareOut(
  members: readonly { readonly member: string; readonly topics: readonly string[] }[],
  partitionsOf: (topic: string) => number,
): Map<string, Map<string, number[]>> {
  const shares = new Map(members.map(({ member }) => [member, new Map<string, number[]>()]))
  for (const topic of new Set(members.flatMap(({ topics }) => topics))) {
    const readers = members
      .filter(({ topics }) => topics.includes(topic))
      .map(({ member }) => member)
      .sort()
    const partitions = partitionsOf(topic)
    const least = Math.floor(partitions / readers.length)
    const more = partitions % readers.length
    let first = 0
    readers.forEach((member, i) => {
      const count = least + (i < more ? 1 : 0)
      if (count > 0)
        shares.get(member)?.set(
          topic,
          Array.from({ length: count }, (_, k) => first + k),
        )
      first += count
    })
  }
  return shares
}
