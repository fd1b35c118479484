/** `minim run --config FILE`: the proxy. Runs until SIGTERM or SIGINT, then commits what it took and exits 0. */
import process from 'node:process'
import { setDefaultHighWaterMark } from 'node:stream'
import type { Command } from 'commander'
import type { App } from '../app.js'
import { createLog, type Logger } from '../ops/log.js'
import type { Policy } from '../policy/model.js'
import { maskSettings, proxyFileProblems } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { summaryOf } from '../settings/summary.js'
import { VERSION } from '../version.js'
import { ALONE, startSupervisor, workerPlace } from '../workers.js'
import { loadChecked } from './checked.js'
import { exitCode, EXIT } from './exit.js'

const DRAIN_MS = 30_000

export function register(program: Command): void {
  program.command('run')
    .description('run the proxy: PBX nodes send records, minimised topics come out in Kafka')
    .requiredOption('--config <file>', 'settings; config/minim.yaml shows them all')
    .action(async (options: { readonly config: string }) => {
      const { settings, policy } = loadChecked(options.config, {}, proxyFileProblems)
      const log = createLog(settings.log.level)
      const place = workerPlace()
      if (place === null) logStart(settings, policy, log)
      if (settings.workers > 1 && place === null) await supervise(settings, log)
      else await work(settings, policy, log, place ?? ALONE)
    })
}

/** What runs, in a line; all of the settings only for who looks for something. */
function logStart(settings: Settings, policy: Policy, log: Logger): void {
  log.info(summaryOf(settings, policy, VERSION), 'starting')
  log.debug({ settings: maskSettings(settings) }, 'settings')
}

async function supervise(settings: Settings, log: Logger): Promise<void> {
  const supervisor = await startSupervisor({ settings, log, args: process.argv.slice(2), drainMs: DRAIN_MS })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => { supervisor.stop() })
  const code = await supervisor.ended
  log.info('stopped')
  process.exit(code)
}

async function work(settings: Settings, policy: Policy, log: Logger, place: typeof ALONE): Promise<void> {
  // Node.js reads 16 messages ahead of each stream of objects, which for gRPC are batches of up to 4 MiB each that nobody has taken.
  setDefaultHighWaterMark(true, 1)
  const { startApp } = await import('../app.js')
  let app: App | null = null
  let stopping = false
  const stop = (why: string): void => {
    if (stopping) return
    stopping = true
    log.info({ signal: why }, 'stopping: committing what was taken')
    // Nothing was taken yet: nothing to commit.
    if (app === null) process.exit(EXIT.done)
    app.stop(DRAIN_MS).then(
      () => {
        log.info('stopped')
        process.exit(EXIT.done)
      },
      (error: unknown) => {
        log.fatal({ err: error })
        process.exit(exitCode(error))
      },
    )
  }
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
  app = await startApp({
    settings, policy, log, worker: place,
    onOrphaned: () => stop('supervisor gone'),
    onFatal: (error) => {
      log.fatal({ err: error })
      process.exit(exitCode(error))
    },
  })
}
