/** The settings' files as the proxy and the agent follow them. */
import { Batch, type Reader } from '../../batch/batch.js'
import { SharedBatch } from '../../batch/lease.js'
import type { Catalogue } from '../../catalogue/catalogue.js'
import type { SourceCounters } from '../../flow/counters.js'
import type { SourceContext } from '../../flow/source.js'
import type { Mapping } from '../../formats/mapping.js'
import { readerFor, resolveMapping } from '../../formats/readers.js'
import type { SettingsAround } from '../../sections/source-section.js'
import type { FileSettings } from './file-settings.js'
import { Follower, type FollowSink } from './follow-file.js'

/** What files take of the settings: their section, and the mappings. */
export type FilesContext = { readonly files: readonly FileSettings[] } & Pick<SettingsAround, 'mappings' | 'limits'>

/** The mapping of each of the settings' files. @throws ProblemsError MINIM_SETTINGS_INVALID */
export function checkMappings(
  settings: Pick<FilesContext, 'files' | 'mappings'>,
  catalogue: Catalogue,
): (Mapping | null)[] {
  return settings.files.map((file, i) =>
    file.mapping === null
      ? null
      : resolveMapping(file.mapping, settings.mappings, catalogue, { timeZone: file.timeZone }, `files.${i}.mapping`),
  )
}

/** One of the settings' files. */
export interface ConfiguredFile {
  readonly file: FileSettings
  readonly position: number
  readonly mapping: Mapping | null
}

/** What followers share. */
export interface FollowersOptions {
  readonly settings: FilesContext
  readonly catalogue: Catalogue
  readonly signal: AbortSignal
  readonly log: SourceContext['log']
  readonly counters: SourceCounters
  readonly sinkOf: (file: ConfiguredFile, reader: Reader) => FollowSink
  readonly chunkBytes?: number
}

/** Followers of those of the settings' files that are followed. */
export function followersOf(files: readonly ConfiguredFile[], options: FollowersOptions): Follower[] {
  const { settings, catalogue, signal, log, counters, chunkBytes } = options
  const { maxRecordBytes } = settings.limits
  const shared = new SharedBatch(new Batch(catalogue))
  return files
    .filter(({ file }) => file.follow)
    .map((configured) => {
      const { file, position, mapping } = configured
      const reader = readerFor(file.format, mapping, catalogue, maxRecordBytes)
      return new Follower({
        path: file.path,
        position,
        source: file.source,
        pollMs: file.pollMs,
        settleMs: file.settleMs,
        maxRecordBytes,
        reader,
        shared,
        signal,
        log,
        counters,
        others: settings.files.filter((other) => other !== file).map((other) => other.path),
        sink: options.sinkOf(configured, reader),
        ...(chunkBytes === undefined ? {} : { chunkBytes }),
      })
    })
}
