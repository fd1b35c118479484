/**
 * Requests that a record is made of (REGISTER, PUBLISH and NOTIFY of quality reports), each once, whatever of it was
 * captured: it is sent again, passes proxies, and is seen by two capture points.
 *
 * A request that is challenged comes again with credentials and a higher CSeq, so it counts for nothing. What its
 * answer was says whether a device is registered: 2xx yes, 401, 407, 423 and 3xx not yet, other failures that it was
 * rejected. Where no answer is seen for {@link ANSWER_MS} (captures of one direction) the record is written all the
 * same, without saying that it was accepted.
 */
import type { Kind } from '../../catalogue/catalogue.js'
import type { RecordFields } from '../../formats/record-writer.js'
import { leave, Queue, Queued } from './queue.js'

/** How long an answer is waited for. */
const ANSWER_MS = 10_000
/** How long copies of an answered request are looked out for: RFC 3261 §17.1.2.2, 64 × T1. */
const COPIES_MS = 32_000
const SWEEP = 20_000

class Request extends Queued {
  readonly key: string
  readonly kind: Kind
  readonly tenant: string
  /** What its records are known by, also where they come by another way. */
  readonly id: string
  records: readonly RecordFields[]

  constructor(key: string, kind: Kind, records: readonly RecordFields[], tenant: string, id: string) {
    super()
    this.key = key
    this.kind = kind
    this.records = records
    this.tenant = tenant
    this.id = id
  }
}

export interface RequestTableOptions {
  /** Requests that wait for their answers, and as many again that have theirs. */
  readonly max: number
  readonly onRecords: (kind: Kind, records: readonly RecordFields[], tenant: string, id: string) => void
}

export class RequestTable {
  readonly #options: RequestTableOptions
  readonly #byKey = new Map<string, Request>()
  readonly #waiting = new Queue<Request>(ANSWER_MS)
  readonly #done = new Queue<Request>(COPIES_MS)

  constructor(options: RequestTableOptions) {
    this.#options = options
  }

  /** Whether this was seen already. `key` is its Call-ID and CSeq. */
  knows(key: string): boolean {
    return this.#byKey.has(key)
  }

  /** Takes a request that is not known; its records wait for the answer. */
  add(key: string, kind: Kind, records: readonly RecordFields[], tenant: string, id: string, now: number): void {
    const request = new Request(key, kind, records, tenant, id)
    this.#byKey.set(key, request)
    this.#waiting.add(request, now)
    const oldest = this.#waiting.first
    // No room to wait: written as it is, as if nobody had answered.
    if (this.#waiting.size > this.#options.max && oldest !== null) this.#settle(oldest, null, now)
  }

  /** Something of which copies give no second record, and which waits for nothing. */
  remember(key: string, now: number): void {
    const request = new Request(key, 'quality', [], '', '')
    this.#byKey.set(key, request)
    this.#finish(request, now)
  }

  /** Takes an answer. */
  answer(key: string, status: number, now: number): void {
    const request = this.#byKey.get(key)
    if (request === undefined || status < 200 || request.queue !== (this.#waiting as unknown)) return
    if (status === 401 || status === 407 || status === 423 || (status >= 300 && status < 400)) {
      request.records = []
      this.#finish(request, now)
    } else this.#settle(request, status, now)
  }

  sweep(now: number): void {
    this.#waiting.sweep(now, SWEEP, (request) => {
      this.#settle(request, null, now)
    })
    this.#done.sweep(now, SWEEP, (request) => {
      this.#byKey.delete(request.key)
    })
  }

  /** Writes what waits. */
  flush(now: number): void {
    for (let request = this.#waiting.first; request !== null; request = this.#waiting.first)
      this.#settle(request, null, now)
  }

  #settle(request: Request, status: number | null, now: number): void {
    const { kind, tenant, records, id } = request
    if (records.length > 0)
      this.#options.onRecords(
        kind,
        kind === 'device' ? records.map((fields) => answered(fields, status)) : records,
        tenant,
        id,
      )
    request.records = []
    this.#finish(request, now)
  }

  #finish(request: Request, now: number): void {
    this.#done.add(request, now)
    const oldest = this.#done.first
    if (this.#done.size > this.#options.max && oldest !== null) {
      leave(oldest)
      this.#byKey.delete(oldest.key)
    }
  }
}

/** What a REGISTER's answer makes of its record. */
function answered(fields: RecordFields, status: number | null): RecordFields {
  if (status === null) return { ...fields, event: null }
  return status < 300 ? fields : { ...fields, event: 'REJECTED' }
}
