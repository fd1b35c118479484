/**
 * Project: runs a purpose's operations over the rows that it may have, and writes the messages.
 *
 * Token columns come first, a whole column by one AES call; then the writer that was generated for the purpose
 * (`generate.ts`) goes row by row. Fields come in ascending number, the tag last. Nothing per record is allocated.
 *
 * Guarded by the rows `transform` and `d` of `bench/`; held byte for byte against `test/project/reference.ts`.
 */
import { BLOCK_BYTES } from '../batch/block.js'
import { BATCH_ROWS, type Columns } from '../batch/columns.js'
import type { Decision, Epochs } from '../flow/decision.js'
import type { Guarantee } from '../flow/guarantee.js'
import type { NormalisedColumns } from '../flow/normalised.js'
import type { Output } from '../flow/output.js'
import type { EpochKeys } from '../keys/keyring.js'
import type { PurposePlan } from '../policy/compile.js'
import type { TokenColumn } from '../treatments/operation.js'
import { generateWriter, type Words, type Writer } from './generate.js'
import { tagJson, tagOf, tagProtobuf } from './tag.js'

function wordsOf(bytes: Uint8Array): Words {
  const padded = Buffer.alloc(Math.ceil(bytes.length / 4) * 4)
  padded.set(bytes)
  return {
    words: Int32Array.from({ length: padded.length / 4 }, (_, i) => padded.readInt32LE(4 * i)),
    length: bytes.length,
  }
}

/** Whether a purpose may not tell who called for help. */
function hidesProtected({ helplines }: PurposePlan['purpose']): boolean {
  return helplines !== 'named'
}

/** What a purpose's records of one epoch share. */
interface EpochContext {
  readonly keys: EpochKeys | null
  readonly tag: Words
}

/** Of an epoch whose key was destroyed: no row of it is written. */
const NO_CONTEXT: EpochContext = { keys: null, tag: wordsOf(new Uint8Array(0)) }

/** Contexts kept for epochs that are not of the current batch. */
const CONTEXTS_KEPT = 64

/** Rows of one kind as the stages before have left them. */
export interface ProjectedRows {
  readonly arena: Buffer
  readonly columns: Columns
  readonly normalised: NormalisedColumns
  readonly decision: Decision
  readonly epochs: Epochs
  /** Number of the first row's record within the batch. */
  readonly firstRecord: number
}

/** Projects one kind of record for one purpose. */
export class Projector {
  readonly plan: PurposePlan
  readonly #policyVersion: string
  readonly #guarantee: Guarantee
  readonly #capacity: number
  readonly #contexts = new Map<string, EpochContext>()
  /** The token columns of the plan's token operations, in their order, and the slots that they read. */
  readonly #columns: readonly { readonly slot: number; readonly tokens: TokenColumn }[]
  readonly #tokens: readonly TokenColumn[]
  #writer: Writer | null = null

  constructor(
    plan: PurposePlan,
    policyVersion: string,
    capacity: number = BATCH_ROWS,
    guarantee: Guarantee = 'exactly-once',
  ) {
    this.#guarantee = guarantee
    this.plan = plan
    this.#policyVersion = policyVersion
    this.#capacity = capacity
    this.#columns = plan.operations.flatMap((op) =>
      op.shape === 'token' ? [{ slot: op.slot, tokens: op.start(capacity) }] : [],
    )
    this.#tokens = this.#columns.map(({ tokens }) => tokens)
  }

  /** Whether its messages hold tokens, so that they need the epoch's key. */
  get needsKeys(): boolean {
    return this.#columns.length > 0
  }

  /** Before a batch: forgets what earlier ones needed when it has become much. */
  trim(): void {
    if (this.#contexts.size > CONTEXTS_KEPT) this.#contexts.clear()
  }

  /** Lets go of an epoch whose key was destroyed. */
  forget(epochId: string): void {
    this.#contexts.delete(epochId)
  }

  /** Takes the keys of an epoch for the batch to come; `null` where no key is needed. */
  useKeys(epochId: string, keys: EpochKeys | null): void {
    const known = this.#contexts.get(epochId)
    if (known !== undefined && known.keys === keys) return
    const tag = tagOf(this.plan.purpose, this.#policyVersion, epochId, this.#guarantee)
    this.#contexts.set(epochId, { keys, tag: wordsOf(this.plan.json ? tagJson(tag) : tagProtobuf(tag)) })
  }

  /**
   * Writes the messages of all rows that the purpose may have. {@link useKeys} came before, for each epoch that such a
   * row lies in.
   */
  run({ arena, columns, normalised, decision, epochs, firstRecord }: ProjectedRows, output: Output): void {
    const contexts = epochs.ids.map((id) => this.#contexts.get(id) ?? NO_CONTEXT)
    this.#makeTokens(
      columns.rows,
      normalised,
      decision,
      epochs,
      contexts.map(({ keys }) => keys),
    )
    const { rows, off, len, num, width } = columns
    const { slots, blocks, device, parts, named, names, tenant, tenantNames } = normalised
    const tags = contexts.map(({ tag }) => tag)
    this.#writer ??= generateWriter({
      ...this.plan,
      width,
      capacity: this.#capacity,
      startColumn: decision.startColumn,
      hideProtected: hidesProtected(this.plan.purpose),
    })
    this.#writer({
      rows,
      arena,
      off,
      len,
      num,
      slots,
      blocks,
      tenant,
      tenantNames,
      device,
      parts,
      named,
      names,
      output,
      firstRecord,
      tags,
      mask: decision.mask,
      tokens: this.#tokens,
      longestTag: tags.reduce((longest, { words }) => Math.max(longest, words.length * 4), 0),
      epochRow: epochs.row,
      epochStarts: epochs.starts,
    })
  }

  #makeTokens(
    rows: number,
    normalised: NormalisedColumns,
    decision: Decision,
    epochs: Epochs,
    keys: readonly (EpochKeys | null)[],
  ): void {
    const { slots, blocks, long, longOff, longLen } = normalised
    for (const { slot, tokens } of this.#columns) {
      const first = slot * this.#capacity
      tokens.make({
        rows,
        first,
        slots,
        long,
        longOff,
        longLen,
        keys,
        hideProtected: hidesProtected(this.plan.purpose),
        blocks: blocks.subarray(first * BLOCK_BYTES, (first + rows) * BLOCK_BYTES),
        special: normalised.special[slot] === 1,
        mask: decision.mask,
        bit: 1 << this.plan.bit,
        epochRow: epochs.row,
      })
    }
  }
}
