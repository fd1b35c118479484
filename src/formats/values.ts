/**
 * From a value's bytes to a cell of the columns, without a string or object in between.
 *
 * Both text readers (JSON Lines, CSV) find where a value begins and ends; what it means is decided here, so it is the
 * same for both. Numbers are read by integer arithmetic, exact where a mantissa of up to 15 digits is divided by a
 * power of ten (both are exactly doubles); anything longer goes through `Number()`. Guarded by the JSON row of
 * `bench/`.
 */
import { DAY_MS } from '../base/time.js'
import type { Batch } from '../batch/batch.js'
import { type Columns, unreadable } from '../batch/columns.js'
import { isTime, type KindCatalogue } from '../catalogue/catalogue.js'
import { LocalTime } from './local-time.js'
import { CONVERSIONS, type Mapping } from './mapping.js'
import { isUtf8 } from './utf8.js'
import { BAD_TIME, BAD_VALUE, FINE, type ValueStatus } from './value-status.js'
import { SAYS_NOTHING, type Words, wordsFor } from './words.js'

/** Operation codes: 0 drops; a conversion's code is its place in {@link CONVERSIONS} plus 1. */
export const OP_DROP = 0
export const OP_TEXT = 1
const OP_INTEGER = CONVERSIONS.indexOf('integer') + 1
const OP_WHOLE = CONVERSIONS.indexOf('whole') + 1
const OP_FLOAT = CONVERSIONS.indexOf('float') + 1
const OP_SECONDS_TO_MS = CONVERSIONS.indexOf('seconds-to-ms') + 1
const OP_EPOCH_SECONDS = CONVERSIONS.indexOf('epoch-seconds') + 1
const OP_EPOCH_MS = CONVERSIONS.indexOf('epoch-ms') + 1
const OP_EPOCH_US = CONVERSIONS.indexOf('epoch-us') + 1
const OP_LOCAL_TIME = CONVERSIONS.indexOf('local-time') + 1
const OP_ISO_8601 = CONVERSIONS.indexOf('iso-8601') + 1
const OP_ASTERISK_TIME = CONVERSIONS.indexOf('asterisk-time') + 1
const OP_DISPOSITION = CONVERSIONS.indexOf('disposition') + 1
const OP_ENUM = CONVERSIONS.indexOf('enum') + 1
const OP_CALLER_ID = CONVERSIONS.indexOf('caller-id') + 1
const OP_UNIQUE_ID = CONVERSIONS.indexOf('unique-id') + 1
const OP_SIP_CALL_ID = CONVERSIONS.indexOf('sip-call-id') + 1

const POWERS_OF_TEN = Float64Array.from({ length: 16 }, (_, i) => 10 ** i)
/** Days before each month of a common year, by month number. */
const DAYS_BEFORE = Int32Array.of(0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
const DAYS_IN = Int32Array.of(0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

/** Converts values and writes them into the row being filled. One per reader. */
export class Values {
  /** Set by {@link open}. */
  bytes: Buffer = Buffer.alloc(0)
  view: DataView = new DataView(new ArrayBuffer(0))
  off: Int32Array = new Int32Array(0)
  len: Int32Array = new Int32Array(0)
  num: Float64Array = new Float64Array(0)
  #columns: Columns | null = null
  readonly #kind: KindCatalogue
  readonly #clock: LocalTime
  /** Largest value per field; NaN for those that are no integers. */
  readonly #maximum: Float64Array
  /** What a number is that is too large for its field, or negative. */
  readonly #outside: readonly ValueStatus[]
  readonly #words: (Words | null)[]
  readonly #calling: number
  readonly #origin: number
  readonly #defaultOrigin: number
  readonly #originIndex: number
  /** The number in the row's caller id: what a cell's `off` and `len` would be. */
  #callerOff = -1
  #callerLen = 0
  /** The row's SIP Call-ID: what a cell's `off` and `len` would be, and the field that it is for. */
  #sipOff = -1
  #sipLen = 0
  #sipField = 0
  /** A number on its way into a cell: as an argument or a plain field it would be boxed anew each time. */
  readonly result = new Float64Array(1)
  /** Date last seen, its ten bytes as words. Calls come in order of time, so nearly all share it. */
  #date0 = 0
  #date1 = 0
  /** Sixteen bits; starts as what no sixteen bits are. */
  #date2 = 0x10000
  /**
   * That date's midnight on the wall clock, and what to subtract to get UTC: NaN if the clocks change near that day.
   */
  readonly #dateMs = new Float64Array(2)

  constructor(mapping: Mapping, kind: KindCatalogue) {
    this.#kind = kind
    this.#clock = new LocalTime(mapping.timeZone)
    this.#maximum = Float64Array.from(kind.fields, (f) =>
      f.type === 'uint32' ? 0xffffffff : f.type === 'uint64' ? Number.MAX_SAFE_INTEGER : NaN,
    )
    this.#outside = kind.fields.map((f) => (isTime(f) ? BAD_TIME : BAD_VALUE))
    this.#words = kind.fields.map((f) => {
      const mapped = mapping.keys.find((k) => k.field === f && (k.as === 'disposition' || k.as === 'enum'))
      return mapped === undefined
        ? null
        : wordsFor(
            f,
            mapping.keys.some((k) => k.field === f && k.as === 'disposition'),
          )
    })
    this.#calling = kind.byName.get('calling')?.index ?? -1
    this.#originIndex = kind.byName.get('origin')?.index ?? -1
    this.#origin = mapping.origin ?? -1
    this.#defaultOrigin = mapping.defaultOrigin ?? -1
  }

  open(batch: Batch, columns: Columns): void {
    if (this.bytes !== batch.arena) {
      this.bytes = batch.arena
      this.view = new DataView(batch.arena.buffer, batch.arena.byteOffset, batch.arena.length)
    }
    this.#columns = columns
    this.off = columns.off
    this.len = columns.len
    this.num = columns.num
  }

  beginRow(): void {
    this.#callerOff = -1
    this.#sipOff = -1
  }

  /** Fills in what follows from the row as a whole. */
  endRow(cell: number): void {
    if (this.#origin >= 0) this.num[cell + this.#originIndex] = this.#origin
    else if (this.#defaultOrigin >= 0 && !(this.num[cell + this.#originIndex] > 0))
      this.num[cell + this.#originIndex] = this.#defaultOrigin
    // One that is not UTF-8 leaves the field to what else there is.
    if (this.#sipOff >= 0 || (this.#sipOff < -1 && this.off[cell + this.#sipField] < 0)) {
      this.off[cell + this.#sipField] = this.#sipOff
      this.len[cell + this.#sipField] = this.#sipLen
    }
    if (this.#callerOff !== -1 && this.#calling >= 0 && this.off[cell + this.#calling] < 0) {
      this.off[cell + this.#calling] = this.#callerOff
      this.len[cell + this.#calling] = this.#callerLen
    }
  }

  /** Makes a field absent: the last value of a key was null or empty. */
  clear(op: number, field: number, cell: number): void {
    // An empty one leaves the field to the other keys.
    if (op === OP_DROP || op === OP_SIP_CALL_ID) return
    this.off[cell + field] = -1
    this.num[cell + field] = NaN
    if (op === OP_CALLER_ID) this.#callerOff = -1
  }

  /**
   * A value that came as text.
   * @param ascii all its bytes are below 0x80
   */
  text(op: number, field: number, cell: number, s: number, e: number, ascii: boolean): ValueStatus {
    if (s === e) {
      this.clear(op, field, cell)
      return FINE
    }
    switch (op) {
      case OP_TEXT:
        this.off[cell + field] = this.#textAt(s, e, ascii)
        this.len[cell + field] = e - s
        return FINE
      case OP_SIP_CALL_ID:
        this.#sipOff = this.#textAt(s, e, ascii)
        this.#sipLen = e - s
        this.#sipField = field
        return FINE
      case OP_CALLER_ID:
        this.#callerId(field, cell, s, e, ascii)
        return FINE
      case OP_UNIQUE_ID:
        if (ascii && this.#looksUnique(s, e)) {
          this.off[cell + field] = s
          this.len[cell + field] = e - s
        } else this.off[cell + field] = -1
        return FINE
      case OP_LOCAL_TIME:
        return this.#time(field, cell, s, e, false)
      case OP_ISO_8601:
        return this.#time(field, cell, s, e, true)
      case OP_ASTERISK_TIME:
        // A date has a hyphen after its year, a number of seconds has none
        if (e - s > 4 && this.bytes[s + 4] === 0x2d) return this.#time(field, cell, s, e, true)
        break
      case OP_DISPOSITION:
      case OP_ENUM: {
        if (this.bytes[s] >= 0x30 && this.bytes[s] <= 0x39) break
        const number = this.#words[field]?.find(this.bytes, s, e) ?? -1
        if (number === -1) return BAD_VALUE
        this.num[cell + field] = number === SAYS_NOTHING ? NaN : number
        return FINE
      }
    }
    return this.#decimal(s, e) ? this.number(op, field, cell) : BAD_VALUE
  }

  /** What a cell's `off` is for a text. */
  #textAt(s: number, e: number, ascii: boolean): number {
    if (ascii || isUtf8(this.bytes, s, e)) return s
    if (this.#columns !== null) this.#columns.anyUnreadable = true
    return unreadable(s)
  }

  /** Whether an operation keeps bytes rather than a number. */
  isText(op: number): boolean {
    return op === OP_TEXT || op === OP_CALLER_ID || op === OP_UNIQUE_ID || op === OP_SIP_CALL_ID
  }

  /** A value that came as a bare number; its bytes are a number by JSON's grammar. */
  bareNumber(op: number, field: number, cell: number, s: number, e: number): ValueStatus {
    if (this.isText(op)) return this.text(op, field, cell, s, e, true)
    return this.#decimal(s, e) ? this.number(op, field, cell) : BAD_VALUE
  }

  /** Writes the number in {@link result}. */
  number(op: number, field: number, cell: number): ValueStatus {
    const v = this.result[0]
    let n = v
    switch (op) {
      case OP_INTEGER:
        if (Math.floor(v) !== v) return BAD_VALUE
        break
      case OP_WHOLE:
        n = Math.floor(v)
        break
      case OP_FLOAT:
        n = Math.fround(v)
        if (!Number.isFinite(n)) return BAD_VALUE
        this.num[cell + field] = n
        return FINE
      case OP_SECONDS_TO_MS:
        n = v * 1000
        if (this.#kind.fields[field].type === 'float') {
          n = Math.fround(n)
          if (!Number.isFinite(n)) return BAD_VALUE
          this.num[cell + field] = n
          return FINE
        }
        n = Math.round(n)
        break
      case OP_EPOCH_SECONDS:
      case OP_ASTERISK_TIME:
        // Cut to milliseconds, as dates are. A double of this size is off by up to 0.24 µs, so .123 may be .12299999
        n = Math.floor(v * 1000 + 0.0005)
        break
      case OP_EPOCH_MS:
        n = Math.floor(v)
        break
      case OP_EPOCH_US:
        n = Math.floor(v / 1000)
        break
      case OP_DISPOSITION:
      case OP_ENUM:
        if (this.#kind.fields[field].enumNames[v] === undefined) return BAD_VALUE
        this.num[cell + field] = v === 0 ? 0 : v
        return FINE
      default:
        return BAD_VALUE
    }
    if (!(n >= 0 && n <= this.#maximum[field])) return this.#outside[field]
    if (n === 0 && op >= OP_EPOCH_SECONDS) n = NaN
    else if (n === 0) n = 0
    this.num[cell + field] = n
    return FINE
  }

  /** Reads `[-]digits[.digits][e[±]digits]` into {@link result}. */
  #decimal(s: number, e: number): boolean {
    const bytes = this.bytes
    let p = s
    const negative = bytes[p] === 0x2d
    if (negative) p++
    let mantissa = 0
    const whole = p
    while (p < e) {
      const d = bytes[p] - 0x30
      if (d < 0 || d > 9) break
      mantissa = mantissa * 10 + d
      p++
    }
    let digits = p - whole
    if (digits === 0) return false
    let scale = 0
    if (p < e && bytes[p] === 0x2e) {
      p++
      const fraction = p
      while (p < e) {
        const d = bytes[p] - 0x30
        if (d < 0 || d > 9) break
        mantissa = mantissa * 10 + d
        p++
      }
      scale = p - fraction
      if (scale === 0) return false
      digits += scale
    }
    if (p === e && digits <= 15) {
      const v = mantissa / POWERS_OF_TEN[scale]
      this.result[0] = negative ? -v : v
      return true
    }
    if (p < e) {
      if ((bytes[p] | 0x20) !== 0x65) return false
      p++
      if (p < e && (bytes[p] === 0x2b || bytes[p] === 0x2d)) p++
      const exponent = p
      while (p < e && bytes[p] >= 0x30 && bytes[p] <= 0x39) p++
      if (p === exponent || p < e) return false
    }
    const v = Number(bytes.toString('latin1', s, e))
    this.result[0] = v
    return Number.isFinite(v)
  }

  /** Reads `YYYY-MM-DD HH:MM:SS[.f…][offset]` into a field, as milliseconds since the epoch. */
  #time(field: number, cell: number, s: number, e: number, offsets: boolean): ValueStatus {
    if (e - s < 19) return BAD_VALUE
    const bytes = this.bytes
    const view = this.view
    const w0 = view.getInt32(s, true)
    const w1 = view.getInt32(s + 4, true)
    const w2 = view.getInt16(s + 8, true)
    if (w0 !== this.#date0 || w1 !== this.#date1 || w2 !== this.#date2) {
      if (!this.#readDate(s)) {
        if (!this.#isZero(s, e)) return BAD_VALUE
        this.num[cell + field] = NaN
        return FINE
      }
      this.#date0 = w0
      this.#date1 = w1
      this.#date2 = w2
    }
    const separator = bytes[s + 10]
    const h1 = bytes[s + 11] - 0x30,
      h0 = bytes[s + 12] - 0x30
    const m1 = bytes[s + 14] - 0x30,
      m0 = bytes[s + 15] - 0x30
    const s1 = bytes[s + 17] - 0x30,
      s0 = bytes[s + 18] - 0x30
    if (
      (separator !== 0x20 && separator !== 0x54) ||
      bytes[s + 13] !== 0x3a ||
      bytes[s + 16] !== 0x3a ||
      h1 < 0 ||
      h1 > 2 ||
      h0 < 0 ||
      h0 > 9 ||
      m1 < 0 ||
      m1 > 5 ||
      m0 < 0 ||
      m0 > 9 ||
      s1 < 0 ||
      s1 > 5 ||
      s0 < 0 ||
      s0 > 9
    )
      return BAD_VALUE
    const hour = h1 * 10 + h0
    if (hour > 23) return BAD_VALUE
    const seconds = hour * 3600 + (m1 * 10 + m0) * 60 + s1 * 10 + s0
    let ms = 0
    let p = s + 19
    if (p < e && bytes[p] === 0x2e) {
      p++
      const fraction = p
      let weight = 100
      while (p < e) {
        const d = bytes[p] - 0x30
        if (d < 0 || d > 9) break
        ms += d * weight
        weight = weight === 100 ? 10 : weight === 10 ? 1 : 0
        p++
      }
      if (p === fraction) return BAD_VALUE
    }
    const wall = this.#dateMs[0] + seconds * 1000
    let shift = this.#dateMs[1]
    if (p < e) {
      if (!offsets) return BAD_VALUE
      const ahead = this.#readOffset(p, e)
      if (ahead === NO_OFFSET) return BAD_VALUE
      shift = ahead * 1000
    } else if (shift !== shift) shift = this.#clock.offsetSeconds(wall) * 1000
    const utc = wall - shift + ms
    if (utc < 0) return BAD_TIME
    this.num[cell + field] = utc === 0 ? NaN : utc
    return FINE
  }

  #two(p: number): number {
    const d1 = this.bytes[p] - 0x30
    const d0 = this.bytes[p + 1] - 0x30
    return d1 < 0 || d1 > 9 || d0 < 0 || d0 > 9 ? NaN : d1 * 10 + d0
  }

  /** Reads `YYYY-MM-DD`, a day that exists, into {@link #dateMs}. */
  #readDate(s: number): boolean {
    const year = this.#two(s) * 100 + this.#two(s + 2)
    const month = this.#two(s + 5)
    const day = this.#two(s + 8)
    if (this.bytes[s + 4] !== 0x2d || this.bytes[s + 7] !== 0x2d) return false
    // In this form NaN is refused too
    if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1)) return false
    const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
    if (day > DAYS_IN[month] + (leap && month === 2 ? 1 : 0)) return false
    const y = year - 1
    const leapDays = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400)
    // 719162 days from 0001-01-01 to 1970-01-01
    const days = y * 365 + leapDays - 719162 + DAYS_BEFORE[month] + (leap && month > 2 ? 1 : 0) + day - 1
    const wall = days * DAY_MS
    this.#dateMs[0] = wall
    // Before 1969 nothing is a time that a record can have, in whatever zone.
    this.#dateMs[1] =
      this.#clock.isUtc || year < 1969 ? 0 : this.#clock.isEven(wall) ? this.#clock.offsetSeconds(wall) * 1000 : NaN
    return true
  }

  /** `0000-00-00 00:00:00`, which databases write for no time. */
  #isZero(s: number, e: number): boolean {
    for (let p = s; p < e; p++) {
      const c = this.bytes[p]
      if (c !== 0x30 && c !== 0x2d && c !== 0x3a && c !== 0x20 && c !== 0x2e) return false
    }
    return this.bytes[s + 4] === 0x2d && this.bytes[s + 13] === 0x3a
  }

  /** Reads `Z`, `±HH`, `±HHMM` or `±HH:MM`: seconds ahead of UTC, or NO_OFFSET. */
  #readOffset(p: number, e: number): number {
    const sign = this.bytes[p]
    if (sign === 0x5a && e - p === 1) return 0
    if (sign !== 0x2b && sign !== 0x2d) return NO_OFFSET
    const size = e - p
    if (size !== 3 && size !== 5 && !(size === 6 && this.bytes[p + 3] === 0x3a)) return NO_OFFSET
    const hours = this.#two(p + 1)
    const minutes = size === 3 ? 0 : this.#two(e - 2)
    if (!(hours <= 23 && minutes <= 59)) return NO_OFFSET
    const seconds = hours * 3600 + minutes * 60
    return sign === 0x2d ? -seconds : seconds
  }

  /**
   * `"Name" <number>`, `Name <number>`, `<number>`, or one of the two alone. The name may hold quotes in any escaping:
   * it is what stands before the last `<`, without the outermost quotes. Name and number are looked at apart: a name
   * that is not UTF-8 costs nobody the number.
   */
  #callerId(field: number, cell: number, s: number, e: number, ascii: boolean): void {
    const bytes = this.bytes
    this.#callerOff = -1
    this.off[cell + field] = -1
    while (s < e && bytes[s] === 0x20) s++
    while (s < e && bytes[e - 1] === 0x20) e--
    let nameEnd = e
    if (s < e && bytes[e - 1] === 0x3e) {
      let open = e - 2
      while (open >= s && bytes[open] !== 0x3c) open--
      if (open >= s) {
        nameEnd = open
        this.#callerNumber(open + 1, e - 1, ascii)
      }
    } else if (this.#isDialled(s, e)) {
      this.#callerNumber(s, e, true)
      return
    }
    while (s < nameEnd && bytes[nameEnd - 1] === 0x20) nameEnd--
    if (nameEnd - s >= 2 && bytes[s] === 0x22 && bytes[nameEnd - 1] === 0x22) {
      s++
      nameEnd--
    }
    if (s >= nameEnd) return
    this.off[cell + field] = this.#textAt(s, nameEnd, ascii)
    this.len[cell + field] = nameEnd - s
  }

  #callerNumber(s: number, e: number, ascii: boolean): void {
    // Asterisk writes <unknown> where there is none
    if (s >= e || (e - s === 7 && this.bytes.toString('latin1', s, e) === 'unknown')) return
    this.#callerOff = this.#textAt(s, e, ascii)
    this.#callerLen = e - s
  }

  #isDialled(s: number, e: number): boolean {
    for (let p = s; p < e; p++) {
      const c = this.bytes[p]
      if ((c < 0x30 || c > 0x39) && c !== 0x2b && c !== 0x2a && c !== 0x23) return false
    }
    return s < e
  }

  /** `seconds.count`, after a system name and a hyphen where there is one. */
  #looksUnique(s: number, e: number): boolean {
    const bytes = this.bytes
    let p = e - 1
    while (p >= s && bytes[p] >= 0x30 && bytes[p] <= 0x39) p--
    if (p === e - 1 || p <= s || bytes[p] !== 0x2e) return false
    const dot = p--
    while (p >= s && bytes[p] >= 0x30 && bytes[p] <= 0x39) p--
    // A time since 2001 has ten digits
    return dot - p - 1 >= 10 && (p < s || bytes[p] === 0x2d)
  }
}

const NO_OFFSET = 1e9
