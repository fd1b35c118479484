/** What commands that read a file of records have in common: how it is read, and whose it is. */
import { extname } from 'node:path'
import type { Command } from 'commander'
import type { Reader } from '../batch/batch.js'
import { type Catalogue, type Kind, KINDS } from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import { ProblemsError, useOneOf } from '../errors/problems.js'
import { DEFAULT_MAPPING, FILE_FORMATS, type FileFormat } from '../flow/file-formats.js'
import { isTimeZone } from '../formats/local-time.js'
import { readerFor, resolveMapping } from '../formats/readers.js'
import type { Settings } from '../settings/schema.js'

export interface FileInputOptions {
  readonly format?: string
  readonly map?: string
  readonly kind: string
  readonly timeZone: string
  readonly tenant: string
}

/** Adds the options; `--format` may be left out where the file tells. */
export function fileInputOptions(command: Command): Command {
  return command
    .option('--format <format>', `${FILE_FORMATS.join(', ')}; without it, as the file's name and beginning tell`)
    .option('--map <name>', "names of the fields: asterisk-cdr, minim, or one of the settings' mappings")
    .option('--kind <kind>', 'what a line is, for the minim mapping', 'call')
    .option('--time-zone <zone>', 'of times without an offset (IANA)', 'UTC')
    .option('--tenant <name>', 'of records that name none', 'default')
}

/** @returns every mistake in what was given */
function fileInputProblems(options: FileInputOptions, settings: Settings): Problem[] {
  const problems: Problem[] = []
  const check = (path: string, given: string | undefined, known: readonly string[]): void => {
    if (given !== undefined && !known.includes(given))
      problems.push({ path, what: 'is not known', mend: useOneOf(given, known) })
  }
  check('--format', options.format, FILE_FORMATS)
  check('--kind', options.kind, KINDS)
  check('--tenant', options.tenant, Object.keys(settings.tenants))
  if (!isTimeZone(options.timeZone))
    problems.push({ path: '--time-zone', what: 'is no time zone', mend: 'use an IANA name: Europe/London' })
  return problems
}

const EXTENSIONS: Readonly<Record<string, FileFormat>> = {
  '.csv': 'asterisk-csv',
  '.json': 'jsonl',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.pb': 'protobuf',
  '.binpb': 'protobuf',
}

/** How much of a file's beginning is looked at. */
const SNIFFED_BYTES = 4096

/** What a file seems to be, by its name, else by its beginning. */
export function formatOf(path: string, bytes: Uint8Array): FileFormat {
  const named = EXTENSIONS[extname(path).toLowerCase()]
  if (named !== undefined) return named
  const head = Buffer.from(bytes.subarray(0, SNIFFED_BYTES)).toString('latin1')
  if (/^\s*\{/.test(head)) return 'jsonl'
  // Control characters that no text has.

  return /[\u0000-\u0008\u000e-\u001f]/.test(head) ? 'protobuf' : 'asterisk-csv'
}

/**
 * The reader that the options ask for.
 * @throws ProblemsError MINIM_COMMAND_LINE
 */
export function fileReader(
  options: FileInputOptions,
  format: FileFormat,
  settings: Settings,
  catalogue: Catalogue,
): Reader {
  const mapping =
    format === 'protobuf'
      ? null
      : resolveMapping(
          options.map ?? DEFAULT_MAPPING[format] ?? '',
          settings.mappings,
          catalogue,
          { kind: options.kind as Kind, timeZone: options.timeZone },
          '--map',
        )
  return readerFor(format, mapping, catalogue, settings.limits.maxRecordBytes)
}

/** @throws ProblemsError MINIM_COMMAND_LINE with every mistake */
export function checkFileInput(command: string, options: FileInputOptions, settings: Settings): void {
  const problems = fileInputProblems(options, settings)
  if (problems.length > 0) throw new ProblemsError('MINIM_COMMAND_LINE', command, problems)
}
