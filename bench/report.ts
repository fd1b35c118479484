/** Medians, ratios and the table: what the benchmark says. */
import { cpus, release, totalmem } from 'node:os'
import Kafka from 'node-rdkafka'
import { KAFKA_VERSION } from '../test/helpers/kafka.js'
import type { Measured } from './row.js'

export interface RowReport {
  readonly recordsPerSecond: number
  readonly messagesPerSecond: number
  readonly cpuMicrosPerRecord: number
  readonly peakMB: number
  /** By the life of the whole process, start and end included. */
  readonly wholeRecordsPerSecond: number
  /** Slowest and fastest run, records a second. */
  readonly spread: readonly [number, number]
  readonly runs: number
  readonly p50Ms?: number
  readonly p99Ms?: number
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

export function reportRow(runs: readonly Measured[]): RowReport {
  const of = (value: (run: Measured) => number): number => median(runs.map(value))
  const rates = runs.map((r) => r.records / r.seconds)
  return {
    recordsPerSecond: Math.round(median(rates)),
    messagesPerSecond: Math.round(of((r) => r.messages / r.seconds)),
    cpuMicrosPerRecord: rounded(
      of((r) => (r.cpuSeconds * 1e6) / r.records),
      2,
    ),
    peakMB: rounded(
      of((r) => r.peakMB),
      1,
    ),
    wholeRecordsPerSecond: Math.round(of((r) => r.records / r.wallSeconds)),
    spread: [Math.round(Math.min(...rates)), Math.round(Math.max(...rates))],
    runs: runs.length,
    ...(runs[0].p50Ms === undefined
      ? {}
      : {
          p50Ms: rounded(
            of((r) => r.p50Ms ?? NaN),
            2,
          ),
        }),
    ...(runs[0].p99Ms === undefined
      ? {}
      : {
          p99Ms: rounded(
            of((r) => r.p99Ms ?? NaN),
            2,
          ),
        }),
  }
}

interface Ratio {
  readonly name: string
  readonly of: string
  readonly to: string
  readonly by: 'messagesPerSecond' | 'recordsPerSecond' | 'cpuMicrosPerRecord'
  /** What is aimed at. */
  readonly least?: number
  readonly most?: number
}

const RATIOS: readonly Ratio[] = [
  { name: 'd/a', of: 'd', to: 'a', by: 'messagesPerSecond', least: 0.33 },
  { name: 'd/ak', of: 'd', to: 'ak', by: 'messagesPerSecond' },
  { name: 'd/b', of: 'd', to: 'b', by: 'messagesPerSecond' },
  { name: 'b/a', of: 'b', to: 'a', by: 'messagesPerSecond' },
  { name: 'd7/a', of: 'd7', to: 'a', by: 'messagesPerSecond', least: 0.3 },
  { name: 'd/f', of: 'd', to: 'f', by: 'recordsPerSecond', least: 4 },
  { name: 'c/d', of: 'c', to: 'd', by: 'recordsPerSecond', least: 0.8 },
  { name: 'e/d', of: 'e', to: 'd', by: 'recordsPerSecond', least: 0.75 },
  { name: 'e/g', of: 'e', to: 'g', by: 'recordsPerSecond', least: 2 },
  { name: 'e/g cpu', of: 'e', to: 'g', by: 'cpuMicrosPerRecord', most: 0.334 },
  { name: 'http/e', of: 'http', to: 'e', by: 'recordsPerSecond', least: 0.7 },
  { name: 'http/direct', of: 'http', to: 'direct', by: 'recordsPerSecond', least: 0.75 },
  { name: 'http/direct cpu', of: 'http', to: 'direct', by: 'cpuMicrosPerRecord' },
  { name: 'workers2/transform', of: 'workers2', to: 'transform', by: 'recordsPerSecond', least: 1.5 },
  { name: 'handover/owner', of: 'handover', to: 'owner', by: 'recordsPerSecond' },
  { name: 'handover/owner cpu', of: 'handover', to: 'owner', by: 'cpuMicrosPerRecord' },
]

interface Rate {
  readonly row: string
  readonly unit: string
  readonly least: number
  /** Aimed at is what one core could do, by the CPU of a unit; else what was seen beside a broker and a sender. */
  readonly ofOneCore?: true
}

const RATES: readonly Rate[] = [
  { row: 'transform', unit: 'records', least: 700_000 },
  { row: 'freeswitch', unit: 'posts', least: 8000, ofOneCore: true },
  { row: 'ami', unit: 'events', least: 30_000 },
  { row: 'hep-udp', unit: 'packets', least: 60_000 },
  { row: 'hep-tcp', unit: 'packets', least: 100_000 },
  { row: 'vq', unit: 'bodies', least: 30_000 },
]

const P99_MOST_MS = 50
const PEAK_MOST_MB = 200

export function ratiosOf(rows: Readonly<Record<string, RowReport>>): Record<string, number> {
  const ratios: Record<string, number> = {}
  for (const { name, of, to, by } of RATIOS) {
    if (rows[of] !== undefined && rows[to] !== undefined) ratios[name] = rounded(rows[of][by] / rows[to][by], 3)
  }
  return ratios
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGB: number
  readonly kernel: string
  readonly node: string
  readonly librdkafka: string
  readonly kafka: string | null
  readonly java: string | null
  readonly date: string
}

export function machine(kafka: boolean, java: string | null): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 2 ** 30),
    kernel: `${process.platform} ${release()}`,
    node: process.version,
    librdkafka: Kafka.librdkafkaVersion,
    kafka: kafka ? KAFKA_VERSION : null,
    java,
    date: new Date().toISOString().slice(0, 10),
  }
}

export interface BenchReport {
  readonly rows: Readonly<Record<string, RowReport>>
  readonly ratios: Readonly<Record<string, number>>
  readonly machine: Machine
  readonly records: number
  readonly notRun: Readonly<Record<string, string>>
}

/** The report for people: every row, every ratio with what was aimed at, and what was missed. */
export function table(report: BenchReport, titles: Readonly<Record<string, string>>): string {
  const { machine: m } = report
  const lines = [
    `${m.cores} × ${m.cpu}, ${m.memoryGB} GB, ${m.kernel}; Node ${m.node}, librdkafka ${m.librdkafka}, ` +
      `Kafka ${m.kafka ?? 'none'}, Java ${m.java ?? 'none'}; ${m.date}`,
    `${report.records.toLocaleString('en')} records; medians; a record is three messages (d7: as many as the default ` +
      'policy makes of it; rows of sources: records are their posts, events or packets)',
    '',
    ['row', 'records/s', 'slowest', 'fastest', 'messages/s', 'CPU µs/record', 'peak MB', 'whole rec/s', '']
      .map((h, i) => pad(h, i))
      .join(' '),
  ]
  for (const [id, row] of Object.entries(report.rows)) {
    const latency = row.p99Ms === undefined ? '' : ` (p50 ${row.p50Ms} ms, p99 ${row.p99Ms} ms)`
    lines.push(
      [
        id,
        number(row.recordsPerSecond),
        number(row.spread[0]),
        number(row.spread[1]),
        number(row.messagesPerSecond),
        row.cpuMicrosPerRecord.toFixed(2),
        row.peakMB.toFixed(0),
        number(row.wholeRecordsPerSecond),
        `${titles[id] ?? ''}${latency}`,
      ]
        .map((cell, i) => pad(cell, i))
        .join(' '),
    )
  }
  lines.push('')
  for (const { name, by, least, most } of RATIOS) {
    const value = report.ratios[name]
    if (value === undefined) continue
    lines.push(
      `${name.padEnd(18)} ${value.toFixed(3).padStart(8)}  ${by}` +
        (least === undefined ? '' : `, at least ${least}${missed(value < least)}`) +
        (most === undefined ? '' : `, at most ${most}${missed(value > most)}`),
    )
  }
  for (const { row: id, unit, least, ofOneCore } of RATES) {
    const row = report.rows[id]
    if (row === undefined) continue
    const oneCore = Math.round(1e6 / row.cpuMicrosPerRecord)
    const judged = ofOneCore === true ? oneCore : row.recordsPerSecond
    lines.push(
      `${id.padEnd(18)} ${number(row.recordsPerSecond)} ${unit}/s, one core's worth ${number(oneCore)}; ` +
        `at least ${number(least)}${ofOneCore === true ? ' of one core' : ''}${missed(judged < least)}`,
    )
  }
  const { latency, d } = report.rows
  if (latency?.p99Ms !== undefined) lines.push(`p99: at most ${P99_MOST_MS} ms${missed(latency.p99Ms > P99_MOST_MS)}`)
  if (d !== undefined) lines.push(`peak memory of d: at most ${PEAK_MOST_MB} MB${missed(d.peakMB > PEAK_MOST_MB)}`)
  for (const [id, why] of Object.entries(report.notRun)) lines.push(`NOT RUN  ${id}: ${why}`)
  return `${lines.join('\n')}\n`
}

function missed(yes: boolean): string {
  return yes ? '  << MISSED' : ''
}

function number(value: number): string {
  return value.toLocaleString('en')
}

const WIDTHS = [10, 11, 11, 11, 11, 13, 8, 11, 0]

function pad(text: string, column: number): string {
  return column === 0 || column === WIDTHS.length - 1 ? text.padEnd(WIDTHS[column]) : text.padStart(WIDTHS[column])
}
