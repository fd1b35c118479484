/**
 * Sends what waits to the brokers that lead its partitions, a few requests at a time. Guarded by rows `d` and `deliver`
 * of `bench/`.
 */
import type { Cluster, Link, Links } from '../kafka/cluster.js'
import { CODE } from '../kafka/codes.js'
import { KafkaError } from '../kafka/errors.js'
import type { ProduceTopic } from '../kafka/produce-requests.js'
import type { Codec, ProducerIdentity, RecordBatch } from '../kafka/record-batch.js'
import type { Slot, Slots } from './slots.js'
import type { Transaction } from './transaction.js'

/**
 * Requests of a lane that are under way to each broker, at most. Kafka keeps order and tells repeats of at most five
 * (KIP-98); two keep the broker busy.
 */
const REQUESTS_UNDER_WAY = 2
/** A request takes no more batches from so many bytes on. */
const REQUEST_BYTES = 500_000
/** Sequence numbers begin anew after 2^31 - 1. */
const SEQUENCES = 0x8000_0000

export interface SenderOptions {
  readonly cluster: Cluster
  readonly links: Links
  readonly slots: Slots
  readonly identity: ProducerIdentity
  readonly transaction: Transaction | null
  /** How long a broker may wait for the copies, ms. */
  readonly requestTimeoutMs: number
  readonly codec: Codec
  /** Something has changed: there may be more to send, or all is sent. */
  readonly onProgress: () => void
  readonly onFailure: (error: unknown) => void
}

/** What one request holds. */
interface Request {
  readonly topics: readonly ProduceTopic[]
  readonly batches: readonly RecordBatch[]
  /** Slots whose broker has taken nothing of the transaction before. */
  readonly unproven: readonly Slot[]
  readonly bytes: number
}

export class Sender {
  readonly #options: SenderOptions
  /** Requests under way, by broker. */
  readonly #underWay = new Map<number, number>()
  /** Requests under way that hold the first batch of a partition. */
  #firsts = 0

  constructor(options: SenderOptions) {
    this.#options = options
  }

  /** Whether no request is under way. */
  get isIdle(): boolean {
    for (const requests of this.#underWay.values()) if (requests > 0) return false
    return true
  }

  /** Whether a broker may be asking the coordinator about a partition that is new in the transaction. */
  get hasFirsts(): boolean {
    return this.#firsts > 0
  }

  /** Sends what may be sent now: one round over what waits for each broker that can take a request. */
  pump(): void {
    const { cluster, links, slots, onProgress, onFailure } = this.#options
    const nodes = new Set<number>()
    for (const slot of slots.waiting) if (this.#mayGo(slot)) nodes.add(cluster.leader(slot.topic, slot.partition))
    for (const node of nodes) {
      if (node < 0) {
        onFailure(new KafkaError(CODE.unknownPartition, 'a partition has no leader'))
        return
      }
      const link = links.get(node, onProgress, onFailure)
      if (link === null) continue
      while (this.#requestsTo(node) < REQUESTS_UNDER_WAY) {
        const request = this.#request(node)
        if (request === null) break
        this.#send(node, link, request)
      }
    }
  }

  #requestsTo(node: number): number {
    return this.#underWay.get(node) ?? 0
  }

  #mayGo(slot: Slot): boolean {
    const { transaction } = this.#options
    // While the coordinator adds partitions it cannot vouch for others: brokers would refuse what they ask it about (as
    // "not enough replicas").
    return transaction === null || (slot.added && (slot.proven || !transaction.adding))
  }

  /** Takes out what goes to a broker next; null where nothing waits for it. */
  #request(node: number): Request | null {
    const { cluster, slots, identity, transaction, codec } = this.#options
    const topics = new Map<string, { partition: number; batch: Buffer }[]>()
    const batches: RecordBatch[] = []
    const unproven: Slot[] = []
    let bytes = 0
    let rest = 0
    const { waiting } = slots
    for (const slot of waiting) {
      if (bytes < REQUEST_BYTES && this.#mayGo(slot) && cluster.leader(slot.topic, slot.partition) === node) {
        const full = slot.full.shift()
        const batch = full ?? slot.batch
        const sealed = batch.seal(identity, slot.sequence, transaction !== null, codec)
        slot.sequence = (slot.sequence + batch.count) % SEQUENCES
        bytes += batch.length
        if (!slot.proven) unproven.push(slot)
        const list = topics.get(slot.topic)
        if (list === undefined) topics.set(slot.topic, [{ partition: slot.partition, batch: sealed }])
        else list.push({ partition: slot.partition, batch: sealed })
        batches.push(batch)
        if (full === undefined) {
          slot.batch = slots.emptyBatch()
          slot.queued = false
          continue
        }
      }
      waiting[rest++] = slot
    }
    waiting.length = rest
    if (batches.length === 0) return null
    return { batches, unproven, bytes, topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })) }
  }

  #send(node: number, link: Link, { topics, batches, unproven, bytes }: Request): void {
    const { slots, transaction, requestTimeoutMs, onProgress, onFailure } = this.#options
    slots.turnSticky()
    this.#underWay.set(node, this.#requestsTo(node) + 1)
    if (unproven.length > 0) this.#firsts++
    const answered = (): void => {
      this.#underWay.set(node, this.#requestsTo(node) - 1)
      slots.answered(bytes)
      if (unproven.length > 0) this.#firsts--
    }
    link.produce(transaction?.id ?? null, requestTimeoutMs, topics).then(
      (answers) => {
        answered()
        for (const slot of unproven) slot.proven = true
        for (const batch of batches) slots.recycle(batch)
        const refused = answers.find(({ code }) => code !== 0)
        if (refused === undefined) onProgress()
        else onFailure(new KafkaError(refused.code, `${refused.topic}, partition ${refused.partition}`))
      },
      (error: unknown) => {
        answered()
        onFailure(error)
      },
    )
  }
}
