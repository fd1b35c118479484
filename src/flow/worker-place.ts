/** Which of several processes this one is. */
import { join } from 'node:path'

/** One worker among so many. */
export interface WorkerPlace {
  /** Its number, which is that of its shard. */
  readonly index: number
  readonly count: number
  /** Folder of the workers' own sockets; null where there is one worker only. */
  readonly folder: string | null
}

export const ALONE: WorkerPlace = { index: 0, count: 1, folder: null }

/** Where a worker's own gRPC socket is. */
export function workerSocket(folder: string, index: number): string {
  return `unix:${join(folder, `${index}.sock`)}`
}
