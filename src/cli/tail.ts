/** `minim tail PURPOSE[.KIND]`: what a purpose sees. */
import process from 'node:process'
import type { Command } from 'commander'
import { catalogue as shippedCatalogue, type Kind, KINDS } from '../catalogue/catalogue.js'
import { MinimError } from '../errors/catalogue.js'
import { useOneOf } from '../errors/problems.js'
import { tail } from '../kafka/tail.js'
import type { Policy } from '../policy/model.js'
import { kafkaFileProblems } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { type Decoder, decoderOf } from '../trial/decode.js'
import { loadChecked } from './checked.js'
import { unknownName } from './command-line.js'
import { type RunningDemo, runningDemo } from './demo-file.js'
import { brokersOf, brokersOver, positiveInteger } from './options.js'
import { printer } from './output.js'
import { TailView } from './tail-view.js'

/** How often it is seen whether the demo still runs, ms. */
const DEMO_POLL_MS = 500

interface TailOptions {
  readonly brokers?: string
  readonly config?: string
  readonly policy?: string
  readonly fromNow?: true
  readonly once?: true
  readonly limit?: number
  readonly json?: true
}

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('tail <purpose>')
    .description(
      'what a purpose sees (billing), or one kind of it (billing.call): committed records as they come, each with its ' +
        'kind on a terminal, else as JSON Lines',
    )
    .option('--brokers <list>', "Kafka; without it the settings', else the running demo's")
    .option('--config <file>', 'settings')
    .option('--policy <file>', "the policy, instead of the settings'")
    .option('--from-now', 'only what comes from now on')
    .option('--once', 'end when everything that is there has been read')
    .option('--limit <n>', 'end after so many records', positiveInteger)
    .option('--json', 'JSON Lines, as they are where the output is no terminal')
    .action(async (name: string, options: TailOptions) => {
      const demo = options.brokers === undefined && options.config === undefined ? runningDemo() : null
      const named = options.policy ?? demo?.policy
      const { settings, policy } = loadChecked(
        options.config ?? null,
        { ...brokersOver(options.brokers), ...(named === undefined ? {} : { policy: named }) },
        kafkaFileProblems,
      )
      const bootstrap = demo?.bootstrap ?? brokersOf('minim tail', settings)
      const topics = topicsOf(policy, name)
      const show = shower(print, options.json !== true && process.stdout.isTTY)
      await follow({ bootstrap, settings, demo, options, topics, show })
      process.exit(0)
    })
}

interface Topic {
  readonly kind: Kind
  readonly decode: Decoder
}

/**
 * The topics that a name stands for: of a purpose, of one of its kinds, or one by its own name.
 * @throws ProblemsError MINIM_COMMAND_LINE for a name that stands for none
 */
function topicsOf(policy: Policy, name: string): ReadonlyMap<string, Topic> {
  const catalogue = shippedCatalogue()
  const topics = new Map<string, Topic>()
  const known: string[] = []
  for (const purpose of policy.purposes) {
    known.push(purpose.id)
    for (const kind of KINDS) {
      const rules = purpose.kinds[kind]
      if (rules === undefined) continue
      known.push(`${purpose.id}.${kind}`)
      if ([purpose.id, `${purpose.id}.${kind}`, rules.topic].includes(name))
        topics.set(rules.topic, { kind, decode: decoderOf(purpose, rules, catalogue) })
    }
  }
  if (topics.size === 0)
    throw unknownName('tail', name, 'is no purpose and no kind that it sees', useOneOf(name, known))
  return topics
}

type Show = (kind: Kind, record: unknown) => void

function shower(print: (text: string) => void, terminal: boolean): Show {
  if (!terminal)
    return (_, record) => {
      print(JSON.stringify(record))
    }
  // https://no-color.org: set to anything but nothing.
  const view = new TailView((process.env['NO_COLOR'] ?? '') === '')
  return (kind, record) => {
    print(view.lines(kind, record as Record<string, unknown>).join('\n'))
  }
}

interface Following {
  readonly bootstrap: string
  readonly settings: Settings
  readonly demo: RunningDemo | null
  readonly options: TailOptions
  readonly topics: ReadonlyMap<string, Topic>
  readonly show: Show
}

/** Shows records until the limit, a signal, the end of what is there, or that of the demo. */
async function follow({ bootstrap, settings, demo, options, topics, show }: Following): Promise<void> {
  const limit = options.limit ?? Infinity
  const stop = new AbortController()
  let told = false
  const end = (): void => {
    told = true
    stop.abort()
  }
  process.once('SIGINT', end)
  process.once('SIGTERM', end)
  process.stdout.on('error', end)
  // Its Kafka ends with it, and no other comes at that address.
  const gone = (): boolean => demo !== null && runningDemo()?.pid !== demo.pid
  let ended = false
  const look = (): void => {
    if (!gone()) return
    ended = true
    stop.abort()
  }
  if (demo !== null) setInterval(look, DEMO_POLL_MS).unref()
  let printed = 0
  const done = tail({
    bootstrap,
    properties: Object.fromEntries(Object.entries(settings.kafka).filter(([name]) => name !== 'bootstrap.servers')),
    topics: [...topics.keys()],
    from: options.fromNow === true ? 'end' : 'beginning',
    untilEnd: options.once === true,
    signal: stop.signal,
    onMessage: (name, { value }) => {
      const topic = topics.get(name)
      if (printed >= limit || topic === undefined) return
      show(topic.kind, topic.decode(value))
      if (++printed >= limit) stop.abort()
    },
  })
  await done.catch((error: unknown) => {
    const away = error instanceof MinimError && error.code === 'MINIM_KAFKA_UNREACHABLE'
    if (away && demo === null && options.brokers === undefined && options.config === undefined) {
      throw new MinimError(
        'MINIM_KAFKA_NO_DEMO',
        { what: `none was found, and nothing answers at ${bootstrap}, where Kafka is unless it is named` },
        { cause: error },
      )
    }
    look()
    if (!ended) throw error
  })
  if (ended && !told && printed < limit)
    throw new MinimError('MINIM_KAFKA_NO_DEMO', { what: 'it has ended, and its Kafka with it' })
}
