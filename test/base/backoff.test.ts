import t from 'tap'
import { Backoff } from '../../src/base/backoff.js'

const waits = (backoff: Backoff, count: number): number[] => Array.from({ length: count }, () => backoff.next())

t.test('each wait is twice the one before, up to the longest', (t) => {
  t.same(waits(new Backoff(250, 2_000, () => 1), 6), [250, 500, 1_000, 2_000, 2_000, 2_000])
  t.same(
    waits(new Backoff(300, 1_000, () => 1), 4),
    [300, 600, 1_000, 1_000],
    'a limit that no doubling meets is kept to',
  )
  t.same(waits(new Backoff(500, 100, () => 1), 3), [500, 500, 500], 'a limit below the first wait is the first wait')
  t.end()
})

t.test('chance takes up to half of a wait, and never adds to it', (t) => {
  t.same(waits(new Backoff(250, 2_000, () => 0), 5), [125, 250, 500, 1_000, 1_000])
  const backoff = new Backoff(10, 1_000)
  const seen = new Set<number>()
  waits(backoff, 7)
  for (const wait of waits(backoff, 2_000)) {
    if (wait < 500 || wait > 1_000 || !Number.isInteger(wait)) t.fail(`a wait of ${wait}`)
    seen.add(wait)
  }
  t.ok(seen.size > 300, `waits differ: ${seen.size} lengths in 2,000`)
  t.ok(Math.min(...seen) < 550 && Math.max(...seen) > 950, 'over the whole range')
  t.end()
})

t.test('what has worked begins with the shortest wait again', (t) => {
  const backoff = new Backoff(100, 10_000, () => 1)
  waits(backoff, 5)
  backoff.reset()
  t.same(waits(backoff, 2), [100, 200])
  t.end()
})

t.test('the longest wait at once counts as one failure', (t) => {
  const backoff = new Backoff(100, 10_000, () => 1)
  t.equal(backoff.longest(), 10_000)
  t.same(waits(backoff, 2), [200, 400])
  t.equal(new Backoff(100, 10_000, () => 0).longest(), 5_000)
  t.end()
})

t.test('after ever so many failures a wait is still one', (t) => {
  const backoff = new Backoff(1, Number.MAX_SAFE_INTEGER, () => 1)
  const all = waits(backoff, 2_000)
  t.ok(all.every((wait) => wait <= Number.MAX_SAFE_INTEGER && wait > 0))
  t.end()
})
