/**
 * On a real broker: marks of batches over restarts, take-overs and unclean ends; and the whole program with two workers
 * and certificates, killed in between: who may use which stream, batches that differ, records of others' tenants and
 * their replay.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type ServiceError, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import type { Delivery, DeliveryOptions } from '../../src/deliver/delivery.js'
import { decodeEntry, decodeMarks, streamKey } from '../../src/deliver/ledger.js'
import type { MinimError } from '../../src/errors/catalogue.js'
import { MARK_BYTES, markOf } from '../../src/flow/marks.js'
import { shardOf } from '../../src/flow/shards.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { get, metric, minim, Place, Program, until } from '../e2e/program.js'
import { call, records } from '../e2e/records.js'
import { Authority, noOpenssl, type Pair } from '../helpers/certificates.js'
import { shippedDelivery } from '../helpers/delivery.js'
import { freePort } from '../helpers/free-port.js'
import { kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'
import { type FakeItem, fakeItem } from '../helpers/minimised.js'

const reason = kafkaAvailable() ?? (noOpenssl === false ? null : noOpenssl)
t.setTimeout(600_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

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

const LEDGER = 'marks.ledger'

async function marksSurvive(t: Test, kafka: KafkaCluster): Promise<void> {
  const keyring = throwawayKeyring()
  const id = { source: 'node-a', incarnation: 'marks' }
  const start = async (hooks: DeliveryOptions['hooks'] = {}): Promise<Delivery> => {
    const topics = [{ name: 'marks.one', partitions: 1, retentionDays: 30, compacted: false }]
    // A ledger of its own: the program's has a partition for each worker.
    const delivery = shippedDelivery({
      bootstrap: kafka.bootstrap,
      topics,
      ledgerTopic: LEDGER,
      settings: { cluster: 'marks', lingerMs: 1 },
      hooks: {
        ...hooks,
        onNotice: (error) => {
          t.comment(error.message)
        },
      },
    })
    t.teardown(() => delivery.stop(1_000))
    await delivery.start()
    return delivery
  }
  const batch = (sequence: number, text = 'as it was'): FakeItem =>
    fakeItem({
      ...id,
      sequence,
      messages: [{ topic: 'marks.one', value: `${sequence} ${text}`, key: null, record: 0 }],
      mark: markOf(keyring, id, sequence, Buffer.from(text)),
    })
  const offer = async (delivery: Delivery, ...items: readonly FakeItem[]): Promise<string[]> => {
    for (const item of items) await delivery.offer(item)
    return Promise.all(
      items.map((item) =>
        item.done.then(
          () => 'taken',
          (error: unknown) => (error as MinimError).code,
        ),
      ),
    )
  }
  const DIFFERS = 'MINIM_DELIVERY_BATCH_DIFFERS'

  let release: (() => void) | null = null
  let hold = false
  const first = await start({
    beforeCommit: () =>
      hold
        ? new Promise<void>((resolve) => {
            release = resolve
          })
        : undefined,
  })
  t.same(new Set(await offer(first, ...Array.from({ length: 70 }, (_, i) => batch(i + 1)))), new Set(['taken']))
  t.same(
    await offer(first, batch(70, 'another'), batch(70), batch(7, 'another'), batch(6, 'another')),
    [DIFFERS, 'taken', DIFFERS, 'taken'],
    '64 are known',
  )
  // In flight: the first is in a transaction that does not end yet.
  hold = true
  const held = batch(71)
  await first.offer(held)
  await until('it is being committed', () => release !== null)
  const [other, next] = [batch(71, 'another'), batch(72)]
  await first.offer(other)
  t.match(other.failure, { code: DIFFERS })
  await first.offer(next)
  // Another takes the shard in the middle of it, as after a hang: nothing of the transaction is in the ledger.
  hold = false
  const second = await start()
  ;(release as unknown as () => void)()
  await until('the first knows', () => first.state.phase === 'failed')
  t.equal(held.commits + next.commits, 0)
  t.equal(second.lastTaken(id), 70)
  t.same(
    await offer(second, batch(70, 'another'), batch(7, 'another'), batch(70), batch(6, 'another')),
    [DIFFERS, DIFFERS, 'taken', 'taken'],
    'the heir knows as many',
  )
  t.same(await offer(second, batch(71, 'another')), ['taken'], 'what was never committed was never taken')
  t.same(await offer(second, batch(71)), [DIFFERS])

  // An unclean end in between: what is filled again is the same, another is not.
  const pausing = await start({
    beforeCommit: () => {
      if (pause) {
        pause = false
        kafka.pause()
      }
    },
  })
  let pause = true
  const again = batch(72)
  await pausing.offer(again)
  await until('the commit times out', () => pausing.state.phase === 'recovering')
  const late = batch(72, 'another')
  const offered = pausing.offer(late)
  kafka.resume()
  await again.done
  await offered
  await late.done.catch(() => undefined)
  t.match(late.failure, { code: DIFFERS })
  await pausing.drain()
  await pausing.stop()

  const entries = (await kafka.consoleConsumer(LEDGER)).filter(({ key }) => key?.toString() === streamKey(id))
  const last = entries.at(-1)?.value ?? null
  t.equal(decodeEntry(last), 72)
  const marks = Buffer.from(decodeMarks(last) ?? '', 'base64')
  t.equal(marks.length, 64 * MARK_BYTES)
  t.same(marks.subarray(-MARK_BYTES), markOf(keyring, id, 72, Buffer.from('as it was')))
  const earlier = (value: Buffer): number => (JSON.parse(value.toString()) as { sequence: number }).sequence
  t.equal(earlier(last ?? Buffer.from('{}')), 72, 'an earlier version reads it')
  t.same(
    (await kafka.consoleConsumer('marks.one')).map(({ value }) => value.toString()).sort(),
    [...Array.from({ length: 70 }, (_, i) => `${i + 1} as it was`), '71 another', '72 as it was'].sort(),
  )
}

async function wholeProgram(t: Test, kafka: KafkaCluster): Promise<void> {
  const place = new Place(t)
  place.makeStore()
  const authority = new Authority(t)
  const [grpc, ops] = await Promise.all([freePort(), freePort()])
  // A source of each worker.
  const names = [0, 1].map(
    (shard) => Array.from({ length: 100 }, (_, i) => `pbx-${i}`).find((name) => shardOf(name, 2) === shard) ?? '',
  )
  const pairs = names.map((name) => authority.issue(name, `DNS:${name}`))
  const config = place.settings({
    embedded: false,
    workers: 2,
    cluster: 'authorised',
    kafka: { 'bootstrap.servers': kafka.bootstrap },
    topics: { partitions: 2, replication: 1 },
    tenants: { default: { id: 1 }, acme: { id: 2 } },
    policy: place.write('policy.yaml', JSON.stringify(POLICY)),
    delivery: { lingerMs: 1 },
    ops: { listen: `127.0.0.1:${ops}` },
    grpc: {
      listen: `127.0.0.1:${grpc}`,
      tls: { ...authority.issue('proxy', 'DNS:localhost,IP:127.0.0.1'), clientCa: authority.ca },
    },
  })
  const running = async (): Promise<Program> => {
    const program = new Program(t, ['run', '--config', config], place)
    await until(
      'both workers are ready',
      async () => {
        try {
          return (await get(`127.0.0.1:${ops}`, '/readyz')).status === 200
        } catch {
          return false
        }
      },
      90_000,
    )
    return program
  }
  interface Stream {
    readonly client: DeliverClient
    readonly acks: number[]
    readonly ended: Promise<ServiceError | null>
  }
  const open = (pair: Pair, source: string, incarnation: string): Stream => {
    const acks: number[] = []
    let client!: DeliverClient
    const ended = new Promise<ServiceError | null>((resolve) => {
      client = new DeliverClient({
        address: `127.0.0.1:${grpc}`,
        source,
        incarnation,
        credentials: authority.grpc(pair),
        onAck: (sequence) => acks.push(sequence),
        onEnd: resolve,
      })
    })
    t.teardown(() => {
      client.cancel()
    })
    return { client, acks, ended }
  }
  const batch = (n: number, ...over: readonly object[]): Buffer =>
    records({ calls: [call(n), ...over.map((o, i) => call(n * 100 + i, o))] })
  const first = await running()
  const incarnations = names.map(() => randomUUID())
  const bodies = names.map((_, s) => [
    batch(s * 10 + 1),
    batch(
      s * 10 + 2,
      { tenant: 'acme' },
      { tenant: 'acme', start_ms: Date.now() + 86_400_000 },
      { start_ms: Date.now() + 86_400_000 },
    ),
  ])
  const streams: Stream[] = []
  for (const [s, name] of names.entries()) {
    const stream = open(pairs[s], name, incarnations[s])
    streams.push(stream)
    await stream.client.resumeAfter
    bodies[s].forEach((body, i) => stream.client.send(i + 1, body))
    await until('both are acknowledged', () => stream.acks.includes(2))
  }
  // Connections go to the workers in turn: each name by the other's certificate, over both of them.
  for (let i = 0; i < 4; i++) {
    for (const s of [0, 1])
      await t.rejects(open(pairs[1 - s], names[s], incarnations[s]).client.resumeAfter, {
        code: status.PERMISSION_DENIED,
      })
  }
  for (const [s, stream] of streams.entries()) {
    stream.client.send(3, batch(s * 10 + 3))
    await until('the real one goes on', () => stream.acks.includes(3))
  }
  const page = (await get(`127.0.0.1:${ops}`, '/metrics')).body
  t.equal(metric(page, 'minim_source_refused_total')['source_kind="grpc",reason="unauthorised"'], 8)
  t.match(metric(page, 'minim_records_quarantined_total'), { 'reason="unauthorised"': 4, 'reason="clock"': 2 })
  for (const [labels, drift] of Object.entries(metric(page, 'minim_conservation_drift_records')))
    if (drift !== 0) t.fail(`drift of ${labels}: ${drift}`)

  first.kill('SIGKILL')
  await first.end()
  const second = await running()
  for (const [s, name] of names.entries()) {
    const differing = open(pairs[s], name, incarnations[s])
    t.equal(await differing.client.resumeAfter, 3)
    differing.client.send(2, batch(s * 10 + 7))
    t.equal((await differing.ended)?.code, status.ALREADY_EXISTS, 'another batch 2, after a restart')
    const same = open(pairs[s], name, incarnations[s])
    await same.client.resumeAfter
    same.client.send(2, bodies[s][1])
    same.client.send(4, batch(s * 10 + 4))
    await until('the same batch 2 is acknowledged, and the next taken', () => same.acks.includes(4))
  }
  second.kill('SIGTERM')
  t.equal((await second.end()).code, 0)

  const count = async (): Promise<number> =>
    (await kafka.consoleConsumer('pbx.quality.call', { timeoutMs: 5000 })).length
  t.equal(await count(), 8)
  // Later the clock's records are none of the future's any more; nor is one tenant's another's by that.
  const mended = place.settings(
    { ...(JSON.parse(readFileSync(config, 'utf8')) as object), workers: 1, limits: { futureMs: 3_000_000 } },
    'mended.yaml',
  )
  const replay = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
    const { code, stdout, stderr } = await minim(t, ['quarantine', 'replay', '--config', mended, ...args], place)
    t.equal(code, 0, stderr.slice(-500))
    return JSON.parse(stdout) as Record<string, unknown>
  }
  t.match(await replay(), { replayed: 2, quarantined: { clock: 2 } }, 'the unauthorised ones stay where they are')
  t.equal(await count(), 8)
  t.match(
    await replay('--reason', 'unauthorised'),
    { replayed: 4, produced: { 'pbx.quality.call': 2 }, quarantined: { clock: 2 } },
    'said outright, they are let in',
  )
  t.equal(await count(), 10)
}

t.test('who may use which names, on a real broker', { skip: reason ?? false, timeout: 500_000 }, async (t) => {
  const kafka = await startKafka({ heap: '512m' })
  t.teardown(() => kafka.stop())
  // First, since it needs a ledger of two partitions.
  await t.test('two workers, certificates, a SIGKILL, a replay', (t) => wholeProgram(t, kafka))
  await t.test('marks survive restarts, take-overs and unclean ends', (t) => marksSurvive(t, kafka))
})
