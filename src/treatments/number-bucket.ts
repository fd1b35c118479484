/** Numbers rounded down, so that one says which span it lies in and no more. */
import { Type } from '@sinclair/typebox'
import { boundsBucket, stepBucket } from './buckets.js'
import { TIME_FIELDS } from './time-bucket.js'
import { BY_NOBODY, type Descriptor } from './treatment.js'
import { only, parameters, under, whole } from './written.js'

/** Lower bound of the span: the greatest of `bounds` not above the value, or a whole multiple of `step`. */
export interface NumberBucket {
  readonly kind: 'number-bucket'
  readonly step: number | null
  readonly bounds: readonly number[] | null
}

const MAX_BOUNDS = 1000

export const numberBucket: Descriptor<NumberBucket> = {
  kind: 'number-bucket',
  rows: [{ written: 'number-bucket', reveals: 'which span a number lies in, by its lower bound', reversible: null }],
  dpv: 'Deidentification',
  spelling: '{ number-bucket: { step: 60 } } or { number-bucket: { bounds: [0, 60, 300] } }',
  shows: 'less',
  examples: [
    { field: 'call.duration_seconds', written: { 'number-bucket': { step: 60 } }, input: 137, output: 120 },
    { field: 'call.duration_seconds', written: { 'number-bucket': { bounds: [0, 30, 300] } }, input: 137, output: 30 },
    {
      field: 'call.duration_seconds',
      written: { 'number-bucket': { bounds: [0, 30, 300] } },
      input: 1000,
      output: 300,
    },
    { field: 'quality.mos_lq', written: { 'number-bucket': { step: 0.5 } }, input: 4.25, output: 4 },
  ],
  schema: () => [
    under(
      'number-bucket',
      Type.Union([
        parameters({ step: Type.Number({ exclusiveMinimum: 0 }) }),
        parameters({ bounds: Type.Array(Type.Number({ minimum: 0 }), { minItems: 1, maxItems: MAX_BOUNDS }) }),
      ]),
    ),
  ],
  fits: ({ identifier, name, type }, source) =>
    source === undefined &&
    identifier === 'NOT_AN_IDENTIFIER' &&
    !TIME_FIELDS.has(name) &&
    type !== 'string' &&
    type !== 'enum',
  read: (field, given) => {
    // A step or bound that the field's type cannot hold would be written as another number than the policy says.
    const fits = (n: unknown): n is number =>
      field.type === 'float'
        ? Number.isFinite(n) && Math.fround(n as number) === n
        : whole(n, 0, Number.MAX_SAFE_INTEGER)
    const step = only(given, ['step'])?.['step']
    if (fits(step) && step > 0) return { kind: 'number-bucket', step, bounds: null }
    const bounds = only(given, ['bounds'])?.['bounds']
    if (!Array.isArray(bounds) || bounds.length === 0 || bounds.length > MAX_BOUNDS || bounds[0] !== 0) return null
    if (!bounds.every((b, i) => fits(b) && (i === 0 || b > (bounds[i - 1] as number)))) return null
    return { kind: 'number-bucket', step: null, bounds: bounds as number[] }
  },
  text: ({ step, bounds }) => ({
    form: step !== null ? `rounded down to a multiple of ${step}` : `the lower bound of ${(bounds ?? []).join(', ')}`,
    reveals: 'which span the number lies in',
    reversible: BY_NOBODY,
  }),
  timeStepMs: () => null,
  // Each bound of the one must be a bound of the other. A step has no last bound, so no list has them all.
  followsFrom: (one, other) => {
    if (one.bounds === null) return one.step !== null && other.step !== null && one.step % other.step === 0
    const { step, bounds } = other
    return one.bounds.every((bound) => (bounds === null ? step !== null && bound % step === 0 : bounds.includes(bound)))
  },
  compile: ({ step, bounds }, { field }) => ({
    shape: 'number',
    column: field.index,
    call:
      step !== null
        ? { of: stepBucket, constants: [step] }
        : { of: boundsBucket, constants: [Float64Array.from(bounds ?? [])] },
  }),
}
