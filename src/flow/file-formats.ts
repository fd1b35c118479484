/** Formats of files that are read, by the names that settings and the command line have for them. */
export const FILE_FORMATS = ['asterisk-csv', 'jsonl', 'protobuf'] as const
export type FileFormat = (typeof FILE_FORMATS)[number]

/** Mappings that need not be written: no other may have their names. */
export const BUILT_IN_MAPPINGS = ['asterisk-cdr', 'minim'] as const
export type BuiltInMapping = (typeof BUILT_IN_MAPPINGS)[number]

/** The mapping of each format where none is named; null for one that has no use for any. */
export const DEFAULT_MAPPING: Readonly<Record<FileFormat, BuiltInMapping | null>> = {
  'asterisk-csv': 'asterisk-cdr',
  jsonl: 'minim',
  protobuf: null,
}
