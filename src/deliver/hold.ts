/**
 * Looks now and then whether the shard is still ours, while no commit tells: whoever lost it must not take records for
 * much longer. Asking is a read, and writes nothing anywhere.
 */
import { type Cluster, type Link, TRANSACTION } from '../kafka/cluster.js'
import type { ProducerIdentity } from '../kafka/record-batch.js'

/** How often a shard at rest is asked for. */
const HOLD_CHECK_MS = 2_000
/** Then the question has told nothing. */
const HOLDER_TIMEOUT_MS = 5_000
/** So many questions in a row without an answer are silence: one may only have met a coordinator that moved. */
const SILENT_CHECKS = 2

export interface HoldOptions {
  readonly cluster: Cluster
  /** The id that whoever takes the shard takes first, and who we are to it. */
  readonly transactionalId: string
  readonly identity: ProducerIdentity
  /** How often something was committed. */
  readonly commits: () => number
  /** Whether nothing waits and nothing is in a transaction. */
  readonly isResting: () => boolean
  /** The id has another epoch: somebody has the shard, or the coordinator has given up a transaction. */
  readonly onDoubt: () => void
  /** Whether Kafka has stopped answering, or answers again. @param delayMs until it is asked again */
  readonly onSilence: (silent: boolean, delayMs: number) => void
}

export class Hold {
  readonly #options: HoldOptions
  readonly #timer: NodeJS.Timeout
  #link: Link | null = null
  #asking = false
  /** Commits when it was looked at last. */
  #commitsSeen: number
  #isOver = false
  #unanswered = 0

  constructor(options: HoldOptions) {
    this.#options = options
    this.#commitsSeen = options.commits()
    this.#timer = setInterval(() => {
      void this.#check()
    }, HOLD_CHECK_MS).unref()
  }

  stop(): void {
    this.#isOver = true
    clearInterval(this.#timer)
    this.#dropLink()
  }

  async #check(): Promise<void> {
    const { identity, commits, isResting, onDoubt } = this.#options
    const now = commits()
    const isBusy = now !== this.#commitsSeen
    this.#commitsSeen = now
    if (isBusy) this.#answered()
    if (isBusy || this.#asking || !isResting()) return
    this.#asking = true
    let timer: NodeJS.Timeout | undefined
    try {
      // One that does not answer says nothing: the next commit will, and so will the next question.
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          reject(new Error('late'))
        }, HOLDER_TIMEOUT_MS)
      })
      const holder = await Promise.race([this.#holder(), late])
      this.#answered()
      if (!this.#isOver && (holder.producerId !== identity.producerId || holder.epoch !== identity.epoch)) onDoubt()
    } catch {
      this.#dropLink()
      if (++this.#unanswered === SILENT_CHECKS && !this.#isOver) this.#options.onSilence(true, HOLD_CHECK_MS)
    } finally {
      clearTimeout(timer)
      this.#asking = false
    }
  }

  #answered(): void {
    if (this.#unanswered >= SILENT_CHECKS && !this.#isOver) this.#options.onSilence(false, 0)
    this.#unanswered = 0
  }

  async #holder(): Promise<ProducerIdentity> {
    const { cluster, transactionalId } = this.#options
    const known = this.#link?.connected === true ? this.#link : null
    const link = known ?? (await cluster.coordinator(TRANSACTION, transactionalId))
    if (this.#link !== link) this.#dropLink()
    this.#link = link
    if (this.#isOver) this.#dropLink()
    return (await link.transactionState(transactionalId)).holder
  }

  #dropLink(): void {
    this.#link?.close()
    this.#link = null
  }
}
