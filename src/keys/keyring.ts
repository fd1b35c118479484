/** What the rest of minim asks of the keys. Implemented by the key store (`store.ts`). */

/** The uses that HKDF splits an epoch key into. */
export const KEY_USES = ['block', 'uuid', 'ipv6', 'hmac', 'siv', 'box'] as const
export type KeyUse = (typeof KEY_USES)[number]

export const EPOCHS = ['day', 'month', 'quarter', 'year', 'contract'] as const
export type EpochLength = (typeof EPOCHS)[number]

/**
 * The keys of one purpose and epoch. Lengths in bytes: block 32, uuid 32, ipv6 16, hmac 32, siv 64 (AES-256-SIV), box
 * 32 (AES-256-GCM: quarantine, spool).
 */
export type EpochKeys = Readonly<Record<KeyUse, Buffer>>

/** The key domain of quarantined input, next to the purposes' own. */
export const QUARANTINE_DOMAIN = { id: 'minim.quarantine', epoch: 'day' } as const satisfies KeyDomain

/** The key domain of the spool: what is on disk until it is in Kafka. */
export const SPOOL_DOMAIN = { id: 'minim.spool', epoch: 'day' } as const satisfies KeyDomain

/**
 * The key domain of what the ledger holds of streams: marks of their batches. One key for ever: what it has marked is
 * compared for as long as the stream lives.
 */
export const LEDGER_DOMAIN = { id: 'minim.ledger', epoch: 'contract' } as const satisfies KeyDomain

/** Whose keys they are (a purpose's id), and how long each lasts. A policy's `Purpose` is one. */
export interface KeyDomain {
  readonly id: string
  readonly epoch: EpochLength
}

/** An epoch's key is asked for that was destroyed, or that the store never held. */
export type KeyAbsence = 'destroyed' | 'absent'

export interface Keyring {
  /**
   * Keys of a purpose (or of `minim.quarantine`, `minim.spool`, `minim.ledger`) in an epoch; made and stored on first
   * use where the epoch is now, past or one ahead. Synchronous and cached: called per batch, not per record, and not
   * kept beyond it: a key can be destroyed in between.
   * @throws MinimError when the store cannot be read or written
   */
  keys(purpose: string, epochId: string): EpochKeys | KeyAbsence
}
