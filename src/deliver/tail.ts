/** Reads a topic as any other program would: committed messages only, partition by partition. For `minim tail`, and for tests. */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'
import { checkKafkaProperties, consumerProperties, refusedProperty, type KafkaProperties } from './kafka-config.js'
import { classify } from './kafka-errors.js'

export interface TailMessage {
  readonly partition: number
  readonly offset: number
  /** Kafka timestamp, ms. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

export interface TailOptions {
  readonly bootstrap: string
  readonly properties?: KafkaProperties
  readonly topic: string
  /** Where to begin. Default `beginning`. */
  readonly from?: 'beginning' | 'end'
  /** Go on when the end is reached. Default true. */
  readonly follow?: boolean
  /** Ends the reading. */
  readonly signal?: AbortSignal
}

const CONNECT_TIMEOUT_MS = 10_000
const BATCH = 500
/** Offsets with a meaning of their own (librdkafka's `RD_KAFKA_OFFSET_BEGINNING` and `_END`). */
const OFFSETS = { beginning: -2, end: -1 } as const

/**
 * Yields the messages of a topic in the order of their partitions' offsets.
 * @throws MinimError when no broker answers or the topic does not exist
 */
export async function * tail(options: TailOptions): AsyncGenerator<TailMessage, void, undefined> {
  const { bootstrap, topic, properties = {}, from = 'beginning', follow = true, signal } = options
  checkKafkaProperties(properties)
  let consumer: Kafka.KafkaConsumer
  try {
    consumer = new Kafka.KafkaConsumer(consumerProperties(properties, bootstrap, 'read_committed'), { 'auto.offset.reset': 'earliest' })
  } catch (error) {
    throw refusedProperty(error)
  }
  const metadata = await new Promise<Kafka.Metadata>((resolve, reject) => {
    consumer.connect({ topic, timeout: CONNECT_TIMEOUT_MS }, (error: unknown, data) => {
      if (error) reject(new MinimError('MINIM_KAFKA_NO_BROKER', { bootstrap, what: classify(error).text, delayMs: 0 }, { cause: error }))
      else resolve(data)
    })
  })
  try {
    const partitions = metadata.topics.find((t) => t.name === topic)?.partitions ?? []
    if (partitions.length === 0) throw new MinimError('MINIM_KAFKA_NO_TOPIC', { bootstrap, topic })
    const left = new Set(partitions.map((p) => p.id))
    consumer.on('partition.eof', (eof) => { left.delete(eof.partition) })
    consumer.setDefaultConsumeTimeout(100)
    consumer.assign(partitions.map((p) => ({ topic, partition: p.id, offset: OFFSETS[from] })))
    while (signal?.aborted !== true && (follow || left.size > 0)) {
      const messages = await new Promise<Kafka.Message[]>((resolve, reject) => {
        consumer.consume(BATCH, (error: unknown, batch) => { if (error) reject(error as Error); else resolve(batch) })
      })
      for (const message of messages) {
        if (signal?.aborted) return
        const { key } = message
        yield {
          partition: message.partition, offset: message.offset, timestamp: message.timestamp ?? 0,
          key: key === null || key === undefined ? null : Buffer.from(key), value: message.value,
        }
      }
    }
  } finally {
    await new Promise<void>((resolve) => { consumer.disconnect(() => { resolve() }) })
  }
}
