/**
 * Follows a file that is still written to: call records as Asterisk appends them to `Master.csv`, over rotation,
 * truncation and restarts.
 *
 *   Master.csv ──append──▶ read from its place ──whole lines──▶ sink (delivery, or an agent's stream) ──▶ place, by the file's identity
 *       │ renamed, or copied and truncated
 *       ▼
 *   Master.csv.1          finished first, from its own place
 *
 * - **Only whole records.** A line waits for its line feed, however long; so does a quoted field that holds line feeds.
 *   What a file that was rotated ends in is taken when nothing has changed it for `settleMs`: as a record if its format
 *   says that it is all there, else it goes to quarantine.
 * - **Rotation by renaming** (logrotate's `create`, Asterisk's own): the open file is read to its end, then the new one
 *   from its start.
 * - **Rotation by truncation** (`copytruncate`): the copy is found in the folder by its first 4 KiB, which are those of
 *   the file that was followed, and read from where that one was left. What is written between logrotate's copy and its
 *   truncation is in neither file.
 * - **While nobody looked**: rotated files are known again by their identity and finished, oldest first; one that the
 *   ledger does not know, but that is younger than one it knows and called as rotated files are, is read from its
 *   start. Compressed files are not read.
 * - **Every read is proved.** The file's beginning is read again *after* each chunk: if it is what it was, the chunk is
 *   of the same file contents, even if the file was truncated and written anew meanwhile.
 *
 * The next chunk is read when the sink has taken the one before, into buffers that come back with the acknowledgement;
 * so memory is flat. `fs.watch` only says when to look; a look every `pollMs` does without it.
 */
import { constants, type FSWatcher, watch } from 'node:fs'
import { type FileHandle, lstat, open, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { Backoff } from '../../base/backoff.js'
import type { Batch, Reader } from '../../batch/batch.js'
import type { SharedBatch } from '../../batch/lease.js'
import { MinimError } from '../../errors/catalogue.js'
import type { SourceCounters } from '../../flow/counters.js'
import type { Logger } from '../../flow/log.js'
import type { SourceId } from '../../flow/work-item.js'
import { FileIdentity, IDENTITY_BYTES, type Places } from './file-identity.js'
import { ChunkPool, FileChunk, type FilledPiece, readFully, unreadable } from './files.js'

/** Whole records of a followed file. */
export interface FollowedPiece {
  /** The file's identity at its end, and what that was at its beginning. */
  readonly id: SourceId
  readonly idBefore: SourceId
  /** Device and inode that the identities are of; empty for a file that is named. */
  readonly place: string
  /** Where it begins and ends in the file. */
  readonly start: number
  readonly endOffset: number
  readonly bytes: number
  /** Records that were read of it, well or ill. */
  readonly records: number
  readonly receivedAt: number
  /** Nothing follows it in the file. */
  readonly last: boolean
  /** One record, too long to be taken. */
  readonly tooLarge: boolean
  /** The batch with its records, filled again if need be. Whoever asks uses it up, before anything else runs. */
  batch(): Batch
  /** Lets go of its bytes. */
  release(): void
}

/** Where the records of followed files go, and what is known of those that went. */
export interface FollowSink extends Places {
  /** Resolves when more may come. */
  offer(piece: FollowedPiece): Promise<void>
  /** Resolves when it is decided what became of all that was offered. */
  settled(): Promise<void>
  /** The first piece that was not taken since this was asked last. */
  failure(): { readonly error: Error; readonly sequence: number } | null
  /** When the oldest piece was read that is not safe yet, by `performance.now()`; null when all are. */
  readonly oldest: number | null
}

export interface FollowOptions {
  readonly path: string
  /** Where it stands in the settings: what log lines call it. */
  readonly position: number
  /** Other files that are followed: neither they nor their rotated files are this one's. */
  readonly others: readonly string[]
  /** Name in the ledger; null: the file's own identity. */
  readonly source: string | null
  readonly reader: Reader
  /** The batch that several files fill in turn. */
  readonly shared: SharedBatch
  readonly sink: FollowSink
  readonly pollMs: number
  /** How long a rotated file must be unchanged to be taken as finished. */
  readonly settleMs: number
  readonly maxRecordBytes: number
  /** Read at once. Default 256 KiB. */
  readonly chunkBytes?: number
  readonly log: Logger
  readonly counters: SourceCounters
  readonly signal: AbortSignal
}

const CHUNK_BYTES = 262_144
/** Buffers of a file: one being read, the others on their way. */
const BUFFERS = 4
const SCRATCH_BYTES = 131_072
const BACKOFF_MAX_MS = 60_000
/** Hints come in swarms: a busy file is looked at so often at most. */
const HINT_MS = 20
/** More than a tick of any file system's clock. */
const TICK_MS = 100
/** Rotated files that are looked at: the youngest. */
const MAX_CANDIDATES = 512

/** A file that may grow, be renamed or emptied while it is open. */
export class GrowingFile {
  readonly #handle: FileHandle
  readonly #name: string | null
  readonly #label: string

  private constructor(
    handle: FileHandle,
    readonly place: string,
    public identity: FileIdentity,
    name: string | null,
    label: string,
  ) {
    this.#handle = handle
    this.#name = name
    this.#label = label
  }

  /**
   * @param name of its source; null: named by its place
   * @param place that of another file, if this is a copy of it
   * @returns null when there is none
   * @throws MinimError MINIM_FILE_UNREADABLE
   */
  static async open(
    file: string,
    label: string,
    name: string | null,
    place: string | null = null,
  ): Promise<GrowingFile | null> {
    let handle: FileHandle | null = null
    try {
      // Opening a pipe would wait for its other end.
      handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
      const { dev, ino, size, isFile } = await handle
        .stat({ bigint: true })
        .then((s) => ({ dev: s.dev, ino: s.ino, size: Number(s.size), isFile: s.isFile() }))
      if (!isFile) throw Object.assign(new Error(), { code: 'NOT_A_FILE' })
      const head = await readHead(handle, size)
      return new GrowingFile(
        handle,
        `${dev} ${ino}`,
        new FileIdentity(name, name !== null ? '' : (place ?? `${dev} ${ino}`), head),
        name,
        label,
      )
    } catch (error) {
      await handle?.close()
      if ((error as { code?: string }).code === 'ENOENT') return null
      throw unreadable(error, label)
    }
  }

  async stat(): Promise<{ readonly size: number; readonly changedMs: number }> {
    const { size, mtimeMs, ctimeMs } = await this.#handle.stat()
    return { size, changedMs: Math.max(mtimeMs, ctimeMs) }
  }

  /**
   * Reads bytes and proves that they are of the file that this was.
   * @returns how many; -1 when its contents were replaced
   */
  async read(into: Buffer, at: number, offset: number, length: number): Promise<number> {
    try {
      await readFully(this.#handle, into, at, offset, length)
    } catch (error) {
      if ((error as { code?: string }).code === 'SHRUNK') return -1
      throw unreadable(error, this.#label)
    }
    const { head } = this.identity
    const known =
      head.length < IDENTITY_BYTES && offset <= head.length && offset + length > head.length
        ? Buffer.concat([head.subarray(0, offset), into.subarray(at, at + Math.min(length, IDENTITY_BYTES - offset))])
        : head
    if (!known.subarray(0, head.length).equals(head) || !(await this.begins(known))) return -1
    if (known !== head) this.identity = new FileIdentity(this.#name, this.identity.place, known)
    return length
  }

  /** Whether it (still) begins with these bytes. */
  async begins(head: Buffer = this.identity.head): Promise<boolean> {
    try {
      return (await readHead(this.#handle, head.length)).equals(head)
    } catch (error) {
      if ((error as { code?: string }).code === 'SHRUNK') return false
      throw unreadable(error, this.#label)
    }
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

async function readHead(handle: FileHandle, size: number): Promise<Buffer> {
  const head = Buffer.alloc(Math.min(IDENTITY_BYTES, size))
  await readFully(handle, head, 0, 0, head.length)
  return head
}

/** A rotated file that is not finished. */
export interface Rotated {
  readonly file: string
  /** Device and inode. */
  readonly place: string
  readonly size: number
  /** The place of the file that it is a copy of: its identity is of that. */
  readonly copyOf: string | null
}

interface Candidate {
  readonly file: string
  readonly name: string
  readonly place: string
  readonly size: number
  readonly mtimeNs: bigint
  readonly head: Buffer
}

/** Files that nobody reads lines of. */
const COMPRESSED = /\.(gz|bz2|xz|zst|lz4|lzma|Z|zip)$/

/** How well a name in a folder fits a followed file's: -1 for not at all. */
function fit(entry: string, file: string): number {
  const base = path.basename(file)
  const { name: stem } = path.parse(base)
  return entry.startsWith(base) ? base.length + 1 : entry.startsWith(stem) ? stem.length : -1
}

/** A file that may be a rotated one of a path. */
export interface Listed {
  readonly file: string
  readonly name: string
  readonly mtimeNs: bigint
  readonly inode: bigint
}

/** Rotated within one tick of the file system's clock: the higher number is the older file. */
const byNumber = new Intl.Collator('en', { numeric: true })

/** The files of a folder that may be rotated ones of a path: the youngest, oldest first. */
export async function listRotated(file: string, others: readonly string[]): Promise<Listed[]> {
  const folder = path.dirname(file)
  const base = path.basename(file)
  const rivals = others.filter((other) => path.dirname(other) === folder)
  const listed: Listed[] = []
  const names = await readdir(folder).catch(() => [])
  for (const entry of names) {
    const own = fit(entry, file)
    if (entry === base || own < 0 || COMPRESSED.test(entry)) continue
    if (
      rivals.some(
        (other) =>
          path.basename(other) === entry || fit(entry, other) > own || (fit(entry, other) === own && other < file),
      )
    )
      continue
    const found = await lstat(path.join(folder, entry), { bigint: true }).catch(() => null)
    if (found?.isFile() === true && found.size > 0n)
      listed.push({ file: path.join(folder, entry), name: entry, mtimeNs: found.mtimeNs, inode: found.ino })
  }
  return listed
    .sort((a, b) => (a.mtimeNs < b.mtimeNs ? -1 : a.mtimeNs > b.mtimeNs ? 1 : byNumber.compare(b.name, a.name)))
    .slice(-MAX_CANDIDATES)
}

/**
 * Whether a folder's files are called as they were: they are renamed in turn, and one may be passed over while it bears
 * another's name.
 */
export function unchanged(before: readonly Listed[], now: readonly Listed[]): boolean {
  return (
    now.length === before.length &&
    now.every((entry, i) => entry.name === before[i].name && entry.inode === before[i].inode)
  )
}

/** How often a folder is looked at that changes while it is. */
export const MAX_LOOKS = 20

/**
 * Finds the rotated files of a path that are not finished, oldest first.
 * @param name of the source; null: files are named by their place
 * @param others other files that are followed: what fits their names better is theirs
 */
export async function rotatedFiles(
  file: string,
  name: string | null,
  places: Places,
  others: readonly string[] = [],
): Promise<Rotated[]> {
  const base = path.basename(file)
  const { name: stem, ext } = path.parse(base)
  const candidates: Candidate[] = []
  let current: Awaited<ReturnType<typeof look>> = null
  let listed = await listRotated(file, others)
  for (let looks = 0; looks < MAX_LOOKS; looks++) {
    candidates.length = 0
    for (const entry of listed) {
      const looked = await look(entry.file)
      if (looked !== null) candidates.push({ ...entry, ...looked })
    }
    current = await look(file)
    // One that was passed over would never be read.
    const again = await listRotated(file, others)
    if (unchanged(listed, again) && candidates.length === listed.length) break
    listed = again
  }
  const rotatedName = new RegExp(`^(?:${literally(base)}|${literally(stem)})[._-]\\d[\\d._-]*(?:${literally(ext)})?$`)

  /** What the ledger knows of contents under a place: how far they were taken. */
  const takenUnder = (place: string, head: Buffer): number =>
    new FileIdentity(name, name === null ? place : '', head).taken(places)
  const beginsLike = (other: { readonly head: Buffer }, head: Buffer, taken: number): boolean => {
    const length = Math.min(IDENTITY_BYTES, taken)
    return other.head.length >= length && other.head.subarray(0, length).equals(head.subarray(0, length))
  }
  const rotated = ({ file, place, size }: Candidate, copyOf: string | null): Rotated => ({ file, place, size, copyOf })
  // Only what the ledger knows something of can have been copied.
  const originals = [current, ...candidates].filter(
    (o): o is Candidate =>
      o !== null &&
      (name !== null || places.streamsOf(new FileIdentity(null, o.place, Buffer.alloc(0)).source).length > 0),
  )
  const unfinished: Rotated[] = []
  let youngestKnown = -1
  const unknown: { index: number; rotated: Rotated }[] = []
  candidates.forEach((candidate, index) => {
    const own = takenUnder(candidate.place, candidate.head)
    if (own > 0 && (name === null || current === null || !beginsLike(current, candidate.head, own))) {
      youngestKnown = index
      if (own < candidate.size) unfinished.push(rotated(candidate, null))
      return
    }
    // A copy: of a file that was emptied since (copytruncate), or of one that still has it all and is read itself.
    for (const original of originals) {
      if (original === candidate) continue
      const taken = takenUnder(original.place, candidate.head)
      if (taken === 0) continue
      if (!beginsLike(original, candidate.head, taken)) {
        youngestKnown = index
        if (taken < candidate.size) unfinished.push(rotated(candidate, original.place))
      }
      return
    }
    if (current !== null && beginsLike(current, candidate.head, candidate.size)) return
    if (rotatedName.test(candidate.name)) unknown.push({ index, rotated: rotated(candidate, null) })
  })
  // Written and rotated while nobody looked: after the youngest that is known, before the file as it is.
  if (youngestKnown >= 0)
    unfinished.push(...unknown.filter(({ index }) => index > youngestKnown).map(({ rotated }) => rotated))
  return unfinished
}

async function look(
  file: string,
): Promise<{ readonly place: string; readonly size: number; readonly head: Buffer } | null> {
  const opened = await GrowingFile.open(file, 'rotated file', null).catch(() => null)
  if (opened === null) return null
  try {
    return { place: opened.place, size: (await opened.stat()).size, head: opened.identity.head }
  } finally {
    await opened.close()
  }
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

/** How a look at a file ended. */
type Seen = 'read' | 'end' | 'replaced'

/** Follows one path. */
export class Follower {
  readonly #options: FollowOptions
  readonly #pool: ChunkPool
  readonly #label: string
  /** Where the file that is read is at. */
  #offset = 0
  #offered: string | null = null
  /** A record that is too long: where it begins, and how far its end was looked for. */
  #long: { readonly start: number; searched: number } | null = null
  /** After a failure, so far and no further: the piece that failed is offered again before a longer one. */
  #until = Infinity
  /** When the file first had something that was not taken, by `performance.now()`. */
  #behindSince: number | null = null
  #woken = false
  #wake: (() => void) | null = null
  #watcher: FSWatcher | null = null
  #said = ''
  /** Rotated files that were read to their end, by their place: up to which size. */
  readonly #finished = new Map<string, number>()

  constructor(options: FollowOptions) {
    this.#options = options
    const { maxRecordBytes } = options
    this.#pool = new ChunkPool({
      buffers: BUFFERS,
      maxRecordBytes,
      chunkBytes: Math.max(options.chunkBytes ?? CHUNK_BYTES, 2 * maxRecordBytes),
      scratchBytes: Math.max(SCRATCH_BYTES, maxRecordBytes),
    })
    this.#label = `files.${options.position}`
    options.signal.addEventListener(
      'abort',
      () => {
        this.#hint()
      },
      { once: true },
    )
  }

  /** Age of the oldest line that is not safe, s. */
  get lagSeconds(): number {
    const oldest = Math.min(this.#behindSince ?? Infinity, this.#options.sink.oldest ?? Infinity)
    return oldest === Infinity ? 0 : (performance.now() - oldest) / 1000
  }

  /** Buffers of its pool that are out. */
  get buffersUsed(): number {
    return this.#pool.used
  }

  /** Follows until the signal. Whatever fails is logged and tried again, later and later. */
  async run(): Promise<void> {
    try {
      await this.#follow()
    } finally {
      this.#watcher?.close()
    }
  }

  async #follow(): Promise<void> {
    const { signal, pollMs, sink, log, position } = this.#options
    const backoff = new Backoff(pollMs, BACKOFF_MAX_MS)
    while (!signal.aborted) {
      try {
        this.#watch()
        await this.#unlessAborted(sink.settled())
        // First, and held: what is rotated from here on is this one, so that none slips in between.
        const file = await GrowingFile.open(this.#options.path, this.#label, this.#options.source)
        const [rotated] = await this.#backlog()
        if (rotated !== undefined) {
          this.#behindSince ??= performance.now()
          // One, and then the folder is looked at again: names move on while it is read.
          await file?.close()
          const old = await GrowingFile.open(rotated.file, this.#label, this.#options.source, rotated.copyOf)
          if (old === null) continue
          if (old.place === rotated.place) await this.#tail(old, true)
          else await old.close()
        } else if (file === null) {
          this.#behindSince = null
          if (this.#say('missing')) log.info({ file: position }, 'file is not there yet: waiting for it')
          await this.#pause(pollMs)
        } else {
          await this.#tail(file, false)
        }
        backoff.reset()
      } catch (error) {
        if (signal.aborted) return
        this.#behindSince ??= performance.now()
        const code = error instanceof MinimError ? `${error.code} ${error.details['code'] ?? ''}` : 'unexpected'
        if (this.#say(code)) log.error({ err: error, file: position })
        await this.#pause(backoff.next())
      }
    }
  }

  /** Reads a file until it is rotated and finished, replaced, or the signal comes. */
  async #tail(file: GrowingFile, rotated: boolean): Promise<void> {
    const { sink, signal, pollMs, settleMs, log, position } = this.#options
    try {
      await this.#unlessAborted(sink.settled())
      sink.failure()
      if (signal.aborted) return
      this.#offset = file.identity.taken(sink)
      if (this.#offset >= this.#until) this.#until = Infinity
      this.#long = null
      this.#offered = null
      const found = await file.stat()
      if (this.#offset > found.size) throw new MinimError('MINIM_FILE_CHANGED', { label: this.#label })
      const from = this.#offset
      this.#said = ''
      log.info({ file: position, from, size: found.size }, rotated ? 'rotated file: finishing it' : 'file followed')
      let moved = rotated
      // Its contents may have been replaced by as many bytes since it was opened: the first look at its end proves
      // them.
      let [size, changedMs] = [-1, -1]
      let unchangedSince = performance.now()
      let lookedBack = performance.now()
      for (;;) {
        const seen = await this.#step(file, rotated, false)
        if (signal.aborted) return
        if (seen === 'replaced') break
        if (seen === 'read') {
          unchangedSince = performance.now()
          continue
        }
        const now = await file.stat()
        if (now.size < this.#offset) break
        // A change within the clock tick of the one before leaves the time as it is.
        const racy = Date.now() - now.changedMs < TICK_MS
        if (racy || now.size !== size || now.changedMs !== changedMs) {
          if (!(await file.begins())) break
        }
        if (now.size !== size || now.changedMs !== changedMs) {
          if (now.size !== size) unchangedSince = performance.now()
          ;({ size, changedMs } = now)
          continue
        }
        if (!moved && !(await this.#isAt(file.place))) {
          moved = true
          unchangedSince = performance.now()
          log.info({ file: position }, 'file rotated: reading the old one to its end')
          continue
        }
        // One that was found rotated may have been for long; a writer may still hold one that was renamed just now.
        if (
          moved &&
          (performance.now() - unchangedSince >= settleMs || (rotated && Date.now() - changedMs >= settleMs))
        ) {
          if ((await this.#step(file, rotated, true)) === 'read') continue
          await this.#unlessAborted(sink.settled())
          if (signal.aborted) return
          this.#throwFailure()
          log.info({ file: position, size: this.#offset }, 'rotated file finished')
          this.#finished.set(file.place, this.#offset)
          if (this.#finished.size > MAX_CANDIDATES) this.#finished.delete([...this.#finished.keys()][0])
          return
        }
        // A writer may hold a file that was renamed for longer than it took to be finished: what it adds is behind its
        // end.
        if (!moved && performance.now() - lookedBack >= settleMs) {
          lookedBack = performance.now()
          if ((await this.#backlog()).length > 0) {
            await this.#unlessAborted(sink.settled())
            if (signal.aborted) return
            this.#throwFailure()
            return
          }
        }
        await this.#pause(moved ? Math.min(pollMs, settleMs) : pollMs)
        if (signal.aborted) return
      }
      // Emptied, or written anew in its place: what was offered is decided before its copy is looked for.
      await this.#unlessAborted(sink.settled())
      if (signal.aborted) return
      this.#throwFailure()
      log.info({ file: position, taken: this.#offset }, 'file truncated or replaced: looking for its rotated copy')
    } finally {
      await file.close()
    }
  }

  /** Rotated files that are not finished. One that ends in empty lines is at its end before the ledger is. */
  async #backlog(): Promise<Rotated[]> {
    const { path, source, sink, others } = this.#options
    return (await rotatedFiles(path, source, sink, others)).filter(
      ({ place, size }) => this.#finished.get(place) !== size,
    )
  }

  /** Reads one chunk and offers what is whole. */
  async #step(file: GrowingFile, rotated: boolean, last: boolean): Promise<Seen> {
    const { sink, signal, reader, shared, counters } = this.#options
    const pool = this.#pool
    const { size } = await file.stat()
    const offset = this.#long?.searched ?? this.#offset
    if (size < this.#offset) return 'replaced'
    const length = Math.max(0, Math.min(pool.chunkBytes, Math.min(size, this.#until) - offset))
    if (length === 0 && !(last && this.#long !== null)) {
      if (!rotated) this.#behindSince = null
      return 'end'
    }
    const arena = await this.#unlessAborted(
      pool.acquire().then((buffer) => {
        // Nobody waits for it any more.
        if (signal.aborted) pool.release(buffer)
        return buffer
      }),
    )
    if (arena === null) return 'end'
    const room = pool.maxRecordBytes
    const tooLarge = this.#long !== null
    let chunk: FileChunk | null = null
    try {
      if (length > 0 && (await file.read(arena, room, offset, length)) < 0) return 'replaced'
      // So far nothing of the file was taken that could tell these contents from earlier ones, which were copied away
      // meanwhile.
      if (!rotated && this.#offset === 0 && (await this.#backlog()).length > 0) return 'replaced'
      const atEnd = offset + length >= size
      if (this.#long !== null) {
        const lf = arena.subarray(room, room + length).indexOf(0x0a)
        if (lf < 0 && !(last && atEnd)) {
          this.#long.searched = offset + length
          return atEnd ? 'end' : 'read'
        }
        const endOffset = lf < 0 ? size : offset + lf + 1
        const { start } = this.#long
        if ((await file.read(arena, room, start, room)) < 0) return 'replaced'
        this.#long = null
        chunk = new FileChunk(pool, arena, room, room + room, endOffset, false, performance.now())
        chunk.refuseRest(endOffset)
      } else {
        chunk = new FileChunk(pool, arena, room, room + length, offset + length, last && atEnd, performance.now())
      }
      let taken = false
      for (;;) {
        const inner = chunk.take(reader, shared.lease())
        if (inner === null) break
        taken = true
        const piece = this.#piece(file, inner, last && atEnd, tooLarge)
        counters.received(piece.records)
        this.#behindSince ??= inner.receivedAt
        // Pieces of one ledger entry are decided in their order; the first ones of a file have an entry each.
        if (this.#offered !== null && this.#offered !== piece.id.incarnation) await this.#unlessAborted(sink.settled())
        if (signal.aborted) {
          inner.release()
          return 'end'
        }
        this.#throwFailure(inner)
        this.#offered = piece.id.incarnation
        this.#offset = piece.endOffset
        await this.#unlessAborted(sink.offer(piece))
        if (signal.aborted) return 'end'
        this.#throwFailure()
      }
      this.#offset = chunk.endOffset - (chunk.end - chunk.position)
      if (this.#until < Infinity && (!taken || this.#offset >= this.#until)) {
        this.#until = Infinity
        return 'read'
      }
      const left = chunk.end - chunk.position
      if (!taken && left > pool.maxRecordBytes && !last) {
        this.#long = { start: this.#offset, searched: chunk.endOffset }
        return 'read'
      }
      const end = !taken && left > 0 ? 'end' : atEnd && left === 0 ? 'end' : 'read'
      if (end === 'end' && !rotated) this.#behindSince = null
      return end
    } finally {
      if (chunk === null) pool.release(arena)
      else chunk.release()
    }
  }

  #piece(file: GrowingFile, inner: FilledPiece, last: boolean, tooLarge: boolean): FollowedPiece {
    const { bytes, endOffset, receivedAt, records } = inner
    return {
      id: file.identity.idAt(endOffset, this.#options.sink),
      idBefore: file.identity.idAt(this.#offset, this.#options.sink),
      place: file.identity.place,
      start: this.#offset,
      endOffset,
      bytes,
      records,
      receivedAt,
      last,
      tooLarge,
      batch: () => inner.batch(),
      release: () => {
        inner.release()
      },
    }
  }

  /** @throws what became of a piece that was not taken: the file is opened again, and read from its place */
  #throwFailure(piece?: FilledPiece): void {
    const failed = this.#options.sink.failure()
    if (failed === null) return
    piece?.release()
    this.#until = failed.sequence
    throw failed.error
  }

  /** Whether the path is still the file that was opened. */
  async #isAt(place: string): Promise<boolean> {
    try {
      const { dev, ino } = await stat(this.#options.path, { bigint: true })
      return place === `${dev} ${ino}`
    } catch (error) {
      if ((error as { code?: string }).code === 'ENOENT') return false
      throw unreadable(error, this.#label)
    }
  }

  /** Whether this was not the last thing said. */
  #say(what: string): boolean {
    if (this.#said === what) return false
    this.#said = what
    return true
  }

  #watch(): void {
    if (this.#watcher !== null || this.#options.signal.aborted) return
    const base = path.basename(this.#options.path)
    try {
      const watcher = watch(path.dirname(this.#options.path), { persistent: false }, (_, name) => {
        if (name === null || name === base) this.#hint()
      })
      watcher.on('error', () => {
        watcher.close()
        if (this.#watcher === watcher) this.#watcher = null
      })
      this.#watcher = watcher
    } catch {
      // No folder yet, or no watches left: looking every pollMs does.
      this.#watcher = null
    }
  }

  #hint(): void {
    this.#woken = true
    this.#wake?.()
  }

  /** Waits for so long, or for a hint; not at all once the signal came. */
  async #pause(ms: number): Promise<void> {
    const { signal } = this.#options
    if (!this.#woken && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
    const hinted = this.#woken
    this.#woken = false
    if (hinted && !signal.aborted)
      await new Promise((resolve) => {
        setTimeout(resolve, Math.min(HINT_MS, ms))
      })
  }

  /** Waits for something, or for the signal: null then. */
  async #unlessAborted<T>(promise: Promise<T>): Promise<T | null> {
    const { signal } = this.#options
    if (signal.aborted) return null
    let stop: () => void = () => undefined
    const aborted = new Promise<null>((resolve) => {
      stop = () => {
        resolve(null)
      }
      signal.addEventListener('abort', stop, { once: true })
    })
    try {
      return await Promise.race([promise, aborted])
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }
}
