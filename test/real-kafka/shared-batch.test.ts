/**
 * Followed files during an outage, against a real broker: lines of one file wait for delivery while the other gets half
 * a line. And the same of a program without the leases of the batch that files share: it must tell what it has lost.
 */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { get, MAIN, metric, Place, Program, ROOT, sleep, until } from '../e2e/program.js'
import { kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
t.setTimeout(600_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const OUTAGE_MS = 120_000
const LEASELESS = join(ROOT, 'dist/test/helpers/leaseless-main.js')

const policy = JSON.stringify({
  purposes: {
    quality: {
      description: 'Test',
      basis: { term: 'eu-gdpr:A6-1-b', evidence: 'contract' },
      recipients: ['operations'],
      region: 'UK',
      transfer: 'adequacy',
      retention_days: 14,
      notice: 'P4',
      purpose: 'https://w3id.org/dpv#ServiceMonitoring',
      epoch: 'day',
      call: {
        key: 'call_id',
        format: 'json',
        fields: { call_id: 'token', duration_seconds: 'keep', start_ms: { 'time-bucket': 'minute' } },
      },
    },
  },
})

const line = (n: number): string =>
  `${JSON.stringify({ call_id: `call-${n}`, start_ms: Date.now() - 60_000, duration_seconds: n })}\n`
const lines = (from: number, count: number): string => Array.from({ length: count }, (_, i) => line(from + i)).join('')

interface Outage {
  readonly program: Program
  readonly settings: string
  readonly place: Place
  readonly ops: string
}

/**
 * 30 lines; then, the broker stopped: a post, so that delivery recovers, 100 lines more, and half a line in the other
 * file.
 */
async function outage(t: Test, kafka: KafkaCluster, main: string): Promise<Outage> {
  const place = new Place(t)
  place.makeStore()
  const [a, b] = [place.write('a.jsonl', lines(0, 30)), place.write('b.jsonl', line(1000))]
  const settings = place.settings({
    embedded: false,
    cluster: `shared-${process.pid}-${main === MAIN ? 'leases' : 'none'}`,
    kafka: { 'bootstrap.servers': kafka.bootstrap },
    topics: { partitions: 2, replication: 1 },
    policy: place.write('policy.yaml', policy),
    http: { listen: '127.0.0.1:0' },
    spool: { path: 'spool' },
    keys: { store: 'minim-keys.json' },
    files: [a, b].map((path) => ({ path, format: 'jsonl', pollMs: 50 })),
  })
  const program = new Program(t, ['run', '--config', settings], place, {}, [process.execPath, main])
  const ready = await program.line('ready')
  const ops = String(ready['ops'])
  const received = async (): Promise<number> =>
    metric((await get(ops, '/metrics')).body, 'minim_records_received_total')['source_kind="file"'] ?? 0
  await until('the first lines are committed', async () => (await received()) === 31)
  kafka.pause()
  try {
    const posted = await fetch(`http://${String(ready['http'])}/v1/calls`, {
      method: 'POST',
      body: line(2000),
      headers: { 'content-type': 'application/x-ndjson' },
    })
    t.equal(posted.status, 202)
    await until('delivery recovers', () => program.log().some(({ phase }) => phase === 'recovering'), OUTAGE_MS)
    appendFileSync(a, lines(30, 100))
    await until(
      'the lines wait',
      async () => metric((await get(ops, '/metrics')).body, 'minim_records_in_flight')['source_kind="file"'] === 100,
    )
    appendFileSync(b, line(1001).slice(0, 20))
    await sleep(500)
  } finally {
    kafka.resume()
  }
  await until(
    'it is ready again',
    async () => program.log().filter(({ phase }) => phase === 'ready').length >= 2,
    OUTAGE_MS,
  )
  await until(
    'nothing is in flight',
    async () =>
      Object.values(metric((await get(ops, '/metrics')).body, 'minim_records_in_flight')).every((value) => value === 0),
    OUTAGE_MS,
  )
  return { program, settings, place, ops }
}

/** Numbers of the calls in the topic, in order. */
async function numbers(kafka: KafkaCluster): Promise<number[]> {
  const found = await kafka.consoleConsumer('pbx.quality.call', { timeoutMs: 4000 })
  return found
    .map(({ value }) => (JSON.parse(value.toString()) as { duration_seconds?: number }).duration_seconds ?? 0)
    .sort((a, b) => a - b)
}

const drifts = async (ops: string): Promise<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(metric((await get(ops, '/metrics')).body, 'minim_conservation_drift_records')).filter(
      ([, value]) => value !== 0,
    ),
  )

t.test('a broker that hangs', { skip: reason ?? false, timeout: 600_000 }, async (t) => {
  const cluster = async (t: Test): Promise<KafkaCluster> => {
    const kafka = await startKafka({ heap: '512m' })
    t.teardown(() => kafka.stop())
    return kafka
  }
  const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)

  t.test('every line is in the topic once, and the accounts are even, after a restart too', async (t) => {
    const kafka = await cluster(t)
    const { program, settings, place, ops } = await outage(t, kafka, MAIN)
    t.same(await drifts(ops), {})
    t.equal((await get(ops, '/readyz')).status, 200)
    t.same(await numbers(kafka), [...range(0, 130), 1000, 2000])
    program.kill('SIGKILL')
    await program.end()
    appendFileSync(place.path('b.jsonl'), line(1001).slice(20))
    const again = new Program(t, ['run', '--config', settings], place)
    const second = String((await again.line('ready'))['ops'])
    await until(
      'the finished line is committed',
      async () =>
        metric((await get(second, '/metrics')).body, 'minim_records_received_total')['source_kind="file"'] === 1,
    )
    t.same(await drifts(second), {})
    again.kill('SIGTERM')
    t.equal((await again.end()).code, 0)
    t.same(await numbers(kafka), [...range(0, 130), 1000, 1001, 2000])
    t.notMatch(program.stderr + again.stderr, /MINIM_CONSERVATION_DRIFT/)
  })

  t.test('without leases lines are lost: the accounts say how many', async (t) => {
    const kafka = await cluster(t)
    const { program, ops } = await outage(t, kafka, LEASELESS)
    t.same(await drifts(ops), { 'source_kind="file",purpose="*",kind="*"': 100 })
    t.match(await get(ops, '/readyz'), { status: 503, body: '{"ready":false,"reasons":["conservation_drift"]}' })
    t.match(
      program.log().filter(({ level, msg }) => level === 'error' && /not accounted for/.test(msg)),
      [{ err: { code: 'MINIM_CONSERVATION_DRIFT' } }],
    )
    t.same(await numbers(kafka), [...range(0, 30), 1000, 2000])
    program.kill('SIGKILL')
    await program.end()
  })
})
