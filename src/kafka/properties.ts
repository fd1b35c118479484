/**
 * librdkafka's properties, as operators set them under `kafka:` in the settings, for minim's producer and for its
 * readers.
 */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'
import {
  CODEC_NAMES,
  type CodecName,
  type KafkaProperties,
  PRODUCER_DEFAULTS,
  type ProducerCount,
  reservedFor,
  wrongTimeout,
} from './property-rules.js'
import { type Codec, CODECS } from './record-batch.js'

/** Properties that only a producer knows: a consumer made of the same settings must not be given them. */
const PRODUCER_ONLY = new Set([
  'compression.codec',
  'compression.type',
  'compression.level',
  'linger.ms',
  'queue.buffering.max.ms',
  'batch.size',
  'batch.num.messages',
  'queue.buffering.max.messages',
  'queue.buffering.max.kbytes',
  'queue.buffering.backpressure.threshold',
  'sticky.partitioning.linger.ms',
  'transaction.timeout.ms',
  'message.send.max.retries',
  'retries',
  'request.timeout.ms',
  'message.timeout.ms',
  'delivery.timeout.ms',
])

/** Refuses what is minim's own, and time-outs that would break the order commit < request < transaction. */
export function checkKafkaProperties(properties: KafkaProperties): void {
  for (const name of Object.keys(properties)) {
    const reserved = reservedFor(name)
    if (reserved !== null) throw new MinimError('MINIM_KAFKA_PROPERTY_RESERVED', { property: name, why: reserved.why })
  }
  const wrong = wrongTimeout(properties)
  if (wrong !== null)
    throw new MinimError('MINIM_KAFKA_PROPERTY_INVALID', {
      property: wrong.property,
      what: `${wrong.what}: set it above ${wrong.aboveMs}`,
    })
}

/** What `deliver/lane.ts` takes of librdkafka's properties; all others concern the readers. */
export interface ProducerLimits {
  readonly clientId: string
  readonly codec: Codec
  readonly maxBatchBytes: number
  readonly maxMessageBytes: number
  readonly maxQueuedBytes: number
  readonly connectTimeoutMs: number
  readonly socketTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly transactionTimeoutMs: number
}

/** The producer's limits. @throws MinimError MINIM_KAFKA_PROPERTY_INVALID for one that is no number */
export function producerLimits(properties: KafkaProperties): ProducerLimits {
  const number = (name: ProducerCount): number => {
    const value = Number(properties[name] ?? PRODUCER_DEFAULTS[name])
    if (!Number.isInteger(value) || value < 1)
      throw new MinimError('MINIM_KAFKA_PROPERTY_INVALID', { property: name, what: 'must be a whole number above 0' })
    return value
  }
  const codec = String(
    properties['compression.codec'] ?? properties['compression.type'] ?? PRODUCER_DEFAULTS['compression.codec'],
  )
  if (!(CODEC_NAMES as readonly string[]).includes(codec)) {
    throw new MinimError('MINIM_KAFKA_PROPERTY_INVALID', {
      property: 'compression.codec',
      what: `must be one of ${CODEC_NAMES.join(', ')}: a topic's own compression.type may be another`,
    })
  }
  return {
    codec: CODECS[codec as CodecName],
    clientId: String(properties['client.id'] ?? PRODUCER_DEFAULTS['client.id']),
    maxBatchBytes: number('batch.size'),
    maxMessageBytes: number('message.max.bytes'),
    maxQueuedBytes: number('queue.buffering.max.kbytes') * 1024,
    connectTimeoutMs: number('socket.connection.setup.timeout.ms'),
    socketTimeoutMs: number('socket.timeout.ms'),
    requestTimeoutMs: number('request.timeout.ms'),
    transactionTimeoutMs: number('transaction.timeout.ms'),
  }
}

/** Properties of a reader that is given its partitions by number. */
export function consumerProperties(
  properties: KafkaProperties,
  bootstrap: string,
  isolation: 'read_committed' | 'read_uncommitted',
): Record<string, string | number | boolean> {
  const common: Record<string, string | number | boolean> = { 'client.id': 'minim', 'enable.metrics.push': false }
  for (const [name, value] of Object.entries(properties)) {
    if (!PRODUCER_ONLY.has(name)) common[name] = value
  }
  return {
    ...common,
    'bootstrap.servers': bootstrap,
    // Never joined: partitions are assigned by number.
    'group.id': 'minim-reader',
    'enable.auto.commit': false,
    'enable.auto.offset.store': false,
    'enable.partition.eof': true,
    'isolation.level': isolation,
    'fetch.wait.max.ms': 100,
    'queued.max.messages.kbytes': 8_192,
  }
}

/**
 * Has librdkafka check names and values, before anything is connected.
 * @throws MinimError MINIM_KAFKA_PROPERTY_INVALID
 */
export function checkWithLibrdkafka(properties: KafkaProperties): void {
  try {
    new Kafka.Producer({ ...properties })
  } catch (error) {
    throw refusedProperty(error)
  }
}

/**
 * Makes a client, and says which property librdkafka refuses. Its own text may quote a value, which may be a password.
 */
export function refusedProperty(error: unknown): MinimError {
  const text = error instanceof Error ? error.message : String(error)
  const property = /property "?([\w.]+)"?/.exec(text)?.[1] ?? /"([\w.]+)"$/.exec(text)?.[1] ?? 'kafka'
  return new MinimError('MINIM_KAFKA_PROPERTY_INVALID', {
    property,
    what: /No such/i.test(text) ? 'is not known to librdkafka' : 'has a value that librdkafka refuses',
  })
}
