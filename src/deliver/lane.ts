/**
 * One transactional producer: an instance of librdkafka's client with a `transactional.id`. Two of them take turns (`delivery.ts`).
 *
 * An instance is never mended: after anything unclean a new one with the same id takes its place, which raises the id's epoch, so that
 * nothing the old one still has under way can reach a transaction (KIP-890: a delayed EndTxn may else commit a part of the next one;
 * librdkafka retries inside `commitTransaction` and returns success).
 */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'
import { refusedProperty, type ClientProperties } from './kafka-config.js'
import { FATAL, WRONG_STATE, asError, errorCode } from './kafka-errors.js'

/** The native client: no check, no wrapping per message. */
export interface NativeProducer {
  /** @returns librdkafka's error code, 0 when the message was queued (librdkafka keeps a copy) */
  produce(topic: string, partition: number, value: Uint8Array | null, key: Uint8Array | null, timestamp: number, opaque?: unknown, headers?: readonly Record<string, string>[]): number
  poll(): void
}

const CONNECT_TIMEOUT_MS = 5_000
const INIT_TIMEOUT_MS = 15_000
const POLL_INTERVAL_MS = 50

export interface LaneOptions {
  readonly transactionalId: string
  readonly properties: ClientProperties
  /** Metadata of this topic is asked for on connecting. */
  readonly topic: string
  /** Delivery reports, for trials only: one call per message. */
  readonly onReport?: (error: unknown, opaque: unknown) => void
}

interface BrokerStatistics { readonly req_timeouts?: number, readonly txretries?: number, readonly disconnects?: number }

/** Retries, time-outs and lost connections that librdkafka has counted so far. */
function troubles(message: string): number {
  const { brokers } = JSON.parse(message) as { brokers?: Record<string, BrokerStatistics> }
  let sum = 0
  for (const broker of Object.values(brokers ?? {})) sum += (broker.req_timeouts ?? 0) + (broker.txretries ?? 0) + (broker.disconnects ?? 0)
  return sum
}

const immediate = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve) })

export class Lane {
  readonly transactionalId: string
  readonly native: NativeProducer
  /** Trouble was seen on a connection: it may finish this transaction, and must not begin another. */
  suspect = false
  readonly #producer: Kafka.Producer
  #troubles = 0
  #closed: Promise<void> | null = null

  private constructor(producer: Kafka.Producer, transactionalId: string) {
    this.#producer = producer
    this.transactionalId = transactionalId
    this.native = producer.getClient() as NativeProducer
  }

  /**
   * Connects and takes the id: every other holder of it is fenced, and what it left open is aborted or completed.
   * Rejects with librdkafka's error, or a `MinimError` for a property that it refuses.
   */
  static async open(options: LaneOptions): Promise<Lane> {
    let producer: Kafka.Producer
    try {
      producer = new Kafka.Producer({
        ...options.properties.client, ...(options.onReport === undefined ? {} : { 'dr_cb': true, 'delivery.report.only.error': false }),
      }, options.properties.topic)
    } catch (error) {
      throw refusedProperty(error)
    }
    const lane = new Lane(producer, options.transactionalId)
    // Any of them: identical errors within 30 s are told only once, so one seen before the commit may stand for one within it.
    producer.on('event.error', () => { lane.suspect = true })
    producer.on('event.stats', (event: { message: string }) => { lane.#watch(event.message) })
    const { onReport } = options
    if (onReport !== undefined) {
      producer.on('delivery-report', (error: unknown, report: { opaque?: unknown }) => { onReport(error, report.opaque) })
    }
    await new Promise<void>((resolve, reject) => {
      producer.connect({ topic: options.topic, timeout: CONNECT_TIMEOUT_MS }, (error: unknown) => { if (error) reject(asError(error)); else resolve() })
    })
    producer.setPollInterval(POLL_INTERVAL_MS)
    try {
      await new Promise<void>((resolve, reject) => {
        producer.initTransactions(INIT_TIMEOUT_MS, (error: unknown) => { if (error) reject(asError(error)); else resolve() })
      })
    } catch (error) {
      void lane.close()
      throw error
    }
    lane.suspect = false
    return lane
  }

  begin(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#producer.beginTransaction((error: unknown) => { if (error) reject(asError(error)); else resolve() })
    })
  }

  /**
   * The error behind one that only says that the transaction, or the client, has failed before. Asked by a call that can never succeed
   * now, nor commit anything.
   */
  async reason(error: unknown): Promise<unknown> {
    const code = errorCode(error)
    if (code !== WRONG_STATE && code !== FATAL) return error
    try {
      await this.begin()
    } catch (cause) {
      return cause
    }
    return error
  }

  /** Resolves when the broker has committed, and all that librdkafka had to say about it was heard: look at {@link suspect} then. */
  async commit(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#producer.commitTransaction(timeoutMs, (error: unknown) => { if (error) reject(asError(error)); else resolve() })
    })
    // Events reach us in the event loop's turn after the poll.
    this.poll()
    await immediate()
    await immediate()
  }

  abort(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#producer.abortTransaction(timeoutMs, (error: unknown) => { if (error) reject(asError(error)); else resolve() })
    })
  }

  /** Resolves when all that was produced is delivered or has failed. */
  flush(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#producer.flush(timeoutMs, (error: unknown) => { if (error) reject(asError(error)); else resolve() })
    })
  }

  poll(): void {
    if (this.#producer.isConnected()) this.native.poll()
  }

  /** Throws away what was not sent. */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      if (!this.#producer.isConnected()) {
        resolve()
        return
      }
      this.#producer.disconnect(0, () => { resolve() })
    })
    return this.#closed
  }

  #watch(message: string): void {
    let sum: number
    try {
      sum = troubles(message)
    } catch {
      return
    }
    if (sum > this.#troubles) this.suspect = true
    this.#troubles = sum
  }
}

/** Whether a new attempt can help. */
export function isRetryable(error: unknown): boolean {
  return !(error instanceof MinimError) || error.retryable
}
