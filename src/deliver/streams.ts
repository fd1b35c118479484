/** What is known of each source's stream: what was taken, what is under way, and where it is broken. */
import { Marks } from '../flow/marks.js'
import { SPOOL_PREFIX } from '../flow/shards.js'
import type { SourceId } from '../flow/work-item.js'
import { type Ledger, streamKey } from './ledger.js'

export class Streams {
  /** The last sequence that is committed. */
  #taken = new Map<string, number>()
  /** Marks of the last batches, those under way among them. */
  readonly #marks = new Map<string, Marks>()
  /** The same as the ledger had them, until they are asked for. */
  #ledgerMarks: ReadonlyMap<string, string> = new Map()
  /** The last sequence that is in a transaction. */
  readonly #inFlight = new Map<string, number>()
  /** The failed batch, by its sequence: nothing later may be taken before it. */
  readonly #broken = new Map<string, number>()

  /** Begins with what the ledger says. */
  read({ taken, marks }: Ledger): void {
    this.#taken = taken
    this.#ledgerMarks = marks
    this.#marks.clear()
  }

  /** Last sequence of a stream that is committed; 0 when there is none. */
  lastTaken(key: string): number {
    return this.#taken.get(key) ?? 0
  }

  /** The same of a spool, whatever its stream was called when there was another number of workers. */
  lastSpooled(incarnation: string): number {
    let last = 0
    for (const [key, sequence] of this.#taken)
      if (key.startsWith(SPOOL_PREFIX) && key.endsWith(`\u0000${incarnation}`)) last = Math.max(last, sequence)
    return last
  }

  /** The streams of a source that the ledger knows, with the last sequence of each. */
  of(source: string): { readonly incarnation: string; readonly sequence: number }[] {
    const prefix = streamKey({ source, incarnation: '' })
    return [...this.#taken]
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, sequence]) => ({ incarnation: key.slice(prefix.length), sequence }))
  }

  /**
   * Whether a batch was taken, or is under way, that had this number and other bytes. What is too old to be known did
   * not.
   */
  differs(id: SourceId, sequence: number, mark: Uint8Array): boolean {
    const key = streamKey(id)
    return (this.#marks.has(key) || this.#ledgerMarks.has(key)) && this.#marksOf(key).differs(sequence, mark)
  }

  /** Marks up to a sequence, as the ledger is to keep them. */
  marksUpTo(key: string, sequence: number): Buffer | undefined {
    return this.#marks.get(key)?.upTo(sequence)
  }

  /** Whether a batch is in a transaction already. */
  isInFlight(key: string, sequence: number): boolean {
    return sequence <= (this.#inFlight.get(key) ?? 0)
  }

  /** A batch is in a transaction now. */
  join(key: string, sequence: number): void {
    this.#inFlight.set(key, sequence)
  }

  /** Remembers a batch's mark. */
  addMark(key: string, sequence: number, mark: Uint8Array): void {
    this.#marksOf(key).add(sequence, mark)
  }

  /** A batch cannot be made. */
  break(key: string, sequence: number): void {
    this.#broken.set(key, sequence)
  }

  /** Whether a batch comes after one that failed; the failed one itself, or one before it, mends the stream. */
  isBroken(key: string, sequence: number): boolean {
    const failed = this.#broken.get(key)
    if (failed === undefined) return false
    if (sequence > failed) return true
    this.#broken.delete(key)
    return false
  }

  /** A transaction is committed. */
  committed(sequences: ReadonlyMap<string, number>): void {
    for (const [key, sequence] of sequences) {
      this.#taken.set(key, sequence)
      this.#marks.get(key)?.committed(sequence)
      if (this.#inFlight.get(key) === sequence) this.#inFlight.delete(key)
    }
  }

  /** No transaction is under way any more. */
  dropInFlight(): void {
    this.#inFlight.clear()
  }

  #marksOf(key: string): Marks {
    let marks = this.#marks.get(key)
    if (marks === undefined) {
      marks = new Marks(this.#taken.get(key), Buffer.from(this.#ledgerMarks.get(key) ?? '', 'base64'))
      this.#marks.set(key, marks)
    }
    return marks
  }
}
