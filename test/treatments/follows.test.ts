/**
 * Whether one treatment shows no more than another, held against what they really write: where it is said to follow,
 * values that look alike through the one must look alike through the other.
 */
import t from 'tap'
import { boundsBucket, stepBucket } from '../../src/treatments/buckets.js'
import { descriptorOf, showsNoMore, type Treatment, TREATMENTS } from '../../src/treatments/registry.js'

const NUMBERS = Array.from({ length: 400 }, (_, i) => i * 7)

const bucket = (treatment: Treatment, value: number): number => {
  if (treatment.kind === 'time-bucket') return stepBucket(value, treatment.ms)
  if (treatment.kind !== 'number-bucket') throw new TypeError('no bucket')
  const { step, bounds } = treatment
  return step !== null ? stepBucket(value, step) : boundsBucket(value, Float64Array.from(bounds ?? []))
}

/** Whether what `one` shows can be worked out from what `other` shows of each number. */
function canBeWorkedOut(one: Treatment, other: Treatment): boolean {
  const known = new Map<number, number>()
  for (const value of NUMBERS) {
    const shown = bucket(other, value)
    const wanted = bucket(one, value)
    if ((known.get(shown) ?? wanted) !== wanted) return false
    known.set(shown, wanted)
  }
  return true
}

const steps = [7, 14, 20, 21, 60, 100, 120, 700].map((step): Treatment => ({
  kind: 'number-bucket',
  step,
  bounds: null,
}))
const lists = [
  [0, 60],
  [0, 60, 300],
  [0, 300],
  [0, 120, 700, 1400],
  [0, 700],
  [0, 50, 100],
].map((bounds): Treatment => ({ kind: 'number-bucket', step: null, bounds }))
const times = [1, 10, 20, 60, 100, 300].map((ms): Treatment => ({ kind: 'time-bucket', ms }))

t.test('buckets', (t) => {
  let follows = 0
  for (const family of [[...steps, ...lists], times])
    for (const one of family)
      for (const other of family) {
        if (!showsNoMore(one, other)) continue
        follows++
        if (!canBeWorkedOut(one, other)) t.fail(`${JSON.stringify(one)} does not follow from ${JSON.stringify(other)}`)
      }
  t.ok(follows > 40, `${follows} pairs`)
  t.end()
})

t.test('prefixes, networks and tokens', (t) => {
  const digits = (digits: number | 'country'): Treatment => ({ kind: 'e164-prefix', digits })
  t.ok(showsNoMore(digits(4), digits(6)))
  t.notOk(showsNoMore(digits(6), digits(4)))
  t.ok(showsNoMore(digits('country'), digits(3)))
  t.notOk(showsNoMore(digits('country'), digits(2)), 'two digits of +353 are no country')
  t.notOk(showsNoMore(digits(2), digits('country')), 'of +1 the second digit is not its country')
  const bits = (v4: number, v6: number): Treatment => ({ kind: 'ip-prefix', v4, v6 })
  t.ok(showsNoMore(bits(16, 48), bits(24, 48)))
  t.notOk(showsNoMore(bits(16, 48), bits(24, 32)), 'narrower there, wider here')
  const token = (reversible: boolean): Treatment => ({ kind: 'token', reversible })
  t.ok(showsNoMore(token(false), token(true)))
  t.notOk(showsNoMore(token(true), token(false)))
  t.end()
})

t.test('unlike treatments: only the value itself tells all others', (t) => {
  for (const one of TREATMENTS)
    for (const other of TREATMENTS) {
      if (one.kind === other.kind) continue
      const [a, b] = [{ kind: one.kind } as Treatment, { kind: other.kind } as Treatment]
      t.equal(showsNoMore(a, b), other.shows === 'value', `${one.kind} after ${other.kind}`)
    }
  t.equal(descriptorOf('keep').shows, 'value')
  t.end()
})
