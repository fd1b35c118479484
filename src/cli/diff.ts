/** `minim diff OLD NEW`: what a change of policy would let somebody see who does not see it today. */
import type { Command } from 'commander'
import { catalogue as shippedCatalogue } from '../catalogue/catalogue.js'
import type { FileFormat } from '../flow/file-formats.js'
import { loadPolicy } from '../policy/load.js'
import { loadSettings } from '../settings/load.js'
import { type Change, diffPolicies, type Direction } from '../trial/diff.js'
import { type Presence, presenceOf } from '../trial/presence.js'
import { EXIT } from './exit.js'
import { checkFileInput, type FileInputOptions, fileInputOptions, fileReader, formatOf } from './file-input.js'
import { printer } from './output.js'
import { readInput } from './read-input.js'
import { markdownTable } from './table.js'

interface DiffOptions extends FileInputOptions {
  readonly sample?: string
  readonly config?: string
  readonly json?: true
  readonly markdown?: true
}

const HEADINGS: Readonly<Record<Direction, string>> = {
  widening: 'Wider: somebody sees more, or for longer',
  narrowing: 'Narrower',
  other: 'Other changes',
}

export function register(program: Command): void {
  const print = printer(program)
  const command = program
    .command('diff <old> <new>')
    .description(
      'two policies: what newly reaches whom, in which form, on which basis; exit code 10 narrower, 11 wider',
    )
    .option('--sample <file>', 'records: how many of them each change touches')
    .option('--config <file>', 'settings: their mappings and tenants, for the sample')
    .option('--markdown', 'for a pull request')
    .option('--json', 'one JSON object')
  fileInputOptions(command).action((before: string, after: string, options: DiffOptions) => {
    const catalogue = shippedCatalogue()
    const policies = [loadPolicy(before, catalogue), loadPolicy(after, catalogue)] as const
    const changes = diffPolicies(...policies)
    const presence = options.sample === undefined ? null : sampled(options.sample, options)
    const touched = changes.map((change) => ({ ...change, records: recordsOf(change, presence) }))
    const count = (direction: Direction): number => changes.filter((change) => change.direction === direction).length
    if (options.json === true)
      print(
        JSON.stringify({
          before: policies[0].version,
          after: policies[1].version,
          widening: count('widening'),
          narrowing: count('narrowing'),
          other: count('other'),
          changes: touched,
        }),
      )
    else
      print((options.markdown === true ? markdown : text)(touched, policies[0].version, policies[1].version).join('\n'))
    process.exitCode = count('widening') > 0 ? EXIT.wider : count('narrowing') > 0 ? EXIT.narrower : EXIT.done
  })
}

function sampled(path: string, options: DiffOptions): Presence {
  const settings = loadSettings(options.config ?? null)
  checkFileInput('minim diff', options, settings)
  const catalogue = shippedCatalogue()
  const bytes = readInput(path)
  const format = (options.format as FileFormat | undefined) ?? formatOf(path, bytes)
  return presenceOf(fileReader(options, format, settings, catalogue), bytes, catalogue)
}

type Touched = Change & {
  /** Records of the sample; null: it has none, or there is no sample. */ readonly records: number | null
}

function recordsOf({ kind, source }: Change, presence: Presence | null): number | null {
  if (presence === null || kind === null) return null
  return source === null ? presence.records[kind] : (presence.withField[kind].get(source) ?? 0)
}

const placeOf = ({ purpose, kind, field, what }: Change): string =>
  field === null ? `${purpose}${kind === null ? '' : `.${kind}`}: ${what}` : `${purpose}: ${kind ?? ''}.${field}`

const formOf = (text: string | null): string => text ?? 'nothing'

function text(changes: readonly Touched[], before: string, after: string): string[] {
  const lines = [`policy ${before} → ${after}`]
  if (changes.length === 0) return [...lines, 'nothing that anybody sees changes']
  for (const direction of Object.keys(HEADINGS) as Direction[]) {
    const of = changes.filter((change) => change.direction === direction)
    if (of.length === 0) continue
    lines.push('', `${HEADINGS[direction]} (${of.length})`)
    for (const change of of) {
      const records = change.records === null ? '' : `; ${change.records} records of the sample`
      lines.push(
        `  ${placeOf(change)}`,
        `    ${formOf(change.before)} → ${formOf(change.after)}`,
        `    for ${change.recipients.join(', ')}, ${change.basis}${records}`,
      )
    }
  }
  return lines
}

function markdown(changes: readonly Touched[], before: string, after: string): string[] {
  const lines = [`### Policy \`${before}\` → \`${after}\``, '']
  if (changes.length === 0) return [...lines, 'Nothing that anybody sees changes.']
  for (const direction of Object.keys(HEADINGS) as Direction[]) {
    const of = changes.filter((change) => change.direction === direction)
    if (of.length === 0) continue
    lines.push(
      `#### ${HEADINGS[direction]} (${of.length})`,
      '',
      ...markdownTable(
        ['what', 'before', 'after', 'for', 'basis', 'records'],
        of.map((change) => [
          placeOf(change),
          formOf(change.before),
          formOf(change.after),
          change.recipients.join(', '),
          change.basis,
          change.records === null ? '–' : String(change.records),
        ]),
      ),
      '',
    )
  }
  return lines
}
