/** Who may send, and how much: by address. */
import { MAX_SENDERS, RateLimit } from '../../base/rate-limit.js'
import type { Allowed } from '../../sections/authorise.js'
import { Networks, plainAddress } from '../../sections/network-list.js'

/** Place of an address that may not send. */
const NOWHERE = -1

export class Senders {
  readonly #networks: Networks
  readonly #rates: RateLimit
  /**
   * Of each, the place in the list of networks of the one whose limits it has. UDP's addresses can be made up, so the
   * oldest leave.
   */
  readonly #places = new Map<string, number>()
  #lastAddress: string | null = null
  #lastPlace = NOWHERE

  /** @param allow networks @param ratePerSecond packets of one address, 0: as many as come */
  constructor(allow: readonly Allowed[], ratePerSecond: number) {
    this.#rates = new RateLimit(ratePerSecond)
    this.#networks = new Networks(allow)
  }

  /** Whether this address may send at all. */
  allows(address: string): boolean {
    return this.#placeOf(address) !== NOWHERE
  }

  /**
   * Which of the networks' limits an address has that may send; of one that may not, the first's: nothing of it is
   * taken.
   */
  place(address: string): number {
    return Math.max(0, this.#placeOf(address))
  }

  /** Takes one packet of this address. */
  take(address: string, now: number): 'taken' | 'rate' | 'unauthorised' {
    if (!this.allows(address)) return 'unauthorised'
    return this.#rates.take(address, now) ? 'taken' : 'rate'
  }

  #placeOf(address: string): number {
    if (this.#networks.everybody) return 0
    // They come in trains from the same one.
    if (address === this.#lastAddress) return this.#lastPlace
    let place = this.#places.get(address)
    if (place === undefined) {
      const plain = plainAddress(address)
      place = this.#networks.has(plain) ? this.#networks.place(plain) : NOWHERE
      this.#places.set(address, place)
      if (this.#places.size > MAX_SENDERS) {
        const oldest = this.#places.keys().next()
        if (oldest.done !== true) this.#places.delete(oldest.value)
      }
    }
    this.#lastAddress = address
    this.#lastPlace = place
    return place
  }
}
