/**
 * Parts of a User-Agent: who made the device, which one it is, what runs on it; nothing else that the text may hold.
 */
import type { Field, FieldName } from '../catalogue/catalogue.js'
import { DEVICE_PARTS, type DevicePart } from '../flow/device-parts.js'
import { BY_NOBODY, type Descriptor } from './treatment.js'
import { bare } from './written.js'

export interface UserAgent {
  readonly kind: 'user-agent'
  readonly part: DevicePart
}

/** The part that a field holds, under its own name or with `device_` in front; null for fields that hold none. */
function partOf({ name }: Field): DevicePart | null {
  return DEVICE_PARTS.find((part) => name === part || name === (`device_${part}` as FieldName)) ?? null
}

export const userAgent: Descriptor<UserAgent> = {
  kind: 'user-agent',
  rows: [
    {
      written: 'user-agent',
      reveals: 'vendor, model, firmware or operating system, each out of a closed table or grammar; else `other`',
      reversible: null,
    },
  ],
  dpv: 'Deidentification',
  spelling: 'user-agent',
  shows: 'less',
  examples: [
    { field: 'call.device_vendor', written: 'user-agent', input: 'Yealink SIP-T46S 66.85.0.5', output: 'Yealink' },
    { field: 'call.device_model', written: 'user-agent', input: 'Yealink SIP-T46S 66.85.0.5', output: 'T46S' },
    { field: 'call.device_firmware', written: 'user-agent', input: 'Yealink SIP-T46S 66.85.0.5', output: '66.85.0.5' },
    { field: 'device.vendor', written: 'user-agent', input: 'Yealink', output: 'Yealink' },
    { field: 'device.model', written: 'user-agent', input: 'SIP-T46S', output: 'T46S' },
    { field: 'device.model', written: 'user-agent', input: 'T46S a1b2c3', output: 'other' },
    { field: 'device.os', written: 'user-agent', input: 'Android 14', output: 'Android 14' },
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
  compile: ({ part }, { device }) => {
    device()
    return { shape: 'part', part }
  },
}
