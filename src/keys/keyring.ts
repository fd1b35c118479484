/** What the rest of minim asks of the keys. Implemented by the key store (`store.ts`). */

/** The uses that HKDF splits an epoch key into. */
export const KEY_USES = ['block', 'uuid', 'ipv6', 'hmac', 'siv'] as const
export type KeyUse = (typeof KEY_USES)[number]

export const EPOCHS = ['day', 'month', 'quarter', 'year', 'contract'] as const
export type EpochLength = (typeof EPOCHS)[number]

/** The keys of one purpose and epoch. Lengths in bytes: block 32, uuid 32, ipv6 16, hmac 32, siv 64 (AES-256-SIV). */
export type EpochKeys = Readonly<Record<KeyUse, Buffer>>

/** An epoch's key is asked for that was destroyed, or that the store never held. */
export type KeyAbsence = 'destroyed' | 'absent'

export interface Keyring {
  /**
   * Keys of a purpose (or of `minim.quarantine`) in an epoch; made and stored on first use where the epoch is now, past or one ahead.
   * Synchronous and cached: called per batch, not per record.
   */
  keys(purpose: string, epochId: string): EpochKeys | KeyAbsence
}
