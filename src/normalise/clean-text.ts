/**
 * Texts that pass as they are (codec, trunk name, what a source gives as vendor, model or firmware) are first held
 * against shapes: a kept field must not become the side door through which a number, a MAC or an IP address leaves.
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
 * so a firmware of that shape is refused too: {@link safeVersion} is for those). The empty text may.
 */
export function safeText(src: Uint8Array, off: number, len: number, maxLength: number): boolean {
  return len <= maxLength && harmless(src, off, off + len, false)
}

/**
 * Whether `src[off, off + len)` may pass as a firmware version. As {@link safeText} with 32 bytes, and: it has a digit,
 * no run of more than three letters other than `beta` and its like (a name has more), and four groups up to 255 pass
 * where the first two are those of firmware rather than of an address: at most 9 and 49 (`1.0.8.7`) or 70–79
 * (`2.72.14.2`), or 20–199 and 70–99 (Yealink's `66.85.0.5`). Seven digits in three groups pass from 100 to 199 (AVM's
 * `154.07.29`), where no subscriber number starts.
 */
export function safeVersion(src: Uint8Array, off: number, len: number): boolean {
  const end = off + len
  if (len === 0 || len > 32 || !harmless(src, off, end, true)) return false
  let digits = 0
  let letters = 0
  for (let at = off; at <= end; at++) {
    const kind = at < end ? KIND[src[at]] : SEPARATOR
    if (kind === LETTER) {
      letters++
      continue
    }
    if (letters > 3 && !isReleaseWord(src, at - letters, letters)) return false
    letters = 0
    if (kind === DIGIT) digits++
  }
  return digits > 0
}

/** Whether a whole text may pass as a firmware version: {@link safeVersion} for strings off the hot path. */
export function isSafeVersion(text: string): boolean {
  const src = Buffer.from(text, 'utf8')
  return safeVersion(src, 0, src.length)
}

/** Whether a whole text may pass as it is: {@link safeText} for strings off the hot path. */
export function isSafeText(text: string, maxLength: number): boolean {
  const src = Buffer.from(text, 'utf8')
  return safeText(src, 0, src.length, maxLength)
}

function harmless(src: Uint8Array, off: number, end: number, versionQuads: boolean): boolean {
  let hexDigits = 0
  // The chain.
  let digits = 0
  let groups = 0
  let firstLength = 0
  let secondLength = 0
  let longGroups = 0
  let dotted = true
  let afterLetter = false
  // Its last group, and the separator between the last two.
  let length = 0
  let value = 0
  let separators = 0
  let separator = 0
  // The groups up to 255 that stand with one and the same separator: how many, which one, and the last four.
  let octets = 0
  let octetSeparator = 0
  let first = 0
  let second = 0
  let third = 0
  let fourth = 0

  for (let at = off; at <= end; at++) {
    const byte = at < end ? src[at] : 0
    const kind = at < end ? KIND[byte] : LETTER
    if (kind === REFUSED) return false
    if (at < end && HEX_VALUE[byte] >= 0) hexDigits++
    if (kind === DIGIT) {
      if (length === 0) {
        if (digits === 0) afterLetter = at > off && KIND[src[at - 1]] === LETTER
        else if (separators !== 1 || separator !== DOT) dotted = false
      }
      length++
      // A value is compared up to 90,000: longer ones need not be exact.
      if (length <= 6) value = value * 10 + (byte - ZERO)
      continue
    }
    if (length > 0) {
      if (digits > 0 && digits <= 5 && afterLetter && separators === 1 && separator === SLASH && isClockRate(value)) {
        octets = 0
      } else {
        groups++
        digits += length
        if (groups === 1) firstLength = length
        else if (groups === 2) secondLength = length
        if (length >= 3) longGroups++
        if (length > 3 || value > 255) {
          octets = 0
        } else {
          if (octets > 0 && separators === 1 && (octets === 1 || separator === octetSeparator)) octets++
          // `1-2.3.4.5`: the address starts at the group before the new separator.
          else octets = octets > 0 && separators === 1 ? 2 : 1
          octetSeparator = separator
          first = second
          second = third
          third = fourth
          fourth = value
          if (octets >= 4 && !(versionQuads && octetSeparator === DOT && isVersionQuad(first, second))) return false
        }
      }
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
    if (digits >= 7) {
      const version =
        dotted && groups >= 3 && groups <= 4 && digits <= 9 && firstLength <= 2 && secondLength <= 2 && longGroups <= 1
      const versionOfPhones =
        versionQuads && dotted && groups === 4 && octets === 4 && digits <= 9 && isVersionQuad(first, second)
      const versionOfRouters =
        versionQuads && dotted && groups === 3 && octets === 3 && digits === 7 && firstLength === 3 && second <= 199
      if (!version && !versionOfPhones && !versionOfRouters) return false
    }
    digits = 0
    groups = 0
    longGroups = 0
    dotted = true
    separators = 0
    octets = 0
  }
  if (hexDigits >= 12) {
    for (let at = off; at + 12 <= end; at++) if (macShapeAt(src, at, end)) return false
  }
  return true
}

function isVersionQuad(first: number, second: number): boolean {
  return (
    (first <= 9 && (second <= 49 || (second >= 70 && second <= 79))) ||
    (first >= 20 && first <= 199 && second >= 70 && second <= 99)
  )
}

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

/** `alpha`, `beta`, `build`, `cert`, `release`, `stable`, in any case. */
function isReleaseWord(src: Uint8Array, off: number, len: number): boolean {
  for (const word of RELEASE_WORDS) {
    if (word.length !== len) continue
    let same = true
    for (let at = 0; at < len; at++) if ((src[off + at] | 0x20) !== word[at]) same = false
    if (same) return true
  }
  return false
}

const RELEASE_WORDS = ['alpha', 'beta', 'build', 'cert', 'release', 'stable'].map((word) => Buffer.from(word, 'latin1'))

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
