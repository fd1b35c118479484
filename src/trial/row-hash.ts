/** Rows of several columns as one number each: equal rows have equal numbers, and others almost never. */

const cell = new Float64Array(1)
const halves = new Uint32Array(cell.buffer)

function mix(hash: number, word: number): number {
  let h = Math.imul(hash ^ word, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15), 0x85ebca77)
  return h ^ (h >>> 13)
}

const LOW_BITS = 21

/** 53 bits: so many are exact in a number. */
const joined = (high: number, low: number): number => (high >>> 0) * 2 ** LOW_BITS + (low >>> (32 - LOW_BITS))

export function rowHashes(columns: readonly Float64Array[], rows: number): Float64Array {
  const hashes = new Float64Array(rows)
  for (let row = 0; row < rows; row++) {
    let high = 0x243f6a88
    let low = 0x13198a2e
    for (const column of columns) {
      cell[0] = column[row]
      high = mix(mix(high, halves[0]), halves[1])
      low = mix(mix(low, halves[1] ^ 0x5bd1e995), halves[0])
    }
    hashes[row] = joined(high, low)
  }
  return hashes
}

/** Adds one row to the hash of a set of rows, in which order does not count. */
export class SetHash {
  #high = 0
  #low = 0
  rows = 0

  add(hash: number): void {
    cell[0] = hash
    this.#high = (this.#high + mix(halves[0], halves[1])) | 0
    this.#low = (this.#low + mix(halves[1], halves[0] ^ 0x27d4eb2f)) | 0
    this.rows++
  }

  get value(): number {
    return joined(mix(this.#high, this.rows), mix(this.#low, this.rows))
  }
}

const AMBIGUOUS = -1

/** Where each value stands; {@link AMBIGUOUS} where more than once. */
export function placesOf(values: ArrayLike<number>): Map<number, number> {
  const places = new Map<number, number>()
  for (let i = 0; i < values.length; i++) places.set(values[i], places.has(values[i]) ? AMBIGUOUS : i)
  return places
}

/** Values that stand once on both sides. */
export function* uniquePairs(a: ArrayLike<number>, b: ArrayLike<number>): Generator<readonly [number, number]> {
  const places = placesOf(b)
  for (const [value, i] of placesOf(a)) {
    const j = places.get(value)
    if (i !== AMBIGUOUS && j !== undefined && j !== AMBIGUOUS) yield [i, j]
  }
}
