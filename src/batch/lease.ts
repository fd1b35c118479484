/**
 * A batch that several fill in turn, and whose it is just now.
 *
 *   shared.lease() ──▶ lease ──fill──▶ batch ──spend()──▶ pipeline
 *        │
 *        └── whoever had it before has it no more, from this moment on: whether anything is filled then or not
 *
 * What a batch holds says nothing of who put it there, and a mark beside it is one that somebody forgets to clear: so
 * nobody reads the batch but by a lease, the one that was given last. A lost lease gives no records, neither others'
 * nor none: it throws, and who kept the bytes fills the batch again under a new one.
 */
import type { Batch } from './batch.js'

/** A mistake of minim's own: what was to be read is another's by now. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'

  constructor() {
    super('the lease of this batch is over: it may hold other records')
  }
}

/** Owns a batch, and gives it to one at a time. */
export class SharedBatch {
  readonly #batch: Batch
  #generation = 0

  constructor(batch: Batch) {
    this.#batch = batch
  }

  /** Leases given and ended so far: the last one given is held as long as this stays as it is. */
  get generation(): number {
    return this.#generation
  }

  /** Takes the batch from whoever has it. */
  lease(): BatchLease {
    return new BatchLease(this, this.#batch, ++this.#generation)
  }

  /** Takes the batch from whoever has it, for nobody. */
  revoke(): void {
    this.#generation++
  }
}

/** The right to a shared batch, until somebody else takes it. */
export class BatchLease {
  readonly #shared: SharedBatch
  readonly #batch: Batch
  readonly #generation: number

  /** Made by {@link SharedBatch.lease}. */
  constructor(shared: SharedBatch, batch: Batch, generation: number) {
    this.#shared = shared
    this.#batch = batch
    this.#generation = generation
  }

  /** Whether the batch is as its holder left it. */
  get held(): boolean {
    return this.#shared.generation === this.#generation
  }

  /**
   * The batch, to be filled or looked at before anything else runs.
   * @throws LeaseLost
   */
  batch(): Batch {
    if (!this.held) throw new LeaseLost()
    return this.#batch
  }

  /**
   * The batch, to be used up before anything else runs: the lease ends with this.
   * @throws LeaseLost
   */
  spend(): Batch {
    const batch = this.batch()
    this.#shared.revoke()
    return batch
  }

  /** Takes the same batch anew. */
  renew(): BatchLease {
    return this.#shared.lease()
  }
}
