/** What the benchmark says of its rows: medians, ratios, what was aimed at and missed. */
import t from 'tap'
import { type BenchReport, machine, ratiosOf, reportRow, type RowReport, table } from '../../bench/report.js'
import type { Measured } from '../../bench/row.js'

const run = (over: Partial<Measured>): Measured => ({
  records: 1000,
  messages: 3000,
  seconds: 1,
  wallSeconds: 2,
  cpuSeconds: 0.01,
  peakMB: 100,
  ...over,
})

function lines(rows: Record<string, RowReport>): (start: string) => string {
  const report: BenchReport = {
    rows,
    ratios: ratiosOf(rows),
    machine: machine(true, null),
    records: 1000,
    notRun: { g: 'no Java' },
  }
  const text = table(report, {}).split('\n')
  return (start) => text.filter((line) => line.startsWith(`${start} `)).at(-1) ?? ''
}

void t.test('a row is the median of its runs', (t) => {
  const row = reportRow([run({ seconds: 4 }), run({ seconds: 1 }), run({ seconds: 2, cpuSeconds: 0.03 })])
  t.match(row, { recordsPerSecond: 500, messagesPerSecond: 1500, cpuMicrosPerRecord: 10, spread: [250, 1000], runs: 3 })
  t.notOk('p99Ms' in row)
  t.end()
})

void t.test('ratios of the sources, kept and missed', (t) => {
  const at = (perSecond: number, cpuMicros = 10): RowReport =>
    reportRow([run({ seconds: 1000 / perSecond, cpuSeconds: cpuMicros / 1000 })])
  const kept = lines({
    e: at(100_000),
    http: at(70_000),
    direct: at(80_000),
    transform: at(700_000),
    workers2: at(1_060_000),
    owner: at(80_000),
    handover: at(60_000),
  })
  t.match(kept('http/e '), /0\.700.*at least 0\.7$/)
  t.match(kept('http/direct '), /0\.875.*at least 0\.75$/)
  t.match(kept('workers2/transform '), /1\.514.*at least 1\.5$/)
  t.match(kept('handover/owner '), /0\.750 {2}recordsPerSecond$/)
  t.match(kept('transform '), /700,000 records\/s.*at least 700,000$/)
  const missed = lines({
    e: at(100_000),
    http: at(69_000),
    direct: at(100_000),
    transform: at(600_000),
    workers2: at(600_000),
  })
  for (const name of ['http/e ', 'http/direct ', 'workers2/transform ', 'transform '])
    t.match(missed(name), /<< MISSED$/, name)
  t.match(missed('NOT RUN'), /g: no Java/)
  t.equal(missed('handover/owner '), '', 'what was not run has no ratio')
  t.end()
})

void t.test('rates: posts by what one core could do, the rest as they were', (t) => {
  const at = (perSecond: number, cpuMicros: number): RowReport =>
    reportRow([run({ seconds: 1000 / perSecond, cpuSeconds: cpuMicros / 1000 })])
  const one = lines({
    freeswitch: at(5000, 100),
    ami: at(29_000, 10),
    'hep-udp': at(61_000, 30),
    'hep-tcp': at(100_000, 9),
    vq: at(20_000, 10),
  })
  t.match(one('freeswitch '), /5,000 posts\/s, one core's worth 10,000; at least 8,000 of one core$/)
  t.match(one('ami '), /29,000 events\/s, one core's worth 100,000; at least 30,000 {2}<< MISSED$/)
  t.match(one('hep-udp '), /at least 60,000$/)
  t.match(one('hep-tcp '), /at least 100,000$/)
  t.match(one('vq '), /bodies\/s.*<< MISSED$/)
  t.match(lines({ freeswitch: at(9000, 130) })('freeswitch '), /<< MISSED$/)
  t.end()
})
