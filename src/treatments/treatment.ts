/**
 * Treatments: what may be done to a field before a purpose sees it. One file and one descriptor each, listed in
 * `list.ts`; everything else that speaks of treatments (the policy's schema and reader, lint, explain, the
 * documentation's table, the compiler, the tests) iterates that list. All work on normalised values.
 */
import type { TSchema } from '@sinclair/typebox'
import type { Field, FieldsByName } from '../catalogue/catalogue.js'
import type { Recipe } from './operation.js'

/** Technical measures of the W3C Data Privacy Vocabulary 2 (https://w3id.org/dpv#) that treatments are. */
export type DpvMeasure = 'DeterministicPseudonymisation' | 'Deidentification'

/** A treatment with its parameters, in words. */
export interface TreatmentText {
  /** What is written: `token, the same for a month`. */
  readonly form: string
  /** What somebody who reads the topic learns from it. */
  readonly reveals: string
  /** Who can get the value back. */
  readonly reversible: string
}

/** For {@link TreatmentText}: values that nobody gets back. */
export const BY_NOBODY = 'by nobody'

/** What a policy writes, what comes in, and what the purpose then sees. Run by `test/treatments/examples.test.ts`. */
export interface Example {
  /** `call.calling_prefix` */
  readonly field: `${'call' | 'quality' | 'device'}.${string}`
  /** As the policy writes it. */
  readonly written: unknown
  readonly input: string | number
  /** null: nothing is shown. */
  readonly output: string | number | null
}

/** One row of the documentation's table. */
export interface TreatmentRow {
  /** As the policy writes it, in short. */
  readonly written: string
  /** What the purpose sees. */
  readonly reveals: string
  /** Who can get the value back; null: nobody. */
  readonly reversible: string | null
}

/**
 * What a treatment is compiled for: one field of one purpose. Its functions ask the stages before it for what they hand
 * out.
 */
export interface Target {
  readonly field: Field
  /** Field whose value is treated: the field itself, or the one that it is made from. */
  readonly source: Field
  /** All fields of the same kind of record. */
  readonly fields: FieldsByName
  /** Has the source normalised as an identifier. Returns its slot. */
  readonly identifier: () => number
  /** Has a field's text checked, so that it may be copied. Returns its column. */
  readonly text: (field: Field) => number
  /** Has a field's text looked up in its closed table; null where it has none, else the field's slot. */
  readonly named: (field: Field) => number | null
  /** Has the device told out of the User-Agent and what the record says of it. */
  readonly device: () => void
}

export interface Descriptor<T extends { readonly kind: string }> {
  readonly kind: T['kind']
  /** The documentation's rows: the treatment as it is usual first, then its other forms. */
  readonly rows: readonly [TreatmentRow, ...TreatmentRow[]]
  /** The measure that it is; null: none. */
  readonly dpv: DpvMeasure | null
  /** How it is written, for the mend of one that is not understood. */
  readonly spelling: string
  readonly examples: readonly [Example, ...Example[]]
  /**
   * Whether what is shown is the value itself, a token of it (so it needs a key, and can be Kafka's), or less than the
   * value.
   */
  readonly shows: 'value' | 'token' | 'less'
  /** The forms in which a policy may write it. */
  schema(): TSchema[]
  /**
   * Whether it may be put on a field: one that it does not fit would reveal more than it says.
   * @param source the field that it is made from; undefined where it has a value of its own
   */
  fits(field: Field, source: Field | undefined): boolean
  /**
   * Reads its parameters, for a field that it fits; null when they are not understood.
   * @param given what stands under its name; undefined where it is written as its name alone
   */
  read(field: Field, given: unknown): T | null
  /** @param lasts how long a token stays the same: `for a month` */
  text(treatment: T, lasts: string): TreatmentText
  /**
   * Width of the span, ms, that a time is known to lie in once it is treated; 1: the time itself. null: it shows no
   * time.
   */
  timeStepMs(treatment: T): number | null
  /**
   * Whether what `one` shows follows from what `other` shows of the same value: then who changes `other` into `one`
   * shows no more than before.
   */
  followsFrom(one: T, other: T): boolean
  compile(treatment: T, target: Target): Recipe
}

/** Writes a whole number in decimal. Returns the position after it. */
export function writeDecimal(value: number, out: Uint8Array, pos: number): number {
  if (value < 10) {
    out[pos] = 48 + value
    return pos + 1
  }
  let digits = 1
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++
  const end = pos + digits
  let rest = value
  for (let i = end - 1; i >= pos; i--) {
    const tens = Math.floor(rest / 10)
    // The difference first: 48 + rest would leave the exact numbers near 2^53.
    out[i] = 48 + (rest - tens * 10)
    rest = tens
  }
  return end
}
