/**
 * What a broker answers to Fetch: record batches of format 2 (KIP-98), read without an object for each message.
 *
 *   baseOffset 8 | length 4 | leaderEpoch 4 | magic 1 | crc 4 | attributes 2 | lastOffsetDelta 4 | baseTimestamp 8 |
 *   maxTimestamp 8 | producerId 8 | producerEpoch 2 | baseSequence 4 | records 4 | record…
 *
 * Messages of aborted transactions are left out, as `read_committed` wants it: the broker names them and the reader
 * drops them. A batch that cannot be read is handed on whole, with its bytes, and what follows it is read: nothing is
 * lost in silence, and nothing wedges.
 */
import { crc32c } from '@node-rs/crc32'
import { ATTRIBUTES_AT, BATCH_HEADER_BYTES, CRC_AT, TRANSACTIONAL } from './record-batch.js'

const LENGTH_AT = 8
const MAGIC_AT = 16
const LAST_DELTA_AT = 23
const MAX_TIMESTAMP_AT = 35
const PRODUCER_ID_AT = 43
const COUNT_AT = 57
/** Offset and length, which the length does not count. */
const LOG_OVERHEAD_BYTES = 12
const MAGIC = 2
/** No topic gets that far; beyond it a number is not exact, with a delta of 32 bits. */
const MAX_OFFSET = 2 ** 52

const CODEC_MASK = 0x07
const CONTROL = 0x20
/** Type in a control record's key: the transaction was aborted. */
const ABORT = 0

/**
 * A transaction that was aborted, as a broker names it: the producer's messages from an offset on, up to its marker.
 */
export interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: number
}

/** Gives a batch's records without their compression; null for what cannot be unpacked. */
export type Unpack = (codec: number, packed: Buffer) => Buffer | null

export interface RecordSink {
  /** A message's value is `bytes` from `start` to `end`; `start` is -1 when it has none (a tombstone). */
  message(offset: number, bytes: Buffer, start: number, end: number): void
  /** A batch that cannot be read: its bytes as they came. */
  broken(lastOffset: number, bytes: Buffer): void
}

export interface SetEnd {
  /** Where to go on: behind all that was whole, markers included. */
  readonly next: number
  /** Largest timestamp of the last batch with messages, Unix ms; null where there was none. */
  readonly timestamp: number | null
}

/**
 * Reads the batches of one partition's answer. A batch that is cut off at the end (brokers cut at a number of octets)
 * is left for the next.
 * @param from messages before this offset are passed over: a batch is answered whole, whichever of its messages was
 * asked for
 * @throws what `unpack` throws
 */
export function readRecordSet(
  set: Buffer,
  from: number,
  aborted: readonly AbortedTransaction[],
  unpack: Unpack,
  sink: RecordSink,
): SetEnd {
  const left = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
  const dropped = new Set<bigint>()
  let next = from
  let timestamp: number | null = null
  for (let at = 0; at + LOG_OVERHEAD_BYTES <= set.length;) {
    const base = Number(set.readBigInt64BE(at))
    const length = set.readInt32BE(at + LENGTH_AT)
    const end = at + LOG_OVERHEAD_BYTES + length
    // Cut off; or with a length or an offset that cannot be, which leaves no way to what follows.
    if (end > set.length || length < MAGIC_AT + 1 - LOG_OVERHEAD_BYTES || base < 0 || base > MAX_OFFSET) break
    const batch = set.subarray(at, end)
    at = end
    if (
      batch[MAGIC_AT] !== MAGIC ||
      batch.length < BATCH_HEADER_BYTES ||
      batch.readUInt32BE(CRC_AT) !== crc32c(batch.subarray(ATTRIBUTES_AT))
    ) {
      // Of older formats an entry's offset is that of its (last) message.
      const last =
        batch[MAGIC_AT] === MAGIC && batch.length >= BATCH_HEADER_BYTES
          ? base + Math.max(0, batch.readInt32BE(LAST_DELTA_AT))
          : base
      if (last >= from) sink.broken(last, batch)
      next = Math.max(next, last + 1)
      continue
    }
    const last = base + Math.max(0, batch.readInt32BE(LAST_DELTA_AT))
    const attributes = batch.readInt16BE(ATTRIBUTES_AT)
    const producerId = batch.readBigInt64BE(PRODUCER_ID_AT)
    while (left.length > 0 && left[0].firstOffset <= last) dropped.add((left.shift() as AbortedTransaction).producerId)
    if ((attributes & CONTROL) !== 0) {
      if (isAbort(batch)) dropped.delete(producerId)
    } else if ((attributes & TRANSACTIONAL) === 0 || !dropped.has(producerId)) {
      if (last >= from) {
        const records = unpack(attributes & CODEC_MASK, batch.subarray(BATCH_HEADER_BYTES))
        if (records === null || !readRecords(records, batch.readInt32BE(COUNT_AT), base, last, from, sink))
          sink.broken(last, batch)
        timestamp = Number(batch.readBigInt64BE(MAX_TIMESTAMP_AT))
      }
    }
    next = Math.max(next, last + 1)
  }
  return { next, timestamp }
}

/** A control batch has one record, whose key is version and type. */
function isAbort(batch: Buffer): boolean {
  reader.open(batch, BATCH_HEADER_BYTES, batch.length)
  reader.varint()
  reader.at++
  reader.varint()
  reader.varint()
  const keyLength = reader.varint()
  return keyLength >= 4 && reader.at + 4 <= batch.length && batch.readInt16BE(reader.at + 2) === ABORT
}

/** Zigzag varints between two places. Reading past the end gives 0 and sets {@link broken}. */
class VarintReader {
  at = 0
  broken = false
  #bytes: Uint8Array = new Uint8Array(0)
  #end = 0

  open(bytes: Uint8Array, at: number, end: number): void {
    this.#bytes = bytes
    this.at = at
    this.#end = end
    this.broken = false
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10 && this.at < this.#end; i++) {
      const byte = this.#bytes[this.at++]
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
      scale *= 128
    }
    this.broken = true
    return 0
  }
}

const reader = new VarintReader()

/** Where the values of a batch are, until all of it has been looked at: a batch is taken whole or not at all. */
let places = new Float64Array(3 * 4096)

/** @returns false for records that are not what the batch's header says */
function readRecords(
  bytes: Buffer,
  count: number,
  base: number,
  last: number,
  from: number,
  sink: RecordSink,
): boolean {
  // Seven octets are the least that a record takes: a count beyond that is no reason to reserve memory.
  if (count < 0 || count > bytes.length / 7 + 1) return false
  if (places.length < count * 3) places = new Float64Array(count * 3)
  let found = 0
  let at = 0
  let before = -1
  for (let i = 0; i < count; i++) {
    reader.open(bytes, at, bytes.length)
    const length = reader.varint()
    const end = reader.at + length
    if (reader.broken || length < 0 || end > bytes.length) return false
    reader.open(bytes, reader.at + 1, end)
    reader.varint()
    const delta = reader.varint()
    const keyLength = reader.varint()
    if (keyLength > 0) reader.at += keyLength
    // Offsets out of order, or beyond the batch's own, would have messages behind it passed over.
    if (reader.broken || reader.at > end || delta <= before || base + delta > last) return false
    before = delta
    const valueLength = reader.varint()
    const start = reader.at
    if (reader.broken || start + Math.max(0, valueLength) > end) return false
    at = end
    if (base + delta < from) continue
    places[found++] = base + delta
    places[found++] = valueLength < 0 ? -1 : start
    places[found++] = valueLength < 0 ? -1 : start + valueLength
  }
  for (let i = 0; i < found; i += 3) sink.message(places[i], bytes, places[i + 1], places[i + 2])
  return true
}
