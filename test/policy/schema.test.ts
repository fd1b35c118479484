import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import t from 'tap'
import { parse } from 'yaml'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { policySchema } from '../../src/policy/schema.js'
import { repositoryRoot } from '../helpers/shared.js'

const root = repositoryRoot()

t.test('config/policy.schema.json is what the catalogue makes', async (t) => {
  const committed: unknown = JSON.parse(readFileSync(join(root, 'config/policy.schema.json'), 'utf8'))
  t.same(
    committed,
    JSON.parse(JSON.stringify(policySchema(catalogue()))),
    'run: npm run build && node dist/src/cli/write-schemas.js',
  )
})

t.test('an editor that uses it takes the shipped policy, and no field or treatment that does not fit', async (t) => {
  const validate = new Ajv({ strict: false }).compile(
    JSON.parse(readFileSync(join(root, 'config/policy.schema.json'), 'utf8')) as object,
  )
  const shipped = (): Record<string, Record<string, Record<string, Record<string, unknown>>>> & {
    purposes: { billing: { call: { fields: Record<string, unknown> } } }
  } => parse(readFileSync(join(root, 'config/policy.yaml'), 'utf8')) as never
  t.ok(validate(shipped()), JSON.stringify(validate.errors))
  for (const [field, value] of [
    ['callr', 'token'],
    ['calling', 'keep'],
    ['calling_name', 'token'],
    ['called_prefix', { 'e164-prefix': { digits: 12 } }],
    ['start_ms', { 'time-bucket': 'week' }],
  ] as const) {
    const policy = shipped()
    policy.purposes.billing.call.fields[field] = value
    t.notOk(validate(policy), field)
  }
})

t.test('every field offers its treatments, and says what it holds', async (t) => {
  const schema = JSON.parse(JSON.stringify(policySchema(catalogue()))) as {
    properties: {
      purposes: {
        patternProperties: Record<
          string,
          {
            properties: Record<
              string,
              { properties: { fields: { properties: Record<string, { description: string }> } } }
            >
          }
        >
      }
    }
  }
  const [purpose] = Object.values(schema.properties.purposes.patternProperties)
  for (const [kind, { fields }] of Object.entries(catalogue().kinds)) {
    const offered = purpose.properties[kind].properties.fields.properties
    t.same(
      Object.keys(offered),
      fields.map((f) => f.name),
    )
    for (const f of fields) t.match(offered[f.name].description, /data of .*Write .*drop\.$/, f.name)
  }
})
