/**
 * What may stand under `kafka:` in the settings, beyond what librdkafka says: its readers take nearly all of its
 * properties, minim's own producer a few. Nothing here loads librdkafka.
 */

/** Properties as they stand under `kafka:`. */
export type KafkaProperties = Readonly<Record<string, string | number | boolean>>

/**
 * How long a commit may take, in ms. Smaller than `socket.timeout.ms`, so that no request of a commit given up is
 * retried unseen.
 */
export const COMMIT_TIMEOUT_MS = 10_000

/** Properties that are not the operator's. */
interface Reserved {
  readonly why: string
  /** Default: take it out. */
  readonly mend?: string
}

const TAKE_OUT = 'take it out'
const ALL_ACKS = 'every record waits for all replicas that are in sync'
const IN_FLIGHT = "minim's producer keeps two requests on their way, of the five up to which Kafka keeps the order"
const LEDGER_HOLDS = 'the ledger holds what was taken'
const NO_REPORTS = "librdkafka only reads here: minim's own producer has no such reports"

const RESERVED: Readonly<Record<string, Reserved>> = {
  'transactional.id': { why: 'it fences other writers of the same shard', mend: 'take it out: set cluster instead' },
  'enable.idempotence': { why: "minim's producer always has it: without it a retry writes a message twice" },
  'enable.gapless.guarantee': { why: 'a transaction that fails is filled again as a whole' },
  acks: { why: ALL_ACKS },
  'request.required.acks': { why: ALL_ACKS },
  'max.in.flight': { why: IN_FLIGHT },
  'max.in.flight.requests.per.connection': { why: IN_FLIGHT },
  'isolation.level': { why: 'the ledger is read with both levels, each for its purpose' },
  'group.id': { why: "minim's readers are given partitions by number" },
  'enable.auto.commit': { why: LEDGER_HOLDS },
  'enable.auto.offset.store': { why: LEDGER_HOLDS },
  'auto.offset.reset': { why: 'the ledger is read from its beginning' },
  'enable.partition.eof': { why: 'it tells where the ledger ends' },
  partitioner: { why: 'other programs must find the same key in the same partition (murmur2, as Java does)' },
  'delivery.report.only.error': { why: NO_REPORTS },
  dr_cb: { why: NO_REPORTS },
  dr_msg_cb: { why: NO_REPORTS },
  event_cb: { why: 'errors of a reader are told by the calls that fail' },
  'statistics.interval.ms': { why: "nothing reads librdkafka's statistics: /metrics says what minim does" },
  'metadata.broker.list': {
    why: 'it is bootstrap.servers by another name, and only one of the two can be laid over by --brokers',
    mend: 'take it out: set bootstrap.servers instead',
  },
  'test.mock.num.brokers': {
    why: 'the embedded cluster is made by a setting of its own',
    mend: 'take it out: set embedded: true instead',
  },
}

export const RESERVED_PROPERTIES: readonly string[] = Object.keys(RESERVED)

/** Why a property is not the operator's, and what to do about it; null if it is. */
export function reservedFor(name: string): { readonly why: string; readonly mend: string } | null {
  if (!Object.hasOwn(RESERVED, name)) return null
  const { why, mend = TAKE_OUT } = RESERVED[name]
  return { why, mend }
}

/** Tuned by `bench/` for batches of 2,048 records into 18 partitions. All of them can be set under `kafka:`. */
export const PRODUCER_DEFAULTS = {
  'client.id': 'minim',
  // Tokens do not compress; a topic's own `compression.type` packs what is kept.
  'compression.codec': 'none',
  // Of one partition: what fits the processor's cache is written faster than what does not.
  'batch.size': 131_072,
  'message.max.bytes': 1_000_000,
  'queue.buffering.max.kbytes': 6_144,
  'socket.connection.setup.timeout.ms': 5_000,
  'socket.timeout.ms': 60_000,
  'request.timeout.ms': 30_000,
  // Larger than a request may take: a transaction that the broker gave up must not be one that we still write to.
  'transaction.timeout.ms': 90_000,
} as const satisfies KafkaProperties

/** What the producer takes as a whole number above 0, besides librdkafka. */
export const PRODUCER_COUNTS = [
  'batch.size',
  'message.max.bytes',
  'queue.buffering.max.kbytes',
  'socket.connection.setup.timeout.ms',
  'socket.timeout.ms',
  'request.timeout.ms',
  'transaction.timeout.ms',
] as const
export type ProducerCount = (typeof PRODUCER_COUNTS)[number]

export function isProducerCount(name: string): name is ProducerCount {
  return (PRODUCER_COUNTS as readonly string[]).includes(name)
}

/** Compressions of a batch's records that minim can make; librdkafka knows more. */
export const CODEC_NAMES = ['none', 'gzip', 'lz4'] as const
export type CodecName = (typeof CODEC_NAMES)[number]

/**
 * A time-out that breaks the order commit < request < transaction: a commit must be known as unclean before the client
 * gives up on the socket, and that before the broker aborts. @returns null where the order is kept
 */
export function wrongTimeout(
  properties: Readonly<Record<string, unknown>>,
): { readonly property: string; readonly what: string; readonly aboveMs: number } | null {
  const ms = (name: 'socket.timeout.ms' | 'transaction.timeout.ms'): number =>
    Number(properties[name] ?? PRODUCER_DEFAULTS[name])
  const socketMs = ms('socket.timeout.ms')
  if (!(socketMs > COMMIT_TIMEOUT_MS))
    return { property: 'socket.timeout.ms', what: 'is not more than a commit may take', aboveMs: COMMIT_TIMEOUT_MS }
  if (!(ms('transaction.timeout.ms') > socketMs))
    return { property: 'transaction.timeout.ms', what: 'is not more than kafka.socket.timeout.ms', aboveMs: socketMs }
  return null
}
