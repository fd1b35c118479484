/** A policy read out: who sees a field, in which form and on which basis; or what a purpose sees. */
import { type Catalogue, type Field, type FieldName, type Kind, KINDS } from '../catalogue/catalogue.js'
import { nearest } from '../errors/problems.js'
import { gravityOf } from '../treatments/registry.js'
import type { InspectedPolicy, InspectedPurpose } from './load.js'
import type { FieldRule } from './model.js'
import { treatmentText } from './treatment-text.js'
import { basisOf } from './vocabulary.js'

/** One purpose's view of one field. */
export interface Sight {
  readonly purpose: string
  readonly notice: string
  readonly enabled: boolean
  /** `call.calling` */
  readonly field: string
  /** `calling` when the field is made from it. */
  readonly madeFrom: string | null
  readonly category: string
  readonly whose: string
  readonly treatment: string
  readonly form: string
  readonly reveals: string
  readonly reversible: string
  readonly key: boolean
  readonly topic: string
  readonly basis: string
  readonly evidence: string
  readonly retentionDays: number
  readonly recipients: readonly string[]
  readonly region: string
  readonly transfer: string
}

export interface FieldExplained {
  readonly about: 'field'
  /** Fields of that name, and those made from them. */
  readonly fields: readonly {
    readonly field: string
    readonly madeFrom: string | null
    readonly category: string
    readonly whose: string
    readonly comment: string | null
  }[]
  readonly sights: readonly Sight[]
  /** Purposes that see nothing of it. */
  readonly unseenBy: readonly string[]
}

export interface PurposeExplained {
  readonly about: 'purpose'
  readonly id: string
  readonly notice: string
  readonly enabled: boolean
  readonly description: string
  readonly dpv: string
  readonly basis: string
  readonly evidence: string
  readonly recipients: readonly string[]
  readonly region: string
  readonly transfer: string
  readonly retentionDays: number
  readonly epoch: string
  readonly tenants: readonly string[] | null
  readonly topics: readonly {
    readonly topic: string
    readonly kind: Kind
    readonly format: string
    readonly key: string | null
  }[]
  readonly sights: readonly Sight[]
  /** Fields that it never sees, by kind. */
  readonly dropped: Readonly<Partial<Record<Kind, readonly string[]>>>
}

/** One line of the overview: what a purpose sees of one kind of record. */
export interface OverviewRow {
  readonly purpose: string
  readonly notice: string
  readonly enabled: boolean
  readonly kind: Kind
  readonly topic: string
  /** How many fields it sees. */
  readonly fields: number
  /** The form that shows most of somebody, and of which field. */
  readonly strongest: { readonly field: string; readonly form: string }
  readonly basis: string
  readonly recipients: readonly string[]
  readonly retentionDays: number
}

export interface Unexplained {
  readonly about: 'unknown'
  readonly suggestions: readonly string[]
}

export type Explained =
  FieldExplained | { readonly about: 'purposes'; readonly purposes: readonly PurposeExplained[] } | Unexplained

/** Explains a field (`calling`, `call.calling`), a purpose (`billing`) or a row of the notice (`P2`). */
export function explain(policy: InspectedPolicy, catalogue: Catalogue, name: string): Explained {
  const purposes = policy.purposes.filter((p) => p.id === name || p.notice === name.toUpperCase())
  if (purposes.length > 0) return { about: 'purposes', purposes: purposes.map((p) => purposeExplained(p, catalogue)) }
  const fields = fieldsNamed(catalogue, name)
  if (fields.length > 0) return fieldExplained(policy, fields)
  const known = new Set<string>(KINDS.flatMap((k) => [...catalogue.kinds[k].byName.keys()]))
  for (const p of policy.purposes) known.add(p.id).add(p.notice)
  const bare = name.slice(name.indexOf('.') + 1)
  return { about: 'unknown', suggestions: nearest(bare, known, 5) }
}

/** The whole policy in a few lines: each purpose with each kind of record that it sees. */
export function overview(policy: InspectedPolicy): OverviewRow[] {
  return policy.purposes.flatMap((p) =>
    KINDS.flatMap((kind): OverviewRow[] => {
      const rules = p.kinds[kind]
      if (rules === undefined) return []
      const [strongest] = [...rules.rules].sort((a, b) => exposure(b) - exposure(a))
      return [
        {
          purpose: p.id,
          notice: p.notice,
          enabled: p.enabled,
          kind,
          topic: rules.topic,
          fields: rules.rules.length,
          strongest: { field: strongest.field.name, form: treatmentText(strongest.treatment, p.epoch).form },
          basis: `${basisOf(p.basis).name} (${p.basis})`,
          recipients: p.recipients,
          retentionDays: p.retentionDays,
        },
      ]
    }),
  )
}

/** What tells most about somebody: an identifier before any other field, and of each what shows more of it. */
function exposure({ field, treatment }: FieldRule): number {
  const identifying = field.identifier !== 'NOT_AN_IDENTIFIER' && field.whose !== 'NOBODY'
  return gravityOf(treatment) + (identifying ? 10 : 0) + (treatment.kind === 'token' && treatment.reversible ? 0.5 : 0)
}

/** Fields of a name in every kind, each followed by those made from it. */
function fieldsNamed(catalogue: Catalogue, name: string): Field[] {
  const dot = name.indexOf('.')
  const kinds = dot < 0 ? KINDS : KINDS.filter((k) => k === name.slice(0, dot))
  const bare = name.slice(dot + 1)
  return kinds.flatMap((kind) => {
    const field = catalogue.kinds[kind].byName.get(bare)
    return field === undefined ? [] : [field, ...catalogue.kinds[kind].fields.filter((f) => f.derivedFrom === bare)]
  })
}

function words(constant: string): string {
  return constant.toLowerCase().replace(/_/g, ' ')
}

function sightsOf(purpose: InspectedPurpose, wanted: (field: Field) => boolean): Sight[] {
  const basis = `${basisOf(purpose.basis).name} (${purpose.basis})`
  return KINDS.flatMap((kind) => {
    const rules = purpose.kinds[kind]
    if (rules === undefined) return []
    return rules.rules
      .filter((r) => wanted(r.field))
      .map(({ field, treatment }): Sight => ({
        purpose: purpose.id,
        notice: purpose.notice,
        enabled: purpose.enabled,
        field: `${kind}.${field.name}`,
        madeFrom: field.derivedFrom,
        category: words(field.category),
        whose: words(field.whose),
        treatment: treatment.kind,
        ...treatmentText(treatment, purpose.epoch),
        key: rules.key === field,
        topic: rules.topic,
        basis,
        evidence: purpose.evidence,
        retentionDays: purpose.retentionDays,
        recipients: purpose.recipients,
        region: purpose.region,
        transfer: purpose.transfer,
      }))
  })
}

function fieldExplained(policy: InspectedPolicy, fields: readonly Field[]): FieldExplained {
  const sights = policy.purposes.flatMap((p) => sightsOf(p, (f) => fields.includes(f)))
  return {
    about: 'field',
    fields: fields.map((f) => ({
      field: `${f.kind}.${f.name}`,
      madeFrom: f.derivedFrom,
      category: words(f.category),
      whose: words(f.whose),
      comment: f.comment,
    })),
    sights,
    unseenBy: policy.purposes.map((p) => p.id).filter((id) => !sights.some((s) => s.purpose === id)),
  }
}

function purposeExplained(p: InspectedPurpose, catalogue: Catalogue): PurposeExplained {
  const kinds = KINDS.filter((k) => p.kinds[k] !== undefined)
  const seen = (kind: Kind, name: FieldName): boolean =>
    p.kinds[kind]?.rules.some((r) => r.field.name === name) === true
  return {
    about: 'purpose',
    id: p.id,
    notice: p.notice,
    enabled: p.enabled,
    description: p.description,
    dpv: p.dpv,
    basis: `${basisOf(p.basis).name} (${p.basis})`,
    evidence: p.evidence,
    recipients: p.recipients,
    region: p.region,
    transfer: p.transfer,
    retentionDays: p.retentionDays,
    epoch: p.epoch,
    tenants: p.tenants,
    topics: kinds.flatMap((kind) => {
      const rules = p.kinds[kind]
      return rules === undefined
        ? []
        : [{ topic: rules.topic, kind, format: rules.format, key: rules.key?.name ?? null }]
    }),
    sights: sightsOf(p, () => true),
    dropped: Object.fromEntries(
      kinds.map((kind) => [kind, catalogue.kinds[kind].fields.map((f) => f.name).filter((n) => !seen(kind, n))]),
    ),
  }
}
