/**
 * A rotated file that gzip has packed, read as the file that it was: its identity, its size and its places are those of
 * what it unpacks to. Nothing is written anywhere, and memory is bounded.
 *
 * Nobody appends to a packed file, and gzip gives it another inode than the file had that it was made of. So it can be
 * told from those that were taken by its beginning alone: who reads one has named its source.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ContentStream } from './content-stream.js'
import { FileIdentity, IDENTITY_BYTES } from './file-identity.js'
import { unreadable } from './files.js'
import type { FollowedFile } from './growing-file.js'

/** Unpacked at once where only the length is asked for. */
const SCAN_BYTES = 65_536
/** Packed files whose contents are remembered. */
const MAX_REMEMBERED = 1024

/** What unpacking a whole file has shown. */
export interface PackedContents {
  /** Device and inode of the packed file. */
  readonly place: string
  /** Of what it unpacks to. */
  readonly size: number
  /** Its first {@link IDENTITY_BYTES}. */
  readonly head: Buffer
}

export class PackedFile implements FollowedFile {
  readonly #handle: FileHandle
  readonly #label: string
  readonly #size: number
  #stream: ContentStream | null = null

  private constructor(
    handle: FileHandle,
    label: string,
    size: number,
    readonly place: string,
    readonly identity: FileIdentity,
    readonly changedMs: number,
  ) {
    this.#handle = handle
    this.#label = label
    this.#size = size
  }

  /**
   * @param contents what unpacking it has shown before
   * @returns null when it is not there any more, or is another one
   * @throws MinimError MINIM_FILE_UNREADABLE
   */
  static async open(file: string, label: string, name: string, contents: PackedContents): Promise<PackedFile | null> {
    let handle: FileHandle | null = null
    try {
      handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
      const { dev, ino, mtimeMs, ctimeMs } = await handle.stat({ bigint: true })
      const place = `${dev} ${ino}`
      if (place !== contents.place) {
        await handle.close()
        return null
      }
      const changedMs = Number(mtimeMs > ctimeMs ? mtimeMs : ctimeMs)
      return new PackedFile(
        handle,
        label,
        contents.size,
        contents.place,
        new FileIdentity(name, '', contents.head),
        changedMs,
      )
    } catch (error) {
      await handle?.close()
      if ((error as { code?: string }).code === 'ENOENT') return null
      throw unreadable(error, label)
    }
  }

  /** Its size is that of what it unpacks to. */
  stat(): Promise<{ readonly size: number; readonly changedMs: number }> {
    return Promise.resolve({ size: this.#size, changedMs: this.changedMs })
  }

  /** Reads unpacked bytes: on from where it is, or once more from the beginning. @returns -1: they are not there */
  async read(into: Buffer, at: number, offset: number, length: number): Promise<number> {
    try {
      if (this.#stream === null || this.#stream.position > offset) {
        this.#stream?.close()
        this.#stream = await contentsOf(this.#handle)
      }
      if (!(await this.#stream.skipTo(offset))) return -1
      return (await this.#stream.read(into, at, length)) === length ? length : -1
    } catch (error) {
      throw unreadable(error, this.#label)
    }
  }

  /** Whether its unpacked contents still begin as they did. */
  async begins(): Promise<boolean> {
    const stream = await contentsOf(this.#handle)
    try {
      return (await stream.peek(this.identity.head.length)).equals(this.identity.head)
    } catch {
      return false
    } finally {
      stream.close()
    }
  }

  async close(): Promise<void> {
    this.#stream?.close()
    await this.#handle.close()
  }
}

/** Looks at packed files, each once as long as it does not change: to know its length it must be unpacked. */
export class PackedLooks {
  readonly #known = new Map<string, PackedContents | null>()

  /**
   * Opens a packed file to be read.
   * @param name of its source
   * @returns null: it is no whole packed file, or not there
   */
  async open(file: string, label: string, name: string): Promise<PackedFile | null> {
    const contents = await this.look(file)
    return contents === null ? null : PackedFile.open(file, label, name, contents)
  }

  /** @returns null: it is no whole packed file, or not there */
  async look(file: string): Promise<PackedContents | null> {
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null)
    if (handle === null) return null
    try {
      const { dev, ino, size, mtimeNs } = await handle.stat({ bigint: true })
      const key = `${dev} ${ino} ${size} ${mtimeNs}`
      const known = this.#known.get(key)
      if (known !== undefined) return known
      const contents = await unpack(handle, `${dev} ${ino}`)
      this.#known.set(key, contents)
      if (this.#known.size > MAX_REMEMBERED) this.#known.delete([...this.#known.keys()][0])
      return contents
    } finally {
      await handle.close()
    }
  }
}

async function unpack(handle: FileHandle, place: string): Promise<PackedContents | null> {
  const stream = await contentsOf(handle)
  try {
    const head = await stream.peek(IDENTITY_BYTES)
    const scratch = Buffer.allocUnsafe(SCAN_BYTES)
    while ((await stream.read(scratch, 0, SCAN_BYTES)) > 0);
    return { place, size: stream.position, head }
  } catch {
    // Torn, or gzip is still at it.
    return null
  } finally {
    stream.close()
  }
}

function contentsOf(handle: FileHandle): Promise<ContentStream> {
  return ContentStream.open(handle.createReadStream({ start: 0, autoClose: false }))
}
