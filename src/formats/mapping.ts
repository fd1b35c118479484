/**
 * Mappings: which key or column of an input becomes which field, and how its value is converted.
 *
 * Two are built in: `asterisk-cdr` (the names and columns of Asterisk's call detail records) and `minim` (the
 * catalogue's own names). Others come from the settings. A key that is neither mapped nor dropped is unknown: counted,
 * never named.
 */
import { type Static, Type } from '@sinclair/typebox'
import {
  type Catalogue,
  type Field,
  type FieldNameOf,
  fieldOf,
  isTime,
  type Kind,
  KINDS,
} from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import type { BuiltInMapping } from '../flow/file-formats.js'

/**
 * How a value is read. An empty one, and `null`, is absent whatever the conversion.
 *
 * - `text`: as it is
 * - `integer`: a whole number; `whole`: a number, its fraction cut off; `float`: a number
 * - `seconds-to-ms`: a number of seconds, kept as milliseconds
 * - `epoch-seconds`, `epoch-ms`, `epoch-us`: a time since 1970, cut to milliseconds; 0 is absent
 * - `local-time`: `YYYY-MM-DD HH:MM:SS[.f…]` on the wall clock of the mapping's time zone; all zeros is absent
 * - `iso-8601`: the same with `Z` or an offset, which wins over the time zone
 * - `asterisk-time`: either of these, or epoch seconds with a fraction
 * - `disposition`: how a call ended, in Asterisk's and SIP servers' words
 * - `enum`: a name of the field's enum, in any case, or its number
 * - `caller-id`: `"Name" <number>`: the name; the number becomes `calling` where nothing else gives it
 * - `unique-id`: `[system-]seconds.count`; anything else in that place is absent
 * - `sip-call-id`: the Call-ID of the call's signalling: goes before whatever else the row gives for that field
 */
export const CONVERSIONS = [
  'text',
  'integer',
  'whole',
  'float',
  'seconds-to-ms',
  'epoch-seconds',
  'epoch-ms',
  'epoch-us',
  'local-time',
  'iso-8601',
  'asterisk-time',
  'disposition',
  'enum',
  'caller-id',
  'unique-id',
  'sip-call-id',
] as const
export type Conversion = (typeof CONVERSIONS)[number]

export interface MappedKey {
  /** Key of a JSON object, or name of a column. */
  readonly key: string
  readonly field: Field
  readonly as: Conversion
}

export interface Mapping {
  readonly name: string
  readonly kind: Kind
  /** IANA name of the zone that times without an offset are in. */
  readonly timeZone: string
  /** Written into every record's `origin`; null: what the input says. */
  readonly origin: number | null
  /** Written where neither {@link origin} nor the input says anything: each record says where it comes from. */
  readonly defaultOrigin?: number
  readonly keys: readonly MappedKey[]
  /** Known, and never taken: free text, channel names, contexts. Not counted as unknown. */
  readonly dropped: readonly string[]
  /** CSV: names of the columns in order, one list per number of columns that a line may have. */
  readonly columns: readonly (readonly string[])[]
}

const ASTERISK_KEYS: readonly (readonly [key: string, field: FieldNameOf<'call'>, as: Conversion])[] = [
  ['accountcode', 'account', 'text'],
  ['src', 'calling', 'text'],
  ['dst', 'called', 'text'],
  ['clid', 'calling_name', 'caller-id'],
  ['start', 'start_ms', 'asterisk-time'],
  ['answer', 'answer_ms', 'asterisk-time'],
  ['end', 'end_ms', 'asterisk-time'],
  ['duration', 'duration_seconds', 'whole'],
  ['billsec', 'billable_seconds', 'whole'],
  ['disposition', 'disposition', 'disposition'],
  ['uniqueid', 'call_id', 'text'],
  ['linkedid', 'linked_id', 'text'],
  // Set in the dialplan: signalling and quality reports know the call by this name only, so it goes before Asterisk's
  // own.
  ['sipcallid', 'call_id', 'sip-call-id'],
  ['sip_call_id', 'call_id', 'sip-call-id'],
  ['pjsip_call_id', 'call_id', 'sip-call-id'],
  ['pjsipcallid', 'call_id', 'sip-call-id'],
]

/** The same as AMI and the older cdr_kafka call them; and what the newer cdr_kafka calls otherwise than cdr-csv. */
const ASTERISK_OTHER_KEYS: readonly (readonly [key: string, field: FieldNameOf<'call'>, as: Conversion])[] = [
  ['durationsec', 'duration_seconds', 'whole'],
  ['AccountCode', 'account', 'text'],
  ['Source', 'calling', 'text'],
  ['Destination', 'called', 'text'],
  ['CallerID', 'calling_name', 'caller-id'],
  ['StartTime', 'start_ms', 'asterisk-time'],
  ['AnswerTime', 'answer_ms', 'asterisk-time'],
  ['EndTime', 'end_ms', 'asterisk-time'],
  ['Duration', 'duration_seconds', 'whole'],
  ['Billsec', 'billable_seconds', 'whole'],
  ['BillableSeconds', 'billable_seconds', 'whole'],
  ['Disposition', 'disposition', 'disposition'],
  ['UniqueID', 'call_id', 'text'],
  ['LinkedID', 'linked_id', 'text'],
]

/** In the one place where either `uniqueid` or `userfield` may stand: taken only if it looks like the former. */
const MAYBE_UNIQUEID = 'uniqueid-or-userfield'

/** Numbers and names hide in all of these. */
const ASTERISK_DROPPED = [
  'dcontext',
  'channel',
  'dstchannel',
  'lastapp',
  'lastdata',
  'amaflags',
  'userfield',
  'peeraccount',
  'sequence',
  'DestinationContext',
  'Channel',
  'DestinationChannel',
  'LastApplication',
  'LastData',
  'AMAFlags',
  'UserField',
  'EntityID',
  'SystemName',
]

const CDR_CSV = [
  'accountcode',
  'src',
  'dst',
  'dcontext',
  'clid',
  'channel',
  'dstchannel',
  'lastapp',
  'lastdata',
  'start',
  'answer',
  'end',
  'duration',
  'billsec',
  'disposition',
  'amaflags',
]
const CDR_CSV_NEW = ['peeraccount', 'linkedid', 'sequence']

/**
 * What cdr-csv writes by its options loguniqueid, loguserfield and newcdrcolumns; and all of it with the SIP Call-ID.
 */
const CDR_CSV_VARIANTS = [
  CDR_CSV,
  [...CDR_CSV, MAYBE_UNIQUEID],
  [...CDR_CSV, 'uniqueid', 'userfield'],
  [...CDR_CSV, ...CDR_CSV_NEW],
  [...CDR_CSV, MAYBE_UNIQUEID, ...CDR_CSV_NEW],
  [...CDR_CSV, 'uniqueid', 'userfield', ...CDR_CSV_NEW],
  // cdr_custom with one more: cdr-csv has no columns of the operator's own.
  [...CDR_CSV, 'uniqueid', 'userfield', ...CDR_CSV_NEW, 'sipcallid'],
]

/** Words for how a call ended, besides the enum's own names; letters only, case ignored. null: it says nothing. */
export const DISPOSITION_WORDS: Readonly<Record<string, string | null>> = {
  ANSWER: 'ANSWERED',
  NORMALCLEARING: 'ANSWERED',
  NOANSWER: 'NO_ANSWER',
  NOTANSWERED: 'NO_ANSWER',
  USERBUSY: 'BUSY',
  FAIL: 'FAILED',
  CHANUNAVAIL: 'FAILED',
  CANCEL: 'CANCELLED',
  CANCELED: 'CANCELLED',
  ORIGINATORCANCEL: 'CANCELLED',
  UNKNOWN: null,
}

/** How a field is read where the settings do not say. */
export function defaultConversion(field: Field): Conversion {
  if (field.type === 'string') return 'text'
  if (field.type === 'float') return 'float'
  if (field.type !== 'enum') return isTime(field) ? 'epoch-ms' : 'integer'
  return field.enumName === 'Disposition' ? 'disposition' : 'enum'
}

/** Whether a conversion gives what a field holds. */
export function fits(as: Conversion, field: Field): boolean {
  switch (as) {
    case 'text':
    case 'caller-id':
    case 'unique-id':
    case 'sip-call-id':
      return field.type === 'string'
    case 'integer':
    case 'whole':
      return field.type === 'uint32' || field.type === 'uint64'
    case 'float':
      return field.type === 'float'
    case 'seconds-to-ms':
      return field.name.endsWith('_ms')
    case 'epoch-seconds':
    case 'epoch-ms':
    case 'epoch-us':
    case 'local-time':
    case 'iso-8601':
    case 'asterisk-time':
      return isTime(field)
    case 'disposition':
      return field.enumName === 'Disposition'
    case 'enum':
      return field.type === 'enum'
  }
}

/** What a record of each kind comes from, where nobody says otherwise. */
const DEFAULT_ORIGINS: Readonly<Record<Kind, string>> = { call: 'CDR', quality: 'REPORT', device: 'REGISTRATION' }

/** The number of an origin's name; it is one of the catalogue's. */
function originNumber(catalogue: Catalogue, kind: Kind, name: string): number {
  const number = fieldOf(catalogue.kinds[kind], 'origin').enumNumbers.get(name)
  if (number === undefined) throw new TypeError(`no origin ${name}`)
  return number
}

/** What is written into records whose input does not say where it comes from. */
export function defaultOrigin(catalogue: Catalogue, kind: Kind): number {
  return originNumber(catalogue, kind, DEFAULT_ORIGINS[kind])
}

/**
 * A mapping that is built in.
 * @param options `kind` is for `minim` (default call); `timeZone` for times without an offset (default UTC)
 */
export function builtInMapping(
  name: BuiltInMapping,
  catalogue: Catalogue,
  options: { kind?: Kind; timeZone?: string } = {},
): Mapping {
  const timeZone = options.timeZone ?? 'UTC'
  if (name === 'minim') {
    const kind = options.kind ?? 'call'
    const fields = catalogue.kinds[kind].fields.filter((f) => f.derivedFrom === null)
    const keys = fields.map((field): MappedKey => ({ key: field.name, field, as: defaultConversion(field) }))
    return {
      name,
      kind,
      timeZone,
      origin: null,
      defaultOrigin: defaultOrigin(catalogue, kind),
      keys,
      dropped: [],
      columns: [],
    }
  }
  const call = catalogue.kinds.call
  const keys = [...ASTERISK_KEYS, ...ASTERISK_OTHER_KEYS].map(([key, field, as]): MappedKey => ({
    key,
    field: fieldOf(call, field),
    as,
  }))
  keys.push({ key: MAYBE_UNIQUEID, field: fieldOf(call, 'call_id'), as: 'unique-id' })
  const origin = originNumber(catalogue, 'call', 'CDR')
  return { name, kind: 'call', timeZone, origin, keys, dropped: ASTERISK_DROPPED, columns: CDR_CSV_VARIANTS }
}

const Key = Type.String({ minLength: 1, maxLength: 128 })

/**
 * A mapping in the settings: `{ kind: call, timeZone: Europe/London, fields: { src: calling, … }, drop: [userfield] }`.
 */
export const MappingSettings = Type.Object(
  {
    kind: Type.Optional(
      Type.Union(
        KINDS.map((k) => Type.Literal(k)),
        { description: 'What one line is: call (default), quality or device.' },
      ),
    ),
    timeZone: Type.Optional(
      Type.String({ minLength: 1, description: 'Zone of times without an offset: an IANA name. Default UTC.' }),
    ),
    origin: Type.Optional(
      Type.String({
        description:
          'Written into every record: CDR, SIGNALLING, REPORT or REGISTRATION. Default: what the input says, ' +
          'else CDR for calls, REPORT for qualities, REGISTRATION for devices.',
      }),
    ),
    columns: Type.Optional(
      Type.Array(Key, { minItems: 1, maxItems: 256, description: 'CSV: the names of all columns, in order.' }),
    ),
    fields: Type.Record(
      Type.String(),
      Type.Union([
        Type.String({ description: 'Name of the field.' }),
        Type.Object(
          { field: Type.String(), as: Type.Optional(Type.Union(CONVERSIONS.map((c) => Type.Literal(c)))) },
          { additionalProperties: false },
        ),
      ]),
      {
        minProperties: 1,
        description:
          "Key or column of the input → field of the record, with its conversion where it is not the field's own.",
      },
    ),
    drop: Type.Optional(Type.Array(Key, { description: 'Keys or columns that are expected and not taken.' })),
  },
  { additionalProperties: false },
)
export type MappingSettings = Static<typeof MappingSettings>

export interface CheckedMapping {
  /** null when there are problems. */
  readonly mapping: Mapping | null
  readonly problems: readonly Problem[]
}

/**
 * A reader's format: lines of other kinds than calls say so, since nothing in a line does when it is read again from
 * quarantine.
 */
export function formatOf(lines: 'csv' | 'json-lines', mapping: Mapping): string {
  return mapping.kind === 'call' ? lines : `${lines}-${mapping.kind}`
}

/**
 * A mapping with columns of its own, by the names of its keys.
 * @param path where the columns stand in the settings, or the option that gave them
 */
export function withColumns(mapping: Mapping, columns: readonly string[], path: string): CheckedMapping {
  const known = new Set([...mapping.keys.map((k) => k.key), ...mapping.dropped])
  const problems = columns
    .filter((column) => !known.has(column))
    .map((column): Problem => ({
      path,
      what: `"${column}" is no key of the mapping ${mapping.name}`,
      mend: `use ${[...known].join(', ')}`,
    }))
  if (columns.length === 0 || columns.length > 256)
    problems.push({ path, what: `names ${columns.length} columns`, mend: 'name every column in order, 1 to 256' })
  return { mapping: problems.length > 0 ? null : { ...mapping, columns: [columns] }, problems }
}
