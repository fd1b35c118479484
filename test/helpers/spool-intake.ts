/**
 * Stands where delivery stands behind the spool: keeps what comes, commits when told to, remembers the last sequence as
 * the ledger does.
 */
import type { Reader } from '../../src/batch/batch.js'
import type { WorkItem } from '../../src/flow/work-item.js'
import type { BlockRun } from '../../src/spool/block.js'
import type { SpoolIntake, SpoolReaders } from '../../src/spool/feed.js'
import { minimisedOf } from './minimised.js'

/** An entry as it left the spool. */
export interface Fed {
  readonly source: string
  readonly format: string
  readonly reason: string
  readonly tenant: string
  readonly text: string
}

export class RecordingIntake implements SpoolIntake {
  /** Entries of committed items, in order. */
  readonly committed: Fed[] = []
  /** Items that wait for {@link commit}. */
  readonly offered: WorkItem[] = []
  readonly sequences: number[] = []
  readonly #runs = new WeakMap<object, BlockRun>()
  #made: Fed[] = []
  #waiting: (() => void)[] = []

  /** @param auto commits at once what is offered */
  constructor(
    public taken = 0,
    public auto = true,
  ) {}

  readonly readers: SpoolReaders = {
    scratchBytes: 16,
    reader: (run) => {
      const reader: Reader = { format: run.format, fill: () => 0 }
      this.#runs.set(reader, run)
      return reader
    },
  }

  lastTaken(): number {
    return this.taken
  }

  offer(item: WorkItem): Promise<void> {
    this.offered.push(item)
    if (this.auto) this.commit()
    for (const wake of this.#waiting.splice(0)) wake()
    return Promise.resolve()
  }

  /** Commits what was offered, or the first of it. */
  commit(count = Infinity): void {
    for (const item of this.offered.splice(0, count)) {
      this.#made = []
      item.minimise()
      if (item.sequence > this.taken) {
        this.committed.push(...this.#made)
        this.sequences.push(item.sequence)
        this.taken = item.sequence
      }
      item.committed()
    }
    for (const wake of this.#waiting.splice(0)) wake()
  }

  fail(): void {
    for (const item of this.offered.splice(0)) item.failed(new Error('test'))
  }

  minimiseAll: SpoolIntake['minimiseAll'] = (inputs, _, records = []) => {
    this.#made = []
    records.length = 0
    for (const { reader, arena, start } of inputs) {
      const run = this.#runs.get(reader) as BlockRun
      let from = start
      for (const end of run.ends) {
        this.#made.push({
          source: run.source,
          format: run.format,
          reason: run.reason,
          tenant: run.tenant,
          text: arena.toString('utf8', from, end),
        })
        from = end
      }
      records.push(run.ends.length)
    }
    return minimisedOf([])
  }

  /** Resolves once so many entries are committed. */
  async until(count: number): Promise<void> {
    while (this.committed.length < count)
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
  }
}
