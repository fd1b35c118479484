/**
 * Texts that pass as they are (a trunk's name, a tenant's) are first held against shapes: a kept field must not become
 * the side door through which a number, a MAC or an IP address leaves.
 * Fails closed: what might be an identifier is none of these texts.
 *
 * Digits are counted over *chains*: digits and separators without a letter between them, so that `07700 900 123`,
 * `(020) 7946-0958` and `212.555.0123` count as one number however they are split. Six digits are harmless. Seven or
 * more pass only as a **version**: three or four groups joined by single dots, nine digits at most in all, the first
 * two groups of one or two digits, at most one group of three or more. `5.9.5.0614`, `5.4.0.12197` and `21.90.4128.0`
 * are versions; no E.164 or national number is one (ten digits or more, or a long group up front, or five pairs), and
 * neither is a MAC. One more exemption: a codec's clock rate, `G726-32/8000`.
 *
 * What no shape can tell is a person's name: fields that may hold one are dropped by the policy, not cleaned here.
 * On the hot path: no allocation; guarded by the transform row of `bench/`.
 */
import { HEX_VALUE, macShapeAt } from './mac.js'

/**
 * Whether `src[off, off + len)` may pass as it is: at most `maxLength` bytes of `A-Za-z0-9 ._+/()!-`, no number of
 * seven or more digits, no MAC address in any notation, no IPv4 address (four groups up to 255 with the same separator,
 * so a firmware of that shape is refused too: `devices/version.ts` is for those). The empty text may.
 */
export function safeText(src: Uint8Array, off: number, len: number, maxLength: number): boolean {
  return len <= maxLength && harmless(src, off, off + len)
}

/** Whether a whole text may pass as it is: {@link safeText} for strings off the hot path. */
export function isSafeText(text: string, maxLength: number): boolean {
  const src = Buffer.from(text, 'utf8')
  return safeText(src, 0, src.length, maxLength)
}

function harmless(src: Uint8Array, off: number, end: number): boolean {
  let hexDigits = 0
  chain.start()
  // The group of digits that is being read, and what stands between it and the one before.
  let length = 0
  let value = 0
  let separators = 0
  let separator = 0
  for (let at = off; at <= end; at++) {
    const byte = at < end ? src[at] : 0
    const kind = at < end ? KIND[byte] : LETTER
    if (kind === REFUSED) return false
    if (at < end && HEX_VALUE[byte] >= 0) hexDigits++
    if (kind === DIGIT) {
      if (length === 0) chain.startGroup(at > off && KIND[src[at - 1]] === LETTER, separators, separator)
      length++
      // A value is compared up to 90,000: longer ones need not be exact.
      if (length <= 6) value = value * 10 + (byte - ZERO)
      continue
    }
    if (length > 0) {
      if (!chain.endGroup(length, value, separators, separator)) return false
      length = 0
      value = 0
      separators = 0
    }
    if (kind === SEPARATOR) {
      separators++
      separator = byte
      continue
    }
    // A letter, or the end: the chain is complete.
    if (!chain.end()) return false
    separators = 0
  }
  if (hexDigits < 12) return true
  for (let at = off; at + 12 <= end; at++) if (macShapeAt(src, at, end)) return false
  return true
}

/** Groups of digits with nothing but separators between them. One is enough: texts are read one after the other. */
class Chain {
  #digits = 0
  #groups = 0
  #firstLength = 0
  #secondLength = 0
  #longGroups = 0
  #dotted = true
  #afterLetter = false
  /** The groups up to 255 that stand with one and the same separator: how many, and which one. */
  #octets = 0
  #octetSeparator = 0

  start(): void {
    this.#digits = 0
    this.#groups = 0
    this.#longGroups = 0
    this.#dotted = true
    this.#octets = 0
  }

  startGroup(afterLetter: boolean, separators: number, separator: number): void {
    if (this.#digits === 0) this.#afterLetter = afterLetter
    else if (separators !== 1 || separator !== DOT) this.#dotted = false
  }

  /** Takes a group in. False: with it, the chain is an IPv4 address. */
  endGroup(length: number, value: number, separators: number, separator: number): boolean {
    const single = separators === 1
    if (this.#digits > 0 && this.#digits <= 5 && this.#afterLetter && single && separator === SLASH) {
      if (isClockRate(value)) {
        this.#octets = 0
        return true
      }
    }
    this.#groups++
    this.#digits += length
    if (this.#groups === 1) this.#firstLength = length
    else if (this.#groups === 2) this.#secondLength = length
    if (length >= 3) this.#longGroups++
    if (length > 3 || value > 255) {
      this.#octets = 0
      return true
    }
    if (this.#octets > 0 && single && (this.#octets === 1 || separator === this.#octetSeparator)) this.#octets++
    // `1-2.3.4.5`: the address starts at the group before the new separator.
    else this.#octets = this.#octets > 0 && single ? 2 : 1
    this.#octetSeparator = separator
    return this.#octets < 4
  }

  /** Ends the chain. False: it may be a number. */
  end(): boolean {
    const version =
      this.#dotted &&
      this.#groups >= 3 &&
      this.#groups <= 4 &&
      this.#digits <= 9 &&
      this.#firstLength <= 2 &&
      this.#secondLength <= 2 &&
      this.#longGroups <= 1
    const harmlessChain = this.#digits < 7 || version
    this.start()
    return harmlessChain
  }
}

const chain = new Chain()

function isClockRate(value: number): boolean {
  switch (value) {
    case 8000:
    case 11025:
    case 12000:
    case 16000:
    case 22050:
    case 24000:
    case 32000:
    case 44100:
    case 48000:
    case 90000:
      return true
    default:
      return false
  }
}

const ZERO = 0x30
const DOT = 0x2e
const SLASH = 0x2f
const REFUSED = 0
const LETTER = 1
const DIGIT = 2
const SEPARATOR = 3
const KIND = new Uint8Array(256)
for (let byte = 0; byte < 26; byte++) {
  KIND[0x41 + byte] = LETTER
  KIND[0x61 + byte] = LETTER
}
for (let byte = 0; byte < 10; byte++) KIND[ZERO + byte] = DIGIT
for (const separator of ' ._+/()!-') KIND[separator.charCodeAt(0)] = SEPARATOR
