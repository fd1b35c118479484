/**
 * Cases of a policy: given a record, a tenant and a time, these purposes see exactly this, or these fields, or nothing.
 * They are run by the real stages; what no case looks at is told too.
 */
import { type Static, type TSchema, type TUnsafe, Type } from '@sinclair/typebox'
import { REFUSALS } from '../batch/batch.js'
import { type Catalogue, KINDS } from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import { checker, useOneOf } from '../errors/problems.js'
import { readYaml, withLines } from '../errors/yaml.js'
import type { OwnModels } from '../flow/device-parts.js'
import { WITHHOLDINGS } from '../flow/outcome.js'
import type { Tenant } from '../flow/tenant.js'
import { JsonLinesReader } from '../formats/json-lines.js'
import { builtInMapping } from '../formats/mapping.js'
import type { Policy } from '../policy/model.js'
import { type FieldSight, type PurposeSight, type RecordSight, Trial, type Value } from './trial.js'

const closed = { additionalProperties: false } as const
const oneOf = <T extends string>(names: readonly T[], description: string): TUnsafe<T> =>
  Type.Unsafe<T>(
    Type.Union(
      names.map((name) => Type.Literal(name)),
      { description },
    ),
  )

const Expected = Type.Union(
  [Type.String(), Type.Number(), Type.Object({ is: oneOf(['token', 'seen'], 'any token, or any value') }, closed)],
  { description: 'the very value; or { is: token }, { is: seen } for one that cannot be known beforehand' },
)
const Fields = Type.Record(Type.String(), Expected)

const Sees = Type.Union([
  Type.Literal('nothing', { description: 'no message at all' }),
  Type.Object({ exactly: Fields }, { ...closed, description: 'these fields and no other' }),
  Type.Object({ includes: Fields }, { ...closed, description: 'these fields, and maybe others' }),
  Type.Object({ fields: Type.Array(Type.String()) }, { ...closed, description: 'fields of these names and no other' }),
  Type.Object(
    { withheld: oneOf(WITHHOLDINGS, 'why it may not have this record') },
    { ...closed, description: 'no message, for this reason' },
  ),
])

const Case = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    kind: oneOf(KINDS, 'what the record is'),
    record: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()]), {
      description: 'fields by name; a time is Unix time in ms, or 2026-11-28T10:00:00Z',
    }),
    at: Type.Optional(Type.String({ description: 'the time at which it comes in; default: its own start' })),
    tenant: Type.Optional(Type.String({ description: 'of its source, for a record that names none' })),
    sees: Type.Optional(Type.Record(Type.String(), Sees, { description: 'by purpose' })),
    quarantine: Type.Optional(oneOf(REFUSALS, 'nobody sees it, for this reason')),
    preferences: Type.Optional(
      Type.Unknown({ description: 'reserved for what people have said; refused until they can say it' }),
    ),
  },
  closed,
)

const CasesFile = Type.Object(
  {
    policy: Type.Optional(Type.String({ description: 'the policy, from the folder of this file' })),
    cases: Type.Array(Case, { minItems: 1 }),
  },
  closed,
)

export type PolicyCase = Static<typeof Case>
type Expectation = NonNullable<PolicyCase['sees']>[string]

/** JSON Schema of a file of cases, for editors. */
export function casesSchema(): TSchema {
  return CasesFile
}

export interface Cases {
  /** As written; null: none is named. */
  readonly policy: string | null
  readonly cases: readonly PolicyCase[]
}

/** Reads a file of cases. Every mistake is told; with any, there are no cases. */
export function readCases(text: string): { readonly cases: Cases | null; readonly problems: readonly Problem[] } {
  const { value, problems, lineOf } = readYaml(text)
  if (problems.length > 0) return { cases: null, problems }
  const mistakes = checker(CasesFile)(value)
  if (mistakes.length > 0) return { cases: null, problems: withLines(mistakes, lineOf) }
  const file = value as Static<typeof CasesFile>
  const found = file.cases.flatMap((one, i): Problem[] => {
    const path = `cases.${i}`
    const wrong: Problem[] = []
    if (one.preferences !== undefined)
      wrong.push({
        path: `${path}.preferences`,
        what: 'is reserved: this version does not hear what people say',
        mend: 'take it out',
      })
    if ((one.sees === undefined) === (one.quarantine === undefined))
      wrong.push({ path, what: 'says not what becomes of it', mend: 'write either sees or quarantine' })
    if (one.at !== undefined && Number.isNaN(Date.parse(one.at)))
      wrong.push({ path: `${path}.at`, what: 'is no time', mend: 'write 2026-11-28T10:00:00Z' })
    return wrong
  })
  return found.length > 0
    ? { cases: null, problems: found }
    : { cases: { policy: file.policy ?? null, cases: file.cases }, problems: [] }
}

export interface CaseResult {
  readonly name: string
  /** What is not as the case says it; none: it passed. */
  readonly failures: readonly string[]
}

/** What no case looks at. */
export interface Coverage {
  /** Rules, `billing: call.called`, that no case has seen at work. */
  readonly rules: readonly string[]
  readonly allRules: number
  /** Purposes that no case names. */
  readonly purposes: readonly string[]
}

export interface CasesReport {
  readonly results: readonly CaseResult[]
  readonly coverage: Coverage
}

export interface CasesOptions {
  readonly policy: Policy
  readonly catalogue: Catalogue
  readonly tenants: readonly Tenant[]
  /** Models of devices that the settings add to the tables. */
  readonly models: OwnModels
  readonly futureMs: number
}

/** Names of the purposes, kinds or tenants that cases name and that are not there. */
export function caseProblems(cases: readonly PolicyCase[], { policy, catalogue, tenants }: CasesOptions): Problem[] {
  const purposes = policy.purposes.map(({ id }) => id)
  const known = tenants.map(({ name }) => name)
  return cases.flatMap((one, i) => {
    const path = `cases.${i}`
    const fields = [...catalogue.kinds[one.kind].byName.keys()]
    const unknown = (where: string, what: string, names: readonly string[], all: readonly string[]): Problem[] =>
      names
        .filter((name) => !all.includes(name))
        .map((name) => ({ path: `${path}.${where}.${name}`, what: `is no ${what}`, mend: useOneOf(name, all) }))
    return [
      ...unknown('record', `field of ${one.kind} records`, Object.keys(one.record), fields),
      ...unknown('sees', 'purpose that is on', Object.keys(one.sees ?? {}), purposes),
      ...Object.entries(one.sees ?? {}).flatMap(([purpose, sees]) =>
        unknown(`sees.${purpose}`, `field of ${one.kind} records`, namesOf(sees), fields),
      ),
      ...unknown('tenant', 'tenant of the settings', one.tenant === undefined ? [] : [one.tenant], known),
    ]
  })
}

function namesOf(sees: Expectation): string[] {
  if (sees === 'nothing' || typeof sees === 'string' || 'withheld' in sees) return []
  if ('fields' in sees) return sees.fields
  return Object.keys('exactly' in sees ? sees.exactly : sees.includes)
}

/** Runs cases that {@link caseProblems} has nothing against. */
export function runCases(cases: readonly PolicyCase[], options: CasesOptions): CasesReport {
  const { policy } = options
  const exercised = new Set<string>()
  const results = cases.map((one) => {
    const sight = sightOf(one, options)
    const failures = failuresOf(one, sight)
    for (const { purpose, fields } of sight?.purposes ?? [])
      if (one.sees !== undefined && Object.hasOwn(one.sees, purpose))
        for (const { field, sees } of fields) if (sees !== null) exercised.add(`${purpose}: ${one.kind}.${field}`)
    return { name: one.name, failures }
  })
  const all = policy.purposes.flatMap(({ id, kinds }) =>
    KINDS.flatMap((kind) => (kinds[kind]?.rules ?? []).map(({ field }) => `${id}: ${kind}.${field.name}`)),
  )
  const named = new Set(cases.flatMap(({ sees }) => Object.keys(sees ?? {})))
  return {
    results,
    coverage: {
      rules: all.filter((rule) => !exercised.has(rule)),
      allRules: all.length,
      purposes: policy.purposes.map(({ id }) => id).filter((id) => !named.has(id)),
    },
  }
}

/** What becomes of the record; null: nothing was read at all. */
function sightOf(one: PolicyCase, { policy, catalogue, tenants, models, futureMs }: CasesOptions): RecordSight | null {
  const kind = one.kind
  const record = Object.fromEntries(
    Object.entries(one.record).map(([name, value]) => [
      name,
      name.endsWith('_ms') && typeof value === 'string' ? Date.parse(value) : value,
    ]),
  )
  const start = record['start_ms']
  const nowMs = one.at !== undefined ? Date.parse(one.at) : typeof start === 'number' ? start : Date.now()
  const trial = new Trial({ policy, catalogue, tenants, models, futureMs, purposes: null, now: () => nowMs })
  const reader = new JsonLinesReader(builtInMapping('minim', catalogue, { kind, timeZone: 'UTC' }), catalogue)
  const line = Buffer.from(`${JSON.stringify(record)}\n`)
  for (const sight of trial.sights(reader, line, one.tenant ?? tenants[0].name)) return sight
  return null
}

function failuresOf(one: PolicyCase, sight: RecordSight | null): string[] {
  if (sight === null) return ['nothing was read of it']
  if (one.quarantine !== undefined)
    return sight.refused === one.quarantine
      ? []
      : [`expected quarantine (${one.quarantine}), but ${sight.refused === null ? 'it was taken' : sight.refused}`]
  if (sight.refused !== null) return [`it went to quarantine (${sight.refused})`]
  return Object.entries(one.sees ?? {}).flatMap(([purpose, expected]) => {
    const seen = sight.purposes.find((p) => p.purpose === purpose)
    return seen === undefined ? [`${purpose} is no purpose`] : purposeFailures(expected, seen)
  })
}

function purposeFailures(expected: Expectation, seen: PurposeSight): string[] {
  const { purpose, verdict, reason } = seen
  if (expected === 'nothing') return verdict === 'sees' ? [`${purpose} sees it, and should see nothing`] : []
  if (typeof expected === 'string') return [`${purpose}: "${expected}" is not understood`]
  if ('withheld' in expected)
    return verdict === 'withheld' && reason === expected.withheld
      ? []
      : [`${purpose}: expected withheld (${expected.withheld}), but ${reason ?? `it ${verdict}`}`]
  if (verdict !== 'sees') return [`${purpose} sees nothing${reason === null ? '' : ` (${reason})`}`]
  const shown = new Map(seen.fields.filter(({ sees }) => sees !== null).map((field) => [field.field, field]))
  if ('fields' in expected)
    return [...missing(purpose, expected.fields, shown), ...surplus(purpose, expected.fields, shown)]
  const fields = 'exactly' in expected ? expected.exactly : expected.includes
  const names = Object.keys(fields)
  return [
    ...missing(purpose, names, shown),
    ...('exactly' in expected ? surplus(purpose, names, shown) : []),
    ...Object.entries(fields).flatMap(([name, value]) => {
      const field = shown.get(name)
      return field === undefined || agrees(value, field)
        ? []
        : [`${purpose}: ${name} is ${JSON.stringify(field.sees)} (${field.why}), expected ${JSON.stringify(value)}`]
    }),
  ]
}

type Shown = ReadonlyMap<string, FieldSight>

function missing(purpose: string, names: readonly string[], shown: Shown): string[] {
  return names.filter((name) => !shown.has(name)).map((name) => `${purpose} does not see ${name}`)
}

function surplus(purpose: string, names: readonly string[], shown: Shown): string[] {
  return [...shown.values()]
    .filter(({ field }) => !names.includes(field))
    .map(({ field, why }) => `${purpose} sees ${field} (${why}), and should not`)
}

function agrees(expected: Value | { readonly is: unknown }, { sees, fate }: FieldSight): boolean {
  if (typeof expected !== 'object') return sees === expected
  return expected.is === 'seen' || fate === 'tokenised'
}
