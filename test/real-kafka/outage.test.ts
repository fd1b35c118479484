/**
 * Kafka goes away under a proxy and comes back: while nothing is sent, and while the spool fills. Each is a line of the
 * log when it begins and one when it is over, and a reason of `/readyz` meanwhile.
 */
import t from 'tap'
import { get, Place, Program, until } from '../e2e/program.js'
import { freePort } from '../helpers/free-port.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
t.setTimeout(300_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

t.test('a broker that hangs, twice', { skip: reason ?? false, timeout: 300_000 }, async (t) => {
  const kafka = await startKafka({ heap: '384m' })
  t.teardown(() => kafka.stop())
  const place = new Place(t)
  place.makeStore()
  const listen = `127.0.0.1:${await freePort()}`
  const settings = place.settings({
    embedded: false,
    kafka: { 'bootstrap.servers': kafka.bootstrap },
    topics: { partitions: 1, replication: 1 },
    http: { listen },
    spool: { path: place.path('spool'), maxBytes: 1_048_576 },
  })
  const program = new Program(t, ['run', '--config', settings], place)
  const ops = String((await program.line('ready'))['ops'])
  const said = (pattern: RegExp): number => program.log().filter((line) => pattern.test(JSON.stringify(line))).length
  const reasons = async (): Promise<string[]> =>
    (JSON.parse((await get(ops, '/readyz')).body) as { reasons: string[] }).reasons
  const call = { start_ms: Date.now() - 60_000, account: 'a'.repeat(60), calling: '+447700900417', called: '1001' }
  const post = async (): Promise<Response> =>
    await fetch(`http://${listen}/v1/calls`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: `${JSON.stringify(call)}\n`.repeat(200),
    })
  t.same(await reasons(), [])

  kafka.pause()
  await until('it is noticed at rest', async () => (await reasons()).includes('kafka_away'))
  t.equal((await post()).status, 202, 'what comes is taken all the same')
  t.equal(said(/NO_BROKER/), 1)
  kafka.resume()
  await until('it is over', async () => (await reasons()).length === 0)
  t.match([said(/NO_BROKER/), said(/Kafka takes records again/)], [1, 1])

  kafka.pause()
  const refused = await until('the spool is full', async () => {
    const answer = await post()
    return answer.status === 503 ? answer : null
  })
  t.match(await refused.json(), { error: 'unavailable', reason: 'spool_full' })
  await until(
    'both are told',
    async () => {
      const now = await reasons()
      return now.includes('kafka_away') && now.includes('spool_full')
    },
    120_000,
  )
  t.same(await (await post()).json(), { error: 'unavailable', reason: 'spool_full', cause: 'kafka_away' })
  kafka.resume()
  await until('it is over', async () => (await reasons()).length === 0, 120_000)
  t.equal((await post()).status, 202)
  t.match(
    [said(/NO_BROKER/), said(/Kafka takes records again/), said(/MINIM_SPOOL_FULL/), said(/the spool has room again/)],
    [2, 2, 1, 1],
    'a line when it begins, and one when it is over',
  )
  program.kill('SIGTERM')
  t.equal((await program.end()).code, 0)
})
