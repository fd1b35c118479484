/** `minim lint --sample FILE`: what the readers of two purposes could link of records like these, and who hides where. */
import process from 'node:process'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { catalogue as shippedCatalogue } from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import type { FileFormat } from '../flow/file-formats.js'
import { loadPolicy } from '../policy/load.js'
import type { Policy } from '../policy/model.js'
import { loadSettings } from '../settings/load.js'
import { tenantsOf } from '../settings/tenants.js'
import { type Groups, groupsOf } from '../trial/groups.js'
import { type Attempt, type Channel, linkage, type Pair, type Readers } from '../trial/linkage.js'
import { sampleTable } from '../trial/sample-table.js'
import { CONFIDENCE } from '../trial/upper-bound.js'
import { checkFileInput, type FileInputOptions, fileInputOptions, fileReader, formatOf } from './file-input.js'
import { positiveInteger } from './options.js'
import { readInput } from './read-input.js'
import { table } from './table.js'

export interface SampleOptions extends FileInputOptions {
  readonly sample?: string
  readonly config?: string
  readonly at?: Date
  readonly records: number
  readonly seed: number
  readonly readers: Readers
}

/** What was found in a sample. */
export interface Linkability {
  readonly policy: string
  readonly seed: number
  readonly readers: Readers
  readonly confidence: number
  /** Records that were read, those of the subjects that were drawn, and what could not become a record. */
  readonly read: number
  readonly records: number
  readonly subjects: number
  /** Whether one subject had more records than there was room for. */
  readonly cut: boolean
  readonly refused: number
  readonly pairs: readonly Pair[]
  readonly groups: readonly Groups[]
  /** Limits of the policy that are not kept. */
  readonly exceeded: readonly Problem[]
}

const MAX_RECORDS = 200_000
const DEFAULT_COLUMNS = 80

function time(text: string): Date {
  const at = new Date(/^\d+$/.test(text) ? Number(text) : text)
  if (Number.isNaN(at.getTime()))
    throw new InvalidArgumentError('write a time: 2026-11-28T10:00:00Z, or Unix time in ms')
  return at
}

/** Adds the options, and those of the file. */
export function sampleOptions(command: Command): Command {
  return fileInputOptions(
    command
      .option('--sample <file>', 'records: what could be linked between purposes, and who could be singled out')
      .option('--at <time>', 'with --sample: as if it were this time', time)
      .option(
        '--records <n>',
        'with --sample: of larger files whole subjects are drawn, about so many records',
        positiveInteger,
        MAX_RECORDS,
      )
      .option('--seed <n>', 'with --sample: which subjects are drawn', positiveInteger, 1)
      .addOption(
        new Option(
          '--readers <what>',
          "with --sample: what readers get; values: rows of a database, without Kafka's order and transactions",
        )
          .choices(['topics', 'values'])
          .default('topics'),
      ),
  )
}

/** @throws ProblemsError MINIM_COMMAND_LINE, MINIM_POLICY_INVALID */
export function linkabilityOf(file: string, policyFile: string, options: SampleOptions): Linkability {
  const settings = loadSettings(options.config ?? null)
  checkFileInput('minim lint', options, settings)
  const catalogue = shippedCatalogue()
  const policy = loadPolicy(policyFile, catalogue)
  const input = readInput(file)
  const format = (options.format as FileFormat | undefined) ?? formatOf(file, input)
  const nowMs = (options.at ?? new Date()).getTime()
  const sample = sampleTable({
    policy,
    catalogue,
    input,
    tenants: tenantsOf(settings),
    models: settings.devices.models,
    futureMs: settings.limits.futureMs,
    now: () => nowMs,
    reader: () => fileReader(options, format, settings, catalogue),
    tenant: options.tenant,
    maxRecords: options.records,
    seed: options.seed,
  })
  const pairs = linkage(policy, sample, options.readers)
  const { read, records, subjects, cut, refused } = sample
  return {
    policy: policy.version,
    seed: options.seed,
    readers: options.readers,
    confidence: CONFIDENCE,
    read,
    records,
    subjects,
    cut,
    refused,
    pairs,
    groups: groupsOf(sample),
    exceeded: exceededOf(policy, pairs),
  }
}

/** Limits that the bound is above. A pair that sees no record of one kind in common can link none. */
function exceededOf(policy: Policy, pairs: readonly Pair[]): Problem[] {
  return policy.purposes.flatMap(({ id, linkableWith = {} }) =>
    Object.entries(linkableWith).flatMap(([other, limit]): Problem[] =>
      pairs
        .filter(({ purposes, upper }) => purposes.includes(id) && purposes.includes(other) && upper > limit)
        .map((pair) => ({
          path: `purposes.${id}.linkable_with.${other}`,
          what: `is ${percent(limit)}, and ${percent(pair.upper)} of ${pair.kind} records may be linked: ${reasonOf(pair)}`,
          mend: mendOf(pair),
        })),
    ),
  )
}

function reasonOf({ channels, attempts, upper }: Pair): string {
  if (channels.length > 0) return channels.join(', ')
  const by = attempts.find((attempt) => attempt.upper === upper)
  return by === undefined ? 'none was in the sample, so nothing is known of them' : `by ${by.by.join(', ')}`
}

function mendOf({ channels, attempts }: Pair): string {
  if (channels.includes('transaction'))
    return 'keep their readers from the same topics, or let them have values alone and check with --readers values'
  if (channels.length > 0) return 'round the times in one of the two'
  return attempts.length > 0 ? 'show less in one of the two' : 'take a sample with such records'
}

const PER_CENT = 100
const FINE = 0.1

/** Never 0 % nor 100 % where it is neither. */
function percent(share: number): string {
  const value = share * PER_CENT
  if (value > 0 && value < FINE) return '< 0.1 %'
  if (value < PER_CENT && value > PER_CENT - FINE) return '> 99.9 %'
  return `${Number(value.toFixed(1))} %`
}

const strongest = (attempts: readonly Attempt[]): Attempt | null =>
  attempts.length === 0 ? null : attempts.reduce((best, next) => (next.upper > best.upper ? next : best))

/** The same for a terminal. */
export function linkabilityLines(found: Linkability): string[] {
  const width = process.stdout.isTTY ? process.stdout.columns : DEFAULT_COLUMNS
  const { read, records, subjects, refused, pairs } = found
  const whole = found.cut ? 'subjects drawn and cut (give more --records)' : 'whole subjects drawn'
  const drawn = records < read ? ` of ${read}, ${whole} with seed ${found.seed}` : ''
  const everywhere = commonChannels(pairs)
  return [
    '',
    `sample: ${records} records${drawn}; ${subjects} subjects; ${refused} not read`,
    ...(everywhere.length === 0
      ? []
      : [`100 % of every pair by: ${everywhere.join(', ')} (the topics themselves; --readers values leaves them out)`]),
    '',
    'What can be linked by what records say, and at most in 19 of 20 such samples:',
    ...table(['pair', 'by', 'right', 'wrong', 'at most'], pairs.flatMap(pairRow(everywhere)), width),
    '',
    'How well records hide within a purpose, by the fields that tell most:',
    ...table(
      ['purpose', 'fields', 'k', 'alone', '< 5', '< 10'],
      found.groups.flatMap((group) =>
        group.combinations.map(({ fields, k, alone, under5, under10 }, i) => [
          i === 0 ? `${group.purpose}.${group.kind}` : '',
          fields.length > 4 ? `all ${fields.length}` : fields.join(', '),
          String(k),
          percent(alone),
          percent(under5),
          percent(under10),
        ]),
      ),
      width,
    ),
    '',
    'Tokens whose records nobody else has, of an epoch and of one day:',
    ...table(
      ['purpose', 'token of', 'tokens', 'epoch', 'day'],
      found.groups.flatMap((group) =>
        group.histories.map(({ field, tokens, unique, uniqueDays }) => [
          `${group.purpose}.${group.kind}`,
          field,
          String(tokens),
          percent(unique),
          percent(uniqueDays),
        ]),
      ),
      width,
    ),
    '',
  ]
}

const commonChannels = (pairs: readonly Pair[]): Channel[] =>
  pairs.length === 0
    ? []
    : pairs[0].channels.filter((channel) => pairs.every((pair) => pair.channels.includes(channel)))

const pairRow =
  (everywhere: readonly Channel[]) =>
  ({ purposes, kind, channels, records, attempts }: Pair): string[][] => {
    const pair = `${purposes.join(' – ')}${kind === 'call' ? '' : `, ${kind}`}`
    const own = channels.filter((channel) => !everywhere.includes(channel))
    const rows = own.length === 0 ? [] : [[pair, own.join(', '), percent(1), '', percent(1)]]
    const best = strongest(attempts)
    if (records === 0) return [...rows, [pair, 'none in the sample', '', '', percent(1)]]
    if (best === null) return [...rows, [pair, 'nothing in common', percent(0), percent(0), percent(0)]]
    const by = `${best.attack}: ${best.by.join(', ')}`
    return [...rows, [pair, by, percent(best.linked), percent(best.wrong.share), percent(best.upper)]]
  }
