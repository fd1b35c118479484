/** REGISTER → devices, quality reports and statistics → quality, each once, whatever is captured of it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { shared } from '../../helpers/shared.js'
import { request, response, SDP } from './frames.js'
import { type Reading, reading, START_MS } from './reader.js'

const PHONE = '192.0.2.10:5060'
const PROXY = '192.0.2.1:5060'
const REGISTRAR = '198.51.100.20:5060'

const register = (cseq: number, over: readonly string[] = []): string =>
  request({
    callId: 'r1',
    cseq,
    method: 'REGISTER',
    from: 'sip:1001@pbx.example',
    to: 'sip:1001@pbx.example',
    headers: ['User-Agent: Yealink SIP-T46S 66.85.0.5', 'Contact: <sip:1001@192.0.2.10:5062>', 'Expires: 600', ...over],
  })
const answer = (status: number, cseq: number): string => response(status, { callId: 'r1', cseq, method: 'REGISTER' })

function relayed(r: Reading, payload: string, back = false): void {
  const hops = [
    [PHONE, PROXY],
    [PROXY, REGISTRAR],
  ] as const
  for (const [from, to] of back ? [...hops].reverse().map(([a, b]) => [b, a] as const) : hops)
    for (let n = 0; n < 2; n++) r.send({ payload, from, to })
}

t.test('a registration that is challenged, and accepted', async (t) => {
  const r = reading()
  relayed(r, register(1))
  relayed(r, answer(401, 1), true)
  relayed(r, register(2, ['Authorization: Digest username="1001"']))
  t.equal((await r.of('device')).length, 0, 'not before it is answered')
  relayed(r, answer(100, 2), true)
  relayed(r, answer(200, 2), true)
  const devices = await r.of('device')
  t.strictSame(devices, [
    {
      party: 'sip:1001@pbx.example',
      start_ms: START_MS + 9,
      user_agent: 'Yealink SIP-T46S 66.85.0.5',
      contact_ip: '192.0.2.10',
      contact_port: 5062,
      event: 'REGISTERED',
      expires_seconds: 600,
      origin: 'REGISTRATION',
    },
  ])
  // Copies that are late, and time: nothing more.
  relayed(r, register(2))
  relayed(r, answer(200, 2), true)
  r.pass(60_000)
  t.equal((await r.of('device')).length, 1)
  t.same(r.refused, {})
})

t.test('how registrations end', async (t) => {
  const rows: readonly {
    readonly status: number | null
    readonly expires?: string
    readonly event: string | undefined
    readonly records: number
  }[] = [
    { status: 200, event: 'REGISTERED', records: 1 },
    { status: 200, expires: 'Expires: 0', event: 'UNREGISTERED', records: 1 },
    { status: 403, event: 'REJECTED', records: 1 },
    { status: 503, event: 'REJECTED', records: 1 },
    { status: 401, event: undefined, records: 0 },
    { status: 407, event: undefined, records: 0 },
    { status: 423, event: undefined, records: 0 },
    { status: 302, event: undefined, records: 0 },
    { status: null, event: undefined, records: 1 },
  ]
  for (const { status, expires, event, records } of rows) {
    const r = reading()
    r.send({ payload: expires === undefined ? register(3) : register(3).replace('Expires: 600', expires) })
    if (status !== null) r.send({ payload: answer(status, 3) })
    r.pass(11_000)
    const devices = await r.of('device')
    t.equal(devices.length, records, `${status}`)
    if (records > 0) t.equal(devices[0]['event'], event, `${status}`)
  }
})

t.test('a query, and what registers nobody', async (t) => {
  const r = reading()
  r.send({ payload: request({ callId: 'q', method: 'REGISTER' }) })
  for (const method of ['OPTIONS', 'MESSAGE', 'SUBSCRIBE', 'INFO', 'FROBNICATE'])
    r.send({ payload: request({ callId: method, method }) })
  r.send({
    payload: request({
      callId: 'n',
      method: 'NOTIFY',
      headers: ['Event: message-summary', 'Content-Type: application/simple-message-summary'],
      body: 'Messages-Waiting: no\r\n',
    }),
  })
  r.send({ payload: '\r\n\r\n' })
  r.send({ payload: 'HEPPING', kind: 0 })
  r.send({ payload: 'a log line', kind: 100 })
  r.send({ payload: '\0\0 nothing of the kind' })
  r.pass(11_000)
  t.same(r.refused, { unused: 10, malformed: 1 })
  t.same(r.inlet.records(), [])
})

t.test('a full table: devices are written at once, none is lost', async (t) => {
  const r = reading({ maxCalls: 10 })
  for (let i = 0; i < 100; i++) r.send({ payload: register(1).replace('Call-ID: r1', `Call-ID: r${i}`) })
  t.equal((await r.of('device')).length, 90)
  r.pass(11_000)
  t.equal((await r.of('device')).length, 100)
})

const REPORT = [
  'VQSessionReport: CallTerm',
  'CallID: vq-1',
  'LocalID: <sip:1001@pbx.example>',
  'RemoteID: <sip:+447700900123@pbx.example>',
  'OrigID: <sip:1001@pbx.example>',
  'LocalAddr: IP=192.0.2.10 PORT=4000 SSRC=0x1',
  'RemoteAddr: IP=192.0.2.1 PORT=4002 SSRC=0x2',
  'LocalMetrics:',
  'Timestamps: START=2026-11-24T10:00:00Z STOP=2026-11-24T10:01:00Z',
  'SessionDesc: PT=8 PD=PCMA SR=8000',
  'PacketLoss: NLR=1.5 JDR=0.0',
  'QualityEst: MOSLQ=4.1 MOSCQ=4.0',
  '',
].join('\r\n')

t.test('quality reports', async (t) => {
  for (const status of [200, 489, null]) {
    const r = reading()
    const publish = (cseq: number): string =>
      request({
        callId: 'p1',
        cseq,
        method: 'PUBLISH',
        headers: ['Event: vq-rtcpxr', 'Content-Type: application/vq-rtcpxr'],
        body: REPORT,
      })
    // Challenged first: the report comes twice.
    r.send({ payload: publish(1) })
    r.send({ payload: response(401, { callId: 'p1', cseq: 1, method: 'PUBLISH' }) })
    for (let n = 0; n < 2; n++) r.send({ payload: publish(2) })
    if (status !== null) r.send({ payload: response(status, { callId: 'p1', cseq: 2, method: 'PUBLISH' }) })
    r.pass(11_000)
    t.match(await r.of('quality'), [
      { call_id: 'vq-1', mos_cq: 4, loss_percent: 1.5, local_ip: '192.0.2.10', codec: 'PCMA' },
    ])
    t.equal((await r.of('quality')).length, 1, `answered with ${status}`)
  }
})

t.test("payload 35: a report alone, a whole PUBLISH, and HOMER's JSON", async (t) => {
  const r = reading()
  r.send({ kind: 35, payload: REPORT, correlation: 'not-asked' })
  r.send({ kind: 35, payload: REPORT.replace('CallID: vq-1\r\n', ''), correlation: 'corr-1' })
  r.send({
    kind: 35,
    payload: request({ callId: 'p2', method: 'PUBLISH', headers: ['Event: vq-rtcpxr'], body: REPORT }),
  })
  r.send({ kind: 35, payload: '{"MOS":4.4}' })
  r.send({ kind: 35, payload: 'garbage' })
  r.pass(11_000)
  t.strictSame(
    (await r.of('quality')).map((record) => record['call_id']),
    ['vq-1', 'corr-1'],
    'the same report by two ways is one',
  )
  r.pass(250)
  t.same(r.refused, { unused: 1, malformed: 1, repeated: 1 })
})

t.test('statistics of BYE and of its answer', async (t) => {
  const r = reading()
  const statistics =
    'X-RTP-Stat: CS=0;PS=1502;ES=1500;OS=240320;SP=0/0;SO=0;QS=-;PR=1490;ER=1502;OR=238400;CR=0;SR=0;' +
    'QR=-;PL=12,0;BL=0;LS=0;RB=0/0;SB=-/-;EN=PCMA;DE=PCMA;JI=5,9;DL=1,1,1;' +
    'IP=192.0.2.10:4000,192.0.2.1:4002'
  const sdp = { headers: ['Content-Type: application/sdp'], body: SDP }
  r.send({ payload: request({ callId: 's1', ...sdp }), from: PHONE, to: PROXY })
  r.send({ payload: response(200, { callId: 's1', ...sdp }), from: PROXY, to: PHONE })
  for (const hop of [
    [PHONE, PROXY],
    [PROXY, REGISTRAR],
    [PHONE, PROXY],
  ] as const)
    r.send({
      payload: request({ callId: 's1', cseq: 2, method: 'BYE', toTag: 'b', headers: [statistics] }),
      from: hop[0],
      to: hop[1],
    })
  for (const hop of [
    [REGISTRAR, PROXY],
    [PROXY, PHONE],
  ] as const)
    r.send({
      payload: response(200, {
        callId: 's1',
        cseq: 2,
        method: 'BYE',
        headers: [statistics.replace('PS=1502', 'PS=1490').replace(/IP=.*/, 'IP=203.0.113.9:4002,192.0.2.10:4000')],
      }),
      from: hop[0],
      to: hop[1],
    })
  const qualities = await r.of('quality')
  t.match(qualities, [
    {
      call_id: 's1',
      packets_sent: 1502,
      packets_received: 1490,
      packets_lost: 12,
      jitter_ms: 5,
      local_ip: '192.0.2.10',
      start_ms: START_MS + 1,
      local_party: 'sip:1001@pbx.example',
    },
    // Its media had another address than its signalling.
    {
      call_id: 's1',
      packets_sent: 1490,
      local_ip: '203.0.113.9',
      remote_ip: '192.0.2.10',
      local_party: 'sip:+447700900123@pbx.example',
    },
  ])
  t.equal(qualities.length, 2)
  t.equal((await r.of('call')).length, 1)
  // A BYE of a call that was not followed still has them, and begins when it was answered: not 2000 s earlier.
  const own = 'X-RTP-Stat: EX=BareSip;CS=2000;CD=10;PR=500;PS=500;PL=0,0;JI=8.0,8.0;EN=PCMA/8000;DE=PCMA/8000'
  r.send({ payload: request({ callId: 's2', cseq: 2, method: 'BYE', toTag: 'b', headers: [own] }) })
  t.match((await r.of('quality')).slice(2), [
    { call_id: 's2', duration_seconds: 10, jitter_ms: 1, start_ms: START_MS + r.now - 10_000 },
  ])
  r.pass(250)
  t.same(r.refused, {})
})

t.test('real packets: a registration that was challenged', async (t) => {
  const folder = shared('fixtures/hep3')
  if (folder === null) {
    t.comment('../shared/fixtures/hep3 is not there: real packets were not read')
    return
  }
  const r = reading()
  for (const name of ['captagent-zlib-00', 'captagent-zlib-03', 'captagent-zlib-06'])
    r.send(readFileSync(join(folder, `${name}.bin`)))
  r.pass(20_000)
  t.same(await r.of('device'), [])
  t.same(r.refused, {})
  // Without its challenge it is a device.
  const s = reading()
  s.send(readFileSync(join(folder, 'captagent-zlib-00.bin')))
  s.pass(20_000)
  t.match(await s.of('device'), [{ origin: 'REGISTRATION', start_ms: 0x59950fa2 * 1000 + 307 }])
})
