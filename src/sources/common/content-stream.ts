/**
 * Contents that can only be read from their beginning on: standard input, and what is packed with gzip, as logrotate
 * does it. Packed contents are known by how they begin, whatever they are called, and are unpacked as they are read:
 * nothing is written anywhere, and memory is bounded.
 */
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'

/** RFC 1952 §2.3.1. No line of text begins so, and no message of protobuf. */
const GZIP_MAGIC = Buffer.from([0x1f, 0x8b])

export function isPacked(head: Uint8Array): boolean {
  return head.length >= GZIP_MAGIC.length && GZIP_MAGIC.equals(head.subarray(0, GZIP_MAGIC.length))
}

/** U+FEFF in UTF-8, which some programs write before text: it is no part of it. */
const BOM = Buffer.from([0xef, 0xbb, 0xbf])

/** How many bytes of a byte order mark stand at a place: 3 or 0. */
export function bomAt(bytes: Buffer, start: number, end: number): number {
  return end - start >= BOM.length && BOM.equals(bytes.subarray(start, start + BOM.length)) ? BOM.length : 0
}

export class ContentStream {
  readonly #stream: Readable
  readonly #chunks: AsyncIterator<Buffer>
  /** Read and not taken yet. */
  #left: Buffer = Buffer.alloc(0)
  #ended = false
  #position = 0

  private constructor(stream: Readable) {
    this.#stream = stream
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  }

  /** Begins to read, and unpacks what is packed. */
  static async open(stream: Readable): Promise<ContentStream> {
    const plain = new ContentStream(stream)
    if (!isPacked(await plain.peek(GZIP_MAGIC.length))) return plain
    const unpacked = createGunzip()
    // What fails is told by reading from it.
    pipeline(plain.#rest(), unpacked, () => undefined)
    return new ContentStream(unpacked)
  }

  /** Offset of what is read next. */
  get position(): number {
    return this.#position
  }

  /** What comes next, without taking it: so many bytes, or all that are left. */
  async peek(length: number): Promise<Buffer> {
    await this.#fill(length)
    return Buffer.from(this.#left.subarray(0, length))
  }

  async isAtEnd(): Promise<boolean> {
    await this.#fill(1)
    return this.#left.length === 0
  }

  /** Reads so many bytes, or all that are left. @returns how many */
  async read(into: Buffer, at: number, length: number): Promise<number> {
    let done = 0
    while (done < length) {
      await this.#fill(1)
      if (this.#left.length === 0) break
      const bytes = this.#left.copy(into, at + done, 0, length - done)
      this.#take(bytes)
      done += bytes
    }
    return done
  }

  /** Goes on to an offset that is not behind. @returns false: there is none */
  async skipTo(offset: number): Promise<boolean> {
    while (this.#position < offset) {
      await this.#fill(1)
      if (this.#left.length === 0) return false
      this.#take(Math.min(this.#left.length, offset - this.#position))
    }
    return true
  }

  close(): void {
    this.#stream.destroy()
  }

  #take(bytes: number): void {
    this.#left = this.#left.subarray(bytes)
    this.#position += bytes
  }

  async #fill(length: number): Promise<void> {
    while (this.#left.length < length && !this.#ended) {
      const next = await this.#chunks.next()
      if (next.done === true) this.#ended = true
      else this.#left = this.#left.length === 0 ? next.value : Buffer.concat([this.#left, next.value])
    }
  }

  async *#rest(): AsyncGenerator<Buffer> {
    for (;;) {
      await this.#fill(1)
      if (this.#left.length === 0) return
      const chunk = this.#left
      this.#take(chunk.length)
      yield chunk
    }
  }
}
