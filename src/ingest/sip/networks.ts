/** Who may send: networks out of settings. */
import { BlockList, isIP } from 'node:net'

/** A list of networks; an empty one has nobody in it. */
export class Networks {
  readonly #list = new BlockList()

  /** @param networks addresses, or networks in CIDR notation, which the settings' check has found well-formed */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [host, bits] = network.split('/')
      const family = isIP(host) === 6 ? 'ipv6' : 'ipv4'
      if (bits === undefined) this.#list.addAddress(host, family)
      else this.#list.addSubnet(host, Number(bits), family)
    }
  }

  /** Whether an address is in one of them. */
  has(address: string): boolean {
    return this.#list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
}

/** An address as sockets give it: IPv4 seen by an IPv6 socket (RFC 4291 §2.5.5.2) as IPv4, no zone. */
export function plainAddress(address: string): string {
  const zone = address.indexOf('%')
  const bare = zone < 0 ? address : address.slice(0, zone)
  return /^::ffff:\d{1,3}(?:\.\d{1,3}){3}$/i.test(bare) ? bare.slice(7) : bare
}
