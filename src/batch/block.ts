/**
 * Identifier blocks: an identifier packed, injectively, into the 16 bytes that one AES block encrypts.
 *
 * Layout: type and form (1) | generation (1) | tenant (4, big-endian; 0 = everywhere) | payload (10)
 * - the high nibble of byte 0 is the type ({@link TYPES}), the low nibble the form:
 *   E.164 has its number of digits (1 to 15) there and BCD digits in the payload; text has its length (0 to 10) there
 *   and its bytes in the payload; {@link NIBBLES} says that the payload is up to 20 symbols of four bits, padded with
 *   0xF, which is no symbol
 * - what fits several forms takes the first that fits, so one identifier has one block
 * - unused payload bytes are 0
 *
 * What does not fit: a UUID and an IPv6 address fill 16 bytes by themselves and are encrypted under keys of their own;
 * anything longer is *long*: byte 0 with form {@link LONG}, generation, tenant, then the text, and goes to HMAC or SIV.
 * The generation is 0 until erasure bumps it.
 *
 * For purposes that may not tell who called for help, all emergency numbers and helplines are one block
 * ({@link HELP_BLOCK}).
 */
import { isUtf8 } from 'node:buffer'

export const TYPES = {
  e164: 1,
  local: 2,
  account: 3,
  ipv4: 4,
  mac: 5,
  call: 6,
  serial: 7,
  trunk: 8,
  uri: 9,
  help: 10,
} as const
export type BlockType = keyof typeof TYPES

const NIBBLES = 0xf
const LONG = 0xe

/** What a slot of the identifier columns holds. */
export const SLOT = { absent: 0, block: 1, uuid: 2, ipv6: 3, long: 4 } as const

/** The bits of a slot that are one of {@link SLOT}. */
export const FORM = 7
/** Set beside them for a number that one calls for help. */
export const PROTECTED = 8

export const BLOCK_BYTES = 16
const HEADER_BYTES = 6
/** Where in a long form its text begins. */
export const LONG_HEADER_BYTES = HEADER_BYTES
/** Where in a block its payload begins. */
export const BLOCK_PAYLOAD = HEADER_BYTES
const TEXT_MAX = 10
const NIBBLE_MAX = 20
const NIBBLE_SYMBOLS = '0123456789.-+:*'
const nibbleOf = new Uint8Array(256).fill(0xff)
for (let i = 0; i < NIBBLE_SYMBOLS.length; i++) nibbleOf[NIBBLE_SYMBOLS.charCodeAt(i)] = i

/** First six bytes; the payload follows. */
function header(dst: DataView, at: number, type: number, form: number, tenant: number): void {
  dst.setUint16(at, (type << 12) | (form << 8))
  dst.setUint32(at + 2, tenant)
}

/** The payload as big-endian words: one write for four bytes is what keeps packing cheap. */
function payload(dst: DataView, at: number, first: number, second: number, third: number): void {
  dst.setInt32(at + 6, first)
  dst.setInt32(at + 10, second)
  dst.setInt16(at + 14, third)
}

/**
 * Packs E.164 digits (ASCII, no plus). `prefix` digits come first: the calling code of a national number. The caller
 * has checked them: 1 to 15 in all.
 */
export function packE164(prefix: string, src: Uint8Array, off: number, len: number, dst: DataView, at: number): void {
  let first = 0
  let second = 0
  let n = 0
  for (let i = 0; i < prefix.length; i++, n++) first = (first << 4) | (prefix.charCodeAt(i) - 48)
  const end = off + len
  let i = off
  for (; i < end && n < 8; i++, n++) first = (first << 4) | (src[i] - 48)
  for (; n < 8; n++) first <<= 4
  for (; i < end; i++, n++) second = (second << 4) | (src[i] - 48)
  const total = prefix.length + len
  for (; n < 16; n++) second <<= 4
  header(dst, at, TYPES.e164, total, 0)
  payload(dst, at, first, second, 0)
}

/** Packs text if it fits a block. Returns whether it did. */
export function packText(
  type: number,
  tenant: number,
  src: Uint8Array,
  off: number,
  len: number,
  dst: DataView,
  at: number,
): boolean {
  if (len <= TEXT_MAX) {
    header(dst, at, type, len, tenant)
    payload(dst, at, 0, 0, 0)
    for (let i = 0; i < len; i++) dst.setUint8(at + HEADER_BYTES + i, src[off + i])
    return true
  }
  if (len > NIBBLE_MAX) return false
  let first = 0
  let second = 0
  let third = 0
  let bad = 0
  for (let i = 0; i < 8; i++) {
    const nibble = nibbleOf[src[off + i]]
    bad |= nibble
    first = (first << 4) | nibble
  }
  for (let i = 8; i < 16; i++) {
    const nibble = i < len ? nibbleOf[src[off + i]] : 0xf
    bad |= nibble
    second = (second << 4) | nibble
  }
  for (let i = 16; i < NIBBLE_MAX; i++) {
    const nibble = i < len ? nibbleOf[src[off + i]] : 0xf
    bad |= nibble
    third = (third << 4) | nibble
  }
  if (bad > 0xf) return false
  header(dst, at, type, NIBBLES, tenant)
  payload(dst, at, first, second, third)
  return true
}

/** Packs 4 or 6 bytes that are the identifier themselves: IPv4 and MAC addresses, the same everywhere. */
export function packBytes(type: number, src: Uint8Array, len: 4 | 6, dst: DataView, at: number): void {
  header(dst, at, type, len, 0)
  payload(
    dst,
    at,
    (src[0] << 24) | (src[1] << 16) | (src[2] << 8) | src[3],
    len === 6 ? (src[4] << 24) | (src[5] << 16) : 0,
    0,
  )
}

/** Length of the long form of a text. */
export function longLength(len: number): number {
  return HEADER_BYTES + len
}

/** Writes the long form: a header that no block has, then the text. */
export function packLong(
  type: number,
  tenant: number,
  src: Uint8Array,
  off: number,
  len: number,
  dst: Uint8Array,
  at: number,
): void {
  dst[at] = (type << 4) | LONG
  dst[at + 1] = 0
  dst[at + 2] = tenant >>> 24
  dst[at + 3] = tenant >>> 16
  dst[at + 4] = tenant >>> 8
  dst[at + 5] = tenant
  for (let i = 0; i < len; i++) dst[at + HEADER_BYTES + i] = src[off + i]
}

function hex(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const lower = byte | 0x20
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** Reads the text form of a UUID (RFC 9562 §4, either case) into 16 bytes. Returns whether it is one. */
export function packUuid(src: Uint8Array, off: number, len: number, dst: DataView, at: number): boolean {
  if (len !== 36) return false
  let out = at
  for (let i = 0; i < 36; i++) {
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (src[off + i] !== 45) return false
      continue
    }
    const high = hex(src[off + i])
    const low = hex(src[off + ++i])
    if ((high | low) < 0) return false
    dst.setUint8(out++, (high << 4) | low)
  }
  return true
}

/** In place of every number that one calls for help: a type of its own, so that it is no other identifier's. */
export const HELP_BLOCK = Buffer.alloc(BLOCK_BYTES)
packText(TYPES.help, 0, Buffer.from('helpline'), 0, 8, new DataView(HELP_BLOCK.buffer, HELP_BLOCK.byteOffset), 0)

/** What a block or a long form says, read back: for the holder of the key, and for tests. */
export interface Unpacked {
  readonly type: BlockType
  readonly tenant: number
  readonly generation: number
  /** E.164 with its plus, dotted IPv4, MAC with colons, else the text. */
  readonly text: string
}

/** Reads a decrypted block or long form. Returns null for bytes that {@link packText} and its kin never make. */
export function unpack(bytes: Uint8Array): Unpacked | null {
  if (bytes.length < HEADER_BYTES) return null
  const type = (Object.keys(TYPES) as BlockType[]).find((name) => TYPES[name] === bytes[0] >> 4)
  if (type === undefined) return null
  const form = bytes[0] & 0xf
  const generation = bytes[1]
  const tenant = ((bytes[2] << 24) | (bytes[3] << 16) | (bytes[4] << 8) | bytes[5]) >>> 0
  const payload = Buffer.from(bytes.subarray(HEADER_BYTES))
  const made = (text: string): Unpacked => ({ type, tenant, generation, text })
  // Strict to the bit: a block decrypted under the wrong key must not pass for an identifier.
  const everywhere = type === 'e164' || type === 'ipv4' || type === 'mac'
  if (everywhere && tenant !== 0) return null
  const nibbles = payload.toString('hex')
  // First, since 14 and 15 digits look like the forms below.
  if (type === 'e164')
    return bytes.length === BLOCK_BYTES && form > 0 && /^\d*$/.test(nibbles) && /^0*$/.test(nibbles.slice(form))
      ? made(`+${nibbles.slice(0, form)}`)
      : null
  if (form === LONG)
    return !everywhere && payload.length > TEXT_MAX && isUtf8(payload) ? made(payload.toString('utf8')) : null
  if (bytes.length !== BLOCK_BYTES) return null
  if (form === NIBBLES) {
    const symbols = nibbles.replace(/f+$/, '')
    return !everywhere && symbols.length > TEXT_MAX && !symbols.includes('f')
      ? made(
          Array.from(symbols)
            .map((n) => NIBBLE_SYMBOLS[parseInt(n, 16)])
            .join(''),
        )
      : null
  }
  if (form > TEXT_MAX || payload.subarray(form).some((b) => b !== 0)) return null
  if (type === 'ipv4') return form === 4 ? made([...payload.subarray(0, 4)].join('.')) : null
  if (type === 'mac') return form === 6 ? made(payload.toString('hex', 0, 6).replace(/(..)(?=.)/g, '$1:')) : null
  const text = payload.subarray(0, form)
  return isUtf8(text) ? made(text.toString('utf8')) : null
}
