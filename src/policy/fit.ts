/**
 * Which treatments fit which field, and how they are written. A treatment that does not fit would reveal more than it
 * says, so it stops the start.
 */
import type { Field } from '../catalogue/catalogue.js'
import { descriptorOf, type Treatment, type TreatmentKind, TREATMENTS } from '../treatments/registry.js'

/**
 * The treatments that fit a field, `drop` aside, which always does.
 * @param sourceOf finds the field that a derived one is made from
 */
export function fitting(field: Field, sourceOf: (name: string) => Field | undefined): readonly TreatmentKind[] {
  const source = field.derivedFrom === null ? undefined : sourceOf(field.derivedFrom)
  // A derived field has no value of its own: without its source there is nothing that could be treated.
  if (field.derivedFrom !== null && source === undefined) return []
  return TREATMENTS.filter((treatment) => treatment.fits(field, source)).map(({ kind }) => kind)
}

/** How a treatment is written, for the mend of one that is not understood. */
export function spellingOf(kind: TreatmentKind | 'drop'): string {
  return kind === 'drop' ? 'drop' : descriptorOf(kind).spelling
}

/** Kind of a treatment as written: `token`, or the one key of a mapping; null when it is neither. */
export function writtenKind(value: unknown): string | null {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const keys = Object.keys(value)
  return keys.length === 1 ? keys[0] : null
}

/** Reads the parameters of a treatment whose kind is known to fit; null when they are not understood. */
export function readTreatment(field: Field, kind: TreatmentKind, value: unknown): Treatment | null {
  return descriptorOf(kind).read(
    field,
    typeof value === 'string' ? undefined : (value as Record<string, unknown>)[kind],
  )
}
