/**
 * Follows a file that is still written to: call records as Asterisk appends them to `Master.csv`, over rotation,
 * truncation and restarts.
 *
 *   Master.csv ──append──▶ read from its place ──whole lines──▶ sink (delivery, an agent) ──▶ place, by identity
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
 *   start. What gzip has packed is read too, if the source is named; else the log tells that it is not.
 * - **Every read is proved.** The file's beginning is read again *after* each chunk: if it is what it was, the chunk is
 *   of the same file contents, even if the file was truncated and written anew meanwhile.
 *
 * The next chunk is read when the sink has taken the one before, into buffers that come back with the acknowledgement;
 * so memory is flat. `fs.watch` only says when to look; a look every `pollMs` does without it.
 */
import { stat } from 'node:fs/promises'
import { Backoff } from '../../base/backoff.js'
import type { Batch, Reader } from '../../batch/batch.js'
import type { SharedBatch } from '../../batch/lease.js'
import { MinimError } from '../../errors/catalogue.js'
import type { SourceCounters } from '../../flow/counters.js'
import type { Logger } from '../../flow/log.js'
import type { SourceId } from '../../flow/work-item.js'
import { bomAt } from './content-stream.js'
import type { Places } from './file-identity.js'
import { ChunkPool, FileChunk, type FilledPiece, unreadable } from './files.js'
import { type FollowedFile, GrowingFile } from './growing-file.js'
import { Lookout } from './lookout.js'
import { PackedLooks } from './packed-file.js'
import { MAX_CANDIDATES, openRotated, type Rotated, rotatedFiles } from './rotated-files.js'

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
/** More than a tick of any file system's clock. */
const TICK_MS = 100
/** Line feed. */
const LF = 0x0a

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
  readonly #lookout: Lookout
  #said = ''
  readonly #packedLooks = new PackedLooks()
  #unreadSaid = 0
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
    this.#lookout = new Lookout(options.path, options.signal)
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
      this.#lookout.close()
    }
  }

  async #follow(): Promise<void> {
    const { signal, pollMs, sink, log, position } = this.#options
    const backoff = new Backoff(pollMs, BACKOFF_MAX_MS)
    while (!signal.aborted) {
      try {
        this.#lookout.watch()
        await this.#unlessAborted(sink.settled())
        // First, and held: what is rotated from here on is this one, so that none slips in between.
        const file = await GrowingFile.open(this.#options.path, this.#label, this.#options.source)
        const [rotated] = await this.#backlog()
        if (rotated !== undefined) {
          this.#behindSince ??= performance.now()
          // One, and then the folder is looked at again: names move on while it is read.
          await file?.close()
          const old = await openRotated(rotated, this.#label, this.#options.source)
          if (old === null) continue
          if (old.place === rotated.place) await this.#tail(old, true)
          else await old.close()
        } else if (file === null) {
          this.#behindSince = null
          if (this.#say('missing')) log.info({ file: position }, 'file is not there yet: waiting for it')
          await this.#lookout.pause(pollMs)
        } else {
          await this.#tail(file, false)
        }
        backoff.reset()
      } catch (error) {
        if (signal.aborted) return
        this.#behindSince ??= performance.now()
        const code = error instanceof MinimError ? `${error.code} ${error.details['code'] ?? ''}` : 'unexpected'
        if (this.#say(code)) log.error({ err: error, file: position })
        await this.#lookout.pause(backoff.next())
      }
    }
  }

  /** Reads a file until it is rotated and finished, replaced, or the signal comes. */
  async #tail(file: FollowedFile, rotated: boolean): Promise<void> {
    const { sink, signal, log, position } = this.#options
    try {
      await this.#unlessAborted(sink.settled())
      sink.failure()
      if (signal.aborted) return
      await this.#goTo(file, rotated)
      if ((await this.#readOn(file, rotated)) !== 'replaced') return
      // Emptied, or written anew in its place: what was offered is decided before its copy is looked for.
      if (!(await this.#decided())) return
      log.info({ file: position, taken: this.#offset }, 'file truncated or replaced: looking for its rotated copy')
    } finally {
      await file.close()
    }
  }

  /** Where a file was left. @throws MinimError MINIM_FILE_CHANGED */
  async #goTo(file: FollowedFile, rotated: boolean): Promise<void> {
    const { sink, log, position } = this.#options
    this.#offset = file.identity.taken(sink)
    if (this.#offset >= this.#until) this.#until = Infinity
    this.#long = null
    this.#offered = null
    const { size } = await file.stat()
    if (this.#offset > size) throw new MinimError('MINIM_FILE_CHANGED', { label: this.#label })
    this.#said = ''
    log.info({ file: position, from: this.#offset, size }, rotated ? 'rotated file: finishing it' : 'file followed')
  }

  /** Reads what is there and what comes. */
  async #readOn(file: FollowedFile, rotated: boolean): Promise<'replaced' | 'left'> {
    const { signal, pollMs, settleMs, log, position } = this.#options
    let moved = rotated
    // Its contents may have been replaced by as many bytes since it was opened: the first look at its end proves them.
    let [size, changedMs] = [-1, -1]
    let unchangedSince = performance.now()
    let lookedBack = performance.now()
    while (!signal.aborted) {
      const seen = await this.#step(file, rotated, false)
      if (signal.aborted) return 'left'
      if (seen === 'replaced') return 'replaced'
      if (seen === 'read') {
        unchangedSince = performance.now()
        continue
      }
      const now = await file.stat()
      if (now.size < this.#offset) return 'replaced'
      const changed = now.size !== size || now.changedMs !== changedMs
      // A change within the clock tick of the one before leaves the time as it is.
      const racy = Date.now() - now.changedMs < TICK_MS
      if ((racy || changed) && !(await file.begins())) return 'replaced'
      if (changed) {
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
        await this.#finish(file)
        return 'left'
      }
      // A writer may hold a file that was renamed for longer than it took to be finished: what it adds is behind its
      // end.
      if (!moved && performance.now() - lookedBack >= settleMs) {
        lookedBack = performance.now()
        if ((await this.#backlog()).length > 0) {
          await this.#decided()
          return 'left'
        }
      }
      await this.#lookout.pause(moved ? Math.min(pollMs, settleMs) : pollMs)
    }
    return 'left'
  }

  /** A rotated file is at its end: once all of it is taken, it is not looked at again. */
  async #finish(file: FollowedFile): Promise<void> {
    const { log, position } = this.#options
    if (!(await this.#decided())) return
    log.info({ file: position, size: this.#offset }, 'rotated file finished')
    this.#finished.set(file.place, this.#offset)
    if (this.#finished.size > MAX_CANDIDATES) this.#finished.delete([...this.#finished.keys()][0])
  }

  /** Waits until it is known what became of all that was offered. @returns false: the signal came first */
  async #decided(): Promise<boolean> {
    const { sink, signal } = this.#options
    await this.#unlessAborted(sink.settled())
    if (signal.aborted) return false
    this.#throwFailure()
    return true
  }

  /** Rotated files that are not finished. One that ends in empty lines is at its end before the ledger is. */
  async #backlog(): Promise<Rotated[]> {
    const { path, source, sink, others, log, position } = this.#options
    const { unfinished, unread } = await rotatedFiles(path, source, sink, others, this.#packedLooks)
    if (unread > this.#unreadSaid)
      log.warn({ file: position, files: unread }, 'packed rotated files are not read: what they hold may not be taken')
    this.#unreadSaid = unread
    return unfinished.filter(({ place, size }) => this.#finished.get(place) !== size)
  }

  /** Reads one chunk and offers what is whole. */
  async #step(file: FollowedFile, rotated: boolean, last: boolean): Promise<Seen> {
    const { signal } = this.#options
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
    let chunk: FileChunk | null = null
    try {
      if (length > 0 && (await file.read(arena, room, offset, length)) < 0) return 'replaced'
      // So far nothing of the file was taken that could tell these contents from earlier ones, which were copied away
      // meanwhile.
      if (!rotated && this.#offset === 0 && (await this.#backlog()).length > 0) return 'replaced'
      const atEnd = offset + length >= size
      const tooLarge = this.#long !== null
      if (this.#long !== null) {
        const found = await this.#endOfLong(file, arena, { offset, length, size, last }, this.#long)
        if (typeof found === 'string') return found
        chunk = found
      } else {
        const start = room + (offset === 0 ? bomAt(arena, room, room + length) : 0)
        chunk = new FileChunk(pool, arena, start, room + length, offset + length, last && atEnd, performance.now())
      }
      return await this.#offerAll(file, chunk, { atEnd, last, rotated, tooLarge })
    } finally {
      if (chunk === null) pool.release(arena)
      else chunk.release()
    }
  }

  /**
   * Looks for the end of a record that is too long.
   * @returns a chunk that is the record's beginning, to be refused; or how the look ended
   */
  async #endOfLong(
    file: FollowedFile,
    arena: Buffer,
    { offset, length, size, last }: { offset: number; length: number; size: number; last: boolean },
    long: { readonly start: number; searched: number },
  ): Promise<FileChunk | Seen> {
    const room = this.#pool.maxRecordBytes
    const atEnd = offset + length >= size
    const lf = arena.subarray(room, room + length).indexOf(LF)
    if (lf < 0 && !(last && atEnd)) {
      long.searched = offset + length
      return atEnd ? 'end' : 'read'
    }
    const endOffset = lf < 0 ? size : offset + lf + 1
    if ((await file.read(arena, room, long.start, room)) < 0) return 'replaced'
    this.#long = null
    const chunk = new FileChunk(this.#pool, arena, room, room + room, endOffset, false, performance.now())
    chunk.refuseRest(endOffset)
    return chunk
  }

  /** Offers the whole records of a chunk. */
  async #offerAll(
    file: FollowedFile,
    chunk: FileChunk,
    { atEnd, last, rotated, tooLarge }: { atEnd: boolean; last: boolean; rotated: boolean; tooLarge: boolean },
  ): Promise<Seen> {
    const { sink, signal, reader, shared, counters } = this.#options
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
    const left = chunk.end - chunk.position
    this.#offset = chunk.endOffset - left
    if (this.#until < Infinity && (!taken || this.#offset >= this.#until)) {
      this.#until = Infinity
      return 'read'
    }
    if (!taken && left > this.#pool.maxRecordBytes && !last) {
      this.#long = { start: this.#offset, searched: chunk.endOffset }
      return 'read'
    }
    const end = !taken && left > 0 ? 'end' : atEnd && left === 0 ? 'end' : 'read'
    if (end === 'end' && !rotated) this.#behindSince = null
    return end
  }

  #piece(file: FollowedFile, inner: FilledPiece, last: boolean, tooLarge: boolean): FollowedPiece {
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
