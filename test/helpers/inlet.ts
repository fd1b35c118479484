/**
 * An inlet that keeps what is put, read back as plain objects: for the sources' own tests. Nothing is written to disk.
 */
import { Batch } from '../../src/batch/batch.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { type Catalogue, type Kind, KINDS } from '../../src/catalogue/catalogue.js'
import { MinimError } from '../../src/errors/catalogue.js'
import type { Inlet, InletTrouble, Spooled } from '../../src/flow/source.js'

/** A record: the fields that it has, by the catalogue's names; enums by name, numbers as numbers. */
export interface CollectedRecord {
  readonly kind: Kind
  readonly fields: Readonly<Record<string, string | number>>
}

export interface CollectingInlet extends Inlet {
  /** What was put, with its own copy of the bytes. Repeats are not among them. */
  readonly entries: readonly Spooled[]
  /** The records of all `protobuf` entries, in order; within an entry calls first, then qualities, then devices. */
  records(): CollectedRecord[]
  /** Set to true: puts are refused with MINIM_SPOOL_FULL. */
  full: boolean
  trouble: InletTrouble | null
  /** Repeats that were answered. */
  repeats: number
  /** Forgets all entries. Their ids stay known. */
  clear(): void
}

/** The records of an encoded batch, as the pipeline's own reader sees them: a text that is not UTF-8 is none. */
function recordsIn(catalogue: Catalogue, encoded: Uint8Array): CollectedRecord[] {
  const bytes = Buffer.from(encoded)
  const batch = new Batch(catalogue)
  batch.reset(bytes)
  if (
    new ProtobufReader(catalogue, 'whole').fill(batch, 0, bytes.length, true) < bytes.length ||
    batch.refusedReason.length > 0
  )
    throw new Error('what was put is no batch')
  return KINDS.flatMap((kind) => {
    const {
      rows,
      width,
      off,
      len,
      num,
      kind: { fields },
    } = batch.columns[kind]
    return Array.from({ length: rows }, (_, row) => {
      const found: Record<string, string | number> = {}
      for (const { name, index, type, enumNames } of fields) {
        const cell = row * width + index
        if (off[cell] >= 0) found[name] = bytes.toString('utf8', off[cell], off[cell] + len[cell])
        if (!Number.isNaN(num[cell])) found[name] = (type === 'enum' ? enumNames[num[cell]] : undefined) ?? num[cell]
      }
      return { kind, fields: found }
    })
  })
}

/** Remembers ids as the spool does: by kind of source, tenant and id. */
export function collectingInlet(catalogue: Catalogue): CollectingInlet {
  const seen = new Map<string, string | null>()
  const entries: Spooled[] = []
  const inlet: CollectingInlet = {
    full: false,
    trouble: null,
    repeats: 0,
    entries,
    put: async (records) => {
      // Copied before the first await, as the contract says.
      const entry = { ...records, bytes: Buffer.from(records.bytes) }
      const body =
        typeof records.id === 'object' && records.id?.body !== undefined
          ? Buffer.from(records.id.body).toString('latin1')
          : null
      await Promise.resolve()
      if (inlet.full) throw new MinimError('MINIM_SPOOL_FULL')
      if (entry.id !== null && entry.id !== undefined) {
        const name =
          typeof entry.id === 'string'
            ? `${entry.source}\0${entry.tenant}\0${entry.id}`
            : `${entry.id.space ?? entry.source}\0${entry.id.tenant ?? entry.tenant}\0${entry.id.name}`
        const before = seen.get(name)
        if (before !== undefined) {
          if (before !== null && body !== null && before !== body) return 'reused'
          inlet.repeats++
          return 'repeated'
        }
        seen.set(name, body)
      }
      entries.push(entry)
      return 'stored'
    },
    records: () =>
      entries.filter((entry) => entry.format === 'protobuf').flatMap(({ bytes }) => recordsIn(catalogue, bytes)),
    clear: () => {
      entries.length = 0
    },
  }
  return inlet
}
