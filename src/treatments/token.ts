/**
 * Tokens: pseudonyms under the key of one purpose and epoch. The same identifier has the same token within these, and
 * tokens of different purposes or epochs cannot be joined.
 *
 * - What fits a block (`src/batch/block.ts`): one AES-256 block. A keyed permutation: no two identifiers share a token,
 *   the holder of the key can reverse it, nobody else can. A whole column is encrypted by one call, which is what makes
 *   it cheap (ECB is right here, and only here: each block is a message of its own, and equal identifiers shall give
 *   equal tokens).
 * - UUIDs: one AES-256 block under a key of their own. IPv6: ipcrypt-deterministic (draft-denis-ipcrypt, AES-128), key
 *   of its own. They fill a block, so that neither tenant nor generation stands in it: from generation 1 on their keys
 *   are made for the generation, and those of UUIDs for the tenant too, since a call's id is its tenant's own, whatever
 *   it looks like. Generation 0 has the keys as they are, so that its tokens stay what they were.
 * - Longer ones: HMAC-SHA-256 cut to 16 bytes; where it must be reversible, AES-SIV (RFC 5297): 16 bytes and the
 *   ciphertext of the value padded to a multiple of 16, so that little is told of its length.
 *
 * Guarded by the transform row of `bench/`.
 */
import { isUtf8 } from 'node:buffer'
import { type Cipher, createCipheriv, createDecipheriv } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import { BLOCK_BYTES, type BlockType, FORM, HELP_BLOCK, LONG_HEADER_BYTES, SLOT, unpack } from '../batch/block.js'
import type { Identifier } from '../catalogue/catalogue.js'
import { HmacSha256 } from '../keys/hmac.js'
import type { EpochKeys } from '../keys/keyring.js'
import { hkdfSha256 } from '../keys/split.js'
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

/** Key of the UUIDs of a generation, and from generation 1 on of a tenant. */
function uuidKey(keys: EpochKeys, tenant: number, generation: number): Buffer {
  return generation === 0
    ? keys.uuid
    : hkdfSha256(keys.uuid, NO_SALT, `minim/v1\0uuid\0tenant ${tenant}\0generation ${generation}`, keys.uuid.length)
}

/** Key of the IPv6 addresses of a generation; addresses are the same for all tenants. */
function ipv6Key(keys: EpochKeys, generation: number): Buffer {
  return generation === 0
    ? keys.ipv6
    : hkdfSha256(keys.ipv6, NO_SALT, `minim/v1\0ipv6\0generation ${generation}`, keys.ipv6.length)
}

const NO_SALT = Buffer.alloc(0)
/** Ciphers of tenants and generations that a tokeniser keeps. */
const CIPHERS_KEPT = 1024

/** Makes the tokens of one purpose and epoch. */
export class Tokeniser {
  readonly #keys: EpochKeys
  readonly #blockCipher: Cipher
  readonly #uuidCiphers = new Map<number, Cipher>()
  readonly #ipv6Ciphers = new Map<number, Cipher>()
  readonly #siv: Siv
  readonly #hmac: HmacSha256
  /** The token of every number that one calls for help. */
  readonly help: Buffer

  constructor(keys: EpochKeys) {
    this.#keys = keys
    this.#blockCipher = permutation('aes-256-ecb', keys.block)
    this.#siv = new Siv(keys.siv)
    this.#hmac = new HmacSha256(keys.hmac)
    this.help = this.blocks(HELP_BLOCK)
  }

  /** Tokens of packed identifiers, so many times 16 bytes. */
  blocks(packed: Buffer): Buffer {
    return this.#blockCipher.update(packed)
  }

  uuids(packed: Buffer, tenant = 0, generation = 0): Buffer {
    const make = (): Cipher => permutation('aes-256-ecb', uuidKey(this.#keys, tenant, generation))
    return cipherOf(this.#uuidCiphers, generation === 0 ? 0 : tenant * 256 + generation, make).update(packed)
  }

  addresses(packed: Buffer, generation = 0): Buffer {
    const make = (): Cipher => permutation('aes-128-ecb', ipv6Key(this.#keys, generation))
    return cipherOf(this.#ipv6Ciphers, generation, make).update(packed)
  }

  /** Writes the first 16 bytes of HMAC-SHA-256 (RFC 2104) of a long form. */
  hmacInto(src: Buffer, off: number, len: number, dst: Uint8Array, at: number): void {
    const digest = this.#hmac.ofBytes(src, off, len)
    for (let i = 0; i < TOKEN_BYTES; i++) dst[at + i] = digest.charCodeAt(i)
  }

  /** AES-SIV of a long form, padded: reversible, 17 to 32 bytes longer than it. */
  seal(long: Buffer): Buffer {
    return this.#siv.seal(padded(long))
  }
}

function cipherOf(ciphers: Map<number, Cipher>, name: number, make: () => Cipher): Cipher {
  let found = ciphers.get(name)
  if (found === undefined) {
    if (ciphers.size === CIPHERS_KEPT) ciphers.clear()
    ciphers.set(name, (found = make()))
  }
  return found
}

/** What padding begins with (ISO/IEC 7816-4): no text in UTF-8 goes on with it, so that unpadded ones can be told. */
const PADDING = 0x80

function padded(long: Buffer): Buffer {
  const whole = Buffer.alloc((Math.floor(long.length / BLOCK_BYTES) + 1) * BLOCK_BYTES)
  whole.set(long)
  whole[long.length] = PADDING
  return whole
}

/** A long form without its padding; as it is where it has none, as those sealed before there was padding. */
function unpadded(sealed: Buffer): Buffer {
  if (isUtf8(sealed.subarray(LONG_HEADER_BYTES))) return sealed
  let end = sealed.length
  while (end > LONG_HEADER_BYTES && sealed[end - 1] === 0) end--
  return sealed[end - 1] === PADDING ? sealed.subarray(0, end - 1) : sealed
}

/** What a field's identifiers are packed as, and what else than a block its tokens may be. */
const TYPES_OF: Readonly<Partial<Record<Identifier, readonly BlockType[]>>> = {
  PARTY: ['e164', 'local', 'uri', 'help'],
  IP: ['ipv4'],
  MAC: ['mac'],
  ACCOUNT_CODE: ['account'],
  CALL: ['call'],
  SERIAL: ['serial'],
  TRUNK_NAME: ['trunk'],
}
/** Types whose identifiers are a tenant's own; others are the same for all, and have the tenant 0. */
const OF_TENANT: ReadonlySet<BlockType> = new Set<BlockType>(['local', 'account', 'call', 'trunk'])

/** Whose token it is: without that, a token of 16 bytes cannot be told from one of another kind. */
export interface TokenOrigin {
  readonly identifier: Identifier
  /** The record's tenant, which a UUID's key is made for from generation 1 on; and else those that there are. */
  readonly tenant: number | null
  readonly tenants: ReadonlySet<number>
  /** The generation of UUIDs and IPv6 addresses, and the highest one that blocks may have; 0 when left out. */
  readonly generation?: number
}

/**
 * Reverses a token, for the holder of the purpose's keys. A block must be what the field's identifiers are packed as, of
 * a tenant that there is and a generation that there was: UUIDs and IPv6 addresses, which have nothing in them that
 * could be checked, are tried last. Nothing in those 16 bytes says that the key was the right one, so this is for fields
 * that the policy makes reversible only: others hold HMACs, which would come out as nonsense.
 * @returns the identifier, or null for what cannot be reversed (HMAC) or is no token of these keys
 */
export function reveal(keys: EpochKeys, token: Buffer, origin: TokenOrigin): string | null {
  if (token.length !== TOKEN_BYTES) {
    const long = new Siv(keys.siv).open(token)
    return long === null ? null : textOf(unpadded(long), origin)
  }
  const block = decrypted('aes-256-ecb', keys.block, token)
  const text = textOf(block, origin)
  if (text !== null) return text
  const { identifier, tenant, tenants, generation = 0 } = origin
  if (identifier === 'IP') {
    const hex = decrypted('aes-128-ecb', ipv6Key(keys, generation), token).toString('hex')
    // The parser of URLs writes addresses as RFC 5952 does.
    return new URL(`http://[${hex.replace(/(.{4})(?=.)/g, '$1:')}]/`).hostname.slice(1, -1)
  }
  if (identifier !== 'CALL') return null
  const [only] = tenants
  const owner = tenant ?? (tenants.size === 1 ? only : null)
  if (owner === null && generation > 0) return null
  return decrypted('aes-256-ecb', uuidKey(keys, owner ?? 0, generation), token)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

function decrypted(algorithm: 'aes-256-ecb' | 'aes-128-ecb', key: Buffer, token: Buffer): Buffer {
  return createDecipheriv(algorithm, key, null).setAutoPadding(false).update(token)
}

/** The text of a block or long form, where that can be the field's. */
export function textOf(bytes: Buffer, { identifier, tenant, tenants, generation = 0 }: TokenOrigin): string | null {
  const found = unpack(bytes)
  if (found === null || found.generation > generation || TYPES_OF[identifier]?.includes(found.type) !== true)
    return null
  const known = OF_TENANT.has(found.type)
    ? tenants.has(found.tenant) && (tenant === null || tenant === found.tenant)
    : found.tenant === 0
  return known ? found.text : null
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

  /** Tokens that the block key does not make of the block as it is. */
  #makeSpecial(column: IdentifierColumn, made: readonly (Tokeniser | null)[]): void {
    made.forEach((tokeniser, epoch) => {
      if (tokeniser !== null) this.#makeWide(column, tokeniser, epoch)
    })
    this.#makeLong(column, made)
  }

  /** UUIDs and IPv6 addresses. */
  #makeWide(
    { rows, first, slots, blocks, epochRow, mask, bit }: IdentifierColumn,
    tokeniser: Tokeniser,
    epoch: number,
  ): void {
    const asked = (r: number): boolean => epochRow[r] === epoch && (mask[r] & bit) !== 0
    const of = (slot: number): number => gather(rows, (r) => slots[first + r] === slot && asked(r))
    this.#scatter(blocks, of(SLOT.uuid), (packed) => tokeniser.uuids(packed))
    this.#scatter(blocks, of(SLOT.ipv6), (packed) => tokeniser.addresses(packed))
  }

  /** Long forms, and numbers that the purpose may not tell from each other. */
  #makeLong(column: IdentifierColumn, made: readonly (Tokeniser | null)[]): void {
    const { rows, first, slots, epochRow, mask, bit } = column
    if (this.#reversible) this.longLen.fill(0, 0, rows)
    for (let r = 0; r < rows; r++) {
      const slot = slots[first + r]
      const hidden = slot > FORM && column.hideProtected
      if ((!hidden && (slot & FORM) !== SLOT.long) || (mask[r] & bit) === 0) continue
      const tokeniser = made[epochRow[r]]
      if (tokeniser === null) continue
      const off = column.longOff[first + r]
      const len = column.longLen[first + r]
      if (hidden) tokeniser.help.copy(this.made, r * TOKEN_BYTES)
      else if (this.#reversible) this.#keepLong(r, tokeniser.seal(column.long.subarray(off, off + len)))
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
      reveals: 'as `token`; long values as AES-SIV, 17 to 32 bytes longer than they are',
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
