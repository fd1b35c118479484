/** `minim explain [FIELD|PURPOSE]`: who sees what, in which form, on which basis; without a name, all of it in short. */
import process from 'node:process'
import type { Command } from 'commander'
import { catalogue } from '../catalogue/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { explain, overview } from '../policy/explain.js'
import { type InspectedPolicy, inspectPolicy } from '../policy/load.js'
import { unknownName } from './command-line.js'
import { explanationLines, type Layout, overviewLines } from './explain-text.js'
import { type PolicyOptions, policyOptions, policyPath } from './options.js'
import { printer } from './output.js'

interface ExplainOptions extends PolicyOptions {
  readonly json?: true
  readonly markdown?: true
}

export function register(program: Command): void {
  const print = printer(program)
  policyOptions(
    program
      .command('explain [name]')
      .description(
        'who sees a field (calling, call.calling), or what a purpose sees (billing, P2): in which form, on which ' +
          'basis, for how long; without a name the whole policy in short',
      ),
  )
    .option('--markdown', 'as Markdown')
    .option('--json', 'one JSON object')
    .action((name: string | undefined, options: ExplainOptions) => {
      const policy = inspectPolicy(policyPath(options), catalogue())
      if (policy.problems.length > 0) throw new ProblemsError('MINIM_POLICY_INVALID', policy.path, policy.problems)
      const layout: Layout = {
        // What goes to a file or a pipe is for programs to break, or not.
        width: process.stdout.isTTY ? process.stdout.columns : Infinity,
        markdown: options.markdown === true,
      }
      if (name === undefined) {
        const rows = overview(policy)
        if (options.json === true) print(JSON.stringify({ policy: policy.version, about: 'policy', purposes: rows }))
        else print(overviewLines(rows, layout).join('\n'))
      } else named(policy, name, options, layout, print)
    })
}

function named(
  policy: InspectedPolicy,
  name: string,
  options: ExplainOptions,
  layout: Layout,
  print: (text: string) => void,
): void {
  const explained = explain(policy, catalogue(), name)
  if (explained.about === 'unknown') {
    const mend =
      explained.suggestions.length > 0
        ? `did you mean ${explained.suggestions.join(', ')}?`
        : `name a field, or use one of: ${policy.purposes.map((p) => p.id).join(', ')}`
    throw unknownName('explain', name, 'is no field, no purpose and no row of the notice', mend)
  }
  if (options.json === true) {
    print(JSON.stringify({ policy: policy.version, ...explained }))
    return
  }
  const parts = explained.about === 'purposes' ? explained.purposes : [explained]
  print(parts.map((part) => explanationLines(part, layout).join('\n')).join('\n\n'))
}
