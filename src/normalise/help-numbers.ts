/**
 * Numbers that one calls for help: emergency numbers, and helplines of all kinds. That somebody called one says
 * something of his health, his safety or his family, so they are told apart before tokens are made.
 *
 * - emergency numbers and free numbers of three digits, by country (`short-numbers.ts`)
 * - 116000 to 116999, harmonised for services of social value (Commission Decision 2007/116/EC), everywhere
 * - other short numbers of national helplines: common knowledge, held against no document, and not all of the world
 * - what the settings list
 *
 * A country's own list is in its numbering plan, which Recommendation ITU-T E.129 says how to publish, numbers of
 * emergency services and services of social value among it; for the United Kingdom it is Ofcom's National Telephone
 * Numbering Plan. The table of national helplines was not held against these line by line.
 *
 * Premium-rate numbers, operators and other short codes are no class here: they are treated as any number is.
 *
 * A tenant's extension with the digits of one counts as that number: who dialled it cannot be told.
 */
import type { Tenant } from '../flow/tenant.js'
import { type DialPlan, numberOf, shortDigitsOf, shortRests } from './dial-string.js'
import { dialPlanOf, REGIONS } from './numbering-plan.js'
import { SHORT_NUMBERS } from './short-numbers.js'

/** National helplines with four to six digits, or three that are not free everywhere. */
const NATIONAL: Readonly<Record<string, string | undefined>> = {
  AR: '102 134 135 137 141 144 145 149',
  AT: '133 140 141 142 144 147 1450',
  AU: '131114 131126 132500',
  BE: '103 105 106 107 1712 1813',
  BR: '100 180 181 188',
  CA: '211 811 988 686868 741741',
  CH: '143 144 145 147',
  CL: '4141 1455 1515',
  CN: '12355 12356 12338',
  CO: '106 141 155',
  DE: '115 116117',
  ES: '016 017 024 900',
  FI: '116117 116123',
  FR: '3018 3020 3114 3919 3939 3977 3989 119 116117',
  GB: '101 105 111 119 85258',
  GR: '10306 1018 1056 197 15900',
  HK: '18111 18281',
  IE: '50808 1800',
  IL: '1201 118 105 1202',
  IN: '1091 1098 14416 14567 181 1097',
  IT: '114 1500 1522 19696',
  JP: '188 189',
  KR: '1366 1388 1393 1577 109 117',
  MX: '079 075',
  NL: '113 144',
  NZ: '1737',
  PH: '1553 163',
  PT: '144 1411',
  SG: '1767 1771 1777',
  TH: '1300 1323 1669',
  TR: '182 183',
  TW: '113 1925 1980 1995',
  US: '211 311 811 988 741741 838255',
  ZA: '116 10111 10177',
}

const HARMONISED = /^116\d{3}$/
/** No number that one calls for help by its short form has more digits than this, calling code included. */
export const SHORT_E164_DIGITS = 9
const SHORT_DIGITS = 6

/** Short numbers of some countries that one calls for help, by their digits. */
export function shortNumbersOf(regions: readonly string[]): ReadonlySet<string> {
  const written = regions.flatMap((r) => `${SHORT_NUMBERS[r] ?? ''} ${NATIONAL[r] ?? ''}`.split(' '))
  return new Set(written.flatMap(expanded))
}

function expanded(text: string): string[] {
  const [first, last] = text.split('-')
  if (first === '') return []
  if (last === undefined) return [first]
  return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => String(Number(first) + i))
}

/** The numbers of one tenant that one calls for help. */
export class HelpNumbers {
  readonly #plan: DialPlan
  /** Dialled in the tenant's country. */
  readonly #short: Set<string>
  /** Of the settings, in full, without a plus. */
  readonly #full = new Set<string>()
  /** By the first three digits of a dial string, and the last four of a number: whether one may be among them. */
  readonly #firstThree = new Uint8Array(1000)
  readonly #lastFour = new Uint8Array(10_000)
  /** By calling code, made when a short number behind it is seen. */
  readonly #abroad = new Map<string, ReadonlySet<string>>()

  constructor(tenant: Tenant) {
    this.#plan = dialPlanOf(tenant)
    this.#short = new Set(shortNumbersOf([tenant.region]))
    for (const helpline of tenant.helplines ?? []) {
      const number = numberOf(helpline, this.#plan)
      if (number === null) this.#short.add(shortDigitsOf(helpline, this.#plan) ?? helpline)
      else {
        this.#full.add(number)
        this.#lastFour[Number(number.slice(-4))] = 1
      }
    }
    const prefixes = ['', ...this.#plan.prefixes]
    for (const short of [...this.#short, '116'])
      for (const prefix of prefixes) this.#mark((prefix + short).replace(/\D/g, ''))
  }

  #mark(digits: string): void {
    if (digits.length >= 3) this.#firstThree[Number(digits.slice(0, 3))] = 1
    else for (let digit = 0; digit < 10; digit++) this.#mark(`${digits}${digit}`)
  }

  /** Whether a dial string of digits may be one: answered without a look at the whole of it. */
  maybeShort(src: Uint8Array, off: number, len: number): boolean {
    return len < 3 || this.#firstThree[(src[off] - 48) * 100 + (src[off + 1] - 48) * 10 + src[off + 2] - 48] === 1
  }

  /** The same of the digits of a number in full, at the end of `src[off, end)`. */
  maybeFull(src: Uint8Array, end: number): boolean {
    const lastFour =
      (src[end - 4] - 48) * 1000 + (src[end - 3] - 48) * 100 + (src[end - 2] - 48) * 10 + src[end - 1] - 48
    return this.#lastFour[lastFour] === 1
  }

  /** Whether a number, without its plus, is one. */
  hasNumber(number: string): boolean {
    if (this.#full.has(number)) return true
    if (number.length > SHORT_E164_DIGITS) return false
    for (let n = 1; n <= 3; n++) {
      const code = number.slice(0, n)
      if (!Object.hasOwn(REGIONS, code)) continue
      return this.#isShort(number.slice(n), this.#of(code))
    }
    return false
  }

  /** Whether a dial string that is no number in full is one. */
  hasDialled(text: string): boolean {
    if (/^urn:service:(?:sos|counseling)\b/i.test(text)) return true
    const digits = shortDigitsOf(text, this.#plan)
    if (digits === null || digits.length > SHORT_DIGITS + 6) return false
    return shortRests(digits, this.#plan).some((rest) => this.#isShort(rest, this.#short))
  }

  #isShort(digits: string, known: ReadonlySet<string>): boolean {
    return known.has(digits) || HARMONISED.test(digits)
  }

  #of(code: string): ReadonlySet<string> {
    let known = this.#abroad.get(code)
    if (known === undefined) this.#abroad.set(code, (known = shortNumbersOf(REGIONS[code])))
    return known
  }
}
