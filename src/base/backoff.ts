/**
 * How long to wait before trying again: twice as long after each failure, up to a limit.
 *
 * Each wait is a random share of its step, from half of it to the whole: those who failed together do not come back
 * together, and nobody waits longer than the limit says.
 */
export class Backoff {
  readonly #firstMs: number
  readonly #longestMs: number
  readonly #random: () => number
  #stepMs: number

  /**
   * @param firstMs the first step
   * @param longestMs the longest; less than the first counts as the first
   * @param random from 0 to 1, for tests
   */
  constructor(firstMs: number, longestMs: number, random: () => number = Math.random) {
    this.#firstMs = firstMs
    this.#longestMs = Math.max(firstMs, longestMs)
    this.#random = random
    this.#stepMs = firstMs
  }

  /** The wait after one more failure, whole milliseconds. */
  next(): number {
    const stepMs = this.#stepMs
    this.#stepMs = Math.min(this.#longestMs, stepMs * 2)
    return this.#share(stepMs)
  }

  /**
   * The longest wait at once, after a failure that a short one would not mend. It counts as one more failure all the
   * same.
   */
  longest(): number {
    this.next()
    return this.#share(this.#longestMs)
  }

  /** It has worked: the next failure is the first again. */
  reset(): void {
    this.#stepMs = this.#firstMs
  }

  #share(stepMs: number): number {
    return Math.round(stepMs * (0.5 + this.#random() / 2))
  }
}
