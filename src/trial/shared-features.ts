/**
 * What two purposes both hold of one record, or can work out: the coarser of two times, a length of time between two of
 * them, a prefix cut to the shorter, a vendor out of a model. Each comes as two columns in which equal numbers mean the
 * same.
 */
import { type FieldName, isTime } from '../catalogue/catalogue.js'
import type { FieldRule } from '../policy/model.js'
import { descriptorOf, isToken, timeStepOf, type Treatment } from '../treatments/registry.js'
import type { SampleTable, SeenTable } from './sample-table.js'

export interface Feature {
  readonly name: string
  readonly a: Float64Array
  readonly b: Float64Array
}

type Mapping = (value: number) => number
/** How each side's values are brought to one form; null: they cannot be. */
type Alignment = readonly [Mapping, Mapping] | null

const SECOND_MS = 1000
/**
 * A length of time between rounded times is off by a second: it is compared by the span that it lies in, by lower bounds
 * in seconds. Wide ones are right more often, and leave more candidates.
 */
const ROUNDED_SPANS = { step: null, bounds: [0, 30, 60, 300, 900, 3600] } as const
const same: Mapping = (value) => value

export const ruleOf = (table: SeenTable, name: FieldName): FieldRule | undefined =>
  table.rules.rules.find(({ field }) => field.name === name)

const mapped = (column: Float64Array, rows: number, map: Mapping): Float64Array => column.subarray(0, rows).map(map)

const floorTo =
  (step: number): Mapping =>
  (value) =>
    Math.floor(value / step) * step

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

/** The finest rounding that follows from both. */
const commonStep = (a: number, b: number): number => (a === b ? a : (a / gcd(a, b)) * b)

/** How exactly a side shows a time, ms; null: not at all. */
export function stepOf(table: SeenTable, name: FieldName): number | null {
  const rule = ruleOf(table, name)
  return rule === undefined || !isTime(rule.field) ? null : timeStepOf(rule.treatment)
}

type Buckets = Extract<Treatment, { kind: 'number-bucket' }>

function bucketOf({ step, bounds }: Pick<Buckets, 'step' | 'bounds'>): Mapping {
  if (step !== null) return floorTo(step)
  const ascending = bounds ?? []
  return (value) => ascending.findLast((bound) => bound <= value) ?? NaN
}

/** The finest spans that follow from both. */
function commonBuckets(a: Buckets, b: Buckets): Pick<Buckets, 'step' | 'bounds'> | null {
  if (a.step !== null && b.step !== null) {
    if (a.step === b.step) return a
    const whole = Number.isInteger(a.step) && Number.isInteger(b.step)
    return whole ? { step: commonStep(a.step, b.step), bounds: null } : null
  }
  const [list, other] = a.bounds === null ? [b, a] : [a, b]
  const bounds = (list.bounds ?? []).filter((bound) =>
    other.bounds === null ? bound % (other.step ?? 1) === 0 : other.bounds.includes(bound),
  )
  return bounds.length > 1 ? { step: null, bounds } : null
}

function alignedNumbers(a: Treatment, b: Treatment): Alignment {
  if (a.kind === 'number-bucket' && b.kind === 'number-bucket') {
    const common = commonBuckets(a, b)
    return common === null ? null : [bucketOf(common), bucketOf(common)]
  }
  const bucket = a.kind === 'number-bucket' ? a : b.kind === 'number-bucket' ? b : null
  if (bucket === null) return [same, same]
  return [bucketOf(bucket), bucketOf(bucket)]
}

export class SharedFeatures {
  readonly #a: SeenTable
  readonly #b: SeenTable
  readonly #sample: SampleTable

  constructor(a: SeenTable, b: SeenTable, sample: SampleTable) {
    this.#a = a
    this.#b = b
    this.#sample = sample
  }

  /** The start, lengths of time, and every other value that both hold. */
  fields(): Feature[] {
    return [
      ...this.#time('start_ms'),
      ...this.#length('duration_seconds', 'start_ms'),
      ...this.#length('billable_seconds', 'answer_ms'),
      ...this.#others(),
      ...this.#vendor(),
    ]
  }

  /**
   * Every time that both hold, instead of the lengths between them, and every other value; null where they hold no time
   * beside the start.
   */
  times(): Feature[] | null {
    const times = [...this.#time('answer_ms'), ...this.#time('end_ms')]
    return times.length === 0 ? null : [...this.#time('start_ms'), ...times, ...this.#others(), ...this.#vendor()]
  }

  #feature(name: string, a: Float64Array | undefined, b: Float64Array | undefined, maps: Alignment): Feature[] {
    if (a === undefined || b === undefined || maps === null) return []
    return [{ name, a: mapped(a, this.#a.rows, maps[0]), b: mapped(b, this.#b.rows, maps[1]) }]
  }

  #time(name: FieldName): Feature[] {
    const [a, b] = [stepOf(this.#a, name), stepOf(this.#b, name)]
    if (a === null || b === null) return []
    const floor = floorTo(commonStep(a, b))
    return this.#feature(name, this.#a.values.get(name), this.#b.values.get(name), [floor, floor])
  }

  /** A length of time, as it is held or as the time between two others. */
  #length(name: FieldName, from: FieldName): Feature[] {
    const [a, b] = [lengthOf(this.#a, name, from), lengthOf(this.#b, name, from)]
    if (a === null || b === null) return []
    const maps = alignedNumbers(a.shown, b.shown)
    // Two that are off alike are equal; of others only the span can be.
    const span = a.offMs === b.offMs ? null : bucketOf(ROUNDED_SPANS)
    const coarse = a.shown.kind === 'number-bucket' || b.shown.kind === 'number-bucket'
    return this.#feature(name, a.seconds, b.seconds, span === null || coarse ? maps : [span, span])
  }

  #others(): Feature[] {
    return this.#a.rules.rules.flatMap(({ field, treatment }) => {
      const other = ruleOf(this.#b, field.name)?.treatment
      if (other === undefined || isToken(treatment) || isToken(other)) return []
      if (isTime(field) || LENGTHS.has(field.name)) return []
      const [a, b] = [this.#a.values.get(field.name), this.#b.values.get(field.name)]
      return this.#feature(field.name, a, b, this.#aligned(treatment, other, a, b))
    })
  }

  #aligned(a: Treatment, b: Treatment, of: Float64Array | undefined, and: Float64Array | undefined): Alignment {
    if (a.kind === 'e164-prefix' && b.kind === 'e164-prefix') return this.#prefixes(a.digits, b.digits, of, and)
    if (a.kind === 'ip-prefix' && b.kind === 'ip-prefix')
      return descriptorOf(a.kind).followsFrom(a, b) && descriptorOf(b.kind).followsFrom(b, a) ? [same, same] : null
    return alignedNumbers(a, b)
  }

  /** Cut to the shorter. Calling codes begin no others: which one a prefix begins with, the other side's list says. */
  #prefixes(
    a: number | 'country',
    b: number | 'country',
    of: Float64Array | undefined,
    and: Float64Array | undefined,
  ): Alignment {
    if (a === b) return [same, same]
    const { textOf, idOf } = this.#sample
    if (a !== 'country' && b !== 'country') {
      const cut = cached((id) => idOf(textOf(id).slice(0, Math.min(a, b) + 1)))
      return [cut, cut]
    }
    const codes = new Set(Array.from(a === 'country' ? (of ?? []) : (and ?? [])).filter((id) => !Number.isNaN(id)))
    const country = cached((id) => [...codes].find((code) => textOf(id).startsWith(textOf(code))) ?? id)
    return a === 'country' ? [same, country] : [country, same]
  }

  /** Everybody knows whose model it is: what the sample says of it stands for the catalogues of the makers. */
  #vendor(): Feature[] {
    const has = (table: SeenTable, name: FieldName): boolean => ruleOf(table, name) !== undefined
    for (const [vendor, model] of VENDORS) {
      if (has(this.#a, vendor) && has(this.#b, vendor)) continue
      const swapped = has(this.#b, vendor) && has(this.#a, model)
      if (!swapped && !(has(this.#a, vendor) && has(this.#b, model))) continue
      const [holder, other] = swapped ? [this.#b, this.#a] : [this.#a, this.#b]
      const shown = holder.values.get(vendor)
      const guessed = other.values.get(model)
      if (shown === undefined || guessed === undefined) continue
      const known = vendorsOf(holder, shown, other, guessed)
      const map: Mapping = (id) => known.get(id) ?? NaN
      return swapped
        ? this.#feature(vendor, guessed, shown, [map, same])
        : this.#feature(vendor, shown, guessed, [same, map])
    }
    return []
  }
}

const LENGTHS: ReadonlySet<FieldName> = new Set(['duration_seconds', 'billable_seconds'])
const VENDORS: readonly (readonly [FieldName, FieldName])[] = [
  ['device_vendor', 'device_model'],
  ['vendor', 'model'],
]

function cached(map: Mapping): Mapping {
  const known = new Map<number, number>()
  return (value) => {
    if (Number.isNaN(value)) return NaN
    let found = known.get(value)
    if (found === undefined) known.set(value, (found = map(value)))
    return found
  }
}

interface Length {
  readonly seconds: Float64Array
  readonly shown: Treatment
  /** How far off it may be, ms. */
  readonly offMs: number
}

const KEEP: Treatment = { kind: 'keep' }

function lengthOf(table: SeenTable, name: FieldName, from: FieldName): Length | null {
  const held = table.values.get(name)
  const rule = ruleOf(table, name)
  if (held !== undefined && rule !== undefined) return { seconds: held, shown: rule.treatment, offMs: 0 }
  const [first, last] = [stepOf(table, from), stepOf(table, 'end_ms')]
  const [start, end] = [table.values.get(from), table.values.get('end_ms')]
  if (first === null || last === null || start === undefined || end === undefined) return null
  // An unanswered call has no time to be billed.
  const none = from === 'answer_ms' ? 0 : NaN
  const seconds = start.map((at, row) => (Number.isNaN(at) ? none : Math.floor((end[row] - at) / SECOND_MS)))
  const step = Math.max(first, last)
  return { seconds, shown: KEEP, offMs: step === 1 ? 0 : step }
}

/** The vendor that most records of a model name. */
function vendorsOf(a: SeenTable, vendor: Float64Array, b: SeenTable, model: Float64Array): Map<number, number> {
  const counts = new Map<number, Map<number, number>>()
  forEachShared(a, b, (rowA, rowB) => {
    if (Number.isNaN(vendor[rowA]) || Number.isNaN(model[rowB])) return
    let of = counts.get(model[rowB])
    if (of === undefined) counts.set(model[rowB], (of = new Map<number, number>()))
    of.set(vendor[rowA], (of.get(vendor[rowA]) ?? 0) + 1)
  })
  return new Map(
    [...counts].map(([id, of]) => [id, [...of].reduce((best, next) => (next[1] > best[1] ? next : best))[0]]),
  )
}

/** Walks through the rows of both that are made from one record. */
export function forEachShared(a: SeenTable, b: SeenTable, visit: (rowA: number, rowB: number) => void): void {
  const [recordA, recordB] = [a.record, b.record]
  for (let i = 0, j = 0; i < a.rows && j < b.rows;) {
    if (recordA[i] === recordB[j]) visit(i++, j++)
    else if (recordA[i] < recordB[j]) i++
    else j++
  }
}
