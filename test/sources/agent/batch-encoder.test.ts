/** What an agent encodes is what the proxy's reader reads: every field of every kind, and what could not be read. */
import fc from 'fast-check'
import t from 'tap'
import { Batch, REFUSALS } from '../../../src/batch/batch.js'
import { ProtobufReader } from '../../../src/batch/scanner.js'
import { catalogue as shipped, KINDS } from '../../../src/catalogue/catalogue.js'
import { JsonLinesReader } from '../../../src/formats/json-lines.js'
import { builtInMapping } from '../../../src/formats/mapping.js'
import { BatchEncoder } from '../../../src/sources/agent/batch-encoder.js'
import { type Row, rowOf } from '../../formats/reading.js'
import { fuzzRuns } from '../../helpers/fuzz.js'
import { encodeRecord, recordOf } from '../../project/generate.js'

t.setTimeout(300_000)
const catalogue = shipped()
const type = catalogue.root.lookupType('minim.v1.Batch')

function read(bytes: Buffer): { rows: Record<string, Row[]>; refused: (string | null)[][] } {
  const batch = new Batch(catalogue, 64)
  batch.reset(bytes)
  new ProtobufReader(catalogue, 'whole').fill(batch, 0, bytes.length, true)
  return {
    rows: Object.fromEntries(
      KINDS.map((kind) => [
        kind,
        Array.from({ length: batch.columns[kind].rows }, (_, r) => rowOf(batch.columns[kind], bytes, r)),
      ]),
    ),
    refused: batch.refusedReason.map((reason, i) => [
      REFUSALS[reason],
      bytes.toString('utf8', batch.refusedStart[i], batch.refusedEnd[i]),
      batch.refusedFormat[i],
    ]),
  }
}

t.test('columns, encoded and read again, are the same; protobufjs reads them too', async (t) => {
  const encoder = new BatchEncoder(catalogue)
  const records = fc.array(
    fc.oneof(
      ...KINDS.map((kind) =>
        recordOf(catalogue, kind).map((record) => {
          const bytes = encodeRecord(catalogue.root, catalogue, kind, record)
          const head: number[] = [catalogue.kinds[kind].batchField * 8 + 2]
          let rest = bytes.length
          for (; rest >= 128; rest >>>= 7) head.push((rest & 127) | 128)
          return Buffer.concat([Buffer.from([...head, rest]), bytes])
        }),
      ),
    ),
    { maxLength: 8 },
  )
  fc.assert(
    fc.property(records, (parts) => {
      const input = Buffer.concat(parts)
      const batch = new Batch(catalogue, 64)
      batch.reset(input)
      new ProtobufReader(catalogue, 'whole').fill(batch, 0, input.length, true)
      const encoded = encoder.encode(batch, 'csv', null)
      const [before, after] = [read(input), read(encoded)]
      if (JSON.stringify(after.rows) !== JSON.stringify(before.rows)) throw new Error('other rows')
      type.decode(encoded)
    }),
    { numRuns: fuzzRuns() / 4 },
  )
  t.pass()
})

t.test('lines that could not be read go along, and the tenant of those that name none', async (t) => {
  const encoder = new BatchEncoder(catalogue)
  const input = Buffer.concat([
    Buffer.from(
      '{"call_id":"a","start_ms":1795514445000}\nnonsense\n{"call_id":"b","tenant":"other"}\n{"start_ms":"x"}\n',
    ),
    Buffer.alloc(1000),
  ])
  const batch = new Batch(catalogue)
  batch.reset(input, input.length - 1000)
  new JsonLinesReader(builtInMapping('minim', catalogue), catalogue).fill(batch, 0, input.length - 1000, true)
  const found = read(encoder.encode(batch, 'json-lines', 'acme'))
  t.same(found.rows['call'], [
    { tenant: 'acme', call_id: 'a', start_ms: 1_795_514_445_000, origin: 1 },
    { tenant: 'other', call_id: 'b', origin: 1 },
  ])
  t.same(found.refused, [
    ['malformed_json', 'nonsense', 'json-lines'],
    ['bad_value', '{"start_ms":"x"}', 'json-lines'],
  ])
  t.same(read(encoder.encode(batch, 'json-lines', null)).rows['call'][0], {
    call_id: 'a',
    start_ms: 1_795_514_445_000,
    origin: 1,
  })
  batch.reset(input)
  t.equal(encoder.encode(batch, 'json-lines', null).length, 0, 'nothing is nothing')
})
