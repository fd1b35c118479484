/**
 * The wire scanner: walks the protobuf encoding of records once and fills columns. Nothing is decoded into objects.
 *
 * What it takes and what it refuses (https://protobuf.dev/programming-guides/encoding/):
 * - the last occurrence of a field wins; fields may come in any order
 * - a field that the catalogue does not know, that is never taken from a source (derived fields, the tag), or that
 *   comes with another wire type than its own is skipped and counted
 * - varints of up to 10 bytes, over-long ones too: the value counts, and it is written anew on the way out
 * - `uint32` above 2^32-1 and `uint64` above 2^53-1 are `bad_value`, a time above that is `clock`
 * - an enum number without a name, NaN and infinities are no value, and neither is the time 0 (1970), which stands for a
 *   time that is not known
 * - a `string` that is not UTF-8, on which a protobuf consumer would throw, is no value; an empty one is absent
 * - groups (wire types 3 and 4), which proto3 does not have, and the unassigned types 6 and 7 are malformed
 *
 * Guarded by the rows `transform` and `d` of `bench/`.
 */
import { isUtf8 } from 'node:buffer'
import { type Catalogue, type Field, isTime, type KindCatalogue } from '../catalogue/catalogue.js'
import { type Batch, type Reader, type Refusal, REFUSALS } from './batch.js'
import { type Columns, unreadable } from './columns.js'

const T_STRING = 0
const T_UINT32 = 1
const T_UINT64 = 2
const T_FLOAT = 3
const T_ENUM = 4
const T_TIME = 5
/** Wire type that each field type comes in. */
const WIRE = [2, 0, 0, 5, 0, 0]

const OK = -1
const MALFORMED = REFUSALS.indexOf('malformed_record')
const BAD_VALUE = REFUSALS.indexOf('bad_value')
const CLOCK = REFUSALS.indexOf('clock')

const floatBytes = new Uint8Array(4)
const floatValue = new Float32Array(floatBytes.buffer)

function typeCode(field: Field): number {
  switch (field.type) {
    case 'string':
      return T_STRING
    case 'uint32':
      return T_UINT32
    case 'uint64':
      return isTime(field) ? T_TIME : T_UINT64
    case 'float':
      return T_FLOAT
    case 'enum':
      return T_ENUM
  }
}

/** Where the last varint read ended; -1 when it did not end within its bytes. */
let next = 0

/** Reads a varint of up to 10 bytes; bits above 2^53 lose precision, which callers refuse by size. */
function varint(buf: Uint8Array, pos: number, end: number): number {
  let value = 0
  let scale = 1
  const limit = pos + 10 < end ? pos + 10 : end
  while (pos < limit) {
    const byte = buf[pos++]
    value += (byte & 0x7f) * scale
    if (byte < 0x80) {
      next = pos
      return value
    }
    scale *= 128
  }
  next = -1
  return 0
}

/** Scans records of one kind. */
class RecordScanner {
  readonly batchField: number
  readonly #indexByNumber: Int16Array
  readonly #types: Uint8Array
  readonly #wires: Uint8Array
  readonly #enumNames: readonly (readonly (string | undefined)[])[]
  /** Fields skipped since it was last set to 0. */
  unknown = 0

  constructor(kind: KindCatalogue) {
    this.batchField = kind.batchField
    this.#indexByNumber = kind.indexByNumber
    this.#types = Uint8Array.from(kind.fields, typeCode)
    this.#wires = this.#types.map((t) => WIRE[t])
    this.#enumNames = kind.fields.map((f) => f.enumNames)
  }

  /** Fills the row that begins at `cell`. Returns {@link OK} or the index of a refusal. */
  scan(buf: Uint8Array, view: DataView, pos: number, end: number, columns: Columns, cell: number): number {
    const { off, len, num } = columns
    const indexByNumber = this.#indexByNumber
    const types = this.#types
    const wires = this.#wires
    while (pos < end) {
      let tag = buf[pos++]
      if (tag >= 0x80) {
        tag = varint(buf, pos - 1, end)
        if (next < 0 || tag > 0xffffffff) return MALFORMED
        pos = next
      }
      const number = tag >>> 3
      const wire = tag & 7
      if (number === 0) return MALFORMED
      const index = number < 512 ? indexByNumber[number] : -1
      const known = index >= 0 && wires[index] === wire
      if (!known) this.unknown++
      if (wire === 2) {
        let length = buf[pos++]
        if (length >= 0x80 || pos > end) {
          length = varint(buf, pos - 1, end)
          if (next < 0) return MALFORMED
          pos = next
        }
        const stop = pos + length
        if (stop > end) return MALFORMED
        if (known) {
          let bits = 0
          let i = pos
          for (; i + 4 <= stop; i += 4) bits |= view.getInt32(i, true)
          for (; i < stop; i++) bits |= buf[i]
          off[cell + index] = length === 0 ? -1 : pos
          if ((bits & 0x80808080) !== 0 && !isUtf8(buf.subarray(pos, stop))) {
            off[cell + index] = unreadable(pos)
            columns.anyUnreadable = true
          }
          len[cell + index] = length
        }
        pos = stop
      } else if (wire === 0) {
        // Read before it is known to be there: a byte beyond the end fails in varint().
        let value = buf[pos++]
        if (value >= 0x80 || pos > end) {
          value = varint(buf, pos - 1, end)
          if (next < 0) return MALFORMED
          pos = next
        }
        if (known) {
          const type = types[index]
          if (type === T_ENUM) {
            if (this.#enumNames[index][value] === undefined) {
              this.unknown++
              value = NaN
            }
          } else if (value > (type === T_UINT32 ? 0xffffffff : Number.MAX_SAFE_INTEGER))
            return type === T_TIME ? CLOCK : BAD_VALUE
          else if (value === 0 && type === T_TIME) value = NaN
          num[cell + index] = value
        }
      } else if (wire === 5) {
        if (pos + 4 > end) return MALFORMED
        if (known) {
          floatBytes[0] = buf[pos]
          floatBytes[1] = buf[pos + 1]
          floatBytes[2] = buf[pos + 2]
          floatBytes[3] = buf[pos + 3]
          const value = floatValue[0]
          num[cell + index] = value - value === 0 ? value : NaN
        }
        pos += 4
      } else if (wire === 1) {
        pos += 8
        if (pos > end) return MALFORMED
      } else return MALFORMED
    }
    return OK
  }
}

/** What the envelope of a `Batch` says; `null` fields were absent. */
export interface Envelope {
  readonly source: string
  readonly incarnation: string
  readonly sequence: number
  /** Whether the whole envelope could be walked. */
  readonly intact: boolean
  readonly records: number
  /**
   * Where the header ends that says source, incarnation and sequence: what follows is the batch itself, however its
   * sender names itself.
   */
  readonly bodyStart: number
}

/** Reads the header of an encoded `Batch` and walks its envelope to the end. What was read before a break is kept. */
export function readEnvelope(buf: Buffer, start = 0, end: number = buf.length): Envelope {
  let source = ''
  let incarnation = ''
  let sequence = 0
  let records = 0
  let bodyStart = start
  let pos = start
  const result = (intact: boolean): Envelope => ({ source, incarnation, sequence, intact, records, bodyStart })
  while (pos < end) {
    const tag = varint(buf, pos, end)
    if (next < 0) return result(false)
    const valueStart = next
    pos = skip(buf, valueStart, end, tag)
    if (pos < 0) return result(false)
    const number = Math.floor(tag / 8)
    const wire = tag & 7
    // A header behind records is no header: all of it is the body then.
    if (number <= 3) bodyStart = records === 0 ? pos : start
    if (number === 3 && wire === 0) {
      sequence = varint(buf, valueStart, end)
      if (sequence > Number.MAX_SAFE_INTEGER) return result(false)
    } else if (wire === 2 && number <= REFUSED_FIELD) {
      varint(buf, valueStart, end)
      if (number >= 4) records++
      else if (!isUtf8(buf.subarray(next, pos))) return result(false)
      else if (number === 1) source = buf.toString('utf8', next, pos)
      else if (number === 2) incarnation = buf.toString('utf8', next, pos)
    }
  }
  return result(true)
}

/** `Batch.refused` */
const REFUSED_FIELD = 7

/** What a source may say of input that it could not read. */
const SOURCES_REASONS: readonly Refusal[] = [
  'malformed_json',
  'malformed_csv',
  'bad_value',
  'bad_utf8',
  'too_large',
  'clock',
]
const FORMAT_NAME = /^[a-z][a-z0-9-]{0,31}$/

/**
 * Takes a `Refused` message over: input that a source could not make a record of. One that is broken itself is refused
 * as it is.
 */
function refusedBySource(batch: Batch, start: number, end: number): void {
  const buf = batch.arena
  let reason = ''
  let format = ''
  let inputStart = start
  let inputEnd = start
  for (let pos = start; pos < end;) {
    const tag = varint(buf, pos, end)
    const valueStart = next
    pos = valueStart < 0 ? -1 : skip(buf, valueStart, end, tag)
    if (pos < 0) {
      batch.refuse('malformed_record', start, end)
      return
    }
    if ((tag & 7) !== 2) continue
    varint(buf, valueStart, end)
    const number = Math.floor(tag / 8)
    if (number === 3) {
      inputStart = next
      inputEnd = pos
    } else if (pos - next > 32) continue
    else if (number === 1) reason = buf.toString('latin1', next, pos)
    else if (number === 2) format = buf.toString('latin1', next, pos)
  }
  batch.refuse(
    SOURCES_REASONS.find((known) => known === reason) ?? 'malformed_record',
    inputStart,
    inputEnd,
    FORMAT_NAME.test(format) ? format : null,
  )
}

/** End of the value that starts at `pos`, or -1. */
function skip(buf: Uint8Array, pos: number, end: number, tag: number): number {
  if (tag < 8 || tag > 0xffffffff) return -1
  switch (tag & 7) {
    case 0:
      varint(buf, pos, end)
      return next
    case 1:
      return pos + 8 <= end ? pos + 8 : -1
    case 2: {
      const length = varint(buf, pos, end)
      return next >= 0 && next + length <= end ? next + length : -1
    }
    case 5:
      return pos + 4 <= end ? pos + 4 : -1
    default:
      return -1
  }
}

/**
 * Reads encoded `Batch` messages: one that fills its bytes (`framing: 'whole'`, gRPC) or a stream of length-delimited
 * ones (`framing: 'delimited'`, files). A message may hold more records than the columns: the next call goes on inside
 * it.
 */
export class ProtobufReader implements Reader {
  readonly format = 'protobuf'
  readonly #scanners: readonly (RecordScanner | undefined)[]
  readonly #delimited: boolean
  /** Where the last call stopped inside a message, and where that message ends. */
  #resumeAt = -1
  #resumeEnd = -1
  #resumeArena: Uint8Array | null = null

  constructor(catalogue: Catalogue, framing: 'whole' | 'delimited') {
    const scanners: RecordScanner[] = []
    for (const kind of Object.values(catalogue.kinds)) scanners[kind.batchField] = new RecordScanner(kind)
    this.#scanners = scanners
    this.#delimited = framing === 'delimited'
  }

  fill(batch: Batch, start: number, end: number, last: boolean): number {
    const buf = batch.arena
    let pos = start
    // Only the very next call may go on: an arena is filled anew with other bytes.
    const resumes = this.#resumeAt === start && this.#resumeArena === buf && this.#resumeEnd <= end
    this.#resumeAt = -1
    if (resumes) {
      const messageEnd = this.#resumeEnd
      pos = this.#message(batch, pos, messageEnd)
      if (pos < messageEnd) return this.#pause(buf, pos, messageEnd)
    } else if (!this.#delimited) {
      pos = this.#message(batch, start, end)
      return pos < end ? this.#pause(buf, pos, end) : pos
    }
    while (this.#delimited && pos < end) {
      const length = varint(buf, pos, end)
      if (next < 0 || next + length > end) {
        // A prefix that never ends cannot be walked over: what follows it is refused as a whole.
        if (!last && !(next < 0 && end - pos >= 10)) return pos
        batch.refuse('malformed_batch', pos, end)
        return end
      }
      const messageStart = next
      const messageEnd = messageStart + length
      pos = this.#message(batch, messageStart, messageEnd)
      if (pos < messageEnd) return this.#pause(buf, pos, messageEnd)
    }
    return pos
  }

  #pause(buf: Uint8Array, pos: number, messageEnd: number): number {
    this.#resumeAt = pos
    this.#resumeEnd = messageEnd
    this.#resumeArena = buf
    return pos
  }

  /**
   * Scans the records of a message; stops before one whose columns are full. What follows a break in its envelope is
   * refused as one.
   */
  #message(batch: Batch, pos: number, end: number): number {
    const buf = batch.arena
    while (pos < end) {
      const tag = varint(buf, pos, end)
      const valueStart = next
      const number = Math.floor(tag / 8)
      const after = valueStart < 0 ? -1 : skip(buf, valueStart, end, tag)
      if (after < 0) {
        batch.refuse('malformed_batch', pos, end)
        return end
      }
      if ((tag & 7) === 2 && number === REFUSED_FIELD) {
        if (batch.refusedReason.length >= batch.columns.call.capacity) return pos
        varint(buf, valueStart, end)
        refusedBySource(batch, next, after)
        pos = after
        continue
      }
      if ((tag & 7) !== 2 || number < 4 || number > 6) {
        if (number > 3) batch.unknown(1, pos)
        pos = after
        continue
      }
      const columns = number === 4 ? batch.columns.call : number === 5 ? batch.columns.quality : batch.columns.device
      if (columns.full) return pos
      const length = varint(buf, valueStart, end)
      const recordEnd = after
      const recordStart = recordEnd - length
      const scanner = this.#scanners[number] as RecordScanner
      scanner.unknown = 0
      const outcome = scanner.scan(buf, batch.view, recordStart, recordEnd, columns, columns.begin())
      if (scanner.unknown > 0) batch.unknown(scanner.unknown, pos)
      // With its field number and length: what is quarantined is a message in itself, so that its kind is known when it
      // is read again.
      if (outcome === OK) columns.commit(pos, recordEnd)
      else {
        columns.rollback()
        batch.refuse(REFUSALS[outcome], pos, recordEnd)
      }
      pos = recordEnd
    }
    return end
  }
}

/** End of the last whole length-delimited message between `start` and `end`; `start` when there is none. */
export function lastDelimitedEnd(buf: Uint8Array, start: number, end: number): number {
  let pos = start
  while (pos < end) {
    const length = varint(buf, pos, end)
    if (next < 0 || next + length > end) return pos
    pos = next + length
  }
  return pos
}
