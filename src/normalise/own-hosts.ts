/**
 * Hosts whose users are a tenant's own, so that `1001@pbx.example` is its extension 1001: the domains, addresses and
 * networks of the settings, this machine, and private networks (RFC 1918, RFC 4193, link-local), where no stranger is.
 * 1001 at any other host is somebody else.
 */
import { BlockList, isIP, isIPv6 } from 'node:net'

const PRIVATE_NETWORKS: readonly (readonly [address: string, prefix: number])[] = [
  ['10.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['::1', 128],
  ['fc00::', 7],
  ['fe80::', 10],
]

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4'
}

/** A host in one spelling: a name in small letters without the root's dot, an address as RFC 5952 writes it. */
export function plainHost(host: string): string {
  const lower = host.toLowerCase().replace(/\.$/, '').replace(/%.*$/, '')
  if (!isIPv6(lower)) return lower
  const plain = new URL(`http://[${lower}]/`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(plain)
  if (mapped === null) return plain
  const [high, low] = mapped.slice(1).map((group) => parseInt(group, 16))
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
}

export class OwnHosts {
  readonly #names = new Set(['localhost'])
  readonly #networks = new BlockList()
  readonly #anyAddress: boolean

  /**
   * @param domains names, addresses, and networks as 192.0.2.0/24
   * @param anyAddress whether every address is the tenant's own
   */
  constructor(domains: readonly string[], anyAddress: boolean) {
    this.#anyAddress = anyAddress
    for (const [address, prefix] of PRIVATE_NETWORKS) this.#networks.addSubnet(address, prefix, familyOf(address))
    for (const domain of domains) {
      const [address, bits] = domain.split('/')
      if (isIP(address) === 0) this.#names.add(plainHost(domain))
      else if (bits === undefined) this.#networks.addAddress(address, familyOf(address))
      else this.#networks.addSubnet(address, Number(bits), familyOf(address))
    }
  }

  /** @param host as {@link plainHost} gives it */
  has(host: string): boolean {
    return isIP(host) === 0 ? this.#names.has(host) : this.#anyAddress || this.#networks.check(host, familyOf(host))
  }
}
