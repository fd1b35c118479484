/** Which treatments fit which field. A treatment that does not fit would reveal more than it says, so it stops the start. */
import type { Field, FieldName } from '../catalogue/catalogue.js'
import type { Treatment, TreatmentKind } from './model.js'

/** Absolute times: the fields whose treatment decides what a record's time reveals. */
export const TIME_FIELDS: ReadonlySet<FieldName> = new Set<FieldName>(['start_ms', 'answer_ms', 'end_ms'])

/** Device reports name their parts apart; each may hold the whole text, so it is parsed like one. */
const USER_AGENT_PARTS: Readonly<Partial<Record<FieldName, 'vendor' | 'model' | 'firmware'>>> = {
  device_vendor: 'vendor', device_model: 'model', device_firmware: 'firmware',
  vendor: 'vendor', model: 'model', firmware: 'firmware',
}

/** The part of a User-Agent that a field holds; null for fields that hold none. */
export function userAgentPart(field: Field): 'vendor' | 'model' | 'firmware' | null {
  return USER_AGENT_PARTS[field.name] ?? null
}

/**
 * The treatments that fit a field, `drop` aside, which always does.
 * @param sourceOf finds the field that a derived one is made from
 */
export function fitting(field: Field, sourceOf: (name: string) => Field | undefined): readonly TreatmentKind[] {
  if (field.derivedFrom !== null) {
    // A derived field has no value of its own that could be kept.
    const source = sourceOf(field.derivedFrom)?.identifier
    if (source === 'PARTY') return ['e164-prefix']
    if (source === 'IP') return ['ip-prefix']
    if (source === 'MAC') return ['mac-vendor']
    return source === 'USER_AGENT_TEXT' && userAgentPart(field) !== null ? ['user-agent'] : []
  }
  switch (field.identifier) {
    case 'PARTY':
    case 'IP':
    case 'MAC':
    case 'ACCOUNT_CODE':
    case 'CALL':
    case 'SERIAL':
      return ['token']
    case 'TRUNK_NAME': return ['keep', 'token']
    case 'TENANT': return ['keep']
    case 'USER_AGENT_TEXT': return userAgentPart(field) === null ? [] : ['user-agent']
    case 'NAME':
    case 'FREE_TEXT':
      return []
    case 'NOT_AN_IDENTIFIER':
      if (TIME_FIELDS.has(field.name)) return ['keep', 'time-bucket']
      if (field.type === 'string' || field.type === 'enum') return ['keep']
      return ['keep', 'number-bucket']
  }
}

/** Longest prefixes that may pass: beyond them a network is one household or one host. */
export const MAX_PREFIX_V4 = 24
export const MAX_PREFIX_V6 = 48

/** E.164 has at most 15 digits, and the last four never pass. */
export const MAX_E164_DIGITS = 11

export const TIME_BUCKETS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const

/** How a treatment is written, for the mend of one that is not understood. */
export const SPELLING: Readonly<Record<TreatmentKind | 'drop', string>> = {
  drop: 'drop',
  keep: 'keep',
  token: 'token or { token: { reversible: true } }',
  'e164-prefix': `{ e164-prefix: country } or { e164-prefix: { digits: 1 to ${MAX_E164_DIGITS} } }`,
  'ip-prefix': `{ ip-prefix: { v4: 8 to ${MAX_PREFIX_V4}, v6: 16 to ${MAX_PREFIX_V6} } }`,
  'time-bucket': '{ time-bucket: minute, hour or day } or { time-bucket: { ms: whole number from 1000 } }',
  'number-bucket': '{ number-bucket: { step: 60 } } or { number-bucket: { bounds: [0, 60, 300] } }',
  'user-agent': 'user-agent',
  'mac-vendor': 'mac-vendor',
}

function only(value: unknown, keys: readonly string[]): Record<string, unknown> | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const given = Object.keys(value)
  return given.length === keys.length && keys.every((k) => Object.hasOwn(value, k)) ? (value as Record<string, unknown>) : null
}

function whole(value: unknown, from: number, to: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= to
}

/** Kind of a treatment as written: `token`, or the one key of a mapping; null when it is neither. */
export function writtenKind(value: unknown): string | null {
  if (typeof value === 'string') return value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const keys = Object.keys(value)
  return keys.length === 1 ? keys[0] : null
}

/** Reads the parameters of a treatment whose kind is known to fit; null when they are not understood. */
export function readTreatment(field: Field, kind: TreatmentKind, value: unknown): Treatment | null {
  const bare = typeof value === 'string'
  const given: unknown = bare ? null : (value as Record<string, unknown>)[kind]
  switch (kind) {
    case 'keep':
    case 'mac-vendor':
      return bare ? { kind } : null
    case 'user-agent': {
      const part = userAgentPart(field)
      return bare && part !== null ? { kind, part } : null
    }
    case 'token': {
      if (bare) return { kind, reversible: false }
      const reversible = only(given, ['reversible'])?.['reversible']
      return typeof reversible === 'boolean' ? { kind, reversible } : null
    }
    case 'e164-prefix': {
      if (given === 'country') return { kind, digits: 'country' }
      const digits = only(given, ['digits'])?.['digits']
      return whole(digits, 1, MAX_E164_DIGITS) ? { kind, digits } : null
    }
    case 'ip-prefix': {
      const parts = only(given, ['v4', 'v6'])
      if (parts === null) return null
      const { v4, v6 } = parts
      return whole(v4, 8, MAX_PREFIX_V4) && whole(v6, 16, MAX_PREFIX_V6) ? { kind, v4, v6 } : null
    }
    case 'time-bucket': {
      if (typeof given === 'string') return Object.hasOwn(TIME_BUCKETS, given) ? { kind, ms: TIME_BUCKETS[given as keyof typeof TIME_BUCKETS] } : null
      const ms = only(given, ['ms'])?.['ms']
      return whole(ms, 1000, 366 * TIME_BUCKETS.day) ? { kind, ms } : null
    }
    case 'number-bucket': {
      // A step or bound that the field's type cannot hold would be written as another number than the policy says.
      const fits = (n: unknown): n is number => (field.type === 'float' ? Number.isFinite(n) && Math.fround(n as number) === n : whole(n, 0, Number.MAX_SAFE_INTEGER))
      const step = only(given, ['step'])?.['step']
      if (fits(step) && step > 0) return { kind, step, bounds: null }
      const bounds = only(given, ['bounds'])?.['bounds']
      if (!Array.isArray(bounds) || bounds.length === 0 || bounds.length > 1000 || bounds[0] !== 0) return null
      if (!bounds.every((b, i) => fits(b) && (i === 0 || b > (bounds[i - 1] as number)))) return null
      return { kind, step: null, bounds: bounds as number[] }
    }
  }
}
