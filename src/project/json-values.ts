/** Values as JSON writes them, into the bytes of a message. */
import { writeDecimal } from '../treatments/treatment.js'

const MINUS = 45
const POINT = 46
const ZERO = 48
const BASE64URL = Uint8Array.from(Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'))

/**
 * Writes a decimal with three places at most: a figure measured to more says nothing more. Returns the position after
 * it.
 */
export function writeJsonFloat(value: number, out: Uint8Array, pos: number): number {
  if (value < 0) {
    out[pos++] = MINUS
    value = -value
  }
  if (value >= 1e12) return writeDecimal(1e12, out, pos)
  const thousandths = Math.round(value * 1000)
  const whole = Math.floor(thousandths / 1000)
  pos = writeDecimal(whole, out, pos)
  let rest = thousandths - whole * 1000
  if (rest === 0) return pos
  out[pos++] = POINT
  for (let unit = 100; rest > 0; unit /= 10) {
    const digit = Math.floor(rest / unit)
    out[pos++] = ZERO + digit
    rest -= digit * unit
  }
  return pos
}

/** Writes bytes as base64url without padding (RFC 4648 §5). Returns the position after it. */
export function writeBase64Url(src: Uint8Array, off: number, len: number, out: Uint8Array, pos: number): number {
  const end = off + len
  let i = off
  for (; i + 2 < end; i += 3) {
    const bits = (src[i] << 16) | (src[i + 1] << 8) | src[i + 2]
    out[pos++] = BASE64URL[bits >> 18]
    out[pos++] = BASE64URL[(bits >> 12) & 63]
    out[pos++] = BASE64URL[(bits >> 6) & 63]
    out[pos++] = BASE64URL[bits & 63]
  }
  if (i < end) {
    const two = i + 1 < end
    const bits = (src[i] << 16) | (two ? src[i + 1] << 8 : 0)
    out[pos++] = BASE64URL[bits >> 18]
    out[pos++] = BASE64URL[(bits >> 12) & 63]
    if (two) out[pos++] = BASE64URL[(bits >> 6) & 63]
  }
  return pos
}
