/**
 * How large a share may be, given how often it was seen: the exact binomial bound of Clopper and Pearson. Records of one
 * subject are alike, so they count for less than as many records of different ones (Korn and Graubard 1998).
 */

/** One-sided: no link in 300 shows 1 % and not less. */
export const CONFIDENCE = 0.95

const LANCZOS = [
  676.5203681218851, -1259.1392167224028, 771.3234287776531, -176.6150291621406, 12.507343278686905,
  -0.13857109526572012, 9.984369578019572e-6, 1.5056327351493116e-7,
] as const
const LANCZOS_G = 7
const LANCZOS_FIRST = 0.9999999999998099

function logGamma(z: number): number {
  const x = z - 1
  const t = x + LANCZOS_G + 0.5
  const series = LANCZOS.reduce((sum, coefficient, i) => sum + coefficient / (x + i + 1), LANCZOS_FIRST)
  return 0.5 * Math.log(2 * Math.PI) + (x + 0.5) * Math.log(t) - t + Math.log(series)
}

const MAX_TERMS = 10_000
const ENOUGH = 1e-14
const TINY = 1e-300

/** The continued fraction of the incomplete beta function, by Lentz's method. */
function betaFraction(x: number, a: number, b: number): number {
  const nonZero = (value: number): number => (Math.abs(value) < TINY ? TINY : value)
  let c = 1
  let d = 1 / nonZero(1 - ((a + b) * x) / (a + 1))
  let fraction = d
  for (let m = 1; m < MAX_TERMS; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    d = 1 / nonZero(1 + even * d)
    c = nonZero(1 + even / c)
    fraction *= d * c
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    d = 1 / nonZero(1 + odd * d)
    c = nonZero(1 + odd / c)
    const step = d * c
    fraction *= step
    if (Math.abs(step - 1) < ENOUGH) break
  }
  return fraction
}

/** Regularised incomplete beta function: the share of the beta distribution that lies below `x`. */
function betaBelow(x: number, a: number, b: number): number {
  if (x <= 0) return 0
  if (x >= 1) return 1
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x))
  return x < (a + 1) / (a + b + 2) ? (front * betaFraction(x, a, b)) / a : 1 - (front * betaFraction(1 - x, b, a)) / b
}

const BISECTIONS = 60

/**
 * The greatest share with which so few hits are not yet unlikely. Of nothing it is 1: what was not looked at may be all.
 * @param hits may be a fraction, where the number of trials is an effective one
 */
export function clopperPearsonUpper(hits: number, trials: number, confidence: number = CONFIDENCE): number {
  if (trials <= 0 || hits >= trials) return 1
  let low = hits / trials
  let high = 1
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (low + high) / 2
    if (betaBelow(middle, hits + 1, trials - hits) < confidence) low = middle
    else high = middle
  }
  return high
}

export interface Share {
  readonly hits: number
  readonly of: number
  readonly share: number
  /** Upper bound of the share, at {@link CONFIDENCE}. */
  readonly upper: number
  /** What the bound would be had there been no hit: no sample of this size shows less. */
  readonly least: number
}

/**
 * The share of hits among records that come in groups, one for each subject.
 * @param hits by group
 * @param sizes records by group; groups of none are left out
 */
export function shareOf(hits: ArrayLike<number>, sizes: ArrayLike<number>): Share {
  let groups = 0
  let of = 0
  let all = 0
  for (let g = 0; g < sizes.length; g++) {
    if (sizes[g] === 0) continue
    groups++
    of += sizes[g]
    all += hits[g]
  }
  const share = of === 0 ? 0 : all / of
  let squares = 0
  for (let g = 0; g < sizes.length; g++) squares += (hits[g] - share * sizes[g]) ** 2
  const variance = groups < 2 || of === 0 ? 0 : (groups / (groups - 1)) * (squares / of ** 2)
  // Where all groups are alike the spread says nothing: then each counts once.
  const trials = variance > 0 ? Math.min(of, (share * (1 - share)) / variance) : groups
  const upper = clopperPearsonUpper(share * trials, trials)
  return { hits: all, of, share, upper, least: clopperPearsonUpper(0, trials) }
}
