/** What a source hands to the pipeline: bytes, and how they are to be read. */
import type { Reader } from '../batch/batch.js'

/** Bytes of one source, as the pipeline takes them. */
export interface Input {
  readonly reader: Reader
  readonly arena: Buffer
  readonly start: number
  readonly end: number
  /** First byte of the arena that readers may write to, up to the arena's end. */
  readonly scratchStart: number
  /** No bytes follow `end`. */
  readonly last: boolean
  /** Name of the tenant of records that name none. */
  readonly tenant: string
  /** Tenants that the sender may use: a record of another goes to quarantine. Null or left out: any. */
  readonly tenants?: ReadonlySet<string> | null
}
