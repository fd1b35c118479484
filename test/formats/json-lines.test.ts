import fc from 'fast-check'
import t from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { JsonLinesReader, MAX_DEPTH } from '../../src/formats/json-lines.js'
import { builtInMapping, type Mapping } from '../../src/formats/mapping.js'
import { checkMapping } from '../../src/formats/mapping-check.js'
import { given } from '../helpers/given.js'
import { readAll, type Row } from './reading.js'

const asterisk = builtInMapping('asterisk-cdr', catalogue(), { timeZone: 'Europe/London' })
const minim = builtInMapping('minim', catalogue())
const quality = builtInMapping('minim', catalogue(), { kind: 'quality' })

function read(
  mapping: Mapping,
  text: string | Buffer,
  options: { last?: boolean; maxRecordBytes?: number; scratchBytes?: number; capacity?: number } = {},
) {
  return readAll(new JsonLinesReader(mapping, catalogue(), options), mapping.kind, Buffer.from(text as string), options)
}

t.test('lines of asterisk-cdr', async (t) => {
  const cdr: Row = { origin: 1 }
  const cases: { name: string; line: string; row?: Row; refused?: string; unknown?: number }[] = [
    {
      name: 'a whole record',
      line:
        '{"accountcode":"acct-1","src":"+447700900123","dst":"+442079460101","dcontext":"x",' +
        '"clid":"\\"Ann\\" <+447700900123>","channel":"PJSIP/447700900123-1",' +
        '"lastdata":"PJSIP/+442079460101@t","start":"2026-01-02 03:04:05","answer":"2026-01-02 03:04:09.5",' +
        '"end":"2026-01-02 03:05:05","duration":60,"billsec":"56","disposition":"ANSWERED",' +
        '"amaflags":"DOCUMENTATION","uniqueid":"1767323045.1","linkedid":"1767323045.0",' +
        '"userfield":"ring +447700900456"}',
      row: {
        account: 'acct-1',
        calling: '+447700900123',
        called: '+442079460101',
        calling_name: 'Ann',
        start_ms: 1767323045000,
        answer_ms: 1767323049500,
        end_ms: 1767323105000,
        duration_seconds: 60,
        billable_seconds: 56,
        disposition: 1,
        call_id: '1767323045.1',
        linked_id: '1767323045.0',
        origin: 1,
      },
    },
    { name: 'an empty object', line: '{}', row: {} },
    {
      name: 'spaces everywhere',
      line: ' \t{ "src" :\t"1001" , "duration" : 7 } \r',
      row: { calling: '1001', duration_seconds: 7 },
    },
    {
      name: 'null and empty are absent',
      line: '{"src":null,"dst":"","answer":"","duration":null,"billsec":""}',
      row: {},
    },
    {
      name: 'the last of equal keys wins',
      line: '{"src":"1","src":"2","duration":1,"duration":2}',
      row: { calling: '2', duration_seconds: 2 },
    },
    {
      name: 'a last null wins too',
      line: '{"src":"1","src":null,"duration":1,"duration":null,"dst":"2","dst":""}',
      row: {},
    },
    {
      name: 'a bad value that is overridden',
      line: '{"duration":"x","duration":2,"src":[1],"src":"1"}',
      row: { calling: '1', duration_seconds: 2 },
    },
    {
      name: 'a good value that is overridden by a bad one',
      line: '{"duration":2,"duration":"x"}',
      refused: 'bad_value',
    },
    {
      name: 'numbers as text',
      line: '{"src":1001,"dst":0,"uniqueid":1767323045.10}',
      row: { calling: '1001', called: '0', call_id: '1767323045.10' },
    },
    {
      name: 'a long number as text keeps its digits',
      line: '{"src":12345678901234567890}',
      row: { calling: '12345678901234567890' },
    },
    {
      name: 'a name with quotes in it',
      line: '{"clid":"\\"O\\"Quote\\" <+447700900123>","src":"1"}',
      row: { calling_name: 'O"Quote', calling: '1' },
    },
    {
      name: 'the caller id gives the number where src is missing',
      line: '{"clid":"\\"Ann\\" <+447700900123>"}',
      row: { calling_name: 'Ann', calling: '+447700900123' },
    },
    {
      name: 'and where src is empty, whatever the order',
      line: '{"clid":"<+447700900123>","src":""}',
      row: { calling: '+447700900123' },
    },
    { name: 'a caller id that is a number', line: '{"clid":"+447700900123"}', row: { calling: '+447700900123' } },
    { name: 'an unknown caller', line: '{"clid":"\\"\\" <unknown>"}', row: {} },
    {
      name: 'the number of a caller id that was overridden',
      line: '{"clid":"\\"Ann\\" <1001>","clid":"Bob"}',
      row: { calling_name: 'Bob' },
    },
    { name: 'the number of a caller id that was taken back', line: '{"clid":"\\"Ann\\" <1001>","clid":null}', row: {} },
    { name: 'a caller id that is a name', line: '{"clid":"Ann"}', row: { calling_name: 'Ann' } },
    {
      name: 'escapes',
      line: '{"src":"a\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\n\\/\\\\\\"","dst":"b"}',
      row: { calling: 'aA\u00e9\u20ac\u{1f600}\n/\\"', called: 'b' },
    },
    {
      name: 'escapes in a key',
      line: '{"\\u0073rc":"1","du\\u0072ation":3}',
      row: { calling: '1', duration_seconds: 3 },
    },
    {
      name: 'raw UTF-8',
      line: '{"src":"\u00e9\u20ac\u{1f600}","clid":"\\"\u00e9\\" <1>"}',
      row: { calling: '\u00e9\u20ac\u{1f600}', calling_name: '\u00e9' },
    },
    { name: 'a lone surrogate', line: '{"src":"\\ud83d","dst":"1"}', row: { called: '1' } },
    { name: 'a lone surrogate before an escape', line: '{"src":"\\ud83d\\n","dst":"1"}', row: { called: '1' } },
    { name: 'a low surrogate alone', line: '{"src":"\\ude00x","dst":"1"}', row: { called: '1' } },
    {
      name: 'a lone surrogate in a name: not in the number beside it',
      line: '{"clid":"\\"\\ude00\\" <1001>"}',
      row: { calling: '1001' },
    },
    { name: 'a lone surrogate that a later value mends', line: '{"src":"\\ude00x","src":"1"}', row: { calling: '1' } },
    { name: 'a lone surrogate that is the later value', line: '{"src":"1","src":"\\ude00x"}', row: {} },
    { name: 'a lone surrogate in a word', line: '{"disposition":"BUSY\\ud83d"}', refused: 'bad_value' },
    { name: 'a lone surrogate in what is dropped', line: '{"userfield":"\\ud83d","src":"1"}', row: { calling: '1' } },
    {
      name: 'unknown keys are counted',
      line: '{"x":1,"src":"1","447700900123":{"a":[{}]},"y":"\\n"}',
      row: { calling: '1' },
      unknown: 3,
    },
    {
      name: 'dropped keys are not',
      line: '{"userfield":{"a":1},"lastdata":"\\u0041","channel":null,"amaflags":3}',
      row: {},
      unknown: 0,
    },
    { name: 'nested where a value is wanted', line: '{"src":{"a":1}}', refused: 'bad_value' },
    { name: 'true where a value is wanted', line: '{"src":true}', refused: 'bad_value' },
    { name: 'broken nesting', line: '{"x":[1,}],"src":"1"}', refused: 'malformed_json' },
    {
      name: 'nesting to the limit',
      line: `{"x":${'['.repeat(MAX_DEPTH)}${']'.repeat(MAX_DEPTH)}}`,
      row: {},
      unknown: 1,
    },
    {
      name: 'nesting beyond the limit',
      line: `{"x":${'['.repeat(MAX_DEPTH + 1)}${']'.repeat(MAX_DEPTH + 1)}}`,
      refused: 'malformed_json',
    },
    { name: 'NaN', line: '{"duration":NaN}', refused: 'malformed_json' },
    { name: 'Infinity', line: '{"duration":-Infinity}', refused: 'malformed_json' },
    { name: 'NaN as text', line: '{"duration":"NaN"}', refused: 'bad_value' },
    { name: 'a leading zero', line: '{"duration":07}', refused: 'malformed_json' },
    { name: 'a plus sign', line: '{"duration":+7}', refused: 'malformed_json' },
    { name: 'no digits after the point', line: '{"duration":7.}', refused: 'malformed_json' },
    { name: 'no digits in the exponent', line: '{"duration":7e}', refused: 'malformed_json' },
    {
      name: 'a fraction of a second is cut off',
      line: '{"duration":7.9,"billsec":"6.99"}',
      row: { duration_seconds: 7, billable_seconds: 6 },
    },
    { name: 'an exponent', line: '{"duration":7e1}', row: { duration_seconds: 70 } },
    { name: 'negative', line: '{"duration":-1}', refused: 'bad_value' },
    { name: 'minus nought', line: '{"duration":-0}', row: { duration_seconds: 0 } },
    { name: 'largest uint32', line: '{"duration":4294967295}', row: { duration_seconds: 4294967295 } },
    { name: 'larger than uint32', line: '{"duration":4294967296}', refused: 'bad_value' },
    { name: 'too large for a double', line: '{"duration":1e999}', refused: 'bad_value' },
    { name: 'summer time', line: '{"start":"2026-07-02 03:04:05"}', row: { start_ms: Date.UTC(2026, 6, 2, 2, 4, 5) } },
    {
      name: 'a time with an offset',
      line: '{"start":"2026-07-02T03:04:05.678901+05:30","end":"2026-07-02T03:04:05Z"}',
      row: { start_ms: Date.UTC(2026, 6, 1, 21, 34, 5, 678), end_ms: Date.UTC(2026, 6, 2, 3, 4, 5) },
    },
    {
      name: 'epoch seconds',
      line: '{"start":"1767323045.123456","answer":1767323045,"end":1767323045.123}',
      row: { start_ms: 1767323045123, answer_ms: 1767323045000, end_ms: 1767323045123 },
    },
    { name: 'no time', line: '{"answer":"0000-00-00 00:00:00","start":0}', row: {} },
    { name: 'no such day', line: '{"start":"2026-02-29 00:00:00"}', refused: 'bad_value' },
    { name: 'a leap day', line: '{"start":"2028-02-29 00:00:00"}', row: { start_ms: Date.UTC(2028, 1, 29) } },
    { name: 'no such hour', line: '{"start":"2026-01-01 24:00:00"}', refused: 'bad_value' },
    { name: 'a date alone', line: '{"start":"2026-01-01"}', refused: 'bad_value' },
    { name: 'before 1970', line: '{"start":"1969-12-31 23:59:59"}', refused: 'clock' },
    { name: 'nanoseconds', line: '{"start":1767323045123456789000}', refused: 'clock' },
    { name: 'a bad time and a bad value', line: '{"start":-1,"duration":"x"}', refused: 'clock' },
    { name: 'a time of NULs', line: `{"start":"${'\\u0000'.repeat(10)} 00:00:00"}`, refused: 'bad_value' },
    { name: 'dispositions', line: '{"disposition":"NO ANSWER"}', row: { disposition: 2 } },
    { name: 'dispositions in other spellings', line: '{"disposition":"NoAnswer"}', row: { disposition: 2 } },
    { name: 'a disposition that says nothing', line: '{"disposition":"UNKNOWN"}', row: {} },
    { name: 'a disposition as number', line: '{"disposition":5}', row: { disposition: 5 } },
    { name: 'no disposition', line: '{"disposition":"+447700900123"}', refused: 'bad_value' },
    { name: 'a control character', line: '{"src":"a\tb"}', refused: 'malformed_json' },
    { name: 'a NUL', line: '{"src":"a\0b"}', refused: 'malformed_json' },
    { name: 'a control character in a dropped value', line: '{"userfield":"a\u0001b"}', refused: 'malformed_json' },
    { name: 'an escape that does not exist', line: '{"src":"\\x"}', refused: 'malformed_json' },
    { name: 'a short \\u', line: '{"userfield":"\\u12"}', refused: 'malformed_json' },
    { name: 'no object', line: '["src"]', refused: 'malformed_json' },
    { name: 'a word', line: 'hello', refused: 'malformed_json' },
    { name: 'two objects', line: '{"src":"1"}{"src":"2"}', refused: 'malformed_json' },
    { name: 'a comma at the end', line: '{"src":"1",}', refused: 'malformed_json' },
    { name: 'a comma at the start', line: '{,"src":"1"}', refused: 'malformed_json' },
    { name: 'no comma', line: '{"src":"1" "dst":"2"}', refused: 'malformed_json' },
    { name: 'no colon', line: '{"src" "1"}', refused: 'malformed_json' },
    { name: 'no value', line: '{"src":}', refused: 'malformed_json' },
    { name: 'a key without quotes', line: '{src:"1"}', refused: 'malformed_json' },
    { name: 'an open string', line: '{"src":"1', refused: 'malformed_json' },
    { name: 'an open object', line: '{"src":"1"', refused: 'malformed_json' },
    { name: 'an open key', line: '{"sr', refused: 'malformed_json' },
    { name: 'a backslash at the end', line: '{"src":"\\', refused: 'malformed_json' },
    { name: 'a broken word', line: '{"src":nul}', refused: 'malformed_json' },
    { name: 'NULs, as a crash leaves them', line: '\0'.repeat(100), refused: 'malformed_json' },
  ]
  for (const c of cases) {
    t.test(c.name, async (t) => {
      // Between two good lines, so that what is bad hurts neither; and as a last line without its end
      for (const input of [`{"src":"7"}\n${c.line}\n{"src":"8"}\n`, c.line]) {
        const got = read(asterisk, input)
        const rows = input === c.line ? got.rows : got.rows.slice(1, -1)
        if (c.refused === undefined) {
          t.same(got.refused, [])
          t.same(rows, [{ ...c.row, ...cdr }])
          if (c.unknown !== undefined) t.equal(got.unknown, c.unknown)
        } else {
          t.same(got.refused, [c.refused])
          t.same(got.refusedRaw, [Buffer.from(c.line).toString('latin1')])
          t.same(rows, [])
          t.equal(got.unknown, 0)
        }
        if (input !== c.line)
          t.same(
            [got.rows.at(0), got.rows.at(-1)],
            [
              { calling: '7', ...cdr },
              { calling: '8', ...cdr },
            ],
          )
      }
    })
  }
})

t.test('invalid UTF-8 in a value that is wanted costs the field, elsewhere it does not matter', async (t) => {
  const line = (value: number[], key = 'src'): Buffer =>
    Buffer.concat([Buffer.from(`{"${key}":"`), Buffer.from(value), Buffer.from('"}\n')])
  for (const bad of [
    [0x80],
    [0xc3],
    [0xc0, 0xaf],
    [0xe0, 0x80, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xf0, 0x80, 0x80, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xff],
    [0xe2, 0x82],
  ]) {
    for (const outcome of [read(asterisk, line(bad)), read(asterisk, line([...bad, 0x5c, 0x6e]))]) {
      t.same(outcome.refused, [])
      t.same(outcome.rows, [{ origin: 1 }])
    }
    t.same(read(asterisk, line(bad, 'userfield')).refused, [])
    t.same(read(asterisk, line(bad, 'no-such-key')).unknown, 1)
  }
})

t.test('any byte above ASCII is found at any place in a string', async (t) => {
  for (let byte = 0x80; byte <= 0xff; byte++) {
    for (let before = 0; before < 8; before++) {
      const got = read(
        asterisk,
        Buffer.concat([Buffer.from(`{"src":"${'x'.repeat(before)}`), Buffer.from([byte]), Buffer.from('yyyyy"}\n')]),
      )
      if (got.refused.length > 0 || got.rows[0].calling !== undefined) t.fail(`0x${byte.toString(16)} after ${before}`)
    }
  }
  t.pass()
})

t.test('blank lines, carriage returns and a byte order mark', async (t) => {
  const got = read(asterisk, '\ufeff{"src":"1"}\r\n\r\n\n  \t\n{"src":"2"}\r\n\n')
  t.same(
    got.rows.map((r) => r.calling),
    ['1', '2'],
  )
  t.same(got.raw[1], '{"src":"2"}')
  t.same(got.refused, [])
})

t.test('an unfinished last line waits while the file may grow', async (t) => {
  const got = read(asterisk, '{"src":"1"}\n{"src":"2"}', { last: false })
  t.equal(got.rows.length, 1)
  t.equal(got.consumed, 12)
  t.equal(read(asterisk, '{"src":"1"}', { last: false }).consumed, 0)
})

t.test('lines that are too long', async (t) => {
  const line = (size: number): string => `{"src":"${'1'.repeat(size - 10)}"}`
  const got = read(asterisk, `${line(100)}\n${line(101)}\n${line(99)}\n`, { maxRecordBytes: 100 })
  t.equal(got.rows.length, 2)
  t.same(got.refused, ['too_large'])
  t.equal(got.refusedRaw[0].length, 100, 'what goes to quarantine is cut at the limit')
  t.same(read(asterisk, `x${line(101)}\n{}\n`, { maxRecordBytes: 100 }).refused, ['too_large'], 'whatever is in them')
})

t.test('the batch ends where the columns or the scratch space are full', async (t) => {
  const text = Array.from({ length: 100 }, (_, i) => (i % 3 === 0 ? 'bad' : `{"src":"\\u0031${i}"}`)).join('\n')
  const all = read(asterisk, text)
  for (const options of [{ capacity: 7 }, { scratchBytes: 20 }, { capacity: 5, scratchBytes: 30 }])
    t.same({ ...read(asterisk, text, options) }, all)
  t.same(
    read(asterisk, '{"src":"\\u0031\\u0032"}\n{"src":"1"}\n', { scratchBytes: 10 }).refused,
    ['too_large'],
    'a record that no scratch space holds is refused',
  )
  const garbage = new Batch(catalogue(), 10)
  garbage.reset(Buffer.from('x\n'.repeat(100)))
  t.equal(
    new JsonLinesReader(asterisk, catalogue()).fill(garbage, 0, 200, true),
    20,
    'garbage fills a batch like records do',
  )
})

t.test('asterisk-cdr: the SIP Call-ID goes before the unique id, wherever it stands', async (t) => {
  const id = '"uniqueid":"1767323045.1"'
  for (const key of ['sipcallid', 'sip_call_id', 'pjsip_call_id', 'pjsipcallid']) {
    const given = `"${key}":"a84b4c76@192.0.2.7"`
    for (const line of [`{${id},${given}}`, `{${given},${id}}`])
      t.same(read(asterisk, line).rows, [{ call_id: 'a84b4c76@192.0.2.7', origin: 1 }], line)
    for (const empty of ['""', 'null'])
      t.same(
        read(asterisk, `{${id},"${key}":${empty}}`).rows,
        [{ call_id: '1767323045.1', origin: 1 }],
        `${key} ${empty}`,
      )
    t.same(
      read(asterisk, `{${given}}\n{${id}}`).rows.map((row) => row['call_id']),
      ['a84b4c76@192.0.2.7', '1767323045.1'],
      'nothing of it is left for the next row',
    )
  }
})

t.test('minim: the names of the catalogue, for every kind', async (t) => {
  const line =
    '{"tenant":"acme","call_id":"a@b","direction":"OUTBOUND","start_ms":1767323045123,"hangup_cause":16,' +
    '"origin":"SIMULATED","usage_octets":9007199254740991,"called_prefix":"+44","tag":{"purpose":"p"}}'
  const got = read(minim, line)
  t.same(got.rows, [
    {
      tenant: 'acme',
      call_id: 'a@b',
      direction: 2,
      start_ms: 1767323045123,
      hangup_cause: 16,
      origin: 5,
      usage_octets: 9007199254740991,
    },
  ])
  t.equal(got.unknown, 2, 'what minim makes itself is never taken')
  t.same(read(minim, '{"usage_octets":9007199254740993}').refused, ['bad_value'])
  t.same(read(minim, '{"hangup_cause":16.5}').refused, ['bad_value'])
  t.same(read(minim, '{"direction":"SIDEWAYS"}').refused, ['bad_value'])
  t.same(read(minim, '{"direction":9}').refused, ['bad_value'])
  t.same(
    read(minim, '{"direction":0,"start_ms":"1767323045123"}').rows,
    [{ direction: 0, start_ms: 1767323045123, origin: 1 }],
    'a call that does not say where it comes from is a call detail record',
  )
  t.same(
    read(quality, '{"mos_lq":4.1,"jitter_ms":"1e-1","packets_lost":3}').rows,
    [{ mos_lq: Math.fround(4.1), jitter_ms: Math.fround(0.1), packets_lost: 3, origin: 3 }],
    'a quality a report',
  )
  t.same(read(quality, '{"mos_lq":1e39}').refused, ['bad_value'], 'beyond float32')
})

t.test('keys that need escapes in JSON, are long, or share a hash slot', async (t) => {
  const keys = ['a"b', 'line\nfeed', '\u00e9', 'x'.repeat(128), ...Array.from({ length: 60 }, (_, i) => `key${i}`)]
  const fields = { s: 'start_ms', ...Object.fromEntries(keys.map((k) => [k, 'calling'])) }
  const { mapping, problems } = checkMapping({ fields }, catalogue(), 'test', 'mapping')
  t.same(problems, [])
  for (const key of keys)
    t.same(read(given(mapping), `${JSON.stringify({ [key]: key })}\n`).rows, [{ calling: key, origin: 1 }])
})

// What a line means, by JSON.parse: the plain reference
function reference(line: string): { row: Row } | { refused: string } {
  let parsed: unknown
  try {
    parsed = JSON.parse(line)
  } catch {
    return { refused: 'malformed_json' }
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return { refused: 'malformed_json' }
  const row: Row = {}
  let bad: string | null = null
  for (const { key, field } of minim.keys) {
    const value = (parsed as Record<string, unknown>)[key]
    if (value === undefined || value === null || value === '') continue
    const text = typeof value === 'string' ? value : typeof value === 'number' ? String(value) : null
    const number =
      typeof value === 'number'
        ? value
        : typeof value === 'string' && /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(value)
          ? Number(value)
          : NaN
    if (field.type === 'string') {
      if (text === null) bad ??= 'bad_value'
      else if (text.isWellFormed()) row[key] = text
    } else if (field.type === 'enum') {
      const named =
        typeof value === 'string'
          ? [...field.enumNumbers].find(([name]) => name.toLowerCase() === value.toLowerCase())?.[1]
          : undefined
      const code = named ?? number
      if (field.enumNames[code] === undefined) bad ??= 'bad_value'
      else row[key] = code + 0
    } else if (key.endsWith('_ms')) {
      const ms = Math.floor(number)
      if (!Number.isFinite(ms)) bad ??= 'bad_value'
      else if (ms < 0 || ms > Number.MAX_SAFE_INTEGER) bad = bad === 'bad_utf8' ? bad : 'clock'
      else if (ms > 0) row[key] = ms
    } else if (!(
      number >= 0 &&
      number <= (field.type === 'uint32' ? 0xffffffff : Number.MAX_SAFE_INTEGER) &&
      Number.isInteger(number)
    ))
      bad ??= 'bad_value'
    else row[key] = number + 0
  }
  if (!(Number(row['origin']) > 0)) row['origin'] = 1
  return bad === null ? { row } : { refused: bad }
}

declare global {
  interface String {
    isWellFormed(): boolean
  }
}

const names = [...minim.keys.map((k) => k.key), 'called_prefix', 'tag', 'nonsense', '', '__proto__', 'sr\u00e9']
// Bare numbers only such as print the same as they came: how a number looks as text is a case of its own above
const value: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'binary' }) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme-ascii' }) },
  fc.array(fc.integer({ min: 0xd7f0, max: 0xe010 }), { maxLength: 4 }).map((c) => String.fromCharCode(...c)),
  { weight: 3, arbitrary: fc.nat() },
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.maxSafeInteger(),
  fc.constantFrom(
    null,
    true,
    false,
    '',
    0,
    '0',
    '12',
    '-1',
    '1.5',
    '1e3',
    ' 1',
    'ANSWERED',
    'inbound',
    'OUTBOUND',
    'CDR',
    2,
    4294967295,
    4294967296,
  ),
  fc.json({ maxDepth: 3 }).map((j) => JSON.parse(j) as unknown),
)

// Each line is written in one of the ways that mean the same
const space = fc.constantFrom('', '', '', ' ', '\t', '  ', '\r')
const written = fc
  .tuple(fc.array(fc.tuple(fc.constantFrom(...names), value, fc.boolean(), space), { maxLength: 12 }), space)
  .map(([pairs, s]) => {
    const escape = (json: string): string =>
      json.replace(/[^\u0000-\u007f]|[a-c/]/g, (ch) => `\\u${ch.charCodeAt(0).toString(16).padStart(4, '0')}`)
    const string = (text: string, escaped: boolean): string =>
      escaped ? escape(JSON.stringify(text)) : JSON.stringify(text)
    const text = (v: unknown, escaped: boolean): string =>
      typeof v === 'string' ? string(v, escaped) : JSON.stringify(v)
    return `{${s}${pairs.map(([key, v, escaped, gap]) => `${string(key, escaped)}${gap}:${s}${text(v, escaped)}${gap}`).join(`,${s}`)}}`
  })

t.test('the same as JSON.parse, whatever the line', async () => {
  const reader = new JsonLinesReader(minim, catalogue())
  fc.assert(
    fc.property(fc.array(written, { minLength: 1, maxLength: 4 }), (lines) => {
      const got = readAll(reader, 'call', Buffer.from(lines.join('\n')))
      check(lines, got)
    }),
    { numRuns: 2000 },
  )
})

t.test('the same as JSON.parse where a line is damaged', async () => {
  const reader = new JsonLinesReader(minim, catalogue())
  const damage = fc
    .tuple(fc.nat(), fc.constantFrom('', '"', '\\', '{', '}', ',', ':', '0', 'e', '.', '-', '\u0001', ' ', 'null', '['))
    .map(([at, by]) => ({ at, by }))
  fc.assert(
    fc.property(written, damage, fc.boolean(), (line, { at, by }, cut) => {
      const i = at % (line.length + 1)
      // By way of bytes, which turns half a surrogate pair into a character
      const damaged = Buffer.from(cut ? line.slice(0, i) + by : line.slice(0, i) + by + line.slice(i + 1)).toString()
      if (damaged.trim() === '') return
      check([damaged], readAll(reader, 'call', Buffer.from(damaged)))
    }),
    { numRuns: 3000 },
  )
})

function check(lines: readonly string[], got: ReturnType<typeof readAll>): void {
  const rows: Row[] = []
  const refused: string[] = []
  for (const line of lines) {
    const expected = reference(line)
    if ('row' in expected) rows.push(expected.row)
    else refused.push(expected.refused)
  }
  // A bare number in place of a text keeps its bytes, which JSON.parse cannot show: then only the numbers are compared
  const loose = lines.some((line) =>
    [...line.matchAll(/:\s*(-?\d[\d.eE+-]*)/g)].some(([, number]) => String(Number(number)) !== number),
  )
  const clean = (list: Row[]): unknown =>
    list.map((row) => (loose ? Object.fromEntries(Object.entries(row).filter(([, v]) => typeof v === 'number')) : row))
  if (
    JSON.stringify(clean(got.rows)) !== JSON.stringify(clean(rows.map(ordered))) ||
    got.refused.join() !== refused.join()
  ) {
    throw new Error(
      `got ${JSON.stringify(got.rows)} ${got.refused.join()}, not ${JSON.stringify(rows.map(ordered))} ${refused.join()}`,
    )
  }
}

function ordered(row: Row): Row {
  return Object.fromEntries(minim.keys.filter((k) => k.key in row).map((k) => [k.key, row[k.key]]))
}

t.test('however the bytes come in chunks, the records are the same', async (t) => {
  const line = fc.oneof(
    { weight: 4, arbitrary: written },
    fc.string({ unit: 'binary', maxLength: 80 }).map((s) => s.replaceAll('\n', '')),
    fc.constant(''),
  )
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 20 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 9 }),
      (lines, cuts, crlf, capacity) => {
        const input = Buffer.from(lines.join(crlf ? '\r\n' : '\n'))
        const reader = new JsonLinesReader(minim, catalogue())
        const whole = readAll(reader, 'call', input)
        const parts = readAll(reader, 'call', input, { cuts, capacity })
        if (JSON.stringify(parts) !== JSON.stringify(whole))
          throw new Error(`${JSON.stringify(parts)} is not ${JSON.stringify(whole)}`)
      },
    ),
    { numRuns: 1000 },
  )
  t.pass()
})

t.test('no input makes it throw, and every line is a row or refused', async (t) => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .array(fc.constantFrom(...Array.from('{}[]",:\\\n0.eE-+ntf \r\0\u00ff')), { maxLength: 200 })
      .map((a) => Buffer.from(a.join(''), 'latin1')),
    written.map((line) => Buffer.from(line).subarray(0, -1)),
  )
  const reader = new JsonLinesReader(asterisk, catalogue())
  fc.assert(
    fc.property(bytes, (input) => {
      const got = readAll(reader, 'call', Buffer.from(input))
      const lines = Buffer.from(input)
        .toString('latin1')
        .split('\n')
        .filter((l) => l.replace(/^\u00ef\u00bb\u00bf/, '').replace(/[ \t\r]/g, '') !== '').length
      if (got.rows.length + got.refused.length !== lines || got.consumed !== input.length)
        throw new Error(`${got.rows.length} + ${got.refused.length} of ${lines}`)
    }),
    { numRuns: 3000 },
  )
  const deep = `{"x":${'{"a":['.repeat(20_000)}`
  t.same(read(asterisk, `${deep}\n{"src":"1"}\n`).refused, ['too_large'])
  t.same(read(asterisk, `${deep.slice(0, 60_000)}\n{"src":"1"}\n`).refused, ['malformed_json'])
  t.same(read(asterisk, '\0'.repeat(200_000)).refused, ['too_large'])
})
