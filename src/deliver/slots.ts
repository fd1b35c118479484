/**
 * What a lane has still to send: a record batch for each partition, and those before it that are full. Messages are
 * written into them once, and stay there until a broker has them. Guarded by rows `d` and `deliver` of `bench/`.
 */
import type { Minimised } from '../flow/minimised.js'
import type { Cluster } from '../kafka/cluster.js'
import { encodeHeaders, partitionOf, RECORD_OVERHEAD_BYTES, RecordBatch, viewOf } from '../kafka/record-batch.js'

/** Emptied batches that are kept for the next ones. */
const SPARE_BATCHES = 64
/** Where the partition for messages without a key begins anew. */
const STICKY_MAX = 0x7fff_ffff

/** What of a partition waits to be sent. */
export interface Slot {
  readonly topic: string
  readonly partition: number
  batch: RecordBatch
  /** Batches that are full, in order. */
  readonly full: RecordBatch[]
  /** Number of the next record, counted since the lane was opened. */
  sequence: number
  /** Whether it is part of the transaction. */
  added: boolean
  /** Whether its broker has taken something of the transaction: it asks the coordinator the first time. */
  proven: boolean
  queued: boolean
}

/** Slots of one topic, by partition. */
type TopicSlots = (Slot | undefined)[]

/** What is looked up once for each list of topics, by topic. */
interface Plan {
  readonly topics: readonly string[]
  readonly partitions: Int32Array
  readonly slots: readonly TopicSlots[]
  readonly headers: readonly (Buffer | null)[]
}

/** What was taken of a batch's messages. */
export interface Taken {
  /** The first that was not, since too much waits for the brokers; or their number. */
  readonly next: number
  readonly messages: number
  readonly bytes: number
}

export interface SlotsOptions {
  readonly cluster: Cluster
  /** A batch takes no more records from so many bytes on. */
  readonly maxBatchBytes: number
  /** From so many bytes on that wait for brokers, no more are taken. */
  readonly maxQueuedBytes: number
}

export class Slots {
  readonly #options: SlotsOptions
  readonly #byTopic = new Map<string, TopicSlots>()
  readonly #spare: RecordBatch[] = []
  #plan: Plan | null = null
  /** Partition of messages without a key: the same until a request is sent, so that batches fill. */
  #sticky = 0
  #queuedBytes = 0
  /** Slots with something to send, in the order in which they got it. */
  readonly waiting: Slot[] = []

  constructor(options: SlotsOptions) {
    this.#options = options
  }

  /** Whether the topics are those of the messages that were taken last. */
  isPlanned(topics: readonly string[]): boolean {
    return this.#plan?.topics === topics
  }

  /**
   * Takes messages, as many as there is room for.
   * @param from the first that is not taken yet
   * @param dropped numbers of messages that are not to be sent
   */
  take(messages: Minimised, from: number, dropped: ReadonlySet<number> | null): Taken {
    const { count, topic, bytes, valueOff, valueLen, keyOff, keyLen, timestamp } = messages
    const { topics, partitions, slots, headers } = this.#planOf(messages)
    const { maxQueuedBytes } = this.#options
    const view = viewOf(bytes)
    const before = this.#queuedBytes
    let taken = 0
    let i = from
    for (; i < count; i++) {
      if (this.#queuedBytes >= maxQueuedBytes) break
      if (dropped !== null && dropped.has(i)) continue
      const t = topic[i]
      const keyLength = keyLen[i]
      const partition =
        keyLength === 0 ? this.#sticky % partitions[t] : partitionOf(bytes, keyOff[i], keyLength, partitions[t])
      const slot = slots[t][partition] ?? this.of(topics[t], partition)
      this.#append(slot, view, keyOff[i], keyLength, valueOff[i], valueLen[i], timestamp[i], headers[t])
      taken++
    }
    return { next: i, messages: taken, bytes: this.#queuedBytes - before }
  }

  /** Takes one message alone, whatever waits. @returns where it is */
  takeOne(messages: Minimised, i: number): Slot {
    const { topic, bytes, valueOff, valueLen, keyOff, keyLen, timestamp } = messages
    const { topics, partitions, headers } = this.#planOf(messages)
    const t = topic[i]
    const partition = keyLen[i] === 0 ? 0 : partitionOf(bytes, keyOff[i], keyLen[i], partitions[t])
    const slot = this.of(topics[t], partition)
    this.#append(slot, viewOf(bytes), keyOff[i], keyLen[i], valueOff[i], valueLen[i], timestamp[i], headers[t])
    return slot
  }

  /** Takes a record of delivery's own, whatever waits. */
  add(slot: Slot, { key, value, timestamp }: OwnRecord): void {
    const both = viewOf(value === null ? Buffer.from(key) : Buffer.concat([key, value]))
    this.#append(slot, both, 0, key.length, key.length, value?.length ?? -1, timestamp, null)
  }

  /** The slot of a partition. */
  of(topic: string, partition: number): Slot {
    return (this.#slotsOf(topic)[partition] ??= {
      topic,
      partition,
      batch: this.emptyBatch(),
      full: [],
      sequence: 0,
      added: false,
      proven: false,
      queued: false,
    })
  }

  emptyBatch(): RecordBatch {
    return this.#spare.pop() ?? new RecordBatch()
  }

  /** So many bytes wait no longer: their broker has answered. */
  answered(bytes: number): void {
    this.#queuedBytes -= bytes
  }

  /** A batch is to be filled again: its bytes are with the broker, or nobody wants them any more. */
  recycle(batch: RecordBatch): void {
    batch.clear()
    if (this.#spare.length < SPARE_BATCHES) this.#spare.push(batch)
  }

  /** Messages without a key go to another partition from now on. */
  turnSticky(): void {
    this.#sticky = (this.#sticky + 1) % STICKY_MAX
  }

  /** Throws away what waits. */
  discard(): void {
    for (const slot of this.waiting.splice(0)) {
      for (const batch of [...slot.full, slot.batch]) {
        if (batch.count > 0) this.#queuedBytes -= batch.length
        batch.clear()
      }
      slot.full.length = 0
      slot.queued = false
    }
  }

  /** The transaction has ended: no partition is part of the next one yet. */
  forgetTransaction(): void {
    for (const slots of this.#byTopic.values())
      for (const slot of slots) if (slot !== undefined) slot.added = slot.proven = false
  }

  #planOf({ topics, headers }: Minimised): Plan {
    if (this.#plan?.topics === topics) return this.#plan
    const { cluster } = this.#options
    return (this.#plan = {
      topics,
      partitions: Int32Array.from(topics, (topic) => Math.max(1, cluster.partitions(topic))),
      slots: topics.map((topic) => this.#slotsOf(topic)),
      headers: topics.map((_, t) => {
        const list = headers[t]
        return list === undefined ? null : encodeHeaders(list)
      }),
    })
  }

  #slotsOf(topic: string): TopicSlots {
    let slots = this.#byTopic.get(topic)
    if (slots === undefined) this.#byTopic.set(topic, (slots = []))
    return slots
  }

  // Positional: it is called for each message, and an object for each would be garbage.
  #append(
    slot: Slot,
    source: DataView,
    keyOffset: number,
    keyLength: number,
    valueOffset: number,
    valueLength: number,
    timestamp: number,
    headers: Buffer | null,
  ): void {
    let { batch } = slot
    const before = batch.length
    if (batch.count > 0 && before + keyLength + valueLength + RECORD_OVERHEAD_BYTES > this.#options.maxBatchBytes) {
      slot.full.push(batch)
      batch = slot.batch = this.emptyBatch()
    }
    const start = batch.count === 0 ? 0 : batch.length
    batch.append(source, keyOffset, keyLength, valueOffset, valueLength, timestamp, headers)
    this.#queuedBytes += batch.length - start
    if (!slot.queued) {
      slot.queued = true
      this.waiting.push(slot)
    }
  }
}

/** A record that delivery writes for itself: it has no headers. */
export interface OwnRecord {
  readonly key: Uint8Array
  /** null: a tombstone. */
  readonly value: Uint8Array | null
  /** Unix time, ms. */
  readonly timestamp: number
}
