/**
 * Key epochs: calendar spans, UTC. An event belongs to the epoch of its start time.
 *
 * Times outside 1970 to 9999, and NaN, count as the nearest time within: a wild number out of a record must not throw
 * here (`Date` does), nor meet `Date.UTC`, which reads the years 0 to 99 as 1900 to 1999.
 */
import { DAY_MS } from '../base/time.js'
import type { EpochLength } from './keyring.js'

/** 9999-12-31T23:59:59.999Z: the last time whose year has four digits. */
const LAST_MS = 253_402_300_799_999

/**
 * Id of the epoch that a time lies in: `2026-11-24`, `2026-11`, `2026-Q4`, `2026` or `contract`.
 * @param timeMs milliseconds since the Unix epoch
 */
export function epochId(length: EpochLength, timeMs: number): string {
  if (length === 'contract') return 'contract'
  const iso = new Date(clamp(timeMs)).toISOString()
  switch (length) {
    case 'day':
      return iso.slice(0, 10)
    case 'month':
      return iso.slice(0, 7)
    case 'quarter':
      return `${iso.slice(0, 4)}-Q${Math.floor((Number(iso.slice(5, 7)) - 1) / 3) + 1}`
    case 'year':
      return iso.slice(0, 4)
  }
}

/** First millisecond of the epoch that a time lies in; 0 for `contract`. */
export function epochStart(length: EpochLength, timeMs: number): number {
  if (length === 'contract') return 0
  const time = clamp(timeMs)
  if (length === 'day') return Math.floor(time / DAY_MS) * DAY_MS
  const d = new Date(time)
  switch (length) {
    case 'month':
      return Date.UTC(d.getUTCFullYear(), d.getUTCMonth(), 1)
    case 'quarter':
      return Date.UTC(d.getUTCFullYear(), Math.floor(d.getUTCMonth() / 3) * 3, 1)
    case 'year':
      return Date.UTC(d.getUTCFullYear(), 0, 1)
  }
}

/** First millisecond after the epoch that a time lies in; `Infinity` for `contract`. */
export function epochEnd(length: EpochLength, timeMs: number): number {
  if (length === 'contract') return Infinity
  const time = clamp(timeMs)
  if (length === 'day') return epochStart('day', time) + DAY_MS
  const d = new Date(time)
  switch (length) {
    case 'month':
      return Date.UTC(d.getUTCFullYear(), d.getUTCMonth() + 1, 1)
    case 'quarter':
      return Date.UTC(d.getUTCFullYear(), Math.floor(d.getUTCMonth() / 3) * 3 + 3, 1)
    case 'year':
      return Date.UTC(d.getUTCFullYear() + 1, 0, 1)
  }
}

/** What an epoch's id says: how long the epoch is and when it begins; null when it is no such id. */
export function parseEpochId(id: string): { readonly length: EpochLength; readonly startMs: number } | null {
  if (id === 'contract') return { length: 'contract', startMs: 0 }
  const match = EPOCH_ID.exec(id)
  if (match === null) return null
  const [, year, quarter, month, day] = match
  const length: EpochLength =
    day !== undefined ? 'day' : month !== undefined ? 'month' : quarter !== undefined ? 'quarter' : 'year'
  const monthIndex = month !== undefined ? Number(month) - 1 : quarter !== undefined ? (Number(quarter) - 1) * 3 : 0
  const startMs = Date.UTC(Number(year), monthIndex, day === undefined ? 1 : Number(day))
  // 2026-02-30 and 2026-13 come out as another epoch: they name none.
  return epochId(length, startMs) === id ? { length, startMs } : null
}

/** `2026`, `2026-Q4`, `2026-11` or `2026-11-24`. */
const EPOCH_ID = /^(\d{4})(?:-Q([1-4])|-(\d\d)(?:-(\d\d))?)?$/

function clamp(timeMs: number): number {
  return timeMs >= 0 ? Math.min(timeMs, LAST_MS) : 0
}
