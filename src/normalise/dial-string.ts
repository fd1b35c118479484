/**
 * Dial strings: what telephones, people and PBXs write around one number, taken off it. All spellings of a number are
 * to be one person, or an objection or an erasure would miss some of his calls; what cannot be told for sure stays
 * apart, since two people must never become one.
 *
 * In this order:
 * - digits of every script are the ASCII ones; marks that no one sees, spaces, dashes, dots and brackets go
 * - parameters (RFC 3966: `;ext=5`, `;phone-context=+44`), an extension in words, digits that are sent after the answer
 *   (`,,12#`) and the `#` that ends dialling go
 * - then what stands in front, as often as it does: an outside line's digit before a pause (`9,`), service codes
 *   (`service-codes.ts`), outside-line prefixes of the settings, `00` and `011` where the tenant's country dials
 *   otherwise, a 0 before the country's own calling code
 *
 * Each is taken off only where the whole is no number of the tenant's country and what is left is one.
 */
import { type CountryCode, parsePhoneNumberFromString } from 'libphonenumber-js/core'
import metadata from 'libphonenumber-js/metadata.max'
import { digitCodesOf, STAR_CODES, SUPPLEMENTARY_CODES } from './service-codes.js'

/** How a tenant dials. */
export interface DialPlan {
  readonly region: string
  /** Calling code of the region: `44`. */
  readonly callingCode: string
  /** Whether `00` is the region's international prefix. */
  readonly dials00: boolean
  /** What is dialled before a number in the region itself: `0`; empty where nothing is. */
  readonly trunkPrefix: string
  /** All-digit strings of at most so many digits are extensions or short codes. */
  readonly extensionDigits: number
  /** What the tenant's telephones dial for an outside line. */
  readonly prefixes: readonly string[]
}

/** Longer ones are no dial strings. */
const MAX_LENGTH = 128
/** Digits of a dial string without what stands around it at most: an E.164 number and an international prefix. */
const DIALLED_MAX = 20
/** How many things may stand in front of a number. */
const MAX_FRONTS = 6
/** International prefixes that are dialled where they are not the country's own, since a PBX takes them all the same. */
const COMMON_INTERNATIONAL_PREFIXES = ['00', '011', '0011']

/** How national numbers begin: what the patterns of codes ask for behind a code. */
const NUMBERS_BEHIND = ['0700000000', '600000000', '20000000', '']

const INVISIBLE = /[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0e\ufe0f\ufeff]/g
/** Spaces, dashes, dots, brackets, slashes, tildes: what may stand between the digits of one number. */
const BETWEEN = /[\s\p{Zs}\p{Pd}\u2212\u30fc.\u00b7\u2024()[\]/~\u2053\u223c]/gu

/** Those of them that an extension is written with; `10/01` is a name. */
const BETWEEN_EXTENSION = /[\s\p{Zs}\p{Pd}\u2212.()]/gu

/** Digits of any script (Unicode category Nd) as ASCII, full-width signs as the plain ones, invisible marks gone. */
function foldDigits(text: string): string {
  if (/^[\x00-\x7f]*$/.test(text)) return text
  return text
    .replace(INVISIBLE, '')
    .replace(/[\uff01-\uff5e]/g, (sign) => String.fromCharCode(sign.charCodeAt(0) - 0xfee0))
    .replace(/\p{Nd}/gu, decimalDigit)
    .replace(/[\u207a\ufe62]/g, '+')
    .replace(/[\u204e\u2217\ufe61]/g, '*')
    .replace(/\ufe5f/g, '#')
    .replace(/[\u060c\u3001\ufe50]/g, ',')
}

/** Decimal digits stand in runs of ten, 0 first, in every script; runs that touch are whole ones. */
function decimalDigit(digit: string): string {
  const code = digit.codePointAt(0) ?? 0
  if (code < 0x80) return digit
  let first = code
  while (/^\p{Nd}$/u.test(String.fromCodePoint(first - 1))) first--
  return String((code - first) % 10)
}

/** The digits of an extension, folded and without what stands between them or ends dialling; null for a name. */
export function extensionOf(text: string): string | null {
  if (text.length > MAX_LENGTH) return null
  const digits = /^(\+?\d+)#*(?:;.*)?$/.exec(foldDigits(text).replace(BETWEEN_EXTENSION, ''))
  return digits === null ? null : digits[1]
}

/** The E.164 number, without its plus, that a dial string stands for; null for extensions, names and what is none. */
export function numberOf(text: string, plan: DialPlan): string | null {
  if (text.length > MAX_LENGTH) return null
  const [dialled, ...parameters] = foldDigits(text).split(';')
  const context = contextOf(parameters)
  const folded = context === null || dialled.trimStart().startsWith('+') ? dialled : `+${context}${dialled}`
  const { front, number, sent } = aroundPause(withoutExtension(folded.trim()).replace(BETWEEN, ''))
  if (front !== '' && !isFront(front, plan)) return null
  const read = fronted(number, plan, front !== '')
  // What is sent after the answer says that this was a number; where it cannot be one, it was something else.
  return sent && read !== null && parsed(`+${read}`, plan.region)?.possible !== true ? null : read
}

/** Digits of a short number, without what stands around it; null where there are others than digits. */
export function shortDigitsOf(text: string, plan: DialPlan): string | null {
  if (text.length > MAX_LENGTH) return null
  const bare = foldDigits(text).replace(/;.*$/, '').replace(BETWEEN, '')
  const { front, number } = aroundPause(bare)
  const kept = front === '' || isFront(front, plan) ? number : bare
  const digits = (withoutStarCode(kept) ?? kept).replace(/#+$/, '')
  return /^\d+$/.test(digits) ? digits : null
}

/** A short number's digits, and what is left of them behind a prefix of the settings or a code of the country. */
export function shortRests(digits: string, plan: DialPlan): string[] {
  const fronts = plan.prefixes.filter((prefix) => digits.startsWith(prefix))
  for (let n = 3; n <= 5; n++) if (isFront(digits.slice(0, n), plan)) fronts.push(digits.slice(0, n))
  return ['', ...fronts].map((front) => digits.slice(front.length))
}

/** RFC 3966 §5.1.5: the calling code that a local number belongs to. */
function contextOf(parameters: readonly string[]): string | null {
  for (const parameter of parameters) {
    const context = /^\s*phone-context\s*=\s*\+([\d.()-]+)\s*$/i.exec(parameter)
    if (context !== null) return context[1].replace(/\D/g, '')
  }
  return null
}

/** `+44 7700 900123 ext. 5`, `x5`: an extension in words behind a number. */
function withoutExtension(text: string): string {
  const extension = /^(.*\d[\s.,)-]*?)\s*(?:extension|ext|xtn|x)[\s.:=#-]*\d{1,7}#?$/i.exec(text)
  return extension === null ? text : extension[1]
}

/**
 * What stands before and behind a pause, of which a comma, a `p` or a `w` is one: something short and the number, or
 * the number and digits that are sent after the answer.
 */
function aroundPause(bare: string): { readonly front: string; readonly number: string; readonly sent: boolean } {
  const [first, ...rest] = /^[\d*#+,pw]+$/i.test(bare) ? bare.split(/[,pw]+/i) : [bare]
  return rest.length > 0 && rest[0] !== '' && /^[*#\d]{1,6}$/.test(first)
    ? { front: first, number: rest[0], sent: rest.length > 1 }
    : { front: '', number: first, sent: rest.length > 0 }
}

/** Takes off what stands in front of a number until one is left. */
function fronted(bare: string, plan: DialPlan, outside: boolean): string | null {
  let left = bare
  for (let fronts = 0; fronts < MAX_FRONTS; fronts++) {
    const digits = left.replace(/#+$/, '')
    const whole = /^\+?\d+$/.test(digits) ? wholeNumber(digits, plan, outside || fronts > 0) : null
    if (whole?.certain === true || left.startsWith('+')) return whole?.number ?? plusZero(digits, plan)
    // A possible number may still be a code and a number, which is dialled on purpose, and no other way to write one.
    const next = withoutFront(left, plan, whole?.possible === true ? ownFronts : digitFronts)
    if (next === null) return whole?.number ?? null
    left = next
  }
  return null
}

/** `+0447700900123`: a plus, a 0 too many, the own country. */
function plusZero(digits: string, plan: DialPlan): string | null {
  const rest = digits.slice(2)
  const read = digits.startsWith(`+0${plan.callingCode}`) ? parsed(`+${rest}`, plan.region) : null
  return read?.possible === true ? read.number : null
}

interface Read {
  readonly number: string
  /** A number of its plan; else one that only has a number's length. */
  readonly certain: boolean
  /** Of a length that its plan has; else only an international prefix says that it is a number. */
  readonly possible: boolean
}

/** A dial string of digits as it stands. @param outside whether something before it says that it is no extension */
function wholeNumber(digits: string, plan: DialPlan, outside: boolean): Read | null {
  if (digits.length > DIALLED_MAX) return null
  if (!digits.startsWith('+') && digits.length <= (outside ? 6 : plan.extensionDigits)) return null
  const international = digits.startsWith('+')
    ? digits.replace(/^\+00(?=[1-9])/, '+')
    : plan.dials00 && digits.startsWith('00')
      ? `+${digits.slice(2)}`
      : null
  const read = parsed(international ?? digits, plan.region)
  // `00` is only another way to write the plus: the two must not differ for numbers that no plan knows.
  if (read !== null && (international !== null || read.possible))
    return { number: read.number, certain: read.valid, possible: read.possible }
  return international !== null && /^\+[1-9]\d{6,14}$/.test(international)
    ? { number: international.slice(1), certain: false, possible: false }
    : null
}

interface Parsed {
  readonly number: string
  readonly possible: boolean
  readonly valid: boolean
}

function parsed(text: string, region: string): Parsed | null {
  const found = parsePhoneNumberFromString(text, { defaultCountry: region as CountryCode, extract: false }, metadata)
  const number = found?.number.slice(1) ?? ''
  return found === undefined || number.length < 1 || number.length > 15
    ? null
    : { number, possible: found.isPossible(), valid: found.isValid() }
}

/** The rest behind one thing that stands in front; null where nothing known does, or no number follows. */
function withoutFront(text: string, plan: DialPlan, fronts = digitFronts): string | null {
  const starred = withoutStarCode(text)
  if (starred !== null) return starred
  const plus = /^(\d{1,6})(\+\d+#*)$/.exec(text)
  if (plus !== null) return isFront(plus[1], plan) ? plus[2] : null
  const digits = text.replace(/#+$/, '')
  if (!/^\d+$/.test(digits)) return null
  for (const rest of fronts(digits, plan)) if (isDialledNumber(rest, plan)) return rest
  return null
}

/** Behind `*67`, `#31#`, `*21*…#` and their like. */
function withoutStarCode(text: string): string | null {
  // What may follow the number of a forwarding: the kind of call and the seconds that it rings for.
  const supplementary = /^[*#]{1,2}(\d{2,3})[*#](\+?\d+)(?:(?:\*\d{0,2}){0,2}#+)?$/.exec(text)
  if (supplementary !== null) return SUPPLEMENTARY_CODES.has(supplementary[1]) ? supplementary[2] : null
  const star = /^\*(\d\d)(.+)$/.exec(text)
  if (star !== null && STAR_CODES.has(star[1])) return star[2]
  const nested = /^[*#]{1,2}(\d{2,3})[*#](.+)$/.exec(text)
  return nested !== null && SUPPLEMENTARY_CODES.has(nested[1]) ? nested[2] : null
}

/** Whether what stands apart before a number, by a pause or a plus, is a service code or an outside line. */
function isFront(front: string, plan: DialPlan): boolean {
  if (/^\d{1,2}$/.test(front) || plan.prefixes.includes(front)) return true
  const code = /^[*#]{1,2}(\d{2,3})[*#]?$/.exec(front)?.[1]
  if (code !== undefined) return STAR_CODES.has(code) || SUPPLEMENTARY_CODES.has(code)
  const codes = digitCodesOf(plan.region, plan.callingCode)
  return NUMBERS_BEHIND.some((number) => codes?.exec(front + number)?.[0] === front)
}

/** What may be left of a string of digits, the likeliest first. */
function* digitFronts(digits: string, plan: DialPlan): Generator<string> {
  yield* ownFronts(digits, plan)
  if (digits.startsWith(`0${plan.callingCode}`)) yield `+${digits.slice(1)}`
  for (const prefix of COMMON_INTERNATIONAL_PREFIXES)
    if (digits.startsWith(prefix)) yield `+${digits.slice(prefix.length)}`
  if (plan.callingCode !== '1') return
  // Through an operator: 01 and an international number, 0 and one of the plan.
  if (digits.startsWith('01')) yield `+${digits.slice(2)}`
  if (/^01?[2-9]\d{9}$/.test(digits)) yield digits.slice(1)
}

/** Codes of the country, and prefixes of the settings. */
function* ownFronts(digits: string, plan: DialPlan): Generator<string> {
  const code = digitCodesOf(plan.region, plan.callingCode)?.exec(digits)?.[0]
  if (code !== undefined) yield digits.slice(code.length)
  for (const prefix of plan.prefixes) if (digits.startsWith(prefix)) yield digits.slice(prefix.length)
}

/** Whether what is left is a whole number as it is dialled: international, with the trunk prefix, or one of its plan. */
function isDialledNumber(rest: string, plan: DialPlan): boolean {
  const read = wholeNumber(rest, plan, true)
  if (read === null) return withoutFront(rest, plan) !== null
  if (!read.possible) return false
  return read.certain || rest.startsWith('+') || rest.startsWith('0') || plan.trunkPrefix === '1'
}
