/**
 * Output of the projection: one growing arena of messages and typed arrays that describe them. Reused from batch to
 * batch.
 */
import type { Minimised } from './minimised.js'
import type { Outcome } from './outcome.js'

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

  /** Mints what `deliver` takes. Valid until the next {@link clear}. Only `src/project` may call it. */
  mint(topics: readonly string[], headers: Minimised['headers'], outcome: Outcome): Minimised {
    const { count, topic, bytes, valueOff, valueLen, keyOff, keyLen, timestamp, record } = this
    const generation = this.#generation
    const stale = (): boolean => generation !== this.#generation
    return {
      count,
      topic,
      topics,
      bytes,
      valueOff,
      valueLen,
      keyOff,
      keyLen,
      timestamp,
      record,
      headers,
      outcome,
      stale,
    } as unknown as Minimised
  }
}
