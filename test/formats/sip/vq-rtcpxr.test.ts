import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readSip } from '../../../src/formats/sip/message.js'
import { publishToQuality } from '../../../src/formats/sip/records.js'
import { readVqRtcpxr, VQ_LIMITS } from '../../../src/formats/sip/vq-rtcpxr.js'
import { given } from '../../helpers/given.js'
import { shared } from '../../helpers/shared.js'
import { publish } from '../../sources/sip/messages.js'

const read = (text: string): ReturnType<typeof readVqRtcpxr> => readVqRtcpxr(Buffer.from(text))
const figures = (line: string): Record<string, unknown> => ({
  ...read(`VQSessionReport: CallTerm\r\nLocalMetrics:\r\n${line}\r\n`)?.[0].local,
})

t.test('a report of RFC 6035: both ends', async (t) => {
  const records = publishToQuality(given(readSip(publish())), { seenMs: 1 })
  t.equal(records?.length, 2)
  t.same(records?.[0], {
    start_ms: Date.UTC(2026, 10, 24, 10),
    end_ms: Date.UTC(2026, 10, 24, 10, 2, 17),
    duration_seconds: 137,
    codec: 'G729',
    loss_percent: 5,
    discard_percent: 2,
    burst_loss_percent: 0,
    burst_ms: 0,
    gap_loss_percent: 2,
    gap_ms: 500,
    round_trip_ms: 200,
    end_system_delay_ms: 140,
    one_way_delay_ms: 200,
    jitter_ms: 2,
    r_factor: 85,
    mos_lq: 4.2,
    mos_cq: 4.3,
    call_id: '1890463548@192.0.2.14',
    local_party: 'sip:+447700900123@pbx.example',
    remote_party: 'sip:+442079460101@pbx.example;user=phone',
    local_ip: '192.0.2.14',
    remote_ip: '198.51.100.7',
    direction: 'OUTBOUND',
    origin: 'REPORT',
    mac: '00005e005304',
    user_agent: 'Yealink SIP-T46S 66.85.0.5',
  })
  t.same(
    records?.[1],
    {
      start_ms: Date.UTC(2026, 10, 24, 10),
      end_ms: Date.UTC(2026, 10, 24, 10, 2, 17),
      duration_seconds: 137,
      codec: 'G729',
      loss_percent: 1.5,
      r_factor: 80,
      mos_cq: 4,
      call_id: '1890463548@192.0.2.14',
      local_party: 'sip:+442079460101@pbx.example;user=phone',
      remote_party: 'sip:+447700900123@pbx.example',
      local_ip: '198.51.100.7',
      remote_ip: '192.0.2.14',
      direction: 'INBOUND',
      origin: 'REPORT',
      mac: '00005e005305',
    },
    "the other end's: turned round, unavailable figures left out",
  )
})

t.test('as it is sent in the wild', async (t) => {
  const rows: readonly (readonly [name: string, line: string, expected: object])[] = [
    ['values with a space', 'SessionDesc:PT=8 PD=G.711 A-Law PPS=50 SSUP=off', { codec: 'G.711 A-Law' }],
    [
      'values without one between',
      'JitterBuffer:JBA=3 JBM=20JBX=240\r\nDelay:RTD=20ESD=7IAJ=2',
      { round_trip_ms: 20, end_system_delay_ms: 7, jitter_ms: 2 },
    ],
    [
      'a word run into a name',
      'SessionDesc:PD=PCMU SSUP=offPLC=3\r\nPacketLoss:NLR=1',
      { codec: 'PCMU', loss_percent: 1 },
    ],
    ['spaces around the sign', 'PacketLoss : NLR = 0.5  JDR= 1', { loss_percent: 0.5, discard_percent: 1 }],
    ['lower case', 'packetloss:nlr=0.5', { loss_percent: 0.5 }],
    ['(null)', 'PacketLoss:NLR=(null) JDR=2\r\nSessionDesc:PD=(null)', { discard_percent: 2 }],
    ['nothing', 'PacketLoss:NLR= JDR=2', { discard_percent: 2 }],
    [
      '127 and 65535',
      'QualityEst:MOSLQ=127 MOSCQ=4.1 RLQ=127 RCQ=127\r\nDelay:RTD=65535 ESD=10',
      { mos_cq: 4.1, end_system_delay_ms: 10 },
    ],
    ['no score at all', 'QualityEst:MOSLQ=0.0 MOSCQ=5.1', {}],
    ['more than all', 'PacketLoss:NLR=127 JDR=-1', {}],
    ['a decimal comma', 'QualityEst:MOSLQ=4,1', { mos_lq: 4.1 }],
    ['no number', 'QualityEst:MOSLQ=good MOSCQ=1.2.3', {}],
    ['listening where there is no conversational', 'QualityEst:RLQ=90', { r_factor: 90 }],
    ['conversational before listening, whichever is first', 'QualityEst:RCQ=80 RLQ=90', { r_factor: 80 }],
    ['MAJ where there is no IAJ', 'Delay:MAJ=7', { jitter_ms: 7 }],
    ['IAJ before MAJ', 'Delay:MAJ=7 IAJ=3', { jitter_ms: 3 }],
    ['OWD', 'Delay:SOWD=7 OWD=3', { one_way_delay_ms: 3 }],
    ['a payload type alone', 'SessionDesc:PT=9', { codec: 'G722' }],
    ['a codec in quotes', 'SessionDesc:PT=0 PD="PCMU" SR=8000', { codec: 'PCMU' }],
    [
      'TimeStamps without Z',
      'TimeStamps:START=2026-11-24T10:00:00 STOP=2026-11-24T10:00:01.5',
      { start_ms: Date.UTC(2026, 10, 24, 10), end_ms: Date.UTC(2026, 10, 24, 10, 0, 1, 500) },
    ],
    ['an offset', 'Timestamps:START=2026-11-24T10:00:00+01:00', { start_ms: Date.UTC(2026, 10, 24, 9) }],
    ['a clock that was never set', 'Timestamps:START=1970-01-01T00:00:10Z STOP=1970-01-01T00:00:20Z', {}],
    ['no time', 'Timestamps:START=2026-13-45T99:00:00Z STOP=soon', {}],
    ['folded', 'Delay:RTD=1\r\n  ESD=2\r\n\tIAJ=3', { round_trip_ms: 1, end_system_delay_ms: 2, jitter_ms: 3 }],
    ['all indented', ' Delay:RTD=1\r\n PacketLoss:NLR=2', { round_trip_ms: 1, loss_percent: 2 }],
    ['unknown lines and parameters', 'X-Vendor:A=1\r\nDelay:ZZZ=5 RTD=1', { round_trip_ms: 1 }],
    ['NULs', 'Delay:RTD=1\0\r\n\0\0', { round_trip_ms: 1 }],
  ]
  for (const [name, line, expected] of rows) t.same(figures(line), expected, name)
})

t.test("the session's lines", async (t) => {
  const rows: readonly (readonly [name: string, text: string, expected: object])[] = [
    [
      'CallID= and LF alone',
      'VQSessionReport\nCallID=abc\nMetrics:\nDelay:RTD=1\n',
      { callId: 'abc', local: { round_trip_ms: 1 } },
    ],
    [
      'IP with a space, a colon, brackets',
      'VQSessionReport: CallTerm\nLocalAddr:IP= 192.0.2.14 PORT=2224 SSRC=3744842397\nRemoteAddr: IP:[2001:db8::1] Port=5 SSRC=0xff\n',
      { localIp: '192.0.2.14', remoteIp: '2001:db8::1' },
    ],
    [
      'an address that is none',
      'VQSessionReport: CallTerm\nLocalAddr:IP=0.0.0.0.0 PORT=1\nRemoteAddr:PORT=2\n',
      { localIp: null, remoteIp: null },
    ],
    ['(null)', 'VQSessionReport: CallTerm\nCallID: (null)\nLocalID: (null)\n', { callId: null, localParty: null }],
    [
      'an address without brackets',
      'VQSessionReport: CallTerm\nLocalID:sip:1004@pbx.example\n',
      { localParty: 'sip:1004@pbx.example' },
    ],
    [
      "the call's id out of the dialogue's",
      'VQSessionReport: CallTerm\nDialogID:abc@192.0.2.1;to-tag=1;from-tag=2\n',
      { callId: 'abc@192.0.2.1' },
    ],
    ['interval and alert reports', 'VQIntervalReport\nCallID:a\n', { callId: 'a' }],
  ]
  for (const [name, text, expected] of rows) t.match(read(text)?.[0], expected, name)
  t.same(
    read(
      'VQSessionReport: CallTerm\nCallID: a\nLocalMetrics:\nDelay:RTD=1\n' +
        'VQAlertReport: Type=NLR Severity=Critical Dir=local\nCallID: b\nRemoteMetrics:\nDelay:RTD=2\n',
    )?.map((r) => [r.callId, r.local, r.remote]),
    [
      ['a', { round_trip_ms: 1 }, null],
      ['b', null, { round_trip_ms: 2 }],
    ],
    'several in a body',
  )
})

t.test('what is no report', async (t) => {
  for (const text of [
    '',
    '\r\n\r\n',
    'hello',
    'v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\n',
    '{"a":1}',
    'CallID: abc',
    '\0'.repeat(1000),
  ])
    t.equal(read(text), null, JSON.stringify(text.slice(0, 20)))
  t.equal(read('VQSessionReport: CallTerm\r\n'.padEnd(VQ_LIMITS.bytes + 1, 'x')), null, 'too large')
  t.same(
    publishToQuality(
      given(
        readSip(
          publish(
            'VQSessionReport: CallTerm\r\nCallID: a\r\nLocalMetrics:\r\nTimestamps:START=2026-11-24T10:00:00Z\r\nSessionDesc:PD=PCMU\r\n',
          ),
        ),
      ),
      { seenMs: 1 },
    ),
    [],
    'no figure, no record',
  )
})

t.test('limits', async (t) => {
  t.equal(read('VQSessionReport\nDelay:RTD=1\n'.repeat(1000))?.length, VQ_LIMITS.reports)
  t.same(figures('\r\n'.repeat(VQ_LIMITS.lines) + 'Delay:RTD=1'), {}, 'lines')
  t.same(figures(`Delay:${'X=1 '.repeat(1000)} RTD=1`), {}, 'a line')
  t.same(figures(`Delay:ESD=1${'\r\n X=1'.repeat(800)} RTD=1`), { end_system_delay_ms: 1 }, 'folds')
})

t.test('times', async (t) => {
  const of = (line: string): unknown =>
    publishToQuality(
      given(readSip(publish(`VQSessionReport: CallTerm\r\nLocalMetrics:\r\n${line}\r\nDelay:RTD=1\r\n`))),
      { seenMs: 4711 },
    )?.[0]
  t.match(of(''), { start_ms: 4711, end_ms: null, duration_seconds: null }, 'none: when it came')
  t.match(of('Timestamps:STOP=2026-11-24T10:00:00Z'), { start_ms: 4711, end_ms: null }, 'an end alone')
  t.match(
    of('Timestamps:START=2026-11-24T10:00:01Z STOP=2026-11-24T10:00:00Z'),
    { start_ms: Date.UTC(2026, 10, 24, 10, 0, 1), end_ms: null, duration_seconds: null },
    'ends before it starts',
  )
})

t.test("Poly's dialect: the end that reports is the one that sends", async (t) => {
  const body = (from: string, to: string): string =>
    `VQSessionReport\nLocalMetrics:\nDelay:RTD=1\nCallID:x\nToID:<sip:${to}@pbx.example>\nFromID:"A" <sip:${from}@pbx.example>\n`
  const of = (from: string, to: string): unknown =>
    publishToQuality(given(readSip(publish(body(from, to), { From: '<sip:1004@pbx.example>;tag=1' }))), {
      seenMs: 1,
    })?.[0]
  t.match(of('1004', '1005'), { local_party: 'sip:1004@pbx.example', remote_party: 'sip:1005@pbx.example' })
  t.match(of('1005', '1004'), { local_party: 'sip:1004@pbx.example', remote_party: 'sip:1005@pbx.example' })
  t.match(of('1006', '1007'), { local_party: 'sip:1006@pbx.example', remote_party: 'sip:1007@pbx.example' })
})

t.test('recorded from phones', async (t) => {
  const folder = shared('fixtures/vq-rtcpxr')
  if (folder === null) {
    t.comment('LEFT OUT: ../shared/fixtures/vq-rtcpxr is not there')
    return
  }
  const expected: Readonly<Record<string, object>> = {
    'poly-edge-e350-prestandard-2026-08-12.sip': {
      start_ms: Date.UTC(2026, 7, 12, 18, 27, 54),
      end_ms: Date.UTC(2026, 7, 12, 18, 28, 11),
      duration_seconds: 17,
      codec: 'G.711 A-Law',
      loss_percent: 0,
      gap_ms: 17940,
      end_system_delay_ms: 279,
      jitter_ms: 5,
      r_factor: 84,
      mos_lq: 4.1,
      mos_cq: 3.9,
      mac: null,
    },
    'poly-edge-e350-standard-2026-08-12.sip': {
      start_ms: Date.UTC(2026, 7, 12, 17, 20, 49),
      duration_seconds: 39,
      codec: 'G.711 A-Law',
      gap_ms: 39850,
      end_system_delay_ms: 55,
      jitter_ms: 0,
      r_factor: 93,
      mos_lq: 4.1,
      mos_cq: 4.1,
      direction: 'OUTBOUND',
    },
  }
  const names = readdirSync(folder).filter((name) => name.endsWith('.sip'))
  t.ok(names.length > 0)
  for (const name of names) {
    const records = publishToQuality(given(readSip(readFileSync(join(folder, name)))), { seenMs: 1 })
    t.equal(records?.length, 1, name)
    t.match(records?.[0], { ...expected[name], origin: 'REPORT' }, name)
    for (const field of ['call_id', 'local_party', 'remote_party', 'local_ip', 'remote_ip', 'user_agent'] as const)
      t.type(records?.[0][field], 'string', `${name} ${field}`)
  }
})
