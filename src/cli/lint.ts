/** `minim lint`: is the policy sound, and does it keep the notice's promises? Exit code 1 when not. */
import type { Command } from 'commander'
import { catalogue } from '../catalogue/catalogue.js'
import { lint } from '../policy/lint.js'
import { DEFAULT_POLICY_PATH } from '../policy/load.js'
import { DEFAULT_NOTICE_PATH } from '../policy/notice.js'
import { printer } from './output.js'

export function register(program: Command): void {
  const print = printer(program)
  const command: Command = program
    .command('lint')
    .description('check the policy, and that every promise of the notice maps to rules and tests')
    .option('--policy <file>', 'the policy', DEFAULT_POLICY_PATH)
    .option('--notice <file>', 'the notice', DEFAULT_NOTICE_PATH)
    .option('--json', 'one JSON object')
    .action((options: { readonly policy: string; readonly notice: string; readonly json?: true }) => {
      const report = lint(catalogue(), options.policy, options.notice)
      const { lines, ...rest } = report
      print(options.json === true ? JSON.stringify(rest) : lines.join('\n'))
      if (report.failed)
        command.error('minim lint: the policy or the notice has mistakes', { exitCode: 1, code: 'minim.lint' })
    })
}
