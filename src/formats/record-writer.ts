/**
 * Writes canonical records: what a source that speaks another protocol turns its input into. The result is an encoded
 * `Batch` without source, incarnation and sequence; such messages may be put one after the other, since protobuf joins
 * their repeated fields.
 *
 * A value that is no value of its field (NaN, a negative count, an empty text) is left out: absent is not zero. A text
 * whose bytes were not UTF-8 (a replacement character stands in it, or half a surrogate pair) is written so that it
 * still is not: whoever reads the record drops that field alone, and counts it if some purpose would have seen it.
 * Nothing is checked further here: what a number or an address is, `src/normalise` knows.
 */
import type { Catalogue, Field, FieldName, Kind, KindCatalogue } from '../catalogue/catalogue.js'

const INITIAL_BYTES = 4096
/** Longest text that is written unit by unit. */
const ASCII_LOOP = 48

/** An octet that stands in no UTF-8. */
const IN_NO_UTF8 = 0xff

/** What a field may be given: text, a number, an enum's name. null and undefined are absent. */
export type FieldValue = string | number | null | undefined

/** A record by the catalogue's names of fields. */
export type RecordFields = Readonly<Partial<Record<FieldName, FieldValue>>>

interface Writable {
  readonly field: Field
  readonly tag: number
}

export class RecordWriter {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES)
  #end = 0
  #records = 0
  readonly #kinds: Readonly<Record<Kind, { readonly tag: number; readonly fields: ReadonlyMap<string, Writable> }>>

  constructor(catalogue: Catalogue) {
    const kindOf = ({ batchField, fields }: KindCatalogue) => ({
      tag: batchField * 8 + 2,
      fields: new Map(
        fields
          .filter((f) => f.derivedFrom === null)
          .map((field) => [field.name, { field, tag: field.number * 8 + wireType(field) }]),
      ),
    })
    const { call, quality, device } = catalogue.kinds
    this.#kinds = { call: kindOf(call), quality: kindOf(quality), device: kindOf(device) }
  }

  /** Records written since the last {@link take}. */
  get records(): number {
    return this.#records
  }

  /** Their bytes. */
  get length(): number {
    return this.#end
  }

  /**
   * Runs what adds the records of one message. If it throws, none of them stays: what is written next is another
   * sender's.
   */
  whole<T>(write: () => T): T {
    const end = this.#end
    const records = this.#records
    try {
      return write()
    } catch (error) {
      this.#end = end
      this.#records = records
      throw error
    }
  }

  /**
   * Adds a record, or throws and adds nothing.
   * @param parts its fields. Several objects, none of which may name a field that another one does, cost less than one
   * spread out of them
   * @throws TypeError for a name that is no field of the kind, which is a mistake of the source's, not of its input
   */
  add(kind: Kind, ...parts: readonly RecordFields[]): void {
    const start = this.#end
    try {
      this.#add(kind, parts)
    } catch (error) {
      this.#end = start
      throw error
    }
  }

  #add(kind: Kind, parts: readonly RecordFields[]): void {
    const { tag, fields } = this.#kinds[kind]
    // The record's length is written once it is known; three octets hold 2 MiB.
    this.#reserve(8)
    const bodyLengthAt = this.#varint(tag, this.#end)
    this.#end = bodyLengthAt + 3
    for (const part of parts) {
      for (const name in part) {
        const value = part[name as FieldName]
        if (value === null || value === undefined || value === '') continue
        const writable = fields.get(name)
        if (writable === undefined) throw new TypeError(`${name} is no field of ${kind} that a source may give`)
        this.#value(writable, value)
      }
    }
    const length = this.#end - bodyLengthAt - 3
    this.#bytes[bodyLengthAt] = (length & 0x7f) | 0x80
    this.#bytes[bodyLengthAt + 1] = ((length >> 7) & 0x7f) | 0x80
    this.#bytes[bodyLengthAt + 2] = (length >> 14) & 0x7f
    this.#records++
  }

  /** What was written, as a copy of its own; the writer is empty then. */
  take(): Buffer {
    const bytes = Buffer.from(this.#bytes.subarray(0, this.#end))
    this.#end = 0
    this.#records = 0
    return bytes
  }

  #value({ field, tag }: Writable, value: string | number): void {
    switch (field.type) {
      case 'string': {
        const text = typeof value === 'string' ? value : String(value)
        // Three octets of UTF-8 for a UTF-16 unit at most; a field of more than 2 MiB is in no record that passes the
        // limits.
        this.#reserve(16 + text.length * 3)
        const start = this.#varint(tag, this.#end) + 3
        const length = asciiInto(this.#bytes, text, start) ?? textInto(this.#bytes, text, start)
        this.#bytes[start - 3] = (length & 0x7f) | 0x80
        this.#bytes[start - 2] = ((length >> 7) & 0x7f) | 0x80
        this.#bytes[start - 1] = (length >> 14) & 0x7f
        this.#end = start + length
        return
      }
      case 'float': {
        const number = Number(value)
        if (!Number.isFinite(number)) return
        this.#reserve(16)
        this.#end = this.#bytes.writeFloatLE(number, this.#varint(tag, this.#end))
        return
      }
      case 'enum': {
        const number = typeof value === 'string' ? field.enumNumbers.get(value) : value
        if (number === undefined) throw new TypeError(`${field.name} has no such value`)
        this.#reserve(16)
        this.#end = this.#varint(number, this.#varint(tag, this.#end))
        return
      }
      case 'uint32':
      case 'uint64': {
        const number = Math.trunc(Number(value))
        if (!(number >= 0 && number <= (field.type === 'uint32' ? 0xffff_ffff : Number.MAX_SAFE_INTEGER))) return
        this.#reserve(24)
        this.#end = this.#varint(number, this.#varint(tag, this.#end))
      }
    }
  }

  #varint(value: number, at: number): number {
    while (value >= 0x80) {
      this.#bytes[at++] = (value % 0x80) | 0x80
      value = Math.floor(value / 0x80)
    }
    this.#bytes[at++] = value
    return at
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#end + bytes))
    this.#bytes.copy(larger, 0, 0, this.#end)
    this.#bytes = larger
  }
}

/**
 * Most texts are short and ASCII: a call of `Buffer.write` costs more than this. null: neither, or not both; what was
 * written is to be overwritten.
 */
function asciiInto(bytes: Uint8Array, text: string, at: number): number | null {
  const { length } = text
  if (length > ASCII_LOOP) return null
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i)
    if (unit >= 0x80) return null
    bytes[at + i] = unit
  }
  return length
}

function textInto(bytes: Buffer, text: string, at: number): number {
  const length = bytes.write(text, at, 'utf8')
  if (isReadable(text)) return length
  bytes[at + length] = IN_NO_UTF8
  return length + 1
}

/**
 * Whether a text is all that its sender wrote. Texts of different people that are not can be the same, so they name
 * nobody.
 */
export function isReadable(text: string): boolean {
  return !/[\ufffd\p{Surrogate}]/u.test(text)
}

function wireType(field: Field): number {
  return field.type === 'string' ? 2 : field.type === 'float' ? 5 : 0
}
