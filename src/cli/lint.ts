/** `minim lint`: is the policy sound, and does it keep the notice's promises? Exit code 1 when not. */
import type { Command } from 'commander'
import { catalogue } from '../catalogue/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { lint } from '../policy/lint.js'
import { DEFAULT_NOTICE_PATH } from '../policy/notice.js'
import { linkabilityLines, linkabilityOf, type SampleOptions, sampleOptions } from './lint-sample.js'
import { type PolicyOptions, policyOptions, policyPath } from './options.js'
import { printer } from './output.js'

interface LintOptions extends PolicyOptions, SampleOptions {
  readonly notice: string
  readonly json?: true
}

export function register(program: Command): void {
  const print = printer(program)
  const command: Command = policyOptions(
    program
      .command('lint')
      .description('check the policy, and that every promise of the notice maps to rules and tests'),
  )
    .option('--notice <file>', 'the notice', DEFAULT_NOTICE_PATH)
    .option('--json', 'one JSON object')
  sampleOptions(command).action((options: LintOptions) => {
    const policy = policyPath(options)
    const report = lint(catalogue(), policy, options.notice)
    const { lines, ...rest } = report
    // Of a policy that is not sound nothing is run.
    const found =
      options.sample === undefined || report.policyProblems.length > 0
        ? null
        : linkabilityOf(options.sample, policy, options)
    if (options.json === true) print(JSON.stringify(found === null ? rest : { ...rest, linkage: found }))
    else print([...lines, ...(found === null ? [] : linkabilityLines(found))].join('\n'))
    if (report.failed)
      command.error('minim lint: the policy or the notice has mistakes', { exitCode: 1, code: 'minim.lint' })
    if (found !== null && found.exceeded.length > 0)
      throw new ProblemsError('MINIM_POLICY_LINKABLE', policy, found.exceeded)
  })
}
