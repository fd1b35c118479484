/**
 * Writes what is made of the program's own tables: `config/policy.schema.json` and `config/minim.schema.json`, for
 * editors, and the documentation's table of treatments: `npm run schemas`.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { catalogue } from '../catalogue/catalogue.js'
import { policySchema } from '../policy/schema.js'
import { treatmentTable } from '../policy/treatment-text.js'
import { settingsSchema } from '../settings/schema.js'
import { casesSchema } from '../trial/cases.js'

/** The page that has the table, and the table as it stands there. */
const PAGE = new URL('../../../docs/policy.md', import.meta.url)
const TABLE = /^\| treatment +\|.*\n(?:\|.*\n)+/m

for (const [name, schema] of [
  ['policy', policySchema(catalogue())],
  ['policy.test', casesSchema()],
  ['minim', settingsSchema()],
] as const) {
  writeFileSync(new URL(`../../../config/${name}.schema.json`, import.meta.url), `${JSON.stringify(schema, null, 2)}\n`)
}

const page = readFileSync(PAGE, 'utf8')
if (!TABLE.test(page)) throw new Error('the page has no table of treatments')
writeFileSync(
  PAGE,
  page.replace(TABLE, () => `${treatmentTable().join('\n')}\n`),
)
