/** HEP3 by TCP: frames follow each other, and are split anywhere. */
import { frameLength, HEADER_BYTES } from './frame.js'

/**
 * Puts the frames of one connection together. A chunk's whole frames are read where they are; what is left of it is
 * copied, and stays in a buffer of its own until the rest has come.
 */
export class FrameStream {
  readonly #onFrame: (bytes: Buffer, at: number, end: number) => void
  #held = Buffer.alloc(0)
  #heldBytes = 0

  constructor(onFrame: (bytes: Buffer, at: number, end: number) => void) {
    this.#onFrame = onFrame
  }

  /**
   * Takes what has come.
   * @returns false where no frame begins that should: nothing tells where the next one does, so the connection is of no
   * more use
   */
  push(chunk: Buffer): boolean {
    let at = 0
    while (this.#heldBytes > 0 && at < chunk.length) {
      const length = frameLength(this.#held, 0, this.#heldBytes)
      if (length < 0) return false
      const wanted = length === 0 ? HEADER_BYTES : length
      const taken = Math.min(wanted - this.#heldBytes, chunk.length - at)
      this.#hold(chunk, at, at + taken, wanted)
      at += taken
      if (this.#heldBytes < wanted || length === 0) {
        if (frameLength(this.#held, 0, this.#heldBytes) < 0) return false
        // A frame may be its header and nothing else.
        if (frameLength(this.#held, 0, this.#heldBytes) !== this.#heldBytes) continue
      }
      this.#heldBytes = 0
      this.#onFrame(this.#held, 0, wanted)
    }
    while (at < chunk.length) {
      const length = frameLength(chunk, at, chunk.length)
      if (length < 0) return false
      if (length === 0 || at + length > chunk.length) {
        this.#hold(chunk, at, chunk.length, length)
        return true
      }
      this.#onFrame(chunk, at, at + length)
      at += length
    }
    return true
  }

  #hold(chunk: Buffer, from: number, to: number, wanted: number): void {
    const needed = Math.max(wanted, this.#heldBytes + to - from)
    if (this.#held.length < needed) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2048))
      this.#held.copy(larger, 0, 0, this.#heldBytes)
      this.#held = larger
    }
    chunk.copy(this.#held, this.#heldBytes, from, to)
    this.#heldBytes += to - from
  }
}
