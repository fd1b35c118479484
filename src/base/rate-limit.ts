/**
 * How often each of many may come: a bucket each, which holds what may come in a second and fills as time goes by.
 *
 * Addresses can be made up, so the buckets are of a fixed number, in arrays that are made once: what comes costs a look
 * into a table and no memory. Guarded by row `hep-udp` of `bench/`.
 */

/** Senders that are told apart: what is remembered of so many takes less than a megabyte. */
export const MAX_SENDERS = 16_384

/** Buckets that are looked at for one that is full before one is taken that is not. */
const LOOKS = 8
/** A bucket that nothing was taken of for so long is full. */
const FULL_AFTER_MS = 1000

export class RateLimit {
  readonly #ratePerSecond: number
  readonly #max: number
  readonly #slots = new Map<string, number>()
  readonly #keys: string[] = []
  readonly #tokens: Float64Array
  /** When each bucket was last looked into. */
  readonly #at: Float64Array
  /** The bucket that is given to somebody else first. */
  #hand = 0
  #lastKey: string | null = null
  #lastSlot = 0

  /**
   * @param ratePerSecond how many of one may come in a second; 0: as many as do
   * @param max how many are told apart. Beyond that somebody is forgotten, and begins with a full bucket when he comes
   * again
   */
  constructor(ratePerSecond: number, max = MAX_SENDERS) {
    this.#ratePerSecond = ratePerSecond
    this.#max = max
    const kept = ratePerSecond === 0 ? 0 : max
    this.#tokens = new Float64Array(kept)
    this.#at = new Float64Array(kept)
  }

  /** How many have a bucket. */
  get size(): number {
    return this.#slots.size
  }

  /**
   * Takes one out of somebody's bucket.
   * @param now a clock that never goes back, ms
   * @returns whether there was one: false, it came too fast
   */
  take(key: string, now: number): boolean {
    const rate = this.#ratePerSecond
    if (rate === 0) return true
    // They come in trains from the same one.
    const slot = key === this.#lastKey ? this.#lastSlot : this.#slotOf(key, now)
    const tokens = Math.min(rate, this.#tokens[slot] + ((now - this.#at[slot]) * rate) / 1000)
    this.#at[slot] = now
    if (tokens < 1) {
      this.#tokens[slot] = tokens
      return false
    }
    this.#tokens[slot] = tokens - 1
    return true
  }

  #slotOf(key: string, now: number): number {
    let slot = this.#slots.get(key)
    if (slot === undefined) {
      slot = this.#keys.length < this.#max ? this.#keys.length : this.#forgotten(now)
      this.#keys[slot] = key
      this.#slots.set(key, slot)
      this.#tokens[slot] = this.#ratePerSecond
      this.#at[slot] = now
    }
    this.#lastKey = key
    this.#lastSlot = slot
    return slot
  }

  /** Takes a bucket from somebody, if it can be one that is full: he loses and gains nothing by it. */
  #forgotten(now: number): number {
    let slot = this.#hand
    for (let looked = 0; looked < LOOKS && now - this.#at[slot] < FULL_AFTER_MS; looked++) slot = (slot + 1) % this.#max
    this.#hand = (slot + 1) % this.#max
    this.#slots.delete(this.#keys[slot])
    return slot
  }
}
