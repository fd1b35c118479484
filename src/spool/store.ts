/**
 * What the spool asks of whatever keeps its rows on disk. `lmdb-store.ts` is what there is; another may take its place
 * without the rest of the spool knowing.
 *
 * - A {@link SpoolStore.transaction} is atomic: when its promise resolves, all of it is on disk; when it rejects,
 *   nothing of it is to be seen, or the store says that it has to be mended. It runs under a lock that all workers
 *   share, so that looking an id up and storing it is one step for all of them.
 * - What an action has written is kept even if it then throws: whatever can fail has to come before the first write.
 * - Tables are read at any time, and written within a transaction only.
 */

/** Rows by key, in the order of keys. */
export interface SpoolTable<Key, Value> {
  get(key: Key): Value | undefined
  has(key: Key): boolean
  /** Within a transaction only. */
  put(key: Key, value: Value): void
  /** Within a transaction only. Of a row that is not there: nothing. */
  remove(key: Key): void
  keys(range?: KeyRange<Key>): Iterable<Key>
  values(range?: KeyRange<Key>): Iterable<Value>
  count(range?: KeyRange<Key>): number
  /** Reads rows from a slow disk, not on this thread: reading them is fast when it resolves. */
  prefetch(keys: Key[]): Promise<void>
  /** Room that it takes on disk, bytes. */
  readonly bytes: number
}

export interface KeyRange<Key> {
  readonly start?: Key
  /** The first one that is not part of it. */
  readonly end?: Key
  readonly limit?: number
  readonly reverse?: boolean
}

export interface SpoolTables {
  /** Sealed blocks by sequence. */
  readonly blocks: SpoolTable<number, Buffer>
  /** Blocks that could not be opened. */
  readonly damaged: SpoolTable<number, Buffer>
  /** `seen.ts`; one table for all workers. */
  readonly seen: SpoolTable<Buffer, Buffer>
  /** For all workers. */
  readonly meta: SpoolTable<string, string>
}

/** One worker's part of a folder. */
export interface SpoolStore {
  readonly path: string
  readonly worker: number
  /** Names this worker's part of the spool in the ledger. */
  readonly uuid: string
  /** null while it is closed: it could not be opened again. Another object after it was. */
  readonly tables: SpoolTables | null
  /**
   * Runs an action in a write transaction. Resolves when what it wrote is on disk.
   * @throws MinimError MINIM_SPOOL_BROKEN; or whatever the action throws
   */
  transaction<T>(action: (tables: SpoolTables) => T): Promise<T>
  /** The disk is not to be trusted: its files are let go of, so that it can be mended. */
  release(): Promise<void>
  /** Makes it usable again, if the last failure may have left it otherwise. @throws MinimError MINIM_SPOOL_BROKEN */
  mend(): Promise<void>
  /**
   * Whether the disk takes writes now: null, or an error's code.
   * @param usedBytes what is in use of the data file: the rest of it is room too
   * @param deleting for a write that only deletes, the last of the reserve will do
   */
  probe(usedBytes: number, deleting?: boolean): string | null
  close(): Promise<void>
}
