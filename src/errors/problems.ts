/**
 * Checking files that operators write: every mistake at once, each with its path and its mend. Shared by policy and
 * settings.
 */
import { Ajv, type ErrorObject } from 'ajv'
import { type ErrorCode, MinimError, type Problem, problemLines } from './catalogue.js'

/** A file with mistakes. `problems` holds them one by one; the message holds them as lines. */
export class ProblemsError extends MinimError {
  readonly problems: readonly Problem[]
  /** Another file's mistakes, found on the way: told after these. */
  readonly also: ProblemsError | null
  constructor(code: ErrorCode, path: string, problems: readonly Problem[], also: ProblemsError | null = null) {
    super(code, { path, count: problems.length, problems: problemLines(problems) })
    this.problems = Object.freeze([...problems])
    this.also = also
  }
}

/** Edits that turn one word into the other, counting a swap of neighbours as one (optimal string alignment). */
export function distance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? before[j - 2] + 1 : Infinity
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1), swap)
    }
    before = last
    last = row
  }
  return last[b.length]
}

/** The names nearest to a mistyped one, best first; empty when none is near. */
export function nearest(name: string, known: Iterable<string>, count = 3): string[] {
  const wanted = name.toLowerCase().slice(0, 100)
  return (
    [...known]
      .map((candidate) => {
        const other = candidate.toLowerCase()
        const within = wanted.length > 2 && (other.includes(wanted) || wanted.includes(other))
        const edits = distance(wanted, other)
        const limit =
          wanted.length < 4 ? 1 : other.startsWith(wanted.slice(0, 4)) ? 4 : Math.max(2, Math.ceil(wanted.length / 3))
        return { candidate, edits: within ? Math.min(edits, 1) : edits, limit }
      })
      // Of a word that is changed altogether nothing is near.
      .filter(({ edits, limit }) => edits <= limit && edits < wanted.length)
      .sort((a, b) => a.edits - b.edits)
      .slice(0, count)
      .map(({ candidate }) => candidate)
  )
}

/** A mend for a name that is not known: the nearest known ones, or all of them when none is near. */
export function useOneOf(name: unknown, known: Iterable<string>): string {
  const all = [...known]
  const near = typeof name === 'string' ? nearest(name, all) : []
  return near.length > 0 ? `did you mean ${near.join(' or ')}?` : `use one of: ${all.join(', ')}`
}

/** `/purposes/billing/call` → `purposes.billing.call`. */
function dotted(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((s) => s.replace(/~1/g, '/').replace(/~0/g, '~'))
    .join('.')
}

function join(base: string, key: string): string {
  return base === '' ? key : `${base}.${key}`
}

interface SchemaNode {
  readonly description?: string
  readonly properties?: Readonly<Record<string, SchemaNode>>
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'a text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  object: 'a mapping',
  array: 'a list',
  null: 'null',
}

function typesOf(errors: readonly ErrorObject[]): string {
  const types = [...new Set(errors.flatMap((e) => [(e.params as { type: string | string[] }).type].flat()))]
  // Null is the exception: last.
  return types
    .sort((a, b) => Number(a === 'null') - Number(b === 'null'))
    .map((type) => TYPE_NAMES[type] ?? type)
    .join(' or ')
}

function describe(node: SchemaNode | undefined, fallback: string): string {
  return node?.description === undefined ? fallback : `needed: ${node.description}`
}

/** How many allowed values are listed beside the one that is near. */
const MAX_LISTED = 12

/**
 * One of ajv's errors as a problem. Values that were given are never repeated: in settings they may be secrets.
 * @param choice the choice that its schema is the only fitting form of: where both speak of the same place, it
 * describes all forms
 */
function problemOf(error: ErrorObject, choice: ErrorObject | null): Problem {
  const path = dotted(error.instancePath)
  const node = (
    choice?.instancePath === error.instancePath &&
    error.keyword !== 'additionalProperties' &&
    error.keyword !== 'required'
      ? choice
      : error
  ).parentSchema as SchemaNode | undefined
  const params = error.params as Record<string, unknown>
  switch (error.keyword) {
    case 'additionalProperties': {
      const key = String(params['additionalProperty'])
      const known = Object.keys(node?.properties ?? {})
      return {
        path: join(path, key),
        what: 'is unknown',
        mend: known.length > 0 ? useOneOf(key, known) : describe(node, 'take it out'),
      }
    }
    case 'required': {
      const key = String(params['missingProperty'])
      return {
        path: join(path, key),
        what: 'is missing',
        mend: `add it: ${node?.properties?.[key]?.description ?? key}`,
      }
    }
    case 'enum': {
      const allowed = (params['allowedValues'] as unknown[]).map(String)
      const mend = useOneOf(error.data, allowed)
      const all = `use one of: ${allowed.join(', ')}`
      return {
        path,
        what: 'is none of the allowed values',
        mend: mend === all || allowed.length > MAX_LISTED ? mend : `${mend} Else ${all}`,
      }
    }
    case 'const':
      return { path, what: 'is not the allowed value', mend: `write ${String(params['allowedValue'])}` }
    case 'type':
      return { path, what: `must be ${typesOf([error])}`, mend: describe(node, 'mend its type') }
    case 'pattern':
      return {
        path,
        what: 'is of another form',
        mend: describe(node, `write it to match ${String(params['pattern'])}`),
      }
    case 'anyOf':
    case 'oneOf':
      return { path, what: 'has none of the forms allowed here', mend: describe(node, 'see the schema') }
    default:
      return { path, what: error.message ?? error.keyword, mend: describe(node, 'see the schema') }
  }
}

/**
 * A checker made from a JSON Schema.
 */
export function checker(schema: object): (value: unknown) => Problem[] {
  // Each process starts with this. That the schemas are right the tests say; a check that runs once gains nothing by
  // being optimised.
  const validate = new Ajv({
    allErrors: true,
    verbose: true,
    strict: true,
    allowUnionTypes: true,
    meta: false,
    validateSchema: false,
    code: { optimize: false },
  }).compile(schema)
  return (value) => {
    if (validate(value)) return []
    // What is said first of a place (its type) makes the rest of it void.
    const seen = new Set<string>()
    return told(validate.errors ?? [], null).filter((p) => !seen.has(p.path) && seen.add(p.path))
  }
}

/**
 * Problems out of ajv's errors. The forms of a choice each say why they do not fit: those are left out, but for the one
 * that was meant.
 * @param choice the choice that these are a form's errors of
 */
function told(errors: readonly ErrorObject[], choice: ErrorObject | null): Problem[] {
  const choices = errors.filter((e) => e.keyword === 'anyOf' || e.keyword === 'oneOf')
  const within = (c: ErrorObject, e: ErrorObject): boolean =>
    c !== e && e.instancePath.startsWith(c.instancePath) && e.schemaPath.startsWith(`${c.schemaPath}/`)
  return errors
    .filter((e) => !choices.some((c) => within(c, e)))
    .flatMap((e) =>
      choices.includes(e)
        ? ofChoice(
            e,
            errors.filter((inner) => within(e, inner)),
          )
        : [problemOf(e, choice)],
    )
}

/** @param inner the errors of all its forms */
function ofChoice(choice: ErrorObject, inner: readonly ErrorObject[]): Problem[] {
  const forms = new Map<string, ErrorObject[]>()
  for (const e of inner) {
    const [form] = e.schemaPath.slice(choice.schemaPath.length + 1).split('/')
    forms.set(form, [...(forms.get(form) ?? []), e])
  }
  const ofType = (e: ErrorObject): boolean => e.keyword === 'type' && e.instancePath === choice.instancePath
  const meant = [...forms.values()].filter((form) => !form.some(ofType)).sort((a, b) => a.length - b.length)
  // No form is of the type that was written, or one only, or one that more of it fits.
  if (meant.length === 0) {
    const path = dotted(choice.instancePath)
    return [
      {
        path,
        what: `must be ${typesOf(inner.filter(ofType))}`,
        mend: describe(choice.parentSchema as SchemaNode | undefined, 'mend its type'),
      },
    ]
  }
  return meant.length === 1 || meant[0].length < meant[1].length ? told(meant[0], choice) : [problemOf(choice, null)]
}

/** Freezes a value and all that it holds, in place. Maps, buffers and typed arrays are left as they are. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    const proto: unknown = Object.getPrototypeOf(value)
    if (proto === Object.prototype || proto === Array.prototype || proto === null) {
      Object.freeze(value)
      for (const part of Object.values(value)) deepFreeze(part)
    }
  }
  return value
}
