/** mod_json_cdr's posts against the real listener: as it posts them, with curl's headers, a connection for each. */
import { readFileSync } from 'node:fs'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { startFreeswitch } from '../../../src/sources/freeswitch/freeswitch.js'
import type { FreeswitchSettings } from '../../../src/sources/freeswitch/settings.js'
import { execFileSync } from '../../helpers/child-process.js'
import { basic, type Listening, listening, Raw, secretFile } from '../http/client.js'
import { B_UUID, cdrText, FORMS, UUID } from './cdr.js'

const on = (t: Test, freeswitch: Partial<FreeswitchSettings> = {}): Promise<Listening> =>
  listening(t, startFreeswitch, { freeswitch: { listen: '127.0.0.1:0', ...freeswitch } })

/** What libcurl sends for mod_json_cdr. */
function curlPost(
  body: Uint8Array,
  { label = 'application/json', path = `/cdr?uuid=a_${UUID}`, more = '' } = {},
): Buffer {
  return Buffer.concat([
    Buffer.from(
      `POST ${path} HTTP/1.1\r\nHost: x\r\nUser-Agent: freeswitch-json/1.0\r\nAccept: */*\r\n` +
        `Content-Type: ${label}\r\n${more}Content-Length: ${body.length}\r\n\r\n`,
    ),
    body,
  ])
}

async function deliver(t: Test, server: Listening, bytes: Buffer): Promise<{ status: number; body: unknown }> {
  const raw = new Raw(t, server).write(bytes)
  const [status] = await raw.answers(1)
  while (!raw.text.endsWith('}'))
    await new Promise((resolve) => {
      setTimeout(resolve, 2)
    })
  raw.socket.destroy()
  return { status, body: JSON.parse(raw.text.slice(raw.text.indexOf('\r\n\r\n') + 4)) as unknown }
}

t.test('every form, under every label, is the same post: taken once', async (t) => {
  for (const [form, body] of Object.entries(FORMS)) {
    const server = await on(t)
    for (const [i, label] of [
      'application/json',
      'application/x-www-form-urlencoded',
      'application/x-www-form-base64-encoded',
      'text/plain',
    ].entries()) {
      t.same(
        await deliver(t, server, curlPost(body(cdrText()), { label })),
        { status: 200, body: i === 0 ? { records: 3 } : { records: 0, repeated: true } },
        `${form}, ${label}`,
      )
    }
    t.same(
      server.inlet.records().map(({ kind }) => kind),
      ['call', 'quality', 'device'],
    )
    t.match(server.inlet.entries, [{ source: 'freeswitch', format: 'protobuf', tenant: 'default', id: `${UUID} a` }])
    t.same([server.counts['received'], server.counts['repeated']], [4, 3])
  }
})

t.test('gzip, chunks and 100-continue', async (t) => {
  const server = await on(t)
  const body = Buffer.from(cdrText())
  t.match(await deliver(t, server, curlPost(gzipSync(body), { more: 'Content-Encoding: gzip\r\n' })), {
    body: { records: 3 },
  })
  const chunked = Buffer.from(
    `POST /cdr HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body.toString()}\r\n0\r\n\r\n`,
  )
  t.match(await deliver(t, server, chunked), { body: { repeated: true } })
  const waiting = new Raw(t, server).write(
    curlPost(body, { more: 'Expect: 100-continue\r\n' }).subarray(0, -body.length),
  )
  while (!waiting.text.includes('100 Continue'))
    await new Promise((resolve) => {
      setTimeout(resolve, 2)
    })
  t.same(await waiting.write(body).answers(1), [200])
})

t.test('a leg without anything to say', async (t) => {
  const server = await on(t)
  const silent = cdrText({
    variables: {
      uuid: B_UUID,
      originator: UUID,
      sip_user_agent: undefined,
      rtp_audio_in_packet_count: undefined,
      rtp_audio_out_packet_count: undefined,
    },
  })
  t.same(await deliver(t, server, curlPost(Buffer.from(silent))), { status: 200, body: { records: 0 } })
  t.equal(server.counts['unused'], 1)
  t.equal(server.inlet.entries.length, 0)
  const both = await on(t, { legs: 'both', tenant: 'default', path: '/' })
  t.same(await deliver(t, both, curlPost(Buffer.from(silent), { path: '/' })), { status: 200, body: { records: 1 } })
})

t.test('what is no CDR is kept for quarantine and acknowledged: refused, it would come again and again', async (t) => {
  const server = await on(t)
  const bodies = ['hello', '{"variables":{', `cdr=${Buffer.from('{').toString('base64')}`, '[]']
  for (const body of bodies)
    t.same(await deliver(t, server, curlPost(Buffer.from(body))), {
      status: 200,
      body: { records: 0, quarantined: true },
    })
  const timeless = cdrText({ variables: { start_epoch: undefined, start_uepoch: undefined }, profiles: [] })
  t.match(await deliver(t, server, curlPost(Buffer.from(timeless))), { status: 200, body: { quarantined: true } })
  t.same(
    server.inlet.entries.map(({ format, reason, bytes, id }) => [format, reason, bytes.toString(), id]),
    [...bodies.map((body) => ['refused', 'malformed_json', body, null]), ['refused', 'no_start_time', timeless, null]],
    'byte for byte',
  )
  t.notOk('malformed' in server.counts, 'quarantine counts them')
  t.match(await deliver(t, server, curlPost(Buffer.alloc(0))), { status: 400, body: { error: 'malformed' } })
  t.equal(server.counts['malformed'], 1)
  t.equal(server.inlet.entries.length, 5, 'nothing is nothing')
})

t.test('refused: without password, elsewhere, too large, no room', async (t) => {
  const server = await on(t, {
    credentialsFile: secretFile(t, 'freeswitch:hunter2hunter2'),
    maxBodyBytes: 20_000,
    path: '/pbx/cdr',
  })
  const body = Buffer.from(cdrText())
  const auth = `Authorization: ${basic('freeswitch', 'hunter2hunter2')}\r\n`
  const to = async (more: string, path = '/pbx/cdr', what: Uint8Array = body): Promise<number> =>
    (await deliver(t, server, curlPost(what, { more, path }))).status
  t.equal(await to(''), 401)
  t.equal(await to(`Authorization: ${basic('freeswitch', 'hunter3hunter3')}\r\n`), 401)
  t.equal(await to(auth, '/cdr'), 404)
  t.equal(await to(auth, '/pbx/cdr', Buffer.alloc(20_001, '{')), 413)
  server.inlet.full = true
  t.equal(await to(auth), 503)
  server.inlet.full = false
  t.equal(server.inlet.entries.length, 0)
  t.equal(await to(auth), 200, 'and posted again it is taken: nothing was remembered of what was refused')
  t.same(
    [server.counts['unauthorised'], server.counts['not_found'], server.counts['too_large'], server.counts['no_room']],
    [2, 1, 1, 1],
  )
})

t.test('cut off in the middle, and posted again', async (t) => {
  const server = await on(t)
  const bytes = curlPost(FORMS['cdr= url-encoded by switch_url_encode'](cdrText()))
  for (const cut of [20, 300, bytes.length >> 1, bytes.length - 1]) {
    const raw = new Raw(t, server).write(bytes.subarray(0, cut))
    await new Promise((resolve) => {
      setTimeout(resolve, 20)
    })
    raw.socket.resetAndDestroy()
  }
  t.equal(server.inlet.entries.length, 0)
  t.match(await deliver(t, server, bytes), { status: 200, body: { records: 3 } })
})

t.test('TLS, and certificates that clients must have', async (t) => {
  const folder = t.testdir({})
  const openssl = (...args: string[]): Buffer => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const made = (name: string): { cert: string; key: string } => {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-days',
      '1',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
    )
    return { cert: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) }
  }
  const [own, pbx, stranger] = ['own', 'pbx', 'stranger'].map(made)
  const post = ({ port }: Listening, options: RequestOptions): Promise<number | string> =>
    new Promise((resolve) => {
      const request = httpsRequest(
        {
          host: 'localhost',
          family: 4,
          port,
          path: '/cdr',
          method: 'POST',
          ca: readFileSync(own.cert),
          agent: false,
          ...options,
        },
        (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        },
      )
      request.on('error', () => {
        resolve('refused')
      })
      request.end(cdrText())
    })
  const plain = await on(t, { tls: { cert: own.cert, key: own.key, clientCa: null } })
  t.equal(await post(plain, {}), 200)
  t.equal(await post(plain, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }), 'refused', 'an old TLS')
  const strict = await on(t, { tls: { cert: own.cert, key: own.key, clientCa: pbx.cert } })
  const as = ({ cert, key }: { cert: string; key: string }): RequestOptions => ({
    cert: readFileSync(cert),
    key: readFileSync(key),
  })
  t.equal(await post(strict, as(pbx)), 200)
  t.equal(await post(strict, {}), 'refused')
  t.equal(await post(strict, as(stranger)), 'refused')
  t.equal(strict.inlet.entries.length, 1)
  t.ok(strict.counts['unauthorised'] >= 1)
  await t.rejects(on(t, { tls: { cert: join(folder, 'none.pem'), key: own.key, clientCa: null } }), {
    code: 'MINIM_SETTINGS_INVALID',
    message: /freeswitch\.tls\.cert: cannot be read \(ENOENT\)/,
  })
  // Left out in the settings, as operators write it.
  t.equal(await post(await on(t, { tls: { cert: own.cert, key: own.key } as never }), {}), 200)
})
