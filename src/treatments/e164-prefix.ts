/** Prefix of a telephone number: the tariff zone or the country, never the subscriber. */
import { Type } from '@sinclair/typebox'
import { TYPES } from '../batch/block.js'
import { callingCodeIn, destinationDigitsOf } from './destination-code.js'
import { BY_NOBODY, type Descriptor } from './treatment.js'
import { only, parameters, under, whole } from './written.js'

/** `country`: calling code only; a number: calling code and further digits, so many in all, nothing of the subscriber. */
export interface E164Prefix {
  readonly kind: 'e164-prefix'
  readonly digits: number | 'country'
}

/** The last digits, which never pass: with fewer hidden, a prefix of a short number would be a subscriber. */
const HIDDEN_DIGITS = 4
/** A calling code has at most so many (ITU-T E.164). */
const CALLING_CODE_DIGITS = 3
/** E.164 has at most 15 digits. */
const MAX_DIGITS = 15 - HIDDEN_DIGITS

/** Digits of the calling code at the start of a packed number; 0: no country has it. */
const codeDigits = new Uint8Array(1000)
for (let first = 0; first < 1000; first++) codeDigits[first] = callingCodeIn(String(first).padStart(3, '0')).length

/**
 * Writes `+` and the prefix of a packed number: the calling code, and of the national destination code as much as is
 * asked for. Never part of a calling code, which would read as another country, and nothing of the subscriber.
 * @param digits how many digits, 0 = the calling code only
 * @returns position after it; `pos` itself when the block is no number or too short to show any of it
 */
export function writeE164Prefix(block: Uint8Array, at: number, digits: number, out: Uint8Array, pos: number): number {
  if (block[at] >> 4 !== TYPES.e164) return pos
  const code = codeDigits[(block[at + 6] >> 4) * 100 + (block[at + 6] & 0xf) * 10 + (block[at + 7] >> 4)]
  const most = (block[at] & 0xf) - HIDDEN_DIGITS
  let shown = code
  if (digits > 0) shown = Math.min(digits, most, digits > code ? destinationDigitsOf(block, at) : code)
  if (shown < code || shown > most || code === 0) return pos
  out[pos++] = 43
  for (let i = 0; i < shown; i++) {
    const pair = block[at + 6 + (i >> 1)]
    out[pos++] = 48 + ((i & 1) === 0 ? pair >> 4 : pair & 0xf)
  }
  return pos
}

export const e164Prefix: Descriptor<E164Prefix> = {
  kind: 'e164-prefix',
  rows: [
    {
      written: 'e164-prefix',
      reversible: null,
      reveals:
        'country, or so many digits; nothing behind the area or network code, never the last four. Extensions, SIP names, helplines: none',
    },
  ],
  dpv: 'Deidentification',
  spelling: `{ e164-prefix: country } or { e164-prefix: { digits: 1 to ${MAX_DIGITS} } }`,
  shows: 'less',
  examples: [
    { field: 'call.calling_prefix', written: { 'e164-prefix': 'country' }, input: '+447700900123', output: '+44' },
    { field: 'call.called_prefix', written: { 'e164-prefix': 'country' }, input: '+12025550123', output: '+1' },
    {
      field: 'call.calling_prefix',
      written: { 'e164-prefix': { digits: 6 } },
      input: '+447700900123',
      output: '+447700',
    },
    {
      field: 'call.calling_prefix',
      written: { 'e164-prefix': { digits: 6 } },
      input: '+442079460123',
      output: '+4420',
    },
    { field: 'call.calling_prefix', written: { 'e164-prefix': 'country' }, input: '1001', output: null },
  ],
  schema: () => [
    under(
      'e164-prefix',
      Type.Union([Type.Literal('country'), parameters({ digits: Type.Integer({ minimum: 1, maximum: MAX_DIGITS }) })]),
    ),
  ],
  fits: (_, source) => source?.identifier === 'PARTY',
  read: (_, given) => {
    if (given === 'country') return { kind: 'e164-prefix', digits: 'country' }
    const digits = only(given, ['digits'])?.['digits']
    return whole(digits, 1, MAX_DIGITS) ? { kind: 'e164-prefix', digits } : null
  },
  text: ({ digits }) =>
    digits === 'country'
      ? { form: 'country code', reveals: 'the country of the number', reversible: BY_NOBODY }
      : {
          form: `first ${digits} digits`,
          reveals: 'the area or operator of the number, never its last four digits',
          reversible: BY_NOBODY,
        },
  timeStepMs: () => null,
  followsFrom: (one, other) => {
    if (one.digits === 'country') return other.digits === 'country' || other.digits >= CALLING_CODE_DIGITS
    return other.digits !== 'country' && other.digits >= one.digits
  },
  compile: ({ digits }, { identifier }) => ({
    shape: 'excerpt',
    slot: identifier(),
    ipv6: null,
    block: { of: writeE164Prefix, constants: [digits === 'country' ? 0 : digits] },
  }),
}
