/**
 * `minim quarantine list|show|replay|drop`: input that was refused. What it holds is personal data of every purpose, so
 * looking leaves a trace.
 */
import { isUtf8 } from 'node:buffer'
import { userInfo } from 'node:os'
import process from 'node:process'
import { type Command, InvalidArgumentError } from 'commander'
import { startCore, untilReady } from '../app/app.js'
import { type Reader, type Refusal, REFUSALS } from '../batch/batch.js'
import { ProtobufReader } from '../batch/scanner.js'
import { type Catalogue, catalogue as shippedCatalogue, type Kind, KINDS } from '../catalogue/catalogue.js'
import { readLedger, streamKey } from '../deliver/ledger.js'
import type { Problem } from '../errors/catalogue.js'
import { ProblemsError, useOneOf } from '../errors/problems.js'
import type { Intake } from '../flow/intake.js'
import type { Logger } from '../flow/log.js'
import { withheldReason } from '../flow/outcome.js'
import { QUARANTINE_TOPIC } from '../flow/topic-names.js'
import type { SourceId, WorkItem } from '../flow/work-item.js'
import { isTimeZone } from '../formats/local-time.js'
import { builtInMapping, formatOf, type Mapping } from '../formats/mapping.js'
import { readerFor, resolveMapping } from '../formats/readers.js'
import type { KafkaProperties } from '../kafka/property-rules.js'
import { topicId } from '../kafka/topics.js'
import { loadMaster } from '../keys/master.js'
import { KeyStore } from '../keys/store.js'
import { createLog } from '../ops/log.js'
import { type BoxFailure, type BoxHeader, openQuarantined } from '../quarantine/box.js'
import { dropQuarantined, type Quarantined, readQuarantine } from '../quarantine/topic.js'
import { kafkaFileProblems, loadSettings } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { plainObject } from '../trial/decode.js'
import { loadChecked } from './checked.js'
import { fail } from './exit.js'
import { brokersOf, brokersOver, keyStoreOption, positiveInteger } from './options.js'
import { printer } from './output.js'

interface PlaceOptions {
  readonly config?: string
  readonly brokers?: string
  readonly keyStore?: string
  readonly policy?: string
}

interface FilterOptions {
  readonly reason?: Refusal
  readonly format?: string
  readonly day?: string
}

interface Place {
  readonly settings: Settings
  readonly bootstrap: string
  readonly properties: KafkaProperties
}

/** One line of `minim quarantine list --json`: what was refused on one day, for one reason, out of one format. */
export interface QuarantineRow {
  readonly day: string
  readonly reason: string
  readonly format: string
  messages: number
  bytes: number
  /** Of these, how many a replay has taken; null where the ledger could not be asked. */
  replayed: number | null
  /** Unix ms. */
  oldest: number
  newest: number
}

/** What `minim quarantine replay` prints. */
export interface ReplayReport {
  /** Messages that went through the pipeline. */
  replayed: number
  /** Taken by an earlier replay. */
  skipped: number
  readonly produced: Record<string, number>
  readonly withheld: Record<string, number>
  /** Refused again: in quarantine anew. */
  readonly quarantined: Partial<Record<Refusal, number>>
  /** Messages that could not be opened: their key was destroyed, they were changed, they are no envelopes. */
  readonly unopened: Partial<Record<BoxFailure, number>>
  /** Messages of formats that no reader is for: they stay. */
  readonly unreadable: Record<string, number>
}

/** One line of `minim quarantine show`. */
interface ShownMessage extends Partial<BoxHeader> {
  readonly partition: number
  readonly offset: number
  readonly tenant?: string
  /** Text as it came; a protobuf message's fields by their names. */
  readonly input?: unknown
  /** What is neither. */
  readonly base64?: string
  readonly unopened?: BoxFailure
}

export function register(program: Command): void {
  const print = printer(program)
  const quarantine = program
    .command('quarantine')
    .description('input that was refused: what and why, read it, run it again, delete it')

  withFilter(withPlace(quarantine.command('list')))
    .description('how much was refused, by day, reason and format; needs no key')
    .option('--json', 'JSON Lines')
    .action(async (options: PlaceOptions & FilterOptions & { readonly json?: true }) => {
      const rows = await list(locate(options), options)
      if (options.json === true) for (const row of rows) print(JSON.stringify(row))
      else print(table(rows, Date.now()))
    })

  withFilter(withPlace(quarantine.command('show')))
    .description(
      'what was refused, one JSON object a line; with the input itself only where you say so, which is written to the log',
    )
    .option('--limit <n>', 'so many at most', positiveInteger, 10)
    .option('--yes-show-personal-data', 'decrypt, and print the input')
    .action(
      async (
        options: PlaceOptions & FilterOptions & { readonly limit: number; readonly yesShowPersonalData?: true },
      ) => {
        const place = locate(options)
        const open = options.yesShowPersonalData === true
        const keys = open ? KeyStore.open(place.settings.keys.store, loadMaster(place.settings.keys.master)) : null
        const log = auditLog()
        // Before anything is printed: who breaks off has looked all the same.
        if (open) audit(log, 'quarantine is opened', options, { limit: options.limit })
        let shown = 0
        const stop = new AbortController()
        const whole = (m: Quarantined): ShownMessage => ({ partition: m.partition, offset: m.offset, ...m.header })
        await readQuarantine({ ...place, signal: stop.signal }, (messages) => {
          for (const message of messages) {
            if (shown >= options.limit || !passes(message, options)) continue
            print(
              JSON.stringify(
                keys === null
                  ? whole(message)
                  : { ...whole(message), ...contents(openQuarantined(keys, message.envelope)) },
              ),
            )
            if (++shown >= options.limit) stop.abort()
          }
        })
        if (open) audit(log, 'quarantine was shown', options, { count: shown })
        process.exit(0)
      },
    )

  withFilter(withPlace(quarantine.command('replay')))
    .description(
      'run it through the whole pipeline, once: what was replayed before is skipped, what is refused again goes back',
    )
    .option(
      '--map <name>',
      "names of the fields, where --format is csv or json-lines: asterisk-cdr, minim, or one of the settings' mappings",
    )
    .option('--time-zone <zone>', 'of times without an offset (IANA)', 'UTC')
    .option('--policy <file>', "the policy, instead of the settings'")
    .action(async (options: PlaceOptions & FilterOptions & { readonly map?: string; readonly timeZone: string }) => {
      const report = await replay(
        locate(options, (file, overrides = {}, more = () => []) => loadChecked(file, overrides, more).settings),
        options,
      )
      print(JSON.stringify(report))
      process.exit(0)
    })

  withPlace(quarantine.command('drop'))
    .description(
      'delete what was refused before a day, whatever the reason: Kafka deletes records from the beginning of a topic only, so one reason alone cannot be dropped',
    )
    .requiredOption('--before <day>', 'a day, UTC: 2026-11-24', day)
    .requiredOption('--yes', 'it cannot be undone')
    .action(async (options: PlaceOptions & { readonly before: string }) => {
      const place = locate(options)
      const log = auditLog()
      audit(log, 'quarantine is emptied', {}, { before: options.before })
      const count = await dropQuarantined(place, options.before)
      audit(log, 'quarantine was emptied', {}, { before: options.before, count })
      print(
        `deleted: ${count} message(s). Copies of the topic end with their day's key: minim keys destroy minim.quarantine DAY --yes`,
      )
      process.exit(0)
    })
}

function withPlace(command: Command): Command {
  return keyStoreOption(
    command
      .option('--config <file>', 'settings')
      .option('--brokers <list>', "Kafka, instead of the settings' kafka.bootstrap.servers"),
  )
}

function withFilter(command: Command): Command {
  return command
    .option('--reason <reason>', `only what was refused for it: ${REFUSALS.join(', ')}`, reason)
    .option('--format <format>', 'only this format, as `list` names it')
    .option('--day <day>', 'only what was refused on that day, UTC: 2026-11-24', day)
}

function reason(text: string): Refusal {
  const known = REFUSALS.find((r) => r === text)
  if (known === undefined) throw new InvalidArgumentError(useOneOf(text, REFUSALS))
  return known
}

function day(text: string): string {
  const time = Date.parse(`${text}T00:00:00Z`)
  if (!/^\d{4}-\d\d-\d\d$/.test(text) || Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== text)
    throw new InvalidArgumentError('write it as 2026-11-24')
  return text
}

function locate(options: PlaceOptions, load: typeof loadSettings = loadSettings): Place {
  const settings = load(
    options.config ?? null,
    {
      ...brokersOver(options.brokers),
      ...(options.keyStore === undefined ? {} : { keys: { store: options.keyStore } }),
      ...(options.policy === undefined ? {} : { policy: options.policy }),
    },
    kafkaFileProblems,
  )
  const properties = Object.fromEntries(Object.entries(settings.kafka).filter(([name]) => name !== 'bootstrap.servers'))
  return { settings, bootstrap: brokersOf('minim quarantine', settings), properties }
}

function passes({ header }: Quarantined, { reason, format, day }: FilterOptions): boolean {
  if (header === null) return reason === undefined && format === undefined && day === undefined
  return (
    (reason ?? header.reason) === header.reason &&
    (format ?? header.format) === header.format &&
    (day ?? header.at) === header.at
  )
}

/** Written at any log level of the settings: who looks must not be able to look unseen by setting it. */
function auditLog(): Logger {
  return createLog('info')
}

function audit(
  log: Logger,
  what: string,
  { reason, format, day }: FilterOptions,
  more: Readonly<Record<string, unknown>>,
): void {
  const { username, uid } = userInfo()
  log.info(
    { audit: true, user: username, uid, reason: reason ?? 'any', format: format ?? 'any', day: day ?? 'any', ...more },
    what,
  )
}

function contents(
  opened: ReturnType<typeof openQuarantined>,
): Pick<ShownMessage, 'tenant' | 'input' | 'base64' | 'unopened'> {
  if (typeof opened === 'string') return { unopened: opened }
  const { tenant, input, header } = opened
  if (header.format === 'protobuf') {
    try {
      const type = shippedCatalogue().root.lookupType('minim.v1.Batch')
      return { tenant, input: plainObject(type, input) }
    } catch {
      return { tenant, base64: input.toString('base64') }
    }
  }
  return isUtf8(input) ? { tenant, input: input.toString('utf8') } : { tenant, base64: input.toString('base64') }
}

/**
 * The stream of what was refused for one reason out of one format, in one partition: each has a place of its own in the
 * ledger, so that replaying one reason does not count another's as taken. A topic that was made anew has another id.
 */
function streamOf(partition: number, topic: string, header: BoxHeader): SourceId {
  return { source: `quarantine.${partition}`, incarnation: `${topic}.${header.reason}.${header.format}` }
}

/** What lies in quarantine, by day, reason and format. */
async function list(place: Place, filter: FilterOptions): Promise<QuarantineRow[]> {
  const rows = new Map<string, QuarantineRow>()
  const taken = await takenBefore(place)
  await readQuarantine(place, (messages) => {
    for (const message of messages) {
      if (!passes(message, filter)) continue
      const { header, timestamp, partition, offset } = message
      const { at, reason, format, length } = header ?? {
        at: '-',
        reason: '-',
        format: 'unknown',
        length: message.envelope.length,
      }
      const key = `${at} ${reason} ${format}`
      let row = rows.get(key)
      if (row === undefined)
        rows.set(
          key,
          (row = {
            day: at,
            reason,
            format,
            messages: 0,
            bytes: 0,
            replayed: taken === null ? null : 0,
            oldest: timestamp,
            newest: timestamp,
          }),
        )
      row.messages++
      row.bytes += length
      row.oldest = Math.min(row.oldest, timestamp)
      row.newest = Math.max(row.newest, timestamp)
      if (taken !== null && row.replayed !== null && header !== null && offset < taken(partition, header))
        row.replayed++
    }
  })
  return [...rows.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
}

/** Where replays have got to; null where neither ledger nor topic can be asked (the embedded cluster). */
async function takenBefore(place: Place): Promise<((partition: number, header: BoxHeader) => number) | null> {
  if (place.settings.embedded) return null
  try {
    const topic = await topicId(place, QUARANTINE_TOPIC)
    const { taken } = await readLedger({ ...place, shard: 0, shards: 1 })
    return (partition, header) => taken.get(streamKey(streamOf(partition, topic, header))) ?? 0
  } catch {
    return null
  }
}

function table(rows: readonly QuarantineRow[], nowMs: number): string {
  if (rows.length === 0) return 'nothing is in quarantine'
  // One ledger for all rows: it is known of all or of none.
  const known = rows.every((row) => row.replayed !== null)
  const cells = [
    ['day', 'reason', 'format', 'messages', 'bytes', ...(known ? ['replayed'] : []), 'oldest', 'newest'],
    ...rows.map((row) => [
      row.day,
      row.reason,
      row.format,
      String(row.messages),
      String(row.bytes),
      ...(known ? [String(row.replayed)] : []),
      age(nowMs - row.oldest),
      age(nowMs - row.newest),
    ]),
  ]
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)))
  const total = rows.reduce((sum, row) => sum + row.messages, 0)
  return [
    ...cells.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    ),
    '',
    `${total} message(s)${known ? '' : '; how many were replayed is not known, since the ledger cannot be read'}`,
  ].join('\n')
}

function age(ms: number): string {
  const minutes = Math.max(0, Math.round(ms / 60_000))
  return minutes < 120
    ? `${minutes} min`
    : minutes < 2880
      ? `${Math.round(minutes / 60)} h`
      : `${Math.round(minutes / 1440)} days`
}

interface Refused {
  readonly id: SourceId
  readonly sequence: number
  readonly reader: Reader
  readonly input: Buffer
  readonly tenant: string
  /** Null: any. */
  readonly tenants: ReadonlySet<string> | null
}

function itemOf(
  intake: Intake,
  { id, sequence, reader, input, tenant, tenants }: Refused,
  failed: (error: Error) => void,
): WorkItem {
  // A line's end, which the refused line was cut off from; then room for what a reader unescapes.
  const bytes = Buffer.concat([input, Buffer.from(reader.format === 'protobuf' || input.at(-1) === 10 ? '' : '\n')])
  const arena = Buffer.concat([bytes, Buffer.alloc(input.length + 64)])
  const given = {
    reader,
    arena,
    start: 0,
    end: bytes.length,
    scratchStart: bytes.length,
    last: true,
    tenant: tenant === '' ? 'default' : tenant,
    tenants,
  }
  return {
    id,
    sequence,
    failed,
    bytes: input.length,
    receivedAt: performance.now(),
    minimise: (excluded) => intake.minimise(given, excluded),
    committed: () => undefined,
  }
}

interface ReplayOptions extends FilterOptions {
  readonly map?: string
  readonly timeZone: string
}

/**
 * The readers of what can be replayed, by format. A format with another name was a source's own, which had no record of
 * it.
 */
function readersOf(catalogue: Catalogue, settings: Settings, options: ReplayOptions): ReadonlyMap<string, Reader> {
  const problems: Problem[] = []
  if (!isTimeZone(options.timeZone))
    problems.push({ path: '--time-zone', what: 'is no time zone', mend: 'use an IANA name: Europe/London' })
  if (options.map !== undefined && !/^(csv|json-lines)(-|$)/.test(options.format ?? '')) {
    problems.push({
      path: '--map',
      what: 'needs to be told of which input',
      mend: 'add --format csv or --format json-lines, as `minim quarantine list` names it',
    })
  }
  if (problems.length > 0) throw new ProblemsError('MINIM_COMMAND_LINE', 'minim quarantine replay', problems)
  const { maxRecordBytes } = settings.limits
  const readers = new Map<string, Reader>([['protobuf', new ProtobufReader(catalogue, 'whole')]])
  const add = (lines: 'csv' | 'json-lines', mapping: Mapping): void => {
    readers.set(
      formatOf(lines, mapping),
      readerFor(lines === 'csv' ? 'asterisk-csv' : 'jsonl', mapping, catalogue, maxRecordBytes),
    )
  }
  const { timeZone } = options
  add('csv', builtInMapping('asterisk-cdr', catalogue, { timeZone }))
  for (const kind of KINDS) add('json-lines', builtInMapping('minim', catalogue, { kind, timeZone }))
  if (options.map === undefined || options.format === undefined) return readers
  const lines = options.format.startsWith('csv') ? 'csv' : 'json-lines'
  const kind: Kind = KINDS.find((k) => options.format === `${lines}-${k}`) ?? 'call'
  const mapping = resolveMapping(options.map, settings.mappings, catalogue, { kind, timeZone }, '--map')
  if (formatOf(lines, mapping) !== options.format) {
    throw new ProblemsError('MINIM_COMMAND_LINE', 'minim quarantine replay', [
      {
        path: '--map',
        what: `gives records of another kind than ${options.format}`,
        mend: 'name a mapping of that kind',
      },
    ])
  }
  add(lines, mapping)
  return readers
}

async function replay(place: Place, options: ReplayOptions): Promise<ReplayReport> {
  const { settings } = place
  const report: ReplayReport = {
    replayed: 0,
    skipped: 0,
    produced: {},
    withheld: {},
    quarantined: {},
    unopened: {},
    unreadable: {},
  }
  const add = <K extends string>(to: Partial<Record<K, number>>, key: K, count = 1): void => {
    to[key] = (to[key] ?? 0) + count
  }
  const catalogue = shippedCatalogue()
  const readers = readersOf(catalogue, settings, options)
  const log = auditLog()
  audit(log, 'quarantine is replayed', options, {})
  const topic = await topicId(place, QUARANTINE_TOPIC)
  const core = await startCore({
    // Transactional ids of its own: the proxy goes on, and only a second replay is fenced.
    settings: { ...settings, cluster: `${settings.cluster}.quarantine` },
    log: createLog(settings.log.level === 'info' ? 'warn' : settings.log.level),
    onFatal: fail,
    onCommitted: (outcome) => {
      report.replayed++
      for (const [topic, count] of Object.entries(outcome.produced)) if (count > 0) add(report.produced, topic, count)
      for (const [key, count] of Object.entries(outcome.withheld)) add(report.withheld, withheldReason(key), count)
      for (const [reason, count] of Object.entries(outcome.quarantined) as [Refusal, number][])
        add(report.quarantined, reason, count)
    },
  })
  try {
    await untilReady(core)
    const intake = core.intake('quarantine')
    const failures: Error[] = []
    await readQuarantine(place, async (messages) => {
      for (const message of messages) {
        // What its sender may not use is let in only by who says so.
        if (!passes(message, options) || (message.header?.reason === 'unauthorised' && options.reason === undefined))
          continue
        const { header, partition, offset, envelope } = message
        if (header === null) {
          add(report.unopened, 'malformed')
          continue
        }
        const reader = readers.get(header.format)
        if (reader === undefined) {
          add(report.unreadable, header.format)
          continue
        }
        const id = streamOf(partition, topic, header)
        const sequence = offset + 1
        if (sequence <= intake.lastTaken(id)) {
          report.skipped++
          continue
        }
        const opened = openQuarantined(core.keyring, envelope)
        if (typeof opened === 'string') add(report.unopened, opened)
        else {
          const tenants = opened.tenants === null || options.reason === 'unauthorised' ? null : new Set(opened.tenants)
          await intake.offer(
            itemOf(intake, { id, sequence, reader, input: opened.input, tenant: opened.tenant, tenants }, (error) => {
              failures.push(error)
            }),
          )
        }
        if (failures.length > 0) throw failures[0]
      }
    })
    await core.delivery.drain()
    if (failures.length > 0) throw failures[0]
  } finally {
    await core.stop()
  }
  audit(log, 'quarantine was replayed', options, { count: report.replayed, skipped: report.skipped })
  return report
}
