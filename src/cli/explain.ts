/** `minim explain FIELD|PURPOSE`: who sees what, in which form, on which basis. */
import type { Command } from 'commander'
import { catalogue } from '../catalogue/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { explain, explanationLines } from '../policy/explain.js'
import { DEFAULT_POLICY_PATH, inspectPolicy } from '../policy/load.js'
import { unknownName } from './command-line.js'
import { printer } from './output.js'

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('explain <name>')
    .description(
      'who sees a field (calling, call.calling), or what a purpose sees (billing, P2): in which form, on which basis, for how long',
    )
    .option('--policy <file>', 'the policy', DEFAULT_POLICY_PATH)
    .option('--json', 'one JSON object')
    .action((name: string, options: { readonly policy: string; readonly json?: true }) => {
      const policy = inspectPolicy(options.policy, catalogue())
      if (policy.problems.length > 0) throw new ProblemsError('MINIM_POLICY_INVALID', policy.path, policy.problems)
      const explained = explain(policy, catalogue(), name)
      if (explained.about === 'unknown') {
        const mend =
          explained.suggestions.length > 0
            ? `did you mean ${explained.suggestions.join(', ')}?`
            : `name a field, or use one of: ${policy.purposes.map((p) => p.id).join(', ')}`
        throw unknownName('explain', name, 'is no field, no purpose and no row of the notice', mend)
      }
      if (options.json === true) print(JSON.stringify({ policy: policy.version, ...explained }))
      else
        print(
          (explained.about === 'purposes' ? explained.purposes : [explained])
            .map((e) => explanationLines(e).join('\n'))
            .join('\n\n'),
        )
    })
}
