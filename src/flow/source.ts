/**
 * What a source is to the rest of the program: started with the settings, told to take no more, stopped. `sources.ts`
 * lists them.
 *
 *   gRPC streams, followed files, Kafka topics   can send again: their batches go to delivery and are acknowledged by
 *                                                its commit (`intake.ts`)
 *   AMI, HTTP, HEP, SIP                          cannot: their records go to the spool (`Inlet`), and from there as
 *                                                any other stream
 */
import type { Refusal } from '../batch/batch.js'
import type { Catalogue } from '../catalogue/catalogue.js'
import type { SourceCounters, SourceKind } from './counters.js'
import type { StreamIntake } from './intake.js'
import type { Logger } from './log.js'
import type { WorkerPlace } from './worker-place.js'

/**
 * How the bytes of a spooled entry are to be read: canonical records, JSON Lines of the catalogue's own names, or not
 * at all.
 */
export type SpooledFormat = 'protobuf' | 'jsonl-call' | 'jsonl-quality' | 'jsonl-device' | 'refused'

/**
 * A name that a sender has given to a post, and the post's body: the same name with another body is a mistake of the
 * sender's.
 */
export interface NamedBody {
  readonly name: string
  /**
   * Whose the name is, if that is not the tenant of the records: it must stay the same when what a sender may use
   * changes.
   */
  readonly tenant?: string
  /**
   * What the name is unique in, if that is not the kind of source: what can come by two kinds has one name in both, and
   * is taken once.
   */
  readonly space?: string
  /** Read before `put` returns. Left out: the name alone counts. */
  readonly body?: Uint8Array
}

/**
 * `repeated`: this id was taken before: acknowledge it, nothing was stored.
 * `reused`: it was taken before, with another body: nothing was stored, and whoever sent it should be told that it was
 * not.
 */
export type PutOutcome = 'stored' | 'repeated' | 'reused'

/** Records of one sender, as the spool keeps them. */
export interface Spooled {
  readonly source: SourceKind
  readonly format: SpooledFormat
  /** Tenant of the records that name none. */
  readonly tenant: string
  /**
   * `protobuf`: an encoded `Batch` without header (`record-writer.ts`). Copied: the caller may use the memory again
   * once `put` has returned.
   */
  readonly bytes: Uint8Array
  /** Records in it, as the source counts them; left out where it does not. What is read of it later must be as many. */
  readonly records?: number
  /** For `refused`: why these bytes could not become records. They go to quarantine. */
  readonly reason?: Refusal
  /**
   * What the sender calls this (a call's uuid, an idempotency key). The same again from the same kind of source and
   * tenant, within `spool.rememberHours`, is not taken twice, over restarts too. null or left out: never a repeat.
   *
   * A text alone counts whatever comes with it: a PBX that posts a call again may have learnt more of it. With a body
   * (which is compared by a keyed fingerprint) it is `reused` when the body differs.
   */
  readonly id?: string | NamedBody | null
}

/** Why nothing can be stored: words that senders are told, and the operator's port. */
export interface InletTrouble {
  readonly reason: 'spool_full' | 'spool_broken' | 'stopping'
  /** What keeps a full spool from being emptied, where that is known: `kafka_away`. */
  readonly cause: string | null
}

/** Where records go that their sender cannot send again. */
export interface Inlet {
  /**
   * Resolves when the records are safe (flushed to disk): only then may the sender be told so.
   * @returns what became of them
   * @throws MinimError MINIM_SPOOL_FULL, MINIM_SPOOL_BROKEN: refuse (503), or drop and count where nobody can be told
   */
  put(records: Spooled): Promise<PutOutcome>
  /** Nothing can be stored now: refuse before reading, if the protocol allows it. */
  readonly full: boolean
  /**
   * What is the matter, for those who are told; null while all is well. It begins with the first refusal and lasts until
   * there is room to speak of, so that it does not come and go with every record.
   */
  readonly trouble: InletTrouble | null
}

/** @typeParam S what of the settings the source is to know: its own section, and what it needs of those around */
export interface SourceContext<S = unknown> {
  readonly settings: S
  readonly catalogue: Catalogue
  readonly log: Logger
  /** Which of the workers this is: a source that keeps state runs in one of them. Default: the only one. */
  readonly worker?: WorkerPlace
  /** For sources that can send again. */
  readonly intake: (source: SourceKind) => StreamIntake
  readonly inlet: Inlet
  readonly counters: (source: SourceKind) => SourceCounters
  /** Something that the source cannot go on after: the others must not notice. */
  readonly onBroken: (source: SourceKind, error: unknown) => void
}

/** A source that runs. */
export interface Source {
  readonly kind: SourceKind
  /**
   * Where it listens, by what: `{ http: '127.0.0.1:8080' }`; empty for one that connects or reads. Logged, and told to
   * tests.
   */
  readonly addresses: Readonly<Record<string, string>>
  /** Takes nothing new; what was taken is answered when it is safe. Resolves when nothing more will be handed on. */
  stopTaking(): Promise<void>
  /** Closes what is open. Called after all that was taken is committed. */
  stop(): Promise<void>
}

/**
 * Starts a source if the settings have it; null if not.
 * @throws MinimError when it cannot start: a port in use, a certificate that cannot be read. Nothing else starts then
 */
export type StartSource<S = unknown> = (context: SourceContext<S>) => Promise<Source | null>
