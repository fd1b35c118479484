/** Prefix of a telephone number: the tariff zone or the country, never the subscriber. */
import { TYPES } from '../batch/block.js'
import type { TreatmentInfo } from './treatment.js'

export const e164PrefixInfo: TreatmentInfo = {
  kind: 'e164-prefix',
  reveals: 'country, or area and operator range; the last four digits never pass; extensions and SIP names have none',
  reversible: false,
  examples: [
    { input: '+447700900123', parameters: 'country', output: '+44' },
    { input: '+12025550123', parameters: 'country', output: '+1' },
    { input: '+447700900123', parameters: 'digits: 6', output: '+447700' },
    { input: '+4912345', parameters: 'digits: 6', output: '+491' },
    { input: '1001', parameters: 'country', output: '' },
  ],
}

const HIDDEN_DIGITS = 4
/** Two-digit calling codes (ITU-T E.164 list of assigned country codes); 1 and 7 have one digit, all others three. */
const twoDigits = new Uint8Array(100)
for (const code of [20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98]) twoDigits[code] = 1

/**
 * Writes `+` and the prefix of a packed number.
 * @param digits how many digits, 0 = the calling code only
 * @returns position after it; `pos` itself when the block is no number or too short to show any of it
 */
export function writeE164Prefix(block: Uint8Array, at: number, digits: number, out: Uint8Array, pos: number): number {
  if (block[at] >> 4 !== TYPES.e164) return pos
  const total = block[at] & 0xf
  const most = total - HIDDEN_DIGITS
  let shown = digits
  if (digits === 0) {
    const first = block[at + 6] >> 4
    const second = block[at + 6] & 0xf
    shown = first === 1 || first === 7 ? 1 : twoDigits[first * 10 + second] === 1 ? 2 : 3
    // Half a calling code would read as another country.
    if (shown > most) return pos
  } else if (shown > most) shown = most
  if (shown < 1) return pos
  out[pos++] = 43
  for (let i = 0; i < shown; i++) {
    const pair = block[at + 6 + (i >> 1)]
    out[pos++] = 48 + ((i & 1) === 0 ? pair >> 4 : pair & 0xf)
  }
  return pos
}
