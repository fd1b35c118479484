/**
 * Conservation: nothing is lost, and nothing made, between what a source handed over and what went out. Kept in plain
 * numbers, checked at each commit; a difference is a defect of minim's own, and a metric that must be 0.
 *
 *   source ──handOver(records)──▶ pipeline ──minimised(records)──▶ commit ──▶ produced, withheld, quarantined
 *          └── its own count               └── the pipeline's own count
 *
 * - Of each source: `received = minimised + refused + in flight`. Received is what the source says that it handed over,
 *   minimised what the pipeline found in it. Refused is what was handed over and not taken: the ledger had it, or it
 *   went back to its source, which hands it over again. The spool is a source of its own here: what others put into it
 *   is handed over when it is read again. All begins with the process.
 * - Of each source, and for each purpose and kind: every record of a kind is either produced or withheld, in every
 *   purpose that has rules for the kind: so of each batch the sums of a kind's purposes are equal, and over the kinds
 *   they are what was minimised and not quarantined. It holds of a batch and the policy that it was made by: under
 *   another one there are other purposes.
 */
import { Gauge, type Registry } from 'prom-client'
import type { Kind } from '../catalogue/catalogue.js'
import type { Outcome } from '../flow/outcome.js'
import { NO_PURPOSE } from '../flow/outcome.js'
import type { Flow } from './flows.js'

/** Where records came in that several kinds of source wrote to the spool, which are delivered together. */
export const SPOOL_ACCOUNT = 'spool'

/** Records that are not accounted for: of labels out of closed sets, `*` over all. */
export interface Drift {
  readonly source: string
  readonly purpose: string
  readonly kind: string
  readonly records: number
}

/** What was handed over at once, from then until it is decided. */
export interface Handover {
  /** The pipeline has made messages of it, for the first time or again. @param records that it found in it */
  minimised(records: number): void
  /** It is in Kafka; or it was before, if the pipeline has never had it. */
  committed(): void
  /** It went back to its source. */
  failed(): void
}

type DriftGauge = { set(value: number): void }

/** What is missing of one purpose and kind, over all batches. */
interface Missing {
  records: number
  readonly drift: DriftGauge
}

/** The sums of one kind of source. */
class Account {
  /** By purpose and kind. */
  readonly byFlow = new Map<string, Missing>()
  records = 0
  /** Of these: produced or withheld, meant for no purpose, or quarantined. */
  accounted = 0
  /** As the source counts. */
  received = 0
  inFlight = 0
  refused = 0
  /** As the pipeline counts. */
  minimised = 0
  /** Of what was produced, withheld and quarantined, as of the last commit: what is missing. */
  missing = 0

  constructor(
    readonly overall: DriftGauge,
    readonly onItsWay: { set(value: number): void },
  ) {
    onItsWay.set(0)
  }

  check(): void {
    this.overall.set(this.received - this.minimised - this.refused - this.inFlight + this.missing)
  }
}

/** What one item does to its account. */
class OpenHandover implements Handover {
  #received: number
  readonly #known: boolean
  /** -1: the pipeline has not had it. */
  #minimised = -1
  #open = true

  readonly #account: Account

  constructor(account: Account, records: number | null) {
    this.#account = account

    this.#known = records !== null
    this.#received = 0
    this.#receive(records ?? 0)
  }

  minimised(records: number): void {
    this.#minimised = records
    // Of what its source has not read the pipeline's count is the first there is.
    if (!this.#known) this.#receive(records)
  }

  committed(): void {
    const account = this.#account
    this.#decide()
    if (this.#minimised < 0) account.refused += this.#received
    else account.minimised += this.#minimised
    account.check()
  }

  failed(): void {
    this.#decide()
    this.#account.refused += this.#received
    this.#account.check()
  }

  #receive(records: number): void {
    const account = this.#account
    account.received += records - this.#received
    account.inFlight += records - this.#received
    this.#received = records
    account.onItsWay.set(account.inFlight)
  }

  /** Once: what is decided twice was taken twice, and shows. */
  #decide(): void {
    const account = this.#account
    if (this.#open) account.inFlight -= this.#received
    this.#open = false
    account.onItsWay.set(account.inFlight)
  }
}

/** Keeps the accounts of all sources. */
export class Conservation {
  readonly #accounts = new Map<string, Account>()
  readonly #open: (source: string) => Account
  readonly #watched: (source: string, purpose: string, kind: string) => DriftGauge
  #flows: readonly Flow[]
  readonly #sources: readonly string[]
  /** Sums that are not 0. */
  #drifting = 0
  /** Told of a sum that is not 0, and again when it has doubled: not at each commit. */
  onDrift: (drift: Drift) => void = () => undefined

  /**
   * @param sources the closed set of labels; anything else is booked under the last
   * @param on those of it whose series are there from the start; another's come with its first record
   */
  constructor(registers: Registry[], flows: readonly Flow[], sources: readonly string[], on: readonly string[]) {
    this.#sources = sources
    this.#flows = flows
    const drift = new Gauge({
      name: 'minim_conservation_drift_records',
      labelNames: ['source_kind', 'purpose', 'kind'],
      registers,
      help: 'Records in, less messages out, withheld, quarantined and in flight: anything but 0 is a defect. "*" is over all kinds',
    })
    const inFlight = new Gauge({
      name: 'minim_records_in_flight',
      labelNames: ['source_kind'],
      registers,
      help: 'Records read and not committed yet',
    })
    this.#watched = (source, purpose, kind) => {
      const gauge = drift.labels(source, purpose, kind)
      gauge.set(0)
      let value = 0
      let told = 0
      return {
        set: (records) => {
          if (records === value) return
          if ((records === 0) !== (value === 0)) this.#drifting += records === 0 ? -1 : 1
          value = records
          gauge.set(records)
          if (records === 0) told = 0
          if (Math.abs(records) < Math.max(1, 2 * told)) return
          told = Math.abs(records)
          this.onDrift({ source, purpose, kind, records })
        },
      }
    }
    this.#open = (source) => {
      const account = new Account(this.#watched(source, '*', '*'), inFlight.labels(source))
      for (const { purpose, kind } of this.#flows) this.#missing(account, source, purpose, kind)
      this.#accounts.set(source, account)
      return account
    }
    for (const source of on) this.#open(source)
  }

  #account(source: string): Account {
    const name = this.#sources.includes(source) ? source : this.#sources[this.#sources.length - 1]
    return this.#accounts.get(name) ?? this.#open(name)
  }

  /** Something is not accounted for. */
  get drifting(): boolean {
    return this.#drifting > 0
  }

  /**
   * A source has handed something over.
   * @param records as the source counts them, well or ill; null where it has not read them
   */
  handOver(source: string, records: number | null): Handover {
    return new OpenHandover(this.#account(source), records)
  }

  /** The purposes of a policy that runs from now on. */
  useFlows(flows: readonly Flow[]): void {
    this.#flows = flows
    for (const [source, account] of this.#accounts)
      for (const { purpose, kind } of flows) this.#missing(account, source, purpose, kind)
  }

  /**
   * Once per batch, after its commit.
   * @param flows of the policy that it was made by
   */
  onCommitted(source: string, outcome: Outcome, flows: readonly Flow[] = this.#flows): void {
    const account = this.#account(source)
    account.records += outcome.records
    const withheld = new Map<string, number>()
    for (const name in outcome.withheld) {
      const [purpose, kind, reason] = name.split('\0')
      if (reason === NO_PURPOSE) account.accounted += outcome.withheld[name]
      const flow = `${purpose}\0${kind}`
      withheld.set(flow, (withheld.get(flow) ?? 0) + outcome.withheld[name])
    }
    for (const count of Object.values(outcome.quarantined)) account.accounted += count
    const seen = flows.map(
      ({ purpose, kind, topic }) => (outcome.produced[topic] ?? 0) + (withheld.get(`${purpose}\0${kind}`) ?? 0),
    )
    const most = new Map<Kind, number>()
    flows.forEach(({ kind }, i) => most.set(kind, Math.max(most.get(kind) ?? 0, seen[i])))
    flows.forEach(({ purpose, kind }, i) => {
      const missing = this.#missing(account, source, purpose, kind)
      missing.records += (most.get(kind) ?? 0) - seen[i]
      missing.drift.set(missing.records)
    })
    for (const records of most.values()) account.accounted += records
    account.missing = account.records - account.accounted
    account.check()
  }

  #missing(account: Account, source: string, purpose: string, kind: Kind): Missing {
    const name = `${purpose}\0${kind}`
    let missing = account.byFlow.get(name)
    if (missing === undefined)
      account.byFlow.set(name, (missing = { records: 0, drift: this.#watched(source, purpose, kind) }))
    return missing
  }
}
