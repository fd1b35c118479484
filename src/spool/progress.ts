/** How far a spool has come, which its writer and its feed tell each other; and the blocks that lie in memory between them. */

/** By sequences of blocks. */
export interface Progress {
  /** Of the next block. */
  next: number
  /** Of the last one on disk. */
  stored: number
  /** Of the last one that Kafka has. */
  committed: number
  /** Of the last one deleted. */
  deleted: number
  /** Those that could not be opened: to be moved aside. */
  damaged: number[]
}

/** Blocks kept in memory for the feed, which need not be read again. */
const KEPT_BYTES = 8 * 1024 * 1024

/** A block in memory. */
export interface Kept {
  readonly plain: Buffer
  /** Records in it, as their sources counted them; NaN where that is not known. */
  readonly records: number
  readonly receivedAt: number
}

/** As many of the last blocks as there is room for. */
export class KeptBlocks {
  readonly #blocks = new Map<number, Kept>()
  #bytes = 0

  add(sequence: number, block: Kept): void {
    if (this.#bytes + block.plain.length > KEPT_BYTES) return
    this.#blocks.set(sequence, block)
    this.#bytes += block.plain.length
  }

  get(sequence: number): Kept | undefined {
    return this.#blocks.get(sequence)
  }

  drop(sequence: number): void {
    const block = this.#blocks.get(sequence)
    if (block === undefined) return
    this.#blocks.delete(sequence)
    this.#bytes -= block.plain.length
  }
}
