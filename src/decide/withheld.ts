/**
 * Why a purpose does not get a record: the closed table of reasons, and the only counter of them. A reason that is
 * added here is counted, labelled in the metrics and summed up in the conservation check by its name; nobody else knows
 * its place.
 */
import { type Withholding, WITHHOLDINGS } from '../flow/outcome.js'

/** The place of each reason in the counters of a purpose. */
const PLACES = Object.fromEntries(WITHHOLDINGS.map((reason, place) => [reason, place])) as Readonly<
  Record<Withholding, number>
>

/** How many rows of a batch were withheld from each of a kind's purposes, by reason. */
export class WithheldCounts {
  readonly #counts: Int32Array

  constructor(purposes: number) {
    this.#counts = new Int32Array(purposes * WITHHOLDINGS.length)
  }

  clear(): void {
    this.#counts.fill(0)
  }

  /** Counts one row. */
  add(purpose: number, reason: Withholding): void {
    this.#counts[purpose * WITHHOLDINGS.length + PLACES[reason]]++
  }

  of(purpose: number, reason: Withholding): number {
    return this.#counts[purpose * WITHHOLDINGS.length + PLACES[reason]]
  }
}
