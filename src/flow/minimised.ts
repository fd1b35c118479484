/**
 * What leaves the proxy: messages of one batch, ready for Kafka. Only `project` mints it; `deliver` takes nothing else,
 * so a way round the policy is a type error.
 */
import type { Outcome } from './outcome.js'

declare const minted: unique symbol

export interface Minimised {
  readonly [minted]: true
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
  /**
   * Whether another batch's messages are in its place by now: nobody may read it then. Left out where it has its memory
   * to itself.
   */
  stale?(): boolean
}
