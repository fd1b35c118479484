/**
 * Files as sources: chunks of bytes in a few buffers that are used over and over.
 *
 * A buffer is `[room for a carried tail][chunk][scratch space]`. What a reader leaves of a chunk (the beginning of a
 * record) is copied in front of the next one, which by then has been read. Nothing is read before it is asked for, but
 * for one chunk ahead, and a chunk's buffer returns to the pool when the last of its pieces is released: so memory is
 * bounded by the pool, and a slow Kafka slows the reading.
 *
 * The position of a source in the ledger is a byte offset: where the piece that was committed last ends. A file shorter
 * than what tells it from others has a ledger entry for each such offset ({@link FileIdentity}), so that it is known
 * again once it has grown.
 */
import { type FileHandle, open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import type { Batch, Reader } from '../../batch/batch.js'
import type { BatchLease } from '../../batch/lease.js'
import { MinimError } from '../../errors/catalogue.js'
import { MAX_RECORD_BYTES } from '../../formats/json-lines.js'
import { bomAt, ContentStream, isPacked } from './content-stream.js'
import { FileIdentity, IDENTITY_BYTES } from './file-identity.js'

export interface ChunkPoolOptions {
  /** Buffers at most: at least 3. Default 8. */
  readonly buffers?: number
  /** Bytes read at once. Default 1 MiB. */
  readonly chunkBytes?: number
  /** Longest record that may be cut by a chunk's end. Default 64 KiB; must be that of the reader. */
  readonly maxRecordBytes?: number
  /** Space for unescaped text. At least `maxRecordBytes`. Default 128 KiB. */
  readonly scratchBytes?: number
}

/** The buffers that files are read into. One pool can serve several files. */
export class ChunkPool {
  readonly chunkBytes: number
  readonly maxRecordBytes: number
  readonly scratchBytes: number
  readonly buffers: number
  readonly #free: Buffer[] = []
  readonly #waiting: ((buffer: Buffer) => void)[] = []
  #made = 0

  constructor(options: ChunkPoolOptions = {}) {
    this.buffers = Math.max(3, options.buffers ?? 8)
    this.maxRecordBytes = options.maxRecordBytes ?? MAX_RECORD_BYTES
    this.chunkBytes = options.chunkBytes ?? 1_048_576
    this.scratchBytes = Math.max(this.maxRecordBytes, options.scratchBytes ?? 131_072)
  }

  /** Buffers that are out. */
  get used(): number {
    return this.#made - this.#free.length
  }

  /** A buffer, as soon as there is one. */
  async acquire(): Promise<Buffer> {
    const buffer = this.#free.pop()
    if (buffer !== undefined) return buffer
    if (this.#made < this.buffers) {
      this.#made++
      return Buffer.allocUnsafeSlow(this.maxRecordBytes + this.chunkBytes + this.scratchBytes)
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  release(buffer: Buffer): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(buffer)
    else next(buffer)
  }
}

/** Bytes of a file, kept until they are released. */
export interface FilePiece {
  readonly bytes: number
  /** Offset in the file behind this piece: the ledger's sequence once it is committed. */
  readonly endOffset: number
  /** When its chunk had been read: `performance.now()` ms. */
  readonly receivedAt: number
  /** Lets go of the bytes. To be called once. */
  release(): void
}

/** Bytes that fill one batch. */
export interface FilledPiece extends FilePiece {
  /** Records that were read of it, well or ill. */
  readonly records: number
  /**
   * The batch with its records, to be used up before anything else runs: as it was filled, if nobody has taken it
   * since; else filled again.
   */
  batch(): Batch
}

/** One chunk of a file. Take all of it before the next one is asked for. */
export class FileChunk {
  #uses = 1
  /** What was not taken yet: from `position` to `end`. */
  position: number
  /** A record that is longer than may be: where it ends in the file, once that is known. */
  #tooLargeUntil = -1

  readonly #pool: ChunkPool

  constructor(
    pool: ChunkPool,
    readonly arena: Buffer,
    start: number,
    readonly end: number,
    /** Offset in the file of `end`. */
    readonly endOffset: number,
    /** Nothing follows. */
    readonly last: boolean,
    readonly receivedAt: number,
  ) {
    this.#pool = pool

    this.position = start
  }

  /**
   * Fills a batch with what comes next.
   * @param lease of the batch: the piece goes on with it, or with another one if it is lost
   * @returns null, with an empty batch, if the rest must wait for the next chunk
   * @throws LeaseLost
   */
  take(reader: Reader, lease: BatchLease): FilledPiece | null {
    const batch = lease.batch()
    const scratchStart = this.end
    if (this.#tooLargeUntil >= 0) {
      const start = this.position
      const end = Math.min(this.end, start + this.#pool.maxRecordBytes)
      const endOffset = this.#tooLargeUntil
      this.#tooLargeUntil = -1
      this.position = this.end
      const refuse = (batch: Batch): void => {
        batch.reset(this.arena, scratchStart)
        batch.refuse('too_large', start, end)
      }
      refuse(batch)
      return this.#filled(end - start, endOffset, lease, refuse)
    }
    for (;;) {
      const start = this.position
      batch.reset(this.arena, scratchStart)
      if (start === this.end) return null
      const next = reader.fill(batch, start, this.end, this.last)
      this.position = next
      if (batch.taken > 0) {
        return this.#filled(next - start, this.endOffset - (this.end - next), lease, (batch) => {
          batch.reset(this.arena, scratchStart)
          reader.fill(batch, start, this.end, this.last)
        })
      }
      if (next === start) return null
    }
  }

  /**
   * Takes what comes next up to where a format says that it may be cut.
   * @param cut where the last whole message between two offsets ends; the first of them when there is none
   * @returns null if the rest must wait for the next chunk; else where the piece is in the arena. The end of a finished
   * file is
   *   part of the last piece, whole or not
   */
  takeUpTo(
    cut: (arena: Buffer, start: number, end: number) => number,
  ): (FilePiece & { readonly arena: Buffer; readonly start: number; readonly end: number }) | null {
    const start = this.position
    if (start === this.end) return null
    const { arena } = this
    if (this.#tooLargeUntil >= 0) {
      const end = Math.min(this.end, start + this.#pool.maxRecordBytes)
      const endOffset = this.#tooLargeUntil
      this.#tooLargeUntil = -1
      this.position = this.end
      return { ...this.#piece(end - start, endOffset), arena, start, end }
    }
    const end = this.last ? this.end : cut(arena, start, this.end)
    if (end === start) return null
    this.position = end
    return { ...this.#piece(end - start, this.endOffset - (this.end - end)), arena, start, end }
  }

  /** @param fill the batch with the same again */
  #filled(bytes: number, endOffset: number, lease: BatchLease, fill: (batch: Batch) => void): FilledPiece {
    let own = lease
    return {
      ...this.#piece(bytes, endOffset),
      records: own.batch().taken,
      batch: () => {
        if (!own.held) {
          own = own.renew()
          fill(own.batch())
        }
        return own.spend()
      },
    }
  }

  #piece(bytes: number, endOffset: number): FilePiece {
    this.#uses++
    let released = false
    return {
      bytes,
      endOffset,
      receivedAt: this.receivedAt,
      release: () => {
        if (released) return
        released = true
        this.release()
      },
    }
  }

  /**
   * Makes the next {@link take} refuse what is left of this chunk, as one record that ends at an offset of the file.
   */
  refuseRest(endOffset: number): void {
    this.#tooLargeUntil = endOffset
  }

  release(): void {
    if (--this.#uses === 0) this.#pool.release(this.arena)
  }
}

export interface FileSourceOptions {
  /** Name of the source. Default: a short hash of where the file is, which tells nobody its path. */
  readonly source?: string
  /** What messages call the file: never its path, which may hold a number. Default "input file". */
  readonly label?: string
  readonly pool?: ChunkPool
  /**
   * What follows a record that is too long: after `lines` reading goes on behind the next line feed,
   * after `length-delimited` records nothing in the file can be trusted.
   */
  readonly framing?: 'lines' | 'length-delimited'
  /** Nothing will be written to the file any more, so that its last record is complete as it is. Default true. */
  readonly finished?: boolean
}

/** What a file source reads: each call goes on where the one before ended. */
interface Contents {
  /** NaN where only reading tells. */
  readonly size: number
  /** @returns how many bytes, and whether they were the last ones. @throws an error with code SHRUNK */
  read(into: Buffer, at: number, offset: number, length: number): Promise<{ bytes: number; last: boolean }>
  close(): Promise<void>
}

/** As much of a file as there was when it was opened: what is written later is not read. */
function contentsOf(handle: FileHandle, size: number): Contents {
  return {
    size,
    read: async (into, at, offset, length) => {
      const bytes = Math.min(length, size - offset)
      await readFully(handle, into, at, offset, bytes)
      return { bytes, last: offset + bytes >= size }
    },
    close: () => handle.close(),
  }
}

/** @param handle to be closed with it */
function streamed(stream: ContentStream, handle: FileHandle | null): Contents {
  return {
    size: NaN,
    read: async (into, at, offset, length) => {
      if (!(await stream.skipTo(offset))) throw Object.assign(new Error(), { code: 'SHRUNK' })
      const bytes = await stream.read(into, at, length)
      return { bytes, last: await stream.isAtEnd() }
    },
    close: async () => {
      stream.close()
      await handle?.close()
    },
  }
}

/** A file that is read once; packed ones are unpacked, and standard input is one too. */
export class FileSource {
  readonly #contents: Contents
  readonly #framing: 'lines' | 'length-delimited'
  readonly #finished: boolean
  readonly pool: ChunkPool
  readonly label: string

  private constructor(
    contents: Contents,
    readonly identity: FileIdentity,
    options: FileSourceOptions,
  ) {
    this.#contents = contents
    this.pool = options.pool ?? new ChunkPool()
    this.label = options.label ?? INPUT_FILE
    this.#framing = options.framing ?? 'lines'
    this.#finished = options.finished ?? true
  }

  /**
   * Opens a file and tells which it is.
   * @throws MinimError MINIM_FILE_UNREADABLE
   */
  static async open(path: string, options: FileSourceOptions = {}): Promise<FileSource> {
    let handle: FileHandle | null = null
    try {
      handle = await open(path, 'r')
      const { dev, ino, size, isFile } = await handle
        .stat({ bigint: true })
        .then((s) => ({ dev: s.dev, ino: s.ino, size: Number(s.size), isFile: s.isFile() }))
      if (!isFile) throw Object.assign(new Error(), { code: 'NOT_A_FILE' })
      let head: Buffer = Buffer.alloc(Math.min(IDENTITY_BYTES, size))
      await readFully(handle, head, 0, 0, head.length)
      let contents = contentsOf(handle, size)
      if (isPacked(head)) {
        const stream = await ContentStream.open(handle.createReadStream({ start: 0, autoClose: false }))
        head = await stream.peek(IDENTITY_BYTES)
        contents = streamed(stream, handle)
      }
      const named = options.source ?? null
      return new FileSource(contents, new FileIdentity(named, named === null ? `${dev} ${ino}` : '', head), options)
    } catch (error) {
      await handle?.close()
      throw unreadable(error, options.label ?? INPUT_FILE)
    }
  }

  /**
   * Takes what comes from a stream as a file, which its beginning alone tells from others.
   * @throws MinimError MINIM_FILE_UNREADABLE
   */
  static async ofStream(readable: Readable, options: FileSourceOptions = {}): Promise<FileSource> {
    try {
      const stream = await ContentStream.open(readable)
      const identity = new FileIdentity(options.source ?? null, '', await stream.peek(IDENTITY_BYTES))
      return new FileSource(streamed(stream, null), identity, options)
    } catch (error) {
      throw unreadable(error, options.label ?? INPUT_FILE)
    }
  }

  /** Size when it was opened: what is written later is not read. NaN where only reading tells. */
  get size(): number {
    return this.#contents.size
  }

  /**
   * The file in chunks, from a byte offset on: as much as there was when it was opened. Packed contents, and those of a
   * stream, once.
   * @throws MinimError MINIM_FILE_CHANGED, MINIM_FILE_UNREADABLE
   */
  async *chunks(from = 0): AsyncGenerator<FileChunk, void, void> {
    const { pool, size } = this
    if (from > size) throw new MinimError('MINIM_FILE_CHANGED', { label: this.label })
    const { maxRecordBytes: room } = pool
    let current: FileChunk | null = null
    let ahead: Promise<ReadChunk> | null = null
    let offset = from
    try {
      if (!(offset >= size)) ahead = this.#read(offset)
      while (ahead !== null) {
        const { arena, bytes, last }: ReadChunk = await ahead
        const end = room + bytes
        const begins = offset === 0 && this.#framing === 'lines'
        offset += bytes
        ahead = last ? null : this.#read(offset)
        let start = room + (begins ? bomAt(arena, room, end) : 0)
        const previous: FileChunk | null = current
        if (previous !== null) {
          const tail: number = previous.end - previous.position
          if (tail > room) {
            const lf = this.#framing === 'lines' ? arena.indexOf(0x0a, room) : -1
            if (lf < 0 || lf >= end) {
              // Still inside a record that is too long
              pool.release(arena)
              if (last && (this.#finished || this.#framing !== 'lines')) {
                previous.refuseRest(offset)
                yield previous
              }
              continue
            }
            start = lf + 1
            previous.refuseRest(offset - (end - start))
            // This chunk is not owned by a FileChunk yet
            current = new FileChunk(pool, arena, start, end, offset, last && this.#finished, performance.now())
            try {
              yield previous
            } finally {
              previous.release()
            }
            yield current
            continue
          }
          previous.arena.copy(arena, room - tail, previous.position, previous.end)
          start = room - tail
          previous.release()
        }
        current = new FileChunk(pool, arena, start, end, offset, last && this.#finished, performance.now())
        yield current
      }
    } finally {
      current?.release()
      // An unfinished read still writes to its buffer
      await ahead?.then(
        ({ arena }) => {
          pool.release(arena)
        },
        () => undefined,
      )
    }
  }

  async close(): Promise<void> {
    await this.#contents.close()
  }

  /** Reads one chunk into a buffer of the pool. */
  #read(offset: number): Promise<ReadChunk> {
    const { pool, label } = this
    const reading = (async () => {
      const arena = await pool.acquire()
      try {
        return { arena, ...(await this.#contents.read(arena, pool.maxRecordBytes, offset, pool.chunkBytes)) }
      } catch (error) {
        pool.release(arena)
        throw unreadable(error, label)
      }
    })()
    // It may fail before it is waited for
    reading.catch(() => undefined)
    return reading
  }
}

const INPUT_FILE = 'input file'

interface ReadChunk {
  readonly arena: Buffer
  readonly bytes: number
  readonly last: boolean
}

/** Reads so many bytes. @throws an error with code SHRUNK when the file has no more */
export async function readFully(
  handle: FileHandle,
  into: Buffer,
  at: number,
  offset: number,
  length: number,
): Promise<void> {
  for (let done = 0; done < length;) {
    const { bytesRead } = await handle.read(into, at + done, length - done, offset + done)
    if (bytesRead === 0) throw Object.assign(new Error(), { code: 'SHRUNK' })
    done += bytesRead
  }
}

/** Without the system's own error as cause: its message names the path. */
export function unreadable(error: unknown, label: string): MinimError {
  const code = (error as { code?: string }).code ?? 'UNKNOWN'
  return code === 'SHRUNK'
    ? new MinimError('MINIM_FILE_CHANGED', { label })
    : new MinimError('MINIM_FILE_UNREADABLE', { label, code })
}
