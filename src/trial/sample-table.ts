/**
 * What every purpose sees of a sample, as columns: the real stages make the messages, and they are read back as a
 * consumer would read them. Beside them stands, for scoring alone, which record each one is made from and whose it is,
 * as numbers. Tokens and identifiers are kept as numbers too: none can be printed.
 */
import { createHash } from 'node:crypto'
import { Batch, type Reader } from '../batch/batch.js'
import { BATCH_ROWS } from '../batch/columns.js'
import { type Catalogue, type Field, type FieldName, type Kind, KINDS } from '../catalogue/catalogue.js'
import type { OwnModels } from '../flow/device-parts.js'
import type { Minimised } from '../flow/minimised.js'
import type { Tenant } from '../flow/tenant.js'
import { throwawayKeyring } from '../keys/throwaway.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { compile } from '../policy/compile.js'
import type { KindRules, Policy, Purpose } from '../policy/model.js'
import { isToken } from '../treatments/registry.js'
import { presenceOf } from './presence.js'

/** What one purpose sees of one kind of record. */
export interface SeenTable {
  readonly purpose: Purpose
  readonly rules: KindRules
  readonly rows: number
  /** Which record each row is made from: ascending. For scoring alone. */
  readonly record: Int32Array
  /** Values by field: numbers as they are, others as numbers that stand for them; NaN: none. */
  readonly values: ReadonlyMap<FieldName, Float64Array>
}

export interface SampleTable {
  readonly tables: readonly SeenTable[]
  /** Whose a record is, as a number: for scoring alone. */
  readonly subjectOf: Int32Array
  readonly subjects: number
  /** Records that were read, and those of the subjects that were drawn. */
  readonly read: number
  readonly records: number
  /** Whether the subjects that were drawn had more records than there was room for: the last ones are left out. */
  readonly cut: boolean
  readonly refused: number
  /** The text that a number stands for in fields that are no tokens. */
  readonly textOf: (id: number) => string
  readonly idOf: (text: string) => number
}

export interface SampleOptions {
  readonly policy: Policy
  readonly catalogue: Catalogue
  readonly tenants: readonly Tenant[]
  readonly models: OwnModels
  readonly futureMs: number
  readonly now: () => number
  /** Readers keep their place: each pass has one of its own. */
  readonly reader: () => Reader
  readonly input: Uint8Array
  /** Tenant of records that name none. */
  readonly tenant: string
  /** More records than these are not held: whole subjects are drawn until about so many are left. */
  readonly maxRecords: number
  /** Which subjects are drawn: the same for the same seed. */
  readonly seed: number
}

/** Whose a record is: the first of these that it has. */
const SUBJECT_FIELDS: readonly FieldName[] = ['account', 'calling', 'party', 'local_party']
const SCRATCH_BYTES = 4 << 20
/** Draws differ from file to file by a little: there is room for that, and no more. */
const SLACK = 1.25
/** Names of one event: never a subject's, and as many as there are records. */
const PER_EVENT: ReadonlySet<string> = new Set(['CALL'])

/** Numbers that stand for values. */
class Ids {
  readonly #ids = new Map<string, number>()
  readonly #texts: string[] = []

  of(text: string): number {
    let id = this.#ids.get(text)
    if (id === undefined) {
      this.#ids.set(text, (id = this.#texts.length))
      this.#texts.push(text)
    }
    return id
  }

  text(id: number): string {
    return this.#texts[id] ?? ''
  }
}

interface SeenField {
  readonly field: Field
  readonly column: Float64Array
  readonly ids: Ids
}

/** In protobuf a word is its number, so it is here. */
function idOf({ field, ids }: SeenField, text: string): number {
  const word = field.enumNames.indexOf(text)
  return word >= 0 ? word : ids.of(text)
}

class Collector implements SeenTable {
  readonly purpose: Purpose
  readonly rules: KindRules
  readonly values = new Map<FieldName, Float64Array>()
  rows = 0
  #record: Int32Array
  readonly #byNumber: (SeenField | undefined)[] = []

  constructor(purpose: Purpose, rules: KindRules, capacity: number, texts: Ids) {
    this.purpose = purpose
    this.rules = rules
    this.#record = new Int32Array(capacity)
    for (const { field, treatment } of rules.rules) {
      if (PER_EVENT.has(field.identifier)) continue
      const column = new Float64Array(capacity).fill(NaN)
      this.values.set(field.name, column)
      this.#byNumber[field.number] = { field, column, ids: isToken(treatment) ? new Ids() : texts }
    }
  }

  get record(): Int32Array {
    return this.#record.subarray(0, this.rows)
  }

  add(record: number, message: Buffer): void {
    if (this.rules.format === 'json') this.#json(message)
    else this.#protobuf(message)
    this.#record[this.rows++] = record
  }

  #json(message: Buffer): void {
    const object = JSON.parse(message.toString('utf8')) as Readonly<Record<string, unknown>>
    for (const seen of this.#byNumber) {
      const value = seen === undefined ? undefined : object[seen.field.name]
      if (seen === undefined || value === undefined) continue
      seen.column[this.rows] = typeof value === 'string' ? idOf(seen, value) : Number(value)
    }
  }

  #protobuf(message: Buffer): void {
    let pos = 0
    const varint = (): number => {
      let value = 0
      for (let scale = 1; ; scale *= 128) {
        const byte = message[pos++]
        value += (byte & 0x7f) * scale
        if (byte < 128) return value
      }
    }
    while (pos < message.length) {
      const key = varint()
      const seen = this.#byNumber[key >> 3]
      let value: number
      switch (key & 7) {
        case 0:
          value = varint()
          break
        case 5:
          value = message.readFloatLE(pos)
          pos += 4
          break
        default: {
          const length = varint()
          value = seen === undefined ? NaN : seen.ids.of(message.toString('latin1', pos, pos + length))
          pos += length
        }
      }
      if (seen !== undefined) seen.column[this.rows] = value
    }
  }
}

/** Reads a sample and runs the policy over it. */
export function sampleTable(options: SampleOptions): SampleTable {
  const { policy, catalogue, tenants, models, futureMs, now, reader, input } = options
  const { records } = presenceOf(reader(), input, catalogue)
  const total = KINDS.reduce((sum, kind) => sum + records[kind], 0)
  const rate = total > options.maxRecords ? options.maxRecords / total : 1
  const room = rate === 1 ? total : Math.ceil(options.maxRecords * SLACK)
  const texts = new Ids()
  const tables = new Map<string, Collector>()
  for (const purpose of policy.purposes)
    for (const kind of KINDS) {
      const rules = purpose.kinds[kind]
      const capacity = Math.min(records[kind], room)
      if (rules !== undefined) tables.set(rules.topic, new Collector(purpose, rules, capacity, texts))
    }
  const keyring = throwawayKeyring(now)
  const pipeline = new Pipeline({
    catalogue,
    plan: compile(policy, catalogue),
    keyring,
    tenants,
    models,
    futureMs,
    now,
  })
  const subjects = new Subjects(options.seed, rate, room)
  const subjectOf: number[] = []
  const batch = new Batch(catalogue, BATCH_ROWS)
  const arena = Buffer.alloc(input.length + SCRATCH_BYTES)
  arena.set(input)
  const source = reader()
  let first = 0
  let refused = 0
  for (let pos = 0; pos < input.length;) {
    batch.reset(arena, input.length)
    const consumed = source.fill(batch, pos, input.length, true)
    const whose = KINDS.flatMap((kind) => subjects.ofRows(batch, kind))
    for (const subject of whose) subjectOf.push(subject)
    refused += batch.refusedReason.length
    collect(pipeline.runFilled(batch, source.format, options.tenant), tables, whose, first)
    first += whose.length
    if (consumed === pos) break
    pos = consumed
  }
  return {
    tables: [...tables.values()],
    subjectOf: Int32Array.from(subjectOf),
    subjects: subjects.drawn,
    read: first,
    records: subjects.records,
    cut: subjects.cut,
    refused,
    textOf: (id) => texts.text(id),
    idOf: (text) => texts.of(text),
  }
}

/** @param first number of the batch's first record */
function collect(
  minimised: Minimised,
  tables: ReadonlyMap<string, Collector>,
  whose: readonly number[],
  first: number,
): void {
  const bytes = Buffer.from(minimised.bytes.buffer, minimised.bytes.byteOffset, minimised.bytes.byteLength)
  for (let i = 0; i < minimised.count; i++) {
    const table = tables.get(minimised.topics[minimised.topic[i]])
    const record = minimised.record[i]
    // What was refused has no subject, and comes last.
    if (table === undefined || (whose[record] ?? -1) < 0) continue
    const at = minimised.valueOff[i]
    table.add(first + record, bytes.subarray(at, at + minimised.valueLen[i]))
  }
}

/** Whose the records are, and which subjects are drawn. Only a hash of an identifier is kept. */
class Subjects {
  readonly #seed: Buffer
  readonly #rate: number
  readonly #room: number
  readonly #ids = new Map<string, number>()
  #alone = 0
  /** Records of the subjects that were drawn. */
  records = 0
  cut = false

  /** @param room for so many records */
  constructor(seed: number, rate: number, room: number) {
    this.#seed = Buffer.from(String(seed))
    this.#rate = rate
    this.#room = room
  }

  get drawn(): number {
    return this.#ids.size
  }

  /** Subjects of the rows of one kind; -1: not drawn. */
  ofRows(batch: Batch, kind: Kind): number[] {
    const { rows, width, off, len, kind: known } = batch.columns[kind]
    const columns = SUBJECT_FIELDS.flatMap((name) => known.byName.get(name)?.index ?? [])
    return Array.from({ length: rows }, (_, row) => {
      const at = columns.map((column) => row * width + column).find((cell) => off[cell] >= 0 && len[cell] > 0)
      // Without a name a record is a subject of its own.
      const name = at === undefined ? `alone ${this.#alone++}` : batch.arena.subarray(off[at], off[at] + len[at])
      return this.#of(createHash('sha256').update(this.#seed).update('\0').update(name).digest())
    })
  }

  #of(hash: Buffer): number {
    if (hash.readUInt32BE(0) / 2 ** 32 >= this.#rate) return -1
    if (this.records === this.#room) {
      this.cut = true
      return -1
    }
    this.records++
    const name = hash.toString('latin1', 0, 12)
    let id = this.#ids.get(name)
    if (id === undefined) this.#ids.set(name, (id = this.#ids.size))
    return id
  }
}
