/** `minim run` with its SIP listener: sipp and baresip send to it, the minimised topics are read back. */
import { createSocket } from 'node:dgram'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { loadPolicy } from '../../src/policy/load.js'
import { decoderOf } from '../../src/trial/decode.js'
import { spawn, spawnSync } from '../helpers/child-process.js'
import { publish, vqBody } from '../sources/sip/messages.js'
import { UdpClient } from '../sources/sip/rig.js'
import { get, metric, Place, readTopic, ROOT, run, type Running, until } from './program.js'

const installed = (command: string, args: readonly string[]): boolean =>
  spawnSync(command, args, { stdio: 'ignore' }).error === undefined
const hasSipp = installed('sipp', ['-v'])
const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }
const hasKamailio = spawnSync('kamailio', ['-v'], { stdio: 'ignore', env }).error === undefined
const hasBaresip = installed('baresip', ['-h'])

interface Sip extends Running {
  readonly udp: string
  readonly tcp: string
}

async function sipRun(t: Test, place: Place): Promise<Sip> {
  const running = await run(
    t,
    place,
    place.settings({ sip: { udp: '127.0.0.1:0', tcp: '127.0.0.1:0', allow: ['127.0.0.1'] } }),
  )
  const ready = await running.program.line('ready')
  return { ...running, udp: String(ready['sipUdp']), tcp: String(ready['sipTcp']) }
}

const policy = loadPolicy(`${ROOT}/config/policy.yaml`, catalogue())

/** A topic's messages once there are so many. */
async function read({ ops, kafka }: Running, topic: string, count: number): Promise<Record<string, unknown>[]> {
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

/** Runs a command to its end; it is killed by its id if it takes too long. */
async function command(t: Test, program: string, args: readonly string[], cwd: string): Promise<number | null> {
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  const code = await new Promise<number | null>((resolve) => {
    child.once('close', resolve)
  })
  clearTimeout(timer)
  if (code !== 0) t.comment(text.slice(-3000))
  return code
}

async function sipp(
  t: Test,
  place: Place,
  scenario: string,
  address: string,
  transport: 'u1' | 't1',
  calls: number,
  keys: Readonly<Record<string, string>> = {},
): Promise<number | null> {
  return await command(
    t,
    'sipp',
    [
      '-sf',
      join(ROOT, 'test/e2e/sipp', scenario),
      '-i',
      '127.0.0.1',
      '-t',
      transport,
      '-m',
      String(calls),
      '-r',
      '100',
      '-l',
      '10',
      '-timeout',
      '40s',
      '-timeout_error',
      '-nostdin',
      ...Object.entries(keys).flatMap(([name, value]) => ['-key', name, value]),
      address,
    ],
    place.folder,
  )
}

const isoTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`

t.test('reports, registrations and questions by sipp', async (t) => {
  if (!hasSipp) {
    t.comment('LEFT OUT: sipp (Debian: sip-tester) is not installed')
    return
  }
  const place = new Place(t)
  place.makeStore()
  const running = await sipRun(t, place)
  const start = Math.floor((Date.now() - 300_000) / 60_000) * 60_000
  const keys = { start: isoTime(start), stop: isoTime(start + 60_000) }
  t.equal(
    await sipp(t, place, 'publish.xml', running.udp, 'u1', 30, keys),
    0,
    'published by UDP, each with an entity tag, refreshed',
  )
  const qualities = await read(running, 'pbx.quality.quality', 30)
  t.equal(qualities.length, 30)
  t.match(qualities[0], {
    start_ms: start,
    mos_cq: 4.1,
    r_factor: 93,
    jitter_ms: 4,
    loss_percent: 0.5,
    round_trip_ms: 31,
    end_system_delay_ms: 55,
    gap_ms: 39850,
    codec: 'PCMA',
    device_model: 'Edge E350',
    mac_vendor: '00:00:5E',
    local_network: '192.0.2.0/24',
    remote_network: '198.51.100.0/24',
  })
  t.equal(qualities[0]['mos_lq'], undefined, '127 is not a score')
  t.equal(new Set(qualities.map((q) => q['call_id'])).size, 30, 'a call each')
  t.equal(new Set(qualities.map((q) => q['local_party'])).size, 1, 'one phone')

  t.equal(await sipp(t, place, 'publish.xml', running.tcp, 't1', 30, keys), 0, 'the same by TCP')
  const { body } = await get(running.ops, '/metrics')
  t.equal(
    metric(body, 'minim_source_refused_total')['source_kind="sip",reason="repeated"'],
    30,
    'the same reports: known',
  )

  t.equal(await sipp(t, place, 'others.xml', running.udp, 'u1', 5), 0, 'OPTIONS 200, another package 489, REGISTER 200')
  const devices = await read(running, 'pbx.quality.device', 5)
  t.match(devices[0], {
    device_model: 'T46S',
    device_firmware: '66.85.0.5',
    mac_vendor: '00:00:5E',
    contact_network: '192.0.2.0/24',
  })
  t.equal((await readTopic(running.kafka, 'pbx.quality.quality')).length, 30, 'no report twice')
  const drift = metric((await get(running.ops, '/metrics')).body, 'minim_conservation_drift_records')
  t.ok(Object.keys(drift).length > 0)
  t.same(
    Object.values(drift).filter((records) => records !== 0),
    [],
    'nothing lost on the way',
  )

  running.program.kill('SIGTERM')
  const ended = await running.program.end()
  t.equal(ended.code, 0)
  for (const canary of ['7700900123', '2079460101', 'Xanthippe', '00005e005304', '192.0.2.14', 'report-1@']) {
    t.notMatch(ended.stdout + ended.stderr, canary, `${canary} is in no output`)
    t.same(
      place
        .left([])
        .filter(({ bytes }) => bytes.includes(canary))
        .map(({ path }) => path),
      [],
      `${canary} is in no file`,
    )
  }
})

t.test('a report that comes again after a restart is taken once', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const body = vqBody('again@192.0.2.14')
    .replace(/2026-11-24T10:00:00Z/g, isoTime(Date.now() - 300_000))
    .replace(/2026-11-24T10:02:17Z/g, isoTime(Date.now() - 200_000))
  const first = await sipRun(t, place)
  const client = await UdpClient.open(t, Number(first.udp.split(':').pop()))
  t.match(await client.ask(publish(body)), /^SIP\/2\.0 200 /)
  await read(first, 'pbx.quality.quality', 2)
  first.program.kill('SIGTERM')
  t.equal((await first.program.end()).code, 0)

  const second = await sipRun(t, place)
  const other = await UdpClient.open(t, Number(second.udp.split(':').pop()))
  t.match(await other.ask(publish(body)), /^SIP\/2\.0 200 /, 'acknowledged')
  t.equal(
    metric((await get(second.ops, '/metrics')).body, 'minim_source_refused_total')[
      'source_kind="sip",reason="repeated"'
    ],
    1,
  )
  t.match(await other.ask(publish(body.replace(/again@/g, 'new@'))), /^SIP\/2\.0 200 /)
  t.equal((await read(second, 'pbx.quality.quality', 2)).length, 2, 'the new one only, both ends of it')
  second.program.kill('SIGTERM')
  t.equal((await second.program.end()).code, 0)
})

t.test('a phone registers: baresip', async (t) => {
  if (!hasBaresip) {
    t.comment('LEFT OUT: baresip is not installed')
    return
  }
  const place = new Place(t)
  place.makeStore()
  const running = await sipRun(t, place)
  mkdirSync(place.path('phone'))
  place.write(
    'phone/accounts',
    `<sip:1004@${running.udp};transport=udp>;auth_user=1004;auth_pass=none;regint=60\n` +
      `<sip:1005@${running.tcp};transport=tcp>;auth_user=1005;auth_pass=none;regint=60\n`,
  )
  place.write('phone/config', 'module_path /usr/lib/baresip/modules\nmodule_app account.so\nsip_listen 127.0.0.1:0\n')
  place.write('phone/contacts', '')
  const phone = spawn('baresip', ['-f', place.path('phone'), '-t', '20'], {
    cwd: place.folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  phone.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  phone.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  t.teardown(() => {
    phone.kill('SIGKILL')
  })
  await until('the phone is content', () => /1004@.*200 OK/.test(text) && /1005@.*200 OK/.test(text)).catch(
    (error: unknown) => {
      t.comment(text.slice(-2000))
      throw error
    },
  )
  const devices = await read(running, 'pbx.quality.device', 2)
  t.match(devices[0], { contact_network: '127.0.0.0/24' })
  t.equal(new Set(devices.map((d) => d['party'])).size, 2)
})

t.test('Kamailio sends copies of REGISTER, and hands reports on', async (t) => {
  if (!hasKamailio || !hasSipp) {
    t.comment('LEFT OUT: kamailio or sipp is not installed')
    return
  }
  const place = new Place(t)
  place.makeStore()
  const running = await sipRun(t, place)
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => {
    socket.bind(0, '127.0.0.1', resolve)
  })
  const { port } = socket.address()
  await new Promise<void>((resolve) => {
    socket.close(resolve)
  })
  const config = readFileSync(join(ROOT, 'test/e2e/sipp/fork.cfg'), 'utf8')
    .replaceAll('SIP_PORT', String(port))
    .replaceAll('MINIM_PORT', String(running.udp.split(':').pop()))
  mkdirSync(place.path('kamailio'))
  const kamailio = spawn(
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
    { cwd: place.folder, env, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let text = ''
  kamailio.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  kamailio.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const ended = new Promise<void>((resolve) => {
    kamailio.once('close', () => {
      resolve()
    })
  })
  t.teardown(async () => {
    kamailio.kill('SIGTERM')
    const timer = setTimeout(() => kamailio.kill('SIGKILL'), 5000)
    await ended
    clearTimeout(timer)
  })
  // It says nothing when it is ready: sipp asks again until it is.
  t.equal(await sipp(t, place, 'register.xml', `127.0.0.1:${port}`, 'u1', 5), 0, text)
  const devices = await read(running, 'pbx.quality.device', 5)
  t.equal(new Set(devices.map((d) => d['party'])).size, 5)
  t.match(devices[0], { device_model: 'T46S', mac_vendor: '00:00:5E', contact_network: '192.0.2.0/24' })
  const start = Date.now() - 300_000
  t.equal(
    await sipp(t, place, 'publish.xml', `127.0.0.1:${port}`, 'u1', 5, {
      start: isoTime(start),
      stop: isoTime(start + 60_000),
    }),
    0,
    'SIP-ETag comes back through it',
  )
  t.equal((await read(running, 'pbx.quality.quality', 5)).length, 5)
})
