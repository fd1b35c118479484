/**
 * Whether a post may be taken as it is: every record of it is read, as it will be read again from the spool, and the
 * first that could not become one is named by its line and its field. Names of fields are the catalogue's; no value is
 * ever told.
 */
import { Batch, type Reader, type Refusal, REFUSALS } from '../../batch/batch.js'
import { type Columns, unreadableStart } from '../../batch/columns.js'
import { ProtobufReader, readEnvelope } from '../../batch/scanner.js'
import { type Catalogue, fieldOf, type Kind, type KindCatalogue } from '../../catalogue/catalogue.js'
import { latestTimeMs, TimeLimits } from '../../flow/time-limits.js'
import { JsonLinesReader } from '../../formats/json-lines.js'
import { builtInMapping } from '../../formats/mapping.js'
import { mayUse, type TenantGrant } from '../common/authorise.js'
import { type UnknownField, UnknownFields } from './unknown-fields.js'

const LF = 0x0a,
  QUOTE = 0x22,
  COMMA = 0x2c,
  OPEN_LIST = 0x5b,
  BACKSLASH = 0x5c,
  CLOSE_LIST = 0x5d,
  OPEN = 0x7b,
  CLOSE = 0x7d
/** Of a key that could be a field's, with its quote. */
const MAX_NAME_BYTES = 65
/** Rows read at a time: this batch is for looking only. */
const ROWS = 512
const KINDS_OF_PATH = { calls: 'call', qualities: 'quality', devices: 'device' } as const

/** Last parts of the paths that are posted to. */
export const HTTP_PATHS = Object.keys(KINDS_OF_PATH) as (keyof typeof KINDS_OF_PATH)[]

/** Kind of record that is posted to a path's last part. */
export function kindOf(path: keyof typeof KINDS_OF_PATH): Kind {
  return KINDS_OF_PATH[path]
}

/** What is wrong with which record. */
export interface BadRecord {
  readonly reason: Refusal
  /** Its line, from 1; of a list or a protobuf batch its place in it. */
  readonly line: number
  /** The field by the catalogue's name; null where none is to blame. */
  readonly field: string | null
}

/** A field that the catalogue does not know, and where. */
export interface BadField extends UnknownField {
  readonly reason: 'unknown_field'
  readonly line: number
}

export interface Checked {
  readonly records: number
  readonly bad: BadRecord | BadField | null
  /** Fields that the catalogue does not know, and what may be said of the first of them. */
  readonly unknownFields: number
  readonly unknown: readonly UnknownField[]
}

function refusedFor(bad: BadRecord | BadField): Checked {
  return { records: 0, bad, unknownFields: 0, unknown: [] }
}

export interface CheckOptions {
  readonly catalogue: Catalogue
  readonly kind: Kind
  readonly tenants: ReadonlySet<string>
  readonly maxRecordBytes: number
  readonly futureMs: number
  /** Whether a post with a field that the catalogue does not know is refused. */
  readonly refuseUnknown: boolean
}

/** Where a record begins, and how many good ones of the batch are in front of it. */
interface Place {
  readonly start: number
  readonly row: number
}

interface Found extends Place {
  readonly reason: Refusal
  readonly field: string | null
}

/** The place of the row that a byte belongs to. */
function placeOf({ rows, rawStart }: Columns, at: number): Place {
  let row = 0
  while (row + 1 < rows && rawStart[row + 1] <= at) row++
  return { start: at, row }
}

/** The key whose opening quote is at a place; null where it is none that the catalogue could have. */
function nameAt(arena: Buffer, quote: number, end: number): string | null {
  const close = arena.indexOf(QUOTE, quote + 1)
  if (close < 0 || close >= end || close - quote > MAX_NAME_BYTES) return null
  const name = arena.toString('latin1', quote + 1, close)
  return name.endsWith('\\') ? null : name
}

/** Reads posts of one kind. */
export class PostChecker {
  readonly #options: CheckOptions
  readonly #kind: KindCatalogue
  readonly #times: TimeLimits
  readonly #unknown: UnknownFields
  readonly #lines: JsonLinesReader
  readonly #batch: Batch
  /** For one line at a time. */
  readonly #single: Batch
  #grant: TenantGrant = { tenant: '', tenants: null }

  constructor(options: CheckOptions) {
    this.#options = options
    const { catalogue, kind, maxRecordBytes } = options
    this.#kind = catalogue.kinds[kind]
    this.#times = new TimeLimits(this.#kind)
    this.#unknown = new UnknownFields(catalogue, kind)
    this.#lines = new JsonLinesReader(builtInMapping('minim', catalogue, { kind }), catalogue, { maxRecordBytes })
    this.#batch = new Batch(catalogue, ROWS)
    this.#single = new Batch(catalogue, 2)
  }

  /** Kind of record that it reads. */
  get kind(): Kind {
    return this.#options.kind
  }

  /**
   * @param arena lines up to `end`; behind it room for a line, where one may have escapes in it @param grant what their
   * sender may use
   */
  jsonLines(arena: Buffer, end: number, grant: TenantGrant): Checked {
    this.#grant = grant
    return this.#read(this.#lines, arena, end, ({ start }) => {
      let line = 1
      for (let at = arena.indexOf(LF); at >= 0 && at < start; at = arena.indexOf(LF, at + 1)) line++
      return line
    })
  }

  /** An encoded `Batch` without header. */
  protobuf(bytes: Buffer, grant: TenantGrant): Checked {
    this.#grant = grant
    const { source, incarnation, sequence, intact } = readEnvelope(bytes)
    if (!intact) return refusedFor({ reason: 'malformed_batch', line: 1, field: null })
    const header = source !== '' ? 'source' : incarnation !== '' ? 'incarnation' : sequence !== 0 ? 'sequence' : null
    // They number the batches of a stream, and a post is none.
    if (header !== null) return refusedFor({ reason: 'malformed_batch', line: 1, field: header })
    return this.#read(
      new ProtobufReader(this.#options.catalogue, 'whole'),
      bytes,
      bytes.length,
      ({ row }, before) => before + row + 1,
    )
  }

  #read(reader: Reader, arena: Buffer, end: number, lineOf: (place: Place, before: number) => number): Checked {
    const batch = this.#batch
    const kind = this.#kind
    const columns = batch.columns[kind.kind]
    const isLines = reader === this.#lines
    let records = 0
    let unknownFields = 0
    const unknown: UnknownField[] = []
    for (let at = 0; at < end;) {
      batch.reset(arena, end)
      const next = reader.fill(batch, at, end, true)
      const found =
        this.#firstBad(columns, arena, isLines) ??
        (next > at ? null : { reason: 'too_large' as const, field: null, start: at, row: 0 })
      if (found !== null) return refusedFor({ reason: found.reason, field: found.field, line: lineOf(found, records) })
      if (batch.unknownFields > 0) {
        const names = batch.unknownAt.map((place) => this.#unknown.of(isLines ? nameAt(arena, place, end) : null))
        if (this.#options.refuseUnknown) {
          const line = lineOf(placeOf(columns, batch.unknownAt[0]), records)
          return refusedFor({ reason: 'unknown_field', line, ...names[0] })
        }
        unknownFields += batch.unknownFields
        unknown.push(...names)
      }
      records += columns.rows
      at = next
    }
    return { records, bad: null, unknownFields, unknown }
  }

  /** The first record of the batch, in the order of its bytes, that cannot be taken. */
  #firstBad(columns: Columns, arena: Buffer, isLines: boolean): Found | null {
    const batch = this.#batch
    const kind = this.#kind
    const { rows, rawStart } = columns
    let found: Found | null = null
    if (batch.refusedReason.length > 0) {
      const start = batch.refusedStart[0]
      let row = 0
      while (row < rows && rawStart[row] < start) row++
      const reason = REFUSALS[batch.refusedReason[0]]
      found = { reason, start, row, field: isLines ? this.#badField(arena, start, batch.refusedEnd[0]) : null }
    }
    // Records of another kind than the path's: told by the place of the first.
    for (const other of Object.values(batch.columns)) {
      if (other === columns || other.rows === 0 || (found !== null && other.rawStart[0] > found.start)) continue
      let row = 0
      while (row < rows && rawStart[row] < other.rawStart[0]) row++
      found = { reason: 'malformed_batch', field: null, start: other.rawStart[0], row }
    }
    const start = fieldOf(kind, 'start_ms').index
    const tenant = fieldOf(kind, 'tenant').index
    const latest = latestTimeMs(Date.now(), this.#options.futureMs)
    const nameless = mayUse(this.#grant, this.#grant.tenant) ? null : 'unauthorised'
    for (let row = 0; row < rows && (found === null || rawStart[row] < found.start); row++) {
      const cell = row * columns.width
      const timed = columns.num[cell + start] > 0
      const wrongTime = this.#times.wrongField(columns, cell, latest)
      const wrong =
        columns.off[cell + tenant] < 0
          ? unreadableStart(columns.off[cell + tenant]) < 0
            ? nameless
            : 'unknown_tenant'
          : this.#wrongTenant(arena, columns.off[cell + tenant], columns.len[cell + tenant])
      if (timed && wrongTime < 0 && wrong === null) continue
      const at = { start: rawStart[row], row }
      if (!timed) return { reason: 'no_start_time', field: 'start_ms', ...at }
      if (wrongTime >= 0) return { reason: 'clock', field: kind.fields[wrongTime].name, ...at }
      if (wrong !== null) return { reason: wrong, field: 'tenant', ...at }
    }
    return found
  }

  #wrongTenant(arena: Buffer, off: number, len: number): 'unknown_tenant' | 'unauthorised' | null {
    const name = len <= 63 ? arena.toString('latin1', off, off + len) : ''
    return !this.#options.tenants.has(name) ? 'unknown_tenant' : mayUse(this.#grant, name) ? null : 'unauthorised'
  }

  /** Which of a refused line's fields is to blame: the first that is refused when it is alone, byte for byte. */
  #badField(arena: Buffer, start: number, end: number): string | null {
    for (const { name, from, to } of pairsOf(arena, start, end)) {
      // The name of a field that is none could be anything.
      if (!this.#kind.byName.has(name)) continue
      const length = to - from + 2
      const alone = Buffer.alloc(length * 2, '{')
      arena.copy(alone, 1, from, to)
      alone[length - 1] = CLOSE
      this.#single.reset(alone, length)
      this.#lines.fill(this.#single, 0, length, true)
      if (this.#single.refusedReason.length > 0) return name
    }
    return null
  }
}

/** The pairs of an object, by their bytes: `"name":value`. Of what is no object, whatever looks like some. */
function* pairsOf(
  arena: Buffer,
  start: number,
  end: number,
): Generator<{ readonly name: string; readonly from: number; readonly to: number }> {
  let p = arena.indexOf(OPEN, start) + 1
  if (p <= 0) return
  let from = p
  let name: string | null = null
  for (let depth = 0; p <= end; p++) {
    const c = p < end ? arena[p] : CLOSE
    if (c === QUOTE) {
      const opened = p++
      while (p < end && arena[p] !== QUOTE) p += arena[p] === BACKSLASH ? 2 : 1
      name ??= arena.toString('latin1', opened + 1, Math.min(p, end))
    } else if (c === OPEN || c === OPEN_LIST) depth++
    else if (depth === 0 && (c === COMMA || c === CLOSE)) {
      if (name !== null) yield { name, from, to: Math.min(p, end) }
      if (c === CLOSE) return
      from = p + 1
      name = null
    } else if (c === CLOSE || c === CLOSE_LIST) depth--
  }
}
