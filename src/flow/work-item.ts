/**
 * What ingest hands to deliver: a batch of one source that can be made again from its kept bytes until it is committed.
 */
import type { Minimised } from './minimised.js'

/** A source stream: the ledger's key. */
export interface SourceId {
  /** Stable name; decides the shard. */
  readonly source: string
  /** UUID of the installation, or a file's identity. */
  readonly incarnation: string
}

/** A place in a topic that a consumer group reads, and who read up to it. */
export interface GroupOffset {
  readonly group: string
  /**
   * Refused by Kafka once the group has another generation: whoever lost a partition cannot commit what it still had of
   * it.
   */
  readonly generation: number
  readonly member: string
  readonly topic: string
  readonly partition: number
  /** Where to go on once this is committed. */
  readonly next: number
}

export interface WorkItem {
  readonly id: SourceId
  /**
   * Its bytes come from a consumer group: this place is part of the transaction, and there is no ledger entry. What the
   * group has committed says what was taken, whichever proxy took it; so when a transaction's end is unknown the item
   * fails, and its source asks.
   */
  readonly offset?: GroupOffset
  /** The ledger's value once this is committed: a batch sequence or a byte offset; grows within a stream. */
  readonly sequence: number
  /**
   * Of a stream whose sender numbers its batches: tells this one from another under the same number (`marks.ts`), which
   * is then refused. Left out where the sequence is a place in a file, that says itself what lies there.
   */
  readonly mark?: Uint8Array
  /** Bytes kept until commit. */
  readonly bytes: number
  /** When the first byte was received: `performance.now()` ms. */
  readonly receivedAt: number
  /**
   * Records in it, well or ill, as its source counts them; left out where the source has not read them. What `minimise`
   * finds must be as many.
   */
  readonly records?: number
  /**
   * Makes the messages. Called once, and again for each refill; the result is valid until the next call of any item's
   * `minimise`.
   * @param excluded records (numbers as in `Minimised.record`) that Kafka refuses: each becomes a quarantine message
   * instead
   */
  minimise(excluded?: ReadonlySet<number>): Minimised
  /** For an item with records of several kinds of source: how many of each the last `minimise` had. */
  received?(): ReadonlyMap<string, number>
  /** Called once, after the commit that holds it (or when the ledger says that it was taken before). */
  committed(): void
  /** Called once if delivery gives up (shutdown, fatal): the source must not acknowledge. */
  failed(error: Error): void
}
