/** Key epochs: calendar spans, UTC. An event belongs to the epoch of its start time. */
import type { EpochLength } from './keyring.js'

const DAY_MS = 86_400_000

/**
 * Id of the epoch that a time lies in: `2026-11-24`, `2026-11`, `2026-Q4`, `2026` or `contract`.
 * @param timeMs milliseconds since the Unix epoch
 */
export function epochId(length: EpochLength, timeMs: number): string {
  if (length === 'contract') return 'contract'
  const iso = new Date(timeMs).toISOString()
  const year = iso.slice(0, -20)
  switch (length) {
    case 'day': return iso.slice(0, -14)
    case 'month': return iso.slice(0, -17)
    case 'quarter': return `${year}-Q${Math.floor((Number(iso.slice(-19, -17)) - 1) / 3) + 1}`
    case 'year': return year
  }
}

/** First millisecond of the epoch that a time lies in; 0 for `contract`. */
export function epochStart(length: EpochLength, timeMs: number): number {
  const d = new Date(timeMs)
  switch (length) {
    case 'contract': return 0
    case 'day': return Math.floor(timeMs / DAY_MS) * DAY_MS
    case 'month': return Date.UTC(d.getUTCFullYear(), d.getUTCMonth(), 1)
    case 'quarter': return Date.UTC(d.getUTCFullYear(), Math.floor(d.getUTCMonth() / 3) * 3, 1)
    case 'year': return Date.UTC(d.getUTCFullYear(), 0, 1)
  }
}

/** First millisecond after the epoch that a time lies in; `Infinity` for `contract`. */
export function epochEnd(length: EpochLength, timeMs: number): number {
  const d = new Date(timeMs)
  switch (length) {
    case 'contract': return Infinity
    case 'day': return epochStart('day', timeMs) + DAY_MS
    case 'month': return Date.UTC(d.getUTCFullYear(), d.getUTCMonth() + 1, 1)
    case 'quarter': return Date.UTC(d.getUTCFullYear(), Math.floor(d.getUTCMonth() / 3) * 3 + 3, 1)
    case 'year': return Date.UTC(d.getUTCFullYear() + 1, 0, 1)
  }
}
