/**
 * What FreeSWITCH's mod_json_cdr posts, read as far as it is needed.
 *
 * The body comes in three forms (mod_json_cdr.c, parameters `encode` and `disable-100-continue`): JSON as it is, `cdr=`
 * url-encoded, `cdr=` in base64 that is not url-encoded, so that a form parser would make spaces of its `+`. The label
 * says which only sometimes: `disable-100-continue` drops it. So {@link cdrJson} looks at the bytes.
 *
 * The JSON is not always JSON. Old versions write a call that was transferred as one object with the key `callflow`
 * several times, of which `JSON.parse` keeps the last; figures may be `NaN` or `Infinity`. {@link readCdr} is a scanner
 * of its own for that: one pass over the bytes, each looked at a bounded number of times, nothing made of what is not
 * wanted, nesting bounded. Guarded by the FreeSWITCH row of `bench/`.
 */

import { Names } from './names.js'
import { CALLER, STATS, TIMES, WANTED_VARIABLES } from './wanted.js'

/** How deep a CDR may nest: FreeSWITCH's own go to nine. */
export const MAX_DEPTH = 32
/** Entries of `callflow` that are kept: a call that is transferred more often is a loop. */
export const MAX_PROFILES = 64
/** Longest text that is taken; a longer one is no number, name or address. */
export const MAX_TEXT = 4096

/** One entry of `callflow`: where the channel was sent to, and when. */
export interface Profile {
  /** Texts by the names of `caller_profile`: caller_id_number, destination_number … */
  readonly caller: ReadonlyMap<string, string>
  /** By the names of `times`, µs. */
  readonly times: ReadonlyMap<string, string>
  readonly index: number
  /** The channel was made by another one: it is a b-leg. */
  readonly originated: boolean
}

export interface Cdr {
  /** The channel's variables that {@link WANTED_VARIABLES} names, decoded. */
  readonly variables: ReadonlyMap<string, string>
  /** `callStats.audio`: `in_mos` and so on, as the variables `rtp_audio_in_mos` are called without their prefix. */
  readonly stats: ReadonlyMap<string, string>
  /** In the order of the call, first one first. */
  readonly profiles: readonly Profile[]
}

const TAB = 0x09,
  LF = 0x0a,
  CR = 0x0d,
  SPACE = 0x20,
  QUOTE = 0x22,
  PERCENT = 0x25,
  AMPERSAND = 0x26,
  PLUS = 0x2b,
  COMMA = 0x2c
const COLON = 0x3a,
  OPEN_LIST = 0x5b,
  BACKSLASH = 0x5c,
  CLOSE_LIST = 0x5d,
  OPEN = 0x7b,
  CLOSE = 0x7d

/**
 * Finds the JSON in a body, whatever its label.
 * @returns a view of the body, or what it decodes to; null if there is nothing that could be JSON
 */
export function cdrJson(body: Buffer): Buffer | null {
  let start = skipBlank(body, 0)
  if (body[start] === 0xef && body[start + 1] === 0xbb && body[start + 2] === 0xbf) start = skipBlank(body, start + 3)
  if (body[start] === OPEN) return body.subarray(start)
  const cdr = body.indexOf('cdr=', start, 'latin1')
  // Not anywhere in what follows: in front, or behind another field of the form.
  if (cdr === start || (cdr > start && body[cdr - 1] === AMPERSAND)) start = skipBlank(body, cdr + 4)
  if (body[start] === OPEN) return body.subarray(start)
  const next = body.indexOf(AMPERSAND, start)
  const value = body.subarray(start, next < 0 ? body.length : next)
  if (value.length === 0) return null
  // {" is %7B%22 in one encoding and eyI in the other, which has no percent sign of its own.
  const first = value[0] === PERCENT || value[0] === PLUS ? percentDecoded(value, true) : value
  if (first !== value) {
    const at = skipBlank(first, 0)
    if (first[at] === OPEN) return first.subarray(at)
  }
  const encoded = value.includes(PERCENT) ? percentDecoded(value, false) : value
  // What is no base64 decodes to something that is no JSON. A form parser on the way may have made spaces of the
  // pluses.
  const text = encoded.toString('latin1')
  const json = Buffer.from(text.includes(' ') ? text.trim().replaceAll(' ', '+') : text, 'base64')
  const at = skipBlank(json, 0)
  return json[at] === OPEN ? json.subarray(at) : null
}

function skipBlank(bytes: Uint8Array, p: number): number {
  while (p < bytes.length && isBlank(bytes[p])) p++
  return p
}

function isBlank(c: number): boolean {
  return c === SPACE || c === LF || c === CR || c === TAB
}

/** Values of hexadecimal digits, either case; -1 for any other octet. */
const HEX = new Int8Array(256).fill(-1)
for (let i = 0; i < 16; i++) {
  HEX[i.toString(16).charCodeAt(0)] = i
  HEX[i.toString(16).toUpperCase().charCodeAt(0)] = i
}

/** %XX → octet; a percent sign that is followed by no such thing stays. */
function percentDecoded(bytes: Uint8Array, plusIsSpace: boolean): Buffer {
  const end = bytes.length
  const out = Buffer.allocUnsafe(end)
  const plus = plusIsSpace ? SPACE : PLUS
  let to = 0
  for (let p = 0; p < end; p++) {
    const c = bytes[p]
    if (c === PERCENT) {
      const octet = p + 2 < end ? (HEX[bytes[p + 1]] << 4) | HEX[bytes[p + 2]] : -1
      if (octet >= 0) {
        out[to++] = octet
        p += 2
        continue
      }
    }
    out[to++] = c === PLUS ? plus : c
  }
  return out.subarray(0, to)
}

const TOP = new Names(['variables', 'callflow', 'callStats'])
const VARIABLES = new Names(WANTED_VARIABLES)
const PROFILE = new Names(['profile_index', 'caller_profile', 'times'])
const CALLER_NAMES = new Names([...CALLER, 'originator'])
const TIME_NAMES = new Names(TIMES)
const MEDIA = new Names(['audio'])
const DIRECTIONS = new Names(['inbound', 'outbound'])
const STAT_NAMES = new Names(STATS)

/** Thrown inside, never outside: the bytes are no JSON. It carries nothing. */
const BROKEN = new Error('no JSON')
BROKEN.stack = ''

class CdrScanner {
  readonly #bytes: Buffer
  /** The same, one unit an octet: looking for a quote in it is a `memchr`, many octets at a time. */
  readonly #text: string
  #p = 0
  /** Ends of the last string passed over, without the quotes. */
  #from = 0
  #to = 0
  readonly variables = new Map<string, string>()
  readonly stats = new Map<string, string>()
  readonly profiles: Profile[] = []

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#text = bytes.toString('latin1')
  }

  read(): void {
    this.#object(TOP, 1, this.#top)
    const bytes = this.#bytes
    // C strings end in NUL, and files in a line feed.
    while (this.#p < bytes.length) {
      const c = bytes[this.#p++]
      if (!isBlank(c) && c !== 0) throw BROKEN
    }
  }

  readonly #top = (name: string, depth: number): void => {
    if (name === 'variables') this.#fields(VARIABLES, depth, this.variables)
    else if (name === 'callflow') this.#callflow(depth)
    else this.#object(MEDIA, depth, this.#media)
  }

  readonly #media = (_name: string, depth: number): void => {
    this.#object(DIRECTIONS, depth, (direction, deeper) => {
      const prefix = direction === 'inbound' ? 'in_' : 'out_'
      this.#object(STAT_NAMES, deeper, (stat) => {
        const text = this.#scalar()
        if (text !== null) this.stats.set(prefix + stat, text)
      })
    })
  }

  /** One entry, or a list of them. */
  #callflow(depth: number): void {
    const bytes = this.#bytes
    if (bytes[this.#p] !== OPEN_LIST) {
      this.#profile(depth)
      return
    }
    this.#bounded(depth)
    this.#p++
    if (this.#blank() === CLOSE_LIST) {
      this.#p++
      return
    }
    for (;;) {
      this.#profile(depth + 1)
      const c = this.#blank()
      this.#p++
      if (c === CLOSE_LIST) return
      if (c !== COMMA) throw BROKEN
      this.#blank()
    }
  }

  #profile(depth: number): void {
    const caller = new Map<string, string>()
    const times = new Map<string, string>()
    let index = NaN
    let originated = false
    this.#object(PROFILE, depth, (name, deeper) => {
      if (name === 'profile_index') index = Number(this.#scalar() ?? NaN)
      else if (name === 'times') this.#fields(TIME_NAMES, deeper, times)
      else {
        this.#object(CALLER_NAMES, deeper, (field, deepest) => {
          if (field === 'originator') {
            originated ||= this.#bytes[this.#p] === OPEN
            this.#skip(deepest)
            return
          }
          const text = this.#scalar()
          if (text !== null) caller.set(field, text)
        })
      }
    })
    if (this.profiles.length < MAX_PROFILES) this.profiles.push({ caller, times, index, originated })
  }

  /** Texts and numbers of an object by their names; the last of equal names wins. */
  #fields(names: Names, depth: number, into: Map<string, string>): void {
    this.#object(names, depth, (name) => {
      const text = this.#scalar()
      if (text === null) into.delete(name)
      else into.set(name, text)
    })
  }

  /**
   * Walks an object; anything else in its place is passed over. `take` must read the value of each name that is wanted.
   */
  #object(names: Names, depth: number, take: (name: string, depth: number) => void): void {
    const bytes = this.#bytes
    if (bytes[this.#p] !== OPEN) {
      this.#skip(depth)
      return
    }
    this.#bounded(depth)
    this.#p++
    if (this.#blank() === CLOSE) {
      this.#p++
      return
    }
    for (;;) {
      this.#string()
      // One with escapes in it is none of FreeSWITCH's, and is not found.
      const name = names.find(bytes, this.#from, this.#to)
      if (this.#blank() !== COLON) throw BROKEN
      this.#p++
      this.#blank()
      if (name === null) this.#skip(depth + 1)
      else take(name, depth + 1)
      const c = this.#blank()
      this.#p++
      if (c === CLOSE) return
      if (c !== COMMA) throw BROKEN
      this.#blank()
    }
  }

  #bounded(depth: number): void {
    if (depth > MAX_DEPTH) throw BROKEN
  }

  /** Goes on to what is not blank. */
  #blank(): number {
    const bytes = this.#bytes
    let c = bytes[this.#p]
    while (c === SPACE || c === LF || c === CR || c === TAB) c = bytes[++this.#p]
    return c
  }

  /** Passes over a string. */
  #string(): void {
    const bytes = this.#bytes
    const from = this.#p + 1
    if (bytes[this.#p] !== QUOTE) throw BROKEN
    let p = this.#text.indexOf('"', from)
    while (p > 0 && bytes[p - 1] === BACKSLASH && this.#isEscaped(from, p)) p = this.#text.indexOf('"', p + 1)
    if (p < 0) throw BROKEN
    this.#from = from
    this.#to = p
    this.#p = p + 1
  }

  /**
   * Whether an odd number of backslashes is in front. Each is looked at once: a quote is between those of one and of
   * the next.
   */
  #isEscaped(from: number, quote: number): boolean {
    let p = quote
    while (p > from && this.#bytes[p - 1] === BACKSLASH) p--
    return ((quote - p) & 1) === 1
  }

  /** Whether the last string is ASCII without escapes. */
  #plain(): boolean {
    const bytes = this.#bytes
    const to = this.#to
    for (let p = this.#from; p < to; p++) if (bytes[p] >= 0x80 || bytes[p] === BACKSLASH) return false
    return true
  }

  /** Text or number; null for anything else, which is passed over, and for what is too long. */
  #scalar(): string | null {
    const bytes = this.#bytes
    const c = bytes[this.#p]
    if (c === QUOTE) {
      this.#string()
      const from = this.#from
      const to = this.#to
      if (to === from || to - from > MAX_TEXT) return null
      if (this.#plain()) return this.#text.slice(from, to)
      return unescaped(bytes.toString('utf8', from, to))
    }
    if (c === OPEN || c === OPEN_LIST) {
      this.#skip(MAX_DEPTH - 8)
      return null
    }
    const start = this.#p
    this.#bare()
    // A number of a field is short.
    if (this.#p - start > 32) return null
    const text = this.#text.slice(start, this.#p)
    // true, false, null, NaN, Infinity: none is a value of a field.
    return /^-?[0-9]/.test(text) ? text : null
  }

  /** A number or a word. */
  #bare(): void {
    const bytes = this.#bytes
    const start = this.#p
    let c = bytes[this.#p]
    while (
      (c >= 0x30 && c <= 0x39) ||
      (c >= 0x61 && c <= 0x7a) ||
      (c >= 0x41 && c <= 0x5a) ||
      c === 0x2d ||
      c === PLUS ||
      c === 0x2e
    )
      c = bytes[++this.#p]
    if (this.#p === start) throw BROKEN
  }

  /** Passes over a value of any kind: its brackets must match, and nothing more is asked of it. */
  #skip(depth: number): void {
    const bytes = this.#bytes
    const c = bytes[this.#p]
    if (c === QUOTE) {
      this.#string()
      return
    }
    if (c !== OPEN && c !== OPEN_LIST) {
      this.#bare()
      return
    }
    // One bit a level: 1 for an object.
    let kinds = 0
    let level = 0
    const most = MAX_DEPTH - depth + 1
    const end = bytes.length
    while (this.#p < end) {
      const b = bytes[this.#p]
      if (b === QUOTE) {
        this.#string()
        continue
      }
      this.#p++
      if (b === OPEN || b === OPEN_LIST) {
        if (++level > most) throw BROKEN
        kinds = (kinds << 1) | (b === OPEN ? 1 : 0)
      } else if (b === CLOSE || b === CLOSE_LIST) {
        if ((kinds & 1) !== (b === CLOSE ? 1 : 0)) throw BROKEN
        kinds >>>= 1
        if (--level === 0) return
      }
    }
    throw BROKEN
  }
}

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/** As JSON says; an escape that it does not have is the character itself. */
function unescaped(text: string): string {
  return text.includes('\\')
    ? text.replace(/\\(?:u([0-9A-Fa-f]{4})|([^]))/g, (_, unit: string | undefined, letter: string) =>
        unit !== undefined ? String.fromCharCode(parseInt(unit, 16)) : (ESCAPES[letter] ?? letter),
      )
    : text
}

/**
 * Reads a CDR.
 * @returns null for bytes that are no JSON object, or one that nests too deep
 */
export function readCdr(json: Buffer): Cdr | null {
  if (json[0] !== OPEN) return null
  const scanner = new CdrScanner(json)
  try {
    scanner.read()
  } catch (error) {
    if (error === BROKEN) return null
    throw error
  }
  const { variables, stats, profiles } = scanner
  if (areEncoded(variables))
    for (const [name, value] of variables)
      if (value.includes('%')) variables.set(name, percentDecoded(Buffer.from(value, 'utf8'), false).toString('utf8'))
  return { variables, stats, profiles: inOrder(profiles) }
}

/** What `switch_url_encode` (switch_utils.c) never leaves as it is. */
const UNSAFE = /[\r\n "#&+:;<=>?@[\\\]^`{|}]/
const ENCODED = /%[0-9A-F]{2}/i

/**
 * Whether the variables were percent-encoded (`encode-values`, on by default): all of them are, or none. One that could
 * not stand as it does in encoded form says that they are not, whatever percent signs there are. The first names nearly
 * always tell: a date has a space, an address an @.
 */
function areEncoded(variables: ReadonlyMap<string, string>): boolean {
  for (const name of ['start_stamp', 'channel_name', 'sip_from_uri']) {
    const value = variables.get(name)
    if (value === undefined) continue
    if (UNSAFE.test(value)) return false
    if (ENCODED.test(value)) return true
  }
  let encoded = false
  for (const value of variables.values()) {
    if (UNSAFE.test(value)) return false
    encoded ||= ENCODED.test(value)
  }
  return encoded
}

/** FreeSWITCH writes the last entry first; each says its number. */
function inOrder(profiles: Profile[]): readonly Profile[] {
  if (profiles.length < 2) return profiles
  return profiles.every(({ index }) => Number.isFinite(index))
    ? profiles.sort((a, b) => a.index - b.index)
    : profiles.reverse()
}
