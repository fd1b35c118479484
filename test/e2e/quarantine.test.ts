/**
 * What was refused, looked at on the embedded cluster; replay and drop need a real one
 * (test/real-kafka/quarantine.test.ts).
 */
import { randomUUID } from 'node:crypto'
import Kafka from 'node-rdkafka'
import t from 'tap'
import type { QuarantineRow } from '../../src/cli/quarantine-list.js'
import { sealQuarantined } from '../../src/quarantine/box.js'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { minim, Place, run, until } from './program.js'
import { call, records } from './records.js'

t.test('list and show', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const { kafka, grpc } = await run(t, place, place.settings())
  const client = new DeliverClient({ address: grpc, source: 'pbx-1', incarnation: randomUUID() })
  t.teardown(() => {
    client.end()
  })
  await client.resumeAfter
  client.send(
    1,
    records({
      calls: [call(1), call(2, { tenant: 'nobody' }), { account: 'a', called: '+447700900005' }],
      devices: [{ party: '+447700900123', start_ms: Date.now() + 86_400_000 }],
    }),
  )
  const here = ['--brokers', kafka, '--config', place.path('minim.yaml')]
  const keyless = { MINIM_MASTER_KEY: '' }
  await until(
    'it is in quarantine',
    async () =>
      (await minim(t, ['quarantine', 'list', '--json', ...here], place, keyless)).stdout.split('\n').length === 4,
  )

  const listed = await minim(t, ['quarantine', 'list', '--json', ...here], place, keyless)
  t.equal(listed.code, 0, listed.stderr)
  const rows = listed.stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as QuarantineRow)
  const today = new Date().toISOString().slice(0, 10)
  t.same(
    rows.map(({ day, reason, format, messages, replayed }) => [day, reason, format, messages, replayed]),
    ['clock', 'no_start_time', 'unknown_tenant'].map((reason) => [today, reason, 'protobuf', 1, null]),
  )
  for (const { oldest, newest } of rows) t.ok(oldest <= newest && Date.now() - newest < 60_000)
  const table = await minim(t, ['quarantine', 'list', ...here], place, keyless)
  t.match(table.stdout, /^day +reason +format +messages +bytes +oldest +newest$/m)
  t.match(
    table.stdout,
    /^3 message\(s\); how many were replayed is not known/m,
    'the embedded Kafka has no ledger to ask',
  )
  t.notMatch(table.stdout, /\?/)

  const headers = await minim(t, ['quarantine', 'show', '--reason', 'unknown_tenant', ...here], place, keyless)
  t.match(JSON.parse(headers.stdout), {
    reason: 'unknown_tenant',
    at: today,
    format: 'protobuf',
    offset: Number,
    partition: Number,
  })
  t.notMatch(headers.stdout + headers.stderr, /input|447700900|audit/)
  const shown = await minim(
    t,
    ['quarantine', 'show', '--reason', 'unknown_tenant', '--yes-show-personal-data', ...here],
    place,
  )
  t.match(shown.stdout, /plain-call-2/)
  t.match(
    JSON.parse(shown.stdout),
    { tenant: 'default', input: { calls: [{ tenant: 'nobody', call_id: 'plain-call-2' }] } },
    "a message by its fields' names",
  )
  t.match(shown.stderr, /"audit":true,"user":"[^"]+".*quarantine is opened/)
  t.match(shown.stderr, /"count":1.*quarantine was shown/)
  t.notMatch(shown.stderr, /447700900|plain-call/)
  t.equal((await minim(t, ['quarantine', 'list', '--brokers', '127.0.0.1:1'], place)).code, 3)
})

t.test('what an earlier version left with a reason that is given no more is listed and shown', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const { kafka } = await run(t, place, place.settings())
  const here = ['--brokers', kafka, '--config', place.path('minim.yaml')]
  await put(
    kafka,
    sealQuarantined(
      place.openStore(),
      'key_destroyed',
      'json-lines',
      Buffer.from('{"call_id":"old-call"}'),
      Date.now(),
      'default',
    ),
  )
  const listed = await minim(t, ['quarantine', 'list', '--json', '--reason', 'key_destroyed', ...here], place, {
    MINIM_MASTER_KEY: '',
  })
  t.equal(listed.code, 0, listed.stderr)
  t.match(JSON.parse(listed.stdout), { reason: 'key_destroyed', format: 'json-lines', messages: 1 })
  const shown = await minim(
    t,
    ['quarantine', 'show', '--reason', 'key_destroyed', '--yes-show-personal-data', ...here],
    place,
  )
  t.match(JSON.parse(shown.stdout), { reason: 'key_destroyed', tenant: 'default', input: '{"call_id":"old-call"}' })
})

/** Puts one message into quarantine, by a client that is not minim's. */
async function put(bootstrap: string, envelope: Buffer): Promise<void> {
  const producer = new Kafka.Producer({ 'bootstrap.servers': bootstrap })
  await new Promise<void>((resolve, reject) => {
    producer.connect({ timeout: 10_000 }, (error: unknown) => {
      if (error) reject(new Error('the client failed'))
      else resolve()
    })
  })
  producer.produce('minim.quarantine', null, envelope)
  await new Promise<void>((resolve, reject) => {
    producer.flush(10_000, (error: unknown) => {
      if (error) reject(new Error('the client failed'))
      else resolve()
    })
  })
  await new Promise<void>((resolve) => {
    producer.disconnect(() => {
      resolve()
    })
  })
}
