/**
 * Conservation: of each source, what came in is what went out, was withheld, was quarantined or is still on its way; for each purpose
 * and kind. Kept in plain numbers, checked at each commit; a difference is a defect of minim's own, and a metric that must be 0.
 *
 * Every record of a kind is either produced or withheld, in every purpose that has rules for the kind: so the sums of a kind's purposes
 * are equal, and over the kinds they are what was read and not quarantined.
 */
import { Gauge, type Registry } from 'prom-client'
import type { Kind } from '../catalogue/catalogue.js'
import { NO_PURPOSE } from '../decide/decide.js'
import type { Outcome } from '../project/minimised.js'
import type { Flow } from './metrics.js'

/** Where records came in that several kinds of source wrote to the spool, which are delivered together. */
export const SPOOL_ACCOUNT = 'spool'

interface Sums {
  produced: number
  withheld: number
  readonly drift: { set(value: number): void }
}

/** The sums of one kind of source. */
class Account {
  readonly byTopic = new Map<string, Sums>()
  readonly byName = new Map<string, Sums>()
  readonly byKind = new Map<Kind, Sums[]>()
  records = 0
  quarantined = 0
  noPurpose = 0
  inFlight = 0

  constructor(readonly overall: { set(value: number): void }, readonly onItsWay: { set(value: number): void }) {
    overall.set(0)
    onItsWay.set(0)
  }
}

/** Keeps the accounts of all sources. */
export class Conservation {
  readonly #accounts = new Map<string, Account>()
  readonly #open: (source: string) => Account
  readonly #sources: readonly string[]

  /**
   * @param sources the closed set of labels; anything else is booked under the last
   * @param on those of it whose series are there from the start; another's come with its first record
   */
  constructor(registers: Registry[], flows: readonly Flow[], sources: readonly string[], on: readonly string[]) {
    this.#sources = sources
    const drift = new Gauge({
      name: 'minim_conservation_drift_records', labelNames: ['source_kind', 'purpose', 'kind'], registers,
      help: 'Records in, less messages out, withheld, quarantined and in flight: anything but 0 is a defect. "*" is over all kinds',
    })
    const inFlight = new Gauge({ name: 'minim_records_in_flight', labelNames: ['source_kind'], registers, help: 'Records read and not committed yet' })
    this.#open = (source) => {
      const account = new Account(drift.labels(source, '*', '*'), inFlight.labels(source))
      for (const { purpose, kind, topic } of flows) {
        const sums: Sums = { produced: 0, withheld: 0, drift: drift.labels(source, purpose, kind) }
        sums.drift.set(0)
        account.byTopic.set(topic, sums)
        account.byName.set(`${purpose}\0${kind}`, sums)
        account.byKind.set(kind, [...account.byKind.get(kind) ?? [], sums])
      }
      this.#accounts.set(source, account)
      return account
    }
    for (const source of on) this.#open(source)
  }

  #account(source: string): Account {
    const name = this.#sources.includes(source) ? source : this.#sources[this.#sources.length - 1]
    return this.#accounts.get(name) ?? this.#open(name)
  }

  /** A batch was read, made anew, or is on its way no more. @param records how many more are on their way; negative: fewer */
  onInFlight(source: string, records: number): void {
    const account = this.#account(source)
    account.inFlight += records
    account.onItsWay.set(account.inFlight)
  }

  /** Once per batch, after its commit. */
  onCommitted(source: string, outcome: Outcome): void {
    const account = this.#account(source)
    account.records += outcome.records
    for (const topic in outcome.produced) {
      const sums = account.byTopic.get(topic)
      if (sums !== undefined) sums.produced += outcome.produced[topic]
    }
    for (const name in outcome.withheld) {
      const [purpose, kind, reason] = name.split('\0')
      if (reason === NO_PURPOSE) account.noPurpose += outcome.withheld[name]
      const sums = account.byName.get(`${purpose}\0${kind}`)
      if (sums !== undefined) sums.withheld += outcome.withheld[name]
    }
    for (const count of Object.values(outcome.quarantined)) account.quarantined += count
    let accounted = account.quarantined + account.noPurpose
    for (const flows of account.byKind.values()) {
      let most = 0
      for (const sums of flows) most = Math.max(most, sums.produced + sums.withheld)
      for (const sums of flows) sums.drift.set(most - sums.produced - sums.withheld)
      accounted += most
    }
    account.overall.set(account.records - accounted)
  }
}
