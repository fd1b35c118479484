/**
 * Which file it is, for who comes back to it: by where it lies and how it begins. What is kept of that anywhere is an
 * HMAC (`flow/contents.ts`).
 */
import { createHash } from 'node:crypto'
import type { SourceId } from '../../flow/work-item.js'

/** How much of a file's beginning tells it from others. */
export const IDENTITY_BYTES = 4096

/** What the ledger knows of files: Kafka's, or an agent's state. */
export interface Places {
  /** Last sequence of a stream that was taken; 0 if none was. */
  lastTaken(id: SourceId): number
  /** All streams of a source. */
  streamsOf(source: string): { readonly incarnation: string; readonly sequence: number }[]
  /** What it calls contents with this hash: keyed, since who knows most of a file finds the rest by trying. */
  contentsName(hash: string): string
}

/**
 * Which file it is: where it lies (device and inode) and its first 4 KiB; with a source's name given, its beginning
 * alone, so that a copy is known again.
 */
export class FileIdentity {
  readonly source: string
  /**
   * @param place `device inode`; empty for a source that is named
   * @param head as much of the file's first {@link IDENTITY_BYTES} as is known
   */
  constructor(
    name: string | null,
    readonly place: string,
    readonly head: Buffer,
  ) {
    this.source = name ?? `file-${createHash('sha256').update(place).digest('hex').slice(0, 12)}`
  }

  /**
   * The ledger's key of what ends at an offset: up to 4 KiB it is of what the file was when it was only so long, so
   * that a file that has grown since is known again.
   */
  idAt(offset: number, places: Pick<Places, 'contentsName'>): SourceId {
    return { source: this.source, incarnation: places.contentsName(this.#hashAt(offset)) }
  }

  /** How far the file was taken: where to go on. */
  taken(places: Places): number {
    const { head, source } = this
    // Names of earlier versions are the bare hash: they are looked up until all have been renamed.
    const namesAt = (offset: number): string[] => {
      const hash = this.#hashAt(offset)
      return [places.contentsName(hash), hash]
    }
    const whole =
      head.length < IDENTITY_BYTES
        ? 0
        : Math.max(...namesAt(IDENTITY_BYTES).map((incarnation) => places.lastTaken({ source, incarnation })))
    if (whole > 0) return whole
    return Math.max(
      0,
      ...places
        .streamsOf(source)
        .filter(({ incarnation, sequence }) => sequence <= head.length && namesAt(sequence).includes(incarnation))
        .map(({ sequence }) => sequence),
    )
  }

  /** Unkeyed: what is written anywhere is {@link Places.contentsName} of it. */
  #hashAt(offset: number): string {
    return createHash('sha256')
      .update(`${this.place} `)
      .update(this.head.subarray(0, offset))
      .digest('hex')
      .slice(0, 32)
  }
}
