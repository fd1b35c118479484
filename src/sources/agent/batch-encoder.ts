/**
 * Columns → the records of an encoded `Batch` (`proto/minim/v1/ingest.proto`): what an agent makes of the lines that it
 * has read. What could not be read goes along as it is, with the reason, so that the proxy puts it into quarantine.
 */
import { type Batch, REFUSALS } from '../../batch/batch.js'
import { type Columns, unreadableStart } from '../../batch/columns.js'
import { type Catalogue, type Kind, KINDS } from '../../catalogue/catalogue.js'

const INITIAL_BYTES = 65_536
/** `Batch.refused`, length-delimited. */
const REFUSED_TAG = (7 << 3) | 2
/** Longest varint that is written here: 53 bits. */
const VARINT_BYTES = 8
/** A length that is written once it is known: over-long varints are the value that they hold. */
const LENGTH_BYTES = 4

interface Column {
  readonly index: number
  readonly tag: number
  readonly type: 'string' | 'float' | 'varint'
}

interface KindPlan {
  readonly tag: number
  readonly columns: readonly Column[]
  readonly tenant: Column | undefined
}

/** Encodes batches; one call at a time. */
export class BatchEncoder {
  readonly #plans: Readonly<Record<Kind, KindPlan>>
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES)
  #end = 0

  constructor(catalogue: Catalogue) {
    const plan = (kind: Kind): KindPlan => {
      const { batchField, fields } = catalogue.kinds[kind]
      const columns = fields
        .filter((f) => f.derivedFrom === null)
        .map((f): Column => {
          const type = f.type === 'string' || f.type === 'float' ? f.type : 'varint'
          return { index: f.index, type, tag: f.number * 8 + (type === 'string' ? 2 : type === 'float' ? 5 : 0) }
        })
      const tenant = fields.find((f) => f.name === 'tenant')?.index
      return { tag: batchField * 8 + 2, columns, tenant: columns.find((c) => c.index === tenant) }
    }
    this.#plans = { call: plan('call'), quality: plan('quality'), device: plan('device') }
  }

  /**
   * Encodes all that a batch holds: fields 4 to 7 of `Batch`.
   * @param format what its reader reads
   * @param tenant of records that name none; null: the proxy's own
   * @returns bytes of its own
   */
  encode(batch: Batch, format: string, tenant: string | null): Buffer {
    this.#end = 0
    const tenantBytes = tenant === null ? null : Buffer.from(tenant)
    for (const kind of KINDS) {
      const columns = batch.columns[kind]
      for (let row = 0; row < columns.rows; row++)
        this.#record(this.#plans[kind], columns, row, batch.arena, tenantBytes)
    }
    const { refusedReason, refusedStart, refusedEnd, arena } = batch
    const formatBytes = Buffer.from(format)
    for (let i = 0; i < refusedReason.length; i++) {
      const input = arena.subarray(refusedStart[i], refusedEnd[i])
      const reason = Buffer.from(REFUSALS[refusedReason[i]])
      this.#reserve(input.length + 256)
      this.#varint(REFUSED_TAG)
      const at = this.#openLength()
      this.#text((1 << 3) | 2, reason, 0, reason.length)
      this.#text((2 << 3) | 2, formatBytes, 0, formatBytes.length)
      this.#text((3 << 3) | 2, input, 0, input.length)
      this.#closeLength(at)
    }
    return Buffer.from(this.#bytes.subarray(0, this.#end))
  }

  #record(plan: KindPlan, columns: Columns, row: number, arena: Buffer, tenant: Buffer | null): void {
    const { off, len, num, width } = columns
    const cell = row * width
    this.#reserve(64)
    this.#varint(plan.tag)
    const at = this.#openLength()
    for (const column of plan.columns) {
      const i = cell + column.index
      if (column.type === 'string') {
        // What is not UTF-8 goes as it came: minim drops the field, and counts it if some purpose would have seen it.
        const from = off[i] >= 0 ? off[i] : unreadableStart(off[i])
        if (from >= 0) {
          this.#reserve(len[i] + 64)
          this.#text(column.tag, arena, from, from + len[i])
        } else if (tenant !== null && column === plan.tenant) {
          this.#reserve(tenant.length + 64)
          this.#text(column.tag, tenant, 0, tenant.length)
        }
        continue
      }
      const value = num[i]
      if (Number.isNaN(value)) continue
      this.#reserve(64)
      this.#varint(column.tag)
      if (column.type === 'float') this.#end = this.#bytes.writeFloatLE(value, this.#end)
      else this.#varint(value)
    }
    this.#closeLength(at)
  }

  #text(tag: number, from: Buffer, start: number, end: number): void {
    this.#varint(tag)
    this.#varint(end - start)
    this.#end += from.copy(this.#bytes, this.#end, start, end)
  }

  #openLength(): number {
    this.#end += LENGTH_BYTES
    return this.#end
  }

  #closeLength(at: number): void {
    let length = this.#end - at
    for (let i = LENGTH_BYTES; i > 1; i--) {
      this.#bytes[at - i] = (length & 0x7f) | 0x80
      length >>>= 7
    }
    this.#bytes[at - 1] = length
  }

  #varint(value: number): void {
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#end++] = (rest % 0x80) | 0x80
    this.#bytes[this.#end++] = rest
  }

  /** Room for so many bytes more, and for a varint. */
  #reserve(bytes: number): void {
    const wanted = this.#end + bytes + VARINT_BYTES
    if (wanted <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, wanted))
    this.#bytes.copy(larger, 0, 0, this.#end)
    this.#bytes = larger
  }
}
