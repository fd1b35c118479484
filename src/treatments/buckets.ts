/** Buckets: times and numbers rounded down, so that a value says which span it lies in and no more. */
import type { TreatmentInfo } from './treatment.js'

export const timeBucketInfo: TreatmentInfo = {
  kind: 'time-bucket',
  reveals: 'the minute, hour or day (UTC) that a time lies in',
  reversible: false,
  examples: [
    { input: '1767225845000', parameters: 'ms: 60000', output: '1767225840000' },
    { input: '1767225845000', parameters: 'ms: 86400000', output: '1767225600000' },
  ],
}

export const numberBucketInfo: TreatmentInfo = {
  kind: 'number-bucket',
  reveals: 'which span a number lies in, by its lower bound',
  reversible: false,
  examples: [
    { input: '137', parameters: 'step: 60', output: '120' },
    { input: '137', parameters: 'bounds: 0, 30, 300', output: '30' },
    { input: '1000', parameters: 'bounds: 0, 30, 300', output: '300' },
  ],
}

/** Greatest whole multiple of `step` that is not above `value`. */
export function stepBucket(value: number, step: number): number {
  return Math.floor(value / step) * step
}

/** Greatest of the ascending bounds that is not above `value`; NaN below them all, and for NaN: an absent figure lies in no bucket. */
export function boundsBucket(value: number, bounds: Float64Array): number {
  let i = bounds.length - 1
  while (i >= 0 && !(bounds[i] <= value)) i--
  return i >= 0 ? bounds[i] : NaN
}
