/**
 * The data catalogue: what a record may hold, what kind of data each field is, and whose.
 *
 * Read once from `proto/`, where each field carries its category, identifier type and data subject as options.
 * Everything behind this room (policy, columns, projection, `minim explain`) speaks of fields by what is found here;
 * a field that is not here does not exist for minim, so it is dropped.
 */
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'
import type { FieldName } from './field-names.js'

export type { FieldName, FieldNameOf } from './field-names.js'

export const KINDS = ['call', 'quality', 'device'] as const
export type Kind = (typeof KINDS)[number]

/** Which message carries a kind, and under which number `Batch` repeats it. */
const KIND_MESSAGES: Record<Kind, { message: string; batchField: number }> = {
  call: { message: 'minim.v1.Call', batchField: 4 },
  quality: { message: 'minim.v1.Quality', batchField: 5 },
  device: { message: 'minim.v1.Device', batchField: 6 },
}

const CATEGORIES = ['TRAFFIC', 'LOCATION', 'IP_ADDRESS', 'DEVICE', 'CONTACT', 'ACCOUNT', 'ORGANISATION'] as const
export type Category = (typeof CATEGORIES)[number]

const IDENTIFIERS = [
  'NOT_AN_IDENTIFIER',
  'PARTY',
  'IP',
  'MAC',
  'ACCOUNT_CODE',
  'CALL',
  'SERIAL',
  'USER_AGENT_TEXT',
  'NAME',
  'TENANT',
  'TRUNK_NAME',
  'FREE_TEXT',
] as const
export type Identifier = (typeof IDENTIFIERS)[number]

const SUBJECTS = ['NOBODY', 'CALLER', 'CALLEE', 'ACCOUNT_HOLDER', 'DEVICE_USER', 'BOTH_PARTIES'] as const
export type Subject = (typeof SUBJECTS)[number]

const FIELD_TYPES = ['string', 'uint32', 'uint64', 'float', 'enum'] as const
export type FieldType = (typeof FIELD_TYPES)[number]

/** The number of the tag in every record that leaves minim. */
export const TAG_FIELD = 15

export interface Field {
  readonly kind: Kind
  readonly name: FieldName
  /** Protobuf field number, the same going in and coming out. */
  readonly number: number
  /** Dense index: the field's place in the columns. Ascending with `number`. */
  readonly index: number
  readonly type: FieldType
  readonly category: Category
  readonly identifier: Identifier
  readonly whose: Subject
  /** Name of the field that a treatment makes this one from; such a field is never taken from a source. */
  readonly derivedFrom: FieldName | null
  /** For enums: the protobuf enum's name, its names by number, its numbers by name. */
  readonly enumName: string | null
  readonly enumNames: readonly (string | undefined)[]
  readonly enumNumbers: ReadonlyMap<string, number>
  readonly comment: string | null
}

/** A field that a kind of record has for certain. @throws TypeError where it has none of this name */
export function fieldOf(kind: KindCatalogue, name: FieldName): Field {
  const field = kind.byName.get(name)
  if (field === undefined) throw new TypeError(`a ${kind.kind} has no ${name}`)
  return field
}

/** Whether a field is a point in time, ms since 1970. Lengths of time in milliseconds are floats. */
export function isTime({ type, name }: Pick<Field, 'type' | 'name'>): boolean {
  return type === 'uint64' && name.endsWith('_ms')
}

/** A name that is written out in code must be a field's; one that is only known to be a string comes from outside. */
type Spelt<N extends string> = string extends N ? unknown : N extends FieldName ? unknown : never

/** Fields by name: of a policy, a mapping, a command line, or of code, where a misspelt one does not compile. */
export interface FieldsByName {
  get<N extends string>(name: N & Spelt<N>): Field | undefined
  has<N extends string>(name: N & Spelt<N>): boolean
  keys(): IterableIterator<string>
}

export interface KindCatalogue {
  readonly kind: Kind
  /** Full protobuf name: `minim.v1.Call`. */
  readonly message: string
  readonly batchField: number
  /** Ascending by number; `fields[i].index === i`. The tag is not among them. */
  readonly fields: readonly Field[]
  readonly byName: FieldsByName
  /**
   * Index by protobuf number, -1 where there is none (derived fields and the tag too: they are not taken from sources).
   */
  readonly indexByNumber: Int16Array
}

export interface Catalogue {
  readonly kinds: Readonly<Record<Kind, KindCatalogue>>
  readonly root: protobuf.Root
}

/** What the proto files lack: one sentence per mistake. Thrown by {@link readCatalogue}. */
export class CatalogueError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`the data catalogue in proto/ is incomplete:\n${problems.map((p) => `  ${p}`).join('\n')}`)
    this.name = 'CatalogueError'
    this.problems = problems
  }
}

const PROTO_FOLDER = fileURLToPath(new URL('../../../proto/', import.meta.url))

/** Folder of the shipped `.proto` files. */
export function protoFolder(): string {
  return PROTO_FOLDER
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[]): T | null {
  return typeof value === 'string' && (allowed as readonly string[]).includes(value) ? (value as T) : null
}

function readField(kind: Kind, field: protobuf.Field, index: number, problems: string[]): Field {
  const where = `${KIND_MESSAGES[kind].message}.${field.name} = ${field.id}`
  const options = (field.options ?? {}) as Record<string, unknown>
  const category = oneOf(options['(category)'], CATEGORIES)
  if (category === null)
    problems.push(`${where}: has no data category; add [(category) = …], one of ${CATEGORIES.join(', ')}`)
  const identifier =
    options['(identifier)'] === undefined ? 'NOT_AN_IDENTIFIER' : oneOf(options['(identifier)'], IDENTIFIERS)
  if (identifier === null) problems.push(`${where}: identifier type is unknown; use one of ${IDENTIFIERS.join(', ')}`)
  const whose = oneOf(options['(whose)'], SUBJECTS)
  if (whose === null)
    problems.push(`${where}: does not say whose data it is; add [(whose) = …], one of ${SUBJECTS.join(', ')}`)
  if (field.repeated || field.map) problems.push(`${where}: is ${field.map ? 'a map' : 'repeated'}; records are flat`)
  if (field.id > 511) problems.push(`${where}: number is above 511`)
  const resolved = field.resolvedType
  const isEnum = resolved instanceof protobuf.Enum
  const type = isEnum ? 'enum' : oneOf(field.type, FIELD_TYPES)
  if (type === null) problems.push(`${where}: type ${field.type} is not carried; use one of ${FIELD_TYPES.join(', ')}`)
  const derivedFrom = typeof options['(derived_from)'] === 'string' ? (options['(derived_from)'] as FieldName) : null
  const enumNames: (string | undefined)[] = []
  const enumNumbers = new Map<string, number>()
  if (isEnum) {
    for (const [name, number] of Object.entries(resolved.values)) {
      enumNames[number] = name
      enumNumbers.set(name, number)
    }
  }
  return {
    kind,
    index,
    derivedFrom,
    enumNames,
    enumNumbers,
    // Only the shipped `proto/` is held equal to the names in code; another folder, which tests read, has any.
    name: snake(field.name) as FieldName,
    number: field.id,
    type: type ?? 'string',
    category: category ?? 'CONTACT',
    identifier: identifier ?? 'FREE_TEXT',
    whose: whose ?? 'BOTH_PARTIES',
    enumName: isEnum ? resolved.name : null,
    comment: field.comment,
  }
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
}

function readKind(root: protobuf.Root, kind: Kind, problems: string[]): KindCatalogue {
  const { message, batchField } = KIND_MESSAGES[kind]
  const type = root.lookupType(message)
  const fields = [...type.fieldsArray]
    .sort((a, b) => a.id - b.id)
    .filter((f) => {
      if (f.id !== TAG_FIELD) return true
      if (f.name !== 'tag') problems.push(`${message}.${f.name} = ${f.id}: number ${TAG_FIELD} is the tag's`)
      return false
    })
    .map((f, i) => readField(kind, f.resolve(), i, problems))
  const byName = new Map<string, Field>(fields.map((f) => [f.name, f]))
  const indexByNumber = new Int16Array(512).fill(-1)
  for (const f of fields) {
    if (f.derivedFrom === null) indexByNumber[f.number] = f.index
    else if (!byName.has(f.derivedFrom))
      problems.push(`${message}.${f.name} = ${f.number}: derived from "${f.derivedFrom}", which is no field of it`)
  }
  return { kind, message, batchField, fields, byName, indexByNumber }
}

/**
 * Reads the catalogue from a folder of proto files.
 * @throws CatalogueError naming every field without a category, subject or carried type
 */
export function readCatalogue(folder: string = PROTO_FOLDER): Catalogue {
  const root = new protobuf.Root()
  root.resolvePath = (_origin, target) => {
    if (target.startsWith('google/protobuf/')) return createRequire(import.meta.url).resolve(`protobufjs/${target}`)
    return path.isAbsolute(target) ? target : path.join(folder, target)
  }
  root.loadSync(['minim/v1/ingest.proto'], { keepCase: true, alternateCommentMode: true })
  root.resolveAll()
  const problems: string[] = []
  const kinds = {
    call: readKind(root, 'call', problems),
    quality: readKind(root, 'quality', problems),
    device: readKind(root, 'device', problems),
  }
  if (problems.length > 0) throw new CatalogueError(problems)
  return { kinds, root }
}

let shared: Catalogue | null = null

/** The catalogue of the shipped proto files, read once. */
export function catalogue(): Catalogue {
  shared ??= readCatalogue()
  return shared
}
