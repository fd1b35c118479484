/**
 * A file that is read while others write it. Every read is proved: the file's beginning is read again *after* each
 * chunk, and if it is what it was, the chunk is of the same contents, even if the file was emptied and written anew
 * meanwhile.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { FileIdentity, IDENTITY_BYTES } from './file-identity.js'
import { readFully, unreadable } from './files.js'

/** What a follower reads. */
export interface FollowedFile {
  /** Device and inode. */
  readonly place: string
  readonly identity: FileIdentity
  stat(): Promise<{ readonly size: number; readonly changedMs: number }>
  /**
   * Reads bytes and proves that they are of the file that this was.
   * @returns how many; -1 when its contents were replaced
   */
  read(into: Buffer, at: number, offset: number, length: number): Promise<number>
  /** Whether it (still) begins as it did. */
  begins(): Promise<boolean>
  close(): Promise<void>
}

/** A file that may grow, be renamed or emptied while it is open. */
export class GrowingFile implements FollowedFile {
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
