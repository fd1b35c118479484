/**
 * Which times a record may have. A time that cannot be is one in another unit, or of a clock that was never set: taken
 * as it stands, its record would be older than any purpose keeps records (seconds, read as milliseconds, lie in
 * January 1970), and would be gone without anybody having been told.
 */
import type { Columns } from '../batch/columns.js'
import { isTime, type KindCatalogue } from '../catalogue/catalogue.js'

/**
 * No record is older: whoever means a time of today in seconds, tenths or a thousandth of that is below it, and today's
 * in micro- or nanoseconds are above now.
 */
const EARLIEST_MS = Date.UTC(2000, 0, 1)

/** Latest time that calendar functions take (ECMA-262, Time Values). */
const LAST_TIME_MS = 8.64e15

/** The latest time that a record may have, ms. @param futureMs how far a sender's clock may be ahead */
export function latestTimeMs(nowMs: number, futureMs: number): number {
  return Math.min(nowMs + futureMs, LAST_TIME_MS)
}

/** The fields of a kind that are points in time. */
export class TimeLimits {
  readonly #times: Int32Array

  constructor(kind: KindCatalogue) {
    this.#times = Int32Array.from(
      kind.fields.filter((field) => field.derivedFrom === null && isTime(field)),
      (field) => field.index,
    )
  }

  /**
   * The first field of a row whose time cannot be, by its index; -1 where all can. A time that is absent can.
   * @param cell the row's first cell
   */
  wrongField({ num }: Columns, cell: number, latestMs: number): number {
    const times = this.#times
    for (let i = 0; i < times.length; i++) {
      const time = num[cell + times[i]]
      if (time < EARLIEST_MS || time > latestMs) return times[i]
    }
    return -1
  }
}
