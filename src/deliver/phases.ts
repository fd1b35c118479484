/**
 * The phases of delivery. Each carries what it needs and nothing of the one before:
 *
 *   new ──▶ connecting ──▶ ready ◀──▶ recovering
 *             │              │            │
 *             └──────────────┴────────────┴──▶ stopping ──▶ stopped, or failed
 */
import type { MinimError } from '../errors/catalogue.js'
import type { Hold } from './hold.js'
import type { DeliveryPhase, DeliveryState } from './options.js'
import type { Turns } from './turns.js'

export type Phase =
  | { readonly name: 'new' }
  /** The shard is being taken: for the first time, or again. `error` is why the last attempt failed. */
  | { readonly name: 'connecting' | 'recovering'; readonly error: MinimError | null }
  /** Batches are taken and committed. There is no hold to watch where nobody else can take the shard. */
  | { readonly name: 'ready'; readonly turns: Turns; readonly hold: Hold | null }
  /** Nothing is taken any more. `error` is what was in the way when it was told to stop. */
  | { readonly name: 'stopping' | 'stopped'; readonly error: MinimError | null }
  | { readonly name: 'failed'; readonly error: MinimError }

export class Phases {
  #current: Phase = { name: 'new' }
  readonly #onPhase: (phase: DeliveryPhase) => void

  constructor(onPhase: (phase: DeliveryPhase) => void) {
    this.#onPhase = onPhase
  }

  get current(): Phase {
    return this.#current
  }

  get error(): MinimError | null {
    return 'error' in this.#current ? this.#current.error : null
  }

  get state(): Omit<DeliveryState, 'outage'> {
    const { name } = this.#current
    return { phase: name, ready: name === 'ready', error: this.error }
  }

  /** The turns of now; null while there are no lanes. */
  get turns(): Turns | null {
    return this.#current.name === 'ready' ? this.#current.turns : null
  }

  hasEnded(): boolean {
    const { name } = this.#current
    return name === 'stopping' || name === 'stopped' || name === 'failed'
  }

  /** Goes on to the next phase. What watched the one before ends with it. */
  enter(next: Phase): void {
    const before = this.#current
    this.#current = next
    if (before.name === 'ready') before.hold?.stop()
    if (before.name !== next.name) this.#onPhase(next.name)
  }
}
