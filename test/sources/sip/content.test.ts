/** What SIP says that no record has a field for: left, and counted by its kind. */
import t from 'tap'
import { readSip } from '../../../src/formats/sip/message.js'
import { rig } from './rig.js'

const request = (method: string, headers: readonly string[], body = ''): Buffer =>
  Buffer.from(
    [
      `${method} sip:1001@pbx.example SIP/2.0`,
      'Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1',
      'Call-ID: a84b4c76@192.0.2.7',
      `CSeq: 1 ${method}`,
      ...headers,
      `Content-Length: ${body.length}`,
      '',
      body,
    ].join('\r\n'),
  )
const plain = ['From: <sip:1002@pbx.example>;tag=1', 'To: <sip:1001@pbx.example>']

t.test('content that is left is counted', async (t) => {
  for (const [name, bytes, left] of [
    ['the text of a message', request('MESSAGE', [...plain, 'Content-Type: text/plain'], 'come home'), { message: 1 }],
    ['keys', request('INFO', [...plain, 'Content-Type: application/dtmf-relay'], 'Signal=7\r\n'), { dtmf: 1 }],
    ['a voice message', request('NOTIFY', [...plain, 'Event: message-summary']), { voicemail: 1 }],
    ['a name', request('REGISTER', ['From: "Ann \\"O\\" Example" <sip:1002@x>;tag=1', plain[1]]), { name: 1 }],
    ['a name without quotes', request('OPTIONS', [plain[0], 't: Ann Example <sip:1001@x>']), { name: 1 }],
    ['no name', request('OPTIONS', plain), {}],
    ['no name, in another form', request('OPTIONS', ['From: sip:1002@x;tag=1', 'To: "" <sip:1001@x>']), {}],
    ['a message without a text', request('MESSAGE', plain), {}],
  ] as const) {
    const { service, counted } = rig()
    const message = readSip(bytes)
    if (message === null) throw new Error(name)
    await service.handle(message, '192.0.2.7')
    t.same(counted.counts.left, left, name)
  }
})
