/**
 * The policy that runs, and those before it that batches still need. A batch is made by the policy that ran when it was
 * made first, and by that one again each time until it is committed: half of a batch by one policy and half by another,
 * or a batch whose records are decided anew after an aborted transaction, cannot be.
 */
import type { Minimised } from '../flow/minimised.js'
import type { WorkItem } from '../flow/work-item.js'
import type { Flow } from '../ops/flows.js'
import type { Pipeline } from '../pipeline/pipeline.js'
import type { Plan } from '../policy/compile.js'

/** A policy with what makes messages by it. */
export interface Generation {
  readonly plan: Plan
  readonly pipeline: Pipeline
  readonly flows: readonly Flow[]
}

/** One batch's hold on the policy that it is made by. */
export interface Hold {
  /** Makes the batch's messages. */
  minimise(item: WorkItem, excluded: ReadonlySet<number> | undefined): Minimised
  /** The batch is committed, or given up. @returns what its policy wrote; undefined where it was never made */
  release(): readonly Flow[] | undefined
}

export class Policies {
  #current: Generation
  /** By which a batch is being made just now. */
  #acting: Generation | null = null
  /** Batches on their way, by the policy that they are made by. */
  readonly #items = new Map<Generation, number>()
  readonly #onDone: () => void

  /** @param onDone told when the last batch of a former policy is done */
  constructor(first: Generation, onDone: () => void) {
    this.#current = first
    this.#onDone = onDone
  }

  get current(): Generation {
    return this.#current
  }

  /** Those before it that batches on their way still need. */
  get former(): Generation[] {
    return [...this.#items.keys()].filter((generation) => generation !== this.#current)
  }

  /** What makes the messages of the batch that is being made. */
  get pipeline(): Pipeline {
    return (this.#acting ?? this.#current).pipeline
  }

  /** Runs from now on: for every batch that was not made yet. */
  use(next: Generation): void {
    this.#current = next
  }

  hold(): Hold {
    let generation: Generation | null = null
    return {
      minimise: (item, excluded) => {
        if (generation === null) {
          generation = this.#current
          this.#items.set(generation, (this.#items.get(generation) ?? 0) + 1)
        }
        this.#acting = generation
        try {
          return item.minimise(excluded)
        } finally {
          this.#acting = null
        }
      },
      release: () => {
        if (generation === null) return undefined
        const { flows } = generation
        this.#done(generation)
        generation = null
        return flows
      },
    }
  }

  #done(generation: Generation): void {
    const left = (this.#items.get(generation) ?? 1) - 1
    if (left > 0) this.#items.set(generation, left)
    else {
      this.#items.delete(generation)
      if (generation !== this.#current) this.#onDone()
    }
  }
}
