/** `minim tail PURPOSE[.KIND]`: what a purpose sees, as JSON Lines. */
import process from 'node:process'
import type { Command } from 'commander'
import { catalogue as shippedCatalogue, KINDS } from '../catalogue/catalogue.js'
import { MinimError } from '../errors/catalogue.js'
import { useOneOf } from '../errors/problems.js'
import { tail } from '../kafka/tail.js'
import { kafkaFileProblems } from '../settings/load.js'
import { type Decoder, decoderOf } from '../trial/decode.js'
import { loadChecked } from './checked.js'
import { unknownName } from './command-line.js'
import { runningDemo } from './demo-file.js'
import { brokersOf, brokersOver, positiveInteger } from './options.js'
import { printer } from './output.js'

/** How often it is seen whether the demo still runs, ms. */
const DEMO_POLL_MS = 500

interface TailOptions {
  readonly brokers?: string
  readonly config?: string
  readonly policy?: string
  readonly fromNow?: true
  readonly once?: true
  readonly limit?: number
}

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('tail <purpose>')
    .description(
      'what a purpose sees (billing), or one kind of it (billing.call): committed records as JSON Lines, as they come',
    )
    .option('--brokers <list>', "Kafka; without it the settings', else the running demo's")
    .option('--config <file>', 'settings')
    .option('--policy <file>', "the policy, instead of the settings'")
    .option('--from-now', 'only what comes from now on')
    .option('--once', 'end when everything that is there has been read')
    .option('--limit <n>', 'end after so many records', positiveInteger)
    .action(async (name: string, options: TailOptions) => {
      const demo = options.brokers === undefined && options.config === undefined ? runningDemo() : null
      const named = options.policy ?? demo?.policy
      const { settings, policy } = loadChecked(
        options.config ?? null,
        { ...brokersOver(options.brokers), ...(named === undefined ? {} : { policy: named }) },
        kafkaFileProblems,
      )
      const bootstrap = demo?.bootstrap ?? brokersOf('minim tail', settings)
      const properties = Object.fromEntries(
        Object.entries(settings.kafka).filter(([name]) => name !== 'bootstrap.servers'),
      )
      const catalogue = shippedCatalogue()
      const decoders = new Map<string, Decoder>()
      const known: string[] = []
      for (const purpose of policy.purposes) {
        known.push(purpose.id)
        for (const kind of KINDS) {
          const rules = purpose.kinds[kind]
          if (rules === undefined) continue
          known.push(`${purpose.id}.${kind}`)
          if ([purpose.id, `${purpose.id}.${kind}`, rules.topic].includes(name))
            decoders.set(rules.topic, decoderOf(purpose, rules, catalogue))
        }
      }
      if (decoders.size === 0)
        throw unknownName('tail', name, 'is no purpose and no kind that it sees', useOneOf(name, known))
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
        properties,
        topics: [...decoders.keys()],
        from: options.fromNow === true ? 'end' : 'beginning',
        untilEnd: options.once === true,
        signal: stop.signal,
        onMessage: (topic, { value }) => {
          if (printed >= limit) return
          print(JSON.stringify(decoders.get(topic)?.(value)))
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
      process.exit(0)
    })
}
