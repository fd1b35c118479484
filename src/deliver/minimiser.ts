/**
 * Makes a batch's messages, without what Kafka is known to refuse: such a record is made into a quarantine message
 * instead, and its batch stays whole.
 */
import { MinimError } from '../errors/catalogue.js'
import { isMinted, type Minimised } from '../flow/minimised.js'
import type { Entry } from './entry.js'
import type { Limits } from './limits.js'

/** Counters that it adds to. */
export interface RefusalCounters {
  refusedRecords: number
  unquarantinable: number
}

/** Messages, and the numbers of those that are not to be sent. */
export interface Made {
  readonly messages: Minimised
  readonly dropped: ReadonlySet<number> | null
}

export class Minimiser {
  readonly #limits: Limits
  readonly #counters: RefusalCounters
  readonly #onNotice: (error: MinimError) => void

  constructor(limits: Limits, counters: RefusalCounters, onNotice: (error: MinimError) => void) {
    this.#limits = limits
    this.#counters = counters
    this.#onNotice = onNotice
  }

  /**
   * @returns valid until the next call
   * @throws whatever the item's `minimise` throws
   */
  make(entry: Entry): Made {
    let messages = mintedBy(entry, entry.excluded ?? undefined)
    const bad = this.#limits.refusals(messages)
    if (bad === null && entry.hopeless === null) return { messages, dropped: null }
    if (bad === null) return { messages, dropped: this.#dropped(messages, entry, []) }
    const excluded = new Set(entry.excluded)
    for (const index of bad) excluded.add(messages.record[index])
    this.#counters.refusedRecords += excluded.size - (entry.excluded?.size ?? 0)
    entry.excluded = excluded
    messages = mintedBy(entry, excluded)
    return { messages, dropped: this.#dropped(messages, entry, this.#limits.refusals(messages) ?? []) }
  }

  /**
   * Messages to leave out, as a last resort: those named, and those of hopeless records. Said and counted, since they
   * are lost.
   */
  #dropped(messages: Minimised, { hopeless }: Entry, bad: readonly number[]): Set<number> | null {
    const dropped = new Set(bad)
    if (hopeless !== null) for (let i = 0; i < messages.count; i++) if (hopeless.has(messages.record[i])) dropped.add(i)
    if (dropped.size === 0) return null
    const [first] = dropped
    this.#counters.unquarantinable += dropped.size
    this.#onNotice(
      new MinimError('MINIM_DELIVERY_UNQUARANTINABLE', {
        topic: messages.topics[messages.topic[first]] ?? '',
        count: dropped.size,
        what: 'too large, or a timestamp that it refuses',
      }),
    )
    return dropped
  }
}

/** The item's messages. What the projection has not made never reaches Kafka, whatever its type says. */
function mintedBy({ item }: Entry, excluded: ReadonlySet<number> | undefined): Minimised {
  const messages: Minimised = item.minimise(excluded)
  if (!isMinted(messages)) throw new TypeError('messages that the projection has not made')
  return messages
}
