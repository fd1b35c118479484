/**
 * From records to the spool, for sources whose senders cannot send again (AMI, HEP, SIP). What is known again by an id
 * of its own goes one by one; the rest is gathered for a few ms. How much may be on its way to the disk is bounded, and
 * what comes beyond that has no room:
 *
 *   `put`    whoever asked is told, and asks again later (SIP)
 *   `send`   nobody can be told. Where the sender can be made to wait, entries that had no room are kept and tried again, and no more is
 *            read meanwhile (AMI: the PBX waits, and if it does not, it closes the connection, which is a gap that is
 *            said); else they are lost, and counted (HEP)
 */
import type { Refusal } from '../../batch/batch.js'
import type { Catalogue, Kind } from '../../catalogue/catalogue.js'
import { MinimError } from '../../errors/catalogue.js'
import type { Inlet, PutOutcome, Spooled } from '../../flow/source.js'
import { type RecordFields, RecordWriter } from '../../formats/record-writer.js'

/** Records are gathered so long, or up to so many octets. */
const GATHER_MS = 5
const GATHER_BYTES = 65_536
const RETRY_MS = 500

/** An entry of the spool, but for the source and how many records it has. */
export type OutboxEntry = Omit<Spooled, 'source' | 'records'>

/** For a source that can make its sender wait. */
export interface Waiting {
  /** Octets that are not safe yet: above it reading should pause, from half of it on it may go on. */
  readonly maxPendingBytes: number
  readonly onBehind: (behind: boolean) => void
  /** A mistake of minim's own. */
  readonly onBroken: (error: unknown) => void
}

export interface OutboxOptions {
  readonly source: Spooled['source']
  readonly catalogue: Catalogue
  readonly inlet: Pick<Inlet, 'put'>
  /** Entries that may be on their way to the disk at once, so that one that hangs does not fill the memory. */
  readonly maxPending: number
  /** Told of entries that were sent: taken before, or without room. */
  readonly refused: (reason: 'repeated' | 'no_room', records: number) => void
  /** Null: the sender cannot be made to wait. */
  readonly waiting: Waiting | null
}

export class Outbox {
  readonly #options: OutboxOptions
  readonly #single: RecordWriter
  /** What is gathered, by tenant. */
  readonly #gathered = new Map<string, RecordWriter>()
  #gatherTimer: NodeJS.Timeout | null = null
  #pending = 0
  #pendingBytes = 0
  #behind = false
  #closing = false
  readonly #retries = new Set<() => void>()
  #settled: (() => void)[] = []

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#single = new RecordWriter(options.catalogue)
  }

  /** Entries that are not safe yet. */
  get pending(): number {
    return this.#pending
  }

  /** No more entries can be on their way. */
  get full(): boolean {
    return this.#pending >= this.#options.maxPending
  }

  /** Takes a record that may go with others. */
  add(kind: Kind, fields: RecordFields, tenant: string): void {
    let writer = this.#gathered.get(tenant)
    if (writer === undefined) this.#gathered.set(tenant, (writer = new RecordWriter(this.#options.catalogue)))
    writer.add(kind, fields)
    if (writer.length >= GATHER_BYTES) this.#sendGathered(writer, tenant)
    else
      this.#gatherTimer ??= setTimeout(() => {
        this.#flush()
      }, GATHER_MS)
  }

  /** Takes a call, which goes by itself. */
  call(fields: RecordFields, id: string, tenant: string): void {
    this.named('call', [fields], id, tenant)
  }

  /** Takes records that are known by an id, which go by themselves: all of them, or none where the id was taken before. */
  named(kind: Kind, records: readonly RecordFields[], id: NonNullable<Spooled['id']>, tenant: string): void {
    this.#send({ format: 'protobuf', tenant, bytes: this.#encode(kind, records), id }, records.length)
  }

  /** Takes input that could not become a record: it goes to quarantine. */
  refuse(text: string, reason: Refusal, tenant: string): void {
    this.#send({ format: 'refused', tenant, bytes: Buffer.from(text), reason }, 1)
  }

  /**
   * Makes records safe, as one entry.
   * @throws MinimError MINIM_SPOOL_FULL where there is no room, and what else {@link Inlet.put} throws
   */
  async put(
    kind: Kind,
    records: readonly RecordFields[],
    id: NonNullable<Spooled['id']>,
    tenant: string,
  ): Promise<PutOutcome> {
    if (this.full) throw new MinimError('MINIM_SPOOL_FULL')
    const bytes = this.#encode(kind, records)
    this.#began(bytes.length)
    try {
      return await this.#options.inlet.put({
        source: this.#options.source,
        format: 'protobuf',
        tenant,
        records: records.length,
        bytes,
        id,
      })
    } finally {
      this.#ended(bytes.length)
    }
  }

  /** Sends what is gathered, tries what had no room once more, and resolves when nothing is pending. */
  async close(): Promise<void> {
    this.#closing = true
    this.#flush()
    for (const retry of [...this.#retries]) retry()
    while (this.#pending > 0)
      await new Promise<void>((resolve) => {
        this.#settled.push(resolve)
      })
  }

  #encode(kind: Kind, records: readonly RecordFields[]): Buffer {
    // Also after a failure: nothing of it may be in the next one's.
    this.#single.whole(() => {
      for (const record of records) this.#single.add(kind, record)
    })
    return this.#single.take()
  }

  #flush(): void {
    if (this.#gatherTimer !== null) clearTimeout(this.#gatherTimer)
    this.#gatherTimer = null
    for (const [tenant, writer] of this.#gathered) if (writer.records > 0) this.#sendGathered(writer, tenant)
  }

  #sendGathered(writer: RecordWriter, tenant: string): void {
    const { records } = writer
    this.#send({ format: 'protobuf', tenant, bytes: writer.take() }, records)
  }

  #send(entry: OutboxEntry, records: number): void {
    if (this.full) {
      this.#options.refused('no_room', records)
      return
    }
    this.#began(entry.bytes.length)
    void this.#safe({ source: this.#options.source, records, ...entry }, records).finally(() => {
      this.#ended(entry.bytes.length)
    })
  }

  async #safe(entry: Spooled, records: number): Promise<void> {
    const { inlet, refused, waiting } = this.#options
    for (;;) {
      const last = this.#closing || waiting === null
      try {
        if ((await inlet.put(entry)) === 'repeated') refused('repeated', records)
        return
      } catch (error) {
        const known = error instanceof MinimError
        if (!known) waiting?.onBroken(error)
        if (last || !known) {
          refused('no_room', records)
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

  #began(bytes: number): void {
    this.#pending++
    this.#pendingBytes += bytes
    const { waiting } = this.#options
    if (waiting !== null && !this.#behind && this.#pendingBytes > waiting.maxPendingBytes) this.#setBehind(true)
  }

  #ended(bytes: number): void {
    this.#pending--
    this.#pendingBytes -= bytes
    const { waiting } = this.#options
    if (waiting !== null && this.#behind && this.#pendingBytes <= waiting.maxPendingBytes / 2) this.#setBehind(false)
    if (this.#pending > 0) return
    for (const resolve of this.#settled.splice(0)) resolve()
  }

  #setBehind(behind: boolean): void {
    this.#behind = behind
    this.#options.waiting?.onBehind(behind)
  }
}
