/**
 * The spool's feed: its blocks become work items of delivery, in their order, as soon as they are on disk.
 *
 * What was just written comes from memory; the rest is read from disk and opened. A block that cannot be opened is
 * counted, moved aside, and does not hold up the others.
 */
import { Backoff } from '../base/backoff.js'
import type { Reader } from '../batch/batch.js'
import { MinimError } from '../errors/catalogue.js'
import type { SpoolCounters } from '../flow/counters.js'
import type { Input } from '../flow/input.js'
import type { Intake } from '../flow/intake.js'
import type { Minimised } from '../flow/minimised.js'
import type { SourceId, WorkItem } from '../flow/work-item.js'
import { type BlockRun, decodeBlock, openBlock, sealedAt } from './block.js'
import { type DayKeys, dayOf } from './day-keys.js'
import type { Kept, KeptBlocks, Progress } from './progress.js'
import { RETRY_MAX_MS, RETRY_MIN_MS } from './retry.js'
import type { SpoolStore, SpoolTables } from './store.js'
import { BLOCK_BYTES } from './writer.js'

const READ_AHEAD = 32

/** What the spool feeds its blocks to. */
export interface SpoolIntake extends Pick<Intake, 'lastTaken' | 'offer'> {
  /**
   * Runs the pipeline over several inputs as one.
   * @param records told how many records each input had
   */
  minimiseAll(inputs: readonly Input[], excluded?: ReadonlySet<number>, records?: number[]): Minimised
}

/** How entries are read again. */
export interface SpoolReaders {
  /** The reader of a run of entries, which end at `ends`. */
  readonly reader: (run: BlockRun) => Reader
  /**
   * How many records a run of a block has that was read from disk; NaN where only reading them tells. Left out: never
   * known.
   */
  readonly count?: (run: BlockRun, block: Buffer) => number
  /** Bytes that readers need behind a block. */
  readonly scratchBytes: number
}

/** What becomes one work item. */
interface Gathered {
  readonly inputs: readonly Input[]
  readonly sources: readonly string[]
  readonly bytes: number
  /** NaN where that is not known. */
  readonly records: number
  readonly last: number
  readonly receivedAt: number
}

export interface FeedOptions {
  /** The spool's stream in the ledger. */
  readonly id: SourceId
  readonly store: SpoolStore
  readonly progress: Progress
  readonly kept: KeptBlocks
  readonly keys: DayKeys
  readonly counters: SpoolCounters | null
  /** Told of each block that cannot be read. */
  readonly onTrouble: (error: MinimError) => void
  /** There is something to delete, or to move aside. */
  readonly onDone: () => void
}

export class SpoolFeed {
  readonly #options: FeedOptions
  #feeding: Promise<void> | null = null
  #stopped = false
  /** A read on another thread. */
  #prefetching: Promise<void> = Promise.resolve()
  #wake: (() => void) | null = null

  constructor(options: FeedOptions) {
    this.#options = options
  }

  start(intake: SpoolIntake, readers: SpoolReaders): void {
    if (this.#feeding !== null) throw new Error('the spool is being fed already')
    this.#stopped = false
    this.#feeding = this.#feed(intake, readers)
  }

  /** Hands nothing more to delivery. What it has is not waited for. */
  stop(): void {
    this.#stopped = true
    this.wake()
  }

  /** There may be more to feed. */
  wake(): void {
    this.#wake?.()
  }

  /** Resolves when it has stopped. */
  async ended(): Promise<void> {
    await this.#feeding
  }

  /** Resolves when nothing is read on another thread. */
  async untilUnread(): Promise<void> {
    await this.#prefetching
  }

  async #feed(intake: SpoolIntake, readers: SpoolReaders): Promise<void> {
    const { store, progress } = this.#options
    let next = Math.max(progress.deleted, progress.committed) + 1
    let outstanding = 0
    let failedAt = Infinity
    const retry = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS)
    const wait = (ms?: number): Promise<void> =>
      new Promise((resolve) => {
        const timer = ms === undefined ? undefined : setTimeout(() => this.#wake?.(), ms)
        this.#wake = () => {
          clearTimeout(timer)
          this.#wake = null
          resolve()
        }
      })
    while (!this.#stopped) {
      if (failedAt < Infinity) {
        // Delivery takes nothing of the stream until the first that failed comes again.
        const retryMs = retry.next()
        while (outstanding > 0 && !this.#stopped) await wait(retryMs)
        if (!this.#stopped) await wait(retryMs)
        next = Math.min(failedAt, next)
        failedAt = Infinity
        continue
      }
      if (next > progress.stored || store.tables === null) {
        await wait()
        continue
      }
      const gathered = await this.#gather(next, readers)
      if (gathered === null) continue
      const first = next
      next = gathered.last + 1
      if (gathered.inputs.length === 0) continue
      outstanding++
      await intake.offer(
        this.#item(gathered, intake, (failed) => {
          outstanding--
          if (failed) failedAt = Math.min(failedAt, first)
          else retry.reset()
          if (failed || outstanding === 0) this.#wake?.()
        }),
      )
    }
  }

  /** Reads blocks from a sequence on, as many as make one item. null: the store is closed just now. */
  async #gather(from: number, readers: SpoolReaders): Promise<Gathered | null> {
    const { progress, kept } = this.#options
    const inputs: Input[] = []
    const sources: string[] = []
    let bytes = 0
    let records = 0
    let last = from - 1
    let receivedAt = performance.now()
    for (let sequence = from; sequence <= progress.stored; sequence++) {
      const block =
        kept.get(sequence) ?? (await this.#fromDisk(sequence, (sequence - from) % READ_AHEAD === 0, readers))
      if (block === 'closed') return null
      if (block === null) {
        last = sequence
        continue
      }
      if (bytes > 0 && bytes + block.plain.length > BLOCK_BYTES) break
      kept.drop(sequence)
      bytes += block.plain.length
      records += block.records
      receivedAt = Math.min(receivedAt, block.receivedAt)
      last = sequence
      for (const run of decodeBlock(block.plain) ?? []) {
        inputs.push(inputOf(block.plain, run, readers))
        sources.push(run.source)
      }
    }
    return { inputs, sources, bytes, records, last, receivedAt }
  }

  /**
   * A block that is not in memory any more.
   * @param ahead those behind it are read as well, from a disk that is slow to answer, not on this thread
   * @returns null: it is not there, or damaged, which is seen to
   */
  async #fromDisk(sequence: number, ahead: boolean, { count }: SpoolReaders): Promise<Kept | 'closed' | null> {
    const { store, progress } = this.#options
    const { tables } = store
    if (tables === null) return 'closed'
    if (ahead) {
      const left = Math.min(READ_AHEAD, progress.stored - sequence + 1)
      this.#prefetching = tables.blocks.prefetch(Array.from({ length: left }, (_, i) => sequence + i))
      await this.#prefetching
      if (store.tables !== tables) return 'closed'
    }
    const plain = this.#open(tables, sequence)
    if (plain === null) return null
    const runs = decodeBlock(plain) ?? []
    return {
      plain,
      records: runs.reduce((sum, run) => sum + (count?.(run, plain) ?? NaN), 0),
      receivedAt: performance.now(),
    }
  }

  /** Opens one block. null: it is not there, or damaged, which is seen to. */
  #open(tables: SpoolTables, sequence: number): Buffer | null {
    const { keys, store, counters, progress, onTrouble, onDone } = this.#options
    let sealed: Buffer | undefined
    let what = 'it is not what was written'
    try {
      sealed = tables.blocks.get(sequence)
      if (sealed === undefined) return null
    } catch {
      what = 'it cannot be read'
    }
    if (sealed !== undefined) {
      const at = sealedAt(sealed)
      const dayKeys = at === null ? null : keys.of(dayOf(at))
      if (at !== null && dayKeys === null) what = 'the key of its day was destroyed'
      const plain = dayKeys === null ? null : openBlock(dayKeys, { spool: store.uuid, sequence }, sealed)
      if (plain !== null && decodeBlock(plain) !== null) return plain
    }
    counters?.damaged()
    onTrouble(new MinimError('MINIM_SPOOL_DAMAGED', { sequence, what }))
    progress.damaged.push(sequence)
    onDone()
    return null
  }

  #item(
    { inputs, sources, bytes, records, last, receivedAt }: Gathered,
    intake: SpoolIntake,
    done: (failed: boolean) => void,
  ): WorkItem {
    const { id, progress, onDone } = this.#options
    const found: number[] = []
    return {
      id,
      sequence: last,
      bytes,
      receivedAt,
      ...(Number.isNaN(records) ? {} : { records }),
      minimise: (excluded) => intake.minimiseAll(inputs, excluded, found),
      received: () => {
        const bySource = new Map<string, number>()
        found.forEach((count, i) => bySource.set(sources[i], (bySource.get(sources[i]) ?? 0) + count))
        return bySource
      },
      committed: () => {
        progress.committed = Math.max(progress.committed, last)
        onDone()
        done(false)
      },
      failed: () => {
        done(true)
      },
    }
  }
}

/** A run of a block's entries, to be read where it lies, or in a copy where its text needs room behind it. */
function inputOf(plain: Buffer, run: BlockRun, { reader, scratchBytes }: SpoolReaders): Input {
  let arena = plain
  let { start, ends } = run
  const end = ends[ends.length - 1]
  if (run.format.startsWith('jsonl')) {
    // Text is unescaped behind the input.
    arena = Buffer.allocUnsafe(end - start + scratchBytes)
    plain.copy(arena, 0, start, end)
    ends = ends.map((at) => at - start)
    start = 0
  }
  const stop = ends[ends.length - 1]
  return {
    reader: reader({ ...run, start, ends }),
    arena,
    start,
    end: stop,
    scratchStart: arena === plain ? arena.length : stop,
    last: true,
    tenant: run.tenant,
  }
}
