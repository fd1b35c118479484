/**
 * Feeds a file to delivery: from where the ledger says it was left, a batch at a time, each acknowledged by its commit.
 *
 * Lines (CSV, JSON) are cut into batches by their reader, whose columns are used for the first delivery as they are; only a batch
 * that must be delivered again is read again. Length-delimited messages are cut at their ends, since a position inside one would
 * be no place to go on from after a crash.
 */
import { Batch, type Reader } from '../batch/batch.js'
import { lastDelimitedEnd, ProtobufReader } from '../batch/scanner.js'
import type { Catalogue, Kind } from '../catalogue/catalogue.js'
import type { WorkItem } from '../deliver/work-item.js'
import { ProblemsError, useOneOf } from '../errors/problems.js'
import type { Settings } from '../settings/schema.js'
import { CsvReader } from './csv.js'
import { ChunkPool, FileSource, IDENTITY_BYTES, type FileChunk, type FilePiece } from './files.js'
import type { Intake } from './intake.js'
import { JsonLinesReader } from './json-lines.js'
import type { Source, SourceContext } from './source.js'
import { BUILT_IN_MAPPINGS, builtInMapping, checkMapping, type BuiltInMapping, type Mapping } from './mapping.js'

export const FILE_FORMATS = ['asterisk-csv', 'jsonl', 'protobuf'] as const
export type FileFormat = (typeof FILE_FORMATS)[number]

export interface FeedOptions {
  readonly path: string
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
  /** Called at each commit with how far the file is done, bytes. */
  readonly onProgress?: (done: number, size: number) => void
  /** Stops reading; what was read is still committed. */
  readonly signal?: AbortSignal
}

export interface FeedResult {
  readonly size: number
  /** Where the ledger said to go on: bytes that an earlier run had taken. */
  readonly from: number
}

/** The mapping of each format where none is named. */
export const DEFAULT_MAPPING: Readonly<Record<FileFormat, string | null>> = { 'asterisk-csv': 'asterisk-cdr', jsonl: 'minim', protobuf: null }

/**
 * A mapping by its name: built in, or one of the settings' own.
 * @param path where the name was given, for the problem's path
 * @throws ProblemsError MINIM_SETTINGS_INVALID
 */
export function resolveMapping(
  name: string, own: Readonly<Record<string, unknown>>, catalogue: Catalogue, options: { readonly kind?: Kind; readonly timeZone: string }, path: string,
): Mapping {
  if ((BUILT_IN_MAPPINGS as readonly string[]).includes(name)) return builtInMapping(name as BuiltInMapping, catalogue, options)
  if (!Object.hasOwn(own, name)) {
    throw new ProblemsError('MINIM_SETTINGS_INVALID', 'mapping', [{ path, what: 'is no mapping', mend: useOneOf(name, [...BUILT_IN_MAPPINGS, ...Object.keys(own)]) }])
  }
  const { mapping, problems } = checkMapping(own[name], catalogue, name, `mappings.${name}`)
  if (mapping === null) throw new ProblemsError('MINIM_SETTINGS_INVALID', 'mapping', problems)
  return mapping
}

/** A reader for a format. */
export function readerFor(format: FileFormat, mapping: Mapping | null, catalogue: Catalogue, maxRecordBytes: number): Reader {
  if (format === 'protobuf') return new ProtobufReader(catalogue, 'delimited')
  if (mapping === null) throw new TypeError(`${format} needs a mapping`)
  return format === 'jsonl' ? new JsonLinesReader(mapping, catalogue, { maxRecordBytes }) : new CsvReader(mapping, catalogue, { maxRecordBytes })
}

/**
 * Feeds a whole file. Resolves when all of it is committed, or all that was read when the signal came.
 * @throws MinimError when the file cannot be read, or when delivery gives up
 */
export async function feedFile(options: FeedOptions): Promise<FeedResult> {
  const { catalogue, intake, format, mapping, maxRecordBytes, maxMessageBytes } = options
  const delimited = format === 'protobuf'
  const longest = delimited ? maxMessageBytes : maxRecordBytes
  const file = await FileSource.open(options.path, {
    pool: new ChunkPool({ buffers: 4, maxRecordBytes: longest, scratchBytes: delimited ? longest : Math.max(131_072, longest) }),
    framing: delimited ? 'length-delimited' : 'lines',
    ...(options.source === null ? {} : { source: options.source }),
  })
  try {
    const from = Math.min(takenBefore(file, intake), file.size)
    const reader = readerFor(format, mapping, catalogue, maxRecordBytes)
    const feeder = new Feeder(file, reader, new Batch(catalogue), options)
    for await (const chunk of file.chunks(from)) {
      if (delimited) await feeder.messages(chunk)
      else await feeder.lines(chunk)
      if (feeder.error !== null || options.signal?.aborted === true) break
    }
    await feeder.settled()
    if (feeder.error !== null) throw feeder.error
    return { size: file.size, from }
  } finally {
    await file.close()
  }
}

/** The mapping of each of the settings' files. @throws ProblemsError MINIM_SETTINGS_INVALID */
export function checkMappings(settings: Settings, catalogue: Catalogue): (Mapping | null)[] {
  return settings.files.map((file, i) =>
    file.mapping === null ? null : resolveMapping(file.mapping, settings.mappings, catalogue, { timeZone: file.timeZone }, `files.${i}.mapping`))
}

/** The settings' files as a source: read once, from where each was left, one after the other. */
export function startFiles({ settings, catalogue, intake, log }: SourceContext): Promise<Source | null> {
  if (settings.files.length === 0) return Promise.resolve(null)
  const mappings = checkMappings(settings, catalogue)
  const stopping = new AbortController()
  void (async () => {
    for (const [i, file] of settings.files.entries()) {
      if (stopping.signal.aborted) return
      try {
        const { size, from } = await feedFile({
          path: file.path, format: file.format, mapping: mappings[i], catalogue, intake: intake('file'), tenant: file.tenant,
          source: file.source, maxRecordBytes: settings.limits.maxRecordBytes, maxMessageBytes: settings.grpc.maxMessageBytes, signal: stopping.signal,
        })
        log.info({ file: i, from, size }, stopping.signal.aborted ? 'file left: the next start goes on with it' : 'file read')
      } catch (error) {
        log.error({ err: error, file: i })
      }
    }
  })()
  return Promise.resolve({
    kind: 'file', addresses: {},
    stopTaking: () => {
      stopping.abort()
      return Promise.resolve()
    },
    stop: () => Promise.resolve(),
  })
}

/**
 * Where an earlier run left off. A file shorter than what tells it from others has another incarnation once it has grown: it is known
 * again by what its beginning was when it ended at the offset that the ledger holds.
 */
function takenBefore(file: FileSource, intake: Intake): number {
  const taken = intake.lastTaken(file.id)
  if (taken > 0) return taken
  return Math.max(0, ...intake.streamsOf(file.id.source)
    .filter(({ incarnation, sequence }) => sequence <= IDENTITY_BYTES && incarnation === file.incarnationAt(sequence))
    .map(({ sequence }) => sequence))
}

class Feeder {
  error: Error | null = null
  private pending = 0
  private waiting: (() => void) | null = null
  /** The item whose records the batch holds. */
  private filledFor: WorkItem | null = null

  constructor(
    private readonly file: FileSource,
    private readonly reader: Reader,
    private readonly batch: Batch,
    private readonly options: FeedOptions,
  ) {}

  /** Resolves when nothing is on its way. */
  settled(): Promise<void> {
    if (this.pending === 0) return Promise.resolve()
    return new Promise((resolve) => { this.waiting = resolve })
  }

  async lines(chunk: FileChunk): Promise<void> {
    const { reader, batch } = this
    for (;;) {
      if (this.options.signal?.aborted === true) return
      const piece = chunk.take(reader, batch)
      if (piece === null || this.error !== null) {
        piece?.release()
        return
      }
      const item = this.item(piece, (excluded) => {
        if (this.filledFor !== item) piece.refill(reader, batch)
        this.filledFor = null
        return this.options.intake.minimiseFilled(batch, reader.format, this.options.tenant, excluded)
      })
      this.filledFor = item
      await this.offer(item)
    }
  }

  async messages(chunk: FileChunk): Promise<void> {
    const { reader } = this
    const piece = chunk.takeUpTo(lastDelimitedEnd)
    if (piece === null) return
    const { intake, tenant } = this.options
    const { start, end, arena } = piece
    const input = { reader, arena, start, end, scratchStart: end, last: true, tenant }
    await this.offer(this.item(piece, (excluded) => intake.minimise(input, excluded)))
  }

  private item(piece: FilePiece, minimise: WorkItem['minimise']): WorkItem {
    const { onProgress } = this.options
    return {
      id: this.file.id, sequence: piece.endOffset, bytes: piece.bytes, receivedAt: piece.receivedAt, minimise,
      committed: () => {
        onProgress?.(piece.endOffset, this.file.size)
        this.done(piece)
      },
      failed: (error) => {
        this.error ??= error
        this.done(piece)
      },
    }
  }

  private async offer(item: WorkItem): Promise<void> {
    this.pending++
    await this.options.intake.offer(item)
  }

  private done(piece: FilePiece): void {
    piece.release()
    if (--this.pending === 0) {
      this.waiting?.()
      this.waiting = null
    }
  }
}
