/** Who may send: networks out of settings. */
import { BlockList, isIPv6 } from 'node:net'
import { EVERYBODY, networkOf } from '../settings/networks.js'

/** A list of networks; an empty one has nobody in it. */
export class Networks {
  readonly #list = new BlockList()
  /** Everybody is in it, and nobody need be looked for. */
  readonly everybody: boolean

  /** @param networks addresses, or networks in CIDR notation, which the settings' check has found well-formed */
  constructor(networks: readonly string[]) {
    this.everybody = EVERYBODY.every((network) => networks.includes(network))
    for (const text of networks) {
      const network = networkOf(text)
      if (network !== null) this.#list.addSubnet(network.address, network.prefix, network.family)
    }
  }

  /** Whether an address, as {@link plainAddress} gives it, is in one of them. */
  has(address: string): boolean {
    return this.everybody || this.#list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
  }
}

/** An address as sockets give it: IPv4 seen by an IPv6 socket (RFC 4291 §2.5.5.2) as IPv4, no zone. */
export function plainAddress(address: string): string {
  const zone = address.indexOf('%')
  const bare = zone < 0 ? address : address.slice(0, zone)
  return /^::ffff:\d{1,3}(?:\.\d{1,3}){3}$/i.test(bare) ? bare.slice(7) : bare
}
