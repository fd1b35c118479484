/**
 * One JSON text, an object or a list of them, as JSON Lines: so that both go through the same reader, and keep their
 * digits.
 */

const SPACE = 0x20,
  QUOTE = 0x22,
  COMMA = 0x2c,
  OPEN_LIST = 0x5b,
  BACKSLASH = 0x5c,
  CLOSE_LIST = 0x5d,
  OPEN = 0x7b,
  CLOSE = 0x7d,
  LF = 0x0a

/**
 * Moves the entries of a list to lines of their own. What an entry is, the reader of the lines finds out; here only the
 * outermost brackets and commas are read, one pass over the bytes.
 * @returns null where there is no object and no list of things, or its outermost brackets are wrong
 */
export function jsonToLines(json: Buffer): Buffer | null {
  const lines = Buffer.allocUnsafe(json.length + 1)
  let to = 0
  let p = skipBlank(json, json[0] === 0xef && json[1] === 0xbb && json[2] === 0xbf ? 3 : 0)
  const list = json[p] === OPEN_LIST
  if (!list && json[p] !== OPEN) return null
  if (list) {
    p = skipBlank(json, p + 1)
    // An empty list is nothing, and fine.
    if (json[p] === CLOSE_LIST) return skipBlank(json, p + 1) === json.length ? json.subarray(0, 0) : null
  }
  let depth = 0
  let inEntry = false
  while (p < json.length) {
    const c = json[p++]
    if (c === QUOTE) {
      const from = p - 1
      while (p < json.length && json[p] !== QUOTE) p += json[p] === BACKSLASH ? 2 : 1
      // A line break in a string is no JSON, and would be another line.
      const end = Math.min(p + 1, json.length)
      for (let i = from; i < end; i++) {
        if (json[i] < SPACE) return null
        lines[to++] = json[i]
      }
      p = end
      inEntry = true
      continue
    }
    if (c === SPACE || c === LF || c === 0x0d || c === 0x09) continue
    if (depth === 0 && list && (c === COMMA || c === CLOSE_LIST)) {
      if (!inEntry) return null
      lines[to++] = LF
      inEntry = false
      if (c === COMMA) continue
      return skipBlank(json, p) === json.length ? lines.subarray(0, to) : null
    }
    if (c === OPEN || c === OPEN_LIST) depth++
    else if ((c === CLOSE || c === CLOSE_LIST) && --depth < 0) return null
    inEntry = true
    lines[to++] = c
    // A space between two tokens may be all that parts them.
    if (p < json.length && isWord(c) && json[p] <= SPACE) lines[to++] = SPACE
  }
  if (list || depth !== 0) return null
  lines[to++] = LF
  return lines.subarray(0, to)
}

function isWord(c: number): boolean {
  return (c >= 0x30 && c <= 0x39) || (c >= 0x61 && c <= 0x7a) || (c >= 0x41 && c <= 0x5a)
}

function skipBlank(bytes: Uint8Array, p: number): number {
  while (p < bytes.length && (bytes[p] === SPACE || bytes[p] === LF || bytes[p] === 0x0d || bytes[p] === 0x09)) p++
  return p
}
