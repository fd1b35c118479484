/** `minim topics diff|apply`: how topics in Kafka differ from what policy and settings ask for, and the making good. */
import process from 'node:process'
import type { Command } from 'commander'
import { topicsOf } from '../app/check-brokers.js'
import { DAY_MS } from '../base/time.js'
import { ProblemsError } from '../errors/problems.js'
import { type Change, changeTopics, isChange } from '../kafka/change-topics.js'
import { type Drift, driftProblem, lookAtTopics, type TopicsLooked, type TopicsOptions } from '../kafka/topics.js'
import { kafkaFileProblems } from '../settings/load.js'
import { loadChecked } from './checked.js'
import { isConfirmed } from './confirm.js'
import { EXIT } from './exit.js'
import { brokersOf, brokersOver } from './options.js'
import { printer } from './output.js'

interface TopicsPlace {
  readonly config: string
  readonly brokers?: string
}

export function register(program: Command): void {
  const print = printer(program)
  const topics = program.command('topics').description('topics in Kafka, beside what policy and settings ask for')
  withPlace(topics.command('diff'))
    .description('how they differ; makes no change. Exit code 3 where a start would be refused')
    .option('--json', 'one JSON object')
    .action(async (options: TopicsPlace & { readonly json?: true }) => {
      const { drift, missing } = await lookAtTopics(located('diff', options))
      const names = missing.map(({ name }) => name)
      if (options.json === true) print(JSON.stringify({ drift, missing: names }))
      else print(differences({ drift, missing }).join('\n'))
      process.exitCode = drift.length > 0 ? EXIT.kafka : EXIT.done
    })
  withPlace(topics.command('apply'))
    .description('make them so: partitions only up, and never by making a topic anew. Asks before')
    .option('--yes', 'do not ask')
    .action(async (options: TopicsPlace & { readonly yes?: true }) => {
      const place = located('apply', options)
      const looked = await lookAtTopics(place)
      print(differences(looked).join('\n'))
      const changes = looked.drift.filter(isChange)
      if (changes.length + looked.missing.length > 0) {
        if (!(await isWanted(options.yes === true))) {
          print('nothing was changed')
          return
        }
      } else if (looked.drift.length === 0) return
      const created = await changeTopics(place, changes)
      print(`changed: ${changes.length} setting(s); made: ${created.length} topic(s)`)
    })
}

function withPlace(command: Command): Command {
  return command
    .requiredOption('--config <file>', 'settings')
    .option('--brokers <host:port>', "Kafka, instead of the settings'")
}

function located(command: string, { config, brokers }: TopicsPlace): TopicsOptions {
  const { settings, policy } = loadChecked(config, brokersOver(brokers), kafkaFileProblems)
  brokersOf(`topics ${command}`, settings)
  return topicsOf(settings, policy)
}

async function isWanted(isSaid: boolean): Promise<boolean> {
  if (isSaid) return true
  if (!process.stdin.isTTY || !process.stdout.isTTY)
    throw new ProblemsError('MINIM_COMMAND_LINE', 'minim topics apply', [
      {
        path: '--yes',
        what: 'is missing, and there is no terminal to ask on',
        mend: 'read what minim topics diff says, then give it',
      },
    ])
  return isConfirmed('Make these changes?', process.stdin, process.stdout)
}

function differences({ drift, missing }: Pick<TopicsLooked, 'drift' | 'missing'>): string[] {
  if (drift.length + missing.length === 0) return ['no difference']
  return [
    ...drift.flatMap((one) => {
      const { path, what, mend } = driftProblem(one)
      const warning = isChange(one) ? warningOf(one) : `minim does not change it: ${mend}`
      return [`${path}: ${what}`, ...(warning === null ? [] : [`  → ${warning}`])]
    }),
    ...missing.map(({ name, partitions }) => `${name}: is not there; made with ${partitions} partition(s)`),
  ]
}

/** What a change does beside what it says; null: nothing. */
function warningOf(drift: Change): string | null {
  switch (drift.setting) {
    case 'partitions':
      return 'keys move to other partitions: their order holds from then on only; partitions cannot be taken away again'
    case 'retention.ms':
      return isShorter(drift)
        ? `DELETES every record older than ${inDays(drift.change)}, for good, within minutes`
        : null
    case 'cleanup.policy':
      return drift.change === 'delete'
        ? 'DELETES every record older than the retention, for good; so far the last of each key was kept'
        : 'DELETES all but the last record of each key, for good'
    case 'message.timestamp.type':
      return 'retention counts from the time in a record then: what is older by that is DELETED'
    default:
      return null
  }
}

/** -1 is without end. */
function isShorter({ is, change }: Drift & Pick<Change, 'change'>): boolean {
  const [before, after] = [is, change].map((ms) => (Number(ms) < 0 ? Infinity : Number(ms)))
  return after < before
}

function inDays(ms: string): string {
  return `${Math.round((Number(ms) / DAY_MS) * 10) / 10} days`
}
