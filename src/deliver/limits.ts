/** What Kafka is known not to take, as its client and its topics are set: too large, or too far ahead. */
import type { Minimised } from '../flow/minimised.js'
import type { ProducerLimits } from '../kafka/properties.js'
import { LONE_RECORD_OVERHEAD_BYTES } from '../kafka/record-batch.js'
import { DEFAULT_LIMIT, type TopicLimit } from '../kafka/topics.js'

/** Clocks differ: a timestamp this close to the limit is refused here already. */
const CLOCK_SLACK_MS = 60_000
/** Batches are not made smaller than this, whatever topics say. */
const MIN_BATCH_BYTES = 16_384
/** Lengths of a header's name and value, each a varint. */
const HEADER_OVERHEAD_BYTES = 10

/** The limits of the topics of a plan, by topic. */
interface PlanLimits {
  readonly topics: readonly string[]
  readonly bytes: Float64Array
  readonly aheadMs: Float64Array
}

export class Limits {
  readonly #maxMessageBytes: number
  #byTopic: ReadonlyMap<string, TopicLimit> = new Map()
  #batchBytes: number
  /** Looked up once for each list of topics. */
  #plan: PlanLimits | null = null

  constructor({ maxMessageBytes, maxBatchBytes }: ProducerLimits) {
    this.#maxMessageBytes = maxMessageBytes
    this.#batchBytes = maxBatchBytes
  }

  /** Takes the topics' own limits. What is known of others is kept: batches that are under way may still go there. */
  set(limits: ReadonlyMap<string, TopicLimit>): void {
    this.#byTopic = new Map([...this.#byTopic, ...limits])
    this.#plan = null
    for (const { maxMessageBytes } of limits.values()) this.#batchBytes = Math.min(this.#batchBytes, maxMessageBytes)
  }

  /** A record batch takes no more records from so many bytes on. */
  get batchBytes(): number {
    return this.#batchBytes
  }

  /** Batches were too large for a topic. */
  halveBatches(): void {
    this.#batchBytes = Math.max(MIN_BATCH_BYTES, Math.floor(this.#batchBytes / 2))
  }

  /** How far ahead a timestamp may be that all topics take, ms. */
  get aheadMs(): number {
    let least = DEFAULT_LIMIT.timestampAfterMaxMs
    for (const { timestampAfterMaxMs } of this.#byTopic.values()) least = Math.min(least, timestampAfterMaxMs)
    return least
  }

  /**
   * Messages that Kafka would refuse: too large, or with a timestamp too far ahead; null where there is none. A
   * timestamp of 0 would become the time of now.
   */
  refusals(messages: Minimised): number[] | null {
    const { bytes, aheadMs } = this.#planOf(messages)
    const { count, topic, valueLen, keyLen, timestamp } = messages
    const now = Date.now()
    let bad: number[] | null = null
    for (let i = 0; i < count; i++) {
      const t = topic[i]
      const time = timestamp[i]
      if (valueLen[i] + keyLen[i] > bytes[t] || !(time > 0) || time - now > aheadMs[t]) (bad ??= []).push(i)
    }
    return bad
  }

  #planOf({ topics, headers }: Minimised): PlanLimits {
    if (this.#plan?.topics === topics) return this.#plan
    const limits = topics.map((topic) => this.#byTopic.get(topic) ?? DEFAULT_LIMIT)
    return (this.#plan = {
      topics,
      bytes: Float64Array.from(limits, ({ maxMessageBytes }, t) => {
        let overhead = LONE_RECORD_OVERHEAD_BYTES
        for (const [name, value] of (headers[t] ?? []).flatMap((header) => Object.entries(header)))
          overhead += Buffer.byteLength(name) + Buffer.byteLength(value) + HEADER_OVERHEAD_BYTES
        return Math.min(this.#maxMessageBytes, maxMessageBytes) - overhead
      }),
      aheadMs: Float64Array.from(
        limits,
        ({ timestampAfterMaxMs }) => timestampAfterMaxMs - Math.min(CLOCK_SLACK_MS, timestampAfterMaxMs / 2),
      ),
    })
  }
}
