/**
 * Parts of a User-Agent: who made the device, which one it is, what runs on it; nothing else that the text may hold.
 */
import type { Field, FieldName } from '../catalogue/catalogue.js'
import type { UserAgentPart } from './operation.js'
import { BY_NOBODY, type Descriptor } from './treatment.js'
import { bare } from './written.js'

export interface UserAgent {
  readonly kind: 'user-agent'
  readonly part: UserAgentPart
}

/** Device reports name their parts apart; each may hold the whole text, so it is parsed like one. */
const PARTS: Readonly<Partial<Record<FieldName, UserAgentPart>>> = {
  device_vendor: 'vendor',
  device_model: 'model',
  device_firmware: 'firmware',
  vendor: 'vendor',
  model: 'model',
  firmware: 'firmware',
}

/** The part of a User-Agent that a field holds; null for fields that hold none. */
function partOf(field: Field): UserAgentPart | null {
  return PARTS[field.name] ?? null
}

export const userAgent: Descriptor<UserAgent> = {
  kind: 'user-agent',
  rows: [{ written: 'user-agent', reveals: 'vendor, model or firmware', reversible: null }],
  dpv: 'Deidentification',
  spelling: 'user-agent',
  shows: 'less',
  examples: [
    { field: 'call.device_vendor', written: 'user-agent', input: 'Yealink SIP-T46S 66.85.0.5', output: 'Yealink' },
    { field: 'call.device_model', written: 'user-agent', input: 'Yealink SIP-T46S 66.85.0.5', output: 'T46S' },
    { field: 'call.device_firmware', written: 'user-agent', input: 'Yealink SIP-T46S 66.85.0.5', output: '66.85.0.5' },
    { field: 'device.vendor', written: 'user-agent', input: 'Yealink', output: 'Yealink' },
  ],
  schema: () => [bare('user-agent')],
  fits: (field, source) => partOf(field) !== null && (source ?? field).identifier === 'USER_AGENT_TEXT',
  read: (field, given) => {
    const part = partOf(field)
    return given === undefined && part !== null ? { kind: 'user-agent', part } : null
  },
  text: ({ part }) => ({
    form: `${part} of the device`,
    reveals: `the ${part}, not what else the text may hold`,
    reversible: BY_NOBODY,
  }),
  timeStepMs: () => null,
  followsFrom: (one, other) => one.part === other.part,
  compile: ({ part }, { fields, text, userAgent: agent }) => {
    // What a device says of itself goes before what its User-Agent says.
    const own = fields.get(part)
    return {
      shape: 'part',
      agent: agent(),
      part,
      given: own !== undefined && own.derivedFrom === null ? text(own) : -1,
    }
  },
}
