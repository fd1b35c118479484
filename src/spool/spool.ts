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
 * Layout: `spool/block.ts`; ids: `spool/seen.ts`; what is relied on of the disk: `spool/store.ts`.
 */
import { Backoff } from '../base/backoff.js'
import { HOUR_MS } from '../base/time.js'
import type { Reader } from '../batch/batch.js'
import { MinimError } from '../errors/catalogue.js'
import type { SpoolCounters, SpoolSample } from '../flow/counters.js'
import type { Input } from '../flow/input.js'
import type { Intake } from '../flow/intake.js'
import type { Minimised } from '../flow/minimised.js'
import { spoolSource } from '../flow/shards.js'
import type { Inlet, PutOutcome, Spooled } from '../flow/source.js'
import type { SourceId, WorkItem } from '../flow/work-item.js'
import { epochId } from '../keys/epochs.js'
import { type EpochKeys, type Keyring, SPOOL_DOMAIN } from '../keys/keyring.js'
import {
  type BlockEntry,
  type BlockRun,
  decodeBlock,
  encodeBlock,
  entryBytes,
  keyMark,
  MAX_TENANT_BYTES,
  openBlock,
  SEAL_BYTES,
  sealBlock,
  sealedAt,
} from './block.js'
import { type SeenName, SeenNames, type SeenStart, spanIn, spanStart } from './seen.js'
import { SpoolStore, type SpoolTables } from './store.js'

/** A block takes no more entries from here on. */
const BLOCK_BYTES = 256 * 1024
/** Records that wait for the disk: beyond this it is slower than what comes in. */
const WAITING_BYTES = 32 * 1024 * 1024
/** Blocks kept in memory for the feed. */
const KEPT_BYTES = 8 * 1024 * 1024
/** Rows deleted by one write: it holds the lock, and this thread. */
const DELETES = 1000
/** A quarter of the room is for ids at most. */
const SEEN_SHARE = 0.25
/** Deleting alone does not hurry: with luck a put takes it along. */
const DELETE_AFTER_MS = 50
const SWEEP_EVERY_MS = 60_000
const RETRY_MIN_MS = 500
const RETRY_MAX_MS = 15_000
const READ_AHEAD = 32
/** Room of LMDB's own: roots, free list. */
const STORE_BYTES = 256 * 1024

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
}

interface Pending extends BlockEntry {
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
  readonly known: ReadonlyMap<Pending, Exclude<PutOutcome, 'stored'>>
  readonly deletedTo: number
  readonly moved: readonly number[]
  readonly swept: boolean
  /** The table's spans are others now: its new revision. */
  readonly revision: string | null
}

/** A block in memory. */
interface Kept {
  readonly plain: Buffer
  /** Records in it, as their sources counted them; NaN where that is not known. */
  readonly records: number
  readonly receivedAt: number
}

export class Spool implements Inlet {
  readonly id: SourceId
  readonly #store: SpoolStore
  readonly #keyring: Keyring
  readonly #maxBytes: number
  readonly #now: () => number
  readonly #monotonic: () => number
  readonly #counters: SpoolCounters | null
  readonly #options: SpoolOptions
  readonly #names: SeenNames

  #waiting: Pending[] = []
  #waitingBytes = 0
  #usedBytes = 0
  #seenBytes = 0
  #writing: Promise<void> | null = null
  #closing = false
  /** Closing takes too long: no other write is begun. */
  #halted = false

  /** Sequences: of the next block; of the last one on disk; of the last one that Kafka has; of the last one deleted. */
  #next: number
  #stored: number
  #committed: number
  #deleted: number
  #damaged: number[] = []
  /** Days whose key's mark is written. */
  readonly #marked = new Set<string>()
  #seenDue = false
  #seenCrowded = false

  #broken: MinimError | null = null
  /** What a failed write may have left on the disk. */
  #doubtful: { readonly sequence: number; readonly names: readonly Buffer[] } | null = null
  readonly #retry = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS)
  #retryTimer: NodeJS.Timeout | null = null
  #deleteTimer: NodeJS.Timeout | null = null
  readonly #sweepTimer: NodeJS.Timeout

  readonly #kept = new Map<number, Kept>()
  #keptBytes = 0
  #feeding: Promise<void> | null = null
  #feedStopped = false
  /** A read on another thread: the store must not be closed under it. */
  #prefetching: Promise<void> = Promise.resolve()
  #wake: (() => void) | null = null

  /**
   * Opens a folder's spool, making it where there is none.
   * @throws MinimError MINIM_SPOOL_OPEN; MINIM_SPOOL_KEY when it holds blocks that were written under other keys
   */
  static open(options: SpoolOptions): Spool {
    const store = SpoolStore.open(options.path, options.worker ?? 0, options.maxBytes)
    try {
      return new Spool(store, options)
    } catch (error) {
      void store.close()
      throw error
    }
  }

  private constructor(store: SpoolStore, options: SpoolOptions) {
    this.#store = store
    this.#options = options
    this.#keyring = options.keyring
    this.#maxBytes = options.maxBytes
    this.#now = options.now ?? Date.now
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#counters = options.counters ?? null
    this.id = { source: options.source ?? spoolSource(0, 0, 1), incarnation: store.uuid }
    const tables = store.tables as SpoolTables
    const { blocks, meta } = tables
    const [first] = blocks.getKeys({ limit: 1 })
    const [last] = blocks.getKeys({ limit: 1, reverse: true })
    this.#next = Math.max(1, Number(meta.get(`next-${store.worker}`) ?? 1), (last ?? 0) + 1)
    this.#stored = this.#next - 1
    this.#deleted = (first ?? this.#next) - 1
    this.#committed = this.#deleted
    if (first !== undefined) this.#checkKeys(tables)
    this.#names = new SeenNames(
      options.keyring,
      options.rememberHours * HOUR_MS,
      seenStart(tables),
      this.#now(),
      this.#monotonic(),
    )
    this.#measure()
    this.#counters?.sampleFrom(() => this.sample())
    this.#sweepTimer = setInterval(() => {
      this.#seenDue = true
      this.#names.advance(this.#now(), this.#monotonic())
      this.#kick()
    }, SWEEP_EVERY_MS).unref()
  }

  get full(): boolean {
    return (
      this.#closing ||
      this.#broken !== null ||
      this.#usedBytes + this.#waitingBytes + SEAL_BYTES >= this.#maxBytes ||
      this.#waitingBytes >= WAITING_BYTES
    )
  }

  /** Parts of other workers that are in the same folder. */
  otherWorkers(): number[] {
    const names = [...(this.#store.tables as SpoolTables).meta.getKeys()].map(
      (key) => /^uuid-(\d+)$/.exec(String(key))?.[1],
    )
    return names
      .filter((name) => name !== undefined)
      .map(Number)
      .filter((worker) => worker !== this.#store.worker)
  }

  /** Why nothing can be written; null while it can. */
  get trouble(): MinimError | null {
    return this.#broken
  }

  put(records: Spooled): Promise<PutOutcome> {
    if (this.#closing) return Promise.reject(new MinimError('MINIM_DELIVERY_STOPPED'))
    if (this.#broken !== null) return this.#refuse('broken', this.#broken)
    const { source, format, tenant, reason } = records
    const size = entryBytes({ source, format, tenant, reason: reason ?? '', bytes: records.bytes })
    if (
      this.#usedBytes + this.#waitingBytes + size + SEAL_BYTES > this.#maxBytes ||
      this.#waitingBytes + size > WAITING_BYTES
    ) {
      return this.#refuse('full', new MinimError('MINIM_SPOOL_FULL'))
    }
    let name: SeenName | null = null
    try {
      const { id } = records
      if (id !== undefined && id !== null) {
        this.#names.advance(this.#now(), this.#monotonic())
        name =
          typeof id === 'string'
            ? this.#names.name(source, tenant, id, null)
            : this.#names.name(source, id.tenant ?? tenant, id.name, id.body ?? null)
      }
    } catch (error) {
      return this.#refuse('broken', asBroken(error))
    }
    // Names of tenants come from settings; one that a sender has made up is cut, and is as unknown then as before.
    const shortened = Buffer.byteLength(tenant) > MAX_TENANT_BYTES ? tenant.slice(0, MAX_TENANT_BYTES / 4) : tenant
    const bytes = Buffer.from(records.bytes)
    return new Promise((resolve, reject) => {
      this.#waiting.push({
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
      this.#waitingBytes += size
      this.#kick()
    })
  }

  /**
   * Feeds what is there, and what comes, to delivery. Delivery must have read its ledger.
   * What the ledger has already is deleted.
   */
  start(intake: SpoolIntake, readers: SpoolReaders): void {
    if (this.#feeding !== null) throw new Error('the spool is being fed already')
    const taken = intake.lastTaken(this.id)
    this.#committed = Math.max(this.#committed, taken)
    // A folder that was brought back from a copy begins where the ledger ends: its sequences below were others' once.
    this.#next = Math.max(this.#next, taken + 1)
    this.#stored = Math.max(this.#stored, taken)
    this.#feedStopped = false
    this.#kick()
    this.#feeding = this.#feed(intake, readers)
  }

  /** Hands nothing more to delivery. What it has is not waited for. */
  stopFeeding(): void {
    this.#feedStopped = true
    this.#wake?.()
  }

  /** Refuses what comes from now on. What was put is still made safe, and its sender told. */
  stopTaking(): void {
    this.#closing = true
  }

  /**
   * After delivery has stopped, if the spool was fed: an item that it still has would be waited for. Takes nothing
   * more, answers what was put, deletes what is committed, and closes the folder. What is left stays there.
   *
   * A write that is under way is always waited for: the process could not end in the middle of it (`spool/open.ts`).
   * @param limitMs after so long no other is begun
   */
  async close(limitMs = Infinity): Promise<void> {
    this.#closing = true
    this.stopFeeding()
    let overdue: NodeJS.Timeout | undefined
    const late =
      limitMs === Infinity
        ? null
        : new Promise<void>((resolve) => {
            overdue = setTimeout(() => {
              this.#halt()
              resolve()
            }, limitMs)
          })
    await (late === null ? this.#feeding : Promise.race([this.#feeding, late]))
    await this.#prefetching
    clearInterval(this.#sweepTimer)
    if (this.#deleteTimer !== null) clearTimeout(this.#deleteTimer)
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer)
    for (;;) {
      this.#deleteTimer = null
      if (this.#broken === null) this.#kick(true)
      if (this.#writing === null) break
      await this.#writing
    }
    clearTimeout(overdue)
    await this.#store.close()
  }

  #halt(): void {
    this.#halted = true
    const waiting = this.#waiting
    this.#waiting = []
    for (const pending of waiting) {
      this.#waitingBytes -= pending.size
      pending.reject(new MinimError('MINIM_DELIVERY_STOPPED'))
    }
  }

  /** For metrics. */
  sample(): SpoolSample {
    const tables = this.#store.tables
    let blocks = 0
    let oldest: number | null = null
    try {
      if (tables !== null) blocks = tables.blocks.getKeysCount({ start: this.#committed + 1 })
      if (tables !== null && blocks > 0)
        for (const { value } of tables.blocks.getRange({ start: this.#committed + 1, limit: 1 }))
          oldest = sealedAt(value)
    } catch {
      // A disk that cannot be read: the rest of the page is of use.
    }
    return {
      bytes: this.#usedBytes,
      blocks,
      oldestSeconds: oldest === null ? 0 : Math.max(0, (this.#now() - oldest) / 1000),
    }
  }

  #refuse(reason: 'full' | 'broken', error: MinimError): Promise<never> {
    this.#counters?.refused(reason)
    return Promise.reject(error)
  }

  // ---- writing
  // ------------------------------------------------------------------------------------------------------------------

  /** Starts writing if there is something to write and nothing is being written. */
  #kick(deletesToo = false): void {
    if (this.#writing !== null || this.#broken !== null || this.#halted) return
    const deletes = this.#committed > this.#deleted || this.#damaged.length > 0
    if (this.#waiting.length > 0 || this.#seenDue || this.#seenCrowded || (deletes && (deletesToo || this.#closing))) {
      this.#writing = this.#write().finally(() => {
        this.#writing = null
        this.#kick()
      })
    } else if (deletes) {
      this.#deleteTimer ??= setTimeout(() => {
        this.#deleteTimer = null
        this.#kick(true)
      }, DELETE_AFTER_MS)
    }
  }

  async #write(): Promise<void> {
    let group: Pending[] = []
    try {
      this.#demand(this.#waiting.length === 0)
      // The group is taken when the lock is held: what comes until then goes along.
      const written = await this.#store.transaction((tables) => this.#commit(tables, (group = this.#takeGroup())))
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
    const { blocks, damaged, seen, meta } = tables
    const nowMs = this.#now()
    // A span that another worker, or the write before, has made since the names were: it is asked as well.
    let revision = meta.get(REVISION) ?? NO_REVISION
    if (revision !== this.#names.revision) this.#names.learn(spansOf(tables), revision)
    const known = new Map<Pending, Exclude<PutOutcome, 'stored'>>()
    const names = new Map<string, SeenName>()
    const fresh: Pending[] = []
    for (const pending of group) {
      if (pending.name !== null) {
        const name = this.#names.again(pending.name)
        const before = this.#whetherSeen(seen, names.get(name.text), name)
        if (before !== null) {
          known.set(pending, before)
          continue
        }
        names.set(name.text, name)
      }
      fresh.push(pending)
    }
    const rows = [...names.values()].map((name) => ({ key: name.now, value: this.#names.fingerprint(name, name.now) }))
    const more = rows.some(({ key }) => !this.#names.knows(key))
    const sequence = this.#next
    const day = epochId(SPOOL_DOMAIN.epoch, nowMs)
    let plain: Buffer | null = null
    let sealed: Buffer | null = null
    let mark: string | null = null
    if (fresh.length > 0) {
      const keys = this.#keysOf(day)
      if (keys === null) throw noKey()
      if (!this.#marked.has(day)) mark = keyMark(keys)
      plain = encodeBlock(fresh)
      sealed = sealBlock(keys, { spool: this.#store.uuid, sequence }, nowMs, plain)
      this.#doubtful = { sequence, names: rows.map(({ key }) => key) }
    }

    if (sealed !== null) {
      blocks.putSync(sequence, sealed)
      meta.putSync(`next-${this.#store.worker}`, String(sequence + 1))
      if (mark !== null) meta.putSync(this.#markKey(day), mark)
      for (const { key, value } of rows) seen.putSync(key, value)
    }
    const moved = [...this.#damaged]
    for (const at of moved) {
      const bytes = blocks.get(at)
      if (bytes !== undefined) damaged.putSync(at, bytes)
      blocks.removeSync(at)
    }
    const deletedTo = Math.min(this.#committed, this.#deleted + DELETES)
    for (let at = this.#deleted + 1; at <= deletedTo; at++) blocks.removeSync(at)
    const records = fresh.reduce((sum, pending) => sum + pending.records, 0)
    const sweep = this.#seenDue || this.#seenCrowded ? this.#sweep(tables, nowMs) : NO_SWEEP
    const changed = more || sweep.less
    if (changed) meta.putSync(REVISION, (revision = nextRevision(revision)))
    return {
      block: plain === null ? null : { sequence, plain, records, sealedAt: nowMs },
      known,
      deletedTo,
      moved,
      swept: sweep.done,
      revision: changed ? revision : null,
    }
  }

  /** What an id was before: in the same group, or in the table. null: it is new. */
  #whetherSeen(
    seen: SpoolTables['seen'],
    earlier: SeenName | undefined,
    name: SeenName,
  ): Exclude<PutOutcome, 'stored'> | null {
    if (earlier !== undefined)
      return earlier.digest === null || name.digest === null || earlier.digest === name.digest ? 'repeated' : 'reused'
    for (let i = -1; i < name.before.length; i++) {
      const key = i < 0 ? name.now : name.before[i]
      if (!seen.doesExist(key)) continue
      const value = seen.get(key) ?? NOTHING
      const fingerprint = value.length === 0 ? NOTHING : this.#names.fingerprint(name, key)
      return value.length === 0 || fingerprint.length === 0 || value.equals(fingerprint) ? 'repeated' : 'reused'
    }
    return null
  }

  /** Forgets ids that are due, some at a time. */
  #sweep({ seen, blocks, meta }: SpoolTables, nowMs: number): Sweep {
    this.#names.advance(nowMs, this.#monotonic())
    meta.putSync(TRUSTED, String(this.#names.trustedMs))
    const spans = this.#names.due()
    // Too many for their share of the room: a span goes early.
    const early = spans.length === 0 && this.#seenCrowded ? this.#names.leastUseful() : null
    if (early !== null) spans.push(early)
    let left = DELETES
    let less = false
    for (const span of spans) {
      const keys = [...seen.getKeys({ start: spanStart(span), end: spanStart(span + 1), limit: left })]
      for (const key of keys) seen.removeSync(key)
      left -= keys.length
      if (left === 0) return { done: false, less }
      less = true
    }
    // Marks of days that no block is of any more.
    let firstDay = epochId(SPOOL_DOMAIN.epoch, nowMs)
    for (const { value } of blocks.getRange({ limit: 1 })) firstDay = epochId(SPOOL_DOMAIN.epoch, sealedAt(value) ?? 0)
    const prefix = this.#markKey('')
    for (const key of [...meta.getKeys({ start: prefix, end: `${prefix}~` })])
      if (key < this.#markKey(firstDay)) meta.removeSync(key)
    return { done: true, less }
  }

  /** What a write did is on disk. */
  #settle(group: readonly Pending[], written: Written): void {
    this.#doubtful = null
    const { block, known, deletedTo, moved, swept, revision } = written
    this.#deleted = Math.max(this.#deleted, deletedTo)
    this.#damaged = this.#damaged.filter((at) => !moved.includes(at))
    if (swept) {
      this.#seenDue = false
      this.#seenCrowded = false
    }
    const { tables } = this.#store
    if (revision !== null && tables !== null) this.#names.learn(spansOf(tables), revision)
    this.#measure()
    const nowMs = performance.now()
    for (const pending of group) {
      this.#waitingBytes -= pending.size
      this.#counters?.put((nowMs - pending.putAt) / 1000)
      pending.resolve(known.get(pending) ?? 'stored')
    }
    if (block === null) return
    this.#marked.add(epochId(SPOOL_DOMAIN.epoch, block.sealedAt))
    this.#next = block.sequence + 1
    this.#stored = block.sequence
    if (this.#keptBytes + block.plain.length <= KEPT_BYTES) {
      this.#kept.set(block.sequence, { plain: block.plain, records: block.records, receivedAt: group[0].putAt })
      this.#keptBytes += block.plain.length
    }
    this.#wake?.()
  }

  /** A write failed: nothing of it counts. */
  #fail(group: readonly Pending[], error: MinimError): void {
    const told = this.#broken !== null
    this.#broken = error
    const waiting = this.#waiting
    this.#waiting = []
    for (const pending of [...group, ...waiting]) {
      this.#waitingBytes -= pending.size
      this.#counters?.refused('broken')
      pending.reject(error)
    }
    if (!told) this.#options.onTrouble?.(error)
    if (this.#closing) return
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null
      this.#writing = this.#mend().finally(() => {
        this.#writing = null
        this.#kick()
      })
    }, this.#retry.next())
    this.#retryTimer.unref()
  }

  /** A trial write, which takes out what the failed one may have left, and what Kafka has taken since. */
  async #mend(): Promise<void> {
    try {
      if (this.#keysOf(epochId(SPOOL_DOMAIN.epoch, this.#now())) === null) throw noKey()
      await this.#prefetching
      await this.#store.mend()
      do {
        this.#demand(true)
        const doubtful = this.#doubtful
        const written = await this.#store.transaction((tables) => {
          if (doubtful !== null) {
            tables.blocks.removeSync(doubtful.sequence)
            for (const key of doubtful.names) tables.seen.removeSync(key)
            tables.meta.putSync(REVISION, nextRevision(tables.meta.get(REVISION) ?? NO_REVISION))
          }
          tables.meta.putSync(`mended-${this.#store.worker}`, String(this.#now()))
          return this.#commit(tables, [])
        })
        this.#settle([], written)
      } while (this.#committed > this.#deleted)
      this.#demand(false)
    } catch (error) {
      const broken = asBroken(error)
      // A disk that the system has made read-only can only be mended when nobody has a file of it open.
      if (broken.details['what'] !== 'ENOSPC') {
        await this.#prefetching
        await this.#store.release()
      }
      this.#fail([], broken)
      return
    }
    this.#broken = null
    this.#retry.reset()
    this.#options.onMended?.()
    this.#wake?.()
  }

  /** @throws MinimError when the disk takes no writes */
  #demand(deleting: boolean): void {
    const code = this.#store.probe(this.#usedBytes, deleting)
    if (code !== null) throw new MinimError('MINIM_SPOOL_BROKEN', { what: code })
  }

  /** How much room is in use: pages of this worker's blocks, and of the ids of all. */
  #measure(): void {
    const tables = this.#store.tables
    if (tables === null) return
    const bytesOf = (table: { getStats(): object }): number => {
      const stats = table.getStats() as {
        pageSize: number
        treeBranchPageCount: number
        treeLeafPageCount: number
        overflowPages: number
      }
      return stats.pageSize * (stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages)
    }
    this.#seenBytes = bytesOf(tables.seen)
    this.#usedBytes = STORE_BYTES + this.#seenBytes + bytesOf(tables.blocks) + bytesOf(tables.damaged)
    if (this.#seenBytes > this.#maxBytes * SEEN_SHARE || this.#names.crowded) this.#seenCrowded = true
  }

  // ---- keys
  // ---------------------------------------------------------------------------------------------------------------------

  #markKey(day: string): string {
    return `mark-${this.#store.worker}-${day}`
  }

  #keysOf(day: string): EpochKeys | null {
    const keys = this.#keyring.keys(SPOOL_DOMAIN.id, day)
    return typeof keys === 'string' ? null : keys
  }

  /**
   * Other keys than those that the blocks were written with: no start, since every block would be taken for a damaged
   * one.
   */
  #checkKeys({ meta }: SpoolTables): void {
    const prefix = this.#markKey('')
    for (const key of meta.getKeys({ start: prefix, end: `${prefix}~` })) {
      const day = key.slice(prefix.length)
      const keys = this.#keyring.keys(SPOOL_DOMAIN.id, day)
      // Destroyed on purpose: its blocks will be found unreadable, and said to be.
      if (keys === 'destroyed') continue
      if (keys === 'absent' || keyMark(keys) !== meta.get(key))
        throw new MinimError('MINIM_SPOOL_KEY', { path: this.#store.path, what: `of ${day}` })
      this.#marked.add(day)
    }
  }

  // ---- feeding
  // ------------------------------------------------------------------------------------------------------------------

  async #feed(intake: SpoolIntake, readers: SpoolReaders): Promise<void> {
    let next = Math.max(this.#deleted, this.#committed) + 1
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
    while (!this.#feedStopped) {
      if (failedAt < Infinity) {
        // Delivery takes nothing of the stream until the first that failed comes again.
        const retryMs = retry.next()
        while (outstanding > 0 && !this.#feedStopped) await wait(retryMs)
        if (!this.#feedStopped) await wait(retryMs)
        next = Math.min(failedAt, next)
        failedAt = Infinity
        continue
      }
      if (next > this.#stored || this.#store.tables === null) {
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
  async #gather(from: number, { reader, count, scratchBytes }: SpoolReaders): Promise<Gathered | null> {
    const inputs: Input[] = []
    const sources: string[] = []
    let bytes = 0
    let records = 0
    let last = from - 1
    let receivedAt = performance.now()
    for (let sequence = from; sequence <= this.#stored; sequence++) {
      let kept = this.#kept.get(sequence)
      if (kept === undefined) {
        const tables = this.#store.tables
        if (tables === null) return null
        // From a disk that is slow to answer, not on this thread.
        if ((sequence - from) % READ_AHEAD === 0) {
          this.#prefetching = tables.blocks.prefetch(
            Array.from({ length: Math.min(READ_AHEAD, this.#stored - sequence + 1) }, (_, i) => sequence + i),
          )
          await this.#prefetching
          if (this.#store.tables !== tables) return null
        }
        const plain = this.#read(tables, sequence)
        if (plain === null) {
          last = sequence
          continue
        }
        const runs = decodeBlock(plain) ?? []
        kept = {
          plain,
          records: runs.reduce((sum, run) => sum + (count?.(run, plain) ?? NaN), 0),
          receivedAt: performance.now(),
        }
      }
      if (bytes > 0 && bytes + kept.plain.length > BLOCK_BYTES) break
      if (this.#kept.delete(sequence)) this.#keptBytes -= kept.plain.length
      bytes += kept.plain.length
      records += kept.records
      receivedAt = Math.min(receivedAt, kept.receivedAt)
      last = sequence
      for (const run of decodeBlock(kept.plain) ?? []) {
        let arena = kept.plain
        let { start, ends } = run
        const end = ends[ends.length - 1]
        if (run.format.startsWith('jsonl')) {
          // Text is unescaped behind the input.
          arena = Buffer.allocUnsafe(end - start + scratchBytes)
          kept.plain.copy(arena, 0, start, end)
          ends = ends.map((at) => at - start)
          start = 0
        }
        const stop = ends[ends.length - 1]
        inputs.push({
          reader: reader({ ...run, start, ends }),
          arena,
          start,
          end: stop,
          scratchStart: arena === kept.plain ? arena.length : stop,
          last: true,
          tenant: run.tenant,
        })
        sources.push(run.source)
      }
    }
    return { inputs, sources, bytes, records, last, receivedAt }
  }

  /** Reads one block from disk. null: it is not there, or damaged, which is seen to. */
  #read(tables: SpoolTables, sequence: number): Buffer | null {
    let sealed: Buffer | undefined
    let what = 'it is not what was written'
    try {
      sealed = tables.blocks.get(sequence)
    } catch {
      what = 'it cannot be read'
    }
    if (sealed === undefined && what === 'it is not what was written') return null
    if (sealed !== undefined) {
      const at = sealedAt(sealed)
      const keys = at === null ? null : this.#keysOf(epochId(SPOOL_DOMAIN.epoch, at))
      if (at !== null && keys === null) what = 'the key of its day was destroyed'
      const plain = keys === null ? null : openBlock(keys, { spool: this.#store.uuid, sequence }, sealed)
      if (plain !== null && decodeBlock(plain) !== null) return plain
    }
    this.#counters?.damaged()
    this.#options.onTrouble?.(new MinimError('MINIM_SPOOL_DAMAGED', { sequence, what }))
    this.#damaged.push(sequence)
    this.#kick()
    return null
  }

  #item(
    { inputs, sources, bytes, records, last, receivedAt }: Gathered,
    intake: SpoolIntake,
    done: (failed: boolean) => void,
  ): WorkItem {
    const found: number[] = []
    return {
      id: this.id,
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
        this.#committed = Math.max(this.#committed, last)
        this.#kick()
        done(false)
      },
      failed: () => {
        done(true)
      },
    }
  }
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

/** What a sweep of the ids did: whether it is through, and whether there are fewer spans now. */
interface Sweep {
  readonly done: boolean
  readonly less: boolean
}

const NO_SWEEP: Sweep = { done: false, less: false }
const NOTHING = Buffer.alloc(0)

/** Records of what is put; NaN where its source does not say. What is refused is one, as it is. */
function recordsIn({ format, bytes, records }: Spooled): number {
  if (format === 'refused') return bytes.length > 0 ? 1 : 0
  return records ?? NaN
}

/** In `meta`, for all workers: changes whenever the table of ids has other spans; and the time that they age by. */
const REVISION = 'seen-revision'
const TRUSTED = 'seen-trusted'
const NO_REVISION = '0'

function nextRevision(revision: string): string {
  return String(Number(revision) + 1)
}

function seenStart(tables: SpoolTables): SeenStart {
  const { meta } = tables
  const stored = Number(meta.get(TRUSTED) ?? NaN)
  return {
    spans: spansOf(tables),
    revision: meta.get(REVISION) ?? NO_REVISION,
    trustedMs: Number.isFinite(stored) ? stored : null,
  }
}

/** The spans that the table of ids holds, in order. */
function spansOf({ seen }: SpoolTables): number[] {
  const spans: number[] = []
  for (let start: Buffer = NOTHING; ;) {
    const [key] = seen.getKeys({ start, limit: 1 })
    if (key === undefined) return spans
    spans.push(spanIn(key))
    start = spanStart(spanIn(key) + 1)
  }
}

const noKey = (): MinimError => new MinimError('MINIM_SPOOL_BROKEN', { what: 'the key of the day is not there' })

function asBroken(error: unknown): MinimError {
  if (error instanceof MinimError)
    return error.code === 'MINIM_SPOOL_BROKEN' ? error : new MinimError('MINIM_SPOOL_BROKEN', { what: error.code })
  return new MinimError('MINIM_SPOOL_BROKEN', { what: 'unexpected' }, { cause: error })
}
