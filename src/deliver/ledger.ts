/**
 * The ledger: a compacted topic that holds, per source stream, the last sequence taken. Its records are part of the
 * transaction that holds the messages, so a batch is in Kafka if and only if the ledger says so.
 */
import { hostname } from 'node:os'
import process from 'node:process'
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'
import { MARK_BYTES, MARKS_KEPT } from '../flow/marks.js'
import { shardOf, SPOOL_PREFIX } from '../flow/shards.js'
import { LEDGER_TOPIC } from '../flow/topic-names.js'
import type { SourceId } from '../flow/work-item.js'
import { asError } from '../kafka/errors.js'
import { consumerProperties, refusedProperty } from '../kafka/properties.js'
import type { KafkaProperties } from '../kafka/property-rules.js'

const MAX_HOST = 64
const HOST = /^[A-Za-z0-9._-]{1,64}$/
const SINCE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/

/** Key of a source stream. A source's name and an incarnation hold no NUL. */
export function streamKey(id: SourceId): string {
  return `${id.source}\u0000${id.incarnation}`
}

/**
 * A ledger record's value.
 * @param marks of the stream's last batches, the last one that of `sequence`; empty for none
 */
export function encodeEntry(sequence: number, marks: Buffer = NO_MARKS): Buffer {
  return Buffer.from(
    marks.length === 0 ? `{"sequence":${sequence}}` : `{"sequence":${sequence},"marks":"${marks.toString('base64')}"}`,
    'latin1',
  )
}

const NO_MARKS = Buffer.alloc(0)

/** Key of the record that says who has taken a shard: no stream's, since it begins with a NUL. */
export function ownerKey(cluster: string, shard: number): string {
  return `\u0000owner.${cluster}.${shard}`
}

/** Key of records that only show whether Kafka takes the time that they bear. */
export function clockKey(cluster: string, shard: number): string {
  return `\u0000clock.${cluster}.${shard}`
}

/** A process that has a shard. */
export interface Owner {
  /** Unique; the rest is for people, and not there in records of earlier versions. */
  readonly id: string
  readonly host?: string
  readonly pid?: number
  /** When it began, as ISO 8601 has it. */
  readonly since?: string
}

export function encodeOwner({ id, ...more }: Owner): Buffer {
  return Buffer.from(JSON.stringify({ owner: id, ...more }), 'utf8')
}

/** This process, under a new id. Names of hosts may be anything: what is odd in one is not written. */
export function thisProcess(id: string): Owner {
  return {
    id,
    host: hostname()
      .replace(/[^A-Za-z0-9._-]/g, '')
      .slice(0, MAX_HOST),
    pid: process.pid,
    since: new Date(Date.now() - process.uptime() * 1000).toISOString().slice(0, 19) + 'Z',
  }
}

/** An owner in a line for people. */
export function ownerText({ id, host, pid, since }: Owner): string {
  return [
    host === undefined ? null : `host ${host}`,
    pid === undefined ? null : `pid ${pid}`,
    since === undefined ? null : `since ${since}`,
    `id ${id}`,
  ]
    .filter((part) => part !== null)
    .join(', ')
}

/**
 * The sequence in a ledger record's value; null when it is none. Other fields are ignored: a later version may write
 * more.
 */
export function decodeEntry(value: Uint8Array | null): number | null {
  return decode(value)?.sequence ?? null
}

/** The marks in a ledger record's value, in base64; null where it has none, as earlier versions wrote it. */
export function decodeMarks(value: Uint8Array | null): string | null {
  return decode(value)?.marks ?? null
}

function decode(value: Uint8Array | null): { readonly sequence: number; readonly marks: string | null } | null {
  if (value === null) return null
  try {
    const { sequence, marks } = JSON.parse(Buffer.from(value).toString('utf8')) as {
      sequence?: unknown
      marks?: unknown
    }
    if (typeof sequence !== 'number' || !Number.isSafeInteger(sequence) || sequence < 0) return null
    return { sequence, marks: typeof marks === 'string' && isMarks(marks) ? marks : null }
  } catch {
    return null
  }
}

function isMarks(text: string): boolean {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text && bytes.length % MARK_BYTES === 0 && bytes.length <= MARKS_KEPT * MARK_BYTES
}

/**
 * The owner in a record's value; null when it is none. What is not as it was written is left out: it would be repeated
 * in logs.
 */
export function decodeOwner(value: Uint8Array | null): Owner | null {
  if (value === null) return null
  try {
    const { owner, host, pid, since } = JSON.parse(Buffer.from(value).toString('utf8')) as Readonly<
      Record<string, unknown>
    >
    if (typeof owner !== 'string' || !/^[A-Za-z0-9-]{1,64}$/.test(owner)) return null
    return {
      id: owner,
      ...(typeof host === 'string' && HOST.test(host) ? { host } : {}),
      ...(typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? { pid } : {}),
      ...(typeof since === 'string' && SINCE.test(since) ? { since } : {}),
    }
  } catch {
    return null
  }
}

export interface LedgerOptions {
  readonly bootstrap: string
  readonly properties: KafkaProperties
  readonly topic?: string
  /** Whose streams are asked for: entries of other shards are left out. */
  readonly shard: number
  readonly shards: number
  readonly timeoutMs?: number
  /** Whose owner is asked for: {@link ownerKey}. */
  readonly ownerKey?: string
  /** Whether an incarnation is of a kind that is given no more. */
  readonly isOutdated?: (incarnation: string) => boolean
}

export interface Ledger {
  /** Last sequence taken by {@link streamKey}. */
  readonly taken: Map<string, number>
  /** Marks of the last batches, in base64, by {@link streamKey}; of streams that have any. */
  readonly marks: Map<string, string>
  /** By {@link streamKey}, the partitions that hold entries under names that are given no more. */
  readonly outdated: Map<string, Set<number>>
  readonly partitions: number
  /** Who has taken the shard last, where that is asked for. */
  readonly owner: Owner | null
  /** Who had it before. */
  readonly formerOwner: Owner | null
}

const READ_TIMEOUT_MS = 60_000
const FETCH = 1_000

function connect(
  isolation: 'read_committed' | 'read_uncommitted',
  options: LedgerOptions,
  topic: string,
): Promise<Kafka.KafkaConsumer> {
  return new Promise((resolve, reject) => {
    let consumer: Kafka.KafkaConsumer
    try {
      consumer = new Kafka.KafkaConsumer(consumerProperties(options.properties, options.bootstrap, isolation), {
        'auto.offset.reset': 'earliest',
      })
    } catch (error) {
      reject(refusedProperty(error))
      return
    }
    // Told by the calls that fail; an event without a listener is nobody's loss.
    consumer.connect({ topic, timeout: 5_000 }, (error: unknown) => {
      if (error) reject(asError(error))
      else resolve(consumer)
    })
  })
}

const disconnect = (consumer: Kafka.KafkaConsumer): Promise<void> =>
  new Promise((resolve) => {
    consumer.disconnect(() => {
      resolve()
    })
  })

async function partitionsOf(client: Kafka.KafkaConsumer, topic: string): Promise<number> {
  const metadata = await new Promise<Kafka.Metadata>((resolve, reject) => {
    client.getMetadata({ topic, timeout: 5_000 }, (error: unknown, data) => {
      if (error) reject(asError(error))
      else resolve(data)
    })
  })
  return metadata.topics.find((t) => t.name === topic)?.partitions.length ?? 0
}

interface Range {
  readonly low: number
  readonly high: number
}

function rangeOf(client: Kafka.KafkaConsumer, topic: string, partition: number): Promise<Range> {
  return new Promise((resolve, reject) => {
    client.queryWatermarkOffsets(topic, partition, 5_000, (error: unknown, offsets) => {
      if (error) reject(asError(error))
      else resolve({ low: offsets.lowOffset, high: offsets.highOffset })
    })
  })
}

/**
 * What was taken: reads the ledger up to its end. All ids of the shard must have been initialised before, which
 * completes or aborts what they had open.
 *
 * The end comes from a `read_uncommitted` client: to a `read_committed` one it is the last *stable* offset, so that
 * everything behind an open transaction would look as if it did not exist. All partitions are read, since a source's
 * shard changes with their number.
 */
export async function readLedger(options: LedgerOptions): Promise<Ledger> {
  const topic = options.topic ?? LEDGER_TOPIC
  const timeoutMs = options.timeoutMs ?? READ_TIMEOUT_MS
  const uncommitted = await connect('read_uncommitted', options, topic)
  const ends = new Map<number, number>()
  let partitions: number
  try {
    partitions = await partitionsOf(uncommitted, topic)
    for (let partition = 0; partition < partitions; partition++) {
      const range = await rangeOf(uncommitted, topic, partition)
      if (range.high > range.low) ends.set(partition, range.high)
    }
  } finally {
    await disconnect(uncommitted)
  }
  const found: Found = {
    taken: new Map<string, number>(),
    marks: new Map<string, string>(),
    outdated: new Map<string, Set<number>>(),
    owner: null,
    formerOwner: null,
  }
  if (ends.size === 0) return { ...found, partitions }
  const committed = await connect('read_committed', options, topic)
  try {
    await readUpTo(committed, topic, ends, found, options, timeoutMs)
  } finally {
    await disconnect(committed)
  }
  return { ...found, partitions }
}

interface Found extends Pick<Ledger, 'taken' | 'marks' | 'outdated'> {
  owner: Owner | null
  formerOwner: Owner | null
}

async function readUpTo(
  consumer: Kafka.KafkaConsumer,
  topic: string,
  ends: Map<number, number>,
  found: Found,
  options: LedgerOptions,
  timeoutMs: number,
): Promise<void> {
  const left = new Map(ends)
  const reached = (partition: number, next: number): void => {
    const end = left.get(partition)
    if (end !== undefined && next >= end) left.delete(partition)
  }
  // Markers and aborted messages take offsets and are never handed out: only the end-of-partition event tells that they
  // are behind us.
  consumer.on('partition.eof', (eof) => {
    reached(eof.partition, eof.offset)
  })
  consumer.setDefaultConsumeTimeout(100)
  consumer.assign([...ends.keys()].map((partition) => ({ topic, partition, offset: 0 })))
  const deadline = performance.now() + timeoutMs
  while (left.size > 0) {
    if (performance.now() > deadline) {
      const [partition, end] = [...left][0] ?? [0, 0]
      throw new MinimError('MINIM_DELIVERY_LEDGER_TIMEOUT', { topic, partition, end, seconds: timeoutMs / 1_000 })
    }
    const messages = await new Promise<Kafka.Message[]>((resolve, reject) => {
      consumer.consume(FETCH, (error: unknown, batch) => {
        if (error) reject(asError(error))
        else resolve(batch)
      })
    })
    for (const message of messages) {
      take(message, found, options)
      reached(message.partition, message.offset + 1)
    }
  }
}

function take(message: Kafka.Message, found: Found, options: LedgerOptions): void {
  const { taken, marks, outdated } = found
  const key = message.key === null || message.key === undefined ? null : message.key.toString()
  // A tombstone: the stream was forgotten on purpose.
  if (key !== null && (message.value === null || message.value.length === 0)) {
    taken.delete(key)
    marks.delete(key)
    const partitions = outdated.get(key)
    if (partitions?.delete(message.partition) === true && partitions.size === 0) outdated.delete(key)
    return
  }
  if (key?.startsWith('\u0000') === true) {
    const owner = key === options.ownerKey ? decodeOwner(message.value) : null
    if (owner !== null && owner.id !== found.owner?.id) {
      found.formerOwner = found.owner
      found.owner = owner
    }
    return
  }
  const entry = decode(message.value)
  const split = key?.indexOf('\u0000') ?? -1
  if (key === null || split < 0 || entry === null) {
    throw new MinimError('MINIM_DELIVERY_LEDGER_INVALID', {
      topic: message.topic,
      partition: message.partition,
      offset: message.offset,
    })
  }
  // A spool's stream has another name when the number of workers changes: whoever feeds it looks for its incarnation.
  if (!key.startsWith(SPOOL_PREFIX) && shardOf(key.slice(0, split), options.shards) !== options.shard) return
  // What has marks is a stream whose sender chose the name: it is no hash of ours, whatever it looks like.
  if (entry.marks === null && options.isOutdated?.(key.slice(split + 1)) === true) {
    const partitions = outdated.get(key) ?? new Set()
    outdated.set(key, partitions.add(message.partition))
  }
  // The larger one: a stream may have entries in two partitions when the number of shards has changed.
  if (entry.sequence <= (taken.get(key) ?? -1)) return
  taken.set(key, entry.sequence)
  if (entry.marks === null) marks.delete(key)
  else marks.set(key, entry.marks)
}
