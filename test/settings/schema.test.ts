import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import t from 'tap'
import { DEFAULTS } from '../../src/settings/defaults.js'
import { settingsSchema } from '../../src/settings/schema.js'
import { SOURCE_DEFAULTS } from '../../src/settings/sections.js'
import { repositoryRoot } from '../helpers/shared.js'

const ALL: Readonly<Record<string, unknown>> = { ...DEFAULTS, ...SOURCE_DEFAULTS }
const root = repositoryRoot()
interface Node {
  readonly description?: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, Node>>
  readonly additionalProperties?: boolean
}

t.test('config/minim.schema.json is what the schema makes, and minim.yaml names it', async (t) => {
  const committed: unknown = JSON.parse(readFileSync(join(root, 'config/minim.schema.json'), 'utf8'))
  t.doesNotThrow(() => new Ajv({ strict: true, allowUnionTypes: true }).compile(committed as object), 'it is a schema')
  t.same(
    committed,
    JSON.parse(JSON.stringify(settingsSchema())),
    'run: npm run build && node dist/src/cli/write-schemas.js',
  )
  t.match(
    readFileSync(join(root, 'config/minim.yaml'), 'utf8'),
    /^# yaml-language-server: \$schema=\.\/minim\.schema\.json\n/,
  )
})

t.test('every setting says what it is and has its default from defaults.ts', async (t) => {
  const top = (settingsSchema() as unknown as Node).properties ?? {}
  // `tenant` and `file` are the defaults of each entry, not settings.
  t.same([...Object.keys(top), 'tenant', 'file'].sort(), Object.keys(ALL).sort())
  for (const [key, node] of Object.entries(top)) {
    t.ok(node.description, key)
    const wanted = ALL[key]
    if (node.properties === undefined) {
      t.same(node.default, wanted, key)
      continue
    }
    t.equal(node.additionalProperties, false, key)
    t.same(Object.fromEntries(Object.entries(node.properties).map(([k, v]) => [k, v.default])), wanted, key)
    for (const [k, v] of Object.entries(node.properties)) t.ok(v.description, `${key}.${k}`)
  }
})
