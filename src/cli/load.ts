/**
 * `minim load FILE…`: bulk load of files, or of standard input. Ends when all is committed; the last line on stdout is
 * one JSON object.
 */
import process from 'node:process'
import type { Command } from 'commander'
import { type Core, startCore, untilReady } from '../app/app.js'
import type { Refusal } from '../batch/batch.js'
import { catalogue as shippedCatalogue, type Kind, KINDS } from '../catalogue/catalogue.js'
import { MinimError, type Problem } from '../errors/catalogue.js'
import { ProblemsError, useOneOf } from '../errors/problems.js'
import { DEFAULT_MAPPING, FILE_FORMATS, type FileFormat } from '../flow/file-formats.js'
import { type Outcome, withheldReason } from '../flow/outcome.js'
import { isTimeZone } from '../formats/local-time.js'
import type { Mapping } from '../formats/mapping.js'
import { resolveMapping } from '../formats/readers.js'
import { createLog } from '../ops/log.js'
import { kafkaFileProblems } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { FileSource } from '../sources/common/files.js'
import { feedFile } from '../sources/files/feed-file.js'
import { loadChecked } from './checked.js'
import { EXIT, explainError, fail } from './exit.js'
import { LoadProgress } from './load-progress.js'
import { brokersOver } from './options.js'
import { printer } from './output.js'
import { repeated } from './read-input.js'

/** The name of standard input on the command line. */
const STANDARD_INPUT = '-'

interface LoadOptions {
  readonly format: string
  readonly map?: string
  readonly kind: string
  readonly timeZone: string
  readonly tenant: string
  readonly source?: string
  readonly config?: string
  readonly brokers?: string
  readonly policy?: string
  readonly keyStore?: string
  readonly force?: boolean
}

/** The last line on stdout. */
export interface LoadReport {
  records: number
  readonly produced: Record<string, number>
  /** By reason, over all purposes. */
  readonly withheld: Record<string, number>
  quarantined: number
  seconds: number
  cpuSeconds: number
  /** Bytes of these files that an earlier run had taken. */
  skippedBytes: number
  quarantinedByReason: Partial<Record<Refusal, number>>
  unknownFields: number
  unsafeFields: number
}

const emptyReport = (): LoadReport => ({
  records: 0,
  produced: {},
  withheld: {},
  quarantined: 0,
  seconds: 0,
  cpuSeconds: 0,
  skippedBytes: 0,
  quarantinedByReason: {},
  unknownFields: 0,
  unsafeFields: 0,
})

function add(report: LoadReport, outcome: Outcome): void {
  report.records += outcome.records
  report.unknownFields += outcome.unknownFields
  report.unsafeFields += outcome.unsafeFields
  for (const [topic, count] of Object.entries(outcome.produced))
    report.produced[topic] = (report.produced[topic] ?? 0) + count
  for (const [key, count] of Object.entries(outcome.withheld)) {
    const reason = withheldReason(key)
    report.withheld[reason] = (report.withheld[reason] ?? 0) + count
  }
  for (const [reason, count] of Object.entries(outcome.quarantined) as [Refusal, number][]) {
    report.quarantined += count
    report.quarantinedByReason[reason] = (report.quarantinedByReason[reason] ?? 0) + count
  }
}

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0)

/**
 * What a load that went through must not pass over in silence: that nothing came of it, or that most of it was too old
 * for the purposes. Times in another unit than milliseconds look like that. null: it is as it should be.
 */
export function loadFailure(report: LoadReport): MinimError | null {
  const { records, withheld, skippedBytes } = report
  const produced = sum(report.produced)
  const expired = withheld['expired'] ?? 0
  // An earlier run has taken all there was.
  if (records === 0 && skippedBytes > 0) return null
  const decided = produced + sum(withheld)
  if (produced > 0 && expired * 2 <= decided) return null
  return new MinimError('MINIM_LOAD_WITHHELD', { records, produced, expired, decided })
}

function checkOptions(options: LoadOptions, settings: Settings): Problem[] {
  const problems: Problem[] = []
  const check = (path: string, given: string, known: readonly string[]): void => {
    if (!known.includes(given)) problems.push({ path, what: 'is unknown', mend: useOneOf(given, known) })
  }
  check('--format', options.format, FILE_FORMATS)
  check('--kind', options.kind, KINDS)
  check('--tenant', options.tenant, Object.keys(settings.tenants))
  if (!isTimeZone(options.timeZone))
    problems.push({ path: '--time-zone', what: 'is no time zone', mend: 'use an IANA name: Europe/London' })
  if (options.source !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(options.source)) {
    problems.push({
      path: '--source',
      what: 'is no name',
      mend: 'use up to 128 letters, digits, dots, underscores and hyphens',
    })
  }
  return problems
}

/** How long a sort of notice is not said again, ms. */
const NOTICE_EVERY_MS = 30_000

/**
 * Prints each sort of notice, and again every half minute: while no broker answers, the same comes again and again, and
 * who waits wants to know what for.
 */
export function noticePrinter(
  write: (line: string) => void = (line) => void process.stderr.write(line),
  now: () => number = () => performance.now(),
): (error: MinimError) => void {
  const said = new Map<string, number>()
  return (error) => {
    const what = `${error.code} ${error.details['what'] ?? ''}`
    const last = said.get(what)
    if (last !== undefined && now() - last < NOTICE_EVERY_MS) return
    said.set(what, now())
    write(`minim: ${error.code}: ${error.message}\n`)
  }
}

/**
 * What messages call the file at a position. Its name may tell whose it is: it is repeated to whoever typed it, on his
 * terminal, and stands in nothing that is kept; who looks for it there should know that it is left out on purpose.
 */
export function labelOf(files: readonly string[], position: number, isTerminal: boolean): string {
  const name = nameOf(position, files.length)
  const path = files[position]
  if (path === STANDARD_INPUT) return 'standard input'
  return isTerminal
    ? `${name}, ${repeated(path)}`
    : `${name} (file names are not printed, they may tell whose they are)`
}

const nameOf = (position: number, count: number): string =>
  count === 1 ? 'input file' : `input file ${position + 1} of the ${count} given`

/**
 * Opens each file once, so that one that is not there is said before a broker is waited for. @throws MinimError
 * MINIM_FILE_UNREADABLE
 */
async function checkReadable(files: readonly string[]): Promise<void> {
  for (const [i, path] of files.entries()) {
    if (path === STANDARD_INPUT) continue
    const file = await FileSource.open(path, { label: labelOf(files, i, process.stderr.isTTY) })
    await file.close()
  }
}

/** How the files are read. */
function formatOf(options: LoadOptions, settings: Settings): { format: FileFormat; mapping: Mapping | null } {
  const format = options.format as FileFormat
  if (format === 'protobuf') return { format, mapping: null }
  const defaults = { kind: options.kind as Kind, timeZone: options.timeZone }
  const name = options.map ?? DEFAULT_MAPPING[format] ?? ''
  return { format, mapping: resolveMapping(name, settings.mappings, shippedCatalogue(), defaults, '--map') }
}

interface Load {
  readonly files: readonly string[]
  readonly options: LoadOptions
  readonly settings: Settings
  readonly report: LoadReport
  readonly progress: LoadProgress
  readonly core: Core
}

/** Feeds the files, one after the other. */
async function loadAll({ files, options, settings, report, progress, core }: Load): Promise<void> {
  const read = formatOf(options, settings)
  for (const [i, path] of files.entries()) {
    progress.begin(nameOf(i, files.length))
    const { from } = await feedFile({
      ...read,
      path: path === STANDARD_INPUT ? null : path,
      label: labelOf(files, i, process.stderr.isTTY),
      refuseWrongFormat: options.force !== true,
      catalogue: core.catalogue,
      intake: core.intake('file'),
      tenant: options.tenant,
      source: options.source ?? null,
      maxRecordBytes: settings.limits.maxRecordBytes,
      maxMessageBytes: settings.grpc.maxMessageBytes,
      onProgress: (done, size, from) => {
        progress.at({ done, size, from, records: report.records })
      },
    })
    progress.end()
    report.skippedBytes += from
    if (from > 0) progress.say(`minim: ${from} bytes of this file were taken before: skipped\n`)
  }
  await core.delivery.drain()
}

async function load(files: string[], options: LoadOptions, print: (text: string) => void): Promise<void> {
  const { settings, policy } = loadChecked(
    options.config ?? null,
    {
      ...brokersOver(options.brokers),
      ...(options.policy === undefined ? {} : { policy: options.policy }),
      ...(options.keyStore === undefined ? {} : { keys: { store: options.keyStore } }),
      ...(options.config === undefined ? { log: { level: 'warn' } } : {}),
    },
    kafkaFileProblems,
  )
  const problems = checkOptions(options, settings)
  if (files.filter((file) => file === STANDARD_INPUT).length > 1)
    problems.push({ path: '-', what: 'is given twice', mend: 'standard input can be read once' })
  if (problems.length > 0) throw new ProblemsError('MINIM_COMMAND_LINE', 'minim load', problems)
  formatOf(options, settings)
  const report = emptyReport()
  await checkReadable(files)
  if (settings.embedded)
    process.stderr.write(
      'minim: the Kafka inside this process ends with it, and what is loaded with that: --brokers names one that stays\n',
    )
  const progress = new LoadProgress(process.stderr)
  const say = (text: string): void => {
    progress.say(text)
  }
  const core = await startCore({
    settings,
    policy,
    log: createLog(settings.log.level, { write: say }),
    onFatal: fail,
    onNotice: noticePrinter(say),
    onCommitted: (outcome) => {
      add(report, outcome)
    },
  })
  // What was committed stays; what was not is taken by the next run.
  const interrupted = (): void =>
    void core.stop(0).finally(() => {
      progress.end()
      process.stderr.write(`minim: interrupted: ${progress.place()}\n`)
      process.exit(EXIT.interrupted)
    })
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  await untilReady(core)
  const started = performance.now()
  const cpu = process.cpuUsage()
  await loadAll({ files, options, settings, report, progress, core })
  const used = process.cpuUsage(cpu)
  report.seconds = (performance.now() - started) / 1000
  report.cpuSeconds = (used.user + used.system) / 1e6
  await core.stop()
  print(JSON.stringify(report))
  const failure = options.force === true ? null : loadFailure(report)
  if (failure !== null) process.stderr.write(`${explainError(failure)}\n`)
  process.exit(failure === null ? EXIT.done : EXIT.usage)
}

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('load <file...>')
    .description(
      'bulk load of files: call records as Asterisk CSV or JSON Lines, any records as protobuf; - is standard input',
    )
    .requiredOption('--format <format>', FILE_FORMATS.join(', '))
    .option('--map <name>', "names of the fields: asterisk-cdr, minim, or one of the settings' mappings")
    .option('--kind <kind>', 'what a line is, for the minim mapping', 'call')
    .option('--time-zone <zone>', 'of times without an offset (IANA)', 'UTC')
    .option('--tenant <name>', 'of records that name none', 'default')
    .option(
      '--source <name>',
      "the file's name in the ledger, instead of its own identity: the same name and beginning are the same file",
    )
    .option(
      '--force',
      'take files of which nearly nothing can be read (all of it goes to quarantine), and end with 0 when ' +
        'nothing, or little that is not expired, comes of them',
    )
    .option('--config <file>', 'settings')
    .option('--brokers <list>', "Kafka, instead of the settings' kafka.bootstrap.servers")
    .option('--policy <file>', "the policy, instead of the settings'")
    .option('--key-store <file>', "the key store, instead of the settings'")
    .action((files: string[], options: LoadOptions) => load(files, options, print))
}
