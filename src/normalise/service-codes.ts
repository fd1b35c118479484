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
 * Written `*NN` with the number right behind: the vertical service codes of North America (ATIS-0300089, assigned by
 * the North American Numbering Plan Administrator). Those that hide or show the caller for one call, hold off call
 * waiting, or set a number to forward to; codes without a number behind them need not be here.
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
 * Written `*NN#`, `#NN#`, `*NN*…#` and so on with the number behind: supplementary services as ETSI ETS 300 738 (fixed
 * lines) and 3GPP TS 22.030 annex B (mobiles) write them.
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
  readonly source: string
}

const NANP: CountryCodes = {
  pattern: /^(?:11(?:67|70|81|82)|101\d{4})/,
  source: 'NANPA: vertical service codes dialled by pulse (11NN), carrier access codes (101XXXX)',
}

const UNITED_KINGDOM: CountryCodes = {
  pattern: /^(?:141|1470|1280|18\d\d\d)(?=0)/,
  source: 'Ofcom, National Telephone Numbering Plan, and NICC ND1016: 141, 1470; indirect access 1280, 18xxx',
}

/** By ISO 3166-1 code. Whose calling code is 1 has {@link NANP}. */
const BY_COUNTRY: Readonly<Record<string, CountryCodes | undefined>> = {
  AU: { pattern: /^(?:183[12]|14\d\d)/, source: 'ACMA, Telecommunications Numbering Plan 2015: 1831, 1832, 14xx' },
  AT: { pattern: /^10\d\d(?=0)/, source: 'RTR, KEM-V 2009: carrier selection 10xx' },
  CH: { pattern: /^10[78]\d\d(?=0)/, source: 'OFCOM, numbering plan E.164/2002: carrier selection 107xx and 108xx' },
  DE: {
    pattern: /^010(?:[1-9]\d|0\d\d)(?=0)/,
    zeroBeginnings: ['010'],
    source: 'Bundesnetzagentur, Nummernplan Betreiberkennzahlen: 010xy and 0100yy',
  },
  ES: {
    pattern: /^(?:067|10\d\d)(?=[6-9])/,
    zeroBeginnings: ['067'],
    source: 'CNMC, Plan Nacional de Numeración: 067, 10xx',
  },
  FR: { pattern: /^(?:3651|16\d\d)(?=0)/, source: 'ARCEP, décision 2018-0881: 3651, carrier selection 16XY' },
  GB: UNITED_KINGDOM,
  GG: UNITED_KINGDOM,
  HK: { pattern: /^(?:133|1357)(?=[2-9]\d{7}$)/, source: 'OFCA, Numbering Plan for Hong Kong: 133, 1357' },
  IE: { pattern: /^14[123](?=0)/, source: 'ComReg, National Numbering Scheme: 141, 142, 143' },
  IM: UNITED_KINGDOM,
  JE: UNITED_KINGDOM,
  JP: {
    pattern: /^(?:18[46]|00(?:33|36|77|82|88|91))(?=0[1-9])/,
    zeroBeginnings: ['00'],
    source: 'MIC, numbering plan: 184, 186, 00XY carriers',
  },
  NL: { pattern: /^16\d\d(?=0)/, source: 'ACM, Nummerplan telefoon- en ISDN-diensten: carrier selection 16xx' },
  NZ: {
    pattern: /^(?:019[67]|05\d)(?=0[1-9])/,
    zeroBeginnings: ['019', '05'],
    source: 'Number Administration Deed register: 0196, 0197, 05x',
  },
  PT: { pattern: /^10\d\d(?=[29])/, source: 'ANACOM, Plano Nacional de Numeração: carrier selection 10xy' },
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
