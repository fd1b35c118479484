/**
 * The pipeline: bytes of one source → messages per purpose. Reader → normalise → decide → project, over batches of
 * columns that belong to the pipeline and are filled again and again; so is its output. The same bytes give the same
 * messages, so a work item can be made again after an aborted transaction.
 */
import { Batch, type Refusal, REFUSALS } from '../batch/batch.js'
import { BATCH_ROWS, type Columns } from '../batch/columns.js'
import { type Catalogue, KINDS } from '../catalogue/catalogue.js'
import { Decider } from '../decide/decide.js'
import type { Epochs } from '../flow/decision.js'
import type { OwnModels } from '../flow/device-parts.js'
import type { Guarantee } from '../flow/guarantee.js'
import type { Input } from '../flow/input.js'
import type { Minimised } from '../flow/minimised.js'
import { noPurposeName, type Outcome, withheldName, WITHHOLDINGS } from '../flow/outcome.js'
import type { Tenant } from '../flow/tenant.js'
import type { Keyring } from '../keys/keyring.js'
import { Normalised, Tenants } from '../normalise/normalise.js'
import { deviceNames } from '../normalise/user-agent.js'
import type { KindPlan, Plan } from '../policy/compile.js'
import { Messages } from '../project/messages.js'
import { Projector } from '../project/project.js'
import { tagHeaders, tagOf } from '../project/tag.js'
import { sealQuarantined } from '../quarantine/box.js'

export interface PipelineOptions {
  readonly catalogue: Catalogue
  readonly plan: Plan
  readonly keyring: Keyring
  readonly tenants: readonly Tenant[]
  /** Models by their vendor's name that the settings add to the shipped tables. */
  readonly models?: OwnModels
  /** How far ahead of now a start time may be, ms. */
  readonly futureMs: number
  /** Said in the tag where it is not exactly-once. */
  readonly guarantee?: Guarantee
  /** The clock: Unix time, ms. */
  readonly now?: () => number
}

interface KindStages {
  readonly plan: KindPlan
  readonly normalised: Normalised
  readonly decider: Decider
  readonly projectors: readonly Projector[]
  readonly epochs: readonly Epochs[]
}

/** One run over an input: made once for it, never per record. */
interface Run {
  /** What its bytes are, where a record's own reader does not say. */
  readonly format: string
  readonly tenant: string
  /** Tenants that its sender may name; null: any. */
  readonly tenants: ReadonlySet<string> | null
  readonly nowMs: number
  /** Records that Kafka refuses, by their number. */
  readonly excluded: ReadonlySet<number> | null
  /** Added to as it goes. */
  readonly outcome: Outcome
}

const QUARANTINE_PART_BYTES = 512 * 1024

function emptyOutcome(): Outcome {
  return { records: 0, produced: {}, withheld: {}, quarantined: {}, unknownFields: 0, unsafeFields: 0 }
}

/** Adds to a count that is there once it is more than 0. */
function addTo(counts: Record<string, number>, name: string, count: number): void {
  if (count > 0) counts[name] = (counts[name] ?? 0) + count
}

export class Pipeline {
  readonly #options: PipelineOptions
  readonly #batch: Batch
  readonly #tenants: Tenants
  readonly #stages: readonly KindStages[]
  readonly #messages: Messages
  readonly #now: () => number

  constructor(options: PipelineOptions, capacity: number = BATCH_ROWS) {
    const { catalogue, plan, tenants, futureMs } = options
    const names = deviceNames(options.models)
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#batch = new Batch(catalogue, capacity)
    this.#tenants = new Tenants(tenants)
    this.#stages = KINDS.map((kind) => {
      const kindPlan = plan.kinds[kind]
      const decider = new Decider(kindPlan, plan.epochs, tenants, futureMs, capacity)
      return {
        plan: kindPlan,
        decider,
        normalised: new Normalised(kindPlan.normalise, this.#tenants, capacity, names),
        projectors: kindPlan.purposes.map((p) => new Projector(p, plan.policy.version, capacity, options.guarantee)),
        epochs: kindPlan.purposes.map((p) => decider.epochs.get(p.purpose.epoch) as Epochs),
      }
    })
    const headers: (readonly Record<string, string>[] | undefined)[] = []
    for (const { plan: kindPlan } of this.#stages) {
      for (const p of kindPlan.purposes)
        if (p.rules.headers) headers[p.topic] = tagHeaders(tagOf(p.purpose, plan.policy.version, '', options.guarantee))
    }
    this.#messages = new Messages(plan, headers)
  }

  /**
   * Makes the messages of an input, all of it.
   * @param excluded records that Kafka refuses: quarantined instead
   * @returns valid until the next call
   */
  run(input: Input, excluded: ReadonlySet<number> | null = null): Minimised {
    return this.runAll([input], excluded)
  }

  /**
   * Makes the messages of several inputs, one after the other, as of one: records are numbered on from each to the
   * next.
   * @param records told how many records each input had, by its place
   * @returns valid until the next call
   */
  runAll(inputs: readonly Input[], excluded: ReadonlySet<number> | null = null, records: number[] = []): Minimised {
    const outcome = emptyOutcome()
    const nowMs = this.#now()
    this.#messages.clear()
    let record = 0
    records.length = 0
    for (const input of inputs) {
      const first = record
      record = this.#runInput(input, nowMs, excluded, record, outcome)
      records.push(record - first)
    }
    return this.#messages.mint(outcome)
  }

  /** @returns the number of the record after its last */
  #runInput(
    input: Input,
    nowMs: number,
    excluded: ReadonlySet<number> | null,
    firstRecord: number,
    outcome: Outcome,
  ): number {
    const batch = this.#batch
    const { reader, arena, end, last, scratchStart, tenant, tenants = null } = input
    const run: Run = { format: reader.format, tenant, tenants, nowMs, excluded, outcome }
    let pos = input.start
    let record = firstRecord
    for (;;) {
      batch.reset(arena, scratchStart)
      const consumed = reader.fill(batch, pos, end, last)
      record = this.#runBatch(run, batch, record)
      if (consumed === pos) {
        // A reader that takes nothing of what is left leaves it to nobody: refused, so that it is not lost in silence.
        if (consumed < end) {
          this.#quarantine(run, 'too_large', run.format, arena.subarray(pos, end), record++)
          outcome.records++
        }
        return record
      }
      pos = consumed
      if (pos >= end) return record
    }
  }

  /**
   * Makes the messages of a batch that its source has filled. The batch is used up: fill it again before another run.
   * @returns valid until the next call
   */
  runFilled(batch: Batch, format: string, tenant: string, excluded: ReadonlySet<number> | null = null): Minimised {
    const outcome = emptyOutcome()
    this.#messages.clear()
    this.#runBatch({ format, tenant, tenants: null, nowMs: this.#now(), excluded, outcome }, batch, 0)
    return this.#messages.mint(outcome)
  }

  /** @returns the number of the record after its last */
  #runBatch(run: Run, batch: Batch, firstRecord: number): number {
    let record = firstRecord
    for (const stages of this.#stages) {
      const columns = batch.columns[stages.plan.kind]
      if (columns.rows === 0) continue
      this.#runKind(run, stages, columns, batch.arena, record)
      record += columns.rows
    }
    for (let i = 0; i < batch.refusedReason.length; i++) {
      const bytes = batch.arena.subarray(batch.refusedStart[i], batch.refusedEnd[i])
      const reason = REFUSALS[batch.refusedReason[i]]
      this.#quarantine(run, reason, batch.refusedFormat[i] ?? run.format, bytes, record++)
    }
    run.outcome.records += record - firstRecord
    run.outcome.unknownFields += batch.unknownFields
    return record
  }

  #runKind(run: Run, stages: KindStages, columns: Columns, arena: Buffer, firstRecord: number): void {
    const { tenant, tenants, outcome } = run
    const { plan, normalised, decider, projectors, epochs } = stages
    normalised.run(arena, columns, this.#tenants.index(tenant, tenants), tenants)
    outcome.unsafeFields += normalised.unsafe
    decider.run(columns, normalised.tenant, run.nowMs, run.excluded, firstRecord)
    outcome.unsafeFields += normalised.dropOutside(columns)
    projectors.forEach((_, p) => {
      this.#takeKeys(stages, p, columns.rows)
    })
    for (let r = 0; r < columns.rows; r++) {
      if (decider.refusal[r] < 0) continue
      const bytes = arena.subarray(columns.rawStart[r], columns.rawEnd[r])
      this.#quarantine(run, REFUSALS[decider.refusal[r]], run.format, bytes, firstRecord + r)
    }
    if (projectors.length === 0) {
      let count = 0
      for (let r = 0; r < columns.rows; r++) if (decider.refusal[r] < 0) count++
      addTo(outcome.withheld, noPurposeName(plan.kind), count)
    }
    projectors.forEach((projector, p) => {
      const { purpose, rules } = projector.plan
      const rows = { arena, columns, normalised, decision: decider, epochs: epochs[p], firstRecord }
      const made = this.#messages.project(projector, rows)
      outcome.produced[rules.topic] = (outcome.produced[rules.topic] ?? 0) + made
      for (const reason of WITHHOLDINGS)
        addTo(outcome.withheld, withheldName(purpose.id, plan.kind, reason), decider.withheld.of(p, reason))
    })
  }

  /**
   * Fetches the keys that a purpose needs for the epochs of a batch. What needs one that was destroyed is withheld from
   * this purpose alone: all others have keys of their own, and go on.
   */
  #takeKeys(stages: KindStages, purpose: number, rows: number): void {
    const { decider } = stages
    const projector = stages.projectors[purpose]
    const epochs = stages.epochs[purpose]
    const bit = 1 << projector.plan.bit
    projector.trim()
    epochs.ids.forEach((id, e) => {
      // Asking makes a key: records that are withheld (the too old ones above all) must not fill the store with epochs
      // that nobody sees.
      let first = 0
      while (first < rows && (epochs.row[first] !== e || (decider.mask[first] & bit) === 0)) first++
      if (first === rows) return
      const keys = projector.needsKeys ? this.#options.keyring.keys(projector.plan.purpose.id, id) : null
      if (keys === null || typeof keys === 'object') {
        projector.useKeys(id, keys)
        return
      }
      projector.forget(id)
      for (let r = first; r < rows; r++) if (epochs.row[r] === e) decider.withhold(r, purpose, 'key_destroyed')
    })
  }

  /** @param format of these bytes: a record may have another than the input that it came in */
  #quarantine(run: Run, reason: Refusal, format: string, bytes: Uint8Array, record: number): void {
    const { tenant, tenants, nowMs, outcome } = run
    // Kafka takes messages of 1 MB by default: longer input goes in parts, one after the other.
    for (let off = 0; off === 0 || off < bytes.length; off += QUARANTINE_PART_BYTES) {
      const sealed = sealQuarantined(
        this.#options.keyring,
        reason,
        format,
        bytes.subarray(off, off + QUARANTINE_PART_BYTES),
        nowMs,
        tenant,
        tenants,
      )
      this.#messages.quarantine(sealed, nowMs, record)
    }
    outcome.quarantined[reason] = (outcome.quarantined[reason] ?? 0) + 1
  }
}
