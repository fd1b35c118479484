/** Calls through a B2BUA, captured on both sides: one each where the legs can be told, and never one of two. */
import t from 'tap'
import { type Packet, request, response, SDP } from './frames.js'
import { type Reading, reading, START_MS } from './reader.js'

const PHONE = '192.0.2.10:5060'
const PBX = '192.0.2.7:5060'
const TRUNK = '198.51.100.20:5060'

interface Leg {
  readonly callId: string
  readonly from?: string
  readonly to?: string
  readonly source?: string
  readonly destination?: string
  readonly headers?: readonly string[]
  readonly packet?: Partial<Packet>
}

/** A leg's packets, to be sent one by one. */
class LegOf {
  readonly #r: Reading
  readonly #leg: Leg

  constructor(r: Reading, leg: Leg) {
    this.#r = r
    this.#leg = leg
  }

  #send(payload: string, back: boolean): void {
    const { source = PHONE, destination = PBX, packet = {} } = this.#leg
    this.#r.send({ ...packet, payload, from: back ? destination : source, to: back ? source : destination })
  }

  #of(over: object = {}): Parameters<typeof request>[0] {
    const { callId, from, to } = this.#leg
    return { callId, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }), ...over }
  }

  invite(): this {
    this.#send(request(this.#of({ headers: this.#leg.headers ?? [], body: SDP })), false)
    return this
  }

  answer(status = 200): this {
    const sdp = status === 200 ? { headers: ['Content-Type: application/sdp'], body: SDP } : {}
    this.#send(response(status, this.#of(sdp)), true)
    return this
  }

  bye(headers: readonly string[] = []): this {
    this.#send(request(this.#of({ cseq: 2, method: 'BYE', toTag: 'b2', headers })), false)
    return this
  }
}

const leg = (r: Reading, of: Leg): LegOf => new LegOf(r, of)
const inbound = (callId: string, over: Partial<Leg> = {}): Leg => ({ callId, ...over })
const outbound = (callId: string, over: Partial<Leg> = {}): Leg => ({
  callId,
  source: PBX,
  destination: TRUNK,
  from: 'sip:1001@192.0.2.7',
  to: 'sip:07700900123@trunk.example',
  ...over,
})

/** Both legs, from the first INVITE to the last BYE. */
function through(r: Reading, a: Leg, b: Leg): void {
  const [first, second] = [leg(r, a), leg(r, b)]
  first.invite()
  second.invite().answer(180)
  r.pass(3000)
  second.answer()
  first.answer()
  r.pass(60_000)
  first.bye()
  second.bye()
  r.pass(5000)
}

t.test('two legs of one call, by their likeness', async (t) => {
  const r = reading()
  through(r, inbound('a-1'), outbound('b-1'))
  t.match(await r.of('call'), [
    {
      call_id: 'a-1',
      calling: 'sip:1001@pbx.example',
      called: 'sip:+447700900123@pbx.example',
      start_ms: START_MS + 1,
      disposition: 'ANSWERED',
      hangup_cause: 16,
      source_ip: '192.0.2.10',
      destination_ip: '198.51.100.20',
      codec: 'opus',
    },
  ])
  t.equal((await r.of('call')).length, 1)
  t.same(r.refused, { repeated: 1 }, 'the other leg is counted')
  t.equal(r.reader.followed, 0)
})

t.test('what makes two legs one call', async (t) => {
  const stranger = { from: 'sip:+442079460001@192.0.2.7', to: 'sip:4711@trunk.example' }
  const session = 'ab30317f1a784dc48ff824d0d3715d86'
  const rows: readonly {
    readonly name: string
    readonly a?: Partial<Leg>
    readonly b?: Partial<Leg>
    readonly calls: number
  }[] = [
    { name: 'the same parties', calls: 1 },
    { name: 'another called number', b: { to: 'sip:+447700900124@trunk.example' }, calls: 2 },
    { name: 'another caller', b: { from: 'sip:1002@192.0.2.7' }, calls: 2 },
    { name: 'an extension that ends like the number', b: { to: 'sip:0123@trunk.example' }, calls: 2 },
    { name: 'the international prefix', b: { to: 'sip:00447700900123@trunk.example;user=phone' }, calls: 1 },
    { name: 'tel:', b: { to: 'tel:+44-7700-900-123' }, calls: 1 },
    {
      name: "baresip's contact",
      a: { to: 'sip:1003@pbx.example' },
      b: { to: 'sip:1003-0x55d0c1f2a3b0@192.0.2.20' },
      calls: 1,
    },
    { name: 'a port of its own on each side', b: { source: '192.0.2.7:5080' }, calls: 1 },
    { name: 'another host', b: { source: '192.0.2.8:5060' }, calls: 2 },
    {
      name: 'all on one host, told by the port',
      a: { source: '127.0.0.1:5062', destination: '127.0.0.1:5060' },
      b: { source: '127.0.0.1:5060', destination: '127.0.0.1:5064' },
      calls: 1,
    },
    {
      name: 'all on one host, another port',
      a: { source: '127.0.0.1:5062', destination: '127.0.0.1:5060' },
      b: { source: '127.0.0.1:5066', destination: '127.0.0.1:5064' },
      calls: 2,
    },
    { name: 'another capture agent', b: { packet: { captureId: 9 } }, calls: 2 },
    {
      name: 'Session-ID',
      a: { headers: [`Session-ID: ${session};remote=00000000000000000000000000000000`] },
      b: {
        ...stranger,
        source: '203.0.113.7:5060',
        headers: [`Session-ID: ${session.toUpperCase()}`],
        packet: { captureId: 9 },
      },
      calls: 1,
    },
    {
      name: 'a Session-ID that is none yet',
      a: { headers: [`Session-ID: ${'0'.repeat(32)};remote=${session}`] },
      b: { ...stranger, headers: [`Session-ID: ${'0'.repeat(32)};remote=${session}`] },
      calls: 2,
    },
    {
      name: 'X-CID names the first leg',
      a: { callId: 'a-leg@192.0.2.10' },
      b: { ...stranger, headers: ['X-CID: a-leg@192.0.2.10'] },
      calls: 1,
    },
    {
      name: 'both have a third name',
      a: { headers: ['X-CID: 4d2f7e01-conf'] },
      b: { ...stranger, headers: ['X-CID: 4d2f7e01-conf'] },
      calls: 1,
    },
    {
      name: 'the charging id',
      a: { headers: ['P-Charging-Vector: icid-value="1234bc9876e";orig-ioi=home1.example'] },
      b: { ...stranger, headers: ['P-Charging-Vector: icid-value=1234bc9876e'] },
      calls: 1,
    },
    {
      name: 'the correlation chunk names the first leg',
      a: { callId: 'a-leg@192.0.2.10' },
      b: { ...stranger, packet: { correlation: 'a-leg@192.0.2.10' } },
      calls: 1,
    },
    {
      name: 'the correlation chunk is the same',
      a: { packet: { correlation: 'e6a0f1c2-0001' } },
      b: { ...stranger, packet: { correlation: 'e6a0f1c2-0001' } },
      calls: 1,
    },
    {
      name: 'a correlation chunk for each channel',
      a: { packet: { correlation: 'PJSIP/1001-0000001a' } },
      b: { ...stranger, packet: { correlation: 'PJSIP/trunk-0000001b' } },
      calls: 2,
    },
    {
      name: 'the correlation chunk is a number that counts',
      a: { packet: { correlation: '1' } },
      b: { ...stranger, packet: { correlation: '1' } },
      calls: 2,
    },
  ]
  for (const { name, a, b, calls } of rows) {
    const r = reading()
    through(r, { callId: 'a-1', ...a }, outbound('b-1', b))
    t.equal((await r.of('call')).length, calls, name)
    t.equal((await r.of('call'))[0]['calling'], 'sip:1001@pbx.example', `${name}: the first leg's parties`)
  }
})

t.test('off, for all or for a capture agent', async (t) => {
  const off = reading({ node: { tenant: 'default', calls: true, joinLegs: false } })
  through(off, inbound('a-1'), outbound('b-1'))
  t.equal((await off.of('call')).length, 2)
  const one = reading({ nodes: new Map([[7, { tenant: 'default', calls: true, joinLegs: false }]]) })
  through(one, inbound('a-1'), outbound('b-1'))
  through(one, inbound('a-2', { packet: { captureId: 8 } }), outbound('b-2', { packet: { captureId: 8 } }))
  t.equal((await one.of('call')).length, 3)
})

t.test('one side only', async (t) => {
  const r = reading({ skipCallsFrom: ['192.0.2.7'] })
  through(r, inbound('a-1'), outbound('b-1', { to: 'sip:4711@trunk.example' }))
  t.match(await r.of('call'), [{ call_id: 'a-1' }])
  t.equal((await r.of('call')).length, 1)
  t.same(r.refused, { unused: 1 })
})

t.test('never two real calls', async (t) => {
  t.test('that follow each other', async (t) => {
    const r = reading()
    for (let n = 0; n < 3; n++) through(r, inbound(`a-${n}`), outbound(`b-${n}`))
    t.strictSame(
      (await r.of('call')).map((call) => call['call_id']),
      ['a-0', 'a-1', 'a-2'],
    )
  })
  t.test('of which the PBX begins one when the other is over', async (t) => {
    const r = reading()
    leg(r, inbound('a-1')).invite().answer().bye()
    r.pass(1000)
    leg(r, outbound('b-1')).invite().answer().bye()
    t.equal((await r.of('call')).length, 2)
  })
  t.test('beside each other, by phones of the same number', async (t) => {
    const r = reading()
    // Not through the PBX: each from a phone to the trunk.
    const legs = [1, 2].map((n) => leg(r, inbound(`a-${n}`, { source: `192.0.2.1${n}:5060`, destination: TRUNK })))
    for (const one of legs) one.invite()
    for (const one of legs) one.answer()
    for (const one of legs) one.bye()
    t.equal((await r.of('call')).length, 2)
  })
  t.test('beside each other, one after the other through the PBX: each has its leg', async (t) => {
    const r = reading()
    const legs = [1, 2].flatMap((n) => [leg(r, inbound(`a-${n}`)).invite(), leg(r, outbound(`b-${n}`)).invite()])
    for (const one of legs) one.answer()
    for (const one of legs) one.bye()
    t.strictSame(
      (await r.of('call')).map((call) => call['call_id']),
      ['a-1', 'a-2'],
    )
  })
  t.test('whose legs cannot be told apart: all four are written', async (t) => {
    const r = reading()
    const legs = [inbound('a-1'), inbound('a-2'), outbound('b-1'), outbound('b-2')].map((of) => leg(r, of).invite())
    for (const one of legs) one.answer()
    for (const one of legs) one.bye()
    t.equal((await r.of('call')).length, 4)
  })
  t.test('of two tenants', async (t) => {
    const r = reading({ nodes: new Map([[9, { tenant: 'acme', calls: true, joinLegs: true }]]) })
    const name = { headers: ['X-CID: 4d2f7e01-conf'] }
    through(r, inbound('a-1', name), outbound('b-1', { ...name, packet: { captureId: 9 } }))
    t.equal((await r.of('call')).length, 2)
  })
})

t.test('legs that fail, and others after them', async (t) => {
  const r = reading()
  const first = leg(r, inbound('a-1')).invite()
  leg(r, outbound('b-1')).invite().answer(503)
  r.pass(4000)
  const second = leg(r, outbound('b-2', { destination: '203.0.113.9:5060' }))
    .invite()
    .answer()
  first.answer()
  r.pass(10_000)
  second.bye()
  first.bye()
  t.match(await r.of('call'), [
    { call_id: 'a-1', disposition: 'ANSWERED', destination_ip: '203.0.113.9', hangup_cause: 16 },
  ])
  t.equal((await r.of('call')).length, 1)
  const busy = reading()
  const a = leg(busy, inbound('a-1')).invite()
  leg(busy, outbound('b-1')).invite().answer(486)
  a.answer(486)
  busy.pass(5000)
  t.match(await busy.of('call'), [{ call_id: 'a-1', disposition: 'BUSY', hangup_cause: 17 }])
  t.equal((await busy.of('call')).length, 1)
})

t.test('two B2BUAs on the way', async (t) => {
  const r = reading()
  const legs = [
    leg(r, inbound('a-1')).invite(),
    leg(r, outbound('b-1', { destination: '192.0.2.8:5060' })).invite(),
    leg(r, outbound('c-1', { source: '192.0.2.8:5060' })).invite(),
  ]
  for (const one of [...legs].reverse()) one.answer()
  for (const one of legs) one.bye()
  t.match(await r.of('call'), [{ call_id: 'a-1', source_ip: '192.0.2.10', destination_ip: '198.51.100.20' }])
  t.equal((await r.of('call')).length, 1)
})

t.test('two B2BUAs on the way of two calls beside each other', async (t) => {
  const r = reading()
  const legs = [1, 2].flatMap((n) => [
    leg(r, inbound(`a-${n}`)).invite(),
    leg(r, outbound(`b-${n}`, { destination: '192.0.2.8:5060' })).invite(),
    leg(r, outbound(`c-${n}`, { source: '192.0.2.8:5060' })).invite(),
  ])
  for (const one of legs) one.answer()
  for (const one of legs) one.bye()
  t.strictSame(
    (await r.of('call')).map((call) => call['call_id']),
    ['a-1', 'a-2'],
  )
})

t.test("a further leg's figures are its call's", async (t) => {
  const r = reading()
  const [a, b] = [leg(r, inbound('a-1')).invite(), leg(r, outbound('b-1')).invite()]
  for (const one of [b, a]) one.answer()
  r.send({
    kind: 5,
    payload: JSON.stringify({ ssrc: 1, report_blocks: [{ fraction_lost: 0, packets_lost: 3, ia_jitter: 80 }] }),
    from: '198.51.100.20:4000',
    to: '192.0.2.7:4002',
    correlation: 'b-1',
  })
  const statistics = ['X-RTP-Stat: PS=10;PR=10;PL=0;JI=1;EN=PCMA']
  b.bye(statistics)
  a.bye(statistics)
  r.pass(40_000)
  t.strictSame(
    (await r.of('quality')).map((quality) => quality['call_id']),
    ['a-1', 'a-1', 'a-1'],
  )
})

t.test('a table that is full loses calls, not their legs', async (t) => {
  const r = reading({ maxCalls: 16 })
  const [a, b] = [leg(r, inbound('a-1')).invite(), leg(r, outbound('b-1')).invite()]
  b.answer()
  // The first leg is not answered, so it makes room.
  for (let n = 0; n < 16; n++)
    leg(r, inbound(`x-${n}`, { from: `sip:20${n + 10}@pbx.example` }))
      .invite()
      .answer()
  b.bye()
  a.bye()
  t.ok((await r.of('call')).length <= 1)
  t.ok(r.reader.followed <= 16)
})
