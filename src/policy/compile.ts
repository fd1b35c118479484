/**
 * Policy → plan: arrays of operations, one list per record kind and purpose, ascending by field number. Decided here once, so that
 * per record there is only doing. What has no operation does not leave.
 */
import type { Catalogue, Field, Kind } from '../catalogue/catalogue.js'
import { KINDS } from '../catalogue/catalogue.js'
import type { KindRules, Policy, Purpose } from './model.js'
import type { EpochLength } from '../keys/keyring.js'
import type { NormalisePlan } from '../normalise/normalise.js'

/** Operation codes: what is written for one field. */
export const OP = {
  text: 0, unsigned: 1, float: 2, enumeration: 3, token: 4, e164Prefix: 5, ipPrefix: 6, macVendor: 7,
  stepBucket: 8, boundsBucket: 9, userAgentPart: 10,
} as const
export type OpCode = (typeof OP)[keyof typeof OP]

export const UA_PARTS = ['vendor', 'model', 'firmware'] as const

export interface Operation {
  readonly code: OpCode
  readonly name: string
  /** Index of the input column: of the field, or of the one that it is derived from. */
  readonly column: number
  /** Slot number among the normalised identifiers, -1 where none is read. */
  readonly slot: number
  /** Protobuf key (field number and wire type): its first byte, and its second or 0. */
  readonly tag0: number
  readonly tag1: number
  /** `"name":` as bytes. */
  readonly jsonName: Uint8Array
  /** token: 1 if reversible · prefix: digits (0 = country) or v4 bits · bucket: step · user agent: part */
  readonly a: number
  /** ip-prefix: v6 bits · user agent: index of the field that gives the part itself, -1 = none */
  readonly b: number
  readonly bounds: Float64Array
  /** Enum names in quotes, by number. */
  readonly enumNames: readonly (Uint8Array | undefined)[]
  /** Whether a bucketed or kept number is written as float32. */
  readonly isFloat: boolean
}

export interface PurposePlan {
  readonly purpose: Purpose
  readonly rules: KindRules
  /** Its bit in the mask of purposes. */
  readonly bit: number
  /** Its place in {@link Plan.topics}. */
  readonly topic: number
  readonly json: boolean
  readonly operations: readonly Operation[]
  /** The operation whose token is the Kafka key; -1: no key. */
  readonly keyOperation: number
  /** Kafka timestamp: 0 = the epoch's start, 1 = the exact start time, else the width of the bucket it is rounded down to, ms. */
  readonly timestampStep: number
  /** Bytes of one message at most, tag and reversible long tokens apart. */
  readonly maxBytes: number
}

export interface KindPlan {
  readonly kind: Kind
  readonly normalise: NormalisePlan
  readonly startColumn: number
  readonly purposes: readonly PurposePlan[]
  /** All its purposes' bits. */
  readonly mask: number
}

export interface Plan {
  readonly policy: Policy
  readonly kinds: Readonly<Record<Kind, KindPlan>>
  /** Output topics; the last one is the quarantine's. */
  readonly topics: readonly string[]
  readonly quarantineTopic: number
  /** Distinct epoch lengths in use. */
  readonly epochs: readonly EpochLength[]
}

export const QUARANTINE_TOPIC = 'minim.quarantine'
export const LEDGER_TOPIC = 'minim.ledger'

/** Bits of a 32-bit mask that can be told apart by sign-free tests. */
const MAX_PURPOSES = 31
const KEPT_TEXT_BYTES = 64

/** Field whose column an output field is made from. */
export function sourceField(catalogue: Catalogue, field: Field): Field {
  if (field.derivedFrom === null) return field
  return catalogue.kinds[field.kind].byName.get(field.derivedFrom) ?? field
}

function givenPart(catalogue: Catalogue, field: Field, part: string): number {
  const own = catalogue.kinds[field.kind].byName.get(part)
  return own !== undefined && own.derivedFrom === null ? own.index : -1
}

function compileKind(catalogue: Catalogue, policy: Policy, kind: Kind, topics: string[]): KindPlan {
  const fields = catalogue.kinds[kind]
  const identifiers: Field[] = []
  const texts = new Set<number>()
  let userAgent = -1
  const slotOf = (field: Field): number => {
    const known = identifiers.indexOf(field)
    return known >= 0 ? known : identifiers.push(field) - 1
  }
  const operation = (rules: KindRules, field: Field): Operation => {
    const rule = rules.rules.find((r) => r.field === field)
    if (rule === undefined) throw new TypeError(`no rule for ${field.name}`)
    const { treatment } = rule
    const source = sourceField(catalogue, field)
    const numeric = field.type === 'uint32' || field.type === 'uint64' || field.type === 'enum'
    const key = field.number * 8 + (field.type === 'float' ? 5 : numeric ? 0 : 2)
    const base = {
      name: field.name, column: source.index, slot: -1, a: 0, b: -1, bounds: new Float64Array(0),
      tag0: key < 128 ? key : (key & 0x7f) | 0x80,
      tag1: key >> 7,
      jsonName: Buffer.from(`${JSON.stringify(field.name)}:`),
      enumNames: field.enumNames.map((n) => n === undefined ? undefined : Buffer.from(JSON.stringify(n))),
      isFloat: field.type === 'float',
    }
    switch (treatment.kind) {
      case 'keep':
        if (field.type === 'string') texts.add(field.index)
        return { ...base, code: field.type === 'string' ? OP.text : field.type === 'float' ? OP.float : field.type === 'enum' ? OP.enumeration : OP.unsigned }
      case 'token': return { ...base, code: OP.token, slot: slotOf(source), a: treatment.reversible ? 1 : 0 }
      case 'e164-prefix': return { ...base, code: OP.e164Prefix, slot: slotOf(source), a: treatment.digits === 'country' ? 0 : treatment.digits }
      case 'ip-prefix': return { ...base, code: OP.ipPrefix, slot: slotOf(source), a: treatment.v4, b: treatment.v6 }
      case 'mac-vendor': return { ...base, code: OP.macVendor, slot: slotOf(source) }
      case 'time-bucket': return { ...base, code: OP.stepBucket, a: treatment.ms }
      case 'number-bucket':
        return treatment.step !== null ? { ...base, code: OP.stepBucket, a: treatment.step } : { ...base, code: OP.boundsBucket, bounds: Float64Array.from(treatment.bounds ?? []) }
      case 'user-agent': {
        const agent = field.kind === 'device' || field.derivedFrom !== null ? fields.byName.get('user_agent') : undefined
        if (agent !== undefined) userAgent = agent.index
        const given = givenPart(catalogue, field, treatment.part)
        if (given >= 0) texts.add(given)
        return { ...base, code: OP.userAgentPart, column: agent?.index ?? -1, a: UA_PARTS.indexOf(treatment.part), b: given }
      }
    }
  }
  const purposes = policy.purposes.flatMap((purpose, bit): PurposePlan[] => {
    const rules = purpose.kinds[kind]
    if (rules === undefined) return []
    const operations = [...rules.rules].sort((a, b) => a.field.number - b.field.number).map((r) => operation(rules, r.field))
    const start = rules.rules.find((r) => r.field.name === 'start_ms')?.treatment
    return [{
      purpose, rules, bit, operations,
      topic: topics.push(rules.topic) - 1,
      json: rules.format === 'json',
      keyOperation: operations.findIndex((o) => o.code === OP.token && o.name === rules.key?.name),
      timestampStep: start === undefined ? 0 : start.kind === 'time-bucket' ? start.ms : 1,
      maxBytes: operations.reduce((sum, o) => sum + o.jsonName.length + KEPT_TEXT_BYTES + 24, 16),
    }]
  })
  // Many devices write their MAC address or serial number into the User-Agent: taken from there where the record has none of its own.
  if (identifiers.some((field) => field.identifier === 'MAC' || field.identifier === 'SERIAL')) userAgent = fields.byName.get('user_agent')?.index ?? -1
  return {
    kind, purposes,
    normalise: { kind: fields, identifiers, userAgent, texts: [...texts] },
    startColumn: fields.byName.get('start_ms')?.index ?? -1,
    mask: purposes.reduce((mask, p) => mask | (1 << p.bit), 0),
  }
}

/** Compiles a checked policy. */
export function compile(policy: Policy, catalogue: Catalogue): Plan {
  if (policy.purposes.length > MAX_PURPOSES) throw new RangeError(`more than ${MAX_PURPOSES} purposes are on`)
  const topics: string[] = []
  const kinds = Object.fromEntries(KINDS.map((kind) => [kind, compileKind(catalogue, policy, kind, topics)])) as Record<Kind, KindPlan>
  const quarantineTopic = topics.push(QUARANTINE_TOPIC) - 1
  return { policy, kinds, topics, quarantineTopic, epochs: [...new Set(policy.purposes.map((p) => p.epoch))] }
}
