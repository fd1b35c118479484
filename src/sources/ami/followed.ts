/** Things that are followed for a while: the least recently touched makes room, and what nothing came for is over. */

interface Entry<V> {
  readonly value: V
  touchedAt: number
}

export class Followed<V> {
  readonly #entries = new Map<string, Entry<V>>()

  /**
   * @param max kept at once
   * @param idleMs after which a value is over
   * @param onOver called with each value that goes; `pushed` for one that had to make room
   */
  constructor(
    readonly max: number,
    readonly idleMs: number,
    readonly onOver: (value: V, key: string, pushed: boolean) => void,
  ) {}

  get size(): number {
    return this.#entries.size
  }

  peek(key: string): V | undefined {
    return this.#entries.get(key)?.value
  }

  /** The value of a key, made where there is none; it counts as touched now. */
  touch(key: string, now: number, make: () => V): V {
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      if (this.#entries.size >= this.max) this.#pushOldest()
      entry = { value: make(), touchedAt: now }
    } else {
      this.#entries.delete(key)
      entry.touchedAt = now
    }
    this.#entries.set(key, entry)
    return entry.value
  }

  /** Ends one now. */
  end(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.onOver(entry.value, key, false)
  }

  /**
   * Ends what has been idle too long. The order of the map is that of touching, so it stops at the first that is not.
   */
  sweep(now: number): void {
    for (const [key, entry] of this.#entries) {
      if (now - entry.touchedAt < this.idleMs) return
      this.end(key)
    }
  }

  endAll(): void {
    for (const key of [...this.#entries.keys()]) this.end(key)
  }

  #pushOldest(): void {
    for (const [key, entry] of this.#entries) {
      this.#entries.delete(key)
      this.onOver(entry.value, key, true)
      return
    }
  }
}
