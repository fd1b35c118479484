/**
 * What a row of the benchmark is, and what all of them need: topics of their own, counted; programs; disqualification.
 */
import { join } from 'node:path'
import type { MessageStatistics } from './core.js'
import { type Arrived, countArrived, type Topics } from './kafka.js'
import { type Finished, ROOT, type RunOptions } from './process.js'

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
  /** That rows run is all that matters. */
  readonly quick: boolean
  /** Records a second of the latency row, and for how long. */
  latency: { recordsPerSecond: number; seconds: number }
}

/** What one run of a row gave. */
export interface Measured {
  /** Records; of the rows of single sources, posts, events or packets. */
  readonly records: number
  readonly messages: number
  /** From the first byte read to the last message acknowledged. Start of the process and connecting are not in it. */
  readonly seconds: number
  /** The whole process's life. */
  readonly wallSeconds: number
  /**
   * User and system time of the whole process; its start is included, but for rows of single sources. The broker's and
   * a load generator's are not.
   */
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

export const PURPOSES = ['billing', 'quality', 'analytics'] as const
export const BENCH_POLICY = join(ROOT, 'bench/policy.yaml')

export class Disqualified extends Error {}

export function expectEqual(what: string, found: number, expected: number): void {
  if (found !== expected) throw new Disqualified(`${what}: ${found}, expected ${expected}`)
}

export function options(context: Context, env: Record<string, string> = {}): RunOptions {
  return { folder: context.folder, timeoutMs: context.timeoutMs, env }
}

export function program(name: string): string {
  return join(ROOT, 'dist/bench/programs', `${name}.js`)
}

/** Makes fresh topics, runs, counts what arrived, removes the topics. */
export async function withTopics<T extends Measured>(
  context: Context,
  names: readonly string[],
  create: boolean,
  body: () => Promise<T>,
): Promise<T & { arrived: Arrived }> {
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

export function costOf(runs: readonly Finished[]): { wallSeconds: number; cpuSeconds: number; peakMB: number } {
  return {
    wallSeconds: Math.max(...runs.map((r) => r.wallSeconds)),
    cpuSeconds: runs.reduce((sum, r) => sum + r.cpuSeconds, 0),
    peakMB: runs.reduce((sum, r) => sum + r.peakMB, 0),
  }
}

/** The same records under the same policy are the same number of bytes, whichever way they came. */
export function expectBenchMessages(context: Context, { messages, arrived }: Measured): void {
  expectEqual('messages', messages, context.statistics.messages)
  if (arrived !== undefined)
    expectEqual(
      'bytes that a consumer found',
      arrived.bytes,
      context.statistics.perTopic.reduce((sum, t) => sum + t.valueBytes, 0),
    )
}
