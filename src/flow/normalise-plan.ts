/** What `src/policy` asks of `src/normalise`. */
import type { Field, KindCatalogue } from '../catalogue/catalogue.js'

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
  /** Indexes of string fields that a purpose keeps, or takes a given device text from. */
  readonly texts: readonly number[]
}
