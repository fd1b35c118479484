/**
 * The quarantine topic, from the operator's side: read up to what is committed now, deleted up to a day. What an
 * envelope holds is `quarantine/box.ts`.
 */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'
import { QUARANTINE_TOPIC } from '../flow/topic-names.js'
import { classify } from '../kafka/errors.js'
import { checkKafkaProperties, consumerProperties, refusedProperty } from '../kafka/properties.js'
import type { KafkaProperties } from '../kafka/property-rules.js'
import { deleteRecords } from '../kafka/topics.js'
import { type BoxHeader, readBoxHeader } from './box.js'

/** One message of the quarantine topic. */
export interface Quarantined {
  readonly partition: number
  readonly offset: number
  /** When it was refused, Unix ms. */
  readonly timestamp: number
  readonly envelope: Buffer
  /** null: it is no envelope that this version can read. */
  readonly header: BoxHeader | null
}

export interface QuarantineOptions {
  readonly bootstrap: string
  readonly properties: KafkaProperties
  readonly signal?: AbortSignal
}

const CONNECT_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 10_000
const POLL_MS = 200
const POLL_MESSAGES = 256
const DISCONNECT_TIMEOUT_MS = 2_000
/** Without a message or an end for so long, the topic counts as unreadable. */
const SILENCE_MS = 60_000

/**
 * Hands over everything that is committed at the moment of the call, partition by partition in order; what comes later
 * is left for the next call, so that what a replay sends back to quarantine is not read by the same replay.
 * @param take awaited before more is read
 */
export async function readQuarantine(
  options: QuarantineOptions,
  take: (messages: readonly Quarantined[]) => Promise<void> | void,
): Promise<void> {
  const { bootstrap, properties, signal } = options
  checkKafkaProperties(properties)
  const failed = (error: unknown): MinimError =>
    new MinimError('MINIM_KAFKA_UNREACHABLE', { bootstrap, what: classify(error).text }, { cause: error })
  let consumer: Kafka.KafkaConsumer
  try {
    consumer = new Kafka.KafkaConsumer(consumerProperties(properties, bootstrap, 'read_committed'), {
      'auto.offset.reset': 'earliest',
    })
  } catch (error) {
    throw refusedProperty(error)
  }
  const metadata = await new Promise<Kafka.Metadata>((resolve, reject) => {
    consumer.connect({ timeout: CONNECT_TIMEOUT_MS, allTopics: true }, (error: unknown, data) => {
      if (error) reject(failed(error))
      else resolve(data)
    })
  })
  try {
    const topic = metadata.topics.find((t) => t.name === QUARANTINE_TOPIC)
    if (topic === undefined) throw new MinimError('MINIM_KAFKA_NO_TOPIC', { topics: QUARANTINE_TOPIC, bootstrap })
    /** First offset of each partition that is not ours to read. */
    const ends = new Map<number, number>()
    for (const { id } of topic.partitions) {
      // To a client that reads committed records only, the end is the last stable offset.
      const { low, high } = await new Promise<{ low: number; high: number }>((resolve, reject) => {
        consumer.queryWatermarkOffsets(QUARANTINE_TOPIC, id, REQUEST_TIMEOUT_MS, (error: unknown, found) => {
          if (error) reject(failed(error))
          else resolve({ low: found.lowOffset, high: found.highOffset })
        })
      })
      if (high > low) ends.set(id, high)
    }
    const left = new Map(ends)
    // Markers and aborted messages take offsets and are never handed out: only the end-of-partition event tells that
    // they are behind us.
    consumer.on('partition.eof', ({ partition, offset }) => {
      if (offset >= (left.get(partition) ?? Infinity)) left.delete(partition)
    })
    consumer.setDefaultConsumeTimeout(POLL_MS)
    consumer.assign([...ends.keys()].map((partition) => ({ topic: QUARANTINE_TOPIC, partition, offset: 0 })))
    let heard = performance.now()
    while (left.size > 0 && signal?.aborted !== true) {
      const messages = await new Promise<Kafka.Message[]>((resolve, reject) => {
        consumer.consume(POLL_MESSAGES, (error: unknown, batch) => {
          if (error) reject(failed(error))
          else resolve(batch)
        })
      })
      if (messages.length > 0) heard = performance.now()
      else if (performance.now() - heard > SILENCE_MS) {
        const [partition, end] = [...left][0] ?? [0, 0]
        throw new MinimError('MINIM_DELIVERY_LEDGER_TIMEOUT', {
          topic: QUARANTINE_TOPIC,
          partition,
          end,
          seconds: SILENCE_MS / 1_000,
        })
      }
      const ours = messages.filter(
        ({ partition, offset, value }) => value !== null && offset < (ends.get(partition) ?? 0),
      )
      if (ours.length > 0) await take(ours.map(quarantined))
      for (const { partition, offset } of messages)
        if (offset + 1 >= (left.get(partition) ?? Infinity)) left.delete(partition)
    }
  } finally {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, DISCONNECT_TIMEOUT_MS)
      consumer.disconnect(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
}

function quarantined({ partition, offset, timestamp, value }: Kafka.Message): Quarantined {
  const envelope = value ?? Buffer.alloc(0)
  return { partition, offset, timestamp: timestamp ?? 0, envelope, header: readBoxHeader(envelope) }
}

/**
 * Deletes what was refused before a day, as far as it stands in front: Kafka deletes from a partition's beginning up to
 * an offset and knows no other choice. Before the first message of the day or later everything goes, of whatever
 * reason.
 * @param day `2026-11-24`
 * @returns messages deleted
 */
export async function dropQuarantined(options: QuarantineOptions, day: string): Promise<number> {
  const upTo = new Map<number, number>()
  const counts = new Map<number, number>()
  const met = new Set<number>()
  await readQuarantine(options, (messages) => {
    for (const { partition, offset, header } of messages) {
      if (met.has(partition)) continue
      if (header !== null && header.at >= day) met.add(partition)
      else {
        upTo.set(partition, offset + 1)
        counts.set(partition, (counts.get(partition) ?? 0) + 1)
      }
    }
  })
  if (upTo.size > 0) await deleteRecords(options, QUARANTINE_TOPIC, upTo)
  return [...counts.values()].reduce((sum, count) => sum + count, 0)
}
