/**
 * Which values a number can have: what lies outside is no cause, score or count, and could be a phone number in a
 * field of numbers. It is dropped and counted.
 *
 * Run over the fields that some purpose sees, a column at a time; guarded by the transform row of `bench/`.
 */
import { DAY_MS, HOUR_MS } from '../base/time.js'
import type { Columns } from '../batch/columns.js'
import type { FieldName, KindCatalogue } from '../catalogue/catalogue.js'

const PERCENT = [0, 100] as const
/** RFC 3611 and RFC 6035 have 16 bits of milliseconds for these. */
const WORD_MS = [0, 65_535] as const
/** A call of a month is one that nobody hung up. */
const LONGEST_MS = 31 * DAY_MS
const LONGEST_SECONDS = LONGEST_MS / 1000

/** Least and greatest value. */
const DOMAINS: Readonly<Partial<Record<FieldName, readonly [least: number, greatest: number]>>> = {
  // ITU-T Q.850.
  hangup_cause: [1, 127],
  duration_seconds: [0, LONGEST_SECONDS],
  billable_seconds: [0, LONGEST_SECONDS],
  // ITU-T P.800 and G.107.
  mos_lq: [1, 5],
  mos_cq: [1, 5],
  r_factor: [0, 120],
  loss_percent: PERCENT,
  discard_percent: PERCENT,
  burst_loss_percent: PERCENT,
  gap_loss_percent: PERCENT,
  jitter_ms: WORD_MS,
  jitter_max_ms: WORD_MS,
  round_trip_ms: WORD_MS,
  one_way_delay_ms: WORD_MS,
  end_system_delay_ms: WORD_MS,
  burst_ms: [0, HOUR_MS],
  gap_ms: [0, HOUR_MS],
  contact_port: [1, 65_535],
  // Registrations last hours; a year is what no registrar grants.
  expires_seconds: [0, 31_536_000],
}

/** Times of the same call: not before its start but for clocks that differ, and not after the longest call. */
const TIMES_OF_A_CALL: ReadonlySet<FieldName> = new Set<FieldName>(['answer_ms', 'end_ms'])
const CLOCKS_DIFFER_MS = 60_000

/**
 * What a stream can carry in a second at most: packets of video in high definition, octets of 100 Mbit/s. Reports tell
 * of a little more than the call that they belong to.
 */
const MOST_PER_SECOND: Readonly<Partial<Record<FieldName, number>>> = {
  packets_sent: 2000,
  packets_received: 2000,
  packets_lost: 2000,
  usage_octets: 12_500_000,
}
const GRACE_SECONDS = 60
/** Taken as the length of a call whose length nobody tells. */
const UNTOLD_SECONDS = HOUR_MS / 1000

export class NumberDomains {
  readonly #fields: readonly { readonly index: number; readonly least: number; readonly greatest: number }[]
  readonly #times: readonly number[]
  readonly #counts: readonly { readonly index: number; readonly perSecond: number }[]
  readonly #start: number
  readonly #end: number
  readonly #duration: number

  /** @param shown indexes of the numbers that some purpose sees */
  constructor({ fields, byName }: KindCatalogue, shown: readonly number[]) {
    this.#fields = shown.flatMap((index) => {
      const domain = DOMAINS[fields[index].name]
      return domain === undefined ? [] : [{ index, least: domain[0], greatest: domain[1] }]
    })
    this.#times = shown.filter((index) => TIMES_OF_A_CALL.has(fields[index].name))
    this.#counts = shown.flatMap((index) => {
      const perSecond = MOST_PER_SECOND[fields[index].name]
      return perSecond === undefined ? [] : [{ index, perSecond }]
    })
    this.#start = byName.get('start_ms')?.index ?? -1
    this.#end = byName.get('end_ms')?.index ?? -1
    this.#duration = byName.get('duration_seconds')?.index ?? -1
  }

  /** Empties what lies outside its domain. Returns how many there were. */
  run({ rows, width, num }: Columns): number {
    let outside = 0
    const end = rows * width
    // Counts first: they are held against times and durations that may themselves be emptied.
    for (const { index, perSecond } of this.#counts) {
      for (let row = 0; row < end; row += width) {
        if (!(num[row + index] > this.#seconds(num, row) * perSecond)) continue
        num[row + index] = NaN
        outside++
      }
    }
    for (const index of this.#times) {
      for (let row = 0; row < end; row += width) {
        const after = num[row + index] - num[row + this.#start]
        if (!(after < -CLOCKS_DIFFER_MS || after > LONGEST_MS)) continue
        num[row + index] = NaN
        outside++
      }
    }
    for (const { index, least, greatest } of this.#fields) {
      for (let row = 0; row < end; row += width) {
        const value = num[row + index]
        if (!(value < least || value > greatest)) continue
        num[row + index] = NaN
        outside++
      }
    }
    return outside
  }

  /** How long a row's call lasted at most. */
  #seconds(num: Float64Array, row: number): number {
    const told = this.#duration < 0 ? NaN : num[row + this.#duration]
    const between = this.#end < 0 ? NaN : (num[row + this.#end] - num[row + this.#start]) / 1000
    const longest = Math.max(told >= 0 ? told : -1, between >= 0 ? between : -1)
    return Math.min(longest < 0 ? UNTOLD_SECONDS : longest, LONGEST_SECONDS) + GRACE_SECONDS
  }
}
