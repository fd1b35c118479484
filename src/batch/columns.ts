/**
 * Columns: up to `capacity` records of one kind, as offsets into one arena of bytes and plain numbers. No object per
 * record.
 *
 * Row-major: value of field `f` in row `r` is at index `r * width + f`.
 * - strings: `off` and `len`, the value's bytes in `arena` (UTF-8, already checked). Below 0 there is none: -1 = absent,
 *   else one that is not UTF-8 ({@link unreadable})
 * - numbers and enums: `num` (NaN = absent); `float` fields hold the float32 value
 *
 * Readers of every input fill the same columns through {@link Columns.begin}, the setters, and {@link Columns.commit};
 * the last value of a field wins. Guarded by the transform row of `bench/`.
 */
import type { KindCatalogue } from '../catalogue/catalogue.js'

export const BATCH_ROWS = 2048

/**
 * Longest text that is kept as it is, bytes. Whoever checks kept texts and whoever makes room for them go by this one:
 * in less room the end of a message would be lost in silence, since typed arrays drop what is written behind their end.
 */
export const KEPT_TEXT_MAX_BYTES = 64

/**
 * What `off` holds for a text that came and is not UTF-8, which begins at `start`. The record goes on without it: the
 * caller's name in Latin-1 is no reason to lose the call. Where it was is kept, since it is counted if some purpose
 * would have seen it, and an agent sends it on as it came.
 */
export function unreadable(start: number): number {
  return -2 - start
}

/** Where the text that `off` holds as {@link unreadable} begins; -1 if it holds none. */
export function unreadableStart(off: number): number {
  return off < -1 ? -2 - off : -1
}

export class Columns {
  readonly kind: KindCatalogue
  /** Fields per row. */
  readonly width: number
  readonly capacity: number
  /** Rows filled and committed. */
  rows = 0
  /** Whether a text that is not UTF-8 came since the columns were emptied: else nobody needs to look for one. */
  anyUnreadable = false
  readonly off: Int32Array
  readonly len: Int32Array
  readonly num: Float64Array
  /** The input bytes that a row came from, in the arena: what goes to quarantine. */
  readonly rawStart: Int32Array
  readonly rawEnd: Int32Array

  constructor(kind: KindCatalogue, capacity: number = BATCH_ROWS) {
    this.kind = kind
    this.width = kind.fields.length
    this.capacity = capacity
    this.off = new Int32Array(capacity * this.width).fill(-1)
    this.len = new Int32Array(capacity * this.width)
    this.num = new Float64Array(capacity * this.width).fill(NaN)
    this.rawStart = new Int32Array(capacity)
    this.rawEnd = new Int32Array(capacity)
  }

  /** Empties every row that was filled. */
  clear(): void {
    const cells = Math.min(this.rows + 1, this.capacity) * this.width
    this.off.fill(-1, 0, cells)
    this.num.fill(NaN, 0, cells)
    this.rows = 0
    this.anyUnreadable = false
  }

  get full(): boolean {
    return this.rows === this.capacity
  }

  /** First cell of the row being filled: add a field's index to it. The row is not counted until {@link commit}. */
  begin(): number {
    return this.rows * this.width
  }

  /** Counts the row being filled; `start` and `end` are its input bytes in the arena. */
  commit(start: number, end: number): void {
    this.rawStart[this.rows] = start
    this.rawEnd[this.rows] = end
    this.rows++
  }

  /** Forgets what the row being filled holds. */
  rollback(): void {
    const cell = this.rows * this.width
    this.off.fill(-1, cell, cell + this.width)
    this.num.fill(NaN, cell, cell + this.width)
  }
}
