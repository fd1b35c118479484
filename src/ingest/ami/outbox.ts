/**
 * From records to the spool. Calls go one by one, since each is known again by an id of its own; the rest is gathered for a few ms.
 * What the spool has no room for is kept and tried again, and no more is read meanwhile: the PBX waits, and if it does not, it closes the
 * connection, which is a gap that is said.
 */
import type { Refusal } from '../../batch/batch.js'
import type { Catalogue } from '../../catalogue/catalogue.js'
import { MinimError } from '../../errors/catalogue.js'
import type { SourceCounters } from '../../ops/metrics.js'
import { RecordWriter, type RecordFields } from '../record-writer.js'
import type { Inlet, Spooled } from '../source.js'

const LINGER_MS = 5
const BATCH_BYTES = 65_536
/** Not safe yet: above it nothing more is read, below half of it reading goes on. */
const MAX_PENDING_BYTES = 4_194_304
const RETRY_MS = 500

export interface OutboxOptions {
  readonly catalogue: Catalogue
  readonly inlet: Inlet
  readonly tenant: string
  readonly counters: SourceCounters
  /** Reading should pause, or may go on. */
  readonly onBehind: (behind: boolean) => void
  /** A mistake of minim's own. */
  readonly onBroken: (error: unknown) => void
}

export class Outbox {
  readonly #options: OutboxOptions
  readonly #writer: RecordWriter
  readonly #single: RecordWriter
  #linger: NodeJS.Timeout | null = null
  #pendingBytes = 0
  #pending = 0
  #behind = false
  #closing = false
  readonly #retries = new Set<() => void>()
  #settled: (() => void)[] = []

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#writer = new RecordWriter(options.catalogue)
    this.#single = new RecordWriter(options.catalogue)
  }

  add(kind: 'quality' | 'device', fields: RecordFields): void {
    this.#writer.add(kind, fields)
    if (this.#writer.length >= BATCH_BYTES) this.#flush()
    else this.#linger ??= setTimeout(() => { this.#flush() }, LINGER_MS)
  }

  call(fields: RecordFields, id: string): void {
    this.#single.add('call', fields)
    this.#put({ format: 'protobuf', bytes: this.#single.take(), id }, 1)
  }

  /** Input that could not become a record: it goes to quarantine. */
  refuse(text: string, reason: Refusal): void {
    this.#put({ format: 'refused', bytes: Buffer.from(text), reason }, 1)
  }

  /** Puts what is left, tries what had no room once more, and resolves when nothing is pending. */
  close(): Promise<void> {
    this.#closing = true
    this.#flush()
    for (const retry of [...this.#retries]) retry()
    return this.#pending === 0 ? Promise.resolve() : new Promise((resolve) => { this.#settled.push(resolve) })
  }

  #flush(): void {
    if (this.#linger !== null) clearTimeout(this.#linger)
    this.#linger = null
    const { records } = this.#writer
    if (records > 0) this.#put({ format: 'protobuf', bytes: this.#writer.take() }, records)
  }

  #put(entry: Pick<Spooled, 'format' | 'bytes' | 'reason' | 'id'>, records: number): void {
    this.#pending++
    this.#pendingBytes += entry.bytes.length
    if (!this.#behind && this.#pendingBytes > MAX_PENDING_BYTES) this.#setBehind(true)
    void this.#safe({ source: 'ami', tenant: this.#options.tenant, records, ...entry }, records).finally(() => {
      this.#pending--
      this.#pendingBytes -= entry.bytes.length
      if (this.#behind && this.#pendingBytes <= MAX_PENDING_BYTES / 2) this.#setBehind(false)
      if (this.#pending > 0) return
      for (const resolve of this.#settled.splice(0)) resolve()
    })
  }

  async #safe(entry: Spooled, records: number): Promise<void> {
    const { inlet, counters, onBroken } = this.#options
    for (;;) {
      const last = this.#closing
      try {
        if (await inlet.put(entry) === 'repeated') counters.refused('repeated', records)
        return
      } catch (error) {
        if (!(error instanceof MinimError)) onBroken(error)
        if (last || !(error instanceof MinimError)) {
          counters.refused('no_room', records)
          return
        }
        if (!this.#behind) this.#setBehind(true)
        await this.#pause()
      }
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const go = (): void => {
        clearTimeout(timer)
        this.#retries.delete(go)
        resolve()
      }
      const timer = setTimeout(go, RETRY_MS)
      this.#retries.add(go)
    })
  }

  #setBehind(behind: boolean): void {
    this.#behind = behind
    this.#options.onBehind(behind)
  }
}
