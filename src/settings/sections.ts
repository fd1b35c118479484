/**
 * The settings of the sources that hand their records to the spool, and of the spool: a file each. Adding one here adds it to the
 * schema, the defaults and the checks.
 */
import { isDeepStrictEqual } from 'node:util'
import type { TSchema } from '@sinclair/typebox'
import type { Problem } from '../errors/catalogue.js'
import type { Settings } from './schema.js'
import { AGENT, type AgentSettings } from '../sources/agent/settings.js'
import { AMI, type AmiSettings } from '../sources/ami/settings.js'
import { FREESWITCH, type FreeswitchSettings } from '../sources/freeswitch/settings.js'
import { HEP, type HepSettings } from '../sources/hep/settings.js'
import { HTTP, type HttpSettings } from '../sources/http/settings.js'
import { KAFKA_INPUT, type KafkaInputSettings } from '../sources/kafka/settings.js'
import { SIP, type SipSettings } from '../sources/sip/settings.js'
import { SPOOL, type SpoolSettings } from '../spool/settings.js'

export interface SourceSettings {
  readonly agent: AgentSettings
  readonly ami: readonly AmiSettings[]
  readonly freeswitch: FreeswitchSettings
  readonly hep: HepSettings
  readonly http: HttpSettings
  readonly kafkaInput: readonly KafkaInputSettings[]
  readonly sip: SipSettings
  readonly spool: SpoolSettings
}

/** One section of the settings. */
export interface SourceSection<K extends keyof SourceSettings = keyof SourceSettings> {
  readonly key: K
  readonly schema: TSchema
  /** Of a section that is left out. */
  readonly defaults: SourceSettings[K]
  /** Where the section is a list: what an entry has that does not say otherwise. */
  readonly entry?: Readonly<Record<string, unknown>>
  /** Settings that are paths, by their way in the section (of each entry, for a list): `tls.cert`. */
  readonly paths?: readonly string[]
  /** Addresses that are listened on, by their way in the section: no two of the settings may be the same. */
  readonly listens?: readonly string[]
  /** false: its records never go to the spool. */
  readonly spools?: boolean
  /** Settings by their way in the section that switch it on as well, where they are not null: `drachtio`. */
  readonly connects?: readonly string[]
  /** What the schema cannot say. Problems' paths are whole: `ami.0.host`. */
  readonly check?: (value: SourceSettings[K], settings: Settings) => readonly Problem[]
  /** What is wrong with the files and variables that the source itself reads: asked only by who is to start it. */
  readonly checkFiles?: (value: SourceSettings[K], settings: Settings) => readonly Problem[]
}

/** In the order of the settings file. */
const SECTIONS: { readonly [K in keyof SourceSettings]: SourceSection<K> } = {
  agent: AGENT,
  ami: AMI,
  freeswitch: FREESWITCH,
  hep: HEP,
  http: HTTP,
  kafkaInput: KAFKA_INPUT,
  sip: SIP,
  spool: SPOOL,
}

/** Whoever goes over all of them hands each section's check its own value. */
export const SOURCE_SECTIONS = Object.values(SECTIONS) as unknown as readonly SourceSection[]

/** Each section's defaults, by its name in the settings. */
export const SOURCE_DEFAULTS: Readonly<Record<string, unknown>> = Object.fromEntries(SOURCE_SECTIONS.map(({ key, defaults }) => [key, defaults]))

/** Whether a source may be set up that hands its records to the spool: its section says anything but its defaults, which are to be off. */
export function usesSpool(settings: SourceSettings): boolean {
  return SOURCE_SECTIONS.some(({ key, spools }) => key !== 'spool' && spools !== false && !isDeepStrictEqual(settings[key], SOURCE_DEFAULTS[key]))
}
