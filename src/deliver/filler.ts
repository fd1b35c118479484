/** Puts one batch into the turn that is being filled; or finds that it is there already, or must not be taken. */
import { setTimeout as sleep } from 'node:timers/promises'
import { MinimError } from '../errors/catalogue.js'
import type { Entry } from './entry.js'
import type { Made, Minimiser } from './minimiser.js'
import type { DeliveryStats } from './options.js'
import type { Streams } from './streams.js'
import type { Turn } from './turn.js'

/** Brokers that have taken nothing yet are given so long before messages are tried again. */
const QUEUE_FULL_WAIT_MS = 1

export class Filler {
  readonly #streams: Streams
  readonly #minimiser: Minimiser
  readonly #stats: DeliveryStats

  constructor(streams: Streams, minimiser: Minimiser, stats: DeliveryStats) {
    this.#streams = streams
    this.#minimiser = minimiser
    this.#stats = stats
  }

  /**
   * Takes a batch. Never rejects: what cannot be taken is told to its item, and what speaks against the turn is its
   * state.
   */
  async take(entry: Entry, turn: Turn): Promise<void> {
    if (this.#isSettled(entry, turn)) return
    const { item, key } = entry
    let made: Made
    try {
      made = this.#minimiser.make(entry)
    } catch (error) {
      this.#streams.break(key, item.sequence)
      entry.failed(new MinimError('MINIM_DELIVERY_MINIMISE', {}, { cause: error }))
      return
    }
    this.#join(entry, turn)
    if (item.offset === undefined) this.#streams.join(key, item.sequence)
    if (item.mark !== undefined) this.#streams.addMark(key, item.sequence, item.mark)
    turn.state = { kind: 'filling' }
    try {
      if (!(await this.#produce(made, turn))) return
      turn.holds(entry)
      turn.state = { kind: 'whole' }
    } catch (error) {
      if (!turn.isOver()) turn.state = { kind: 'broken', error }
    }
  }

  /** Whether nothing is to be sent: it was taken before, is under way, or is refused. */
  #isSettled(entry: Entry, turn: Turn): boolean {
    const { item, key } = entry
    const { id, sequence, offset, mark } = item
    const streams = this.#streams
    if (mark !== undefined && streams.differs(id, sequence, mark)) {
      entry.failed(new MinimError('MINIM_DELIVERY_BATCH_DIFFERS', { source: id.source, sequence }))
      return true
    }
    if (offset === undefined && sequence <= streams.lastTaken(key)) {
      this.#stats.skipped++
      entry.committed()
      return true
    }
    if (offset === undefined && streams.isInFlight(key, sequence)) {
      // The same batch is under way: this one is done when that one is.
      this.#stats.skipped++
      this.#join(entry, turn)
      return true
    }
    if (streams.isBroken(key, sequence)) {
      entry.failed(new MinimError('MINIM_DELIVERY_BROKEN_STREAM'))
      return true
    }
    return false
  }

  #join(entry: Entry, turn: Turn): void {
    this.#stats.inFlightItems++
    turn.join(entry)
  }

  /** @returns false when the turn was given up meanwhile */
  async #produce({ messages, dropped }: Made, turn: Turn): Promise<boolean> {
    const { lane } = turn
    for (let next = 0; ;) {
      if (!lane.knows(messages.topics)) {
        await lane.learn(messages.topics)
        if (turn.isOver()) return false
      }
      const taken = lane.produce(messages, next, dropped)
      turn.produced(taken)
      this.#stats.inFlightMessages += taken.messages
      if (taken.next === messages.count) return true
      next = taken.next
      await sleep(QUEUE_FULL_WAIT_MS)
      if (turn.isOver()) return false
    }
  }
}
