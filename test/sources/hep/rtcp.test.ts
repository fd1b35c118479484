/** RTCP and RTP agents' reports → one quality record for each leg. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readRtcp, readRtpReport } from '../../../src/sources/hep/rtcp.js'
import { shared } from '../../helpers/shared.js'
import { request, response, SDP } from './frames.js'
import { type Reading, reading, START_MS } from './reader.js'

const PHONE = '192.0.2.10:4001'
const PBX = '192.0.2.1:10001'

/** As Asterisk prints it: NTP times and `lsr` as texts. */
function asterisk(of: {
  readonly packets?: number
  readonly lost?: number
  readonly fraction?: number
  readonly jitter?: number
  readonly dlsr?: number
  readonly lsr?: number | string
}): string {
  return JSON.stringify({
    ssrc: 451_916_597,
    type: of.packets === undefined ? 201 : 200,
    report_count: 1,
    ...(of.packets === undefined
      ? {}
      : {
          sender_information: {
            ntp_timestamp_sec: '1795514445',
            ntp_timestamp_usec: '17000',
            rtp_timestamp: 16_960,
            packets: of.packets,
            octets: of.packets * 160,
          },
        }),
    report_blocks:
      of.jitter === undefined
        ? []
        : [
            {
              source_ssrc: 898_343_773,
              fraction_lost: of.fraction ?? 0,
              packets_lost: of.lost ?? 0,
              highest_seq_no: 20_881,
              ia_jitter: of.jitter,
              lsr: of.lsr ?? '3197960650',
              dlsr: of.dlsr ?? 0,
            },
          ],
  })
}

function call(r: Reading, callId: string, correlation?: string): void {
  const sdp = { headers: ['Content-Type: application/sdp'], body: SDP }
  const tie = correlation === undefined ? {} : { correlation }
  r.send({ payload: request({ callId, ...sdp }), from: '192.0.2.10:5060', to: '192.0.2.1:5060', ...tie })
  r.send({ payload: response(200, { callId, ...sdp }), from: '192.0.2.1:5060', to: '192.0.2.10:5060', ...tie })
}

t.test('numbers and texts, and signs that were lost', async (t) => {
  const read = (over: object): unknown =>
    readRtcp(
      Buffer.from(
        JSON.stringify({
          ssrc: 1,
          report_blocks: [{ ia_jitter: 1, fraction_lost: 0, packets_lost: 0, lsr: 1, dlsr: 65_536, ...over }],
        }),
      ),
    )?.blocks[0]
  t.match(read({}), { jitter: 1, packetsLost: 0, heldMs: 1000 })
  t.match(read({ ia_jitter: '12', packets_lost: '3', fraction_lost: '128', dlsr: '32768', lsr: '3197960650' }), {
    jitter: 12,
    packetsLost: 3,
    fractionLost: 128,
    heldMs: 500,
  })
  t.match(read({ lsr: -1_097_006_646 }), { heldMs: 1000 })
  t.match(read({ lsr: 0 }), { heldMs: NaN })
  t.match(read({ lsr: '0' }), { heldMs: NaN })
  for (const lost of [-3, 0xff_fffd, 4_294_967_293])
    t.match(read({ packets_lost: lost }), { packetsLost: 0 }, `${lost}`)
  t.match(read({ packets_lost: 5 }), { packetsLost: 5 })
  t.match(read({ packets_lost: null, ia_jitter: 'x' }), { packetsLost: NaN, jitter: NaN })
  t.equal(read({ packets_lost: null, ia_jitter: 'x', fraction_lost: 900 }), undefined, 'nothing in it')
  for (const text of [
    '',
    'null',
    '[]',
    '3',
    '{',
    '{}',
    '{"a":1}',
    '{"report_blocks":[]}',
    '{"report_blocks":[1,null,"x"]}',
  ])
    t.equal(readRtcp(Buffer.from(text)), null, text)
  t.not(readRtcp(Buffer.from('{"ssrc":1}\n\0')), null, 'a NUL at its end')
  t.equal(
    readRtcp(Buffer.from(`{"ssrc":1,"report_blocks":[${Array(100).fill('{"ia_jitter":1}').join()}]}`))?.blocks.length,
    31,
  )
  t.match(
    readRtcp(Buffer.from('{"ssrc":1,"report_blocks_xr":{"type":7,"end_system_delay":100,"fraction_discard":128}}')),
    { endSystemDelayMs: 100, discardPercent: 50 },
  )
  t.match(readRtcp(Buffer.from('{"ssrc":1,"report_blocks_xr":{"type":0,"end_system_delay":0,"fraction_discard":0}}')), {
    endSystemDelayMs: null,
    discardPercent: null,
  })
})

t.test('a leg of a call: both ends report, one record', async (t) => {
  const r = reading()
  call(r, 'k1')
  for (let n = 1; n <= 4; n++) {
    // The PBX's own report goes out, the phone's comes in 40 ms later, having held it for 10 ms.
    r.send({
      kind: 5,
      payload: asterisk({ packets: n * 250, jitter: 8 * n, lost: 0, lsr: 0 }),
      from: PBX,
      to: PHONE,
      correlation: 'k1',
    })
    r.now += 39
    r.send({
      kind: 5,
      payload: asterisk({ packets: n * 240, jitter: 480 * n, lost: 2 * n, dlsr: 655 }),
      from: PHONE,
      to: PBX,
      correlation: 'k1',
    })
    if (n < 4) r.pass(5000)
  }
  // One more of the phone, so that it is the one that reported most.
  r.send({ kind: 5, payload: asterisk({ jitter: 480, lost: 10, lsr: 0 }), from: PHONE, to: PBX, correlation: 'k1' })
  t.equal((await r.of('quality')).length, 0)
  r.send({ payload: request({ callId: 'k1', cseq: 2, method: 'BYE', toTag: 'b' }) })
  r.pass(1000)
  r.send({ kind: 5, payload: asterisk({ jitter: 480, lost: 12, lsr: 0 }), from: PHONE, to: PBX, correlation: 'k1' })
  r.pass(5000)
  const qualities = await r.of('quality')
  t.equal(qualities.length, 1)
  const [quality] = qualities
  t.match(quality, {
    call_id: 'k1',
    local_ip: '192.0.2.10',
    remote_ip: '192.0.2.1',
    local_party: 'sip:1001@pbx.example',
    remote_party: 'sip:+447700900123@pbx.example',
    packets_sent: 960,
    packets_received: 988,
    packets_lost: 12,
    codec: 'opus',
    origin: 'REPORT',
    start_ms: START_MS + 3,
  })
  const close = (field: string, wanted: number): void => {
    t.ok(Math.abs(Number(quality[field]) - wanted) < 0.1, `${field}: ${quality[field]}`)
  }
  // opus counts at 48 kHz, as the call's SDP says: 480 units are 10 ms.
  close('jitter_ms', (10 + 20 + 30 + 40 + 10 + 10) / 6)
  close('jitter_max_ms', 40)
  close('loss_percent', 1.2)
  close('round_trip_ms', 30)
  t.equal(quality['duration_seconds'], 16)
  // What comes after it was written makes no second one.
  r.send({ kind: 5, payload: asterisk({ jitter: 480, lost: 12 }), from: PHONE, to: PBX, correlation: 'k1' })
  r.pass(100_000)
  t.equal((await r.of('quality')).length, 1)
})

t.test('RTCP that is tied to a channel', async (t) => {
  const r = reading()
  call(r, 'k2', 'PJSIP/1001-00000023')
  r.send({
    kind: 5,
    payload: asterisk({ packets: 100, jitter: 8 }),
    from: PHONE,
    to: PBX,
    correlation: 'PJSIP/1001-00000023',
  })
  r.send({ payload: request({ callId: 'k2', cseq: 2, method: 'BYE', toTag: 'b' }) })
  r.pass(4000)
  t.match(await r.of('quality'), [{ call_id: 'k2', codec: 'opus', local_ip: '192.0.2.10' }])
  // Nobody knows this one's call: its own name stands for it.
  r.send({ kind: 5, payload: asterisk({ jitter: 80 }), from: PHONE, to: PBX, correlation: 'PJSIP/1002-00000024' })
  r.pass(70_000)
  const [, other] = await r.of('quality')
  t.match(other, { call_id: 'PJSIP/1002-00000024', jitter_ms: 10 }, 'at 8000 Hz, since no SDP is known')
  t.notOk('codec' in other)
})

t.test('two legs of one Call-ID, and IP addresses that are the same', async (t) => {
  const r = reading()
  r.send({ kind: 5, payload: asterisk({ jitter: 8 }), from: PHONE, to: PBX, correlation: 'k3' })
  r.send({ kind: 5, payload: asterisk({ jitter: 8 }), from: '198.51.100.20:6001', to: PBX, correlation: 'k3' })
  r.send({ kind: 5, payload: asterisk({ packets: 10 }), from: PBX, to: PHONE, correlation: 'k3' })
  r.send({ kind: 5, payload: asterisk({ jitter: 8 }), from: '127.0.0.1:4001', to: '127.0.0.1:5001', correlation: 'k4' })
  r.send({
    kind: 5,
    payload: asterisk({ packets: 90 }),
    from: '127.0.0.1:5001',
    to: '127.0.0.1:4001',
    correlation: 'k4',
  })
  r.pass(70_000)
  t.match(await r.of('quality'), [
    { call_id: 'k3', local_ip: '198.51.100.20' },
    { call_id: 'k3', local_ip: '192.0.2.10', packets_received: 10 },
    { call_id: 'k4', packets_received: 90 },
  ])
})

t.test('nothing was measured, or nothing ties it to a call', async (t) => {
  const r = reading()
  r.send({ kind: 5, payload: asterisk({ packets: 10 }), from: PBX, to: PHONE, correlation: 'k5' })
  r.send({ kind: 5, payload: asterisk({ jitter: 8 }), from: PBX, to: PHONE })
  r.send({ kind: 5, payload: '{"ssrc":1,"type":203}', from: PBX, to: PHONE, correlation: 'k5' })
  r.send({ kind: 5, payload: 'not JSON', from: PBX, to: PHONE, correlation: 'k5' })
  r.pass(70_000)
  t.same(await r.of('quality'), [])
  t.same(r.refused, { unused: 2, malformed: 1 })
})

t.test('legs without number: the oldest are written, and none waits for ever', async (t) => {
  const r = reading({ maxCalls: 10 })
  for (let i = 0; i < 50; i++)
    r.send({ kind: 5, payload: asterisk({ jitter: 8 }), from: PHONE, to: PBX, correlation: `flood${i}` })
  for (let i = 0; i < 50; i++)
    r.send({ kind: 5, payload: asterisk({ jitter: 8 }), from: `192.0.2.${i + 20}:4000`, to: PBX, correlation: 'one' })
  t.equal(r.refused['too_many'], 48)
  r.pass(70_000)
  t.equal((await r.of('quality')).length, 58, 'eight legs of one name')
})

t.test("an RTP agent's reports: the last of each stream", async (t) => {
  const r = reading()
  const report = (type: string, lost: number, direction: string): string =>
    JSON.stringify({
      CORRELATION_ID: 'k6',
      RTP_SIP_CALL_ID: 'k6',
      DELTA: 19.983,
      JITTER: 0.017,
      TOTAL_PK: 1500 - lost,
      EXPECTED_PK: 1500,
      PACKET_LOSS: lost,
      MAX_JITTER: 2.5,
      MEAN_JITTER: 1.5,
      MOS: 4.4,
      MEAN_MOS: 4.3,
      RFACTOR: 80.2,
      MEAN_RFACTOR: 79,
      SRC_IP: '192.0.2.10',
      DST_IP: '192.0.2.1',
      SRC_MAC: '00-00-5E-00-53-01',
      CODEC_NAME: 'g722',
      TYPE: type,
      DIR: direction,
    })
  for (const lost of [1, 2, 3])
    r.send({ kind: 34, payload: report('PERIODIC', lost, '0'), from: PHONE, to: PBX, correlation: 'k6' })
  for (let n = 0; n < 2; n++)
    r.send({ kind: 34, payload: report('FINAL', 15, '0'), from: PHONE, to: PBX, correlation: 'k6' })
  // The other direction's end is not seen.
  r.send({ kind: 34, payload: report('PERIODIC', 30, '1'), from: PBX, to: PHONE })
  r.send({ kind: 34, payload: '{"TYPE":"FINAL"}', from: PBX, to: PHONE })
  r.pass(70_000)
  const qualities = await r.of('quality')
  t.match(qualities, [
    {
      call_id: 'k6',
      packets_received: 1485,
      packets_lost: 15,
      loss_percent: 1,
      jitter_ms: 1.5,
      jitter_max_ms: 2.5,
      codec: 'g722',
      local_ip: '192.0.2.1',
      remote_ip: '192.0.2.10',
      r_factor: 79,
    },
    { call_id: 'k6', packets_lost: 30, loss_percent: 2 },
  ])
  t.equal(qualities.length, 2)
  t.notOk(JSON.stringify(qualities).includes('5E'), 'no MAC of a media path')
  t.same(r.refused, { malformed: 1 })
  t.match(readRtpReport(Buffer.from('{"MOS":127,"RFACTOR":0,"JITTER":"1.25","SRC_IP":5}'))?.fields, {
    mos_lq: null,
    r_factor: null,
    jitter_ms: 1.25,
    remote_ip: '',
  })
})

t.test('a real packet', async (t) => {
  const folder = shared('fixtures/hep3')
  if (folder === null) {
    t.comment('../shared/fixtures/hep3 is not there: real packets were not read')
    return
  }
  const r = reading()
  r.send(readFileSync(join(folder, 'hepgen-07-type5.bin')))
  r.pass(70_000)
  t.match(await r.of('quality'), [
    {
      call_id: 'qgf3dm9rudi@127.0.0.1',
      jitter_ms: 0.125,
      packets_sent: 106,
      packets_lost: 0,
      loss_percent: 0,
      origin: 'REPORT',
    },
  ])
})
