/**
 * MAC addresses in the notations that phones, gateways and operators write: `00:00:5E:00:53:01`, `00-00-5e-…`,
 * `0000.5e00.5301`, `00005e-005301`, `0:0:5e:0:53:1` and bare. One separator throughout: `0000.5e00-5301` is something
 * else. {@link macInto} is on the hot path (no allocation); guarded by the transform row of `bench/`.
 */

/** The twelve lower-case hex digits of a MAC address in any common notation, or null. Spaces around it are ignored. */
export function parseMac(source: string | Uint8Array): string | null {
  // Longer than any notation: no work for it.
  if (source.length > 64) return null
  const src = typeof source === 'string' ? Buffer.from(source, 'utf8') : source
  const octets = Buffer.alloc(6)
  return macInto(src, 0, src.length, octets, 0) ? octets.toString('hex') : null
}

/**
 * Writes the six octets of the MAC address at `src[off, off + len)` to `dst`. False, and nothing written, where it is
 * none.
 */
export function macInto(src: Uint8Array, off: number, len: number, dst: Uint8Array, dstOff: number): boolean {
  let end = off + len
  while (off < end && src[off] === SPACE) off++
  while (end > off && src[end - 1] === SPACE) end--
  if (end - off < 11 || end - off > 17) return false
  let separator = 0
  let groupDigits = 0
  let firstDigits = 0
  let group = 0
  // 48 bits: exact in a double, not in the integer operators.
  let address = 0
  let bits = 0
  for (let at = off; at <= end; at++) {
    const byte = at < end ? src[at] : END
    const digit = byte === END ? -1 : HEX_VALUE[byte]
    if (digit >= 0) {
      group = group * 16 + digit
      if (++groupDigits > 12) return false
      continue
    }
    if (byte !== END) {
      if (separator === 0) separator = byte
      if (byte !== separator || IS_SEPARATOR[byte] === 0) return false
    }
    if (firstDigits === 0) firstDigits = groupDigits
    // Only colons go with octets whose leading zero is left out.
    const octet = separator === COLON && groupDigits >= 1 && groupDigits <= 2 && firstDigits <= 2
    if (!octet && (groupDigits !== firstDigits || GROUP_SIZE[groupDigits] === 0)) return false
    const groupBits = octet ? 8 : groupDigits * 4
    address = address * 2 ** groupBits + group
    bits += groupBits
    group = 0
    groupDigits = 0
  }
  if (bits !== 48) return false
  for (let octet = 5; octet >= 0; octet--) {
    dst[dstOff + octet] = address % 256
    address = Math.floor(address / 256)
  }
  return true
}

/**
 * Whether `src[off, end)` starts with anything that a reader would take for a MAC address: six pairs of hex digits with
 * at most one separator after each pair, mixed or not. Looser than {@link macInto} on purpose: this one decides what
 * may *not* pass.
 */
export function macShapeAt(src: Uint8Array, off: number, end: number): boolean {
  for (let pair = 0; pair < 6; pair++) {
    if (pair > 0 && off < end && IS_SEPARATOR[src[off]] !== 0) off++
    if (off + 2 > end || HEX_VALUE[src[off]] < 0 || HEX_VALUE[src[off + 1]] < 0) return false
    off += 2
  }
  return true
}

/** Value of each byte as a hex digit, -1 for the others. */
export const HEX_VALUE = new Int8Array(256).fill(-1)
for (let value = 0; value < 16; value++) {
  HEX_VALUE[value.toString(16).charCodeAt(0)] = value
  HEX_VALUE[value.toString(16).toUpperCase().charCodeAt(0)] = value
}

const SPACE = 0x20
const COLON = 0x3a
const END = 256
const IS_SEPARATOR = new Uint8Array(257)
for (const separator of ':-. _') IS_SEPARATOR[separator.charCodeAt(0)] = 1
/** Hex digits a group may have: pairs, fours, halves, all. */
const GROUP_SIZE = new Uint8Array(13)
for (const size of [2, 4, 6, 12]) GROUP_SIZE[size] = 1
