/** Network of an IP address: its leading bits, as CIDR text (RFC 4632; IPv6 as RFC 5952 writes it). */
import { writeDecimal, type TreatmentInfo } from './treatment.js'

export const ipPrefixInfo: TreatmentInfo = {
  kind: 'ip-prefix',
  reveals: 'the network, not the host',
  reversible: false,
  examples: [
    { input: '192.0.2.77', parameters: 'v4: 24, v6: 48', output: '192.0.2.0/24' },
    { input: '198.51.100.7', parameters: 'v4: 20, v6: 48', output: '198.51.96.0/20' },
    { input: '2001:db8:1234:5678::1', parameters: 'v4: 24, v6: 48', output: '2001:db8:1234::/48' },
    { input: '2001:db8::1', parameters: 'v4: 24, v6: 48', output: '2001:db8::/48' },
  ],
}

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

/** Writes the network of the IPv6 address at `src[at]`; at most 64 bits, so its longest run of zeros is the last. Returns the position after it. */
export function writeIpv6Prefix(src: Uint8Array, at: number, bits: number, out: Uint8Array, pos: number): number {
  let groups = Math.ceil(bits / 16)
  const group = (i: number): number => (masked(src[at + 2 * i], 2 * i, bits) << 8) | masked(src[at + 2 * i + 1], 2 * i + 1, bits)
  while (groups > 0 && group(groups - 1) === 0) groups--
  for (let i = 0; i < groups; i++) {
    const value = group(i)
    for (let shift = value > 0xfff ? 12 : value > 0xff ? 8 : value > 0xf ? 4 : 0; shift >= 0; shift -= 4) out[pos++] = HEX.charCodeAt((value >> shift) & 0xf)
    if (i < groups - 1) out[pos++] = 58
  }
  out[pos++] = 58
  out[pos++] = 58
  out[pos++] = 47
  return writeDecimal(bits, out, pos)
}
