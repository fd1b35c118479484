/**
 * A block of the spool: the entries of one group commit, encrypted as one.
 *
 * On disk: version (1) | when it was sealed, Unix ms (6) | nonce (12) | ciphertext | tag (16): AES-256-GCM.
 * Authenticated with it: the spool's UUID and the block's sequence, so that a block cannot be moved, repeated or
 * brought in from elsewhere.
 *
 * The key is the use `box` of the domain `minim.spool` in the epoch (day) of the sealing. Nonces are random: 2^32
 * blocks under a key keep the chance that one repeats under 2^-32 (SP 800-38D §8.3), and a day has room for 49,000 a
 * second.
 *
 * Inside: number of runs (2), then each run's head, then the bytes of all entries, back to back. A run is entries of
 * one kind of source, format, tenant and reason: since records keep their order only within a source, a block's entries
 * are sorted so that its runs are few.
 *   head: source, format, reason (1 + n each) | tenant (2 + n) | number of entries (4) | length of each (4)
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import type { EpochKeys } from '../keys/keyring.js'

const BLOCK_VERSION = 1
const HEAD_BYTES = 7
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** What sealing adds. */
export const SEAL_BYTES = HEAD_BYTES + NONCE_BYTES + TAG_BYTES

/** Longest name of a tenant, octets of UTF-8. */
export const MAX_TENANT_BYTES = 4096

/** An entry as it is written. */
export interface BlockEntry {
  readonly source: string
  readonly format: string
  /** Empty for all formats but `refused`. */
  readonly reason: string
  readonly tenant: string
  readonly bytes: Uint8Array
}

/** Entries of a block that are read as one. */
export interface BlockRun {
  readonly source: string
  readonly format: string
  readonly reason: string
  readonly tenant: string
  /** Where the first entry begins in the block. */
  readonly start: number
  /** Where each entry ends; the next one begins there. */
  readonly ends: readonly number[]
}

/** What a block is bound to. */
export interface BlockPlace {
  /** The spool's UUID. */
  readonly spool: string
  readonly sequence: number
}

/** About what an entry takes in a block; exact but for the heads of runs, which entries share. */
export function entryBytes(entry: Omit<BlockEntry, 'bytes'> & { readonly bytes: { readonly length: number } }): number {
  return (
    13 +
    entry.source.length +
    entry.format.length +
    entry.reason.length +
    Buffer.byteLength(entry.tenant) +
    entry.bytes.length
  )
}

const runKey = (entry: BlockEntry): string => `${entry.source}\0${entry.format}\0${entry.reason}\0${entry.tenant}`

/** Writes the inside of a block. Entries of a run keep their order. */
export function encodeBlock(entries: readonly BlockEntry[]): Buffer {
  const runs = new Map<string, BlockEntry[]>()
  let bytes = 2
  for (const entry of entries) {
    const key = runKey(entry)
    const run = runs.get(key)
    if (run === undefined) {
      runs.set(key, [entry])
      bytes += entryBytes(entry)
    } else {
      run.push(entry)
      bytes += 4 + entry.bytes.length
    }
  }
  const block = Buffer.allocUnsafe(bytes)
  let pos = block.writeUInt16BE(runs.size, 0)
  const short = (text: string): void => {
    block[pos] = block.write(text, pos + 1, 'latin1')
    pos += 1 + block[pos]
  }
  for (const run of runs.values()) {
    const [{ source, format, reason, tenant }] = run
    short(source)
    short(format)
    short(reason)
    const length = block.write(tenant, pos + 2, 'utf8')
    pos = block.writeUInt16BE(length, pos) + length
    pos = block.writeUInt32BE(run.length, pos)
    for (const entry of run) pos = block.writeUInt32BE(entry.bytes.length, pos)
  }
  for (const run of runs.values()) {
    for (const { bytes } of run) {
      block.set(bytes, pos)
      pos += bytes.length
    }
  }
  return block.subarray(0, pos)
}

/** Reads the inside of a block; null for bytes that {@link encodeBlock} never makes. */
export function decodeBlock(block: Buffer): BlockRun[] | null {
  let pos = 0
  const has = (bytes: number): boolean => pos + bytes <= block.length
  const text = (width: 1 | 2): string | null => {
    if (!has(width)) return null
    const length = width === 1 ? block[pos] : block.readUInt16BE(pos)
    pos += width
    if (!has(length)) return null
    pos += length
    return block.toString(width === 1 ? 'latin1' : 'utf8', pos - length, pos)
  }
  if (!has(2)) return null
  const count = block.readUInt16BE(0)
  pos = 2
  const heads: { source: string; format: string; reason: string; tenant: string; lengths: number[] }[] = []
  for (let r = 0; r < count; r++) {
    const [source, format, reason, tenant] = [text(1), text(1), text(1), text(2)]
    if (source === null || format === null || reason === null || tenant === null || !has(4)) return null
    const entries = block.readUInt32BE(pos)
    pos += 4
    if (!has(entries * 4)) return null
    const lengths: number[] = []
    for (let e = 0; e < entries; e++, pos += 4) lengths.push(block.readUInt32BE(pos))
    heads.push({ source, format, reason, tenant, lengths })
  }
  const runs: BlockRun[] = []
  for (const { lengths, ...head } of heads) {
    const start = pos
    const ends = lengths.map((length) => (pos += length))
    runs.push({ ...head, start, ends })
  }
  return pos === block.length ? runs : null
}

/** Tells keys apart without telling them: what a day's key of the spool is known by. */
export function keyMark(keys: EpochKeys): string {
  return createHash('sha256').update('minim spool key mark\0').update(keys.box).digest('hex').slice(0, 16)
}

/** Encrypts a block for its place. */
export function sealBlock(keys: EpochKeys, place: BlockPlace, sealedAt: number, plain: Uint8Array): Buffer {
  const sealed = Buffer.allocUnsafe(SEAL_BYTES + plain.length)
  sealed[0] = BLOCK_VERSION
  sealed.writeUIntBE(sealedAt, 1, 6)
  const nonce = randomBytes(NONCE_BYTES)
  nonce.copy(sealed, HEAD_BYTES)
  const cipher = createCipheriv('aes-256-gcm', keys.box, nonce)
  cipher.setAAD(bound(place, sealed))
  cipher.update(plain).copy(sealed, HEAD_BYTES + NONCE_BYTES)
  cipher.final()
  cipher.getAuthTag().copy(sealed, sealed.length - TAG_BYTES)
  return sealed
}

/** When a block was sealed, Unix ms; null for what is no block of this version. Not authenticated. */
export function sealedAt(sealed: Uint8Array): number | null {
  if (sealed.length < SEAL_BYTES || sealed[0] !== BLOCK_VERSION) return null
  return Buffer.from(sealed.buffer, sealed.byteOffset, HEAD_BYTES).readUIntBE(1, 6)
}

/**
 * Decrypts a block.
 * @param scratch bytes to leave free behind it
 * @returns null if it is not what was sealed for this place
 */
export function openBlock(keys: EpochKeys, place: BlockPlace, sealed: Buffer, scratch = 0): Buffer | null {
  const length = sealed.length - SEAL_BYTES
  if (length < 0 || sealed[0] !== BLOCK_VERSION) return null
  const decipher = createDecipheriv('aes-256-gcm', keys.box, sealed.subarray(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(bound(place, sealed))
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
  try {
    const plain = decipher.update(sealed.subarray(HEAD_BYTES + NONCE_BYTES, sealed.length - TAG_BYTES))
    decipher.final()
    if (scratch === 0) return plain
    const roomy = Buffer.allocUnsafe(length + scratch)
    plain.copy(roomy)
    return roomy
  } catch {
    return null
  }
}

function bound({ spool, sequence }: BlockPlace, sealed: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`minim spool\0${spool}\0${sequence}\0`), sealed.subarray(0, HEAD_BYTES)])
}
