/** The whole program, its accounts, and what they say of a program that loses records, or has to do its work again. */
import { randomUUID } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { Writable } from 'node:stream'
import t, { type Test } from 'tap'
import { type App, startApp } from '../../src/app/app.js'
import { Delivery } from '../../src/deliver/delivery.js'
import type { WorkItem } from '../../src/flow/work-item.js'
import { createLog } from '../../src/ops/log.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { loadSettings } from '../../src/settings/load.js'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { get, metric, Place, sleep, until } from '../e2e/program.js'
import { call, field, records } from '../e2e/records.js'
import { withoutLeases } from '../helpers/without-leases.js'

const BROKEN = field(4, Buffer.from([0xff]))

/** Holds what is offered to delivery, from now until it is released. */
class Gate {
  held = false
  /** What was offered while it was held. */
  waiting = 0
  #open: (() => void)[] = []
  #wrap: (item: WorkItem) => WorkItem = (item) => item

  constructor(t: Test) {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with `this` below
    const { offer } = Delivery.prototype
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- `this` is the delivery inside
    const gate = this
    Delivery.prototype.offer = async function (item) {
      if (gate.held) {
        gate.waiting++
        await new Promise<void>((resolve) => gate.#open.push(resolve))
      }
      return offer.call(this, gate.#wrap(item))
    }
    t.teardown(() => {
      Delivery.prototype.offer = offer
    })
  }

  /** Each batch is made so many times, as after aborted transactions. */
  refills(times: number): void {
    this.#wrap = (item) => ({
      ...item,
      minimise: (excluded) => {
        for (let i = 1; i < times; i++) item.minimise(excluded)
        return item.minimise(excluded)
      },
    })
  }

  release(): void {
    this.held = false
    this.waiting = 0
    for (const open of this.#open.splice(0)) open()
  }
}

async function start(
  t: Test,
  over: (place: Place) => object = () => ({}),
): Promise<{
  readonly app: App
  readonly files: readonly string[]
  readonly lines: string[]
  readonly page: () => Promise<string>
  readonly committed: (kind: string) => Promise<number>
}> {
  const place = new Place(t)
  place.makeStore()
  const settings = loadSettings(
    place.settings({
      keys: { store: 'minim-keys.json' },
      spool: { path: 'spool' },
      http: { listen: '127.0.0.1:0' },
      ...over(place),
    }),
  )
  const before = process.env['MINIM_MASTER_KEY']
  process.env['MINIM_MASTER_KEY'] = place.master
  t.teardown(() => {
    if (before === undefined) delete process.env['MINIM_MASTER_KEY']
    else process.env['MINIM_MASTER_KEY'] = before
  })
  const lines: string[] = []
  const app = await startApp({
    settings,
    log: createLog(
      'info',
      new Writable({
        write: (chunk: Buffer, _, done) => {
          lines.push(chunk.toString())
          done()
        },
      }),
    ),
    onFatal: (error) => {
      t.error(error)
    },
  })
  t.teardown(() => app.stop(1000))
  const page = async (): Promise<string> => (await get(app.opsAddress, '/metrics')).body
  return {
    app,
    files: settings.files.map((file) => file.path),
    lines,
    page,
    committed: async (kind) => metric(await page(), 'minim_records_received_total')[`source_kind="${kind}"`] ?? 0,
  }
}

const drifts = (page: string): Record<string, number> =>
  Object.fromEntries(
    Object.entries(metric(page, 'minim_conservation_drift_records')).filter(([, value]) => value !== 0),
  )
const json = (n: number): string => `${JSON.stringify(call(n))}\n`
const jsons = (from: number, count: number): string => Array.from({ length: count }, (_, i) => json(from + i)).join('')

const followed = (place: Place): object => ({
  files: ['a', 'b'].map((name) => {
    const path = place.write(`${name}.jsonl`, json(0))
    return { path, format: 'jsonl', pollMs: 10 }
  }),
})

for (const sabotaged of [false, true]) {
  t.test(
    `a file's lines wait for delivery, and another file gets half a line${sabotaged ? '; without leases' : ''}`,
    async (t) => {
      if (sabotaged) t.teardown(withoutLeases())
      const gate = new Gate(t)
      const {
        app,
        files: [a, b],
        lines,
        page,
        committed,
      } = await start(t, followed)
      await until('both are followed', async () => (await committed('file')) === 2)
      gate.held = true
      appendFileSync(a, jsons(1, 100))
      await until('they wait', () => gate.waiting === 1)
      appendFileSync(b, json(200).slice(0, 30))
      await sleep(150)
      t.match(metric(await page(), 'minim_records_in_flight'), { 'source_kind="file"': 100 })
      gate.release()
      // The next commit, whoever's it is: it has been decided by then.
      appendFileSync(b, json(200).slice(30))
      await until(
        'all is committed',
        async () =>
          metric(await page(), 'minim_records_in_flight')['source_kind="file"'] === 0 && (await committed('file')) >= 3,
      )
      const ready = await get(app.opsAddress, '/readyz')
      const said = lines
        .map((line) => JSON.parse(line) as { level: string; err?: { code: string; message: string } })
        .filter(({ err }) => err?.code === 'MINIM_CONSERVATION_DRIFT')
      if (!sabotaged) {
        t.equal(await committed('file'), 103)
        t.same(drifts(await page()), {})
        t.equal(ready.status, 200)
        t.same(said, [])
        return
      }
      t.equal(await committed('file'), 3, '100 lines are lost')
      t.same(drifts(await page()), { 'source_kind="file",purpose="*",kind="*"': 100 })
      t.equal(ready.status, 503)
      t.same(JSON.parse(ready.body), { ready: false, reasons: ['conservation_drift'] })
      t.match(metric(await page(), 'minim_ready'), { '': 0 })
      t.equal(said.length, 1, 'said once')
      t.match(said[0], { level: 'error', err: { message: '100 record(s) that came in by file are not accounted for' } })
    },
  )
}

t.test('of a program that has to do its work again the accounts are even', async (t) => {
  const gate = new Gate(t)
  const {
    app,
    files: [a],
    lines,
    page,
    committed,
  } = await start(t, followed)
  const http = `http://${app.addresses['http']}/v1/calls`
  const post = async (from: number, body: string): Promise<number> =>
    (
      await fetch(http, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/x-ndjson', 'idempotency-key': `k-${from}` },
      })
    ).status
  // Calls bear the time at which they were made up: what is sent again must be the same to the octet, or it is refused
  // as another.
  const posted = jsons(400, 20)
  const incarnation = randomUUID()
  const client = (onAck: (sequence: number) => void = () => undefined): DeliverClient => {
    const made = new DeliverClient({ address: app.grpcAddress, source: 'pbx-1', incarnation, onAck })
    t.teardown(() => {
      made.cancel()
    })
    return made
  }
  const even = async (t: Test): Promise<void> => {
    await until('nothing is in flight', async () =>
      Object.values(metric(await page(), 'minim_records_in_flight')).every((value) => value === 0),
    )
    t.same(drifts(await page()), {})
    t.equal((await get(app.opsAddress, '/readyz')).status, 200)
  }
  await until('both are followed', async () => (await committed('file')) === 2)

  await t.test('batches that are made more than once', async (t) => {
    gate.refills(3)
    appendFileSync(a, jsons(1, 50))
    t.equal(await post(100, jsons(100, 40)), 202)
    const stream = client()
    t.equal(await stream.resumeAfter, 0)
    stream.send(1, Buffer.concat([records({ calls: [call(1), call(2)] }), BROKEN]))
    await until(
      'all is committed',
      async () =>
        (await committed('file')) === 52 && (await committed('http')) === 40 && (await committed('grpc')) === 3,
    )
    gate.refills(1)
    stream.cancel()
    await even(t)
  })

  await t.test('a batch that is sent again while the first is under way', async (t) => {
    gate.held = true
    const batch = records({ calls: [call(3), call(4)] })
    const first = client()
    t.equal(await first.resumeAfter, 1)
    first.send(2, batch)
    await until('it waits', () => gate.waiting === 1)
    let acknowledged = 0
    const second = client((sequence) => {
      acknowledged = sequence
    })
    t.equal(await second.resumeAfter, 1)
    second.send(2, batch)
    await until('both wait', () => gate.waiting === 2)
    gate.release()
    await until('it is acknowledged', () => acknowledged === 2)
    t.equal(await committed('grpc'), 5)
    t.ok(app.delivery.stats.skipped >= 1)
    second.cancel()
    await even(t)
  })

  await t.test('an envelope that is broken', async (t) => {
    let acknowledged = 0
    const stream = client((sequence) => {
      acknowledged = sequence
    })
    t.equal(await stream.resumeAfter, 2)
    stream.send(3, Buffer.concat([records({ calls: [call(5)] }), Buffer.from([0x22, 0x7f, 1])]))
    await until('it is acknowledged', () => acknowledged === 3)
    t.equal(await committed('grpc'), 7, 'its record, and the rest as one')
    stream.cancel()
    await even(t)
  })

  await t.test('a batch that could not be made', async (t) => {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- put back below
    const { runFilled, runAll } = Pipeline.prototype
    let failures = 0
    Pipeline.prototype.runFilled = function (...args) {
      if (failures++ < 2) throw new Error('on purpose')
      return runFilled.apply(this, args)
    }
    let spooled = 0
    Pipeline.prototype.runAll = function (...args) {
      if (spooled++ < 2) throw new Error('on purpose')
      return runAll.apply(this, args)
    }
    t.teardown(() => {
      Object.assign(Pipeline.prototype, { runFilled, runAll })
    })
    appendFileSync(a, jsons(300, 30))
    t.equal(await post(400, posted), 202)
    await until('all is committed', async () => (await committed('file')) === 82 && (await committed('http')) === 60)
    t.ok(failures > 2 && spooled > 2)
    await even(t)
  })

  await t.test('posts that were there before, and bad ones', async (t) => {
    t.equal(await post(400, posted), 200)
    t.equal(
      (
        await fetch(http, {
          method: 'POST',
          body: '{"start_ms":"x"}',
          headers: { 'content-type': 'application/x-ndjson' },
        })
      ).status,
      422,
    )
    appendFileSync(a, `not a line of it\n\n   \n${json(500)}`)
    await until('it is committed', async () => (await committed('file')) === 84)
    await even(t)
    t.equal(await committed('http'), 60)
  })
  t.notMatch(lines.join(''), /MINIM_CONSERVATION_DRIFT/)
})
