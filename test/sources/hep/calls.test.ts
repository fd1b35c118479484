/** Calls out of captured SIP: one each, whatever the capture has of it. */
import t from 'tap'
import { codecOf } from '../../../src/sources/hep/sdp.js'
import { request, response, SDP } from './frames.js'
import { type Reading, reading, START_MS } from './reader.js'

const PHONE = '192.0.2.10:5060'
const PROXY = '192.0.2.1:5060'
const FAR = '198.51.100.20:5060'
const OTHER = '198.51.100.30:5060'

const invite = (callId: string, over: object = {}): string =>
  request({ callId, headers: ['User-Agent: Yealink SIP-T46S 66.85.0.5'], body: SDP, ...over })
const ok = (callId: string, over: object = {}): string =>
  response(200, { callId, headers: ['Content-Type: application/sdp'], body: SDP.replace('101 96 8', '8 101'), ...over })
const bye = (callId: string, over: object = {}): string =>
  request({ callId, cseq: 2, method: 'BYE', toTag: 'b2', ...over })

/** Sends a message over both hops of the proxy. */
function relayed(r: Reading, payload: string, from = PHONE, to = FAR): void {
  r.send({ payload, from, to: PROXY })
  r.send({ payload, from: PROXY, to })
}

t.test('an answered call through a proxy', async (t) => {
  const r = reading()
  relayed(r, invite('c1'))
  r.send({ payload: response(100, { callId: 'c1' }), from: PROXY, to: PHONE })
  relayed(r, response(180, { callId: 'c1' }), FAR, PHONE)
  r.pass(4000)
  relayed(r, ok('c1'), FAR, PHONE)
  relayed(r, request({ callId: 'c1', method: 'ACK', toTag: 'b2' }))
  r.pass(60_000)
  relayed(r, bye('c1'))
  relayed(r, response(200, { callId: 'c1', cseq: 2, method: 'BYE' }), FAR, PHONE)
  t.strictSame(await r.of('call'), [
    {
      call_id: 'c1',
      calling: 'sip:1001@pbx.example',
      called: 'sip:+447700900123@pbx.example',
      start_ms: START_MS + 1,
      answer_ms: START_MS + 4006,
      end_ms: START_MS + 64_010,
      duration_seconds: 64,
      billable_seconds: 60,
      disposition: 'ANSWERED',
      hangup_cause: 16,
      source_ip: '192.0.2.10',
      destination_ip: '198.51.100.20',
      codec: 'PCMA',
      user_agent: 'Yealink SIP-T46S 66.85.0.5',
      origin: 'SIGNALLING',
    },
  ])
  t.strictSame(r.refused, {}, 'all its packets belong to it')
  t.equal(r.received, 13)
  t.equal(r.inlet.entries[0].id, 'c1')
  t.equal(r.reader.followed, 0)
})

t.test('copies make no second call', async (t) => {
  const all = (r: Reading): void => {
    for (const [payload, from, to] of [
      [invite('c2'), PHONE, PROXY],
      [invite('c2'), PROXY, FAR],
      [ok('c2'), FAR, PROXY],
      [ok('c2'), PROXY, PHONE],
      [bye('c2'), PHONE, PROXY],
      [bye('c2'), PROXY, FAR],
    ] as const) {
      // Sent again, and captured at a second point.
      for (let n = 0; n < 3; n++) r.send({ payload, from, to, captureId: n })
    }
  }
  const r = reading()
  all(r)
  const bytes = START_MS + 1
  // A capture point that is late: the whole of it again after the end.
  for (const payload of [invite('c2'), ok('c2'), bye('c2')]) r.send({ payload, atMs: bytes, captureId: 9 })
  t.equal((await r.of('call')).length, 1)
  t.equal(r.inlet.repeats, 0, 'known before the spool has to know')
  // Longer after that than copies are looked out for: the spool still knows it.
  r.pass(40_000)
  all(r)
  t.equal((await r.of('call')).length, 1)
  t.equal(r.inlet.repeats, 1)
  r.pass(1000)
  t.equal(r.refused['repeated'], 1)
})

t.test('hops in any order', async (t) => {
  const r = reading()
  const at = START_MS
  // The second hop's capture comes first.
  r.send({ payload: invite('c3'), from: PROXY, to: FAR, atMs: at + 20 })
  r.send({ payload: invite('c3'), from: PHONE, to: PROXY, atMs: at + 10 })
  r.send({ payload: ok('c3'), from: PROXY, to: PHONE, atMs: at + 1010 })
  r.send({ payload: ok('c3'), from: FAR, to: PROXY, atMs: at + 1000 })
  r.send({ payload: bye('c3'), from: FAR, to: PROXY, atMs: at + 5000 })
  t.match(await r.of('call'), [
    {
      start_ms: at + 10,
      answer_ms: at + 1000,
      source_ip: '192.0.2.10',
      destination_ip: '198.51.100.20',
      duration_seconds: 4,
      billable_seconds: 4,
    },
  ])
})

t.test('how calls end that are not answered', async (t) => {
  const rows: readonly {
    readonly name: string
    readonly status: number
    readonly headers?: readonly string[]
    readonly expected: object
  }[] = [
    { name: 'busy', status: 486, expected: { disposition: 'BUSY', hangup_cause: 17 } },
    { name: 'nobody answers', status: 480, expected: { disposition: 'NO_ANSWER', hangup_cause: 18 } },
    { name: 'no such number', status: 404, expected: { disposition: 'FAILED', hangup_cause: 1 } },
    { name: 'no line', status: 503, expected: { disposition: 'CONGESTION', hangup_cause: 41 } },
    {
      name: 'a reason',
      status: 480,
      headers: ['Reason: SIP;cause=480, Q.850;cause=19;text="no answer"'],
      expected: { disposition: 'NO_ANSWER', hangup_cause: 19 },
    },
  ]
  for (const { name, status, headers, expected } of rows) {
    const r = reading()
    relayed(r, invite('f'))
    relayed(r, response(status, { callId: 'f', headers: headers ?? [] }), FAR, PHONE)
    const endMs = START_MS + r.now
    t.equal((await r.of('call')).length, 0, 'another branch may still answer')
    r.pass(3100)
    const calls = await r.of('call')
    t.match(calls, [{ ...expected, end_ms: endMs, duration_seconds: 0, billable_seconds: 0 }], name)
    t.notOk('answer_ms' in calls[0])
  }
})

t.test('cancelled by the caller', async (t) => {
  const r = reading()
  relayed(r, invite('c4'))
  relayed(r, response(180, { callId: 'c4' }), FAR, PHONE)
  r.pass(10_000)
  relayed(r, request({ callId: 'c4', method: 'CANCEL' }))
  relayed(r, response(200, { callId: 'c4', method: 'CANCEL' }), FAR, PHONE)
  relayed(r, response(487, { callId: 'c4' }), FAR, PHONE)
  r.pass(3100)
  t.match(await r.of('call'), [
    { disposition: 'CANCELLED', hangup_cause: 16, duration_seconds: 10, billable_seconds: 0 },
  ])
})

t.test('a fork: one branch is busy, one answers, the rest is cancelled', async (t) => {
  const r = reading()
  relayed(r, invite('c5'))
  r.send({ payload: invite('c5'), from: PROXY, to: OTHER })
  r.send({ payload: response(486, { callId: 'c5' }), from: FAR, to: PROXY })
  r.pass(20_000)
  r.send({ payload: request({ callId: 'c5', method: 'CANCEL' }), from: PROXY, to: FAR })
  relayed(r, ok('c5'), OTHER, PHONE)
  r.pass(30_000)
  relayed(r, bye('c5', { from: 'sip:b@pbx.example' }), OTHER, PHONE)
  t.match(await r.of('call'), [
    { disposition: 'ANSWERED', destination_ip: '198.51.100.30', duration_seconds: 50, billable_seconds: 30 },
  ])
})

t.test('one branch after the other: refused, then answered elsewhere', async (t) => {
  const r = reading()
  r.send({ payload: invite('c6'), from: PHONE, to: PROXY })
  r.send({ payload: invite('c6'), from: PROXY, to: FAR })
  // Captured at the second hop alone: the proxy looks like the caller.
  const s = reading()
  for (const it of [r, s]) {
    if (it === s) it.send({ payload: invite('c6'), from: PROXY, to: FAR })
    it.send({ payload: response(480, { callId: 'c6' }), from: FAR, to: PROXY })
    it.pass(1000)
    it.send({ payload: invite('c6'), from: PROXY, to: OTHER })
    it.pass(20_000)
    it.send({ payload: ok('c6'), from: OTHER, to: PROXY })
    it.send({ payload: bye('c6'), from: OTHER, to: PROXY })
    t.match(await it.of('call'), [{ disposition: 'ANSWERED', duration_seconds: 21 }])
  }
})

t.test('challenges', async (t) => {
  for (const status of [401, 407]) {
    const r = reading()
    relayed(r, invite('c7'))
    r.send({ payload: response(status, { callId: 'c7' }), from: PROXY, to: PHONE })
    r.pass(8000)
    relayed(r, invite('c7', { cseq: 2, headers: ['Proxy-Authorization: Digest x'] }))
    relayed(r, ok('c7', { cseq: 2 }), FAR, PHONE)
    relayed(r, bye('c7', { cseq: 3 }))
    t.match(
      await r.of('call'),
      [{ disposition: 'ANSWERED', start_ms: START_MS + 1 }],
      'the second INVITE is the same call',
    )
    // Nobody answers the challenge.
    r.send({ payload: invite('scan'), from: OTHER, to: PROXY })
    r.send({ payload: response(status, { callId: 'scan' }), from: PROXY, to: OTHER })
    r.pass(40_000)
    t.equal((await r.of('call')).length, 1, 'was no call')
    t.same(r.refused, { unused: 1 })
  }
})

t.test('re-INVITE: answered or refused, neither changes the call', async (t) => {
  const r = reading()
  relayed(r, invite('c8'))
  relayed(r, ok('c8'), FAR, PHONE)
  r.pass(10_000)
  relayed(r, invite('c8', { cseq: 2, toTag: 'b2' }))
  relayed(r, ok('c8', { cseq: 2 }), FAR, PHONE)
  relayed(r, invite('c8', { cseq: 3, toTag: 'b2' }))
  relayed(r, response(488, { callId: 'c8', cseq: 3 }), FAR, PHONE)
  r.pass(10_000)
  relayed(r, bye('c8', { cseq: 4, headers: ['Reason: Q.850;cause=31'] }))
  t.match(await r.of('call'), [
    { disposition: 'ANSWERED', duration_seconds: 20, billable_seconds: 20, hangup_cause: 31 },
  ])
  r.pass(300_000)
  t.equal((await r.of('call')).length, 1)
})

t.test('a call that began before this was listening is none', async (t) => {
  const r = reading()
  relayed(r, invite('c9', { cseq: 7, toTag: 'b2' }))
  relayed(r, ok('c9', { cseq: 7 }), FAR, PHONE)
  relayed(r, bye('c9', { cseq: 8 }))
  r.pass(400_000)
  t.same(await r.of('call'), [])
  t.same(r.refused, { unused: 6 })
})

t.test('the same Call-ID dialled again', async (t) => {
  const r = reading()
  for (const cseq of [1, 5]) {
    relayed(r, invite('c10', { cseq }))
    relayed(r, response(486, { callId: 'c10', cseq }), FAR, PHONE)
    r.pass(5000)
  }
  const calls = await r.of('call')
  t.equal(calls.length, 2)
  t.equal(Number(calls[1]['start_ms']) > Number(calls[0]['end_ms']), true)
  t.strictSame(
    r.inlet.entries.map(({ id }) => id),
    ['c10', 'c10 5'],
  )
})

t.test('limits of time: what is known is written, and no more', async (t) => {
  const r = reading({ setupMs: 60_000, callMs: 600_000 })
  relayed(r, invite('rings'))
  relayed(r, response(180, { callId: 'rings' }), FAR, PHONE)
  relayed(r, invite('talks'))
  relayed(r, ok('talks'), FAR, PHONE)
  relayed(r, invite('lost'))
  // A refusal that only its branch shows.
  r.send({ payload: response(486, { callId: 'lost' }), from: FAR, to: PROXY })
  r.pass(61_000)
  const unanswered = await r.of('call')
  t.strictSame(
    unanswered.map((call) => [
      call['call_id'],
      call['disposition'],
      call['end_ms'],
      call['duration_seconds'],
      call['billable_seconds'],
    ]),
    [
      ['rings', undefined, undefined, undefined, undefined],
      ['lost', 'BUSY', undefined, undefined, undefined],
    ],
  )
  r.pass(600_000)
  const talks = (await r.of('call'))[2]
  t.match(talks, { call_id: 'talks', disposition: 'ANSWERED', answer_ms: Number })
  for (const field of ['end_ms', 'duration_seconds', 'billable_seconds', 'hangup_cause'])
    t.notOk(field in talks, `no ${field}`)
})

t.test('a full table: calls that are not answered make room first, and are counted', async (t) => {
  const r = reading({ maxCalls: 10 })
  for (let i = 0; i < 5; i++) {
    r.send({ payload: invite(`a${i}`) })
    r.send({ payload: ok(`a${i}`) })
  }
  for (let i = 0; i < 1000; i++) r.send({ payload: invite(`flood${i}`), from: OTHER })
  t.equal(r.reader.followed, 10)
  for (let i = 0; i < 5; i++) r.send({ payload: bye(`a${i}`) })
  t.strictSame(
    (await r.of('call')).map((call) => call['call_id']),
    ['a0', 'a1', 'a2', 'a3', 'a4'],
    'the flood has not touched them',
  )
  r.pass(250)
  t.equal(r.refused['too_many'], 995)
  // Those that are over are bounded too.
  for (let i = 0; i < 100; i++) for (const payload of [invite(`b${i}`), ok(`b${i}`), bye(`b${i}`)]) r.send({ payload })
  t.equal((await r.of('call')).length, 105)
})

t.test('what is too long is not kept', async (t) => {
  const r = reading()
  const long = 'x'.repeat(300)
  for (const payload of [
    invite('short', { from: `sip:${long}@pbx.example`, headers: [`User-Agent: ${'y'.repeat(600)}`] }),
    ok('short'),
    bye('short'),
  ])
    r.send({ payload })
  t.match(await r.of('call'), [{ call_id: 'short', calling: undefined, user_agent: undefined }])
  r.send({ payload: invite(long) })
  r.pass(250)
  t.equal(r.refused['too_large'], 1)
  t.equal(r.reader.followed, 0)
})

t.test('calls of another source', async (t) => {
  const r = reading({
    node: { tenant: 'default', calls: false, joinLegs: true },
    nodes: new Map([[2, { tenant: 'other', calls: true, joinLegs: true }]]),
  })
  for (const payload of [invite('one'), ok('one'), bye('one')]) r.send({ payload, captureId: 1 })
  t.same(await r.of('call'), [])
  r.pass(250)
  t.same(r.refused, { other_source: 1 }, 'one call, one count')
  for (const payload of [invite('two'), ok('two'), bye('two')]) r.send({ payload, captureId: 2 })
  t.equal((await r.of('call')).length, 1)
  t.equal(r.inlet.entries[0].tenant, 'other')
  // Seen by both: one of them gives calls.
  for (const payload of [invite('three'), ok('three'), bye('three')])
    for (const captureId of [1, 2]) r.send({ payload, captureId })
  t.equal((await r.of('call')).length, 2)
})

t.test('stopping writes the calls that are answered, once', async (t) => {
  const r = reading()
  for (const payload of [invite('talks'), ok('talks'), invite('rings')]) r.send({ payload })
  await r.reader.stop(r.now)
  t.match(await r.of('call'), [{ call_id: 'talks', disposition: 'ANSWERED' }])
})

t.test('the spool is full: calls are lost and counted', async (t) => {
  const r = reading()
  r.inlet.full = true
  for (const payload of [invite('x'), ok('x'), bye('x')]) r.send({ payload })
  t.same(await r.of('call'), [])
  r.pass(250)
  t.same(r.refused, { no_room: 1 })
})

t.test('codecs of SDP', async (t) => {
  const rows: readonly (readonly [string, string | null, number?])[] = [
    [SDP, 'opus', 48_000],
    ['m=audio 1 RTP/AVP 8 0\r\n', 'PCMA', 8000],
    ['m=video 1 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n', null],
    [
      'm=video 1 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\nm=audio 1 RTP/SAVPF 99 9\r\na=rtpmap:99 telephone-event/8000\r\n',
      'G722',
      8000,
    ],
    ['m=audio 1 RTP/AVP 77\r\n', null],
    ['m=audio 1 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\nm=audio 2 RTP/AVP 0\r\n', 'PCMA', 8000],
    ['', null],
    ['m=audio x', null],
  ]
  for (const [sdp, name, clockHz] of rows)
    t.strictSame(codecOf(Buffer.from(sdp)), name === null ? null : { name, clockHz })
})
