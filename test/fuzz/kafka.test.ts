/**
 * Fuzz: what a broker answers and what messages hold, mutated. Nothing throws, nothing is read out of bounds, and work
 * is bounded by octets.
 */
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import t from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { catalogue as shipped } from '../../src/catalogue/catalogue.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { CODECS, RecordBatch, viewOf } from '../../src/kafka/record-batch.js'
import { readRecordSet } from '../../src/kafka/record-set.js'
import { decodeSubscription } from '../../src/kafka/requests.js'
import { unpacker } from '../../src/kafka/unpack.js'
import { convertEvent } from '../../src/sources/kafka/freeswitch-event.js'
import { ArenaPool, type MessageFormat, PieceBuilder, PieceReader } from '../../src/sources/kafka/messages.js'
import { fuzzRuns } from '../helpers/fuzz.js'

t.setTimeout(600_000)

const catalogue = shipped()
const MAX_UNPACKED = 200_000
/** Least octets of a record. */
const RECORD_BYTES = 7
const unpack = unpacker(
  MAX_UNPACKED,
  () => {
    throw new Error('no snappy here')
  },
  'raw',
)

const check = <T>(name: string, arbitrary: fc.Arbitrary<T>, property: (value: T) => void): void => {
  t.test(name, (t) => {
    const seed = Number(process.env['MINIM_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
    t.comment(`seed ${seed}, ${fuzzRuns()} runs`)
    fc.assert(fc.property(arbitrary, property), { seed, numRuns: fuzzRuns() })
    t.pass('no counterexample')
    t.end()
  })
}

const value = fc.oneof(fc.string({ maxLength: 40 }), fc.constant('a'.repeat(700)))
const batchOf = fc
  .record({
    base: fc.nat(1000),
    values: fc.array(value, { minLength: 1, maxLength: 8 }),
    transactional: fc.boolean(),
    codec: fc.constantFrom(CODECS.none, CODECS.gzip, CODECS.lz4),
  })
  .map(({ base, values, transactional, codec }) => {
    const made = new RecordBatch()
    for (const text of values) {
      const bytes = Buffer.from(text)
      made.append(viewOf(bytes), 0, 0, 0, bytes.length, 1000, null)
    }
    const sealed = Buffer.from(made.seal({ producerId: 7n, epoch: 0 }, 0, transactional, codec))
    sealed.writeBigInt64BE(BigInt(base), 0)
    return sealed
  })
const damage = fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { maxLength: 6 })
const set = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  // With a sum that is right: what a producer may have written itself.
  fc.tuple(batchOf, damage).map(([whole, changes]) => {
    for (const { at, to } of changes) whole[21 + (at % (whole.length - 21))] = to
    whole.writeUInt32BE(crc32c(whole.subarray(21)), 17)
    return whole
  }),
  fc.tuple(fc.array(batchOf, { minLength: 1, maxLength: 4 }), damage, fc.nat(400)).map(([batches, changes, cut]) => {
    const whole = Buffer.concat(batches)
    for (const { at, to } of changes) whole[at % whole.length] = to
    return whole.subarray(0, Math.max(1, whole.length - (cut > 200 ? cut - 200 : 0)))
  }),
)

check(
  'record sets',
  fc.record({
    set,
    from: fc.nat(1000),
    aborted: fc.array(fc.record({ producerId: fc.constantFrom(7n, 8n), firstOffset: fc.nat(1000) }), { maxLength: 3 }),
  }),
  ({ set, from, aborted }) => {
    let calls = 0
    let largest = -1
    const { next } = readRecordSet(
      set,
      from,
      aborted,
      (codec, packed) => (codec === 4 ? null : unpack(codec, packed)),
      {
        message: (offset, bytes, start, end) => {
          calls++
          largest = Math.max(largest, offset)
          if (offset < from) throw new Error('a message before the position')
          if (start >= 0 && (end < start || end > bytes.length)) throw new Error('out of bounds')
        },
        broken: (last, bytes) => {
          calls++
          if (last < from || bytes.length > set.length) throw new Error('a broken batch before the position')
        },
      },
    )
    if (next < from) throw new Error('backwards')
    if (largest >= next) throw new Error('a message beyond the end')
    if (calls > (set.length + 4 * MAX_UNPACKED) / RECORD_BYTES + 8) throw new Error('more work than octets')
  },
)

const json: MessageFormat = {
  reader: new JsonLinesReader(builtInMapping('asterisk-cdr', catalogue), catalogue, { maxRecordBytes: 4096 }),
  lines: true,
  convert: null,
  refusedFormat: null,
}
const writer = new RecordWriter(catalogue)
const jsonText = fc.oneof(
  fc.json(),
  fc.string(),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  fc
    .dictionary(
      fc.constantFrom('src', 'dst', 'start', 'billsec', 'x'),
      fc.oneof(fc.string(), fc.integer(), fc.constant(null)),
    )
    .map((object) => JSON.stringify(object, null, 2)),
  fc
    .array(fc.constantFrom('{', '}', '\n', '\r', ' ', '"', 'a', ':', ','), { maxLength: 60 })
    .map((parts) => parts.join('')),
)
const batch = new Batch(catalogue)

check('messages', fc.array(jsonText, { maxLength: 20 }), (messages) => {
  const builder = new PieceBuilder(new ArenaPool(), json, 200)
  let octets = 0
  for (const text of messages) {
    const bytes = Buffer.from(text, 'latin1')
    octets += bytes.length + 1
    builder.add(bytes, 0, bytes.length)
  }
  const piece = builder.take()
  if (piece.messages !== messages.length || piece.length > octets)
    throw new Error('messages are not all there, or there is more')
  const reader = new PieceReader(json, piece)
  for (let pos = 0, steps = 0; pos < piece.length; steps++) {
    batch.reset(piece.arena, piece.length)
    const next = reader.fill(batch, pos, piece.length)
    if (next <= pos || steps > messages.length + 1) throw new Error('no step forward')
    for (const start of batch.refusedStart) if (start < 0 || start > piece.length) throw new Error('out of bounds')
    pos = next
  }
})

const headers = [
  'Event-Name',
  'Unique-ID',
  'Caller-Channel-Created-Time',
  'Caller-Channel-Answered-Time',
  'Caller-Destination-Number',
  'variable_uuid',
  'variable_start_uepoch',
  'variable_rtp_audio_in_packet_count',
  'Other-Type',
  '__proto__',
]
const event = fc.oneof(
  fc
    .dictionary(
      fc.constantFrom(...headers),
      fc.oneof(
        fc.string(),
        fc.integer(),
        fc.constantFrom('CHANNEL_HANGUP_COMPLETE', '1782900000000000', 'originator'),
        fc.constant(null),
        fc.array(fc.integer()),
      ),
    )
    .map((object) => JSON.stringify({ 'Event-Name': 'CHANNEL_HANGUP_COMPLETE', ...object })),
  fc.tuple(fc.nat(400), fc.nat(255)).map(([at, to]) => {
    const text = Buffer.from(
      '{"Event-Name":"CHANNEL_HANGUP_COMPLETE","Unique-ID":"f3a1",' +
        '"Caller-Channel-Created-Time":"1782900000000000","Caller-Destination-Number":"+442079460918"}',
    )
    text[at % text.length] = to
    return text.toString('latin1')
  }),
  fc.nat(3000).map((depth) => `{"Event-Name":"CHANNEL_HANGUP_COMPLETE","x":${'['.repeat(depth)}${']'.repeat(depth)}}`),
)

check("FreeSWITCH's events", event, (text) => {
  const message = Buffer.from(text, 'latin1')
  const converted = convertEvent(message, 'both', writer)
  if (writer.records !== 0) throw new Error('records were left behind')
  if ('bytes' in converted && converted.bytes.length > message.length * 8 + 1000)
    throw new Error('more comes out than goes in')
})

check('subscriptions of other members', fc.uint8Array({ maxLength: 60 }), (bytes) => {
  if (decodeSubscription(Buffer.from(bytes)).length > bytes.length) throw new Error('more topics than octets')
})
