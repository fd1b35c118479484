/** What `src/decide` tells `src/project` of a batch's rows. */
import { epochEnd, epochId, epochStart } from '../keys/epochs.js'
import type { EpochLength } from '../keys/keyring.js'

/** The epochs that the rows of a batch lie in, for one length of epoch. */
export class Epochs {
  readonly length: EpochLength
  /** Distinct epochs of this batch. */
  readonly ids: string[] = []
  readonly starts: number[] = []
  readonly #ends: number[] = []
  /** Which of them each row lies in. */
  readonly row: Int16Array
  #last = 0

  constructor(length: EpochLength, capacity: number) {
    this.length = length
    this.row = new Int16Array(capacity)
  }

  clear(): void {
    this.ids.length = 0
    this.starts.length = 0
    this.#ends.length = 0
    this.#last = 0
  }

  place(row: number, timeMs: number): void {
    if (this.#last < this.ids.length && timeMs >= this.starts[this.#last] && timeMs < this.#ends[this.#last]) {
      this.row[row] = this.#last
      return
    }
    let i = 0
    while (i < this.ids.length && !(timeMs >= this.starts[i] && timeMs < this.#ends[i])) i++
    if (i === this.ids.length) {
      this.ids.push(epochId(this.length, timeMs))
      this.starts.push(epochStart(this.length, timeMs))
      this.#ends.push(epochEnd(this.length, timeMs))
    }
    this.#last = i
    this.row[row] = i
  }
}

/** Which purposes may have each row. */
export interface Decision {
  /** Number of the column of start times. */
  readonly startColumn: number
  /** Bit mask of purposes per row; 0 where none may have it. */
  readonly mask: Int32Array
  readonly epochs: ReadonlyMap<EpochLength, Epochs>
}
