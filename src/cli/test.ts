/** `minim test [FILE…]`: cases of a policy, run by the real stages; what no case looks at is told. */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { catalogue as shippedCatalogue } from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { DEFAULT_POLICY_PATH, loadPolicy } from '../policy/load.js'
import { loadSettings } from '../settings/load.js'
import { tenantsOf } from '../settings/tenants.js'
import { caseProblems, type CasesReport, readCases, runCases } from '../trial/cases.js'
import { EXIT } from './exit.js'
import { printer } from './output.js'

/** The cases of the policy that minim ships. */
const DEFAULT_CASES_PATH = fileURLToPath(new URL('../../../config/policy.test.yaml', import.meta.url))

interface TestOptions {
  readonly policy?: string
  readonly config?: string
  readonly json?: true
  readonly junit?: string
}

interface FileReport extends CasesReport {
  readonly file: string
  readonly policy: string
}

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('test [file...]')
    .description(
      "cases of a policy: given a record and a time, who sees what; without a file, the shipped policy's. Exit code 1 when one fails",
    )
    .option('--policy <file>', 'the policy, instead of the one that the cases name')
    .option('--config <file>', 'settings: their tenants and limits')
    .option('--junit <file>', 'write the results as JUnit XML too')
    .option('--json', 'one JSON object a file')
    .action((files: string[], options: TestOptions) => {
      const reports = (files.length > 0 ? files : [DEFAULT_CASES_PATH]).map((file) => run(file, options))
      for (const report of reports) print(options.json === true ? JSON.stringify(report) : lines(report).join('\n'))
      if (options.junit !== undefined) writeFileSync(options.junit, junit(reports))
      if (reports.some(({ results }) => results.some(({ failures }) => failures.length > 0)))
        process.exitCode = EXIT.failed
    })
}

function run(file: string, options: TestOptions): FileReport {
  const refuse = (problems: readonly Problem[]): never => {
    throw new ProblemsError('MINIM_CASES_INVALID', file, problems)
  }
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    return refuse([
      {
        path: '',
        what: `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
        mend: 'name a file of cases: docs/policy.md has an example',
      },
    ])
  }
  const { cases, problems } = readCases(text)
  if (cases === null) return refuse(problems)
  const named = cases.policy === null ? DEFAULT_POLICY_PATH : resolve(dirname(file), cases.policy)
  const catalogue = shippedCatalogue()
  const policy = loadPolicy(options.policy ?? named, catalogue)
  const settings = loadSettings(options.config ?? null)
  const trial = {
    policy,
    catalogue,
    tenants: tenantsOf(settings),
    models: settings.devices.models,
    futureMs: settings.limits.futureMs,
  }
  const unknown = caseProblems(cases.cases, trial)
  if (unknown.length > 0) return refuse(unknown)
  return { file, policy: policy.version, ...runCases(cases.cases, trial) }
}

function lines({ file, policy, results, coverage }: FileReport): string[] {
  const failed = results.filter(({ failures }) => failures.length > 0).length
  const { rules, allRules, purposes } = coverage
  return [
    `${file}: policy ${policy}`,
    ...results.flatMap(({ name, failures }) => [
      `  ${failures.length === 0 ? 'ok    ' : 'FAILED'}  ${name}`,
      ...failures.map((failure) => `          ${failure}`),
    ]),
    `${results.length - failed} passed, ${failed} failed; ${allRules - rules.length} of ${allRules} rules seen at work`,
    ...(rules.length > 0 ? [`no case looks at: ${rules.join(', ')}`] : []),
    ...(purposes.length > 0 ? [`purposes without a case: ${purposes.join(', ')}`] : []),
  ]
}

const XML: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const xml = (text: string): string => text.replace(/[&<>"]/g, (letter) => XML[letter])

/** Results as the XML that continuous integration reads (JUnit's). */
function junit(reports: readonly FileReport[]): string {
  const suites = reports.map(({ file, results }) => {
    const failed = results.filter(({ failures }) => failures.length > 0).length
    const cases = results.map(({ name, failures }) => {
      const inner = failures.map((failure) => `<failure message="${xml(failure)}"/>`).join('')
      return `    <testcase classname="policy" name="${xml(name)}">${inner}</testcase>`
    })
    const head = `  <testsuite name="${xml(file)}" tests="${results.length}" failures="${failed}">`
    return [head, ...cases, '  </testsuite>'].join('\n')
  })
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join('\n')}\n</testsuites>\n`
}
