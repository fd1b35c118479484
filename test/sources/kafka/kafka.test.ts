/**
 * What brokers answer, what messages hold, and how a group shares a topic out; with a broker:
 * test/real-kafka/kafka-input.test.ts.
 */
import { gzipSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import { compressionsAlgorithmsByBitmask } from '@platformatic/kafka'
import t from 'tap'
import { Batch, REFUSALS } from '../../../src/batch/batch.js'
import { ProtobufReader } from '../../../src/batch/scanner.js'
import { catalogue as shipped } from '../../../src/catalogue/catalogue.js'
import { JsonLinesReader } from '../../../src/formats/json-lines.js'
import { builtInMapping } from '../../../src/formats/mapping.js'
import { RecordWriter } from '../../../src/formats/record-writer.js'
import { type Codec, CODECS, RecordBatch, viewOf } from '../../../src/kafka/record-batch.js'
import { type AbortedTransaction, readRecordSet } from '../../../src/kafka/record-set.js'
import {
  decodeShare,
  decodeSubscription,
  encodeShare,
  encodeSubscription,
  shareOut,
} from '../../../src/kafka/requests.js'
import { lz4Bound, unpacker } from '../../../src/kafka/unpack.js'
import type { Settings } from '../../../src/settings/schema.js'
import { convertEvent, isHangup } from '../../../src/sources/kafka/freeswitch-event.js'
import {
  ArenaPool,
  type MessageFormat,
  type Piece,
  PieceBuilder,
  PieceReader,
} from '../../../src/sources/kafka/messages.js'
import { KAFKA_INPUT, KAFKA_INPUT_ENTRY, type KafkaInputSettings } from '../../../src/sources/kafka/settings.js'

const catalogue = shipped()
const MAX_UNPACKED = 1_000_000
const snappy = compressionsAlgorithmsByBitmask[2]
const unpack = unpacker(MAX_UNPACKED, (block) => snappy.decompressSync(block), 'raw')

interface BatchOptions {
  readonly transactional?: boolean
  readonly codec?: Codec
  readonly producerId?: bigint
}

/** A batch as a broker keeps it: with its offset. */
function batch(
  base: number,
  values: readonly string[],
  { transactional = false, codec = CODECS.none, producerId = 7n }: BatchOptions = {},
): Buffer {
  const made = new RecordBatch()
  values.forEach((value, i) => {
    const bytes = Buffer.from(`key${value}`)
    made.append(viewOf(bytes), 0, 3, 3, bytes.length - 3, 1_000 + i, null)
  })
  const sealed = Buffer.from(made.seal({ producerId, epoch: 0 }, 0, transactional, codec))
  sealed.writeBigInt64BE(BigInt(base), 0)
  return sealed
}

/** The same with other records, whatever they are packed by. */
function repacked(of: Buffer, attributes: number, records: Buffer): Buffer {
  const made = Buffer.concat([of.subarray(0, 61), records])
  made.writeInt32BE(made.length - 12, 8)
  made.writeInt16BE(attributes, 21)
  return signed(made)
}

function signed(made: Buffer): Buffer {
  made.writeUInt32BE(crc32c(made.subarray(21)), 17)
  return made
}

/** A marker: the transaction's end. */
function marker(base: number, commit: boolean, producerId = 7n): Buffer {
  const key = Buffer.from([0, 0, 0, commit ? 1 : 0])
  const record = Buffer.from([0, 0, 0, 8, ...key, 12, 0, 0, 0, 0, 0, 0, 0])
  return repacked(batch(base, ['x'], { producerId }), 0x30, Buffer.concat([Buffer.from([record.length * 2]), record]))
}

interface Found {
  readonly messages: string[]
  readonly broken: number[]
  readonly next: number
  readonly timestamp: number | null
}

function readSet(set: Buffer, from: number, aborted: readonly AbortedTransaction[] = []): Found {
  const messages: string[] = []
  const broken: number[] = []
  const end = readRecordSet(set, from, aborted, unpack, {
    message: (offset, bytes, start, stop) =>
      messages.push(`${offset}:${start < 0 ? 'null' : bytes.toString('utf8', start, stop)}`),
    broken: (last) => broken.push(last),
  })
  return { messages, broken, ...end }
}

function xerial(records: Buffer): Buffer {
  const blocks = [records.subarray(0, 20), records.subarray(20)].map((part) => Buffer.from(snappy.compressSync(part)))
  const head = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])
  return Buffer.concat([
    head,
    ...blocks.flatMap((block) => {
      const length = Buffer.alloc(4)
      length.writeInt32BE(block.length)
      return [length, block]
    }),
  ])
}

const three = batch(10, ['a', 'b', 'c'])
const wrongSum = Buffer.from(three)
wrongSum[wrongSum.length - 1] ^= 1
const oldFormat = Buffer.from(three)
oldFormat[16] = 1
const more = Buffer.from(three)
more.writeInt32BE(4, 57)
/** A record is 11 octets here, and its offset the fourth of them. */
const swapped = Buffer.from(three)
swapped[61 + 11 + 3] = 0
const short = Buffer.from(three)
short.writeInt32BE(1, 23)
const huge = Buffer.from(three)
huge.writeInt32BE(0x7fff_ffff, 57)

const SETS: readonly {
  readonly name: string
  readonly set: Buffer
  readonly from?: number
  readonly aborted?: readonly AbortedTransaction[]
  readonly messages: readonly string[]
  readonly broken?: readonly number[]
  readonly next: number
}[] = [
  { name: 'nothing', set: Buffer.alloc(0), from: 4, messages: [], next: 4 },
  { name: 'a batch', set: three, messages: ['10:a', '11:b', '12:c'], next: 13 },
  { name: 'from its middle', set: three, from: 11, messages: ['11:b', '12:c'], next: 13 },
  { name: 'all of it behind us', set: three, from: 13, messages: [], next: 13 },
  {
    name: 'two, with a gap',
    set: Buffer.concat([three, batch(20, ['d'])]),
    messages: ['10:a', '11:b', '12:c', '20:d'],
    next: 21,
  },
  {
    name: 'the last is cut off',
    set: Buffer.concat([three, batch(13, ['d', 'e']).subarray(0, 70)]),
    messages: ['10:a', '11:b', '12:c'],
    next: 13,
  },
  {
    name: 'cut off in its header',
    set: Buffer.concat([three, batch(13, ['d']).subarray(0, 14)]),
    messages: ['10:a', '11:b', '12:c'],
    next: 13,
  },
  {
    name: 'committed',
    set: Buffer.concat([batch(0, ['a'], { transactional: true }), marker(1, true), batch(2, ['b'])]),
    from: 0,
    messages: ['0:a', '2:b'],
    next: 3,
  },
  {
    name: 'aborted',
    set: Buffer.concat([
      batch(0, ['a'], { transactional: true }),
      marker(1, false),
      batch(2, ['b'], { transactional: true }),
      marker(3, true),
    ]),
    from: 0,
    aborted: [{ producerId: 7n, firstOffset: 0 }],
    messages: ['2:b'],
    next: 4,
  },
  {
    name: 'of two writers one aborts',
    set: Buffer.concat([
      batch(0, ['a'], { transactional: true }),
      batch(1, ['b'], { transactional: true, producerId: 8n }),
      marker(2, false),
      marker(3, true, 8n),
    ]),
    from: 0,
    aborted: [{ producerId: 7n, firstOffset: 0 }],
    messages: ['1:b'],
    next: 4,
  },
  { name: 'a marker only', set: marker(5, true), from: 5, messages: [], next: 6 },
  {
    name: 'gzip',
    set: batch(10, ['a'.repeat(600), 'b'], { codec: CODECS.gzip }),
    messages: [`10:${'a'.repeat(600)}`, '11:b'],
    next: 12,
  },
  {
    name: 'lz4',
    set: batch(10, ['a'.repeat(600), 'b'], { codec: CODECS.lz4 }),
    messages: [`10:${'a'.repeat(600)}`, '11:b'],
    next: 12,
  },
  {
    name: 'snappy',
    set: repacked(three, 2, Buffer.from(snappy.compressSync(three.subarray(61)))),
    messages: ['10:a', '11:b', '12:c'],
    next: 13,
  },
  {
    name: 'snappy as Java frames it',
    set: repacked(three, 2, xerial(three.subarray(61))),
    messages: ['10:a', '11:b', '12:c'],
    next: 13,
  },
  {
    name: 'a wrong sum, and what follows it',
    set: Buffer.concat([wrongSum, batch(13, ['d'])]),
    messages: ['13:d'],
    broken: [12],
    next: 14,
  },
  { name: 'an old format', set: oldFormat, messages: [], broken: [10], next: 11 },
  { name: 'more records than there are', set: signed(more), messages: [], broken: [12], next: 13 },
  { name: 'offsets out of order', set: signed(swapped), messages: [], broken: [12], next: 13 },
  { name: 'offsets beyond the batch', set: signed(short), messages: [], broken: [11], next: 12 },
  { name: 'more than memory', set: signed(huge), messages: [], broken: [12], next: 13 },
  {
    name: 'a codec that there is not',
    set: repacked(three, 6, three.subarray(61)),
    messages: [],
    broken: [12],
    next: 13,
  },
  {
    name: 'gzip of something else',
    set: repacked(three, 1, Buffer.from('no gzip')),
    messages: [],
    broken: [12],
    next: 13,
  },
  {
    name: 'a bomb',
    set: repacked(three, 1, gzipSync(Buffer.alloc(MAX_UNPACKED * 20))),
    messages: [],
    broken: [12],
    next: 13,
  },
  {
    name: 'an lz4 bomb',
    set: repacked(three, 3, CODECS.lz4.compress(Buffer.alloc(MAX_UNPACKED * 20))),
    messages: [],
    broken: [12],
    next: 13,
  },
  {
    name: 'a snappy bomb',
    set: repacked(three, 2, Buffer.from(snappy.compressSync(Buffer.alloc(MAX_UNPACKED * 2)))),
    messages: [],
    broken: [12],
    next: 13,
  },
  {
    name: 'framed snappy that ends early',
    set: repacked(three, 2, xerial(three.subarray(61)).subarray(0, 30)),
    messages: [],
    broken: [12],
    next: 13,
  },
]

t.test('record sets', (t) => {
  for (const { name, set, from = 10, aborted = [], messages, broken = [], next } of SETS) {
    t.test(name, (t) => {
      const found = readSet(set, from, aborted)
      t.same(found.messages, messages)
      t.same(found.broken, broken)
      t.equal(found.next, next)
      t.end()
    })
  }
  t.test("the timestamp is the last message's", (t) => {
    t.equal(readSet(three, 10).timestamp, 1002)
    t.equal(readSet(marker(1, true), 0).timestamp, null)
    t.end()
  })
  t.test('zstd: read where Node.js can, else a stop and no quarantine', (t) => {
    const set = repacked(three, 4, Buffer.from('28b52ffd', 'hex'))
    if (compressionsAlgorithmsByBitmask[4].available) t.same(readSet(set, 10).broken, [12])
    else t.throws(() => readSet(set, 10), { code: 'MINIM_KAFKA_INPUT' })
    t.end()
  })
  t.test("a frame's bound", (t) => {
    t.equal(lz4Bound(Buffer.from('nothing of that kind')), Infinity)
    const bound = lz4Bound(CODECS.lz4.compress(Buffer.alloc(100_000)))
    t.ok(bound >= 100_000 && bound <= 4_194_304, String(bound))
    t.end()
  })
  t.end()
})

const json: MessageFormat = {
  reader: new JsonLinesReader(builtInMapping('minim', catalogue), catalogue),
  lines: true,
  convert: null,
  refusedFormat: null,
}

function build(format: MessageFormat, messages: readonly (string | Buffer | null)[], maxMessageBytes = 10_000): Piece {
  const builder = new PieceBuilder(new ArenaPool(), format, maxMessageBytes)
  for (const message of messages) {
    const bytes = Buffer.from(`..${message?.toString('latin1') ?? ''}..`, 'latin1')
    builder.add(bytes, message === null ? -1 : 2, message === null ? -1 : bytes.length - 2)
  }
  return builder.take()
}

/** Account of each call, reason of each refusal, as the pipeline would find them. */
function readPiece(format: MessageFormat, piece: Piece): { calls: string[]; refused: string[] } {
  const reader = new PieceReader(format, piece)
  const batch = new Batch(catalogue)
  const columns = batch.columns.call
  const account = catalogue.kinds.call.byName.get('account')?.index ?? -1
  const calls: string[] = []
  const refused: string[] = []
  for (let pos = 0; pos < piece.length;) {
    batch.reset(piece.arena, piece.length)
    const next = reader.fill(batch, pos, piece.length)
    for (let r = 0; r < columns.rows; r++) {
      const cell = r * columns.width + account
      calls.push(piece.arena.toString('utf8', columns.off[cell], columns.off[cell] + columns.len[cell]))
    }
    refused.push(...batch.refusedReason.map((code) => REFUSALS[code]))
    if (next === pos) throw new Error('no step forward')
    pos = next
  }
  return { calls, refused }
}

const line = (account: string): string => `{"account":"${account}","start_ms":1767323045000}`

t.test('messages', (t) => {
  const rows: readonly {
    name: string
    messages: readonly (string | null)[]
    calls: readonly string[]
    refused?: readonly string[]
    unused?: number
  }[] = [
    { name: 'one', messages: [line('a')], calls: ['a'] },
    { name: 'several', messages: [line('a'), line('b'), line('c')], calls: ['a', 'b', 'c'] },
    { name: 'with line ends', messages: [`${line('a')}\n`, `${line('b')}\r\n`, line('c')], calls: ['a', 'b', 'c'] },
    { name: 'several lines', messages: [`${line('a')}\n${line('b')}`, line('c')], calls: ['a', 'b', 'c'] },
    {
      name: 'over several lines',
      messages: [JSON.stringify(JSON.parse(line('a')), null, 2), line('b')],
      calls: ['a', 'b'],
    },
    {
      name: 'over several lines, CRLF',
      messages: ['{\r\n"account":"a",\r\n"start_ms":1767323045000\r\n}\r\n', line('b')],
      calls: ['a', 'b'],
    },
    { name: 'a line end in a text', messages: ['{"account":"a\\nb","start_ms":1767323045000}'], calls: ['a\nb'] },
    {
      name: 'a broken one among good ones',
      messages: [line('a'), '{"account":"x', line('b')],
      calls: ['a', 'b'],
      refused: ['malformed_json'],
    },
    { name: 'none', messages: [null, '', line('a')], calls: ['a'], unused: 2 },
    {
      name: 'one that is too large',
      messages: [line('a'), 'x'.repeat(10_001), line('b')],
      calls: ['a', 'b'],
      refused: ['too_large'],
    },
  ]
  for (const { name, messages, calls, refused = [], unused = 0 } of rows) {
    t.test(name, (t) => {
      const piece = build(json, messages)
      t.same(readPiece(json, piece), { calls, refused })
      t.equal(piece.messages, messages.length)
      t.equal(piece.unused, unused)
      t.end()
    })
  }
  t.test('more than an arena holds at first', (t) => {
    const accounts = Array.from({ length: 20_000 }, (_, i) => `acct-${i}`)
    const piece = build(json, accounts.map(line))
    t.same(readPiece(json, piece).calls, accounts)
    t.end()
  })
  t.test('a piece is full at a number of octets, or of messages', (t) => {
    const builder = new PieceBuilder(new ArenaPool(), json, 1_000_000)
    t.notOk(builder.isFull(900_000), 'the first always goes in')
    builder.add(Buffer.alloc(200_000, 0x20), 0, 200_000)
    t.notOk(builder.isFull(1000))
    t.ok(builder.isFull(100_000))
    builder.take()
    for (let i = 0; i < 4096; i++) builder.add(Buffer.from('{}'), 0, 2)
    t.ok(builder.isFull(1))
    t.end()
  })
  t.test('protobuf: each for itself', (t) => {
    const protobuf: MessageFormat = {
      reader: new ProtobufReader(catalogue, 'whole'),
      lines: false,
      convert: null,
      refusedFormat: null,
    }
    const writer = new RecordWriter(catalogue)
    const message = (account: string): Buffer => {
      writer.add('call', { account, start_ms: 1_767_323_045_000 })
      return Buffer.from(writer.take())
    }
    const { calls, refused } = readPiece(
      protobuf,
      build(protobuf, [message('a'), Buffer.from([0x22, 0x7f, 1]), message('b')]),
    )
    t.same(calls, ['a', 'b'])
    t.equal(refused.length, 1)
    t.end()
  })
  t.test('arenas are used again, the usual ones', (t) => {
    const pool = new ArenaPool()
    const one = pool.take(10)
    pool.give(one)
    t.equal(pool.take(1000), one)
    const large = pool.take(10_000_000)
    pool.give(large)
    t.not(pool.take(10_000_000), large)
    t.end()
  })
  t.end()
})

t.test("cdr_kafka's names", (t) => {
  const format: MessageFormat = {
    ...json,
    reader: new JsonLinesReader(builtInMapping('asterisk-cdr', catalogue, { timeZone: 'Europe/London' }), catalogue),
  }
  const newer =
    '{"clid": "\\"Xanthippe\\" <07700900123>", "src": "07700900123", "dst": "1001", "dcontext": "trunk", ' +
    '"channel": "PJSIP/t-1", "dstchannel": "", "lastapp": "Dial", "lastdata": "", ' +
    '"start": "2026-07-01T10:00:00.000+0000", "answer": "1970-01-01T00:00:00.000+0000", ' +
    '"end": "2026-07-01T10:00:10.000+0000", "durationsec": 10, "billsec": 0, "disposition": "NO ANSWER", ' +
    '"accountcode": "a1", "amaflags": "DOCUMENTATION", "peeraccount": "", "linkedid": "1.1", ' +
    '"sequence": 4, "EntityID": "00:00:5e:00:53:01", "SystemName": "pbx", "uniqueid": "1.1"}'
  const older =
    '{"AccountCode": "a2", "Source": "07700900123", "Destination": "1001", ' +
    '"DestinationContext": "trunk", "CallerID": "", "Channel": "PJSIP/t-1", "DestinationChannel": "", ' +
    '"LastApplication": "Dial", "LastData": "", "StartTime": "2026-07-01 11:00:00", "AnswerTime": "", ' +
    '"EndTime": "2026-07-01 11:00:10", "Duration": 10, "Billsec": 0, "Disposition": "NO ANSWER", ' +
    '"AMAFlags": "DOCUMENTATION", "UniqueID": "1.1", "UserField": ""}'
  const piece = build(format, [newer, older])
  const batch = new Batch(catalogue)
  batch.reset(piece.arena, piece.length)
  new PieceReader(format, piece).fill(batch, 0, piece.length)
  const { call } = batch.columns
  t.equal(call.rows, 2)
  t.equal(batch.unknownFields, 0)
  const index = (name: string): number => catalogue.kinds.call.byName.get(name)?.index ?? -1
  for (let r = 0; r < 2; r++) {
    const text = (name: string): string =>
      piece.arena.toString(
        'utf8',
        call.off[r * call.width + index(name)],
        call.off[r * call.width + index(name)] + call.len[r * call.width + index(name)],
      )
    t.equal(text('account'), `a${r + 1}`)
    t.equal(text('calling'), '07700900123')
    t.equal(text('call_id'), '1.1')
    t.equal(call.num[r * call.width + index('start_ms')], Date.parse('2026-07-01T10:00:00Z'))
    t.ok(
      Number.isNaN(call.num[r * call.width + index('answer_ms')]) || call.off[r * call.width + index('answer_ms')] < 0,
      'an unanswered call has no answer',
    )
    t.equal(call.num[r * call.width + index('duration_seconds')], 10)
  }
  t.end()
})

const EVENT = {
  'Event-Name': 'CHANNEL_HANGUP_COMPLETE',
  'Core-UUID': 'core',
  'Event-Date-Local': '2026-07-01 10:00:10',
  'Unique-ID': 'f3a1',
  'Call-Direction': 'inbound',
  'Hangup-Cause': 'NORMAL_CLEARING',
  'Caller-Caller-ID-Name': 'Xanthippe',
  'Caller-Caller-ID-Number': '07700900123',
  'Caller-ANI': '07700900123',
  'Caller-Destination-Number': '1001',
  'Caller-Network-Addr': '192.0.2.4',
  'Caller-Channel-Created-Time': '1782900000000000',
  'Caller-Channel-Answered-Time': '1782900002000000',
  'Caller-Channel-Hangup-Time': '1782900010000000',
  'Channel-Read-Codec-Name': 'PCMA',
  variable_sip_call_id: 'x@192.0.2.4',
  variable_accountcode: 'a1',
  variable_sip_user_agent: 'Yealink SIP-T46S 66.85.0.5',
  variable_duration: '10',
  variable_billsec: '8',
  variable_rtp_audio_in_packet_count: '400',
  variable_rtp_audio_in_mean_interval: '20.0',
  variable_rtp_audio_in_mos: '4.4',
  variable_hangup_cause_q850: '16',
}

t.test("FreeSWITCH's events", (t) => {
  const writer = new RecordWriter(catalogue)
  const type = catalogue.root.lookupType('minim.v1.Batch')
  const records = (event: object, legs: 'a' | 'both' = 'a'): Record<string, Record<string, unknown>[] | undefined> => {
    const converted = convertEvent(Buffer.from(JSON.stringify(event)), legs, writer)
    if (!('bytes' in converted)) throw new Error(JSON.stringify(converted))
    return type.toObject(type.decode(converted.bytes), { longs: Number, enums: String })
  }
  t.test('a call, its quality and its device', (t) => {
    const { calls, qualities, devices } = records(EVENT)
    t.match(calls, [
      {
        account: 'a1',
        call_id: 'x@192.0.2.4',
        calling: '07700900123',
        called: '1001',
        calling_name: 'Xanthippe',
        start_ms: 1_782_900_000_000,
        answer_ms: 1_782_900_002_000,
        end_ms: 1_782_900_010_000,
        duration_seconds: 10,
        billable_seconds: 8,
        disposition: 'ANSWERED',
        hangup_cause: 16,
        codec: 'PCMA',
        source_ip: '192.0.2.4',
        linked_id: 'f3a1',
        origin: 'CDR',
      },
    ])
    t.match(qualities, [{ packets_received: 400, local_party: '07700900123' }])
    t.match(devices, [{ user_agent: 'Yealink SIP-T46S 66.85.0.5' }])
    t.end()
  })
  t.test('a b-leg gives no second call, unless it is asked for', (t) => {
    const b = { ...EVENT, 'Other-Type': 'originator' }
    t.equal(records(b).calls?.length ?? 0, 0)
    t.equal(records(b, 'both').calls?.length, 1)
    t.end()
  })
  const others: readonly { name: string; message: string; converted: object }[] = [
    {
      name: 'another event',
      message: JSON.stringify({ ...EVENT, 'Event-Name': 'CHANNEL_ANSWER' }),
      converted: { unused: true },
    },
    {
      name: 'one whose text speaks of it',
      message: JSON.stringify({ x: '"Event-Name":"CHANNEL_HANGUP_COMPLETE"' }),
      converted: { unused: true },
    },
    { name: 'no event at all', message: 'hello', converted: { unused: true } },
    { name: 'cut off', message: JSON.stringify(EVENT).slice(0, -5), converted: { reason: 'malformed_json' } },
    { name: 'a list', message: '["Event-Name", "CHANNEL_HANGUP_COMPLETE"]', converted: { unused: true } },
    {
      name: 'without a time',
      message: '{"Event-Name": "CHANNEL_HANGUP_COMPLETE"}',
      converted: { reason: 'no_start_time' },
    },
  ]
  for (const { name, message, converted } of others) {
    t.test(name, (t) => {
      t.same(convertEvent(Buffer.from(message), 'a', writer), converted)
      t.equal(writer.records, 0)
      t.end()
    })
  }
  t.ok(isHangup(Buffer.from('{ "Event-Name" :\t"CHANNEL_HANGUP_COMPLETE" }')))
  t.end()
})

t.test("a topic is shared out as Java's range does", (t) => {
  const members = (...names: string[]) => names.map((member) => ({ member, topics: ['raw'] }))
  const shared = (list: Parameters<typeof shareOut>[0], partitions: number): Record<string, readonly number[]> =>
    Object.fromEntries([...shareOut(list, () => partitions)].map(([member, share]) => [member, share.get('raw') ?? []]))
  t.same(shared(members('b', 'a'), 6), { b: [3, 4, 5], a: [0, 1, 2] })
  t.same(shared(members('a', 'b', 'c'), 4), { a: [0, 1], b: [2], c: [3] })
  t.same(shared(members('a', 'b', 'c'), 2), { a: [0], b: [1], c: [] })
  t.same(
    shared(
      [
        { member: 'a', topics: ['other'] },
        { member: 'b', topics: ['raw'] },
      ],
      2,
    ),
    { a: [], b: [0, 1] },
  )
  t.same(shared(members('a'), 0), { a: [] })
  const share = new Map([
    ['raw', [0, 5]],
    ['ö', []],
  ])
  t.same(decodeShare(encodeShare(share)), share)
  t.same(decodeShare(Buffer.alloc(0)), new Map())
  t.same(decodeSubscription(encodeSubscription(['raw', 'other'], 6)), ['raw', 'other'])
  t.same(decodeSubscription(encodeSubscription(['raw', 'other'], 6).subarray(0, 14)), ['raw'])
  t.notSame(encodeSubscription(['raw'], 6), encodeSubscription(['raw'], 7))
  t.end()
})

t.test('settings', (t) => {
  const entry = (over: Partial<KafkaInputSettings>): KafkaInputSettings => ({
    topic: 'raw',
    ...KAFKA_INPUT_ENTRY,
    ...over,
  })
  const settings = (over: object = {}): Settings =>
    ({ embedded: false, tenants: { default: {} }, ...over }) as unknown as Settings
  const paths = (entries: readonly KafkaInputSettings[], all: Settings = settings()): string[] =>
    (KAFKA_INPUT.check?.(entries, all) ?? []).map(({ path }) => path)
  t.same(paths([entry({}), entry({ topic: 'other' })]), [])
  t.same(paths([entry({})], settings({ embedded: true })), ['kafkaInput.0'])
  t.same(paths([entry({ topic: 'minim.ledger' })]), ['kafkaInput.0.topic'])
  t.same(paths([entry({}), entry({ group: 'g2' })]), ['kafkaInput.1.topic'])
  t.same(paths([entry({ timeZone: 'Mars' }), entry({ topic: 'b', tenant: 'nobody' })]), [
    'kafkaInput.0.timeZone',
    'kafkaInput.1.tenant',
  ])
  t.end()
})
