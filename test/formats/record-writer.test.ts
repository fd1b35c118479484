import fc from 'fast-check'
import t from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped, type Field, KINDS } from '../../src/catalogue/catalogue.js'
import { type FieldValue, RecordWriter } from '../../src/formats/record-writer.js'
import { rowOf } from './reading.js'

const catalogue = shipped()
const BatchMessage = catalogue.root.lookupType('minim.v1.Batch')
const LISTS = { call: 'calls', quality: 'qualities', device: 'devices' } as const

function valueOf(field: Field): fc.Arbitrary<FieldValue> {
  switch (field.type) {
    case 'string':
      return fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }).filter((text) => !text.includes('\ufffd'))
    case 'float':
      return fc.float({ noNaN: true, noDefaultInfinity: true })
    case 'uint32':
      return fc.integer({ min: 0, max: 0xffff_ffff })
    case 'uint64':
      return fc.maxSafeNat()
    case 'enum':
      return fc.constantFrom(...field.enumNumbers.keys())
  }
}

t.test('protobufjs reads what was written, several records and kinds in one message', (t) => {
  const record = fc.constantFrom(...KINDS).chain((kind) => {
    const fields = catalogue.kinds[kind].fields.filter((f) => f.derivedFrom === null)
    return fc.tuple(
      fc.constant(kind),
      fc.record(Object.fromEntries(fields.map((f) => [f.name, valueOf(f)])), { requiredKeys: [] }),
    )
  })
  const writer = new RecordWriter(catalogue)
  fc.assert(
    fc.property(fc.array(record, { maxLength: 5 }), fc.array(record, { maxLength: 3 }), (first, second) => {
      const messages = [first, second].map((records) => {
        for (const [kind, fields] of records) writer.add(kind, fields)
        if (writer.records !== records.length) throw new Error('miscounted')
        return writer.take()
      })
      const decoded = BatchMessage.toObject(BatchMessage.decode(Buffer.concat(messages)), {
        longs: Number,
        enums: String,
        arrays: true,
      }) as Record<string, unknown[]>
      for (const kind of KINDS) {
        const wanted = [...first, ...second]
          .filter(([k]) => k === kind)
          .map(([, fields]) =>
            Object.fromEntries(
              Object.entries(fields).map(([name, value]) => {
                const field = catalogue.kinds[kind].byName.get(name)
                if (field === undefined) throw new Error(name)
                return [name, field.type === 'float' ? Math.fround(value as number) : value]
              }),
            ),
          )
        const got = decoded[LISTS[kind]]
        if (JSON.stringify(sorted(got)) !== JSON.stringify(sorted(wanted)))
          throw new Error(`${kind}: ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`)
      }
    }),
    { numRuns: 300 },
  )
  t.end()
})

t.test('what is no value is left out', (t) => {
  const writer = new RecordWriter(catalogue)
  writer.add('call', {
    calling: '',
    called: null,
    account: undefined,
    start_ms: NaN,
    answer_ms: -1,
    duration_seconds: 2 ** 32,
    billable_seconds: 7.9,
  })
  writer.add('quality', { mos_lq: Infinity, jitter_ms: 0, start_ms: 5 })
  t.strictSame(BatchMessage.toObject(BatchMessage.decode(writer.take()), { longs: Number }), {
    calls: [{ billable_seconds: 7 }],
    qualities: [{ jitter_ms: 0, start_ms: 5 }],
  })
  t.end()
})

t.test('a text that was not UTF-8 is none to who reads it, and its neighbours are whole', (t) => {
  const writer = new RecordWriter(catalogue)
  const long = 'x'.repeat(100)
  for (const spoilt of ['Jos\ufffd', '\ufffd', `${long}\ufffd${long}`, 'half \ud83d', '\ude00', `${long}\ud83d`])
    writer.add('call', { account: 'acme', calling_name: spoilt, called: '1002', start_ms: 5 })
  writer.add('call', { account: 'acme', calling_name: 'José \u{1f600}', called: '1002', start_ms: 5 })
  const bytes = writer.take()
  const batch = new Batch(catalogue)
  batch.reset(bytes)
  new ProtobufReader(catalogue, 'whole').fill(batch, 0, bytes.length, true)
  t.same(batch.refusedReason, [])
  const rows = Array.from({ length: batch.columns.call.rows }, (_, row) => rowOf(batch.columns.call, bytes, row))
  const whole = { account: 'acme', called: '1002', start_ms: 5 }
  t.same(rows, [...Array<unknown>(6).fill(whole), { ...whole, calling_name: 'José \u{1f600}' }])
  t.ok(batch.columns.call.anyUnreadable)
  t.end()
})

t.test('a name that a source may not give is a mistake', (t) => {
  const writer = new RecordWriter(catalogue)
  for (const name of ['called_prefix', 'tag', 'no_such_field'])
    t.throws(
      () => {
        writer.add('call', { [name]: 'x' })
      },
      TypeError,
      name,
    )
  t.throws(() => {
    writer.add('call', { disposition: 'NO_SUCH' })
  }, TypeError)
  t.end()
})

function sorted(records: readonly unknown[]): unknown {
  return records.map((record) => Object.entries(record as object).sort(([a], [b]) => (a < b ? -1 : 1)))
}

t.test('what throws leaves nothing behind for the next one, who is another sender', (t) => {
  const writer = new RecordWriter(catalogue)
  const calls = (bytes: Buffer): unknown =>
    (
      BatchMessage.toObject(BatchMessage.decode(bytes), { longs: Number, enums: String, arrays: true }) as Record<
        string,
        unknown
      >
    )['calls']
  const bad = (): void => {
    writer.add('call', { call_id: 'theirs', calling: '+447700900417' }, { disposition: 'no such thing' })
  }
  t.throws(bad, TypeError)
  t.equal(writer.length, 0)
  writer.add('call', { call_id: 'ours' })
  t.throws(bad, TypeError)
  t.equal(writer.records, 1)
  t.same(calls(writer.take()), [{ call_id: 'ours' }])

  writer.add('call', { call_id: 'first' })
  t.throws(() => {
    writer.whole(() => {
      writer.add('call', { call_id: 'theirs' })
      bad()
    })
  }, TypeError)
  t.equal(writer.records, 1)
  t.equal(
    writer.whole(() => {
      writer.add('call', { call_id: 'second' })
      return writer.records
    }),
    2,
  )
  t.same(calls(writer.take()), [{ call_id: 'first' }, { call_id: 'second' }])
  t.end()
})
