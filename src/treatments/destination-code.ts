/**
 * How much of a number is no subscriber's: the calling code, and the national destination code behind it (ITU-T E.164:
 * the area, the network or the service), as libphonenumber's formats part it off. A number that its plan does not part
 * has its calling code only.
 */
import { Metadata } from 'libphonenumber-js/core'
import metadata from 'libphonenumber-js/metadata.max'

/** A format as the metadata class keeps it; the package's types leave it out. */
interface Format {
  pattern(): string
  leadingDigitsPatterns(): string[]
  internationalFormat(): string
}
interface Plans {
  selectNumberingPlan(region: string | null, callingCode?: string): void
  numberingPlan: { formats(): Format[] }
}

interface Parting {
  readonly leading: RegExp | null
  readonly whole: RegExp
  /** The first group of the number as it is written from abroad. */
  readonly group: number
}

const CALLING_CODES: ReadonlySet<string> = new Set([
  ...Object.keys(metadata.country_calling_codes),
  ...Object.keys((metadata as unknown as { nonGeographic?: object }).nonGeographic ?? {}),
])
const partings = new Map<string, readonly Parting[]>()

function partingsOf(code: string): readonly Parting[] {
  let known = partings.get(code)
  if (known === undefined) {
    const plans = new Metadata(metadata) as unknown as Plans
    plans.selectNumberingPlan(null, code)
    known = plans.numberingPlan
      .formats()
      .map((format) => ({
        leading: leadingOf(format.leadingDigitsPatterns().at(-1)),
        whole: new RegExp(`^(?:${format.pattern()})$`),
        group: Number(/\$(\d)/.exec(format.internationalFormat())?.[1] ?? 1),
      }))
    partings.set(code, known)
  }
  return known
}

function leadingOf(pattern: string | undefined): RegExp | null {
  return pattern === undefined ? null : new RegExp(`^(?:${pattern})`)
}

/** Calling code of a number without its plus; empty where no country has one that it begins with. */
export function callingCodeIn(number: string): string {
  for (let n = 1; n <= 3; n++) if (CALLING_CODES.has(number.slice(0, n))) return number.slice(0, n)
  return ''
}

/** Digits of calling code and national destination code of a number without its plus; 0 where its code is none. */
export function destinationDigits(number: string): number {
  const code = callingCodeIn(number)
  if (code === '') return 0
  const national = number.slice(code.length)
  for (const { leading, whole, group } of partingsOf(code)) {
    if (leading?.test(national) === false) continue
    const parts = whole.exec(national)
    if (parts !== null) return code.length + (parts.length > 2 ? parts[group].length : 0)
  }
  return code.length
}

/** Entries of {@link cached}; a power of two. */
const CACHED = 16_384
/** By a hash of a number's beginning, what was asked for: its first ten digits and its length, and the answer. */
const askedFor = new Float64Array(CACHED)
const answers = new Uint8Array(CACHED)

/** {@link destinationDigits} of a packed number: formats look at no more than its first ten digits and its length. */
export function destinationDigitsOf(block: Uint8Array, at: number): number {
  const total = block[at] & 0xf
  const first = ((block[at + 6] << 24) | (block[at + 7] << 16) | (block[at + 8] << 8) | block[at + 9]) >>> 0
  const asked = (first * 256 + block[at + 10]) * 16 + total
  const entry = (Math.imul(first ^ (block[at + 10] << 4) ^ total, 0x9e3779b1) >>> 18) & (CACHED - 1)
  if (askedFor[entry] !== asked) {
    askedFor[entry] = asked
    answers[entry] = destinationDigits(
      Buffer.from(block.subarray(at + 6, at + 14))
        .toString('hex')
        .slice(0, total),
    )
  }
  return answers[entry]
}
