/** The bound is that of the books, and records of one subject count for less than as many of different ones. */
import fc from 'fast-check'
import t from 'tap'
import { clopperPearsonUpper, shareOf } from '../../src/trial/upper-bound.js'

/** Probability of at most so many hits, summed term by term, by their logarithms: the smallest are below any number. */
function binomialUpTo(hits: number, trials: number, share: number): number {
  let log = trials * Math.log1p(-share)
  let sum = Math.exp(log)
  for (let k = 1; k <= hits; k++) {
    log += Math.log((trials - k + 1) / k) + Math.log(share) - Math.log1p(-share)
    sum += Math.exp(log)
  }
  return sum
}

t.test('known values, one-sided at 95 %', (t) => {
  const known: readonly (readonly [number, number, number])[] = [
    [0, 300, 0.009936],
    [0, 10, 0.25887],
    [1, 10, 0.39416],
    [2, 10, 0.5069],
    [5, 10, 0.77756],
    [9, 10, 0.99488],
    [0, 1, 0.95],
    [10, 10, 1],
    [0, 0, 1],
  ]
  for (const [hits, trials, upper] of known)
    t.ok(Math.abs(clopperPearsonUpper(hits, trials) - upper) < 6e-6, `${hits} of ${trials}`)
  t.ok(clopperPearsonUpper(0, 300) < 3 / 300, 'the rule of three is its approximation from above')
  t.end()
})

t.test('with a share at the bound so few hits come in 1 of 20 samples', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400 }), fc.double({ min: 0, max: 1, noNaN: true }), (trials, part) => {
      const hits = Math.min(trials - 1, Math.floor(part * trials))
      return Math.abs(binomialUpTo(hits, trials, clopperPearsonUpper(hits, trials)) - 0.05) < 1e-8
    }),
    { seed: 1, numRuns: 500 },
  )
  t.end()
})

t.test('subjects, not records, are what was sampled', (t) => {
  const fifty = Array.from({ length: 50 }, (_, g) => g)
  const apart = shareOf(
    fifty.map((g) => (g % 2 === 0 ? 1 : 0)),
    fifty.map(() => 1),
  )
  const alike = shareOf(
    fifty.map((g) => (g % 2 === 0 ? 100 : 0)),
    fifty.map(() => 100),
  )
  t.equal(alike.of, 5000)
  t.equal(alike.share, apart.share)
  t.ok(Math.abs(alike.upper - apart.upper) < 0.01, 'a hundred records that are alike say as much as one')
  const spread = shareOf(
    fifty.map((g) => 50 + (g % 2)),
    fifty.map(() => 100),
  )
  t.ok(spread.upper < 0.52, 'where each is like all others every record counts')
  const none = shareOf(
    fifty.map(() => 0),
    fifty.map(() => 100),
  )
  t.equal(none.upper, clopperPearsonUpper(0, 50))
  t.equal(none.least, none.upper)
  t.equal(shareOf([], []).upper, 1, 'of what was not looked at nothing is known')
  t.end()
})
