/**
 * SIP over TCP and TLS: cuts a stream into messages by Content-Length (RFC 3261 §18.3), which phones get wrong by a few
 * octets.
 *
 * - too long: the next message's first line stands inside of what should be the body, or nothing more comes: the body
 *   ends there
 * - too short: what is left before the next message's first line belongs to the body
 * - missing: the body ends at the next message's first line, or when nothing more comes
 *
 * What cannot be brought back into step ends the connection.
 */
import { readSip, SIP_METHODS, type SipMessage } from '../../formats/sip/message.js'

/** Octets that a Content-Length may be wrong by. */
const SLACK = 32
const LF = 10
const CR = 13

/** What a stream gives. */
export type SipFrame =
  | { readonly kind: 'message'; readonly message: SipMessage }
  /** Larger than is taken: its headers, to answer by. The stream is of no use any more. */
  | { readonly kind: 'too_large'; readonly message: SipMessage | null }
  /** Not in step, or no SIP. The stream is of no use any more. */
  | { readonly kind: 'malformed' }
  /** Two line ends instead of a message: a keep-alive, to be answered by one (RFC 5626 §4.4.1). */
  | { readonly kind: 'ping' }

const STARTS = [...SIP_METHODS.map((method) => `${method} `), 'SIP/2.0 '].map((text) => Buffer.from(text))

/** Whether a message may begin there: as far as there are bytes, they are a first line's. */
function mayStart(bytes: Uint8Array, at: number): boolean {
  for (const start of STARTS) {
    let i = 0
    while (i < start.length && at + i < bytes.length && bytes[at + i] === start[i]) i++
    if (i === start.length || at + i === bytes.length) return true
  }
  return false
}

/** Whether a message surely begins there, at the start of a line. */
function starts(bytes: Uint8Array, at: number): boolean {
  return (
    bytes[at - 1] === LF &&
    STARTS.some((start) => at + start.length <= bytes.length && start.every((byte, i) => bytes[at + i] === byte))
  )
}

/** Whether in `[from, to)` a line stands that ends with the bytes there are, and may become a first line. */
function startsToo(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = Math.max(1, from); at < to; at++) if (bytes[at - 1] === LF && mayStart(bytes, at)) return true
  return false
}

/** Where in `[from, to)` a message begins; -1 if nowhere. */
function startIn(bytes: Uint8Array, from: number, to: number): number {
  for (let at = Math.max(1, from); at < Math.min(to, bytes.length); at++)
    if (bytes[at - 1] === LF && starts(bytes, at)) return at
  return -1
}

export class SipStream {
  readonly #maxBytes: number
  #buffer: Buffer = Buffer.alloc(0)
  /**
   * Up to where the buffer was searched, for the end of the headers and then for the next message: a byte at a time
   * costs no more than all at once.
   */
  #searched = 0
  /** Of the message that has begun, once they are whole. */
  #headers: { readonly message: SipMessage; readonly end: number } | null = null
  /** Octets that belong to the body before, if its Content-Length was too short. */
  #slack = 0
  #over = false

  /** @param maxBytes of a message */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Octets that are kept. */
  get length(): number {
    return this.#buffer.length
  }

  /**
   * Whether a message has begun and would be whole if its sender has miscounted: {@link flush} after a while of
   * silence.
   */
  get waiting(): boolean {
    return !this.#over && this.#buffer.length > 0
  }

  feed(chunk: Uint8Array): void {
    if (!this.#over)
      this.#buffer = this.#buffer.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#buffer, chunk])
  }

  /** The next that is whole; null where more must come. */
  next(): SipFrame | null {
    return this.#over ? null : this.#next(false)
  }

  /** The same after a while of silence: a body that is a little short is taken as it is. */
  flush(): SipFrame | null {
    return this.#over ? null : this.#next(true)
  }

  #next(silent: boolean): SipFrame | null {
    const ping = this.#skipEmptyLines()
    if (ping) return { kind: 'ping' }
    if (this.#buffer.length === 0) return null
    if (!mayStart(this.#buffer, 0)) {
      // The rest of a body whose length was too short; else this is no SIP.
      const rest = startIn(this.#buffer, 1, this.#slack + 1)
      if (rest > 0) this.#drop(rest)
      else if (this.#buffer.length > this.#slack) return this.#fail({ kind: 'malformed' })
      else if (silent) {
        this.#drop(this.#buffer.length)
        return null
      } else return null
    }
    if (this.#headers === null) {
      const end = this.#headersEnd()
      if (end > this.#maxBytes || (end < 0 && this.#buffer.length > this.#maxBytes))
        return this.#fail({ kind: 'too_large', message: null })
      if (end < 0) return null
      const message = readSip(Buffer.from(this.#buffer.subarray(0, end)))
      if (message === null) return this.#fail({ kind: 'malformed' })
      this.#headers = { message, end }
      this.#searched = end
    }
    const { message: headers, end: bodyStart } = this.#headers
    const length = headers.contentLength
    if (length === null && headers.header('content-length') !== null) return this.#fail({ kind: 'malformed' })
    if ((length ?? 0) + bodyStart > this.#maxBytes) return this.#fail({ kind: 'too_large', message: headers })
    const end = this.#bodyEnd(bodyStart, length, silent)
    if (end < 0)
      return this.#buffer.length > this.#maxBytes + SLACK ? this.#fail({ kind: 'too_large', message: headers }) : null
    const message = readSip(Buffer.from(this.#buffer.subarray(0, end)))
    this.#drop(end)
    this.#slack = SLACK
    return message === null ? this.#fail({ kind: 'malformed' }) : { kind: 'message', message }
  }

  /** Where the body ends; -1 where more must come. */
  #bodyEnd(bodyStart: number, length: number | null, silent: boolean): number {
    const bytes = this.#buffer
    if (length === null) {
      const next = startIn(bytes, this.#searched, bytes.length)
      // What could be the beginning of a first line is looked at again.
      this.#searched = Math.max(bodyStart, bytes.length - SLACK)
      return next >= 0 ? next : silent ? bytes.length : -1
    }
    const end = bodyStart + length
    if (bytes.length < end - SLACK) return -1
    if (bytes.length >= end) {
      const early = length === 0 ? -1 : startIn(bytes, Math.max(bodyStart, end - SLACK), end)
      if (early >= 0) return early
      // A first line that has only begun: whether it is one, the next bytes tell.
      if (length > 0 && !silent && bytes.length < end + 8 && startsToo(bytes, Math.max(bodyStart, end - SLACK), end))
        return -1
      // A little more before the next message: it is this one's.
      if (length > 0 && bytes.length > end && bytes[end] !== CR && bytes[end] !== LF && !mayStart(bytes, end)) {
        const late = startIn(bytes, end, end + SLACK + 1)
        if (late >= 0) return late
        if (bytes.length - end <= SLACK) return bytes.length
      }
      return end
    }
    const early = startIn(bytes, Math.max(bodyStart, end - SLACK), bytes.length)
    if (early >= 0) return early
    return silent && end - bytes.length <= SLACK ? bytes.length : -1
  }

  /** Behind the empty line; -1 where it has not come. */
  #headersEnd(): number {
    const bytes = this.#buffer
    for (let at = Math.max(0, this.#searched - 2); at < bytes.length; at++) {
      if (bytes[at] !== LF) continue
      if (bytes[at + 1] === LF) return at + 2
      if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3
    }
    this.#searched = bytes.length
    return -1
  }

  /** Returns whether there were two in a row. */
  #skipEmptyLines(): boolean {
    let at = 0
    let ends = 0
    while (at < this.#buffer.length && (this.#buffer[at] === CR || this.#buffer[at] === LF))
      if (this.#buffer[at++] === LF) ends++
    if (at > 0) this.#drop(at)
    return ends >= 2
  }

  #drop(count: number): void {
    this.#buffer = this.#buffer.subarray(count)
    this.#searched = 0
    this.#headers = null
    this.#slack = Math.max(0, this.#slack - count)
  }

  #fail(frame: { readonly kind: 'malformed' | 'too_large'; readonly message?: SipMessage | null }): SipFrame {
    this.#over = true
    this.#buffer = Buffer.alloc(0)
    return frame.kind === 'malformed' ? { kind: 'malformed' } : { kind: 'too_large', message: frame.message ?? null }
  }
}
