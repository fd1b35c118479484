/**
 * Reads SIP (RFC 3261 §7) as it arrives: from phones that end lines by LF, miscount their bodies and write names in raw
 * UTF-8, and from anybody who can reach the port.
 *
 * sip.js's parser takes 1.2 ms a message, each call of its grammar 0.1 ms, and one header that it cannot read loses the
 * message: 830 messages a second, where 60,000 are to be told apart. So messages are found out by bytes here, in
 * offsets, and a header becomes text when it is asked for; what its text says is read by `address.ts`. sip.js's parser
 * is what `test/formats/sip/message.test.ts` holds this file against.
 */
/** What a message may have at most; one that has more is no message. */
export const SIP_LIMITS = { bytes: 65_535, headers: 256, headerBytes: 8192 } as const

/** Requests (RFC 3261, 3262, 3265, 3311, 3428, 3515, 3903, 6086). */
export const SIP_METHODS = [
  'INVITE',
  'ACK',
  'BYE',
  'CANCEL',
  'REGISTER',
  'OPTIONS',
  'PUBLISH',
  'NOTIFY',
  'SUBSCRIBE',
  'INFO',
  'PRACK',
  'UPDATE',
  'MESSAGE',
  'REFER',
] as const
/** A method; `OTHER` is one that is not known. */
export type SipMethod = (typeof SIP_METHODS)[number] | 'OTHER'

/** Headers that can be asked for, each with its compact form where it has one. */
const HEADERS = {
  via: 'v',
  from: 'f',
  to: 't',
  'call-id': 'i',
  cseq: '',
  contact: 'm',
  expires: '',
  'content-length': 'l',
  'content-type': 'c',
  event: 'o',
  'user-agent': '',
  server: '',
  'sip-if-match': '',
  authorization: '',
  reason: '',
  'p-asserted-identity': '',
  'max-forwards': '',
  'record-route': '',
  'content-encoding': 'e',
  'subscription-state': '',
  'x-rtp-stat': '',
  'p-rtp-stat': '',
  'x-rtp-stats': '',
  mac: '',
  'x-serialnumber': '',
  'session-id': '',
  'p-charging-vector': '',
  'x-cid': '',
  'x-call-id': '',
  'x-correlation-id': '',
  'p-station-name': '',
} as const
/** Name of a header, in full and in lower case. */
export type SipHeader = keyof typeof HEADERS

const SP = 32
const HT = 9
const CR = 13
const LF = 10
const COLON = 58

interface Name {
  readonly bytes: Uint8Array
  readonly id: number
}

const HEADER_NAMES = Object.keys(HEADERS) as SipHeader[]
const HEADER_IDS = new Map<SipHeader, number>(HEADER_NAMES.map((name, id) => [name, id]))
const OTHER_HEADER = -1

function idOfHeader(name: SipHeader): number {
  return HEADER_IDS.get(name) ?? OTHER_HEADER
}

/** By length and first letter: never more than two to compare. */
const NAMES_BY_SHAPE: (readonly Name[] | undefined)[] = Array<undefined>(32 * 32).fill(undefined)
for (const [name, compact] of Object.entries(HEADERS)) {
  for (const form of compact === '' ? [name] : [name, compact]) {
    const bytes = Buffer.from(form)
    const shape = bytes.length * 32 + (bytes[0] & 31)
    NAMES_BY_SHAPE[shape] = [...(NAMES_BY_SHAPE[shape] ?? []), { bytes, id: idOfHeader(name as SipHeader) }]
  }
}

const CALL_ID = idOfHeader('call-id')
const CSEQ = idOfHeader('cseq')

function headerId(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start
  if (length === 0 || length > 31) return OTHER_HEADER
  const names = NAMES_BY_SHAPE[length * 32 + (bytes[start] & 31)]
  if (names === undefined) return OTHER_HEADER
  for (const { bytes: name, id } of names) {
    let i = 0
    // Letters differ from their capitals by 32; a hyphen (45) and a carriage return (13) do too, but no line has one
    // inside.
    while (i < length && (bytes[start + i] | 32) === (name[i] | 32)) i++
    if (i === length) return id
  }
  return OTHER_HEADER
}

const METHOD_BYTES = SIP_METHODS.map((name): readonly [Uint8Array, SipMethod] => [Buffer.from(name), name])

function methodAt(bytes: Uint8Array, start: number, end: number): SipMethod {
  for (const [name, method] of METHOD_BYTES) {
    if (name.length !== end - start || name[0] !== bytes[start]) continue
    let i = 1
    while (i < name.length && bytes[start + i] === name[i]) i++
    if (i === name.length) return method
  }
  return 'OTHER'
}

/** `SIP/2.0`, in any case. */
function isVersion(bytes: Uint8Array, at: number): boolean {
  return (
    (bytes[at] | 32) === 115 &&
    (bytes[at + 1] | 32) === 105 &&
    (bytes[at + 2] | 32) === 112 &&
    bytes[at + 3] === 47 &&
    bytes[at + 4] === 50 &&
    bytes[at + 5] === 46 &&
    bytes[at + 6] === 48
  )
}

/** The first line. */
interface StartLine {
  readonly method: SipMethod | null
  readonly status: number
  readonly uriStart: number
  readonly uriEnd: number
  /** Where the headers begin. */
  readonly next: number
}

function lineEnd(bytes: Uint8Array, from: number, limit: number): number {
  let at = from
  while (at < limit && bytes[at] !== LF) at++
  return at
}

function startLine(bytes: Uint8Array, from: number): StartLine | null {
  let start = from
  // Empty lines before it are let pass (RFC 3261 §7.5): keep-alives are made of them.
  while (start < bytes.length && start - from < 64 && (bytes[start] === CR || bytes[start] === LF)) start++
  const limit = Math.min(bytes.length, start + SIP_LIMITS.headerBytes)
  const eol = lineEnd(bytes, start, limit)
  if (eol === limit) return null
  let end = eol
  while (end > start && (bytes[end - 1] === CR || bytes[end - 1] === SP)) end--
  if (end - start < 11) return null
  if (isVersion(bytes, start) && bytes[start + 7] === SP) {
    const [a, b, c] = [bytes[start + 8] - 48, bytes[start + 9] - 48, bytes[start + 10] - 48]
    if (!(a >= 1 && a <= 6 && b >= 0 && b <= 9 && c >= 0 && c <= 9)) return null
    if (end > start + 11 && bytes[start + 11] !== SP) return null
    return { method: null, status: a * 100 + b * 10 + c, uriStart: 0, uriEnd: 0, next: eol + 1 }
  }
  if (bytes[end - 8] !== SP || !isVersion(bytes, end - 7)) return null
  let space = start
  while (space < end && bytes[space] !== SP) {
    // A method is a token: letters, but for what nobody has registered.
    if (bytes[space] < 33 || bytes[space] > 126) return null
    space++
  }
  if (space >= end - 8 || space === start || space - start > 32) return null
  return { method: methodAt(bytes, start, space), status: 0, uriStart: space + 1, uriEnd: end - 8, next: eol + 1 }
}

/** Text of a header: folds (RFC 3261 §7.3.1), NULs and the like made into a space. */
function textOf(bytes: Uint8Array, start: number, end: number): string {
  let high = false
  let odd = false
  for (let i = start; i < end; i++) {
    const c = bytes[i]
    if (c > 126) high = true
    else if (c < SP) odd = true
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start)
  const text = high ? buffer.toString('utf8') : buffer.toString('latin1')
  return odd ? text.replace(/[\x00-\x1f]+/g, ' ').trim() : text
}

/** What a glance at a message tells: enough to know whether it is worth reading. */
export interface SipPeek {
  /** null for a response. */
  readonly method: SipMethod | null
  /** 0 for a request. */
  readonly status: number
  readonly cseq: number
  readonly cseqMethod: SipMethod
  readonly callId: string
}

/**
 * Looks at a message: first line, Call-ID and CSeq, no more. Costs about a microsecond.
 * @returns null for what is no SIP, or has no Call-ID
 */
export function peekSip(bytes: Uint8Array): SipPeek | null {
  const first = startLine(bytes, 0)
  if (first === null) return null
  let callId = ''
  let cseq = -1
  let cseqMethod: SipMethod = 'OTHER'
  let at = first.next
  for (let n = 0; n < SIP_LIMITS.headers && at < bytes.length; n++) {
    const c = bytes[at]
    if (c === LF || (c === CR && bytes[at + 1] === LF)) break
    // c, C, i, I: the only letters that Call-ID, CSeq and i begin with.
    const wanted = (c | 32) === 99 || (c | 32) === 105
    const nameStart = at
    let nameEnd = at
    if (wanted)
      while (nameEnd < bytes.length && nameEnd - nameStart < 32 && bytes[nameEnd] !== COLON && bytes[nameEnd] !== LF)
        nameEnd++
    const from = at
    at = lineEnd(bytes, at, bytes.length) + 1
    while (at < bytes.length && (bytes[at] === SP || bytes[at] === HT)) at = lineEnd(bytes, at, bytes.length) + 1
    if (!wanted || bytes[nameEnd] !== COLON || at - from > SIP_LIMITS.headerBytes) continue
    const id = headerId(bytes, nameStart, trimmedEnd(bytes, nameStart, nameEnd))
    if (id === CALL_ID && callId === '') {
      const start = trimmedStart(bytes, nameEnd + 1, at)
      callId = textOf(bytes, start, trimmedEnd(bytes, start, Math.min(at, bytes.length)))
    } else if (id === CSEQ && cseq < 0) {
      const start = trimmedStart(bytes, nameEnd + 1, at)
      const end = trimmedEnd(bytes, start, Math.min(at, bytes.length))
      let i = start
      cseq = 0
      while (i < end && bytes[i] >= 48 && bytes[i] <= 57 && i - start < 10) cseq = cseq * 10 + bytes[i++] - 48
      i = trimmedStart(bytes, i, end)
      cseqMethod = methodAt(bytes, i, end)
    }
    if (callId !== '' && cseq >= 0) break
  }
  if (callId === '') return null
  return { method: first.method, status: first.status, cseq: Math.max(0, cseq), cseqMethod, callId }
}

function isBlank(c: number): boolean {
  return c === SP || c === HT || c === CR || c === LF || c === 0
}

function trimmedStart(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  while (at < end && isBlank(bytes[at])) at++
  return at
}

function trimmedEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = end
  while (at > start && isBlank(bytes[at - 1])) at--
  return at
}

/**
 * A message. Headers become text when they are asked for; the bytes are not copied, so they must stay as they are for
 * so long.
 */
export class SipMessage {
  /** null for a response. */
  readonly method: SipMethod | null
  /** 0 for a request. */
  readonly status: number
  /** Where the body begins: after the empty line, or at the end where there is none. */
  readonly bodyStart: number
  readonly bytes: Uint8Array
  readonly #uriStart: number
  readonly #uriEnd: number
  /** Per header: its id, and where its value is. */
  readonly #ids: readonly number[]
  readonly #starts: readonly number[]
  readonly #ends: readonly number[]

  constructor(
    bytes: Uint8Array,
    first: StartLine,
    bodyStart: number,
    ids: readonly number[],
    starts: readonly number[],
    ends: readonly number[],
  ) {
    this.bytes = bytes
    this.method = first.method
    this.status = first.status
    this.#uriStart = first.uriStart
    this.#uriEnd = first.uriEnd
    this.bodyStart = bodyStart
    this.#ids = ids
    this.#starts = starts
    this.#ends = ends
  }

  /** Request-URI; empty for a response. */
  get uri(): string {
    return textOf(this.bytes, this.#uriStart, this.#uriEnd).trim()
  }

  /** The first header of that name; null where there is none. */
  header(name: SipHeader): string | null {
    const index = this.#ids.indexOf(idOfHeader(name))
    return index < 0 ? null : textOf(this.bytes, this.#starts[index], this.#ends[index])
  }

  /** All headers of that name, in order. */
  headers(name: SipHeader): string[] {
    const id = idOfHeader(name)
    const found: string[] = []
    for (let i = 0; i < this.#ids.length; i++)
      if (this.#ids[i] === id) found.push(textOf(this.bytes, this.#starts[i], this.#ends[i]))
    return found
  }

  /** Empty where there is none. */
  get callId(): string {
    return this.header('call-id') ?? ''
  }

  get cseq(): { readonly number: number; readonly method: string } | null {
    const found = /^(\d{1,10})\s+(\S{1,32})/.exec(this.header('cseq') ?? '')
    return found === null ? null : { number: Number(found[1]), method: found[2] }
  }

  /** What Content-Length says; null where it says nothing that can be understood. */
  get contentLength(): number | null {
    const text = this.header('content-length')
    return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null
  }

  /**
   * The body: all that follows the headers. A datagram ends where its message does, so Content-Length, which phones get
   * wrong by a few octets, is not needed.
   */
  get body(): Uint8Array {
    return this.bytes.subarray(this.bodyStart)
  }
}

/**
 * Reads a message.
 * @returns null for what is none, or has more than {@link SIP_LIMITS} allow
 */
export function readSip(bytes: Uint8Array): SipMessage | null {
  if (bytes.length > SIP_LIMITS.bytes) return null
  const first = startLine(bytes, 0)
  if (first === null) return null
  const ids: number[] = []
  const starts: number[] = []
  const ends: number[] = []
  let at = first.next
  let headers = 0
  while (at < bytes.length) {
    if (bytes[at] === LF) return new SipMessage(bytes, first, at + 1, ids, starts, ends)
    if (bytes[at] === CR && bytes[at + 1] === LF) return new SipMessage(bytes, first, at + 2, ids, starts, ends)
    if (++headers > SIP_LIMITS.headers) return null
    const from = at
    at = lineEnd(bytes, at, bytes.length) + 1
    while (at < bytes.length && (bytes[at] === SP || bytes[at] === HT)) at = lineEnd(bytes, at, bytes.length) + 1
    if (at - from > SIP_LIMITS.headerBytes) return null
    let colon = from
    while (colon < at && colon - from < 64 && bytes[colon] !== COLON && bytes[colon] !== LF) colon++
    // A line without a name is left out, as a header that nobody knows is (RFC 3261 §8.2.2).
    if (bytes[colon] !== COLON) continue
    const id = headerId(bytes, from, trimmedEnd(bytes, from, colon))
    if (id === OTHER_HEADER) continue
    const start = trimmedStart(bytes, colon + 1, Math.min(at, bytes.length))
    ids.push(id)
    starts.push(start)
    ends.push(trimmedEnd(bytes, start, Math.min(at, bytes.length)))
  }
  // Cut off, or without the empty line: what there is of the headers counts, the body is empty.
  return new SipMessage(bytes, first, bytes.length, ids, starts, ends)
}
