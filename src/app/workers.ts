/**
 * More processes: one supervisor, and as many workers as the settings say (`node:cluster`). node-rdkafka cannot be
 * loaded twice in one process, and JavaScript has one thread, so more cores mean more processes.
 *
 *   supervisor: the operator's port (one page over all), restarts        no record passes through it
 *     worker 0 … N-1: each a whole proxy, with a shard of its own        listeners that keep no state are shared (gRPC, HTTP)
 *
 * A source belongs to the worker that owns its shard. A gRPC stream that reaches another one is passed on to the
 * owner's own socket in a folder that nobody else can enter (`sources/grpc/grpc.ts`). Sources that keep state (AMI,
 * HEP, SIP) run in one worker each.
 */
import cluster, { type Worker } from 'node:cluster'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { AggregatorRegistry, type Registry } from 'prom-client'
import { Backoff } from '../base/backoff.js'
import { EXIT } from '../cli/exit.js'
import { MinimError } from '../errors/catalogue.js'
import type { Logger } from '../flow/log.js'
import type { WorkerPlace } from '../flow/worker-place.js'
import { type Readiness, startOps } from '../ops/health.js'
import type { Settings } from '../settings/schema.js'

const INDEX = 'MINIM_WORKER'
const COUNT = 'MINIM_WORKERS'
const FOLDER = 'MINIM_WORKER_FOLDER'

const RESTART_MIN_MS = 500
const RESTART_MAX_MS = 30_000
/** A worker that has run so long starts its back-off anew. */
const STEADY_MS = 60_000
/** Beyond what a worker takes to end, which watches its own end. */
const STOP_SLACK_MS = 2_000
const READY_INTERVAL_MS = 250

/** Codes with which a worker says that no other start would end better. */
const FINAL: ReadonlySet<number> = new Set([EXIT.usage, EXIT.kafka, EXIT.keys])

/** What this process is: null for the supervisor, or a process that has none. */
export function workerPlace(): WorkerPlace | null {
  const { [INDEX]: index, [COUNT]: count, [FOLDER]: folder } = process.env
  return cluster.isWorker && index !== undefined && folder !== undefined
    ? { index: Number(index), count: Number(count), folder }
    : null
}

/** In a worker: answers what the supervisor asks, and ends with it. */
export function serveSupervisor(registry: Registry, ready: () => Readiness, stop: () => void): () => void {
  AggregatorRegistry.setRegistries([registry])
  new AggregatorRegistry()
  // Told when it changes, and again now and then: a message may come before the supervisor listens.
  const timer = setInterval(() => {
    if (process.connected) process.send?.({ minim: 'ready', ...ready() })
  }, READY_INTERVAL_MS).unref()
  process.once('disconnect', stop)
  return () => {
    clearInterval(timer)
    process.off('disconnect', stop)
  }
}

/** In a worker: it is ending with this code, and is to be killed if it has not in so long. */
export function announceEnd(code: number, limitMs: number): void {
  if (process.connected) process.send?.({ minim: 'ending', code, limitMs }, undefined, {}, () => undefined)
}

interface Running {
  worker: Worker
  startedAt: number
  readiness: Readiness
  /** The code that it has said it would end with: also that of one that had to be killed. */
  ending: number | null
  killer: NodeJS.Timeout | null
}

export interface SupervisorOptions {
  readonly settings: Settings
  readonly log: Logger
  /** What the workers are started with: the command line behind the program's name. */
  readonly args: readonly string[]
  /** Within this time a worker ends that is told to. */
  readonly endMs: number
  /** Descriptors that the workers share with it: they are held until the last of them has ended. */
  readonly inherited?: readonly number[]
}

export interface Supervisor {
  readonly opsAddress: string
  /** Process ids of the workers, by number. */
  readonly pids: () => readonly (number | undefined)[]
  /** Resolves with the exit code when all workers have ended: of its own accord only when one cannot go on. */
  readonly ended: Promise<number>
  stop(): void
}

/** Starts the workers, and starts them again when they die. */
export async function startSupervisor({
  settings,
  log,
  args,
  endMs,
  inherited = [],
}: SupervisorOptions): Promise<Supervisor> {
  const count = settings.workers
  const folder = mkdtempSync(join(tmpdir(), 'minim-workers-'))
  chmodSync(folder, 0o700)
  const running: (Running | null)[] = Array.from({ length: count }, () => null)
  const backoffs = Array.from({ length: count }, () => new Backoff(RESTART_MIN_MS, RESTART_MAX_MS))
  let stopping = false
  let code: number = EXIT.done
  let markEnded: (code: number) => void = () => undefined
  const ended = new Promise<number>((resolve) => {
    markEnded = resolve
  })

  const ready = (): Readiness => {
    const reasons = running.flatMap((one) =>
      one === null ? ['worker_starting'] : one.readiness.ok ? [] : one.readiness.reasons,
    )
    return { ok: reasons.length === 0, reasons: [...new Set(reasons)] }
  }
  const registry = new AggregatorRegistry()
  // One page over all: of a worker that does not answer in time, nothing can be said.
  const ops = await startOps({
    listen: settings.ops.listen,
    registry: { contentType: registry.contentType, metrics: () => registry.clusterMetrics() },
    ready,
  })

  const finish = async (): Promise<void> => {
    await ops.close()
    rmSync(folder, { recursive: true, force: true })
    markEnded(code)
  }
  const start = (index: number): void => {
    const worker = cluster.fork({ [INDEX]: String(index), [COUNT]: String(count), [FOLDER]: folder })
    const one: Running = {
      worker,
      startedAt: Date.now(),
      readiness: { ok: false, reasons: ['worker_starting'] },
      ending: null,
      killer: null,
    }
    running[index] = one
    worker.on(
      'message',
      (message: { minim?: unknown; ok?: unknown; reasons?: unknown; code?: unknown; limitMs?: unknown }) => {
        if (message.minim === 'ready')
          one.readiness = {
            ok: message.ok === true,
            reasons: Array.isArray(message.reasons) ? message.reasons.map(String) : [],
          }
        if (message.minim === 'ending' && typeof message.code === 'number' && typeof message.limitMs === 'number') {
          one.ending = message.code
          one.killer ??= setTimeout(() => {
            worker.process.kill('SIGKILL')
          }, message.limitMs + STOP_SLACK_MS)
        }
      },
    )
    worker.once('exit', (ended: number | null, signal: string | null) => {
      running[index] = null
      if (one.killer !== null) clearTimeout(one.killer)
      // Killed since it hung at its end, it is none that died.
      const exitCode = signal === null ? ended : one.ending
      if (!stopping && exitCode !== null && FINAL.has(exitCode)) {
        code = exitCode
        stop()
      }
      if (stopping) {
        if ((signal !== null || exitCode !== 0) && code === EXIT.done) code = EXIT.failed
        if (running.every((r) => r === null)) void finish()
        return
      }
      if (Date.now() - one.startedAt > STEADY_MS) backoffs[index].reset()
      const delayMs = backoffs[index].next()
      log.error({
        err: new MinimError('MINIM_WORKER_DIED', {
          index,
          how: signal ?? `exit code ${exitCode ?? 'unknown'}`,
          delayMs,
        }),
      })
      void sleep(delayMs).then(() => {
        if (!stopping) start(index)
      })
    })
  }
  const stop = (): void => {
    if (stopping) return
    stopping = true
    for (const one of running) one?.worker.process.kill('SIGTERM')
    if (running.every((one) => one === null)) {
      void finish()
      return
    }
    setTimeout(() => {
      for (const one of running) one?.worker.process.kill('SIGKILL')
    }, endMs + STOP_SLACK_MS).unref()
  }

  cluster.setupPrimary({
    exec: process.argv[1],
    args: [...args],
    stdio: ['inherit', 'inherit', 'inherit', 'ipc', ...inherited],
  })
  log.info({ workers: count, ops: `${ops.host}:${ops.port}` }, 'supervisor')
  for (let index = 0; index < count; index++) start(index)
  return {
    opsAddress: `${ops.host}:${ops.port}`,
    pids: () => running.map((one) => one?.worker.process.pid),
    ended,
    stop,
  }
}
