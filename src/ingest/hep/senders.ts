/** Who may send, and how much: by address. */
import type { Allowed } from '../../settings/authorise.js'
import { Networks, plainAddress } from '../networks.js'

/** Addresses that are remembered; UDP's can be made up, so the oldest leave. */
const MAX_SENDERS = 16_384

interface Sender {
  readonly allowed: boolean
  /** Place in the list of networks of the one whose limits it has. */
  readonly place: number
  /** Packets that it may still send in the second that began at `since`. */
  left: number
  since: number
}

export class Senders {
  readonly #networks: Networks
  readonly #ratePerSecond: number
  readonly #senders = new Map<string, Sender>()
  #last: Sender | null = null
  #lastAddress = ''

  /** @param allow networks @param ratePerSecond packets of one address, 0: as many as come */
  constructor(allow: readonly Allowed[], ratePerSecond: number) {
    this.#ratePerSecond = ratePerSecond
    this.#networks = new Networks(allow)
  }

  /** Whether this address may send at all. */
  allows(address: string): boolean {
    return this.#networks.everybody || this.#of(address).allowed
  }

  /** Which of the networks' limits an address has that may send. */
  place(address: string): number {
    if (this.#networks.everybody) return 0
    return address === this.#lastAddress && this.#last !== null ? this.#last.place : this.#of(address).place
  }

  /** Takes one packet of this address. */
  take(address: string, now: number): 'taken' | 'rate' | 'unauthorised' {
    if (this.#networks.everybody && this.#ratePerSecond === 0) return 'taken'
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
      const plain = plainAddress(address)
      sender = { allowed: this.#networks.has(plain), place: this.#networks.place(plain), left: this.#ratePerSecond, since: -Infinity }
      this.#senders.set(address, sender)
      if (this.#senders.size > MAX_SENDERS) {
        const oldest = this.#senders.keys().next()
        if (oldest.done !== true) this.#senders.delete(oldest.value)
      }
    }
    return sender
  }
}
