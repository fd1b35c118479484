/**
 * Marks of a stream's last batches: by them a batch that is sent again is told from another one under the same number.
 * A mark is eight octets of an HMAC, so that who reads the ledger can neither guess a batch from it nor make one that
 * fits.
 */
import { createHmac } from 'node:crypto'
import { MinimError } from '../errors/catalogue.js'
import { type Keyring, LEDGER_DOMAIN } from '../keys/keyring.js'
import type { SourceId } from './work-item.js'

/** Batches of a stream whose marks are kept. What is older is acknowledged, whatever it holds. */
export const MARKS_KEPT = 64
export const MARK_BYTES = 8

/**
 * The mark of a batch. @throws MinimError MINIM_KEYS_NEVER when somebody has taken the key out of the store after all
 */
export function markOf(
  keyring: Keyring,
  { source, incarnation }: SourceId,
  sequence: number,
  body: Uint8Array,
): Buffer {
  const keys = keyring.keys(LEDGER_DOMAIN.id, LEDGER_DOMAIN.epoch)
  if (typeof keys === 'string')
    throw new MinimError('MINIM_KEYS_NEVER', { purpose: LEDGER_DOMAIN.id, epoch: LEDGER_DOMAIN.epoch })
  // Stream and number are part of it: equal batches have marks of their own, and say nothing of each other.
  return createHmac('sha256', keys.hmac)
    .update(`batch\u0000${source}\u0000${incarnation}\u0000${sequence}\u0000`)
    .update(body)
    .digest()
    .subarray(0, MARK_BYTES)
}

/** Marks of one stream, of numbers that follow each other: those taken last, and all that are under way. */
export class Marks {
  #bytes = Buffer.alloc(0)
  /** Number of the first, and how many there are. */
  #first = 0
  #count = 0
  /** Older ones are not known any more, though they may lie there still. */
  #oldest = 0

  /** @param last number of the last mark @param bytes marks out of the ledger */
  constructor(last = 0, bytes: Uint8Array = Buffer.alloc(0)) {
    this.#count = Math.min(Math.floor(bytes.length / MARK_BYTES), last)
    this.#first = last - this.#count + 1
    this.#bytes = Buffer.from(bytes.subarray(bytes.length - this.#count * MARK_BYTES))
  }

  /** Adds the next one's. Where numbers were left out, nothing is known of those before. */
  add(sequence: number, mark: Uint8Array): void {
    if (sequence !== this.#first + this.#count) {
      this.#first = sequence
      this.#count = 0
    }
    const at = this.#count * MARK_BYTES
    if (at === this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(Math.max(MARKS_KEPT * MARK_BYTES, at))])
    this.#bytes.set(mark, at)
    this.#count++
  }

  /** Whether a number is known with another mark. */
  differs(sequence: number, mark: Uint8Array): boolean {
    const at = (sequence - this.#first) * MARK_BYTES
    return (
      sequence >= Math.max(this.#first, this.#oldest) &&
      sequence < this.#first + this.#count &&
      !this.#bytes.subarray(at, at + MARK_BYTES).equals(mark)
    )
  }

  /** The marks up to a number, as many as are kept; none where its own is not known. */
  upTo(last: number): Buffer {
    const end = last - this.#first + 1
    if (end <= 0 || end > this.#count) return this.#bytes.subarray(0, 0)
    return this.#bytes.subarray(Math.max(0, end - MARKS_KEPT) * MARK_BYTES, end * MARK_BYTES)
  }

  /** Forgets those that are too old once a number is committed. */
  committed(last: number): void {
    this.#oldest = last - MARKS_KEPT + 1
    const old = this.#oldest - this.#first
    // Some at a time: each costs a move of the rest.
    if (old < MARKS_KEPT) return
    const gone = Math.min(old, this.#count)
    this.#bytes.copyWithin(0, gone * MARK_BYTES, this.#count * MARK_BYTES)
    this.#first += gone
    this.#count -= gone
  }
}
