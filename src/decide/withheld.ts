/**
 * Why a purpose does not get a record: the closed table of reasons, and the only counter of them. A reason that is added here is
 * counted, labelled in the metrics and summed up in the conservation check by its name; nobody else knows its place.
 */
import type { Kind } from '../catalogue/catalogue.js'

/** Each reason with what it means, as the documentation says it. */
const TABLE = {
  expired: 'it is older than the purpose keeps records',
  other_tenant: 'its tenant is none of the purpose\'s',
  key_destroyed: 'the purpose\'s key of its epoch was destroyed',
} as const

/** Why one purpose may not have a record that others may. */
export type Withholding = keyof typeof TABLE
export const WITHHOLDINGS = Object.keys(TABLE) as Withholding[]

/** Why a record goes nowhere when the policy has no rules for its kind at all; counted under no purpose's name. */
export const NO_PURPOSE = 'no_purpose'

/** The place of each reason in the counters of a purpose. */
const PLACES = Object.fromEntries(WITHHOLDINGS.map((reason, place) => [reason, place])) as Readonly<Record<Withholding, number>>

/** The name under which an outcome counts: purpose, kind and reason, apart by a character that none of them has. */
export function withheldName(purpose: string, kind: Kind, reason: Withholding): string {
  return `${purpose}\u0000${kind}\u0000${reason}`
}

/** The name under which an outcome counts the records of a kind that no purpose has rules for. */
export function noPurposeName(kind: Kind): string {
  return `\u0000${kind}\u0000${NO_PURPOSE}`
}

/** The reason in a name that {@link withheldName} or {@link noPurposeName} made. */
export function withheldReason(name: string): string {
  return name.slice(name.lastIndexOf('\u0000') + 1)
}

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
