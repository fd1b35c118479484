/**
 * FreeSWITCH and HTTP with the real program and its spool: posted, acknowledged, read back from the purposes' topics.
 * The page's curl commands are run as they stand there.
 */
import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { catalogue as shipped, type Kind } from '../../src/catalogue/catalogue.js'
import { compile } from '../../src/policy/compile.js'
import { loadPolicy } from '../../src/policy/load.js'
import { decoderOf } from '../../src/trial/decode.js'
import { spawn, spawnSync } from '../helpers/child-process.js'
import { given } from '../helpers/given.js'
import { setClock, shiftedClock } from '../helpers/shifted-clock.js'
import { cdrText, FORMS, profile, UUID } from '../sources/freeswitch/cdr.js'
import { basic } from '../sources/http/client.js'
import { get, metric, Place, Program, readTopic, ROOT, sleep, until } from './program.js'

const HOUR_MS = 3_600_000
const FREESWITCH = basic('freeswitch', 'a-long-random-one')
const CANARIES = [
  '7700900417',
  'Xanthippe',
  '203.0.113.77',
  '00005e00537f',
  'canary-account',
  'canary-call',
  'a-long-random-one',
  'AbCdEfGhIjKlMnOp',
]

interface Posted {
  readonly program: Program
  readonly freeswitch: string
  readonly http: string
  readonly kafka: string
  readonly ops: string
}

/** `minim run` with both listeners. */
async function start(
  t: Test,
  place: Place,
  settings: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Posted> {
  const program = new Program(t, ['run', '--config', settings], place, env)
  const ready = await program.line('ready')
  const [freeswitch, http, kafka, ops] = ['freeswitch', 'http', 'kafka', 'ops'].map((name) => String(ready[name]))
  return { program, freeswitch: `http://${freeswitch}/cdr`, http: `http://${http}`, kafka, ops }
}

function prepare(t: Test): { place: Place; settings: string } {
  const place = new Place(t)
  place.makeStore()
  const [fs, http] = [
    place.write('fs.users', 'freeswitch:a-long-random-one\n'),
    place.write('http.users', 'crm:a-long-random-one\nAbCdEfGhIjKlMnOp\n'),
  ]
  for (const path of [fs, http]) chmodSync(path, 0o600)
  return {
    place,
    settings: place.settings({
      freeswitch: { listen: '127.0.0.1:0', credentialsFile: fs },
      http: { listen: '127.0.0.1:0', credentialsFile: http },
    }),
  }
}

/** A call that began ten minutes ago. */
const startUs = (Date.now() - 600_000) * 1000
const variables = {
  start_uepoch: String(startUs),
  answer_uepoch: String(startUs + 8_000_000),
  end_uepoch: String(startUs + 137_000_000),
  accountcode: 'canary-account',
  sip_call_id: 'canary-call@203.0.113.77',
  sip_network_ip: '203.0.113.77',
  sip_contact_host: '203.0.113.77',
  sip_user_agent: 'Yealink SIP-T46S 66.85.0.5 00005e00537f',
  last_arg: '+447700900417 Xanthippe',
}
const cdr = (over: Record<string, string> = {}): string =>
  cdrText({
    variables: { ...variables, ...over },
    callflow: 'keys',
    encodeValues: true,
    profiles: [profile({ index: 1, destination: '+447700900417', createdUs: startUs, bridgedUs: startUs + 8_000_000 })],
  })

async function post(
  url: string,
  body: string | Uint8Array,
  headers: Record<string, string>,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(url, { method: 'POST', body, headers })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

const plan = compile(loadPolicy(join(ROOT, 'config/policy.yaml'), shipped()), shipped())

/** Messages of a topic as objects: tokens in base64url. */
async function read(kafka: string, purpose: string, kind: Kind): Promise<Record<string, unknown>[]> {
  const found = given(plan.kinds[kind].purposes.find((p) => p.purpose.id === purpose))
  const decode = decoderOf(found.purpose, found.rules, shipped())
  return (await readTopic(kafka, found.rules.topic)).map(({ value }) => decode(value) as Record<string, unknown>)
}

t.test('posted, acknowledged, in the topics once; known again over a restart', async (t) => {
  const { place, settings } = prepare(t)
  const first = await start(t, place, settings)
  const forms = Object.values(FORMS)
  for (const [i, form] of forms.entries()) {
    t.same(
      await post(first.freeswitch, form(cdr()), {
        authorization: FREESWITCH,
        'content-type': 'application/x-www-form-urlencoded',
      }),
      { status: 200, body: i === 0 ? { records: 3 } : { records: 0, repeated: true } },
    )
  }
  t.match(await post(first.freeswitch, 'Xanthippe +447700900417', { authorization: FREESWITCH }), {
    status: 200,
    body: { quarantined: true },
  })
  t.match(await post(first.freeswitch, cdr(), {}), { status: 401 })

  const bearer = { authorization: 'Bearer AbCdEfGhIjKlMnOp' }
  const quality = JSON.stringify({
    call_id: 'canary-call@203.0.113.77',
    start_ms: Math.floor(startUs / 1000),
    mos_lq: 3.5,
    local_party: '+447700900417',
  })
  const lines = {
    ...bearer,
    'content-type': 'application/x-ndjson',
    'content-encoding': 'gzip',
    'idempotency-key': 'canary-call',
  }
  t.match(await post(`${first.http}/v1/qualities`, gzipSync(quality), lines), { status: 202, body: { records: 1 } })
  t.match(await post(`${first.http}/v1/qualities`, gzipSync(quality), lines), { status: 200, body: { repeated: true } })
  const other = quality.replace('3.5', '1.5')
  t.same(await post(`${first.http}/v1/qualities`, gzipSync(other), lines), {
    status: 422,
    body: { error: 'key_reused' },
  })
  const bad = await post(`${first.http}/v1/calls`, `[{"start_ms":${Date.now()}},{"start_ms":"Xanthippe"}]`, {
    ...bearer,
    'content-type': 'application/json',
  })
  t.same(bad, { status: 422, body: { error: 'bad_record', reason: 'bad_value', line: 2, field: 'start_ms' } })

  await until('all is committed', async () => {
    const { body } = await get(first.ops, '/metrics')
    const received = metric(body, 'minim_records_received_total')
    return received['source_kind="freeswitch"'] >= 4 && received['source_kind="http"'] >= 1
  })
  const { body } = await get(first.ops, '/metrics')
  const refused = metric(body, 'minim_source_refused_total')
  t.match(
    {
      received: metric(body, 'minim_source_received_total')['source_kind="freeswitch"'],
      repeated: refused['source_kind="freeswitch",reason="repeated"'],
      quarantined: metric(body, 'minim_records_quarantined_total')['reason="malformed_json"'],
      malformed: refused['source_kind="freeswitch",reason="malformed"'],
      unauthorised: refused['source_kind="freeswitch",reason="unauthorised"'],
      http: metric(body, 'minim_source_received_total')['source_kind="http"'],
      httpMalformed: refused['source_kind="http",reason="malformed"'],
      reused: refused['source_kind="http",reason="key_reused"'],
    },
    {
      received: forms.length + 2,
      repeated: forms.length - 1,
      quarantined: 1,
      malformed: 0,
      unauthorised: 1,
      http: 4,
      httpMalformed: 1,
      reused: 1,
    },
  )
  t.same([...new Set(Object.values(metric(body, 'minim_conservation_drift_records')))], [0])

  const [calls, qualities, devices, bills] = [
    await read(first.kafka, 'quality', 'call'),
    await read(first.kafka, 'quality', 'quality'),
    await read(first.kafka, 'quality', 'device'),
    await read(first.kafka, 'billing', 'call'),
  ]
  t.same([calls.length, qualities.length, devices.length, bills.length], [1, 2, 1, 1])
  t.match(bills[0], { billable_seconds: 129, disposition: 'ANSWERED', called_prefix: '+44770' })
  t.match(calls[0], { device_model: 'T46S', codec: 'PCMA', source_network: '203.0.113.0/24' })
  t.match(qualities.map((q) => q['mos_lq']).sort(), [3.5, 4.35])
  t.same(
    [...new Set([...calls, ...qualities].map((record) => JSON.stringify(record['call_id'])))].length,
    1,
    'the call has one token, whoever reports of it',
  )
  t.equal((await readTopic(first.kafka, 'minim.quarantine')).length, 1)

  const said = [
    first.program.stderr,
    first.program.stdout,
    body,
    ...(
      await Promise.all(
        [
          'quality.call',
          'quality.quality',
          'quality.device',
          'billing.call',
          'fraud.call',
          'fraud.device',
          'research.call',
        ].map((topic) => readTopic(first.kafka, `pbx.${topic}`)),
      )
    )
      .flat()
      .map(({ value, key }) => `${value.toString('latin1')} ${key?.toString('latin1')}`),
  ]
  for (const canary of CANARIES)
    t.notOk(
      said.some((text) => text.includes(canary)),
      `${canary} is nowhere`,
    )
  first.program.kill('SIGTERM')
  t.equal((await first.program.end()).code, 0)
  for (const { path, bytes } of place.left([place.path('fs.users'), place.path('http.users')]))
    for (const canary of CANARIES) t.notOk(bytes.includes(canary), `${canary} in ${path}`)

  const second = await start(t, place, settings)
  t.match(await post(second.freeswitch, cdr(), { authorization: FREESWITCH }), {
    status: 200,
    body: { repeated: true },
  })
  t.match(await post(`${second.http}/v1/qualities`, gzipSync(quality), lines), {
    status: 200,
    body: { repeated: true },
  })
  t.same(await post(`${second.http}/v1/qualities`, gzipSync(other), lines), {
    status: 422,
    body: { error: 'key_reused' },
  })
  t.match(await post(second.freeswitch, cdr({ uuid: UUID.replace('3', '4') }), { authorization: FREESWITCH }), {
    status: 200,
    body: { records: 3 },
  })
  await until(
    'it is committed',
    async () =>
      metric((await get(second.ops, '/metrics')).body, 'minim_records_received_total')['source_kind="freeswitch"'] >= 3,
  )
  t.equal((await read(second.kafka, 'billing', 'call')).length, 1, 'and nothing else came again')
  second.program.kill('SIGTERM')
  t.equal((await second.program.end()).code, 0)
})

t.test('SIGKILL after the answer: what was acknowledged is known to the next run', async (t) => {
  const { place, settings } = prepare(t)
  const first = await start(t, place, settings)
  const uuids = Array.from({ length: 50 }, (_, n) => UUID.slice(0, -2) + String(n).padStart(2, '0'))
  await Promise.all(
    uuids.map(async (uuid) => {
      t.equal((await post(first.freeswitch, cdr({ uuid }), { authorization: FREESWITCH })).status, 200)
    }),
  )
  first.program.kill('SIGKILL')
  await first.program.ended
  // Kafka inside the process died with it, so its topics say nothing; that the spool's records reach a real one, its
  // own tests show.
  const second = await start(t, place, settings)
  for (const uuid of uuids)
    t.match(await post(second.freeswitch, cdr({ uuid }), { authorization: FREESWITCH }), {
      status: 200,
      body: { repeated: true },
    })
  second.program.kill('SIGTERM')
  t.equal((await second.program.end()).code, 0)
})

t.test('a clock that is set makes no repeats, while it runs and over a restart', async (t) => {
  const { place, settings } = prepare(t)
  const clock = place.path('clock')
  setClock(clock, 0)
  const headers = (n: number): Record<string, string> => ({
    authorization: 'Bearer AbCdEfGhIjKlMnOp',
    'content-type': 'application/json',
    'idempotency-key': `call-${n}`,
  })
  // Calls of days ago: of the future by a clock that is 12 h behind, they would be refused for that.
  const startMs = Date.now() - 100 * HOUR_MS
  const statuses = async (http: string): Promise<Record<string, number>> => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        post(`${http}/v1/calls`, JSON.stringify({ start_ms: startMs, duration_seconds: n }), headers(n)),
      ),
    )
    const counts: Record<string, number> = {}
    for (const { status, body } of answers) {
      const what = `${status} ${body['repeated'] === true ? 'repeated' : String(body['records'] ?? body['error'])}`
      counts[what] = (counts[what] ?? 0) + 1
    }
    return counts
  }
  let run = await start(t, place, settings, shiftedClock(clock))
  t.same(await statuses(run.http), { '202 1': 40 })
  for (const hours of [-12, 72, 0, -72]) {
    setClock(clock, hours * HOUR_MS)
    await sleep(50)
    t.same(await statuses(run.http), { '200 repeated': 40 }, `${hours} h, while it runs`)
  }
  for (const hours of [-12, 72]) {
    run.program.kill('SIGTERM')
    t.equal((await run.program.end()).code, 0)
    setClock(clock, hours * HOUR_MS)
    run = await start(t, place, settings, shiftedClock(clock))
    t.same(await statuses(run.http), { '200 repeated': 40 }, `${hours} h, over a restart`)
  }
  run.program.kill('SIGTERM')
  t.equal((await run.program.end()).code, 0)
})

t.test("the page's curl commands", async (t) => {
  if (spawnSync('curl', ['--version'], { stdio: 'ignore' }).status !== 0) {
    t.comment('curl is not installed')
    return
  }
  const readme = readFileSync(join(ROOT, 'docs/sources/http.md'), 'utf8')
  const block = [...readme.matchAll(/^```bash\n([^]*?)^```$/gm)]
    .map(([, text]) => text)
    .find((text) => text.includes('curl'))
  const { place, settings } = prepare(t)
  const { http, ops } = await start(t, place, settings)
  const shell = spawn('sh', ['-e', '-c', String(block).replaceAll('http://127.0.0.1:8080', http)], {
    cwd: place.folder,
    env: { ...process.env, no_proxy: '*' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  shell.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString()
  })
  const code = await new Promise((resolve) => {
    shell.once('close', resolve)
  })
  t.equal(code, 0, out)
  t.equal(out, '{"records":1}{"records":2}')
  await until(
    'they are committed',
    async () => metric((await get(ops, '/metrics')).body, 'minim_records_received_total')['source_kind="http"'] === 3,
  )
})
