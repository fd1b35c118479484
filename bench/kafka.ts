/** The broker side of the benchmark: topics of each run, and what has really arrived in them. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import Kafka from 'node-rdkafka'
import { ROOT, run, type RunOptions } from './process.js'

/** Partitions of every topic. */
export const PARTITIONS = 6
const ADMIN_TIMEOUT_MS = 30_000

/** librdkafka's own benchmark, built with node-rdkafka. */
export const RDKAFKA_PERFORMANCE = join(ROOT, 'node_modules/node-rdkafka/deps/librdkafka/examples/rdkafka_performance')

/** Producer settings that all rows share. */
export const PRODUCER = { acks: 'all', 'compression.codec': 'lz4' } as const

export function rdkafkaPerformanceMissing(): string | null {
  return existsSync(RDKAFKA_PERFORMANCE) ? null : `${RDKAFKA_PERFORMANCE} was not built with node-rdkafka`
}

export class Topics {
  readonly #admin
  readonly bootstrap: string

  constructor(bootstrap: string) {
    this.bootstrap = bootstrap
    this.#admin = Kafka.AdminClient.create({ 'bootstrap.servers': bootstrap })
  }

  async create(names: readonly string[]): Promise<void> {
    for (const topic of names) {
      await new Promise<void>((resolve, reject) => {
        this.#admin.createTopic(
          { topic, num_partitions: PARTITIONS, replication_factor: 1 },
          ADMIN_TIMEOUT_MS,
          (error) => {
            if (error) reject(new Error(`topic ${topic}: ${error.message}`))
            else resolve()
          },
        )
      })
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    for (const topic of names) {
      // A topic that was never made needs no removal, and one that stays costs only disk.
      await new Promise<void>((resolve) => {
        this.#admin.deleteTopic(topic, ADMIN_TIMEOUT_MS, () => {
          resolve()
        })
      })
    }
  }

  close(): void {
    this.#admin.disconnect()
  }
}

export interface Arrived {
  readonly messages: number
  /** Bytes of their values. */
  readonly bytes: number
}

/**
 * Reads topics to their ends as an ordinary consumer does (`read_committed`) and counts. Not part of any row's time.
 */
export async function countArrived(
  bootstrap: string,
  topics: readonly string[],
  options: RunOptions,
): Promise<Arrived> {
  let messages = 0
  let bytes = 0
  for (const topic of topics) {
    const partitions = Array.from({ length: PARTITIONS }, (_, p) => ['-p', String(p)]).flat()
    const { stdout } = await run(
      RDKAFKA_PERFORMANCE,
      [
        '-C',
        '-b',
        bootstrap,
        '-t',
        topic,
        ...partitions,
        '-o',
        'beginning',
        '-e',
        '-q',
        '-X',
        'isolation.level=read_committed',
        '-X',
        'log_level=3',
      ],
      options,
    )
    const found = /(\d+) messages \((\d+) bytes\) consumed/.exec(stdout)
    if (found === null) throw new Error(`cannot count ${topic}: ${stdout.slice(-500)}`)
    messages += Number(found[1])
    bytes += Number(found[2])
  }
  return { messages, bytes }
}
