import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import type { Logger } from '../../../src/flow/log.js'
import { DrachtioApplication, FrameGuard, loadLibraryReader } from '../../../src/sources/sip/drachtio.js'
import { drachtioSecret } from '../../../src/sources/sip/settings.js'
import { given } from '../../helpers/given.js'
import { DrachtioServer } from './drachtio-server.js'
import { common, publish, register, sip, vqBody } from './messages.js'
import { headerOf, type Rig, rig, until } from './rig.js'

await loadLibraryReader()

const folder = mkdtempSync(join(tmpdir(), 'minim-drachtio-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})
const secretFile = join(folder, 'secret')
writeFileSync(secretFile, 'cymru\n', { mode: 0o600 })

interface Running extends Rig {
  readonly server: DrachtioServer
  readonly application: DrachtioApplication
  readonly log: string[]
  readonly reply: (transaction: string) => Promise<string>
}

async function running(t: Test, secret = 'cymru'): Promise<Running> {
  const server = await DrachtioServer.listen(secret)
  const made = rig()
  const log: string[] = []
  const logger = {
    info: (...a: unknown[]) => log.push(JSON.stringify(a)),
    warn: ({ err }: { err: Error }) => log.push(err.message),
  } as unknown as Logger
  const application = new DrachtioApplication({
    settings: { host: '127.0.0.1', port: server.port, secretFile, tls: false },
    maxMessageBytes: 4096,
    service: made.service,
    counters: made.counted,
    log: logger,
    onBroken: (error) => {
      made.broken.push(error)
    },
  })
  await application.start()
  t.teardown(async () => {
    application.stop()
    await server.close()
  })
  const reply = async (transaction: string): Promise<string> => {
    await until('a reply', () => server.replies.some((r) => r.transaction === transaction))
    return given(server.replies.find((r) => r.transaction === transaction)).text
  }
  return { ...made, server, application, log, reply }
}

t.test('it connects, and asks for the requests that it takes', async (t) => {
  const { server, counted } = await running(t)
  await until('routes', () => server.ready)
  t.same([...server.routes].sort(), ['notify', 'options', 'publish', 'register'])
  t.equal(counted.counts.connections, 1)
})

t.test("the same answers as the listener's", async (t) => {
  const { server, inlet, counted, reply, broken } = await running(t)
  await until('routes', () => server.ready)
  const ask = async (message: Buffer): Promise<string> => reply(server.request(message))
  const published = await ask(publish())
  t.match(published, /^SIP\/2\.0 200 OK\r\n/)
  t.match(headerOf(published, 'SIP-ETag'), /^\S{12}$/)
  t.equal(headerOf(published, 'Expires'), '600')
  t.equal(inlet.records().length, 2)
  t.match(
    await ask(
      sip([
        'PUBLISH sip:c SIP/2.0',
        ...common('PUBLISH', { Event: 'vq-rtcpxr', 'SIP-If-Match': given(headerOf(published, 'SIP-ETag')) }),
      ]),
    ),
    /^SIP\/2\.0 200 /,
    'refreshed',
  )
  const rows: readonly (readonly [
    name: string,
    bytes: Buffer,
    status: string,
    headers: Readonly<Record<string, RegExp>>,
  ])[] = [
    ['another package', publish(vqBody(), { Event: 'presence' }), '489', { 'Allow-Events': /^vq-rtcpxr$/ }],
    ['another body', publish('x', { 'Content-Type': 'text/plain' }), '415', { Accept: /^application\/vq-rtcpxr$/ }],
    [
      'NOTIFY',
      sip(
        ['NOTIFY sip:c SIP/2.0', ...common('NOTIFY', { Event: 'vq-rtcpxr', 'Content-Type': 'application/vq-rtcpxr' })],
        vqBody('n'),
      ),
      '200',
      {},
    ],
    [
      'OPTIONS',
      sip(['OPTIONS sip:c SIP/2.0', ...common('OPTIONS')]),
      '200',
      { Allow: /PUBLISH/, Accept: /vq-rtcpxr/, 'Allow-Events': /vq-rtcpxr/ },
    ],
    [
      'REGISTER',
      register({ 'User-Agent': 'Yealink SIP-T46S 66.85.0.5 00005e005304' }),
      '200',
      { Contact: /192\.0\.2\.14:5062/ },
    ],
  ]
  for (const [name, bytes, status, headers] of rows) {
    const answer = await ask(bytes)
    t.match(answer, new RegExp(`^SIP/2\\.0 ${status} `), name)
    for (const [header, expected] of Object.entries(headers))
      t.match(headerOf(answer, header), expected, `${name}: ${header}`)
  }
  t.same(
    inlet.records().map((r) => r.kind),
    ['quality', 'quality', 'quality', 'quality', 'device'],
  )
  t.match(inlet.records()[4].fields, { mac: '00005e005304', contact_ip: '192.0.2.14' })
  inlet.full = true
  t.match(headerOf(await ask(publish(vqBody('z'))), 'Retry-After'), /^\d+$/, 'no room')
  t.equal(counted.counts.received, 8)
  t.same(broken, [])
})

t.test('frames in pieces, raw UTF-8', async (t) => {
  const { server, inlet, reply } = await running(t)
  await until('routes', () => server.ready)
  server.pieces = 7
  t.match(
    await reply(server.request(publish(vqBody('ü'), { From: '"Zoë Ω" <sip:1004@pbx.example>;tag=1' }))),
    /^SIP\/2\.0 200 /,
  )
  t.equal(inlet.records()[0].fields['call_id'], 'ü')
})

t.test('what the library would choke on is kept from it', async (t) => {
  const { server, inlet, counted, reply, broken } = await running(t)
  await until('routes', () => server.ready)
  const printed: unknown[] = []
  const print = console.error
  console.error = (...args: unknown[]) => {
    printed.push(args)
  }
  t.teardown(() => {
    console.error = print
  })
  server.raw(server.frame('id|unheard-of|canary-447700900123'))
  server.request('no SIP, canary-447700900123')
  server.request(Buffer.from('PUBLISH sip:a SIP/2.0\r\n<canary-447700900123>\r\n\r\n'))
  server.request(publish(vqBody().padEnd(20_000, 'x')))
  server.request(sip(['SIP/2.0 200 OK', ...common('OPTIONS')]))
  server.request(publish(vqBody('theirs')), 'application')
  server.request(sip(['INVITE sip:c SIP/2.0', ...common('INVITE')]))
  server.raw(server.frame('id|cdr:start|network|x\r\nINVITE sip:a SIP/2.0\r\n\r\n'))
  t.match(await reply(server.request(publish(vqBody('after')))), /^SIP\/2\.0 200 /)
  t.equal(server.connections, 1, 'the same connection')
  t.same(
    inlet.records().map((r) => r.fields['call_id']),
    ['after', 'after'],
  )
  t.match(counted.counts.refused, { too_large: 1, unused: 5 })
  t.same(printed, [], 'nothing on stderr')
  t.same(broken, [])
})

t.test('a stream that is out of step is left, and the connection made anew', async (t) => {
  const { server, inlet, counted, log, reply } = await running(t)
  await until('routes', () => server.ready)
  server.raw(Buffer.from('canary-447700900123#'))
  await until('it comes again', () => server.connections === 2 && server.ready)
  server.drop()
  await until('and again', () => server.connections === 3 && server.ready)
  t.match(await reply(server.request(publish())), /^SIP\/2\.0 200 /)
  t.equal(inlet.entries.length, 1)
  t.ok(counted.counts.gap > 0, 'how long it was away is counted')
  t.match(log.join('\n'), /has closed the connection; trying again in \d+ ms/)
  t.notMatch(log.join('\n'), /canary|cymru/)
})

t.test('a secret that is not theirs', async (t) => {
  const { server, log, counted } = await running(t, 'another')
  await until('it is refused, and tries again', () => server.refused >= 2)
  t.match(log[0], /refuses the secret; trying again/)
  t.equal(counted.counts.connections, 0)
})

t.test('a server that is not there yet', async (t) => {
  const first = await DrachtioServer.listen('cymru')
  const { port } = first
  await first.close()
  const made = rig()
  const log: string[] = []
  const application = new DrachtioApplication({
    settings: { host: '127.0.0.1', port, secretFile, tls: false },
    maxMessageBytes: 4096,
    service: made.service,
    counters: made.counted,
    log: {
      info: () => undefined,
      warn: ({ err }: { err: Error }) => {
        log.push(err.message)
      },
    } as unknown as Logger,
    onBroken: (error) => {
      made.broken.push(error)
    },
  })
  await application.start()
  t.teardown(() => {
    application.stop()
  })
  await until('it was tried', () => log.length > 0)
  t.match(log[0], /cannot be reached/)
  const server = await DrachtioServer.listen('cymru', port)
  t.teardown(() => server.close())
  await until('routes', () => server.ready)
  t.same(made.broken, [])
})

t.test('secrets', async (t) => {
  const { parse } = drachtioSecret({ host: '127.0.0.1', port: 9022, secretFile, tls: false })
  t.same(parse(Buffer.from('cymru\n')), { value: 'cymru' })
  for (const text of ['', 'a|b', 'a b', 'two\nlines', 'x'.repeat(300)])
    t.ok('wrong' in parse(Buffer.from(text)), JSON.stringify(text.slice(0, 10)))
})

t.test('the guard, by itself', async (t) => {
  const guard = new FrameGuard(1000, () => undefined)
  t.same(guard.feed(Buffer.from('12#a|response|b'))?.length, 1)
  for (const bad of ['x', '0#', '-5#abc', '1e3#', '123456789', '#', ' 5#'])
    t.equal(new FrameGuard(1000, () => undefined).feed(Buffer.from(bad)), null, bad)
  const large = new FrameGuard(1000, () => undefined)
  t.same(large.feed(Buffer.from('99999999#xxxx')), [], 'what is too large is left out as it comes')
  for (let i = 0; i < 100; i++) t.same(large.feed(Buffer.alloc(1000)), [])
})
