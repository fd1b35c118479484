/** Parties: one person, one form, whichever source wrote it; and the fast path is libphonenumber's reading. */
import fc from 'fast-check'
import t from 'tap'
import { BLOCK_BYTES, FORM, SLOT, unpack } from '../../src/batch/block.js'
import type { Tenant } from '../../src/flow/tenant.js'
import { numberOf } from '../../src/normalise/dial-string.js'
import { dialPlanOf } from '../../src/normalise/numbering-plan.js'
import { PartyReader } from '../../src/normalise/party.js'
import { party, seed } from '../project/generate.js'
import { readParty } from '../project/reference.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)

const tenantOf = (region: string, id = 1): Tenant => ({
  name: region,
  id,
  region,
  extensionDigits: 6,
  domains: ['pbx.example', '198.51.100.7', '203.0.113.128/25'],
})

function read(reader: PartyReader, text: string): string | null {
  const bytes = Buffer.from(`x${text}x`)
  const view = new DataView(new ArrayBuffer(BLOCK_BYTES + 2))
  const slot = reader.read(bytes, 1, bytes.length - 2, view, 1)
  if (slot === SLOT.absent) return null
  const found = unpack((slot & FORM) === SLOT.long ? reader.long : new Uint8Array(view.buffer, 1, BLOCK_BYTES))
  return found === null ? 'nonsense' : `${found.type} ${found.tenant} ${found.text}`
}

const MOBILE = 'e164 0 +447700900123'
const US = 'e164 0 +12025550123'
const GB = [
  '+447700900123',
  '00447700900123',
  '07700900123',
  '447700900123',
  '+44 7700 900123',
  '+44-7700-900-123',
  '(07700) 900123',
  '07700.900.123',
  '+44 (0)7700 900123',
  '+4407700900123',
  'tel:+447700900123',
  'tel:+44-7700-900-123',
  'tel:07700900123',
  'tel:7700900123;phone-context=+44',
  'sip:+447700900123@192.0.2.1',
  'sips:+447700900123@other.example;user=phone',
  'sip:07700900123@pbx.example',
  'sip:00447700900123@other.example:5061;user=phone',
  'sip:%2B447700900123@other.example',
  'sip:+447700900123:secret@[2001:db8::1]:5060;transport=tcp',
  'sip:+447700900123;ext=1@other.example?subject=a@b',
  '<sip:+447700900123@other.example>',
  '"A Name" <sip:+447700900123@other.example>;tag=1',
  '"A <odd> Name" <+447700900123>',
  'A Name <07700900123>',
  '+447700900123@192.0.2.1',
  'PJSIP/447700900123-0000001a',
  'SIP/07700900123-deadbeef',
  'Local/07700900123@from-internal-0000001a;2',
  ' +447700900123 ',
  'sofia/internal/+447700900123@192.0.2.7',
]
const NOBODY = [
  '',
  ' ',
  'anonymous',
  'Anonymous',
  'unknown',
  '<unknown>',
  'Unavailable',
  'Restricted',
  'private',
  'asterisk',
  's',
  'h',
  'sip:anonymous@anonymous.invalid',
  '"Anonymous" <sip:anonymous@192.0.2.1>',
  'sip:+447700900123@anonymous.invalid',
  'sip:anonymous@other.example',
  'sip:192.0.2.1',
  'sip:@192.0.2.1',
  'PJSIP/anonymous-0000001a',
]

t.test('spellings of one number', (t) => {
  const gb = new PartyReader(tenantOf('GB'))
  for (const text of GB) t.equal(read(gb, text), MOBILE, text)
  const us = new PartyReader(tenantOf('US'))
  for (const text of [
    '+12025550123',
    '2025550123',
    '12025550123',
    '(202) 555-0123',
    '202.555.0123',
    '1-202-555-0123',
    'tel:+1-202-555-0123',
    'sip:2025550123@other.example;user=phone',
  ])
    t.equal(read(us, text), US, text)
  t.equal(read(us, '011447700900123'), MOBILE, 'another region dials otherwise')
  t.equal(read(new PartyReader(tenantOf('FR')), '00447700900123'), MOBILE)
  t.end()
})

t.test('nobody', (t) => {
  const reader = new PartyReader(tenantOf('GB'))
  for (const text of NOBODY) t.equal(read(reader, text), null, JSON.stringify(text))
  t.end()
})

t.test('an extension at an address that is none of ours is a stranger', (t) => {
  const reader = new PartyReader(tenantOf('GB'))
  for (const [text, host] of [
    ['sip:1001@192.0.2.1', '192.0.2.1'],
    ['sip:1001@192.0.2.1:5060;user=phone', '192.0.2.1'],
    ['sip:1001@203.0.113.1', '203.0.113.1'],
    ['sip:1001@[2001:DB8:0::1]:5060', '2001:db8::1'],
    ['sip:1001@[::ffff:192.0.2.1]', '192.0.2.1'],
    ['1001@other.example', 'other.example'],
  ] as const)
    t.equal(read(reader, text), `uri 0 1001@${host}`, text)
  const before = new PartyReader({ ...tenantOf('GB'), anyAddress: true })
  t.equal(read(before, 'sip:1001@192.0.2.1'), 'local 1 1001', 'unless the settings say so')
  t.equal(read(before, 'sip:1001@[2001:db8::1]'), 'local 1 1001')
  t.equal(read(before, 'sip:1001@other.example'), 'uri 0 1001@other.example')
  t.end()
})

t.test('extensions, names and URIs', (t) => {
  const one = new PartyReader(tenantOf('GB', 1))
  const two = new PartyReader(tenantOf('GB', 2))
  for (const text of [
    '1001',
    'sip:1001@192.168.2.1',
    'sip:1001@[fd00::7]:5060',
    'sip:1001@198.51.100.7',
    'sip:1001@203.0.113.200;transport=udp',
    'sip:1001@PBX.example.',
    'sip:1001@pbx.example',
    'PJSIP/1001-0000001a',
    'Local/1001@ctx-0000001a;1',
    '"Desk" <1001>',
    'tel:1001;phone-context=pbx.example',
    '1001@localhost',
  ]) {
    t.equal(read(one, text), 'local 1 1001', text)
    t.equal(read(two, text), 'local 2 1001', `${text}, another tenant`)
  }
  for (const text of [
    'sip:1001@other.example',
    'sip:1001@OTHER.example:5061;transport=tls',
    '<sips:1001@other.example>',
  ]) {
    t.equal(read(one, text), 'uri 0 1001@other.example', `${text} is nobody of ours`)
    t.equal(read(two, text), 'uri 0 1001@other.example', 'and the same for every tenant')
  }
  t.equal(read(one, 'sip:Alice@other.example'), 'uri 0 Alice@other.example', 'user parts have case')
  t.equal(read(one, '*97'), 'local 1 *97')
  t.equal(read(one, 'queue-7'), 'local 1 queue-7')
  t.equal(read(one, '+0123456789'), 'local 1 +0123456789', 'no calling code begins with 0')
  t.equal(read(one, '000123456789'), 'local 1 000123456789')
  t.end()
})

const REGIONS: readonly (readonly [region: string, code: string])[] = [
  ['GB', '44'],
  ['DE', '49'],
  ['FR', '33'],
  ['IT', '39'],
  ['US', '1'],
  ['CA', '1'],
  ['JM', '1'],
  ['AU', '61'],
  ['NL', '31'],
  ['CH', '41'],
  ['IN', '91'],
  ['MX', '52'],
  ['AR', '54'],
  ['BR', '55'],
  ['RU', '7'],
  ['JP', '81'],
  ['IE', '353'],
  ['AT', '43'],
  ['SE', '46'],
  ['ZA', '27'],
  ['NZ', '64'],
  ['FI', '358'],
  ['IL', '972'],
  ['KR', '82'],
  ['TR', '90'],
  ['UA', '380'],
  ['GG', '44'],
  ['SG', '65'],
  ['HU', '36'],
]

t.test('the fast path reads what the long way by libphonenumber reads', (t) => {
  const readers = new Map(REGIONS.map(([region]) => [region, new PartyReader(tenantOf(region))]))
  const digits = fc
    .integer({ min: 1, max: 14 })
    .chain((n) => fc.array(fc.constantFrom(...Array.from('0123456789')), { minLength: n, maxLength: n }))
    .map((a) => a.join(''))
  const shape = fc.constantFrom('+', '00', '0', '')
  let fast = 0
  fc.assert(
    fc.property(
      fc.constantFrom(...REGIONS),
      fc.constantFrom(...REGIONS),
      shape,
      digits,
      ([region, own], [, other], before, rest) => {
        const text =
          before === '+' || before === '00'
            ? `${before}${rest.length % 2 === 0 ? own : other}${rest}`
            : `${before}${rest}`
        if (text.replace('+', '').length <= 6) return
        const reader = readers.get(region) ?? new PartyReader(tenantOf(region))
        const bytes = Buffer.from(text)
        const view = new DataView(new ArrayBuffer(BLOCK_BYTES))
        if (bytes.length > 18 || !reader.readPlain(bytes, 0, bytes.length, view, 0)) return
        fast++
        const expected = `+${numberOf(text, dialPlanOf(tenantOf(region)))}`
        const found = unpack(new Uint8Array(view.buffer))?.text
        if (found !== expected) throw new Error(`${text} in ${region}: ${found} instead of ${expected}`)
      },
    ),
    { seed: SEED, numRuns: 60_000 },
  )
  t.ok(fast > 5000, `${fast} on the fast path`)
  t.end()
})

t.test('any text: as the reference reads it, again and again', (t) => {
  const readers = ['GB', 'US', 'DE', 'IT'].map((region) => ({
    tenant: tenantOf(region, 7),
    reader: new PartyReader(tenantOf(region, 7)),
  }))
  fc.assert(
    fc.property(party, (text) => {
      for (const { tenant, reader } of readers) {
        const expected = readParty(text, tenant)
        const wanted =
          expected === null
            ? null
            : expected.kind === 'e164'
              ? `e164 0 +${expected.text}`
              : `${expected.kind} ${expected.kind === 'uri' ? 0 : 7} ${expected.text}`
        for (let again = 0; again < 2; again++) {
          const found = read(reader, text)
          if (found !== wanted) throw new Error(`${text} in ${tenant.region}: ${found} instead of ${wanted}`)
        }
      }
    }),
    { seed: SEED, numRuns: 5000 },
  )
  t.pass('5000 runs')
  t.end()
})

t.test('wild text never throws', (t) => {
  const reader = new PartyReader(tenantOf('GB'))
  const wild = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .array(
        fc.constantFrom(
          'sip:',
          '<',
          '>',
          '@',
          ';',
          '"',
          '+',
          '%',
          '%2B',
          '[',
          ']',
          ':',
          '/',
          'tel:',
          '0',
          '44',
          'Local/',
          '?',
        ),
        { maxLength: 30 },
      )
      .map((a) => a.join('')),
  )
  fc.assert(
    fc.property(wild, (text) => {
      if (read(reader, text) === 'nonsense') throw new Error('cannot be read back')
    }),
    { seed: SEED, numRuns: 5000 },
  )
  for (let i = 0; i < 20_000; i++) read(reader, `name-${i}`)
  t.equal(read(reader, '"A Name" <07700900123>'), MOBILE, 'after its tables were emptied')
  t.end()
})
