/** IP addresses in text to bytes: IPv4 dotted, IPv6 (RFC 4291 §2.2), with a port or in brackets as SIP writes them. */
import { isIPv6 } from 'node:net'

/** Where {@link parseIp} leaves the address. */
export const ipBytes = new Uint8Array(16)

/**
 * Reads dotted IPv4 without allocation. A port behind it is left out. Returns whether it is one; the bytes are in
 * {@link ipBytes}.
 */
function parseIpv4(src: Uint8Array, off: number, end: number): boolean {
  let octet = -1
  let octets = 0
  for (let i = off; i < end; i++) {
    const c = src[i]
    if (c >= 48 && c <= 57) {
      octet = octet < 0 ? c - 48 : octet * 10 + c - 48
      if (octet > 255) return false
    } else if (c === 46 && octet >= 0 && octets < 3) {
      ipBytes[octets++] = octet
      octet = -1
    } else if (c === 58 && octet >= 0 && octets === 3) {
      for (let j = i + 1; j < end; j++) if (src[j] < 48 || src[j] > 57) return false
      break
    } else return false
  }
  if (octet < 0 || octets !== 3) return false
  ipBytes[3] = octet
  return true
}

/** Value of a hexadecimal digit by its octet; 255: none. */
const HEX = new Uint8Array(256).fill(255)
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16)
  HEX[digit.charCodeAt(0)] = value
  HEX[digit.toUpperCase().charCodeAt(0)] = value
}
const COLON = 58

/**
 * Reads groups of hexadecimal digits without allocation. @returns whether that is an address; a dotted end, a zone and
 * brackets are not read here
 */
function parseGroups(src: Uint8Array, off: number, end: number): boolean {
  let groups = 0
  let gap = -1
  let value = 0
  let digits = 0
  for (let i = off; i < end; i++) {
    const digit = HEX[src[i]]
    if (digit < 16) {
      if (++digits > 4) return false
      value = (value << 4) | digit
      continue
    }
    if (src[i] !== COLON || groups === 8) return false
    if (digits > 0) {
      ipBytes[2 * groups] = value >> 8
      ipBytes[2 * groups++ + 1] = value & 0xff
    }
    if (i + 1 < end && src[i + 1] === COLON) {
      if (gap >= 0) return false
      gap = groups
      i++
    } else if (digits === 0 || i + 1 === end) return false
    value = 0
    digits = 0
  }
  if (digits > 0) {
    if (groups === 8) return false
    ipBytes[2 * groups] = value >> 8
    ipBytes[2 * groups++ + 1] = value & 0xff
  }
  if (gap < 0) return groups === 8
  if (groups === 8) return false
  const tail = 2 * (groups - gap)
  ipBytes.copyWithin(16 - tail, 2 * gap, 2 * groups)
  ipBytes.fill(0, 2 * gap, 16 - tail)
  return true
}

/** @returns 4 for an IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2), so that it gets the same token */
function unmapped(): 4 | 16 {
  for (let i = 0; i < 10; i++) if (ipBytes[i] !== 0) return 16
  if (ipBytes[10] !== 0xff || ipBytes[11] !== 0xff) return 16
  ipBytes.copyWithin(0, 12, 16)
  return 4
}

/** The other ways to write one: in brackets, with a zone, with a dotted end. */
function parseIpv6(text: string): 4 | 16 | 0 {
  let address = text
  if (address.startsWith('[')) {
    const close = address.indexOf(']')
    if (close < 0) return 0
    address = address.slice(1, close)
  }
  const zone = address.indexOf('%')
  if (zone >= 0) address = address.slice(0, zone)
  if (!isIPv6(address)) return 0
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  if (dotted !== null) {
    const [a, b, c, d] = dotted.slice(2).map(Number)
    address = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  }
  const [head, tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups =
    tail === undefined ? left : [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  groups.forEach((group, i) => {
    const value = parseInt(group, 16)
    ipBytes[2 * i] = value >> 8
    ipBytes[2 * i + 1] = value & 0xff
  })
  return unmapped()
}

/**
 * Reads an address into {@link ipBytes}.
 * @returns its length in bytes (4 or 16), 0 if it is no address
 */
export function parseIp(src: Uint8Array, off: number, len: number): 4 | 16 | 0 {
  if (len < 2 || len > 64) return 0
  if (parseIpv4(src, off, off + len)) return 4
  if (parseGroups(src, off, off + len)) return unmapped()
  return parseIpv6(Buffer.from(src.buffer, src.byteOffset + off, len).toString('latin1'))
}
