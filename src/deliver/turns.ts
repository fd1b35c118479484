/**
 * Two lanes taking turns, from the take-over of the shard until something is unclean: one transaction is filled while
 * the one before it commits. A new object begins after each take-over, so nothing of an earlier one is left in it.
 */
import { setImmediate as immediate } from 'node:timers/promises'
import type { Filler } from './filler.js'
import type { Lane } from './lane.js'
import type { CommitReport, DeliveryStats } from './options.js'
import type { Queue } from './queue.js'
import type { Shard } from './shard.js'
import type { Streams } from './streams.js'
import { Turn } from './turn.js'

export interface TurnsOptions {
  readonly lanes: readonly [Lane, Lane]
  readonly shard: Shard
  readonly queue: Queue
  readonly streams: Streams
  readonly filler: Filler
  readonly stats: DeliveryStats
  readonly beforeCommit: () => Promise<void>
  /** A transaction is committed; its batches are told so next. */
  readonly onCommitted: () => void
  readonly onReport: (report: CommitReport) => void
  /** A transaction cannot be committed, or nobody knows whether it was. */
  readonly onUnclean: (error: unknown) => void
  /** Something is done: all may be. */
  readonly onRest: () => void
}

export class Turns {
  readonly #options: TurnsOptions
  /** Lanes without a transaction, in the order of their turns. */
  readonly #free: Lane[]
  #open: Turn | null = null
  #committing: Turn | null = null
  #filling = false
  /** Runs until the open turn has waited long enough for more. */
  #timer: NodeJS.Timeout | null = null
  #over = false

  constructor(options: TurnsOptions) {
    this.#options = options
    this.#free = [...options.lanes]
  }

  /** Whether no batch is in a transaction. */
  get isIdle(): boolean {
    return this.#committing === null && (this.#open === null || this.#open.entries.length === 0)
  }

  get isCommitting(): boolean {
    return this.#committing !== null
  }

  /** Ends them, wherever they are. @returns transactions that are not committed, in their order */
  end(): Turn[] {
    const left = [this.#committing, this.#open].filter((turn): turn is Turn => turn !== null)
    for (const turn of left) turn.state = { kind: 'over' }
    this.#over = true
    this.#committing = null
    this.#open = null
    this.#stopTimer()
    const { stats, streams } = this.#options
    streams.dropInFlight()
    stats.inFlightItems = 0
    stats.inFlightMessages = 0
    return left
  }

  /** Fills the open turn with what waits, until it is full. Called whenever there may be room or something to fill. */
  async fill(): Promise<void> {
    if (this.#filling) return
    this.#filling = true
    try {
      for (;;) {
        const turn = this.#turnToFill()
        const entry = turn === null ? undefined : this.#options.queue.shift()
        if (turn === null || entry === undefined) return
        await this.#options.filler.take(entry, turn)
        // The turn that commits now decides first: this one would have had to wait for it anyway.
        if (turn.state.kind === 'broken' && this.#committing === null) this.#options.onUnclean(turn.state.error)
        this.schedule()
        // Lets commits, sockets and timers have their turn, however fast batches come.
        await immediate()
      }
    } finally {
      this.#filling = false
      this.schedule()
      this.#options.onRest()
    }
  }

  /** Starts the open turn's commit, or a timer for it, if it is time. */
  schedule(): void {
    const turn = this.#open
    if (turn?.state.kind !== 'whole' || turn.entries.length === 0 || this.#committing !== null) return
    const { queue, shard } = this.#options
    const leftMs = shard.settings.lingerMs - (performance.now() - turn.openedAt)
    if (leftMs > 0 && !turn.isFull(shard.settings) && !(queue.isDraining && queue.isEmpty)) {
      this.#timer ??= setTimeout(
        () => {
          this.#timer = null
          this.schedule()
        },
        Math.max(1, leftMs),
      )
      return
    }
    this.#stopTimer()
    void this.#commit(turn)
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  /** The turn that takes the next batch; null when none waits or there is no room. */
  #turnToFill(): Turn | null {
    const { queue, shard } = this.#options
    if (this.#over || queue.isEmpty) return null
    if (this.#open === null) {
      const lane = this.#free.shift()
      if (lane === undefined) return null
      this.#open = new Turn(lane)
    }
    return this.#open.state.kind === 'broken' || this.#open.isFull(shard.settings) ? null : this.#open
  }

  async #commit(turn: Turn): Promise<void> {
    const { lanes, shard, streams, stats, beforeCommit, onCommitted, onReport, onUnclean, onRest } = this.#options
    turn.state = { kind: 'committing' }
    this.#committing = turn
    this.#open = null
    // What this turn has still to send stands before what the next one has: a subject's records keep their order.
    const next = lanes[0] === turn.lane ? lanes[1] : lanes[0]
    const startedAt = performance.now()
    try {
      const committed = turn.commit({ shard, streams, next, beforeCommit })
      void this.fill()
      await committed
    } catch (error) {
      if (!turn.isOver()) onUnclean(error)
      return
    }
    if (turn.isOver()) return
    turn.state = { kind: 'over' }
    this.#committing = null
    onCommitted()
    streams.committed(turn.sequences)
    stats.commits++
    stats.messages += turn.messages
    stats.items += turn.items
    stats.inFlightMessages -= turn.messages
    stats.inFlightItems -= turn.entries.length
    const commitMs = performance.now() - startedAt
    // The next one must not wait for what callers do on being told.
    const behind = this.#stateOfOpen()
    if (behind?.kind === 'broken') onUnclean(behind.error)
    else {
      this.#free.push(turn.lane)
      this.schedule()
      void this.fill()
    }
    for (const entry of turn.entries) entry.committed()
    onReport({ items: turn.entries.map(({ item }) => item), messages: turn.messages, bytes: turn.bytes, commitMs })
    onRest()
  }

  #stateOfOpen(): Turn['state'] | undefined {
    return this.#open?.state
  }
}
