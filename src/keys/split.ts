/**
 * HKDF-SHA-256 (RFC 5869): splits a random epoch key into its uses. Epoch keys themselves are never derived: destroying
 * one must mean something.
 */
import { hkdfSync } from 'node:crypto'
import { inspect } from 'node:util'
import { type EpochKeys, KEY_USES, type KeyUse } from './keyring.js'

/** Bytes of each use's key. */
export const KEY_BYTES: Readonly<Record<KeyUse, number>> = { block: 32, uuid: 32, ipv6: 16, hmac: 32, siv: 64, box: 32 }

/** HKDF-SHA-256, extract and expand. */
export function hkdfSha256(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array | string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', ikm, salt, info, bytes))
}

/**
 * The keys of every use of an epoch key. Bound to purpose and use, so that a key that was copied to another purpose's
 * entry still makes other tokens there.
 */
export function splitEpochKey(purpose: string, epochId: string, epochKey: Uint8Array): EpochKeys {
  return new SplitKeys(purpose, epochId, epochKey)
}

/**
 * Keys sit in private fields behind getters: neither `JSON.stringify` nor `inspect` (nor a logger built on them) can
 * reach them.
 */
class SplitKeys implements EpochKeys {
  readonly #keys: Record<KeyUse, Buffer>
  readonly #name: string

  constructor(purpose: string, epochId: string, epochKey: Uint8Array) {
    this.#name = `${purpose} ${epochId}`
    const keys: Partial<Record<KeyUse, Buffer>> = {}
    for (const use of KEY_USES)
      keys[use] = hkdfSha256(epochKey, NO_SALT, `minim/v1\0${use}\0${purpose}`, KEY_BYTES[use])
    this.#keys = keys as Record<KeyUse, Buffer>
  }

  get block(): Buffer {
    return this.#keys.block
  }
  get uuid(): Buffer {
    return this.#keys.uuid
  }
  get ipv6(): Buffer {
    return this.#keys.ipv6
  }
  get hmac(): Buffer {
    return this.#keys.hmac
  }
  get siv(): Buffer {
    return this.#keys.siv
  }
  get box(): Buffer {
    return this.#keys.box
  }

  toJSON(): string {
    return `[keys of ${this.#name}]`
  }
  [inspect.custom](): string {
    return this.toJSON()
  }
}

/** The epoch key is random and uniform already (RFC 5869 §3.1: a salt adds nothing then). */
const NO_SALT = Buffer.alloc(0)
