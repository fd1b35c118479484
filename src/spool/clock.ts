/**
 * How old remembered ids are, by a clock that may step.
 *
 * Ids are filed by the time of the system's clock. Were they forgotten by it too, a clock that leaps a day ahead for a
 * minute would have all of them forgotten. So what is due is told by a time of its own: it is never ahead of the
 * system's clock, goes back with it, and goes on no faster than time really passes (`performance.now`). How long the
 * program was down nobody knows, so that counts as a moment.
 *
 * Such a time is behind for ever after a leap there and back, or a long rest. It need not be: once the system's clock
 * has gone evenly for as long as ids are remembered, whatever was filed before is due, and whatever was filed since is
 * filed rightly.
 */

/** A clock that differs by more from what has passed was set: NTP's slewing and a drifting crystal stay far below. */
const STEP_MS = 600_000
/** A rest between two runs that is believed: a restart, an update. */
const RESTART_MS = 600_000

export class SeenClock {
  readonly #evenForMs: number
  #trustedMs: number
  #wallMs: number
  #monotonicMs: number
  /** Since when the clock has gone evenly, and how far it was from the monotonic one then. */
  #evenSinceMs: number
  #offsetMs: number

  /**
   * @param evenForMs after so long without a step the clock is believed
   * @param storedMs {@link trustedMs} of the former run; null: there was none
   */
  constructor(evenForMs: number, wallMs: number, monotonicMs: number, storedMs: number | null) {
    this.#evenForMs = evenForMs
    this.#trustedMs = storedMs === null ? wallMs : Math.min(wallMs, storedMs + RESTART_MS)
    this.#wallMs = wallMs
    this.#monotonicMs = monotonicMs
    this.#evenSinceMs = monotonicMs
    this.#offsetMs = wallMs - monotonicMs
  }

  /** The time by which ids are old enough to be forgotten. */
  get trustedMs(): number {
    return this.#trustedMs
  }

  /** The system's, when it was looked at last. */
  get wallMs(): number {
    return this.#wallMs
  }

  /** Whether the clock has gone evenly for so long that what lies ahead of it was filed by a wrong one, long ago. */
  get even(): boolean {
    return this.#monotonicMs - this.#evenSinceMs >= this.#evenForMs
  }

  /** Looks at both clocks. */
  advance(wallMs: number, monotonicMs: number): void {
    const offsetMs = wallMs - monotonicMs
    if (Math.abs(offsetMs - this.#offsetMs) > STEP_MS) {
      this.#evenSinceMs = monotonicMs
      this.#offsetMs = offsetMs
    }
    const elapsedMs = Math.max(0, monotonicMs - this.#monotonicMs)
    this.#wallMs = wallMs
    this.#monotonicMs = monotonicMs
    this.#trustedMs = this.even ? wallMs : Math.min(wallMs, this.#trustedMs + elapsedMs)
  }
}
