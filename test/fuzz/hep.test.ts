/**
 * Whatever comes: HEP3 frames, streams of them, RTCP and RTP reports in JSON. Nothing is thrown, and what is held stays
 * small.
 */
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { frameLength, HepFrame } from '../../src/sources/hep/frame.js'
import { readRtcp, readRtpReport } from '../../src/sources/hep/rtcp.js'
import { codecOf } from '../../src/sources/hep/sdp.js'
import { FrameStream } from '../../src/sources/hep/streams.js'
import { fuzzRuns } from '../helpers/fuzz.js'
import { chunk, frame, hep, request, response, SDP } from '../sources/hep/frames.js'
import { reading } from '../sources/hep/reader.js'

const seed = Number(process.env['MINIM_FUZZ_SEED'] ?? Date.now() & 0x7fff_ffff)
t.comment(`seed ${seed}: MINIM_FUZZ_SEED=${seed} repeats it`)
const options = { seed, numRuns: fuzzRuns() }

/** Numbers at the edges of what a length can be. */
const edges = fc.constantFrom(0, 1, 5, 6, 7, 8, 255, 256, 32_767, 32_768, 65_534, 65_535)
const anyChunk = fc
  .tuple(
    fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, edges),
    fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 0, max: 20 }) }, edges),
    fc.uint8Array({ maxLength: 40 }),
    fc.option(edges, { nil: undefined, freq: 5 }),
  )
  .map(([vendor, type, value, length]) => chunk(type, value, vendor, length))
const anyFrame = fc
  .tuple(fc.array(anyChunk, { maxLength: 12 }), fc.option(edges, { nil: undefined, freq: 8 }))
  .map(([chunks, length]) => frame(chunks, length))
const bytes = fc.oneof(
  anyFrame,
  fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value)),
  fc.tuple(anyFrame, anyFrame).map(([a, b]) => frame([chunk(15, a), b])),
)

t.test('frames', async (t) => {
  let whole = 0
  const found = new HepFrame()
  fc.assert(
    fc.property(bytes, (input) => {
      const length = frameLength(input, 0, input.length)
      if (length <= 0 || length > input.length) return
      if (!found.read(input, 0, length)) return
      whole++
      // Each part that was found lies in the frame.
      for (const [from, to] of [
        [found.payloadAt, found.payloadEnd],
        [found.keyAt, found.keyEnd],
        [found.correlationAt, found.correlationEnd],
      ]) {
        if (from >= 0 && !(from >= 12 && to >= from && to <= length)) throw new Error('outside of the frame')
      }
      for (const at of [found.sourceAt, found.destinationAt])
        if (at >= 0 && at + 4 > length) throw new Error('outside of the frame')
      if (found.sourceIp(input).length > 39 || found.destinationIp(input).length > 39 || !(found.capturedMs >= 0))
        throw new Error('no address')
    }),
    options,
  )
  t.ok(whole > 0, `${whole} were frames`)
})

t.test('streams: the same frames however they are cut', async (t) => {
  fc.assert(
    fc.property(
      fc.array(bytes, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }),
      (parts, sizes) => {
        const all = Buffer.concat(parts)
        const run = (cut: (n: number) => number): { frames: string[]; ok: boolean } => {
          const frames: string[] = []
          const stream = new FrameStream((from, at, end) => frames.push(from.toString('latin1', at, end)))
          let ok = true
          for (let at = 0, n = 0; at < all.length && ok; n++) {
            const size = cut(n)
            ok = stream.push(all.subarray(at, at + size))
            at += size
          }
          return { frames, ok }
        }
        const once = run(() => all.length)
        const cut = run((n) => sizes[n % sizes.length])
        if (once.frames.join('|') !== cut.frames.join('|') || once.ok !== cut.ok)
          throw new Error('cut differently, read differently')
        if (once.frames.reduce((sum, found) => sum + found.length, 0) > all.length)
          throw new Error('more came out than went in')
      },
    ),
    options,
  )
  t.pass()
})

const weird = fc.oneof(
  fc.constantFrom<unknown>(null, true, '', '0', '-1', '65535', '99999999999999999999', '1e9', 'NaN', 7, {}, []),
  fc.integer(),
  fc.double(),
  fc.string({ maxLength: 8 }),
  fc.bigInt().map(String),
)
const block = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record(
      { ia_jitter: weird, fraction_lost: weird, packets_lost: weird, lsr: weird, dlsr: weird, source_ssrc: weird },
      { requiredKeys: [] },
    ),
  },
  { weight: 1, arbitrary: weird },
)
const rtcp = fc.record(
  {
    ssrc: weird,
    type: weird,
    sender_information: fc.oneof(weird, fc.record({ packets: weird, ntp_timestamp_sec: weird })),
    report_blocks: fc.oneof(weird, fc.array(block, { maxLength: 40 })),
    report_blocks_xr: fc.oneof(
      weird,
      fc.record({ type: fc.oneof(weird, fc.constant(7)), end_system_delay: weird, fraction_discard: weird }),
    ),
  },
  { requiredKeys: [] },
)
const rtp = fc.record(
  {
    TOTAL_PK: weird,
    EXPECTED_PK: weird,
    PACKET_LOSS: weird,
    JITTER: weird,
    MEAN_JITTER: weird,
    MAX_JITTER: weird,
    MOS: weird,
    MEAN_MOS: weird,
    RFACTOR: weird,
    TYPE: weird,
    CODEC_NAME: weird,
    SRC_IP: weird,
    DST_IP: weird,
    CORRELATION_ID: weird,
  },
  { requiredKeys: [] },
)
const json = fc.oneof(
  // Deep ones are few, since they are long.
  { weight: 1, arbitrary: fc.nat(60_000).map((depth) => Buffer.from('{"report_blocks":' + '['.repeat(depth))) },
  { weight: 40, arbitrary: fc.oneof(rtcp, rtp).map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 20, arbitrary: fc.uint8Array({ maxLength: 100 }).map((value) => Buffer.from(value)) },
  {
    weight: 20,
    arbitrary: fc
      .tuple(fc.oneof(rtcp, rtp), fc.nat(400))
      .map(([value, cut]) => Buffer.from(JSON.stringify(value)).subarray(0, cut)),
  },
  { weight: 1, arbitrary: fc.constant(Buffer.from('{"__proto__":{"ssrc":1},"ssrc":1}')) },
)

t.test('RTCP and RTP reports', async (t) => {
  fc.assert(
    fc.property(json, (input) => {
      const report = readRtcp(input)
      if (report !== null) {
        if (report.blocks.length > 31) throw new Error('more blocks than a packet has')
        for (const found of report.blocks)
          for (const value of Object.values(found) as number[])
            if (!(Number.isNaN(value) || (value >= 0 && value <= 0xffff_ffff))) throw new Error('a figure out of range')
      }
      const fields = readRtpReport(input)?.fields ?? {}
      for (const value of Object.values(fields))
        if (
          typeof value === 'number'
            ? !Number.isFinite(value) || value < 0
            : value !== null && String(value).length > 256
        )
          throw new Error('a figure out of range')
    }),
    options,
  )
  t.pass()
})

const mutated = fc
  .tuple(
    fc.constantFrom(
      request({ callId: 'a', body: SDP }),
      request({ callId: 'a', method: 'REGISTER', headers: ['Contact: <sip:1@192.0.2.1>;expires=9'] }),
      response(200, { callId: 'a', body: SDP }),
      response(486, { callId: 'a' }),
      request({ callId: 'a', method: 'BYE', toTag: 'b', headers: ['X-RTP-Stat: PS=1;PR=2;PL=3,4;JI=5,6;EN=PCMA'] }),
      request({
        callId: 'a',
        method: 'PUBLISH',
        headers: ['Event: vq-rtcpxr'],
        body: 'VQSessionReport\r\nCallID:x\r\n',
      }),
    ),
    fc.array(fc.tuple(fc.nat(900), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
    fc.nat(1200),
  )
  .map(([text, changes, cut]) => {
    const payload = Buffer.from(text)
    for (const [at, value] of changes) if (at < payload.length) payload[at] = value
    return payload.subarray(0, cut)
  })

t.test('payloads of all kinds: nothing is thrown, what is followed is bounded, no record without a time', async (t) => {
  const r = reading({
    maxCalls: 50,
    maxInflatedBytes: 20_000,
    inflationsPerSecond: 1_000_000,
    setupMs: 2000,
    callMs: 5000,
  })
  let sent = 0
  fc.assert(
    fc.property(
      fc.constantFrom(1, 1, 1, 5, 34, 35, 100, 255),
      fc.oneof({ weight: 4, arbitrary: mutated }, json),
      fc.boolean(),
      fc.constantFrom('a', 'b', '\0', 'x'.repeat(300)),
      fc.nat(20),
      (kind, payload, zlib, correlation, id) => {
        // Many calls, so that the tables fill.
        const body =
          payload.length > 40_000
            ? payload
            : Buffer.from(payload.toString('latin1').replace('Call-ID: a', `Call-ID: a${id}`), 'latin1')
        r.send(hep({ kind, payload: body, zlib, correlation }))
        sent++
        if (sent % 50 === 0) r.pass(3000)
        if (r.reader.followed > 50) throw new Error('more is followed than there is room for')
      },
    ),
    options,
  )
  const { inflate, bomb } = {
    inflate: chunk(16, deflateSync(Buffer.alloc(5_000_000))),
    bomb: chunk(16, deflateSync(deflateSync(Buffer.alloc(5_000_000)))),
  }
  for (let i = 0; i < 20; i++) for (const part of [inflate, bomb]) r.send(frame([chunk(11, Buffer.from([1])), part]))
  await r.reader.stop(r.now)
  t.ok(r.refused['too_large'] >= 20, 'bombs')
  t.equal(r.received, sent + 40)
  const records = r.inlet.records()
  t.ok(records.length > 0, `${records.length} records`)
  for (const { kind, fields } of records) if (!(Number(fields['start_ms']) > 0)) t.fail(`a ${kind} without a time`)
})

t.test('SDP', async (t) => {
  const line = fc.oneof(
    fc.constantFrom(
      'm=audio 4000 RTP/AVP 0 8 101',
      'm=audio 1 RTP/AVP 96',
      'a=rtpmap:96 opus/48000/2',
      'a=rtpmap:8 PCMA/8000',
      'm=video 1 RTP/AVP 97',
      'v=0',
    ),
    fc.string({ maxLength: 60 }),
  )
  fc.assert(
    fc.property(fc.array(line, { maxLength: 60 }), (lines) => {
      const codec = codecOf(Buffer.from(lines.join('\r\n')))
      if (codec !== null && !/^[A-Za-z0-9._-]{1,32}$/.test(codec.name)) throw new Error('no name of a codec')
    }),
    options,
  )
  t.pass()
})
