/**
 * The spool: records whose sender cannot send them again, encrypted on disk from the moment they are acknowledged until
 * they are in Kafka.
 *
 *   put ──▶ waiting ──▶ one block per write, on disk ──▶ acknowledged
 *                              │
 *                              └──▶ feed: a work item of delivery like any other ──▶ committed ──▶ deleted
 *
 * - **Group commit.** What is put while a write is under way becomes the next block: one encryption, one flush for all
 *   of it.
 * - **Exactly once.** A block's sequence is its place in the ledger (source `spool.<worker>`, incarnation: the spool's
 *   UUID). After a crash the ledger says which blocks are in Kafka: those are deleted, the others fed. A sender's id is
 *   stored in the same transaction as its block.
 * - **A write that fails** is answered with an error and leaves nothing behind: where the disk may have kept it all the
 *   same, it is taken out before anything else is written. Until a trial write succeeds, everything is refused.
 * - **A block that cannot be read again** is counted, moved aside, and does not hold up the others.
 * - **Limits.** What is refused is refused before it is written. Memory: what waits for the disk, a few blocks that
 *   need not be read again since they have just been written, and what delivery has taken and not committed.
 *
 * Writing: `writer.ts`; feeding: `feed.ts`; layout: `block.ts`; ids: `seen.ts`; what is asked of the disk: `store.ts`, and
 * what LMDB makes of it: `lmdb-store.ts`.
 */
import { HOUR_MS } from '../base/time.js'
import { MinimError } from '../errors/catalogue.js'
import type { SpoolCounters, SpoolSample } from '../flow/counters.js'
import { spoolSource } from '../flow/shards.js'
import type { Inlet, InletTrouble, PutOutcome, Spooled } from '../flow/source.js'
import type { SourceId } from '../flow/work-item.js'
import type { Keyring } from '../keys/keyring.js'
import { entryBytes, MAX_TENANT_BYTES, sealedAt } from './block.js'
import { DayKeys } from './day-keys.js'
import { SpoolFeed, type SpoolIntake, type SpoolReaders } from './feed.js'
import { LmdbStore } from './lmdb-store.js'
import { KeptBlocks, type Progress } from './progress.js'
import type { SeenName } from './seen.js'
import { SeenTable } from './seen-table.js'
import type { SpoolStore, SpoolTables } from './store.js'
import { asBroken, SpoolWriter } from './writer.js'

const SWEEP_EVERY_MS = 60_000

export interface SpoolOptions {
  readonly path: string
  readonly maxBytes: number
  readonly rememberHours: number
  readonly keyring: Keyring
  /** Which worker's part of the folder. */
  readonly worker?: number
  /** Name of its stream in the ledger; by default that of a worker that is alone. */
  readonly source?: string
  readonly now?: () => number
  /** A clock that nobody sets, ms. Default: `performance.now`. */
  readonly monotonic?: () => number
  readonly counters?: SpoolCounters
  /** Told once when writing fails, and of each block that cannot be read. */
  readonly onTrouble?: (error: MinimError) => void
  /** Told when it can be written again. */
  readonly onMended?: () => void
  /** Told once when something has no room, and once when there is room to speak of again. */
  readonly onFull?: (error: MinimError) => void
  readonly onRoom?: () => void
  /** What keeps a full spool from being emptied, in a word that senders are told; null where nothing is known. */
  readonly causeOfFull?: () => string | null
}

export class Spool implements Inlet {
  readonly id: SourceId
  readonly #store: SpoolStore
  readonly #progress: Progress
  readonly #seen: SeenTable
  readonly #writer: SpoolWriter
  readonly #feed: SpoolFeed
  readonly #now: () => number
  readonly #counters: SpoolCounters | null
  readonly #causeOfFull: () => string | null
  readonly #sweepTimer: NodeJS.Timeout

  /**
   * Opens a folder's spool, making it where there is none.
   * @throws MinimError MINIM_SPOOL_OPEN; MINIM_SPOOL_KEY when it holds blocks that were written under other keys
   */
  static open(options: SpoolOptions): Spool {
    const store = LmdbStore.open(options.path, options.worker ?? 0, options.maxBytes)
    try {
      return new Spool(store, store.tables as SpoolTables, options)
    } catch (error) {
      void store.close()
      throw error
    }
  }

  private constructor(store: SpoolStore, tables: SpoolTables, options: SpoolOptions) {
    const { keyring, maxBytes, rememberHours, now = Date.now, monotonic = () => performance.now() } = options
    const onTrouble = (error: MinimError): void => options.onTrouble?.(error)
    this.#store = store
    this.#now = now
    this.#causeOfFull = options.causeOfFull ?? (() => null)
    const counters = (this.#counters = options.counters ?? null)
    this.id = { source: options.source ?? spoolSource(0, 0, 1), incarnation: store.uuid }
    const progress = (this.#progress = progressOf(tables, store.worker))
    const keys = new DayKeys(keyring, store.worker)
    if (progress.deleted < progress.stored) keys.check(tables, store.path)
    const seen = new SeenTable(tables, { keyring, rememberMs: rememberHours * HOUR_MS, maxBytes, now, monotonic })
    this.#seen = seen
    const shared = { store, progress, kept: new KeptBlocks(), keys, counters, onTrouble }
    const feed = new SpoolFeed({
      ...shared,
      id: this.id,
      onDone: () => {
        this.#writer.kick()
      },
    })
    this.#feed = feed
    this.#writer = new SpoolWriter({
      ...shared,
      seen,
      maxBytes,
      now,
      onMended: () => options.onMended?.(),
      onFull: () => options.onFull?.(new MinimError('MINIM_SPOOL_FULL')),
      onRoom: () => options.onRoom?.(),
      onMore: () => {
        feed.wake()
      },
      untilUnread: () => feed.untilUnread(),
    })
    this.#counters?.sampleFrom(() => this.sample())
    this.#sweepTimer = setInterval(() => {
      seen.age()
      this.#writer.kick()
    }, SWEEP_EVERY_MS).unref()
  }

  get full(): boolean {
    // Who asks refuses what it has without putting it, so this is a refusal like any other.
    return this.#writer.closing || this.#writer.broken !== null || !this.#writer.demandRoom(1)
  }

  /** Parts of other workers that are in the same folder. */
  otherWorkers(): number[] {
    const names = [...(this.#store.tables as SpoolTables).meta.keys()].map((key) => /^uuid-(\d+)$/.exec(key)?.[1])
    return names
      .filter((name) => name !== undefined)
      .map(Number)
      .filter((worker) => worker !== this.#store.worker)
  }

  get trouble(): InletTrouble | null {
    const { closing, broken, lacksRoom } = this.#writer
    if (closing) return { reason: 'stopping', cause: null }
    if (broken !== null) return { reason: 'spool_broken', cause: null }
    return lacksRoom ? { reason: 'spool_full', cause: this.#causeOfFull() } : null
  }

  put(records: Spooled): Promise<PutOutcome> {
    const writer = this.#writer
    if (writer.closing) return Promise.reject(new MinimError('MINIM_DELIVERY_STOPPED'))
    if (writer.broken !== null) return this.#refuse('broken', writer.broken)
    const { source, format, tenant, reason } = records
    const size = entryBytes({ source, format, tenant, reason: reason ?? '', bytes: records.bytes })
    if (!writer.demandRoom(size)) return this.#refuse('full', new MinimError('MINIM_SPOOL_FULL'))
    let name: SeenName | null = null
    try {
      name = this.#nameOf(records)
    } catch (error) {
      return this.#refuse('broken', asBroken(error))
    }
    // Names of tenants come from settings; one that a sender has made up is cut, and is as unknown then as before.
    const shortened = Buffer.byteLength(tenant) > MAX_TENANT_BYTES ? tenant.slice(0, MAX_TENANT_BYTES / 4) : tenant
    const bytes = Buffer.from(records.bytes)
    return new Promise((resolve, reject) => {
      writer.put({
        source,
        format,
        reason: reason ?? '',
        tenant: shortened,
        bytes,
        name,
        size,
        records: recordsIn(records),
        putAt: performance.now(),
        resolve,
        reject,
      })
    })
  }

  /** What the id of records is remembered by; null where they have none. @throws MinimError as {@link SeenTable.name} */
  #nameOf({ source, tenant, id }: Spooled): SeenName | null {
    if (id === undefined || id === null) return null
    return typeof id === 'string'
      ? this.#seen.name(source, tenant, id, null)
      : this.#seen.name(id.space ?? source, id.tenant ?? tenant, id.name, id.body ?? null)
  }

  /**
   * Feeds what is there, and what comes, to delivery. Delivery must have read its ledger.
   * What the ledger has already is deleted.
   */
  start(intake: SpoolIntake, readers: SpoolReaders): void {
    const progress = this.#progress
    const taken = intake.lastTaken(this.id)
    progress.committed = Math.max(progress.committed, taken)
    // A folder that was brought back from a copy begins where the ledger ends: its sequences below were others' once.
    progress.next = Math.max(progress.next, taken + 1)
    progress.stored = Math.max(progress.stored, taken)
    this.#writer.kick()
    this.#feed.start(intake, readers)
  }

  /** Hands nothing more to delivery. What it has is not waited for. */
  stopFeeding(): void {
    this.#feed.stop()
  }

  /** Refuses what comes from now on. What was put is still made safe, and its sender told. */
  stopTaking(): void {
    this.#writer.stopTaking()
  }

  /**
   * After delivery has stopped, if the spool was fed: an item that it still has would be waited for. Takes nothing
   * more, answers what was put, deletes what is committed, and closes the folder. What is left stays there.
   *
   * A write that is under way is always waited for: the process could not end in the middle of it (`spool/open.ts`).
   * @param limitMs after so long no other is begun
   */
  async close(limitMs = Infinity): Promise<void> {
    this.stopTaking()
    this.stopFeeding()
    let overdue: NodeJS.Timeout | undefined
    const late =
      limitMs === Infinity
        ? null
        : new Promise<void>((resolve) => {
            overdue = setTimeout(() => {
              this.#writer.halt()
              resolve()
            }, limitMs)
          })
    const ended = this.#feed.ended()
    await (late === null ? ended : Promise.race([ended, late]))
    await this.#feed.untilUnread()
    clearInterval(this.#sweepTimer)
    await this.#writer.close()
    clearTimeout(overdue)
    await this.#store.close()
  }

  /** For metrics. */
  sample(): SpoolSample {
    const { tables } = this.#store
    const start = this.#progress.committed + 1
    let blocks = 0
    let oldest: number | null = null
    try {
      if (tables !== null) blocks = tables.blocks.count({ start })
      if (tables !== null && blocks > 0)
        for (const block of tables.blocks.values({ start, limit: 1 })) oldest = sealedAt(block)
    } catch {
      // A disk that cannot be read: the rest of the page is of use.
    }
    return {
      bytes: this.#writer.usedBytes,
      blocks,
      oldestSeconds: oldest === null ? 0 : Math.max(0, (this.#now() - oldest) / 1000),
    }
  }

  #refuse(reason: 'full' | 'broken', error: MinimError): Promise<never> {
    this.#counters?.refused(reason)
    return Promise.reject(error)
  }
}

/** Where a worker's part of a folder was left. */
function progressOf({ blocks, meta }: SpoolTables, worker: number): Progress {
  const [first] = blocks.keys({ limit: 1 })
  const [last] = blocks.keys({ limit: 1, reverse: true })
  const next = Math.max(1, Number(meta.get(`next-${worker}`) ?? 1), ((last as number | undefined) ?? 0) + 1)
  const deleted = ((first as number | undefined) ?? next) - 1
  return { next, stored: next - 1, committed: deleted, deleted, damaged: [] }
}

/** Records of what is put; NaN where its source does not say. What is refused is one, as it is. */
function recordsIn({ format, bytes, records }: Spooled): number {
  if (format === 'refused') return bytes.length > 0 ? 1 : 0
  return records ?? NaN
}
