/**
 * `npm run torture -- --minutes 60 --seed 7`: the program under faults, then every topic against what nodes were told
 * is taken. Exit code 0 only if nothing is lost, duplicated, misrouted, leaked or out of order, every process ended
 * within its limit, all figures agree, and the run was not void.
 * With `--guarantee at-least-once` records may come twice: no more of them than were under way when something failed.
 */
import { parseArgs } from 'node:util'
import { kafkaAvailable } from '../helpers/kafka.js'
import { allEnded, isClean, summary } from './checker.js'
import { SABOTAGES, type SourceName, SOURCES, torture, type TortureOptions } from './run.js'
import { type FaultKind, FAULTS } from './schedule.js'

const USAGE = [
  'npm run torture -- [--minutes M] [--seed S] [--brokers 1|3] [--workers N]',
  `[--sources ${SOURCES.join(',')}] [--nodes N] [--rate R] [--faults KIND,…] [--without KIND,…]`,
  `[--guarantee exactly-once|at-least-once] [--sabotage ${SABOTAGES.join('|')}]`,
].join(' ')

function usage(what: string): never {
  process.stderr.write(`${what}\n${USAGE}\nfaults: ${Object.keys(FAULTS).join(', ')}\n`)
  process.exit(2)
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    brokers: { type: 'string', default: '1' },
    workers: { type: 'string', default: '1' },
    sources: { type: 'string', default: 'grpc,file,http' },
    nodes: { type: 'string', default: '2' },
    rate: { type: 'string', default: '200' },
    guarantee: { type: 'string', default: 'exactly-once' },
    faults: { type: 'string' },
    without: { type: 'string' },
    sabotage: { type: 'string' },
  },
})

function number(
  name: 'minutes' | 'seed' | 'brokers' | 'workers' | 'nodes' | 'rate',
  low: number,
  high: number,
): number {
  const value = Number(values[name])
  if (!(value >= low && value <= high)) usage(`--${name} is a number from ${low} to ${high}`)
  return value
}

function oneOf<T extends string>(what: string, text: string, all: readonly T[]): T {
  return all.find((each) => each === text) ?? usage(`${what}: ${text}`)
}

function kinds(what: string, text: string): FaultKind[] {
  return text === '' ? [] : text.split(',').map((kind) => oneOf(what, kind, Object.keys(FAULTS) as FaultKind[]))
}

const options: TortureOptions = {
  minutes: number('minutes', 0.05, 1_440),
  seed: number('seed', 0, 4_294_967_295),
  brokers: number('brokers', 1, 3),
  workers: number('workers', 1, 16),
  nodes: number('nodes', 1, 20),
  rate: number('rate', 10, 5_000),
  sources: values.sources.split(',').map((name): SourceName => oneOf('--sources', name, SOURCES)),
  guarantee: oneOf('--guarantee', values.guarantee, ['exactly-once', 'at-least-once'] as const),
  sabotage: values.sabotage === undefined ? null : oneOf('--sabotage', values.sabotage, SABOTAGES),
  faults: values.faults === undefined ? null : kinds('--faults', values.faults),
  without: kinds('--without', values.without ?? ''),
  say: (line: string) => {
    process.stdout.write(`${line}\n`)
  },
}
const missing = kafkaAvailable()
if (missing !== null) usage(missing)

const { verdict, faults, processes, voids, disagreements } = await torture(options)
for (const example of verdict.examples) options.say(example)
for (const what of disagreements) options.say(`does not agree: ${what}`)
for (const what of voids) options.say(`void: ${what}`)
options.say(summary(verdict, faults, processes))
// At least once, what came twice is counted, and its bound is one of the figures that must agree.
const counted = options.guarantee === 'at-least-once' ? { ...verdict, duplicated: 0 } : verdict
process.exit(isClean(counted) && allEnded(processes) && voids.length === 0 && disagreements.length === 0 ? 0 : 1)
