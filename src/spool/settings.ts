/** `spool:` where records are kept that their sender cannot send again, until they are in Kafka. */
import { file, section, whole } from '../sections/parts.js'
import type { SourceSection } from '../sections/source-section.js'

export interface SpoolSettings {
  /** The folder. */
  readonly path: string
  readonly maxBytes: number
  readonly rememberHours: number
}

const DEFAULTS: SpoolSettings = {
  /** Relative to the settings file. */
  path: 'minim-spool',
  /** Octets on disk at most: what comes then is refused until Kafka has taken some. */
  maxBytes: 1_073_741_824,
  /**
   * How long a sender's id (a FreeSWITCH uuid, an idempotency key) is remembered: the same again is acknowledged and
   * not taken.
   */
  rememberHours: 24,
}

export const SPOOL: SourceSection<SpoolSettings, 'spool'> = {
  key: 'spool',
  defaults: DEFAULTS,
  paths: ['path'],
  schema: section(
    {
      path: { ...file('a folder, made where there is none; relative to this file'), default: DEFAULTS.path },
      maxBytes: whole(DEFAULTS.maxBytes, 1_048_576, 1_099_511_627_776, 'octets on disk at most'),
      rememberHours: whole(
        DEFAULTS.rememberHours,
        1,
        720,
        "hours that a sender's id is remembered, so that the same again is not taken twice",
      ),
    },
    'where records are kept, encrypted, that their sender cannot send again',
  ),
}
