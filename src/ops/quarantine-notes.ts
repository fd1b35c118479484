/**
 * Says in the log that input goes to quarantine, and why: a source that was set up wrong would otherwise lose all its
 * records where nobody looks. The first at once, then a line a minute at most, with counts by reason. The reasons are a
 * closed set; nothing of the input is in the line.
 */
import { type Refusal, REFUSALS } from '../batch/batch.js'
import type { Logger } from '../flow/log.js'

const INTERVAL_MS = 60_000

export class QuarantineNotes {
  readonly #log: Logger
  readonly #intervalMs: number
  #counts = new Map<Refusal, number>()
  #timer: NodeJS.Timeout | null = null

  constructor(log: Logger, intervalMs: number = INTERVAL_MS) {
    this.#log = log
    this.#intervalMs = intervalMs
  }

  /** Once per batch, after its commit. */
  add(quarantined: Readonly<Partial<Record<Refusal, number>>>): void {
    for (const reason of REFUSALS) {
      const count = quarantined[reason] ?? 0
      if (count > 0) this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count)
    }
    if (this.#timer === null) this.#tell()
  }

  /** Says what was not said yet. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#counts.size > 0) this.#say()
  }

  #tell(): void {
    this.#timer = null
    if (this.#counts.size === 0) return
    this.#say()
    this.#timer = setTimeout(() => {
      this.#tell()
    }, this.#intervalMs).unref()
  }

  #say(): void {
    this.#log.warn(
      { quarantined: Object.fromEntries(this.#counts) },
      'input was refused and is in quarantine, by reason: see `minim quarantine list`',
    )
    this.#counts = new Map()
  }
}
