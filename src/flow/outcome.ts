/**
 * What became of a batch: which of its records left, and why the others did not. The reasons are one closed table: what
 * is added here is counted, labelled in the metrics and summed up in the conservation check by its name.
 */
import type { Refusal } from '../batch/batch.js'
import type { Kind } from '../catalogue/catalogue.js'

/** Each reason with what it means, as the documentation says it. */
const TABLE = {
  expired: 'it is older than the purpose keeps records',
  other_tenant: "its tenant is none of the purpose's",
  key_destroyed: "the purpose's key of its epoch was destroyed",
} as const

/** Why one purpose may not have a record that others may. */
export type Withholding = keyof typeof TABLE

/** In words, for people. */
export const WITHHOLDINGS_TEXT: Readonly<Record<Withholding, string>> = TABLE

export const WITHHOLDINGS = Object.keys(TABLE) as Withholding[]

/** Why a record goes nowhere when the policy has no rules for its kind at all; counted under no purpose's name. */
export const NO_PURPOSE = 'no_purpose'

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

/** What became of one batch, counted; given to metrics and the final report when it is committed. */
export interface Outcome {
  /** Records read, well or ill. */
  records: number
  /** Messages by topic name. */
  readonly produced: Record<string, number>
  /**
   * Records withheld from a purpose: `${purpose}\u0000${kind}\u0000${reason}`; the purpose is empty where the policy
   * has none for the kind.
   */
  readonly withheld: Record<string, number>
  readonly quarantined: Partial<Record<Refusal, number>>
  /** Fields that the catalogue does not know: dropped. */
  unknownFields: number
  /** Values that were no identifier of their field's type, text that could hide one, or not UTF-8: dropped. */
  unsafeFields: number
}
