/** `minim run --config FILE`: the proxy. Runs until SIGTERM or SIGINT, then commits what it took and exits 0. */
import process from 'node:process'
import type { Command } from 'commander'
import { startApp, type App } from '../app.js'
import { createLog } from '../ops/log.js'
import { loadSettings, maskSettings } from '../settings/load.js'
import { exitCode, EXIT } from './exit.js'

const DRAIN_MS = 30_000

export function register(program: Command): void {
  program.command('run')
    .description('run the proxy: PBX nodes stream records in by gRPC, minimised topics come out in Kafka')
    .requiredOption('--config <file>', 'settings; config/minim.yaml shows them all')
    .action(async (options: { readonly config: string }) => {
      const settings = loadSettings(options.config)
      const log = createLog(settings.log.level)
      log.info({ settings: maskSettings(settings) }, 'settings')
      let app: App | null = null
      let stopping = false
      const stop = (signal: string): void => {
        if (stopping) return
        stopping = true
        log.info({ signal }, 'stopping: committing what was taken')
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
        settings, log,
        onFatal: (error) => {
          log.fatal({ err: error })
          process.exit(exitCode(error))
        },
      })
    })
}
