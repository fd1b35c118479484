/** The rows of the benchmark: each runs as processes of its own against the same broker, and says what came of it. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import type { MessageStatistics } from './core.js'
import { countArrived, PARTITIONS, PRODUCER, RDKAFKA_PERFORMANCE, type Arrived, type Topics } from './kafka.js'
import { lastJson, ROOT, run, start, type Finished, type RunOptions } from './process.js'

export interface Context {
  readonly bootstrap: string
  readonly topics: Topics
  /** Input, settings and reports: removed at the end. */
  readonly folder: string
  readonly records: number
  /** Calls as length-delimited batches, and as JSON Lines. */
  readonly protobuf: string
  readonly jsonl: string
  /** The same calls as the messages that the policy makes of them. */
  readonly messages: string
  readonly statistics: MessageStatistics
  /** Class path of the compiled Java program; null: Java is not here. */
  readonly classpath: string | null
  readonly masterKey: string
  readonly timeoutMs: number
  /** Records a second of the latency row, and for how long. */
  latency: { recordsPerSecond: number; seconds: number }
}

/** What one run of a row gave. */
export interface Measured {
  readonly records: number
  readonly messages: number
  /** From the first byte read to the last message acknowledged. Start of the process and connecting are not in it. */
  readonly seconds: number
  /** The whole process's life. */
  readonly wallSeconds: number
  /** User and system time of the whole process, its start included; the broker's and a load generator's are not. */
  readonly cpuSeconds: number
  readonly peakMB: number
  readonly p50Ms?: number
  readonly p99Ms?: number
  /** What a consumer found in the topics. */
  readonly arrived?: Arrived
}

export interface Row {
  readonly id: string
  readonly title: string
  readonly needs: 'nothing' | 'kafka' | 'java' | 'minim'
  /** @param name of this run: no other run, and no topic, has it */
  run(context: Context, name: string): Promise<Measured>
}

const PURPOSES = ['billing', 'quality', 'analytics'] as const
const MAIN = join(ROOT, 'dist/src/cli/main.js')
const BENCH_POLICY = join(ROOT, 'bench/policy.yaml')
const DEFAULT_POLICY = join(ROOT, 'config/policy.yaml')
const TRANSFORM_PASSES = 4
const LATENCY_BATCH_CALLS = 100
const READY_TIMEOUT_MS = 60_000

export class Disqualified extends Error {}

function expectEqual(what: string, found: number, expected: number): void {
  if (found !== expected) throw new Disqualified(`${what}: ${found}, expected ${expected}`)
}

function options(context: Context, env: Record<string, string> = {}): RunOptions {
  return { folder: context.folder, timeoutMs: context.timeoutMs, env }
}

function program(name: string): string {
  return join(ROOT, 'dist/bench/programs', `${name}.js`)
}

/** Makes fresh topics, runs, counts what arrived, removes the topics. */
async function withTopics<T extends Measured>(context: Context, names: readonly string[], create: boolean, body: () => Promise<T>): Promise<T & { arrived: Arrived }> {
  if (create) await context.topics.create(names)
  try {
    const measured = await body()
    const arrived = await countArrived(context.bootstrap, names, options(context))
    expectEqual('messages that a consumer found', arrived.messages, measured.messages)
    return { ...measured, arrived }
  } finally {
    await context.topics.remove(names)
  }
}

/** (a) librdkafka's own benchmark: one process for each topic, all at once, which is its fastest way to fill three topics. */
function rdkafkaPerformance(id: string, title: string, keyed: boolean): Row {
  return {
    id, title, needs: 'kafka',
    async run(context, name) {
      const topics = PURPOSES.map((p) => `${name}.${p}`)
      return withTopics(context, topics, true, async () => {
        const runs = await Promise.all(context.statistics.perTopic.map((t, i) => {
          const key = keyed ? Math.round(t.keyBytes / t.messages) : 0
          const size = Math.round((t.valueBytes + t.keyBytes) / t.messages) - key
          // Every message of it has the same key, so a keyed run spreads them with the partitioner `random`.
          const asKeyed = keyed ? ['-k', '0123456789abcdef'.slice(0, key), '-X', 'partitioner=random', '-X', 'enable.idempotence=true'] : []
          return run(RDKAFKA_PERFORMANCE, ['-P', '-b', context.bootstrap, '-t', topics[i], '-c', String(t.messages), '-s', String(size), '-q',
            '-X', `acks=${PRODUCER.acks}`, '-z', PRODUCER['compression.codec'], '-X', 'linger.ms=5', ...asKeyed], options(context))
        }))
        let seconds = 0
        runs.forEach(({ stdout }, i) => {
          const found = /(\d+) delivered \(offset -?\d+, (\d+) failed\) in (\d+)ms/.exec(stdout)
          if (found === null) throw new Error(`no result in: ${stdout.slice(-300)}`)
          expectEqual('delivered', Number(found[1]), context.statistics.perTopic[i].messages)
          expectEqual('failed', Number(found[2]), 0)
          seconds = Math.max(seconds, Number(found[3]) / 1000)
        })
        return { records: context.records, messages: context.statistics.messages, seconds, ...costOf(runs) }
      })
    },
  }
}

function costOf(runs: readonly Finished[]): { wallSeconds: number; cpuSeconds: number; peakMB: number } {
  return {
    wallSeconds: Math.max(...runs.map((r) => r.wallSeconds)),
    cpuSeconds: runs.reduce((sum, r) => sum + r.cpuSeconds, 0),
    peakMB: runs.reduce((sum, r) => sum + r.peakMB, 0),
  }
}

const bare: Row = {
  id: 'b', title: 'bare node-rdkafka in transactions, messages ready', needs: 'kafka',
  async run(context, name) {
    const topics = PURPOSES.map((p) => `${name}.${p}`)
    return withTopics(context, topics, true, async () => {
      const finished = await run('node', [program('bare'), context.bootstrap, context.messages, name, ...topics], options(context))
      const report = lastJson(finished.stdout)
      expectEqual('produced', Number(report['produced']), context.statistics.messages)
      return {
        records: context.records, messages: context.statistics.messages, seconds: Number(report['seconds']), ...costOf([finished]),
        // Making the messages ready is not what is measured.
        cpuSeconds: Number(report['cpuSeconds']),
      }
    })
  },
}

function peer(id: string, title: string, needs: 'kafka' | 'java', command: (context: Context) => readonly string[]): Row {
  return {
    id, title, needs,
    async run(context, name) {
      const topics = PURPOSES.map((p) => `${name}.${p}`)
      return withTopics(context, topics, true, async () => {
        const [executable, ...args] = command(context)
        const finished = await run(executable, [...args, context.jsonl, context.bootstrap, name], options(context))
        const report = lastJson(finished.stdout)
        expectEqual('records', Number(report['records']), context.records)
        expectEqual('produced', Number(report['produced']), context.records * PURPOSES.length)
        return { records: context.records, messages: context.records * PURPOSES.length, seconds: Number(report['seconds']), ...costOf([finished]) }
      })
    },
  }
}

const transform: Row = {
  id: 'transform', title: 'reader and pipeline only, protobuf in memory, no Kafka', needs: 'nothing',
  async run(context) {
    const finished = await run('node', [program('transform'), BENCH_POLICY, context.protobuf, String(TRANSFORM_PASSES)], options(context))
    const report = lastJson(finished.stdout)
    const records = context.records * TRANSFORM_PASSES
    expectEqual('records', Number(report['records']), records)
    expectEqual('messages', Number(report['produced']), context.statistics.messages * TRANSFORM_PASSES)
    expectEqual('bytes', Number(report['bytes']), context.statistics.perTopic.reduce((sum, t) => sum + t.valueBytes, 0) * TRANSFORM_PASSES)
    return {
      records, messages: Number(report['produced']), seconds: Number(report['seconds']), ...costOf([finished]), cpuSeconds: Number(report['cpuSeconds']),
    }
  },
}

interface MinimRun {
  readonly settings: string
  readonly policy: string
  readonly topics: readonly string[]
  readonly env: Record<string, string>
  readonly grpc: string
  readonly ops: string
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => { resolve(typeof address === 'object' && address !== null ? address.port : 0) })
    })
  })
}

interface PolicyDocument {
  purposes: Record<string, Record<string, { topic?: string }> & { enabled?: boolean }>
}

/** Settings, key store and policy of one run: topics of its own, so that what it finds there it has written. */
async function prepareMinim(context: Context, name: string, policyPath: string): Promise<MinimRun> {
  const folder = join(context.folder, name)
  mkdirSync(folder)
  const document = parse(readFileSync(policyPath, 'utf8')) as PolicyDocument
  const topics: string[] = []
  for (const [purpose, rules] of Object.entries(document.purposes)) {
    for (const kind of ['call', 'quality', 'device']) {
      if (rules[kind] === undefined) continue
      rules[kind].topic = `${name}.${purpose}.${kind}`
      if (rules.enabled !== false) topics.push(rules[kind].topic)
    }
  }
  const policy = join(folder, 'policy.yaml')
  writeFileSync(policy, stringify(document))
  const [grpcPort, opsPort] = [await freePort(), await freePort()]
  const settings = join(folder, 'minim.yaml')
  writeFileSync(settings, stringify({
    cluster: name, policy: 'policy.yaml', kafka: { 'bootstrap.servers': context.bootstrap },
    topics: { partitions: PARTITIONS, replication: 1 },
    keys: { store: 'keys.json' },
    grpc: { listen: `127.0.0.1:${grpcPort}` }, ops: { listen: `127.0.0.1:${opsPort}` }, log: { level: 'warn' },
  }))
  const env = { MINIM_MASTER_KEY: context.masterKey }
  await run('node', [MAIN, 'keys', 'init', '--config', settings], options(context, env))
  return { settings, policy, topics, env, grpc: `127.0.0.1:${grpcPort}`, ops: `http://127.0.0.1:${opsPort}` }
}

/** null when the program can be run, else why not. */
export function minimMissing(): string | null {
  const found = spawnSync('node', [MAIN, 'load', '--help'], { encoding: 'utf8' })
  return found.status === 0 && found.stdout.includes('minim load') ? null : 'the program is not built: run `npm run build`'
}

interface LoadReport {
  readonly records: number
  readonly produced: Readonly<Record<string, number>>
  readonly withheld: Readonly<Record<string, number>>
  readonly quarantined: number
  readonly seconds: number
  readonly cpuSeconds: number
}

/** Runs `minim load` over a file. */
async function minimLoad(context: Context, prepared: MinimRun, name: string, file: string, format: readonly string[], records: number): Promise<Measured> {
  const finished = await run('node', [MAIN, 'load', file, '--config', prepared.settings, '--brokers', context.bootstrap, '--policy', prepared.policy,
    '--source', name, '--format', ...format], options(context, prepared.env))
  const report = lastJson(finished.stdout) as unknown as LoadReport
  expectEqual('records', report.records, records)
  expectEqual('quarantined', report.quarantined, 0)
  const messages = Object.values(report.produced).reduce((sum, n) => sum + n, 0)
  return { records, messages, seconds: report.seconds, ...costOf([finished]) }
}

function load(id: string, title: string, policyPath: string, file: (context: Context) => string, format: readonly string[]): Row {
  return {
    id, title, needs: 'minim',
    async run(context, name) {
      const prepared = await prepareMinim(context, name, policyPath)
      const measured = await withTopics(context, prepared.topics, false, () => minimLoad(context, prepared, name, file(context), format, context.records))
      if (policyPath === BENCH_POLICY) expectBenchMessages(context, measured)
      return measured
    },
  }
}

/** The same records under the same policy are the same number of bytes, whichever way they came. */
function expectBenchMessages(context: Context, { messages, arrived }: Measured): void {
  expectEqual('messages', messages, context.statistics.messages)
  if (arrived !== undefined) expectEqual('bytes that a consumer found', arrived.bytes, context.statistics.perTopic.reduce((sum, t) => sum + t.valueBytes, 0))
}

async function untilReady(ops: string, ended: Promise<unknown>): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS
  let over: unknown = null
  ended.catch((error: unknown) => { over = error })
  while (Date.now() < deadline) {
    if (over !== null) throw over as Error
    try {
      const answer = await fetch(`${ops}/readyz`)
      await answer.arrayBuffer()
      if (answer.ok) return
    } catch { /* not listening yet */ }
    await new Promise((resolve) => { setTimeout(resolve, 50) })
  }
  throw new Error(`minim was not ready within ${READY_TIMEOUT_MS / 1000} s`)
}

interface Served {
  readonly report: Record<string, unknown>
  readonly finished: Finished
}

/** Runs `minim run`, a client against its gRPC port, and ends it when the client is done. */
async function serve(context: Context, prepared: MinimRun, client: readonly string[]): Promise<Served> {
  const server = start('node', [MAIN, 'run', '--config', prepared.settings], options(context, prepared.env))
  try {
    await untilReady(prepared.ops, server.done)
    const { stdout } = await run('node', [program('grpc-load'), prepared.grpc, ...client], options(context))
    server.stop()
    return { report: lastJson(stdout), finished: await server.done }
  } catch (error) {
    server.stop()
    await server.done.catch(() => undefined)
    throw error
  }
}

const grpc: Row = {
  id: 'c', title: 'minim run, protobuf by gRPC', needs: 'minim',
  async run(context, name) {
    const prepared = await prepareMinim(context, name, BENCH_POLICY)
    const measured = await withTopics(context, prepared.topics, false, async () => {
      const { report, finished } = await serve(context, prepared, [name, context.protobuf])
      return { records: context.records, messages: context.statistics.messages, seconds: Number(report['seconds']), ...costOf([finished]) }
    })
    expectBenchMessages(context, measured)
    return measured
  },
}

/** Receipt to commit at a quarter of full load, as a client of the gRPC port sees it: from when a batch was due to its acknowledgement. */
export const latencyRow: Row = {
  id: 'latency', title: 'minim run by gRPC at a quarter of (d)\'s rate', needs: 'minim',
  async run(context, name) {
    const { recordsPerSecond, seconds } = context.latency
    const prepared = await prepareMinim(context, name, BENCH_POLICY)
    const { report, finished } = await serve(context, prepared, [name, context.protobuf, String(LATENCY_BATCH_CALLS), String(recordsPerSecond), String(seconds)])
    await context.topics.remove(prepared.topics)
    const records = Number(report['batches']) * LATENCY_BATCH_CALLS
    if (!(Number(report['p99Ms']) > 0)) throw new Disqualified('no batch was timed')
    return {
      records, messages: records * PURPOSES.length, seconds: Number(report['seconds']), ...costOf([finished]),
      p50Ms: Number(report['p50Ms']), p99Ms: Number(report['p99Ms']),
    }
  },
}

/** Peak memory of `minim load` over a file that holds the calls so many times. */
export async function soak(context: Context, name: string, file: string, records: number): Promise<Measured> {
  const prepared = await prepareMinim(context, name, BENCH_POLICY)
  try {
    return await minimLoad(context, prepared, name, file, ['protobuf'], records)
  } finally {
    await context.topics.remove(prepared.topics)
  }
}

export const ROWS: readonly Row[] = [
  rdkafkaPerformance('a', 'raw limit: librdkafka\'s C benchmark, acks=all, lz4', false),
  rdkafkaPerformance('ak', 'the same, keyed and idempotent, as transactions are', true),
  bare,
  grpc,
  load('d', 'minim load, protobuf', BENCH_POLICY, (c) => c.protobuf, ['protobuf']),
  load('e', 'minim load, JSON Lines', BENCH_POLICY, (c) => c.jsonl, ['jsonl', '--map', 'minim']),
  peer('f', 'written by hand for Node, JSON Lines', 'kafka', () => ['node', join(ROOT, 'bench/peers/hand-written-node.mjs')]),
  peer('g', 'written by hand for Java, JSON Lines', 'java', (c) => ['java', '-Xmx512m', '-cp', c.classpath ?? '', 'HandWritten']),
  load('d7', 'minim load, protobuf, the default policy: all purposes', DEFAULT_POLICY, (c) => c.protobuf, ['protobuf']),
  transform,
]
