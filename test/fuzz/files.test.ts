/**
 * The readers of files and streams on bytes that nobody would send: no exception, always forward, every offset within
 * what came, no more records than bytes, and the same columns when the same bytes are read again (a batch that is
 * delivered twice must not differ).
 */
import fc from 'fast-check'
import t from 'tap'
import { Batch, type Reader } from '../../src/batch/batch.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped, KINDS } from '../../src/catalogue/catalogue.js'
import { CsvReader } from '../../src/formats/csv.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { fuzzRuns } from '../helpers/fuzz.js'

const options = { numRuns: fuzzRuns(), seed: Number(process.env['MINIM_FUZZ_SEED'] ?? Date.now() & 0x7fffffff) }
t.comment(`seed ${options.seed}, ${options.numRuns} runs`)

const catalogue = shipped()
const MAX = 512
const SCRATCH = 1024

const noise = fc.uint8Array({ maxLength: 200 })
const bits = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '"',
        '""',
        ',',
        '\n',
        '\r\n',
        '\\',
        '{',
        '}',
        '[',
        ']',
        ':',
        '\0',
        ' ',
        '2026-11-24 10:00:00',
        '"a" <+447700900123>',
        'ANSWERED',
        '\\ud83d',
        '\\u0000',
        'null',
        '1e999',
        '-0',
        'true',
        '"start_ms":',
        '"calling":',
        '"src":',
      ),
      fc.string({ maxLength: 12 }),
      fc.string({ unit: 'binary', maxLength: 6 }),
    ),
    { maxLength: 40 },
  )
  .map((parts) => Buffer.from(parts.join('')))
const writer = new RecordWriter(catalogue)
const protobuf = fc
  .array(fc.record({ kind: fc.constantFrom(...KINDS), start: fc.nat(), agent: fc.string({ maxLength: 20 }) }), {
    maxLength: 5,
  })
  .map((records) => {
    for (const { kind, start, agent } of records) writer.add(kind, { start_ms: start, user_agent: agent })
    return writer.take()
  })
/** Good bytes with some of them changed, cut or doubled. */
const damaged = (whole: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(whole, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat())
    .map(([bytes, changes, cut]) => {
      const copy = Buffer.from(bytes)
      for (const [at, value] of changes) if (copy.length > 0) copy[at % copy.length] = value
      return cut % 3 === 0 ? copy.subarray(0, copy.length === 0 ? 0 : cut % copy.length) : copy
    })

const lines = fc
  .array(
    fc.dictionary(
      fc.constantFrom(
        'start_ms',
        'calling',
        'called',
        'user_agent',
        'duration_seconds',
        'mos_lq',
        'disposition',
        'mac',
        'x',
      ),
      fc.oneof(
        fc.string({ maxLength: 20 }),
        fc.nat(),
        fc.double(),
        fc.constant(null),
        fc.constantFrom('ANSWERED', 'a\\"b', '\u2028'),
      ),
      { maxKeys: 6 },
    ),
    { maxLength: 4 },
  )
  .map((objects) => Buffer.from(objects.map((o) => JSON.stringify(o)).join('\n')))
const GOOD_ROW = [
  'acct',
  '1001',
  '+447700900123',
  'ctx',
  '"a ""b"" <1001>"',
  'PJSIP/1001-1',
  '',
  'Dial',
  '',
  '2026-11-24 10:00:00',
  '',
  '2026-11-24 10:01:00',
  '60',
  '58',
  'ANSWERED',
  'DOCUMENTATION',
]
const rows = fc
  .array(
    fc.array(
      fc.tuple(
        fc.nat(15),
        fc.oneof(fc.constantFrom('', '"', '1732442400.7', '1970-01-01 00:00:00', '-1'), fc.string({ maxLength: 8 })),
      ),
      { maxLength: 2 },
    ),
    { maxLength: 3 },
  )
  .map((lines) =>
    Buffer.from(
      lines.map((changes) => changes.reduce((row, [at, value]) => row.with(at, value), GOOD_ROW).join(',')).join('\n'),
    ),
  )

interface Seen {
  readonly offsets: number[]
  readonly refused: number[]
  readonly rows: number
}

function readAll(reader: Reader, batch: Batch, bytes: Uint8Array, last: boolean): Seen {
  const arena = Buffer.alloc(bytes.length + SCRATCH)
  arena.set(bytes)
  const offsets: number[] = []
  const refused: number[] = []
  let rows = 0
  let fills = 0
  for (let at = 0; ;) {
    // Every fill but the last takes a byte or more.
    if (fills++ > bytes.length + 1) throw new Error('it does not go on')
    batch.reset(arena, bytes.length)
    const next = reader.fill(batch, at, bytes.length, last)
    if (next < at || next > bytes.length) throw new Error('it read what is not there')
    for (const kind of KINDS) {
      const columns = batch.columns[kind]
      rows += columns.rows
      for (let r = 0; r < columns.rows; r++) {
        if (columns.rawStart[r] < 0 || columns.rawEnd[r] > bytes.length || columns.rawStart[r] > columns.rawEnd[r])
          throw new Error('a record that is not in the input')
        for (let c = r * columns.width; c < (r + 1) * columns.width; c++) {
          const off = columns.off[c]
          if (off >= 0 && off + columns.len[c] > arena.length) throw new Error('a value outside of the arena')
          offsets.push(off, off < 0 ? 0 : columns.len[c])
        }
      }
    }
    for (let i = 0; i < batch.refusedReason.length; i++) {
      if (batch.refusedStart[i] < 0 || batch.refusedEnd[i] > bytes.length) throw new Error('refused what is not there')
      refused.push(batch.refusedReason[i], batch.refusedStart[i], batch.refusedEnd[i])
    }
    if (next === at || next === bytes.length) break
    at = next
  }
  if (rows + refused.length / 3 > bytes.length + 1) throw new Error('more records than bytes')
  return { offsets, refused, rows }
}

const READERS: readonly {
  readonly name: string
  readonly make: () => Reader
  readonly input: fc.Arbitrary<Uint8Array>
}[] = [
  {
    name: 'CSV',
    make: () =>
      new CsvReader(builtInMapping('asterisk-cdr', catalogue, { timeZone: 'Europe/London' }), catalogue, {
        maxRecordBytes: MAX,
      }),
    input: fc.oneof(rows, damaged(rows), bits, damaged(bits), noise),
  },
  ...KINDS.map((kind) => ({
    name: `JSON Lines, ${kind}`,
    make: () => new JsonLinesReader(builtInMapping('minim', catalogue, { kind }), catalogue, { maxRecordBytes: MAX }),
    input: fc.oneof(lines, damaged(lines), bits, noise),
  })),
  {
    name: 'protobuf, a message',
    make: () => new ProtobufReader(catalogue, 'whole'),
    input: fc.oneof(damaged(protobuf), noise),
  },
  {
    name: 'protobuf, delimited',
    make: () => new ProtobufReader(catalogue, 'delimited'),
    input: fc.oneof(damaged(protobuf.map((b) => Buffer.concat([Buffer.from([b.length & 0x7f]), b]))), noise),
  },
]

for (const { name, make, input } of READERS) {
  t.test(name, (t) => {
    const [reader, again] = [make(), make()]
    const batch = new Batch(catalogue, 4)
    let good = 0
    const { failed, errorInstance, counterexamplePath } = fc.check(
      fc.property(input, fc.boolean(), (bytes, last) => {
        const first = readAll(reader, batch, bytes, last)
        const second = readAll(again, batch, bytes, last)
        good += first.rows
        if (JSON.stringify(first) !== JSON.stringify(second)) throw new Error('read again it is something else')
      }),
      options,
    )
    t.equal(
      failed ? `${errorInstance instanceof Error ? errorInstance.message : 'failed'} ${counterexamplePath}` : '',
      '',
    )
    t.ok(good > options.numRuns / 20, `${good} records were read, among all that was not`)
    t.end()
  })
}
