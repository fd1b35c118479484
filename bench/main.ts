/**
 * `npm run bench`: every row on the same machine, against the same real broker, over the same records. Rows run
 * interleaved, in another order each round, as processes of their own, against a broker that is warm; medians count. A
 * run whose output is not what it must be is disqualified.
 *
 * --quick: 20,000 records, one round · --rows a,d,e · --json: the last line of stdout is the report as JSON · --soak:
 * memory over 1 and 10 million records instead · --records N · --rounds N
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { parseArgs } from 'node:util'
import { ensureTopics, ledgerTopic } from '../src/kafka/topics.js'
import { kafkaAvailable, type KafkaCluster, startKafka } from '../test/helpers/kafka.js'
import { type MessageStatistics, writeMessages } from './core.js'
import { Random, writeCalls } from './generate.js'
import { rdkafkaPerformanceMissing, Topics } from './kafka.js'
import { minimMissing } from './minim.js'
import { ROOT } from './process.js'
import { type BenchReport, machine, median, ratiosOf, reportRow, type RowReport, table } from './report.js'
import type { Context, Measured, Row } from './row.js'
import { latencyRow, ROWS, soak } from './rows.js'
import { SOURCE_ROWS, WORKERS } from './rows-sources.js'

const SEED = 20_251_124
const RECORDS = 500_000
const QUICK_RECORDS = 20_000
const ROUNDS = 5
const LATENCY_SECONDS = 15
const QUICK_LATENCY_SECONDS = 5
/** Records a second for the latency row when (d) was not run. */
const LATENCY_RATE = 60_000
/**
 * Loads before the first round. A broker's code is compiled as it runs: over these its time for a record falls to a
 * fifth.
 */
const WARM_UP_LOADS = 12
/** Load average above which figures say little. */
const BUSY = 1

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    soak: { type: 'boolean', default: false },
    rows: { type: 'string' },
    records: { type: 'string' },
    rounds: { type: 'string' },
  },
})

const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

function positive(name: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number above 0`)
  return value
}

function chosenRows(): Row[] {
  const all = [...ROWS, ...SOURCE_ROWS, latencyRow]
  if (flags.rows === undefined) return all
  const ids = flags.rows.split(',').map((id) => id.trim())
  const unknown = ids.filter((id) => !all.some((row) => row.id === id))
  if (unknown.length > 0)
    throw new Error(`--rows: ${unknown.join(', ')} unknown; there are ${all.map((row) => row.id).join(', ')}`)
  return all.filter((row) => ids.includes(row.id))
}

/** Compiles the Java program against the jars that the broker's come with. */
function compileJava(cluster: KafkaCluster, folder: string): { classpath: string } | { why: string } {
  const classes = join(folder, 'classes')
  mkdirSync(classes)
  const compiled = spawnSync(
    'javac',
    ['-cp', cluster.classpath, '-d', classes, join(ROOT, 'bench/peers/HandWritten.java')],
    { encoding: 'utf8' },
  )
  if (compiled.error !== undefined) return { why: 'javac is not installed: the row needs a JDK' }
  if (compiled.status !== 0) return { why: `javac: ${compiled.stderr.slice(0, 500)}` }
  return { classpath: `${classes}${delimiter}${cluster.classpath}` }
}

function javaVersion(): string | null {
  const found = spawnSync('java', ['-version'], { encoding: 'utf8' })
  return found.status === 0 ? (/version "([^"]+)"/.exec(found.stderr)?.[1] ?? 'unknown') : null
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    const held = out[i]
    out[i] = out[j]
    out[j] = held
  }
  return out
}

interface Results {
  readonly runs: Map<string, Measured[]>
  readonly notRun: Record<string, string>
}

async function runRow(row: Row, context: Context, name: string, results: Results): Promise<void> {
  if (results.notRun[row.id] !== undefined) return
  try {
    const measured = await row.run(context, name)
    const list = results.runs.get(row.id) ?? []
    list.push(measured)
    results.runs.set(row.id, list)
    const latency =
      measured.p99Ms === undefined ? '' : `, p50 ${measured.p50Ms?.toFixed(1)} ms, p99 ${measured.p99Ms.toFixed(1)} ms`
    say(
      `${row.id.padEnd(10)} ${Math.round(measured.records / measured.seconds)
        .toLocaleString('en')
        .padStart(10)} records/s, ` +
        `${((measured.cpuSeconds * 1e6) / measured.records).toFixed(2)} µs/record, ${measured.peakMB.toFixed(0)} MB${latency}`,
    )
  } catch (error) {
    // One bad run disqualifies the row: a median over the runs that went well would hide it.
    results.notRun[row.id] = (error as Error).message
    results.runs.delete(row.id)
    say(`${row.id.padEnd(10)} DISQUALIFIED: ${(error as Error).message}`)
  }
}

/**
 * Not counted: a broker that has just been started would make the first rounds slow, and those rows most that give it
 * most to do.
 */
async function warmUp(context: Context): Promise<void> {
  const load = ROWS.find((row) => row.id === 'd') as Row
  say(`warming the broker: ${WARM_UP_LOADS} loads`)
  for (let i = 1; i <= WARM_UP_LOADS; i++) await load.run(context, `bench-warm-${i}`)
}

async function measureRows(context: Context, rows: readonly Row[], rounds: number, results: Results): Promise<void> {
  const random = new Random(SEED)
  const interleaved = rows.filter((row) => row !== latencyRow)
  for (let round = 1; round <= rounds; round++) {
    say(`round ${round} of ${rounds}`)
    for (const row of shuffled(interleaved, random)) await runRow(row, context, `bench-${row.id}-${round}`, results)
  }
  // Last, since it needs the rate of (d).
  if (!rows.includes(latencyRow)) return
  const full = results.runs.get('d')?.map((r) => r.records / r.seconds)
  context.latency.recordsPerSecond = full === undefined ? LATENCY_RATE : Math.round(median(full) / 4)
  say(`latency at ${context.latency.recordsPerSecond.toLocaleString('en')} records/s`)
  for (let round = 1; round <= rounds; round++) await runRow(latencyRow, context, `bench-latency-${round}`, results)
}

async function measureMemory(context: Context): Promise<void> {
  const calls = readFileSync(context.protobuf)
  const peaks: Record<string, number> = {}
  for (const million of [1, 10]) {
    const path = join(context.folder, 'soak.pb')
    const times = Math.round((million * 1_000_000) / context.records)
    const file = openSync(path, 'w')
    for (let i = 0; i < times; i++) for (let pos = 0; pos < calls.length;) pos += writeSync(file, calls, pos)
    closeSync(file)
    const measured = await soak(context, `bench-soak-${million}`, path, times * context.records)
    peaks[`${million}M`] = Math.round(measured.peakMB)
    say(
      `${million} million records: peak ${measured.peakMB.toFixed(0)} MB, ` +
        `${Math.round(measured.records / measured.seconds).toLocaleString('en')} records/s, ` +
        `${((measured.cpuSeconds * 1e6) / measured.records).toFixed(2)} µs/record`,
    )
    rmSync(path)
  }
  console.log(JSON.stringify({ peakMB: peaks }))
}

async function main(): Promise<number> {
  const rows = chosenRows()
  const records = positive('records', flags.records, flags.quick ? QUICK_RECORDS : RECORDS)
  const rounds = positive('rounds', flags.rounds, flags.quick ? 1 : ROUNDS)
  const folder = mkdtempSync(join(tmpdir(), 'minim-bench-'))
  const results: Results = { runs: new Map(), notRun: {} }
  let cluster: KafkaCluster | null = null
  let topics: Topics | null = null
  try {
    const [busy] = loadavg()
    if (busy > BUSY)
      say(`WARNING: load average is ${busy.toFixed(1)}: something else is running, and figures will say little`)
    say(`making ${records.toLocaleString('en')} records`)
    const paths = {
      protobuf: join(folder, 'calls.pb'),
      jsonl: join(folder, 'calls.jsonl'),
      messages: join(folder, 'messages.bin'),
    }
    writeCalls({ count: records, seed: SEED, baseMs: Date.now() }, paths.protobuf, paths.jsonl)
    const statistics: MessageStatistics = writeMessages(join(ROOT, 'bench/policy.yaml'), paths.protobuf, paths.messages)

    const noKafka = kafkaAvailable() ?? rdkafkaPerformanceMissing()
    const noMinim = minimMissing()
    let classpath: string | null = null
    let noJava = noKafka
    if (noKafka === null && rows.some((row) => row.needs !== 'nothing')) {
      say('starting Kafka')
      cluster = await startKafka()
      topics = new Topics(cluster.bootstrap)
      // One for all rows, of which some need more partitions than the others: made by whichever came first, it would
      // depend on the order.
      await ensureTopics({
        bootstrap: cluster.bootstrap,
        properties: {},
        wanted: [ledgerTopic(WORKERS)],
        replication: 1,
      })
      const compiled = compileJava(cluster, folder)
      if ('classpath' in compiled) classpath = compiled.classpath
      else noJava = compiled.why
    }
    const absent = { nothing: null, kafka: noKafka, java: noJava, minim: noKafka ?? noMinim }
    for (const row of rows) {
      const why = absent[row.needs]
      if (why !== null) results.notRun[row.id] = why
    }
    if (noKafka !== null) say(`NO KAFKA: ${noKafka}. Only rows without Kafka run.`)
    const context: Context = {
      ...paths,
      folder,
      records,
      statistics,
      classpath,
      bootstrap: cluster?.bootstrap ?? '',
      topics: topics as Topics,
      masterKey: randomBytes(32).toString('base64'),
      quick: flags.quick,
      timeoutMs: 60_000 + records / 5 + (flags.soak ? 600_000 : 0),
      latency: { recordsPerSecond: LATENCY_RATE, seconds: flags.quick ? QUICK_LATENCY_SECONDS : LATENCY_SECONDS },
    }
    if (flags.soak) {
      const why = noKafka ?? noMinim
      if (why !== null) throw new Error(why)
      await measureMemory(context)
      return 0
    }
    if (!flags.quick && noKafka === null && noMinim === null && rows.some((row) => row.needs !== 'nothing'))
      await warmUp(context)
    await measureRows(context, rows, rounds, results)
    compareOutputs(results)
    const reported: Record<string, RowReport> = {}
    for (const row of rows) {
      const runs = results.runs.get(row.id)
      if (runs !== undefined) reported[row.id] = reportRow(runs)
    }
    const report: BenchReport = {
      rows: reported,
      ratios: ratiosOf(reported),
      machine: machine(cluster !== null, javaVersion()),
      records,
      notRun: results.notRun,
    }
    const text = table(report, Object.fromEntries(rows.map((row) => [row.id, row.title])))
    if (flags.json) {
      process.stderr.write(text)
      console.log(JSON.stringify(report))
    } else {
      process.stdout.write(text)
    }
    return Object.keys(results.notRun).length > 0 ? 1 : 0
  } finally {
    topics?.close()
    await cluster?.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The programs written by hand do the same work, so they must write the same number of bytes. */
function compareOutputs({ runs, notRun }: Results): void {
  const bytes = (id: string): number | undefined => runs.get(id)?.[0].arrived?.bytes
  const [node, java] = [bytes('f'), bytes('g')]
  if (node === undefined || java === undefined || node === java) return
  for (const id of ['f', 'g']) {
    notRun[id] = `f and g wrote different output: ${node} and ${java} bytes`
    runs.delete(id)
  }
}

// Node-rdkafka's admin client can hold the process open after it was closed.
main().then(
  (code) => {
    process.exit(code)
  },
  (error: unknown) => {
    say((error as Error).message)
    process.exit(1)
  },
)
