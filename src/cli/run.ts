/**
 * `minim run --config FILE`: the proxy. Runs until SIGTERM or SIGINT, then commits what it took and exits 0 (`end.ts`:
 * how).
 */
import process from 'node:process'
import { setDefaultHighWaterMark } from 'node:stream'
import type { Command } from 'commander'
import type { App } from '../app/app.js'
import { announceEnd, startSupervisor, workerPlace } from '../app/workers.js'
import { MinimError } from '../errors/catalogue.js'
import type { Logger } from '../flow/log.js'
import { ALONE } from '../flow/worker-place.js'
import { createLog } from '../ops/log.js'
import type { Policy } from '../policy/model.js'
import { maskSettings, proxyFileProblems } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { usesSpool } from '../settings/sections.js'
import { summaryOf } from '../settings/summary.js'
import { holdsSpool, lockSpool } from '../spool/lock.js'
import { VERSION } from '../version.js'
import { loadChecked } from './checked.js'
import { endLimitMs, endProcess } from './end.js'
import { EXIT, exitCode } from './exit.js'
import { ignoreHangUp } from './hang-up.js'

const DRAIN_MS = 30_000

export function register(program: Command): void {
  program
    .command('run')
    .description('run the proxy: PBX nodes send records, minimised topics come out in Kafka')
    .requiredOption('--config <file>', 'settings; config/minim.yaml shows them all')
    .action(async (options: { readonly config: string }) => {
      const { settings, policy } = loadChecked(options.config, {}, proxyFileProblems)
      const log = createLog(settings.log.level)
      ignoreHangUp(log)
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
  // The workers inherit it, and share it.
  const lock = usesSpool(settings) || holdsSpool(settings.spool.path) ? lockSpool(settings.spool.path) : null
  const supervisor = await startSupervisor({
    settings,
    log,
    args: process.argv.slice(2),
    endMs: endLimitMs(DRAIN_MS),
    inherited: lock === null ? [] : [lock.descriptor],
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      supervisor.stop()
    })
  const code = await supervisor.ended
  log.info('stopped')
  process.exit(code)
}

async function work(settings: Settings, policy: Policy, log: Logger, place: typeof ALONE): Promise<void> {
  // Node.js reads 16 messages ahead of each stream of objects, which for gRPC are batches of up to 4 MiB each that
  // nobody has taken.
  setDefaultHighWaterMark(true, 1)
  const { startApp } = await import('../app/app.js')
  let app: App | null = null
  let code: number = EXIT.done
  let ending = false
  /** Who has taken the shard: said while the rest is closed. */
  let naming: Promise<void> | null = null
  const starting = new AbortController()
  // What is under way of the start is ended first; a start that failed has closed what it had opened.
  const close = async (drainMs: number): Promise<void> => {
    starting.abort()
    const started = app ?? (await starts.catch(() => null))
    await Promise.all([started?.stop(drainMs), naming])
  }
  const end = (drainMs: number): void => {
    if (ending) return
    ending = true
    // Nothing was taken yet but into the spool: nothing to commit.
    const allowedMs = app === null ? 0 : drainMs
    announceEnd(code, endLimitMs(allowedMs))
    void endProcess(
      () => code,
      () => close(allowedMs),
      allowedMs,
      log,
    )
  }
  const stop = (why: string): void => {
    if (ending) return
    log.info({ signal: why }, 'stopping: committing what was taken')
    end(DRAIN_MS)
  }
  const failed = (error: unknown): void => {
    log.fatal({ err: error })
    if (code === EXIT.done) code = exitCode(error)
    if (app !== null && error instanceof MinimError && error.code === 'MINIM_DELIVERY_FENCED') {
      naming ??= app.delivery.successor().then((by) => {
        if (by !== null) log.warn({ by }, 'the shard was taken over by')
      })
    }
    if (ending) announceEnd(code, endLimitMs(0))
    end(0)
  }
  process.on('SIGTERM', () => {
    stop('SIGTERM')
  })
  process.on('SIGINT', () => {
    stop('SIGINT')
  })
  // Nobody knows what state it is in; but the end that Node.js makes of it joins the threads, too.
  process.on('uncaughtException', failed)
  const starts = startApp({
    settings,
    policy,
    log,
    worker: place,
    signal: starting.signal,
    onOrphaned: () => {
      stop('supervisor gone')
    },
    onFatal: failed,
  })
  try {
    app = await starts
  } catch (error) {
    // Why it ends was said.
    if (!ending) throw error
  }
}
