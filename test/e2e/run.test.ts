/**
 * `minim run` on the embedded cluster: batches by gRPC, what becomes of good, malformed and hostile ones, and how it
 * ends.
 */
import { randomUUID } from 'node:crypto'
import { type AddressInfo, createServer } from 'node:net'
import type { ServiceError } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { openQuarantined } from '../../src/quarantine/box.js'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { freePort } from '../helpers/free-port.js'
import { get, metric, minim, Place, Program, readTopic, run, sleep, until } from './program.js'
import { call, field, records } from './records.js'

interface Node {
  readonly client: DeliverClient
  readonly acks: number[]
  readonly ended: Promise<ServiceError | null>
}

function node(t: Test, address: string, source: string, incarnation: string = randomUUID()): Node {
  const acks: number[] = []
  let client!: DeliverClient
  const ended = new Promise<ServiceError | null>((resolve) => {
    client = new DeliverClient({ address, source, incarnation, onAck: (s) => acks.push(s), onEnd: resolve })
  })
  t.teardown(() => {
    client.cancel()
  })
  return { client, acks, ended }
}

const acked = (n: Node, sequence: number): Promise<boolean> =>
  until(`acknowledgement ${sequence}`, () => n.client.acknowledged >= sequence)

t.test('batches of all kinds: acknowledged, counted, quarantined by reason', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const { program, kafka, grpc, ops } = await run(t, place, place.settings())
  const [first] = program.log()
  t.match(
    first,
    {
      level: 'info',
      msg: 'starting',
      version: String,
      cluster: 'minim',
      kafka: 'embedded',
      policy: /^[0-9a-f]{12}$/,
      purposes: Number,
      sources: { grpc: '127.0.0.1:0' },
    },
    'the log begins with what runs',
  )
  t.notOk(
    program.log().some((line) => 'settings' in line),
    'and all the settings are not in it',
  )
  t.equal((await get(ops, '/healthz')).status, 200)
  const ready = await get(ops, '/readyz')
  t.equal(ready.status, 200)
  t.same(JSON.parse(ready.body), { ready: true, reasons: [] })

  const start = Date.now() - 600_000
  const incarnation = randomUUID()
  const london = node(t, grpc, 'pbx-london', incarnation)
  t.equal(await london.client.resumeAfter, 0)
  // 1: every kind, all good.
  london.client.send(
    1,
    records({
      calls: [1, 2, 3].map((n) => call(n)),
      qualities: [{ call_id: 'q-1', local_party: '1001', remote_party: '+447700900001', start_ms: start, mos_lq: 4.1 }],
      devices: [
        {
          party: '1001',
          start_ms: start,
          mac: '00:00:5e:00:53:01',
          user_agent: 'Yealink SIP-T46S 66.85.0.5',
          event: 'REGISTERED',
        },
      ],
    }),
  )
  // 2: malformed, hostile and good side by side.
  const unknownFields = Buffer.concat([
    records({ calls: [call(4)] }).subarray(2),
    Buffer.from([0xa2, 0x06, 3]),
    Buffer.from('xyz'),
    Buffer.from([0x98, 0x06, 7]),
  ])
  const bad = {
    malformed_record: field(4, Buffer.from([0x0a, 0x7f, 0x41])),
    bad_value: field(4, Buffer.from([0x60, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])),
    no_start_time: records({ calls: [{ account: 'a', called: '+447700900005' }] }),
    clock: records({ devices: [{ party: '1001', start_ms: Date.now() + 86_400_000 }] }),
    unknown_tenant: records({ calls: [call(6, { tenant: 'nobody' })] }),
  }
  const second = Buffer.concat([...Object.values(bad), field(4, unknownFields), records({ calls: [call(7)] })])
  london.client.send(2, second)
  // 3: the envelope itself is broken off in the middle of a record. What was whole before it is taken.
  london.client.send(3, Buffer.concat([records({ calls: [call(8)] }), Buffer.from([0x22, 0x7f, 0x01])]))
  // 4: nothing in it; 5: only old ones, for the purposes that keep 14 days.
  london.client.send(4, Buffer.alloc(0))
  london.client.send(5, records({ calls: [call(9, { start_ms: Date.now() - 20 * 86_400_000 })] }))
  await acked(london, 5)
  t.same(
    london.acks,
    [...london.acks].sort((a, b) => a - b),
    'acknowledgements grow',
  )
  london.client.end()
  t.equal(await london.ended, null)

  const again = node(t, grpc, 'pbx-london', incarnation)
  t.equal(await again.client.resumeAfter, 5, 'the resume point')
  again.client.send(2, second)
  await until('the repeat is acknowledged', () => again.acks.includes(5))
  again.client.send(9, records({ calls: [call(101)] }))
  const gap = await again.ended
  t.match(gap?.details, /MINIM_GRPC_GAP.*sequence 9 came where 6 was due/)
  const nameless = node(t, grpc, 'not a name', incarnation)
  t.match((await nameless.ended)?.details, /MINIM_GRPC_SOURCE_INVALID/)

  const { body } = await get(ops, '/metrics')
  const reasons = metric(body, 'minim_records_quarantined_total')
  for (const reason of Object.keys(bad)) t.equal(reasons[`reason="${reason}"`], 1, reason)
  t.equal(reasons['reason="malformed_batch"'], 1)
  // 3 + 1 + 1, 5 + 1 + 1, 1 + 1, 1
  t.equal(metric(body, 'minim_records_received_total')['source_kind="grpc"'], 15)
  t.equal(metric(body, 'minim_unknown_fields_total')[''], 2)
  const produced = metric(body, 'minim_messages_produced_total')
  for (const [topic, wanted] of Object.entries({ billing: 7, service: 6, quality: 6, legal: 7, research: 7 }))
    t.equal(produced[`topic="pbx.${topic}.call"`], wanted, topic)
  t.equal(produced['topic="pbx.quality.quality"'], 1)
  t.equal(produced['topic="pbx.fraud.device"'], 1)
  t.equal(metric(body, 'minim_records_withheld_total')['purpose="service",reason="expired"'], 1)
  const drift = metric(body, 'minim_conservation_drift_records')
  t.ok(Object.keys(drift).length > 10)
  t.same([...new Set(Object.values(drift))], [0], 'nothing is lost')

  t.equal((await readTopic(kafka, 'pbx.billing.call')).length, 7, 'as another client counts')
  const store = place.openStore()
  const boxes = (await readTopic(kafka, 'minim.quarantine')).map(({ value }) => openQuarantined(store, value))
  t.same(
    boxes.map((box) => (typeof box === 'string' ? box : box.header.reason)).sort(),
    [...Object.keys(bad), 'malformed_batch'].sort(),
    'all refused input can be opened by who holds the key',
  )
  const value = boxes.find((box) => typeof box !== 'string' && box.header.reason === 'bad_value')
  t.same(typeof value === 'object' && value.input, bad.bad_value, 'and is what came, with its kind')

  program.kill('SIGTERM')
  program.kill('SIGTERM')
  const ended = await program.end()
  t.equal(ended.code, 0, ended.stderr)
  t.equal(ended.stdout, '')
  const said: Record<string, number> = {}
  for (const line of program.log())
    for (const [reason, count] of Object.entries((line['quarantined'] ?? {}) as Record<string, number>))
      said[reason] = (said[reason] ?? 0) + count
  const counted = Object.keys(bad).map((reason) => [reason, 1] as const)
  t.same(said, Object.fromEntries([...counted, ['malformed_batch', 1]]), 'the log says what was refused, and why')
  t.match(program.log().at(-1), { level: 'info', msg: 'stopped' })
})

t.test('SIGTERM while nodes stream without a pause: they are told to come back, and it ends', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const { program, grpc } = await run(t, place, place.settings())
  const nodes = [1, 2, 3, 4].map((n) => node(t, grpc, `pbx-${n}`))
  await Promise.all(nodes.map((n) => n.client.resumeAfter))
  const batch = records({ calls: Array.from({ length: 200 }, (_, n) => call(n)) })
  // As fast as they may: delivery is never idle by itself.
  let over = false
  const sending = nodes.map(async (n) => {
    for (let sequence = 1; !over; sequence++) {
      if (!n.client.send(sequence, batch)) await n.client.drained()
      await new Promise((resolve) => {
        setImmediate(resolve)
      })
    }
  })
  await Promise.all(nodes.map((n) => acked(n, 20)))
  program.kill('SIGTERM')
  const ended = await program.end(30_000)
  const errors = await Promise.all(nodes.map((n) => n.ended))
  over = true
  await Promise.all(sending)
  t.equal(ended.code, 0, ended.stderr)
  for (const error of errors) t.match(error?.details, /MINIM_GRPC_STOPPING/)
  for (const line of program.log()) t.notMatch(line.level, /warn|error|fatal/, line.msg)
})

t.test('no broker: says so, is alive and not ready, and ends when told', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const port = await freePort()
  const settings = place.settings({
    embedded: false,
    kafka: { 'bootstrap.servers': `127.0.0.1:${port}`, 'ssl.key.password': 'hunter2hunter2' },
    log: { level: 'debug' },
  })
  const program = new Program(t, ['run', '--config', settings], place)
  t.match(
    await program.line('settings'),
    { level: 'debug', settings: { cluster: 'minim', kafka: { 'ssl.key.password': '***' } } },
    'who looks for something sees all settings',
  )
  t.notMatch(program.stderr, /hunter2/)
  const ops = String((await program.line("operator's port"))['ops'])
  const refused = await until('the log says that no broker answers', () =>
    program.log().find((line) => line.level === 'warn'),
  )
  const { err } = refused as unknown as { err: { code: string; message: string; fix: string } }
  t.match(err.code, /^MINIM_KAFKA_(ADMIN|NO_BROKER)$/)
  t.ok(err.message.includes(`127.0.0.1:${port}`), err.message)
  t.match(err.fix, /brokers run/)
  await until(
    'it is said that it is waited for',
    () => program.log().filter((line) => line.level === 'warn').length >= 2,
  )
  const outages = program.log().filter((line) => /NO_BROKER/.test(JSON.stringify(line)))
  t.equal(outages.length, 1, 'that no broker answers is said once, however often it is tried again')
  t.equal((await get(ops, '/healthz')).status, 200)
  const ready = await get(ops, '/readyz')
  t.equal(ready.status, 503)
  t.same(JSON.parse(ready.body), { ready: false, reasons: ['delivery_connecting', 'kafka_away'] })
  t.equal(metric((await get(ops, '/metrics')).body, 'minim_ready')[''], 0)
  program.kill('SIGTERM')
  const { code, stderr } = await program.end(20_000)
  t.equal(code, 0, stderr)
})

t.test('no broker and a spool that fills: one line each, a reason each, and senders are told', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const listen = `127.0.0.1:${await freePort()}`
  const settings = place.settings({
    embedded: false,
    kafka: { 'bootstrap.servers': `127.0.0.1:${await freePort()}` },
    http: { listen },
    spool: { path: place.path('spool'), maxBytes: 1_048_576 },
  })
  const program = new Program(t, ['run', '--config', settings], place)
  const ops = String((await program.line("operator's port"))['ops'])
  const said = (pattern: RegExp): number => program.log().filter((line) => pattern.test(JSON.stringify(line))).length
  await until('the log says that no broker answers', () => said(/NO_BROKER/) > 0)
  const call = { start_ms: Date.now() - 60_000, account: 'a'.repeat(60), calling: '+447700900417', called: '1001' }
  const body = `${JSON.stringify(call)}\n`.repeat(200)
  const post = async (): Promise<Response | null> =>
    await fetch(`http://${listen}/v1/calls`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body,
    }).catch(() => null)
  await until('it takes posts without Kafka', async () => (await post())?.status === 202)
  const refused = await until('it is full', async () => {
    const answer = await post()
    return answer?.status === 503 ? answer : null
  })
  t.same(await refused.json(), { error: 'unavailable', reason: 'spool_full', cause: 'kafka_away' })
  for (let n = 0; n < 5; n++) t.equal((await post())?.status, 503)
  t.same(JSON.parse((await get(ops, '/readyz')).body), {
    ready: false,
    reasons: ['delivery_connecting', 'kafka_away', 'spool_full'],
  })
  t.equal(said(/MINIM_SPOOL_FULL/), 1, 'said once')
  t.equal(said(/NO_BROKER/), 1, 'said once')
  t.notMatch(program.stderr, /7700900417|aaaaa/)
  program.kill('SIGTERM')
  t.equal((await program.end(20_000)).code, 0)
})

t.test('a port that is taken: said with the mend', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    server.close()
  })
  const listen = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const ended = await minim(t, ['run', '--config', place.settings({ grpc: { listen } })], place)
  t.equal(ended.code, 1, ended.stderr)
  t.match(ended.stderr, new RegExp(`MINIM_GRPC_LISTEN: [^]*${listen}[^]*→`))
})

t.test('what is posted while Kafka is away is safe, and delivered when there is one', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const port = await freePort()
  const both = {
    http: { listen: `127.0.0.1:${port}` },
    spool: { path: place.path('spool') },
    keys: { store: place.path('minim-keys.json') },
  }
  const away = new Program(
    t,
    ['run', '--config', place.settings({ ...both, embedded: false, kafka: { 'bootstrap.servers': '127.0.0.1:1' } })],
    place,
  )
  const body = JSON.stringify(call(1))
  const post = async (): Promise<number> => {
    try {
      return (
        await fetch(`http://127.0.0.1:${port}/v1/calls`, {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json', 'idempotency-key': 'k' },
        })
      ).status
    } catch {
      return 0
    }
  }
  await until('the post is taken', async () => (await post()) === 200)
  t.notOk(
    away.log().some((line) => line.msg === 'ready'),
    'it is not ready',
  )
  away.kill('SIGKILL')
  await away.end()
  const there = await run(t, place, place.settings(both))
  await until('it is in the topic', async () => (await readTopic(there.kafka, 'pbx.billing.call')).length > 0)
  t.equal(await post(), 200, 'the same again is acknowledged')
  await sleep(300)
  t.equal((await readTopic(there.kafka, 'pbx.billing.call')).length, 1, 'and not taken twice')
  there.program.kill('SIGTERM')
  t.equal((await there.program.end()).code, 0)
})
