/** Compressions that producers may use. What a batch may grow to is bounded before it is unpacked, whoever sent it. */
import * as zlib from 'node:zlib'
import { gunzipSync } from 'node:zlib'
import { decompressFrameSync } from 'lz4-napi'
import { MinimError } from '../errors/catalogue.js'
import type { Unpack } from './record-set.js'

const NONE = 0,
  GZIP = 1,
  SNAPPY = 2,
  LZ4 = 3,
  ZSTD = 4

/** What Java's snappy writes before its blocks: a magic number, then two versions. */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEADER_BYTES = 16

/** Node.js 22.15 and later. */
const zstdDecompressSync = (
  zlib as unknown as { zstdDecompressSync?: (bytes: Buffer, options: { maxOutputLength: number }) => Buffer }
).zstdDecompressSync

/**
 * Makes the function that unpacks batches.
 * @param maxBytes what is larger when it is unpacked cannot be unpacked
 * @param snappy one block without framing
 * @throws MinimError (when it unpacks) MINIM_KAFKA_INPUT for zstd where Node.js has none: going on would send good
 * input to quarantine
 */
export function unpacker(maxBytes: number, snappy: (block: Buffer) => Buffer, topic: string): Unpack {
  return (codec, packed) => {
    if (codec === NONE) return packed
    if (codec === ZSTD && zstdDecompressSync === undefined) {
      throw new MinimError('MINIM_KAFKA_INPUT', {
        topic,
        what: 'its messages are compressed by zstd, which needs Node.js 22.15 or later',
      })
    }
    try {
      switch (codec) {
        case GZIP:
          return gunzipSync(packed, { maxOutputLength: maxBytes })
        case SNAPPY:
          return unpackSnappy(packed, maxBytes, snappy)
        case LZ4:
          return lz4Bound(packed) > maxBytes ? null : decompressFrameSync(packed)
        case ZSTD:
          return zstdDecompressSync?.(packed, { maxOutputLength: maxBytes }) ?? null
        default:
          return null
      }
    } catch {
      return null
    }
  }
}

function unpackSnappy(packed: Buffer, maxBytes: number, snappy: (block: Buffer) => Buffer): Buffer | null {
  if (!packed.subarray(0, XERIAL.length).equals(XERIAL)) return snappyBound(packed) > maxBytes ? null : snappy(packed)
  const blocks: Buffer[] = []
  let total = 0
  for (let at = XERIAL_HEADER_BYTES; at < packed.length;) {
    if (at + 4 > packed.length) return null
    const length = packed.readInt32BE(at)
    at += 4
    if (length <= 0 || at + length > packed.length) return null
    const block = packed.subarray(at, at + length)
    total += snappyBound(block)
    if (total > maxBytes) return null
    blocks.push(Buffer.from(snappy(block)))
    at += length
  }
  return Buffer.concat(blocks)
}

/** A block begins with its length, as a varint. */
function snappyBound(block: Buffer): number {
  let value = 0
  for (let i = 0; i < 5 && i < block.length; i++) {
    value += (block[i] & 0x7f) * 128 ** i
    if (block[i] < 0x80) return value
  }
  return Infinity
}

/** The most that a frame can hold: as many full blocks as it has (LZ4 Frame Format Description 1.6). */
export function lz4Bound(frame: Buffer): number {
  if (frame.length < 7 || frame.readUInt32LE(0) !== 0x184d2204) return Infinity
  const flags = frame[4]
  const blockBytes = [0, 0, 0, 0, 65_536, 262_144, 1_048_576, 4_194_304][(frame[5] >> 4) & 7]
  if (blockBytes === 0) return Infinity
  const checksum = (flags & 0x10) === 0 ? 0 : 4
  let at = 6 + ((flags & 0x08) === 0 ? 0 : 8) + ((flags & 0x01) === 0 ? 0 : 4) + 1
  let total = 0
  while (at + 4 <= frame.length) {
    const word = frame.readUInt32LE(at)
    if (word === 0) return total
    const stored = word >>> 31 === 1
    const length = word & 0x7fff_ffff
    total += stored ? length : blockBytes
    at += 4 + length + checksum
  }
  return Infinity
}
