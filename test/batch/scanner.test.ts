/** The wire scanner against protobufjs, over generated, mutated and truncated messages. */
import fc from 'fast-check'
import protobuf from 'protobufjs'
import t from 'tap'
import { Batch, REFUSALS } from '../../src/batch/batch.js'
import { lastDelimitedEnd, ProtobufReader, readEnvelope } from '../../src/batch/scanner.js'
import { catalogue as shipped, type Kind, KINDS } from '../../src/catalogue/catalogue.js'
import { encodeRecord, recordOf, seed } from '../project/generate.js'

const catalogue = shipped()
const { root } = catalogue
const SEED = seed()
// A busy machine is no failure.
t.setTimeout(300_000)
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)
const run = { seed: SEED, numRuns: 500, endOnFailure: true }

type Row = Record<string, string | number>

function rowsOf(batch: Batch, kind: Kind): Row[] {
  const {
    rows,
    width,
    off,
    len,
    num,
    kind: { fields },
  } = batch.columns[kind]
  return Array.from({ length: rows }, (_, r) => {
    const row: Row = {}
    for (const field of fields) {
      const cell = r * width + field.index
      if (off[cell] >= 0) row[field.name] = batch.arena.toString('utf8', off[cell], off[cell] + len[cell])
      if (!Number.isNaN(num[cell])) row[field.name] = num[cell]
    }
    return row
  })
}

/** All rows and refusals of an input, read into columns of any capacity. */
function readAll(
  bytes: Buffer,
  framing: 'whole' | 'delimited',
  capacity = 256,
): { rows: Record<Kind, Row[]>; raw: string[]; refused: string[]; unknown: number } {
  // What lies around the input must not matter: a reader that looks beyond it takes these for fields.
  const arena = Buffer.concat([Buffer.alloc(11, 0x08), bytes, Buffer.alloc(11, 0x08)])
  const batch = new Batch(catalogue, capacity)
  const reader = new ProtobufReader(catalogue, framing)
  const all = {
    rows: { call: [] as Row[], quality: [] as Row[], device: [] as Row[] },
    raw: [] as string[],
    refused: [] as string[],
    unknown: 0,
  }
  const end = 11 + bytes.length
  for (let pos = 11; ;) {
    batch.reset(arena, arena.length)
    const next = reader.fill(batch, pos, end, true)
    for (const kind of KINDS) all.rows[kind].push(...rowsOf(batch, kind))
    batch.refusedReason.forEach((reason, i) => {
      all.refused.push(REFUSALS[reason])
      all.raw.push(arena.toString('hex', batch.refusedStart[i], batch.refusedEnd[i]))
    })
    all.unknown += batch.unknownFields
    if (next === pos || next >= end) {
      if (next < end) throw new Error(`stopped at ${next - 11} of ${bytes.length}`)
      return all
    }
    pos = next
  }
}

/** What protobufjs reads, with the documented differences; null where it throws or minim refuses by value. */
function peer(kind: Kind, bytes: Uint8Array): Row | null {
  const type = root.lookupType(catalogue.kinds[kind].message)
  let read: Row
  try {
    read = type.toObject(type.decode(bytes), { longs: Number })
  } catch {
    return null
  }
  const row: Row = {}
  for (const field of catalogue.kinds[kind].fields) {
    const value = read[field.name]
    if (value === undefined || field.derivedFrom !== null || value === '') continue
    if (typeof value === 'number') {
      if (field.type === 'enum' && field.enumNames[value] === undefined) continue
      if (field.type === 'float' && !Number.isFinite(value)) continue
      if (field.type === 'uint64' && value > Number.MAX_SAFE_INTEGER) return null
      if (value === 0 && field.type === 'uint64' && field.name.endsWith('_ms')) continue
    }
    row[field.name] = value
  }
  return row
}

const same = (a: unknown, b: unknown): boolean => {
  const sorted = (o: Row): string =>
    JSON.stringify(
      Object.entries(o)
        .map(([k, v]) => [k, Object.is(v, -0) ? 0 : v])
        .sort(([x], [y]) => (String(x) < String(y) ? -1 : 1)),
    )
  return sorted(a as Row) === sorted(b as Row)
}

const varint = (value: bigint, length = 0): Buffer => {
  const out: number[] = []
  for (let n = value; ; n >>= 7n) {
    const last = n < 128n && out.length + 1 >= length
    out.push(Number(n & 127n) | (last ? 0 : 128))
    if (last) return Buffer.from(out)
  }
}
const inBatch = (number: number, record: Uint8Array): Buffer =>
  Buffer.concat([varint(BigInt(number * 8 + 2)), varint(BigInt(record.length)), record])
const FIELD: Record<Kind, number> = { call: 4, quality: 5, device: 6 }
const any = fc.oneof(
  ...KINDS.map((kind) =>
    recordOf(catalogue, kind).map((record) => ({ kind, bytes: encodeRecord(root, catalogue, kind, record) })),
  ),
)

/** One field as bytes: of any number and wire type, with an honest or an over-long varint. */
const anyField = fc.oneof(
  fc
    .tuple(
      fc.integer({ min: 1, max: 520 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.integer({ min: 0, max: 10 }),
    )
    .map(([n, v, l]) => Buffer.concat([varint(BigInt(n * 8)), varint(v, l)])),
  fc
    .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 300 }), fc.integer({ min: 1, max: 10 }))
    .map(([n, v, l]) => Buffer.concat([varint(BigInt(n * 8)), varint(BigInt(v), l)])),
  fc
    .tuple(fc.integer({ min: 1, max: 520 }), fc.string({ maxLength: 20, unit: 'binary' }))
    .map(([n, s]) => Buffer.concat([varint(BigInt(n * 8 + 2)), varint(BigInt(Buffer.byteLength(s))), Buffer.from(s)])),
  fc
    .tuple(fc.integer({ min: 1, max: 60 }), fc.uint8Array({ minLength: 4, maxLength: 4 }))
    .map(([n, b]) => Buffer.concat([varint(BigInt(n * 8 + 5)), b])),
  fc
    .tuple(fc.integer({ min: 1, max: 60 }), fc.uint8Array({ minLength: 8, maxLength: 8 }))
    .map(([n, b]) => Buffer.concat([varint(BigInt(n * 8 + 1)), b])),
)

/**
 * protobufjs throws on a wire type that is not the field's, skips groups, and cuts big numbers: only the rest can be
 * compared.
 */
function comparable(kind: Kind, bytes: Buffer): boolean {
  const reader = protobuf.Reader.create(bytes)
  try {
    while (reader.pos < reader.len) {
      const tag = reader.uint32()
      const wire = tag & 7
      const index = tag >>> 3 < 512 ? catalogue.kinds[kind].indexByNumber[tag >>> 3] : -1
      const field = index < 0 ? null : catalogue.kinds[kind].fields[index]
      if (
        tag >>> 3 === 15 ||
        catalogue.kinds[kind].fields.some((f) => f.number === tag >>> 3 && f.derivedFrom !== null)
      )
        return false
      if (field !== null && wire !== (field.type === 'string' ? 2 : field.type === 'float' ? 5 : 0)) return false
      if (wire === 0) {
        // A number, or an object for those that are no safe integers.
        const value = BigInt((reader.uint64() as unknown as bigint).toString())
        if (field !== null && value > (field.type === 'uint64' ? 2n ** 53n - 1n : 2n ** 31n - 1n)) return false
      } else reader.skipType(wire)
    }
    return true
  } catch {
    return false
  }
}

t.test('records in any order, repeated, with unknown fields: the values that protobufjs reads', (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom(...KINDS),
      fc.array(
        fc.oneof(
          anyField,
          any.map(({ bytes }) => bytes),
        ),
        { maxLength: 6 },
      ),
      (kind, parts) => {
        const bytes = Buffer.concat(parts)
        const found = readAll(inBatch(FIELD[kind], bytes), 'whole')
        if (found.rows[kind].length + found.refused.length !== 1) throw new Error('neither read nor refused once')
        if (found.refused.length === 1 && found.raw[0] !== inBatch(FIELD[kind], bytes).toString('hex'))
          throw new Error('other bytes refused')
        if (!comparable(kind, bytes)) return
        const expected = peer(kind, bytes)
        if (expected === null) {
          if (found.refused.length === 0) throw new Error('protobufjs refuses what was read')
        } else if (found.refused.length > 0) throw new Error(`refused as ${found.refused[0]}`)
        else if (!same(found.rows[kind][0], expected)) throw new Error('other values')
      },
    ),
    { ...run, numRuns: 3000 },
  )
  t.pass('3000 runs')
  t.end()
})

t.test(
  'cut at every byte: read as protobufjs does, or refused once with the right bytes; its neighbours are read',
  (t) => {
    fc.assert(
      fc.property(any, any, (a, b) => {
        for (let cut = 0; cut <= a.bytes.length; cut++) {
          const part = a.bytes.subarray(0, cut)
          const found = readAll(Buffer.concat([inBatch(FIELD[a.kind], part), inBatch(FIELD[b.kind], b.bytes)]), 'whole')
          const mine = peer(a.kind, part)
          const other = peer(b.kind, b.bytes)
          const wanted = [...(mine === null ? [] : [mine]), ...(other === null ? [] : [other])]
          const rows = a.kind === b.kind ? found.rows[a.kind] : [...found.rows[a.kind], ...found.rows[b.kind]]
          if (rows.length !== wanted.length || !rows.every((r, i) => same(r, wanted[i])))
            throw new Error(`cut at ${cut}: other rows`)
          const raw = [
            ...(mine === null ? [inBatch(FIELD[a.kind], part).toString('hex')] : []),
            ...(other === null ? [inBatch(FIELD[b.kind], b.bytes).toString('hex')] : []),
          ]
          if (found.raw.join() !== raw.join()) throw new Error(`cut at ${cut}: refused ${found.refused.join()}`)
        }
      }),
      { ...run, numRuns: 60 },
    )
    t.pass('60 runs')
    t.end()
  },
)

t.test('a number cut off right after its key is not read from the key', (t) => {
  const found = readAll(inBatch(4, Buffer.from([0x40])), 'whole')
  t.strictSame(found.refused, ['malformed_record'])
  t.end()
})

t.test('mutations of whole batches never throw, and every record is read or refused', (t) => {
  const mutation = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom('set', 'insert', 'remove'))
  fc.assert(
    fc.property(
      fc.array(any, { minLength: 1, maxLength: 5 }),
      fc.array(mutation, { minLength: 1, maxLength: 6 }),
      fc.constantFrom('whole' as const, 'delimited' as const),
      fc.constantFrom(1, 2, 64),
      (records, mutations, framing, capacity) => {
        let bytes = [...Buffer.concat(records.map(({ kind, bytes }) => inBatch(FIELD[kind], bytes)))]
        if (framing === 'delimited') bytes = [...varint(BigInt(bytes.length)), ...bytes]
        for (const [at, byte, how] of mutations) {
          if (bytes.length === 0) break
          const i = at % bytes.length
          if (how === 'set') bytes[i] = byte
          else if (how === 'insert') bytes.splice(i, 0, byte)
          else bytes.splice(i, 1)
        }
        const wide = readAll(Buffer.from(bytes), framing)
        const narrow = readAll(Buffer.from(bytes), framing, capacity)
        for (const kind of KINDS)
          if (
            wide.rows[kind].length !== narrow.rows[kind].length ||
            !wide.rows[kind].every((r, i) => same(r, narrow.rows[kind][i]))
          )
            throw new Error('the capacity matters')
        if (
          wide.refused.join() !== narrow.refused.join() ||
          wide.raw.join() !== narrow.raw.join() ||
          wide.unknown !== narrow.unknown
        )
          throw new Error('refusals depend on the capacity')
      },
    ),
    { ...run, numRuns: 1500 },
  )
  t.pass('1500 runs')
  t.end()
})

t.test('a delimited stream cut anywhere: whole messages now, the rest with more bytes', (t) => {
  const message = fc
    .array(any, { maxLength: 4 })
    .map((records) => Buffer.concat(records.map(({ kind, bytes }) => inBatch(FIELD[kind], bytes))))
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), fc.nat(), (messages, at) => {
      const framed = messages.map((m) => Buffer.concat([varint(BigInt(m.length)), m]))
      const stream = Buffer.concat(framed)
      const cut = at % (stream.length + 1)
      let whole = 0
      for (const f of framed)
        if (whole + f.length <= cut) whole += f.length
        else break
      if (lastDelimitedEnd(stream, 0, cut) !== whole) throw new Error('lastDelimitedEnd')
      const batch = new Batch(catalogue)
      const reader = new ProtobufReader(catalogue, 'delimited')
      batch.reset(stream)
      if (
        reader.fill(batch, 0, cut, false) !== whole ||
        batch.refusedReason.some((r) => REFUSALS[r] === 'malformed_batch')
      )
        throw new Error(`stopped elsewhere than at ${whole}`)
      const first = batch.rows
      batch.reset(stream)
      if (reader.fill(batch, whole, stream.length, true) !== stream.length) throw new Error('does not go on')
      const all = readAll(stream, 'delimited')
      if (first + batch.rows !== KINDS.reduce((sum, kind) => sum + all.rows[kind].length, 0))
        throw new Error('rows lost')
      batch.reset(stream)
      reader.fill(batch, 0, cut, true)
      if (cut > whole !== batch.refusedReason.some((r) => REFUSALS[r] === 'malformed_batch'))
        throw new Error('an unfinished end is refused when nothing follows')
    }),
    run,
  )
  t.pass('500 runs')
  t.end()
})

t.test('by value', (t) => {
  const uint = (n: number, v: bigint): Buffer => Buffer.concat([varint(BigInt(n * 8)), varint(v)])
  const rows: { name: string; bytes: Buffer; expected: Row | string }[] = [
    { name: 'uint32 of 32 bits', bytes: uint(12, 2n ** 32n - 1n), expected: { duration_seconds: 2 ** 32 - 1 } },
    { name: 'uint32 of 33 bits', bytes: uint(12, 2n ** 32n), expected: 'bad_value' },
    { name: 'uint64 of 53 bits', bytes: uint(23, 2n ** 53n - 1n), expected: { usage_octets: 2 ** 53 - 1 } },
    { name: 'uint64 of 54 bits', bytes: uint(23, 2n ** 53n), expected: 'bad_value' },
    { name: 'a time of 53 bits', bytes: uint(9, 2n ** 53n - 1n), expected: { start_ms: 2 ** 53 - 1 } },
    { name: 'a time of 54 bits', bytes: uint(9, 2n ** 53n), expected: 'clock' },
    { name: 'an answer in nanoseconds', bytes: uint(10, 1_767_323_045_123_456_789n), expected: 'clock' },
    { name: 'uint64, ten bytes', bytes: uint(23, 2n ** 64n - 1n), expected: 'bad_value' },
    {
      name: 'an over-long zero',
      bytes: Buffer.concat([varint(BigInt(12 * 8)), varint(0n, 10)]),
      expected: { duration_seconds: 0 },
    },
    {
      name: 'eleven bytes',
      bytes: Buffer.concat([varint(BigInt(12 * 8)), varint(0n, 11)]),
      expected: 'malformed_record',
    },
    { name: 'a negative enum number', bytes: uint(8, 2n ** 64n - 1n), expected: {} },
    { name: 'an enum number without a name', bytes: uint(8, 99n), expected: {} },
    {
      name: 'an unknown enum number after a known one',
      bytes: Buffer.concat([uint(8, 1n), uint(8, 99n)]),
      expected: {},
    },
    { name: 'field number 0', bytes: Buffer.from([0, 0]), expected: 'malformed_record' },
    {
      name: 'a group',
      bytes: Buffer.from([(((40 << 3) | 3) & 0x7f) | 0x80, (40 * 8 + 3) >> 7]),
      expected: 'malformed_record',
    },
    { name: 'a string that is not UTF-8 is none', bytes: Buffer.from([0x2a, 2, 0xc3, 0x28]), expected: {} },
    { name: 'an unknown field that is not UTF-8', bytes: Buffer.from([0xfa, 0x03, 1, 0xff]), expected: {} },
    { name: 'the last one wins', bytes: Buffer.from([0x2a, 1, 0x31, 0x2a, 1, 0x32]), expected: { calling: '2' } },
    { name: 'an empty last one wins', bytes: Buffer.from([0x2a, 1, 0x31, 0x2a, 0]), expected: {} },
    { name: 'a time of 0', bytes: uint(9, 0n), expected: {} },
    { name: 'a derived field', bytes: Buffer.from([0x82, 0x02, 3, 0x2b, 0x34, 0x34]), expected: {} },
    { name: 'a tag', bytes: Buffer.from([0x7a, 0]), expected: {} },
  ]
  for (const { name, bytes, expected } of rows) {
    const found = readAll(inBatch(4, bytes), 'whole')
    if (typeof expected === 'string') t.strictSame(found.refused, [expected], name)
    else t.strictSame(found.rows.call, [expected], name)
  }
  t.equal(
    readAll(Buffer.concat([inBatch(8, Buffer.from('x')), Buffer.from([0x20, 5])]), 'whole').unknown,
    2,
    'unknown fields of the envelope are counted',
  )
  t.end()
})

t.test('what a source refused', async (t) => {
  const type = root.lookupType('minim.v1.Batch')
  /** What a batch with refused input becomes: reason, input, format. */
  const read = (bytes: Buffer, capacity = 256): (string | null)[][] => {
    const batch = new Batch(catalogue, capacity)
    const reader = new ProtobufReader(catalogue, 'whole')
    const found: (string | null)[][] = []
    for (let at = 0; at < bytes.length;) {
      batch.reset(bytes)
      const next = reader.fill(batch, at, bytes.length, true)
      found.push(
        ...batch.refusedReason.map((reason, i) => [
          REFUSALS[reason],
          bytes.toString('utf8', batch.refusedStart[i], batch.refusedEnd[i]),
          batch.refusedFormat[i],
        ]),
      )
      if (next === at) throw new Error('stuck')
      at = next
    }
    return found
  }
  const encoded = (refused: object[]): Buffer => Buffer.from(type.encode(type.fromObject({ refused })).finish())
  const input = Buffer.from('"torn,')
  const rows: { name: string; bytes: Buffer; expected: (string | null)[][] }[] = [
    {
      name: 'a line',
      bytes: encoded([{ reason: 'malformed_csv', format: 'csv', input }]),
      expected: [['malformed_csv', '"torn,', 'csv']],
    },
    {
      name: 'several',
      bytes: encoded([
        { reason: 'too_large', format: 'json-lines', input },
        { reason: 'bad_utf8', format: 'csv', input },
      ]),
      expected: [
        ['too_large', '"torn,', 'json-lines'],
        ['bad_utf8', '"torn,', 'csv'],
      ],
    },
    {
      name: "a reason that is not a source's to give",
      bytes: encoded([{ reason: 'key_destroyed', format: 'csv', input }]),
      expected: [['malformed_record', '"torn,', 'csv']],
    },
    {
      name: 'a format that is no name',
      bytes: encoded([{ reason: 'bad_value', format: '+447700900123', input }]),
      expected: [['bad_value', '"torn,', null]],
    },
    {
      name: 'a format that is too long',
      bytes: encoded([{ reason: 'bad_value', format: 'x'.repeat(40), input }]),
      expected: [['bad_value', '"torn,', null]],
    },
    { name: 'nothing', bytes: encoded([{}]), expected: [['malformed_record', '', null]] },
    {
      name: 'one that is broken itself',
      bytes: inBatch(7, Buffer.from([0x0a, 50, 0x41])),
      expected: [['malformed_record', '\n2A', null]],
    },
  ]
  for (const { name, bytes, expected } of rows) t.same(read(bytes), expected, name)
  t.same(
    read(encoded(Array.from({ length: 100 }, () => ({ reason: 'bad_value', input }))), 7).length,
    100,
    'more than a batch holds go on in the next',
  )
  const mixed = Buffer.concat([
    inBatch(4, encodeRecord(root, catalogue, 'call', { calling: '1' })),
    encoded([{ reason: 'malformed_csv', input }]),
    inBatch(4, encodeRecord(root, catalogue, 'call', { calling: '2' })),
  ])
  t.same(readAll(mixed, 'whole').rows.call, [{ calling: '1' }, { calling: '2' }], 'between records')
  t.equal(readEnvelope(mixed).records, 3, 'a batch of nothing else needs a sequence, too')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      read(inBatch(7, bytes))
    }),
    run,
  )
})

t.test('a pause inside a message is taken up by the next call only', (t) => {
  const record = encodeRecord(root, catalogue, 'call', { calling: '1', start_ms: 5 })
  const arena = Buffer.concat([record, record].map((r) => inBatch(4, r)))
  const batch = new Batch(catalogue, 1)
  const reader = new ProtobufReader(catalogue, 'delimited')
  const framed = Buffer.concat([varint(BigInt(arena.length)), arena])
  batch.reset(framed)
  const at = reader.fill(batch, 0, framed.length, true)
  t.ok(at > 0 && at < framed.length)
  batch.reset(framed)
  reader.fill(batch, 0, framed.length, true)
  batch.reset(framed)
  t.equal(reader.fill(batch, at, framed.length, true), framed.length, 'goes on')
  t.equal(batch.columns.call.rows, 1)
  t.end()
})

t.test('readEnvelope', (t) => {
  const type = root.lookupType('minim.v1.Batch')
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.uuid(),
      fc.integer({ min: 0, max: 2 ** 53 - 1 }),
      fc.array(any, { maxLength: 3 }),
      (source, incarnation, sequence, records) => {
        const header = Buffer.from(type.encode(type.create({ source, incarnation, sequence })).finish())
        const bytes = Buffer.concat([header, ...records.map(({ kind, bytes }) => inBatch(FIELD[kind], bytes))])
        const found = readEnvelope(bytes)
        if (
          !found.intact ||
          found.source !== source ||
          found.incarnation !== incarnation ||
          found.sequence !== sequence ||
          found.records !== records.length
        )
          throw new Error('other envelope')
        for (let cut = 0; cut < bytes.length; cut++) readEnvelope(bytes, 0, cut)
      },
    ),
    { ...run, numRuns: 200 },
  )
  t.match(readEnvelope(Buffer.from([0x0a, 2, 0xc3, 0x28])), { intact: false }, 'a source that is not UTF-8')
  t.match(
    readEnvelope(Buffer.concat([Buffer.from([0x18]), varint(2n ** 60n)])),
    { intact: false },
    'a sequence that is too great',
  )
  t.match(readEnvelope(Buffer.from([0x22, 5, 1])), { intact: false, records: 0 }, 'a record that is cut off')
  t.match(readEnvelope(Buffer.alloc(0)), { intact: true, source: '', sequence: 0 }, 'nothing')
  t.end()
})
