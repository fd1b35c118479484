/** How many records of a sample have a value in each field: what a change of policy would touch. */
import { Batch, type Reader } from '../batch/batch.js'
import { type Catalogue, type Kind, KINDS } from '../catalogue/catalogue.js'

export interface Presence {
  /** Records by kind. */
  readonly records: Readonly<Record<Kind, number>>
  /** Records with a value, by kind and field. */
  readonly withField: Readonly<Record<Kind, ReadonlyMap<string, number>>>
  /** What could not become a record. */
  readonly refused: number
}

/** Room that readers need beside the input, for what they have to rewrite. */
const SCRATCH_BYTES = 4 << 20

export function presenceOf(reader: Reader, input: Uint8Array, catalogue: Catalogue): Presence {
  const batch = new Batch(catalogue)
  const arena = Buffer.alloc(input.length + SCRATCH_BYTES)
  arena.set(input)
  const records: Record<Kind, number> = { call: 0, quality: 0, device: 0 }
  const withField: Record<Kind, Map<string, number>> = { call: new Map(), quality: new Map(), device: new Map() }
  let refused = 0
  for (let pos = 0; pos < input.length;) {
    batch.reset(arena, input.length)
    const consumed = reader.fill(batch, pos, input.length, true)
    for (const kind of KINDS) {
      const { rows, width, off, num, kind: known } = batch.columns[kind]
      records[kind] += rows
      for (const { index, name } of known.fields) {
        let count = 0
        for (let r = 0; r < rows; r++) {
          const cell = r * width + index
          if (off[cell] >= 0 || !Number.isNaN(num[cell])) count++
        }
        if (count > 0) withField[kind].set(name, (withField[kind].get(name) ?? 0) + count)
      }
    }
    refused += batch.refusedReason.length
    if (consumed === pos) return { records, withField, refused: refused + 1 }
    pos = consumed
  }
  return { records, withField, refused }
}
