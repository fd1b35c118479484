/**
 * librdkafka's properties: what operators set under `kafka:` in the settings, what minim sets itself, and why it may not be changed.
 */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'
import { CODECS, type Codec, type CodecName } from './record-batch.js'

/** Properties as they stand under `kafka:`. */
export type KafkaProperties = Readonly<Record<string, string | number | boolean>>

/** How long a commit may take, in ms. Smaller than {@link SOCKET_TIMEOUT_MS}, so that no request of a commit given up is retried unseen. */
export const COMMIT_TIMEOUT_MS = 10_000
const SOCKET_TIMEOUT_MS = 60_000
/** Larger than a request may take: a transaction that the broker gave up must not be one that we still write to. */
const TRANSACTION_TIMEOUT_MS = 90_000

/** Properties that exactly-once rests on, and why each is not the operator's. */
export const RESERVED_PROPERTIES: Readonly<Record<string, string>> = {
  'transactional.id': 'it fences other writers of the same shard',
  'enable.idempotence': 'without it a retry writes a message twice',
  'enable.gapless.guarantee': 'an aborted transaction is filled again as a whole',
  'acks': 'transactions need all of them',
  'request.required.acks': 'transactions need all of them',
  'max.in.flight': 'idempotence keeps the order of at most five',
  'max.in.flight.requests.per.connection': 'idempotence keeps the order of at most five',
  'isolation.level': 'the ledger is read with both levels, each for its purpose',
  'group.id': 'minim reads partitions by number',
  'enable.auto.commit': 'the ledger holds what was taken',
  'enable.auto.offset.store': 'the ledger holds what was taken',
  'auto.offset.reset': 'the ledger is read from its beginning',
  'enable.partition.eof': 'it tells where the ledger ends',
  'partitioner': 'other programs must find the same key in the same partition (murmur2, as Java does)',
  'delivery.report.only.error': 'a transaction is one report',
  'dr_cb': 'a transaction is one report',
  'dr_msg_cb': 'a transaction is one report',
  'event_cb': 'errors seen while a transaction commits decide whether its producer may go on',
  'statistics.interval.ms': 'retries seen while a transaction commits decide whether its producer may go on',
  'test.mock.num.brokers': 'leave kafka."bootstrap.servers" out to have the embedded cluster',
}

/** Tuned by `bench/` for batches of 2,048 records into 18 partitions. All of them can be set under `kafka:`. */
export const PRODUCER_DEFAULTS: KafkaProperties = {
  'client.id': 'minim',
  // Tokens do not compress; a topic's own `compression.type` packs what is kept.
  'compression.codec': 'none',
  // Of one partition: what fits the processor's cache is written faster than what does not.
  'batch.size': 131_072,
  'message.max.bytes': 1_000_000,
  'queue.buffering.max.kbytes': 6_144,
  'socket.connection.setup.timeout.ms': 5_000,
  'socket.timeout.ms': SOCKET_TIMEOUT_MS,
  'request.timeout.ms': 30_000,
  'transaction.timeout.ms': TRANSACTION_TIMEOUT_MS,
}

/** Properties that only a producer knows: a consumer made of the same settings must not be given them. */
const PRODUCER_ONLY = new Set([
  'compression.codec', 'compression.type', 'compression.level', 'linger.ms', 'queue.buffering.max.ms', 'batch.size', 'batch.num.messages',
  'queue.buffering.max.messages', 'queue.buffering.max.kbytes', 'queue.buffering.backpressure.threshold', 'sticky.partitioning.linger.ms',
  'transaction.timeout.ms', 'message.send.max.retries', 'retries', 'request.timeout.ms', 'message.timeout.ms', 'delivery.timeout.ms',
])

/** Refuses what is minim's own, and time-outs that would break the order commit < request < transaction. */
export function checkKafkaProperties(properties: KafkaProperties): void {
  for (const name of Object.keys(properties)) {
    const why = Object.hasOwn(RESERVED_PROPERTIES, name) ? RESERVED_PROPERTIES[name] : undefined
    if (why !== undefined) throw new MinimError('MINIM_KAFKA_PROPERTY_RESERVED', { property: name, why })
  }
  const number = (name: string): number => Number(properties[name] ?? PRODUCER_DEFAULTS[name])
  const socket = number('socket.timeout.ms')
  const transaction = number('transaction.timeout.ms')
  if (!(socket > COMMIT_TIMEOUT_MS)) {
    throw new MinimError('MINIM_KAFKA_PROPERTY_INVALID', { property: 'socket.timeout.ms', what: `must be more than ${COMMIT_TIMEOUT_MS}, the time a commit may take` })
  }
  if (!(transaction > socket)) {
    throw new MinimError('MINIM_KAFKA_PROPERTY_INVALID', { property: 'transaction.timeout.ms', what: `must be more than socket.timeout.ms (${socket})` })
  }
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
  const number = (name: string): number => {
    const value = Number(properties[name] ?? PRODUCER_DEFAULTS[name])
    if (!Number.isInteger(value) || value < 1) throw new MinimError('MINIM_KAFKA_PROPERTY_INVALID', { property: name, what: 'must be a whole number above 0' })
    return value
  }
  const codec = String(properties['compression.codec'] ?? properties['compression.type'] ?? PRODUCER_DEFAULTS['compression.codec'])
  if (!Object.hasOwn(CODECS, codec)) {
    throw new MinimError('MINIM_KAFKA_PROPERTY_INVALID', { property: 'compression.codec', what: `must be one of ${Object.keys(CODECS).join(', ')}: a topic's own compression.type may be another` })
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
export function consumerProperties(properties: KafkaProperties, bootstrap: string, isolation: 'read_committed' | 'read_uncommitted'): Record<string, string | number | boolean> {
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

/** Makes a client, and says which property librdkafka refuses. Its own text may quote a value, which may be a password. */
export function refusedProperty(error: unknown): MinimError {
  const text = error instanceof Error ? error.message : String(error)
  const property = /property "?([\w.]+)"?/.exec(text)?.[1] ?? /"([\w.]+)"$/.exec(text)?.[1] ?? 'kafka'
  return new MinimError('MINIM_KAFKA_PROPERTY_INVALID', { property, what: /No such/i.test(text) ? 'is not known to librdkafka' : 'has a value that librdkafka refuses' })
}

/** Version of the librdkafka that was compiled in. */
export const LIBRDKAFKA_VERSION = Kafka.librdkafkaVersion
