/**
 * HEP3 frames (HOMER Encapsulation Protocol, revision 3): `HEP3`, u16 total length with these six octets, then chunks:
 * u16 vendor, u16 type, u16 length with *its* six octets. Senders order chunks as they like; unknown vendors and types
 * are stepped over.
 *
 * Read in place: {@link HepFrame} holds numbers and offsets into the packet, and is filled anew for each.
 * `bench/hep.ts` guards it.
 */

/** Octets before the first chunk, and before each chunk's value. */
export const HEADER_BYTES = 6

const MAGIC = 0x4845_5033

/** What a frame carries (chunk 11). The spec's table has more; none of them gives a record. */
export const PAYLOAD = { sip: 1, rtcp: 5, rtpReport: 34, vqRtcpXr: 35, log: 100 } as const

/** Length that a chunk of the HEP3 specification must have, by its type; 0: any. */
const FIXED = new Uint8Array(20)
for (const [type, bytes] of [
  [1, 1],
  [2, 1],
  [3, 4],
  [4, 4],
  [5, 16],
  [6, 16],
  [7, 2],
  [8, 2],
  [9, 4],
  [10, 4],
  [11, 1],
  [12, 4],
] as const)
  FIXED[type] = bytes

/**
 * How long the frame is that starts here.
 * @returns 0 where the length is not there yet; -1 where no frame starts
 */
export function frameLength(bytes: Uint8Array, at: number, end: number): number {
  const there = Math.min(end - at, 4)
  for (let i = 0; i < there; i++) if (bytes[at + i] !== ((MAGIC >>> (24 - 8 * i)) & 0xff)) return -1
  if (end - at < HEADER_BYTES) return 0
  const length = (bytes[at + 4] << 8) | bytes[at + 5]
  return length < HEADER_BYTES ? -1 : length
}

/** One frame: numbers, and where in the packet the rest is. An offset of -1: there is no such chunk. */
export class HepFrame {
  /** 4 or 6; 0 where no address was given. */
  ipVersion = 0
  sourceAt = -1
  destinationAt = -1
  sourcePort = 0
  destinationPort = 0
  seconds = 0
  microseconds = 0
  kind = 0
  /** -1: none was given. */
  captureId = -1
  payloadAt = -1
  payloadEnd = -1
  /** The payload is a zlib stream (chunk 16). */
  compressed = false
  /** The password, as it was sent: in clear. */
  keyAt = -1
  keyEnd = -1
  correlationAt = -1
  correlationEnd = -1

  /**
   * Reads the frame at `at`. Of a chunk that comes twice the last counts.
   * @param end where the frame ends, by its own length
   * @returns false where a chunk is broken: its length leaves the frame, is less than its header, or is wrong for its
   * type
   */
  read(bytes: Uint8Array, at: number, end: number): boolean {
    this.ipVersion = this.sourcePort = this.destinationPort = this.seconds = this.microseconds = this.kind = 0
    this.sourceAt = this.destinationAt = this.captureId = this.payloadAt = this.payloadEnd = -1
    this.keyAt = this.keyEnd = this.correlationAt = this.correlationEnd = -1
    this.compressed = false
    let next = at + HEADER_BYTES
    while (next < end) {
      if (end - next < HEADER_BYTES) return false
      const vendor = (bytes[next] << 8) | bytes[next + 1]
      const type = (bytes[next + 2] << 8) | bytes[next + 3]
      const length = (bytes[next + 4] << 8) | bytes[next + 5]
      const value = next + HEADER_BYTES
      next += length
      if (length < HEADER_BYTES || next > end) return false
      if (vendor !== 0) continue
      if (type < FIXED.length && FIXED[type] !== 0 && FIXED[type] !== length - HEADER_BYTES) return false
      switch (type) {
        case 3:
        case 5:
          this.sourceAt = value
          this.ipVersion = type === 3 ? 4 : 6
          break
        case 4:
        case 6:
          this.destinationAt = value
          break
        case 7:
          this.sourcePort = (bytes[value] << 8) | bytes[value + 1]
          break
        case 8:
          this.destinationPort = (bytes[value] << 8) | bytes[value + 1]
          break
        case 9:
          this.seconds = u32(bytes, value)
          break
        case 10:
          this.microseconds = u32(bytes, value)
          break
        case 11:
          this.kind = bytes[value]
          break
        case 12:
          this.captureId = u32(bytes, value)
          break
        case 14:
          this.keyAt = value
          this.keyEnd = next
          break
        case 15:
        case 16:
          this.payloadAt = value
          this.payloadEnd = next
          this.compressed = type === 16
          break
        case 17:
          this.correlationAt = value
          this.correlationEnd = next
          break
      }
    }
    // An IPv4 chunk beside an IPv6 one would make an address of the wrong octets.
    return this.sourceAt < 0 || this.destinationAt < 0 || bytes[this.sourceAt - 3] === bytes[this.destinationAt - 3] - 1
  }

  /** When the packet was captured, ms since 1970; 0 where no time was given. */
  get capturedMs(): number {
    return this.seconds * 1000 + Math.floor(Math.min(this.microseconds, 999_999) / 1000)
  }

  /** The sender of the captured packet, as text; '' where it was not given. */
  sourceIp(bytes: Uint8Array): string {
    return this.sourceAt < 0 ? '' : addressText(bytes, this.sourceAt, this.ipVersion)
  }

  destinationIp(bytes: Uint8Array): string {
    return this.destinationAt < 0
      ? ''
      : addressText(bytes, this.destinationAt, bytes[this.destinationAt - 3] === 4 ? 4 : 6)
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0
}

function addressText(bytes: Uint8Array, at: number, version: number): string {
  if (version === 4) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[at + i] << 8) | bytes[at + i + 1]).toString(16))
  return groups.join(':')
}
