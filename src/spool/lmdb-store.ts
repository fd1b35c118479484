/**
 * The spool's store in an LMDB environment: its tables, its transactions, and what becomes of it when the disk fails.
 *
 * What is relied on (lmdb-js 3.5, its LMDB 0.9.90): the environment is opened with `overlappingSync: false`, so that a
 * transaction's promise is LMDB's own commit: pages written, `fdatasync`, then the meta page through an `O_DSYNC`
 * descriptor. When it resolves the data is on disk; when it rejects nothing of it is to be seen (a torn write lies in
 * pages that no meta page points to). lmdb-js's default, `overlappingSync: true`, resolves before the flush, and
 * `db.flushed` then never settles when the flush fails; measured here it is no faster, since puts are gathered while a
 * write is under way. All of it runs on lmdb-js's own thread; the transaction's callback runs on this one, under the
 * write lock that all processes share: so looking an id up and storing it is one step for all workers. The lock is
 * robust: a process that is killed in the middle of a transaction does not hold up the others.
 *
 * lmdb-js commits what a callback has written even if the callback throws: whatever can fail has to come before the
 * first write.
 *
 * LMDB as lmdb-js builds it must not meet a write that fails at once (ENOSPC, EROFS): it formats what it says about it
 * into 100 bytes that may be too few, which has been seen to end the process. So the disk is asked first ({@link
 * LmdbStore.probe}): what is free, and whether a file beside the data can be written. What fails between the question
 * and the write may still end the process; nothing acknowledged is lost by that. A reserve also keeps room for
 * deleting, which needs pages before it frees any.
 */
import { randomUUID } from 'node:crypto'
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, statfsSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { type Database, open, type RootDatabase } from 'lmdb'
import { errorCode } from '../base/system-error.js'
import { MinimError } from '../errors/catalogue.js'
import { MAX_SHARDS } from '../flow/shards.js'
import { epochId } from '../keys/epochs.js'
import { SPOOL_DOMAIN } from '../keys/keyring.js'
import { sealedAt } from './block.js'
import { environmentClosed, environmentOpened } from './open.js'
import type { KeyRange, SpoolStore, SpoolTable, SpoolTables } from './store.js'

const FORMAT = '1'
const LOCK_FILE_BYTES = 65_536
/** Address space only; LMDB grows the map by itself, but that is easier where no other process has it mapped. */
const MIN_MAP_BYTES = 1 << 28

/** What has to be free for a write: the largest transaction, and what deleting needs. */
const RESERVE_BYTES = 16 << 20
/** Of that, what deleting may use when no more is left. */
const FLOOR_BYTES = 2 << 20
const PROBE = Buffer.from('minim\n')

/** What LMDB says of a table's pages. */
interface TableStats {
  readonly pageSize: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

class LmdbTable<Key extends number | string | Buffer, Value> implements SpoolTable<Key, Value> {
  readonly #database: Database<Value, Key>

  constructor(database: Database<Value, Key>) {
    this.#database = database
  }

  get(key: Key): Value | undefined {
    return this.#database.get(key)
  }

  has(key: Key): boolean {
    return this.#database.doesExist(key)
  }

  put(key: Key, value: Value): void {
    this.#database.putSync(key, value)
  }

  remove(key: Key): void {
    this.#database.removeSync(key)
  }

  keys(range: KeyRange<Key> = {}): Iterable<Key> {
    return this.#database.getKeys(range)
  }

  values(range: KeyRange<Key> = {}): Iterable<Value> {
    return this.#database.getRange(range).map(({ value }) => value)
  }

  count(range: KeyRange<Key> = {}): number {
    return this.#database.getKeysCount(range)
  }

  prefetch(keys: Key[]): Promise<void> {
    return this.#database.prefetch(keys)
  }

  get bytes(): number {
    const stats = this.#database.getStats() as TableStats
    return stats.pageSize * (stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages)
  }
}

interface Opened extends SpoolTables {
  /** A file beside the data, open for writing. */
  readonly probe: number
  readonly root: RootDatabase<Buffer, number>
}

/**
 * Errors after which an environment goes on as it is: nothing was written. What else fails may have reached the meta
 * page.
 */
const HARMLESS = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'MDB_MAP_FULL'])

export class LmdbStore implements SpoolStore {
  readonly path: string
  readonly worker: number
  /** Names this worker's part of the spool in the ledger. */
  readonly uuid: string
  readonly #mapSize: number
  #opened: Opened | null
  #doubtful = false

  /** @throws MinimError MINIM_SPOOL_OPEN */
  static open(path: string, worker: number, maxBytes: number): LmdbStore {
    return new LmdbStore(path, worker, maxBytes)
  }

  private constructor(path: string, worker: number, maxBytes: number) {
    this.path = path
    this.worker = worker
    this.#mapSize = Math.max(MIN_MAP_BYTES, Math.ceil(maxBytes / 0x100000) * 2 * 0x100000)
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      chmodSync(path, 0o700)
      // Written, not only made long: it is mapped, and the first touch of a page that a full disk has no room for would
      // be a SIGBUS.
      try {
        writeFileSync(join(path, 'lock.mdb'), Buffer.alloc(LOCK_FILE_BYTES), { flag: 'wx', mode: 0o600 })
      } catch (error) {
        if (errorCode(error) !== 'EEXIST') throw error
      }
      this.#opened = this.#open()
      for (const file of ['data.mdb', 'lock.mdb']) chmodSync(join(path, file), 0o600)
      this.uuid = this.#identify(this.#opened)
    } catch (error) {
      throw error instanceof MinimError ? error : new MinimError('MINIM_SPOOL_OPEN', { path, what: lmdbCode(error) })
    }
  }

  get tables(): SpoolTables | null {
    return this.#opened
  }

  async transaction<T>(action: (tables: SpoolTables) => T): Promise<T> {
    const opened = this.#opened
    if (opened === null) throw new MinimError('MINIM_SPOOL_BROKEN', { what: 'it is closed' })
    let ran = false
    try {
      return await opened.root.transaction(() => {
        const result = action(opened)
        ran = true
        return result
      })
    } catch (error) {
      if (error instanceof MinimError) throw error
      // lmdb-js rejects with an error that holds another one's promise, which nobody else would wait for.
      const inner: unknown = await Promise.resolve((error as { commitError?: Promise<unknown> }).commitError).catch(
        (cause: unknown) => cause,
      )
      const code = lmdbCode(inner ?? error)
      // A commit that failed on its meta page leaves LMDB refusing all others, and lmdb-js then waiting for ever.
      this.#doubtful ||= ran && !HARMLESS.has(code)
      throw new MinimError('MINIM_SPOOL_BROKEN', { what: code })
    }
  }

  /** {@link mend} opens the files again. */
  async release(): Promise<void> {
    this.#doubtful = true
    await this.close()
  }

  async mend(): Promise<void> {
    if (this.#opened !== null && !this.#doubtful) return
    await this.close()
    try {
      // A disk that is not mounted leaves its folder behind, empty: LMDB would begin anew there.
      if (!existsSync(join(this.path, 'data.mdb'))) throw new MinimError('MINIM_SPOOL_BROKEN', { what: 'ENOENT' })
      const opened = this.#open()
      if (opened.meta.get(`uuid-${this.worker}`) !== this.uuid) {
        closeSync(opened.probe)
        await opened.root.close()
        environmentClosed()
        throw new MinimError('MINIM_SPOOL_BROKEN', { what: 'its folder holds another' })
      }
      this.#opened = opened
      this.#doubtful = false
    } catch (error) {
      throw error instanceof MinimError ? error : new MinimError('MINIM_SPOOL_BROKEN', { what: lmdbCode(error) })
    }
  }

  probe(usedBytes: number, deleting = false): string | null {
    if (this.#opened === null) return null
    try {
      const { bavail, bsize } = statfsSync(this.path)
      const free = bavail * bsize
      const { lastPageNumber, pageSize } = this.#opened.root.getStats() as { lastPageNumber: number; pageSize: number }
      const within = Math.max(0, (lastPageNumber + 1) * pageSize - usedBytes)
      if (free < FLOOR_BYTES || (!deleting && free + within < RESERVE_BYTES)) return 'ENOSPC'
      writeSync(this.#opened.probe, PROBE, 0, PROBE.length, 0)
      return null
    } catch (error) {
      return errorCode(error)
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened
    this.#opened = null
    if (opened === null) return
    closeSync(opened.probe)
    await opened.root.close()
    environmentClosed()
  }

  #open(): Opened {
    // Batches by turns of the event loop have a promise of their own, which nobody holds: it would be an unhandled
    // rejection when a write fails.
    const root = open<Buffer, number>({
      path: this.path,
      noSubdir: false,
      overlappingSync: false,
      eventTurnBatching: false,
      mapSize: this.#mapSize,
      maxDbs: MAX_SHARDS * 2 + 4,
      encoding: 'binary',
    })
    environmentOpened()
    return {
      root,
      probe: openSync(join(this.path, 'probe'), 'w', 0o600),
      blocks: new LmdbTable(root.openDB<Buffer, number>({ name: `blocks-${this.worker}`, encoding: 'binary' })),
      damaged: new LmdbTable(root.openDB<Buffer, number>({ name: `damaged-${this.worker}`, encoding: 'binary' })),
      seen: new LmdbTable(root.openDB<Buffer, Buffer>({ name: 'seen', encoding: 'binary', keyEncoding: 'binary' })),
      meta: new LmdbTable(root.openDB<string, string>({ name: 'meta', encoding: 'string' })),
    }
  }

  #identify({ root, meta }: Opened): string {
    const format = meta.get('format')
    if (format !== undefined && format !== FORMAT)
      throw new MinimError('MINIM_SPOOL_OPEN', { path: this.path, what: 'another version of minim wrote it' })
    const key = `uuid-${this.worker}`
    return (
      meta.get(key) ??
      root.transactionSync(() => {
        const uuid = randomUUID()
        meta.put('format', FORMAT)
        meta.put(key, uuid)
        return uuid
      })
    )
  }
}

/**
 * How many blocks of a folder, of all workers, are under the key of a day. For who wants to destroy it; a spool in use
 * may be asked.
 */
export async function blocksOfDay(path: string, day: string): Promise<number> {
  if (!existsSync(join(path, 'data.mdb'))) return 0
  const root = open<Buffer, string>({
    path,
    noSubdir: false,
    readOnly: true,
    overlappingSync: false,
    maxDbs: MAX_SHARDS * 2 + 4,
    encoding: 'binary',
  })
  try {
    let count = 0
    for (const name of [...root.getKeys()].filter((key) => key.startsWith('blocks-'))) {
      for (const { value } of root.openDB<Buffer, number>({ name, encoding: 'binary' }).getRange()) {
        const at = sealedAt(value)
        if (at !== null && epochId(SPOOL_DOMAIN.epoch, at) === day) count++
      }
    }
    return count
  } finally {
    await root.close()
  }
}

/** Codes alone: system messages may name paths. */
function lmdbCode(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (typeof code === 'number' && code > 0) {
    try {
      return getSystemErrorName(-code)
    } catch {
      return `error ${code}`
    }
  }
  if (typeof code === 'string') return code
  return /^MDB_[A-Z_]+/.exec(String(message))?.[0] ?? 'unknown'
}
