/** Batches that wait for a transaction, in the order of their offers, and those who wait until there are none. */
import type { Entry } from './entry.js'

export class Queue {
  #entries: Entry[] = []
  #drains: (() => void)[] = []
  readonly #counters: { waitingItems: number }

  /** @param counters kept at how many there are */
  constructor(counters: { waitingItems: number }) {
    this.#counters = counters
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  /** Whether somebody waits for the end: then nobody waits for more batches to come. */
  get isDraining(): boolean {
    return this.#drains.length > 0
  }

  push(entry: Entry): void {
    this.#entries.push(entry)
    this.#count()
  }

  /** The next one; undefined when there is none. */
  shift(): Entry | undefined {
    const entry = this.#entries.shift()
    this.#count()
    return entry
  }

  /** All of them: none is left. */
  takeAll(): Entry[] {
    const entries = this.#entries
    this.#entries = []
    this.#count()
    return entries
  }

  /** Puts back what was taken out. */
  fill(entries: Entry[]): void {
    this.#entries = entries
    this.#count()
  }

  /** Resolves at the next {@link drained}. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drains.push(resolve)
    })
  }

  /** Nothing waits, and nothing is in a transaction. */
  drained(): void {
    for (const resolve of this.#drains.splice(0)) resolve()
  }

  #count(): void {
    this.#counters.waitingItems = this.#entries.length
  }
}
