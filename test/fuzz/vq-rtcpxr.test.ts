/** Quality reports from anybody: nothing is thrown, figures stay in their ranges, what is read is bounded. */
import fc from 'fast-check'
import t from 'tap'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { vqToQuality } from '../../src/formats/sip/records.js'
import { readVqRtcpxr, VQ_LIMITS } from '../../src/formats/sip/vq-rtcpxr.js'
import { fuzzRuns } from '../helpers/fuzz.js'
import { vqBody } from '../sources/sip/messages.js'
import { catalogue } from '../sources/sip/rig.js'

const seed = Number(process.env['MINIM_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const runs = fuzzRuns()
t.comment(`seed ${seed}, ${runs} runs`)

const token = fc.constantFrom(
  'VQSessionReport',
  'VQIntervalReport',
  'LocalMetrics',
  'RemoteMetrics',
  'Metrics',
  'CallID',
  'LocalID',
  'RemoteID',
  'OrigID',
  'ToID',
  'FromID',
  'LocalAddr',
  'RemoteAddr',
  'LocalMAC',
  'DialogID',
  'Timestamps',
  'SessionDesc',
  'PacketLoss',
  'BurstGapLoss',
  'Delay',
  'QualityEst',
  'START=',
  'STOP=',
  'NLR=',
  'MOSLQ=',
  'RTD=',
  'IAJ',
  'PD=',
  'PT=',
  'IP=',
  'IP',
  '=',
  ':',
  '::',
  ' ',
  '\t',
  '\r\n',
  '\n',
  '\r\n ',
  '0',
  '4.2',
  '4,2',
  '127',
  '65535',
  '-1',
  '1e309',
  'NaN',
  '(null)',
  '9'.repeat(40),
  '2026-11-24T10:00:00Z',
  '9999-99-99T99:99:99Z',
  '<sip:1004@pbx.example>',
  '"',
  '<',
  '>',
  '\0',
  'é',
  '\ud83d\ude00',
  '192.0.2.1',
  '2001:db8::1',
  '00005e005304',
)
const written = fc
  .array(token, { maxLength: 80 })
  .map((parts) => Buffer.from(`VQSessionReport: CallTerm\r\nLocalMetrics:\r\n${parts.join('')}`))
const broken = fc
  .tuple(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 12 }), fc.nat(2500))
  .map(([changes, cut]) => {
    const copy = Buffer.from(vqBody())
    for (const [at, byte] of changes) copy[at % copy.length] = byte
    return copy.subarray(0, cut)
  })
const bytes = fc.oneof(
  written,
  broken,
  fc.uint8Array({ maxLength: 400 }).map((b) => Buffer.from(b)),
  fc.string({ maxLength: 300 }).map((s) => Buffer.from(s)),
)

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  mos_lq: [1, 5],
  mos_cq: [1, 5],
  r_factor: [0, 120],
  loss_percent: [0, 100],
  discard_percent: [0, 100],
  burst_loss_percent: [0, 100],
  gap_loss_percent: [0, 100],
  jitter_ms: [0, 65_534.999999999],
  round_trip_ms: [0, 65_534.999999999],
  one_way_delay_ms: [0, 65_534.999999999],
  end_system_delay_ms: [0, 65_534.999999999],
  burst_ms: [0, 65_534.999999999],
  gap_ms: [0, 65_534.999999999],
  start_ms: [1, Number.MAX_SAFE_INTEGER],
  end_ms: [1, Number.MAX_SAFE_INTEGER],
  duration_seconds: [0, 4_294_967_295 * 1000],
}

t.test('whatever comes: figures in their ranges, no more than there was', async () => {
  const writer = new RecordWriter(catalogue)
  fc.assert(
    fc.property(bytes, (input) => {
      const reports = readVqRtcpxr(input)
      if (reports === null) return true
      if (reports.length > VQ_LIMITS.reports) return false
      for (const record of vqToQuality(reports, null, { seenMs: 1 })) {
        for (const [name, value] of Object.entries(record)) {
          if (typeof value === 'number') {
            const range = RANGES[name]
            if (!(value >= range[0] && value <= range[1])) return false
          } else if (typeof value === 'string' && value.length > input.length + 64) return false
        }
        writer.add('quality', record)
      }
      return writer.take().length <= 100 * input.length + 4096
    }),
    { numRuns: runs, seed },
  )
})

t.test('hostile ones', async (t) => {
  const n = 65_000
  const start = 'VQSessionReport: CallTerm\r\nLocalMetrics:\r\nDelay:'
  const hostile: readonly (readonly [name: string, text: string])[] = [
    ['signs', '='.repeat(n)],
    ['names', 'A=1 '.repeat(n / 4)],
    ['one name', 'A'.repeat(n)],
    ['spaces', ' '.repeat(n)],
    ['folds', '\r\n A=1'.repeat(n / 7)],
    ['lines', '\r\nDelay:RTD=1'.repeat(n / 14)],
    ['reports', '\r\nVQSessionReport\r\nDelay:RTD=1'.repeat(2000)],
    ['quotes', '\r\nLocalID: "'.repeat(5000)],
    ['digits', `RTD=${'9'.repeat(n - 100)}`],
    ['NULs', '\0'.repeat(n)],
    ['dots', `RTD=${'1.'.repeat(n / 3)}`],
    ['addresses', `\r\nLocalAddr:${'IP='.repeat(20_000)}`],
    ['addresses with spaces', `\r\nLocalAddr:IP${' '.repeat(60_000)}=1`],
  ]
  for (const [name, text] of hostile) {
    const reports = readVqRtcpxr(Buffer.from(start + text))
    t.ok(reports === null || reports.length <= VQ_LIMITS.reports, name)
  }
})
