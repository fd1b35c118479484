/**
 * Tokens: pseudonyms under the key of one purpose and epoch. The same identifier has the same token within these, and tokens of
 * different purposes or epochs cannot be joined.
 *
 * - What fits a block (`src/batch/block.ts`): one AES-256 block. A keyed permutation: no two identifiers share a token, the holder
 *   of the key can reverse it, nobody else can. A whole column is encrypted by one call, which is what makes it cheap (ECB is right
 *   here, and only here: each block is a message of its own, and equal identifiers shall give equal tokens).
 * - UUIDs: one AES-256 block under a key of their own. IPv6: ipcrypt-deterministic (draft-denis-ipcrypt, AES-128), key of its own.
 * - Longer ones: HMAC-SHA-256 cut to 16 bytes; where it must be reversible, AES-SIV (RFC 5297): 16 bytes and the ciphertext.
 *
 * Guarded by the transform row of `bench/`.
 */
import { createCipheriv, createDecipheriv, type Cipher } from 'node:crypto'
import { HmacSha256 } from '../keys/hmac.js'
import type { EpochKeys } from '../keys/keyring.js'
import { unpack } from '../batch/block.js'
import { Siv } from './siv.js'
import type { TreatmentInfo } from './treatment.js'

export const TOKEN_BYTES = 16

export const tokenInfo: TreatmentInfo = {
  kind: 'token',
  reveals: 'that two records of one purpose and epoch have the same identifier; not which',
  reversible: true,
  examples: [],
}

function permutation(algorithm: 'aes-256-ecb' | 'aes-128-ecb', key: Buffer): Cipher {
  return createCipheriv(algorithm, key, null).setAutoPadding(false)
}

/** Makes the tokens of one purpose and epoch. */
export class Tokeniser {
  private readonly blockCipher: Cipher
  private readonly uuidCipher: Cipher
  private readonly ipv6Cipher: Cipher
  private readonly siv: Siv
  private readonly hmac: HmacSha256

  constructor(keys: EpochKeys) {
    this.blockCipher = permutation('aes-256-ecb', keys.block)
    this.uuidCipher = permutation('aes-256-ecb', keys.uuid)
    this.ipv6Cipher = permutation('aes-128-ecb', keys.ipv6)
    this.siv = new Siv(keys.siv)
    this.hmac = new HmacSha256(keys.hmac)
  }

  /** Tokens of packed identifiers, so many times 16 bytes. */
  blocks(packed: Buffer): Buffer {
    return this.blockCipher.update(packed)
  }

  uuids(packed: Buffer): Buffer {
    return this.uuidCipher.update(packed)
  }

  addresses(packed: Buffer): Buffer {
    return this.ipv6Cipher.update(packed)
  }

  /** Writes the first 16 bytes of HMAC-SHA-256 (RFC 2104) of a long form. */
  hmacInto(src: Buffer, off: number, len: number, dst: Uint8Array, at: number): void {
    const digest = this.hmac.ofBytes(src, off, len)
    for (let i = 0; i < TOKEN_BYTES; i++) dst[at + i] = digest.charCodeAt(i)
  }

  /** AES-SIV of a long form: reversible, 16 bytes longer than it. */
  seal(long: Buffer): Buffer {
    return this.siv.seal(long)
  }
}

/**
 * Reverses a token, for the holder of the purpose's keys.
 * @param wide what else the field's tokens may be than blocks: IPv6 addresses (`IP`), UUIDs (`CALL`). Nothing in those 16 bytes says that
 *   the key was the right one, so it is for fields that the policy makes reversible only: others hold HMACs, which would come out as nonsense
 * @returns the identifier, or null for what cannot be reversed (HMAC) or is no token of these keys
 */
export function reveal(keys: EpochKeys, token: Buffer, wide: 'IP' | 'CALL' | null = null): string | null {
  if (token.length !== TOKEN_BYTES) {
    const long = new Siv(keys.siv).open(token)
    return long === null ? null : (unpack(long)?.text ?? null)
  }
  const block = createDecipheriv('aes-256-ecb', keys.block, null).setAutoPadding(false).update(token)
  const text = unpack(block)?.text
  if (text !== undefined) return text
  switch (wide) {
    case null: return null
    case 'IP': {
      const hex = createDecipheriv('aes-128-ecb', keys.ipv6, null).setAutoPadding(false).update(token).toString('hex')
      // The parser of URLs writes addresses as RFC 5952 does.
      return new URL(`http://[${hex.replace(/(.{4})(?=.)/g, '$1:')}]/`).hostname.slice(1, -1)
    }
    case 'CALL':
      return createDecipheriv('aes-256-ecb', keys.uuid, null).setAutoPadding(false).update(token).toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }
}
