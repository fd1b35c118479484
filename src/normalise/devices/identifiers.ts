/**
 * Identifiers that devices write into their User-Agent: MAC addresses and serial numbers, taken out of the text before
 * anything else is read in it.
 */
import { parseMac } from '../mac.js'

/** A MAC address in any notation of `mac.ts` that is no part of a longer run of hex digits; its label may touch it. */
const MAC = new RegExp(
  '(?:(?<![0-9a-f])|(?<=mac))(' +
    '[0-9a-f]{12}|[0-9a-f]{2}([:._-])[0-9a-f]{2}(?:\\2[0-9a-f]{2}){4}' +
    '|[0-9a-f]{4}([.-])[0-9a-f]{4}\\3[0-9a-f]{4}|[0-9a-f]{6}-[0-9a-f]{6})(?![0-9a-f])',
  'gi',
)
/** `SN/VI12345678`, `S/N: …`, `SER= …`, `serial=…`, `Serial Number …`. */
const LABELLED_SERIAL = new RegExp(
  '(?<![A-Za-z0-9])(?:SN|S/N|SER|serial(?:[ _-]?(?:no|number|nr))?)\\.?[ ]?[/=:#][ ]?' +
    '([A-Za-z0-9-]{4,24})(?![A-Za-z0-9])',
  'i',
)
/**
 * A serial number on its own: letters, four digits and more capitals and digits (Cisco `CCQ1825…`, Technicolor
 * `CP1916…`), anything like it in brackets, or 13 to 16 digits (Yealink). Longer than any model's name.
 */
const UNLABELLED_SERIAL = new RegExp(
  '(?<![A-Za-z0-9.-])(?:(?<=\\()(?=[A-Z]{0,4}\\d{4})(?=([A-Z0-9]{8,16})\\))' +
    '|(?=([A-Z]{1,4}\\d{4}[A-Z0-9]{4,10}|\\d{13,16})(?![A-Za-z0-9._/-])))[A-Z0-9]{8,18}',
)

/** For the test that looks for unbounded repetition. */
export const IDENTIFIER_PATTERNS = [MAC, LABELLED_SERIAL, UNLABELLED_SERIAL]

export interface Identified {
  /** Twelve lower-case hex digits. */
  readonly mac: string | null
  readonly serial: string | null
  /** The text with them blanked out, so that nothing of them can reach a model or a version. */
  readonly rest: string
}

/** @param hardware whether the text is a device's own: a program may be called anything */
export function takeIdentifiers(text: string, hardware: boolean): Identified {
  let mac: string | null = null
  let serial: string | null = null
  let rest = text
  for (const match of text.matchAll(MAC)) {
    const written = match[1]
    // Twelve digits may as well be a phone number, whose first half must not become a "vendor part": taken for a MAC
    // address only in a phone's own text or with its label. Blanked out in any case.
    const sure =
      /[a-f:]/i.test(written) ||
      hardware ||
      /mac[=: ]{0,2}$/i.test(text.slice(Math.max(0, match.index - 5), match.index))
    // A commit's hash, as `git describe` writes it.
    const commit = /(?:~|-g|git)$/.test(text.slice(Math.max(0, match.index - 3), match.index))
    const parsed = sure && !commit ? parseMac(written) : null
    if (mac === null && parsed !== null && parsed !== '000000000000' && parsed !== 'ffffffffffff') mac = parsed
    rest = blank(rest, match.index, match.index + match[0].length)
  }
  for (const pattern of hardware ? [LABELLED_SERIAL, UNLABELLED_SERIAL] : [LABELLED_SERIAL]) {
    const match = pattern.exec(rest)
    if (match === null) continue
    const written = match[1] ?? match[2]
    if (serial === null && !/^0{1,24}$/.test(written)) serial = written
    rest = blank(rest, match.index, match.index + match[0].length)
  }
  return { mac, serial, rest }
}

function blank(text: string, start: number, end: number): string {
  return text.slice(0, start) + ' '.repeat(end - start) + text.slice(end)
}
