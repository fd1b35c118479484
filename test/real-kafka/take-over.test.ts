/**
 * Two installations of one name on a real broker: who starts takes the shard over, says from whom, and the other one
 * ends within its limit, under load and when nothing comes. Every post that was taken is in Kafka once, whichever of
 * them took it.
 */
import { Agent, request } from 'node:http'
import t, { type Test } from 'tap'
import { endLimitMs } from '../../src/cli/end.js'
import { Place, Program, sleep, until } from '../e2e/program.js'
import { call } from '../e2e/records.js'
import { freePort } from '../helpers/free-port.js'
import { kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
t.setTimeout(900_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const ROUNDS = Number(process.env['MINIM_END_ROUNDS'] ?? 6)
const SENDERS = 16
/** From the newcomer's being ready: one look at the shard, every 2 s, and the answer to it, on a busy machine. */
const IDLE_NOTICE_MS = 5_000

const POLICY = {
  purposes: {
    quality: {
      notice: 'P4',
      description: 'Watch',
      purpose: 'https://w3id.org/dpv#ServiceMonitoring',
      basis: { term: 'eu-gdpr:A6-1-b', evidence: 'contract' },
      recipients: ['operations'],
      region: 'UK',
      transfer: 'adequacy',
      retention_days: 14,
      epoch: 'contract',
      call: {
        key: 'call_id',
        format: 'json',
        fields: {
          call_id: 'token',
          calling_name: 'drop',
          start_ms: { 'time-bucket': 'minute' },
          duration_seconds: 'keep',
        },
      },
    },
  },
} as const

/** One installation: its keys and its spool, and the process that runs now. */
class Site {
  readonly place: Place
  program!: Program
  readonly #t: Test
  readonly #kafka: KafkaCluster
  readonly #over: object

  constructor(
    t: Test,
    readonly name: string,
    readonly http: number,
    readonly ops: number,
    kafka: KafkaCluster,
    over: object = {},
  ) {
    this.#t = t
    this.#kafka = kafka
    this.#over = over

    this.place = new Place(t)
    this.place.makeStore()
  }

  async start(): Promise<void> {
    this.program = new Program(
      this.#t,
      [
        'run',
        '--config',
        this.place.settings({
          embedded: false,
          cluster: 'shared',
          kafka: { 'bootstrap.servers': this.#kafka.bootstrap },
          topics: { partitions: 2, replication: 1 },
          policy: this.place.write('policy.yaml', JSON.stringify(POLICY)),
          delivery: { lingerMs: 1 },
          spool: { path: this.place.path('spool') },
          http: { listen: `127.0.0.1:${this.http}` },
          ops: { listen: `127.0.0.1:${this.ops}` },
          ...this.#over,
        }),
      ],
      this.place,
    )
    await until(`${this.name} is ready:\n${this.program.stderr}`, async () => {
      if (this.program.over) throw new Error(`${this.name} ended:\n${this.program.stderr}`)
      return (await fetch(`http://127.0.0.1:${this.ops}/readyz`).catch(() => null))?.status === 200
    })
  }

  /** When it said that it lost the shard. */
  get fencedAt(): number | null {
    const line = this.program
      .log()
      .find((found) => (found['err'] as { code?: string } | undefined)?.code === 'MINIM_DELIVERY_FENCED')
    return line === undefined ? null : Date.parse(String(line['time']))
  }
}

interface Tally {
  accepted: number
  unsure: number
  lastAcceptedAt: number
}

class Load {
  readonly tallies = new Map<Site, Tally>()
  readonly #agent = new Agent({ keepAlive: true, maxSockets: SENDERS })
  #over = false
  readonly #work: Promise<unknown>
  #next = 0

  constructor(public at: Site) {
    this.#work = Promise.all(
      Array.from({ length: SENDERS }, async () => {
        while (!this.#over) if ((await this.#post()) !== 202) await sleep(20)
      }),
    )
  }

  tally(site: Site): Tally {
    let found = this.tallies.get(site)
    if (found === undefined) this.tallies.set(site, (found = { accepted: 0, unsure: 0, lastAcceptedAt: 0 }))
    return found
  }

  #post(): Promise<number> {
    const site = this.at
    const tally = this.tally(site)
    const body = JSON.stringify(call(0, { call_id: `post-${this.#next++}`, duration_seconds: 1 }))
    return new Promise((resolve) => {
      const sent = request(
        {
          agent: this.#agent,
          port: site.http,
          host: '127.0.0.1',
          path: '/v1/calls',
          method: 'POST',
          headers: { 'content-type': 'application/json' },
        },
        (answer) => {
          if (answer.statusCode === 202) {
            tally.accepted++
            tally.lastAcceptedAt = Date.now()
          }
          answer.resume().once('close', () => {
            resolve(answer.statusCode ?? 0)
          })
        },
      )
      sent.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ECONNREFUSED') tally.unsure++
        resolve(0)
      })
      sent.end(body)
    })
  }

  async stop(): Promise<void> {
    this.#over = true
    await this.#work
    this.#agent.destroy()
  }
}

const totals = (load: Load): { accepted: number; unsure: number } =>
  [...load.tallies.values()].reduce(
    (sum, one) => ({ accepted: sum.accepted + one.accepted, unsure: sum.unsure + one.unsure }),
    { accepted: 0, unsure: 0 },
  )

/** Each names the other one. */
async function isSuccessor(t: Test, heir: Site, former: Site): Promise<void> {
  const line = await heir.program.line('the shard is taken over from')
  t.match(
    line['former'],
    new RegExp(`pid ${former.program.child.pid}, since \\d{4}-\\d\\d-\\d\\dT[0-9:]+Z, id [0-9a-f-]{36}$`),
    `${heir.name} names ${former.name}`,
  )
  const lost = former.program.log().find((found) => found.msg === 'the shard was taken over by')
  t.match(lost?.['by'], new RegExp(`pid ${heir.program.child.pid}, since `), `${former.name} names ${heir.name}`)
}

/**
 * A broker, and what makes two sites on it. The ledger has as many partitions as a site has workers, so those of others
 * need another.
 */
async function brokered(
  t: Test,
): Promise<{ kafka: KafkaCluster; sites: (t: Test, over?: object) => Promise<[Site, Site]> }> {
  const kafka = await startKafka({ heap: '512m' })
  t.teardown(() => kafka.stop())
  return {
    kafka,
    sites: async (t, over = {}) => {
      const ports = await Promise.all(Array.from({ length: 4 }, freePort))
      return [
        new Site(t, 'one', ports[0], ports[1], kafka, over),
        new Site(t, 'the other', ports[2], ports[3], kafka, over),
      ]
    },
  }
}

t.test('who is taken over ends', { skip: reason ?? false, timeout: 800_000 }, async (t) => {
  const { kafka, sites } = await brokered(t)

  t.test('under load, again and again: each former one within its limit, with its code', async (t) => {
    let [former, heir] = await sites(t)
    await former.start()
    const load = new Load(former)
    let slowest = 0
    for (let round = 0; round < ROUNDS; round++) {
      const before = load.tally(former).accepted
      await until('posts are taken', () => load.tally(former).accepted > before + 100)
      await heir.start()
      const end = await former.program.end(2 * endLimitMs(0))
      const endedAt = Date.now()
      const { fencedAt } = former
      t.equal(end.code, 3, `${former.name}: ${end.signal ?? ''}\n${end.stderr}`)
      if (fencedAt === null) throw new Error(`it was not fenced:\n${end.stderr}`)
      slowest = Math.max(slowest, endedAt - fencedAt)
      t.ok(endedAt - fencedAt < endLimitMs(0), `${endedAt - fencedAt} ms from what it noticed to its end`)
      // What was being flushed at that moment is safe, and said to be.
      t.ok(
        load.tally(former).lastAcceptedAt - fencedAt < 1_000,
        `its last 202 came ${load.tally(former).lastAcceptedAt - fencedAt} ms after that`,
      )
      await isSuccessor(t, heir, former)
      load.at = heir
      ;[former, heir] = [heir, former]
    }
    t.comment(`${ROUNDS} take-overs under load, the slowest end took ${slowest} ms`)
    await load.stop()
    // Each delivers what it has in its spool, one after the other.
    for (const site of [former, heir]) {
      if (site.program.over) await site.start()
      await until('its spool is empty', async () =>
        /^minim_spool_blocks 0$/m.test(await (await fetch(`http://127.0.0.1:${site.ops}/metrics`)).text()),
      )
      site.program.kill('SIGTERM')
      t.equal((await site.program.end()).code, 0)
    }
    const { accepted, unsure } = totals(load)
    const found = (await kafka.consoleConsumer('pbx.quality.call', { timeoutMs: 4_000 })).map(
      ({ value }) => (JSON.parse(value.toString()) as { call_id: string }).call_id,
    )
    t.comment(`${accepted} accepted, ${unsure} without an answer, ${found.length} in the topic`)
    t.ok(found.length >= accepted && found.length <= accepted + unsure, 'nothing is lost')
    t.equal(new Set(found).size, found.length, 'nothing is there twice')
  })

  t.test('at rest it notices within seconds, and ends', async (t) => {
    let [former, heir] = await sites(t, { cluster: 'resting' })
    await former.start()
    for (let round = 0; round < 3; round++) {
      await sleep(500)
      await heir.start()
      const readyAt = Date.now()
      const end = await former.program.end(IDLE_NOTICE_MS + endLimitMs(0))
      t.equal(end.code, 3, end.stderr)
      t.match(end.stderr, /MINIM_DELIVERY_FENCED/)
      t.ok(
        (former.fencedAt ?? Infinity) - readyAt < IDLE_NOTICE_MS,
        `noticed ${(former.fencedAt ?? Infinity) - readyAt} ms after the other one was ready`,
      )
      t.ok(Date.now() - readyAt < IDLE_NOTICE_MS + 2_000, `gone ${Date.now() - readyAt} ms after`)
      await isSuccessor(t, heir, former)
      ;[former, heir] = [heir, former]
    }
    // Whoever has the shard keeps it.
    await sleep(5_000)
    t.notOk(former.program.over, former.program.stderr)
    former.program.kill('SIGTERM')
    t.equal((await former.program.end()).code, 0)
  })
})

t.test(
  'workers that are taken over at rest end with their supervisor',
  { skip: reason ?? false, timeout: 300_000 },
  async (t) => {
    const { sites } = await brokered(t)
    const [former, heir] = await sites(t, { cluster: 'several', workers: 2 })
    await former.start()
    await heir.start()
    const end = await former.program.end(IDLE_NOTICE_MS + 2 * endLimitMs(0))
    t.equal(end.code, 3, end.stderr)
    t.match(end.stderr, /MINIM_DELIVERY_FENCED/)
    t.notMatch(end.stderr, /MINIM_WORKER_DIED/, 'none of them is started again')
    heir.program.kill('SIGTERM')
    t.equal((await heir.program.end()).code, 0)
  },
)
