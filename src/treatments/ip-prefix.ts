/** Network of an IP address: its leading bits, as CIDR text (RFC 4632; IPv6 as RFC 5952 writes it). */
import { Type } from '@sinclair/typebox'
import { BLOCK_PAYLOAD } from '../batch/block.js'
import { BY_NOBODY, type Descriptor, writeDecimal } from './treatment.js'
import { only, parameters, under, whole } from './written.js'

/** Network of an address, with so many leading bits kept. */
export interface IpPrefix {
  readonly kind: 'ip-prefix'
  readonly v4: number
  readonly v6: number
}

/** Bits that may pass: beyond the longest a network is one household or one host. */
const V4 = { minimum: 8, maximum: 24 } as const
const V6 = { minimum: 16, maximum: 48 } as const

function masked(byte: number, index: number, bits: number): number {
  const kept = bits - index * 8
  return kept >= 8 ? byte : kept <= 0 ? 0 : byte & (0xff << (8 - kept))
}

/** Writes the network of the IPv4 address at `src[at]`. Returns the position after it. */
export function writeIpv4Prefix(src: Uint8Array, at: number, bits: number, out: Uint8Array, pos: number): number {
  for (let i = 0; i < 4; i++) {
    pos = writeDecimal(masked(src[at + i], i, bits), out, pos)
    out[pos++] = i < 3 ? 46 : 47
  }
  return writeDecimal(bits, out, pos)
}

const HEX = '0123456789abcdef'

/**
 * Writes the network of the IPv6 address at `src[at]`; at most 64 bits, so its longest run of zeros is the last.
 * Returns the position after it.
 */
export function writeIpv6Prefix(src: Uint8Array, at: number, bits: number, out: Uint8Array, pos: number): number {
  let groups = Math.ceil(bits / 16)
  const group = (i: number): number =>
    (masked(src[at + 2 * i], 2 * i, bits) << 8) | masked(src[at + 2 * i + 1], 2 * i + 1, bits)
  while (groups > 0 && group(groups - 1) === 0) groups--
  for (let i = 0; i < groups; i++) {
    const value = group(i)
    const highest = value > 0xfff ? 12 : value > 0xff ? 8 : value > 0xf ? 4 : 0
    for (let shift = highest; shift >= 0; shift -= 4) out[pos++] = HEX.charCodeAt((value >> shift) & 0xf)
    if (i < groups - 1) out[pos++] = 58
  }
  out[pos++] = 58
  out[pos++] = 58
  out[pos++] = 47
  return writeDecimal(bits, out, pos)
}

/** Writes the network of the packed IPv4 address at `blocks[at]`. */
function writeIpv4BlockPrefix(blocks: Uint8Array, at: number, bits: number, out: Uint8Array, pos: number): number {
  return writeIpv4Prefix(blocks, at + BLOCK_PAYLOAD, bits, out, pos)
}

export const ipPrefix: Descriptor<IpPrefix> = {
  kind: 'ip-prefix',
  rows: [{ written: 'ip-prefix', reveals: 'the network, not the host', reversible: null }],
  dpv: 'Deidentification',
  spelling: `{ ip-prefix: { v4: ${V4.minimum} to ${V4.maximum}, v6: ${V6.minimum} to ${V6.maximum} } }`,
  shows: 'less',
  examples: [
    {
      field: 'call.source_network',
      written: { 'ip-prefix': { v4: 24, v6: 48 } },
      input: '192.0.2.77',
      output: '192.0.2.0/24',
    },
    {
      field: 'call.source_network',
      written: { 'ip-prefix': { v4: 20, v6: 48 } },
      input: '198.51.100.7',
      output: '198.51.96.0/20',
    },
    {
      field: 'call.source_network',
      written: { 'ip-prefix': { v4: 24, v6: 48 } },
      input: '2001:db8:1:2::1',
      output: '2001:db8:1::/48',
    },
    {
      field: 'quality.remote_network',
      written: { 'ip-prefix': { v4: 24, v6: 48 } },
      input: '2001:db8::1',
      output: '2001:db8::/48',
    },
  ],
  schema: () => [under('ip-prefix', parameters({ v4: Type.Integer(V4), v6: Type.Integer(V6) }))],
  fits: (_, source) => source?.identifier === 'IP',
  read: (_, given) => {
    const bits = only(given, ['v4', 'v6'])
    if (bits === null) return null
    const { v4, v6 } = bits
    return whole(v4, V4.minimum, V4.maximum) && whole(v6, V6.minimum, V6.maximum) ? { kind: 'ip-prefix', v4, v6 } : null
  },
  text: ({ v4, v6 }) => ({
    form: `network, /${v4} or /${v6}`,
    reveals: 'the network of the address, not the host',
    reversible: BY_NOBODY,
  }),
  timeStepMs: () => null,
  followsFrom: (one, other) => one.v4 <= other.v4 && one.v6 <= other.v6,
  compile: ({ v4, v6 }, { identifier }) => ({
    shape: 'excerpt',
    slot: identifier(),
    block: { of: writeIpv4BlockPrefix, constants: [v4] },
    ipv6: { of: writeIpv6Prefix, constants: [v6] },
  }),
}
