/**
 * What the ledger calls a file's contents: an HMAC of the hash of its beginning.
 *
 * The beginning of a file of call records is a few lines, of which all but a number can be guessed: whoever reads the
 * ledger and knows its unkeyed hash finds the number by trying. Entries of earlier versions bear that hash; they are
 * written anew when delivery takes its shard (`deliver/rename.ts`). That needs no file, since what is keyed is the hash
 * itself: so a file that is long gone is as well protected as one that is there, and both are known again.
 */
import { createHmac } from 'node:crypto'
import { MinimError } from '../errors/catalogue.js'
import { type Keyring, LEDGER_DOMAIN } from '../keys/keyring.js'

/** Told apart from the bare hash by its prefix. */
const PREFIX = 'hmac-'
const HEX_DIGITS = 32
const UNKEYED = /^[0-9a-f]{32}$/

/** An unkeyed hash, as versions before wrote it. Agents' own incarnations are UUIDs, with hyphens. */
export function isUnkeyed(incarnation: string): boolean {
  return UNKEYED.test(incarnation)
}

/** The name of contents under a key. @param hash of their beginning, unkeyed: it must not leave the process */
export function contentsName(key: Uint8Array, hash: string): string {
  return PREFIX + createHmac('sha256', key).update(`contents\u0000${hash}`).digest('hex').slice(0, HEX_DIGITS)
}

/**
 * The same under the ledger's key, which never rotates. @throws MinimError MINIM_KEYS_NEVER when somebody has taken the
 * key out of the store after all
 */
export function ledgerContentsName(keyring: Keyring, hash: string): string {
  const keys = keyring.keys(LEDGER_DOMAIN.id, LEDGER_DOMAIN.epoch)
  if (typeof keys === 'string')
    throw new MinimError('MINIM_KEYS_NEVER', { purpose: LEDGER_DOMAIN.id, epoch: LEDGER_DOMAIN.epoch })
  return contentsName(keys.hmac, hash)
}
