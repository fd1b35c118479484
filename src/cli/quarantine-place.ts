/** Where `minim quarantine` looks, which part of it, and the trace that looking leaves. */
import { userInfo } from 'node:os'
import { type Command, InvalidArgumentError } from 'commander'
import { type Refusal, REFUSALS } from '../batch/batch.js'
import { useOneOf } from '../errors/problems.js'
import type { Logger } from '../flow/log.js'
import type { SourceId } from '../flow/work-item.js'
import type { KafkaProperties } from '../kafka/property-rules.js'
import { createLog } from '../ops/log.js'
import type { BoxHeader } from '../quarantine/box.js'
import type { Quarantined } from '../quarantine/topic.js'
import { kafkaFileProblems, loadSettings } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { brokersOf, brokersOver, keyStoreOption } from './options.js'

export interface PlaceOptions {
  readonly config?: string
  readonly brokers?: string
  readonly keyStore?: string
  readonly policy?: string
}

export interface FilterOptions {
  readonly reason?: Refusal
  readonly format?: string
  readonly day?: string
}

export interface Place {
  readonly settings: Settings
  readonly bootstrap: string
  readonly properties: KafkaProperties
}

export function withPlace(command: Command): Command {
  return keyStoreOption(
    command
      .option('--config <file>', 'settings')
      .option('--brokers <list>', "Kafka, instead of the settings' kafka.bootstrap.servers"),
  )
}

export function withFilter(command: Command): Command {
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

export function day(text: string): string {
  const time = Date.parse(`${text}T00:00:00Z`)
  if (!/^\d{4}-\d\d-\d\d$/.test(text) || Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== text)
    throw new InvalidArgumentError('write it as 2026-11-24')
  return text
}

export function locate(options: PlaceOptions, load: typeof loadSettings = loadSettings): Place {
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

export function passes({ header }: Quarantined, { reason, format, day }: FilterOptions): boolean {
  if (header === null) return reason === undefined && format === undefined && day === undefined
  return (
    (reason ?? header.reason) === header.reason &&
    (format ?? header.format) === header.format &&
    (day ?? header.at) === header.at
  )
}

/** Written at any log level of the settings: who looks must not be able to look unseen by setting it. */
export function auditLog(): Logger {
  return createLog('info')
}

export function audit(
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

/**
 * The stream of what was refused for one reason out of one format, in one partition: each has a place of its own in the
 * ledger, so that replaying one reason does not count another's as taken. A topic that was made anew has another id.
 */
export function streamOf(partition: number, topic: string, header: BoxHeader): SourceId {
  return { source: `quarantine.${partition}`, incarnation: `${topic}.${header.reason}.${header.format}` }
}
