/**
 * What a source needs of the rest: where it left off, a place to hand batches to, and the pipeline to make them with.
 */
import type { Batch } from '../batch/batch.js'
import type { Input } from './input.js'
import type { Minimised } from './minimised.js'
import type { SourceId, WorkItem } from './work-item.js'

export interface Intake {
  /** Last sequence of a stream that is committed; 0 if none is. */
  lastTaken(id: SourceId): number
  /** All streams of a source that the ledger knows: a file that grew may be one of them. */
  streamsOf(source: string): { readonly incarnation: string; readonly sequence: number }[]
  /** What the ledger calls contents with this hash: `flow/contents.ts`. */
  contentsName(hash: string): string
  /** Resolves when the item is taken in; late when delivery is behind, which slows the source. */
  offer(item: WorkItem): Promise<void>
  /** Runs the pipeline. The result is valid until the next call. */
  minimise(input: Input, excluded?: ReadonlySet<number>): Minimised
  /** The same for a batch that the source has filled itself, and which this uses up. */
  minimiseFilled(batch: Batch, format: string, tenant: string, excluded?: ReadonlySet<number>): Minimised
}

/** What a source needs whose senders number their batches. */
export interface StreamIntake extends Intake {
  /** The mark of a batch: `flow/marks.ts`. */
  mark(id: SourceId, sequence: number, body: Uint8Array): Uint8Array
  /** Whether a batch was taken, or is under way, that had this number and another mark. */
  differs(id: SourceId, sequence: number, mark: Uint8Array): boolean
}
