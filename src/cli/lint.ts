/** `minim lint`: is the policy sound, and does it keep the notice's promises? Exit code 1 when not. */
import type { Command } from 'commander'
import { catalogue } from '../catalogue/catalogue.js'
import { lint } from '../policy/lint.js'
import { DEFAULT_NOTICE_PATH } from '../policy/notice.js'
import { type PolicyOptions, policyOptions, policyPath } from './options.js'
import { printer } from './output.js'

interface LintOptions extends PolicyOptions {
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
    .action((options: LintOptions) => {
      const report = lint(catalogue(), policyPath(options), options.notice)
      const { lines, ...rest } = report
      print(options.json === true ? JSON.stringify(rest) : lines.join('\n'))
      if (report.failed)
        command.error('minim lint: the policy or the notice has mistakes', { exitCode: 1, code: 'minim.lint' })
    })
}
