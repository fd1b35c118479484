/**
 * Numbered batches, offered to delivery without a pause while something goes wrong, and the check that Kafka holds each
 * of them once.
 */
import type { Test } from 'tap'
import type { Delivery } from '../../src/deliver/delivery.js'
import type { MinimError } from '../../src/errors/catalogue.js'
import type { WantedTopic } from '../../src/kafka/topics.js'
import { shippedDelivery, type TestDelivery } from '../helpers/delivery.js'
import type { ConsumedRecord, KafkaCluster } from '../helpers/kafka.js'
import { type FakeItem, fakeItem, type FakeMessage, QUARANTINE } from '../helpers/minimised.js'

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`)
    await sleep(20)
  }
}

export const topic = (name: string, partitions: number): WantedTopic => ({
  name,
  partitions,
  retentionDays: 30,
  compacted: false,
})

const MAX_RESTARTS = 3
const ROWS = 10
const KEYS = 7
/** Batches offered and not committed: more are not offered, as a node's window would have it. */
const WINDOW = 200
const MAX_BATCHES = 20_000

/**
 * One delivery with its own two topics, and one stream of batches. Delivery that gives up is started again, as a
 * service manager would do, and gets what is not acknowledged once more, as from a node; {@link restarts} counts it.
 */
export class Feed {
  readonly items: FakeItem[] = []
  readonly notices: MinimError[] = []
  readonly fatal: MinimError[] = []
  delivery: Delivery
  restarts = 0
  #stopping = false
  #feeding: Promise<void> = Promise.resolve()

  readonly #kafka: KafkaCluster
  readonly #cluster: string
  readonly #options: Partial<TestDelivery>

  constructor(t: Test, kafka: KafkaCluster, cluster: string, options: Partial<TestDelivery> = {}) {
    this.#kafka = kafka
    this.#cluster = cluster
    this.#options = options

    this.delivery = this.#made()
    t.teardown(async () => {
      this.#stopping = true
      await this.delivery.stop(1_000)
    })
  }

  #made(): Delivery {
    const kafka = this.#kafka
    const cluster = this.#cluster
    const options = this.#options
    return shippedDelivery({
      bootstrap: kafka.bootstrap,
      topics: [
        topic(`${cluster}.one`, 3),
        topic(`${cluster}.two`, 1),
        { name: QUARANTINE, partitions: 1, retentionDays: 7, compacted: false },
      ],
      ...options,
      settings: { cluster, lingerMs: 1, maxMessages: 400, ...options.settings },
      hooks: {
        onNotice: (e) => {
          this.notices.push(e)
        },
        onFatal: (e) => {
          this.fatal.push(e)
        },
        ...options.hooks,
      },
    })
  }

  get committed(): number {
    return this.items.filter((item) => item.commits > 0).length
  }

  messages(sequence: number): FakeMessage[] {
    return Array.from({ length: ROWS }, (_, i): FakeMessage[] => [
      { topic: `${this.#cluster}.one`, value: `${sequence}/${i}`, key: `k${i % KEYS}`, record: i },
      { topic: `${this.#cluster}.two`, value: `${sequence}/${i}`, key: null, record: i },
    ]).flat()
  }

  /** Starts delivery and goes on offering until {@link finish}. */
  async start(): Promise<void> {
    await this.delivery.start()
    this.#feeding = (async () => {
      for (let sequence = 1; !this.#stopping && sequence <= MAX_BATCHES; sequence++) {
        await this.#offer(sequence)
        while (!this.#stopping && this.items.length - this.committed > WINDOW) {
          await this.#again()
          await sleep(20)
        }
        await this.#again()
        await sleep(4)
      }
    })()
  }

  #offer(sequence: number): Promise<void> {
    const item = fakeItem({ incarnation: this.#cluster, sequence, messages: this.messages(sequence) })
    this.items[sequence - 1] = item
    return this.delivery.offer(item)
  }

  /** Starts delivery again if it has given up. */
  async #again(): Promise<void> {
    if (this.delivery.state.phase !== 'failed' || this.restarts >= MAX_RESTARTS) return
    this.restarts++
    await this.delivery.stop(0)
    this.delivery = this.#made()
    await this.delivery.start()
    for (let i = 0; i < this.items.length; i++) if (this.items[i].commits === 0) await this.#offer(i + 1)
  }

  /** So many more are committed than were when this was called. */
  async flows(batches = 30, timeoutMs = 120_000): Promise<void> {
    const { committed } = this
    try {
      await until(`${batches} more are committed`, () => this.committed >= committed + batches, timeoutMs)
    } catch (error) {
      throw new Error(`phase ${this.delivery.state.phase}; ${this.said}`, { cause: error })
    }
  }

  /** The last of what it told the log. */
  get said(): string {
    return this.notices
      .slice(-6)
      .map((n) => `${n.code} ${n.message}`)
      .join(' | ')
  }

  /** Offers no more and waits for what was offered. */
  async finish(): Promise<void> {
    this.#stopping = true
    await this.#feeding
    await this.#again()
    await this.delivery.drain()
  }

  /**
   * Each batch was acknowledged once, and is in each topic once, each key's in the order of offers.
   */
  async isExactlyOnce(
    t: Test,
    { topics = ['one', 'two'] }: { readonly topics?: readonly ('one' | 'two')[] } = {},
  ): Promise<void> {
    t.ok(this.items.length > 20, `${this.items.length} batches`)
    t.ok(
      this.items.every((item) => item.commits === 1 && item.failure === null),
      'each was acknowledged, once',
    )
    t.same(
      this.fatal.map((e) => e.code),
      [],
      'it did not give up',
    )
    const expected = this.items.flatMap((_, s) => Array.from({ length: ROWS }, (_, i) => `${s + 1}/${i}`)).sort()
    for (const name of topics) {
      const found = await this.#kafka.consoleConsumer(`${this.#cluster}.${name}`, { timeoutMs: 3_000 })
      t.same(found.map((r) => r.value.toString()).sort(), expected, `${name}: nothing lost, nothing twice`)
      if (name === 'one') t.equal(outOfOrder(found), 0, "each key's in the order of offers")
    }
  }
}

function outOfOrder(records: readonly ConsumedRecord[]): number {
  const last = new Map<string, number>()
  let count = 0
  for (const { key, value } of [...records].sort((a, b) => a.partition - b.partition || a.offset - b.offset)) {
    const subject = key?.toString() ?? ''
    const [sequence, row] = value.toString().split('/').map(Number)
    const position = sequence * ROWS + row
    if (position < (last.get(subject) ?? -1)) count++
    last.set(subject, position)
  }
  return count
}
