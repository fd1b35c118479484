/** `minim schema PURPOSE[.KIND]`: the shape of what a topic holds. */
import type { Command } from 'commander'
import { catalogue, KINDS } from '../catalogue/catalogue.js'
import { nearest, ProblemsError } from '../errors/problems.js'
import { type InspectedPolicy, inspectPolicy } from '../policy/load.js'
import { printSchema } from '../policy/schema-print.js'
import { unknownName } from './command-line.js'
import { type PolicyOptions, policyOptions, policyPath } from './options.js'
import { printer } from './output.js'
import { table } from './table.js'

interface SchemaOptions extends PolicyOptions {
  readonly json?: true
}

export function register(program: Command): void {
  const print = printer(program)
  policyOptions(
    program
      .command('schema [purpose]')
      .description(
        'the .proto of what a topic holds (billing.call), or of all topics of a purpose (billing); a JSON Schema ' +
          'where a topic is JSON; without a name, which topics there are',
      ),
  )
    .option('--json', 'the topics as JSON')
    .action((name: string | undefined, options: SchemaOptions) => {
      const policy = inspectPolicy(policyPath(options), catalogue())
      if (policy.problems.length > 0) throw new ProblemsError('MINIM_POLICY_INVALID', policy.path, policy.problems)
      if (name === undefined) {
        print(topics(policy, options.json === true))
        return
      }
      const bare = name.startsWith('pbx.') ? name.slice('pbx.'.length) : name
      const [id, kind, ...more] = bare.split('.')
      const purpose = policy.purposes.find((p) => p.id === id)
      const kinds = KINDS.flatMap((k) => purpose?.kinds[k] ?? []).filter(
        (rules) => kind === undefined || rules.kind === kind,
      )
      if (purpose === undefined || kinds.length === 0 || more.length > 0) {
        const known = policy.purposes.flatMap((p) => [
          p.id,
          ...KINDS.filter((k) => p.kinds[k] !== undefined).map((k) => `${p.id}.${k}`),
        ])
        const near = purpose === undefined ? nearest(bare, known, 5) : known.filter((name) => name.startsWith(`${id}.`))
        throw unknownName(
          'schema',
          name,
          'is no purpose and no kind that it sees',
          near.length > 0 ? `did you mean ${near.join(', ')}?` : `use one of: ${known.join(', ')}`,
        )
      }
      print(printSchema(purpose, kinds, catalogue()).trimEnd())
    })
}

/** Which topics there are, as a table or as JSON. */
function topics(policy: InspectedPolicy, json: boolean): string {
  const found = policy.purposes.flatMap(({ id, enabled, kinds }) =>
    KINDS.flatMap((kind) => {
      const rules = kinds[kind]
      if (rules === undefined) return []
      return [
        { name: `${id}.${kind}`, topic: rules.topic, format: rules.format, key: rules.key?.name ?? null, enabled },
      ]
    }),
  )
  if (json) return JSON.stringify({ policy: policy.version, topics: found })
  const rows = found.map((one) => [
    one.enabled ? one.name : `${one.name} (off)`,
    one.topic,
    one.format,
    one.key ?? 'none',
  ])
  return table(['name', 'topic', 'format', 'key'], rows).join('\n')
}
