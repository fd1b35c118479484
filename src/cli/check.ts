/**
 * `minim check`: all that a start would stumble over, at once, each with file, line and mend. Changes nothing, and asks
 * Kafka only with `--brokers`.
 */
import { relative } from 'node:path'
import process from 'node:process'
import { type Command, Option } from 'commander'
import { checkFiles, type CheckReport, type Finding } from '../app/check.js'
import { DEFAULT_NOTICE_PATH } from '../policy/notice.js'
import { EXIT } from './exit.js'
import { brokersOver } from './options.js'
import { printer } from './output.js'

const FORMATS = ['text', 'json', 'github'] as const

interface CheckOptions {
  readonly config: string
  readonly notice: string
  readonly brokers?: string | true
  readonly format: (typeof FORMATS)[number]
}

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('check')
    .description('settings, policy, notice, secrets, certificates, keys, spool and Kafka: every mistake with its line')
    .requiredOption('--config <file>', 'settings')
    .option('--notice <file>', 'the notice', DEFAULT_NOTICE_PATH)
    .option('--brokers [host:port]', "ask Kafka too: these brokers, or without a value the settings'")
    .addOption(
      new Option('--format <format>', 'text, json, or github: annotations of a pull request')
        .choices(FORMATS)
        .default('text'),
    )
    .action(async (options: CheckOptions) => {
      const report = await checked(options)
      for (const line of LINES[options.format](report)) print(line)
      process.exitCode = exitCodeOf(report.findings)
    })
}

type Report = Pick<CheckReport, 'findings' | 'notLookedAt'>

async function checked({ config, notice, brokers }: CheckOptions): Promise<Report> {
  const given = typeof brokers === 'string'
  const { findings, notLookedAt, settings, policy, lineOf } = checkFiles(
    config,
    brokersOver(given ? brokers : undefined),
    notice,
  )
  const without = (why: string): Report => ({ findings, notLookedAt: [...notLookedAt, `Kafka: ${why}`] })
  if (brokers === undefined) return without('--brokers asks it')
  if (settings === null || policy === null || findings.some(isOfKafka))
    return without('mend the settings and the policy first')
  if (settings.embedded) return without('the settings say embedded: true, so each start has another one')
  // Loaded when it is asked for: Kafka's client takes half a second.
  const { checkBrokers } = await import('../app/check-brokers.js')
  return { findings: [...findings, ...(await checkBrokers(settings, policy, config, lineOf, given))], notLookedAt }
}

/** Whether a mistake stands in the way of asking Kafka. */
function isOfKafka({ path, severity }: Finding): boolean {
  return severity === 'error' && ['kafka', 'topics', 'workers', 'embedded'].includes(path.split('.')[0])
}

/** What a start would end with, of the first kind of mistake that it would come to. */
function exitCodeOf(findings: readonly Finding[]): number {
  const codes = findings.filter(({ severity }) => severity === 'error').map(({ code }) => code)
  if (codes.length === 0) return EXIT.done
  if (codes.every((code) => code.startsWith('MINIM_KAFKA'))) return EXIT.kafka
  return codes.every((code) => code.startsWith('MINIM_KEYS')) ? EXIT.keys : EXIT.usage
}

/** From the working directory where it is below that: as editors and pull requests name files. */
function shown(file: string): string {
  const near = relative(process.cwd(), file)
  return near.startsWith('..') ? file : near
}

/** `minim.yaml:12`, as editors and terminals make links of. */
function placeOf(file: string | null, line: number | undefined): string {
  if (file === null) return 'Kafka'
  return line === undefined ? shown(file) : `${shown(file)}:${line}`
}

function count(findings: readonly Finding[], severity: Finding['severity']): number {
  return findings.filter((finding) => finding.severity === severity).length
}

function verdict({ findings }: Report): string {
  const [errors, warnings] = [count(findings, 'error'), count(findings, 'warning')]
  const also = warnings === 0 ? '' : `, ${warnings} warning(s)`
  return errors === 0 ? `check: passed${also}` : `check: ${errors} mistake(s)${also}`
}

const LINES: Readonly<Record<CheckOptions['format'], (report: Report) => string[]>> = {
  text: (report) => [
    ...report.findings.flatMap(({ file, line, path, what, mend, code, severity }) => [
      `${placeOf(file, line)}: ${severity} ${code}`,
      `  ${path === '' ? '(top)' : path}: ${what}`,
      `  → ${mend}`,
    ]),
    ...report.notLookedAt.map((what) => `not looked at: ${what}`),
    verdict(report),
  ],
  json: ({ findings, notLookedAt }) => [
    JSON.stringify({
      passed: count(findings, 'error') === 0,
      findings: findings.map(({ file, line, path, code, severity, what, mend }) => ({
        file: file === null ? null : shown(file),
        line: line ?? null,
        path,
        code,
        severity,
        what,
        mend,
      })),
      notLookedAt,
    }),
  ],
  github: (report) => [
    ...report.findings.map(({ file, line, path, what, mend, code, severity }) => {
      const properties = [
        ...(file === null ? [] : [`file=${property(shown(file))}`]),
        ...(line === undefined ? [] : [`line=${line}`]),
        `title=${code}`,
      ]
      return `::${severity} ${properties.join(',')}::${data(`${path === '' ? '(top)' : path}: ${what}; ${mend}`)}`
    }),
    ...report.notLookedAt.map((what) => `::notice title=minim check::${data(`not looked at: ${what}`)}`),
  ],
}

/** A workflow command's text: its own marks and line ends would end it. */
function data(text: string): string {
  return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A')
}

function property(text: string): string {
  return data(text).replace(/:/g, '%3A').replace(/,/g, '%2C')
}
