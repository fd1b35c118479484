/** The text of `field-names.ts`: the names of all fields as types, so that one which is misspelt in code does not compile. */
import { type Catalogue, KINDS } from './catalogue.js'

export function printFieldNames({ kinds }: Catalogue): string {
  const lists = KINDS.map(
    (kind) => `  ${kind}: [\n${kinds[kind].fields.map(({ name }) => `    '${name}',\n`).join('')}  ],\n`,
  )
  return `/**
 * The names of all fields, by kind of record, ascending by field number. Generated from \`proto/\` by \`npm run field-names\`, and held
 * equal to it by \`test/catalogue/field-names.test.ts\`: change \`proto/\`, not this file.
 */
export const FIELD_NAMES = {
${lists.join('')}} as const

/** Name of a field of one kind of record. */
export type FieldNameOf<K extends keyof typeof FIELD_NAMES> = (typeof FIELD_NAMES)[K][number]

/** Name of a field of any kind of record. */
export type FieldName = FieldNameOf<keyof typeof FIELD_NAMES>
`
}
