/**
 * A batch: one arena of bytes and the columns of each kind that point into it. Every source, whatever it speaks, ends
 * here.
 *
 * The arena is the source's own chunk of input, not a copy. What has to be made (an unescaped string, a number as text)
 * goes to the scratch space: bytes of the arena from `scratchStart` on, which the owner of the chunk leaves free.
 */
import { type Catalogue, type Kind, KINDS } from '../catalogue/catalogue.js'
import { BATCH_ROWS, Columns } from './columns.js'

/** Why bytes could not become a record, each with what it means: the closed set of reasons for quarantine. */
const REFUSAL_TABLE = {
  malformed_batch: "a batch's envelope is broken",
  malformed_record: "a record's protobuf encoding is broken",
  malformed_json: 'a line is no JSON object, or one too deep or too long',
  malformed_csv: 'a line is no CSV of the configured columns',
  bad_value: "a field's value has the wrong type, is out of range or is no date",
  // Earlier versions gave this, and a source may still say it: today the record goes on without the field.
  bad_utf8: 'a string is not UTF-8',
  too_large: 'a record or line is longer than the limit',
  no_start_time: 'it has no start time, so neither its epoch nor its retention can be known',
  clock: 'a time lies before 2000 or in the future: another unit, or a clock that is wrong',
  unknown_tenant: 'its tenant is not in the settings',
  // Earlier versions gave this, and what they left in quarantine can be read; today no stage gives it.
  key_destroyed: 'a key of its epoch was destroyed',
  refused_by_kafka: 'Kafka refused a message made from it',
  unauthorised: 'its sender may not use the tenant that it names',
} as const
export type Refusal = keyof typeof REFUSAL_TABLE

export const REFUSALS = Object.keys(REFUSAL_TABLE) as readonly Refusal[]

/** In words, for people. */
export const REFUSAL_TEXTS: Readonly<Record<Refusal, string>> = REFUSAL_TABLE

/** Unknown fields whose places are kept: enough to name them, and no more for a sender whose every record has some. */
const MAX_UNKNOWN_PLACES = 64

export class Batch {
  arena: Buffer = Buffer.alloc(0)
  /** The same bytes, for reads of four at a time. */
  view = new DataView(this.arena.buffer, this.arena.byteOffset, 0)
  /** Next free byte of the scratch space, and its end. */
  scratch = 0
  scratchEnd = 0
  readonly columns: Readonly<Record<Kind, Columns>>
  /** Input that could not become a record: reason (index into {@link REFUSALS}), start and end in the arena. */
  readonly refusedReason: number[] = []
  readonly refusedStart: number[] = []
  readonly refusedEnd: number[] = []
  /** What its source had read it as, where that is not what the reader of this batch reads. */
  readonly refusedFormat: (string | null)[] = []
  /** Fields that came in and that the catalogue does not know, or that are never taken from a source. Dropped. */
  unknownFields = 0
  /** Where the first of them stand in the arena: a key's opening quote, or the record that has one. */
  readonly unknownAt: number[] = []

  constructor(catalogue: Catalogue, capacity: number = BATCH_ROWS) {
    this.columns = {
      call: new Columns(catalogue.kinds.call, capacity),
      quality: new Columns(catalogue.kinds.quality, capacity),
      device: new Columns(catalogue.kinds.device, capacity),
    }
  }

  /**
   * Empties the batch and points it at an arena.
   * @param scratchStart first byte of the arena that readers may write to; up to the arena's end
   */
  reset(arena: Buffer, scratchStart: number = arena.length): void {
    for (const kind of KINDS) this.columns[kind].clear()
    if (this.arena !== arena) this.view = new DataView(arena.buffer, arena.byteOffset, arena.length)
    this.arena = arena
    this.scratch = scratchStart
    this.scratchEnd = arena.length
    this.refusedReason.length = 0
    this.refusedStart.length = 0
    this.refusedEnd.length = 0
    this.refusedFormat.length = 0
    this.unknownFields = 0
    this.unknownAt.length = 0
  }

  /** Counts fields that are not taken. */
  unknown(count: number, at: number): void {
    this.unknownFields += count
    if (this.unknownAt.length < MAX_UNKNOWN_PLACES) this.unknownAt.push(at)
  }

  /** Forgets those of a record that is refused after all. */
  forgetUnknown(count: number): void {
    this.unknownFields = count
    if (this.unknownAt.length > count) this.unknownAt.length = count
  }

  get rows(): number {
    return this.columns.call.rows + this.columns.quality.rows + this.columns.device.rows
  }

  /** Records that were read, well or ill. */
  get taken(): number {
    return this.rows + this.refusedReason.length
  }

  refuse(reason: Refusal, start: number, end: number, format: string | null = null): void {
    this.refusedReason.push(REFUSALS.indexOf(reason))
    this.refusedStart.push(start)
    this.refusedEnd.push(end)
    this.refusedFormat.push(format)
  }
}

/**
 * Reads one format from a chunk of bytes into a batch. Stateless between calls: the same bytes give the same columns,
 * so a batch can be filled again after an aborted transaction.
 */
export interface Reader {
  readonly format: string
  /**
   * Reads whole records from `batch.arena`, between `start` and `end`, until the columns are full, the scratch space is
   * used up or no whole record is left. Never throws on input.
   * @param last no bytes follow `end`: an unfinished record there is taken if its format allows, else refused
   * @returns the offset of the first byte not consumed; `start` when there is no whole record
   */
  fill(batch: Batch, start: number, end: number, last: boolean): number
}
