/** The settings of files that are read, one entry a file. */
import { type TSchema, Type } from '@sinclair/typebox'
import { HOUR_MS } from '../../base/time.js'
import { FILE_FORMATS, type FileFormat } from '../../flow/file-formats.js'
import { closed, file, NAME, NAME_IN_WORDS, whole } from '../../sections/parts.js'

export interface FileSettings {
  readonly path: string
  readonly format: FileFormat
  /** Null for formats that need none. */
  readonly mapping: string | null
  readonly timeZone: string
  readonly tenant: string
  /** Name in the ledger; null: the file's own identity. */
  readonly source: string | null
  /** Goes on with what is written to it, over rotation; else it is read once. */
  readonly follow: boolean
  /**
   * The PBX node whose call records it holds: what another source sees of the same node's calls is then not taken
   * twice.
   */
  readonly node: string | null
  readonly pollMs: number
  readonly settleMs: number
}

/** Of each file that does not say otherwise. */
export const FILE_DEFAULTS = {
  /** Time zone of times without an offset (IANA). */
  timeZone: 'UTC',
  /** Tenant of its records that name none. */
  tenant: 'default',
  /** The PBX node whose call records it holds. */
  node: null,
  /** How often a followed file is looked at, even if nothing was heard of it, ms. */
  pollMs: 1000,
  /** How long a rotated file must be unchanged to be taken as finished, ms. */
  settleMs: 10_000,
} as const

/** The section's schema: a list. */
export function filesPart(): TSchema {
  return Type.Optional(
    Type.Array(filePart(), { default: [], description: 'a list of files that are read, and followed' }),
  )
}

function filePart(): TSchema {
  return Type.Object(
    {
      path: file('the file; relative to this file'),
      format: Type.Unsafe<FileFormat>({
        type: 'string',
        enum: [...FILE_FORMATS],
        description: `one of ${FILE_FORMATS.join(', ')}`,
      }),
      mapping: Type.Optional(
        Type.String({ pattern: NAME, description: 'name of a mapping: asterisk-cdr, minim, or one of mappings' }),
      ),
      timeZone: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 64,
          default: FILE_DEFAULTS.timeZone,
          description: 'time zone of times without an offset: an IANA name such as Europe/London',
        }),
      ),
      tenant: Type.Optional(
        Type.String({
          pattern: NAME,
          default: FILE_DEFAULTS.tenant,
          description: 'tenant of its records that name none',
        }),
      ),
      source: Type.Optional(
        Type.String({
          pattern: NAME,
          description: `name in the ledger, instead of the file's own identity: ${NAME_IN_WORDS}`,
        }),
      ),
      follow: Type.Optional(
        Type.Boolean({
          description:
            'true: go on with what is written to it, over rotation (default for files of lines); false: read it once',
        }),
      ),
      node: Type.Optional(
        Type.Union([Type.Null(), Type.String({ pattern: NAME })], {
          default: FILE_DEFAULTS.node,
          description: `the PBX node whose call records it holds: ${NAME_IN_WORDS}`,
        }),
      ),
      pollMs: Type.Optional(
        whole(
          FILE_DEFAULTS.pollMs,
          10,
          HOUR_MS,
          'how often a followed file is looked at, even if nothing was heard of it, ms',
        ),
      ),
      settleMs: Type.Optional(
        whole(
          FILE_DEFAULTS.settleMs,
          0,
          HOUR_MS,
          'how long a rotated file must be unchanged to be taken as finished, ms',
        ),
      ),
    },
    {
      ...closed,
      description: 'a file: path, format, mapping, timeZone, tenant, source, follow, node, pollMs, settleMs',
    },
  )
}
