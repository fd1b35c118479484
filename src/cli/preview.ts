/** `minim preview FILE|-`: what each purpose would see of records, without Kafka and without a key store. */
import { writeFileSync } from 'node:fs'
import process from 'node:process'
import { type Command, InvalidArgumentError } from 'commander'
import type { Reader } from '../batch/batch.js'
import { ProtobufReader } from '../batch/scanner.js'
import { type Catalogue, catalogue as shippedCatalogue } from '../catalogue/catalogue.js'
import { ProblemsError, useOneOf } from '../errors/problems.js'
import type { FileFormat } from '../flow/file-formats.js'
import type { Policy } from '../policy/model.js'
import type { Settings } from '../settings/schema.js'
import { tenantsOf } from '../settings/tenants.js'
import { exampleRecords } from '../trial/examples.js'
import { previewPage } from '../trial/preview-html.js'
import { LEGEND, recordLines } from '../trial/preview-text.js'
import { type RecordSight, Trial } from '../trial/trial.js'
import { loadChecked } from './checked.js'
import { checkFileInput, type FileInputOptions, fileInputOptions, fileReader, formatOf } from './file-input.js'
import { printer } from './output.js'
import { readInput } from './read-input.js'

interface PreviewOptions extends FileInputOptions {
  readonly example?: true
  readonly config?: string
  readonly policy?: string
  readonly purpose?: readonly string[]
  readonly at?: Date
  readonly records?: number
  readonly json?: true
  readonly html?: string
}

/** Records that are shown where nobody asks for more: enough to see, few enough to read. */
const SHOWN_RECORDS = 10
const DEFAULT_COLUMNS = 80

const THROWAWAY = 'tokens are made with a key that is thrown away: those of a running minim are others'

function time(text: string): Date {
  const at = new Date(/^\d+$/.test(text) ? Number(text) : text)
  if (Number.isNaN(at.getTime()))
    throw new InvalidArgumentError('write a time: 2026-11-28T10:00:00Z, or Unix time in ms')
  return at
}

function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('write a whole number; 0 shows all')
  return Number(text)
}

export function register(program: Command): void {
  const print = printer(program)
  const command = program
    .command('preview [file]')
    .description('what each purpose would see of a file of records (- is standard input), field by field, and why')
    .option('--example', 'records of its own, instead of a file')
    .option('--config <file>', 'settings')
    .option('--policy <file>', "the policy, instead of the settings'")
    .option('--purpose <id...>', 'only these purposes')
    .option('--at <time>', 'as if it were this time: what is too old or too new then', time)
    .option('--records <n>', `show so many at most, 0: all (default: ${SHOWN_RECORDS}, all with --json)`, count)
    .option('--json', 'one JSON object a record')
    .option('--html <file>', 'one page, instead of text')
  fileInputOptions(command).action((file: string | undefined, options: PreviewOptions) => {
    const { settings, policy } = loadChecked(
      options.config ?? null,
      options.policy === undefined ? {} : { policy: options.policy },
      () => [],
    )
    checkOptions(file, options, policy)
    checkFileInput('minim preview', options, settings)
    const catalogue = shippedCatalogue()
    const nowMs = (options.at ?? new Date()).getTime()
    const trial = new Trial({
      policy,
      catalogue,
      tenants: tenantsOf(settings),
      models: settings.devices.models,
      futureMs: settings.limits.futureMs,
      purposes: options.purpose === undefined ? null : new Set(options.purpose),
      now: () => nowMs,
    })
    const { bytes, reader } = inputOf(file, options, settings, catalogue, nowMs)
    const limit = options.records ?? (options.json === true ? 0 : SHOWN_RECORDS)
    const shown = limit === 0 ? Infinity : limit
    const sights = trial.sights(reader, bytes, options.tenant, shown)
    if (options.json === true) {
      for (const sight of sights) if (sight.record <= shown) print(JSON.stringify(sight))
    } else if (options.html === undefined) text(sights, shown, policy, print)
    else {
      const kept: RecordSight[] = []
      let total = 0
      for (const sight of sights) {
        total++
        if (total <= shown) kept.push(sight)
      }
      writeFileSync(options.html, previewPage(kept, { policyVersion: policy.version, total }))
      print(`${kept.length} of ${total} records`)
    }
  })
}

function text(sights: Iterable<RecordSight>, shown: number, policy: Policy, print: (line: string) => void): void {
  const terminal = {
    width: process.stdout.isTTY ? process.stdout.columns : DEFAULT_COLUMNS,
    colour: process.stdout.isTTY && process.env['NO_COLOR'] === undefined,
  }
  print(`policy ${policy.version}; ${THROWAWAY}`)
  print(`${LEGEND}\n`)
  const seen = new Map(policy.purposes.map(({ id }) => [id, 0]))
  let total = 0
  let refused = 0
  for (const sight of sights) {
    total++
    if (sight.refused !== null) refused++
    for (const { purpose, verdict } of sight.purposes)
      if (verdict === 'sees') seen.set(purpose, (seen.get(purpose) ?? 0) + 1)
    if (total <= shown) print(`${recordLines(sight, terminal).join('\n')}\n`)
  }
  const left = total > shown ? `, ${shown} of them shown (--records 0 shows all)` : ''
  print(`${total} records${left}; ${refused} to quarantine`)
  print(`seen by ${[...seen].map(([id, records]) => `${id} ${records}`).join(', ')}`)
}

/** @throws ProblemsError MINIM_COMMAND_LINE */
function checkOptions(file: string | undefined, options: PreviewOptions, policy: Policy): void {
  const known = policy.purposes.map(({ id }) => id)
  const problems = (options.purpose ?? [])
    .filter((id) => !known.includes(id))
    .map((id) => ({ path: '--purpose', what: `"${id}" is no purpose that is on`, mend: useOneOf(id, known) }))
  if (file === undefined && options.example !== true)
    problems.push({ path: 'file', what: 'is missing', mend: 'name a file, or - for standard input, or add --example' })
  if (file !== undefined && options.example === true)
    problems.push({ path: '--example', what: 'has records of its own', mend: 'leave the file out' })
  if (problems.length > 0) throw new ProblemsError('MINIM_COMMAND_LINE', 'minim preview', problems)
}

function inputOf(
  file: string | undefined,
  options: PreviewOptions,
  settings: Settings,
  catalogue: Catalogue,
  nowMs: number,
): { readonly bytes: Uint8Array; readonly reader: Reader } {
  if (file === undefined)
    return { bytes: exampleRecords(catalogue, nowMs), reader: new ProtobufReader(catalogue, 'delimited') }
  const bytes = readInput(file)
  const format = (options.format as FileFormat | undefined) ?? formatOf(file, bytes)
  return { bytes, reader: fileReader(options, format, settings, catalogue) }
}
