/** Readers by the name of their format, and mappings by theirs. */
import type { Reader } from '../batch/batch.js'
import { ProtobufReader } from '../batch/scanner.js'
import type { Catalogue, Kind } from '../catalogue/catalogue.js'
import { ProblemsError, useOneOf } from '../errors/problems.js'
import { BUILT_IN_MAPPINGS, type BuiltInMapping, type FileFormat } from '../flow/file-formats.js'
import { CsvReader } from './csv.js'
import { JsonLinesReader } from './json-lines.js'
import { builtInMapping, type Mapping } from './mapping.js'
import { checkMapping } from './mapping-check.js'

/**
 * A mapping by its name: built in, or one of the settings' own.
 * @param path where the name was given, for the problem's path
 * @throws ProblemsError MINIM_SETTINGS_INVALID
 */
export function resolveMapping(
  name: string,
  own: Readonly<Record<string, unknown>>,
  catalogue: Catalogue,
  options: { readonly kind?: Kind; readonly timeZone: string },
  path: string,
): Mapping {
  if ((BUILT_IN_MAPPINGS as readonly string[]).includes(name))
    return builtInMapping(name as BuiltInMapping, catalogue, options)
  if (!Object.hasOwn(own, name)) {
    const [code, where] = path.startsWith('--')
      ? (['MINIM_COMMAND_LINE', 'the command'] as const)
      : (['MINIM_SETTINGS_INVALID', 'mapping'] as const)
    throw new ProblemsError(code, where, [
      { path, what: 'is no mapping', mend: useOneOf(name, [...BUILT_IN_MAPPINGS, ...Object.keys(own)]) },
    ])
  }
  const { mapping, problems } = checkMapping(own[name], catalogue, name, `mappings.${name}`)
  if (mapping === null) throw new ProblemsError('MINIM_SETTINGS_INVALID', 'mapping', problems)
  return mapping
}

/** A reader for a format. */
export function readerFor(
  format: FileFormat,
  mapping: Mapping | null,
  catalogue: Catalogue,
  maxRecordBytes: number,
): Reader {
  if (format === 'protobuf') return new ProtobufReader(catalogue, 'delimited')
  if (mapping === null) throw new TypeError(`${format} needs a mapping`)
  return format === 'jsonl'
    ? new JsonLinesReader(mapping, catalogue, { maxRecordBytes })
    : new CsvReader(mapping, catalogue, { maxRecordBytes })
}
