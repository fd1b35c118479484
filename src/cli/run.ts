/**
 * `minim run --config FILE`: the proxy. Runs until SIGTERM or SIGINT, then commits what it took and exits 0 (`end.ts`:
 * how).
 */
import process from 'node:process'
import { setDefaultHighWaterMark } from 'node:stream'
import { type Command, InvalidArgumentError } from 'commander'
import type { App } from '../app/app.js'
import { checkNotice, PolicyReload, type ReloadOptions } from '../app/reload.js'
import { announceEnd, startSupervisor, workerPlace, workerPolicy } from '../app/workers.js'
import { catalogue } from '../catalogue/catalogue.js'
import { MinimError } from '../errors/catalogue.js'
import type { Logger } from '../flow/log.js'
import { ALONE } from '../flow/worker-place.js'
import { createLog } from '../ops/log.js'
import { reloadCounter } from '../ops/reloads.js'
import type { Policy } from '../policy/model.js'
import { maskSettings, proxyFileProblems } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { usesSpool } from '../settings/sections.js'
import { summaryOf } from '../settings/summary.js'
import { holdsSpool, lockSpool } from '../spool/lock.js'
import { VERSION } from '../version.js'
import { type Checked, loadChecked } from './checked.js'
import { endLimitMs, endProcess } from './end.js'
import { EXIT, exitCode } from './exit.js'

const DRAIN_MS = 30_000

export function register(program: Command): void {
  program
    .command('run')
    .description('run the proxy: PBX nodes send records, minimised topics come out in Kafka')
    .requiredOption('--config <file>', 'settings; config/minim.yaml shows them all')
    .option(
      '--allow-widening <reason>',
      'let a policy that is read anew (SIGHUP) give somebody more than before; the reason is logged',
      reasonOf,
    )
    .action(async ({ config, allowWidening = null }: RunOptions) => {
      const place = workerPlace()
      const kept = place === null ? null : workerPolicy(place)
      const checked = loadChecked(config, kept === null ? {} : { policy: kept }, proxyFileProblems)
      const { settings, policy, policyFile } = checked
      checkNotice(settings, { text: policyFile, path: settings.policy }, catalogue())
      const log = createLog(settings.log.level)
      if (place === null) logStart(settings, policy, log)
      if (settings.workers > 1 && place === null) await supervise(checked, allowWidening, log)
      else await work(checked, allowWidening, log, place ?? ALONE)
    })
}

interface RunOptions {
  readonly config: string
  readonly allowWidening?: string | null
}

/** @throws InvalidArgumentError when there is none */
function reasonOf(text: string): string {
  const reason = text.trim()
  if (reason === '') throw new InvalidArgumentError('say why, in a few words')
  return reason
}

/** What runs, in a line; all of the settings only for who looks for something. */
function logStart(settings: Settings, policy: Policy, log: Logger): void {
  log.info(summaryOf(settings, policy, VERSION), 'starting')
  log.debug({ settings: maskSettings(settings) }, 'settings')
}

/** At SIGHUP the policy is read anew; before the start has come to its end, right after it. */
function reloadAtHangUp(started: Promise<{ reload(cause: string): Promise<unknown> }>): void {
  process.on('SIGHUP', () => {
    // A start that fails has said so.
    void started.then(
      (it) => it.reload('SIGHUP'),
      () => undefined,
    )
  })
}

async function supervise(
  { settings, policy, policyFile }: Checked,
  allowWidening: string | null,
  log: Logger,
): Promise<void> {
  // The workers inherit it, and share it.
  const lock = usesSpool(settings) || holdsSpool(settings.spool.path) ? lockSpool(settings.spool.path) : null
  const starts = startSupervisor({
    settings,
    log,
    policy: { policy, bytes: policyFile },
    allowWidening,
    args: process.argv.slice(2),
    endMs: endLimitMs(DRAIN_MS),
    inherited: lock === null ? [] : [lock.descriptor],
  })
  reloadAtHangUp(starts)
  const supervisor = await starts
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      supervisor.stop()
    })
  const code = await supervisor.ended
  log.info('stopped')
  process.exit(code)
}

async function work(
  { settings, policy }: Checked,
  allowWidening: string | null,
  log: Logger,
  place: typeof ALONE,
): Promise<void> {
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
  // A worker is told by its supervisor; a signal to the whole group reaches it as well.
  if (place.folder !== null) process.on('SIGHUP', () => undefined)
  else reloadAtHangUp(starts.then((started) => reloadOf(started, { settings, allowWidening, log, running: policy })))
  try {
    app = await starts
  } catch (error) {
    // Why it ends was said.
    if (!ending) throw error
  }
}

/** Reads the policy of the only process anew. */
function reloadOf(
  { catalogue, metrics, preparePolicy }: App,
  options: Omit<ReloadOptions, 'catalogue' | 'target' | 'count'>,
): PolicyReload {
  return new PolicyReload({
    ...options,
    catalogue,
    target: { prepare: ({ policy }) => preparePolicy(policy) },
    count: reloadCounter(metrics.registry),
  })
}
