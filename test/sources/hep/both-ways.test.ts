/** A proxy that is captured (HEP) and hands on, or copies, to the SIP listener: what comes by both ways is taken once. */
import t from 'tap'
import { readSip, type SipMessage } from '../../../src/formats/sip/message.js'
import { common, publish, register, sip, vqBody } from '../sip/messages.js'
import { rig } from '../sip/rig.js'
import { reading } from './reader.js'

const read = (bytes: Buffer): SipMessage => {
  const message = readSip(bytes)
  if (message === null) throw new Error('no SIP')
  return message
}

/** What a proxy may do to a message on its way. */
const relayed = (bytes: Buffer): Buffer =>
  Buffer.from(
    bytes
      .toString('latin1')
      .replace(
        /^Via: /m,
        'Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKproxy\r\nRecord-Route: <sip:198.51.100.7;lr>\r\nVia: ',
      )
      .replace(/^Max-Forwards: 70/m, 'Max-Forwards: 69')
      .replace(/^Contact: <sip:([^@]+)@[^;>]+/m, 'Contact: <sip:$1@203.0.113.50:31337'),
    'latin1',
  )

interface Both {
  hep(bytes: Buffer): void
  sip(bytes: Buffer): Promise<unknown>
  /** Records of a kind, once captures have waited for their answers long enough. */
  count(kind: 'device' | 'quality'): Promise<number>
}

function both(tenants: { readonly hep?: string; readonly sip?: string } = {}): Both {
  const { service, inlet } = rig({ tenant: tenants.sip ?? 'default' })
  const r = reading({ inlet, node: { tenant: tenants.hep ?? 'default', calls: true, joinLegs: true } })
  return {
    hep: (payload) => void r.send({ payload }),
    sip: (bytes) => service.handle(read(bytes), '198.51.100.7'),
    count: async (kind) => {
      r.pass(11_000)
      await new Promise((resolve) => setTimeout(resolve, 15))
      return inlet.records().filter((record) => record.kind === kind).length
    },
  }
}

t.test('a registration', async (t) => {
  for (const first of ['hep', 'sip'] as const) {
    const b = both()
    const again = { 'Call-ID': 'one@192.0.2.14', From: '<sip:1004@pbx.example>;tag=x' }
    const messages = [
      register(again),
      // The next of the same phone, and one of a phone that has started anew and counts from the same number.
      register({ ...again, CSeq: '9000 REGISTER' }),
      register({ ...again, CSeq: '9000 REGISTER', From: '<sip:1004@pbx.example>;tag=y' }),
      // A second line of the phone.
      register({ ...again, CSeq: '9000 REGISTER', To: '<sip:1005@pbx.example>' }),
    ]
    for (const bytes of messages) {
      if (first === 'hep') {
        b.hep(bytes)
        t.equal(typeof (await b.count('device')), 'number')
      }
      t.match(await b.sip(relayed(bytes)), { status: 200 })
      await b.sip(bytes)
      b.hep(relayed(bytes))
      b.hep(bytes)
    }
    // The captures know a registration by Call-ID and CSeq alone.
    t.equal(await b.count('device'), 4, `first by ${first}`)
  }
})

t.test('a quality report, whatever brings it', async (t) => {
  for (const first of ['hep', 'sip'] as const) {
    const b = both()
    // A proxy that ends lines in its own way, and a capture agent that takes the body out.
    const body = vqBody('call-1@192.0.2.14')
    const [whole, next, other] = [
      publish(body),
      publish(vqBody('call-2@192.0.2.14')),
      publish(body.replace(/T10:02:17Z/g, 'T10:03:17Z')),
    ]
    const lf = sip(['PUBLISH sip:c SIP/2.0', ...common('PUBLISH', { Event: 'vq-rtcpxr' })], body.replace(/\r\n/g, '\n'))
    if (first === 'hep') {
      b.hep(whole)
      await b.count('quality')
    }
    t.match(await b.sip(relayed(whole)), { status: 200 })
    const each = await b.count('quality')
    t.ok(each > 0)
    b.hep(whole)
    b.hep(relayed(lf))
    t.match(await b.sip(lf), { status: 200 })
    t.equal(await b.count('quality'), each, `first by ${first}`)
    t.match(await b.sip(next), { status: 200 })
    b.hep(other)
    t.equal(await b.count('quality'), 3 * each, 'another call and another time are other reports')
  }
})

t.test('two tenants that tell of the same are two', async (t) => {
  const b = both({ hep: 'acme', sip: 'globex' })
  const bytes = register()
  b.hep(bytes)
  await b.sip(bytes)
  t.equal(await b.count('device'), 2)
})
