/**
 * A member of a consumer group (the classic protocol): joins, is given partitions for one generation, says that it is
 * there, leaves. Whoever leads shares the partitions out.
 *
 * A generation's partitions are its member's until it says otherwise, or has been silent for longer than the session:
 * then another generation begins, and what this one still has in a transaction is refused (`TxnOffsetCommit` carries
 * generation and member).
 */
import { type Cluster, GROUP, type GroupOffsets, type Link } from './cluster.js'
import { CODE } from './codes.js'
import { isNotYet, KafkaError } from './errors.js'
import {
  committedOffsets,
  encodeSubscription,
  heartbeat,
  joinGroup,
  leaveGroup,
  type MemberName,
  type Share,
  shareOut,
  syncGroup,
} from './requests.js'

export interface MemberOptions {
  readonly cluster: Cluster
  readonly group: string
  readonly topic: string
  /**
   * Its own name in the group, the same after a restart: then it gets its partitions back at once, and nobody waits for
   * its former self.
   */
  readonly instance: string
  /** Silent for so long, a member is taken for dead, ms. */
  readonly sessionMs: number
  /** So long a new generation waits for members to join it, ms: less than a request may take. */
  readonly rebalanceMs: number
}

/** What a member reads, and as who. */
export interface Assignment {
  readonly generation: number
  readonly member: string
  readonly partitions: readonly number[]
}

const PAUSE_MS = 100

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

export class GroupMember {
  readonly #options: MemberOptions
  #link: Link | null = null
  #member = ''
  #generation = -1
  #closed = false

  constructor(options: MemberOptions) {
    this.#options = options
  }

  /**
   * Joins the group, or its next generation. Resolves once the partitions are given, which waits for the other members.
   * @throws KafkaError; call it again after a moment
   */
  async join(): Promise<Assignment> {
    const { cluster, topic, sessionMs, rebalanceMs } = this.#options
    await cluster.refresh([topic])
    // Who has seen more partitions has another subscription: so the group shares out anew, whoever leads it.
    const subscription = encodeSubscription([topic], cluster.partitions(topic))
    for (;;) {
      const link = await this.#coordinator()
      const joined = await joinGroup(link, this.#name, subscription, sessionMs, rebalanceMs)
      if (joined.code === CODE.memberIdRequired) {
        this.#member = joined.member
        continue
      }
      if (joined.code === CODE.unknownMember) {
        this.#member = ''
        continue
      }
      this.#check(joined.code, 'JoinGroup')
      this.#member = joined.member
      this.#generation = joined.generation
      const shares = joined.leader === joined.member ? await this.#shares(joined.members) : new Map<string, Share>()
      const synced = await syncGroup(link, this.#name, joined.generation, shares)
      if (synced.code === CODE.unknownMember) this.#member = ''
      // Another member came, or went, in the meantime.
      if (
        synced.code === CODE.rebalanceInProgress ||
        synced.code === CODE.illegalGeneration ||
        synced.code === CODE.unknownMember
      )
        continue
      this.#check(synced.code, 'SyncGroup')
      return { generation: joined.generation, member: joined.member, partitions: synced.share.get(topic) ?? [] }
    }
  }

  /**
   * @returns 0 while the generation lasts; else why it is over. @throws KafkaError when the coordinator cannot be
   * asked: ask again
   */
  async heartbeat(): Promise<number> {
    const code = await heartbeat(await this.#coordinator(), this.#name, this.#generation)
    if (code === CODE.unknownMember) this.#member = ''
    if (isNotYet(code)) this.#check(code, 'Heartbeat')
    return code
  }

  /**
   * Where the group has got to in these partitions; -1 where it was never. Waits for transactions that hold newer
   * offsets: its own, or those of a member that died in the middle.
   * @param goOn asked between two attempts
   * @throws KafkaError
   */
  async committed(
    partitions: readonly number[],
    goOn: () => boolean,
    onWaiting: () => void,
  ): Promise<Map<number, number>> {
    const { group, topic } = this.#options
    const offsets = new Map<number, number>()
    let left = partitions
    for (let attempt = 0; left.length > 0 && goOn(); attempt++) {
      const answer = await committedOffsets(await this.#coordinator(), group, topic, left)
      this.#check(answer.code, 'OffsetFetch')
      const unstable: number[] = []
      for (const { partition, code, offset } of answer.partitions) {
        if (code === CODE.unstableOffset) unstable.push(partition)
        else {
          this.#check(code, 'OffsetFetch')
          offsets.set(partition, offset)
        }
      }
      left = unstable
      if (left.length > 0) {
        if (attempt === 10) onWaiting()
        await sleep(PAUSE_MS)
      }
    }
    return offsets
  }

  /** Commits offsets outside of any transaction. @throws KafkaError */
  async commit(offsets: GroupOffsets): Promise<void> {
    this.#check(await (await this.#coordinator()).offsetCommit(offsets), 'OffsetCommit')
  }

  /** Gives the partitions back, so that others need not wait for the session's end. */
  async leave(): Promise<void> {
    try {
      if (this.#member !== '' && !this.#closed) await leaveGroup(await this.#coordinator(), this.#name)
    } catch {
      // The session's end says it too.
    }
    this.close()
  }

  /** Ends what is being asked; nothing more is. */
  close(): void {
    this.#closed = true
    this.#link?.close()
  }

  get #name(): MemberName {
    const { group, instance } = this.#options
    return { group, instance, member: this.#member }
  }

  async #shares(members: Parameters<typeof shareOut>[0]): Promise<Map<string, Share>> {
    const { cluster } = this.#options
    const topics = [...new Set(members.flatMap(({ topics }) => topics))]
    // Members of other programs may read topics that are not there (any more): nothing of them to share out.
    await cluster.refresh(topics, 0).catch(() => undefined)
    return shareOut(members, (topic) => cluster.partitions(topic))
  }

  async #coordinator(): Promise<Link> {
    if (this.#closed) throw new KafkaError(CODE.coordinatorNotAvailable, 'the member has left')
    if (this.#link !== null && this.#link.connected) return this.#link
    this.#link?.close()
    this.#link = null
    const link = await this.#options.cluster.coordinator(GROUP, this.#options.group)
    if (this.#closed) link.close()
    return (this.#link = link)
  }

  #check(code: number, what: string): void {
    if (code === 0) return
    // Whoever coordinated does so no longer: the next request finds out who does.
    if (isNotYet(code)) {
      this.#link?.close()
      this.#link = null
    }
    throw new KafkaError(code, what)
  }
}
