/** What a proxy has open, and how it is closed: in order, and in bounded time. */
import type { Source } from '../flow/source.js'
import type { Ops } from '../ops/health.js'
import type { SpoolLock } from '../spool/lock.js'
import type { Spool } from '../spool/spool.js'
import { stopSources } from './sources.js'

/**
 * How long each part of an end may take before the next one begins, ms: that of a source that hangs must not keep the
 * spool open.
 */
const STOP_TAKING_MS = 2_500
const ORDERLY_STOP_TAKING_MS = 10_000
const STOP_SOURCES_MS = 2_500
const STOP_DELIVERY_MS = 1_000
const CLOSE_SPOOL_MS = 1_500

/** Resolves with work, or when its time is over. */
async function within(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([
    work,
    new Promise<void>((resolve) => {
      timer = setTimeout(resolve, limitMs)
    }),
  ])
  clearTimeout(timer)
}

/** Of policy, keys, pipeline and delivery: what their end needs. */
interface Ending {
  readonly delivery: { drain(): Promise<unknown> }
  stop(drainMs?: number): Promise<void>
}

/** Resolves when all that was taken is committed, or the time is over: what is left then is told that it failed. */
async function drained(core: Ending, drainMs?: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([
    core.delivery.drain(),
    ...(drainMs === undefined
      ? []
      : [
          new Promise<void>((resolve) => {
            timer = setTimeout(resolve, drainMs)
          }),
        ]),
  ])
  clearTimeout(timer)
}

/** Filled in while a proxy starts; what is there is closed, however far the start has come. */
export class OpenParts {
  readonly #core: Ending
  readonly #lock: SpoolLock | null
  ops: Ops | null = null
  sources: readonly Source[] = []
  spools: readonly Spool[] = []
  /** In a worker: ends what the supervisor is told. */
  leave: (() => void) | null = null
  stage: 'starting' | 'running' | 'stopping' = 'starting'

  constructor(core: Ending, lock: SpoolLock | null) {
    this.#core = core
    this.#lock = lock
  }

  /** Why a spool takes nothing; that it is stopping is said by the stage. */
  get spoolTroubles(): string[] {
    const reasons = this.spools.map(({ trouble }) => trouble?.reason)
    return [...new Set(reasons.filter((reason) => reason !== undefined && reason !== 'stopping'))]
  }

  /**
   * In this order, whatever one part says, or however long it takes. Ports are closed first.
   * @param drainMs for what was taken; 0: nothing will be committed any more. Left out: as long as it takes
   */
  async shutDown(drainMs?: number): Promise<void> {
    const { spools, sources } = this
    const begunAt = performance.now()
    this.stage = 'stopping'
    // What was put before is made safe and answered; what comes now is refused.
    if (drainMs === 0) for (const spool of spools) spool.stopTaking()
    const told = Promise.allSettled(sources.map((source) => source.stopTaking()))
    await (drainMs === undefined
      ? told
      : within(drainMs === 0 ? STOP_TAKING_MS : Math.min(drainMs, ORDERLY_STOP_TAKING_MS), told))
    // What is in the spool is safe there: it is not waited for.
    for (const spool of spools) spool.stopFeeding()
    await drained(this.#core, drainMs === undefined ? undefined : Math.max(0, drainMs - (performance.now() - begunAt)))
    await within(STOP_SOURCES_MS, stopSources(sources))
    await within(STOP_DELIVERY_MS, this.#core.stop(0))
    let closed = false
    await within(
      CLOSE_SPOOL_MS * 2,
      Promise.all(spools.map((spool) => spool.close(CLOSE_SPOOL_MS))).then(() => {
        closed = true
      }),
    )
    if (closed) this.#lock?.release()
    await this.ops?.close()
    this.leave?.()
  }
}
