/**
 * Kamailio with `siptrace` on, sipp and baresip registering and calling through it, and `minim run` on the other end of
 * its captures: the minimised topics hold each call, device and report once.
 *
 * All that Kamailio sends goes by UDP, and some seconds later once more by TCP, as a second capture point that is late
 * would send it. Kamailio also copies each REGISTER, and hands each report on, to the SIP listener: what comes by both
 * ways is taken once.
 *
 * Whatever is waited for has a bound that names it, and all of them together end before tap's own 120 s: a test that tap
 * ends says nothing of why.
 */
import type { ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { loadPolicy } from '../../src/policy/load.js'
import { decoderOf } from '../../src/trial/decode.js'
import { spawn, spawnSync } from '../helpers/child-process.js'
import { freePort } from '../helpers/free-port.js'
import { publish, vqBody } from '../sources/sip/messages.js'
import { UdpClient } from '../sources/sip/rig.js'
import { get, type KafkaRecord, metric, Place, readTopic, ROOT, run, type Running, sleep, until } from './program.js'

const FOLDER = join(ROOT, 'test/e2e/kamailio')
/** Between those who are registered. */
const CALLS = 20
const REFUSED = 3
const TO_BARESIP = 2
const REPORTS = 3
const KEY = 'a-key-for-the-captures'
const CALLED = '+447700900123'
const NOT_THERE = '+442079460999'
/** When all that is waited for has come, or what is missing is told. */
const WITHIN_MS = 100_000
/** Longest that one thing is waited for. */
const PATIENCE_MS = 30_000
/** Packets on their way to minim by UDP: so many fit into any socket's buffer, however long its reader waits for a CPU. */
const ON_THEIR_WAY = 32
/** A request is sent again when no answer came by then, as all do that use UDP. */
const RETRANSMIT_MS = 1000
/** How much later the second capture point sends: when the calls are over. */
const LATE_MS = 2500

const PATHS = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`
const env = { ...process.env, PATH: PATHS }
const missing = [
  ['kamailio', '-v'],
  ['sipp', '-v'],
  ['baresip', '-h'],
]
  .filter(([program, flag]) => spawnSync(program, [flag], { stdio: 'ignore', env }).error !== undefined)
  .map(([program]) => program)

const startedAt = Date.now()
/** All programs of the test, for what they said last. */
const programs: Started[] = []

/** What is left of a bound. */
const leftOf = (boundMs: number): number => Math.max(1, Math.min(boundMs, startedAt + WITHIN_MS - Date.now()))

/** Waits for something; when it does not come in time, that is told with what all programs said last. */
async function within<T>(t: Test, what: string, promise: Promise<T>, boundMs = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`never: ${what}`))
    }, leftOf(boundMs))
  })
  try {
    return await Promise.race([promise, late])
  } catch (error) {
    t.comment(`while waiting for: ${what}`)
    for (const { name, child, text } of programs)
      t.comment(`${name} (${child.exitCode ?? child.signalCode ?? 'runs'}): ${text().slice(-2000)}`)
    throw error
  } finally {
    clearTimeout(timer)
  }
}

const eventually = (t: Test, what: string, probe: () => boolean | Promise<boolean>): Promise<boolean> =>
  within(t, what, until(what, probe, leftOf(PATIENCE_MS)), PATIENCE_MS + 1000)

interface Started {
  readonly name: string
  readonly child: ChildProcess
  readonly text: () => string
}

/**
 * Starts a program in a process group of its own; at the test's end it is told to end, by its id. Kamailio ends its own
 * children when it is asked to; where it does not, they hold its output open, and the whole group is ended.
 */
function start(t: Test, program: string, args: readonly string[], cwd: string, name = program): Started {
  let text = ''
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-20_000)
    })
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => {
      resolve()
    })
  })
  t.teardown(async () => {
    if (child.exitCode === null) child.kill(program === 'kamailio' ? 'SIGTERM' : 'SIGKILL')
    const timer = setTimeout(() => {
      endGroup(child)
    }, 5000)
    await ended
    clearTimeout(timer)
  })
  const started = { name, child, text: () => text }
  programs.push(started)
  return started
}

function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left of it.
  }
}

/** Runs sipp to its end. Fields of the scenario come from `rows`. */
async function sipp(
  t: Test,
  place: Place,
  scenario: string,
  port: number,
  calls: number,
  rows: readonly string[],
): Promise<void> {
  const values = place.write(`${scenario}.csv`, `SEQUENTIAL\n${rows.join('\n')}\n`)
  const { child, text } = start(
    t,
    'sipp',
    [
      `127.0.0.1:${port}`,
      '-sf',
      join(FOLDER, `${scenario}.xml`),
      '-inf',
      values,
      '-i',
      '127.0.0.1',
      '-p',
      String(await freePort()),
      '-m',
      String(calls),
      '-r',
      '20',
      '-l',
      '30',
      '-timeout',
      '25s',
      '-timeout_error',
      '-nostdin',
    ],
    place.folder,
    `sipp ${scenario}`,
  )
  // It ends by itself after 25 s at most, unless it cannot.
  const [code] = (await within(t, `the end of sipp ${scenario}`, once(child, 'close'))) as [number | null]
  if (code !== 0) t.comment(text())
  t.equal(code, 0, `sipp: ${scenario}`)
}

/**
 * Takes captures, and hands them to minim twice: by UDP now, by TCP a little later. By UDP no more are on their way than
 * its socket holds: a packet that the system drops was lost by nobody that is tested here.
 * @param received how many minim has read, by both ways
 */
async function captures(
  t: Test,
  udp: string,
  tcp: string,
  received: () => Promise<number>,
): Promise<{ readonly port: number; readonly packets: () => number; readonly settled: () => Promise<void> }> {
  const [udpPort, tcpPort] = [udp, tcp].map((address) => Number(address.split(':').pop()))
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 })
  const second = connect(tcpPort, '127.0.0.1')
  await within(t, 'a connection for the second capture point', once(second, 'connect'))
  const waiting = new Set<NodeJS.Timeout>()
  const queue: Buffer[] = []
  let [packets, sent, sending, over] = [0, 0, false, false]
  const send = async (): Promise<void> => {
    if (sending) return
    sending = true
    while (queue.length > 0 && !over) {
      if (sent - (await received()) >= ON_THEIR_WAY) {
        await sleep(10)
        continue
      }
      for (const bytes of queue.splice(0, ON_THEIR_WAY / 2)) {
        socket.send(bytes, udpPort, '127.0.0.1')
        sent++
        const timer = setTimeout(() => {
          waiting.delete(timer)
          second.write(bytes)
          sent++
        }, LATE_MS)
        waiting.add(timer)
      }
    }
    sending = false
  }
  let failed: unknown = null
  socket.on('message', (bytes) => {
    packets++
    queue.push(Buffer.from(bytes))
    send().catch((error: unknown) => {
      failed = error
    })
  })
  await new Promise<void>((resolve) => {
    socket.bind(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    over = true
    for (const timer of waiting) clearTimeout(timer)
    socket.close()
    second.destroy()
  })
  return {
    port: socket.address().port,
    packets: () => packets,
    settled: async () => {
      await eventually(t, 'both capture points have sent all', () => {
        if (failed !== null) throw new Error('captures are not handed on', { cause: failed })
        return queue.length === 0 && !sending && waiting.size === 0
      })
    },
  }
}

/** Asks by UDP, and again when no answer comes: a datagram may be lost. */
async function ask(t: Test, client: UdpClient, what: string, bytes: Buffer): Promise<string> {
  const before = client.answers.length
  const again = setInterval(() => {
    client.send(bytes)
  }, RETRANSMIT_MS)
  try {
    client.send(bytes)
    await eventually(t, what, () => client.answers.length > before)
    return client.answers[before]
  } finally {
    clearInterval(again)
  }
}

/** The folder of a baresip that answers by itself. */
function phone(place: Place, user: number, port: number): string {
  const folder = place.path(`phone-${user}`)
  mkdirSync(folder)
  writeFileSync(
    join(folder, 'config'),
    [
      'module_path /usr/lib/baresip/modules',
      'module g711.so',
      ...['account.so', 'menu.so'].map((module) => `module_app ${module}`),
      'sip_listen 127.0.0.1:0',
      '',
    ].join('\n'),
  )
  writeFileSync(
    join(folder, 'accounts'),
    `<sip:${user}@127.0.0.1:${port};transport=udp>;auth_user=${user};auth_pass=none;regint=600;answermode=auto;audio_codecs=pcma\n`,
  )
  writeFileSync(join(folder, 'contacts'), '')
  return folder
}

/** Whether somebody listens at a port by TCP. */
const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).once('error', () => {
      resolve(false)
    })
  })

const isoTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`

const policy = loadPolicy(`${ROOT}/config/policy.yaml`, catalogue())

const produced = async ({ ops }: Running, topic: string): Promise<number> =>
  metric((await get(ops, '/metrics')).body, 'minim_messages_produced_total')[`topic="${topic}"`] ?? 0

const topics = new Map<string, KafkaRecord[]>()

/** A topic's messages, read once. */
async function raw(t: Test, { kafka }: Running, topic: string): Promise<KafkaRecord[]> {
  const messages = topics.get(topic) ?? (await within(t, `the messages of ${topic}`, readTopic(kafka, topic)))
  topics.set(topic, messages)
  return messages
}

async function read(t: Test, running: Running, topic: string): Promise<Record<string, unknown>[]> {
  const found = policy.purposes
    .flatMap((purpose) => Object.values(purpose.kinds).map((rules) => ({ purpose, rules })))
    .find(({ rules }) => rules.topic === topic)
  if (found === undefined) throw new Error(`no topic ${topic}`)
  const decode = decoderOf(found.purpose, found.rules, catalogue())
  return (await raw(t, running, topic)).map(({ value }) => decode(value) as Record<string, unknown>)
}

const tokens = (records: readonly Record<string, unknown>[], field: string): Set<unknown> =>
  new Set(records.map((record) => record[field]).filter((token) => token !== undefined))

t.test('Kamailio, sipp and baresip', async (t) => {
  if (missing.length > 0) {
    t.comment(`LEFT OUT: ${missing.join(', ')} not installed (Debian: kamailio, sip-tester, baresip)`)
    return
  }
  const place = new Place(t)
  place.makeStore()
  writeFileSync(place.path('hep.secret'), KEY, { mode: 0o600 })
  const running = await run(
    t,
    place,
    place.settings({
      hep: {
        udp: '127.0.0.1:0',
        tcp: '127.0.0.1:0',
        secretFile: place.path('hep.secret'),
        allow: ['127.0.0.0/8'],
        nodes: [{ captureId: 101, calls: 'always' }],
      },
      sip: { udp: '127.0.0.1:0', allow: ['127.0.0.0/8'] },
      tenants: { default: { id: 1, region: 'GB', extensionDigits: 6, domains: ['pbx.example'] } },
    }),
  )
  const ready = await running.program.line('ready')
  const hepReceived = async (): Promise<number> =>
    metric((await get(running.ops, '/metrics')).body, 'minim_source_received_total')['source_kind="hep"'] ?? 0
  const capture = await captures(t, String(ready['hepUdp']), String(ready['hepTcp']), hepReceived)

  const sipPort = await freePort()
  const config = readFileSync(join(FOLDER, 'kamailio.cfg'), 'utf8')
    .replaceAll('SIP_PORT', String(sipPort))
    .replaceAll('HEP_PORT', String(capture.port))
    .replaceAll('HEP_KEY', KEY)
    .replaceAll('MINIM_PORT', String(ready['sipUdp']).split(':').pop() ?? '')
  mkdirSync(place.path('kamailio'))
  const kamailio = start(
    t,
    'kamailio',
    [
      '-f',
      place.write('kamailio.cfg', config),
      '-DD',
      '-E',
      '-m',
      '32',
      '-M',
      '8',
      '-w',
      place.path('kamailio'),
      '-Y',
      place.path('kamailio'),
    ],
    place.folder,
  )
  const called = await freePort()
  const registrations = [
    `1001;${called};Yealink SIP-T46S 66.85.0.5 00005e005304`,
    `${CALLED};${called};PolycomVVX-VVX_410-UA/5.9.5.0614`,
  ]
  const client = await UdpClient.open(t, sipPort)
  // It has bound all its sockets by then; a request that came before would be lost.
  await eventually(t, 'Kamailio listens', () => {
    if (kamailio.child.exitCode !== null) throw new Error(`Kamailio has ended: ${kamailio.text()}`)
    return listens(sipPort)
  })
  await sipp(t, place, 'register', sipPort, 2, registrations)

  const baresip = start(t, 'baresip', ['-f', phone(place, 1003, sipPort), '-t', '110'], place.folder)
  const answering = start(
    t,
    'sipp',
    ['-sf', join(FOLDER, 'called.xml'), '-i', '127.0.0.1', '-p', String(called), '-nostdin', '-timeout', '110s'],
    place.folder,
    'sipp called',
  )
  await eventually(t, 'baresip is registered', () => /1003@.*200 OK/.test(baresip.text()))
  t.equal(answering.child.exitCode, null, 'sipp answers')

  await Promise.all([
    sipp(t, place, 'caller', sipPort, CALLS, [`1001;${CALLED};Xanthippe`]),
    sipp(t, place, 'refused', sipPort, REFUSED, [`1001;${NOT_THERE};Xanthippe`]),
  ])
  await sipp(t, place, 'caller', sipPort, TO_BARESIP, ['1001;1003;Xanthippe'])
  const began = Date.now() - 300_000
  for (let n = 0; n < REPORTS; n++) {
    const body = vqBody(`report-${n}@192.0.2.14`)
      .replace(/2026-11-24T10:00:00Z/g, isoTime(began))
      .replace(/2026-11-24T10:02:17Z/g, isoTime(began + 100_000))
    t.match(
      await ask(t, client, `an answer to report ${n}`, publish(body)),
      /^SIP\/2\.0 200 /,
      'handed on, and answered',
    )
  }
  await eventually(
    t,
    'all calls are over, and the refused ones have settled',
    async () => (await produced(running, 'pbx.billing.call')) >= CALLS + REFUSED + TO_BARESIP,
  )
  await capture.settled()
  await eventually(t, 'every packet was read twice', async () => (await hepReceived()) >= 2 * capture.packets())
  // What must not come any more would have come within that time.
  await sleep(1000)

  const { body } = await get(running.ops, '/metrics')
  t.equal(await hepReceived(), 2 * capture.packets(), 'no packet was lost')
  const refusals = Object.entries(metric(body, 'minim_source_refused_total')).filter(
    ([labels, count]) => labels.includes('"hep"') && !labels.includes('"repeated"') && count > 0,
  )
  t.strictSame(refusals, [], 'each packet was of use')
  t.strictSame(
    Object.values(metric(body, 'minim_conservation_drift_records')).filter((drift) => drift !== 0),
    [],
  )

  const billing = await read(t, running, 'pbx.billing.call')
  t.equal(billing.length, CALLS + REFUSED + TO_BARESIP, 'each call once')
  const by = (prefix: unknown, disposition: string): Record<string, unknown>[] =>
    billing.filter((call) => call['called_prefix'] === prefix && call['disposition'] === disposition)
  t.equal(by('+44770', 'ANSWERED').length, CALLS)
  t.equal(by('+4420', 'FAILED').length, REFUSED)
  t.equal(by(undefined, 'ANSWERED').length, TO_BARESIP, 'an extension has no prefix')
  t.ok(by('+44770', 'ANSWERED').every((call) => Number(call['billable_seconds']) >= 1))
  t.ok(by('+4420', 'FAILED').every((call) => (call['billable_seconds'] ?? 0) === 0))
  t.equal(tokens(billing, 'calling').size, 1)
  t.equal(tokens(billing, 'called').size, 3)

  const service = await read(t, running, 'pbx.service.call')
  t.same([...tokens(service, 'hangup_cause')].sort(), [1, 16])
  t.not([...tokens(service, 'calling')][0], [...tokens(billing, 'calling')][0], 'no two purposes share a token')

  const calls = await read(t, running, 'pbx.quality.call')
  t.equal(tokens(calls, 'call_id').size, CALLS + REFUSED + TO_BARESIP)
  const answered = calls.filter((call) => call['codec'] !== undefined)
  t.equal(answered.length, CALLS + TO_BARESIP)
  t.match(
    answered.find((call) => call['device_model'] === 'T46S'),
    {
      codec: 'PCMA',
      device_model: 'T46S',
      device_firmware: '66.85.0.5',
      source_network: '127.0.0.0/24',
      destination_network: '127.0.0.0/24',
    },
  )

  const qualities = await read(t, running, 'pbx.quality.quality')
  const published = qualities.filter((quality) => quality['mos_lq'] !== undefined || quality['mos_cq'] !== undefined)
  t.equal(tokens(published, 'call_id').size, REPORTS, 'reports that came by HEP and by SIP')
  t.equal(published.length, 2 * REPORTS, 'both ends of each, once')
  const said = qualities.filter((quality) => !published.includes(quality))
  t.equal(said.filter((quality) => quality['jitter_ms'] === 3).length, CALLS + TO_BARESIP, 'what each BYE says, once')
  t.match(
    said.find((quality) => quality['jitter_ms'] === 3),
    { loss_percent: 4, codec: 'PCMA' },
  )
  t.ok(
    [...tokens(said, 'call_id')].every((token) => tokens(answered, 'call_id').has(token)),
    'a call has one token, whatever tells of it',
  )

  const devices = await read(t, running, 'pbx.quality.device')
  t.equal(devices.length, 3, 'three registered, each challenged first, by HEP and by SIP')
  t.same([...tokens(devices, 'device_model')].filter((model) => model === 'T46S' || model === 'VVX 410').length, 2)
  t.equal(tokens(devices, 'party').size, 3)
  const parties = tokens(devices, 'party')
  t.ok(parties.has([...tokens(calls, 'calling')][0]), "a caller is the device's party")

  for (const topic of [
    'pbx.billing.call',
    'pbx.service.call',
    'pbx.quality.call',
    'pbx.quality.quality',
    'pbx.quality.device',
    'pbx.fraud.call',
    'pbx.fraud.device',
    'pbx.research.call',
  ]) {
    const bytes = Buffer.concat(
      (await raw(t, running, topic)).map(({ value, key }) => Buffer.concat([value, key ?? Buffer.alloc(0)])),
    ).toString('latin1')
    for (const canary of ['7700900123', '2079460999', 'Xanthippe', '005e005304', KEY, '127.0.0.1', 'pbx.example'])
      t.notOk(bytes.includes(canary), `${topic}: no ${canary}`)
  }
  t.notOk(running.program.stderr.includes(KEY))
})
