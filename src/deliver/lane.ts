/**
 * One transactional producer. Two of them take turns (`delivery.ts`). Guarded by rows `d` and `deliver` of `bench/`.
 *
 *   produce ──▶ a batch for each partition ──▶ AddPartitionsToTxn ──▶ Produce (acks=all, a few under way to each broker) ──▶ EndTxn
 *
 * It speaks Kafka's protocol itself (KIP-98), since a client's call for each message costs more than all else together;
 * and it retries nothing but what the protocol says is not yet done (a transaction that still ends). Whatever fails
 * makes the lane useless: delivery opens another with the former's identity and fills again from its batches. That is
 * also what keeps a delayed EndTxn of this one from ending a later transaction (KIP-890): the next lane has another
 * epoch.
 *
 * A lane that takes over from its own former self continues that identity (KIP-360), so a process that was fenced while
 * it did not look is told so, instead of fencing the one that took its place.
 */
import { LeaseLost } from '../batch/lease.js'
import type { Minimised } from '../flow/minimised.js'
import { type Cluster, GROUP, type GroupOffsets, type Link, type Links, TRANSACTION } from '../kafka/cluster.js'
import { CODE } from '../kafka/codes.js'
import { isFenced, isNotYet, KafkaError } from '../kafka/errors.js'
import type { ProduceTopic } from '../kafka/produce-requests.js'
import {
  type Codec,
  encodeHeaders,
  partitionOf,
  type ProducerIdentity,
  RECORD_OVERHEAD_BYTES,
  RecordBatch,
  viewOf,
} from '../kafka/record-batch.js'

/**
 * Of a lane, to each broker. Kafka keeps order and tells repeats of at most five (KIP-98); two keep the broker busy.
 */
const REQUESTS_UNDER_WAY = 2
/** A request takes no more batches from so many bytes on. */
const REQUEST_BYTES = 500_000
/** A transaction that the coordinator still ends, or a coordinator that still loads. */
const RETRY_MS = 3
const RETRY_MAX_MS = 100
/** Emptied batches that are kept for the next ones. */
const SPARE_BATCHES = 64
const INIT_TIMEOUT_MS = 15_000

export interface LaneOptions {
  readonly cluster: Cluster
  /**
   * Connections for what is produced. Lanes that take turns share them: a broker works through one connection's
   * requests in order.
   */
  readonly links: Links
  /** null: no transactions, at least once. */
  readonly transactionalId: string | null
  /** After so long the coordinator aborts, ms. */
  readonly transactionTimeoutMs: number
  /**
   * Where each transaction has its last record: made part of it with the first others, which saves a request before the
   * commit.
   */
  readonly ledger: { readonly topic: string; readonly partition: number } | null
  /** How long a broker may wait for the copies, ms. */
  readonly requestTimeoutMs: number
  /** A batch takes no more records from so many bytes on. */
  readonly maxBatchBytes: number
  readonly codec: Codec
  /** So much may wait for brokers: then `produce` stops. */
  readonly maxQueuedBytes: number
  /** Whom this one follows: the identity of the lane that had the id before, in this process. */
  readonly former?: ProducerIdentity | null
}

/** What of a partition waits to be sent. */
interface Slot {
  readonly topic: string
  readonly partition: number
  batch: RecordBatch
  /** Batches that are full, in order. */
  readonly full: RecordBatch[]
  /** Of the next record, counted since the lane was opened. */
  sequence: number
  /** Whether it is part of the transaction. */
  added: boolean
  /** Whether its broker has taken something of the transaction: it asks the coordinator the first time. */
  proven: boolean
  queued: boolean
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

export class Lane {
  readonly identity: ProducerIdentity
  /** What the last {@link produce} took. */
  producedMessages = 0
  producedBytes = 0
  readonly #options: LaneOptions
  readonly #cluster: Cluster
  /** Null for a lane without transactions. */
  #coordinator: Link | null
  /** To the coordinators of consumer groups. */
  readonly #groups = new Map<string, Link>()
  readonly #slots = new Map<string, (Slot | undefined)[]>()
  /** The slots of the topics that a plan writes to, by topic and partition: looked up once for each list of topics. */
  #plan: readonly string[] | null = null
  #planSlots: (Slot | undefined)[][] = []
  #planPartitions = new Int32Array(0)
  #planHeaders: (Buffer | null)[] = []
  /** Partition of messages without a key: the same until a request is sent, so that batches fill. */
  #sticky = 0
  /** Slots with something to send. */
  #waiting: Slot[] = []
  readonly #spare: RecordBatch[] = []
  #queuedBytes = 0
  #underWay = 0
  /** Of these, by broker. */
  readonly #underWayTo = new Map<number, number>()
  #adding = false
  /** Requests under way that hold the first batch of a partition. */
  #firsts = 0
  /** Nothing may be sent yet: see {@link hold}. */
  #held = false
  /** Partitions were added: there is something to end. */
  #open = false
  #failure: KafkaError | null = null
  #closed = false
  #settled: (() => void)[] = []

  private constructor(options: LaneOptions, identity: ProducerIdentity, coordinator: Link | null) {
    this.#options = options
    this.#cluster = options.cluster
    this.identity = identity
    this.#coordinator = coordinator
  }

  /**
   * Takes the id. Without a former identity every other holder is fenced, and what it left open is aborted or
   * completed; with one, what that left open is aborted, unless somebody else has taken the id since.
   * @throws KafkaError, of kind `fenced` in that case
   */
  static async open(options: LaneOptions): Promise<Lane> {
    const { cluster, transactionalId, transactionTimeoutMs, former = null } = options
    if (transactionalId === null) {
      const link = await cluster.any()
      try {
        return new Lane(options, await link.initProducerId(null, transactionTimeoutMs, null), null)
      } finally {
        link.close()
      }
    }
    const deadline = performance.now() + INIT_TIMEOUT_MS
    let known = former
    for (let delayMs = RETRY_MS; ; delayMs = Math.min(RETRY_MAX_MS, delayMs * 2)) {
      let coordinator: Link | null = null
      try {
        coordinator = await cluster.coordinator(TRANSACTION, transactionalId)
        if (known !== null) {
          const code = await coordinator.endTxn(transactionalId, known, false)
          // Nothing open, or committed already: that is as good. And so is an epoch that has passed: our own request
          // for the next one may have been heard and its answer lost. Whether it was ours the request below is told.
          if (code !== 0 && code !== CODE.invalidTransactionState && !isFenced(code))
            throw new KafkaError(code, 'EndTxn')
        }
        const identity = await coordinator.initProducerId(transactionalId, transactionTimeoutMs, known)
        return new Lane(options, identity, coordinator)
      } catch (error) {
        coordinator?.close()
        if (!(error instanceof KafkaError) || performance.now() > deadline) throw error
        // Kafka has forgotten the id, as it does with one that was not used for a week: then nobody else has it either.
        if (known !== null && error.code === CODE.unknownId) known = null
        else if (!isNotYet(error.code)) throw error
        await sleep(delayMs)
      }
    }
  }

  /** Whether {@link produce} can place messages for these topics; if not, {@link learn} them first. */
  knows(topics: readonly string[]): boolean {
    return this.#plan === topics || this.#cluster.knows(topics)
  }

  learn(topics: readonly string[]): Promise<void> {
    return this.#cluster.refresh(topics)
  }

  /**
   * Takes messages into the transaction.
   * @param from the first that is not taken yet
   * @param dropped numbers of messages that are not to be sent
   * @returns the first that was not taken, since too much waits for the brokers; or `messages.count`
   * @throws KafkaError why the transaction cannot be committed, as far as it is known already
   * @throws LeaseLost when the messages' memory holds another batch's by now
   */
  produce(messages: Minimised, from: number, dropped: ReadonlySet<number> | null): number {
    if (this.#failure !== null) throw this.#failure
    if (messages.stale?.() === true) throw new LeaseLost()
    const { count, topic, topics, bytes, valueOff, valueLen, keyOff, keyLen, timestamp, headers } = messages
    if (this.#plan !== topics) this.#usePlan(topics, headers)
    const { maxQueuedBytes } = this.#options
    const partitions = this.#planPartitions
    const slots = this.#planSlots
    const encoded = this.#planHeaders
    const view = viewOf(bytes)
    const before = this.#queuedBytes
    let produced = 0
    let i = from
    for (; i < count; i++) {
      if (this.#queuedBytes >= maxQueuedBytes) break
      if (dropped !== null && dropped.has(i)) continue
      const t = topic[i]
      const keyLength = keyLen[i]
      const valueLength = valueLen[i]
      const partition =
        keyLength === 0 ? this.#sticky % partitions[t] : partitionOf(bytes, keyOff[i], keyLength, partitions[t])
      const slot = slots[t][partition] ?? this.#slot(t, partition)
      this.#append(slot, view, keyOff[i], keyLength, valueOff[i], valueLength, timestamp[i], encoded[t])
      produced++
    }
    this.producedMessages = produced
    this.producedBytes = this.#queuedBytes - before
    this.#pump()
    return i
  }

  /** One message more, whatever waits: the ledger's. */
  produceTo(topic: string, partition: number, key: Uint8Array, value: Uint8Array, timestamp: number): void {
    const both = viewOf(Buffer.concat([key, value]))
    this.#append(this.#slotOf(topic, partition), both, 0, key.length, key.length, value.length, timestamp, null)
    this.#pump()
  }

  /** Offsets of a consumer group: part of the transaction, or committed at once where there is none. */
  sendOffsets(offsets: GroupOffsets, timeoutMs: number): Promise<void> {
    return this.#within(timeoutMs, async () => {
      const { transactionalId } = this.#options
      if (transactionalId !== null) {
        this.#open = true
        await this.#again((link) => link.addOffsets(transactionalId, this.identity, offsets.group), 'AddOffsetsToTxn')
      }
      for (let delayMs = RETRY_MS; ; delayMs = Math.min(RETRY_MAX_MS, delayMs * 2)) {
        if (this.#closed) throw new KafkaError(CODE.timedOut, 'closed')
        let code: number
        try {
          const link = await this.#groupLink(offsets.group)
          code = await (transactionalId === null
            ? link.offsetCommit(offsets)
            : link.txnOffsetCommit(transactionalId, this.identity, offsets))
        } catch (error) {
          this.#fail(error)
          throw error
        }
        if (code === 0) return
        if (!isNotYet(code)) {
          const error = new KafkaError(code, transactionalId === null ? 'OffsetCommit' : 'TxnOffsetCommit')
          this.#fail(error)
          throw error
        }
        // The coordinator loads, or another has become it.
        this.#groups.get(offsets.group)?.close()
        await sleep(delayMs)
      }
    })
  }

  /**
   * Sends nothing until {@link release}: what the other lane has still to send to the same partitions stands before it.
   */
  hold(): void {
    this.#held = true
  }

  release(): void {
    if (!this.#held) return
    this.#held = false
    this.#pump()
  }

  /**
   * Resolves when the brokers have all of it and the transaction is committed.
   * @param onSent called in between: all of it is on its way, and what goes over the same connections from now on
   * stands behind it
   */
  commit(timeoutMs: number, onSent?: () => void): Promise<void> {
    return this.#within(timeoutMs, async () => {
      await this.#sent()
      onSent?.()
      await this.#flushed()
      await this.#end(true)
    })
  }

  /** Ends the transaction without its messages. */
  abort(timeoutMs: number): Promise<void> {
    return this.#within(timeoutMs, async () => {
      for (const slot of this.#waiting) this.#discard(slot)
      this.#waiting = []
      await this.#flushed()
      await this.#end(false)
    })
  }

  /**
   * Sends one message alone and waits for the answer: for trials.
   * @returns Kafka's code, 0 when it was taken
   */
  async trial(messages: Minimised, i: number, timeoutMs: number): Promise<number> {
    if (messages.stale?.() === true) throw new LeaseLost()
    const { topics, headers, topic, bytes, keyOff, keyLen, valueOff, valueLen, timestamp } = messages
    if (this.#plan !== topics) this.#usePlan(topics, headers)
    const t = topic[i]
    const partitions = this.#planPartitions[t]
    const slot = this.#slot(t, keyLen[i] === 0 ? 0 : partitionOf(bytes, keyOff[i], keyLen[i], partitions))
    this.#append(
      slot,
      viewOf(bytes),
      keyOff[i],
      keyLen[i],
      valueOff[i],
      valueLen[i],
      timestamp[i],
      this.#planHeaders[t],
    )
    const sequence = slot.sequence
    try {
      this.#pump()
      await this.#within(timeoutMs, () => this.#flushed())
      return 0
    } catch (error) {
      if (!(error instanceof KafkaError) || error.code <= 0) throw error
      // A refused batch takes no sequence number, and the connection is as good as before.
      slot.sequence = sequence
      this.#failure = null
      return error.code
    }
  }

  /** Resolves when the brokers have what was produced. */
  flush(timeoutMs: number): Promise<void> {
    return this.#within(timeoutMs, () => this.#flushed())
  }

  /** Throws away what was not sent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#failure ??= new KafkaError(CODE.timedOut, 'closed')
    this.#coordinator?.close()
    for (const link of this.#groups.values()) link.close()
    this.#groups.clear()
    this.#wake()
  }

  // ---- what waits
  // ---------------------------------------------------------------------------------------------------------------

  #usePlan(topics: readonly string[], headers: Minimised['headers']): void {
    this.#plan = topics
    this.#planPartitions = Int32Array.from(topics, (topic) => Math.max(1, this.#cluster.partitions(topic)))
    this.#planSlots = topics.map((topic) => this.#slotsOf(topic))
    this.#planHeaders = topics.map((_, t) => {
      const list = headers[t]
      return list === undefined ? null : encodeHeaders(list)
    })
  }

  #slotsOf(topic: string): (Slot | undefined)[] {
    let slots = this.#slots.get(topic)
    if (slots === undefined) this.#slots.set(topic, (slots = []))
    return slots
  }

  #slot(topicIndex: number, partition: number): Slot {
    return this.#slotOf((this.#plan as readonly string[])[topicIndex], partition)
  }

  #slotOf(topic: string, partition: number): Slot {
    const slots = this.#slotsOf(topic)
    return (slots[partition] ??= {
      topic,
      partition,
      batch: this.#emptyBatch(),
      full: [],
      sequence: 0,
      added: false,
      proven: false,
      queued: false,
    })
  }

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
      batch = slot.batch = this.#emptyBatch()
    }
    const start = batch.count === 0 ? 0 : batch.length
    batch.append(source, keyOffset, keyLength, valueOffset, valueLength, timestamp, headers)
    this.#queuedBytes += batch.length - start
    if (!slot.queued) {
      slot.queued = true
      this.#waiting.push(slot)
    }
  }

  #emptyBatch(): RecordBatch {
    return this.#spare.pop() ?? new RecordBatch()
  }

  /** Its bytes are with the broker, or nobody wants them any more. */
  #recycle(batch: RecordBatch): void {
    batch.clear()
    if (this.#spare.length < SPARE_BATCHES) this.#spare.push(batch)
  }

  #discard(slot: Slot): void {
    for (const batch of [...slot.full, slot.batch]) {
      if (batch.count > 0) this.#queuedBytes -= batch.length
      batch.clear()
    }
    slot.full.length = 0
    slot.queued = false
  }

  // ---- sending
  // ------------------------------------------------------------------------------------------------------------------

  /** Sends what may be sent now. Called whenever something is added or answered. */
  #pump(): void {
    if (this.#failure !== null || this.#waiting.length === 0) return
    if (this.#options.transactionalId !== null) this.#addPartitions(this.#options.transactionalId)
    if (this.#held) return
    // Grouped by leader: one round over what waits for each broker that can take a request.
    const nodes = new Set<number>()
    for (const slot of this.#waiting) if (this.#mayGo(slot)) nodes.add(this.#cluster.leader(slot.topic, slot.partition))
    for (const node of nodes) {
      if (node < 0) {
        this.#fail(new KafkaError(CODE.unknownPartition, 'a partition has no leader'))
        return
      }
      const link = this.#options.links.get(
        node,
        () => {
          this.#pump()
        },
        (error) => {
          this.#fail(error)
        },
      )
      if (link !== null)
        while ((this.#underWayTo.get(node) ?? 0) < REQUESTS_UNDER_WAY && this.#send(node, link)) {
          /* the next */
        }
    }
  }

  #mayGo(slot: Slot): boolean {
    // While the coordinator adds partitions it cannot vouch for others: brokers would refuse what they ask it about (as
    // "not enough replicas").
    return this.#options.transactionalId === null || (slot.added && (slot.proven || !this.#adding))
  }

  /** One request to a broker. @returns false when nothing is there for it */
  #send(node: number, link: Link): boolean {
    const topics = new Map<string, { partition: number; batch: Buffer }[]>()
    const sent: RecordBatch[] = []
    const unproven: Slot[] = []
    let bytes = 0
    let rest = 0
    const waiting = this.#waiting
    for (const slot of waiting) {
      if (bytes < REQUEST_BYTES && this.#mayGo(slot) && this.#cluster.leader(slot.topic, slot.partition) === node) {
        const next = slot.full.shift()
        const batch = next ?? slot.batch
        const sealed = batch.seal(
          this.identity,
          slot.sequence,
          this.#options.transactionalId !== null,
          this.#options.codec,
        )
        slot.sequence = (slot.sequence + batch.count) % 0x8000_0000
        bytes += batch.length
        if (!slot.proven) unproven.push(slot)
        const list = topics.get(slot.topic)
        if (list === undefined) topics.set(slot.topic, [{ partition: slot.partition, batch: sealed }])
        else list.push({ partition: slot.partition, batch: sealed })
        sent.push(batch)
        if (next === undefined) {
          slot.batch = this.#emptyBatch()
          slot.queued = false
          continue
        }
      }
      waiting[rest++] = slot
    }
    waiting.length = rest
    if (sent.length === 0) return false
    this.#sticky = (this.#sticky + 1) % 0x7fff_ffff
    this.#underWay++
    this.#underWayTo.set(node, (this.#underWayTo.get(node) ?? 0) + 1)
    const answered = (): void => {
      this.#underWay--
      this.#underWayTo.set(node, (this.#underWayTo.get(node) ?? 0) - 1)
      this.#queuedBytes -= bytes
      if (unproven.length > 0) this.#firsts--
    }
    if (unproven.length > 0) this.#firsts++
    const request: ProduceTopic[] = [...topics].map(([topic, partitions]) => ({ topic, partitions }))
    link.produce(this.#options.transactionalId, this.#options.requestTimeoutMs, request).then(
      (answers) => {
        answered()
        for (const slot of unproven) slot.proven = true
        for (const batch of sent) this.#recycle(batch)
        const refused = answers.find((answer) => answer.code !== 0)
        if (refused !== undefined)
          this.#fail(new KafkaError(refused.code, `${refused.topic}, partition ${refused.partition}`))
        else this.#pump()
        this.#wake()
      },
      (error: unknown) => {
        answered()
        this.#fail(error)
      },
    )
    return true
  }

  /** Makes partitions that got their first message part of the transaction; one request at a time. */
  #addPartitions(transactionalId: string): void {
    if (this.#adding || this.#firsts > 0) return
    const fresh = this.#waiting.filter((slot) => !slot.added)
    if (fresh.length === 0) return
    const { ledger } = this.#options
    if (ledger !== null) {
      const slot = this.#slotOf(ledger.topic, ledger.partition)
      if (!slot.added && !fresh.includes(slot)) fresh.push(slot)
    }
    const partitions = new Map<string, number[]>()
    for (const { topic, partition } of fresh) {
      const list = partitions.get(topic)
      if (list === undefined) partitions.set(topic, [partition])
      else list.push(partition)
    }
    this.#adding = true
    this.#open = true
    this.#again((link) => link.addPartitions(transactionalId, this.identity, partitions), 'AddPartitionsToTxn').then(
      () => {
        this.#adding = false
        for (const slot of fresh) slot.added = true
        this.#pump()
        this.#wake()
      },
      (error: unknown) => {
        this.#adding = false
        this.#fail(error)
      },
    )
  }

  async #end(commit: boolean): Promise<void> {
    const { transactionalId } = this.#options
    if (transactionalId === null || !this.#open) return
    await this.#again((link) => link.endTxn(transactionalId, this.identity, commit), 'EndTxn')
    this.#open = false
    for (const slots of this.#slots.values())
      for (const slot of slots) if (slot !== undefined) slot.added = slot.proven = false
  }

  /** Repeats a request of the transaction while its predecessor is still being completed by the coordinator. */
  async #again(request: (coordinator: Link) => Promise<number>, what: string): Promise<void> {
    for (let delayMs = RETRY_MS; ; delayMs = Math.min(RETRY_MAX_MS, delayMs * 2)) {
      if (this.#closed) throw new KafkaError(CODE.timedOut, what)
      let code: number
      try {
        code = await request(await this.#coordinatorLink())
      } catch (error) {
        this.#fail(error)
        throw error
      }
      if (code === 0) return
      if (code !== CODE.concurrentTransactions) {
        const error = new KafkaError(code, what)
        this.#fail(error)
        throw error
      }
      await sleep(delayMs)
    }
  }

  /**
   * The way to the coordinator; a new one when it was closed while nothing was asked (Kafka closes idle connections).
   */
  async #coordinatorLink(): Promise<Link> {
    const link = this.#coordinator as Link
    if (link.connected || link.inFlight > 0) return link
    link.close()
    return (this.#coordinator = await this.#cluster.coordinator(TRANSACTION, this.#options.transactionalId as string))
  }

  async #groupLink(group: string): Promise<Link> {
    const link = this.#groups.get(group)
    if (link?.connected === true) return link
    link?.close()
    const found = await this.#cluster.coordinator(GROUP, group)
    if (this.#closed) found.close()
    else this.#groups.set(group, found)
    return found
  }

  /** Resolves when nothing waits to be sent. @throws KafkaError what went wrong */
  #sent(): Promise<void> {
    return this.#until(() => this.#waiting.length === 0 && !this.#adding)
  }

  /** Resolves when nothing waits and nothing is under way. @throws KafkaError what went wrong */
  #flushed(): Promise<void> {
    return this.#until(() => this.#waiting.length === 0 && this.#underWay === 0 && !this.#adding)
  }

  async #until(done: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure !== null) throw this.#failure
      if (done()) return
      this.#pump()
      await new Promise<void>((resolve) => {
        this.#settled.push(resolve)
      })
    }
  }

  #fail(error: unknown): void {
    this.#failure ??=
      error instanceof KafkaError ? error : new KafkaError(CODE.timedOut, 'a request failed', { cause: error })
    this.#wake()
  }

  #wake(): void {
    const settled = this.#settled
    this.#settled = []
    for (const resolve of settled) resolve()
  }

  async #within(timeoutMs: number, work: () => Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new KafkaError(CODE.timedOut, `no answer within ${timeoutMs} ms`)
        this.#fail(error)
        reject(error)
      }, timeoutMs)
    })
    try {
      await Promise.race([work(), late])
    } finally {
      clearTimeout(timer)
    }
  }
}
