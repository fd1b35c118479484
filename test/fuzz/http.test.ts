/**
 * What stands between a post and the spool, on posts that nobody would send: no exception, no more bytes than came,
 * work by bytes and nothing of the input in any answer; and what it passes is what the program reads again from the
 * spool.
 */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped, type Kind, KINDS } from '../../src/catalogue/catalogue.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { type Checked, PostChecker } from '../../src/sources/http/check.js'
import { jsonToLines } from '../../src/sources/http/json.js'
import { fuzzRuns } from '../helpers/fuzz.js'

const options = { numRuns: fuzzRuns(), seed: Number(process.env['MINIM_FUZZ_SEED'] ?? Date.now() & 0x7fffffff) }
t.comment(`seed ${options.seed}, ${options.numRuns} runs`)

const catalogue = shipped()
const MAX = 512
const NOW = Date.now()
const ANYBODY = { tenant: 'default', tenants: null }
const checkers = Object.fromEntries(
  KINDS.map((kind) => [
    kind,
    new PostChecker({
      catalogue,
      kind,
      tenants: new Set(['default']),
      maxRecordBytes: MAX,
      futureMs: 300_000,
      refuseUnknown: false,
    }),
  ]),
) as Record<Kind, PostChecker>
const names = new Set(
  KINDS.flatMap((kind) => [...catalogue.kinds[kind].byName.keys()]).concat('source', 'incarnation', 'sequence'),
)

function run<T>(t: Test, property: fc.IRawProperty<T>): void {
  const { failed, errorInstance, counterexamplePath } = fc.check(property, options) as fc.RunDetails<T>
  t.equal(failed ? `${errorInstance} ${counterexamplePath}` : '', '')
}

function sound(checked: Checked, bytes: Buffer): void {
  for (const { field, nearest } of checked.unknown) {
    if (nearest !== null && !names.has(nearest)) throw new Error("a nearest name that is no field's")
    if (field !== null && !/^[a-z][a-z_0-9]{0,63}$/.test(field)) throw new Error('a name that could be anything')
  }
  if (checked.unknown.length > checked.unknownFields) throw new Error('more names than fields')
  if (checked.bad === null) return
  const { line, field, reason } = checked.bad
  if (field !== null && !names.has(field)) throw new Error("a name that is no field's")
  if (!/^[a-z0-9_]+$/.test(reason) || line < 1 || line > bytes.length + 1) throw new Error('a place that there is not')
}

function room(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(MAX)])
}

const text = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 10 }),
  fc.constantFrom('\\', '"', '+447700900123', '\u2028'),
)
const value = fc.oneof(
  text,
  fc.integer(),
  fc.double(),
  fc.constant(null),
  fc.boolean(),
  fc.array(text, { maxLength: 2 }),
  fc.constantFrom('ANSWERED', NOW, -1, 1e300, 'default'),
)
const object = fc
  .tuple(fc.boolean(), fc.dictionary(fc.constantFrom(...names, 'x', '__proto__'), value, { maxKeys: 6 }))
  .map(([timed, o]) => (timed ? { ...o, start_ms: NOW } : o))
const kind = fc.constantFrom(...KINDS)

/** Records that the reader makes of lines; null if any is refused. */
function readAgain(bytes: Buffer, kind: Kind): number | null {
  const reader = new JsonLinesReader(builtInMapping('minim', catalogue, { kind }), catalogue, { maxRecordBytes: MAX })
  const batch = new Batch(catalogue, 16)
  let records = 0
  const arena = room(bytes)
  for (let at = 0; at < bytes.length;) {
    batch.reset(arena, bytes.length)
    at = reader.fill(batch, at, bytes.length, true)
    if (batch.refusedReason.length > 0) return null
    records += batch.rows
  }
  return records
}

t.test('lines of objects, broken here and there', (t) => {
  run(
    t,
    fc.property(
      kind,
      fc.array(object, { maxLength: 4 }),
      fc.constantFrom('\n', '\r\n', '\n\n', ' '),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 }),
      (kind, objects, separator, changes) => {
        const bytes = Buffer.from(objects.map((o) => JSON.stringify(o)).join(separator))
        for (const [at, octet] of changes) if (bytes.length > 0) bytes[at % bytes.length] = octet
        const checked = checkers[kind].jsonLines(room(bytes), bytes.length, ANYBODY)
        sound(checked, bytes)
        if (checked.bad === null && readAgain(bytes, kind) !== checked.records)
          throw new Error('read otherwise the second time')
      },
    ),
  )
  t.end()
})

t.test('any bytes', (t) => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .array(
        fc.constantFrom(
          '{',
          '}',
          '[',
          ']',
          '"',
          '\\',
          ',',
          ':',
          '\n',
          ' ',
          '1',
          '"start_ms":',
          String(NOW),
          'null',
          '{"calling":"',
        ),
        { maxLength: 40 },
      )
      .map((a) => Buffer.from(a.join(''))),
  )
  run(
    t,
    fc.property(kind, bytes, (kind, given) => {
      const body = Buffer.from(given)
      sound(checkers[kind].jsonLines(room(body), body.length, ANYBODY), body)
      sound(checkers[kind].protobuf(body, ANYBODY), body)
      const lines = jsonToLines(body)
      if (lines !== null && lines.length > body.length + 1) throw new Error('it grew')
      if (lines !== null) sound(checkers[kind].jsonLines(room(lines), lines.length, ANYBODY), lines)
    }),
  )
  t.end()
})

t.test('a list, however it is printed, is its entries as lines', (t) => {
  run(
    t,
    fc.property(
      fc.oneof(object, fc.array(object, { maxLength: 4 })),
      fc.constantFrom(0, 1, '\t', '\r\n '),
      (given, indent) => {
        const printed = JSON.stringify(
          given,
          null,
          typeof indent === 'string' && indent.includes('\n') ? undefined : indent,
        )
        const lines = jsonToLines(
          Buffer.from(typeof indent === 'string' && indent.includes('\n') ? `${indent}${printed}${indent}` : printed),
        )
        const wanted = (Array.isArray(given) ? given : [given]).map((o) => `${JSON.stringify(o)}\n`).join('')
        if (lines === null) throw new Error('refused')
        const got = lines
          .toString()
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.stringify(JSON.parse(line)))
        if (got.map((line) => `${line}\n`).join('') !== wanted) throw new Error('changed')
      },
    ),
  )
  t.end()
})

t.test('what JSON.parse refuses is passed by none of the two', (t) => {
  run(
    t,
    fc.property(
      fc.array(object, { minLength: 1, maxLength: 3 }),
      fc.array(fc.tuple(fc.nat(), fc.constantFrom('{', '}', '[', ']', ',', '"', ':', ' ', '\n', '\\', '1', 'x', '')), {
        minLength: 1,
        maxLength: 2,
      }),
      (objects, changes) => {
        let json = JSON.stringify(objects.map((o) => ({ start_ms: NOW, account: String(Object.keys(o).length) })))
        for (const [at, piece] of changes)
          json = json.slice(0, at % json.length) + piece + json.slice((at % json.length) + 1)
        let valid = true
        try {
          JSON.parse(json)
        } catch {
          valid = false
        }
        const lines = jsonToLines(Buffer.from(json))
        if (!valid && lines !== null && checkers.call.jsonLines(room(lines), lines.length, ANYBODY).records > 0)
          throw new Error('passed')
      },
    ),
  )
  t.end()
})

t.test('protobuf, broken here and there: what passes, the scanner takes whole', (t) => {
  const writer = new RecordWriter(catalogue)
  run(
    t,
    fc.property(
      kind,
      fc.array(fc.record({ start_ms: fc.constant(NOW), account: fc.string({ maxLength: 8 }) }), { maxLength: 4 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
      fc.nat(),
      (kind, records, changes, cut) => {
        for (const record of records) writer.add(kind, record)
        let bytes = writer.take()
        for (const [at, octet] of changes) if (bytes.length > 0) bytes[at % bytes.length] = octet
        if (cut % 4 === 0) bytes = bytes.subarray(0, cut % (bytes.length + 1))
        const checked = checkers[kind].protobuf(bytes, ANYBODY)
        sound(checked, bytes)
        if (checked.bad !== null) return
        const batch = new Batch(catalogue, 16)
        batch.reset(bytes)
        new ProtobufReader(catalogue, 'whole').fill(batch, 0, bytes.length, true)
        if (
          batch.refusedReason.length > 0 ||
          batch.columns[kind].rows !== checked.records ||
          batch.rows !== checked.records
        )
          throw new Error('read otherwise the second time')
      },
    ),
  )
  t.end()
})
