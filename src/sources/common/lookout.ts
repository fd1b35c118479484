/**
 * When a file is to be looked at again: after a while, or sooner when the system says that its folder has changed.
 * Nothing depends on the hints: where there are none, the looks come at their intervals.
 */
import { type FSWatcher, watch } from 'node:fs'
import path from 'node:path'

/** Hints come in swarms: a busy file is looked at so often at most. */
const HINT_MS = 20

export class Lookout {
  readonly #path: string
  readonly #signal: AbortSignal
  #hinted = false
  #wake: (() => void) | null = null
  #watcher: FSWatcher | null = null

  constructor(path: string, signal: AbortSignal) {
    this.#path = path
    this.#signal = signal
    signal.addEventListener(
      'abort',
      () => {
        this.#hint()
      },
      { once: true },
    )
  }

  /** Asks for hints, if there are none yet. */
  watch(): void {
    if (this.#watcher !== null || this.#signal.aborted) return
    const base = path.basename(this.#path)
    try {
      const watcher = watch(path.dirname(this.#path), { persistent: false }, (_, name) => {
        if (name === null || name === base) this.#hint()
      })
      watcher.on('error', () => {
        watcher.close()
        if (this.#watcher === watcher) this.#watcher = null
      })
      this.#watcher = watcher
    } catch {
      // No folder yet, or no watches left.
      this.#watcher = null
    }
  }

  close(): void {
    this.#watcher?.close()
  }

  /** Waits for so long, or for a hint; not at all once the signal came. */
  async pause(ms: number): Promise<void> {
    if (!this.#hinted && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
    const hinted = this.#hinted
    this.#hinted = false
    if (hinted && !this.#signal.aborted)
      await new Promise((resolve) => {
        setTimeout(resolve, Math.min(HINT_MS, ms))
      })
  }

  #hint(): void {
    this.#hinted = true
    this.#wake?.()
  }
}
