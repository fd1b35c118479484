/** Who may send: networks out of settings. */
import { BlockList, isIPv6 } from 'node:net'
import type { Allowed, AllowedNetwork } from './authorise.js'
import { EVERYBODY, networkOf, networkText } from './networks.js'

/** A list of networks; an empty one has nobody in it. */
export class Networks {
  readonly #list = new BlockList()
  /** Of each entry, the narrowest first; empty where no entry limits what its senders may use. */
  readonly #entries: readonly { readonly place: number; readonly list: BlockList }[]
  /** Everybody is in it, without limits, and nobody need be looked for. */
  readonly everybody: boolean

  /** @param allow addresses, or networks in CIDR notation, which the settings' check has found well-formed */
  constructor(allow: readonly Allowed[]) {
    const networks = allow.map(networkText)
    const limited = allow.some(isLimited)
    this.everybody = !limited && EVERYBODY.every((network) => networks.includes(network))
    const entries = networks.flatMap((text, place) => {
      const network = networkOf(text)
      if (network === null) return []
      this.#list.addSubnet(network.address, network.prefix, network.family)
      const list = new BlockList()
      list.addSubnet(network.address, network.prefix, network.family)
      return [{ place, list, prefix: network.prefix }]
    })
    this.#entries = limited ? entries.sort((a, b) => b.prefix - a.prefix) : []
  }

  /** Whether an address, as {@link plainAddress} gives it, is in one of them. */
  has(address: string): boolean {
    return this.everybody || this.#list.check(address, familyOf(address))
  }

  /** Which entry's limits an address has: the narrowest that it is in. The first, where there are no limits. */
  place(address: string): number {
    for (const { place, list } of this.#entries) if (list.check(address, familyOf(address))) return place
    return 0
  }
}

/** Whether an entry of `allow` says more than who may send. */
export function isLimited(entry: Allowed): entry is AllowedNetwork {
  return typeof entry !== 'string' && (entry.tenants !== undefined || entry.captureIds !== undefined)
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4'
}

/** An address as sockets give it: IPv4 seen by an IPv6 socket (RFC 4291 §2.5.5.2) as IPv4, no zone. */
export function plainAddress(address: string): string {
  const zone = address.indexOf('%')
  const bare = zone < 0 ? address : address.slice(0, zone)
  return /^::ffff:\d{1,3}(?:\.\d{1,3}){3}$/i.test(bare) ? bare.slice(7) : bare
}
