/**
 * How spooled entries are read again: by the reader of their format, each for itself, though several lie in one block.
 */
import { type Batch, type Reader, type Refusal, REFUSALS } from '../batch/batch.js'
import { ProtobufReader, readEnvelope } from '../batch/scanner.js'
import type { Catalogue, Kind } from '../catalogue/catalogue.js'
import type { SpooledFormat } from '../flow/source.js'
import { JsonLinesReader } from './json-lines.js'
import { builtInMapping } from './mapping.js'

/** What readers of a format may write to behind the input: unescaped text. */
export const SPOOLED_SCRATCH_BYTES = 131_072

/** Reads entries that lie back to back: what breaks one off does not reach the next. */
class EntriesReader implements Reader {
  readonly format: string

  readonly #inner: Reader
  readonly #ends: readonly number[]

  constructor(inner: Reader, ends: readonly number[]) {
    this.#inner = inner
    this.#ends = ends

    this.format = inner.format
  }

  fill(batch: Batch, start: number, end: number): number {
    let entry = 0
    for (let low = 0, high = this.#ends.length; low < high;) {
      const middle = (low + high) >>> 1
      if (this.#ends[middle] > start) high = entry = middle
      else low = entry = middle + 1
    }
    let pos = start
    while (pos < end) {
      const stop = this.#ends[entry++]
      const next = stop > pos ? this.#inner.fill(batch, pos, stop, true) : pos
      // Columns or scratch space are full.
      if (next < stop) return next
      pos = stop
    }
    return pos
  }
}

/** Takes nothing: its source has said why. */
class RefusedReader implements Reader {
  readonly #reason: Refusal

  constructor(
    readonly format: string,
    reason: Refusal,
  ) {
    this.#reason = reason
  }

  fill(batch: Batch, start: number, end: number): number {
    batch.refuse(this.#reason, start, end)
    return end
  }
}

export interface SpooledRun {
  readonly source: string
  readonly format: string
  readonly reason: string
  readonly ends: readonly number[]
}

/** Makes readers for runs of entries. What a later version wrote is refused, not lost. */
export function spooledReaders(catalogue: Catalogue, maxRecordBytes: number): (run: SpooledRun) => Reader {
  const json = (kind: Kind): Reader =>
    new JsonLinesReader(builtInMapping('minim', catalogue, { kind }), catalogue, { maxRecordBytes })
  const readers = new Map<string, Reader>(
    Object.entries({
      protobuf: new ProtobufReader(catalogue, 'whole'),
      'jsonl-call': json('call'),
      'jsonl-quality': json('quality'),
      'jsonl-device': json('device'),
    } satisfies Record<Exclude<SpooledFormat, 'refused'>, Reader>),
  )
  return ({ source, format, reason, ends }) => {
    const reader =
      readers.get(format) ?? new RefusedReader(source, REFUSALS.find((known) => known === reason) ?? 'malformed_record')
    return new EntriesReader(reader, ends)
  }
}

/** How many records a run of entries has; NaN where only reading them tells. */
export function spooledRecords(
  { format, start, ends }: SpooledRun & { readonly start: number },
  block: Buffer,
): number {
  let from = start
  let count = 0
  for (const end of ends) {
    if (format === 'protobuf') {
      const { intact, records } = readEnvelope(block, from, end)
      if (!intact) return NaN
      count += records
    } else if (format !== 'refused') return NaN
    else if (end > from) count++
    from = end
  }
  return count
}
