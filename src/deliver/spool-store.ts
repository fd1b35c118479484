/**
 * The spool's LMDB environment: its tables, its transactions, and what becomes of it when the disk fails.
 *
 * What is relied on (lmdb-js 3.5, its LMDB 0.9.90): the environment is opened with `overlappingSync: false`, so that a transaction's
 * promise is LMDB's own commit: pages written, `fdatasync`, then the meta page through an `O_DSYNC` descriptor. When it resolves the
 * data is on disk; when it rejects nothing of it is to be seen (a torn write lies in pages that no meta page points to). lmdb-js's
 * default, `overlappingSync: true`, resolves before the flush, and `db.flushed` then never settles when the flush fails; measured here it
 * is no faster, since puts are gathered while a write is under way. All of it runs on lmdb-js's own thread; the transaction's callback
 * runs on this one, under the write lock that all processes share: so looking an id up and storing it is one step for all workers.
 * The lock is robust: a process that is killed in the middle of a transaction does not hold up the others.
 *
 * lmdb-js commits what a callback has written even if the callback throws: whatever can fail has to come before the first write.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { open, type Database, type RootDatabase } from 'lmdb'
import { MinimError } from '../errors/catalogue.js'
import { errorCode } from '../keys/master.js'

/** Workers that one folder may serve. */
export const MAX_WORKERS = 64
const FORMAT = '1'
const LOCK_FILE_BYTES = 65_536
/** Address space only; LMDB grows the map by itself, but that is easier where no other process has it mapped. */
const MIN_MAP_BYTES = 1 << 28

export interface SpoolTables {
  /** Sealed blocks by sequence. */
  readonly blocks: Database<Buffer, number>
  /** Blocks that could not be opened. */
  readonly damaged: Database<Buffer, number>
  /** `spool-seen.ts`. */
  readonly seen: Database<Buffer, Buffer>
  readonly meta: Database<string, string>
}

interface Opened extends SpoolTables {
  readonly root: RootDatabase<Buffer, number>
}

/** Errors after which an environment goes on as it is: nothing was written. What else fails may have reached the meta page. */
const HARMLESS = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'MDB_MAP_FULL'])

export class SpoolStore {
  readonly path: string
  readonly worker: number
  /** Names this worker's part of the spool in the ledger. */
  readonly uuid: string
  readonly #mapSize: number
  #opened: Opened | null
  #doubtful = false

  /** @throws MinimError MINIM_SPOOL_OPEN */
  static open(path: string, worker: number, maxBytes: number): SpoolStore {
    return new SpoolStore(path, worker, maxBytes)
  }

  private constructor(path: string, worker: number, maxBytes: number) {
    this.path = path
    this.worker = worker
    this.#mapSize = Math.max(MIN_MAP_BYTES, Math.ceil(maxBytes / 0x100000) * 2 * 0x100000)
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      chmodSync(path, 0o700)
      // Written, not only made long: it is mapped, and the first touch of a page that a full disk has no room for would be a SIGBUS.
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

  /** null while it could not be opened again. */
  get tables(): SpoolTables | null {
    return this.#opened
  }

  /**
   * Runs an action in a write transaction. Resolves when what it wrote is on disk.
   * @throws MinimError MINIM_SPOOL_BROKEN; or whatever the action throws
   */
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
      const inner: unknown = await Promise.resolve((error as { commitError?: Promise<unknown> }).commitError).catch((cause: unknown) => cause)
      const code = lmdbCode(inner ?? error)
      // A commit that failed on its meta page leaves LMDB refusing all others, and lmdb-js then waiting for ever.
      this.#doubtful ||= ran && !HARMLESS.has(code)
      throw new MinimError('MINIM_SPOOL_BROKEN', { what: code })
    }
  }

  /** Opens the environment again if the last failure may have left it unusable. @throws MinimError MINIM_SPOOL_BROKEN */
  async mend(): Promise<void> {
    if (this.#opened !== null && !this.#doubtful) return
    await this.close()
    try {
      this.#opened = this.#open()
      this.#doubtful = false
    } catch (error) {
      throw new MinimError('MINIM_SPOOL_BROKEN', { what: lmdbCode(error) })
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened
    this.#opened = null
    await opened?.root.close()
  }

  #open(): Opened {
    const root = open<Buffer, number>({
      path: this.path, noSubdir: false, overlappingSync: false, mapSize: this.#mapSize, maxDbs: MAX_WORKERS * 2 + 4, encoding: 'binary',
    })
    return {
      root,
      blocks: root.openDB<Buffer, number>({ name: `blocks-${this.worker}`, encoding: 'binary' }),
      damaged: root.openDB<Buffer, number>({ name: `damaged-${this.worker}`, encoding: 'binary' }),
      seen: root.openDB<Buffer, Buffer>({ name: 'seen', encoding: 'binary', keyEncoding: 'binary' }),
      meta: root.openDB<string, string>({ name: 'meta', encoding: 'string' }),
    }
  }

  #identify({ root, meta }: Opened): string {
    const format = meta.get('format')
    if (format !== undefined && format !== FORMAT) throw new MinimError('MINIM_SPOOL_OPEN', { path: this.path, what: 'another version of minim wrote it' })
    const key = `uuid-${this.worker}`
    return meta.get(key) ?? root.transactionSync(() => {
      const uuid = randomUUID()
      meta.putSync('format', FORMAT)
      meta.putSync(key, uuid)
      return uuid
    })
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
