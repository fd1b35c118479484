/**
 * A list in order of time whose members leave from anywhere at the same small cost: what waits for an answer, an end, a
 * limit.
 */

/** What can stand in a queue. A class, as its heirs are: an object put together by spreading takes 30 µs to make. */
export class Queued {
  /** When its time is over; of one queue's members the first ends first. */
  deadline = 0
  queue: Queue<Queued> | null = null
  before: Queued | null = null
  after: Queued | null = null
}

/** Members stay for the same time each, so that order of entry is order of leaving. */
export class Queue<T extends Queued> {
  readonly #waitMs: number
  #first: Queued | null = null
  #last: Queued | null = null
  #size = 0

  constructor(waitMs: number) {
    this.#waitMs = waitMs
  }

  get size(): number {
    return this.#size
  }

  get first(): T | null {
    return this.#first as T | null
  }

  /** Puts a member at the end, taking it out of where it was. */
  add(member: T, now: number): void {
    leave(member)
    member.deadline = now + this.#waitMs
    member.queue = this
    member.before = this.#last
    if (this.#last === null) this.#first = member
    else this.#last.after = member
    this.#last = member
    this.#size++
  }

  remove(member: T): void {
    if (member.before === null) this.#first = member.after
    else member.before.after = member.after
    if (member.after === null) this.#last = member.before
    else member.after.before = member.before
    member.before = member.after = member.queue = null
    this.#size--
  }

  /** Takes out whose time is over, the oldest first; at most so many, so that no sweep holds up what comes in. */
  sweep(now: number, atMost: number, over: (member: T) => void): void {
    for (let n = 0; n < atMost; n++) {
      const first = this.first
      if (first === null || first.deadline > now) return
      this.remove(first)
      over(first)
    }
  }
}

/** Takes a member out of its queue, if it is in one. */
export function leave(member: Queued): void {
  member.queue?.remove(member)
}
