/**
 * Tokens: pseudonyms under the key of one purpose and epoch. The same identifier has the same token within these, and
 * tokens of different purposes or epochs cannot be joined.
 *
 * - What fits a block (`src/batch/block.ts`): one AES-256 block. A keyed permutation: no two identifiers share a token,
 *   the holder of the key can reverse it, nobody else can. A whole column is encrypted by one call, which is what makes
 *   it cheap (ECB is right here, and only here: each block is a message of its own, and equal identifiers shall give
 *   equal tokens).
 * - UUIDs: one AES-256 block under a key of their own. IPv6: ipcrypt-deterministic (draft-denis-ipcrypt, AES-128), key
 *   of its own.
 * - Longer ones: HMAC-SHA-256 cut to 16 bytes; where it must be reversible, AES-SIV (RFC 5297): 16 bytes and the
 *   ciphertext.
 *
 * Guarded by the transform row of `bench/`.
 */
import { type Cipher, createCipheriv, createDecipheriv } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import { BLOCK_BYTES, SLOT, unpack } from '../batch/block.js'
import type { Identifier } from '../catalogue/catalogue.js'
import { HmacSha256 } from '../keys/hmac.js'
import type { EpochKeys } from '../keys/keyring.js'
import type { IdentifierColumn, TokenColumn } from './operation.js'
import { Siv } from './siv.js'
import type { Descriptor } from './treatment.js'
import { bare, only, parameters, under } from './written.js'

export const TOKEN_BYTES = 16

/**
 * Pseudonym under the purpose's epoch key. `reversible`: also what does not fit a block can be reversed (AES-SIV, wider
 * than 16 bytes).
 */
export interface Token {
  readonly kind: 'token'
  readonly reversible: boolean
}

function permutation(algorithm: 'aes-256-ecb' | 'aes-128-ecb', key: Buffer): Cipher {
  return createCipheriv(algorithm, key, null).setAutoPadding(false)
}

/** Makes the tokens of one purpose and epoch. */
export class Tokeniser {
  readonly #blockCipher: Cipher
  readonly #uuidCipher: Cipher
  readonly #ipv6Cipher: Cipher
  readonly #siv: Siv
  readonly #hmac: HmacSha256

  constructor(keys: EpochKeys) {
    this.#blockCipher = permutation('aes-256-ecb', keys.block)
    this.#uuidCipher = permutation('aes-256-ecb', keys.uuid)
    this.#ipv6Cipher = permutation('aes-128-ecb', keys.ipv6)
    this.#siv = new Siv(keys.siv)
    this.#hmac = new HmacSha256(keys.hmac)
  }

  /** Tokens of packed identifiers, so many times 16 bytes. */
  blocks(packed: Buffer): Buffer {
    return this.#blockCipher.update(packed)
  }

  uuids(packed: Buffer): Buffer {
    return this.#uuidCipher.update(packed)
  }

  addresses(packed: Buffer): Buffer {
    return this.#ipv6Cipher.update(packed)
  }

  /** Writes the first 16 bytes of HMAC-SHA-256 (RFC 2104) of a long form. */
  hmacInto(src: Buffer, off: number, len: number, dst: Uint8Array, at: number): void {
    const digest = this.#hmac.ofBytes(src, off, len)
    for (let i = 0; i < TOKEN_BYTES; i++) dst[at + i] = digest.charCodeAt(i)
  }

  /** AES-SIV of a long form: reversible, 16 bytes longer than it. */
  seal(long: Buffer): Buffer {
    return this.#siv.seal(long)
  }
}

/**
 * Reverses a token, for the holder of the purpose's keys.
 * @param wide what else the field's tokens may be than blocks: IPv6 addresses (`IP`), UUIDs (`CALL`). Nothing in those
 * 16 bytes says that
 *   the key was the right one, so it is for fields that the policy makes reversible only: others hold HMACs, which
 *   would come out as nonsense
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
    case null:
      return null
    case 'IP': {
      const hex = createDecipheriv('aes-128-ecb', keys.ipv6, null).setAutoPadding(false).update(token).toString('hex')
      // The parser of URLs writes addresses as RFC 5952 does.
      return new URL(`http://[${hex.replace(/(.{4})(?=.)/g, '$1:')}]/`).hostname.slice(1, -1)
    }
    case 'CALL':
      return createDecipheriv('aes-256-ecb', keys.uuid, null)
        .setAutoPadding(false)
        .update(token)
        .toString('hex')
        .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }
}

/** The tokenisers of keys in use: making their ciphers costs more than a batch's tokens. Forgotten with the keys. */
const tokenisers = new WeakMap<EpochKeys, Tokeniser>()

function tokeniserOf(keys: EpochKeys): Tokeniser {
  let found = tokenisers.get(keys)
  if (found === undefined) tokenisers.set(keys, (found = new Tokeniser(keys)))
  return found
}

const FIRST_LONG_BYTES = 16_384

/**
 * Rows that are picked out of a column, and their blocks one after the other. A column is made in one go, so that all
 * share these.
 */
let gathered = new Int32Array(0)
let scratch = Buffer.alloc(0)

function reserveScratch(rows: number): void {
  if (rows <= gathered.length) return
  gathered = new Int32Array(rows)
  scratch = Buffer.alloc(rows * BLOCK_BYTES)
}

/** Picks the rows out that are wanted. Returns how many. */
function gather(rows: number, wanted: (row: number) => boolean): number {
  let count = 0
  for (let r = 0; r < rows; r++) if (wanted(r)) gathered[count++] = r
  return count
}

/** A column of tokens: one AES call for each epoch and form of identifier. */
class Column implements TokenColumn {
  made: Buffer = Buffer.alloc(0)
  anyLong = false
  long: Buffer = Buffer.alloc(0)
  readonly longOff: Int32Array
  readonly longLen: Int32Array
  readonly #reversible: boolean
  #longEnd = 0

  constructor(reversible: boolean, capacity: number) {
    this.#reversible = reversible
    this.longOff = new Int32Array(reversible ? capacity : 0)
    this.longLen = new Int32Array(reversible ? capacity : 0)
  }

  make(column: IdentifierColumn): void {
    const { rows, blocks, keys, epochRow, mask, bit } = column
    reserveScratch(rows)
    const made = keys.map((k) => (k === null ? null : tokeniserOf(k)))
    this.anyLong = false
    this.#longEnd = 0
    const [only] = made
    // Of one epoch, the whole column is encrypted where it lies: cheaper than to pick out the rows that are asked for.
    if (made.length === 1 && only !== null) this.made = only.blocks(blocks)
    else {
      this.made = Buffer.allocUnsafe(rows * BLOCK_BYTES)
      made.forEach((tokeniser, e) => {
        if (tokeniser === null) return
        this.#scatter(
          blocks,
          gather(rows, (r) => epochRow[r] === e && (mask[r] & bit) !== 0),
          (packed) => tokeniser.blocks(packed),
        )
      })
    }
    if (column.special) this.#makeSpecial(column, made)
  }

  /** Encrypts the gathered rows of a column and puts the tokens in their places. */
  #scatter(blocks: Buffer, count: number, encrypt: (packed: Buffer) => Buffer): void {
    if (count === 0) return
    for (let i = 0; i < count; i++)
      blocks.copy(scratch, i * BLOCK_BYTES, gathered[i] * BLOCK_BYTES, (gathered[i] + 1) * BLOCK_BYTES)
    const encrypted = encrypt(scratch.subarray(0, count * BLOCK_BYTES))
    for (let i = 0; i < count; i++)
      encrypted.copy(this.made, gathered[i] * BLOCK_BYTES, i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
  }

  /** Tokens that the block key does not make: UUIDs, IPv6 addresses, long identifiers. */
  #makeSpecial(column: IdentifierColumn, made: readonly (Tokeniser | null)[]): void {
    const { rows, first, slots, blocks, epochRow, mask, bit } = column
    made.forEach((tokeniser, e) => {
      if (tokeniser === null) return
      const asked = (r: number): boolean => epochRow[r] === e && (mask[r] & bit) !== 0
      const of = (slot: number): number => gather(rows, (r) => slots[first + r] === slot && asked(r))
      this.#scatter(blocks, of(SLOT.uuid), (packed) => tokeniser.uuids(packed))
      this.#scatter(blocks, of(SLOT.ipv6), (packed) => tokeniser.addresses(packed))
    })
    if (this.#reversible) this.longLen.fill(0, 0, rows)
    for (let r = 0; r < rows; r++) {
      if (slots[first + r] !== SLOT.long || (mask[r] & bit) === 0) continue
      const tokeniser = made[epochRow[r]]
      if (tokeniser === null) continue
      const off = column.longOff[first + r]
      const len = column.longLen[first + r]
      if (this.#reversible) this.#keepLong(r, tokeniser.seal(column.long.subarray(off, off + len)))
      else tokeniser.hmacInto(column.long, off, len, this.made, r * TOKEN_BYTES)
    }
  }

  #keepLong(row: number, sealed: Buffer): void {
    if (this.#longEnd + sealed.length > this.long.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.max(this.long.length * 2, this.#longEnd + sealed.length, FIRST_LONG_BYTES),
      )
      this.long.copy(grown, 0, 0, this.#longEnd)
      this.long = grown
    }
    sealed.copy(this.long, this.#longEnd)
    this.longOff[row] = this.#longEnd
    this.longLen[row] = sealed.length
    this.#longEnd += sealed.length
    this.anyLong = true
  }
}

const TOKENISED: ReadonlySet<Identifier> = new Set<Identifier>([
  'PARTY',
  'IP',
  'MAC',
  'ACCOUNT_CODE',
  'CALL',
  'SERIAL',
  'TRUNK_NAME',
])
const KEY_HOLDER = "by the holder of this purpose's key"

export const token: Descriptor<Token> = {
  kind: 'token',
  rows: [
    {
      written: 'token',
      reversible: "by the holder of the purpose's key; long values (SIP URIs, SIP Call-IDs) by nobody",
      reveals: '16 bytes: the same identifier has the same token within this purpose and epoch, and in no other',
    },
    {
      written: 'token: { reversible: true }',
      reversible: "by the holder of the purpose's key",
      reveals: 'as `token`; long values as AES-SIV, 16 bytes longer than they are',
    },
  ],
  dpv: 'DeterministicPseudonymisation',
  spelling: 'token or { token: { reversible: true } }',
  shows: 'token',
  // Under the key of purpose `example` and epoch 2026-01-01 that is made of 32 octets of 0.
  examples: [
    { field: 'call.account', written: 'token', input: 'acct-1', output: 'MuJm0_DS53DnTtI9F418nA' },
    {
      field: 'call.called',
      written: { token: { reversible: true } },
      input: '+447700900123',
      output: 'J7VMNiq5o0zJgBhi5Yr3ng',
    },
    { field: 'call.trunk', written: 'token', input: 'carrier-a', output: 'ZcsH46xesJTZYgGLLeoV0Q' },
  ],
  schema: () => [bare('token'), under('token', parameters({ reversible: Type.Boolean() }))],
  fits: (field, source) => source === undefined && TOKENISED.has(field.identifier),
  read: (_, given) => {
    if (given === undefined) return { kind: 'token', reversible: false }
    const reversible = only(given, ['reversible'])?.['reversible']
    return typeof reversible === 'boolean' ? { kind: 'token', reversible } : null
  },
  text: ({ reversible }, lasts) => ({
    form: reversible ? `reversible token, the same ${lasts}` : `token, the same ${lasts}`,
    reveals: `that two records are about the same one, ${lasts}, within this purpose`,
    reversible: reversible ? KEY_HOLDER : `${KEY_HOLDER}, long values by nobody`,
  }),
  timeStepMs: () => null,
  followsFrom: (one, other) => other.reversible || !one.reversible,
  compile: ({ reversible }, { identifier }) => ({
    shape: 'token',
    slot: identifier(),
    mayBeLong: reversible,
    start: (capacity) => new Column(reversible, capacity),
  }),
}
