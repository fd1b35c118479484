/**
 * Reads topics as they grow, committed records only: for people who look (`minim tail`), not for consumers that must
 * not lose their place.
 */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'
import { classify } from './errors.js'
import { checkKafkaProperties, consumerProperties, refusedProperty } from './properties.js'
import type { KafkaProperties } from './property-rules.js'

export interface TailOptions {
  readonly bootstrap: string
  readonly properties?: KafkaProperties
  readonly topics: readonly string[]
  /** From the oldest record that is kept, or only what comes from now on. */
  readonly from: 'beginning' | 'end'
  /** Ends when everything that was there at the start has been read. */
  readonly untilEnd?: boolean
  readonly onMessage: (
    topic: string,
    message: {
      readonly value: Buffer
      readonly key: Buffer | null
      readonly timestamp: number
      readonly partition: number
      readonly offset: number
    },
  ) => void
  readonly signal?: AbortSignal
}

const CONNECT_TIMEOUT_MS = 5_000
const POLL_MS = 200
const POLL_MESSAGES = 256
const DISCONNECT_TIMEOUT_MS = 2_000
/** Offsets that stand for the ends of a partition (librdkafka's rdkafka.h). */
const OFFSETS = { beginning: -2, end: -1 } as const

/** Resolves when the signal aborts, or all was read with `untilEnd`. */
export async function tail(options: TailOptions): Promise<void> {
  const { bootstrap, topics, from, onMessage, signal } = options
  const properties = options.properties ?? {}
  checkKafkaProperties(properties)
  let consumer: Kafka.KafkaConsumer
  try {
    consumer = new Kafka.KafkaConsumer(consumerProperties(properties, bootstrap, 'read_committed'), {
      'auto.offset.reset': 'earliest',
    })
  } catch (error) {
    throw refusedProperty(error)
  }
  const metadata = await new Promise<Kafka.Metadata>((resolve, reject) => {
    consumer.connect({ timeout: CONNECT_TIMEOUT_MS, allTopics: true }, (error: Kafka.LibrdKafkaError | null, data) => {
      if (error !== null && error !== undefined)
        reject(new MinimError('MINIM_KAFKA_UNREACHABLE', { bootstrap, what: classify(error).text }, { cause: error }))
      else resolve(data)
    })
  })
  try {
    const found = metadata.topics.filter((t) => topics.includes(t.name))
    if (found.length === 0) throw new MinimError('MINIM_KAFKA_NO_TOPIC', { topics: topics.join(', '), bootstrap })
    const assignments = found.flatMap((t) =>
      t.partitions.map((p) => ({ topic: t.name, partition: p.id, offset: OFFSETS[from] })),
    )
    const open = new Set(assignments.map((a) => `${a.topic} ${a.partition}`))
    const fatal: MinimError[] = []
    consumer.on('event.error', (error: Kafka.LibrdKafkaError) => {
      if (error.isFatal === true)
        fatal.push(
          new MinimError('MINIM_KAFKA_UNREACHABLE', { bootstrap, what: classify(error).text }, { cause: error }),
        )
    })
    consumer.on('partition.eof', (end: Kafka.EofEvent) => {
      open.delete(`${end.topic} ${end.partition}`)
    })
    consumer.assign(assignments)
    consumer.setDefaultConsumeTimeout(POLL_MS)
    // A few at a time, asked for: librdkafka's own loop cannot be left from inside one of its messages.
    const stopped = (): boolean => signal?.aborted === true
    while (!stopped() && !(options.untilEnd === true && open.size === 0)) {
      const messages = await new Promise<Kafka.Message[]>((resolve, reject) => {
        consumer.consume(POLL_MESSAGES, (error: Kafka.LibrdKafkaError | null, found) => {
          if (error !== null && error !== undefined)
            reject(
              new MinimError('MINIM_KAFKA_UNREACHABLE', { bootstrap, what: classify(error).text }, { cause: error }),
            )
          else resolve(found)
        })
      })
      if (fatal.length > 0) throw fatal[0]
      for (const message of messages) {
        if (message.value === null || stopped()) continue
        onMessage(message.topic, {
          value: message.value,
          key: message.key === null || message.key === undefined ? null : Buffer.from(message.key),
          timestamp: message.timestamp ?? -1,
          partition: message.partition,
          offset: message.offset,
        })
      }
    }
  } finally {
    // librdkafka may wait for a broker that has gone: nothing is lost by not waiting with it.
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, DISCONNECT_TIMEOUT_MS)
      consumer.disconnect(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
}
