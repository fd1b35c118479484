/**
 * What JSON is made of, told by its bytes: ends of strings, digits, blanks, escapes. Small functions with a loop each,
 * which V8 compiles into whoever calls them.
 */

const CLOSE_LIST = 0x5d
export const LF = 0x0a,
  CR = 0x0d,
  TAB = 0x09,
  SPACE = 0x20,
  QUOTE = 0x22,
  COMMA = 0x2c,
  MINUS = 0x2d,
  COLON = 0x3a
export const BACKSLASH = 0x5c,
  OPEN_LIST = 0x5b,
  OPEN = 0x7b,
  CLOSE = 0x7d

/** Four bytes at a time: the byte in question in each, what to subtract, and the bit that then shows a hit. */
const QUOTES = 0x22222222,
  BACKSLASHES = 0x5c5c5c5c,
  SPACES = 0x20202020,
  ONES = 0x01010101,
  HIGH_BITS = 0x80808080 | 0

/** Values of the bytes that may follow a backslash; 0 where none may. `u` is handled apart. */
export const ESCAPES = new Uint8Array(256)
for (const [letter, value] of [
  ['"', 0x22],
  ['\\', 0x5c],
  ['/', 0x2f],
  ['b', 8],
  ['f', 12],
  ['n', 10],
  ['r', 13],
  ['t', 9],
] as const) {
  ESCAPES[letter.charCodeAt(0)] = value
}

export function hashKey(bytes: Uint8Array, start: number, end: number): number {
  let h = 0
  for (let p = start; p < end; p++) h = (Math.imul(h, 31) + bytes[p]) | 0
  return h ^ (h >>> 15)
}

/**
 * Where something nested ends that begins at `s`: by its brackets, and `JSON.parse` says whether it is well-formed.
 * @returns behind it, or -1
 */
export function nestedEnd(arena: Buffer, s: number, limit: number, maxDepth: number): number {
  let depth = 0
  let p = s
  while (p < limit) {
    const c = arena[p++]
    if (c === QUOTE) {
      while (p < limit && arena[p] !== QUOTE && arena[p] >= SPACE) p += arena[p] === BACKSLASH ? 2 : 1
      if (p >= limit || arena[p] !== QUOTE) return -1
      p++
    } else if (c === LF) return -1
    else if (c === OPEN || c === OPEN_LIST) {
      if (++depth > maxDepth) return -1
    } else if ((c === CLOSE || c === CLOSE_LIST) && --depth === 0) {
      try {
        // Structure is ASCII, so one character per byte will do, and needs no valid UTF-8
        JSON.parse(arena.toString('latin1', s, p))
        return p
      } catch {
        return -1
      }
    }
  }
  return -1
}

/** Whether the bytes at `p` are a key's words. */
export function sameWords(
  view: DataView,
  p: number,
  words: Int32Array,
  w: number,
  last: number,
  lastMask: number,
): boolean {
  while (w < last) {
    if (view.getInt32(p, true) !== words[w]) return false
    w++
    p += 4
  }
  return (view.getInt32(p, true) & lastMask) === words[w]
}

/**
 * Goes on to the first byte that is a quote, a backslash, a control character or not ASCII; or stops in the last three
 * before the limit.
 */
export function plainEnd(view: DataView, p: number, wordLimit: number): number {
  while (p <= wordLimit) {
    const w = view.getInt32(p, true)
    // Exact for the lowest byte that hits: only from a hit can a subtraction borrow. The subtractions wrap, as wanted.
    // Bytes from 0x80 on keep their high bit in at least one of the first two terms, so they need none of their own
    const hits = (((w ^ QUOTES) - ONES) | ((w ^ BACKSLASHES) - ONES) | (w - SPACES)) & HIGH_BITS
    if (hits !== 0) return p + ((31 - Math.clz32(hits & -hits)) >> 3)
    p += 4
  }
  return p
}

/** Goes on to the first byte that is a quote, a backslash or a control character. */
export function stringEnd(arena: Uint8Array, p: number, limit: number): number {
  while (p < limit) {
    const c = arena[p]
    if (c === QUOTE || c === BACKSLASH || c < SPACE) break
    p++
  }
  return p
}

export function isAscii(arena: Uint8Array, p: number, end: number): boolean {
  while (p < end) if (arena[p++] >= 0x80) return false
  return true
}

/** Reads digits into `result`. @returns behind them */
export function readDigits(arena: Uint8Array, p: number, limit: number, result: Float64Array): number {
  let v = 0
  while (p < limit) {
    const d = arena[p] - 0x30
    if (d < 0 || d > 9) break
    v = v * 10 + d
    p++
  }
  result[0] = v
  return p
}

export function skipSpace(arena: Uint8Array, p: number, limit: number): number {
  while (p < limit) {
    const c = arena[p]
    if (c !== SPACE && c !== TAB && c !== CR) break
    p++
  }
  return p
}

export function skipDigits(arena: Uint8Array, p: number, limit: number): number {
  while (p < limit && arena[p] >= 0x30 && arena[p] <= 0x39) p++
  return p
}

/** The value of four hexadecimal digits, or -1. */
export function hex4(arena: Uint8Array, p: number, limit: number): number {
  if (p + 4 > limit) return -1
  let v = 0
  for (let i = 0; i < 4; i++) {
    const c = arena[p + i]
    const d = c <= 0x39 ? c - 0x30 : (c | 0x20) - 0x57
    if (d < 0 || d > 15 || (c > 0x39 && d < 10)) return -1
    v = (v << 4) | d
  }
  return v
}
