/**
 * Output of the projection, and the only mint of what leaves the proxy. It is one growing arena of messages and typed
 * arrays that describe them, reused from batch to batch.
 *
 * Only `src/project` may import this file, as the test of the walls holds; all others see `minimised.ts`.
 */
import type { Outcome } from './outcome.js'

/** Whoever has it may mint: nothing outside of this file does. */
const MINT = Symbol('mint')

/** What a batch's messages are made of. */
interface Content {
  readonly count: number
  /** Topic of each message: index into `topics`. */
  readonly topic: Int32Array
  readonly topics: readonly string[]
  /** Value and key, in `bytes`; `keyLen` 0 = no key. */
  readonly bytes: Uint8Array
  readonly valueOff: Int32Array
  readonly valueLen: Int32Array
  readonly keyOff: Int32Array
  readonly keyLen: Int32Array
  /** Kafka timestamp, ms. */
  readonly timestamp: Float64Array
  /**
   * Which input record a message is made from: 0 … records-1 within the batch, kinds one after the other, refused input
   * last.
   */
  readonly record: Int32Array
  /** Kafka headers by topic index, where the policy asks for them. */
  readonly headers: readonly (readonly Record<string, string>[] | undefined)[]
  readonly outcome: Outcome
}

/** Messages of one batch, ready for Kafka. Made by {@link Output.mint} and by nobody else; it cannot be altered. */
export class Minimised implements Content {
  readonly count: number
  readonly topic: Int32Array
  readonly topics: readonly string[]
  readonly bytes: Uint8Array
  readonly valueOff: Int32Array
  readonly valueLen: Int32Array
  readonly keyOff: Int32Array
  readonly keyLen: Int32Array
  readonly timestamp: Float64Array
  readonly record: Int32Array
  readonly headers: Content['headers']
  readonly outcome: Outcome
  readonly #stale: () => boolean

  /** @throws TypeError for whoever has no right to mint, types or no types */
  constructor(right: typeof MINT, content: Content, stale: () => boolean) {
    if (right !== MINT) throw new TypeError('only the projection makes messages')
    this.count = content.count
    this.topic = content.topic
    this.topics = content.topics
    this.bytes = content.bytes
    this.valueOff = content.valueOff
    this.valueLen = content.valueLen
    this.keyOff = content.keyOff
    this.keyLen = content.keyLen
    this.timestamp = content.timestamp
    this.record = content.record
    this.headers = content.headers
    this.outcome = content.outcome
    this.#stale = stale
    Object.freeze(this)
  }

  /** Whether another batch's messages are in its place by now: nobody may read it then. */
  stale(): boolean {
    return this.#stale()
  }

  static isMinted(value: object): value is Minimised {
    return #stale in value
  }
}

/** Whether these messages come out of the mint. A copy, and what merely looks like them, do not. */
export function isMinted(value: object): value is Minimised {
  return Minimised.isMinted(value)
}

const FIRST_MESSAGES = 8192
const FIRST_BYTES = 2 * 1024 * 1024

export class Output {
  bytes: Uint8Array = Buffer.allocUnsafeSlow(FIRST_BYTES)
  view = new DataView(this.bytes.buffer)
  /** Next free byte. */
  pos = 0
  count = 0
  topic = new Int32Array(FIRST_MESSAGES)
  valueOff = new Int32Array(FIRST_MESSAGES)
  valueLen = new Int32Array(FIRST_MESSAGES)
  keyOff = new Int32Array(FIRST_MESSAGES)
  keyLen = new Int32Array(FIRST_MESSAGES)
  timestamp = new Float64Array(FIRST_MESSAGES)
  record = new Int32Array(FIRST_MESSAGES)
  /** How often it was emptied: what was minted before the last time holds another batch's messages. */
  #generation = 0

  clear(): void {
    this.#generation++
    this.pos = 0
    this.count = 0
  }

  /** Makes room for so many bytes from `pos` on. Returns whether `bytes` and `view` are others now. */
  reserve(bytes: number): boolean {
    if (this.pos + bytes <= this.bytes.length) return false
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.pos + bytes))
    grown.set(this.bytes.subarray(0, this.pos))
    this.bytes = grown
    this.view = new DataView(grown.buffer)
    return true
  }

  /** Describes the message between `start` and `pos`. */
  add(topic: number, start: number, keyOff: number, keyLen: number, timestamp: number, record: number): void {
    if (this.count === this.topic.length) this.#grow()
    const i = this.count++
    this.topic[i] = topic
    this.valueOff[i] = start
    this.valueLen[i] = this.pos - start
    this.keyOff[i] = keyOff
    this.keyLen[i] = keyLen
    this.timestamp[i] = timestamp
    this.record[i] = record
  }

  #grow(): void {
    const size = this.topic.length * 2
    const wider = (old: Int32Array): Int32Array<ArrayBuffer> => {
      const made = new Int32Array(size)
      made.set(old)
      return made
    }
    this.topic = wider(this.topic)
    this.valueOff = wider(this.valueOff)
    this.valueLen = wider(this.valueLen)
    this.keyOff = wider(this.keyOff)
    this.keyLen = wider(this.keyLen)
    this.record = wider(this.record)
    const timestamps = new Float64Array(size)
    timestamps.set(this.timestamp)
    this.timestamp = timestamps
  }

  /** Mints what `deliver` takes. Valid until the next {@link clear}. */
  mint(topics: readonly string[], headers: Content['headers'], outcome: Outcome): Minimised {
    const generation = this.#generation
    const { count, topic, bytes, valueOff, valueLen, keyOff, keyLen, timestamp, record } = this
    return new Minimised(
      MINT,
      { count, topic, topics, bytes, valueOff, valueLen, keyOff, keyLen, timestamp, record, headers, outcome },
      () => generation !== this.#generation,
    )
  }
}
