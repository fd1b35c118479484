/**
 * Encryption of refused input on its way to the quarantine topic.
 *
 * Envelope: version (1) | header length (2, big-endian) | header (JSON) | nonce (12) | ciphertext | tag (16):
 * AES-256-GCM, with all before the nonce authenticated as it stands. The header is readable without a key, so that
 * quarantine can be counted and sorted: reason and format out of closed sets, the day, the length. No value out of a
 * record is in it. What is encrypted is the length of a tenant's name (1), the name, the input: the tenant of records
 * that name none, without which they could not be replayed. Where the sender may not use every tenant, those that it
 * may use follow the name, a NUL behind each, so that replaying gives it no others.
 *
 * The key is the use `box` of the domain `minim.quarantine`, which has an epoch of its own for each day: refused bytes
 * hold raw identifiers of every purpose, so no purpose's key may open them, and a day's quarantine ends with its key.
 * Nonces are random: 2^32 messages a key keep the chance that one repeats under 2^-32 (SP 800-38D §8.3), and a day of
 * them would take 49,000 refusals a second.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { Refusal } from '../batch/batch.js'
import { REFUSALS } from '../batch/batch.js'
import { MinimError } from '../errors/catalogue.js'
import { epochId } from '../keys/epochs.js'
import { type KeyAbsence, type Keyring, QUARANTINE_DOMAIN } from '../keys/keyring.js'

const BOX_VERSION = 2
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Before the header: version and header length. */
const HEAD_BYTES = 3
/** A longer name is in no settings. */
const TENANT_MAX_BYTES = 255

/** What is readable without a key. */
export interface BoxHeader {
  readonly reason: Refusal
  /** The day it was refused on: the key's epoch. */
  readonly at: string
  /** The reader that refused it: `minim`, `csv`, `json-lines` … */
  readonly format: string
  /** Bytes of the input. */
  readonly length: number
}

/** Why an envelope cannot be opened. */
export type BoxFailure = 'malformed' | 'forged' | KeyAbsence

/** What sealing adds to the input, at most: for checks of a message's size before it is made. */
export const BOX_OVERHEAD_BYTES = HEAD_BYTES + 256 + NONCE_BYTES + 1 + TENANT_MAX_BYTES + TAG_BYTES

/**
 * Encrypts refused input for the quarantine topic.
 * @param format name of the reader, letters, digits and `-` only, 32 at most: anything else is written as `unknown`
 * @param nowMs when it is refused; decides the key
 * @param tenant of records in it that name none
 * @param tenants that its sender may use; null: any
 * @throws MinimError `MINIM_KEYS_QUARANTINE` when today's key was destroyed or cannot be made
 */
export function sealQuarantined(
  keyring: Keyring,
  reason: Refusal,
  format: string,
  input: Uint8Array,
  nowMs: number,
  tenant = '',
  tenants: ReadonlySet<string> | null = null,
): Buffer {
  const at = epochId(QUARANTINE_DOMAIN.epoch, nowMs)
  const keys = keyring.keys(QUARANTINE_DOMAIN.id, at)
  if (typeof keys === 'string') throw new MinimError('MINIM_KEYS_QUARANTINE', { epoch: at, what: keys })
  // The one string here that is not out of a closed set by its type: nothing from a record may pass as a format.
  const header: BoxHeader = { reason, at, format: FORMAT.test(format) ? format : 'unknown', length: input.length }
  const json = JSON.stringify(header)
  const head = Buffer.allocUnsafe(HEAD_BYTES + json.length)
  head[0] = BOX_VERSION
  head.writeUInt16BE(json.length, 1)
  head.write(json, HEAD_BYTES, 'latin1')
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', keys.box, nonce)
  cipher.setAAD(head)
  const named = Buffer.from(tenants === null ? tenant : tenantList(tenant, tenants))
  const before = named.length > TENANT_MAX_BYTES ? Buffer.alloc(1) : Buffer.concat([Buffer.of(named.length), named])
  return Buffer.concat([head, nonce, cipher.update(before), cipher.update(input), cipher.final(), cipher.getAuthTag()])
}

/** A tenant, and behind it those that there may be: as many as there is room for. */
function tenantList(tenant: string, tenants: ReadonlySet<string>): string {
  let text = `${tenant}\0`
  for (const one of tenants) if (one !== tenant && text.length + one.length < TENANT_MAX_BYTES) text += `${one}\0`
  return text
}

/** An opened envelope. */
export interface Opened {
  readonly header: BoxHeader
  readonly input: Buffer
  /** Of records that name none; empty where it is not known. */
  readonly tenant: string
  /** Tenants that its sender may use; null: any. */
  readonly tenants: readonly string[] | null
}

/** The readable part of an envelope, not authenticated; null when it is none. */
export function readBoxHeader(envelope: Uint8Array): BoxHeader | null {
  return parse(envelope)?.header ?? null
}

/** Decrypts an envelope. */
export function openQuarantined(keyring: Keyring, envelope: Uint8Array): Opened | BoxFailure {
  const parsed = parse(envelope)
  if (parsed === null) return 'malformed'
  const keys = keyring.keys(QUARANTINE_DOMAIN.id, parsed.header.at)
  if (typeof keys === 'string') return keys
  const { header, bodyStart } = parsed
  const nonceEnd = bodyStart + NONCE_BYTES
  const tagStart = envelope.length - TAG_BYTES
  try {
    const decipher = createDecipheriv('aes-256-gcm', keys.box, envelope.subarray(bodyStart, nonceEnd), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(envelope.subarray(0, bodyStart))
    decipher.setAuthTag(envelope.subarray(tagStart))
    const plain = Buffer.concat([decipher.update(envelope.subarray(nonceEnd, tagStart)), decipher.final()])
    const start = 1 + plain[0]
    if (plain.length - start !== header.length) return 'malformed'
    const [tenant, ...others] = plain.toString('utf8', 1, start).split('\0')
    return {
      header,
      input: plain.subarray(start),
      tenant,
      tenants: others.length === 0 ? null : [tenant, ...others.slice(0, -1)],
    }
  } catch {
    return 'forged'
  }
}

const FORMAT = /^[A-Za-z0-9-]{1,32}$/
const DAY = /^\d{4}-\d\d-\d\d$/

function parse(envelope: Uint8Array): { readonly header: BoxHeader; readonly bodyStart: number } | null {
  if (envelope.length < HEAD_BYTES || envelope[0] !== BOX_VERSION) return null
  const bodyStart = HEAD_BYTES + ((envelope[1] << 8) | envelope[2])
  if (envelope.length < bodyStart + NONCE_BYTES + 1 + TAG_BYTES) return null
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(envelope.subarray(HEAD_BYTES, bodyStart)).toString('latin1'))
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null) return null
  const { reason, at, format, length } = value as Partial<Record<keyof BoxHeader, unknown>>
  if (!REFUSALS.includes(reason as Refusal) || typeof at !== 'string' || !DAY.test(at)) return null
  if (typeof format !== 'string' || !FORMAT.test(format) || typeof length !== 'number') return null
  const before = envelope.length - bodyStart - NONCE_BYTES - TAG_BYTES - length
  if (!(before >= 1 && before <= 1 + TENANT_MAX_BYTES)) return null
  return { header: { reason: reason as Refusal, at, format, length }, bodyStart }
}
