/**
 * The policy is read anew by two workers on a real broker, while records flow: topics are made before anything goes
 * there, all workers go over or none, one that is started again has the policy that runs, and topics that differ keep
 * it.
 */
import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { loadPolicy } from '../../src/policy/load.js'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { get, metric, Place, Program, readTopic, sleep, until } from '../e2e/program.js'
import { call, records } from '../e2e/records.js'
import { freePort } from '../helpers/free-port.js'
import { kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'
import { NUMBER, policyText, wrongBy } from '../helpers/two-policies.js'

const reason = kafkaAvailable()
t.setTimeout(600_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const [A, B] = [policyText('a'), policyText('b')]
const versions = { a: loadPolicy({ text: A }).version, b: loadPolicy({ text: B }).version }
const RECORDS = 20

type Json = Readonly<Record<string, unknown>>

interface Sender {
  readonly client: DeliverClient
  readonly first: number
  sent: number
  acked: number
  /** Its worker went away: what was not acknowledged is sent again by the next client. */
  ended: boolean
}

async function read(kafka: KafkaCluster, topic: string): Promise<Json[]> {
  return (await readTopic(kafka.bootstrap, topic)).map(({ value }) => JSON.parse(value.toString()) as Json)
}

const numbers = (of: readonly Json[]): number[] => of.map((one) => Number(one[NUMBER])).sort((x, y) => x - y)

async function twoWorkers(t: Test, kafka: KafkaCluster): Promise<void> {
  const place = new Place(t)
  place.makeStore()
  const [grpc, ops] = [await freePort(), await freePort()]
  const settings = place.settings({
    policy: place.write('policy.yaml', A),
    embedded: false,
    workers: 2,
    kafka: { 'bootstrap.servers': kafka.bootstrap },
    topics: { partitions: 2, replication: 1 },
    grpc: { listen: `127.0.0.1:${grpc}` },
    ops: { listen: `127.0.0.1:${ops}` },
  })
  const program = new Program(t, ['run', '--config', settings, '--allow-widening', 'a test'], place)
  const page = async (): Promise<string> => (await get(`127.0.0.1:${ops}`, '/metrics').catch(() => ({ body: '' }))).body
  const ready = async (): Promise<boolean> =>
    (await get(`127.0.0.1:${ops}`, '/readyz').catch(() => ({ status: 0 }))).status === 200
  await until('both are ready', ready, 120_000)
  const counts = async (): Promise<Record<string, number>> => metric(await page(), 'minim_policy_reload_total')
  const reload = async (): Promise<string> => {
    const before = await counts()
    program.kill('SIGHUP')
    return until('the reload has ended', async () => {
      const now = await counts()
      return Object.keys(now).find((end) => now[end] > before[end])
    })
  }

  const senders = await Promise.all(
    Array.from({ length: 4 }, async (_, s) => {
      const sender: Sender = {
        client: new DeliverClient({
          address: `127.0.0.1:${grpc}`,
          source: `pbx-${s}`,
          incarnation: randomUUID(),
          onAck: (sequence) => {
            sender.acked = Math.max(sender.acked, sequence)
          },
          onEnd: () => {
            sender.ended = true
          },
        }),
        // From 1, and all below what a call can last.
        first: s * 500_000 + 1,
        sent: 0,
        acked: 0,
        ended: false,
      }
      t.teardown(() => {
        sender.client.cancel()
      })
      await sender.client.resumeAfter
      return sender
    }),
  )
  const send = (sender: Sender): void => {
    const first = sender.first + sender.sent++ * RECORDS
    sender.client.send(
      sender.sent,
      records({ calls: Array.from({ length: RECORDS }, (_, i) => call(i, { [NUMBER]: first + i })) }),
    )
  }
  let over = false
  const feeding = Promise.all(
    senders.map(async (sender) => {
      while (!over) {
        send(sender)
        await until('there is room', () => sender.sent - sender.acked < 32)
        await sleep(5)
      }
    }),
  )
  const ends = new Set<string>()
  let rounds = 0
  for (const end = Date.now() + 10_000; Date.now() < end; rounds++) {
    place.write('policy.yaml', rounds % 2 === 0 ? B : A)
    ends.add(await reload())
    await sleep(400)
  }
  t.same([...ends], ['end="ok"'], `${rounds} times`)
  // Kafka keeps the records of 90 days and is to keep those of 80: the operator has to change that first.
  place.write('policy.yaml', B.replaceAll('90', '80'))
  t.equal(await reload(), 'end="topics"')
  t.match(JSON.stringify(program.log()), /retention\.ms is/, 'the log says what differs')
  place.write('policy.yaml', B)
  t.match(await reload(), /^end="(ok|unchanged)"$/)
  over = true
  await feeding
  for (const sender of senders) await until('all is committed', () => sender.acked === sender.sent)
  t.notOk(senders.some(({ ended }) => ended))

  const billing = await read(kafka, 'pbx.billing.call')
  const sent = senders.flatMap(({ first, sent }) => Array.from({ length: sent * RECORDS }, (_, i) => first + i)).length
  t.equal(billing.length, sent, 'nothing twice')
  t.equal(new Set(numbers(billing)).size, sent, 'nothing lost')
  t.same(
    billing
      .map((one) => wrongBy(one, versions))
      .filter((what) => what !== null)
      .slice(0, 3),
    [],
    'each is right by the policy that its tag names',
  )
  const byB = billing.filter((one) => (one['tag'] as Json)['policy'] === versions.b)
  const audit = await read(kafka, 'pbx.audit.call')
  t.ok(byB.length > 0 && byB.length < sent, `${byB.length} of ${sent} by the one policy`)
  t.equal(
    numbers(audit).join(' ') === numbers(byB).join(' '),
    true,
    'what one purpose has by a policy, the other has too',
  )
  t.ok(Object.values(metric(await page(), 'minim_conservation_drift_records')).every((n) => n === 0))

  // A worker that is started again while the file holds something else.
  place.write('policy.yaml', A.slice(0, 100))
  const pids = [...new Set(program.log().flatMap(({ msg, pid }) => (msg === 'ready' ? [Number(pid)] : [])))]
  process.kill(pids[0], 'SIGKILL')
  await until('it is missed', async () => !(await ready()))
  await until('it is back', ready)
  t.equal(
    program
      .log()
      .filter(({ msg }) => msg === 'ready')
      .at(-1)?.['policy'],
    versions.b,
    'with the policy that runs',
  )
  t.equal(await reload(), 'end="invalid"')
  program.kill('SIGTERM')
  t.equal((await program.end()).code, 0)
}

t.test('on a real broker', { skip: reason ?? false }, async (t) => {
  const kafka = await startKafka()
  t.teardown(() => kafka.stop())
  await t.test('two workers, two policies in turn, under load', (t) => twoWorkers(t, kafka))
})
