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
import type { Registry } from 'prom-client'
import { Backoff } from '../base/backoff.js'
import { catalogue } from '../catalogue/catalogue.js'
import { EXIT } from '../cli/exit.js'
import { MinimError } from '../errors/catalogue.js'
import type { Logger } from '../flow/log.js'
import type { WorkerPlace } from '../flow/worker-place.js'
import { type Readiness, startOps } from '../ops/health.js'
import { reloadCounter, type ReloadEnd } from '../ops/reloads.js'
import type { Settings } from '../settings/schema.js'
import { type CheckedPolicy, PolicyReload } from './reload.js'
import { answerPages, WorkerPages } from './worker-pages.js'
import { policyIn, type PolicyUser, servePolicies, WorkerPolicies } from './worker-policies.js'

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

/** Where a worker finds the policy that runs: what the settings' file holds by now may have been refused. */
export function workerPolicy({ folder }: WorkerPlace): string | null {
  return folder === null ? null : policyIn(folder)
}

/** In a worker: answers what the supervisor asks, takes the policy that it says, and ends with it. */
export function serveSupervisor(
  registry: Registry,
  ready: () => Readiness,
  policies: PolicyUser,
  stop: () => void,
): () => void {
  const leavePages = answerPages(registry)
  const leavePolicies = servePolicies(policies)
  // Told when it changes, and again now and then: a message may come before the supervisor listens.
  const timer = setInterval(() => {
    if (process.connected) process.send?.({ minim: 'ready', ...ready(), policy: policies.policy().hash })
  }, READY_INTERVAL_MS).unref()
  process.once('disconnect', stop)
  return () => {
    clearInterval(timer)
    leavePages()
    leavePolicies()
    process.off('disconnect', stop)
  }
}

/** In a worker: it is ending with this code, and is to be killed if it has not in so long. */
export function announceEnd(code: number, limitMs: number): void {
  if (process.connected) process.send?.({ minim: 'ending', code, limitMs }, undefined, {}, () => undefined)
}

interface Running {
  readonly worker: Worker
  readonly startedAt: number
  readiness: Readiness
  /** The code that it has said it would end with: also that of one that had to be killed. */
  ending: number | null
  killer: NodeJS.Timeout | null
}

/** What a worker says; a process of another version could say anything. */
interface Said {
  readonly minim?: unknown
  readonly ok?: unknown
  readonly reasons?: unknown
  readonly code?: unknown
  readonly limitMs?: unknown
}

export interface SupervisorOptions {
  readonly settings: Settings
  readonly log: Logger
  /** What they all begin with. */
  readonly policy: CheckedPolicy
  /** Why a policy may be taken that widens who sees what; null: it may not. */
  readonly allowWidening: string | null
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
  /** Reads the policy anew, for all workers. @param cause who asked, for the log */
  reload(cause: string): Promise<ReloadEnd>
  stop(): void
}

/** Starts the workers, and starts them again when they die. */
export async function startSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { settings, log, args, inherited = [], allowWidening } = options
  const workers = new Workers(options)
  const reloads = new PolicyReload({
    settings,
    catalogue: catalogue(),
    running: options.policy.policy,
    allowWidening,
    target: workers.policies,
    log,
    count: reloadCounter(workers.pages.own),
  })
  // One page over all: of a worker that does not answer in time, only that it is not ready can be said.
  const ops = await startOps({ listen: settings.ops.listen, registry: workers.pages, ready: () => workers.readiness })
  cluster.setupPrimary({
    exec: process.argv[1],
    args: [...args],
    stdio: ['inherit', 'inherit', 'inherit', 'ipc', ...inherited],
  })
  log.info({ workers: settings.workers, ops: `${ops.host}:${ops.port}` }, 'supervisor')
  workers.start()
  return {
    opsAddress: `${ops.host}:${ops.port}`,
    pids: () => workers.pids,
    ended: workers.ended.then(async (code) => {
      await ops.close()
      return code
    }),
    reload: (cause) => reloads.reload(cause),
    stop: () => {
      workers.stop()
    },
  }
}

/** The processes that share the work, each in its place. */
class Workers {
  readonly #log: Logger
  readonly #endMs: number
  /** Where the workers listen for each other. */
  readonly #folder = mkdtempSync(join(tmpdir(), 'minim-workers-'))
  readonly #running: (Running | null)[]
  readonly #backoffs: readonly Backoff[]
  #stopping = false
  #code: number = EXIT.done
  #markEnded: (code: number) => void = () => undefined
  readonly ended = new Promise<number>((resolve) => {
    this.#markEnded = resolve
  })
  readonly pages: WorkerPages
  readonly policies: WorkerPolicies

  constructor({ settings, log, endMs, policy }: SupervisorOptions) {
    this.#log = log
    this.#endMs = endMs
    chmodSync(this.#folder, 0o700)
    this.policies = new WorkerPolicies(this.#folder, policy)
    const places = Array.from({ length: settings.workers })
    this.#running = places.map(() => null)
    this.#backoffs = places.map(() => new Backoff(RESTART_MIN_MS, RESTART_MAX_MS))
    this.pages = new WorkerPages(settings.workers)
  }

  get pids(): (number | undefined)[] {
    return this.#running.map((one) => one?.worker.process.pid)
  }

  get readiness(): Readiness {
    const reasons = this.#running.flatMap((one) =>
      one === null ? ['worker_starting'] : one.readiness.ok ? [] : one.readiness.reasons,
    )
    return { ok: reasons.length === 0, reasons: [...new Set(reasons)] }
  }

  start(): void {
    for (let index = 0; index < this.#running.length; index++) this.#fork(index)
  }

  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    for (const one of this.#running) one?.worker.process.kill('SIGTERM')
    if (this.#running.every((one) => one === null)) {
      this.#finish()
      return
    }
    setTimeout(() => {
      for (const one of this.#running) one?.worker.process.kill('SIGKILL')
    }, this.#endMs + STOP_SLACK_MS).unref()
  }

  #finish(): void {
    rmSync(this.#folder, { recursive: true, force: true })
    this.#markEnded(this.#code)
  }

  #fork(index: number): void {
    const worker = cluster.fork({
      [INDEX]: String(index),
      [COUNT]: String(this.#running.length),
      [FOLDER]: this.#folder,
    })
    const one: Running = {
      worker,
      startedAt: Date.now(),
      readiness: { ok: false, reasons: ['worker_starting'] },
      ending: null,
      killer: null,
    }
    this.#running[index] = one
    this.pages.add(index, worker)
    this.policies.add(index, worker)
    worker.on('message', (said: Said) => {
      this.#hear(one, said)
    })
    worker.once('exit', (code: number | null, signal: string | null) => {
      this.#running[index] = null
      this.pages.remove(index, worker)
      if (one.killer !== null) clearTimeout(one.killer)
      this.#gone(index, one, code, signal)
    })
  }

  #hear(one: Running, said: Said): void {
    if (said.minim === 'ready')
      one.readiness = { ok: said.ok === true, reasons: Array.isArray(said.reasons) ? said.reasons.map(String) : [] }
    if (said.minim === 'ending' && typeof said.code === 'number' && typeof said.limitMs === 'number') {
      one.ending = said.code
      one.killer ??= setTimeout(() => {
        one.worker.process.kill('SIGKILL')
      }, said.limitMs + STOP_SLACK_MS)
    }
  }

  #gone(index: number, one: Running, ended: number | null, signal: string | null): void {
    // Killed since it hung at its end, it is none that died.
    const exitCode = signal === null ? ended : one.ending
    if (!this.#stopping && exitCode !== null && FINAL.has(exitCode)) {
      this.#code = exitCode
      this.stop()
    }
    if (this.#stopping) {
      if ((signal !== null || exitCode !== 0) && this.#code === EXIT.done) this.#code = EXIT.failed
      if (this.#running.every((r) => r === null)) this.#finish()
      return
    }
    if (Date.now() - one.startedAt > STEADY_MS) this.#backoffs[index].reset()
    const delayMs = this.#backoffs[index].next()
    const how = signal ?? `exit code ${exitCode ?? 'unknown'}`
    this.#log.error({ err: new MinimError('MINIM_WORKER_DIED', { index, how, delayMs }) })
    void sleep(delayMs).then(() => {
      if (!this.#stopping) this.#fork(index)
    })
  }
}
