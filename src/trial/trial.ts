/**
 * Runs a policy without a proxy: the real reader, the real pipeline and a key that nobody keeps, one record at a time,
 * so that of each record it can be told what came in and what every purpose sees of it.
 */
import { Batch, type Reader, type Refusal, REFUSALS } from '../batch/batch.js'
import { type Catalogue, type FieldType, type Kind, KINDS } from '../catalogue/catalogue.js'
import type { OwnModels } from '../flow/device-parts.js'
import type { Minimised } from '../flow/minimised.js'
import { withheldReason, type Withholding, WITHHOLDINGS_TEXT } from '../flow/outcome.js'
import type { Tenant } from '../flow/tenant.js'
import { throwawayKeyring } from '../keys/throwaway.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { compile } from '../policy/compile.js'
import type { KindRules, Policy, Purpose } from '../policy/model.js'
import { treatmentText } from '../policy/treatment-text.js'
import { basisOf } from '../policy/vocabulary.js'
import { descriptorOf } from '../treatments/registry.js'
import { type Decoder, decoderOf } from './decode.js'

/** What became of one field on its way to one purpose. */
export type Fate = 'kept' | 'coarsened' | 'tokenised' | 'dropped' | 'absent'

export type Value = string | number

export interface FieldSight {
  readonly field: string
  /** The field that it is made from; null where it has a value of its own. */
  readonly madeFrom: string | null
  /** What came in under its name, or under that of the field that it is made from; null: nothing. */
  readonly came: Value | null
  /** What the purpose sees; null: nothing. */
  readonly sees: Value | null
  readonly fate: Fate
  /** The rule in words: `token, the same for a month`; why nothing is seen where nothing is. */
  readonly why: string
}

/** What one purpose sees of one record. */
export interface PurposeSight {
  readonly purpose: string
  readonly notice: string
  readonly basis: string
  readonly recipients: readonly string[]
  readonly retentionDays: number
  readonly topic: string | null
  /** `sees`: a message was made. `withheld`: it may not have this record. `blind`: it has no rules for such records. */
  readonly verdict: 'sees' | 'withheld' | 'blind'
  /** Why it is withheld, from the closed table of reasons, and in words. */
  readonly reason: Withholding | null
  readonly why: string | null
  readonly fields: readonly FieldSight[]
  /** The tag as the message carries it; null where there is no message. */
  readonly tag: unknown
}

export interface RecordSight {
  /** From 1. */
  readonly record: number
  /** null: it could not become a record. */
  readonly kind: Kind | null
  /** Fields by name, as they came in. */
  readonly came: Readonly<Record<string, Value>>
  /** Fields that the catalogue does not know: nobody sees them. */
  readonly unknownFields: number
  /** Why it went to quarantine; null where it did not. */
  readonly refused: Refusal | null
  readonly purposes: readonly PurposeSight[]
}

export interface TrialOptions {
  readonly policy: Policy
  readonly catalogue: Catalogue
  readonly tenants: readonly Tenant[]
  /** Models of devices that the settings add to the tables. */
  readonly models: OwnModels
  /** How far ahead of now a start time may be, ms. */
  readonly futureMs: number
  /** Only these purposes are told of; null: all. */
  readonly purposes: ReadonlySet<string> | null
  /** The clock: Unix time, ms. */
  readonly now: () => number
}

/** Room that readers need beside the input, for what they have to rewrite. */
const SCRATCH_BYTES = 1 << 20

/** One record at a time: what came, and what was made of it, belong together without a count. */
const ROWS = 1

export class Trial {
  readonly #pipeline: Pipeline
  readonly #batch: Batch
  readonly #purposes: readonly Purpose[]
  /** By topic. */
  readonly #views = new Map<string, View>()

  constructor(options: TrialOptions) {
    const { policy, catalogue, tenants, models, futureMs, now, purposes } = options
    this.#purposes = policy.purposes.filter(({ id }) => purposes?.has(id) ?? true)
    this.#batch = new Batch(catalogue, ROWS)
    const keyring = throwawayKeyring(now)
    this.#pipeline = new Pipeline(
      { catalogue, plan: compile(policy, catalogue), keyring, tenants, models, futureMs, now },
      ROWS,
    )
    for (const purpose of this.#purposes)
      for (const kind of KINDS) {
        const rules = purpose.kinds[kind]
        if (rules !== undefined) this.#views.set(rules.topic, viewOf(purpose, rules, catalogue))
      }
  }

  /**
   * Shows every record of an input in turn.
   * @param tenant of records that name none
   * @param inFull records up to this number are shown field by field, of others only who sees them
   */
  *sights(reader: Reader, input: Uint8Array, tenant: string, inFull = Infinity): Generator<RecordSight> {
    const arena = Buffer.alloc(input.length + SCRATCH_BYTES)
    arena.set(input)
    let record = 0
    for (let pos = 0; pos < input.length;) {
      this.#batch.reset(arena, input.length)
      const consumed = reader.fill(this.#batch, pos, input.length, true)
      for (const sight of this.#sightsOf(reader.format, tenant, record < inFull)) yield { ...sight, record: ++record }
      if (consumed === pos) {
        yield { record: ++record, kind: null, came: {}, unknownFields: 0, refused: 'too_large', purposes: [] }
        return
      }
      pos = consumed
    }
  }

  /** What the batch holds now: at most one record of a kind, and what could not become one. */
  #sightsOf(format: string, tenant: string, inFull: boolean): Omit<RecordSight, 'record'>[] {
    const batch = this.#batch
    const came = KINDS.flatMap((kind) =>
      batch.columns[kind].rows === 0 ? [] : [{ kind, values: inFull ? this.#valuesOf(kind) : {} }],
    )
    const refused = batch.refusedReason.map((reason) => REFUSALS[reason])
    const { unknownFields } = batch
    if (came.length === 0 && refused.length === 0) return []
    const minimised = this.#pipeline.runFilled(batch, format, tenant)
    const { withheld, quarantined } = minimised.outcome
    const messages = this.#messagesOf(minimised)
    const sights = came.map(({ kind, values }): Omit<RecordSight, 'record'> => {
      const mine = messages.size > 0 || Object.keys(withheld).length > 0
      const reason = mine ? null : ((Object.keys(quarantined) as Refusal[]).find((r) => !refused.includes(r)) ?? null)
      return {
        kind,
        came: values,
        unknownFields,
        refused: reason,
        purposes:
          reason === null ? this.#purposes.map((p) => this.#sight(p, kind, values, messages, withheld, inFull)) : [],
      }
    })
    return [
      ...sights,
      ...refused.map((reason) => ({ kind: null, came: {}, unknownFields, refused: reason, purposes: [] })),
    ]
  }

  #valuesOf(kind: Kind): Record<string, Value> {
    const { arena } = this.#batch
    const columns = this.#batch.columns[kind]
    const values: Record<string, Value> = {}
    for (const field of columns.kind.fields) {
      const { index, type, name, enumNames } = field
      if (type === 'string') {
        const at = columns.off[index]
        if (at >= 0) values[name] = arena.toString('utf8', at, at + columns.len[index])
      } else if (!Number.isNaN(columns.num[index])) {
        const number = columns.num[index]
        values[name] = type === 'enum' ? (enumNames[number] ?? number) : Number(number.toPrecision(FLOAT_DIGITS[type]))
      }
    }
    return values
  }

  /** Messages of purposes by topic. */
  #messagesOf(minimised: Minimised): Map<string, Uint8Array> {
    const messages = new Map<string, Uint8Array>()
    for (let i = 0; i < minimised.count; i++) {
      const topic = minimised.topics[minimised.topic[i]]
      const at = minimised.valueOff[i]
      if (this.#views.has(topic)) messages.set(topic, minimised.bytes.subarray(at, at + minimised.valueLen[i]))
    }
    return messages
  }

  #sight(
    purpose: Purpose,
    kind: Kind,
    came: Readonly<Record<string, Value>>,
    messages: ReadonlyMap<string, Uint8Array>,
    withheld: Readonly<Record<string, number>>,
    inFull: boolean,
  ): PurposeSight {
    const rules = purpose.kinds[kind]
    const about = {
      purpose: purpose.id,
      notice: purpose.notice,
      basis: `${basisOf(purpose.basis).name} (${purpose.basis})`,
      recipients: purpose.recipients,
      retentionDays: purpose.retentionDays,
      topic: rules?.topic ?? null,
    }
    const nothing = { ...about, reason: null, fields: [], tag: null }
    if (rules === undefined) return { ...nothing, verdict: 'blind', why: `it has no rules for ${kind} records` }
    const message = messages.get(rules.topic)
    if (message === undefined) {
      const prefix = `${purpose.id}\u0000${kind}\u0000`
      const name = Object.keys(withheld).find((key) => key.startsWith(prefix))
      const reason = name === undefined ? null : (withheldReason(name) as Withholding)
      const why = reason === null ? 'nothing of it is left to see' : WITHHOLDINGS_TEXT[reason]
      return { ...nothing, verdict: 'withheld', reason, why }
    }
    const view = this.#views.get(rules.topic)
    if (!inFull || view === undefined) return { ...nothing, verdict: 'sees', why: null }
    const shown = view.decode(message) as Readonly<Record<string, Value>> & { readonly tag?: unknown }
    return {
      ...nothing,
      verdict: 'sees',
      why: null,
      fields: view.fields.flatMap((field) => fieldSight(field, came, shown)),
      tag: shown.tag ?? null,
    }
  }
}

/** What a purpose has rules for in one kind of record, worked out once. */
interface View {
  readonly decode: Decoder
  /** In the catalogue's order. A field that is only made for purposes is no loss to one that has no rule for it. */
  readonly fields: readonly FieldView[]
}

interface FieldView {
  readonly name: string
  readonly source: string
  readonly madeFrom: string | null
  readonly fate: Fate
  readonly why: string
}

function viewOf(purpose: Purpose, rules: KindRules, catalogue: Catalogue): View {
  const fields = catalogue.kinds[rules.kind].fields.flatMap(({ name, derivedFrom }): FieldView[] => {
    const rule = rules.rules.find((r) => r.field.name === name)
    const about = { name, source: derivedFrom ?? name, madeFrom: derivedFrom }
    if (rule === undefined) return derivedFrom === null ? [{ ...about, fate: 'dropped', why: 'no rule' }] : []
    const { shows } = descriptorOf(rule.treatment.kind)
    const fate = shows === 'token' ? 'tokenised' : shows === 'value' ? 'kept' : 'coarsened'
    return [{ ...about, fate, why: treatmentText(rule.treatment, purpose.epoch).form }]
  })
  return { decode: decoderOf(purpose, rules, catalogue), fields }
}

/** Nothing where the field neither came nor is seen. */
function fieldSight(
  { name, source, madeFrom, fate, why }: FieldView,
  came: Readonly<Record<string, Value>>,
  shown: Readonly<Record<string, Value>>,
): FieldSight[] {
  const value = came[source] ?? null
  const sees = shown[name] ?? null
  if (value === null && sees === null) return []
  const about = { field: name, madeFrom, came: value, sees }
  if (fate === 'dropped' || sees !== null) return [{ ...about, fate, why }]
  return [{ ...about, fate: 'absent', why: `${why}, and it gave nothing` }]
}

/** Digits that a number of each type holds. */
const FLOAT_DIGITS: Readonly<Record<Exclude<FieldType, 'string' | 'enum'>, number>> = {
  float: 7,
  uint32: 10,
  uint64: 16,
}
