import fc from 'fast-check'
import t from 'tap'
import { isSafeText, safeText } from '../../src/normalise/clean-text.js'
import { isVersion } from '../../src/normalise/devices/version.js'

const harmless = [
  '',
  'PCMU',
  'G722',
  'G.722.2',
  'G.711 A-Law',
  'opus',
  'opus/48000/2',
  'L16/44100/2',
  'G726-32/8000',
  'G722/16000',
  'telephone-event/8000',
  'AMR-WB',
  'ulaw',
  'trunk-london-1',
  'carrier (primary)',
  'PJSIP/carrier-a',
  'Poly',
  'VVX 411',
  'SoundPoint IP 670',
  'GXP2135',
  'SPA504G',
  'FRITZ!Box 7590',
  'T46S',
  'CP-8841',
  'snom D785',
  '5.9.5.0614',
  '4.1.4.7430',
  '5.4.0.12197',
  '21.90.4128.0',
  '03.55.0013',
  '8.6.0.1321',
  '1.10.4-release',
  '12.7.1',
  '10.5.8.Y.GX',
  'v2.4.12',
  '6.60A.342',
  '123456',
  'Edge E350',
  'site 20 floor 4',
  'PVOS 8.1.3.1301',
]
const harmful: { name: string; input: string }[] = [
  { name: 'E.164', input: '+447700900123' },
  { name: 'national', input: '07700900123' },
  { name: 'spaces', input: '07700 900 123' },
  { name: 'brackets', input: '(020) 7946-0958' },
  { name: 'bracketed trunk zero', input: '+44 (0)20 7946 0958' },
  { name: 'dots', input: '07700.900.123' },
  { name: 'dots, North America', input: '212.555.0123' },
  { name: 'dots with country code', input: '1.212.555.0123' },
  { name: 'dots, long groups', input: '44.20.7946.0958' },
  { name: 'dots, long last group', input: '44.20.79460958' },
  { name: 'dots, pairs', input: '07.70.09.00.12' },
  { name: 'dots, single digits', input: '0.7.7.0.0.9.0.0.1.2.3' },
  { name: 'subscriber number alone', input: '555-0123' },
  { name: 'subscriber number alone, dotted', input: '555.0123' },
  { name: 'slashes', input: '020/7946/0958' },
  { name: 'slash and clock-rate look-alike', input: '020 7946/8000' },
  { name: 'underscores', input: '07700_900_123' },
  { name: 'doubled separators', input: '07700 - 900 - 123' },
  { name: 'glued to letters', input: 'trunk07700900123x' },
  { name: 'endpoint name', input: 'PJSIP/447700900123-0000001a' },
  { name: 'MAC, bare', input: '00005e005301' },
  { name: 'MAC, glued', input: 'mac00005E005301z' },
  { name: 'MAC, dashes', input: '00-00-5e-00-53-01' },
  { name: 'MAC, dots', input: '0000.5e00.5301' },
  { name: 'MAC, letters only', input: 'de-ad-be-ef-ca-fe' },
  { name: 'MAC, mixed', input: '0000.5e00-5301' },
  { name: 'MAC, colons', input: '00:00:5e:00:53:01' },
  { name: 'IPv4', input: '192.0.2.7' },
  { name: 'IPv4 in a host name', input: 'ip-192-0-2-7' },
  { name: 'IPv4 after other groups', input: 'v1-192.0.2.7' },
  { name: 'IPv4 with a letter after it', input: '198.51.100.20a' },
  { name: 'IPv4 with zeros', input: '192.000.002.007' },
  { name: 'IPv6', input: '2001:db8::1' },
  { name: 'address', input: 'user@example.com' },
  { name: 'not ASCII', input: 'Zürich' },
  { name: 'digits that are not ASCII', input: '٠٧٧٠٠' },
  { name: 'NUL', input: 'PCMU\0' },
  { name: 'markup', input: '<b>' },
]

for (const text of harmless)
  t.test(`passes: "${text}"`, (t) => {
    t.equal(isSafeText(text, 32), true)
    t.end()
  })
for (const { name, input } of harmful) {
  t.test(`refused: ${name}`, (t) => {
    t.equal(isSafeText(input, 64), false)
    t.equal(isVersion(input, null), false, 'nor is it a version')
    t.end()
  })
}

t.test('a firmware of the shape of an address is no harmless text', (t) => {
  t.equal(isSafeText('1.0.8.7', 32), false)
  t.equal(isSafeText('10.2.1.0', 32), false)
  t.end()
})

t.test('bounds: length and place', (t) => {
  const src = Buffer.from('07700900123PCMU07700900123')
  t.equal(safeText(src, 11, 4, 4), true)
  t.equal(safeText(src, 11, 4, 3), false)
  t.equal(safeText(src, 0, 11, 32), false)
  t.equal(safeText(src, 0, src.length, 64), false)
  t.end()
})

const digit = fc.integer({ min: 0, max: 9 })
/** Numbers of the ranges set aside for fiction, national and international. */
const number = fc
  .oneof(
    fc.tuple(fc.constantFrom('447700900', '07700900', '7700900', '00447700900'), fc.tuple(digit, digit, digit)),
    fc.tuple(fc.constantFrom('4420794600', '020794600', '79460'), fc.tuple(digit, digit, digit)),
    fc.tuple(fc.constantFrom('121255501', '21255501', '55501'), fc.tuple(digit, digit)),
  )
  .map(([head, tail]) => head + tail.join(''))
const separator = fc.constantFrom(' ', '-', '.', '/', ' - ', ') ', '_')
/** The number as people write it: groups of two to four digits, or none. */
const writtenNumber = fc
  .tuple(number, separator, fc.constantFrom(0, 2, 3, 4))
  .map(([digits, between, size]) =>
    size === 0 ? digits : (digits.match(new RegExp(`.{1,${size}}`, 'g')) ?? []).join(between),
  )
const mac = fc
  .tuple(
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom(2, 4, 6, 12),
    fc.constantFrom('-', '.', ' ', '_'),
    fc.boolean(),
  )
  .map(([last, size, between, upper]) => {
    const hex = `00005e0053${last.toString(16).padStart(2, '0')}`
    const written = (hex.match(new RegExp(`.{${size}}`, 'g')) ?? []).join(between)
    return upper ? written.toUpperCase() : written
  })
const ip = fc
  .tuple(
    fc.constantFrom('192.0.2', '198.51.100', '203.0.113'),
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom('.', '-', '_'),
  )
  .map(([net, host, between]) => `${net}.${host}`.split('.').join(between))
// What stands around it: letters and separators, and digits apart from it, as in a model's name.
const around = fc.stringMatching(/^[A-Za-z ._+()!-]{0,8}([A-Z][0-9]{1,3} )?[a-z]{0,3}$/)

for (const [name, identifier] of [
  ['number', writtenNumber],
  ['MAC address', mac],
  ['IP address', ip],
] as const) {
  t.test(`a reserved ${name} in any harmless text is caught`, (t) => {
    fc.assert(
      fc.property(around, identifier, around, (before, value, after) => {
        const text = before + value + after
        return !isSafeText(text, 100) && !isVersion(text, null)
      }),
      { numRuns: 5000 },
    )
    t.end()
  })
}

t.test('nothing outside the character set passes', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
      if (!safeText(bytes, 0, bytes.length, 20)) return true
      return /^[A-Za-z0-9 ._+/()!-]*$/.test(Buffer.from(bytes).toString('latin1'))
    }),
  )
  t.end()
})
