/**
 * `minim quarantine list|show|replay|drop`: input that was refused. What it holds is personal data of every purpose, so
 * looking leaves a trace.
 */
import process from 'node:process'
import type { Command } from 'commander'
import { dropQuarantined } from '../quarantine/topic.js'
import { loadChecked } from './checked.js'
import { positiveInteger } from './options.js'
import { printer } from './output.js'
import { list, table } from './quarantine-list.js'
import {
  audit,
  auditLog,
  day,
  type FilterOptions,
  locate,
  type PlaceOptions,
  withFilter,
  withPlace,
} from './quarantine-place.js'
import { replay, type ReplayOptions } from './quarantine-replay.js'
import { show, type ShowOptions } from './quarantine-show.js'

export function register(program: Command): void {
  const print = printer(program)
  const quarantine = program
    .command('quarantine')
    .description('input that was refused: what and why, read it, run it again, delete it')
  registerList(quarantine, print)
  registerShow(quarantine, print)
  registerReplay(quarantine, print)
  registerDrop(quarantine, print)
}

type Print = (text: string) => void

function registerList(quarantine: Command, print: Print): void {
  withFilter(withPlace(quarantine.command('list')))
    .description('how much was refused, by day, reason and format; needs no key')
    .option('--json', 'JSON Lines')
    .action(async (options: PlaceOptions & FilterOptions & { readonly json?: true }) => {
      const rows = await list(locate(options), options)
      if (options.json === true) for (const row of rows) print(JSON.stringify(row))
      else print(table(rows, Date.now()))
    })
}

function registerShow(quarantine: Command, print: Print): void {
  withFilter(withPlace(quarantine.command('show')))
    .description(
      'what was refused, one JSON object a line; with the input itself only where you say so, which is written to the log',
    )
    .option('--limit <n>', 'so many at most', positiveInteger, 10)
    .option('--yes-show-personal-data', 'decrypt, and print the input')
    .action(async (options: PlaceOptions & ShowOptions) => {
      await show(locate(options), options, print)
      process.exit(0)
    })
}

function registerReplay(quarantine: Command, print: Print): void {
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
    .action(async (options: PlaceOptions & ReplayOptions) => {
      const place = locate(options, (file, over = {}, more = () => []) => loadChecked(file, over, more).settings)
      print(JSON.stringify(await replay(place, options)))
      process.exit(0)
    })
}

function registerDrop(quarantine: Command, print: Print): void {
  withPlace(quarantine.command('drop'))
    .description(
      'delete what was refused before a day, whatever the reason: Kafka deletes records from the beginning of a topic ' +
        'only, so one reason alone cannot be dropped',
    )
    .requiredOption('--before <day>', 'a day, UTC: 2026-11-24', day)
    .requiredOption('--yes', 'it cannot be undone')
    .action(async (options: PlaceOptions & { readonly before: string }) => {
      const place = locate(options)
      const log = auditLog()
      audit(log, 'quarantine is emptied', {}, { before: options.before })
      const count = await dropQuarantined(place, options.before)
      audit(log, 'quarantine was emptied', {}, { before: options.before, count })
      const copies = "Copies of the topic end with their day's key: minim keys destroy minim.quarantine DAY --yes"
      print(`deleted: ${count} message(s). ${copies}`)
      process.exit(0)
    })
}
