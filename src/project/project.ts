/**
 * Project: runs a purpose's operations over the rows that it may have, and writes the messages.
 *
 * Token columns come first, a whole column by one AES call; then row by row each operation writes its field: a copied text, a number
 * written anew, a token, a prefix. Fields come in ascending number, the tag last. Nothing per record is allocated.
 *
 * Guarded by the rows `transform` and `d` of `bench/`; held byte for byte against `test/project/reference.ts`.
 */
import { BLOCK_BYTES, SLOT } from '../batch/block.js'
import { BATCH_ROWS, type Columns } from '../batch/columns.js'
import type { Decider, Epochs } from '../decide/decide.js'
import type { EpochKeys } from '../keys/keyring.js'
import type { Normalised } from '../normalise/normalise.js'
import { OP, type Operation, type PurposePlan } from '../policy/compile.js'
import { boundsBucket, stepBucket } from '../treatments/buckets.js'
import { writeE164Prefix } from '../treatments/e164-prefix.js'
import { writeIpv4Prefix, writeIpv6Prefix } from '../treatments/ip-prefix.js'
import { writeMacVendor } from '../treatments/mac-vendor.js'
import { TOKEN_BYTES, Tokeniser } from '../treatments/token.js'
import { writeDecimal } from '../treatments/treatment.js'
import { generateWriter, type Words, type Writer } from './generate.js'
import type { Output } from './output.js'
import type { Guarantee } from '../settings/schema.js'
import { tagJson, tagOf, tagProtobuf } from './tag.js'

const QUOTE = 34
const COMMA = 44
const BASE64URL = Uint8Array.from(Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'))
const NO_PART = new Uint8Array(0)

/** Decimal with three places at most: a figure measured to more says nothing more. */
function writeJsonFloat(value: number, out: Uint8Array, pos: number): number {
  if (value < 0) {
    out[pos++] = 45
    value = -value
  }
  if (value >= 1e12) return writeDecimal(1e12, out, pos)
  const thousandths = Math.round(value * 1000)
  const whole = Math.floor(thousandths / 1000)
  pos = writeDecimal(whole, out, pos)
  let rest = thousandths - whole * 1000
  if (rest === 0) return pos
  out[pos++] = 46
  for (let unit = 100; rest > 0; unit /= 10) {
    const digit = Math.floor(rest / unit)
    out[pos++] = 48 + digit
    rest -= digit * unit
  }
  return pos
}

function writeBase64Url(src: Uint8Array, off: number, len: number, out: Uint8Array, pos: number): number {
  const end = off + len
  let i = off
  for (; i + 2 < end; i += 3) {
    const bits = (src[i] << 16) | (src[i + 1] << 8) | src[i + 2]
    out[pos++] = BASE64URL[bits >> 18]
    out[pos++] = BASE64URL[(bits >> 12) & 63]
    out[pos++] = BASE64URL[(bits >> 6) & 63]
    out[pos++] = BASE64URL[bits & 63]
  }
  if (i < end) {
    const two = i + 1 < end
    const bits = (src[i] << 16) | (two ? src[i + 1] << 8 : 0)
    out[pos++] = BASE64URL[bits >> 18]
    out[pos++] = BASE64URL[(bits >> 12) & 63]
    if (two) out[pos++] = BASE64URL[(bits >> 6) & 63]
  }
  return pos
}

function wordsOf(bytes: Uint8Array): Words {
  const padded = Buffer.alloc(Math.ceil(bytes.length / 4) * 4)
  padded.set(bytes)
  return { words: Int32Array.from({ length: padded.length / 4 }, (_, i) => padded.readInt32LE(4 * i)), length: bytes.length }
}

/** What a purpose's records of one epoch share. */
interface EpochContext {
  readonly keys: EpochKeys | null
  readonly tokeniser: Tokeniser | null
  readonly tag: Words
}

/** Of an epoch whose key was destroyed: no row of it is written. */
const NO_CONTEXT: EpochContext = { keys: null, tokeniser: null, tag: wordsOf(new Uint8Array(0)) }

/** Contexts kept for epochs that are not of the current batch. */
const CONTEXTS_KEPT = 64

/** Projects one kind of record for one purpose. */
export class Projector {
  readonly plan: PurposePlan
  private readonly policyVersion: string
  private readonly capacity: number
  private readonly contexts = new Map<string, EpochContext>()
  private readonly tokenOps: readonly Operation[]
  /** Tokens of each token operation, 16 bytes a row. */
  private readonly tokens: Buffer[] = []
  /** Reversible long tokens: by token operation × capacity + row, where in {@link sealed}. */
  private readonly sealedOff: Int32Array
  private readonly sealedLen: Int32Array
  private sealed: Buffer = Buffer.alloc(0)
  private sealedEnd = 0
  private anySealed = false
  /** Token operation's place among {@link tokenOps}, by place among all operations. */
  private readonly tokenPlace: Int8Array
  private readonly scratch: Buffer
  private readonly gathered: Int32Array
  private tags: Words[] = []
  private writer: Writer | null = null

  constructor(plan: PurposePlan, policyVersion: string, capacity: number = BATCH_ROWS, private readonly guarantee: Guarantee = 'exactly-once') {
    this.plan = plan
    this.policyVersion = policyVersion
    this.capacity = capacity
    this.tokenOps = plan.operations.filter((o) => o.code === OP.token)
    this.tokenPlace = Int8Array.from(plan.operations, (o) => this.tokenOps.indexOf(o))
    this.sealedOff = new Int32Array(this.tokenOps.length * capacity)
    this.sealedLen = new Int32Array(this.tokenOps.length * capacity)
    this.scratch = Buffer.alloc(capacity * BLOCK_BYTES)
    this.gathered = new Int32Array(capacity)
  }

  /** Whether its messages hold tokens, so that they need the epoch's key. */
  get needsKeys(): boolean {
    return this.tokenOps.length > 0
  }

  /** Before a batch: forgets what earlier ones needed when it has become much. */
  trim(): void {
    if (this.contexts.size > CONTEXTS_KEPT) this.contexts.clear()
  }

  /** Lets go of an epoch whose key was destroyed. */
  forget(epochId: string): void {
    this.contexts.delete(epochId)
  }

  /** Takes the keys of an epoch for the batch to come; `null` where no key is needed. */
  useKeys(epochId: string, keys: EpochKeys | null): void {
    const known = this.contexts.get(epochId)
    if (known !== undefined && known.keys === keys) return
    const tag = tagOf(this.plan.purpose, this.policyVersion, epochId, this.guarantee)
    this.contexts.set(epochId, {
      keys,
      tokeniser: keys === null ? null : new Tokeniser(keys),
      tag: wordsOf(this.plan.json ? tagJson(tag) : tagProtobuf(tag)),
    })
  }

  /** Writes the messages of all rows that the purpose may have. {@link useKeys} came before, for each epoch that such a row lies in. */
  run(arena: Buffer, columns: Columns, normalised: Normalised, decider: Decider, epochs: Epochs, output: Output, firstRecord: number): void {
    const contexts = epochs.ids.map((id) => this.contexts.get(id) ?? NO_CONTEXT)
    this.tags = contexts.map((c) => c.tag)
    this.makeTokens(columns.rows, normalised, decider, epochs, contexts)
    if (this.plan.json) this.writeJson(arena, columns, normalised, decider, epochs, output, firstRecord)
    else this.writeProtobuf(arena, columns, normalised, decider, epochs, output, firstRecord)
  }

  private makeTokens(rows: number, normalised: Normalised, decider: Decider, epochs: Epochs, contexts: readonly EpochContext[]): void {
    this.sealedEnd = 0
    this.anySealed = false
    const bit = 1 << this.plan.bit
    this.tokenOps.forEach((op, place) => {
      const base = op.slot * this.capacity
      const column = normalised.blocks.subarray(base * BLOCK_BYTES, (base + rows) * BLOCK_BYTES)
      if (contexts.length === 1 && contexts[0].tokeniser !== null) this.tokens[place] = contexts[0].tokeniser.blocks(column)
      else {
        const made = Buffer.allocUnsafe(rows * BLOCK_BYTES)
        contexts.forEach((context, e) => {
          const count = this.gather(rows, (r) => epochs.row[r] === e && (decider.mask[r] & bit) !== 0)
          this.scatter(column, made, count, (packed) => (context.tokeniser as Tokeniser).blocks(packed))
        })
        this.tokens[place] = made
      }
      if (normalised.special[op.slot] === 1) this.specialTokens(op, place, rows, normalised, decider, epochs, contexts)
      else if (op.a === 1) this.sealedLen.fill(0, place * this.capacity, place * this.capacity + rows)
    })
  }

  private gather(rows: number, wanted: (row: number) => boolean): number {
    let count = 0
    for (let r = 0; r < rows; r++) if (wanted(r)) this.gathered[count++] = r
    return count
  }

  /** Encrypts the gathered rows of a column and puts the tokens in their places. */
  private scatter(column: Buffer, made: Buffer, count: number, encrypt: (packed: Buffer) => Buffer): void {
    if (count === 0) return
    for (let i = 0; i < count; i++) column.copy(this.scratch, i * BLOCK_BYTES, this.gathered[i] * BLOCK_BYTES, (this.gathered[i] + 1) * BLOCK_BYTES)
    const encrypted = encrypt(this.scratch.subarray(0, count * BLOCK_BYTES))
    for (let i = 0; i < count; i++) encrypted.copy(made, this.gathered[i] * BLOCK_BYTES, i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
  }

  /** Tokens that the block key does not make: UUIDs, IPv6 addresses, long identifiers. */
  private specialTokens(op: Operation, place: number, rows: number, normalised: Normalised, decider: Decider, epochs: Epochs, contexts: readonly EpochContext[]): void {
    const base = op.slot * this.capacity
    const { slots } = normalised
    const column = normalised.blocks.subarray(base * BLOCK_BYTES, (base + rows) * BLOCK_BYTES)
    const made = this.tokens[place]
    const bit = 1 << this.plan.bit
    contexts.forEach((context, e) => {
      const { tokeniser } = context
      if (tokeniser === null) return
      const of = (slot: number): number => this.gather(rows, (r) => slots[base + r] === slot && epochs.row[r] === e && (decider.mask[r] & bit) !== 0)
      this.scatter(column, made, of(SLOT.uuid), (packed) => tokeniser.uuids(packed))
      this.scatter(column, made, of(SLOT.ipv6), (packed) => tokeniser.addresses(packed))
    })
    for (let r = 0; r < rows; r++) {
      const cell = place * this.capacity + r
      this.sealedLen[cell] = 0
      if (slots[base + r] !== SLOT.long || (decider.mask[r] & bit) === 0) continue
      const tokeniser = contexts[epochs.row[r]].tokeniser as Tokeniser
      const off = normalised.longOff[base + r]
      const len = normalised.longLen[base + r]
      if (op.a === 0) tokeniser.hmacInto(normalised.long, off, len, made, r * TOKEN_BYTES)
      else {
        const sealed = tokeniser.seal(normalised.long.subarray(off, off + len))
        if (this.sealedEnd + sealed.length > this.sealed.length) {
          const grown = Buffer.allocUnsafeSlow(Math.max(this.sealed.length * 2, this.sealedEnd + sealed.length, 16_384))
          this.sealed.copy(grown, 0, 0, this.sealedEnd)
          this.sealed = grown
        }
        sealed.copy(this.sealed, this.sealedEnd)
        this.sealedOff[cell] = this.sealedEnd
        this.sealedLen[cell] = sealed.length
        this.sealedEnd += sealed.length
        this.anySealed = true
      }
    }
  }

  /** Bytes that one row's message takes at most. */
  private bound(row: number): number {
    let bytes = this.plan.maxBytes
    if (this.anySealed) for (let place = 0; place < this.tokenOps.length; place++) bytes += this.sealedLen[place * this.capacity + row] * 2
    return bytes
  }

  private timestampOf(row: number, start: number, epochs: Epochs): number {
    const step = this.plan.timestampStep
    return step === 1 ? start : step === 0 ? epochs.starts[epochs.row[row]] : stepBucket(start, step)
  }

  private writeProtobuf(arena: Buffer, columns: Columns, normalised: Normalised, decider: Decider, epochs: Epochs, output: Output, firstRecord: number): void {
    const { rows, off, len, num, width } = columns
    const { slots, blocks, userAgent, parts } = normalised
    this.writer ??= generateWriter({ ...this.plan, width, capacity: this.capacity, startColumn: decider.plan.startColumn })
    this.writer({
      rows, arena, off, len, num, slots, blocks, userAgent, parts, output, firstRecord,
      mask: decider.mask,
      tokens: this.tokens.map((t) => new DataView(t.buffer, t.byteOffset, t.length)),
      anySealed: this.anySealed, sealed: this.sealed, sealedOff: this.sealedOff, sealedLen: this.sealedLen,
      tags: this.tags,
      longestTag: this.longestTag(),
      epochRow: epochs.row, epochStarts: epochs.starts,
    })
  }

  private longestTag(): number {
    let longest = 0
    for (const tag of this.tags) longest = Math.max(longest, tag.words.length * 4)
    return longest
  }

  private writeJson(arena: Buffer, columns: Columns, normalised: Normalised, decider: Decider, epochs: Epochs, output: Output, firstRecord: number): void {
    const { rows, width, off, len, num } = columns
    const { operations, keyOperation, topic } = this.plan
    const { slots, blocks } = normalised
    const bit = 1 << this.plan.bit
    const startColumn = decider.plan.startColumn
    const longestTag = this.longestTag()
    let { bytes: out, view } = output
    for (let r = 0, cell = 0; r < rows; r++, cell += width) {
      if ((decider.mask[r] & bit) === 0) continue
      if (output.reserve(this.bound(r) + longestTag)) ({ bytes: out, view } = output)
      const start = output.pos
      let pos = start
      let keyOff = 0
      let keyLen = 0
      out[pos++] = 123
      for (let o = 0; o < operations.length; o++) {
        const op = operations[o]
        const at = cell + op.column
        const body = pos + op.jsonName.length
        let end = body
        switch (op.code) {
          case OP.text:
            if (off[at] < 0) continue
            end = writeQuoted(arena, off[at], len[at], out, body)
            break
          case OP.unsigned:
            if (num[at] !== num[at]) continue
            end = writeDecimal(num[at], out, body)
            break
          case OP.enumeration: {
            const name = op.enumNames[num[at]]
            if (name === undefined) continue
            out.set(name, body)
            end = body + name.length
            break
          }
          case OP.token: {
            const slot = op.slot * this.capacity + r
            if (slots[slot] === SLOT.absent) continue
            const place = this.tokenPlace[o]
            const sealedLen = op.a === 1 && this.anySealed ? this.sealedLen[place * this.capacity + r] : 0
            out[body] = QUOTE
            end = sealedLen === 0
              ? writeBase64Url(this.tokens[place], r * TOKEN_BYTES, TOKEN_BYTES, out, body + 1)
              : writeBase64Url(this.sealed, this.sealedOff[place * this.capacity + r], sealedLen, out, body + 1)
            if (o === keyOperation) {
              keyOff = body + 1
              keyLen = end - keyOff
            }
            out[end++] = QUOTE
            break
          }
          case OP.e164Prefix:
          case OP.ipPrefix:
          case OP.macVendor: {
            const slot = op.slot * this.capacity + r
            if (slots[slot] === SLOT.absent) continue
            end = writePrefix(op, slots[slot], blocks, slot * BLOCK_BYTES, out, body + 1)
            if (end === body + 1) continue
            out[body] = QUOTE
            out[end++] = QUOTE
            break
          }
          case OP.float:
          case OP.stepBucket:
          case OP.boundsBucket: {
            let value = num[at]
            if (op.code === OP.stepBucket) value = stepBucket(value, op.a)
            else if (op.code === OP.boundsBucket) value = boundsBucket(value, op.bounds)
            if (value !== value) continue
            end = op.isFloat ? writeJsonFloat(value, out, body) : writeDecimal(value, out, body)
            break
          }
          case OP.userAgentPart: {
            if (op.b >= 0 && off[cell + op.b] >= 0) end = writeQuoted(arena, off[cell + op.b], len[cell + op.b], out, body)
            else {
              const part = partOf(op, normalised, r)
              if (part.length === 0) continue
              end = writeQuoted(part, 0, part.length, out, body)
            }
            break
          }
        }
        out.set(op.jsonName, pos)
        pos = end
        out[pos++] = COMMA
      }
      const { words, length } = this.tags[epochs.row[r]]
      for (let i = 0; i < words.length; i++) view.setInt32(pos + 4 * i, words[i], true)
      output.pos = pos + length
      output.add(topic, start, keyOff, keyLen, this.timestampOf(r, num[cell + startColumn], epochs), firstRecord + r)
    }
  }
}

/** Writes the part of an identifier that a prefix treatment shows. Returns `pos` where it shows nothing. */
function writePrefix(op: Operation, slot: number, blocks: Uint8Array, at: number, out: Uint8Array, pos: number): number {
  if (op.code === OP.e164Prefix) return slot === SLOT.block ? writeE164Prefix(blocks, at, op.a, out, pos) : pos
  if (op.code === OP.macVendor) return slot === SLOT.block ? writeMacVendor(blocks, at, out, pos) : pos
  if (slot === SLOT.block) return writeIpv4Prefix(blocks, at + 6, op.a, out, pos)
  return slot === SLOT.ipv6 ? writeIpv6Prefix(blocks, at, op.b, out, pos) : pos
}

function partOf(op: Operation, normalised: Normalised, row: number): Uint8Array {
  const entry = normalised.userAgent[row]
  if (op.column < 0 || entry < 0) return NO_PART
  const parts = normalised.parts[entry]
  return op.a === 0 ? parts.vendor : op.a === 1 ? parts.model : parts.firmware
}

/** Copies text in quotes. The text is of a shape that needs no escapes (`clean-text.ts`). */
function writeQuoted(src: Uint8Array, off: number, len: number, out: Uint8Array, pos: number): number {
  out[pos++] = QUOTE
  for (let i = 0; i < len; i++) out[pos++] = src[off + i]
  out[pos++] = QUOTE
  return pos
}
