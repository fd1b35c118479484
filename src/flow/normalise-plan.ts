/** What `src/policy` asks of `src/normalise`. */
import type { Field, FieldName, KindCatalogue } from '../catalogue/catalogue.js'

/** Fields whose text is shown as its name in a closed table, whatever spelling came in. */
export const NAMED_FIELDS: ReadonlySet<FieldName> = new Set<FieldName>(['codec'])

/** What of one kind of record must be normalised: the union over all purposes. */
export interface NormalisePlan {
  readonly kind: KindCatalogue
  /** Fields packed into blocks; a field's place here is its slot number. */
  readonly identifiers: readonly Field[]
  /**
   * The User-Agent's index if a purpose sees a part of it, or a MAC address or serial number that may stand in it; else
   * -1.
   */
  readonly userAgent: number
  /** Columns of what a record says of its device, by `DEVICE_PARTS`, -1 where it has none; empty: no purpose asks. */
  readonly given: readonly number[]
  /** Indexes of string fields that a purpose keeps. */
  readonly texts: readonly number[]
  /** Indexes of string fields of which a purpose sees the name in a closed table; a field's place here is its slot. */
  readonly named: readonly number[]
  /** Indexes of numbers of which a purpose sees something. */
  readonly numbers: readonly number[]
}
