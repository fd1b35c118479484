import { isUtf8 as nodeIsUtf8 } from 'node:buffer'
import fc from 'fast-check'
import t from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { type Conversion, CONVERSIONS, type Mapping } from '../../src/formats/mapping.js'
import { isUtf8 } from '../../src/formats/utf8.js'
import { BAD_TIME, BAD_VALUE } from '../../src/formats/value-status.js'
import { Values } from '../../src/formats/values.js'
import { given } from '../helpers/given.js'

const call = catalogue().kinds.call
const quality = catalogue().kinds.quality

/** Converts one text and gives the cell: a string, a number, null for absent, or the status. */
function convert(
  text: string,
  as: Conversion,
  fieldName: string,
  timeZone = 'UTC',
  kind = call,
): string | number | null {
  const field = given(kind.byName.get(fieldName))
  const mapping: Mapping = {
    name: 'test',
    kind: kind.kind,
    timeZone,
    origin: null,
    keys: [{ key: 'k', field, as }],
    dropped: [],
    columns: [],
  }
  const values = new Values(mapping, kind)
  const batch = new Batch(catalogue(), 1)
  const bytes = Buffer.from(text)
  batch.reset(Buffer.concat([bytes, Buffer.alloc(8)]))
  const columns = batch.columns[kind.kind]
  values.open(batch, columns)
  values.beginRow()
  const status = values.text(
    CONVERSIONS.indexOf(as) + 1,
    field.index,
    0,
    0,
    bytes.length,
    bytes.every((b) => b < 0x80),
  )
  if (status === BAD_VALUE) return 'bad value'
  if (status === BAD_TIME) return 'bad time'
  values.endRow(0)
  if (field.type === 'string')
    return columns.off[field.index] < 0
      ? null
      : bytes.toString('utf8', columns.off[field.index], columns.off[field.index] + columns.len[field.index])
  return Number.isNaN(columns.num[field.index]) ? null : columns.num[field.index]
}

t.test('conversions', async (t) => {
  const bad = 'bad value'
  const cases: [as: Conversion, field: string, rows: Record<string, string | number | null>][] = [
    [
      'integer',
      'hangup_cause',
      {
        16: 16,
        '007': 7,
        '-0': 0,
        '1e2': 100,
        '1.0': 1,
        '1.5': bad,
        '-1': bad,
        '': null,
        x: bad,
        '1x': bad,
        ' 1': bad,
        '+1': bad,
        '.5': bad,
        '5.': bad,
        '0x10': bad,
        '4294967296': bad,
      },
    ],
    [
      'integer',
      'usage_octets',
      {
        9007199254740991: 9007199254740991,
        '9007199254740992': bad,
        '123456789012345678901234567890': bad,
        '1e400': bad,
      },
    ],
    ['whole', 'duration_seconds', { '1.999': 1, '12.345678': 12, '-0.5': bad, '0.0': 0 }],
    ['seconds-to-ms', 'start_ms', { '1.5': 1500, '0.0005': 1 }],
    [
      'epoch-seconds',
      'start_ms',
      {
        1767323045: 1767323045000,
        '1767323045.999999': 1767323045999,
        '1767323045.001': 1767323045001,
        '1090049272.386': 1090049272386,
        0: null,
        '-1': 'bad time',
        1767323045123456789: 'bad time',
      },
    ],
    [
      'epoch-ms',
      'start_ms',
      {
        1767323045123: 1767323045123,
        '1767323045123.9': 1767323045123,
        0: null,
        '1767323045123000000': 'bad time',
        '1767323045123e6': 'bad time',
        '-1767323045123': 'bad time',
      },
    ],
    ['epoch-us', 'start_ms', { 1767323045123999: 1767323045123, 0: null }],
    [
      'local-time',
      'start_ms',
      {
        '2026-01-02 03:04:05': 1767323045000,
        '2026-01-02T03:04:05.1': 1767323045100,
        '2026-01-02 03:04:05.123999999': 1767323045123,
        '2026-01-02 03:04:05Z': bad,
        '0000-00-00 00:00:00': null,
        '0000-00-00 00:00:00.000': null,
        '1970-01-01 00:00:00': null,
        '2026-1-02 03:04:05': bad,
        '2026-01-02 03:04:60': bad,
        '2026-01-02 03:60:00': bad,
        '2026-00-02 03:04:05': bad,
        '2026-04-31 03:04:05': bad,
        '2100-02-29 00:00:00': bad,
        '2000-02-29 00:00:00': 951782400000,
        '2026-01-02 03:04:05.': bad,
        '2026-01-02_03:04:05': bad,
        '2026-01-02 03-04-05': bad,
        '2026/01/02 03:04:05': bad,
        '9999-12-31 23:59:59': 253402300799000,
        '1969-12-31 23:59:59': 'bad time',
        '1899-12-30 00:00:00': 'bad time',
        '0001-01-01 00:00:00': 'bad time',
        '0000-01-01 00:00:00': bad,
        '1900-02-29 00:00:00': bad,
        [`${'\0'.repeat(10)} 00:00:00`]: bad,
        [`${'\0'.repeat(10)} 03:04:05`]: bad,
      },
    ],
    [
      'iso-8601',
      'start_ms',
      {
        '2026-01-02T03:04:05Z': 1767323045000,
        '2026-01-02T03:04:05.123Z': 1767323045123,
        '2026-01-02T04:04:05+01': 1767323045000,
        '2026-01-02T04:04:05+0100': 1767323045000,
        '2026-01-01T22:04:05-05:00': 1767323045000,
        '2026-01-02T03:04:05+24:00': bad,
        '2026-01-02T03:04:05+1': bad,
        '2026-01-02T03:04:05+01-00': bad,
        '2026-01-02T03:04:05ZZ': bad,
        '1767323045': bad,
        '1969-12-31T23:00:00-02:00': 3600000,
      },
    ],
    [
      'asterisk-time',
      'start_ms',
      { '2026-01-02 03:04:05': 1767323045000, '1767323045.5': 1767323045500, '2026': 2026000, 'abcd-': bad },
    ],
    [
      'disposition',
      'disposition',
      {
        ANSWERED: 1,
        'no answer': 2,
        NO_ANSWER: 2,
        NOANSWER: 2,
        BUSY: 3,
        FAILED: 4,
        CONGESTION: 5,
        CANCEL: 6,
        UNKNOWN: null,
        3: 3,
        9: bad,
        ANSWERE: bad,
        ANSWEREDX: bad,
        '': null,
      },
    ],
    [
      'enum',
      'direction',
      { INBOUND: 1, outbound: 2, 3: 3, DIRECTION_UNSPECIFIED: 0, 4: bad, sideways: bad, '1.5': bad },
    ],
    [
      'caller-id',
      'calling_name',
      {
        '"Ann" <1001>': 'Ann',
        'Ann <1001>': 'Ann',
        '<1001>': null,
        '1001': null,
        '+447700900123': null,
        Ann: 'Ann',
        '"Ann"': 'Ann',
        '"" <1001>': null,
        '"O"Quote" <1001>': 'O"Quote',
        '"O\\"Quote" <1001>': 'O\\"Quote',
        '"A <b>" <1001>': 'A <b>',
        '  "Ann"  <1001>  ': 'Ann',
        '>': '>',
        '"': '"',
        '""': null,
        ' ': null,
        '<>': null,
        '"Zo\u00eb" <1>': 'Zo\u00eb',
      },
    ],
    [
      'unique-id',
      'call_id',
      {
        '1767323045.1': '1767323045.1',
        'pbx-1767323045.12': 'pbx-1767323045.12',
        '1767323045': null,
        '.1': null,
        'a.1': null,
        '1767323045.': null,
        '12.5': null,
        'x1767323045.1': null,
      },
    ],
  ]
  for (const [as, field, rows] of cases)
    for (const [text, expected] of Object.entries(rows))
      t.equal(convert(text, as, field), expected, `${as} of ${JSON.stringify(text)}`)
  t.equal(convert('4.1', 'float', 'mos_lq', 'UTC', quality), Math.fround(4.1))
  t.equal(convert('-0.25e1', 'float', 'mos_lq', 'UTC', quality), -2.5)
  t.equal(convert('1e39', 'float', 'mos_lq', 'UTC', quality), bad)
  t.equal(convert('0.0125', 'seconds-to-ms', 'jitter_ms', 'UTC', quality), 12.5)
  t.equal(convert('2026-07-02 03:04:05', 'local-time', 'start_ms', 'Europe/London'), Date.UTC(2026, 6, 2, 2, 4, 5))
  t.equal(convert('2026-03-29 02:30:00', 'local-time', 'start_ms', 'Europe/London'), Date.UTC(2026, 2, 29, 1, 30))
  t.equal(
    convert('2026-10-25 01:30:00.5', 'iso-8601', 'start_ms', 'Europe/London'),
    Date.UTC(2026, 9, 25, 0, 30, 0, 500),
  )
})

t.test('every conversion is tried above or elsewhere on every byte', async (t) => {
  for (const as of CONVERSIONS) {
    const field =
      {
        text: 'account',
        'caller-id': 'calling_name',
        'unique-id': 'call_id',
        disposition: 'disposition',
        enum: 'direction',
      }[as as string] ?? 'start_ms'
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...Array.from('0123456789-: T.Z+eE"<>\0x\u00e9')) }),
        (text) => void convert(text, as, field),
      ),
      { numRuns: 300 },
    )
  }
  t.pass()
})

t.test('numbers are those of Number()', async () => {
  const decimal = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc
      .tuple(fc.bigInt({ min: 0n, max: 10n ** 20n }), fc.bigInt({ min: 0n, max: 10n ** 20n }))
      .map(([a, b]) => `${a}.${b}`),
    fc.tuple(fc.nat(), fc.nat(999_999)).map(([a, b]) => `${a}.${String(b).padStart(6, '0')}`),
    fc.nat().map(String),
  )
  fc.assert(
    fc.property(decimal, (text) => {
      const expected = Math.fround(Number(text))
      const got = convert(text, 'float', 'mos_lq', 'UTC', quality)
      if (got !== (Number.isFinite(expected) ? expected : 'bad value'))
        throw new Error(`${text} gave ${got}, not ${expected}`)
    }),
    { numRuns: 2000 },
  )
})

t.test('dates are those of Date.parse', async () => {
  fc.assert(
    fc.property(
      fc.date({ min: new Date(1), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }),
      fc.integer({ min: -1439, max: 1439 }),
      (date, ahead) => {
        const sign = ahead < 0 ? '-' : '+'
        const two = (n: number): string => String(n).padStart(2, '0')
        const offset = `${sign}${two(Math.floor(Math.abs(ahead) / 60))}:${two(Math.abs(ahead) % 60)}`
        const text = date.toISOString().slice(0, -1)
        const utc = Date.parse(`${text}${offset}`)
        const got = [
          convert(`${text}Z`, 'iso-8601', 'start_ms'),
          convert(text.replace('T', ' '), 'local-time', 'start_ms'),
          convert(`${text}${offset}`, 'iso-8601', 'start_ms'),
        ]
        const expected = [date.getTime(), date.getTime(), utc < 0 ? 'bad time' : utc === 0 ? null : utc]
        if (got.join() !== expected.join()) throw new Error(`${text}${offset}: ${got.join()}, not ${expected.join()}`)
      },
    ),
    { numRuns: 1000 },
  )
})

t.test('UTF-8 is what the runtime says it is', async () => {
  const near = fc.array(
    fc.constantFrom(
      0x41,
      0x7f,
      0x80,
      0x8f,
      0x90,
      0x9f,
      0xa0,
      0xbf,
      0xc0,
      0xc1,
      0xc2,
      0xdf,
      0xe0,
      0xe1,
      0xec,
      0xed,
      0xee,
      0xef,
      0xf0,
      0xf1,
      0xf3,
      0xf4,
      0xf5,
      0xff,
    ),
    { maxLength: 6 },
  )
  fc.assert(
    fc.property(near, (bytes) => {
      const buffer = Buffer.from([0x80, ...bytes, 0x80])
      if (isUtf8(buffer, 1, buffer.length - 1) !== nodeIsUtf8(Buffer.from(bytes)))
        throw new Error(buffer.toString('hex'))
    }),
    { numRuns: 5000 },
  )
})
