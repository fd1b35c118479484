/**
 * Policy → plan: arrays of operations, one list per record kind and purpose, ascending by field number. Decided here
 * once, so that per record there is only doing. What has no operation does not leave.
 */
import { KEPT_TEXT_MAX_BYTES } from '../batch/columns.js'
import { type Catalogue, type Field, type FieldName, type FieldType, type Kind, KINDS } from '../catalogue/catalogue.js'
import { DEVICE_PARTS } from '../flow/device-parts.js'
import { NAMED_FIELDS, type NormalisePlan } from '../flow/normalise-plan.js'
import { QUARANTINE_TOPIC } from '../flow/topic-names.js'
import type { EpochLength } from '../keys/keyring.js'
import type { Recipe } from '../treatments/operation.js'
import { compileTreatment, timeStepOf } from '../treatments/registry.js'
import { type KindRules, MAX_PURPOSES, type Policy, type Purpose } from './model.js'

/** How one field is written: its name and number, and how its value comes about. */
export type Operation = Recipe & {
  readonly name: FieldName
  readonly type: FieldType
  /** Protobuf key (field number and wire type): its first byte, and its second or 0. */
  readonly tag0: number
  readonly tag1: number
  /** `"name":` as bytes. */
  readonly jsonName: Uint8Array
  /** Enum names in quotes, by number. */
  readonly enumNames: readonly (Uint8Array | undefined)[]
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
  /**
   * Kafka timestamp: 0 = the epoch's start, 1 = the exact start time, else the width of the bucket it is rounded down
   * to, ms.
   */
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

/** Room for the rest of a field beside its name and text: its quotes or its length, or a number instead of a text. */
const FIELD_OVERHEAD_BYTES = 24

/** Field whose column an output field is made from. */
function sourceField(catalogue: Catalogue, field: Field): Field {
  if (field.derivedFrom === null) return field
  return catalogue.kinds[field.kind].byName.get(field.derivedFrom) ?? field
}

/** A field's operation: how its value comes about, and what is written around it. */
function written(field: Field, recipe: Recipe): Operation {
  const numeric = field.type === 'uint32' || field.type === 'uint64' || field.type === 'enum'
  const key = field.number * 8 + (field.type === 'float' ? 5 : numeric ? 0 : 2)
  return {
    ...recipe,
    name: field.name,
    type: field.type,
    tag0: key < 128 ? key : (key & 0x7f) | 0x80,
    tag1: key >> 7,
    jsonName: Buffer.from(`${JSON.stringify(field.name)}:`),
    enumNames: field.enumNames.map((n) => (n === undefined ? undefined : Buffer.from(JSON.stringify(n)))),
  }
}

function compileKind(catalogue: Catalogue, policy: Policy, kind: Kind, topics: string[]): KindPlan {
  const fields = catalogue.kinds[kind]
  const identifiers: Field[] = []
  const texts = new Set<number>()
  const named: number[] = []
  const numbers = new Set<number>()
  let given: readonly number[] = []
  const agentColumn = fields.byName.get('user_agent')?.index ?? -1
  let userAgent = -1
  const operation = (rules: KindRules, field: Field): Operation => {
    const rule = rules.rules.find((r) => r.field === field)
    if (rule === undefined) throw new TypeError(`no rule for ${field.name}`)
    const source = sourceField(catalogue, field)
    const recipe = compileTreatment(rule.treatment, {
      field,
      source,
      fields: fields.byName,
      identifier: () => {
        const known = identifiers.indexOf(source)
        return known >= 0 ? known : identifiers.push(source) - 1
      },
      text: ({ index }) => {
        texts.add(index)
        return index
      },
      named: ({ name, index }) => {
        if (!NAMED_FIELDS.has(name)) return null
        const known = named.indexOf(index)
        return known >= 0 ? known : named.push(index) - 1
      },
      device: () => {
        userAgent = agentColumn
        given = DEVICE_PARTS.map((part) => fields.byName.get(part)?.index ?? -1)
      },
    })
    if (recipe.shape === 'number') numbers.add(recipe.column)
    return written(field, recipe)
  }
  const purposes = policy.purposes.flatMap((purpose, bit): PurposePlan[] => {
    const rules = purpose.kinds[kind]
    if (rules === undefined) return []
    const operations = [...rules.rules]
      .sort((a, b) => a.field.number - b.field.number)
      .map((r) => operation(rules, r.field))
    const start = rules.rules.find((r) => r.field.name === 'start_ms')?.treatment
    return [
      {
        purpose,
        rules,
        bit,
        operations,
        topic: topics.push(rules.topic) - 1,
        json: rules.format === 'json',
        keyOperation: operations.findIndex((o) => o.shape === 'token' && o.name === rules.key?.name),
        timestampStep: start === undefined ? 0 : (timeStepOf(start) ?? 0),
        maxBytes: operations.reduce(
          (sum, o) => sum + o.jsonName.length + KEPT_TEXT_MAX_BYTES + FIELD_OVERHEAD_BYTES,
          16,
        ),
      },
    ]
  })
  // Many devices write their MAC address or serial number into the User-Agent: taken from there where the record has
  // none of its own.
  if (identifiers.some((field) => field.identifier === 'MAC' || field.identifier === 'SERIAL')) userAgent = agentColumn
  return {
    kind,
    purposes,
    normalise: { kind: fields, identifiers, userAgent, given, named, texts: [...texts], numbers: [...numbers] },
    startColumn: fields.byName.get('start_ms')?.index ?? -1,
    mask: purposes.reduce((mask, p) => mask | (1 << p.bit), 0),
  }
}

/** Compiles a checked policy. */
export function compile(policy: Policy, catalogue: Catalogue): Plan {
  if (policy.purposes.length > MAX_PURPOSES) throw new RangeError(`more than ${MAX_PURPOSES} purposes are on`)
  const topics: string[] = []
  const kinds = Object.fromEntries(KINDS.map((kind) => [kind, compileKind(catalogue, policy, kind, topics)])) as Record<
    Kind,
    KindPlan
  >
  const quarantineTopic = topics.push(QUARANTINE_TOPIC) - 1
  return { policy, kinds, topics, quarantineTopic, epochs: [...new Set(policy.purposes.map((p) => p.epoch))] }
}
