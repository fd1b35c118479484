/** Vendor part of a MAC address: its first three octets (IEEE 802 OUI). */
import { TYPES } from '../batch/block.js'
import type { TreatmentInfo } from './treatment.js'

export const macVendorInfo: TreatmentInfo = {
  kind: 'mac-vendor',
  reveals: 'who made the device, not which one it is',
  reversible: false,
  examples: [{ input: '00005e005301', output: '00:00:5E' }],
}

const HEX = '0123456789ABCDEF'

/** Writes the first three octets of a packed MAC. Returns the position after it; `pos` itself when the block is none. */
export function writeMacVendor(block: Uint8Array, at: number, out: Uint8Array, pos: number): number {
  if (block[at] >> 4 !== TYPES.mac) return pos
  for (let i = 0; i < 3; i++) {
    const octet = block[at + 6 + i]
    out[pos++] = HEX.charCodeAt(octet >> 4)
    out[pos++] = HEX.charCodeAt(octet & 0xf)
    if (i < 2) out[pos++] = 58
  }
  return pos
}
