/** `minim load FILE…`: bulk load. Ends when all is committed; the last line on stdout is one JSON object. */
import process from 'node:process'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import { startCore, untilReady } from '../app/app.js'
import type { Refusal } from '../batch/batch.js'
import { catalogue as shippedCatalogue, type Kind, KINDS } from '../catalogue/catalogue.js'
import type { MinimError, Problem } from '../errors/catalogue.js'
import { ProblemsError, useOneOf } from '../errors/problems.js'
import { FILE_FORMATS, type FileFormat } from '../flow/file-formats.js'
import { withheldReason } from '../flow/outcome.js'
import { isTimeZone } from '../formats/local-time.js'
import { DEFAULT_MAPPING, resolveMapping } from '../formats/readers.js'
import { createLog } from '../ops/log.js'
import { kafkaFileProblems } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { FileSource } from '../sources/common/files.js'
import { feedFile } from '../sources/files/feed-file.js'
import { loadChecked } from './checked.js'
import { EXIT, fail } from './exit.js'
import { brokersOver } from './options.js'
import { printer } from './output.js'

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
 * What messages call the file at a position: its name may tell whose it is, and who looks for it should know that it is
 * left out on purpose.
 */
function labelOf(position: number, count: number): string {
  return `${count === 1 ? 'input file' : `input file ${position + 1} of the ${count} given`} (file names are not printed, they may tell whose they are)`
}

/**
 * Opens each file once, so that one that is not there is said before a broker is waited for. @throws MinimError
 * MINIM_FILE_UNREADABLE
 */
async function checkReadable(files: readonly string[]): Promise<void> {
  for (const [i, path] of files.entries()) {
    const file = await FileSource.open(path, { label: labelOf(i, files.length) })
    await file.close()
  }
}

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('load <file...>')
    .description('bulk load of files: call records as Asterisk CSV or JSON Lines, any records as protobuf')
    .requiredOption('--format <format>', FILE_FORMATS.join(', '))
    .option('--map <name>', "names of the fields: asterisk-cdr, minim, or one of the settings' mappings")
    .option('--kind <kind>', 'what a line is, for the minim mapping', 'call')
    .option('--time-zone <zone>', 'of times without an offset (IANA)', 'UTC')
    .option('--tenant <name>', 'of records that name none', 'default')
    .option(
      '--source <name>',
      "the file's name in the ledger, instead of its own identity: the same name and beginning are the same file",
    )
    .option('--force', 'take files of which nearly nothing can be read: all of it goes to quarantine')
    .option('--config <file>', 'settings')
    .option('--brokers <list>', "Kafka, instead of the settings' kafka.bootstrap.servers")
    .option('--policy <file>', "the policy, instead of the settings'")
    .option('--key-store <file>', "the key store, instead of the settings'")
    .action(async (files: string[], options: LoadOptions) => {
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
      if (problems.length > 0) throw new ProblemsError('MINIM_COMMAND_LINE', 'minim load', problems)
      const format = options.format as FileFormat
      const mapping =
        format === 'protobuf'
          ? null
          : resolveMapping(
              options.map ?? DEFAULT_MAPPING[format] ?? '',
              settings.mappings,
              shippedCatalogue(),
              { kind: options.kind as Kind, timeZone: options.timeZone },
              '--map',
            )
      const report: LoadReport = {
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
      }
      await checkReadable(files)
      if (settings.embedded)
        process.stderr.write(
          'minim: the Kafka inside this process ends with it, and what is loaded with that: --brokers names one that stays\n',
        )
      const core = await startCore({
        settings,
        policy,
        log: createLog(settings.log.level),
        onFatal: fail,
        onNotice: noticePrinter(),
        onCommitted: (outcome) => {
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
        },
      })
      // What was committed stays; what was not is taken by the next run.
      const interrupted = (): void => void core.stop(0).finally(() => process.exit(EXIT.interrupted))
      process.once('SIGINT', interrupted)
      process.once('SIGTERM', interrupted)
      await untilReady(core)
      const started = performance.now()
      const cpu = process.cpuUsage()
      for (const [i, file] of files.entries()) {
        const bar = process.stderr.isTTY
          ? new SingleBar({
              format: ' {bar} {percentage}%  {value} of {total} bytes  {records} records',
              stream: process.stderr,
            })
          : null
        let begun = false
        const { from } = await feedFile({
          path: file,
          label: labelOf(i, files.length),
          refuseWrongFormat: options.force !== true,
          format,
          mapping,
          catalogue: core.catalogue,
          intake: core.intake('file'),
          tenant: options.tenant,
          source: options.source ?? null,
          maxRecordBytes: settings.limits.maxRecordBytes,
          maxMessageBytes: settings.grpc.maxMessageBytes,
          onProgress: (done, size) => {
            if (bar !== null && !begun) bar.start(size, done, { records: report.records })
            begun = true
            bar?.update(done, { records: report.records })
          },
        })
        if (begun) bar?.stop()
        report.skippedBytes += from
        if (from > 0) process.stderr.write(`minim: ${from} bytes of this file were taken before: skipped\n`)
      }
      await core.delivery.drain()
      const used = process.cpuUsage(cpu)
      report.seconds = (performance.now() - started) / 1000
      report.cpuSeconds = (used.user + used.system) / 1e6
      await core.stop()
      print(JSON.stringify(report))
      process.exit(0)
    })
}
