/** How well records hide among others within one purpose, by what it sees of them beside tokens. */
import type { FieldName, Kind } from '../catalogue/catalogue.js'
import { isToken } from '../treatments/registry.js'
import { Histories } from './linkage.js'
import { placesOf, rowHashes } from './row-hash.js'
import type { SampleTable, SeenTable } from './sample-table.js'

export interface Grouping {
  readonly fields: readonly FieldName[]
  /** Size of the smallest group: each record is like k − 1 others at least. */
  readonly k: number
  /** Shares of the records that are alone, in groups under 5, and under 10. */
  readonly alone: number
  readonly under5: number
  readonly under10: number
}

export interface Followed {
  /** Whose token. */
  readonly field: FieldName
  readonly tokens: number
  /** Share of tokens of which nobody else has the same records, over the whole epoch. */
  readonly unique: number
  /** The same of one token's single days. */
  readonly uniqueDays: number
}

export interface Groups {
  readonly purpose: string
  readonly kind: Kind
  readonly records: number
  /** The few fields that tell most, one more in each; the last has them all. */
  readonly combinations: readonly Grouping[]
  readonly histories: readonly Followed[]
}

/** Combinations of more fields than these say no more than all of them together. */
const MOST_FIELDS = 3
/** Who can be followed: whoever an account, a number or a device stands for. */
const PERSONS: ReadonlySet<string> = new Set(['ACCOUNT_CODE', 'PARTY', 'MAC', 'SERIAL'])

export function groupsOf({ tables }: SampleTable): Groups[] {
  return tables.flatMap((table) => (table.rows === 0 ? [] : [ofTable(table)]))
}

function ofTable(table: SeenTable): Groups {
  const { rules } = table.rules
  const visible = rules.flatMap(({ field, treatment }) =>
    !isToken(treatment) && table.values.has(field.name) ? [field.name] : [],
  )
  const combinations: Grouping[] = []
  let chosen: readonly FieldName[] = []
  while (chosen.length < Math.min(MOST_FIELDS, visible.length)) {
    const next = visible
      .filter((name) => !chosen.includes(name))
      .map((name) => grouping(table, [...chosen, name]))
      .reduce((best, one) => (one.under5 > best.under5 ? one : best))
    combinations.push(next)
    chosen = next.fields
    if (next.alone === 1) break
  }
  if (visible.length > chosen.length) combinations.push(grouping(table, visible))
  const hashes = rowHashes(columnsOf(table, visible), table.rows)
  const histories = rules
    .filter(({ field, treatment }) => isToken(treatment) && PERSONS.has(field.identifier))
    .map(({ field }) => followed(table, field.name, hashes))
  return { purpose: table.purpose.id, kind: table.rules.kind, records: table.rows, combinations, histories }
}

const columnsOf = (table: SeenTable, fields: readonly FieldName[]): Float64Array[] =>
  fields.flatMap((name) => table.values.get(name) ?? [])

function grouping(table: SeenTable, fields: readonly FieldName[]): Grouping {
  const sizes = new Map<number, number>()
  for (const hash of rowHashes(columnsOf(table, fields), table.rows)) sizes.set(hash, (sizes.get(hash) ?? 0) + 1)
  let [k, alone, under5, under10] = [Infinity, 0, 0, 0]
  for (const size of sizes.values()) {
    k = Math.min(k, size)
    if (size === 1) alone++
    if (size < 5) under5 += size
    if (size < 10) under10 += size
  }
  const { rows } = table
  return { fields, k, alone: alone / rows, under5: under5 / rows, under10: under10 / rows }
}

function followed(table: SeenTable, field: FieldName, hashes: Float64Array): Followed {
  const whole = new Histories(table, field, hashes, table.purpose.epoch)
  const days = new Histories(table, field, hashes, 'day')
  return { field, tokens: whole.count, unique: uniqueShare(whole), uniqueDays: uniqueShare(days) }
}

function uniqueShare(histories: Histories): number {
  let alone = 0
  for (const place of placesOf(histories.values()).values()) if (place >= 0) alone++
  return histories.count === 0 ? 0 : alone / histories.count
}
