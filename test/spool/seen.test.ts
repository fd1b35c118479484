/**
 * Remembered ids: clocks that step, bodies that differ, workers that share the table, and what the key store is asked
 * for.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import t, { type Test } from 'tap'
import type { NamedBody, PutOutcome, Spooled } from '../../src/flow/source.js'
import type { EpochKeys, KeyAbsence, Keyring } from '../../src/keys/keyring.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { Spool, type SpoolOptions } from '../../src/spool/spool.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const START = Date.UTC(2026, 10, 24, 12)
const REMEMBER_HOURS = 24

/** A keyring that tells which days it was asked for. */
class WatchedKeyring implements Keyring {
  readonly asked = new Set<string>()
  readonly #keyring: Keyring
  constructor(now: () => number) {
    this.#keyring = throwawayKeyring(now)
  }

  keys(purpose: string, epoch: string): EpochKeys | KeyAbsence {
    this.asked.add(epoch)
    return this.#keyring.keys(purpose, epoch)
  }
}

class Kit {
  readonly path = mkdtempSync(join(tmpdir(), 'minim-seen-'))
  /** The system's clock, which is set; the other is not. */
  now = START
  monotonic = 5_000_000
  readonly keyring = new WatchedKeyring(() => this.now)
  readonly #open = new Set<Spool>()

  constructor(t: Test) {
    t.teardown(async () => {
      await this.close()
      rmSync(this.path, { recursive: true, force: true })
    })
  }

  open(over: Partial<SpoolOptions> = {}): Spool {
    const spool = Spool.open({
      path: this.path,
      maxBytes: 64 << 20,
      rememberHours: REMEMBER_HOURS,
      keyring: this.keyring,
      now: () => this.now,
      monotonic: () => this.monotonic,
      ...over,
    })
    this.#open.add(spool)
    return spool
  }

  async close(): Promise<void> {
    for (const spool of this.#open) await spool.close()
    this.#open.clear()
  }

  /** Time goes by, for both clocks alike, and the minute's sweep has its turn in each hour. */
  async pass(spool: Spool, hours: number): Promise<void> {
    for (let hour = 0; hour < hours; hour++) {
      this.now += HOUR_MS
      this.monotonic += HOUR_MS
      await this.sweep(spool)
    }
  }

  /** What the spool does each minute. */
  async sweep(spool: Spool): Promise<void> {
    for (const tick of this.#timers) tick()
    // A put that is stored stands behind the sweep.
    await spool.put(entry('a tick', null))
  }

  readonly #timers: (() => void)[] = []

  /** Has the spool's timer in the test's hands. */
  static withTimers(t: Test): Kit {
    const kit = new Kit(t)
    const real = globalThis.setInterval
    globalThis.setInterval = ((action: () => void, ms: number) => {
      kit.#timers.push(action)
      return real(() => undefined, ms)
    }) as typeof setInterval
    t.teardown(() => {
      globalThis.setInterval = real
    })
    return kit
  }

  /** Rows of the table. */
  async rows(): Promise<number> {
    await this.close()
    const root = openLmdb({ path: this.path, noSubdir: false, overlappingSync: false, encoding: 'binary' })
    const count = root.openDB({ name: 'seen', encoding: 'binary', keyEncoding: 'binary' }).getKeysCount()
    await root.close()
    return count
  }
}

const entry = (text: string, id: Spooled['id']): Spooled => ({
  source: 'http',
  format: 'protobuf',
  tenant: 'acme',
  bytes: Buffer.from(text),
  id: id ?? null,
})
const IDS = Array.from({ length: 40 }, (_, n) => `call ${n}`)
const post = (spool: Spool): Promise<PutOutcome[]> => Promise.all(IDS.map((id) => spool.put(entry('x', id))))
const all = (outcome: PutOutcome): PutOutcome[] => IDS.map(() => outcome)

/** Steps of the clock, h. `after`: how long it stays there, h of real time. */
const STEPS: readonly {
  readonly name: string
  readonly steps: readonly { readonly by: number; readonly after?: number }[]
}[] = [
  { name: 'back 12 h', steps: [{ by: -12 }] },
  { name: 'ahead 12 h and back', steps: [{ by: 12 }, { by: -12 }] },
  { name: 'ahead 12 h and back, an hour later', steps: [{ by: 12, after: 1 }, { by: -12 }] },
  { name: 'back 3 days', steps: [{ by: -72 }] },
  { name: 'back 3 days and ahead, two hours later', steps: [{ by: -72, after: 2 }, { by: 72 }] },
  { name: 'ahead 3 days and back', steps: [{ by: 72 }, { by: -72 }] },
  {
    name: 'ahead 3 days and back, five hours later',
    steps: [
      { by: 72, after: 5 },
      { by: -72, after: 5 },
    ],
  },
  { name: 'ahead 90 days and back', steps: [{ by: 2160, after: 1 }, { by: -2160 }] },
  { name: 'to 1970 and back', steps: [{ by: -START / HOUR_MS, after: 1 }, { by: START / HOUR_MS }] },
  {
    name: 'here and there',
    steps: [
      { by: 5, after: 1 },
      { by: -30, after: 1 },
      { by: 50, after: 1 },
      { by: -100, after: 1 },
      { by: 75, after: 1 },
    ],
  },
]

for (const restart of [false, true]) {
  t.test(
    restart
      ? 'a clock that is set between two runs makes no repeats'
      : 'a clock that is set while it runs makes no repeats',
    async (t) => {
      for (const { name, steps } of STEPS) {
        await t.test(name, async (t) => {
          const kit = Kit.withTimers(t)
          let spool = kit.open()
          t.same(await post(spool), all('stored'))
          await kit.sweep(spool)
          for (const { by, after = 0 } of steps) {
            if (restart) await kit.close()
            kit.now += by * HOUR_MS
            if (restart) {
              kit.monotonic = 1_000
              spool = kit.open()
            }
            t.same(await post(spool), all('repeated'), `${by} h`)
            await kit.sweep(spool)
            await kit.pass(spool, after)
            t.same(await post(spool), all('repeated'), `${by} h, ${after} h later`)
          }
        })
      }
    },
  )
}

t.test('what was taken while the clock was wrong is known when it is right', async (t) => {
  for (const by of [-72, -12, 12, 72]) {
    const kit = Kit.withTimers(t)
    const spool = kit.open()
    await spool.put(entry('x', 'of before'))
    kit.now += by * HOUR_MS
    t.same(await post(spool), all('stored'))
    await kit.pass(spool, 1)
    kit.now -= by * HOUR_MS
    t.same(await post(spool), all('repeated'), `${by} h`)
    await kit.close()
  }
})

t.test('a clock that was set is believed in the end, and the table does not grow for ever', async (t) => {
  for (const by of [72, -72]) {
    const kit = Kit.withTimers(t)
    const spool = kit.open()
    t.same(await post(spool), all('stored'))
    kit.now += by * HOUR_MS
    await kit.pass(spool, REMEMBER_HOURS)
    t.same(await post(spool), all('repeated'), 'as long as was asked, by the clock that nobody sets')
    await kit.pass(spool, 7)
    t.equal(await kit.rows(), 0, 'and not much longer')
  }
  const kit = Kit.withTimers(t)
  let spool = kit.open()
  t.same(await post(spool), all('stored'))
  await kit.close()
  kit.now += 10 * DAY_MS
  kit.monotonic = 1_000
  spool = kit.open()
  t.same(await post(spool), all('repeated'), 'down for ten days, or set by as much: nobody knows')
  await kit.pass(spool, REMEMBER_HOURS + 7)
  t.equal(await kit.rows(), 0)
})

t.test('a clock that goes well: a few spans, over restarts too', async (t) => {
  const kit = Kit.withTimers(t)
  let spool = kit.open()
  for (let hour = 0; hour < 150; hour++) {
    if ((await spool.put(entry('x', `of hour ${hour}`))) !== 'stored') t.fail(`hour ${hour}`)
    await kit.pass(spool, 1)
    // Five minutes for an update.
    if (hour % 10 === 9) {
      await kit.close()
      kit.now += 300_000
      kit.monotonic = 1_000
      spool = kit.open()
    }
    if (hour >= REMEMBER_HOURS) {
      const known = await spool.put(entry('x', `of hour ${hour - REMEMBER_HOURS + 2}`))
      if (known !== 'repeated') t.fail(`hour ${hour}: ${known}`)
    }
  }
  t.ok((await kit.rows()) <= 1.25 * REMEMBER_HOURS + 2, 'no more than is remembered')
})

t.test('a clock that is set again and again: the spans are bounded', async (t) => {
  const kit = Kit.withTimers(t)
  const spool = kit.open()
  for (let n = 0; n < 120; n++) {
    kit.now = START + (n % 2 === 0 ? -n : n) * DAY_MS
    if ((await spool.put(entry('x', `set ${n}`))) !== 'stored') t.fail(`set ${n}`)
  }
  await kit.sweep(spool)
  const left = await kit.rows()
  t.ok(left > 40 && left <= 60, `${left} rows in as many spans`)
})

t.test('no key is made for days that nothing was taken in', async (t) => {
  const kit = Kit.withTimers(t)
  const spool = kit.open()
  await post(spool)
  kit.now += 10 * DAY_MS
  await post(spool)
  kit.now -= 10 * DAY_MS
  await post(spool)
  t.same([...kit.keyring.asked].sort(), ['2026-11-24', '2026-12-04'])
})

t.test('the same name with another body is said to be reused, with the same body it is a repeat', async (t) => {
  const kit = new Kit(t)
  let spool = kit.open()
  const named = (name: string, body: string): NamedBody => ({ name, body: Buffer.from(body) })
  const put = (name: string, body: string): Promise<PutOutcome> => spool.put(entry('x', named(name, body)))
  t.same(
    await Promise.all([put('one', 'a'), put('one', 'a'), put('one', 'b'), put('two', 'b'), put('one', 'a')]),
    ['stored', 'repeated', 'reused', 'stored', 'repeated'],
    'in one write',
  )
  t.same(
    [await put('one', 'a'), await put('one', 'b'), await put('one', ''), await put('two', 'b')],
    ['repeated', 'reused', 'reused', 'repeated'],
    'later',
  )
  await kit.close()
  kit.now += 13 * HOUR_MS
  spool = kit.open()
  t.same(
    [await put('one', 'a'), await put('one', 'b'), await put('two', 'a')],
    ['repeated', 'reused', 'reused'],
    'after a restart, on the next day: the fingerprint is of the day that it was written',
  )
  t.same(
    await Promise.all([spool.put(entry('x', 'uuid')), spool.put(entry('y', 'uuid'))]),
    ['stored', 'repeated'],
    'an id without a body is what it is',
  )
  t.equal(await spool.put(entry('z', 'uuid')), 'repeated')
})

t.test('what is stored of a body is of no use without the key', async (t) => {
  const kit = new Kit(t)
  const spool = kit.open()
  for (const name of ['one', 'two']) await spool.put(entry('x', { name, body: Buffer.from('the same') }))
  await kit.close()
  const root = openLmdb<Buffer, Buffer>({ path: kit.path, noSubdir: false, overlappingSync: false, encoding: 'binary' })
  const rows = [
    ...root.openDB<Buffer, Buffer>({ name: 'seen', encoding: 'binary', keyEncoding: 'binary' }).getRange(),
  ].map(({ key, value }) => ({ key, value: Buffer.from(value) }))
  await root.close()
  t.same(
    rows.map(({ key, value }) => [key.length, value.length]),
    [
      [20, 16],
      [20, 16],
    ],
  )
  t.notOk(rows[0].value.equals(rows[1].value), 'nor does it tell that two bodies are the same')
})

t.test('rows of a version that kept no fingerprint count as repeats', async (t) => {
  const kit = new Kit(t)
  let spool = kit.open()
  // An id without a body leaves the row that such a version left.
  t.equal(await spool.put(entry('x', 'old')), 'stored')
  t.equal(await spool.put(entry('x', { name: 'old', body: Buffer.from('whatever') })), 'repeated')
  await kit.close()
  spool = kit.open()
  t.equal(await spool.put(entry('x', { name: 'old', body: Buffer.from('else') })), 'repeated')
})

t.test('what one worker has taken while the clock was wrong, another knows', async (t) => {
  const kit = Kit.withTimers(t)
  const [one, two] = [kit.open({ worker: 0 }), kit.open({ worker: 1 })]
  await two.put(entry('x', 'something'))
  for (const by of [72, -12]) {
    kit.now += by * HOUR_MS
    t.equal(await one.put(entry('x', { name: `at ${by}`, body: Buffer.from('a') })), 'stored')
    kit.now -= by * HOUR_MS
    t.equal(await two.put(entry('x', { name: `at ${by}`, body: Buffer.from('a') })), 'repeated')
    t.equal(await two.put(entry('x', { name: `at ${by}`, body: Buffer.from('b') })), 'reused')
  }
})

t.test("the same id on both sides of a span's end, in one write", async (t) => {
  const kit = new Kit(t)
  const spool = kit.open()
  kit.now = START + 6 * HOUR_MS - 1
  const first = spool.put(entry('x', 'one'))
  kit.now += 1
  t.same(await Promise.all([first, spool.put(entry('x', 'one'))]), ['stored', 'repeated'])
})
