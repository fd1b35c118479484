/** `minim quarantine replay`: what was refused goes through the whole pipeline, once. */
import { type Core, startCore, untilReady } from '../app/app.js'
import type { Reader, Refusal } from '../batch/batch.js'
import { ProtobufReader } from '../batch/scanner.js'
import { type Catalogue, catalogue as shippedCatalogue, type Kind, KINDS } from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import type { Intake, StreamIntake } from '../flow/intake.js'
import { withheldReason } from '../flow/outcome.js'
import { QUARANTINE_TOPIC } from '../flow/topic-names.js'
import type { SourceId, WorkItem } from '../flow/work-item.js'
import { isTimeZone } from '../formats/local-time.js'
import { builtInMapping, formatOf, type Mapping } from '../formats/mapping.js'
import { readerFor, resolveMapping } from '../formats/readers.js'
import { topicId } from '../kafka/topics.js'
import type { CachedKeyring } from '../keys/cached-keyring.js'
import { createLog } from '../ops/log.js'
import { type BoxFailure, openQuarantined } from '../quarantine/box.js'
import { type Quarantined, readQuarantine } from '../quarantine/topic.js'
import type { Settings } from '../settings/schema.js'
import { fail } from './exit.js'
import { audit, auditLog, type FilterOptions, passes, type Place, streamOf } from './quarantine-place.js'

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

export interface ReplayOptions extends FilterOptions {
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

function add<K extends string>(to: Partial<Record<K, number>>, key: K, count = 1): void {
  to[key] = (to[key] ?? 0) + count
}

/** Offers what is in quarantine to the pipeline, each message once. */
class Offering {
  readonly #intake: StreamIntake
  readonly #keyring: CachedKeyring
  readonly #readers: ReadonlyMap<string, Reader>
  readonly #topic: string
  readonly #options: ReplayOptions
  readonly #report: ReplayReport
  #failure: Error | null = null

  /** @param topic the topic's id: one that was made anew holds other messages at the same offsets */
  constructor(
    core: Core,
    readers: ReadonlyMap<string, Reader>,
    topic: string,
    options: ReplayOptions,
    report: ReplayReport,
  ) {
    this.#intake = core.intake('quarantine')
    this.#keyring = core.keyring
    this.#readers = readers
    this.#topic = topic
    this.#options = options
    this.#report = report
  }

  async offerAll(messages: readonly Quarantined[]): Promise<void> {
    for (const message of messages) {
      await this.#offer(message)
      this.check()
    }
  }

  /** @throws Error that delivery has told of a message */
  check(): void {
    if (this.#failure !== null) throw this.#failure
  }

  async #offer(message: Quarantined): Promise<void> {
    const { header, partition, offset, envelope } = message
    const wanted = this.#options.reason
    // What its sender may not use is let in only by who says so.
    if (!passes(message, this.#options) || (header?.reason === 'unauthorised' && wanted === undefined)) return
    if (header === null) {
      add(this.#report.unopened, 'malformed')
      return
    }
    const reader = this.#readers.get(header.format)
    if (reader === undefined) {
      add(this.#report.unreadable, header.format)
      return
    }
    const id = streamOf(partition, this.#topic, header)
    const sequence = offset + 1
    if (sequence <= this.#intake.lastTaken(id)) {
      this.#report.skipped++
      return
    }
    const opened = openQuarantined(this.#keyring, envelope)
    if (typeof opened === 'string') {
      add(this.#report.unopened, opened)
      return
    }
    const { input, tenant } = opened
    const tenants = opened.tenants === null || wanted === 'unauthorised' ? null : new Set(opened.tenants)
    await this.#intake.offer(
      itemOf(this.#intake, { id, sequence, reader, input, tenant, tenants }, (error) => {
        this.#failure ??= error
      }),
    )
  }
}

export async function replay(place: Place, options: ReplayOptions): Promise<ReplayReport> {
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
    const offering = new Offering(core, readers, topic, options, report)
    await readQuarantine(place, (messages) => offering.offerAll(messages))
    await core.delivery.drain()
    offering.check()
  } finally {
    await core.stop()
  }
  audit(log, 'quarantine was replayed', options, { count: report.replayed, skipped: report.skipped })
  return report
}
