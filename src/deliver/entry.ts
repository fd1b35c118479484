/** A batch on its way: from the offer until it is committed, or given up. */
import type { WorkItem } from '../flow/work-item.js'
import { streamKey } from './ledger.js'

export class Entry {
  readonly item: WorkItem
  /** Of its stream. */
  readonly key: string
  /** Records that Kafka refuses: quarantined. */
  excluded: Set<number> | null = null
  /** Records whose quarantine message Kafka refuses as well. */
  hopeless: Set<number> | null = null
  readonly #retained: { retainedBytes: number }
  /** There until the offer is answered. */
  #answer: (() => void) | null

  /** @param retained counts the bytes of batches that are kept @param answer called once the offer is answered */
  constructor(item: WorkItem, retained: { retainedBytes: number }, answer: () => void) {
    this.item = item
    this.key = streamKey(item.id)
    this.#retained = retained
    this.#answer = answer
    retained.retainedBytes += item.bytes
  }

  /** Leaves records out; those that are left out already as hopeless: not even their quarantine message is taken. */
  exclude(records: Iterable<number>): void {
    const excluded = (this.excluded ??= new Set())
    for (const record of records) {
      if (excluded.has(record)) (this.hopeless ??= new Set()).add(record)
      else excluded.add(record)
    }
  }

  /** Its offer waits no longer. */
  answer(): void {
    const answer = this.#answer
    this.#answer = null
    answer?.()
  }

  committed(): void {
    this.#retained.retainedBytes -= this.item.bytes
    this.answer()
    this.item.committed()
  }

  failed(error: Error): void {
    this.#retained.retainedBytes -= this.item.bytes
    this.answer()
    this.item.failed(error)
  }
}
