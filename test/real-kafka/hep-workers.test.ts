/**
 * Calls through a B2BUA, captured on both sides and sent by two agents, with several worker processes: the legs meet in
 * one of them, so a call is one record.
 */
import { createSocket, type Socket } from 'node:dgram'
import t, { type Test } from 'tap'
import { get, metric, Place, Program, until } from '../e2e/program.js'
import { freePort } from '../helpers/free-port.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'
import { hep, request, response, SDP } from '../sources/hep/frames.js'

const reason = kafkaAvailable()
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const CALLS = 30
const PHONE = '192.0.2.10:5060'
const PBX = '192.0.2.7:5060'
const TRUNK = '198.51.100.20:5060'

function sender(t: Test): Promise<Socket> {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  return new Promise((resolve) => {
    socket.bind(0, '127.0.0.1', () => {
      resolve(socket)
    })
  })
}

t.test('both legs of a call meet, whatever `workers` says', { skip: reason ?? false, timeout: 110_000 }, async (t) => {
  const kafka = await startKafka({ heap: '512m' })
  t.teardown(() => kafka.stop())
  const place = new Place(t)
  place.makeStore()
  const [port, ops] = [await freePort(), await freePort()]
  const settings = place.settings({
    embedded: false,
    workers: 2,
    kafka: { 'bootstrap.servers': kafka.bootstrap },
    topics: { partitions: 2, replication: 1 },
    ops: { listen: `127.0.0.1:${ops}` },
    hep: { udp: `127.0.0.1:${port}`, allow: ['127.0.0.0/8'], calls: 'always' },
  })
  const program = new Program(t, ['run', '--config', settings], place)
  await until('both are ready', () => program.log().filter((line) => line.msg === 'ready').length === 2)
  const agents = [await sender(t), await sender(t)]
  const began = Date.now() - 120_000
  let sent = 0
  for (let i = 0; i < CALLS; i++) {
    const at = began + i * 1000
    const to = `+4477009${String(10_000 + i)}`
    const leg = (
      callId: string,
      over: { from: string; to: string },
      ends: { source: string; destination: string },
    ) => ({
      at: async (ms: number, what: 'invite' | 'answer' | 'bye') => {
        const of = { callId, ...over }
        const payload = {
          invite: () => request({ ...of, body: SDP }),
          answer: () => response(200, { ...of, headers: ['Content-Type: application/sdp'], body: SDP }),
          bye: () => request({ ...of, cseq: 2, method: 'BYE', toTag: 'b2' }),
        }[what]()
        const back = what === 'answer'
        const { source, destination } = ends
        const packet = { payload, atMs: at + ms, from: back ? destination : source, to: back ? source : destination }
        // Agents in turn, whatever the leg: a port shared between processes would part them.
        await new Promise<void>((resolve, reject) => {
          agents[sent++ % 2].send(hep(packet), port, '127.0.0.1', (error) => {
            if (error === null) resolve()
            else reject(error)
          })
        })
      },
    })
    const first = leg(
      `a-${i}`,
      { from: 'sip:1001@192.0.2.7', to: `sip:${to}@192.0.2.7` },
      { source: PHONE, destination: PBX },
    )
    const second = leg(
      `b-${i}`,
      { from: 'sip:1001@192.0.2.7', to: `sip:${to}@trunk.example` },
      { source: PBX, destination: TRUNK },
    )
    await first.at(0, 'invite')
    await second.at(100, 'invite')
    await second.at(5000, 'answer')
    await first.at(5100, 'answer')
    await first.at(30_000, 'bye')
    await second.at(30_100, 'bye')
  }
  const page = async (name: string): Promise<Record<string, number>> =>
    metric((await get(`127.0.0.1:${ops}`, '/metrics')).body, name)
  await until(
    'all packets were read',
    async () => (await page('minim_source_received_total'))['source_kind="hep"'] === sent,
  )
  await until('and the calls are on Kafka', async () => {
    const found = await kafka.consoleConsumer('pbx.quality.call', { timeoutMs: 3000 })
    return found.length >= CALLS
  })
  const found = await kafka.consoleConsumer('pbx.quality.call', { timeoutMs: 5000 })
  t.equal(found.length, CALLS, 'each call once')
  const refused = await page('minim_source_refused_total')
  const repeated = Object.entries(refused).find(([l]) => l.includes('"hep"') && l.includes('"repeated"'))
  t.equal(repeated?.[1], CALLS, 'and the other leg is counted')
  program.kill('SIGTERM')
  t.equal((await program.end()).code, 0)
})
