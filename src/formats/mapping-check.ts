/** Checks a mapping out of the settings: all its mistakes at once, each with its mend. */
import { type Catalogue, fieldOf, type Kind, type KindCatalogue, KINDS } from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import { isTimeZone } from './local-time.js'
import {
  type CheckedMapping,
  CONVERSIONS,
  defaultConversion,
  defaultOrigin,
  fits,
  type MappedKey,
  MappingSettings,
} from './mapping.js'

/** Columns of a line that are read at most. */
const MAX_COLUMNS = 256
const MAX_KEY_LENGTH = 128

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isKey(value: unknown): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_KEY_LENGTH
}

/**
 * Checks a mapping out of the settings and resolves it against the catalogue. Finds all mistakes, not the first.
 * @param path where it stands in the settings, for the problems' paths
 */
export function checkMapping(settings: unknown, catalogue: Catalogue, name: string, path: string): CheckedMapping {
  if (isObject(settings)) return new MappingCheck(settings, catalogue, path).run(name)
  const mend = 'write { kind: call, fields: { <key>: <field>, … }, drop: [<key>, …] }'
  return { mapping: null, problems: [{ path, what: 'is no mapping', mend }] }
}

class MappingCheck {
  readonly #settings: Readonly<Record<string, unknown>>
  readonly #catalogue: Catalogue
  readonly #path: string
  readonly #problems: Problem[] = []
  /** Undefined where it is wrong: then its fields cannot be. */
  readonly #kind: Kind | undefined
  readonly #fieldsOfKind: KindCatalogue

  constructor(settings: Readonly<Record<string, unknown>>, catalogue: Catalogue, path: string) {
    this.#settings = settings
    this.#catalogue = catalogue
    this.#path = path
    this.#kind = KINDS.find((k) => k === (settings['kind'] ?? 'call'))
    this.#fieldsOfKind = catalogue.kinds[this.#kind ?? 'call']
  }

  run(name: string): CheckedMapping {
    const known = Object.keys(MappingSettings.properties)
    for (const key of Object.keys(this.#settings))
      if (!known.includes(key)) this.#wrong(key, 'is unknown', `use one of ${known.join(', ')}`)
    const kind = this.#kind
    if (kind === undefined) this.#wrong('kind', 'is no kind of record', `use one of ${KINDS.join(', ')}`)
    const timeZone = this.#timeZone()
    const origin = this.#origin()
    const keys = this.#fields()
    const dropped = this.#dropped()
    const columns = this.#columns(dropped)
    if (kind === undefined || this.#problems.length > 0) return { mapping: null, problems: this.#problems }
    return {
      mapping: {
        name,
        kind,
        timeZone,
        origin,
        defaultOrigin: defaultOrigin(this.#catalogue, kind),
        keys,
        dropped,
        columns: columns.length > 0 ? [columns] : [],
      },
      problems: this.#problems,
    }
  }

  #wrong(at: string, what: string, mend: string): void {
    this.#problems.push({ path: at === '' ? this.#path : `${this.#path}.${at}`, what, mend })
  }

  #timeZone(): string {
    const timeZone = this.#settings['timeZone'] ?? 'UTC'
    if (typeof timeZone === 'string' && isTimeZone(timeZone)) return timeZone
    this.#wrong('timeZone', 'is no time zone', 'use an IANA name such as Europe/London')
    return 'UTC'
  }

  #origin(): number | null {
    const origin = this.#settings['origin']
    if (origin === undefined) return null
    const numbers = fieldOf(this.#fieldsOfKind, 'origin').enumNumbers
    const number = typeof origin === 'string' ? numbers.get(origin) : undefined
    if (number !== undefined) return number
    const names = [...numbers.keys()].filter((n) => !n.endsWith('UNSPECIFIED'))
    this.#wrong('origin', 'is no origin', `use one of ${names.join(', ')}`)
    return null
  }

  #fields(): MappedKey[] {
    const fields = this.#settings['fields']
    if (!isObject(fields) || Object.keys(fields).length === 0) {
      this.#wrong('fields', 'maps nothing', 'name at least the key of the start time: { start: start_ms }')
      return []
    }
    const keys = Object.entries(fields).flatMap(([key, target]) => this.#target(key, target) ?? [])
    const hasStart = Object.values(fields).some((target) => fieldNameOf(target) === 'start_ms')
    if (this.#kind !== undefined && !hasStart)
      this.#wrong(
        'fields',
        'gives no start_ms, so every record would be refused',
        'map the key that holds the start time to start_ms',
      )
    return keys
  }

  #target(key: string, target: unknown): MappedKey | null {
    const at = `fields.${key}`
    if (!isKey(key)) {
      this.#wrong('fields', `has a key of ${key.length} characters`, 'use keys of 1 to 128 characters')
      return null
    }
    const fieldName = fieldNameOf(target)
    if (typeof fieldName !== 'string') {
      this.#wrong(at, 'names no field', "write the field's name, or { field: <name>, as: <conversion> }")
      return null
    }
    if (isObject(target)) {
      for (const extra of Object.keys(target))
        if (extra !== 'field' && extra !== 'as') this.#wrong(`${at}.${extra}`, 'is unknown', 'use field and as')
    }
    if (this.#kind === undefined) return null
    const field = this.#fieldsOfKind.byName.get(fieldName)
    if (field === undefined) {
      const names = this.#fieldsOfKind.fields.filter((f) => f.derivedFrom === null).map((f) => f.name)
      this.#wrong(at, `"${fieldName}" is no field of ${this.#kind}`, `use one of ${names.join(', ')}`)
      return null
    }
    if (field.derivedFrom !== null) {
      this.#wrong(
        at,
        `"${fieldName}" is made by minim from ${field.derivedFrom}`,
        `map the key to ${field.derivedFrom}`,
      )
      return null
    }
    const given = isObject(target) ? target['as'] : undefined
    const as = given === undefined ? defaultConversion(field) : CONVERSIONS.find((c) => c === given)
    if (as !== undefined && fits(as, field)) return { key, field, as }
    this.#wrong(
      `${at}.as`,
      as === undefined ? 'is no conversion' : `${as} does not give a ${field.type} such as ${field.name}`,
      `use one of ${CONVERSIONS.filter((c) => fits(c, field)).join(', ')}`,
    )
    return null
  }

  #dropped(): string[] {
    const fields = this.#settings['fields']
    const dropped = this.#keys('drop')
    for (const key of dropped) {
      if (isObject(fields) && Object.hasOwn(fields, key))
        this.#wrong('drop', `"${key}" is also in fields`, 'keep it in one of the two')
    }
    return dropped
  }

  #columns(dropped: readonly string[]): string[] {
    const { columns: given, fields } = this.#settings
    const columns = this.#keys('columns')
    if (columns.length === 0 && Array.isArray(given))
      this.#wrong('columns', 'is empty', 'name every column in order, or leave it out')
    if (columns.length > MAX_COLUMNS)
      this.#wrong('columns', `has ${columns.length} names`, 'at most 256 columns are read')
    if (columns.length === 0 || !isObject(fields)) return columns
    for (const column of columns) {
      if (!Object.hasOwn(fields, column) && !dropped.includes(column))
        this.#wrong('columns', `"${column}" is neither in fields nor in drop`, 'add it to one of the two')
    }
    for (const key of Object.keys(fields))
      if (!columns.includes(key)) this.#wrong(`fields.${key}`, 'is no column', 'name it in columns, or remove it')
    if (new Set(columns).size < columns.length)
      this.#wrong('columns', 'names a column twice', 'give each column a name of its own')
    return columns
  }

  #keys(setting: 'drop' | 'columns'): string[] {
    const value = this.#settings[setting]
    if (value === undefined) return []
    if (!Array.isArray(value)) {
      this.#wrong(setting, 'is no list', `write ${setting}: [<key>, …]`)
      return []
    }
    const good = (value as unknown[]).filter((key): key is string => isKey(key))
    const bad = value.length - good.length
    if (bad > 0) this.#wrong(setting, `holds ${bad} entries that are no keys`, 'use names of 1 to 128 characters')
    return good
  }
}

/** The field that a key is mapped to: its name alone, or beside its conversion. */
function fieldNameOf(target: unknown): unknown {
  return isObject(target) ? target['field'] : target
}
