/** `minim quarantine list`: how much was refused, by day, reason and format. */
import { readLedger, streamKey } from '../deliver/ledger.js'
import { QUARANTINE_TOPIC } from '../flow/topic-names.js'
import { topicId } from '../kafka/topics.js'
import type { BoxHeader } from '../quarantine/box.js'
import { readQuarantine } from '../quarantine/topic.js'
import { type FilterOptions, passes, type Place, streamOf } from './quarantine-place.js'

/** One line of `minim quarantine list --json`: what was refused on one day, for one reason, out of one format. */
export interface QuarantineRow {
  readonly day: string
  readonly reason: string
  readonly format: string
  messages: number
  bytes: number
  /** Of these, how many a replay has taken; null where the ledger could not be asked. */
  replayed: number | null
  /** Unix ms. */
  oldest: number
  newest: number
}

/** What lies in quarantine, by day, reason and format. */
export async function list(place: Place, filter: FilterOptions): Promise<QuarantineRow[]> {
  const rows = new Map<string, QuarantineRow>()
  const taken = await takenBefore(place)
  await readQuarantine(place, (messages) => {
    for (const message of messages) {
      if (!passes(message, filter)) continue
      const { header, timestamp, partition, offset } = message
      const { at, reason, format, length } = header ?? {
        at: '-',
        reason: '-',
        format: 'unknown',
        length: message.envelope.length,
      }
      const key = `${at} ${reason} ${format}`
      let row = rows.get(key)
      if (row === undefined)
        rows.set(
          key,
          (row = {
            day: at,
            reason,
            format,
            messages: 0,
            bytes: 0,
            replayed: taken === null ? null : 0,
            oldest: timestamp,
            newest: timestamp,
          }),
        )
      row.messages++
      row.bytes += length
      row.oldest = Math.min(row.oldest, timestamp)
      row.newest = Math.max(row.newest, timestamp)
      if (taken !== null && row.replayed !== null && header !== null && offset < taken(partition, header))
        row.replayed++
    }
  })
  return [...rows.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
}

/** Where replays have got to; null where neither ledger nor topic can be asked (the embedded cluster). */
async function takenBefore(place: Place): Promise<((partition: number, header: BoxHeader) => number) | null> {
  if (place.settings.embedded) return null
  try {
    const topic = await topicId(place, QUARANTINE_TOPIC)
    const { taken } = await readLedger({ ...place, shard: 0, shards: 1 })
    return (partition, header) => taken.get(streamKey(streamOf(partition, topic, header))) ?? 0
  } catch {
    return null
  }
}

export function table(rows: readonly QuarantineRow[], nowMs: number): string {
  if (rows.length === 0) return 'nothing is in quarantine'
  // One ledger for all rows: it is known of all or of none.
  const known = rows.every((row) => row.replayed !== null)
  const cells = [
    ['day', 'reason', 'format', 'messages', 'bytes', ...(known ? ['replayed'] : []), 'oldest', 'newest'],
    ...rows.map((row) => [
      row.day,
      row.reason,
      row.format,
      String(row.messages),
      String(row.bytes),
      ...(known ? [String(row.replayed)] : []),
      age(nowMs - row.oldest),
      age(nowMs - row.newest),
    ]),
  ]
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)))
  const total = rows.reduce((sum, row) => sum + row.messages, 0)
  return [
    ...cells.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    ),
    '',
    `${total} message(s)${known ? '' : '; how many were replayed is not known, since the ledger cannot be read'}`,
  ].join('\n')
}

function age(ms: number): string {
  const minutes = Math.max(0, Math.round(ms / 60_000))
  return minutes < 120
    ? `${minutes} min`
    : minutes < 2880
      ? `${Math.round(minutes / 60)} h`
      : `${Math.round(minutes / 1440)} days`
}
