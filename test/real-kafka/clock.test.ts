/**
 * The real program with a clock that is hours off, against a real broker whose clock is right: it says so, blames no
 * record for it, and goes on by itself. The shift is the program's alone; Kafka and this process know what time it is.
 */
import t, { type Test } from 'tap'
import { get, metric, Place, Program, sleep, until } from '../e2e/program.js'
import { freePort } from '../helpers/free-port.js'
import { kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'
import { setClock, shiftedClock } from '../helpers/shifted-clock.js'

const reason = kafkaAvailable()
t.setTimeout(400_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const HOUR_MS = 3_600_000
const POSTS = 30
const TOPIC = 'pbx.quality.call'

class Skewed {
  readonly place: Place
  readonly clock: string
  program: Program | null = null
  #ports: { http: number; freeswitch: number } | null = null
  ops = ''

  readonly #t: Test
  readonly #kafka: KafkaCluster
  readonly #cluster: string
  readonly #guarantee: string

  constructor(t: Test, kafka: KafkaCluster, cluster: string, guarantee: string) {
    this.#t = t
    this.#kafka = kafka
    this.#cluster = cluster
    this.#guarantee = guarantee

    this.place = new Place(t)
    this.place.makeStore()
    this.clock = this.place.path('clock')
  }

  async start(byHours: number): Promise<Program> {
    const { place, clock } = this
    const kafka = this.#kafka
    const cluster = this.#cluster
    const guarantee = this.#guarantee
    const ports = (this.#ports ??= { http: await freePort(), freeswitch: await freePort() })
    setClock(clock, byHours * HOUR_MS)
    const settings = place.settings({
      embedded: false,
      cluster,
      kafka: { 'bootstrap.servers': kafka.bootstrap },
      topics: { partitions: 2, replication: 1 },
      delivery: { guarantee },
      http: { listen: `127.0.0.1:${ports.http}` },
      freeswitch: { listen: `127.0.0.1:${ports.freeswitch}` },
    })
    const program = (this.program = new Program(this.#t, ['run', '--config', settings], place, shiftedClock(clock)))
    this.ops = String((await program.line("operator's port"))['ops'])
    return program
  }

  set(byHours: number): void {
    setClock(this.clock, byHours * HOUR_MS)
  }

  async post(n: number, startMs = Date.now() - 4 * HOUR_MS): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.#ports?.http}/v1/calls`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': `${this.#cluster}-${n}` },
      body: JSON.stringify({ start_ms: startMs, call_id: `${this.#cluster}-${n}`, duration_seconds: n }),
    })
    await response.arrayBuffer()
    return response.status
  }

  /** What is no CDR: it goes to quarantine, in an envelope that bears this machine's time. */
  async postBroken(): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.#ports?.freeswitch}/cdr`, { method: 'POST', body: 'no CDR' })
    await response.arrayBuffer()
    return response.status
  }

  codes(): string[] {
    return (this.program as Program)
      .log()
      .map((line) => (line['err'] as { code?: string } | undefined)?.code ?? '')
      .filter((code) => code !== '')
  }

  async ready(): Promise<{ ready: boolean; reasons: string[] }> {
    const { status, body } = await get(this.ops, '/readyz')
    const said = JSON.parse(body) as { ready: boolean; reasons: string[] }
    this.#t.equal(said.ready, status === 200)
    return said
  }

  clockMessage(): string {
    const line = (this.program as Program)
      .log()
      .findLast(({ err }) => (err as { code?: string } | undefined)?.code === 'MINIM_KAFKA_CLOCK')
    return (line?.['err'] as { message: string } | undefined)?.message ?? 'not said'
  }
}

t.test('a clock that is hours off', { skip: reason ?? false, timeout: 400_000 }, async (t) => {
  const kafka = await startKafka({ heap: '512m' })
  t.teardown(() => kafka.stop())
  const quarantined = async (): Promise<number> =>
    (await kafka.consoleConsumer('minim.quarantine', { timeoutMs: 3_000 })).length
  let calls = 0
  let refusals = 0

  const settled = async (t: Test, skewed: Skewed, once = true): Promise<void> => {
    const { body } = await get(skewed.ops, '/metrics')
    t.same(Object.values(metric(body, 'minim_messages_dropped_total')), [0], 'nothing was dropped')
    t.equal(
      metric(body, 'minim_records_quarantined_total')['reason="refused_by_kafka"'] ?? 0,
      0,
      'no record was blamed',
    )
    t.same([...new Set(Object.values(metric(body, 'minim_conservation_drift_records')))], [0])
    const found = [(await kafka.consoleConsumer(TOPIC, { timeoutMs: 3_000 })).length, await quarantined()]
    if (once) t.same(found, [calls, refusals], 'all calls once, and what is quarantined is what had to be')
    else
      t.ok(
        found[0] >= calls && found[1] >= refusals,
        `${found[0]} of ${calls} calls, ${found[1]} of ${refusals} refused, since the first part`,
      )
    skewed.program?.kill('SIGTERM')
    t.equal((await skewed.program?.end())?.code, 0)
  }

  t.test('3 h ahead at the start', async (t) => {
    const skewed = new Skewed(t, kafka, 'ahead', 'exactly-once')
    const program = await skewed.start(3)
    await until(
      'it is told as the clock',
      () => skewed.codes().filter((code) => code === 'MINIM_KAFKA_CLOCK').length >= 3,
    )
    t.match(skewed.clockMessage(), /clock is 10(79|80)\d s ahead of Kafka's/)
    t.same([...new Set(skewed.codes())], ['MINIM_KAFKA_CLOCK'])
    t.match(await skewed.ready(), { ready: false, reasons: ['delivery_connecting', 'clock'] })
    for (let n = 0; n < POSTS; n++) t.equal(await skewed.post(n), 202)
    t.equal(await skewed.postBroken(), 200)
    skewed.set(0)
    await program.line('ready')
    calls += POSTS
    refusals += 1
    await until(
      'all is committed',
      async () => metric((await get(skewed.ops, '/metrics')).body, 'minim_spool_blocks')[''] === 0,
    )
    await settled(t, skewed)
  })

  t.test('3 h behind: said, and what lies ahead of it is refused for that', async (t) => {
    const skewed = new Skewed(t, kafka, 'behind', 'exactly-once')
    const program = await skewed.start(-3)
    await program.line('ready')
    t.match(skewed.clockMessage(), /clock is 10(79|80)\d s behind Kafka's/)
    t.ok((await skewed.ready()).ready)
    t.equal(await skewed.post(0, Date.now() - 1_000), 422, 'a call of now')
    t.equal(await skewed.post(1), 202, 'a call of four hours ago')
    calls += 1
    await until(
      'it is committed',
      async () => metric((await get(skewed.ops, '/metrics')).body, 'minim_spool_blocks')[''] === 0,
    )
    await settled(t, skewed)
  })

  for (const guarantee of ['exactly-once', 'at-least-once']) {
    t.test(`3 h ahead while it runs, ${guarantee}`, async (t) => {
      const skewed = new Skewed(t, kafka, `step-${guarantee}`, guarantee)
      const program = await skewed.start(0)
      await program.line('ready')
      for (let n = 0; n < POSTS; n++) t.equal(await skewed.post(n), 202)
      skewed.set(3)
      await sleep(100)
      t.equal(await skewed.postBroken(), 200)
      for (let n = POSTS; n < 2 * POSTS; n++) t.equal(await skewed.post(n), 202, 'what is posted is safe')
      await until(
        'it is told as the clock',
        () => skewed.codes().filter((code) => code === 'MINIM_KAFKA_CLOCK').length >= 3,
      )
      t.comment(skewed.clockMessage())
      t.match(
        skewed.clockMessage(),
        guarantee === 'exactly-once' ? /clock is 10(79|80)\d s ahead of Kafka's/ : /clock is too far from Kafka's/,
      )
      t.notOk(skewed.codes().includes('MINIM_KAFKA_NO_BROKER'), 'and not as brokers that do not answer')
      t.match(await skewed.ready(), { ready: false, reasons: ['delivery_recovering', 'clock'] })
      skewed.set(0)
      await until('it goes on by itself', async () => (await skewed.ready()).ready)
      calls += 2 * POSTS
      refusals += 1
      await until(
        'all is committed',
        async () => metric((await get(skewed.ops, '/metrics')).body, 'minim_spool_blocks')[''] === 0,
      )
      await settled(t, skewed, guarantee === 'exactly-once')
    })
  }
})
