/**
 * Kafka's messages put into arenas for the readers: what of one partition is offered at once, and how its bytes are to
 * be read.
 */
import type { Batch, Reader, Refusal } from '../../batch/batch.js'

/** Room behind the messages for what readers make: unescaped text. */
const SCRATCH_BYTES = 131_072
/** A piece takes no more messages from so many bytes, or so many messages, on. */
const PIECE_BYTES = 262_144
const PIECE_MESSAGES = 4096
const SPARE_ARENAS = 32

const LF = 0x0a,
  CR = 0x0d,
  SPACE = 0x20,
  TAB = 0x09,
  OPEN = 0x7b,
  CLOSE = 0x7d

/** What a message becomes: bytes for the reader, bytes for quarantine, or nothing. */
export type Converted = { readonly bytes: Uint8Array } | { readonly reason: Refusal } | { readonly unused: true }

/** How the messages of a topic are read. */
export interface MessageFormat {
  readonly reader: Reader
  /** Messages are lines of text: those that follow each other are read in one go. Else each is read for itself. */
  readonly lines: boolean
  /** Makes of a message what the reader reads; null: it is that already. */
  readonly convert: ((message: Buffer) => Converted) | null
  /** What refused messages are called in quarantine; null: as the reader calls them. */
  readonly refusedFormat: string | null
}

/** Messages of one partition, one after the other, as they are offered. */
export interface Piece {
  readonly arena: Buffer
  /** Octets of messages in it. */
  readonly length: number
  /** Where each stretch ends that is read in one go, and why it is not read at all, if so. */
  readonly ends: readonly number[]
  readonly reasons: readonly (Refusal | null)[]
  readonly messages: number
  /** Of these: of no use. */
  readonly unused: number
}

/** Arenas that are used again. */
export class ArenaPool {
  readonly #spare: Buffer[] = []

  take(bytes: number): Buffer {
    if (bytes > PIECE_BYTES + SCRATCH_BYTES) return Buffer.allocUnsafeSlow(bytes)
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES + SCRATCH_BYTES)
  }

  give(arena: Buffer): void {
    if (arena.length === PIECE_BYTES + SCRATCH_BYTES && this.#spare.length < SPARE_ARENAS) this.#spare.push(arena)
  }
}

/** Fills one piece after the other. */
export class PieceBuilder {
  readonly #pool: ArenaPool
  readonly #format: MessageFormat
  readonly #maxMessageBytes: number
  #arena: Buffer | null = null
  #length = 0
  #ends: number[] = []
  #reasons: (Refusal | null)[] = []
  #messages = 0
  #unused = 0

  constructor(pool: ArenaPool, format: MessageFormat, maxMessageBytes: number) {
    this.#pool = pool
    this.#format = format
    this.#maxMessageBytes = maxMessageBytes
  }

  /** Messages since the last {@link take}. */
  get messages(): number {
    return this.#messages
  }

  /** Whether another message must wait for the next piece. */
  isFull(bytes: number): boolean {
    return this.#messages > 0 && (this.#length + bytes + 1 > PIECE_BYTES || this.#messages >= PIECE_MESSAGES)
  }

  /** @param start -1: the message has no value */
  add(bytes: Buffer, start: number, end: number): void {
    this.#messages++
    if (start < 0 || start === end) {
      this.#unused++
      return
    }
    if (end - start > this.#maxMessageBytes) {
      this.#append(bytes, start, start + this.#maxMessageBytes, 'too_large')
      return
    }
    const { convert, lines } = this.#format
    if (convert === null) {
      this.#append(bytes, start, end, null)
      if (lines) this.#endLine(end - start)
      return
    }
    const message = bytes.subarray(start, end)
    const converted = convert(message)
    if ('unused' in converted) this.#unused++
    else if ('reason' in converted) this.#append(message, 0, message.length, converted.reason)
    else this.#append(converted.bytes, 0, converted.bytes.length, null)
  }

  /** A batch of messages that cannot be read. */
  addBroken(batch: Buffer): void {
    this.#messages++
    this.#append(batch, 0, Math.min(batch.length, this.#maxMessageBytes), 'malformed_batch')
  }

  /** What was added since the last call. */
  take(): Piece {
    const piece: Piece = {
      arena: this.#arena ?? this.#pool.take(0),
      length: this.#length,
      ends: this.#ends,
      reasons: this.#reasons,
      messages: this.#messages,
      unused: this.#unused,
    }
    this.#arena = null
    this.#length = 0
    this.#ends = []
    this.#reasons = []
    this.#messages = 0
    this.#unused = 0
    return piece
  }

  #append(from: Uint8Array, start: number, end: number, reason: Refusal | null): void {
    const arena = this.#room(end - start + 1)
    arena.set(start === 0 && end === from.length ? from : from.subarray(start, end), this.#length)
    this.#length += end - start
    const last = this.#ends.length - 1
    // Lines that follow each other are one stretch.
    if (reason === null && this.#format.lines && last >= 0 && this.#reasons[last] === null)
      this.#ends[last] = this.#length
    else {
      this.#ends.push(this.#length)
      this.#reasons.push(reason)
    }
  }

  /** A message's last line ends with it; and one object may be written over several lines. */
  #endLine(length: number): void {
    const arena = this.#arena as Buffer
    const start = this.#length - length
    if (arena.indexOf(LF, start) >= 0 && arena.indexOf(LF, start) < this.#length) joinLines(arena, start, this.#length)
    if (arena[this.#length - 1] === LF) return
    arena[this.#length++] = LF
    this.#ends[this.#ends.length - 1] = this.#length
  }

  #room(bytes: number): Buffer {
    const needed = this.#length + bytes + SCRATCH_BYTES
    const arena = (this.#arena ??= this.#pool.take(needed))
    if (needed <= arena.length) return arena
    const larger = this.#pool.take(Math.max(needed, arena.length * 2))
    arena.copy(larger, 0, 0, this.#length)
    this.#pool.give(arena)
    return (this.#arena = larger)
  }
}

/**
 * Makes one line of an object that is written over several: its line ends become spaces. JSON has line ends between its
 * words only, within a text they are escaped. A message of several objects, one a line, stays as it is: its first line
 * is a whole one.
 */
function joinLines(arena: Buffer, start: number, end: number): void {
  let first = start
  while (first < end && isSpace(arena[first])) first++
  let last = arena.indexOf(LF, first) - 1
  if (last < 0 || last >= end) return
  while (last > first && isSpace(arena[last])) last--
  if (arena[first] !== OPEN || (arena[last] === CLOSE && last > first)) return
  for (let at = first; at < end; at++) if (arena[at] === LF) arena[at] = SPACE
}

function isSpace(byte: number): boolean {
  return byte === SPACE || byte === TAB || byte === CR || byte === LF
}

/** Reads a piece: each stretch for itself, so that what is broken in one does not reach the next. */
export class PieceReader implements Reader {
  readonly format: string

  readonly #messages: MessageFormat
  readonly #piece: Piece

  constructor(messages: MessageFormat, piece: Piece) {
    this.#messages = messages
    this.#piece = piece

    this.format = messages.reader.format
  }

  fill(batch: Batch, start: number, end: number): number {
    const { ends, reasons } = this.#piece
    const { reader, refusedFormat } = this.#messages
    let stretch = 0
    for (let low = 0, high = ends.length; low < high;) {
      const middle = (low + high) >>> 1
      if (ends[middle] > start) high = stretch = middle
      else low = stretch = middle + 1
    }
    let pos = start
    for (; pos < end; stretch++) {
      const stop = ends[stretch]
      const reason = reasons[stretch]
      if (reason === null) {
        const next = reader.fill(batch, pos, stop, true)
        // Columns or scratch space are full.
        if (next < stop) return next
      } else {
        batch.refuse(reason, pos, stop, refusedFormat)
      }
      pos = stop
    }
    return pos
  }
}
