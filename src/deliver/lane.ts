/**
 * One transactional producer. Two of them take turns (`turns.ts`). Guarded by rows `d` and `deliver` of `bench/`.
 *
 *   produce ──▶ a batch for each partition ──▶ AddPartitionsToTxn ──▶ Produce ──▶ EndTxn
 *               (`slots.ts`)                   (`transaction.ts`)     (`sender.ts`: acks=all, a few at a time)
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
import type { Cluster, GroupOffsets, Links } from '../kafka/cluster.js'
import { CODE } from '../kafka/codes.js'
import { KafkaError } from '../kafka/errors.js'
import type { Codec, ProducerIdentity } from '../kafka/record-batch.js'
import { GroupPlaces } from './group-places.js'
import { Sender } from './sender.js'
import { type OwnRecord, Slots, type Taken } from './slots.js'
import { Transaction } from './transaction.js'

/** A partition of a topic. */
export interface Place {
  readonly topic: string
  readonly partition: number
}

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
  readonly ledger: Place
  /** How long a broker may wait for the copies, ms. */
  readonly requestTimeoutMs: number
  /** A batch takes no more records from so many bytes on. */
  readonly maxBatchBytes: number
  readonly codec: Codec
  /** So much may wait for brokers: then `produce` stops. */
  readonly maxQueuedBytes: number
  /** Whom this one follows: the identity of the lane that had the id before, in this process. */
  readonly former: ProducerIdentity | null
}

/** Whether it works: once it has failed it never does again, but for a trial's refusal. */
type LaneState =
  | { readonly kind: 'open' }
  | { readonly kind: 'failed'; readonly error: KafkaError }
  | { readonly kind: 'closed'; readonly error: KafkaError }

const OPEN: LaneState = { kind: 'open' }

export class Lane {
  readonly identity: ProducerIdentity
  readonly #cluster: Cluster
  readonly #ledger: Place
  readonly #slots: Slots
  readonly #sender: Sender
  /** Null for a lane without transactions. */
  readonly #transaction: Transaction | null
  readonly #groups: GroupPlaces
  #state: LaneState = OPEN
  /** Nothing may be sent yet: see {@link hold}. */
  #held = false
  /** Who waits for the next change. */
  #settled: (() => void)[] = []

  private constructor(options: LaneOptions, identity: ProducerIdentity, transaction: Transaction | null) {
    const { cluster, links, ledger, requestTimeoutMs, codec } = options
    this.identity = identity
    this.#cluster = cluster
    this.#ledger = ledger
    this.#transaction = transaction
    this.#groups = new GroupPlaces(cluster, transaction)
    this.#slots = new Slots(options)
    this.#sender = new Sender({
      cluster,
      links,
      identity,
      transaction,
      requestTimeoutMs,
      codec,
      slots: this.#slots,
      onProgress: () => {
        this.#progress()
      },
      onFailure: (error) => {
        this.#fail(error)
      },
    })
  }

  /**
   * Takes the id, as {@link Transaction.open} says; a lane without transactions only gets a producer's number.
   * @throws KafkaError, of kind `fenced` when somebody else has taken the id since the former identity had it
   */
  static async open(options: LaneOptions): Promise<Lane> {
    const { cluster, transactionalId, transactionTimeoutMs } = options
    if (transactionalId !== null) {
      const transaction = await Transaction.open({ ...options, transactionalId })
      return new Lane(options, transaction.identity, transaction)
    }
    const link = await cluster.any()
    try {
      return new Lane(options, await link.initProducerId(null, transactionTimeoutMs, null), null)
    } finally {
      link.close()
    }
  }

  /** Whether {@link produce} can place messages for these topics; if not, {@link learn} them first. */
  knows(topics: readonly string[]): boolean {
    return this.#slots.isPlanned(topics) || this.#cluster.knows(topics)
  }

  learn(topics: readonly string[]): Promise<void> {
    return this.#cluster.refresh(topics)
  }

  /**
   * Takes messages into the transaction, as many as there is room for.
   * @param from the first that is not taken yet
   * @param dropped numbers of messages that are not to be sent
   * @throws KafkaError why the transaction cannot be committed, as far as it is known already
   * @throws LeaseLost when the messages' memory holds another batch's by now
   */
  produce(messages: Minimised, from: number, dropped: ReadonlySet<number> | null): Taken {
    if (this.#state.kind !== 'open') throw this.#state.error
    if (messages.stale()) throw new LeaseLost()
    const taken = this.#slots.take(messages, from, dropped)
    this.#pump()
    return taken
  }

  /** One record of delivery's own, whatever waits. */
  produceTo({ topic, partition }: Place, record: OwnRecord): void {
    this.#slots.add(this.#slots.of(topic, partition), record)
    this.#pump()
  }

  /** Offsets of a consumer group: part of the transaction, or committed at once where there is none. */
  sendOffsets(offsets: GroupOffsets, timeoutMs: number): Promise<void> {
    return this.#within(timeoutMs, () => this.#groups.commit(offsets))
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
      this.#slots.discard()
      await this.#flushed()
      await this.#end(false)
    })
  }

  /**
   * Sends one message alone and waits for the answer: for trials.
   * @returns Kafka's code, 0 when it was taken
   */
  async trial(messages: Minimised, i: number, timeoutMs: number): Promise<number> {
    if (messages.stale()) throw new LeaseLost()
    const slot = this.#slots.takeOne(messages, i)
    const { sequence } = slot
    try {
      this.#pump()
      await this.flush(timeoutMs)
      return 0
    } catch (error) {
      if (!(error instanceof KafkaError) || error.code <= 0) throw error
      // A refused batch takes no sequence number, and the connection is as good as before.
      slot.sequence = sequence
      if (this.#state.kind === 'failed') this.#state = OPEN
      return error.code
    }
  }

  /** Resolves when the brokers have what was produced. */
  flush(timeoutMs: number): Promise<void> {
    return this.#within(timeoutMs, () => this.#flushed())
  }

  /** Throws away what was not sent. */
  close(): void {
    if (this.#state.kind === 'closed') return
    const error = this.#state.kind === 'failed' ? this.#state.error : new KafkaError(CODE.timedOut, 'closed')
    this.#state = { kind: 'closed', error }
    this.#transaction?.close()
    this.#groups.close()
    this.#wake()
  }

  /** Sends what may be sent now. Called whenever something is added or answered. */
  #pump(): void {
    if (this.#state.kind !== 'open' || this.#slots.waiting.length === 0) return
    if (this.#transaction !== null) this.#addPartitions(this.#transaction)
    if (!this.#held) this.#sender.pump()
  }

  /** Makes partitions that got their first message part of the transaction; one request at a time. */
  #addPartitions(transaction: Transaction): void {
    if (transaction.adding || this.#sender.hasFirsts) return
    const fresh = this.#slots.waiting.filter(({ added }) => !added)
    if (fresh.length === 0) return
    const ledger = this.#slots.of(this.#ledger.topic, this.#ledger.partition)
    if (!ledger.added && !fresh.includes(ledger)) fresh.push(ledger)
    transaction.add(fresh).then(
      () => {
        this.#progress()
      },
      (error: unknown) => {
        this.#fail(error)
      },
    )
  }

  async #end(commit: boolean): Promise<void> {
    if ((await this.#transaction?.end(commit)) === true) this.#slots.forgetTransaction()
  }

  /** Resolves when nothing waits to be sent. @throws KafkaError what went wrong */
  #sent(): Promise<void> {
    return this.#until(() => this.#slots.waiting.length === 0 && this.#transaction?.adding !== true)
  }

  /** Resolves when nothing waits and nothing is under way. @throws KafkaError what went wrong */
  #flushed(): Promise<void> {
    return this.#until(
      () => this.#slots.waiting.length === 0 && this.#sender.isIdle && this.#transaction?.adding !== true,
    )
  }

  async #until(done: () => boolean): Promise<void> {
    for (;;) {
      if (this.#state.kind !== 'open') throw this.#state.error
      if (done()) return
      this.#pump()
      await new Promise<void>((resolve) => {
        this.#settled.push(resolve)
      })
    }
  }

  #progress(): void {
    this.#pump()
    this.#wake()
  }

  #fail(error: unknown): void {
    if (this.#state.kind === 'open')
      this.#state = {
        kind: 'failed',
        error:
          error instanceof KafkaError ? error : new KafkaError(CODE.timedOut, 'a request failed', { cause: error }),
      }
    this.#wake()
  }

  #wake(): void {
    const settled = this.#settled
    this.#settled = []
    for (const resolve of settled) resolve()
  }

  /** Whatever fails within it, or is late, makes the lane useless. */
  async #within(timeoutMs: number, work: () => Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new KafkaError(CODE.timedOut, `no answer within ${timeoutMs} ms`))
      }, timeoutMs)
    })
    try {
      await Promise.race([work(), late])
    } catch (error) {
      this.#fail(error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}
