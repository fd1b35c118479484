/**
 * Wall-clock times of a named time zone, as milliseconds since the epoch.
 *
 * Call detail records carry local time without an offset. The zone's offset is looked up once a day (by `Intl`, which
 * is slow) and kept; only on the days around a change of the clocks is it asked again for each quarter of an hour.
 * In the hour that happens twice the first is meant; a time in the hour that never happens is read with the offset
 * before it (RFC 5545 §3.3.5 says the same of both).
 */
import { DAY_MS } from '../base/time.js'

const QUARTER_MS = 900_000
const SLOTS = 4096
const UNEVEN = 0x7fffffff

/** Whether the runtime knows a time zone of that name. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-GB', { timeZone: name })
    return true
  } catch {
    return false
  }
}

export class LocalTime {
  readonly timeZone: string
  readonly isUtc: boolean
  readonly #format: Intl.DateTimeFormat
  /**
   * Direct-mapped: which day a slot holds, and that day's offset in seconds, or UNEVEN where the clocks change nearby.
   */
  readonly #days = new Int32Array(SLOTS).fill(-1)
  readonly #dayOffsets = new Int32Array(SLOTS)
  readonly #quarters = new Int32Array(SLOTS).fill(-1)
  readonly #quarterOffsets = new Int32Array(SLOTS)

  /** @param timeZone IANA name: `Europe/London` */
  constructor(timeZone = 'UTC') {
    this.timeZone = timeZone
    this.isUtc = timeZone === 'UTC' || timeZone === 'Etc/UTC'
    this.#format = new Intl.DateTimeFormat('en-GB', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
  }

  /**
   * Seconds that the zone is ahead of UTC at a wall-clock time.
   * @param wallMs the wall clock's reading, as if it were UTC
   */
  offsetSeconds(wallMs: number): number {
    if (this.isUtc) return 0
    const offset = this.#dayOffset(Math.floor(wallMs / DAY_MS))
    return offset === UNEVEN ? this.#nearChange(wallMs) : offset
  }

  /** Whether one offset holds all through the day of a wall-clock time. */
  isEven(wallMs: number): boolean {
    return this.isUtc || this.#dayOffset(Math.floor(wallMs / DAY_MS)) !== UNEVEN
  }

  #dayOffset(day: number): number {
    const slot = day & (SLOTS - 1)
    if (this.#days[slot] !== day) {
      const before = this.#offsetAt((day - 1) * DAY_MS)
      const after = this.#offsetAt((day + 2) * DAY_MS)
      this.#days[slot] = day
      this.#dayOffsets[slot] = before === after ? before : UNEVEN
    }
    return this.#dayOffsets[slot]
  }

  #nearChange(wallMs: number): number {
    const quarter = Math.floor(wallMs / QUARTER_MS)
    const slot = quarter & (SLOTS - 1)
    if (this.#quarters[slot] !== quarter) {
      const before = this.#offsetAt(wallMs - DAY_MS)
      const after = this.#offsetAt(wallMs + DAY_MS)
      const afterHolds = this.#offsetAt(wallMs - after * 1000) === after
      const beforeHolds = this.#offsetAt(wallMs - before * 1000) === before
      this.#quarters[slot] = quarter
      this.#quarterOffsets[slot] = beforeHolds || !afterHolds ? before : after
    }
    return this.#quarterOffsets[slot]
  }

  /** Seconds ahead of UTC at an instant. */
  #offsetAt(utcMs: number): number {
    let year = 0,
      month = 0,
      day = 0,
      hour = 0,
      minute = 0,
      second = 0
    for (const { type, value } of this.#format.formatToParts(utcMs)) {
      if (type === 'year') year = Number(value)
      else if (type === 'month') month = Number(value)
      else if (type === 'day') day = Number(value)
      else if (type === 'hour') hour = Number(value)
      else if (type === 'minute') minute = Number(value)
      else if (type === 'second') second = Number(value)
    }
    return Math.round((Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(utcMs / 1000) * 1000) / 1000)
  }
}
