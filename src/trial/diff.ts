/**
 * Two policies held against each other: who newly sees what, in which form and on which basis, apart from what is
 * narrower than before. Whatever is not plainly narrower counts as wider.
 */
import { type Field, type Kind, KINDS } from '../catalogue/catalogue.js'
import { EPOCHS } from '../keys/keyring.js'
import type { KindRules, Policy, Purpose } from '../policy/model.js'
import { treatmentText } from '../policy/treatment-text.js'
import { basisOf } from '../policy/vocabulary.js'
import { gravityOf, showsNoMore, type Treatment } from '../treatments/registry.js'

/** `other`: who sees what stays as it was, and something else about it does not. */
export type Direction = 'widening' | 'narrowing' | 'other'

export interface Change {
  readonly direction: Direction
  readonly purpose: string
  readonly kind: Kind | null
  /** null: it is about the purpose or a kind of record as a whole. */
  readonly field: string | null
  /** Where the values come from: the field's own name, or that of the field that it is made from. */
  readonly source: string | null
  /** What changed: `field`, `retention`, `recipients` … */
  readonly what: string
  readonly before: string | null
  readonly after: string | null
  readonly recipients: readonly string[]
  readonly basis: string
  /** Larger is graver. */
  readonly gravity: number
}

const IDENTIFYING = 10
const WHOLE_PURPOSE = 5

const basisText = ({ basis }: Purpose): string => `${basisOf(basis).name} (${basis})`
const list = (names: readonly string[]): string => names.join(', ')

/** @returns every change, the gravest widening first, then what is narrower, then the rest */
export function diffPolicies(before: Policy, after: Policy): Change[] {
  const old = new Map(before.purposes.map((purpose) => [purpose.id, purpose]))
  const now = new Map(after.purposes.map((purpose) => [purpose.id, purpose]))
  const changes = [...new Set([...old.keys(), ...now.keys()])].flatMap((id) =>
    new PurposeDiff(old.get(id) ?? null, now.get(id) ?? null, topicOwners(before)).changes(),
  )
  const order: readonly Direction[] = ['widening', 'narrowing', 'other']
  return changes.sort((a, b) => order.indexOf(a.direction) - order.indexOf(b.direction) || b.gravity - a.gravity)
}

/** One purpose before and after; it may be there on one side only. */
class PurposeDiff {
  readonly #before: Purpose | null
  readonly #after: Purpose | null
  readonly #owners: ReadonlyMap<string, string>
  readonly #changes: Change[] = []

  /** @param owners whose each topic is before */
  constructor(before: Purpose | null, after: Purpose | null, owners: ReadonlyMap<string, string>) {
    this.#before = before
    this.#after = after
    this.#owners = owners
  }

  changes(): Change[] {
    const before = this.#before
    const after = this.#after
    if (before === null || after === null) {
      const direction = before === null ? 'widening' : 'narrowing'
      this.#add(direction, 'purpose', before?.description ?? null, after?.description ?? null, WHOLE_PURPOSE)
    } else this.#terms(before, after)
    for (const kind of KINDS) this.#kind(kind, before?.kinds[kind], after?.kinds[kind])
    return this.#changes
  }

  #add(
    direction: Direction,
    what: string,
    before: string | null,
    after: string | null,
    gravity: number,
    place: { readonly kind?: Kind; readonly field?: Field } = {},
  ): void {
    const purpose = (this.#after ?? this.#before) as Purpose
    this.#changes.push({
      direction,
      what,
      before,
      after,
      gravity,
      purpose: purpose.id,
      kind: place.kind ?? null,
      field: place.field?.name ?? null,
      source: place.field === undefined ? null : (place.field.derivedFrom ?? place.field.name),
      recipients: purpose.recipients,
      basis: basisText(purpose),
    })
  }

  /** What holds for the purpose as a whole. */
  #terms(before: Purpose, after: Purpose): void {
    const wider = (what: string, one: string, other: string): void => {
      if (one !== other) this.#add('widening', what, one, other, WHOLE_PURPOSE)
    }
    const either = (what: string, one: string, other: string, order: number): void => {
      if (order !== 0) this.#add(order > 0 ? 'widening' : 'narrowing', what, one, other, WHOLE_PURPOSE)
    }
    wider('basis', basisText(before), basisText(after))
    wider('what for', before.dpv, after.dpv)
    wider('region', before.region, after.region)
    wider('transfer', before.transfer, after.transfer)
    const days = (purpose: Purpose): string => `${purpose.retentionDays} days`
    either('retention', days(before), days(after), after.retentionDays - before.retentionDays)
    either('epoch of tokens', before.epoch, after.epoch, EPOCHS.indexOf(after.epoch) - EPOCHS.indexOf(before.epoch))
    either('recipients', list(before.recipients), list(after.recipients), growth(before.recipients, after.recipients))
    const helplines = (purpose: Purpose): string => purpose.helplines ?? 'hidden'
    const named = (purpose: Purpose): number => Number(helplines(purpose) === 'named')
    either('help numbers', helplines(before), helplines(after), named(after) - named(before))
    const tenants = (purpose: Purpose): string => (purpose.tenants === null ? 'all' : list(purpose.tenants))
    either('tenants', tenants(before), tenants(after), growth(before.tenants, after.tenants))
    for (const what of ['evidence', 'description', 'notice'] as const)
      if (before[what] !== after[what]) this.#add('other', what, before[what], after[what], 0)
  }

  #kind(kind: Kind, before: KindRules | undefined, after: KindRules | undefined): void {
    const fields = new Set([...(before?.rules ?? []), ...(after?.rules ?? [])].map(({ field }) => field))
    for (const field of fields) this.#field(kind, field, treatmentOf(before, field), treatmentOf(after, field))
    if (before === undefined || after === undefined) return
    for (const what of ['topic', 'format'] as const)
      if (before[what] !== after[what]) {
        // Whoever reads a topic that was another purpose's would have this one's records.
        const owner = what === 'topic' ? this.#owners.get(after.topic) : undefined
        const wider = owner !== undefined && owner !== `${this.#after?.id} ${kind}`
        this.#add(wider ? 'widening' : 'other', what, before[what], after[what], wider ? WHOLE_PURPOSE : 0, { kind })
      }
    if (before.key !== after.key)
      this.#add('other', "Kafka's key", before.key?.name ?? 'none', after.key?.name ?? 'none', 0, { kind })
    if (before.headers !== after.headers)
      this.#add('other', 'headers', String(before.headers), String(after.headers), 0, { kind })
  }

  #field(kind: Kind, field: Field, before: Treatment | null, after: Treatment | null): void {
    if (before === null && after === null) return
    const text = (treatment: Treatment | null, purpose: Purpose | null): string | null =>
      treatment === null || purpose === null ? null : treatmentText(treatment, purpose.epoch).form
    const weight = (treatment: Treatment | null): number =>
      treatment === null ? 0 : gravityOf(treatment) * (field.identifier === 'NOT_AN_IDENTIFIER' ? 1 : IDENTIFYING)
    const add = (direction: Direction, gravity: number): void => {
      this.#add(direction, 'field', text(before, this.#before), text(after, this.#after), gravity, { kind, field })
    }
    if (before === null) add('widening', weight(after))
    else if (after === null) add('narrowing', weight(before))
    else if (!showsNoMore(after, before)) add('widening', weight(after))
    else if (!showsNoMore(before, after)) add('narrowing', weight(before))
  }
}

/** The purpose and kind that each topic belongs to. */
function topicOwners({ purposes }: Policy): Map<string, string> {
  return new Map(
    purposes.flatMap(({ id, kinds }) =>
      KINDS.flatMap((kind): [string, string][] => {
        const topic = kinds[kind]?.topic
        return topic === undefined ? [] : [[topic, `${id} ${kind}`]]
      }),
    ),
  )
}

function treatmentOf(rules: KindRules | undefined, field: Field): Treatment | null {
  return rules?.rules.find((rule) => rule.field === field)?.treatment ?? null
}

/** Above 0 where somebody is added (all: null), below 0 where some are only taken away. */
function growth(before: readonly string[] | null, after: readonly string[] | null): number {
  if (after === null) return before === null ? 0 : 1
  if (before === null) return -1
  if (after.some((name) => !before.includes(name))) return 1
  return before.some((name) => !after.includes(name)) ? -1 : 0
}
