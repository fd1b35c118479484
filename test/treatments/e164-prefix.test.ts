/** Prefixes of numbers: nothing of the subscriber, and no half of a calling code. */
import fc from 'fast-check'
import { type CountryCode, getCountries, getExampleNumber, PhoneNumber } from 'libphonenumber-js/max'
import examples from 'libphonenumber-js/mobile/examples'
import t from 'tap'
import { packE164 } from '../../src/batch/block.js'
import { destinationDigits, destinationDigitsOf } from '../../src/treatments/destination-code.js'
import { writeE164Prefix } from '../../src/treatments/e164-prefix.js'
import { seed } from '../project/generate.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)

function packed(digits: string): Buffer {
  const block = Buffer.alloc(16)
  packE164('', Buffer.from(digits), 0, digits.length, new DataView(block.buffer, block.byteOffset), 0)
  return block
}

function prefix(digits: string, shown: number): string {
  const out = Buffer.alloc(32)
  return out.toString('latin1', 0, writeE164Prefix(packed(digits), 0, shown, out, 0))
}

/** Numbers of all countries: examples, and others with other last digits and other first ones. */
const NUMBERS = getCountries().flatMap((region: CountryCode) => {
  const example = getExampleNumber(region, examples)
  if (example === undefined) return []
  return [{ code: example.countryCallingCode, national: example.nationalNumber }]
})

t.test('of all countries, no digit behind the destination code', (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom(...NUMBERS),
      fc.integer({ min: 0, max: 11 }),
      fc.option(fc.stringMatching(/^\d{4,10}$/)),
      ({ code, national }, shown, other) => {
        const number = other ?? national
        const groups = new PhoneNumber(`+${code}${number}`)
          .formatInternational()
          .slice(code.length + 2)
          .split(/[ -]/)
        const most = code.length + (groups.length > 1 ? groups[0].length : 0)
        const found = prefix(code + number, shown)
        if (!`+${code}${number}`.startsWith(found)) throw new Error(`${code} ${number}: ${found}`)
        if (found !== '' && found.length - 1 < code.length)
          throw new Error(`${code} ${number}: ${found} splits the code`)
        if (found.length - 1 > Math.min(most, code.length + number.length - 4))
          throw new Error(`${code} ${number}: ${found}`)
      },
    ),
    { seed: SEED, numRuns: 50_000 },
  )
  t.pass(`50,000 numbers of ${NUMBERS.length} countries`)
  t.end()
})

t.test('what the cache of beginnings says is what the formats say', (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom(...NUMBERS),
      fc.stringMatching(/^\d{4,10}$/),
      fc.stringMatching(/^\d{10}$/),
      ({ code, national }, own, tail) => {
        for (const number of [
          code + own,
          (code + national).slice(0, 10) + tail.slice(0, Math.max(0, code.length + national.length - 10)),
        ]) {
          if (number.length > 15) continue
          const wanted = destinationDigits(number)
          // Twice, the second time out of the cache; before it one of the same beginning and length.
          destinationDigitsOf(packed(number.slice(0, 10) + tail.slice(0, Math.max(0, number.length - 10))), 0)
          if (destinationDigitsOf(packed(number), 0) !== wanted) throw new Error(number)
        }
      },
    ),
    { seed: SEED, numRuns: 20_000 },
  )
  t.pass('20,000 pairs')
  t.end()
})

t.test('examples', (t) => {
  for (const [digits, shown, expected] of [
    ['447700900123', 6, '+447700'],
    ['447700900123', 5, '+44770'],
    ['447700900123', 11, '+447700'],
    ['442079460123', 5, '+4420'],
    ['12025550123', 5, '+1202'],
    ['447700900123', 1, ''],
    ['447700900123', 0, '+44'],
    ['44116123', 5, '+44'],
    ['690234', 5, ''],
    ['690234', 0, ''],
    ['999123456', 5, ''],
  ] as const)
    t.equal(prefix(digits, shown), expected, `${digits}, ${shown}`)
  t.end()
})
