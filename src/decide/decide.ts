/**
 * Decide: record × policy → the purposes that may have it, as a bit mask per row; or why it may go nowhere.
 *
 * Refused as a whole (quarantined): no start time, a time that cannot be, an unknown tenant, what Kafka refuses.
 * Withheld from one purpose alone, and counted (`withheld.ts`): a tenant that is none of the purpose's, an age above
 * its retention, a key of the record's epoch that was destroyed.
 */
import { DAY_MS } from '../base/time.js'
import { type Refusal, REFUSALS } from '../batch/batch.js'
import { BATCH_ROWS, type Columns } from '../batch/columns.js'
import { type Decision, Epochs } from '../flow/decision.js'
import type { Withholding } from '../flow/outcome.js'
import { FOREIGN_TENANT, type Tenant } from '../flow/tenant.js'
import { latestTimeMs, TimeLimits } from '../flow/time-limits.js'
import type { EpochLength } from '../keys/keyring.js'
import type { KindPlan } from '../policy/compile.js'
import { WithheldCounts } from './withheld.js'

const placeOf = (reason: Refusal): number => REFUSALS.indexOf(reason)
const NO_START = placeOf('no_start_time')
const CLOCK = placeOf('clock')
const UNKNOWN_TENANT = placeOf('unknown_tenant')
const UNAUTHORISED = placeOf('unauthorised')
const REFUSED_BY_KAFKA = placeOf('refused_by_kafka')

export class Decider implements Decision {
  readonly plan: KindPlan
  readonly startColumn: number
  /** Bit mask of purposes per row; 0 where none may have it. */
  readonly mask: Int32Array
  /** Index into REFUSALS per row, -1 = not refused. */
  readonly refusal: Int8Array
  readonly epochs: ReadonlyMap<EpochLength, Epochs>
  /** Rows withheld from each purpose, by its place in the plan's list. */
  readonly withheld: WithheldCounts
  readonly #epochList: readonly Epochs[]
  readonly #tenantMasks: Int32Array
  readonly #futureMs: number
  readonly #retentions: Float64Array
  readonly #times: TimeLimits

  /** @param futureMs how far ahead of now a time may be */
  constructor(
    plan: KindPlan,
    epochs: readonly EpochLength[],
    tenants: readonly Tenant[],
    futureMs: number,
    capacity: number = BATCH_ROWS,
  ) {
    this.plan = plan
    this.startColumn = plan.startColumn
    this.#futureMs = futureMs
    this.#times = new TimeLimits(plan.normalise.kind)
    this.mask = new Int32Array(capacity)
    this.refusal = new Int8Array(capacity)
    this.#epochList = epochs.map((length) => new Epochs(length, capacity))
    this.epochs = new Map(this.#epochList.map((e) => [e.length, e]))
    this.withheld = new WithheldCounts(plan.purposes.length)
    this.#retentions = Float64Array.from(plan.purposes, (p) => p.purpose.retentionDays * DAY_MS)
    this.#tenantMasks = Int32Array.from(tenants, (tenant) =>
      plan.purposes.reduce(
        (mask, p) =>
          p.purpose.tenants === null || p.purpose.tenants.includes(tenant.name) ? mask | (1 << p.bit) : mask,
        0,
      ),
    )
  }

  /**
   * Decides all rows.
   * @param tenant number of each row's tenant, -1 = unknown, -2 = not its sender's to use
   * @param excluded record numbers that Kafka refuses; `firstRecord` is the number of row 0
   */
  run(
    columns: Columns,
    tenant: Int16Array,
    nowMs: number,
    excluded: ReadonlySet<number> | null,
    firstRecord: number,
  ): void {
    const { rows, width, num } = columns
    const { mask, refusal, plan, startColumn } = this
    const times = this.#times
    const epochList = this.#epochList
    for (const epochs of epochList) epochs.clear()
    this.withheld.clear()
    const latest = latestTimeMs(nowMs, this.#futureMs)
    // Older than this, and some purpose may no longer have it.
    const shortest = nowMs - Math.min(...this.#retentions)
    for (let r = 0, cell = 0; r < rows; r++, cell += width) {
      const start = num[cell + startColumn]
      mask[r] = 0
      refusal[r] = -1
      // First: whatever else is wrong with it, no mend of that may let it in.
      if (tenant[r] === FOREIGN_TENANT) refusal[r] = UNAUTHORISED
      else if (!(start > 0)) refusal[r] = NO_START
      else if (times.wrongField(columns, cell, latest) >= 0) refusal[r] = CLOCK
      else if (tenant[r] < 0) refusal[r] = UNKNOWN_TENANT
      else if (excluded !== null && excluded.has(firstRecord + r)) refusal[r] = REFUSED_BY_KAFKA
      else {
        mask[r] = plan.mask
        const tenants = this.#tenantMasks[tenant[r]]
        if (tenants !== plan.mask || start < shortest) this.#withholdSome(r, tenants, nowMs - start)
        for (let e = 0; e < epochList.length; e++) epochList[e].place(r, start)
      }
    }
  }

  /**
   * Withholds a row from a purpose, by its place in the plan's list. The only place where a purpose loses a row that
   * was not refused: the row leaves its mask and is counted in one step, so it is either produced or counted, and never
   * counted twice.
   */
  withhold(row: number, purpose: number, reason: Withholding): void {
    const bit = 1 << this.plan.purposes[purpose].bit
    if ((this.mask[row] & bit) === 0) return
    this.mask[row] &= ~bit
    this.withheld.add(purpose, reason)
  }

  #withholdSome(row: number, tenants: number, ageMs: number): void {
    const { purposes } = this.plan
    for (let p = 0; p < purposes.length; p++) {
      if ((tenants & (1 << purposes[p].bit)) === 0) this.withhold(row, p, 'other_tenant')
      else if (ageMs > this.#retentions[p]) this.withhold(row, p, 'expired')
    }
  }
}
