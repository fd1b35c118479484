/** Vendor part of a MAC address: its first three octets (IEEE 802 OUI). */
import { TYPES } from '../batch/block.js'
import { BY_NOBODY, type Descriptor } from './treatment.js'
import { bare } from './written.js'

export interface MacVendor {
  readonly kind: 'mac-vendor'
}

const HEX = '0123456789ABCDEF'

/**
 * Writes the first three octets of a packed MAC. Returns the position after it; `pos` itself when the block is none.
 */
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

export const macVendor: Descriptor<MacVendor> = {
  kind: 'mac-vendor',
  rows: [
    {
      written: 'mac-vendor',
      reveals: 'the first three octets: who made the device, not which one it is',
      reversible: null,
    },
  ],
  dpv: 'Deidentification',
  spelling: 'mac-vendor',
  shows: 'less',
  examples: [{ field: 'call.mac_vendor', written: 'mac-vendor', input: '00005e005301', output: '00:00:5E' }],
  schema: () => [bare('mac-vendor')],
  fits: (_, source) => source?.identifier === 'MAC',
  read: (_, given) => (given === undefined ? { kind: 'mac-vendor' } : null),
  text: () => ({
    form: 'vendor part (first three octets)',
    reveals: 'who made the network interface',
    reversible: BY_NOBODY,
  }),
  timeStepMs: () => null,
  followsFrom: () => true,
  compile: (_, { identifier }) => ({
    shape: 'excerpt',
    slot: identifier(),
    ipv6: null,
    block: { of: writeMacVendor, constants: [] },
  }),
}
