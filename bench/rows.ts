/** The rows of the benchmark: each runs as processes of its own against the same broker, and says what came of it. */
import { join } from 'node:path'
import { PRODUCER, RDKAFKA_PERFORMANCE } from './kafka.js'
import { grpcLoad, MAIN, type MinimRun, prepareMinim, serving } from './minim.js'
import { lastJson, ROOT, run } from './process.js'
import {
  BENCH_POLICY,
  type Context,
  costOf,
  Disqualified,
  expectBenchMessages,
  expectEqual,
  type Measured,
  options,
  program,
  PURPOSES,
  type Row,
  withTopics,
} from './row.js'

const DEFAULT_POLICY = join(ROOT, 'config/policy.yaml')
/** Passes over the file, so that there is something to measure. */
const TRANSFORM_PASSES = 4
const LATENCY_BATCH_CALLS = 100

/**
 * (a) librdkafka's own benchmark: one process for each topic, all at once, which is its fastest way to fill three
 * topics.
 */
function rdkafkaPerformance(id: string, title: string, keyed: boolean): Row {
  return {
    id,
    title,
    needs: 'kafka',
    async run(context, name) {
      const topics = PURPOSES.map((p) => `${name}.${p}`)
      return withTopics(context, topics, true, async () => {
        const runs = await Promise.all(
          context.statistics.perTopic.map((t, i) => {
            const key = keyed ? Math.round(t.keyBytes / t.messages) : 0
            const size = Math.round((t.valueBytes + t.keyBytes) / t.messages) - key
            // Every message of it has the same key, so a keyed run spreads them with the partitioner `random`.
            const asKeyed = keyed
              ? ['-k', '0123456789abcdef'.slice(0, key), '-X', 'partitioner=random', '-X', 'enable.idempotence=true']
              : []
            return run(
              RDKAFKA_PERFORMANCE,
              [
                '-P',
                '-b',
                context.bootstrap,
                '-t',
                topics[i],
                '-c',
                String(t.messages),
                '-s',
                String(size),
                '-q',
                '-X',
                `acks=${PRODUCER.acks}`,
                '-z',
                PRODUCER['compression.codec'],
                '-X',
                'linger.ms=5',
                ...asKeyed,
              ],
              options(context),
            )
          }),
        )
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

const bare: Row = {
  id: 'b',
  title: 'bare node-rdkafka in transactions, messages ready',
  needs: 'kafka',
  async run(context, name) {
    const topics = PURPOSES.map((p) => `${name}.${p}`)
    return withTopics(context, topics, true, async () => {
      const finished = await run(
        'node',
        [program('bare'), context.bootstrap, context.messages, name, ...topics],
        options(context),
      )
      const report = lastJson(finished.stdout)
      expectEqual('produced', Number(report['produced']), context.statistics.messages)
      return {
        records: context.records,
        messages: context.statistics.messages,
        seconds: Number(report['seconds']),
        ...costOf([finished]),
        // Making the messages ready is not what is measured.
        cpuSeconds: Number(report['cpuSeconds']),
      }
    })
  },
}

function peer(
  id: string,
  title: string,
  needs: 'kafka' | 'java',
  command: (context: Context) => readonly string[],
): Row {
  return {
    id,
    title,
    needs,
    async run(context, name) {
      const topics = PURPOSES.map((p) => `${name}.${p}`)
      return withTopics(context, topics, true, async () => {
        const [executable, ...args] = command(context)
        const finished = await run(executable, [...args, context.jsonl, context.bootstrap, name], options(context))
        const report = lastJson(finished.stdout)
        expectEqual('records', Number(report['records']), context.records)
        expectEqual('produced', Number(report['produced']), context.records * PURPOSES.length)
        return {
          records: context.records,
          messages: context.records * PURPOSES.length,
          seconds: Number(report['seconds']),
          ...costOf([finished]),
        }
      })
    },
  }
}

/** One process that runs the pipeline over the file some times, and when it began and ended. */
export async function transformPasses(
  context: Context,
): Promise<{ readonly measured: Measured; readonly beganMs: number; readonly endedMs: number }> {
  const finished = await run(
    'node',
    [program('transform'), BENCH_POLICY, context.protobuf, String(TRANSFORM_PASSES)],
    options(context),
  )
  const report = lastJson(finished.stdout)
  const records = context.records * TRANSFORM_PASSES
  expectEqual('records', Number(report['records']), records)
  expectEqual('messages', Number(report['produced']), context.statistics.messages * TRANSFORM_PASSES)
  expectEqual(
    'bytes',
    Number(report['bytes']),
    context.statistics.perTopic.reduce((sum, t) => sum + t.valueBytes, 0) * TRANSFORM_PASSES,
  )
  const beganMs = Number(report['beganMs'])
  const seconds = Number(report['seconds'])
  const measured = {
    records,
    messages: Number(report['produced']),
    seconds,
    ...costOf([finished]),
    cpuSeconds: Number(report['cpuSeconds']),
  }
  return { measured, beganMs, endedMs: beganMs + seconds * 1000 }
}

const transform: Row = {
  id: 'transform',
  title: 'reader and pipeline only, protobuf in memory, no Kafka',
  needs: 'nothing',
  run: async (context) => (await transformPasses(context)).measured,
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
async function minimLoad(
  context: Context,
  prepared: MinimRun,
  name: string,
  file: string,
  format: readonly string[],
  records: number,
): Promise<Measured> {
  const finished = await run(
    'node',
    [
      MAIN,
      'load',
      file,
      '--config',
      prepared.settings,
      '--brokers',
      context.bootstrap,
      '--policy',
      prepared.policy,
      '--source',
      name,
      '--format',
      ...format,
    ],
    options(context, prepared.env),
  )
  const report = lastJson(finished.stdout) as unknown as LoadReport
  expectEqual('records', report.records, records)
  expectEqual('quarantined', report.quarantined, 0)
  const messages = Object.values(report.produced).reduce((sum, n) => sum + n, 0)
  return { records, messages, seconds: report.seconds, ...costOf([finished]) }
}

function load(
  id: string,
  title: string,
  policyPath: string,
  file: (context: Context) => string,
  format: readonly string[],
): Row {
  return {
    id,
    title,
    needs: 'minim',
    async run(context, name) {
      const prepared = await prepareMinim(context, name, policyPath)
      const measured = await withTopics(context, prepared.topics, false, () =>
        minimLoad(context, prepared, name, file(context), format, context.records),
      )
      if (policyPath === BENCH_POLICY) expectBenchMessages(context, measured)
      return measured
    },
  }
}

const grpc: Row = {
  id: 'c',
  title: 'minim run, protobuf by gRPC',
  needs: 'minim',
  async run(context, name) {
    const prepared = await prepareMinim(context, name, BENCH_POLICY)
    const measured = await withTopics(context, prepared.topics, false, async () => {
      const { result: report, finished } = await serving(context, prepared, () =>
        grpcLoad(context, prepared, [name, context.protobuf]),
      )
      return {
        records: context.records,
        messages: context.statistics.messages,
        seconds: Number(report['seconds']),
        ...costOf([finished]),
      }
    })
    expectBenchMessages(context, measured)
    return measured
  },
}

/**
 * Receipt to commit at a quarter of full load, as a client of the gRPC port sees it: from when a batch was due to its
 * acknowledgement.
 */
export const latencyRow: Row = {
  id: 'latency',
  title: "minim run by gRPC at a quarter of (d)'s rate",
  needs: 'minim',
  async run(context, name) {
    const { recordsPerSecond, seconds } = context.latency
    const prepared = await prepareMinim(context, name, BENCH_POLICY)
    const client = [name, context.protobuf, String(LATENCY_BATCH_CALLS), String(recordsPerSecond), String(seconds)]
    const { result: report, finished } = await serving(context, prepared, () => grpcLoad(context, prepared, client))
    await context.topics.remove(prepared.topics)
    const records = Number(report['batches']) * LATENCY_BATCH_CALLS
    if (!(Number(report['p99Ms']) > 0)) throw new Disqualified('no batch was timed')
    return {
      records,
      messages: records * PURPOSES.length,
      seconds: Number(report['seconds']),
      ...costOf([finished]),
      p50Ms: Number(report['p50Ms']),
      p99Ms: Number(report['p99Ms']),
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
  rdkafkaPerformance('a', "raw limit: librdkafka's C benchmark, acks=all, lz4", false),
  rdkafkaPerformance('ak', 'the same, keyed and idempotent, as transactions are', true),
  bare,
  grpc,
  load('d', 'minim load, protobuf', BENCH_POLICY, (c) => c.protobuf, ['protobuf']),
  load('e', 'minim load, JSON Lines', BENCH_POLICY, (c) => c.jsonl, ['jsonl', '--map', 'minim']),
  peer('f', 'written by hand for Node, JSON Lines', 'kafka', () => [
    'node',
    join(ROOT, 'bench/peers/hand-written-node.mjs'),
  ]),
  peer('g', 'written by hand for Java, JSON Lines', 'java', (c) => [
    'java',
    '-Xmx512m',
    '-cp',
    c.classpath ?? '',
    'HandWritten',
  ]),
  load('d7', 'minim load, protobuf, the default policy: all purposes', DEFAULT_POLICY, (c) => c.protobuf, ['protobuf']),
  transform,
]
