/**
 * One policy in several processes. The supervisor has read and checked it; each worker makes ready for it, and only
 * when all have do they all go over to it. So a file that is changed once more meanwhile cannot give two workers
 * different policies. One that is started later finds the policy in the workers' own folder, and not what the file
 * holds by then; one that missed the change, since it was just starting, is told when it says what it runs.
 *
 *   supervisor ──prepare──▶ worker: topics, keys ──prepared──▶ supervisor, once all are ──use──▶ workers
 */
import type { Worker } from 'node:cluster'
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { type ErrorCode, type ErrorDetails, ERRORS, MinimError } from '../errors/catalogue.js'
import { loadPolicy } from '../policy/load.js'
import type { Policy } from '../policy/model.js'
import type { CheckedPolicy, PolicyTarget } from './reload.js'

/** Longer than Kafka's administrator waits for an answer. */
const ANSWER_MS = 60_000
/** A worker that has another policy than it should is told again after so long. */
const AGAIN_MS = 5_000

const PREPARE = 'prepare policy'
const PREPARED = 'prepared policy'
const USE = 'use policy'

interface Message {
  readonly minim?: unknown
  readonly request?: unknown
  readonly text?: unknown
  readonly code?: unknown
  readonly details?: unknown
}

/** Where a worker finds the policy that runs. */
export function policyIn(folder: string): string {
  return join(folder, 'policy.yaml')
}

/** What a worker has of the policy. */
export interface PolicyUser {
  readonly policy: () => Policy
  readonly preparePolicy: (policy: Policy) => Promise<() => void>
}

/** In a worker: goes over to another policy when the supervisor says so. @returns what ends that */
export function servePolicies({ policy, preparePolicy }: PolicyUser): () => void {
  let ready: { readonly request: unknown; readonly use: () => void } | null = null
  const prepare = async (text: string): Promise<() => void> => {
    const next = loadPolicy({ text: Buffer.from(text, 'base64'), path: 'policy' })
    return next.hash === policy().hash ? () => undefined : preparePolicy(next)
  }
  const hear = (message: unknown): void => {
    const { minim, request, text } = (message ?? {}) as Message
    if (minim === USE && ready?.request === request) {
      ready?.use()
      ready = null
    }
    if (minim !== PREPARE || typeof text !== 'string') return
    const answer = (more: object): void => {
      if (process.connected) process.send?.({ minim: PREPARED, request, ...more }, undefined, {}, () => undefined)
    }
    prepare(text).then(
      (use) => {
        ready = { request, use }
        answer({})
      },
      (error: unknown) => {
        answer(error instanceof MinimError ? { code: error.code, details: error.details } : { code: '' })
      },
    )
  }
  process.on('message', hear)
  return () => process.off('message', hear)
}

interface Place {
  readonly index: number
  readonly worker: Worker
  /** It has said something, so it listens as well. */
  listens: boolean
  /** When it was last told, `performance.now()`. */
  toldAt: number
  /** Who waits for its answer, by the request's number. */
  readonly waiting: Map<number, (error: MinimError | null) => void>
}

/** In the supervisor: the policy of all workers. */
export class WorkerPolicies implements PolicyTarget {
  readonly #folder: string
  readonly #places = new Set<Place>()
  #current: CheckedPolicy
  #requests = 0

  /** @param folder the workers' own */
  constructor(folder: string, current: CheckedPolicy) {
    this.#folder = folder
    this.#current = current
    this.#keep(current)
  }

  add(index: number, worker: Worker): void {
    const place: Place = { index, worker, listens: false, toldAt: -Infinity, waiting: new Map() }
    this.#places.add(place)
    worker.on('message', (message: unknown) => {
      this.#hear(place, message)
    })
    worker.once('exit', () => {
      this.#places.delete(place)
      // Its successor begins with what is in the folder then.
      for (const answer of place.waiting.values()) answer(null)
    })
  }

  async prepare(next: CheckedPolicy): Promise<() => void> {
    const request = ++this.#requests
    const asked = [...this.#places].filter(({ listens }) => listens)
    const answers = await Promise.all(asked.map((place) => this.#ask(place, request, next)))
    const refused = answers.find((error) => error !== null)
    if (refused !== undefined && refused !== null) throw refused
    return () => {
      this.#keep(next)
      this.#current = next
      for (const place of asked) this.#send(place, { minim: USE, request })
    }
  }

  #hear(place: Place, message: unknown): void {
    const { minim, request, code, details, policy } = (message ?? {}) as Message & { policy?: unknown }
    if (minim === PREPARED && typeof request === 'number') {
      const failed = typeof code === 'string'
      place.waiting.get(request)?.(failed ? asError(place.index, code, details) : null)
    }
    if (minim !== 'ready') return
    place.listens = true
    // While it is being asked it will be told.
    if (policy === this.#current.policy.hash || typeof policy !== 'string' || place.waiting.size > 0) return
    if (performance.now() - place.toldAt < AGAIN_MS) return
    const missed = ++this.#requests
    const current = this.#current
    void this.#ask(place, missed, current).then((error) => {
      if (error === null && current === this.#current) this.#send(place, { minim: USE, request: missed })
    })
  }

  /** @returns why it cannot; null when it is ready, or has ended */
  async #ask(place: Place, request: number, { bytes }: CheckedPolicy): Promise<MinimError | null> {
    place.toldAt = performance.now()
    let timer: NodeJS.Timeout | undefined
    const error = await new Promise<MinimError | null>((resolve) => {
      place.waiting.set(request, resolve)
      timer = setTimeout(() => {
        resolve(new MinimError('MINIM_WORKER_SILENT', { index: place.index }))
      }, ANSWER_MS)
      this.#send(place, { minim: PREPARE, request, text: Buffer.from(bytes).toString('base64') })
    })
    clearTimeout(timer)
    place.waiting.delete(request)
    return error
  }

  #send({ worker }: Place, message: Readonly<Record<string, unknown>>): void {
    if (worker.isConnected()) worker.send(message, () => undefined)
  }

  /** For workers that are started from now on. */
  #keep({ bytes }: CheckedPolicy): void {
    const path = policyIn(this.#folder)
    writeFileSync(`${path}.new`, bytes, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
}

/** What a worker said of itself; one of another version could say anything. */
function asError(index: number, code: string, details: unknown): MinimError {
  return Object.hasOwn(ERRORS, code)
    ? new MinimError(code as ErrorCode, (details ?? {}) as ErrorDetails)
    : new MinimError('MINIM_WORKER_SILENT', { index })
}
