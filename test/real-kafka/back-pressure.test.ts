/**
 * Kafka stands still while five hundred nodes send: they are slowed, the proxy's memory stays as it is, and afterwards
 * all is delivered.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { get, metric, Place, run, sleep, until } from '../e2e/program.js'
import { records } from '../e2e/records.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
t.setTimeout(300_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const SOURCES = 500
const BATCHES = 30
const ROWS = 4
/** Of a field that no purpose sees: large to take in, small to deliver. */
const BALLAST = 'x'.repeat(8_000)
const STALL_MS = 20_000
const MEGABYTE = 1 << 20
/** Two transactions full of input, and for each node what is in its connection and the one batch that waits. */
const STALLED_LIMIT = 160 * MEGABYTE
const GROWTH_LIMIT = 24 * MEGABYTE

const residentBytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) * 1024

t.test('five hundred nodes and a broker that hangs', { skip: reason ?? false, timeout: 300_000 }, async (t) => {
  const kafka = await startKafka({ heap: '512m' })
  t.teardown(() => kafka.stop())
  const place = new Place(t)
  place.makeStore()
  const policy = {
    purposes: {
      billing: {
        notice: 'P2',
        description: 'Bill',
        purpose: 'https://w3id.org/dpv#PaymentManagement',
        basis: { term: 'eu-gdpr:A6-1-b', evidence: 'contract' },
        recipients: ['billing'],
        region: 'UK',
        transfer: 'adequacy',
        retention_days: 30,
        epoch: 'contract',
        call: { fields: { start_ms: 'keep', location: 'drop' } },
      },
    },
  }
  const { program, grpc, ops } = await run(
    t,
    place,
    place.settings({
      embedded: false,
      kafka: { 'bootstrap.servers': kafka.bootstrap },
      topics: { partitions: 2, replication: 1 },
      policy: place.write('policy.yaml', JSON.stringify(policy)),
    }),
  )
  const pid = program.child.pid ?? 0
  const base = Date.now() - 86_400_000
  const clients = Array.from({ length: SOURCES }, (_, source) => {
    const client = new DeliverClient({ address: grpc, source: `node-${source}`, incarnation: randomUUID() })
    t.teardown(() => {
      client.cancel()
    })
    return client
  })
  const batch = (source: number, sequence: number): Buffer =>
    records({
      calls: Array.from({ length: ROWS }, (_, i) => ({
        start_ms: base + (source * BATCHES + sequence) * ROWS + i,
        location: BALLAST,
      })),
    })
  const send = async (source: number, from: number, to: number): Promise<void> => {
    for (let sequence = from; sequence <= to; sequence++) {
      if (!clients[source].send(sequence, batch(source, sequence))) await clients[source].drained()
    }
  }
  const acknowledged = (): number => clients.reduce((sum, client) => sum + client.acknowledged, 0)
  await Promise.all(clients.map((client) => client.resumeAfter))
  await Promise.all(clients.map((_, source) => send(source, 1, 2)))
  await until('the first are acknowledged', () => acknowledged() === SOURCES * 2)

  const before = residentBytes(pid)
  kafka.pause()
  const sending = Promise.all(clients.map((_, source) => send(source, 3, BATCHES)))
  await sleep(STALL_MS)
  const stalled = residentBytes(pid)
  await sleep(STALL_MS)
  const later = residentBytes(pid)
  const resident = [before, stalled, later].map((bytes) => Math.round(bytes / MEGABYTE)).join(', ')
  t.comment(`resident: ${resident} MB; ${acknowledged()} batches of ${SOURCES * BATCHES} acknowledged`)
  t.ok(acknowledged() < (SOURCES * BATCHES) / 2, 'most is not acknowledged')
  t.ok(stalled - before < STALLED_LIMIT, 'what was not committed stays with the nodes')
  t.ok(later - stalled < GROWTH_LIMIT, 'and it stays so')
  const { status } = await get(ops, '/readyz')
  t.equal(status, 503)
  kafka.resume()
  await sending
  await until('all is acknowledged', () => acknowledged() === SOURCES * BATCHES, 120_000)
  const body = (await get(ops, '/metrics')).body
  t.ok(Object.values(metric(body, 'minim_conservation_drift_records')).every((drift) => drift === 0))
  t.equal(metric(body, 'minim_bytes_retained')[''], 0)
  program.kill('SIGTERM')
  t.equal((await program.end()).code, 0)
  const found = await kafka.consoleConsumer('pbx.billing.call', { timeoutMs: 3_000 })
  t.equal(found.length, SOURCES * BATCHES * ROWS)
  t.equal(new Set(found.map((r) => r.timestamp)).size, SOURCES * BATCHES * ROWS, 'each once')
})
