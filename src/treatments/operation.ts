/**
 * What a treatment compiles to: one of six shapes in which a value can be written, each with the functions and numbers
 * that make it. The projection (`src/project`) knows the shapes and not the treatments: it generates a writer whose
 * calls are these functions.
 *
 * Functions here are called once per record, so they take what they need as plain arguments, write into the output and
 * allocate nothing.
 */
import type { DevicePart } from '../flow/device-parts.js'
import type { EpochKeys } from '../keys/keyring.js'

/** Argument of a writer's function that is the same for all records: a number, or ascending numbers. */
export type Constant = number | Float64Array

/**
 * A number out of a number; NaN where there is nothing to show.
 * Called as `of(value, …constants)`.
 */
export interface NumberCall {
  readonly of: (value: number, ...constants: never[]) => number
  readonly constants: readonly Constant[]
}

/**
 * Text out of a packed identifier (`src/batch/block.ts`), no longer than a kept text.
 * Called as `of(blocks, at, …constants, out, pos)`; returns the position after the text, `pos` itself where there is
 * nothing to show.
 */
export interface ExcerptCall {
  readonly of: (blocks: Uint8Array, at: number, ...rest: never[]) => number
  readonly constants: readonly Constant[]
}

/**
 * A field's identifiers of one batch, normalised, and which of them are asked for. Arrays of cells have row 0 at
 * `first`.
 */
export interface IdentifierColumn {
  readonly rows: number
  readonly first: number
  /** What each cell holds: a SLOT of `src/batch/block.ts`. */
  readonly slots: Uint8Array
  /** 16 bytes a row, row 0 first. */
  readonly blocks: Buffer
  /** Whether any cell holds more than a block: a UUID, an IPv6 address, a long form. */
  readonly special: boolean
  /** Long forms, and where each cell's is among them. */
  readonly long: Buffer
  readonly longOff: Int32Array
  readonly longLen: Int32Array
  /** Purposes of each row as bits, and the bit of the one that asks. */
  readonly mask: Int32Array
  readonly bit: number
  /** Whether a number that is protected is the same for all: the purpose may not tell who called for help. */
  readonly hideProtected: boolean
  /** Which epoch each row lies in, and the keys of each epoch; null where no row of it is asked for. */
  readonly epochRow: Int16Array
  readonly keys: readonly (EpochKeys | null)[]
}

/** Makes the tokens of one field, a whole column at a time. Kept from batch to batch. */
export interface TokenColumn {
  /** 16 bytes a row; of no use where the cell is absent or not asked for. Another buffer after each {@link make}. */
  readonly made: Buffer
  /** Whether any row has a longer token instead; where they are, by row. A length of 0: the row has none. */
  readonly anyLong: boolean
  readonly long: Uint8Array
  readonly longOff: Int32Array
  readonly longLen: Int32Array
  make(column: IdentifierColumn): void
}

/** How a treated value comes about. */
export type Recipe =
  /** The text of a column as it is; checked before, so that it hides nothing. */
  | { readonly shape: 'text'; readonly column: number }
  /** The name of the record's tenant, whether the record names it or its source's settings do. */
  | { readonly shape: 'tenant' }
  /** The number of a column, as it is (null) or out of a call. */
  | { readonly shape: 'number'; readonly column: number; readonly call: NumberCall | null }
  /** Text out of the identifier of a slot: of its block, of its IPv6 address; nothing of other forms. */
  | { readonly shape: 'excerpt'; readonly slot: number; readonly block: ExcerptCall; readonly ipv6: ExcerptCall | null }
  /** A token of the identifier of a slot. `mayBeLong`: some are wider than 16 bytes. */
  | {
      readonly shape: 'token'
      readonly slot: number
      readonly mayBeLong: boolean
      readonly start: (capacity: number) => TokenColumn
    }
  /** A part of the device. */
  | { readonly shape: 'part'; readonly part: DevicePart }
  /** A name out of a closed table, of a named field's slot. */
  | { readonly shape: 'named'; readonly slot: number }
