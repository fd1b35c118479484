/**
 * CSV as Asterisk's cdr-csv and cdr_custom write it, scanned straight into the columns.
 *
 * - No header line. How many columns a line has decides what they are: cdr-csv writes 16 to 21 by its options.
 * - A quoted field doubles its quotes; a backslash is an ordinary byte. A quote inside an unquoted field is an error.
 * - A quoted field may hold line feeds. But a line that was torn (a full disk, a crash) leaves a quote open, which
 *   would swallow what follows: if what begins on a line makes no record, only that *line* is refused, and reading goes
 *   on after it.
 * - The last line of a finished file may lack its line feed. It is taken if its number of columns fits and its last
 *   column is closed by a quote or is not wanted; else it may be torn, and is refused. While the file may still grow,
 *   such a line waits.
 *
 * Quoted fields are scanned four bytes at a time, as in `json-lines.ts`; doubled quotes are undone in the batch's
 * scratch space.
 */
import type { Batch, Reader } from '../batch/batch.js'
import type { Catalogue, Kind } from '../catalogue/catalogue.js'
import { MinimError } from '../errors/catalogue.js'
import { MAX_RECORD_BYTES } from './json-lines.js'
import { CONVERSIONS, formatOf, type Mapping } from './mapping.js'
import { FINE, REASONS_BY_STATUS, type ValueStatus } from './value-status.js'
import { Values } from './values.js'

const LF = 0x0a,
  CR = 0x0d,
  QUOTE = 0x22,
  COMMA = 0x2c
const QUOTES = 0x22222222,
  ONES = 0x01010101,
  HIGH_BITS = 0x80808080 | 0

const QUOTED = 1,
  DOUBLED = 2,
  NOT_ASCII = 4

/** It is no CSV, or has too many columns. */
const BROKEN = -1
/** The bytes end inside a quoted field. */
const OPEN_QUOTE = -2
/** The bytes end where a record may end. */
const NO_LINE_END = -3

/** What to do with the lines of one number of columns. */
interface Plan {
  readonly columns: Int16Array
  readonly ops: Uint8Array
  readonly fields: Int16Array
  /** The last column is not taken. */
  readonly lastIsDropped: boolean
}

export interface CsvOptions {
  /** Longest record that is taken, without its line end. Default 64 KiB. */
  readonly maxRecordBytes?: number
}

/** Reads CSV by a mapping that names its columns. */
export class CsvReader implements Reader {
  readonly format: string
  readonly maxRecordBytes: number
  readonly #kind: Kind
  readonly #values: Values
  /** By number of columns. */
  readonly #plans: readonly (Plan | undefined)[]
  readonly #maxColumns: number
  /** Columns of the line last scanned. */
  readonly #columnStart: Int32Array
  readonly #columnLength: Int32Array
  readonly #columnFlags: Uint8Array
  #count = 0

  /** @throws MinimError if the mapping names no columns */
  constructor(mapping: Mapping, catalogue: Catalogue, options: CsvOptions = {}) {
    if (mapping.columns.length === 0) throw new MinimError('MINIM_CSV_NO_COLUMNS', { mapping: mapping.name })
    this.#kind = mapping.kind
    this.format = formatOf('csv', mapping)
    this.maxRecordBytes = options.maxRecordBytes ?? MAX_RECORD_BYTES
    this.#values = new Values(mapping, catalogue.kinds[mapping.kind])
    const plans: (Plan | undefined)[] = []
    for (const names of mapping.columns) {
      const wanted = names.flatMap((name, column) =>
        mapping.keys.filter((k) => k.key === name).map((key) => ({ column, key })),
      )
      plans[names.length] = {
        columns: Int16Array.from(wanted, (w) => w.column),
        ops: Uint8Array.from(wanted, (w) => CONVERSIONS.indexOf(w.key.as) + 1),
        fields: Int16Array.from(wanted, (w) => w.key.field.index),
        lastIsDropped: !wanted.some((w) => w.column === names.length - 1),
      }
    }
    this.#plans = plans
    this.#maxColumns = plans.length - 1
    this.#columnStart = new Int32Array(this.#maxColumns)
    this.#columnLength = new Int32Array(this.#maxColumns)
    this.#columnFlags = new Uint8Array(this.#maxColumns)
  }

  /**
   * Reads whole records. Returns `start` for one that is longer than what was given: if that is more than
   * `maxRecordBytes`, its owner has to refuse it.
   */
  fill(batch: Batch, start: number, end: number, last: boolean): number {
    const arena = batch.arena
    const columns = batch.columns[this.#kind]
    const capacity = columns.capacity
    const max = this.maxRecordBytes
    const values = this.#values
    values.open(batch, columns)
    let p = start
    while (p < end && columns.rows + batch.refusedReason.length < capacity) {
      const s = p
      const c = arena[s]
      if (c === LF) {
        p++
        continue
      }
      if (c === CR && (s + 1 < end ? arena[s + 1] === LF : last)) {
        p = Math.min(end, s + 2)
        continue
      }
      const window = Math.min(end, s + max + 1)
      let found = this.#scan(s, window)
      if ((found === NO_LINE_END || found === OPEN_QUOTE) && end - s <= max) {
        if (!last) return s
        if (found === NO_LINE_END && this.#isWhole()) found = end
      }
      const plan = found >= 0 ? this.#plans[this.#count] : undefined
      if (plan === undefined) {
        let nl = arena.indexOf(LF, s)
        if (nl < 0 || nl >= end) {
          if (!last) return s
          nl = end
        }
        if (nl - s > max) batch.refuse('too_large', s, s + max)
        else batch.refuse('malformed_csv', s, nl)
        p = Math.min(end, nl + 1)
        continue
      }
      const scratch = batch.scratch
      const cell = columns.begin()
      values.beginRow()
      let status: ValueStatus | typeof NO_SCRATCH = FINE
      for (let i = 0; i < plan.columns.length; i++) {
        const column = plan.columns[i]
        const from = this.#columnStart[column]
        const size = this.#columnLength[column]
        const flags = this.#columnFlags[column]
        const result =
          (flags & DOUBLED) === 0
            ? values.text(plan.ops[i], plan.fields[i], cell, from, from + size, (flags & NOT_ASCII) === 0)
            : this.#undoubled(batch, plan.ops[i], plan.fields[i], cell, from, size, flags)
        if (result === FINE) continue
        status = result
        if (result === NO_SCRATCH) break
      }
      if (status === FINE) {
        values.endRow(cell)
        columns.commit(s, found > s && arena[found - 1] === CR ? found - 1 : found)
      } else {
        columns.rollback()
        batch.scratch = scratch
        if (status === NO_SCRATCH) {
          if (batch.taken > 0) return s
          batch.refuse('too_large', s, found)
        } else batch.refuse(REASONS_BY_STATUS[status], s, found)
      }
      p = Math.min(end, found + 1)
    }
    return p
  }

  /**
   * Finds the columns of the record at `p`.
   * @returns where its line feed is, or BROKEN, OPEN_QUOTE or NO_LINE_END
   */
  #scan(p: number, window: number): number {
    const arena = this.#values.bytes
    this.#count = 0
    for (;;) {
      if (this.#count === this.#maxColumns) return BROKEN
      p = this.#column(p, window)
      if (p < 0) return p
      this.#count++
      if (p >= window) return NO_LINE_END
      const c = arena[p]
      if (c === COMMA) p++
      else if (c === LF) return p
      else if (c !== CR) return BROKEN
      else if (p + 1 >= window) return NO_LINE_END
      else return arena[p + 1] === LF ? p + 1 : BROKEN
    }
  }

  /**
   * Finds one column. Free of loops for the reason given at `JsonLinesReader.pair`. @returns behind it, or BROKEN or
   * OPEN_QUOTE
   */
  #column(p: number, window: number): number {
    const arena = this.#values.bytes
    const n = this.#count
    if (p < window && arena[p] === QUOTE) {
      const s = p + 1
      let e = quotedEnd(this.#values.view, s, window - 4)
      let flags = QUOTED
      if (e + 1 >= window || arena[e] !== QUOTE || arena[e + 1] === QUOTE) {
        const plain = e
        e = closingQuote(arena, e, window)
        if (e < 0) return OPEN_QUOTE
        flags |= flagsOf(arena, plain, e)
      }
      this.#columnStart[n] = s
      this.#columnLength[n] = e - s
      this.#columnFlags[n] = flags
      return e + 1
    }
    const e = unquotedEnd(arena, p, window)
    let length = e - p
    if (e < window && arena[e] === QUOTE) return BROKEN
    if (length > 0 && arena[e - 1] === CR && (e >= window || arena[e] === LF)) length--
    this.#columnStart[n] = p
    this.#columnLength[n] = length
    this.#columnFlags[n] = flagsOf(arena, p, e)
    return e
  }

  /** Whether a record that ends without a line feed can be trusted to be all there. */
  #isWhole(): boolean {
    const plan = this.#plans[this.#count]
    return plan !== undefined && (plan.lastIsDropped || (this.#columnFlags[this.#count - 1] & QUOTED) !== 0)
  }

  #undoubled(
    batch: Batch,
    op: number,
    field: number,
    cell: number,
    s: number,
    size: number,
    flags: number,
  ): ValueStatus | typeof NO_SCRATCH {
    if (batch.scratchEnd - batch.scratch < size) return NO_SCRATCH
    const arena = batch.arena
    const from = batch.scratch
    let to = from
    for (let p = s; p < s + size; p++) {
      const c = arena[p]
      arena[to++] = c
      if (c === QUOTE) p++
    }
    batch.scratch = to
    return this.#values.text(op, field, cell, from, to, (flags & NOT_ASCII) === 0)
  }
}

const NO_SCRATCH = -4

/** Goes on to the first byte that is a quote or not ASCII; or stops in the last three before the limit. */
function quotedEnd(view: DataView, p: number, wordLimit: number): number {
  while (p <= wordLimit) {
    const w = view.getInt32(p, true)
    const hits = (((w ^ QUOTES) - ONES) | w) & HIGH_BITS
    if (hits !== 0) return p + ((31 - Math.clz32(hits & -hits)) >> 3)
    p += 4
  }
  return p
}

/** The quote that closes a field: one that is not doubled. -1 if there is none. */
function closingQuote(arena: Uint8Array, p: number, window: number): number {
  while (p < window) {
    if (arena[p] === QUOTE) {
      if (p + 1 >= window || arena[p + 1] !== QUOTE) return p
      p++
    }
    p++
  }
  return -1
}

function unquotedEnd(arena: Uint8Array, p: number, window: number): number {
  while (p < window) {
    const c = arena[p]
    if (c === COMMA || c === LF || c === QUOTE) break
    p++
  }
  return p
}

function flagsOf(arena: Uint8Array, p: number, end: number): number {
  let flags = 0
  for (; p < end; p++) {
    const c = arena[p]
    if (c === QUOTE) flags |= DOUBLED
    else if (c >= 0x80) flags |= NOT_ASCII
  }
  return flags
}
