import fc from 'fast-check'
import t from 'tap'
import { macInto, macShapeAt, parseMac } from '../../src/normalise/mac.js'

const rows: { name: string; input: string; expected: string | null }[] = [
  { name: 'colons', input: '00:00:5E:00:53:01', expected: '00005e005301' },
  { name: 'dashes', input: '00-00-5e-00-53-01', expected: '00005e005301' },
  { name: 'dots of four', input: '0000.5e00.5301', expected: '00005e005301' },
  { name: 'dots of two', input: '00.00.5e.00.53.01', expected: '00005e005301' },
  { name: 'dashes of four', input: '0000-5e00-5301', expected: '00005e005301' },
  { name: 'halves', input: '00005e-005301', expected: '00005e005301' },
  { name: 'bare', input: '00005E005301', expected: '00005e005301' },
  { name: 'spaces between', input: '00 00 5e 00 53 01', expected: '00005e005301' },
  { name: 'underscores', input: '00_00_5e_00_53_01', expected: '00005e005301' },
  { name: 'spaces around', input: '  00005e005301 ', expected: '00005e005301' },
  { name: 'leading zeros left out', input: '0:0:5e:0:53:1', expected: '00005e005301' },
  { name: 'highest', input: 'ff:ff:ff:ff:ff:ff', expected: 'ffffffffffff' },
  { name: 'empty', input: '', expected: null },
  { name: 'eleven digits', input: '00005e00530', expected: null },
  { name: 'thirteen digits', input: '00005e0053010', expected: null },
  { name: 'mixed separators', input: '00:00-5e:00:53:01', expected: null },
  { name: 'mixed group sizes', input: '0000.5e.00.5301', expected: null },
  { name: 'five octets', input: '00:00:5e:00:53', expected: null },
  { name: 'seven octets', input: '0:0:5e:0:53:1:2', expected: null },
  { name: 'three digits in an octet', input: '000:00:5e:00:53:1', expected: null },
  { name: 'not hex', input: '00:00:5g:00:53:01', expected: null },
  { name: 'trailing separator', input: '00:00:5e:00:53:', expected: null },
  { name: 'doubled separator', input: '00:00::5e:0:53:1', expected: null },
  { name: 'leading zeros left out with dashes', input: '00-0-5e-00-53-01', expected: null },
  { name: 'other separator', input: '00/00/5e/00/53/01', expected: null },
  { name: 'very long', input: '00005e005301'.repeat(1000), expected: null },
  { name: 'not ASCII', input: '０0:00:5e:00:53:01', expected: null },
]

for (const { name, input, expected } of rows) {
  t.test(`parseMac: ${name}`, (t) => {
    t.equal(parseMac(input), expected)
    t.equal(parseMac(Buffer.from(input)), expected, 'the same from bytes')
    t.end()
  })
}

t.test('every address comes back from every notation', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 6, maxLength: 6 }),
      fc.constantFrom(2, 4, 6, 12),
      fc.constantFrom(':', '-', '.', '_', ' '),
      fc.boolean(),
      (octets, size, separator, upper) => {
        const hex = Buffer.from(octets).toString('hex')
        const written = (hex.match(new RegExp(`.{${size}}`, 'g')) ?? []).join(separator)
        return parseMac(upper ? written.toUpperCase() : written) === hex
      },
    ),
  )
  t.end()
})

t.test('macInto writes six octets where told and nothing where it refuses', (t) => {
  const src = Buffer.from('xx00:00:5e:00:53:01xx')
  const dst = new Uint8Array(10).fill(9)
  t.equal(macInto(src, 2, 17, dst, 2), true)
  t.same([...dst], [9, 9, 0, 0, 0x5e, 0, 0x53, 1, 9, 9])
  dst.fill(9)
  t.equal(macInto(src, 1, 17, dst, 2), false)
  t.same([...dst], new Array(10).fill(9))
  t.end()
})

t.test('macShapeAt sees what a reader would take for an address', (t) => {
  const at = (text: string): boolean => macShapeAt(Buffer.from(text), 0, text.length)
  for (const text of ['00005e005301', '0000.5e00-5301', '00 00 5e 00 53 01', '00005E005301ab', '00:00:5e00:53:01'])
    t.equal(at(text), true, text)
  for (const text of ['', '00005e00530', '0 0 5e 0 53 1', '00--005e005301', 'VVX 411', '5.9.5.0614'])
    t.equal(at(text), false, text)
  t.end()
})
