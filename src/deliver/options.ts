/** What delivery is told, and what it tells. */
import type { MinimError } from '../errors/catalogue.js'
import type { Guarantee } from '../flow/guarantee.js'
import type { WorkItem } from '../flow/work-item.js'
import type { FailureKind } from '../kafka/errors.js'
import type { KafkaProperties } from '../kafka/property-rules.js'
import type { TopicsReport, WantedTopic } from '../kafka/topics.js'

/** Settings under `delivery:`. */
export interface DeliverySettings {
  /** Names the installation in transactional ids. */
  readonly cluster: string
  /** At least once: no transactions, so nothing is taken back and no other process is fenced. */
  readonly guarantee: Guarantee
  /** A transaction waits this long for more before it commits. */
  readonly lingerMs: number
  /** A transaction takes no more batches from so many messages on … */
  readonly maxMessages: number
  /** … or so many bytes of messages. */
  readonly maxBytes: number
}

export interface CommitReport {
  readonly items: readonly WorkItem[]
  readonly messages: number
  readonly bytes: number
  /** From the start of the commit to its success. */
  readonly commitMs: number
}

export type DeliveryPhase = 'new' | 'connecting' | 'ready' | 'recovering' | 'stopping' | 'stopped' | 'failed'

export interface DeliveryState {
  readonly phase: DeliveryPhase
  /** Batches are being taken and committed. */
  readonly ready: boolean
  /** What is in the way, if anything. */
  readonly error: MinimError | null
  /** Why Kafka cannot be got at; null while it can, as far as is known. */
  readonly outage: MinimError | null
}

/** What others may want to hear. All are called outside of the hot path; none may throw. */
export interface DeliveryHooks {
  onCommit?(report: CommitReport): void
  onPhase?(phase: DeliveryPhase): void
  /** Something for the log: a retry, an unclean end, a warning about topics. */
  onNotice?(error: MinimError): void
  /** Kafka cannot be got at: told once for each reason, and with null when it is over. Each retry is a notice too. */
  onOutage?(outage: MinimError | null): void
  onTopics?(report: TopicsReport): void
  /** The shard was somebody else's before, who may have ended or not: for the log. */
  onTookOver?(former: string): void
  /** Delivery has given up: the process should end with a failure. */
  onFatal?(error: MinimError): void
  /** Test only: awaited between the ledger's records and the commit. */
  beforeCommit?(): Promise<void> | void
}

export interface DeliveryOptions {
  readonly bootstrap: string
  /** Settings under `kafka:`, without `bootstrap.servers`. */
  readonly properties?: KafkaProperties
  readonly settings: DeliverySettings
  /** Topics to create and check; null on the embedded cluster, which knows neither. */
  readonly topics: readonly WantedTopic[] | null
  /** Copies of topics that are created. */
  readonly replication: number
  readonly shard?: number
  readonly shards?: number
  readonly ledgerTopic?: string
  /** Entries of the ledger that bear an incarnation which is given no more, and what it becomes. */
  readonly renaming?: {
    readonly isOutdated: (incarnation: string) => boolean
    readonly rename: (incarnation: string) => string
  }
  readonly hooks?: DeliveryHooks
}

/** Plain counters, read by metrics. */
export interface DeliveryStats {
  commits: number
  messages: number
  items: number
  /** Batches that the ledger, or a transaction under way, had already. */
  skipped: number
  /** Transactions not committed, by cause. */
  readonly aborts: Record<FailureKind, number>
  /** Producers replaced, for whatever reason. */
  replaced: number
  /** Records that Kafka would not take: quarantined. */
  refusedRecords: number
  /** Messages dropped since Kafka takes not even their quarantine message. */
  unquarantinable: number
  /** Now: in transactions not yet committed, and waiting for one. */
  inFlightItems: number
  inFlightMessages: number
  waitingItems: number
  /** Bytes of batches kept until commit. */
  retainedBytes: number
}

export function noStats(): DeliveryStats {
  return {
    commits: 0,
    messages: 0,
    items: 0,
    skipped: 0,
    aborts: { fenced: 0, refused: 0, unknown_outcome: 0, aborted: 0 },
    replaced: 0,
    refusedRecords: 0,
    unquarantinable: 0,
    inFlightItems: 0,
    inFlightMessages: 0,
    waitingItems: 0,
    retainedBytes: 0,
  }
}
