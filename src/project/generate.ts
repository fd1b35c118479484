/**
 * Generates the writer of one purpose: its operations unrolled into one function, with field keys, columns and
 * constants in its text. Interpreting the operations row by row costs twice as much. It knows the six shapes of
 * `src/treatments/operation.ts` and the two formats, and no treatment: what a treatment does is a function that the
 * text calls. Held against `test/project/reference.ts`; guarded by the row `transform` of `bench/`.
 *
 * What goes into the text are numbers out of the compiled plan and nothing else: no name, no string of a policy.
 */
import { BLOCK_BYTES, FORM, SLOT } from '../batch/block.js'
import { KEPT_TEXT_MAX_BYTES } from '../batch/columns.js'
import type { DeviceParts } from '../flow/device-parts.js'
import type { Output } from '../flow/output.js'
import type { Operation } from '../policy/compile.js'
import type { Constant, ExcerptCall, TokenColumn } from '../treatments/operation.js'
import { TOKEN_BYTES } from '../treatments/token.js'
import { writeDecimal } from '../treatments/treatment.js'
import { writeBase64Url, writeJsonFloat } from './json-values.js'

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
  /** By token operation. */
  readonly tokens: readonly TokenColumn[]
  readonly device: Int32Array
  readonly parts: readonly DeviceParts[]
  readonly named: Int16Array
  readonly names: readonly Uint8Array[]
  readonly tenant: Int16Array
  readonly tenantNames: readonly Uint8Array[]
  readonly tags: readonly Words[]
  readonly longestTag: number
  readonly epochRow: Int16Array
  readonly epochStarts: readonly number[]
  readonly output: Output
  readonly firstRecord: number
}

export type Writer = (input: WriterInput) => void

export interface WriterPlan {
  readonly json: boolean
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
  /** Whether a number that is protected has no prefix here. */
  readonly hideProtected: boolean
}

const floatValue = new Float32Array(1)
const floatBytes = new Uint8Array(floatValue.buffer)

/** Writes a varint of up to 2^53. Returns the position after it. */
function writeVarint(value: number, out: Uint8Array, pos: number): number {
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

/** What generated code may call beside the treatments' functions. */
const RUNTIME = { writeVarint, writeFloat, writeBytes, writeDecimal, writeJsonFloat, writeBase64Url }

type TokenOperation = Operation & { readonly shape: 'token' }
type ExcerptOperation = Operation & { readonly shape: 'excerpt' }

/** A function out of a treatment, as the text calls it. */
type TreatmentFunction = (...args: never[]) => number

/** What the text refers to and cannot hold: functions, arrays of constants, enum names. */
interface Referred {
  readonly functions: TreatmentFunction[]
  readonly arrays: Float64Array[]
  readonly enums: (readonly (Uint8Array | undefined)[])[]
}

/** Place of a value among those referred to, where it is put on first use. */
function placeIn<T>(list: T[], value: T): number {
  const known = list.indexOf(value)
  return known >= 0 ? known : list.push(value) - 1
}

/** A call of a treatment's function: the arguments that change, the constants, the arguments that change again. */
function call(
  { of, constants }: { readonly of: TreatmentFunction; readonly constants: readonly Constant[] },
  referred: Referred,
  before: readonly string[],
  after: readonly string[] = [],
): string {
  const fixed = constants.map((constant) =>
    typeof constant === 'number' ? String(constant) : `array${placeIn(referred.arrays, constant)}`,
  )
  return `function${placeIn(referred.functions, of)}(${[...before, ...fixed, ...after].join(', ')})`
}

/** Puts one byte. */
const put = (byte: number): string => `out[pos++] = ${byte};`

/**
 * How the shapes are written in one of the formats. Each is a statement that writes at `pos` and moves behind what it
 * wrote.
 */
interface Form {
  /** Before the first field of a message. */
  readonly begin: string
  /** Text of `n` bytes out of `source`, from `from` on. */
  text(op: Operation, source: string, from: string): string
  /** The number in `value`, which is there. */
  number(op: Operation, referred: Referred): string
  token(op: TokenOperation, place: number, isKey: boolean): string
  /**
   * What the expression writes at `body`, whose value is the position after it; nothing where that is `body` itself.
   */
  excerpt(op: ExcerptOperation, written: string): string
}

const protobufKey = ({ tag0, tag1 }: Operation): string => put(tag0) + (tag1 === 0 ? '' : ` ${put(tag1)}`)
/** The length of a text, in `n`. */
const LENGTH = KEPT_TEXT_MAX_BYTES < 128 ? 'out[pos++] = n;' : 'pos = writeVarint(n, out, pos);'
const LENGTH_BYTES = KEPT_TEXT_MAX_BYTES < 128 ? 1 : 2

const protobuf: Form = {
  begin: '',
  text: (op, source, from) => `${protobufKey(op)} ${LENGTH} pos = writeBytes(${source}, ${from}, n, out, pos);`,
  number: (op) => {
    const varint = 'value < 128 ? (out[pos] = value, pos + 1) : writeVarint(value, out, pos)'
    return `${protobufKey(op)} pos = ${op.type === 'float' ? 'writeFloat(value, out, pos)' : varint};`
  },
  token: (op, place, isKey) => {
    const copy = [0, 4, 8, 12]
      .map((i) => `view.setInt32(pos + ${i}, token${place}.getInt32(r16 + ${i}, true), true);`)
      .join(' ')
    const whole = `out[pos++] = ${TOKEN_BYTES}; ${copy} ${isKey ? `keyOff = pos; keyLen = ${TOKEN_BYTES};` : ''} pos += ${TOKEN_BYTES};`
    const long = `pos = writeVarint(n, out, pos); ${isKey ? 'keyOff = pos; keyLen = n;' : ''}
      pos = writeBytes(long${place}, longOff${place}[r], n, out, pos);`
    const body = op.mayBeLong
      ? `n = anyLong${place} ? longLen${place}[r] : 0; if (n === 0) { ${whole} } else { ${long} }`
      : whole
    return `${protobufKey(op)} ${body}`
  },
  excerpt: (op, written) => {
    const keyBytes = op.tag1 === 0 ? 1 : 2
    // The text is written first, where it will be; its key and length once it is known that there is one.
    return `body = pos + ${keyBytes + LENGTH_BYTES}; n = ${written};
    if (n !== body) { const end = n; n -= body; ${protobufKey(op)} ${LENGTH} pos = end; }`
  },
}

const QUOTE = 34
const COMMA = 44
const BRACE = 123

/** Writes `"name":` four bytes at a time; what it writes beyond is overwritten by the value. */
function jsonName({ jsonName: name }: Operation): string {
  const padded = Buffer.alloc(Math.ceil(name.length / 4) * 4)
  padded.set(name)
  return Array.from(
    { length: padded.length / 4 },
    (_, i) => `view.setInt32(pos + ${4 * i}, ${padded.readInt32LE(4 * i)}, true);`,
  ).join(' ')
}

/** Writes `"name":"` without moving; the text begins at `body`. */
const jsonOpen = (op: Operation): string =>
  `${jsonName(op)} body = pos + ${op.jsonName.length + 1}; out[body - 1] = ${QUOTE};`

const json: Form = {
  begin: put(BRACE),
  text: (op, source, from) =>
    [
      `${jsonName(op)} pos += ${op.jsonName.length};`,
      `${put(QUOTE)} pos = writeBytes(${source}, ${from}, n, out, pos); ${put(QUOTE)} ${put(COMMA)}`,
    ].join(' '),
  number: (op, referred) => {
    const body = `pos + ${op.jsonName.length}`
    if (op.type === 'enum') {
      const name = `enum${placeIn(referred.enums, op.enumNames)}[value]`
      const write = `${jsonName(op)} pos = writeBytes(part, 0, part.length, out, ${body}); ${put(COMMA)}`
      return `part = ${name}; if (part !== undefined) { ${write} }`
    }
    return `${jsonName(op)} pos = ${op.type === 'float' ? 'writeJsonFloat' : 'writeDecimal'}(value, out, ${body}); ${put(COMMA)}`
  },
  token: (op, place, isKey) => {
    const whole = `writeBase64Url(token${place}, r16, ${TOKEN_BYTES}, out, body)`
    const long = `writeBase64Url(long${place}, longOff${place}[r], n, out, body)`
    const written = op.mayBeLong
      ? `n = anyLong${place} ? longLen${place}[r] : 0; pos = n === 0 ? ${whole} : ${long};`
      : `pos = ${whole};`
    return `${jsonOpen(op)} ${written} ${isKey ? 'keyOff = body; keyLen = pos - body;' : ''} ${put(QUOTE)} ${put(COMMA)}`
  },
  // The name is written first, since it writes beyond its end; it stays only where a text follows.
  excerpt: (op, written) => `${jsonOpen(op)} n = ${written}; if (n !== body) { pos = n; ${put(QUOTE)} ${put(COMMA)} }`,
}

function excerpt(op: ExcerptOperation, form: Form, plan: WriterPlan, referred: Referred): string {
  const cell = `${op.slot * plan.capacity} + r`
  const of = (excerptCall: ExcerptCall): string =>
    call(excerptCall, referred, ['blocks', `(${cell}) * ${BLOCK_BYTES}`], ['out', 'body'])
  // Of a number that is protected, only who may tell it has anything.
  const held = plan.hideProtected ? `slots[${cell}]` : `(slots[${cell}] & ${FORM})`
  if (op.ipv6 === null) return `if (${held} === ${SLOT.block}) { ${form.excerpt(op, of(op.block))} }`
  const either = `slot === ${SLOT.block} ? ${of(op.block)} : ${of(op.ipv6)}`
  return `slot = slots[${cell}]; if (slot === ${SLOT.block} || slot === ${SLOT.ipv6}) { ${form.excerpt(op, either)} }`
}

/** Text of an entry of a list of texts: `entry` is its number, less than 0 where there is none. */
function listed(op: Operation, form: Form, entry: string, found: string): string {
  const write = `n = part.length; if (n > 0) { ${form.text(op, 'part', '0')} }`
  return `n = ${entry}; if (n >= 0) { part = ${found}; ${write} }`
}

function text(op: Operation, column: number, form: Form): string {
  return `if (off[cell + ${column}] >= 0) { n = len[cell + ${column}]; ${form.text(op, 'arena', `off[cell + ${column}]`)} }`
}

function operation(
  op: Operation,
  index: number,
  form: Form,
  plan: WriterPlan,
  places: readonly Operation[],
  referred: Referred,
): string {
  switch (op.shape) {
    case 'text':
      return text(op, op.column, form)
    case 'tenant':
      return `part = tenantNames[tenant[r]]; n = part.length; if (n > 0) { ${form.text(op, 'part', '0')} }`
    case 'number': {
      const cell = `num[cell + ${op.column}]`
      const value = op.call === null ? cell : call(op.call, referred, [cell])
      return `value = ${value}; if (value === value) { ${form.number(op, referred)} }`
    }
    case 'token':
      return `if (slots[${op.slot * plan.capacity} + r] !== ${SLOT.absent}) {
        ${form.token(op, places.indexOf(op), index === plan.keyOperation)} }`
    case 'excerpt':
      return excerpt(op, form, plan, referred)
    case 'part':
      return listed(op, form, 'device[r]', `parts[n].${op.part}`)
    case 'named':
      return listed(op, form, `named[${op.slot * plan.capacity} + r]`, 'names[n]')
  }
}

/** Generates the writer of a plan. */
export function generateWriter(plan: WriterPlan): Writer {
  const form = plan.json ? json : protobuf
  const referred: Referred = { functions: [], arrays: [], enums: [] }
  const tokens = plan.operations.filter((op): op is TokenOperation => op.shape === 'token')
  const statements = plan.operations.map((op, i) => operation(op, i, form, plan, tokens, referred)).join('\n    ')
  // A long token takes so many bytes more than the plan allows for it: in base64url, less than twice its length.
  const longs = tokens
    .flatMap(({ mayBeLong }, i) => (mayBeLong ? [` + (anyLong${i} ? longLen${i}[r] * 2 : 0)`] : []))
    .join('')
  const columns = tokens.map(({ mayBeLong }, i) => {
    const bytes = `tokens[${i}].made`
    const token = `const token${i} = ${plan.json ? bytes : `new DataView(${bytes}.buffer, ${bytes}.byteOffset, ${bytes}.length)`};`
    const long = ['anyLong', 'long', 'longOff', 'longLen']
      .map((name) => `${name}${i} = tokens[${i}].${name}`)
      .join(', ')
    return mayBeLong ? `${token} const ${long};` : token
  })
  const started = `num[cell + ${plan.startColumn}]`
  const timestamp =
    plan.timestampStep === 1
      ? started
      : plan.timestampStep === 0
        ? 'epochStarts[epochRow[r]]'
        : `Math.floor(${started} / ${plan.timestampStep}) * ${plan.timestampStep}`
  const source = `
'use strict';
const { ${Object.keys(RUNTIME).join(', ')} } = runtime;
${referred.functions.map((_, i) => `const function${i} = functions[${i}];`).join(' ')}
${referred.arrays.map((_, i) => `const array${i} = arrays[${i}];`).join(' ')}
${referred.enums.map((_, i) => `const enum${i} = enums[${i}];`).join(' ')}
return function write(input) {
  const { rows, arena, off, len, num, mask, slots, blocks, tokens, device, parts, named, names } = input;
  const { tenant, tenantNames } = input;
  const { tags, longestTag, epochRow, epochStarts, output, firstRecord } = input;
  ${columns.join('\n  ')}
  let out = output.bytes, view = output.view;
  for (let r = 0, cell = 0; r < rows; r++, cell += ${plan.width}) {
    if ((mask[r] & ${1 << plan.bit}) === 0) continue;
    if (output.reserve(${plan.maxBytes} + longestTag${longs})) { out = output.bytes; view = output.view; }
    const start = output.pos;
    const r16 = r * ${TOKEN_BYTES};
    let pos = start, keyOff = 0, keyLen = 0, n = 0, body = 0, value = 0, slot = 0, part;
    ${form.begin}
    ${statements}
    const tag = tags[epochRow[r]];
    const words = tag.words;
    for (let i = 0; i < words.length; i++) view.setInt32(pos + 4 * i, words[i], true);
    output.pos = pos + tag.length;
    output.add(${plan.topic}, start, keyOff, keyLen, ${timestamp}, firstRecord + r);
  }
};`
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- numbers out of a compiled plan only; see above
  const make = new Function('runtime', 'functions', 'arrays', 'enums', source) as (
    runtime: typeof RUNTIME,
    functions: Referred['functions'],
    arrays: Referred['arrays'],
    enums: Referred['enums'],
  ) => Writer
  return make(RUNTIME, referred.functions, referred.arrays, referred.enums)
}
