import { request as httpRequest } from 'node:http'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { BATCH_ROWS } from '../../../src/batch/columns.js'
import { catalogue as shipped } from '../../../src/catalogue/catalogue.js'
import { MinimError } from '../../../src/errors/catalogue.js'
import type { ProblemsError } from '../../../src/errors/problems.js'
import { RecordWriter } from '../../../src/formats/record-writer.js'
import { readSecret } from '../../../src/sections/secrets.js'
import { loadSettings, type SettingsInput } from '../../../src/settings/load.js'
import type { Credentials } from '../../../src/sources/common/http-auth.js'
import { credentialsPlace } from '../../../src/sources/common/posted-settings.js'
import { startHttp } from '../../../src/sources/http/http.js'
import type { HttpSettings } from '../../../src/sources/http/settings.js'
import { given } from '../../helpers/given.js'
import { basic, type Listening, listening, Raw, secretFile } from './client.js'

const catalogue = shipped()
const NOW = Date.now() - 60_000
const CALL = {
  start_ms: NOW,
  calling: '+447700900123',
  called: '02079460001',
  account: 'ACME',
  disposition: 'ANSWERED',
  duration_seconds: 7,
}
const CANARY = '+447700900187'

const on = (t: Test, http: Partial<HttpSettings> = {}): Promise<Listening> =>
  listening(t, startHttp, { http: { listen: '127.0.0.1:0', ...http } })

interface Answered {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
}

async function post(
  { url }: Listening,
  path: string,
  type: string | null,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const response = await fetch(url + path, {
    method: 'POST',
    body,
    headers: { ...(type === null ? {} : { 'content-type': type }), ...headers },
  })
  return {
    status: response.status,
    body: JSON.parse(await response.text()) as Record<string, unknown>,
    headers: response.headers,
  }
}

function protobuf(records: readonly object[], kind: 'call' | 'quality' | 'device' = 'call'): Buffer {
  const writer = new RecordWriter(catalogue)
  for (const record of records) writer.add(kind, record)
  return writer.take()
}

const JSON_TYPE = 'application/json',
  LINES = 'application/x-ndjson',
  PROTOBUF = 'application/x-protobuf'
const lines = (...records: readonly unknown[]): string => records.map((record) => JSON.stringify(record)).join('\n')

t.test('off by default', async (t) => {
  await t.rejects(listening(t, startHttp, {}), { message: 'it is off' })
})

t.test('settings that cannot be', async (t) => {
  const wrong = (over: SettingsInput): string[] => {
    try {
      loadSettings(null, over)
      return []
    } catch (error) {
      return (error as ProblemsError).problems.map(({ path }) => path)
    }
  }
  const listen = '127.0.0.1:8080'
  t.same(wrong({ http: { listen } }), [])
  for (const [key, value] of Object.entries({
    tenant: 'nobody',
    listen: 'here',
    maxBodyBytes: 1,
    idleMs: 0,
    requestMs: null,
    credentialsFile: '',
    credentialsEnv: 'a-b',
  }))
    t.same(wrong({ http: { listen, [key]: value as never } }), [`http.${key}`])
  for (const [key, value] of Object.entries({ tenant: 'nobody', path: 'cdr', legs: 'b' }))
    t.same(wrong({ freeswitch: { listen, [key]: value as never } }), [`freeswitch.${key}`])
  t.same(wrong({ freeswitch: { listen }, http: { listen } }), ['http.listen'], 'one port for both')
})

t.test('every form of a post gives the same records', async (t) => {
  const server = await on(t)
  const second = { ...CALL, calling: 'né "\\ 😀', called: '1004' }
  const text = lines(CALL, second)
  const forms: Record<string, [type: string, body: string | Uint8Array, headers?: Record<string, string>]> = {
    'JSON Lines': [LINES, text],
    'JSON Lines, with a line feed at the end and empty lines': [
      'application/jsonl; charset=utf-8',
      `\n${text.replace('\n', '\r\n\r\n')}\n`,
    ],
    'JSON Lines, behind a byte order mark': [LINES, `\uFEFF${text}`],
    'JSON Lines, gzip, behind a byte order mark': [LINES, gzipSync(`\uFEFF${text}`), { 'content-encoding': 'gzip' }],
    'JSON Lines, gzip': [LINES, gzipSync(text), { 'content-encoding': 'gzip' }],
    'a list': [JSON_TYPE, JSON.stringify([CALL, second])],
    'a list, printed': ['Application/JSON; charset=utf-8', `\uFEFF${JSON.stringify([CALL, second], null, 2)}\n`],
    'a list, gzip': [JSON_TYPE, gzipSync(JSON.stringify([CALL, second])), { 'content-encoding': 'gzip' }],
    protobuf: [PROTOBUF, protobuf([CALL, second])],
    'protobuf, gzip': ['application/protobuf', gzipSync(protobuf([CALL, second])), { 'content-encoding': 'gzip' }],
  }
  for (const [name, [type, body, headers]] of Object.entries(forms)) {
    server.inlet.clear()
    t.match(await post(server, '/v1/calls', type, body, headers), { status: 202, body: { records: 2 } }, name)
    t.equal(server.inlet.entries.length, 1)
    const [entry] = server.inlet.entries
    t.match(entry, { source: 'http', tenant: 'default', id: null })
    t.notOk(Buffer.from(entry.bytes).includes('\uFEFF'), name)
    const got =
      entry.format === 'protobuf'
        ? server.inlet.records().map(({ fields }) => fields)
        : entry.bytes
            .toString()
            .trim()
            .split(/\s*\n\s*/)
            .map((line) => JSON.parse(line) as object)
    t.equal(entry.format, type.toLowerCase().includes('protobuf') ? 'protobuf' : 'jsonl-call', name)
    t.same(got, [CALL, second], name)
  }
  t.match(
    await post(server, '/v1/calls', JSON_TYPE, JSON.stringify(CALL, null, '\t')),
    { status: 202, body: { records: 1 } },
    'an object',
  )
  t.match(await post(server, '/v1/qualities', JSON_TYPE, `{"start_ms":${NOW},"mos_lq":4.1}`), { status: 202 })
  t.match(await post(server, '/v1/devices', LINES, `{"start_ms":${NOW},"mac":"00:00:5e:00:53:04"}`), { status: 202 })
  t.same(
    server.inlet.entries.slice(1).map(({ format }) => format),
    ['jsonl-call', 'jsonl-quality', 'jsonl-device'],
  )
  t.match(await post(server, '/v1/calls', JSON_TYPE, ' [ ] '), { status: 200, body: { records: 0 } })
  t.equal(server.counts['received'], 14)
})

t.test('many compressed posts at once, and bad ones among them', async (t) => {
  const server = await on(t)
  const statuses = await Promise.all(
    Array.from(
      { length: 60 },
      async (_, n) =>
        (
          await post(server, '/v1/calls', LINES, n % 3 === 0 ? 'no gzip' : gzipSync(lines(CALL)), {
            'content-encoding': 'gzip',
          })
        ).status,
    ),
  )
  t.same(
    statuses,
    Array.from({ length: 60 }, (_, n) => (n % 3 === 0 ? 400 : 202)),
  )
})

t.test('a post of more records than the columns hold', async (t) => {
  const server = await on(t)
  const many = Array.from({ length: BATCH_ROWS + 5 }, (_, i) => ({
    ...CALL,
    duration_seconds: i,
    calling: i % 7 === 0 ? 'a\\b' : '1004',
  }))
  t.match(await post(server, '/v1/calls', LINES, lines(...many)), { status: 202, body: { records: many.length } })
  t.match(await post(server, '/v1/calls', PROTOBUF, protobuf(many)), { status: 202, body: { records: many.length } })
  t.match(await post(server, '/v1/calls', LINES, lines(...many, { ...CALL, duration_seconds: -1 })), {
    status: 422,
    body: { line: many.length + 1, field: 'duration_seconds' },
  })
  t.match(await post(server, '/v1/calls', PROTOBUF, protobuf([...many, { ...CALL, start_ms: null }])), {
    status: 422,
    body: { line: many.length + 1, field: 'start_ms' },
  })
  t.equal(server.inlet.entries.length, 2, 'and nothing of those is kept')
})

const BAD: readonly { name: string; type?: string; path?: string; body: string | Uint8Array; wanted: object }[] = [
  {
    name: 'a number that is none',
    body: lines(CALL, CALL, { ...CALL, duration_seconds: CANARY }),
    wanted: { reason: 'bad_value', line: 3, field: 'duration_seconds' },
  },
  {
    name: 'behind empty lines',
    body: `\n\n${lines(CALL)}\n\n${lines({ ...CALL, disposition: CANARY })}`,
    wanted: { reason: 'bad_value', line: 5, field: 'disposition' },
  },
  {
    name: 'nested',
    body: lines({ ...CALL, called: { number: CANARY } }),
    wanted: { reason: 'bad_value', line: 1, field: 'called' },
  },
  {
    name: 'the bad one of two with one name',
    body: `{"start_ms":${NOW},"duration_seconds":1,"x":"${CANARY}","duration_seconds":-2}`,
    wanted: { reason: 'bad_value', line: 1, field: 'duration_seconds' },
  },
  {
    name: 'no start',
    body: lines(CALL, { ...CALL, start_ms: undefined }),
    wanted: { reason: 'no_start_time', line: 2, field: 'start_ms' },
  },
  {
    name: 'a start to come',
    body: lines(CALL, { ...CALL, start_ms: Date.now() + 3_000_000 }),
    wanted: { reason: 'clock', line: 2, field: 'start_ms' },
  },
  ...Object.entries({
    seconds: Math.floor(NOW / 1000),
    'seconds with a fraction': NOW / 1000,
    deciseconds: Math.floor(NOW / 100),
    microseconds: NOW * 1000,
    nanoseconds: NOW * 1e6,
    'a negative time': -NOW,
    'the last century': Date.UTC(1999, 11, 31, 23, 59, 59),
  }).flatMap(([unit, time]) =>
    (['start_ms', 'answer_ms', 'end_ms'] as const).flatMap((field) => [
      {
        name: `${field}: ${unit}`,
        body: lines(CALL, { ...CALL, [field]: time }),
        wanted: { reason: 'clock', line: 2, field },
      },
      {
        name: `${field}: ${unit}, in a list and as text`,
        type: JSON_TYPE,
        body: JSON.stringify([CALL, CALL, { ...CALL, [field]: String(time) }]),
        wanted: { reason: 'clock', line: 3, field },
      },
    ]),
  ),
  {
    name: 'the end of a quality report in seconds',
    path: '/v1/qualities',
    body: lines({ start_ms: NOW, end_ms: Math.floor(NOW / 1000) }),
    wanted: { reason: 'clock', line: 1, field: 'end_ms' },
  },
  {
    name: 'a registration in nanoseconds',
    path: '/v1/devices',
    body: lines({ start_ms: NOW * 1e6 }),
    wanted: { reason: 'clock', line: 1, field: 'start_ms' },
  },
  {
    name: 'a protobuf answer in seconds',
    type: PROTOBUF,
    body: protobuf([CALL, { ...CALL, answer_ms: Math.floor(NOW / 1000) }]),
    wanted: { reason: 'clock', line: 2, field: 'answer_ms' },
  },
  {
    name: "a stranger's tenant",
    body: lines(CALL, { ...CALL, tenant: CANARY }),
    wanted: { reason: 'unknown_tenant', line: 2, field: 'tenant' },
  },
  {
    name: 'a tenant that is not UTF-8',
    body: Buffer.concat([
      Buffer.from(`${lines(CALL)}\n{"start_ms":${NOW},"calling":"é","account":"\\u00e9","tenant":"`),
      Buffer.of(0xff),
      Buffer.from('"}'),
    ]),
    wanted: { reason: 'unknown_tenant', line: 2, field: 'tenant' },
  },
  {
    name: 'no JSON',
    body: `${lines(CALL)}\n{"calling":"${CANARY}"`,
    wanted: { reason: 'malformed_json', line: 2, field: null },
  },
  {
    name: 'a line of something else',
    body: `${lines(CALL)}\n"${CANARY}"`,
    wanted: { reason: 'malformed_json', line: 2, field: null },
  },
  {
    name: 'too deep',
    body: `{"start_ms":${NOW},"x":${'['.repeat(2000)}${']'.repeat(2000)}}`,
    wanted: { reason: 'malformed_json', line: 1, field: null },
  },
  {
    name: 'a line too long',
    body: lines(CALL, { ...CALL, called: '1'.repeat(70_000) }),
    wanted: { reason: 'too_large', line: 2, field: null },
  },
  {
    name: 'an escaped line too long',
    body: lines(CALL, { ...CALL, called: '\\'.repeat(70_000) }),
    wanted: { reason: 'too_large', line: 2, field: null },
  },
  {
    name: 'an entry of a list',
    type: JSON_TYPE,
    body: JSON.stringify([CALL, { ...CALL, duration_seconds: CANARY }], null, 2),
    wanted: { reason: 'bad_value', line: 2, field: 'duration_seconds' },
  },
  {
    name: 'a list of numbers',
    type: JSON_TYPE,
    body: '[1,2]',
    wanted: { reason: 'malformed_json', line: 1, field: null },
  },
  {
    name: 'an object with more behind it',
    type: JSON_TYPE,
    body: `${JSON.stringify(CALL)}${JSON.stringify(CALL)}`,
    wanted: { reason: 'malformed_json', line: 1, field: null },
  },
  {
    name: 'two words for a value',
    type: JSON_TYPE,
    body: `{"start_ms":${NOW},"duration_seconds":1 2}`,
    wanted: { reason: 'malformed_json', line: 1, field: 'duration_seconds' },
  },
  {
    name: 'a broken batch',
    type: PROTOBUF,
    body: Buffer.concat([protobuf([CALL]), Buffer.of(0x22, 0xff, 1)]),
    wanted: { reason: 'malformed_batch', line: 1, field: null },
  },
  {
    name: 'a broken record',
    type: PROTOBUF,
    body: Buffer.concat([protobuf([CALL]), Buffer.of(0x22, 2, 0x0a, 0x7f)]),
    wanted: { reason: 'malformed_record', line: 2, field: null },
  },
  {
    name: 'a batch of a stream',
    type: PROTOBUF,
    body: Buffer.concat([protobuf([CALL]), Buffer.of(0x18, 1)]),
    wanted: { reason: 'malformed_batch', line: 1, field: 'sequence' },
  },
  {
    name: "another kind's record",
    type: PROTOBUF,
    body: Buffer.concat([protobuf([CALL]), protobuf([{ start_ms: NOW }], 'device')]),
    wanted: { reason: 'malformed_batch', line: 2, field: null },
  },
  {
    name: 'no start in protobuf',
    type: PROTOBUF,
    body: protobuf([CALL, { calling: CANARY }]),
    wanted: { reason: 'no_start_time', line: 2, field: 'start_ms' },
  },
]

t.test('a post with one bad record is refused whole: line and field, and no value', async (t) => {
  const server = await on(t)
  for (const { name, type = LINES, path = '/v1/calls', body, wanted } of BAD) {
    const { status, body: said } = await post(server, path, type, body)
    t.same([status, said], [422, { error: 'bad_record', ...wanted }], name)
    t.notOk(JSON.stringify(said).includes('7700900'), 'no value')
  }
  t.equal(server.inlet.entries.length, 0)
  t.equal(server.counts['malformed'], BAD.length)
  t.same(server.log, [])
})

const REFUSED: readonly {
  name: string
  path?: string
  method?: string
  type?: string | null
  body?: string | Uint8Array
  headers?: Record<string, string>
  status: number
  error: string
  header?: [string, string]
  counts: string
}[] = [
  { name: 'another path', path: '/v1/call', status: 404, error: 'not_found', counts: 'not_found' },
  { name: 'another path still', path: '/V1/calls', status: 404, error: 'not_found', counts: 'not_found' },
  {
    name: 'PUT',
    method: 'PUT',
    status: 405,
    error: 'method_not_allowed',
    header: ['allow', 'POST'],
    counts: 'not_found',
  },
  {
    name: 'GET',
    method: 'GET',
    status: 405,
    error: 'method_not_allowed',
    header: ['allow', 'POST'],
    counts: 'not_found',
  },
  {
    name: 'a form',
    type: 'application/x-www-form-urlencoded',
    status: 415,
    error: 'unsupported_type',
    header: ['accept', 'application/json, application/x-ndjson, application/x-protobuf'],
    counts: 'malformed',
  },
  { name: 'no type', type: null, body: Buffer.from('{}'), status: 415, error: 'unsupported_type', counts: 'malformed' },
  {
    name: 'another compression',
    headers: { 'content-encoding': 'br' },
    status: 415,
    error: 'unsupported_encoding',
    header: ['accept-encoding', 'gzip, identity'],
    counts: 'malformed',
  },
  {
    name: 'gzip that is none',
    headers: { 'content-encoding': 'gzip' },
    status: 400,
    error: 'malformed',
    counts: 'malformed',
  },
  {
    name: 'gzip cut off',
    headers: { 'content-encoding': 'gzip' },
    body: gzipSync('{"a":1}').subarray(0, 15),
    status: 400,
    error: 'malformed',
    counts: 'malformed',
  },
  { name: 'nothing', body: '', status: 400, error: 'malformed', counts: 'malformed' },
  { name: 'no JSON', body: 'hello', status: 400, error: 'malformed', counts: 'malformed' },
  { name: 'a list without an entry', body: '[{},,{}]', status: 400, error: 'malformed', counts: 'malformed' },
  { name: 'a list that does not end', body: '[{}', status: 400, error: 'malformed', counts: 'malformed' },
  { name: 'a line break in a text', body: '[{"account":"\n"}]', status: 400, error: 'malformed', counts: 'malformed' },
  { name: 'too large', body: Buffer.alloc(5000, ' '), status: 413, error: 'too_large', counts: 'too_large' },
  {
    name: 'a bomb',
    headers: { 'content-encoding': 'gzip' },
    body: gzipSync(Buffer.alloc(1_000_000, ' ')),
    status: 413,
    error: 'too_large',
    counts: 'too_large',
  },
  {
    name: 'a key that is none',
    headers: { 'idempotency-key': 'a b' },
    status: 400,
    error: 'bad_key',
    counts: 'malformed',
  },
  {
    name: 'a key too long',
    headers: { 'idempotency-key': 'k'.repeat(256) },
    status: 400,
    error: 'bad_key',
    counts: 'malformed',
  },
]

t.test('what is refused, with what', async (t) => {
  const server = await on(t, { maxBodyBytes: 4096 })
  for (const {
    name,
    path = '/v1/calls',
    method = 'POST',
    type = JSON_TYPE,
    body = JSON.stringify(CALL),
    headers = {},
    status,
    error,
    header,
    counts,
  } of REFUSED) {
    const before = server.counts[counts] ?? 0
    const response = await fetch(server.url + path, {
      method,
      ...(method === 'GET' ? {} : { body }),
      headers: { ...(type === null ? {} : { 'content-type': type }), ...headers },
    })
    t.same([response.status, await response.json()], [status, { error }], name)
    if (header !== undefined) t.equal(response.headers.get(header[0]), header[1], name)
    t.equal(server.counts[counts], before + 1, name)
  }
  t.equal(server.inlet.entries.length, 0)
  t.match(await post(server, '/v1/calls?x=1', JSON_TYPE, JSON.stringify(CALL)), { status: 202 }, 'and it goes on')
})

t.test('Idempotency-Key: the same post again is acknowledged and taken once', async (t) => {
  const path = secretFile(t, 'alice:secret of hers\n'.replaceAll(' ', '-') + 'bob:secret-of-his\n')
  const server = await on(t, { credentialsFile: path })
  const send = (key: string, who: string, way = '/v1/calls'): Promise<Answered> =>
    post(server, way, LINES, lines({ start_ms: NOW }), { 'idempotency-key': key, authorization: who })
  const alice = basic('alice', 'secret-of-hers')
  const bob = basic('bob', 'secret-of-his')
  t.match(await send('"8e03978e"', alice), { status: 202, body: { records: 1 } })
  t.match(
    await send('8e03978e', alice),
    { status: 200, body: { records: 0, repeated: true } },
    'with or without quotes',
  )
  t.match(await send('8e03978e', bob), { status: 202 }, "another sender's key is another")
  t.match(await send('8e03978e', alice, '/v1/devices'), { status: 202 }, "and so is another kind's")
  t.equal(server.inlet.entries.length, 3)
  t.equal(server.counts['repeated'], 1)
})

t.test('Idempotency-Key: another body under the same key is refused, and nothing of it is taken', async (t) => {
  const server = await on(t)
  const calls = lines({ start_ms: NOW }, { start_ms: NOW + 1 })
  const send = (body: string | Uint8Array, type = LINES, more: Record<string, string> = {}): Promise<Answered> =>
    post(server, '/v1/calls', type, body, { 'idempotency-key': 'k-1', ...more })
  t.match(await send(calls), { status: 202, body: { records: 2 } })
  const { status, body } = await send(lines({ start_ms: NOW }))
  t.same([status, body], [422, { error: 'key_reused' }])
  t.match(
    await send(gzipSync(calls), LINES, { 'content-encoding': 'gzip' }),
    { status: 200, body: { repeated: true } },
    'compressed it is the same body',
  )
  t.match(
    await send(gzipSync(calls, { level: 1 }), LINES, { 'content-encoding': 'gzip' }),
    { status: 200, body: { repeated: true } },
    'however it is compressed',
  )
  t.match(await send(`${calls} `), { status: 422, body: { error: 'key_reused' } }, 'octets are compared, not records')
  t.match(
    await send(lines({ start_ms: 'yesterday' })),
    { status: 422, body: { error: 'bad_record' } },
    'a body that could not be taken is told what is wrong with it',
  )
  t.equal(server.inlet.entries.length, 1)
  t.match(server.counts, { repeated: 2, key_reused: 2, malformed: 1 })
  t.match(await post(server, '/v1/calls', LINES, lines({ start_ms: 'x' }), { 'idempotency-key': 'k-2' }), {
    status: 422,
  })
  t.match(
    await post(server, '/v1/calls', LINES, calls, { 'idempotency-key': 'k-2' }),
    { status: 202 },
    'a key whose post was refused is free',
  )
})

t.test('who may post', async (t) => {
  const file = secretFile(t, '# senders\n\nalice:pass:word\nAbCdEfGhIjKlMnOp123456\n')
  const server = await on(t, { credentialsFile: file })
  const status = async (authorization?: string): Promise<number> =>
    (
      await post(
        server,
        '/v1/calls',
        JSON_TYPE,
        JSON.stringify(CALL),
        authorization === undefined ? {} : { authorization },
      )
    ).status
  for (const good of [
    basic('alice', 'pass:word'),
    'basic ' + basic('alice', 'pass:word').slice(6),
    'Bearer AbCdEfGhIjKlMnOp123456',
  ])
    t.equal(await status(good), 202)
  for (const bad of [
    undefined,
    '',
    'Basic',
    'Basic !!!',
    basic('alice', 'pass'),
    basic('', 'pass:word'),
    'Bearer alice:pass:word',
    basic('AbCdEfGhIjKlMnOp123456', ''),
    'Bearer abcdefghijklmnop123456',
    `Bearer ${'x'.repeat(5000)}`,
  ]) {
    t.equal(await status(bad), 401, String(bad).slice(0, 20))
  }
  const refused = await post(server, '/v1/nothing', JSON_TYPE, '{}')
  t.match(
    [refused.status, refused.headers.get('www-authenticate'), refused.body],
    [401, 'Basic realm="minim", Bearer realm="minim"', { error: 'unauthorised' }],
    'and a stranger does not learn what paths there are',
  )
  t.equal(server.inlet.entries.length, 3)
  let last = 401
  for (let i = 0; i < 60 && last === 401; i++) last = await status('Bearer guess-number-1234567')
  t.equal(last, 429, 'guessing is slowed')
  t.equal(await status('Bearer AbCdEfGhIjKlMnOp123456'), 202, 'and nobody else is')
})

t.test('credentials that cannot be used stop the start, and are in no message', async (t) => {
  const load = (credentialsFile: string | null, env?: Record<string, string>): Credentials | null =>
    readSecret(
      credentialsPlace(
        'http',
        { ...loadSettings(null).http, credentialsFile, credentialsEnv: env === undefined ? null : 'SENDERS' },
        ['default', 'acme'],
      ),
      env,
    )
  const wrong = (file: string): string => {
    const { message, code } = t.throws(() => load(file)) as MinimError
    t.equal(code, 'MINIM_SETTINGS_INVALID')
    t.notMatch(message, /hunter2|alice/)
    return message
  }
  t.match(
    wrong(secretFile(t, 'alice:hunter2', 0o640)),
    /http\.credentialsFile: may be read or written by others \(mode 0640\)/,
  )
  for (const text of [
    '',
    '#alice:hunter2',
    ':hunter2',
    'alice:',
    'hunter2',
    'alice:hunter2 x',
    'alice:hunter2 tenants=',
    'alice:hunter2 tenant=acme',
    'alice:hunter2 tenants=acme tenants=default',
    'alice:hunter2 tenants=acme, default',
    Array(300).fill('alice:hunter2').join('\n'),
  ])
    t.match(wrong(secretFile(t, text)), /http\.credentialsFile: (in line \d+ )?has /, text.slice(0, 20))
  for (const text of ['alice:hunter2 tenants=hunter2', 'alice:hunter2 tenants=acme,Acme'])
    t.match(wrong(secretFile(t, text)), /http\.credentialsFile: in line 1 names a tenant that is none/)
  t.match(wrong('/nonexistent/alice'), /cannot be read \(ENOENT\)/)
  t.match(wrong(t.testdir({})), /is no file/)
  t.equal(load(null), null)
  const env = given(load(null, { SENDERS: 'alice:hunter2' }))
  t.same(env.check(basic('alice', 'hunter2')), { who: 'user alice', tenants: null })
  t.equal(JSON.stringify({ env }), '{"env":"[credentials]"}')
  t.notMatch(Object.keys(env).join(), /./, 'nothing to see for a logger')
})

t.test('open to a network: said, at start', async (t) => {
  t.same((await on(t)).log, [])
  const open = await on(t, { listen: '0.0.0.0:0' })
  t.match(open.log.join(), /whoever reaches this port may post/)
  t.same((await on(t, { listen: '0.0.0.0:0', credentialsFile: secretFile(t, 'alice:hunter2') })).log, [])
})

t.test('no room: 503 before the body is read, and after', async (t) => {
  const server = await on(t)
  server.inlet.full = true
  for (const [trouble, said] of [
    [{ reason: 'spool_full', cause: null }, { reason: 'spool_full' }],
    [
      { reason: 'spool_full', cause: 'kafka_away' },
      { reason: 'spool_full', cause: 'kafka_away' },
    ],
    [{ reason: 'spool_broken', cause: null }, { reason: 'spool_broken' }],
    [{ reason: 'stopping', cause: null }, { reason: 'stopping' }],
  ] as const) {
    server.inlet.trouble = trouble
    const refused = await post(server, '/v1/calls', JSON_TYPE, JSON.stringify(CALL))
    t.same(
      [refused.status, refused.body, refused.headers.get('retry-after')],
      [503, { error: 'unavailable', ...said }, '5'],
    )
  }
  server.inlet.full = false
  server.inlet.trouble = { reason: 'spool_full', cause: 'kafka_away' }
  for (const [error, said] of [
    [new MinimError('MINIM_SPOOL_FULL'), { reason: 'spool_full', cause: 'kafka_away' }],
    [new MinimError('MINIM_SPOOL_BROKEN', { what: 'x' }), { reason: 'spool_broken' }],
    [new MinimError('MINIM_DELIVERY_STOPPED'), { reason: 'stopping' }],
    [new Error(CANARY), { reason: 'internal' }],
  ] as const) {
    const broken = await listening(
      t,
      startHttp,
      { http: { listen: '127.0.0.1:0' } },
      Object.assign(server.inlet, { put: () => Promise.reject(error) }),
    )
    const answer = await post(broken, '/v1/calls', JSON_TYPE, JSON.stringify(CALL))
    t.match([answer.status, answer.headers.get('retry-after'), broken.counts['no_room']], [503, '5', 1])
    t.same(answer.body, { error: 'unavailable', ...said })
    t.notMatch(broken.log.join(), CANARY)
  }
})

t.test('a sender that floods is told to wait, and others are not', async (t) => {
  const server = await on(t, { ratePerSecond: 5, credentialsFile: secretFile(t, 'alice:hunter2\nbob:hunter2') })
  const send = (who: string): Promise<Answered> =>
    post(server, '/v1/calls', JSON_TYPE, JSON.stringify(CALL), { authorization: basic(who, 'hunter2') })
  const answers = await Promise.all(Array.from({ length: 40 }, () => send('alice')))
  const slow = answers.filter(({ status }) => status === 429)
  t.ok(slow.length >= 20 && slow.length <= 35, `${slow.length} of 40`)
  t.match([slow[0].headers.get('retry-after'), slow[0].body], ['1', { error: 'too_many_requests' }])
  t.equal(server.counts['rate'], slow.length)
  t.equal((await send('bob')).status, 202)
})

const HEAD = `POST /v1/calls HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n`
const BODY = JSON.stringify(CALL)
const WHOLE = `${HEAD}content-length: ${BODY.length}\r\n\r\n${BODY}`

t.test('requests split anywhere, and one behind the other', async (t) => {
  const server = await on(t)
  const raw = new Raw(t, server)
  for (const byte of WHOLE) {
    raw.write(byte)
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  t.same(await raw.answers(1), [202])
  raw.write(WHOLE + WHOLE + WHOLE.slice(0, -5))
  t.same(await raw.answers(3), [202, 202, 202])
  raw.write(WHOLE.slice(-5))
  t.same(await raw.answers(4), [202, 202, 202, 202])
  raw.write(
    `${HEAD}transfer-encoding: chunked\r\n\r\n5;x=y\r\n${BODY.slice(0, 5)}\r\n` +
      `${(BODY.length - 5).toString(16)}\r\n${BODY.slice(5)}\r\n0\r\n\r\n`,
  )
  t.same(await raw.answers(5), [202, 202, 202, 202, 202])
  t.equal(server.inlet.entries.length, 5)
})

const HOSTILE: readonly { name: string; bytes: string; statuses: number[]; counts: string }[] = [
  {
    name: 'chunked, with garbage behind',
    bytes: `${HEAD}transfer-encoding: chunked\r\n\r\n2\r\n{}xx\r\n0\r\n\r\n`,
    statuses: [400],
    counts: 'malformed',
  },
  {
    name: 'a chunk length that is none',
    bytes: `${HEAD}transfer-encoding: chunked\r\n\r\nzz\r\n`,
    statuses: [400],
    counts: 'malformed',
  },
  {
    name: 'a chunk length without end',
    bytes: `${HEAD}transfer-encoding: chunked\r\n\r\n${'f'.repeat(40)}\r\n`,
    statuses: [400],
    counts: 'malformed',
  },
  {
    name: 'two lengths',
    bytes: `${HEAD}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}`,
    statuses: [400],
    counts: 'malformed',
  },
  { name: 'a good one, then garbage', bytes: `${WHOLE}\r\n\0\0garbage\r\n\r\n`, statuses: [202], counts: 'malformed' },
  { name: 'a length below zero', bytes: `${HEAD}content-length: -1\r\n\r\n`, statuses: [400], counts: 'malformed' },
  {
    name: 'ten thousand headers',
    bytes: `${HEAD}${'a: b\r\n'.repeat(10_000)}\r\n`,
    statuses: [431],
    counts: 'too_large',
  },
  { name: 'a header without end', bytes: `${HEAD}x: ${'y'.repeat(100_000)}`, statuses: [431], counts: 'too_large' },
  { name: 'a URL without end', bytes: `POST /${'y'.repeat(100_000)}`, statuses: [431], counts: 'too_large' },
  {
    name: 'TLS where there is none',
    bytes: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc',
    statuses: [400],
    counts: 'malformed',
  },
  {
    name: 'a length above the limit',
    bytes: `${HEAD}content-length: 999999999\r\n\r\n{`,
    statuses: [413],
    counts: 'too_large',
  },
  {
    name: 'chunks above the limit',
    bytes: `${HEAD}transfer-encoding: chunked\r\n\r\n${`400\r\n${'x'.repeat(1024)}\r\n`.repeat(8)}`,
    statuses: [413],
    counts: 'too_large',
  },
]

t.test('what no client should send: answered, and the connection ends', async (t) => {
  const server = await on(t, { maxBodyBytes: 4096 })
  for (const { name, bytes, statuses, counts } of HOSTILE) {
    const before = server.counts[counts] ?? 0
    const raw = new Raw(t, server).write(Buffer.from(bytes, 'latin1'))
    await raw.closed
    t.same(await raw.answers(statuses.length), statuses, name)
    t.equal(server.counts[counts], before + 1, name)
  }
  t.equal(server.inlet.entries.length, 1)
  t.equal((await post(server, '/v1/calls', JSON_TYPE, BODY)).status, 202, 'and it goes on')
})

t.test('clients that are slow, silent or gone hold nobody up', async (t) => {
  const server = await on(t, { requestMs: 1000, idleMs: 1000 })
  const silent = new Raw(t, server)
  const slowHead = new Raw(t, server).write('POST /v1/calls HTTP/1.1\r\nhost:')
  const slowBody = new Raw(t, server).write(`${HEAD}content-length: 100\r\n\r\n{`)
  const drip = setInterval(() => {
    if (!slowBody.socket.destroyed) slowBody.write(' ')
  }, 50)
  t.teardown(() => {
    clearInterval(drip)
  })
  const idle = new Raw(t, server).write(WHOLE)
  t.same(await idle.answers(1), [202])
  for (let i = 0; i < 5; i++) new Raw(t, server).write(`${HEAD}content-length: 100\r\n\r\n{`).socket.end()
  const gone = new Raw(t, server).write(`${HEAD}content-length: 100\r\n\r\n{`)
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  gone.socket.destroy()
  t.equal((await post(server, '/v1/calls', JSON_TYPE, BODY)).status, 202, 'while they hang on')
  await Promise.all([silent, slowHead, slowBody, idle].map(({ closed }) => closed))
  t.same(await slowHead.answers(1), [408])
  t.same(await slowBody.answers(1), [408])
  t.ok(server.counts['idle'] >= 2)
  t.ok(server.counts['malformed'] >= 1, 'cut off in the middle')
  t.equal(server.inlet.entries.length, 2)
})

t.test('more connections than may be', async (t) => {
  const server = await on(t, { maxConnections: 3 })
  const open = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const raw = new Raw(t, server).write(WHOLE)
      await raw.answers(1)
      return raw
    }),
  )
  t.equal(server.counts['open'], 3)
  const fourth = new Raw(t, server).write(WHOLE)
  await fourth.closed
  t.same(await fourth.answers(1), [])
  t.equal(server.counts['connections'], 1)
  t.same(await open[0].write(WHOLE).answers(2), [202, 202], 'those that are in go on')
  open[1].socket.destroy()
  await open[1].closed
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  t.same(await new Raw(t, server).write(WHOLE).answers(1), [202], 'and there is room again')
})

t.test('Expect: 100-continue is answered before the body is sent', async (t) => {
  const server = await on(t, { maxBodyBytes: 4096 })
  const send = (length: number): Promise<{ status: number; continued: boolean }> =>
    new Promise((resolve, reject) => {
      let continued = false
      const request = httpRequest({
        host: server.host,
        port: server.port,
        path: '/v1/calls',
        method: 'POST',
        headers: { 'content-type': JSON_TYPE, expect: '100-continue', 'content-length': length },
      })
      request.on('continue', () => {
        continued = true
        request.end(BODY)
      })
      request.on('response', (response) => {
        response.resume()
        resolve({ status: response.statusCode ?? 0, continued })
      })
      request.on('error', reject)
      request.flushHeaders()
    })
  t.same(await send(BODY.length), { status: 202, continued: true })
  t.same(await send(10_000), { status: 413, continued: false })
})

t.test('stopping: what was handed on is answered, what is still coming is refused', async (t) => {
  const held: (() => void)[] = []
  const server = await on(t)
  const put = server.inlet.put.bind(server.inlet)
  Object.assign(server.inlet, {
    put: async (records: Parameters<typeof put>[0]) => {
      await new Promise<void>((resolve) => {
        held.push(resolve)
      })
      return await put(records)
    },
  })
  const safe = new Raw(t, server).write(WHOLE)
  const coming = new Raw(t, server).write(WHOLE.slice(0, -3))
  while (held.length === 0)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  let stopped = false
  const stopping = server.stopTaking().then(() => {
    stopped = true
  })
  t.same(await coming.answers(1), [503])
  t.equal(stopped, false, 'the other is not safe yet')
  held[0]()
  await stopping
  t.same(await safe.answers(1), [202])
  await safe.closed
  t.equal(server.inlet.entries.length, 1)
  await t.rejects(fetch(server.url), 'nobody listens')
})

t.test('a port that is taken', async (t) => {
  const { host, port } = await on(t)
  await t.rejects(on(t, { listen: `${host}:${port}` }), {
    code: 'MINIM_HTTP_LISTEN',
    message: /http\.listen.*EADDRINUSE/,
  })
})
