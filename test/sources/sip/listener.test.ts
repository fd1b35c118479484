import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { SipListener } from '../../../src/sources/sip/listener.js'
import { spawnSync } from '../../helpers/child-process.js'
import { given } from '../../helpers/given.js'
import { common, publish, register, sip, vqBody } from './messages.js'
import { headerOf, type Listening, listening, rig, SETTINGS, TcpClient, UdpClient, until } from './rig.js'

async function udp(
  t: Parameters<typeof listening>[0],
  settings: Partial<typeof SETTINGS> = {},
  over: Parameters<typeof rig>[0] = {},
): Promise<Listening & { client: UdpClient }> {
  const made = await listening(t, { udp: '127.0.0.1:0', ...settings }, over)
  return { ...made, client: await UdpClient.open(t, made.port('sipUdp')) }
}

const options = (over: Readonly<Record<string, string>> = {}): Buffer =>
  sip(['OPTIONS sip:collector.example SIP/2.0', ...common('OPTIONS', over)])

t.test('PUBLISH is answered once its records are safe', async (t) => {
  const { client, inlet, counted } = await udp(t)
  const request = publish()
  const answer = await client.ask(request)
  t.match(answer, /^SIP\/2\.0 200 OK\r\n/)
  t.match(headerOf(answer, 'SIP-ETag'), /^\S{12}$/)
  t.equal(headerOf(answer, 'Expires'), '600')
  t.same(
    inlet.records().map((r) => [r.kind, r.fields['call_id'], r.fields['mac'], r.fields['origin']]),
    [
      ['quality', '1890463548@192.0.2.14', '00005e005304', 'REPORT'],
      ['quality', '1890463548@192.0.2.14', '00005e005305', 'REPORT'],
    ],
  )
  t.match(inlet.entries[0], { source: 'sip', format: 'protobuf', tenant: 'default' })
  t.match(inlet.entries[0].id, { space: 'sip-message' }, 'known again by whichever way it comes')

  t.test('what it copies, and where it came from', async (t) => {
    for (const name of ['From', 'Call-ID', 'CSeq'])
      t.equal(headerOf(answer, name), headerOf(request.toString(), name), name)
    t.match(
      headerOf(answer, 'To'),
      new RegExp(`^${headerOf(request.toString(), 'To')?.replace(/[+.]/g, '\\$&')};tag=[0-9a-f]{12}$`),
    )
    t.match(
      headerOf(answer, 'Via'),
      new RegExp(`^SIP/2\\.0/UDP 192\\.0\\.2\\.14:5060;branch=\\S+;rport=${client.port};received=127\\.0\\.0\\.1$`),
    )
    t.equal(headerOf(answer, 'Content-Length'), '0')
    t.match(answer, /\r\n\r\n$/)
  })
  t.test('the same datagram again: the same answer, taken once', async (t) => {
    t.equal(await client.ask(request), answer)
    t.equal(inlet.entries.length, 1)
    t.equal(counted.counts.refused['repeated'], 1)
  })
  t.test('the same report by another transaction: answered, taken once', async (t) => {
    t.match(await client.ask(publish()), /^SIP\/2\.0 200 /)
    t.equal(inlet.entries.length, 1)
    t.equal(inlet.repeats, 1)
  })
  t.test('another report', async (t) => {
    t.match(await client.ask(publish(vqBody('other@192.0.2.14'))), /^SIP\/2\.0 200 /)
    t.equal(inlet.entries.length, 2)
  })
})

t.test('refresh and removal (RFC 3903)', async (t) => {
  let now = 1_795_514_445_000
  const { client, inlet } = await udp(t, {}, { now: () => now })
  const bare = (over: Readonly<Record<string, string>>): Buffer =>
    sip(['PUBLISH sip:c SIP/2.0', ...common('PUBLISH', { Event: 'vq-rtcpxr', ...over })])
  const first = given(headerOf(await client.ask(publish()), 'SIP-ETag'))
  const refreshed = await client.ask(bare({ 'SIP-If-Match': first, Expires: '7200' }))
  t.match(refreshed, /^SIP\/2\.0 200 /)
  t.equal(headerOf(refreshed, 'Expires'), '3600', 'no longer than the settings say')
  const second = given(headerOf(refreshed, 'SIP-ETag'))
  t.not(second, first)
  t.match(await client.ask(bare({ 'SIP-If-Match': first })), /^SIP\/2\.0 412 /, 'the old tag is over')
  t.match(
    await client.ask(publish(vqBody('modified'), { 'SIP-If-Match': second })),
    /^SIP\/2\.0 200 /,
    'a tag and a body',
  )
  t.equal(inlet.entries.length, 2)
  const third = given(headerOf(client.answers[client.answers.length - 1], 'SIP-ETag'))
  const removed = await client.ask(bare({ 'SIP-If-Match': third, Expires: '0' }))
  t.match(removed, /^SIP\/2\.0 200 /)
  t.equal(headerOf(removed, 'Expires'), '0')
  t.match(
    await client.ask(bare({ 'SIP-If-Match': given(headerOf(removed, 'SIP-ETag')) })),
    /^SIP\/2\.0 412 /,
    'removed',
  )
  const fourth = given(headerOf(await client.ask(publish(vqBody('y'), { Expires: '60' })), 'SIP-ETag'))
  now += 61_000
  t.match(await client.ask(bare({ 'SIP-If-Match': fourth })), /^SIP\/2\.0 412 /, 'over')
  t.match(await client.ask(bare({})), /^SIP\/2\.0 400 /, 'no body, no tag')
})

t.test('other answers', async (t) => {
  const { client, inlet, counted, broken } = await udp(t)
  const rows: readonly (readonly [
    name: string,
    bytes: Buffer,
    status: string,
    headers: Readonly<Record<string, RegExp>>,
  ])[] = [
    ['another package', publish(vqBody(), { Event: 'presence' }), '489', { 'Allow-Events': /^vq-rtcpxr$/ }],
    ['no package', publish(vqBody(), { Event: '' }), '489', {}],
    [
      'another body',
      publish('<presence/>', { 'Content-Type': 'application/pidf+xml' }),
      '415',
      { Accept: /^application\/vq-rtcpxr$/ },
    ],
    ['compressed', publish(vqBody(), { 'Content-Encoding': 'gzip' }), '415', { 'Accept-Encoding': /identity/ }],
    ['no report in it', publish('hello'), '400', {}],
    [
      'a package with parameters, a type with them',
      publish(vqBody('p'), { Event: 'VQ-RTCPXR;id=1', 'Content-Type': 'Application/vq-rtcpxr;charset=utf-8' }),
      '200',
      {},
    ],
    ['no type', publish(vqBody('q'), { 'Content-Type': '' }), '200', {}],
    ['a report without figures', publish('VQSessionReport: CallTerm\r\nCallID: x\r\n'), '200', {}],
    [
      'NOTIFY',
      sip(
        [
          'NOTIFY sip:c SIP/2.0',
          ...common('NOTIFY', {
            Event: 'vq-rtcpxr',
            'Subscription-State': 'active',
            'Content-Type': 'application/vq-rtcpxr',
          }),
        ],
        vqBody('n'),
      ),
      '200',
      {},
    ],
    ['NOTIFY of nothing', sip(['NOTIFY sip:c SIP/2.0', ...common('NOTIFY', { Event: 'vq-rtcpxr' })]), '200', {}],
    [
      'NOTIFY of another package',
      sip(['NOTIFY sip:c SIP/2.0', ...common('NOTIFY', { Event: 'message-summary' })], 'x'),
      '489',
      {},
    ],
    [
      'OPTIONS',
      options({ 'User-Agent': 'a phone that says more about itself than it needs to' }),
      '200',
      { Allow: /^PUBLISH, NOTIFY, OPTIONS, REGISTER$/, Accept: /vq-rtcpxr/, 'Allow-Events': /vq-rtcpxr/ },
    ],
    ['REGISTER', register(), '200', { Contact: /^<sip:1004@192\.0\.2\.14:5062;line=abc>;expires=3600$/ }],
    ['REGISTER of all', register({ Contact: '*', Expires: '0' }), '200', { Expires: /^0$/ }],
    ['a query', sip(['REGISTER sip:c SIP/2.0', ...common('REGISTER')]), '200', {}],
    ['INVITE', sip(['INVITE sip:c SIP/2.0', ...common('INVITE')]), '405', { Allow: /PUBLISH/ }],
    ['SUBSCRIBE', sip(['SUBSCRIBE sip:c SIP/2.0', ...common('SUBSCRIBE')]), '405', {}],
    ['CANCEL', sip(['CANCEL sip:c SIP/2.0', ...common('CANCEL')]), '481', {}],
    ['what nobody knows', sip(['XYZZY sip:c SIP/2.0', ...common('XYZZY')]), '405', {}],
  ]
  for (const [name, bytes, status, headers] of rows) {
    const answer = await client.ask(bytes)
    t.match(answer, new RegExp(`^SIP/2\\.0 ${status} `), name)
    for (const [header, expected] of Object.entries(headers))
      t.match(headerOf(answer, header), expected, `${name}: ${header}`)
    t.ok(answer.length <= bytes.length + 192, `${name}: no larger than its request and a little`)
  }
  t.same(
    inlet.records().map((r) => r.kind),
    ['quality', 'quality', 'quality', 'quality', 'quality', 'quality', 'device', 'device'],
  )
  t.match(counted.counts.refused, { malformed: 1 })
  t.same(broken, [])
})

t.test('REGISTER where copies are not wanted', async (t) => {
  const { client, inlet } = await udp(t, {}, { registerCopies: false })
  const answer = await client.ask(register())
  t.match(answer, /^SIP\/2\.0 405 /)
  t.equal(headerOf(answer, 'Allow'), 'PUBLISH, NOTIFY, OPTIONS')
  t.equal(inlet.entries.length, 0)
})

t.test('no answer at all', async (t) => {
  const { client, counted } = await udp(t)
  const silent: readonly (readonly [name: string, bytes: Buffer])[] = [
    ['ACK', sip(['ACK sip:c SIP/2.0', ...common('ACK')])],
    ['a response', sip(['SIP/2.0 200 OK', ...common('OPTIONS')])],
    ['no SIP', Buffer.from('hello, is anybody there?')],
    ['NULs', Buffer.alloc(500)],
    ['a keep-alive', Buffer.from('\r\n\r\n')],
    ['STUN', Buffer.alloc(15, 1)],
    ...['Via', 'From', 'To', 'Call-ID', 'CSeq'].map((name): readonly [string, Buffer] => [
      `without ${name}`,
      Buffer.from(
        options()
          .toString()
          .replace(new RegExp(`^${name}: .*\r\n`, 'm'), ''),
      ),
    ]),
    [
      'ten thousand headers',
      sip(['OPTIONS sip:c SIP/2.0', ...common('OPTIONS'), ...Array<string>(10_000).fill('X: y')]),
    ],
  ]
  for (const [, bytes] of silent) client.send(bytes)
  t.match(await client.ask(options()), /^SIP\/2\.0 200 /)
  t.equal(client.answers.length, 1, silent.map(([name]) => name).join())
  t.equal(counted.counts.refused['malformed'], 8)
})

t.test('who may send', async (t) => {
  const { client, inlet, counted } = await udp(t, { allow: ['192.0.2.0/24', '2001:db8::/32'] })
  client.send(publish())
  await until('it was refused', () => counted.counts.refused['unauthorised'] === 1)
  t.equal(client.answers.length, 0, 'no answer')
  t.equal(inlet.entries.length, 0)
})

t.test('answers go to whoever asked', async (t) => {
  const { listener } = await udp(t)
  const port = Number(listener.addresses['sipUdp'].split(':').pop())
  t.test('without rport: to the port of Via, at the address that it came from', async (t) => {
    const other = createSocket('udp4')
    await new Promise<void>((resolve) => {
      other.bind(0, '127.0.0.1', resolve)
    })
    t.teardown(() => {
      other.close()
    })
    const client = await UdpClient.open(t, port)
    const answered = new Promise<string>((resolve) => {
      other.once('message', (bytes) => {
        resolve(bytes.toString())
      })
    })
    client.send(options({ Via: `SIP/2.0/UDP 198.51.100.7:${other.address().port};branch=z9hG4bKx` }))
    t.equal(
      headerOf(await answered, 'Via'),
      `SIP/2.0/UDP 198.51.100.7:${other.address().port};branch=z9hG4bKx;received=127.0.0.1`,
    )
    t.equal(client.answers.length, 0)
  })
  t.test('a forged received, several Vias', async (t) => {
    const client = await UdpClient.open(t, port)
    const answer = await client.ask(
      sip([
        'OPTIONS sip:c SIP/2.0',
        ...common('OPTIONS', {
          Via: 'SIP/2.0/UDP a.example;rport=1;received=203.0.113.1;branch=z, SIP/2.0/UDP b.example;branch=y',
        }),
        'Via: SIP/2.0/TCP c.example',
      ]),
    )
    t.same(
      [...answer.matchAll(/^Via: (.*)\r$/gm)].map((m) => m[1]),
      [
        `SIP/2.0/UDP a.example;rport=${client.port};branch=z;received=127.0.0.1, SIP/2.0/UDP b.example;branch=y`,
        'SIP/2.0/TCP c.example',
      ],
    )
  })
})

t.test('the spool is full', async (t) => {
  const { client, inlet, counted } = await udp(t)
  inlet.full = true
  const request = publish()
  const answer = await client.ask(request)
  t.match(answer, /^SIP\/2\.0 503 /)
  t.ok(Number(headerOf(answer, 'Retry-After')) >= 10)
  t.match(await client.ask(register()), /^SIP\/2\.0 503 /)
  t.match(await client.ask(options()), /^SIP\/2\.0 200 /)
  t.equal(counted.counts.refused['no_room'], 2)
  inlet.full = false
  t.match(await client.ask(request), /^SIP\/2\.0 200 /, 'the same request again is taken then')
  t.equal(inlet.entries.length, 1)
})

t.test("a fault of minim's own is answered with 500 and told", async (t) => {
  const made = await listening(
    t,
    { udp: '127.0.0.1:0' },
    {
      now: () => {
        throw new Error('no clock')
      },
    },
  )
  const client = await UdpClient.open(t, made.port('sipUdp'))
  t.match(await client.ask(publish()), /^SIP\/2\.0 500 /)
  t.equal(made.broken.length, 1)
  t.match(await client.ask(options()), /^SIP\/2\.0 200 /)
})

t.test('too large, too fast', async (t) => {
  const { client, counted } = await udp(t, { maxMessageBytes: 2048, ratePerSecond: 5 })
  t.match(await client.ask(publish(vqBody().padEnd(4000, 'x'))), /^SIP\/2\.0 513 /)
  for (let i = 0; i < 20; i++) client.send(options())
  await until('some are dropped', () => (counted.counts.refused['rate'] ?? 0) > 0)
  t.ok(client.answers.length < 21)
})

t.test('stopping: what was taken is answered, the rest refused', async (t) => {
  const { client, service, inlet } = await udp(t)
  const put = inlet.put.bind(inlet)
  const waiting: (() => void)[] = []
  inlet.put = async (records) => {
    await new Promise<void>((resolve) => {
      waiting.push(resolve)
    })
    return put(records)
  }
  client.send(publish())
  await until('it is being put', () => waiting.length > 0)
  let stopped = false
  const stopping = service.stopTaking().then(() => {
    stopped = true
  })
  t.match(await client.ask(register()), /^SIP\/2\.0 503 /)
  t.equal(stopped, false)
  for (const release of waiting) release()
  await stopping
  await until('the first is answered', () => client.answers.some((answer) => answer.startsWith('SIP/2.0 200')))
})

t.test('TCP', async (t) => {
  const { port, inlet, counted, listener } = await listening(t, {
    tcp: '127.0.0.1:0',
    maxMessageBytes: 4096,
    maxConnections: 4,
  })
  t.test('messages in one go and in pieces, a keep-alive', async (t) => {
    const client = TcpClient.open(t, port('sipTcp'))
    client.socket.write(Buffer.concat([publish(vqBody('a')), options(), register(), Buffer.from('\r\n\r\n')]))
    t.same([...(await client.answers(3))].sort(), ['200', '200', '200'])
    await until('a pong', () => /^\r\n|\r\n\r\n\r\n/.test(client.text))
    for (const byte of publish(vqBody('b'))) client.socket.write(Buffer.from([byte]))
    t.same(await client.answers(4), ['200', '200', '200', '200'])
    t.equal(inlet.entries.length, 3)
  })
  t.test('a body that is a little short is taken after a while', async (t) => {
    const client = TcpClient.open(t, port('sipTcp'))
    client.socket.write(publish(vqBody('c'), { 'Content-Length': String(vqBody('c').length + 3) }))
    t.same(await client.answers(1), ['200'])
  })
  t.test('a body that is too large: 413, and no more', async (t) => {
    const client = TcpClient.open(t, port('sipTcp'))
    client.socket.write(publish('x'.repeat(100), { 'Content-Length': '1000000' }))
    t.same(await client.answers(1), ['413'])
    await until('it is closed', () => client.closed)
  })
  t.test('no SIP: closed', async (t) => {
    const client = TcpClient.open(t, port('sipTcp'))
    client.socket.write('GET / HTTP/1.1\r\n\r\n')
    await until('it is closed', () => client.closed)
    t.equal(client.text, '')
  })
  t.test("half of the connections at most are one address's", async (t) => {
    await until('the others are gone', () => counted.counts.connections === 0)
    const clients = [1, 2].map(() => TcpClient.open(t, port('sipTcp')))
    await until('two', () => counted.counts.connections === 2)
    const third = TcpClient.open(t, port('sipTcp'))
    await until('the third is closed', () => third.closed)
    t.equal(counted.counts.refused['connections'], 1)
    clients[0].socket.write(options())
    t.same(await clients[0].answers(1), ['200'])
  })
  t.equal(Object.keys(listener.addresses).join(), 'sipTcp')
})

t.test('TCP: who comes too fast waits, and loses nothing', async (t) => {
  const { port, counted } = await listening(t, { tcp: '127.0.0.1:0', ratePerSecond: 20 })
  const client = TcpClient.open(t, port('sipTcp'))
  client.socket.write(Buffer.concat(Array.from({ length: 40 }, () => options())))
  t.same((await client.answers(40)).length, 40)
  t.ok((counted.counts.refused['rate'] ?? 0) > 0)
})

t.test('TCP: silence', async (t) => {
  const { port, counted } = await listening(t, { tcp: '127.0.0.1:0', idleMs: 1000 })
  const client = TcpClient.open(t, port('sipTcp'))
  client.socket.write('PUBLISH sip:c SIP/2.0\r\nVia: ')
  await until('it is closed', () => client.closed)
  t.equal(counted.counts.refused['idle'], 1)
})

t.test('TCP: who may not send is closed at once', async (t) => {
  const { port, counted } = await listening(t, { tcp: '127.0.0.1:0', allow: ['192.0.2.0/24'] })
  const client = TcpClient.open(t, port('sipTcp'))
  await until('it is closed', () => client.closed)
  t.equal(counted.counts.refused['unauthorised'], 1)
})

t.test('TLS', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'minim-sip-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const made = spawnSync('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-subj',
    '/CN=localhost',
    '-days',
    '2',
    '-keyout',
    key,
    '-out',
    cert,
  ])
  if (made.status !== 0) {
    t.comment('LEFT OUT: openssl is not there')
    return
  }
  const { port, inlet } = await listening(t, { tlsListen: '127.0.0.1:0', tls: { cert, key, clientCa: null } })
  const socket = connectTls({ port: port('sipTls'), host: '127.0.0.1', rejectUnauthorized: false })
  const client = new TcpClient(t, socket)
  socket.write(publish())
  t.same(await client.answers(1), ['200'])
  t.equal(inlet.entries.length, 1)
  const plain = TcpClient.open(t, port('sipTls'))
  plain.socket.write(options())
  await until('one without TLS is closed', () => plain.closed)

  const asked = await listening(t, { tlsListen: '127.0.0.1:0', tls: { cert, key, clientCa: cert } })
  const stranger = new TcpClient(
    t,
    connectTls({ port: asked.port('sipTls'), host: '127.0.0.1', rejectUnauthorized: false }),
  )
  stranger.socket.write(options())
  await until('one without a certificate is closed', () => stranger.closed)
  t.equal(stranger.text, '')
  writeFileSync(cert, 'no certificate')
})

t.test('addresses that cannot be listened on', async (t) => {
  const taken = createServer()
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    taken.close()
  })
  const { port } = taken.address() as { port: number }
  const { service, counted } = rig()
  const listener = new SipListener({
    settings: { ...SETTINGS, udp: '127.0.0.1:0', tcp: `127.0.0.1:${port}` },
    service,
    counters: counted,
    onBroken: () => undefined,
  })
  await t.rejects(listener.start(), { code: 'MINIM_SIP_LISTEN', details: { setting: 'sip.tcp', what: 'EADDRINUSE' } })
})
