/**
 * Who may call itself what, with the real program and real certificates: streams of others, tenants of others, other
 * batches under a number.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ServiceError, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { Authority, noOpenssl, type Pair } from '../helpers/certificates.js'
import { get, metric, Place, readTopic, run, type Running, until } from './program.js'
import { call, records } from './records.js'

interface Stream {
  readonly client: DeliverClient
  acks: number[]
  readonly ended: Promise<ServiceError | null>
}

const openings =
  (t: Test, proxy: Running, authority: Authority) =>
  (pair: Pair, source: string, incarnation: string): Stream => {
    const acks: number[] = []
    let client!: DeliverClient
    const ended = new Promise<ServiceError | null>((resolve) => {
      client = new DeliverClient({
        address: proxy.grpc,
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

const batch = (n: number, over: object = {}): Buffer => records({ calls: [call(n, over)] })
const committed = (stream: Stream, sequence: number): Promise<unknown> =>
  until(`batch ${sequence} is acknowledged`, () => stream.acks.includes(sequence))
const billed = async (proxy: Running): Promise<number> => (await readTopic(proxy.kafka, 'pbx.billing.call')).length
const counted = async (proxy: Running, name: string): Promise<Record<string, number>> =>
  metric((await get(proxy.ops, '/metrics')).body, name)

async function started(
  t: Test,
  grpc: Readonly<Record<string, unknown>> = {},
): Promise<{ proxy: Running; authority: Authority; place: Place }> {
  const place = new Place(t)
  place.makeStore()
  const authority = new Authority(t)
  const own = authority.issue('proxy', 'DNS:localhost,IP:127.0.0.1')
  const proxy = await run(
    t,
    place,
    place.settings({
      tenants: { default: { id: 1 }, acme: { id: 2 } },
      grpc: { listen: '127.0.0.1:0', tls: { ...own, clientCa: authority.ca }, ...grpc },
    }),
  )
  return { proxy, authority, place }
}

t.test(
  "another node's certificate cannot open a node's stream, cut it off or write to it",
  { skip: noOpenssl },
  async (t) => {
    const { proxy, authority } = await started(t)
    const open = openings(t, proxy, authority)
    const [first, second] = [authority.issue('pbx-1', 'DNS:pbx-1'), authority.issue('pbx-2', 'DNS:pbx-2', 'pbx-1')]
    const incarnation = randomUUID()
    const real = open(first, 'pbx-1', incarnation)
    await real.client.resumeAfter
    real.client.send(1, batch(1))
    await committed(real, 1)

    const intruder = open(second, 'pbx-1', incarnation)
    await t.rejects(intruder.client.resumeAfter, { code: status.PERMISSION_DENIED, details: /MINIM_GRPC_UNAUTHORISED/ })
    t.notMatch((await intruder.ended)?.details, 'pbx-1', 'the answer names nobody')
    real.client.send(2, batch(2))
    await committed(real, 2)
    t.equal(await billed(proxy), 2, 'the real one was not cut off, and nothing of the intruder is there')
    t.equal((await counted(proxy, 'minim_source_refused_total'))['source_kind="grpc",reason="unauthorised"'], 1)
    t.match(
      proxy.program.log().filter(({ level }) => level === 'warn'),
      [{ source: 'grpc', msg: /may not use/ }],
    )

    // Its own name, and the streams that an agent opens of its files.
    for (const source of ['pbx-2', 'pbx-2-0a1b2c3d'])
      t.equal(await open(second, source, randomUUID()).client.resumeAfter, 0, source)
    for (const source of ['pbx-1-0a1b2c3d', 'pbx', 'pbx-22', 'pbx-2-0a1b2c3', 'PBX-2', 'pbx-2-0a1b2c3d-0a1b2c3d']) {
      await t.rejects(open(second, source, randomUUID()).client.resumeAfter, { code: status.PERMISSION_DENIED }, source)
    }
    // The common name is nobody's word; nor is a wildcard, or an address, a name.
    for (const [file, san] of [
      ['bare', ''],
      ['wild', 'DNS:*.example.net'],
      ['address', 'IP:192.0.2.7'],
    ] as const) {
      const pair = authority.issue(file, san, 'pbx-1')
      for (const source of ['pbx-1', 'a.example.net', '192.0.2.7'])
        await t.rejects(
          open(pair, source, randomUUID()).client.resumeAfter,
          { code: status.PERMISSION_DENIED },
          `${file} ${source}`,
        )
    }
  },
)

t.test(
  'a record of a tenant that its sender may not use goes to quarantine, its batch goes on',
  { skip: noOpenssl },
  async (t) => {
    const { proxy, authority } = await started(t, {
      authorise: {
        'pbx-3': { sources: ['east', 'west'], tenants: ['acme'] },
        'spiffe://example.net/pbx-4': { sources: ['north'], tenants: ['default', 'acme'] },
      },
    })
    const open = openings(t, proxy, authority)
    const send = async (pair: Pair, source: string, bodies: readonly Buffer[]): Promise<void> => {
      const stream = open(pair, source, randomUUID())
      await stream.client.resumeAfter
      for (const [i, body] of bodies.entries()) stream.client.send(i + 1, body)
      await committed(stream, bodies.length)
    }
    const quarantined = async (): Promise<number | undefined> =>
      (await counted(proxy, 'minim_records_quarantined_total'))['reason="unauthorised"']
    await send(authority.issue('pbx-1', 'DNS:pbx-1'), 'pbx-1', [
      records({ calls: [call(1), call(2, { tenant: 'acme' }), call(3, { tenant: 'default' })] }),
      batch(4),
    ])
    t.equal(await quarantined(), 1)
    t.equal(await billed(proxy), 3)

    // What the map says stands in for the certificate's own.
    const mapped = authority.issue('pbx-3', 'DNS:pbx-3')
    await send(mapped, 'west', [
      records({ calls: [call(5), call(6, { tenant: 'acme' }), call(7, { tenant: 'default' })] }),
    ])
    t.equal(await quarantined(), 2, "its records that name no tenant are its own tenant's")
    t.equal(await billed(proxy), 5)
    await t.rejects(open(mapped, 'pbx-3', randomUUID()).client.resumeAfter, { code: status.PERMISSION_DENIED })

    await send(authority.issue('pbx-4', 'URI:spiffe://example.net/pbx-4'), 'north', [
      records({ calls: [call(8), call(9, { tenant: 'acme' }), call(10, { tenant: 'nobody' })] }),
    ])
    t.equal(await quarantined(), 2)
    t.equal((await counted(proxy, 'minim_records_quarantined_total'))['reason="unknown_tenant"'], 1)
    t.equal(await billed(proxy), 7)
    t.notMatch((await get(proxy.ops, '/metrics')).body, /minim_conservation_drift_records\{[^}]*\} [^0]/)
  },
)

t.test(
  'another batch under a number that was taken is refused; the same one is acknowledged',
  { skip: noOpenssl },
  async (t) => {
    const { proxy, authority } = await started(t)
    const open = openings(t, proxy, authority)
    const pair = authority.issue('pbx-1', 'DNS:pbx-1')
    const incarnation = randomUUID()
    const [one, two, three] = [batch(1), batch(2), batch(3)]
    const first = open(pair, 'pbx-1', incarnation)
    await first.client.resumeAfter
    first.client.send(1, one)
    first.client.send(2, two)
    await committed(first, 2)
    first.client.cancel()

    const second = open(pair, 'pbx-1', incarnation)
    t.equal(await second.client.resumeAfter, 2)
    second.client.send(2, batch(20))
    const refused = await second.ended
    t.equal(refused?.code, status.ALREADY_EXISTS)
    t.match(refused?.details, /MINIM_DELIVERY_BATCH_DIFFERS: batch 2 of pbx-1 .*new incarnation/)
    t.same(second.acks, [], 'nothing was acknowledged')

    const third = open(pair, 'pbx-1', incarnation)
    t.equal(await third.client.resumeAfter, 2)
    third.client.send(1, one)
    third.client.send(2, two)
    third.client.send(3, three)
    await committed(third, 3)
    // On the same stream, and whether it is committed by then or not.
    third.client.send(3, batch(30))
    t.equal((await third.ended)?.code, status.ALREADY_EXISTS)
    const fourth = open(pair, 'pbx-1', incarnation)
    t.equal(await fourth.client.resumeAfter, 3)
    fourth.client.send(4, batch(4))
    fourth.client.send(4, batch(40))
    t.equal((await fourth.ended)?.code, status.ALREADY_EXISTS, 'in flight')
    await until('four are there', async () => (await billed(proxy)) === 4)
    await sleep(50)
    t.equal(await billed(proxy), 4)
  },
)
