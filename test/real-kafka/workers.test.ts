/**
 * Several worker processes on a real broker: nodes stream and others post while workers are killed; then there are
 * fewer of them. What was acknowledged is there once.
 */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { shardOf } from '../../src/flow/shards.js'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { get, metric, Place, Program, sleep, until } from '../e2e/program.js'
import { call, records } from '../e2e/records.js'
import { freePort } from '../helpers/free-port.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
t.setTimeout(600_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const SOURCES = 6
const BATCHES = 80
const ROWS = 10
const POSTS = 200
const KILLS = 4

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

t.test(
  'workers are killed and replaced, then there are fewer',
  { skip: reason ?? false, timeout: 500_000 },
  async (t) => {
    const kafka = await startKafka({ heap: '512m' })
    t.teardown(() => kafka.stop())
    const place = new Place(t)
    place.makeStore()
    const [grpc, ops, http] = await Promise.all([freePort(), freePort(), freePort()])
    const settings = (workers: number): string =>
      place.settings({
        embedded: false,
        workers,
        kafka: { 'bootstrap.servers': kafka.bootstrap },
        topics: { partitions: 2, replication: 1 },
        policy: place.write('policy.yaml', JSON.stringify(POLICY)),
        delivery: { lingerMs: 1, maxMessages: 500 },
        grpc: { listen: `127.0.0.1:${grpc}` },
        ops: { listen: `127.0.0.1:${ops}` },
        http: { listen: `127.0.0.1:${http}` },
        spool: { path: place.path('spool') },
      })
    const ready = async (): Promise<boolean> => {
      try {
        return (await get(`127.0.0.1:${ops}`, '/readyz')).status === 200
      } catch {
        return false
      }
    }
    const first = new Program(t, ['run', '--config', settings(3)], place)
    await until('all workers are ready', ready, 90_000)
    const shards = new Set(Array.from({ length: SOURCES }, (_, s) => shardOf(`pbx-${s}`, 3)))
    t.ok(shards.size > 1, 'the sources are of more than one worker')

    const node = async (s: number): Promise<void> => {
      const incarnation = randomUUID()
      let acknowledged = 0
      while (acknowledged < BATCHES) {
        let over = false
        const client = new DeliverClient({
          address: `127.0.0.1:${grpc}`,
          source: `pbx-${s}`,
          incarnation,
          onEnd: () => {
            over = true
          },
          onAck: (sequence) => {
            acknowledged = sequence
          },
        })
        try {
          const from = await client.resumeAfter
          if (from < acknowledged) throw new Error(`pbx-${s} resumes after ${from}, acknowledged was ${acknowledged}`)
          acknowledged = from
          for (let sequence = from + 1; sequence <= BATCHES && !over; sequence++) {
            const calls = Array.from({ length: ROWS }, (_, i) =>
              call(0, { call_id: `grpc-${s}-${sequence * ROWS + i}`, duration_seconds: s }),
            )
            if (!client.send(sequence, records({ calls }))) await client.drained()
            await sleep(60)
          }
          await until('all is acknowledged, or the stream is over', () => over || acknowledged >= BATCHES)
          client.cancel()
        } catch (error) {
          if (error instanceof Error && error.message.startsWith('pbx-')) throw error
          await sleep(100)
        }
      }
    }
    const poster = async (): Promise<void> => {
      for (let n = 0; n < POSTS; n++) {
        const body = JSON.stringify(call(0, { call_id: `http-${n}`, duration_seconds: 99 }))
        // As a sender does that got no answer: again, under the same key.
        for (let times = n % 10 === 0 ? 2 : 1; times > 0;) {
          try {
            const answer = await fetch(`http://127.0.0.1:${http}/v1/calls`, {
              method: 'POST',
              body,
              headers: { 'content-type': 'application/json', 'idempotency-key': `key-${n}` },
              signal: AbortSignal.timeout(20_000),
            })
            await answer.arrayBuffer()
            if (answer.ok) times--
            else await sleep(100)
          } catch {
            await sleep(100)
          }
        }
        await sleep(20)
      }
    }
    const work = Promise.all([...Array.from({ length: SOURCES }, (_, s) => node(s)), poster()])
    let over = false
    void work.finally(() => {
      over = true
    })
    const pids = (): number[] =>
      first
        .log()
        .filter((line) => line.msg === 'ready')
        .map((line) => Number(line['pid']))
    let killed = 0
    const dead = new Set<number>()
    for (let kill = 0; kill < KILLS && !over; kill++) {
      await sleep(1200)
      const seen = pids().length
      const alive = pids().filter((pid) => !dead.has(pid))
      const victim = alive[kill % alive.length]
      dead.add(victim)
      process.kill(victim, 'SIGKILL')
      killed++
      await until('the worker is replaced', () => over || pids().length > seen)
    }
    await work
    t.ok(killed >= 2, `${killed} workers were killed`)
    t.ok(
      first
        .log()
        .filter((line) => line.level === 'error')
        .every((line) => (line['err'] as { code?: string }).code === 'MINIM_WORKER_DIED'),
      'no other error was logged',
    )

    await until('all workers are ready again', ready)
    // Of a worker that was killed a moment ago nothing can be said, and then there is no page.
    let page = ''
    await until('all workers are on the page', async () => {
      page = (await get(`127.0.0.1:${ops}`, '/metrics')).body
      return metric(page, 'minim_ready')[''] === 1
    })
    for (const [labels, drift] of Object.entries(metric(page, 'minim_conservation_drift_records')))
      if (drift !== 0) t.fail(`drift of ${labels}: ${drift}`)
    first.kill('SIGTERM')
    t.equal((await first.end()).code, 0)

    // What the third worker left in the spool, if anything, is another's now.
    const second = new Program(t, ['run', '--config', settings(2)], place)
    await until('both workers are ready', ready, 90_000)
    await until(
      'the spool is empty',
      async () => metric((await get(`127.0.0.1:${ops}`, '/metrics')).body, 'minim_spool_blocks')[''] === 0,
    )
    await sleep(1000)
    second.kill('SIGTERM')
    t.equal((await second.end()).code, 0)

    const found = (await kafka.consoleConsumer('pbx.quality.call', { timeoutMs: 5000 })).map(
      ({ value }) => JSON.parse(value.toString()) as { call_id: string; duration_seconds: number },
    )
    for (let s = 0; s < SOURCES; s++) {
      const own = found.filter((record) => record.duration_seconds === s).map((record) => record.call_id)
      t.same([own.length, new Set(own).size], [BATCHES * ROWS, BATCHES * ROWS], `pbx-${s}: every record once`)
    }
    const posted = found.filter((record) => record.duration_seconds === 99).map((record) => record.call_id)
    t.same([posted.length, new Set(posted).size], [POSTS, POSTS], 'every post once')
  },
)

t.test('a worker that cannot go on ends all, with its code', { skip: reason ?? false, timeout: 120_000 }, async (t) => {
  const kafka = await startKafka({ heap: '512m' })
  t.teardown(() => kafka.stop())
  const place = new Place(t)
  place.makeStore()
  const settings = place.settings({
    embedded: false,
    workers: 2,
    kafka: { 'bootstrap.servers': kafka.bootstrap },
    topics: { partitions: 2, replication: 1 },
    policy: place.write('policy.yaml', JSON.stringify(POLICY)),
  })
  const program = new Program(t, ['run', '--config', settings], place, {
    MINIM_MASTER_KEY: Buffer.alloc(32, 7).toString('base64'),
  })
  t.equal((await program.end()).code, 4, 'the wrong master key')
  const one = new Program(t, ['run', '--config', settings], place)
  const isReady = (program: Program) => (): boolean => program.log().filter((line) => line.msg === 'ready').length === 2
  await until('ready', isReady(one))
  const two = new Program(t, ['run', '--config', settings], place)
  await until('the other is ready too', isReady(two))
  t.equal((await one.end()).code, 3, 'another installation has taken its shards')
  two.kill('SIGTERM')
  t.equal((await two.end()).code, 0)
})
