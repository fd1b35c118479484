/** Checking files that operators write: every mistake at once, each with its path and its mend. Shared by policy and settings. */
import { Ajv, type ErrorObject } from 'ajv'
import { parseDocument } from 'yaml'
import { MinimError, problemLines, type ErrorCode, type Problem } from './catalogue.js'

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
function distance(a: string, b: string): number {
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
  return [...known]
    .map((candidate) => {
      const other = candidate.toLowerCase()
      const within = wanted.length > 2 && (other.includes(wanted) || wanted.includes(other))
      const edits = distance(wanted, other)
      const limit = wanted.length < 4 ? 1 : other.startsWith(wanted.slice(0, 4)) ? 4 : Math.max(2, Math.ceil(wanted.length / 3))
      return { candidate, edits: within ? Math.min(edits, 1) : edits, limit }
    })
    .filter(({ edits, limit }) => edits <= limit)
    .sort((a, b) => a.edits - b.edits)
    .slice(0, count)
    .map(({ candidate }) => candidate)
}

/** A mend for a name that is not known: the nearest known ones, or all of them when none is near. */
export function useOneOf(name: unknown, known: Iterable<string>): string {
  const all = [...known]
  const near = typeof name === 'string' ? nearest(name, all) : []
  return near.length > 0 ? `did you mean ${near.join(' or ')}?` : `use one of: ${all.join(', ')}`
}

/** `/purposes/billing/call` → `purposes.billing.call`. */
function dotted(pointer: string): string {
  return pointer.split('/').slice(1).map((s) => s.replace(/~1/g, '/').replace(/~0/g, '~')).join('.')
}

function join(base: string, key: string): string {
  return base === '' ? key : `${base}.${key}`
}

interface SchemaNode {
  readonly description?: string
  readonly properties?: Readonly<Record<string, SchemaNode>>
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'a text', integer: 'a whole number', number: 'a number', boolean: 'true or false', object: 'a mapping', array: 'a list', null: 'empty',
}

function describe(node: SchemaNode | undefined, fallback: string): string {
  return node?.description === undefined ? fallback : `needed: ${node.description}`
}

/** One of ajv's errors as a problem. Values that were given are never repeated: in settings they may be secrets. */
function problemOf(error: ErrorObject): Problem {
  const path = dotted(error.instancePath)
  const node = error.parentSchema as SchemaNode | undefined
  const params = error.params as Record<string, unknown>
  switch (error.keyword) {
    case 'additionalProperties': {
      const key = String(params['additionalProperty'])
      const known = Object.keys(node?.properties ?? {})
      return { path: join(path, key), what: 'is unknown', mend: known.length > 0 ? useOneOf(key, known) : describe(node, 'take it out') }
    }
    case 'required': {
      const key = String(params['missingProperty'])
      return { path: join(path, key), what: 'is missing', mend: `add it: ${node?.properties?.[key]?.description ?? key}` }
    }
    case 'enum': {
      const allowed = (params['allowedValues'] as unknown[]).map(String)
      return { path, what: 'is none of the allowed values', mend: useOneOf(error.data, allowed) }
    }
    case 'const':
      return { path, what: 'is not the allowed value', mend: `write ${String(params['allowedValue'])}` }
    case 'type': {
      const wanted = [params['type']].flat().map((type) => TYPE_NAMES[String(type)] ?? String(type)).join(' or ')
      return { path, what: `must be ${wanted}`, mend: describe(node, 'mend its type') }
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
  // Each process starts with this. That the schemas are right the tests say; a check that runs once gains nothing by being optimised.
  const validate = new Ajv({ allErrors: true, verbose: true, strict: true, allowUnionTypes: true, meta: false, validateSchema: false, code: { optimize: false } }).compile(schema)
  return (value) => {
    if (validate(value)) return []
    const errors = validate.errors ?? []
    // The branches of a choice each say why they do not fit: the choice itself says it once.
    const choices = errors.filter((e) => e.keyword === 'anyOf' || e.keyword === 'oneOf')
    const told = errors.filter((e) => !choices.some((c) => c !== e && c.instancePath.length <= e.instancePath.length && e.schemaPath.startsWith(`${c.schemaPath}/`)))
    // What is said first of a place (its type) makes the rest of it void.
    const seen = new Set<string>()
    return told.map(problemOf).filter((p) => !seen.has(p.path) && seen.add(p.path))
  }
}

/** YAML text as plain values; its mistakes (duplicate keys and unknown tags included) as problems with their line. */
export function readYaml(text: string): { readonly value: unknown; readonly problems: readonly Problem[] } {
  const document = parseDocument(text, { prettyErrors: false, strict: true, uniqueKeys: true, stringKeys: true })
  const problems = [...document.errors, ...document.warnings].map((e) => {
    const line = text.slice(0, e.pos[0]).split('\n').length
    return { path: `line ${line}`, what: `is not understood as YAML (${e.code.toLowerCase().replace(/_/g, ' ')})`, mend: 'mend the YAML there' }
  })
  if (problems.length > 0) return { value: undefined, problems }
  try {
    return { value: document.toJS({ maxAliasCount: 100 }), problems }
  } catch {
    return { value: undefined, problems: [{ path: '', what: 'its aliases cannot be resolved', mend: 'write the values out' }] }
  }
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
