/** Writes `config/policy.schema.json` and `config/minim.schema.json`, for editors: `node dist/src/policy/write-schema.js`. */
import { writeFileSync } from 'node:fs'
import { catalogue } from '../catalogue/catalogue.js'
import { settingsSchema } from '../settings/schema.js'
import { policySchema } from './schema.js'

for (const [name, schema] of [['policy', policySchema(catalogue())], ['minim', settingsSchema()]] as const) {
  writeFileSync(new URL(`../../../config/${name}.schema.json`, import.meta.url), `${JSON.stringify(schema, null, 2)}\n`)
}
