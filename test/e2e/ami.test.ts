/**
 * `minim run` connected to a manager interface: minimised topics read back, a connection that breaks, repeats over a
 * restart.
 */
import { chmodSync } from 'node:fs'
import t from 'tap'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { loadPolicy } from '../../src/policy/load.js'
import { decoderOf } from '../../src/trial/decode.js'
import { AmiServer, cdr, fixture, stanza } from '../sources/ami/server.js'
import { get, metric, Place, readTopic, ROOT, run, until } from './program.js'

const SECRET = 'a secret of 12 cups'

/** The PBX's wall clock. */
const wallTime = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ')

t.test('calls, quality and devices from AMI to the topics of their purposes', async (t) => {
  const server = await AmiServer.start(t, { secret: SECRET, contacts: fixture('contacts.txt'), pieceBytes: 1000 })
  const place = new Place(t)
  place.makeStore()
  const secretFile = place.write('ami-secret', `${SECRET}\n`)
  chmodSync(secretFile, 0o600)
  const entry = {
    host: '127.0.0.1',
    user: 'minim',
    secretFile,
    timeZone: 'Etc/GMT',
    settleMs: 200,
    reconnectMs: 50,
    reconnectMaxMs: 200,
  }
  const settings = place.settings({
    ami: [
      { ...entry, node: 'pbx1', port: server.port },
      { ...entry, node: 'dead', port: 1 },
    ],
  })
  const written = [secretFile, settings]
  const { program, kafka, ops } = await run(t, place, settings)
  await server.loggedIn()

  const start = Math.floor(Date.now() / 1000) * 1000 - 600_000
  const once = cdr({
    UniqueID: 'pbx1-1795526400.26',
    LinkedID: 'pbx1-1795526400.26',
    sipcallid: '3c26-7b-example@192.0.2.44',
    CallerID: '"Xanthippe" <447700900123>',
    StartTime: wallTime(start),
    AnswerTime: wallTime(start + 5000),
    EndTime: wallTime(start + 75_000),
  })
  const withoutCdr = fixture('call.txt').split('Event: Cdr')[0]
  await server.send(
    withoutCdr +
      once +
      once.replace('Destination: 02079460101', 'Destination: h') +
      stanza({ Event: 'Cdr', UniqueID: '9', StartTime: 'soon' }),
  )

  const policy = loadPolicy(`${ROOT}/config/policy.yaml`, catalogue())
  const read = async (topic: string, count: number): Promise<Record<string, unknown>[]> => {
    const found = policy.purposes
      .flatMap((purpose) => Object.values(purpose.kinds).map((rules) => ({ purpose, rules })))
      .find(({ rules }) => rules.topic === topic)
    if (found === undefined) throw new Error(`no topic ${topic}`)
    const decode = decoderOf(found.purpose, found.rules, catalogue())
    await until(
      `${count} messages counted in ${topic}`,
      async () =>
        (metric((await get(ops, '/metrics')).body, 'minim_messages_produced_total')[`topic="${topic}"`] ?? 0) >= count,
    )
    return (await readTopic(kafka, topic)).map(({ value }) => decode(value) as Record<string, unknown>)
  }
  const [billed] = await read('pbx.billing.call', 1)
  t.match(billed, { start_ms: start, billable_seconds: 70, disposition: 'ANSWERED' })
  const [operated] = await read('pbx.service.call', 1)
  t.match(operated, { hangup_cause: 16, disposition: 'ANSWERED' })
  const [quality] = await read('pbx.quality.quality', 1)
  t.match(quality, { packets_sent: 500, jitter_ms: 20, round_trip_ms: 40 })
  const qualityCalls = await read('pbx.quality.call', 1)
  t.equal(quality['call_id'], qualityCalls[0]['call_id'], 'the call and the quality of its leg have one call token')
  t.equal((await read('pbx.service.device', 2)).length, 2)

  const seen = async (): Promise<{
    refused: Record<string, number>
    gap: number
    connections: number
    quarantined: Record<string, number>
  }> => {
    const { body } = await get(ops, '/metrics')
    return {
      refused: metric(body, 'minim_source_refused_total'),
      gap: metric(body, 'minim_source_gap_seconds_total')['source_kind="ami"'],
      connections: metric(body, 'minim_source_connections')['source_kind="ami"'],
      quarantined: metric(body, 'minim_records_quarantined_total'),
    }
  }
  await until(
    'what could not be read is in quarantine',
    async () => (await seen()).quarantined['reason="bad_value"'] === 1,
  )
  t.equal((await seen()).connections, 1)

  // The connection breaks, and is there again: what is said of the gap, and what is sent again is not taken again.
  const before = (await seen()).gap
  server.drop()
  await until('it is back', () => server.logins === 2 && server.clients === 1)
  await server.send(
    once +
      cdr({
        UniqueID: 'pbx1-1795526400.27',
        StartTime: wallTime(start),
        AnswerTime: '',
        EndTime: wallTime(start + 9000),
        BillableSeconds: 0,
        Duration: 9,
        Disposition: 'NO ANSWER',
      }),
  )
  t.equal((await read('pbx.billing.call', 2)).length, 2)
  t.ok((await seen()).gap > before, 'the gap is counted')
  t.match(program.stderr, /"node":"pbx1","gapSeconds":[\d.]+,"calls":"missed"/)

  program.kill('SIGTERM')
  const { code, stderr } = await program.end()
  t.equal(code, 0)
  t.match(stderr, /MINIM_AMI_LOST.*"node":"dead"/)
  const canaries = /7700900|79460|Xanthippe|example@|12 cups|00005e0053/
  t.notMatch(stderr, canaries, 'no value in the log')
  for (const { path, bytes } of place.left(written))
    t.notMatch(bytes.toString('latin1'), canaries, `nothing in clear in ${path.slice(place.folder.length)}`)

  // The same program again: the spool remembers what it has taken.
  const again = await run(t, place, settings)
  await until('it is back', () => server.logins === 3 && server.clients === 1)
  await server.send(once)
  await until(
    'the repeat is known',
    async () =>
      metric((await get(again.ops, '/metrics')).body, 'minim_source_refused_total')[
        'source_kind="ami",reason="repeated"'
      ] === 1,
  )
})
