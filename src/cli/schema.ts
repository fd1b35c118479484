/** `minim schema PURPOSE[.KIND]`: the shape of what a topic holds. */
import type { Command } from 'commander'
import { catalogue, KINDS } from '../catalogue/catalogue.js'
import { nearest, ProblemsError } from '../errors/problems.js'
import { DEFAULT_POLICY_PATH, inspectPolicy } from '../policy/load.js'
import { printSchema } from '../policy/schema-print.js'
import { unknownName } from './command-line.js'
import { printer } from './output.js'

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('schema <purpose>')
    .description(
      'the .proto of what a topic holds (billing.call), or of all topics of a purpose (billing); a JSON Schema where a topic is JSON',
    )
    .option('--policy <file>', 'the policy', DEFAULT_POLICY_PATH)
    .action((name: string, options: { readonly policy: string }) => {
      const policy = inspectPolicy(options.policy, catalogue())
      if (policy.problems.length > 0) throw new ProblemsError('MINIM_POLICY_INVALID', policy.path, policy.problems)
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
