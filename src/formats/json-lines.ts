/**
 * JSON Lines: one flat object per line, scanned straight into the columns.
 *
 * Nothing is decoded: strings stay where they are in the arena, numbers and times are read from their bytes. Keys are
 * found by *prediction*: they come in the same order as in the record before, so the bytes of the expected key (with
 * quotes and colon) are compared four at a time; only where that fails is the key looked up by a hash of its bytes.
 * Strings are scanned four bytes at a time too: one test finds a quote, a backslash, a control character or a byte that
 * is not ASCII. Escaped text is rewritten in the batch's scratch space. What is nested is never wanted: its extent is
 * found by its brackets, and `JSON.parse` says whether it is well-formed.
 *
 * The result is that of `JSON.parse` on each line (the property tests hold it to that): the last of equal keys wins,
 * null and empty strings are absent. Where it differs on purpose: a bare number in place of a text keeps its digits, a
 * text that is not UTF-8 or has a lone surrogate is none, and nesting is bounded.
 * Guarded by the JSON row of `bench/`.
 */
import type { Batch, Reader, Refusal } from '../batch/batch.js'
import type { Catalogue, Kind } from '../catalogue/catalogue.js'
import {
  BACKSLASH,
  CLOSE,
  COLON,
  COMMA,
  CR,
  ESCAPES,
  hashKey,
  hex4,
  isAscii,
  LF,
  MINUS,
  nestedEnd,
  OPEN,
  OPEN_LIST,
  plainEnd,
  QUOTE,
  readDigits,
  sameWords,
  skipDigits,
  skipSpace,
  SPACE,
  stringEnd,
  TAB,
} from './json-bytes.js'
import { CONVERSIONS, formatOf, type Mapping } from './mapping.js'
import { BAD_TIME, BAD_VALUE, FINE, REASONS_BY_STATUS } from './value-status.js'
import { OP_DROP, OP_TEXT, Values } from './values.js'

/** Longest line taken by default. */
export const MAX_RECORD_BYTES = 65_536

/** How deep a value that is not taken may nest. */
export const MAX_DEPTH = 32

const MALFORMED = -1
const NO_SCRATCH = -2

const UNKNOWN = -1

export interface JsonLinesOptions {
  /** Longest line that is taken, without its line end. Default 64 KiB. */
  readonly maxRecordBytes?: number
}

/** Reads JSON Lines by a mapping. */
export class JsonLinesReader implements Reader {
  readonly format: string
  readonly maxRecordBytes: number
  readonly #kind: Kind
  readonly #values: Values
  /** Per key: operation, field, and `"key":` as 32-bit words with the mask of its last word. */
  readonly #ops: Uint8Array
  readonly #fields: Int16Array
  readonly #tokens: readonly Buffer[]
  readonly #tokenLength: Int32Array
  readonly #words: Int32Array
  readonly #firstWord: Int32Array
  readonly #lastWord: Int32Array
  readonly #lastMask: Int32Array
  readonly #byName: ReadonlyMap<string, number>
  readonly #slots: Int16Array
  /** The key that followed each key in the records before; the last entry is for the first key. */
  readonly #following: Int16Array
  /** Fields of the row whose last value is bad. */
  readonly #bad: Uint8Array
  #anyBad = false
  #batch!: Batch
  #cell = 0
  /** The key before, in the record being read. */
  #before = 0
  /** Where a helper stopped. */
  #at = 0

  constructor(mapping: Mapping, catalogue: Catalogue, options: JsonLinesOptions = {}) {
    const kind = catalogue.kinds[mapping.kind]
    this.#kind = mapping.kind
    this.format = formatOf('json-lines', mapping)
    this.maxRecordBytes = options.maxRecordBytes ?? MAX_RECORD_BYTES
    this.#values = new Values(mapping, kind)
    this.#bad = new Uint8Array(kind.fields.length)

    const names = [...new Set([...mapping.keys.map((k) => k.key), ...mapping.dropped])]
    this.#byName = new Map(names.map((name, k) => [name, k]))
    this.#ops = new Uint8Array(names.length)
    this.#fields = new Int16Array(names.length)
    for (const { key, field, as } of mapping.keys) {
      const k = names.indexOf(key)
      this.#ops[k] = CONVERSIONS.indexOf(as) + 1
      this.#fields[k] = field.index
    }
    this.#tokens = names.map((name) => Buffer.from(`${JSON.stringify(name)}:`))
    this.#tokenLength = Int32Array.from(this.#tokens, (t) => t.length)
    this.#firstWord = new Int32Array(names.length)
    this.#lastWord = new Int32Array(names.length)
    this.#lastMask = new Int32Array(names.length)
    const words: number[] = []
    this.#tokens.forEach((token, k) => {
      const padded = Buffer.alloc(Math.ceil(token.length / 4) * 4)
      token.copy(padded)
      this.#firstWord[k] = words.length
      for (let i = 0; i < padded.length; i += 4) words.push(padded.readInt32LE(i))
      this.#lastWord[k] = words.length - 1
      const rest = token.length % 4
      this.#lastMask[k] = rest === 0 ? -1 : (1 << (rest * 8)) - 1
    })
    this.#words = Int32Array.from(words)
    this.#following = new Int16Array(names.length + 1).fill(-1)
    names.forEach((_, k) => (this.#following[k] = k + 1 < names.length ? k + 1 : 0))
    this.#following[names.length] = names.length > 0 ? 0 : -1

    let size = 16
    while (size < names.length * 4) size *= 2
    this.#slots = new Int16Array(size).fill(-1)
    this.#tokens.forEach((token, k) => {
      let slot = hashKey(token, 1, token.length - 2) & (size - 1)
      while (this.#slots[slot] >= 0) slot = (slot + 1) & (size - 1)
      this.#slots[slot] = k
    })
  }

  /**
   * Reads whole lines. A line that does not end before `end` waits for more bytes unless `last`: then it is taken, if
   * it is a whole object. Returns `start` for a line that is longer than what was given: if that is more than
   * `maxRecordBytes`, its owner has to refuse it.
   */
  fill(batch: Batch, start: number, end: number, last: boolean): number {
    const arena = batch.arena
    let limit = end
    if (!last) {
      limit = end > start ? arena.lastIndexOf(LF, end - 1) + 1 : start
      if (limit <= start) return start
    }
    const columns = batch.columns[this.#kind]
    const capacity = columns.capacity
    const values = this.#values
    values.open(batch, columns)
    this.#batch = batch
    let p = start
    while (p < limit && columns.rows + batch.refusedReason.length < capacity) {
      const lineStart = p
      let c = arena[p]
      if (c === 0xef && arena[p + 1] === 0xbb && arena[p + 2] === 0xbf) c = arena[(p += 3)]
      while (p < limit && (c === SPACE || c === TAB || c === CR)) c = arena[++p]
      if (p >= limit) return limit
      if (c === LF) {
        p++
        continue
      }
      const scratch = batch.scratch
      const unknown = batch.unknownFields
      this.#cell = columns.begin()
      this.#anyBad = false
      values.beginRow()
      const lineEnd = this.#object(p, limit)
      if (lineEnd >= 0 && !this.#anyBad && lineEnd - lineStart <= this.maxRecordBytes) {
        values.endRow(this.#cell)
        columns.commit(lineStart, arena[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd)
        p = lineEnd + 1
        continue
      }
      columns.rollback()
      batch.scratch = scratch
      batch.forgetUnknown(unknown)
      let nl = lineEnd >= 0 ? lineEnd : arena.indexOf(LF, lineStart)
      if (nl < 0 || nl > limit) nl = limit
      if (nl - lineStart > this.maxRecordBytes) batch.refuse('too_large', lineStart, lineStart + this.maxRecordBytes)
      else if (lineEnd === MALFORMED) batch.refuse('malformed_json', lineStart, nl)
      else if (lineEnd === NO_SCRATCH) {
        if (batch.taken > 0) return lineStart
        batch.refuse('too_large', lineStart, nl)
      } else batch.refuse(this.#badReason(), lineStart, nl)
      if (this.#anyBad) this.#bad.fill(FINE)
      p = nl + 1
    }
    return Math.min(p, limit)
  }

  /**
   * Scans one object, which begins at `p`, into the row.
   * @returns where its line ends (the line feed, or `limit`), or MALFORMED, or NO_SCRATCH
   */
  #object(p: number, limit: number): number {
    const arena = this.#values.bytes
    if (arena[p] !== OPEN) return MALFORMED
    let c = arena[++p]
    if (c <= SPACE) c = arena[(p = skipSpace(arena, p, limit))]
    if (c === CLOSE && p < limit) return this.#lineEnd(p + 1, limit)
    this.#before = this.#ops.length
    for (;;) {
      p = this.#pair(p, limit)
      if (p < 0) return p
      c = arena[p]
      if (c <= SPACE) c = arena[(p = skipSpace(arena, p, limit))]
      if (p >= limit) return MALFORMED
      if (c !== COMMA) return c === CLOSE ? this.#lineEnd(p + 1, limit) : MALFORMED
      c = arena[++p]
      if (c <= SPACE) p = skipSpace(arena, p, limit)
    }
  }

  /**
   * Scans a key, its colon and its value. @returns behind the value, or MALFORMED, or NO_SCRATCH
   *
   * Free of loops, which are in small functions: V8 would replace a hot loop in the middle of this function's
   * unoptimised code (on-stack replacement), enter that at each call, and never optimise the function itself. Seen to
   * halve the speed in one run of five.
   */
  #pair(p: number, limit: number): number {
    const values = this.#values
    const arena = values.bytes
    const view = values.view
    const cell = this.#cell
    const key = p
    let k = this.#following[this.#before]
    // A key's words may be read up to three bytes beyond it
    if (
      k >= 0 &&
      p + this.#tokenLength[k] + 4 <= arena.length &&
      sameWords(view, p, this.#words, this.#firstWord[k], this.#lastWord[k], this.#lastMask[k])
    ) {
      p += this.#tokenLength[k]
    } else {
      k = this.#lookUp(p, limit)
      if (k === NO_KEY) return MALFORMED
      p = this.#at
      if (k >= 0) this.#following[this.#before] = k
    }
    let op = OP_DROP
    let field = 0
    if (k >= 0) {
      this.#before = k
      op = this.#ops[k]
      field = this.#fields[k]
    } else this.#batch.unknown(1, key)

    let c = arena[p]
    if (c <= SPACE) c = arena[(p = skipSpace(arena, p, limit))]
    if (p >= limit) return MALFORMED
    if (c === QUOTE) {
      const s = p + 1
      let e = plainEnd(view, s, limit - 4)
      let ascii = true
      if (e >= limit || arena[e] !== QUOTE) {
        const plain = e
        e = stringEnd(arena, e, limit)
        ascii = e === plain || isAscii(arena, plain, e)
        if (e >= limit || arena[e] < SPACE) return MALFORMED
        if (arena[e] === BACKSLASH) {
          return op === OP_DROP ? this.#skipEscaped(e, limit) : this.#escaped(op, field, s, e, limit, ascii)
        }
      }
      if (op === OP_TEXT && ascii && s < e) {
        values.off[cell + field] = s
        values.len[cell + field] = e - s
        if (this.#anyBad) this.#mark(field, FINE)
      } else if (op !== OP_DROP) {
        const status = values.text(op, field, cell, s, e, ascii)
        if (status !== FINE || this.#anyBad) this.#mark(field, status)
      }
      return e + 1
    }
    if (c <= 0x30 || c > 0x39) {
      return c === 0x30 || c === MINUS ? this.#longNumber(op, field, p, limit) : this.#other(op, field, p, limit)
    }
    const e = readDigits(arena, p, limit, values.result)
    c = arena[e]
    if (e - p > 15 || c === 0x2e || (c | 0x20) === 0x65) return this.#longNumber(op, field, p, limit)
    if (op !== OP_DROP) {
      const status = values.isText(op) ? values.bareNumber(op, field, cell, p, e) : values.number(op, field, cell)
      if (status !== FINE || this.#anyBad) this.#mark(field, status)
    }
    return e
  }

  /** Where the line ends after its object, or MALFORMED if anything else follows. */
  #lineEnd(p: number, limit: number): number {
    const arena = this.#values.bytes
    if (p < limit && arena[p] !== LF) p = skipSpace(arena, p, limit)
    return p === limit || arena[p] === LF ? p : MALFORMED
  }

  /**
   * Finds the key at `p` by its bytes; `at` is then behind its colon. UNKNOWN if it is none of the mapping's, NO_KEY if
   * it is none at all.
   */
  #lookUp(p: number, limit: number): number {
    const arena = this.#values.bytes
    if (p >= limit || arena[p] !== QUOTE) return NO_KEY
    const s = ++p
    let h = 0
    let k: number | undefined
    while (p < limit) {
      const c = arena[p]
      if (c === QUOTE || c === BACKSLASH || c < SPACE) break
      h = (Math.imul(h, 31) + c) | 0
      p++
    }
    if (p >= limit || arena[p] < SPACE) return NO_KEY
    if (arena[p] === QUOTE) {
      k = UNKNOWN
      const mask = this.#slots.length - 1
      for (let slot = (h ^ (h >>> 15)) & mask; this.#slots[slot] >= 0; slot = (slot + 1) & mask) {
        const token = this.#tokens[this.#slots[slot]]
        if (token.length - 3 === p - s && token.compare(arena, s, p, 1, token.length - 2) === 0) {
          k = this.#slots[slot]
          break
        }
      }
      p++
    } else {
      // A key with escapes, in full or in vain: a name that needs escapes in JSON is found here too
      const e = this.#skipEscaped(p, limit)
      if (e < 0) return NO_KEY
      k = this.#byName.get(JSON.parse(arena.toString('utf8', s - 1, e)) as string) ?? UNKNOWN
      p = e
    }
    p = skipSpace(arena, p, limit)
    if (p >= limit || arena[p] !== COLON) return NO_KEY
    this.#at = p + 1
    return k
  }

  /** Goes on through a string from its first backslash. @returns behind the closing quote, or MALFORMED */
  #skipEscaped(p: number, limit: number): number {
    const arena = this.#values.bytes
    while (p < limit) {
      const c = arena[p++]
      if (c === QUOTE) return p
      if (c < SPACE) return MALFORMED
      if (c !== BACKSLASH) continue
      if (p >= limit) return MALFORMED
      const letter = arena[p++]
      if (letter === 0x75) {
        if (hex4(arena, p, limit) < 0) return MALFORMED
        p += 4
      } else if (ESCAPES[letter] === 0) return MALFORMED
    }
    return MALFORMED
  }

  /**
   * Takes a string that has escapes: unescaped, in the scratch space.
   * @param s its first byte
   * @param p its first backslash
   */
  #escaped(op: number, field: number, s: number, p: number, limit: number, ascii: boolean): number {
    const arena = this.#values.bytes
    const batch = this.#batch
    const e = this.#skipEscaped(p, limit)
    if (e < 0) return e
    // Unescaped text is never longer than escaped text
    if (batch.scratchEnd - batch.scratch < e - 1 - s) return NO_SCRATCH
    const from = batch.scratch
    let to = from
    for (p = s; p < e - 1;) {
      let c = arena[p++]
      if (c !== BACKSLASH) {
        if (c >= 0x80) ascii = false
        arena[to++] = c
        continue
      }
      const letter = arena[p++]
      if (letter !== 0x75) {
        arena[to++] = ESCAPES[letter]
        continue
      }
      c = hex4(arena, p, limit)
      p += 4
      if (c < 0x80) {
        arena[to++] = c
        continue
      }
      ascii = false
      if (c >= 0xd800 && c <= 0xdfff) {
        const low =
          c < 0xdc00 && p + 5 < e && arena[p] === BACKSLASH && arena[p + 1] === 0x75 ? hex4(arena, p + 2, limit) : 0
        if (low < 0xdc00 || low > 0xdfff) {
          // UTF-8 has no form for it: what no UTF-8 has stands in its place, so that the text is known for what it is.
          arena[to++] = 0xff
          continue
        }
        p += 6
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00)
        arena[to++] = 0xf0 | (c >> 18)
        arena[to++] = 0x80 | ((c >> 12) & 0x3f)
      } else if (c >= 0x800) arena[to++] = 0xe0 | (c >> 12)
      if (c >= 0x800) arena[to++] = 0x80 | ((c >> 6) & 0x3f)
      else arena[to++] = 0xc0 | (c >> 6)
      arena[to++] = 0x80 | (c & 0x3f)
    }
    batch.scratch = to
    this.#mark(field, this.#values.text(op, field, this.#cell, from, to, ascii))
    return e
  }

  /**
   * Takes a number that is negative, begins with 0, has a fraction or an exponent, or is long. @returns behind it, or
   * MALFORMED
   */
  #longNumber(op: number, field: number, s: number, limit: number): number {
    const arena = this.#values.bytes
    let p = s
    if (arena[p] === MINUS) p++
    const whole = p
    p = skipDigits(arena, p, limit)
    if (p === whole || (p - whole > 1 && arena[whole] === 0x30)) return MALFORMED
    if (p < limit && arena[p] === 0x2e) {
      const fraction = ++p
      p = skipDigits(arena, p, limit)
      if (p === fraction) return MALFORMED
    }
    if (p < limit && (arena[p] | 0x20) === 0x65) {
      p++
      if (p < limit && (arena[p] === 0x2b || arena[p] === MINUS)) p++
      const exponent = p
      p = skipDigits(arena, p, limit)
      if (p === exponent) return MALFORMED
    }
    if (op !== OP_DROP) this.#mark(field, this.#values.bareNumber(op, field, this.#cell, s, p))
    return p
  }

  /** Takes true, false, null or something nested. @returns behind it, or MALFORMED */
  #other(op: number, field: number, p: number, limit: number): number {
    const arena = this.#values.bytes
    const c = arena[p]
    if (c === OPEN || c === OPEN_LIST) {
      p = nestedEnd(arena, p, limit, MAX_DEPTH)
      if (p >= 0 && op !== OP_DROP) this.#mark(field, BAD_VALUE)
      return p
    }
    // As numbers in the order of their bytes: t r u e, f a l s e, n u l l
    if (p + 4 > limit) return MALFORMED
    const word = this.#values.view.getInt32(p, false)
    if (word === 0x6e756c6c) {
      if (op !== OP_DROP) {
        this.#values.clear(op, field, this.#cell)
        this.#mark(field, FINE)
      }
      return p + 4
    }
    const size = word === 0x74727565 ? 4 : word === 0x66616c73 && p + 5 <= limit && arena[p + 4] === 0x65 ? 5 : 0
    if (size === 0) return MALFORMED
    if (op !== OP_DROP) this.#mark(field, BAD_VALUE)
    return p + size
  }

  /** The reason for a row that has bad values: of several the one that says most of what its sender does wrong. */
  #badReason(): Refusal {
    return REASONS_BY_STATUS[this.#bad.includes(BAD_TIME) ? BAD_TIME : BAD_VALUE]
  }

  /** Remembers what a field's last value turned out to be. */
  #mark(field: number, status: number): void {
    this.#bad[field] = status
    if (status !== FINE) this.#anyBad = true
    else if (this.#anyBad) this.#anyBad = this.#bad.some((b) => b !== FINE)
  }
}

const NO_KEY = -2
