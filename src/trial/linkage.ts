/**
 * What the readers of two purposes could link if they put together what they see. Channels that the configuration opens
 * (one transaction, one order, exact times) count in full. The rest is attacked on a sample: a link is made where exactly
 * one counterpart is left, right and wrong ones are counted apart, and what guessing would have hit is taken off.
 */
import { DAY_MS } from '../base/time.js'
import type { Field, FieldName, Kind } from '../catalogue/catalogue.js'
import { type EpochLength, EPOCHS } from '../keys/keyring.js'
import type { Policy, Purpose } from '../policy/model.js'
import { descriptorOf, isToken, timeStepOf } from '../treatments/registry.js'
import { rowHashes, SetHash, uniquePairs } from './row-hash.js'
import type { SampleTable, SeenTable } from './sample-table.js'
import { type Feature, forEachShared, ruleOf, SharedFeatures, stepOf } from './shared-features.js'
import { type Share, shareOf } from './upper-bound.js'

/** What the configuration alone opens between two topics. */
export type Channel = 'transaction' | 'position' | 'marker' | 'exact time' | 'event id'

/** `values`: the readers get values alone (rows of a database), neither Kafka's order nor its transactions. */
export type Readers = 'topics' | 'values'

export interface Attempt {
  /** `fields`, `times`: records by what both show; `history`: subjects by all that both show of them. */
  readonly attack: 'fields' | 'times' | 'history'
  /** What was compared. */
  readonly by: readonly string[]
  /** Shares of the records that both see. */
  readonly right: Share
  readonly wrong: Share
  /** What guessing would have hit. */
  readonly guess: number
  /** Right links less guessing, and the same of the upper bound. */
  readonly linked: number
  readonly upper: number
}

export interface Pair {
  readonly purposes: readonly [string, string]
  readonly kind: Kind
  readonly channels: readonly Channel[]
  /** Records of the sample that both see. */
  readonly records: number
  readonly attempts: readonly Attempt[]
  /** The most that any of it links: 1 with a channel; 1 as well where nothing could be measured. */
  readonly upper: number
}

/** Every pair of purposes that may see the same records. */
export function linkage(policy: Policy, sample: SampleTable, readers: Readers): Pair[] {
  return policy.purposes.flatMap((a, i) =>
    policy.purposes.slice(i + 1).flatMap((b) => {
      if (!shareTenants(a, b)) return []
      return sample.tables.flatMap((tableA) => {
        if (tableA.purpose !== a) return []
        const { kind } = tableA.rules
        const tableB = sample.tables.find(({ purpose, rules }) => purpose === b && rules.kind === kind)
        return tableB === undefined ? [] : [new PairAttack(tableA, tableB, sample).pair(readers)]
      })
    }),
  )
}

function shareTenants({ tenants: a }: Purpose, { tenants: b }: Purpose): boolean {
  return a === null || b === null || a.some((tenant) => b.includes(tenant))
}

/** Channels between two topics of records that both see. */
function channelsOf(a: SeenTable, b: SeenTable, readers: Readers): Channel[] {
  // All purposes' messages are written in one order, by one producer, in transactions whose markers tell the time.
  const channels: Channel[] = readers === 'topics' ? ['transaction', 'position', 'marker'] : []
  const both = (test: (field: Field, table: SeenTable) => boolean): boolean =>
    a.rules.rules.some(({ field }) => test(field, a) && ruleOf(b, field.name) !== undefined && test(field, b))
  if (both(({ name }, table) => stepOf(table, name) === 1)) channels.push('exact time')
  if (both((field, table) => field.identifier === 'CALL' && showsValue(table, field.name))) channels.push('event id')
  return channels
}

function showsValue(table: SeenTable, name: FieldName): boolean {
  const rule = ruleOf(table, name)
  return rule !== undefined && descriptorOf(rule.treatment.kind).shows === 'value'
}

class PairAttack {
  readonly #a: SeenTable
  readonly #b: SeenTable
  readonly #sample: SampleTable
  /** Row of the other side that is made from the same record; -1: none. */
  readonly #counterpart: Int32Array
  /** Records that both see, by subject. */
  readonly #sizes: Int32Array
  #records = 0

  constructor(a: SeenTable, b: SeenTable, sample: SampleTable) {
    this.#a = a
    this.#b = b
    this.#sample = sample
    this.#counterpart = new Int32Array(a.rows).fill(-1)
    this.#sizes = new Int32Array(sample.subjects)
    forEachShared(a, b, (rowA, rowB) => {
      this.#counterpart[rowA] = rowB
      this.#sizes[this.#subject(rowA)]++
      this.#records++
    })
  }

  pair(readers: Readers): Pair {
    const shared = new SharedFeatures(this.#a, this.#b, this.#sample)
    const fields = shared.fields()
    const times = shared.times()
    const attempts = [
      ...this.#byRecord('fields', fields),
      ...this.#byRecord('times', times ?? []),
      ...this.#byHistory(fields),
    ]
    const channels = channelsOf(this.#a, this.#b, readers)
    const measured = attempts.map(({ upper }) => upper)
    // Of what was not in the sample nothing is known, and with nothing in common nothing can be told.
    const upper = channels.length > 0 || this.#records === 0 ? 1 : Math.max(0, ...measured)
    return {
      purposes: [this.#a.purpose.id, this.#b.purpose.id],
      kind: this.#a.rules.kind,
      channels,
      records: this.#records,
      attempts: this.#records === 0 ? [] : attempts,
      upper,
    }
  }

  #subject(rowA: number): number {
    return this.#sample.subjectOf[this.#a.record[rowA]]
  }

  #byRecord(attack: Attempt['attack'], features: readonly Feature[]): Attempt[] {
    if (features.length === 0) return []
    const keysA = rowHashes(
      features.map(({ a }) => a),
      this.#a.rows,
    )
    const keysB = rowHashes(
      features.map(({ b }) => b),
      this.#b.rows,
    )
    const [right, wrong] = this.#tallies()
    for (const [rowA, rowB] of uniquePairs(keysA, keysB)) {
      // What only one side sees is nobody's counterpart: a link of it is wrong, and not one of the records in common.
      const tally = this.#counterpart[rowA] === rowB ? right : wrong
      if (this.#counterpart[rowA] >= 0) tally[this.#subject(rowA)]++
    }
    const guess = this.#records === 0 ? 0 : 1 / this.#records
    return [
      this.#attempt(
        attack,
        features.map(({ name }) => name),
        right,
        wrong,
        guess,
      ),
    ]
  }

  /** Tokens of one field on both sides: linked where all that is seen of one is seen of exactly one on the other side. */
  #byHistory(features: readonly Feature[]): Attempt[] {
    if (features.length === 0) return []
    const shorter = EPOCHS[Math.min(EPOCHS.indexOf(this.#a.purpose.epoch), EPOCHS.indexOf(this.#b.purpose.epoch))]
    const hashesA = rowHashes(
      features.map(({ a }) => a),
      this.#a.rows,
    )
    const hashesB = rowHashes(
      features.map(({ b }) => b),
      this.#b.rows,
    )
    const tokens = [...this.#a.values.keys()].filter((name) => tokenOf(this.#a, name) && tokenOf(this.#b, name))
    return tokens.map((name) => {
      const histories = [
        new Histories(this.#a, name, hashesA, shorter),
        new Histories(this.#b, name, hashesB, shorter),
      ] as const
      return this.#ofHistories(name, features, histories[0], histories[1])
    })
  }

  #ofHistories(name: FieldName, features: readonly Feature[], a: Histories, b: Histories): Attempt {
    const linkedTo = new Int32Array(a.count).fill(-1)
    for (const [unitA, unitB] of uniquePairs(a.values(), b.values())) linkedTo[unitA] = unitB
    const [right, wrong] = this.#tallies()
    const perUnit = new Map<number, number>()
    let records = 0
    for (let row = 0; row < this.#a.rows; row++) {
      const rowB = this.#counterpart[row]
      const unit = a.unitOf[row]
      if (rowB < 0 || unit < 0 || b.unitOf[rowB] < 0) continue
      records++
      perUnit.set(b.unitOf[rowB], (perUnit.get(b.unitOf[rowB]) ?? 0) + 1)
      if (linkedTo[unit] >= 0) (linkedTo[unit] === b.unitOf[rowB] ? right : wrong)[this.#subject(row)]++
    }
    // Guessing by how much each of them is seen: as often right as two records drawn at random are of one.
    let guess = 0
    for (const count of perUnit.values()) guess += (count / records) ** 2
    const by = [`${name}'s token`, ...features.map((feature) => feature.name)]
    return this.#attempt('history', by, right, wrong, guess)
  }

  #tallies(): readonly [Int32Array, Int32Array] {
    return [new Int32Array(this.#sizes.length), new Int32Array(this.#sizes.length)]
  }

  #attempt(
    attack: Attempt['attack'],
    by: readonly string[],
    right: Int32Array,
    wrong: Int32Array,
    guess: number,
  ): Attempt {
    const hit = shareOf(right, this.#sizes)
    return {
      attack,
      by,
      guess,
      right: hit,
      wrong: shareOf(wrong, this.#sizes),
      linked: Math.max(0, hit.share - guess),
      // In a small sample guessing hits much: that must not make it show more than its size can.
      upper: Math.max(hit.least, hit.upper - guess),
    }
  }
}

function tokenOf(table: SeenTable, name: FieldName): boolean {
  const rule = ruleOf(table, name)
  return rule !== undefined && isToken(rule.treatment)
}

/** All that is seen of each token, epoch by epoch. */
export class Histories {
  /** Which one a row belongs to; -1: it has no token. */
  readonly unitOf: Int32Array
  readonly #sets: SetHash[] = []

  constructor(table: SeenTable, name: FieldName, hashes: Float64Array, epoch: EpochLength) {
    this.unitOf = new Int32Array(table.rows).fill(-1)
    const tokens = table.values.get(name) ?? new Float64Array(table.rows).fill(NaN)
    const spans = spansOf(table, epoch)
    const units = new Map<number, Map<number, number>>()
    for (let row = 0; row < table.rows; row++) {
      if (Number.isNaN(tokens[row])) continue
      let ofSpan = units.get(spans[row])
      if (ofSpan === undefined) units.set(spans[row], (ofSpan = new Map<number, number>()))
      let unit = ofSpan.get(tokens[row])
      if (unit === undefined) {
        ofSpan.set(tokens[row], (unit = this.#sets.length))
        this.#sets.push(new SetHash())
      }
      this.#sets[unit].add(hashes[row])
      this.unitOf[row] = unit
    }
  }

  get count(): number {
    return this.#sets.length
  }

  values(): Float64Array {
    return Float64Array.from(this.#sets, ({ value }) => value)
  }

  /** How many rows each has. */
  sizes(): Int32Array {
    return Int32Array.from(this.#sets, ({ rows }) => rows)
  }
}

const MONTHS: Readonly<Record<EpochLength, number>> = { day: 0, month: 1, quarter: 3, year: 12, contract: Infinity }

/** In which epoch each row begins, as far as its start is seen. */
function spansOf(table: SeenTable, epoch: EpochLength): Float64Array {
  const spans = new Float64Array(table.rows)
  const rule = ruleOf(table, 'start_ms')
  const start = table.values.get('start_ms')
  if (rule === undefined || start === undefined || (timeStepOf(rule.treatment) ?? Infinity) > DAY_MS) return spans
  for (let row = 0; row < table.rows; row++) spans[row] = Number.isNaN(start[row]) ? NaN : spanOf(start[row], epoch)
  return spans
}

function spanOf(startMs: number, epoch: EpochLength): number {
  if (epoch === 'day') return Math.floor(startMs / DAY_MS)
  const date = new Date(startMs)
  return Math.floor((date.getUTCFullYear() * 12 + date.getUTCMonth()) / MONTHS[epoch])
}
