/** Dial strings: every spelling of one number is that number, and what only looks like one stays apart. */
import fc from 'fast-check'
import { type CountryCode, getCountries, getExampleNumber, Metadata } from 'libphonenumber-js/max'
import examples from 'libphonenumber-js/mobile/examples'
import t from 'tap'
import { BLOCK_BYTES, SLOT, unpack } from '../../src/batch/block.js'
import type { Tenant } from '../../src/flow/tenant.js'
import { PartyReader } from '../../src/normalise/party.js'
import { seed } from '../project/generate.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)

function readerOf(region: string, more: Partial<Tenant> = {}): PartyReader {
  return new PartyReader({ name: region, id: 1, region, extensionDigits: 6, domains: ['pbx.example'], ...more })
}

function read(reader: PartyReader, text: string): string {
  const bytes = Buffer.from(text)
  const view = new DataView(new ArrayBuffer(BLOCK_BYTES))
  const slot = reader.read(bytes, 0, bytes.length, view, 0)
  if (slot === SLOT.absent) return 'nobody'
  const found = unpack(view.getUint8(0) === 0 ? reader.long : new Uint8Array(view.buffer))
  return found === null ? 'nonsense' : `${found.type} ${found.text}`
}

const MOBILE = 'e164 +447700900123'
const SPELLINGS = `*67+447700900123 *6707700900123 *82+447700900123 *67#07700900123 #31#07700900123 *31#07700900123
  *#31#07700900123 *31*07700900123 14107700900123 141+447700900123 147007700900123 128007700900123 1818507700900123
  +447700900123;ext=5 +447700900123;isub=1;ext=5 07700900123;phone-context=+44 +447700900123# 07700900123##
  9,07700900123 9,,07700900123 0,07700900123 9p07700900123 9w+447700900123 07700900123,,123# *67,07700900123
  0447700900123 +0447700900123 +00447700900123 011447700900123 0011447700900123 0044(0)7700900123 07700/900123
  [07700]900123 +44.7700.900.123 *21*07700900123# **61*+447700900123*11*20# *6707700900123# *82147007700900123
  07700900123x12 tel:+44-7700-900-123;ext=5 tel:%2B447700900123 tel:07700900123;phone-context=pbx.example
  tel:7700900123;phone-context=+44 sip:*67+447700900123@192.0.2.1 sip:%2A67%2B447700900123@other.example
  sip:7700900123;phone-context=+44@other.example;user=phone sip:+447700900123;ext=5@other.example`.split(/\s+/)

t.test('spellings of one number', (t) => {
  const reader = readerOf('GB')
  const spaced = [
    '141 07700 900123',
    '*67 #31# 07700 900123',
    '+44 7700 900123 ext. 5',
    '+44 7700 900123 extension 12',
    '(07700) 900 123 x5',
    '+44\u20117700\u2011900\u2011123',
    '+44\u20137700\u2212900\u2014123',
    '+44\u00a07700\u202f900\u2009123',
    '\u202a+447700900123\u202c',
    '\u200e07700\u200b900123\ufeff',
    '٠٧٧٠٠٩٠٠١٢٣',
    '+٤٤٧٧٠٠٩٠٠١٢٣',
    '۰۷۷۰۰۹۰۰۱۲۳',
    '०७७००९००१२३',
    '０７７００９００１２３',
    '＋４４　７７００　９００１２３',
    '＃３１＃０７７００９００１２３',
    'sip:٠٧٧٠٠٩٠٠١٢٣@pbx.example',
  ]
  for (const text of [...SPELLINGS, ...spaced]) t.equal(read(reader, text), MOBILE, text)
  t.end()
})

t.test('what only looks like one stays apart', (t) => {
  const reader = readerOf('GB')
  for (const text of `*97 *671001 *9707700900123 *100*447700900123# *#21# 5507700900123 077009001234567 141 9, 9,1001
    07700x900457 100,,07700900123 10/01 pw x room12x5 07700900123/07700900124 0491512345678 907700900123
    +447700900123+447700900124 1234,07700900123 #99#07700900123`.split(/\s+/))
    t.equal(read(reader, text), `local ${text}`, text)
  t.equal(read(reader, '1414960123'), 'e164 +441414960123', 'a number of Glasgow, and no code before another')
  t.equal(read(reader, '07700 900123 Bob'), 'local 07700 900123 Bob')
  t.equal(read(readerOf('DE'), '0447700900123'), 'e164 +49447700900123', 'a national number where the plan has it')
  t.equal(read(reader, '١٠٠١'), 'local 1001', 'extensions in any digits')
  t.equal(read(reader, '1001#'), 'local 1001', 'and without what ends dialling')
  t.equal(read(reader, 'tel:1001;phone-context=other.example'), 'uri 1001@other.example', "another's extension")
  t.end()
})

t.test('codes and prefixes of a country are its own', (t) => {
  const US = 'e164 +12025550123'
  for (const text of `*672025550123 *82(202)555-0123 11672025550123 10102882025550123 101028812025550123 02025550123
    2025550123# 12025550123,,5 tel:+1-202-555-0123;isub=1`.split(/\s+/))
    t.equal(read(readerOf('US'), text), US, text)
  for (const text of ['01447700900123', '011447700900123', '00447700900123'])
    t.equal(read(readerOf('US'), text), MOBILE, text)
  t.equal(read(readerOf('GB'), '11672025550123'), 'local 11672025550123')
  t.equal(read(readerOf('US'), '14107700900123'), 'local 14107700900123')
  for (const [region, text, number] of [
    ['AU', '18310491570156', '+61491570156'],
    ['DE', '010130301234567', '+49301234567'],
    ['DE', '#31#030 1234567', '+49301234567'],
    ['ES', '067612345678', '+34612345678'],
    ['FR', '36510612345678', '+33612345678'],
    ['HK', '13323456789', '+85223456789'],
    ['IE', '1410850123456', '+353850123456'],
    ['JP', '18409012345678', '+819012345678'],
    ['NZ', '0197021123456', '+6421123456'],
    ['RU', '8~10447700900123', '+447700900123'],
  ] as const)
    t.equal(read(readerOf(region), text), `e164 ${number}`, `${region} ${text}`)
  t.end()
})

t.test('outside-line prefixes of the settings', (t) => {
  const nine = readerOf('GB', { prefixes: ['9'] })
  for (const text of [
    '907700900123',
    '9 07700 900123',
    '900447700900123',
    '914107700900123',
    '*67907700900123',
    '9+447700900123',
  ])
    t.equal(read(nine, text), MOBILE, text)
  t.equal(read(nine, '9001'), 'local 9001', 'an extension')
  const zero = readerOf('GB', { prefixes: ['0'] })
  for (const text of ['007700900123', '000447700900123', '00447700900123', '07700900123'])
    t.equal(read(zero, text), MOBILE, text)
  t.equal(read(readerOf('US', { prefixes: ['9'] }), '912025550123'), 'e164 +12025550123')
  t.end()
})

const SCRIPTS = ['٠', '۰', '०', '০', '๐', '０', '߀', '𝟎'].map((zero) => zero.codePointAt(0) ?? 0)
const inScript = (text: string, zero: number): string =>
  text.replace(/\d/g, (digit) => String.fromCodePoint(zero + Number(digit)))
const separated = (digits: string, separators: readonly string[]): string =>
  Array.from(digits)
    .map((digit, i) => (i > 2 && i < digits.length - 1 ? digit + (separators[i % separators.length] ?? '') : digit))
    .join('')

/** Numbers of all countries, as they are written in the country itself and from abroad. */
const NUMBERS = getCountries().flatMap((region: CountryCode) => {
  const number = getExampleNumber(region, examples)
  if (number === undefined) return []
  const plans = new Metadata()
  plans.selectNumberingPlan(region)
  return [{ region, e164: number.number, national: number.formatNational() }]
})

t.test('all countries: any spelling is the number', (t) => {
  const readers = new Map(NUMBERS.map(({ region }) => [region, readerOf(region)]))
  const around: fc.Arbitrary<(text: string) => string> = fc.constantFrom(
    (text: string) => text,
    (text: string) => `*67${text}`,
    (text: string) => `#31#${text}`,
    (text: string) => `*21*${text.replace(/[^+\p{Nd}]/gu, '')}#`,
    (text: string) => `${text}#`,
    (text: string) => `${text};ext=12`,
    (text: string) => `${text} ext. 7`,
    (text: string) => `${text},,77#`,
    (text: string) => `9,${text}`,
    (text: string) => `"Name" <sip:${encodeURIComponent(text.replace(/[^+\p{Nd}*#]/gu, ''))}@192.168.0.1>`,
    (text: string) => ` \u202a${text}\u202c `,
    (text: string) => `tel:${text};isub=5`,
  )
  const separators = fc.array(fc.constantFrom('', '', ' ', '-', '.', '\u2011', '\u00a0', '\u2009', '/'), {
    minLength: 1,
    maxLength: 5,
  })
  let tried = 0
  fc.assert(
    fc.property(
      fc.constantFrom(...NUMBERS),
      fc.boolean(),
      around,
      separators,
      fc.option(fc.constantFrom(...SCRIPTS)),
      ({ region, e164, national }, abroad, dressed, between, script) => {
        const reader = readers.get(region) ?? readerOf(region)
        const digits = abroad ? e164 : national.replace(/[^\d]/g, '')
        // The bare spelling is libphonenumber's to read; a few national ones it does not.
        if (read(reader, digits) !== `e164 ${e164}`) return
        tried++
        const text = separated(digits, between)
        const written = dressed(script === null ? text : inScript(text, script))
        const found = read(reader, written)
        if (found !== `e164 ${e164}`) throw new Error(`${JSON.stringify(written)} in ${region}: ${found}, not ${e164}`)
      },
    ),
    { seed: SEED, numRuns: 20_000 },
  )
  t.ok(tried > 15_000, `${tried} spellings of ${NUMBERS.length} countries' numbers`)
  t.end()
})

t.test('two numbers never become one', (t) => {
  // Whatever stands around them, numbers that differ in a digit have different forms.
  const reader = readerOf('GB', { prefixes: ['9'] })
  const text = fc
    .array(fc.constantFrom('0', '7', '9', '1', '4', '+', '*67', '#31#', '141', '00', '0044', '07700900', '#'), {
      minLength: 1,
      maxLength: 8,
    })
    .map((parts) => parts.join(''))
  fc.assert(
    fc.property(text, fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }), (start, one, other) => {
      fc.pre(one !== other && !start.endsWith('#'))
      const [a, b] = [read(reader, `${start}0012${one}`), read(reader, `${start}0012${other}`)]
      if (a === b) throw new Error(`${start}0012 ${one} and ${other}: ${a}`)
    }),
    { seed: SEED, numRuns: 20_000 },
  )
  t.pass('20,000 pairs')
  t.end()
})
