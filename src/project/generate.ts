/**
 * Generates the protobuf writer of one purpose: its operations unrolled into one function, with field keys, columns and parameters as
 * constants. Interpreting the operations row by row (as the JSON writer does) costs twice as much; both must agree with
 * `test/project/reference.ts`. Guarded by the row `transform` of `bench/`.
 *
 * What goes into the text are numbers out of the compiled plan and nothing else: no name, no string of a policy.
 */
import { BLOCK_BYTES, SLOT } from '../batch/block.js'
import { OP, type Operation } from '../policy/compile.js'
import { boundsBucket } from '../treatments/buckets.js'
import { writeE164Prefix } from '../treatments/e164-prefix.js'
import { writeIpv4Prefix, writeIpv6Prefix } from '../treatments/ip-prefix.js'
import { writeMacVendor } from '../treatments/mac-vendor.js'
import { TOKEN_BYTES } from '../treatments/token.js'
import type { Output } from './output.js'

/** Bytes to append, four at a time: the last word is padded, and what it writes beyond `length` is overwritten. */
export interface Words {
  readonly words: Int32Array
  readonly length: number
}

/** What the writer reads of a batch. */
export interface WriterInput {
  readonly rows: number
  readonly arena: Uint8Array
  readonly off: Int32Array
  readonly len: Int32Array
  readonly num: Float64Array
  /** Purposes of each row, as bits. */
  readonly mask: Int32Array
  readonly slots: Uint8Array
  readonly blocks: Uint8Array
  /** Tokens by token operation. */
  readonly tokens: readonly DataView[]
  /** Whether any long token was sealed; then where, by token operation × capacity + row. */
  readonly anySealed: boolean
  readonly sealed: Uint8Array
  readonly sealedOff: Int32Array
  readonly sealedLen: Int32Array
  readonly userAgent: Int32Array
  readonly parts: readonly { readonly vendor: Uint8Array; readonly model: Uint8Array; readonly firmware: Uint8Array }[]
  readonly tags: readonly Words[]
  readonly longestTag: number
  readonly epochRow: Int16Array
  readonly epochStarts: readonly number[]
  readonly output: Output
  readonly firstRecord: number
}

export type Writer = (input: WriterInput) => void

export interface WriterPlan {
  readonly operations: readonly Operation[]
  readonly keyOperation: number
  readonly bit: number
  readonly topic: number
  readonly maxBytes: number
  readonly timestampStep: number
  /** Fields of a row. */
  readonly width: number
  readonly capacity: number
  readonly startColumn: number
}

const floatValue = new Float32Array(1)
const floatBytes = new Uint8Array(floatValue.buffer)

/** Writes a varint of up to 2^53. Returns the position after it. */
export function writeVarint(value: number, out: Uint8Array, pos: number): number {
  if (value >= 0x10000000) {
    // 28 bits at a time: what JavaScript's integer operators hold exactly.
    let low = value % 0x10000000
    value = Math.floor(value / 0x10000000)
    for (let i = 0; i < 4; i++) {
      out[pos++] = (low & 0x7f) | 0x80
      low >>>= 7
    }
    return writeVarint(value, out, pos)
  }
  while (value >= 128) {
    out[pos++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  out[pos++] = value
  return pos
}

function writeFloat(value: number, out: Uint8Array, pos: number): number {
  floatValue[0] = value
  out[pos] = floatBytes[0]
  out[pos + 1] = floatBytes[1]
  out[pos + 2] = floatBytes[2]
  out[pos + 3] = floatBytes[3]
  return pos + 4
}

function writeBytes(src: Uint8Array, off: number, len: number, out: Uint8Array, pos: number): number {
  for (let i = 0; i < len; i++) out[pos + i] = src[off + i]
  return pos + len
}

/** What generated code may call. */
const RUNTIME = { writeVarint, writeFloat, writeBytes, boundsBucket, writeE164Prefix, writeIpv4Prefix, writeIpv6Prefix, writeMacVendor }

/** Statements that write an operation's key at `pos` and move behind it. */
function key(op: Operation): string {
  return op.tag1 === 0 ? `out[pos++] = ${op.tag0};` : `out[pos++] = ${op.tag0}; out[pos++] = ${op.tag1};`
}

function keyBytes(op: Operation): number {
  return op.tag1 === 0 ? 1 : 2
}

function text(op: Operation, column: number): string {
  return `${key(op)} n = len[cell + ${column}]; out[pos++] = n; pos = writeBytes(arena, off[cell + ${column}], n, out, pos);`
}

function token(op: Operation, place: number, isKey: boolean, plan: WriterPlan): string {
  const copy = [0, 4, 8, 12].map((i) => `view.setInt32(pos + ${i}, token${place}.getInt32(r16 + ${i}, true), true);`).join(' ')
  const whole = `out[pos++] = ${TOKEN_BYTES}; ${copy} ${isKey ? `keyOff = pos; keyLen = ${TOKEN_BYTES};` : ''} pos += ${TOKEN_BYTES};`
  const long = `pos = writeVarint(n, out, pos); ${isKey ? 'keyOff = pos; keyLen = n;' : ''} pos = writeBytes(sealed, sealedOff[${place * plan.capacity} + r], n, out, pos);`
  // Only reversible tokens can be longer than a block.
  const body = op.a === 0 ? whole : `n = anySealed ? sealedLen[${place * plan.capacity} + r] : 0; if (n === 0) { ${whole} } else { ${long} }`
  return `if (slots[${op.slot * plan.capacity} + r] !== ${SLOT.absent}) { ${key(op)} ${body} }`
}

function prefix(op: Operation, plan: WriterPlan): string {
  const slot = `slots[${op.slot * plan.capacity} + r]`
  const block = `(${op.slot * plan.capacity} + r) * ${BLOCK_BYTES}`
  const write = (call: string): string => `${call}; if (n !== body) { ${key(op)} out[pos] = n - body; pos = n; }`
  const open = `body = pos + ${keyBytes(op) + 1};`
  if (op.code === OP.ipPrefix) {
    return `n = ${slot}; if (n === ${SLOT.block} || n === ${SLOT.ipv6}) { ${open} ${write(`n = n === ${SLOT.block} ? writeIpv4Prefix(blocks, ${block} + 6, ${op.a}, out, body) : writeIpv6Prefix(blocks, ${block}, ${op.b}, out, body)`)} }`
  }
  const call = op.code === OP.e164Prefix ? `n = writeE164Prefix(blocks, ${block}, ${op.a}, out, body)` : `n = writeMacVendor(blocks, ${block}, out, body)`
  return `if (${slot} === ${SLOT.block}) { ${open} ${write(call)} }`
}

const PARTS = ['vendor', 'model', 'firmware'] as const

function operation(op: Operation, index: number, plan: WriterPlan, places: readonly Operation[]): string {
  switch (op.code) {
    case OP.text:
      return `if (off[cell + ${op.column}] >= 0) { ${text(op, op.column)} }`
    case OP.unsigned:
    case OP.enumeration:
      return `value = num[cell + ${op.column}]; if (value === value) { ${key(op)} pos = value < 128 ? (out[pos] = value, pos + 1) : writeVarint(value, out, pos); }`
    case OP.token:
      return token(op, places.indexOf(op), index === plan.keyOperation, plan)
    case OP.e164Prefix:
    case OP.ipPrefix:
    case OP.macVendor:
      return prefix(op, plan)
    case OP.float:
    case OP.stepBucket:
    case OP.boundsBucket: {
      const value = op.code === OP.stepBucket ? `Math.floor(num[cell + ${op.column}] / ${op.a}) * ${op.a}`
        : op.code === OP.boundsBucket ? `boundsBucket(num[cell + ${op.column}], bounds${index})` : `num[cell + ${op.column}]`
      return `value = ${value}; if (value === value) { ${key(op)} pos = ${op.isFloat ? 'writeFloat' : 'writeVarint'}(value, out, pos); }`
    }
    case OP.userAgentPart: {
      const parsed = op.column < 0 ? '' : `{ n = userAgent[r]; if (n >= 0) { part = parts[n].${PARTS[op.a]}; n = part.length; if (n > 0) { ${key(op)} out[pos++] = n; pos = writeBytes(part, 0, n, out, pos); } } }`
      return op.b < 0 ? parsed : `if (off[cell + ${op.b}] >= 0) { ${text(op, op.b)} } ${parsed === '' ? '' : `else ${parsed}`}`
    }
  }
}

/** Generates the writer of a plan. */
export function generateWriter(plan: WriterPlan): Writer {
  const places = plan.operations.filter((o) => o.code === OP.token)
  const reversible = places.map((op, place) => op.a === 1 ? `sealedLen[${place * plan.capacity} + r]` : '').filter((t) => t !== '')
  const bound = reversible.length === 0 ? '' : ` + (anySealed ? ${reversible.join(' + ')} : 0)`
  const timestamp = plan.timestampStep === 1 ? `num[cell + ${plan.startColumn}]`
    : plan.timestampStep === 0 ? 'epochStarts[epochRow[r]]' : `Math.floor(num[cell + ${plan.startColumn}] / ${plan.timestampStep}) * ${plan.timestampStep}`
  const source = `
'use strict';
const { ${Object.keys(RUNTIME).join(', ')} } = runtime;
${plan.operations.map((op, i) => op.code === OP.boundsBucket ? `const bounds${i} = bounds[${i}];` : '').join('')}
return function write(input) {
  const { rows, arena, off, len, num, mask, slots, blocks, tokens, anySealed, sealed, sealedOff, sealedLen, userAgent, parts, tags, longestTag, epochRow, epochStarts, output, firstRecord } = input;
  ${places.map((_, i) => `const token${i} = tokens[${i}];`).join(' ')}
  let out = output.bytes, view = output.view;
  for (let r = 0, cell = 0; r < rows; r++, cell += ${plan.width}) {
    if ((mask[r] & ${1 << plan.bit}) === 0) continue;
    if (output.reserve(${plan.maxBytes} + longestTag${bound})) { out = output.bytes; view = output.view; }
    const start = output.pos;
    const r16 = r * ${TOKEN_BYTES};
    let pos = start, keyOff = 0, keyLen = 0, n = 0, body = 0, value = 0, part;
    ${plan.operations.map((op, i) => operation(op, i, plan, places)).join('\n    ')}
    const tag = tags[epochRow[r]];
    const words = tag.words;
    for (let i = 0; i < words.length; i++) view.setInt32(pos + 4 * i, words[i], true);
    output.pos = pos + tag.length;
    output.add(${plan.topic}, start, keyOff, keyLen, ${timestamp}, firstRecord + r);
  }
};`
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- numbers out of a compiled plan only; see above
  const make = new Function('runtime', 'bounds', source) as (runtime: typeof RUNTIME, bounds: readonly Float64Array[]) => Writer
  return make(RUNTIME, plan.operations.map((op) => op.bounds))
}
