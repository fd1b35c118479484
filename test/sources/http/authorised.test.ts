/** Which tenants who posts may use: by credential, by certificate, by both. HTTP and FreeSWITCH. */
import { readFileSync } from 'node:fs'
import { Agent, request as httpsRequest } from 'node:https'
import t, { type Test } from 'tap'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { ProblemsError } from '../../../src/errors/problems.js'
import { RecordWriter } from '../../../src/formats/record-writer.js'
import { loadSettings, type SettingsInput } from '../../../src/settings/load.js'
import { startFreeswitch } from '../../../src/sources/freeswitch/freeswitch.js'
import { startHttp } from '../../../src/sources/http/http.js'
import { Authority, noOpenssl, type Pair } from '../../helpers/certificates.js'
import { collectingInlet } from '../../helpers/inlet.js'
import { cdrText } from '../freeswitch/cdr.js'
import { basic, type Listening, listening, secretFile } from './client.js'

const TENANTS = { default: { id: 1 }, acme: { id: 2 }, other: { id: 3 } }
const LISTEN = '127.0.0.1:0'
const call = (tenant?: string): object => ({
  start_ms: Date.now() - 60_000,
  ...(tenant === undefined ? {} : { tenant }),
})
const lines = (...records: readonly object[]): string => records.map((record) => JSON.stringify(record)).join('\n')

interface Answered {
  readonly status: number
  readonly body: unknown
}

async function post(
  { url }: Listening,
  body: string | Uint8Array,
  headers: Record<string, string>,
  path = '/v1/calls',
): Promise<Answered> {
  const response = await fetch(url + path, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/x-ndjson', ...headers },
  })
  return { status: response.status, body: await response.json() }
}

t.test("a credential may use the tenants of its line; without any, the listener's own", async (t) => {
  const credentialsFile = secretFile(
    t,
    'plain:secret-of-one\nacme:secret-of-two tenants=acme\nAbCdEfGhIjKlMnOp tenants=other,default\n',
  )
  const server = await listening(t, startHttp, { tenants: TENANTS, http: { listen: LISTEN, credentialsFile } })
  const as = {
    plain: basic('plain', 'secret-of-one'),
    acme: basic('acme', 'secret-of-two'),
    token: 'Bearer AbCdEfGhIjKlMnOp',
  }
  const forbidden = (line: number): Answered => ({
    status: 403,
    body: { error: 'unauthorised', reason: 'unauthorised', field: 'tenant', line },
  })
  const rows: [who: keyof typeof as, tenants: (string | undefined)[], stored: string | Answered][] = [
    ['plain', [undefined, 'default'], 'default'],
    ['plain', [undefined, 'acme'], forbidden(2)],
    ['acme', [undefined, 'acme'], 'acme'],
    ['acme', ['default'], forbidden(1)],
    ['token', [undefined, 'default', 'other'], 'other'],
    ['token', ['other', 'other', 'acme'], forbidden(3)],
    [
      'token',
      ['nobody'],
      { status: 422, body: { error: 'bad_record', reason: 'unknown_tenant', field: 'tenant', line: 1 } },
    ],
  ]
  for (const [who, tenants, stored] of rows) {
    server.inlet.clear()
    const writer = new RecordWriter(catalogue())
    for (const tenant of tenants) writer.add('call', call(tenant))
    for (const [type, body] of [
      ['application/x-ndjson', lines(...tenants.map(call))],
      ['application/x-protobuf', writer.take()],
    ] as const) {
      const answer = await post(server, body, { authorization: as[who], 'content-type': type })
      if (typeof stored === 'string') t.equal(answer.status, 202, `${who} ${tenants.join()} ${type}`)
      else t.same(answer, stored, `${who} ${tenants.join()} ${type}`)
    }
    t.same(
      server.inlet.entries.map(({ tenant }) => tenant),
      typeof stored === 'string' ? [stored, stored] : [],
    )
  }
  t.equal(server.counts['unauthorised'], 6)
  t.equal(server.log.filter((line) => line.includes('may not use')).length, 1)
  t.notMatch(server.log.join(), /acme|other/)
})

t.test("a key is its sender's, whatever the sender may use by then", async (t) => {
  const inlet = collectingInlet(catalogue())
  const as = { authorization: basic('acme', 'secret-of-two'), 'idempotency-key': 'one' }
  const server = async (tenants: string): Promise<Listening> =>
    listening(
      t,
      startHttp,
      {
        tenants: TENANTS,
        http: { listen: LISTEN, credentialsFile: secretFile(t, `acme:secret-of-two tenants=${tenants}\n`) },
      },
      inlet,
    )
  const body = lines(call('acme'))
  t.match(await post(await server('acme,default'), body, as), { status: 202 })
  t.same(await post(await server('default,acme'), body, as), { status: 200, body: { records: 0, repeated: true } })
  t.match(await post(await server('default,acme'), lines(call('acme'), call('acme')), as), {
    status: 422,
    body: { error: 'key_reused' },
  })
  t.equal(inlet.entries.length, 1)
})

t.test('where nobody is asked, and where there is one tenant only, there is nothing to keep apart', async (t) => {
  const open = await listening(t, startHttp, { tenants: TENANTS, http: { listen: LISTEN } })
  t.match(await post(open, lines(call('acme'), call()), {}), { status: 202 })
  const one = await listening(t, startHttp, {
    tenants: { default: { id: 1 } },
    http: { listen: LISTEN, credentialsFile: secretFile(t, 'plain:secret-of-one') },
  })
  t.match(await post(one, lines(call('default'), call()), { authorization: basic('plain', 'secret-of-one') }), {
    status: 202,
  })
})

t.test("FreeSWITCH: its records are of its credential's tenant", async (t) => {
  const credentialsFile = secretFile(t, 'one:secret-of-one\ntwo:secret-of-two tenants=acme\n')
  const server = await listening(t, startFreeswitch, {
    tenants: TENANTS,
    freeswitch: { listen: LISTEN, credentialsFile },
  })
  t.equal((await post(server, cdrText(), { authorization: basic('one', 'secret-of-one') }, '/cdr')).status, 200)
  t.equal((await post(server, cdrText(), { authorization: basic('two', 'secret-of-two') }, '/cdr')).status, 200)
  t.equal((await post(server, 'no JSON', { authorization: basic('two', 'secret-of-two') }, '/cdr')).status, 200)
  t.same(
    server.inlet.entries.map(({ tenant, format }) => `${tenant} ${format}`),
    ['default protobuf', 'acme protobuf', 'acme refused'],
  )
})

t.test('certificates, alone and beside credentials', { skip: noOpenssl }, async (t: Test) => {
  const authority = new Authority(t)
  const own = authority.issue('own', 'DNS:localhost')
  const [one, two, three] = [
    authority.issue('one', 'DNS:one.example.net'),
    authority.issue('two', 'DNS:two.example.net,URI:urn:pbx:two'),
    authority.issue('three', '', 'two.example.net'),
  ]
  const authorise = { 'urn:pbx:two': { tenants: ['acme', 'other'] } }
  const tls = { ...own, clientCa: authority.ca }
  const posting = (server: Listening, pair: Pair, path = '/v1/calls') => {
    // One agent: its second connection resumes the first one's TLS session.
    const agent = new Agent({
      keepAlive: false,
      ca: readFileSync(authority.ca),
      cert: readFileSync(pair.cert),
      key: readFileSync(pair.key),
    })
    return (body: string, headers: Record<string, string> = {}): Promise<number> =>
      new Promise((resolve, reject) => {
        const request = httpsRequest(
          {
            agent,
            host: 'localhost',
            family: 4,
            port: server.port,
            path,
            method: 'POST',
            headers: { 'content-type': 'application/x-ndjson', ...headers },
          },
          (response) => {
            response.resume()
            resolve(response.statusCode ?? 0)
          },
        )
        request.on('error', reject)
        request.end(body)
      })
  }
  const server = await listening(t, startHttp, { tenants: TENANTS, http: { listen: LISTEN, tls, authorise } })
  for (let connection = 0; connection < 2; connection++) {
    server.inlet.clear()
    const [first, second, third] = [one, two, three].map((pair) => posting(server, pair))
    t.same([await first(lines(call())), await first(lines(call('acme')))], [202, 403])
    t.same([await second(lines(call('acme'), call('other'), call())), await second(lines(call('default')))], [202, 403])
    t.same([await third(lines(call())), await third(lines(call('acme')))], [202, 403], 'the common name is not asked')
    t.same(
      server.inlet.entries.map(({ tenant }) => tenant),
      ['default', 'acme', 'default'],
    )
  }

  const both = await listening(t, startHttp, {
    tenants: TENANTS,
    http: {
      listen: LISTEN,
      tls,
      authorise,
      credentialsFile: secretFile(
        t,
        'a:secret-of-a tenants=other,default\nb:secret-of-b\nc:secret-of-c tenants=default\n',
      ),
    },
  })
  const send = posting(both, two)
  const [a, b, c] = ['a', 'b', 'c'].map((user) => ({ authorization: basic(user, `secret-of-${user}`) }))
  t.same(
    [
      await send(lines(call(), call('other')), a),
      await send(lines(call('default')), a),
      await send(lines(call('acme')), a),
    ],
    [202, 403, 403],
    'both must allow it',
  )
  t.same([await send(lines(call(), call('acme')), b), await send(lines(call('default')), b)], [202, 403])
  t.same([await send(lines(call()), c), await send(lines(call('default')), c)], [403, 403], 'nothing is left')
  t.same(
    both.inlet.entries.map(({ tenant }) => tenant),
    ['other', 'acme'],
  )

  const freeswitch = await listening(t, startFreeswitch, {
    tenants: TENANTS,
    freeswitch: {
      listen: LISTEN,
      tls,
      authorise: { 'two.example.net': { tenants: ['acme'] } },
      credentialsFile: secretFile(t, 'c:secret-of-c tenants=default\nb:secret-of-b\n'),
    },
  })
  const cdr = posting(freeswitch, two, '/cdr')
  t.same([await cdr(cdrText(), b), await cdr(cdrText(), c)], [200, 403])
  t.same(
    freeswitch.inlet.entries.map(({ tenant }) => tenant),
    ['acme'],
  )
})

t.test('settings that cannot be: all mistakes at once', (t) => {
  const wrong = (over: SettingsInput): string[] => {
    try {
      loadSettings(null, { tenants: TENANTS, ...over })
      return []
    } catch (error) {
      return (error as ProblemsError).problems.map(({ path, what }) => `${path} ${what}`)
    }
  }
  const tls = { cert: '/a', key: '/b', clientCa: '/c' }
  t.same(wrong({ http: { listen: LISTEN, tls, authorise: { 'pbx-1.example.net': { tenants: ['acme'] } } } }), [])
  const found = wrong({
    http: {
      listen: LISTEN,
      tls,
      authorise: { 'pbx-1.example.net': { tenants: ['acme', 'nobody'] }, 'pbx-2': { tenant: 'acme' } as never },
    },
    freeswitch: {
      listen: LISTEN,
      tls,
      authorise: { a: { tenants: ['acme', 'other'] }, b: { sources: ['x'], tenants: ['acme'] } },
    },
    grpc: { tls: { ...tls, clientCa: null }, authorise: { a: { sources: ['a'] } } },
  })
  t.equal(found.length, 5, found.join('\n'))
  for (const path of [
    'http.authorise.pbx-1.example.net.tenants.1 is no tenant',
    'http.authorise.pbx-2.tenant is unknown',
    'freeswitch.authorise.a.tenants',
    'freeswitch.authorise.b.sources is unknown',
    'grpc.authorise has no effect without grpc.tls.clientCa',
  ]) {
    t.ok(
      found.some((line) => line.startsWith(path)),
      path,
    )
  }
  for (const authorise of [
    null,
    [],
    'pbx',
    { 'pbx 1': {} },
    { a: null },
    { a: { sources: [] } },
    { a: { tenants: 'acme' } },
    { a: { sources: ['+447700900123'] } },
  ]) {
    t.equal(wrong({ grpc: { tls, authorise: authorise as never } }).length, 1, JSON.stringify(authorise))
  }
  t.end()
})
