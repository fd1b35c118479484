/**
 * What people and telephones dial before a number and what belongs to no number: service codes that hide or show who
 * calls, that choose a carrier, that set where calls are forwarded to.
 *
 * Codes with a star or a hash are no subscriber's number in any plan, so they hold everywhere. Codes of digits hold in
 * their own country only, and only where what follows is a whole number and the digits together are none.
 *
 * A country that is missing here loses nothing but the joining: its dial strings with such a code stay apart.
 */

/**
 * Written `*NN` with the number right behind: vertical service codes of North America. Those that hide or show the
 * caller for one call, hold off call waiting, or set a number to forward to; codes without a number behind them need not
 * be here. 65, 67, 68, 70 and 72 were held against the code definitions of the North American Numbering Plan
 * Administrator, 63, 71 and 82 against lists of others, 81, 90 and 92 against no document.
 */
export const STAR_CODES: ReadonlySet<string> = new Set([
  '31', // caller hidden for this call, where the PBX takes the European code without its hash
  '63', // selective forwarding
  '65', // caller shown
  '67', // caller hidden for this call
  '68', // forwarding when busy or without answer
  '70', // no call waiting during this call
  '71', // three-way call
  '72', // forwarding
  '81', // caller shown for this call
  '82', // caller shown for this call
  '90', // forwarding when busy
  '92', // forwarding without answer
])

/**
 * Written `*NN#`, `#NN#`, `*NN*…#` and so on with the number behind: supplementary services as 3GPP TS 22.030 annex B
 * lists them for mobiles, and fixed networks took them over; 76 and 77 were held against no document.
 */
export const SUPPLEMENTARY_CODES: ReadonlySet<string> = new Set([
  '30', // calling line presented
  '31', // caller hidden (`#31#`, `*31#`), also as `*31*`
  '43', // call waiting
  '67', // forwarding when busy; caller hidden in a few networks
  '76', // connected line presented
  '77', // connected line hidden
  '21', // forwarding
  '61', // forwarding without answer
  '62', // forwarding when not reachable
  '002', // all forwardings
  '004', // all conditional forwardings
])

interface CountryCodes {
  /** Codes, as patterns that are held against the start of a dial string of digits. */
  readonly pattern: RegExp
  /** Beginnings of those that begin with a 0, as national numbers do. */
  readonly zeroBeginnings?: readonly string[]
  /** What it was held against. */
  readonly source: string
}

const UNCHECKED = 'common knowledge, held against no document'

const NANP: CountryCodes = {
  pattern: /^(?:11(?:67|70|81|82)|101\d{4})/,
  source: `11 for the star on telephones with a dial: AT&T of 1167, encyclopaedias of all; 101XXXX: ${UNCHECKED}`,
}

const UNITED_KINGDOM: CountryCodes = {
  pattern: /^(?:141|1470|1280|18\d\d\d)(?=0)/,
  source: `141: encyclopaedias; 1470, indirect access 1280 and 18xxx: ${UNCHECKED}`,
}

/** By ISO 3166-1 code. Whose calling code is 1 has {@link NANP}. */
const BY_COUNTRY: Readonly<Record<string, CountryCodes | undefined>> = {
  AU: { pattern: /^(?:183[12]|14\d\d)/, source: `caller hidden and shown, carriers: ${UNCHECKED}` },
  AT: { pattern: /^10\d\d(?=0)/, source: `carriers: ${UNCHECKED}` },
  CH: { pattern: /^10[78]\d\d(?=0)/, source: `carriers: ${UNCHECKED}` },
  DE: {
    pattern: /^010(?:[1-9]\d|0\d\d)(?=0)/,
    zeroBeginnings: ['010'],
    source: 'Bundesnetzagentur, Betreiberkennzahlen: 010xy and 0100yy, in use from 1998 to 2024',
  },
  ES: { pattern: /^(?:067|10\d\d)(?=[6-9])/, zeroBeginnings: ['067'], source: `caller hidden, carriers: ${UNCHECKED}` },
  FR: { pattern: /^(?:3651|16\d\d)(?=0)/, source: `caller hidden, carriers: ${UNCHECKED}` },
  GB: UNITED_KINGDOM,
  GG: UNITED_KINGDOM,
  HK: { pattern: /^(?:133|1357)(?=[2-9]\d{7}$)/, source: '133 and 1357: encyclopaedias' },
  IE: { pattern: /^14[123](?=0)/, source: `141: encyclopaedias; 142 and 143: ${UNCHECKED}` },
  IM: UNITED_KINGDOM,
  JE: UNITED_KINGDOM,
  JP: {
    pattern: /^(?:18[46]|00(?:33|36|77|82|88|91))(?=0[1-9])/,
    zeroBeginnings: ['00'],
    source: `caller hidden and shown, carriers: ${UNCHECKED}`,
  },
  NL: { pattern: /^16\d\d(?=0)/, source: `carriers: ${UNCHECKED}` },
  NZ: {
    pattern: /^(?:019[67]|05\d)(?=0[1-9])/,
    zeroBeginnings: ['019', '05'],
    source: `caller shown and hidden, carriers: ${UNCHECKED}`,
  },
  PT: { pattern: /^10\d\d(?=[29])/, source: `carriers: ${UNCHECKED}` },
}

function codesOf(region: string, callingCode: string): CountryCodes | null {
  return callingCode === '1' ? NANP : (BY_COUNTRY[region] ?? null)
}

/** Codes of digits that the country of a tenant has; null where none is known. */
export function digitCodesOf(region: string, callingCode: string): RegExp | null {
  return codesOf(region, callingCode)?.pattern ?? null
}

/** How codes of the country begin that look like national numbers at first. */
export function zeroBeginningsOf(region: string, callingCode: string): readonly string[] {
  return codesOf(region, callingCode)?.zeroBeginnings ?? []
}
