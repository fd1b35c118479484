/**
 * The key store: one file that holds a random key per purpose and epoch, each wrapped by the master key, and a
 * tombstone for each that was destroyed. Shared by every process on a host (and over a file system with working
 * `flock`, by a fleet).
 *
 * Written whole: under the lock, re-read first, to a temporary file that is renamed over it. Its temporary file always
 * has the same name, so that one left by a crash is gone after the next write, and a destroyed key with it.
 *
 * What it does not protect against: who holds the master key *and* an older copy of this file (a backup) can still read
 * the keys in it. Destroying a key means destroying those copies as well.
 */
import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { withFileLock } from '../base/file-lock.js'
import { errorCode } from '../base/system-error.js'
import { MinimError } from '../errors/catalogue.js'
import { CachedKeyring, joinName, type KeyName } from './cached-keyring.js'
import { epochEnd, epochId, parseEpochId } from './epochs.js'
import { type KeyAbsence, LEDGER_DOMAIN, QUARANTINE_DOMAIN, SPOOL_DOMAIN } from './keyring.js'
import { type MasterKey, refuseLoose } from './master.js'

/** Format of the file. Part of what each wrapped key authenticates. */
const STORE_VERSION = 1
/** How long a change that another process made may go unseen: a destroyed key is in use no longer than this. */
const STORE_REFRESH_MS = 1000

/** What may be told of a key. */
export interface KeyStatus extends KeyName {
  readonly createdAt: string | null
  readonly destroyedAt: string | null
}

interface StoredKey extends KeyName {
  readonly createdAt: string
  /** Nonce, ciphertext and tag, base64. */
  readonly wrapped: string
}

interface Tombstone extends KeyName {
  /** Null when the key was destroyed before it was ever made. */
  readonly createdAt: string | null
  readonly destroyedAt: string
}

type Entry = StoredKey | Tombstone

/** The file's content. */
interface StoreFile {
  readonly minimKeyStore: typeof STORE_VERSION
  /** Salt for what is derived from the master: the same master proves and wraps differently in each store. */
  readonly salt: string
  /** Proves the master key without revealing it. */
  readonly check: string
  readonly keys: readonly Entry[]
}

export interface KeyStoreOptions {
  readonly now?: () => number
  readonly refreshMs?: number
}

export class KeyStore extends CachedKeyring {
  readonly path: string
  readonly #master: MasterKey
  readonly #refreshMs: number
  #wrappingKey: Buffer
  #file: StoreFile
  #entries: Map<string, Entry>
  #stamp: string
  #nextLookMs: number

  /**
   * Makes an empty store.
   * @throws MinimError `MINIM_KEYS_STORE_EXISTS` when the file is there already, whatever it holds
   */
  static create(path: string, master: MasterKey): void {
    withFileLock(path, () => {
      if (exists(path)) throw new MinimError('MINIM_KEYS_STORE_EXISTS', { path })
      const salt = randomBytes(16)
      writeStore(path, {
        minimKeyStore: STORE_VERSION,
        salt: salt.toString('base64'),
        check: checkValue(master, salt).toString('base64'),
        keys: [],
      })
    })
  }

  /**
   * @throws MinimError when there is no store, it is damaged or readable by others, or the master key is not its own
   */
  static open(path: string, master: MasterKey, options: KeyStoreOptions = {}): KeyStore {
    return new KeyStore(path, master, options)
  }

  /** What the file tells without the master key. */
  static status(path: string): readonly KeyStatus[] {
    return statusOf(readStore(path).file)
  }

  private constructor(path: string, master: MasterKey, options: KeyStoreOptions) {
    super(options.now ?? Date.now)
    // Renaming over a symbolic link would leave the file that it points to behind, with every key in it.
    this.path = exists(path) ? realpathSync(path) : path
    this.#master = master
    this.#refreshMs = options.refreshMs ?? STORE_REFRESH_MS
    const { file, stamp } = readStore(this.path)
    this.#wrappingKey = proveMaster(this.path, file, master)
    this.#file = file
    this.#entries = index(file)
    this.#stamp = stamp
    this.#nextLookMs = performance.now() + this.#refreshMs
  }

  status(): readonly KeyStatus[] {
    this.refresh()
    return statusOf(this.#file)
  }

  /**
   * Ends an epoch: its wrapped key is deleted, and a tombstone keeps it from being made again. Nobody can read what is
   * under it from then on.
   * @returns false when it was destroyed before
   */
  destroy(purpose: string, epoch: string): boolean {
    const parsed = parseEpochId(epoch)
    if (parsed === null || !this.mayHaveKey(epoch)) throw new MinimError('MINIM_KEYS_NO_EPOCH', { epoch })
    // Without it no batch could be told from another that is sent under its number, and streams would stop.
    if (purpose === LEDGER_DOMAIN.id) throw new MinimError('MINIM_KEYS_NEVER', { purpose, epoch })
    // Refused input has nowhere else to go: without today's key it would be lost, or stop delivery. So it is with the
    // spool.
    if (
      (purpose === QUARANTINE_DOMAIN.id || purpose === SPOOL_DOMAIN.id) &&
      epochEnd(parsed.length, parsed.startMs) > this.now()
    ) {
      throw new MinimError('MINIM_KEYS_IN_USE', { purpose, epoch, now: epochId(parsed.length, this.now()) })
    }
    return withFileLock(this.path, () => {
      this.#load()
      const old = this.#entries.get(joinName(purpose, epoch))
      if (old !== undefined && 'destroyedAt' in old) return false
      const tombstone: Tombstone = { purpose, epoch, createdAt: old?.createdAt ?? null, destroyedAt: this.#timestamp() }
      this.#write([...this.#file.keys.filter((entry) => entry !== old), tombstone])
      return true
    })
  }

  protected refresh(): void {
    const nowMs = performance.now()
    if (nowMs < this.#nextLookMs) return
    if (stampOf(this.path) !== this.#stamp) this.#load()
    // Only now: a store that is refused stays refused, it is not forgotten until the next look.
    this.#nextLookMs = nowMs + this.#refreshMs
  }

  protected obtain(names: readonly KeyName[], mayMake: boolean): readonly (Buffer | KeyAbsence)[] {
    const lacking = (name: KeyName): boolean => !this.#entries.has(joinName(name.purpose, name.epoch))
    if (mayMake && names.some(lacking)) {
      withFileLock(this.path, () => {
        // Another process may have made them since: two keys for one epoch would split a subject in two.
        this.#load()
        const made = names.filter(lacking).map((name) => this.#wrap(name, randomBytes(32)))
        if (made.length > 0) this.#write([...this.#file.keys, ...made])
      })
    }
    return names.map((name) => {
      const entry = this.#entries.get(joinName(name.purpose, name.epoch))
      if (entry === undefined) return 'absent'
      return 'destroyedAt' in entry ? 'destroyed' : this.#unwrap(entry)
    })
  }

  #load(): void {
    const { file, stamp } = readStore(this.path)
    if (stamp === this.#stamp) return
    this.#wrappingKey = proveMaster(this.path, file, this.#master)
    this.#adopt(file, stamp)
  }

  #write(keys: readonly Entry[]): void {
    const file = { ...this.#file, keys: [...keys].sort(byName) }
    writeStore(this.path, file)
    this.#adopt(file, stampOf(this.path))
  }

  #adopt(file: StoreFile, stamp: string): void {
    this.#file = file
    this.#entries = index(file)
    this.#stamp = stamp
    this.forget()
  }

  #wrap({ purpose, epoch }: KeyName, key: Buffer): StoredKey {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#wrappingKey, nonce)
    cipher.setAAD(wrapContext(purpose, epoch))
    const wrapped = Buffer.concat([nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()])
    return { purpose, epoch, createdAt: this.#timestamp(), wrapped: wrapped.toString('base64') }
  }

  #unwrap({ purpose, epoch, wrapped }: StoredKey): Buffer {
    const bytes = Buffer.from(wrapped, 'base64')
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#wrappingKey, bytes.subarray(0, 12), { authTagLength: 16 })
      decipher.setAAD(wrapContext(purpose, epoch))
      decipher.setAuthTag(bytes.subarray(-16))
      return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()])
    } catch {
      throw corrupt(this.path, `the key of ${purpose} ${epoch} does not belong there`)
    }
  }

  #timestamp(): string {
    return new Date(this.now()).toISOString()
  }

  override toJSON(): string {
    return `[key store ${this.path}]`
  }
}

/** Binds a wrapped key to its place, so that entries cannot be exchanged. No purpose's id holds a zero byte. */
function wrapContext(purpose: string, epoch: string): Buffer {
  return Buffer.from(`minim key store ${STORE_VERSION}\0${purpose}\0${epoch}`)
}

function checkValue(master: MasterKey, salt: Buffer): Buffer {
  return master.derive('check', salt, 16)
}

/** @returns the wrapping key */
function proveMaster(path: string, file: StoreFile, master: MasterKey): Buffer {
  const salt = Buffer.from(file.salt, 'base64')
  if (!timingSafeEqual(checkValue(master, salt), Buffer.from(file.check, 'base64'))) {
    throw new MinimError('MINIM_KEYS_WRONG_MASTER', { path, source: master.source })
  }
  return master.derive('wrap', salt, 32)
}

function index(file: StoreFile): Map<string, Entry> {
  return new Map(file.keys.map((entry) => [joinName(entry.purpose, entry.epoch), entry]))
}

function statusOf(file: StoreFile): readonly KeyStatus[] {
  return file.keys.map((entry) => ({
    purpose: entry.purpose,
    epoch: entry.epoch,
    createdAt: entry.createdAt,
    destroyedAt: 'destroyedAt' in entry ? entry.destroyedAt : null,
  }))
}

function byName(a: KeyName, b: KeyName): number {
  return a.purpose < b.purpose ? -1 : a.purpose > b.purpose ? 1 : a.epoch < b.epoch ? -1 : a.epoch > b.epoch ? 1 : 0
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Tells one version of the file from the next: each has an inode of its own. */
function stampOf(path: string): string {
  try {
    const stat = statSync(path, { bigint: true })
    return `${stat.ino} ${stat.mtimeNs} ${stat.size} ${stat.mode}`
  } catch (error) {
    throw ioError(path, error)
  }
}

function readStore(path: string): { readonly file: StoreFile; readonly stamp: string } {
  let text: string
  let stamp: string
  try {
    const fd = openSync(path, 'r')
    try {
      const stat = fstatSync(fd, { bigint: true })
      refuseLoose(path, Number(stat.mode))
      stamp = `${stat.ino} ${stat.mtimeNs} ${stat.size} ${stat.mode}`
      text = readFileSync(fd, 'utf8')
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    throw error instanceof MinimError ? error : ioError(path, error)
  }
  return { file: parseStore(path, text), stamp }
}

/** Temporary file, its bytes on the disk, renamed, the folder's entry on the disk. */
function writeStore(path: string, file: StoreFile): void {
  const temporary = join(dirname(path), `.${basename(path)}.tmp`)
  try {
    rmSync(temporary, { force: true })
    const fd = openSync(temporary, 'wx', 0o600)
    try {
      writeFileSync(fd, `${JSON.stringify(file, null, 2)}\n`)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
    const folder = openSync(dirname(path), 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  } catch (error) {
    rmSync(temporary, { force: true })
    throw ioError(path, error)
  }
}

/**
 * Checks all of it: a store that is half understood must not be written again. Says where it is wrong, never what is
 * there.
 */
function parseStore(path: string, text: string): StoreFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw corrupt(path, text.trim() === '' ? 'it is empty' : 'it is no JSON')
  }
  if (!isObject(value) || !('minimKeyStore' in value)) throw corrupt(path, 'it is no key store')
  if (value.minimKeyStore !== STORE_VERSION) throw corrupt(path, `its format is not ${STORE_VERSION}`)
  if (!isBase64(value.salt, 16)) throw corrupt(path, 'salt is damaged')
  if (!isBase64(value.check, 16)) throw corrupt(path, 'check is damaged')
  if (!Array.isArray(value.keys)) throw corrupt(path, 'keys is no list')
  const seen = new Set<string>()
  value.keys.forEach((entry: unknown, at) => {
    if (!isEntry(entry)) throw corrupt(path, `keys[${at}] is damaged`)
    const name = joinName(entry.purpose, entry.epoch)
    if (seen.has(name)) throw corrupt(path, `keys[${at}] is there twice`)
    seen.add(name)
  })
  return value as unknown as StoreFile
}

function isEntry(value: unknown): value is Entry {
  if (
    !isObject(value) ||
    typeof value.purpose !== 'string' ||
    typeof value.epoch !== 'string' ||
    parseEpochId(value.epoch) === null
  )
    return false
  return 'destroyedAt' in value
    ? isTime(value.destroyedAt) && (value.createdAt === null || isTime(value.createdAt)) && !('wrapped' in value)
    : isTime(value.createdAt) && isBase64(value.wrapped, 12 + 32 + 16)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isTime(value: unknown): boolean {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

function isBase64(value: unknown, bytes: number): boolean {
  if (typeof value !== 'string') return false
  const decoded = Buffer.from(value, 'base64')
  return decoded.length === bytes && decoded.toString('base64') === value
}

function corrupt(path: string, what: string): MinimError {
  return new MinimError('MINIM_KEYS_STORE_CORRUPT', { path, what })
}

function ioError(path: string, error: unknown): MinimError {
  const what = errorCode(error)
  return what === 'ENOENT'
    ? new MinimError('MINIM_KEYS_NO_STORE', { path })
    : new MinimError('MINIM_KEYS_STORE_IO', { path, what })
}
