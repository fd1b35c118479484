import type { Logger } from 'sip.js/lib/core/log/logger.js'
import { Parser } from 'sip.js/lib/core/messages/parser.js'
import t from 'tap'
import { addressesOf, addressOf, ipOf, paramsOf, uriOf } from '../../../src/formats/sip/address.js'
import { peekSip, readSip, SIP_LIMITS } from '../../../src/formats/sip/message.js'
import { given } from '../../helpers/given.js'
import { common, publish, register, sip, vqBody } from '../../sources/sip/messages.js'

const quiet = {
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
  log: () => undefined,
} as unknown as Logger
const lines = (text: string): Buffer => Buffer.from(text)

t.test('a glance tells method or status, CSeq and Call-ID', async (t) => {
  const rows: readonly (readonly [name: string, bytes: Buffer, expected: object | null])[] = [
    [
      'a request',
      register({ 'Call-ID': 'a@b', CSeq: '4711 REGISTER' }),
      { method: 'REGISTER', status: 0, cseq: 4711, cseqMethod: 'REGISTER', callId: 'a@b' },
    ],
    [
      'a response',
      sip(['SIP/2.0 487 Request Terminated', ...common('INVITE', { 'Call-ID': 'a@b', CSeq: '1 INVITE' })]),
      { method: null, status: 487, cseq: 1, cseqMethod: 'INVITE', callId: 'a@b' },
    ],
    [
      'no reason phrase',
      sip(['SIP/2.0 200', ...common('BYE', { 'Call-ID': 'x', CSeq: '2 BYE' })]),
      { method: null, status: 200, callId: 'x' },
    ],
    [
      'compact, LF only, spaces, lower case',
      lines('BYE sip:a@b SIP/2.0\ni :  q@r \ncseq:\t7   BYE\n\n'),
      { method: 'BYE', cseq: 7, cseqMethod: 'BYE', callId: 'q@r' },
    ],
    [
      'folded',
      lines('BYE sip:a@b SIP/2.0\r\nCall-ID:\r\n  folded@id\r\nCSeq: 7\r\n\tBYE\r\n\r\n'),
      { cseq: 7, cseqMethod: 'BYE', callId: 'folded@id' },
    ],
    [
      'empty lines before it',
      lines('\r\n\r\nBYE sip:a@b SIP/2.0\r\nCall-ID: x\r\n\r\n'),
      { method: 'BYE', callId: 'x' },
    ],
    ['a method that nobody knows', lines('XYZZY sip:a@b SIP/2.0\r\nCall-ID: x\r\n\r\n'), { method: 'OTHER' }],
    [
      'headers of like names',
      lines('BYE sip:a@b SIP/2.0\r\nCall-Info: no\r\nIn-Reply-To: no\r\nCall-ID: x\r\n\r\n'),
      { callId: 'x' },
    ],
    ['what the body says is no header', lines('BYE sip:a@b SIP/2.0\r\n\r\nCall-ID: x\r\n'), null],
    ['no Call-ID', lines('BYE sip:a@b SIP/2.0\r\nCSeq: 1 BYE\r\n\r\n'), null],
    ['HTTP', lines('GET / HTTP/1.1\r\nCall-ID: x\r\n\r\n'), null],
    ['a status that is none', lines('SIP/2.0 999 No\r\nCall-ID: x\r\n\r\n'), null],
    ['nothing', Buffer.alloc(0), null],
    ['STUN', Buffer.from('000100002112a442', 'hex'), null],
    ['NULs', Buffer.alloc(200), null],
  ]
  for (const [name, bytes, expected] of rows) {
    if (expected === null) t.equal(peekSip(bytes), null, name)
    else t.match(peekSip(bytes), expected, name)
  }
})

t.test('what phones send', async (t) => {
  t.test('LF alone', async (t) => {
    const message = readSip(Buffer.from(publish().toString('latin1').replace(/\r\n/g, '\n'), 'latin1'))
    t.equal(message?.header('event'), 'vq-rtcpxr')
    t.equal(Buffer.from(message?.body ?? '').toString(), vqBody().replace(/\r\n/g, '\n'))
  })
  t.test('compact forms, event too', async (t) => {
    const message = readSip(
      lines(
        'PUBLISH sip:a SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.1;branch=z\r\nf: <sip:a@b>\r\nt: <sip:c@d>\r\n' +
          'i: id\r\nm: <sip:a@192.0.2.1>\r\no: vq-rtcpxr\r\nc: text/plain\r\nl:   3\r\n\r\nabc',
      ),
    )
    t.same(
      ['via', 'from', 'to', 'call-id', 'contact', 'event', 'content-type'].map((name) =>
        message?.header(name as 'via'),
      ),
      [
        'SIP/2.0/UDP 192.0.2.1;branch=z',
        '<sip:a@b>',
        '<sip:c@d>',
        'id',
        '<sip:a@192.0.2.1>',
        'vq-rtcpxr',
        'text/plain',
      ],
    )
    t.equal(message?.contentLength, 3)
  })
  t.test('a bad header loses itself only', async (t) => {
    const message = readSip(register({ Contact: '<<<>>>', CSeq: 'soon' }))
    t.equal(message?.cseq, null)
    t.equal(message?.header('user-agent'), 'Yealink SIP-T46S 66.85.0.5')
  })
  t.test('raw UTF-8, and what is none', async (t) => {
    t.equal(readSip(register({ From: '"Zoë Ω" <sip:a@b>;tag=1' }))?.header('from'), '"Zoë Ω" <sip:a@b>;tag=1')
    t.match(
      readSip(
        Buffer.concat([lines('BYE sip:a SIP/2.0\r\nFrom: "'), Buffer.from([0xff, 0xfe]), lines('" <sip:a@b>\r\n\r\n')]),
      )?.header('from'),
      /<sip:a@b>$/,
    )
  })
  t.test('NULs and controls', async (t) => {
    const message = readSip(lines('BYE sip:a SIP/2.0\r\nFrom: "a\0b\x01" <sip:a@b>\r\nCall-ID: x\0\0\r\n\r\n\0\0\0'))
    t.equal(message?.header('from'), '"a b " <sip:a@b>')
    t.equal(message?.callId, 'x')
  })
  t.test('no empty line: what there is of it', async (t) => {
    const message = readSip(lines('BYE sip:a SIP/2.0\r\nCall-ID: x'))
    t.equal(message?.callId, 'x')
    t.equal(message?.body.length, 0)
  })
  t.test('a body that is miscounted', async (t) => {
    const message = readSip(sip(['PUBLISH sip:a SIP/2.0', 'Call-ID: x', 'Content-Length:   430'], 'abc'))
    t.equal(message?.contentLength, 430)
    t.equal(Buffer.from(message?.body ?? '').toString(), 'abc')
  })
  t.test('several of a name, in order', async (t) => {
    t.same(readSip(lines('BYE sip:a SIP/2.0\r\nVia: one\r\nX: y\r\nv: two\r\n\r\n'))?.headers('via'), ['one', 'two'])
  })
})

t.test('limits', async (t) => {
  const many = (count: number): Buffer =>
    sip(['BYE sip:a SIP/2.0', 'Call-ID: x', ...Array.from({ length: count }, (_, i) => `X-${i}: y`)])
  t.not(readSip(many(SIP_LIMITS.headers - 2)), null)
  t.equal(readSip(many(SIP_LIMITS.headers + 1)), null, 'headers')
  t.equal(readSip(many(10_000)), null, 'ten thousand')
  t.equal(readSip(sip(['BYE sip:a SIP/2.0', `Call-ID: ${'x'.repeat(SIP_LIMITS.headerBytes)}`])), null, 'a header')
  t.equal(readSip(sip(['BYE sip:a SIP/2.0', `Subject: a${'\r\n b'.repeat(SIP_LIMITS.headerBytes)}`])), null, 'folds')
  t.equal(readSip(sip([`BYE sip:${'a'.repeat(SIP_LIMITS.headerBytes)} SIP/2.0`])), null, 'the first line')
  t.equal(readSip(sip(['BYE sip:a SIP/2.0'], Buffer.alloc(SIP_LIMITS.bytes))), null, 'all of it')
  t.equal(addressesOf('<sip:a@b>,'.repeat(1000)).length, 16)
  t.equal(
    Object.keys(paramsOf(';a'.repeat(10) + Array.from({ length: 100 }, (_, i) => `;p${i}=1`).join(''))).length <= 32,
    true,
  )
})

t.test('addresses', async (t) => {
  const rows: readonly (readonly [string, object | null])[] = [
    ['<sip:a@b>', { uri: 'sip:a@b', params: {} }],
    [
      '"a \\"quoted\\", <name>" <sip:a@b;user=phone>;tag=1;x',
      { uri: 'sip:a@b;user=phone', params: { tag: '1', x: '' } },
    ],
    ['Bob <sip:a@b>; TAG = q', { uri: 'sip:a@b', params: { tag: 'q' } }],
    ['sip:a@b;tag=1', { uri: 'sip:a@b', params: { tag: '1' } }],
    ['"never closed <sip:a@b>', { uri: 'sip:a@b', params: {} }],
    ['<sip:a@b', null],
    ['', null],
    ['<>', null],
    ['*', { uri: '*', params: {} }],
    [
      '<sip:a@b>;+sip.instance="<urn:uuid:x;y>";q=1',
      { uri: 'sip:a@b', params: { '+sip.instance': '<urn:uuid:x;y>', q: '1' } },
    ],
  ]
  for (const [text, expected] of rows) t.same(addressOf(text), expected, text)
  t.same(
    addressesOf('"x, y" <sip:a@b;c=1,2>;q=1, <sip:d@e>').map((a) => a.uri),
    ['sip:a@b;c=1,2', 'sip:d@e'],
  )
})

t.test('URIs', async (t) => {
  const rows: readonly (readonly [string, object | null])[] = [
    ['sip:1004@192.0.2.14:5062;line=x', { user: '1004', host: '192.0.2.14', port: 5062 }],
    ['SIPS:+447700900123@PBX.Example', { user: '+447700900123', host: 'pbx.example', port: null }],
    ['sip:192.0.2.14', { user: '', host: '192.0.2.14', port: null }],
    ['sip:1004@[2001:db8::1]:5060', { user: '1004', host: '2001:db8::1', port: 5060 }],
    ['sip:a%20b:secret@pbx.example', { user: 'a b', host: 'pbx.example', port: null }],
    ['tel:+447700900123', null],
    ['sip:', null],
    ['sip:<script>@x', null],
    ['', null],
  ]
  for (const [text, expected] of rows) {
    const found = uriOf(text)
    t.same(found === null ? null : { ...found, user: decodeURIComponent(found.user) }, expected, text)
  }
  t.equal(ipOf('[2001:db8::1]'), '2001:db8::1')
  t.equal(ipOf('pbx.example'), null)
})

t.test('sip.js reads the same', async (t) => {
  for (const [name, bytes] of [
    ['PUBLISH', publish()],
    ['REGISTER', register()],
    ['a response', sip(['SIP/2.0 200 OK', ...common('INVITE')])],
  ] as const) {
    const own = given(readSip(bytes))
    const peer = given(Parser.parseMessage(bytes.toString('latin1'), quiet))
    t.equal(own.callId, peer.callId, name)
    t.equal(own.cseq?.number, peer.cseq)
    t.equal(addressOf(given(own.header('from')))?.uri, peer.from.uri.toString())
    t.equal(addressOf(given(own.header('from')))?.params['tag'], peer.fromTag)
    t.equal(paramsOf(given(own.header('via')))['branch'], peer.viaBranch)
    t.equal(Buffer.from(own.body).toString('latin1'), peer.body)
    for (const header of ['contact', 'user-agent', 'event', 'expires', 'content-type'] as const)
      t.equal(own.header(header) ?? undefined, peer.getHeader(header), `${name} ${header}`)
    if (own.method !== null) t.equal(own.method, (peer as unknown as { method: string }).method)
  }
})
