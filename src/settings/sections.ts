/**
 * The settings of the sources that hand their records to the spool, and of the spool: a file each. Adding one here adds
 * it to the schema, the defaults and the checks.
 */
import { isDeepStrictEqual } from 'node:util'
import type { SourceSection } from '../sections/source-section.js'
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

/** In the order of the settings file. */
const SECTIONS: { readonly [K in keyof SourceSettings]: SourceSection<SourceSettings[K], K> } = {
  agent: AGENT,
  ami: AMI,
  freeswitch: FREESWITCH,
  hep: HEP,
  http: HTTP,
  kafkaInput: KAFKA_INPUT,
  sip: SIP,
  spool: SPOOL,
}

/** A section of whichever source. */
export type AnySection = SourceSection<SourceSettings[keyof SourceSettings], keyof SourceSettings>

/** Whoever goes over all of them hands each section's check its own value. */
export const SOURCE_SECTIONS = Object.values(SECTIONS) as unknown as readonly AnySection[]

/** Each section's defaults, by its name in the settings. */
export const SOURCE_DEFAULTS: Readonly<Record<string, unknown>> = Object.fromEntries(
  SOURCE_SECTIONS.map(({ key, defaults }) => [key, defaults]),
)

/**
 * Whether a source may be set up that hands its records to the spool: its section says anything but its defaults, which
 * are to be off.
 */
export function usesSpool(settings: SourceSettings): boolean {
  return SOURCE_SECTIONS.some(
    ({ key, spools }) => key !== 'spool' && spools !== false && !isDeepStrictEqual(settings[key], SOURCE_DEFAULTS[key]),
  )
}
