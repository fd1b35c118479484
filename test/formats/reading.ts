/** What readers' tests share: a buffer as the file source lays it out, and rows as plain objects. */
import { Batch, type Reader, type Refusal, REFUSALS } from '../../src/batch/batch.js'
import type { Columns } from '../../src/batch/columns.js'
import { catalogue, type Kind } from '../../src/catalogue/catalogue.js'

export type Row = Record<string, string | number>

export interface Outcome {
  rows: Row[]
  /** The input bytes of each row. */
  raw: string[]
  refused: Refusal[]
  refusedRaw: string[]
  unknown: number
  /** Bytes consumed. */
  consumed: number
}

export const SCRATCH_BYTES = 131_072

/** A row of the columns as an object. */
export function rowOf(columns: Columns, arena: Buffer, row: number): Row {
  const out: Row = {}
  for (const field of columns.kind.fields) {
    const i = row * columns.width + field.index
    if (field.type === 'string') {
      if (columns.off[i] >= 0) out[field.name] = arena.toString('utf8', columns.off[i], columns.off[i] + columns.len[i])
    } else if (!Number.isNaN(columns.num[i])) out[field.name] = columns.num[i]
  }
  return out
}

export function collect(batch: Batch, kind: Kind, into: Outcome): void {
  const columns = batch.columns[kind]
  for (let r = 0; r < columns.rows; r++) {
    into.rows.push(rowOf(columns, batch.arena, r))
    into.raw.push(batch.arena.toString('latin1', columns.rawStart[r], columns.rawEnd[r]))
  }
  batch.refusedReason.forEach((reason, i) => {
    into.refused.push(REFUSALS[reason])
    into.refusedRaw.push(batch.arena.toString('latin1', batch.refusedStart[i], batch.refusedEnd[i]))
  })
  into.unknown += batch.unknownFields
}

export function nothing(): Outcome {
  return { rows: [], raw: [], refused: [], refusedRaw: [], unknown: 0, consumed: 0 }
}

/**
 * Reads bytes in as many fills as it takes.
 * @param options `cuts`: sizes of chunks that the bytes come in, each put before a carried tail, as the file source
 * does
 */
export function readAll(
  reader: Reader,
  kind: Kind,
  input: Buffer,
  options: { last?: boolean; capacity?: number; cuts?: readonly number[]; scratchBytes?: number } = {},
): Outcome {
  const out = nothing()
  const batch = new Batch(catalogue(), options.capacity ?? 64)
  const last = options.last ?? true
  let read = 0
  let tail = Buffer.alloc(0)
  let cut = 0
  do {
    const cuts = options.cuts ?? []
    const size = cut < cuts.length ? cuts[cut++] : input.length
    const chunk = Buffer.concat([tail, input.subarray(read, read + size)])
    read = Math.min(input.length, read + size)
    const arena = Buffer.allocUnsafe(chunk.length + (options.scratchBytes ?? SCRATCH_BYTES))
    chunk.copy(arena)
    let p = 0
    for (;;) {
      batch.reset(arena, chunk.length)
      const next = reader.fill(batch, p, chunk.length, last && read === input.length)
      collect(batch, kind, out)
      if (next < p || next > chunk.length) throw new Error(`consumed up to ${next} of ${p} to ${chunk.length}`)
      if (next === p) {
        if (batch.taken > 0) throw new Error('took something out of nothing')
        break
      }
      p = next
    }
    out.consumed += p
    tail = Buffer.from(chunk.subarray(p))
  } while (read < input.length)
  return out
}
