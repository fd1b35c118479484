import fc from 'fast-check'
import t from 'tap'
import { MAX_SENDERS, RateLimit } from '../../src/base/rate-limit.js'

t.test("a second's worth may come at once, and then as much as fills", (t) => {
  const limit = new RateLimit(4, 10)
  t.same(
    [0, 0, 0, 0, 0, 249, 250, 251, 500].map((now) => limit.take('a', now)),
    [true, true, true, true, false, false, true, false, true],
  )
  t.same(
    [10_000, 10_000, 10_000, 10_000, 10_000].map((now) => limit.take('a', now)),
    [true, true, true, true, false],
    'silence saves up a second, no more',
  )
  t.end()
})

t.test('one that floods takes nothing from others', (t) => {
  const limit = new RateLimit(2, 10)
  for (let n = 0; n < 100; n++) limit.take('flood', 0)
  t.notOk(limit.take('flood', 1))
  t.ok(limit.take('other', 1))
  t.end()
})

t.test('a rate of 0 limits nobody, and remembers nobody', (t) => {
  const limit = new RateLimit(0)
  t.ok(Array.from({ length: 1000 }, (_, n) => limit.take(`a${n % 3}`, 0)).every(Boolean))
  t.equal(limit.size, 0)
  t.end()
})

t.test("made-up names fill no memory, and reset nobody whose bucket is not full while others' are", (t) => {
  const limit = new RateLimit(1)
  for (let n = 0; n < 3 * MAX_SENDERS; n++) limit.take(`made up ${n}`, n)
  t.equal(limit.size, MAX_SENDERS)
  const few = new RateLimit(1, 6)
  few.take('idle', 0)
  for (const busy of ['a', 'b', 'c', 'd', 'e']) few.take(busy, 5_000)
  t.ok(few.take('new', 5_001))
  t.same(
    ['a', 'b', 'c', 'd', 'e'].map((busy) => few.take(busy, 5_002)),
    [false, false, false, false, false],
    'the one whose bucket had filled again is forgotten',
  )
  t.equal(few.size, 6)
  t.end()
})

t.test('each has a bucket of its own, whatever came before it: as by a map of buckets', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(700)), { maxLength: 60 }),
      (rate, comes) => {
        const limit = new RateLimit(rate, 4)
        const buckets = new Map<string, { tokens: number; at: number }>()
        let now = 0
        for (const [key, later] of comes) {
          now += later
          const bucket = buckets.get(key) ?? { tokens: rate, at: now }
          buckets.set(key, bucket)
          bucket.tokens = Math.min(rate, bucket.tokens + ((now - bucket.at) * rate) / 1000)
          bucket.at = now
          const expected = bucket.tokens >= 1
          if (expected) bucket.tokens--
          if (limit.take(key, now) !== expected) return false
        }
        return true
      },
    ),
    { numRuns: 2_000 },
  )
  t.end()
})
