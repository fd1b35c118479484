/**
 * Time in which nothing could be heard: from the last that was heard to the next log-in. Counted while it lasts, so
 * that it can be seen.
 */
export class Gap {
  readonly #count: (seconds: number) => void
  /** When something was heard last, or the gap was counted up to. */
  #since = performance.now()
  #total = 0
  #open = false

  constructor(count: (seconds: number) => void) {
    this.#count = count
  }

  heard(): void {
    this.#since = performance.now()
  }

  /** There is a gap, and it lasts. */
  grows(): void {
    this.#open = true
    const now = performance.now()
    const seconds = (now - this.#since) / 1000
    this.#since = now
    this.#total += seconds
    this.#count(seconds)
  }

  /** Logged in. @returns how long it was, s; 0 if there was none */
  ends(): number {
    if (this.#open) this.grows()
    const seconds = this.#total
    this.#open = false
    this.#total = 0
    this.#since = performance.now()
    return seconds
  }
}
