/**
 * A lane's side of its transaction as the coordinator has it (KIP-98): which partitions are part of it, and how it
 * ends. Nothing is repeated but what the coordinator has not done yet, since the transaction before is still being
 * completed.
 */
import { type Cluster, type Link, TRANSACTION } from '../kafka/cluster.js'
import { CODE } from '../kafka/codes.js'
import { isFenced, isNotYet, KafkaError } from '../kafka/errors.js'
import type { ProducerIdentity } from '../kafka/record-batch.js'
import type { Slot } from './slots.js'

/** A transaction that the coordinator still ends, or a coordinator that still loads. */
const RETRY_MS = 3
const RETRY_MAX_MS = 100
const INIT_TIMEOUT_MS = 15_000

/** Waits before one attempt after the other: short ones first, since what is waited for takes a few milliseconds. */
export class Retry {
  #delayMs = RETRY_MS

  wait(): Promise<void> {
    const delayMs = this.#delayMs
    this.#delayMs = Math.min(RETRY_MAX_MS, delayMs * 2)
    return new Promise((resolve) => {
      setTimeout(resolve, delayMs)
    })
  }
}

export interface TransactionOptions {
  readonly cluster: Cluster
  readonly transactionalId: string
  /** After so long the coordinator aborts, ms. */
  readonly transactionTimeoutMs: number
  /** Whom this one follows: the identity of the lane that had the id before, in this process. */
  readonly former: ProducerIdentity | null
}

export class Transaction {
  readonly id: string
  readonly identity: ProducerIdentity
  readonly #cluster: Cluster
  #coordinator: Link
  /** Partitions or groups were added: there is something to end. */
  #begun = false
  #adding = false
  #closed = false

  private constructor({ cluster, transactionalId }: TransactionOptions, identity: ProducerIdentity, coordinator: Link) {
    this.id = transactionalId
    this.identity = identity
    this.#cluster = cluster
    this.#coordinator = coordinator
  }

  /**
   * Takes the id. Without a former identity every other holder is fenced, and what it left open is aborted or
   * completed; with one, what that left open is aborted, unless somebody else has taken the id since.
   * @throws KafkaError, of kind `fenced` in that case
   */
  static async open(options: TransactionOptions): Promise<Transaction> {
    const { cluster, transactionalId, transactionTimeoutMs, former } = options
    const deadline = performance.now() + INIT_TIMEOUT_MS
    const retry = new Retry()
    let known = former
    for (;;) {
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
        return new Transaction(options, identity, coordinator)
      } catch (error) {
        coordinator?.close()
        if (!(error instanceof KafkaError) || performance.now() > deadline) throw error
        // Kafka has forgotten the id, as it does with one that was not used for a week: then nobody else has it either.
        if (known !== null && error.code === CODE.unknownId) known = null
        else if (!isNotYet(error.code)) throw error
        await retry.wait()
      }
    }
  }

  /** Whether a request that adds partitions is under way: there is one at a time. */
  get adding(): boolean {
    return this.#adding
  }

  /** Makes partitions part of the transaction. */
  async add(slots: readonly Slot[]): Promise<void> {
    const partitions = new Map<string, number[]>()
    for (const { topic, partition } of slots) {
      const list = partitions.get(topic)
      if (list === undefined) partitions.set(topic, [partition])
      else list.push(partition)
    }
    this.#adding = true
    this.#begun = true
    try {
      await this.#again('AddPartitionsToTxn', (link) => link.addPartitions(this.id, this.identity, partitions))
      for (const slot of slots) slot.added = true
    } finally {
      this.#adding = false
    }
  }

  /** Makes a consumer group part of the transaction. */
  addGroup(group: string): Promise<void> {
    this.#begun = true
    return this.#again('AddOffsetsToTxn', (link) => link.addOffsets(this.id, this.identity, group))
  }

  /** @returns whether there was anything to end */
  async end(commit: boolean): Promise<boolean> {
    if (!this.#begun) return false
    await this.#again('EndTxn', (link) => link.endTxn(this.id, this.identity, commit))
    this.#begun = false
    return true
  }

  close(): void {
    this.#closed = true
    this.#coordinator.close()
  }

  /** Repeats a request while the transaction before it is still being completed by the coordinator. */
  async #again(what: string, request: (coordinator: Link) => Promise<number>): Promise<void> {
    const retry = new Retry()
    for (;;) {
      if (this.#closed) throw new KafkaError(CODE.timedOut, what)
      const code = await request(await this.#link())
      if (code === 0) return
      if (code !== CODE.concurrentTransactions) throw new KafkaError(code, what)
      await retry.wait()
    }
  }

  /**
   * The way to the coordinator; a new one when it was closed while nothing was asked (Kafka closes idle connections).
   */
  async #link(): Promise<Link> {
    const link = this.#coordinator
    if (link.connected || link.inFlight > 0) return link
    link.close()
    return (this.#coordinator = await this.#cluster.coordinator(TRANSACTION, this.id))
  }
}
