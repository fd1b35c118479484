/**
 * The spool's writer: what is put waits, and becomes one block for each write; what Kafka has is deleted along with it.
 *
 * - **Group commit.** What is put while a write is under way becomes the next block: one encryption, one flush for all
 *   of it.
 * - **A write that fails** is answered with an error and leaves nothing behind: where the disk may have kept it all the
 *   same, it is taken out before anything else is written. Until a trial write succeeds, everything is refused.
 */
import { Backoff } from '../base/backoff.js'
import { MinimError } from '../errors/catalogue.js'
import type { SpoolCounters } from '../flow/counters.js'
import type { PutOutcome } from '../flow/source.js'
import { type BlockEntry, encodeBlock, SEAL_BYTES, sealBlock } from './block.js'
import { type DayKeys, dayOf } from './day-keys.js'
import type { KeptBlocks, Progress } from './progress.js'
import { RETRY_MAX_MS, RETRY_MIN_MS } from './retry.js'
import type { SeenName } from './seen.js'
import { type Known, reviseSpans, type SeenTable } from './seen-table.js'
import type { SpoolStore, SpoolTables } from './store.js'

/** A block takes no more entries from here on. */
export const BLOCK_BYTES = 256 * 1024
/** Records that wait for the disk: beyond this it is slower than what comes in. */
const WAITING_BYTES = 32 * 1024 * 1024
/** Rows deleted by one write: it holds the lock, and this thread. */
const DELETES = 1000
/** Deleting alone does not hurry: with luck a put takes it along. */
const DELETE_AFTER_MS = 50
/**
 * A spool that was full has room to speak of when so much of it is free: else a slow Kafka, which takes one block as
 * another comes, would make it full and not full many times a second.
 */
const FREE_SHARE = 0.1
/** What had no room must have it then too, but no more of the spool than this is waited for. */
const MAX_FREE_SHARE = 0.25
/** Room of the store's own: roots, free list. */
const STORE_BYTES = 256 * 1024

/** What is put, until it is answered. */
export interface Pending extends BlockEntry {
  readonly name: SeenName | null
  readonly bytes: Buffer
  readonly size: number
  /** As its source counts them; NaN where it has not. */
  readonly records: number
  readonly putAt: number
  readonly resolve: (outcome: PutOutcome) => void
  readonly reject: (error: MinimError) => void
}

/** What one write did. */
interface Written {
  readonly block: {
    readonly sequence: number
    readonly plain: Buffer
    readonly records: number
    readonly sealedAt: number
  } | null
  /** Of those that were not stored. */
  readonly known: ReadonlyMap<Pending, Known>
  readonly deletedTo: number
  readonly moved: readonly number[]
  readonly swept: boolean
  /** The table's spans are others now: its new revision. */
  readonly revision: string | null
}

export interface WriterOptions {
  readonly store: SpoolStore
  readonly progress: Progress
  readonly kept: KeptBlocks
  readonly keys: DayKeys
  readonly seen: SeenTable
  readonly maxBytes: number
  readonly now: () => number
  readonly counters: SpoolCounters | null
  /** Blocks have come to be on disk, or can be read again. */
  readonly onMore: () => void
  /** Told once when writing fails. */
  readonly onTrouble: (error: MinimError) => void
  /** Told when it can be written again. */
  readonly onMended: () => void
  /** Told once when something has no room, and once when there is room to speak of again. */
  readonly onFull: () => void
  readonly onRoom: () => void
  /** Resolves when nothing reads the store on another thread: it must not be closed under it. */
  readonly untilUnread: () => Promise<void>
}

export class SpoolWriter {
  readonly #options: WriterOptions
  #waiting: Pending[] = []
  #waitingBytes = 0
  #usedBytes = 0
  #writing: Promise<void> | null = null
  #closing = false
  /** Closing takes too long: no other write is begun. */
  #halted = false
  #broken: MinimError | null = null
  /** Size of the largest entry that had no room since the spool is full; 0 while it is not. */
  #lackedBytes = 0
  /** What a failed write may have left on the disk. */
  #doubtful: { readonly sequence: number; readonly names: readonly Buffer[] } | null = null
  readonly #retry = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS)
  #retryTimer: NodeJS.Timeout | null = null
  #deleteTimer: NodeJS.Timeout | null = null

  constructor(options: WriterOptions) {
    this.#options = options
    this.#measure()
  }

  /** Why nothing can be written; null while it can. */
  get broken(): MinimError | null {
    return this.#broken
  }

  /** Room that is in use on disk, bytes. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  get closing(): boolean {
    return this.#closing
  }

  /** Something had no room, and not enough has been freed since. */
  get lacksRoom(): boolean {
    return this.#lackedBytes > 0
  }

  /** Whether there is room for an entry of a size. If not, the spool is full from now on, and that is told once. */
  demandRoom(size: number): boolean {
    if (this.#hasRoom(size)) return true
    const isNew = this.#lackedBytes === 0
    this.#lackedBytes = Math.max(this.#lackedBytes, size)
    if (isNew) this.#options.onFull()
    return false
  }

  #hasRoom(size: number): boolean {
    return (
      this.#usedBytes + this.#waitingBytes + size + SEAL_BYTES <= this.#options.maxBytes &&
      this.#waitingBytes + size <= WAITING_BYTES
    )
  }

  /** After whatever has freed something: tells that there is room again. */
  #lookForRoom(): void {
    if (this.#lackedBytes === 0) return
    const { maxBytes } = this.#options
    const size = Math.min(this.#lackedBytes, maxBytes * MAX_FREE_SHARE)
    if (this.#usedBytes + this.#waitingBytes > maxBytes * (1 - FREE_SHARE) || !this.#hasRoom(size)) return
    if (this.#waitingBytes > WAITING_BYTES / 2) return
    this.#lackedBytes = 0
    this.#options.onRoom()
  }

  put(pending: Pending): void {
    this.#waiting.push(pending)
    this.#waitingBytes += pending.size
    this.kick()
  }

  /** What is put from now on is refused by the spool; deleting hurries. */
  stopTaking(): void {
    this.#closing = true
  }

  /** Answers what was put, deletes what is committed; the write that is under way is always waited for. */
  async close(): Promise<void> {
    this.#closing = true
    if (this.#deleteTimer !== null) clearTimeout(this.#deleteTimer)
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer)
    for (;;) {
      this.#deleteTimer = null
      if (this.#broken === null) this.kick(true)
      if (this.#writing === null) break
      await this.#writing
    }
  }

  /** No other write is begun, and what waits for one is refused. */
  halt(): void {
    this.#halted = true
    const waiting = this.#waiting
    this.#waiting = []
    for (const pending of waiting) {
      this.#waitingBytes -= pending.size
      pending.reject(new MinimError('MINIM_DELIVERY_STOPPED'))
    }
  }

  /** Starts writing if there is something to write and nothing is being written. */
  kick(deletesToo = false): void {
    if (this.#writing !== null || this.#broken !== null || this.#halted) return
    const { progress, seen } = this.#options
    const deletes = progress.committed > progress.deleted || progress.damaged.length > 0
    if (this.#waiting.length > 0 || seen.due || (deletes && (deletesToo || this.#closing))) {
      this.#writing = this.#write().finally(() => {
        this.#writing = null
        this.kick()
      })
    } else if (deletes) {
      this.#deleteTimer ??= setTimeout(() => {
        this.#deleteTimer = null
        this.kick(true)
      }, DELETE_AFTER_MS)
    }
  }

  async #write(): Promise<void> {
    let group: Pending[] = []
    try {
      this.#demand(this.#waiting.length === 0)
      // The group is taken when the lock is held: what comes until then goes along.
      const written = await this.#options.store.transaction((tables) =>
        this.#commit(tables, (group = this.#takeGroup())),
      )
      this.#settle(group, written)
    } catch (error) {
      this.#fail(group, asBroken(error))
    }
  }

  #takeGroup(): Pending[] {
    const waiting = this.#waiting
    let bytes = 0
    let count = 0
    while (count < waiting.length && (count === 0 || bytes + waiting[count].size <= BLOCK_BYTES))
      bytes += waiting[count++].size
    this.#waiting = waiting.slice(count)
    return count === waiting.length ? waiting : waiting.slice(0, count)
  }

  /** Runs under the lock. All that can fail comes before the first write. */
  #commit(tables: SpoolTables, group: readonly Pending[]): Written {
    const { seen, keys, progress, store } = this.#options
    const { blocks, meta } = tables
    const nowMs = this.#options.now()
    const ids = seen.group(tables)
    const known = new Map<Pending, Known>()
    const fresh: Pending[] = []
    for (const pending of group) {
      const before = pending.name === null ? null : ids.look(pending.name)
      if (before === null) fresh.push(pending)
      else known.set(pending, before)
    }
    const rows = ids.rows()
    const more = rows.some(({ key }) => seen.isNewSpan(key))
    const sequence = progress.next
    let plain: Buffer | null = null
    if (fresh.length > 0) {
      const day = dayOf(nowMs)
      const dayKeys = keys.demand(day)
      const mark = keys.markFor(day, dayKeys)
      plain = encodeBlock(fresh)
      const sealed = sealBlock(dayKeys, { spool: store.uuid, sequence }, nowMs, plain)
      this.#doubtful = { sequence, names: rows.map(({ key }) => key) }
      blocks.put(sequence, sealed)
      meta.put(`next-${store.worker}`, String(sequence + 1))
      if (mark !== null) meta.put(mark.name, mark.mark)
      for (const { key, value } of rows) tables.seen.put(key, value)
    }
    const moved = this.#moveDamaged(tables)
    const deletedTo = Math.min(progress.committed, progress.deleted + DELETES)
    for (let at = progress.deleted + 1; at <= deletedTo; at++) blocks.remove(at)
    const records = fresh.reduce((sum, pending) => sum + pending.records, 0)
    const sweep = seen.due ? seen.sweep(tables, nowMs) : { done: false, less: false }
    if (sweep.done) keys.forgetOld(tables, nowMs)
    return {
      block: plain === null ? null : { sequence, plain, records, sealedAt: nowMs },
      known,
      deletedTo,
      moved,
      swept: sweep.done,
      revision: more || sweep.less ? reviseSpans(tables) : null,
    }
  }

  /** Within a transaction: blocks that could not be opened are put aside. */
  #moveDamaged({ blocks, damaged }: SpoolTables): readonly number[] {
    const moved = [...this.#options.progress.damaged]
    for (const at of moved) {
      const bytes = blocks.get(at)
      if (bytes !== undefined) damaged.put(at, bytes)
      blocks.remove(at)
    }
    return moved
  }

  /** What a write did is on disk. */
  #settle(group: readonly Pending[], written: Written): void {
    const { seen, store, progress, keys, kept, counters, onMore } = this.#options
    this.#doubtful = null
    const { block, known, deletedTo, moved, swept, revision } = written
    progress.deleted = Math.max(progress.deleted, deletedTo)
    progress.damaged = progress.damaged.filter((at) => !moved.includes(at))
    if (swept) seen.swept()
    const { tables } = store
    if (revision !== null && tables !== null) seen.learn(tables, revision)
    this.#measure()
    const nowMs = performance.now()
    for (const pending of group) {
      this.#waitingBytes -= pending.size
      counters?.put((nowMs - pending.putAt) / 1000)
      pending.resolve(known.get(pending) ?? 'stored')
    }
    this.#lookForRoom()
    if (block === null) return
    keys.marked(dayOf(block.sealedAt))
    progress.next = block.sequence + 1
    progress.stored = block.sequence
    kept.add(block.sequence, { plain: block.plain, records: block.records, receivedAt: group[0].putAt })
    onMore()
  }

  /** A write failed: nothing of it counts. */
  #fail(group: readonly Pending[], error: MinimError): void {
    const told = this.#broken !== null
    this.#broken = error
    const waiting = this.#waiting
    this.#waiting = []
    for (const pending of [...group, ...waiting]) {
      this.#waitingBytes -= pending.size
      this.#options.counters?.refused('broken')
      pending.reject(error)
    }
    this.#lookForRoom()
    if (!told) this.#options.onTrouble(error)
    if (this.#closing) return
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null
      this.#writing = this.#mend().finally(() => {
        this.#writing = null
        this.kick()
      })
    }, this.#retry.next())
    this.#retryTimer.unref()
  }

  /** A trial write, which takes out what the failed one may have left, and what Kafka has taken since. */
  async #mend(): Promise<void> {
    const { keys, store, progress, now, untilUnread } = this.#options
    try {
      keys.demand(dayOf(now()))
      await untilUnread()
      await store.mend()
      do {
        this.#demand(true)
        const doubtful = this.#doubtful
        const written = await store.transaction((tables) => {
          if (doubtful !== null) {
            tables.blocks.remove(doubtful.sequence)
            for (const key of doubtful.names) tables.seen.remove(key)
            reviseSpans(tables)
          }
          tables.meta.put(`mended-${store.worker}`, String(now()))
          return this.#commit(tables, [])
        })
        this.#settle([], written)
      } while (progress.committed > progress.deleted)
      this.#demand(false)
    } catch (error) {
      const broken = asBroken(error)
      // A disk that the system has made read-only can only be mended when nobody has a file of it open.
      if (broken.details['what'] !== 'ENOSPC') {
        await untilUnread()
        await store.release()
      }
      this.#fail([], broken)
      return
    }
    this.#broken = null
    this.#retry.reset()
    this.#options.onMended()
    this.#options.onMore()
  }

  /** @throws MinimError when the disk takes no writes */
  #demand(deleting: boolean): void {
    const code = this.#options.store.probe(this.#usedBytes, deleting)
    if (code !== null) throw new MinimError('MINIM_SPOOL_BROKEN', { what: code })
  }

  /** How much room is in use: of this worker's blocks, and of the ids of all. */
  #measure(): void {
    const { store, seen } = this.#options
    const { tables } = store
    if (tables === null) return
    const seenBytes = tables.seen.bytes
    this.#usedBytes = STORE_BYTES + seenBytes + tables.blocks.bytes + tables.damaged.bytes
    seen.measured(seenBytes)
  }
}

/** Whatever went wrong, as what is told to who puts. */
export function asBroken(error: unknown): MinimError {
  if (error instanceof MinimError)
    return error.code === 'MINIM_SPOOL_BROKEN' ? error : new MinimError('MINIM_SPOOL_BROKEN', { what: error.code })
  return new MinimError('MINIM_SPOOL_BROKEN', { what: 'unexpected' }, { cause: error })
}
