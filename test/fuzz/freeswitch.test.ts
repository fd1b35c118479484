/**
 * The reader of FreeSWITCH's bodies against whatever may come: it never throws, takes no more than there is, and reads
 * JSON as JSON.parse does.
 */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Batch, REFUSALS } from '../../src/batch/batch.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped } from '../../src/catalogue/catalogue.js'
import { type Cdr, cdrJson, MAX_PROFILES, MAX_TEXT, readCdr } from '../../src/formats/freeswitch/body.js'
import { writeCdr } from '../../src/formats/freeswitch/records.js'
import { WANTED_VARIABLES } from '../../src/formats/freeswitch/wanted.js'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { fuzzRuns } from '../helpers/fuzz.js'
import { cdrText, FORMS, profile, START_US } from '../sources/freeswitch/cdr.js'

const options = { numRuns: fuzzRuns(), seed: Number(process.env['MINIM_FUZZ_SEED'] ?? Date.now() & 0x7fffffff) }
t.comment(`seed ${options.seed}, ${options.numRuns} runs`)

const catalogue = shipped()
const writer = new RecordWriter(catalogue)
const reader = new ProtobufReader(catalogue, 'whole')
const batch = new Batch(catalogue)
const forms = Object.values(FORMS)

/** Counts how often each byte is looked at: a bound on time that does not depend on the machine. */
function counting(bytes: Buffer): { bytes: Buffer; reads: () => number } {
  let reads = 0
  const proxy = new Proxy(bytes, {
    get: (target, name) => {
      if (typeof name === 'string' && /^\d+$/.test(name)) reads++
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
  return { bytes: proxy, reads: () => reads }
}

/** What may be asked of anything that was read. */
function bounded(cdr: Cdr | null, length: number): void {
  if (cdr === null) return
  if (cdr.profiles.length > MAX_PROFILES) throw new Error('too many profiles')
  let octets = 0
  for (const map of [cdr.variables, cdr.stats, ...cdr.profiles.flatMap((p) => [p.caller, p.times])]) {
    for (const value of map.values()) {
      if (value.length > MAX_TEXT) throw new Error('too long')
      octets += value.length
    }
  }
  if (octets > length) throw new Error('more than there was')
  const before = writer.length
  for (const legs of ['a', 'both'] as const) writeCdr(cdr, legs, writer)
  const size = writer.length - before
  const bytes = writer.take()
  // minim's own reader: a text that was not UTF-8 is written so that it stays unreadable, and other decoders throw on it.
  batch.reset(bytes)
  reader.fill(batch, 0, bytes.length, true)
  if (batch.refusedReason.includes(REFUSALS.indexOf('malformed_batch'))) throw new Error('what is written is no batch')
  if (batch.refusedReason.includes(REFUSALS.indexOf('malformed_record'))) throw new Error('it writes a broken record')
  // A value stands in a few fields of each record, and a call of each profile repeats what they share; three octets of
  // UTF-8 a unit.
  if (size > 10_000 + length * 6 * (MAX_PROFILES + 5)) throw new Error('the records grew')
}

function check(body: Buffer): void {
  const json = cdrJson(body)
  if (json !== null && json.length > body.length) throw new Error('decoding made more of it')
  bounded(json === null ? null : readCdr(json), body.length)
}

function run<T>(t: Test, property: fc.IRawProperty<T>): void {
  const { failed, errorInstance, counterexamplePath } = fc.check(property, options) as fc.RunDetails<T>
  t.equal(failed ? `${errorInstance} ${counterexamplePath}` : '', '')
}

t.test('any bytes, with and without a label in front', (t) => {
  run(
    t,
    fc.property(
      fc.constantFrom('', 'cdr=', '{', '{"variables":{', 'cdr=%7B', 'x=1&cdr='),
      fc.uint8Array({ maxLength: 400 }),
      (prefix, bytes) => {
        check(Buffer.concat([Buffer.from(prefix), bytes]))
      },
    ),
  )
  t.end()
})

t.test('CDRs with bytes changed, cut off, doubled', (t) => {
  const text = cdrText({
    profiles: [1, 2, 3].map((index) =>
      profile({ index, destination: `100${index}`, createdUs: START_US + index, bridgedUs: START_US + index + 1 }),
    ),
    callflow: 'keys',
    encodeValues: true,
  })
  const bodies = forms.map((form) => form(text))
  run(
    t,
    fc.property(
      fc.constantFrom(...bodies),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.nat(),
      fc.boolean(),
      (body, changes, cut, twice) => {
        const changed = Buffer.from(body)
        for (const [at, value] of changes) changed[at % changed.length] = value
        const short = changed.subarray(0, cut % (changed.length + 1))
        check(twice ? Buffer.concat([short, changed]) : cut % 3 === 0 ? changed : short)
      },
    ),
  )
  t.end()
})

t.test('brackets, quotes and escapes: each byte is looked at a few times, whatever it is', (t) => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    ':',
    ',',
    '\\',
    '\\"',
    '"variables":{',
    '"callflow":[',
    '"callflow":{',
    '"times":{',
    '"caller_profile":{',
    '"uuid":"',
    '"originator":{',
    '"callStats":{"audio":{"inbound":{',
    '"mos":',
    '1',
    'NaN',
    ' ',
    '%7B',
    'é',
  )
  run(
    t,
    fc.property(fc.array(piece, { maxLength: 120 }), fc.boolean(), (pieces, started) => {
      const bytes = Buffer.from(`${started ? '{' : ''}${pieces.join('')}`)
      check(bytes)
      const { bytes: counted, reads } = counting(bytes)
      readCdr(counted)
      if (bytes[0] === 0x7b && reads() === 0) throw new Error('nothing is counted')
      if (reads() > 200 + bytes.length * 40) throw new Error(`${reads()} reads of ${bytes.length}`)
    }),
  )
  t.end()
})

t.test('JSON is read as JSON.parse reads it', (t) => {
  const value = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.integer(),
    fc.constant(null),
    fc.boolean(),
  )
  const variables = fc.dictionary(
    fc.oneof(fc.constantFrom(...WANTED_VARIABLES), fc.string({ maxLength: 10 })),
    fc.oneof(value, fc.array(value, { maxLength: 2 }), fc.dictionary(fc.string(), value, { maxKeys: 2 })),
    { maxKeys: 12 },
  )
  run(
    t,
    fc.property(variables, fc.nat(3), (variables, indent) => {
      // A start that is raw says that nothing is percent-encoded.
      const whole = { x: [variables], variables: { ...variables, start_stamp: '2026-11-24 10:00:45' }, callflow: [] }
      const text = JSON.stringify(whole, null, indent)
      const cdr = readCdr(Buffer.from(text))
      const wanted = (JSON.parse(text) as typeof whole).variables as Record<string, unknown>
      for (const name of WANTED_VARIABLES) {
        const given = Object.hasOwn(wanted, name) ? wanted[name] : undefined
        const expected =
          typeof given === 'number'
            ? String(given)
            : typeof given === 'string' && given !== ''
              ? Buffer.from(given).toString()
              : undefined
        const got = cdr?.variables.get(name)
        if ((got === undefined ? undefined : Buffer.from(got).toString()) !== expected) throw new Error(name)
      }
    }),
  )
  t.end()
})

t.test('nesting of any depth', (t) => {
  const open = fc.constantFrom(
    '{"a":',
    '[',
    '{"variables":',
    '{"callflow":',
    '{"caller_profile":',
    '{"originator":',
    '[[[[[[[[',
  )
  run(
    t,
    fc.property(open, open, fc.nat(3000), (first, inner, depth) => {
      check(Buffer.from(`{"callflow":${first}${inner.repeat(depth)}`))
    }),
  )
  t.end()
})
