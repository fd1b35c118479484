/**
 * Whether records are taken, kept and accounted for, else why not: what `/readyz` answers, and what a sender is told
 * that is refused. Each reason is a word of its own, which docs/operations.md explains.
 */
import type { Delivery } from '../deliver/delivery.js'
import type { MinimError } from '../errors/catalogue.js'
import type { Readiness } from '../ops/health.js'
import type { Metrics } from '../ops/metrics.js'

/** Why Kafka takes nothing at all, by the error that said so. */
const OUTAGES: Readonly<Partial<Record<string, string>>> = {
  MINIM_KAFKA_NO_BROKER: 'kafka_away',
  MINIM_KAFKA_NOT_ALLOWED: 'kafka_not_allowed',
}

/** The word for what keeps Kafka away; null while nothing does. */
export function outageReason(outage: MinimError | null): string | null {
  return outage === null ? null : (OUTAGES[outage.code] ?? null)
}

export class ReadinessWatch {
  readonly #delivery: Delivery
  readonly #metrics: Metrics
  #others: () => readonly string[] = () => []

  constructor(delivery: Delivery, metrics: Metrics) {
    this.#delivery = delivery
    this.#metrics = metrics
  }

  /** Reasons of a part that starts later than delivery. */
  alsoAsk(others: () => readonly string[]): void {
    this.#others = others
  }

  get now(): Readiness {
    const { phase, ready: delivers, error, outage } = this.#delivery.state
    const reasons = delivers ? [] : [error?.code === 'MINIM_DELIVERY_FENCED' ? 'taken_over' : `delivery_${phase}`]
    if (!delivers && error?.code === 'MINIM_KAFKA_CLOCK') reasons.push('clock')
    const away = outageReason(outage)
    if (away !== null) reasons.push(away)
    if (this.#metrics.drifting) reasons.push('conservation_drift')
    reasons.push(...this.#others())
    return { ok: reasons.length === 0, reasons }
  }
}
