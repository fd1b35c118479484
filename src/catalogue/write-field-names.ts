/** Writes `src/catalogue/field-names.ts` out of `proto/`: `npm run field-names`, after a change of the record fields. */
import { writeFileSync } from 'node:fs'
import { catalogue } from './catalogue.js'
import { printFieldNames } from './print-field-names.js'

writeFileSync(new URL('../../../src/catalogue/field-names.ts', import.meta.url), printFieldNames(catalogue()))
