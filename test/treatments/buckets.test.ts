/** Buckets never round up, and an absent figure lies in none. */
import fc from 'fast-check'
import t from 'tap'
import { boundsBucket, stepBucket } from '../../src/treatments/buckets.js'
import { writeDecimal } from '../../src/treatments/treatment.js'
import { seed } from '../project/generate.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)

t.test('a whole number', (t) => {
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      fc.oneof(fc.integer({ min: 1, max: 2 ** 31 - 1 }), fc.constantFrom(1000, 60_000, 86_400_000)),
      (value, step) => {
        const found = stepBucket(value, step)
        if (BigInt(found) !== (BigInt(value) / BigInt(step)) * BigInt(step))
          throw new Error(`${value} by ${step}: ${found}`)
      },
    ),
    { seed: SEED, numRuns: 3000 },
  )
  fc.assert(
    fc.property(
      fc.oneof(fc.double({ noNaN: true }), fc.constant(NaN)),
      fc.uniqueArray(fc.nat(10_000), { minLength: 1, maxLength: 9 }),
      (value, list) => {
        const bounds = Float64Array.from(list).sort()
        const expected = [...bounds].reverse().find((b) => b <= value) ?? NaN
        if (!Object.is(boundsBucket(value, bounds), expected)) throw new Error(`${value} in ${bounds.join()}`)
      },
    ),
    { seed: SEED, numRuns: 1000 },
  )
  t.pass('4000 runs')
  t.end()
})

t.test('decimals, to the last digit', (t) => {
  const out = Buffer.alloc(40)
  fc.assert(
    fc.property(
      fc.oneof(
        fc.maxSafeNat(),
        fc.nat(),
        fc.integer({ min: 0, max: 60 }).map((n) => Number.MAX_SAFE_INTEGER - n),
      ),
      (value) => {
        if (out.toString('latin1', 3, writeDecimal(value, out, 3)) !== String(value)) throw new Error(String(value))
      },
    ),
    { seed: SEED, numRuns: 3000 },
  )
  t.pass('3000 runs')
  t.end()
})
