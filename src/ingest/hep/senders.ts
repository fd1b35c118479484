/** Who may send, and how much: by address. */
import { BlockList } from 'node:net'
import { networkOf } from '../../settings/sources/hep.js'

/** Addresses that are remembered; UDP's can be made up, so the oldest leave. */
const MAX_SENDERS = 16_384

interface Sender {
  readonly allowed: boolean
  /** Packets that it may still send in the second that began at `since`. */
  left: number
  since: number
}

export class Senders {
  readonly #networks: BlockList | null
  readonly #ratePerSecond: number
  readonly #senders = new Map<string, Sender>()
  #last: Sender | null = null
  #lastAddress = ''

  /** @param allow networks; empty: everybody @param ratePerSecond packets of one address, 0: as many as come */
  constructor(allow: readonly string[], ratePerSecond: number) {
    this.#ratePerSecond = ratePerSecond
    this.#networks = allow.length === 0 ? null : new BlockList()
    for (const text of allow) {
      const network = networkOf(text)
      if (network !== null) this.#networks?.addSubnet(network.address, network.prefix, network.family)
    }
  }

  /** Whether this address may send at all. */
  allows(address: string): boolean {
    return this.#networks === null || this.#of(address).allowed
  }

  /** Takes one packet of this address. */
  take(address: string, now: number): 'taken' | 'rate' | 'unauthorised' {
    if (this.#networks === null && this.#ratePerSecond === 0) return 'taken'
    // They come in trains from the same one.
    const sender = address === this.#lastAddress && this.#last !== null ? this.#last : this.#of(address)
    this.#last = sender
    this.#lastAddress = address
    if (!sender.allowed) return 'unauthorised'
    if (this.#ratePerSecond === 0) return 'taken'
    if (now - sender.since >= 1000) {
      sender.since = now
      sender.left = this.#ratePerSecond
    }
    return sender.left-- > 0 ? 'taken' : 'rate'
  }

  #of(address: string): Sender {
    let sender = this.#senders.get(address)
    if (sender === undefined) {
      const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
      sender = { allowed: this.#networks === null || this.#networks.check(plain, plain.includes(':') ? 'ipv6' : 'ipv4'), left: this.#ratePerSecond, since: -Infinity }
      this.#senders.set(address, sender)
      if (this.#senders.size > MAX_SENDERS) {
        const oldest = this.#senders.keys().next()
        if (oldest.done !== true) this.#senders.delete(oldest.value)
      }
    }
    return sender
  }
}
