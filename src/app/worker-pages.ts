/**
 * One page of metrics over several processes. Each worker is asked for its own, and the page comes within a bounded
 * time whatever a worker does: one that is being replaced, has not begun to listen or hangs must not take the figures
 * of all others away just when they are looked at. prom-client's own aggregation asks every process and gives no page
 * unless all answer within five seconds; its rules for adding up are used here.
 */
import type { Worker } from 'node:cluster'
import process from 'node:process'
import { AggregatorRegistry, Registry } from 'prom-client'

/** Scrapers wait ten seconds as a rule: a page without one worker is worth more than none. */
const ANSWER_MS = 2_000

const ASK = 'metrics'
const ANSWER = 'metrics of'

/** A worker's metrics as prom-client hands them from process to process. */
type Page = readonly unknown[]

/** Adds up as "ready when all are": a worker without an answer is not. */
const NOT_READY: Page = [
  {
    name: 'minim_ready',
    help: 'Whether /readyz answers 200',
    type: 'gauge',
    aggregator: 'min',
    values: [{ value: 0, labels: {} }],
  },
]

/** In a worker: answers when the supervisor asks. @returns what ends that */
export function answerPages(registry: Registry): () => void {
  const answer = (asked: unknown): void => {
    const { minim, request } = (asked ?? {}) as { minim?: unknown; request?: unknown }
    if (minim !== ASK) return
    void registry.getMetricsAsJSON().then((page) => {
      if (process.connected) process.send?.({ minim: ANSWER, request, page }, undefined, {}, () => undefined)
    })
  }
  process.on('message', answer)
  return () => process.off('message', answer)
}

interface Place {
  readonly worker: Worker
  /** It has said something, so it listens as well. */
  listens: boolean
  /** What it answered last: of one that is only late, counters must not seem to have gone back. */
  last: Page | null
  /** Who waits for its answer, by the request's number. */
  readonly waiting: Map<number, () => void>
}

/** In the supervisor: the pages of all workers as one. */
export class WorkerPages {
  readonly #places: (Place | null)[]
  readonly #answerMs: number
  /** What this process counts itself: it has no records, and no page of its own. */
  readonly own = new Registry()
  readonly contentType = new Registry().contentType
  #requests = 0

  /** @param count of workers, whether they run or not @param answerMs how long one may take */
  constructor(count: number, answerMs: number = ANSWER_MS) {
    this.#places = Array.from({ length: count }, () => null)
    this.#answerMs = answerMs
  }

  add(index: number, worker: Worker): void {
    const place: Place = { worker, listens: false, last: null, waiting: new Map() }
    this.#places[index] = place
    worker.on('message', (said: unknown) => {
      const { minim, request, page } = (said ?? {}) as { minim?: unknown; request?: unknown; page?: unknown }
      if (typeof minim === 'string') place.listens = true
      if (minim !== ANSWER || typeof request !== 'number' || !Array.isArray(page)) return
      place.last = page
      place.waiting.get(request)?.()
    })
  }

  remove(index: number, worker: Worker): void {
    const place = this.#places[index]
    if (place?.worker !== worker) return
    this.#places[index] = null
    for (const give of place.waiting.values()) give()
  }

  /** The page of those that answer in time. */
  async metrics(): Promise<string> {
    const request = ++this.#requests
    const answered = await Promise.all(this.#places.map((place) => this.#ask(place, request)))
    const pages = this.#places.flatMap((place) => (place === null || place.last === null ? [] : [place.last]))
    if (!answered.every((one) => one)) pages.push(NOT_READY)
    pages.push(await this.own.getMetricsAsJSON())
    return AggregatorRegistry.aggregate(pages).metrics()
  }

  /** Whether a worker has answered. */
  async #ask(place: Place | null, request: number): Promise<boolean> {
    if (place === null || !place.listens || !place.worker.isConnected()) return false
    const before = place.last
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      place.waiting.set(request, resolve)
      timer = setTimeout(resolve, this.#answerMs)
      place.worker.send({ minim: ASK, request }, (error) => {
        if (error !== null) resolve()
      })
    })
    clearTimeout(timer)
    place.waiting.delete(request)
    return place.last !== before
  }
}
