/** A policy read out: who sees a field, in which form and on which basis; or what a purpose sees. */
import { type Catalogue, type Field, type FieldName, type Kind, KINDS } from '../catalogue/catalogue.js'
import { nearest } from '../errors/problems.js'
import type { InspectedPolicy, InspectedPurpose } from './load.js'
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

/** Rows under a head, in columns as wide as they need. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((c, i) => c.padEnd(widths[i]))
      .join('  ')
      .trimEnd()
  return [line(head), widths.map((w) => '-'.repeat(w)).join('  '), ...rows.map(line)]
}

function place(s: { readonly region: string; readonly transfer: string }): string {
  return `${s.region}, ${s.transfer}`
}

/** An explanation as lines of text. */
export function explanationLines(explained: FieldExplained | PurposeExplained): string[] {
  if (explained.about === 'purpose') return purposeLines(explained)
  const lines = explained.fields.map((f) => {
    const made = f.madeFrom === null ? '' : `, made from ${f.madeFrom}`
    return `${f.field}: ${f.category} data of ${f.whose}${made}`
  })
  const rows = explained.sights.map((s) => [
    s.enabled ? s.purpose : `${s.purpose} (off)`,
    s.field,
    s.form,
    s.basis,
    `${s.retentionDays} days`,
    s.recipients.join(', '),
    place(s),
  ])
  lines.push(
    '',
    ...(rows.length > 0
      ? table(['purpose', 'field', 'form', 'basis', 'kept', 'read by', 'kept in'], rows)
      : ['no purpose sees it']),
  )
  if (explained.unseenBy.length > 0 && rows.length > 0) lines.push('', `dropped for: ${explained.unseenBy.join(', ')}`)
  return lines
}

function purposeLines(p: PurposeExplained): string[] {
  const facts: [string, string][] = [
    ['purpose', `${p.id} (${p.notice})${p.enabled ? '' : ', off'}`],
    ['what for', p.description],
    ['DPV', p.dpv],
    ['basis', p.basis],
    ['evidence', p.evidence],
    ['read by', p.recipients.join(', ')],
    ['kept in', place(p)],
    ['kept for', `${p.retentionDays} days`],
    ['tokens', p.epoch === 'contract' ? 'stay as long as the contract' : `change every ${p.epoch}`],
    ['tenants', p.tenants === null ? 'all' : p.tenants.join(', ')],
    ...p.topics.map((t): [string, string] => ['topic', `${t.topic} (${t.format}, key: ${t.key ?? 'none'})`]),
  ]
  return [
    ...facts.map(([name, value]) => `${name.padEnd(9)} ${value}`),
    '',
    ...table(
      ['field', 'form', 'reveals', 'can be reversed', 'data', 'whose'],
      p.sights.map((s) => [s.field, s.form, s.reveals, s.reversible, s.category, s.whose]),
    ),
    '',
    ...Object.entries(p.dropped).map(([kind, names]) => `dropped of ${kind}: ${names.join(', ')}`),
  ]
}
