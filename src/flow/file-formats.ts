/** Formats of files that are read, by the names that settings and the command line have for them. */
export const FILE_FORMATS = ['asterisk-csv', 'jsonl', 'protobuf'] as const
export type FileFormat = (typeof FILE_FORMATS)[number]
