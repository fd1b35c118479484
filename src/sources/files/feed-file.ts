/**
 * Feeds a file to delivery: from where the ledger says it was left, a batch at a time, each acknowledged by its commit.
 *
 * Lines (CSV, JSON) are cut into batches by their reader, whose columns are used for the first delivery as they are;
 * only a batch that must be delivered again is read again. Length-delimited messages are cut at their ends, since a
 * position inside one would be no place to go on from after a crash.
 */
import process from 'node:process'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Batch, type Reader } from '../../batch/batch.js'
import { SharedBatch } from '../../batch/lease.js'
import { lastDelimitedEnd } from '../../batch/scanner.js'
import type { Catalogue } from '../../catalogue/catalogue.js'
import { MinimError } from '../../errors/catalogue.js'
import type { FileFormat } from '../../flow/file-formats.js'
import type { Intake } from '../../flow/intake.js'
import type { Minimised } from '../../flow/minimised.js'
import { shardOf } from '../../flow/shards.js'
import type { Source, SourceContext } from '../../flow/source.js'
import type { SourceId, WorkItem } from '../../flow/work-item.js'
import { ALONE } from '../../flow/worker-place.js'
import type { Mapping } from '../../formats/mapping.js'
import { readerFor } from '../../formats/readers.js'
import { ChunkPool, type FileChunk, type FilePiece, FileSource } from '../common/files.js'
import type { FollowedPiece, FollowSink } from '../common/follow-file.js'
import { checkMappings, type FilesContext, followersOf } from '../common/followers.js'

export interface FeedOptions {
  /** Null: what comes from `input`. */
  readonly path: string | null
  readonly input?: Readable
  readonly format: FileFormat
  /** For formats that need one. */
  readonly mapping: Mapping | null
  readonly catalogue: Catalogue
  readonly intake: Intake
  readonly tenant: string
  /** Name in the ledger; null: the file's own identity. */
  readonly source: string | null
  readonly maxRecordBytes: number
  /** Longest length-delimited message. */
  readonly maxMessageBytes: number
  /** What messages call the file. Default "input file". */
  readonly label?: string
  /** Nothing is taken of a file that was not begun yet if nearly all of its first batch would go to quarantine. */
  readonly refuseWrongFormat?: boolean
  /** Called at each commit with how far the file is done, bytes. */
  readonly onProgress?: (done: number, size: number, from: number) => void
  /** Stops reading; what was read is still committed. */
  readonly signal?: AbortSignal
}

export interface FeedResult {
  /** Of its contents, unpacked. */
  readonly size: number
  /** Where the ledger said to go on: bytes that an earlier run had taken. */
  readonly from: number
}

/**
 * A buffer is out until its batch is committed: with fewer, a transaction cannot fill while the one before it commits.
 */
const BUFFERS = 8

/**
 * Feeds a whole file. Resolves when all of it is committed, or all that was read when the signal came.
 * @throws MinimError when the file cannot be read, or when delivery gives up
 */
export async function feedFile(options: FeedOptions): Promise<FeedResult> {
  const { catalogue, intake, format, mapping, maxRecordBytes, maxMessageBytes } = options
  const delimited = format === 'protobuf'
  const longest = delimited ? maxMessageBytes : maxRecordBytes
  const source = {
    pool: new ChunkPool({
      buffers: BUFFERS,
      maxRecordBytes: longest,
      scratchBytes: delimited ? longest : Math.max(131_072, longest),
    }),
    framing: delimited ? ('length-delimited' as const) : ('lines' as const),
    ...(options.source === null ? {} : { source: options.source }),
    ...(options.label === undefined ? {} : { label: options.label }),
  }
  const file =
    options.path === null
      ? await FileSource.ofStream(options.input ?? process.stdin, source)
      : await FileSource.open(options.path, source)
  try {
    const taken = file.identity.taken(intake)
    const from = taken > file.size ? file.size : taken
    let end = from
    const reader = readerFor(format, mapping, catalogue, maxRecordBytes)
    const feeder = new Feeder(
      file,
      reader,
      new SharedBatch(new Batch(catalogue)),
      options,
      from,
      options.refuseWrongFormat === true && from === 0,
    )
    for await (const chunk of file.chunks(from)) {
      end = chunk.endOffset
      if (delimited) await feeder.messages(chunk)
      else await feeder.lines(chunk)
      if (feeder.error !== null || options.signal?.aborted === true) break
    }
    await feeder.settled()
    if (feeder.error !== null) throw feeder.error
    return { size: Number.isNaN(file.size) ? end : file.size, from }
  } finally {
    await file.close()
  }
}

/** How long a file that is read once may take to be left. */
const LEAVE_MS = 1000
/** How often the lag of files is measured. */
const LAG_MS = 1000

/**
 * The settings' files as a source. Those of lines are followed, each for itself; the others are read once, from where
 * each was left, one after the other.
 */
export function startFiles({
  settings,
  catalogue,
  intake,
  counters,
  log,
  worker = ALONE,
}: SourceContext<FilesContext & { readonly grpc: { readonly maxMessageBytes: number } }>): Promise<Source | null> {
  if (settings.files.length === 0) return Promise.resolve(null)
  const mappings = checkMappings(settings, catalogue)
  const stopping = new AbortController()
  const { signal } = stopping
  const counted = counters('file')
  const files = settings.files
    .map((file, position) => ({ file, position, mapping: mappings[position] }))
    // Of several workers the one whose shard it is; the settings see to it that each has a name then.
    .filter(({ file }) => worker.count === 1 || shardOf(file.source ?? '', worker.count) === worker.index)
  const followers = followersOf(files, {
    settings,
    catalogue,
    signal,
    log,
    counters: counted,
    sinkOf: ({ file }, reader) => new IntakeSink(intake('file'), reader.format, file.tenant),
  })
  const lag = setInterval(() => {
    counted.lag(Math.max(0, ...followers.map((f) => f.lagSeconds)))
  }, LAG_MS)
  lag.unref()
  const following = followers.map((follower) => follower.run())
  const reading = (async () => {
    for (const { file, position, mapping } of files) {
      if (file.follow) continue
      if (signal.aborted) return
      try {
        const { size, from } = await feedFile({
          path: file.path,
          format: file.format,
          mapping,
          catalogue,
          intake: intake('file'),
          tenant: file.tenant,
          label: `files.${position}`,
          source: file.source,
          maxRecordBytes: settings.limits.maxRecordBytes,
          maxMessageBytes: settings.grpc.maxMessageBytes,
          signal,
        })
        log.info(
          { file: position, from, size },
          signal.aborted ? 'file left: the next start goes on with it' : 'file read',
        )
      } catch (error) {
        log.error({ err: error, file: position })
      }
    }
  })()
  return Promise.resolve({
    kind: 'file',
    addresses: {},
    stopTaking: () => {
      stopping.abort()
      return Promise.resolve()
    },
    stop: async () => {
      stopping.abort()
      clearInterval(lag)
      await Promise.all(following)
      // What delivery has given up comes to an end only after this: it is not waited for long.
      await Promise.race([reading, sleep(LEAVE_MS, undefined, { ref: false })])
    },
  })
}

/** Hands the pieces of one followed file to delivery. */
export class IntakeSink implements FollowSink {
  /** When each piece that is not decided was read, in their order. */
  readonly #pending = new Map<FollowedPiece, number>()
  #failure: { readonly error: Error; readonly sequence: number } | null = null
  readonly #waiting: (() => void)[] = []
  readonly #intake: Intake
  readonly #format: string
  readonly #tenant: string

  constructor(intake: Intake, format: string, tenant: string) {
    this.#intake = intake
    this.#format = format
    this.#tenant = tenant
  }

  lastTaken(id: SourceId): number {
    return this.#intake.lastTaken(id)
  }

  streamsOf(source: string): { readonly incarnation: string; readonly sequence: number }[] {
    return this.#intake.streamsOf(source)
  }

  contentsName(hash: string): string {
    return this.#intake.contentsName(hash)
  }

  get oldest(): number | null {
    for (const receivedAt of this.#pending.values()) return receivedAt
    return null
  }

  failure(): { readonly error: Error; readonly sequence: number } | null {
    const failed = this.#failure
    this.#failure = null
    return failed
  }

  settled(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  offer(piece: FollowedPiece): Promise<void> {
    const { id, endOffset, bytes, records, receivedAt } = piece
    this.#pending.set(piece, receivedAt)
    return this.#intake.offer({
      id,
      sequence: endOffset,
      bytes,
      records,
      receivedAt,
      minimise: (excluded) => this.#intake.minimiseFilled(piece.batch(), this.#format, this.#tenant, excluded),
      committed: () => {
        this.#done(piece)
      },
      failed: (error) => {
        this.#failure ??= { error, sequence: endOffset }
        this.#done(piece)
      },
    })
  }

  #done(piece: FollowedPiece): void {
    piece.release()
    this.#pending.delete(piece)
    if (this.#pending.size === 0) for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** So many in a hundred of a file's first records in quarantine say that its format is another. */
const WRONG_PERCENT = 90

class Feeder {
  error: Error | null = null
  #pending = 0
  #waiting: (() => void) | null = null
  /**
   * Of which ledger entry the last piece was: the first pieces of a file have an entry each, and are decided in their
   * order.
   */
  #entry: string | null = null

  readonly #file: FileSource
  readonly #reader: Reader
  readonly #shared: SharedBatch
  readonly #options: FeedOptions
  readonly #from: number
  #doubted: boolean

  constructor(
    file: FileSource,
    reader: Reader,
    shared: SharedBatch,
    options: FeedOptions,
    from: number,
    /** The next batch decides whether the format can be right. */
    doubted: boolean,
  ) {
    this.#from = from
    this.#file = file
    this.#reader = reader
    this.#shared = shared
    this.#options = options
    this.#doubted = doubted
  }

  /** Resolves when nothing is on its way. */
  settled(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  async lines(chunk: FileChunk): Promise<void> {
    const reader = this.#reader
    const shared = this.#shared
    for (;;) {
      if (this.#options.signal?.aborted === true) return
      const piece = chunk.take(reader, shared.lease())
      if (piece === null || this.error !== null) {
        piece?.release()
        return
      }
      const item = this.#item(
        piece,
        (excluded) =>
          this.#believed(
            this.#options.intake.minimiseFilled(piece.batch(), reader.format, this.#options.tenant, excluded),
          ),
        piece.records,
      )
      await this.#offer(item)
    }
  }

  async messages(chunk: FileChunk): Promise<void> {
    const reader = this.#reader
    const piece = chunk.takeUpTo(lastDelimitedEnd)
    if (piece === null) return
    const { intake, tenant } = this.#options
    const { start, end, arena } = piece
    const input = { reader, arena, start, end, scratchStart: end, last: true, tenant }
    await this.#offer(this.#item(piece, (excluded) => this.#believed(intake.minimise(input, excluded))))
  }

  #item(piece: FilePiece, minimise: WorkItem['minimise'], records?: number): WorkItem {
    const { onProgress } = this.#options
    return {
      id: this.#file.identity.idAt(piece.endOffset, this.#options.intake),
      sequence: piece.endOffset,
      bytes: piece.bytes,
      receivedAt: piece.receivedAt,
      minimise,
      ...(records === undefined ? {} : { records }),
      committed: () => {
        onProgress?.(piece.endOffset, this.#file.size, this.#from)
        this.#done(piece)
      },
      failed: (error) => {
        this.error ??=
          error.cause instanceof MinimError && error.cause.code === 'MINIM_FILE_WRONG_FORMAT' ? error.cause : error
        this.#done(piece)
      },
    }
  }

  /** Before the first batch can be committed. @throws MinimError MINIM_FILE_WRONG_FORMAT */
  #believed(made: Minimised): Minimised {
    if (!this.#doubted) return made
    const { records, quarantined } = made.outcome
    const refused = Object.values(quarantined).reduce((sum, count) => sum + count, 0)
    if (records > 0 && refused * 100 >= records * WRONG_PERCENT) {
      throw new MinimError('MINIM_FILE_WRONG_FORMAT', {
        label: this.#file.label,
        refused,
        records,
        reasons: Object.keys(quarantined).join(', '),
      })
    }
    return made
  }

  async #offer(item: WorkItem): Promise<void> {
    const doubted = this.#doubted
    if (this.#entry !== null && this.#entry !== item.id.incarnation) await this.settled()
    this.#entry = item.id.incarnation
    this.#pending++
    await this.#options.intake.offer(item)
    if (!doubted) return
    // Nothing more is offered before the first batch has decided.
    await this.settled()
    this.#doubted = false
  }

  #done(piece: FilePiece): void {
    piece.release()
    if (--this.#pending === 0) {
      this.#waiting?.()
      this.#waiting = null
    }
  }
}
