/** Rounding down to spans: what the buckets of times and of numbers share. */

/** Greatest whole multiple of `step` that is not above `value`. */
export function stepBucket(value: number, step: number): number {
  return Math.floor(value / step) * step
}

/**
 * Greatest of the ascending bounds that is not above `value`; NaN below them all, and for NaN: an absent figure lies in
 * no bucket.
 */
export function boundsBucket(value: number, bounds: Float64Array): number {
  let i = bounds.length - 1
  while (i >= 0 && !(bounds[i] <= value)) i--
  return i >= 0 ? bounds[i] : NaN
}
