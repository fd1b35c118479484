import { gunzipSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import { murmur2 as theirMurmur2, Reader, readRecordsBatch } from '@platformatic/kafka'
import fc from 'fast-check'
import { decompressFrameSync } from 'lz4-napi'
import t from 'tap'
import {
  BATCH_HEADER_BYTES,
  CODECS,
  encodeHeaders,
  LONE_RECORD_OVERHEAD_BYTES,
  murmur2,
  partitionOf,
  RECORD_OVERHEAD_BYTES,
  RecordBatch,
  viewOf,
} from '../../src/kafka/record-batch.js'

const message = fc.record({
  key: fc.option(fc.uint8Array({ minLength: 1, maxLength: 40 }), { nil: null }),
  value: fc.uint8Array({ maxLength: 400 }),
  timestamp: fc.oneof(fc.integer({ min: 0, max: 4_102_444_800_000 }), fc.constantFrom(0, 1, 1_795_514_445_000)),
  headers: fc.option(
    fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), fc.string({ maxLength: 20 }), { minKeys: 1, maxKeys: 3 }),
    { nil: null },
  ),
})

t.test('what is written is what another client reads', (t) => {
  const batch = new RecordBatch()
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 200 }),
      fc.nat({ max: 2 ** 31 - 1 }),
      fc.boolean(),
      (messages, sequence, transactional) => {
        batch.clear()
        for (const { key, value, timestamp, headers } of messages) {
          // Key and value somewhere within a larger arena, as in a batch of messages.
          const arena = Buffer.concat([
            Buffer.alloc(3),
            key ?? Buffer.alloc(0),
            Buffer.alloc(2),
            value,
            Buffer.alloc(1),
          ])
          batch.append(
            viewOf(arena),
            3,
            key?.length ?? 0,
            5 + (key?.length ?? 0),
            value.length,
            timestamp,
            headers === null ? null : encodeHeaders([headers]),
          )
        }
        if (batch.count !== messages.length) throw new Error('miscounted')
        const sealed = batch.seal({ producerId: 4711n, epoch: 12 }, sequence, transactional)
        const read = readRecordsBatch(Reader.from(Buffer.from(sealed)))
        const base = read.firstTimestamp
        same(read.length, sealed.length - 12)
        same(read.magic, 2)
        same(read.crc >>> 0, crc32c(sealed.subarray(21)))
        same(
          [read.producerId, read.producerEpoch, read.firstSequence, read.attributes],
          [4711n, 12, sequence, transactional ? 16 : 0],
        )
        same(read.lastOffsetDelta, messages.length - 1)
        same(read.maxTimestamp, BigInt(Math.max(...messages.map((m) => m.timestamp))))
        same(
          read.records.map((r) => [
            r.key === null || r.key.length === 0 ? null : r.key.toString('hex'),
            (r.value as Buffer).toString('hex'),
            base + r.timestampDelta,
            Object.fromEntries([...r.headers].map(([name, value]): [string, string] => [String(name), String(value)])),
          ]),
          messages.map((m) => [
            m.key === null ? null : Buffer.from(m.key).toString('hex'),
            Buffer.from(m.value).toString('hex'),
            BigInt(m.timestamp),
            m.headers ?? {},
          ]),
        )
      },
    ),
    { numRuns: 300 },
  )
  t.end()
})

t.test('an emptied batch starts anew, and a large record is not kept', (t) => {
  const batch = new RecordBatch()
  batch.append(viewOf(Buffer.alloc(900_000, 1)), 0, 0, 0, 900_000, 5, null)
  t.ok(batch.length > 900_000)
  batch.clear()
  t.equal(batch.length, BATCH_HEADER_BYTES)
  batch.append(viewOf(Buffer.from('kv')), 0, 1, 1, 1, 7, null)
  const read = readRecordsBatch(Reader.from(Buffer.from(batch.seal({ producerId: 1n, epoch: 0 }, 0, true))))
  t.equal(read.records.length, 1)
  t.equal(read.firstTimestamp, 7n)
  t.end()
})

t.test('no record takes more beside key, value and headers than it is said to', (t) => {
  const arena = viewOf(Buffer.alloc(8_000_000))
  fc.assert(
    fc.property(
      fc.constantFrom(0, 1, 64, 20_000, 3_000_000),
      fc.constantFrom(0, 1, 64, 20_000, 3_000_000),
      fc.maxSafeNat(),
      fc.maxSafeNat(),
      (key, value, first, later) => {
        const batch = new RecordBatch()
        batch.append(arena, 0, key, 0, value, first, null)
        if (batch.length - key - value > LONE_RECORD_OVERHEAD_BYTES) return false
        const alone = batch.length
        batch.append(arena, 0, key, 0, value, later, null)
        return batch.length - alone - key - value <= RECORD_OVERHEAD_BYTES
      },
    ),
    { numRuns: 200 },
  )
  t.end()
})

t.test('compressed batches hold the same records', (t) => {
  const batch = new RecordBatch()
  const value = Buffer.from('{"tag":"the same"}'.repeat(20))
  for (let i = 0; i < 50; i++) batch.append(viewOf(value), 0, 0, 0, value.length, 1_795_514_445_000 + i, null)
  const plain = Buffer.from(batch.seal({ producerId: 1n, epoch: 0 }, 0, true))
  for (const codec of [CODECS.gzip, CODECS.lz4]) {
    const sealed = Buffer.from(batch.seal({ producerId: 1n, epoch: 0 }, 0, true, codec))
    t.ok(sealed.length < plain.length / 4)
    t.equal(sealed.readInt16BE(21), 16 + codec.attribute)
    t.equal(sealed.readUInt32BE(17), crc32c(sealed.subarray(21)))
    const unpacked =
      codec === CODECS.gzip
        ? gunzipSync(sealed.subarray(BATCH_HEADER_BYTES))
        : decompressFrameSync(sealed.subarray(BATCH_HEADER_BYTES))
    t.ok(unpacked.equals(plain.subarray(BATCH_HEADER_BYTES)))
  }
  const short = new RecordBatch()
  short.append(viewOf(value), 0, 0, 0, 10, 5, null)
  t.equal(
    Buffer.from(short.seal({ producerId: 1n, epoch: 0 }, 0, true, CODECS.lz4)).readInt16BE(21),
    16,
    'a short one is sent as it is',
  )
  t.end()
})

t.test('keys go where Java puts them', (t) => {
  // Kafka's UtilsTest.testMurmur2
  const rows: [string, number][] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ]
  for (const [key, hash] of rows) t.equal(murmur2(Buffer.from(key), 0, key.length), hash, key)
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), fc.integer({ min: 1, max: 100 }), (key, partitions) => {
      const bytes = Buffer.concat([Buffer.alloc(5, 9), key, Buffer.alloc(3, 7)])
      same(partitionOf(bytes, 5, key.length, partitions), (theirMurmur2(Buffer.from(key)) & 0x7fffffff) % partitions)
    }),
  )
  t.end()
})

function same(got: unknown, wanted: unknown): void {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? `${v}n` : v))
  if (text(got) !== text(wanted)) throw new Error(`${text(got)} instead of ${text(wanted)}`)
}
