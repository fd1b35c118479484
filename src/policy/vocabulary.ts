/**
 * The terms that a policy may use: purposes and lawful bases out of the W3C Data Privacy Vocabulary 2.3
 * (https://w3id.org/dpv), transfer mechanisms and regions.
 */

import { distance } from '../errors/problems.js'
import { COUNTRY_CODES, countryName } from './countries.js'
import { DPV_PURPOSES } from './dpv-purposes.js'

const DPV = 'https://w3id.org/dpv#'
const GDPR = 'https://w3id.org/dpv/legal/eu/gdpr#'

export type PurposeTerm = keyof typeof DPV_PURPOSES

/** What operators call a purpose that the vocabulary calls otherwise: to find a term by, never in its place. */
const ALSO_CALLED: Partial<Record<PurposeTerm, string>> = {
  ServiceProvision: 'operations calls telephony',
  TechnicalServiceProvision: 'operations network',
  CustomerCare: 'support helpdesk',
  ServiceMonitoring: 'quality performance troubleshooting',
  ServiceUsageAnalytics: 'analytics statistics reporting usage',
  PaymentManagement: 'billing invoicing charging rating collections',
  DisputeManagement: 'claims complaints',
  VendorPayment: 'settlement interconnect wholesale',
  FraudPreventionAndDetection: 'antifraud toll',
  MisusePreventionAndDetection: 'abuse acceptable',
  EnforceSecurity: 'protection safety',
  ResearchAndDevelopment: 'product innovation',
  Marketing: 'promotion sales',
  PublicRelations: 'testimonials press',
  LegalCompliance: 'retention law statute regulation police',
}

/** What follows from a lawful basis. */
export interface Basis {
  readonly label: string
  /** Short name in tables. */
  readonly name: 'consent' | 'contract' | 'legal obligation' | 'vital interests' | 'public task' | 'legitimate interest'
  /** What counts as evidence for it. */
  readonly evidence: string
  /** Whether a person can have the data erased (GDPR Art. 17(3)(b): not what a law or a public task demands). */
  readonly erasable: boolean
}

/** Lawful bases by DPV's local name: GDPR Art. 6(1), which the UK GDPR shares. */
export const BASES = {
  'A6-1-a': {
    label: 'Art. 6(1)(a) consent',
    name: 'consent',
    evidence: 'the consent notice that was shown',
    erasable: true,
  },
  'A6-1-b': {
    label: 'Art. 6(1)(b) contract',
    name: 'contract',
    evidence: 'the contract and its clause',
    erasable: true,
  },
  'A6-1-c': {
    label: 'Art. 6(1)(c) legal obligation',
    name: 'legal obligation',
    evidence: 'the statute and section',
    erasable: false,
  },
  'A6-1-d': {
    label: 'Art. 6(1)(d) vital interests',
    name: 'vital interests',
    evidence: 'whose life it protects, and how',
    erasable: true,
  },
  'A6-1-e': {
    label: 'Art. 6(1)(e) public task',
    name: 'public task',
    evidence: 'the law that gives the task',
    erasable: false,
  },
  'A6-1-f': {
    label: 'Art. 6(1)(f) legitimate interest',
    name: 'legitimate interest',
    evidence: 'the balancing test',
    erasable: true,
  },
} as const satisfies Record<string, Basis>
export type BasisTerm = keyof typeof BASES

/** Where in the world a transfer may go, and under what: GDPR Chapter V. */
export const TRANSFERS = {
  'none-needed': { iri: null, label: 'no transfer: kept at home' },
  adequacy: { iri: `${GDPR}A45-3`, label: 'adequacy decision' },
  scc: { iri: `${GDPR}A46-2-c`, label: 'standard contractual clauses (for the UK: with its addendum)' },
  bcr: { iri: `${GDPR}A46-2-b`, label: 'binding corporate rules' },
} as const
export type Transfer = keyof typeof TRANSFERS

/** Mechanisms that were valid once, or that cover less than a region: refused, with the reason. */
export const REFUSED_TRANSFERS: Readonly<Record<string, string>> = {
  'privacy-shield': 'struck down in 2020 (Schrems II)',
  'safe-harbour': 'struck down in 2015 (Schrems I)',
  'safe-harbor': 'struck down in 2015 (Schrems I)',
  'data-privacy-framework': 'covers only the companies on its list, which minim cannot check',
}

export interface Region {
  readonly name: string
  readonly transfers: readonly Transfer[]
}

const ADEQUATE = ['adequacy', 'scc', 'bcr'] as const
const SAFEGUARDS = ['scc', 'bcr'] as const

/** Where the data may be by an adequacy decision of both: the UK's regulations and the European Commission. */
const ADEQUATE_COUNTRIES = ['CH', 'AD', 'AR', 'FO', 'GG', 'IL', 'IM', 'JE', 'JP', 'KR', 'NZ', 'UY', 'CA']

/** The European Economic Area: the member states of the Union, and Iceland, Liechtenstein and Norway. */
const EEA_COUNTRIES = [
  ...['AT', 'BE', 'BG', 'CY', 'CZ', 'DE', 'DK', 'EE', 'ES', 'FI', 'FR', 'GR', 'HR', 'HU', 'IE', 'IT', 'LT', 'LU', 'LV'],
  ...['MT', 'NL', 'PL', 'PT', 'RO', 'SE', 'SI', 'SK', 'IS', 'LI', 'NO'],
]

/**
 * Regions, seen from an operator in the UK with users in the EEA: the EEA as a whole, and every country by its code of
 * ISO 3166. Of a country without an adequacy decision, a safeguard is asked for; so it is of the United States, which
 * are adequate only for listed companies.
 */
const TRANSFERS_TO: ReadonlyMap<string, readonly Transfer[]> = new Map<string, readonly Transfer[]>([
  // Home. Users in the EEA send their data here under the Commission's decision on the UK: then `adequacy`.
  ['UK', ['none-needed', ...ADEQUATE]],
  ['EEA', ADEQUATE],
  ...COUNTRY_CODES.filter((code) => code !== 'GB').map((code): [string, readonly Transfer[]] => [
    code,
    ADEQUATE_COUNTRIES.includes(code) || EEA_COUNTRIES.includes(code) ? ADEQUATE : SAFEGUARDS,
  ]),
])

/** Regions that are no country's code. */
const NAMES: Readonly<Record<string, string>> = { UK: 'United Kingdom', EEA: 'European Economic Area' }

/** Ways to write a region: ISO 3166 says GB where tags and most people say UK. */
const REGION_ALIASES: Readonly<Record<string, string>> = { GB: 'UK' }

/** A region's code as tags hold it; null for what is none. */
export function regionCode(text: unknown): string | null {
  if (typeof text !== 'string') return null
  const code = Object.hasOwn(REGION_ALIASES, text) ? REGION_ALIASES[text] : text
  return TRANSFERS_TO.has(code) ? code : null
}

/** What is known of a region that {@link regionCode} has given. */
export function regionOf(code: string): Region {
  const transfers = TRANSFERS_TO.get(code)
  if (transfers === undefined) throw new RangeError('not a region')
  return { name: Object.hasOwn(NAMES, code) ? NAMES[code] : countryName(code), transfers }
}

/** All that may be written as a region. */
export const REGION_CODES: readonly string[] = [...TRANSFERS_TO.keys(), ...Object.keys(REGION_ALIASES)]

/**
 * The mend for what is no region. Letters of a code that are near those of another are another country, so a code is
 * named only where the same place was meant: in small letters, or by its name.
 */
export function regionMend(written: unknown): string {
  const wanted = typeof written === 'string' ? written.trim().toLowerCase() : ''
  const meant = REGION_CODES.find(
    (code) =>
      code.toLowerCase() === wanted || (regionCode(code) === code && regionOf(code).name.toLowerCase() === wanted),
  )
  return meant === undefined
    ? 'write UK or GB, EEA, or the two capital letters of another country in ISO 3166, as US'
    : `did you mean ${meant}?`
}

export const PURPOSE_TERMS = Object.keys(DPV_PURPOSES) as PurposeTerm[]
export const BASIS_TERMS = Object.keys(BASES) as BasisTerm[]
export const TRANSFER_NAMES = Object.keys(TRANSFERS) as Transfer[]

/** `https://w3id.org/dpv#PaymentManagement` */
export function purposeIri(term: PurposeTerm): string {
  return DPV + term
}

/** `https://w3id.org/dpv/legal/eu/gdpr#A6-1-b` */
export function basisIri(term: BasisTerm): string {
  return GDPR + term
}

/** A lawful basis as policies and tags write it: `eu-gdpr:A6-1-b`. */
export function basisCurie(term: BasisTerm): string {
  return `eu-gdpr:${term}`
}

function termOf<T extends string>(text: unknown, prefixes: readonly string[], terms: readonly T[]): T | null {
  if (typeof text !== 'string') return null
  for (const prefix of prefixes) {
    const local = text.slice(prefix.length)
    if (text.startsWith(prefix) && (terms as readonly string[]).includes(local)) return local as T
  }
  return null
}

/** The purpose that an IRI or `dpv:…` names; null when it is not carried. */
export function purposeTerm(text: unknown): PurposeTerm | null {
  return termOf(text, [DPV, 'dpv:'], PURPOSE_TERMS)
}

/** Whether a purpose is another, or narrower than it. */
export function isWithin(term: PurposeTerm, broad: PurposeTerm): boolean {
  const broader: readonly string[] = DPV_PURPOSES[term]
  return (
    term === broad || broader.some((one) => Object.hasOwn(DPV_PURPOSES, one) && isWithin(one as PurposeTerm, broad))
  )
}

/** `FraudPreventionAndDetection` → its words, in small letters. */
function wordsOf(text: string): string[] {
  return text
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((word) => word.length > 2 && word !== 'and')
}

/** How many letters two words begin with alike. */
function alike(a: string, b: string): number {
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  return i
}

/** Three purposes that may have been meant, the best first: by their words, then by their letters. */
export function nearestPurposes(written: unknown): string[] {
  const local = typeof written === 'string' ? written.slice(0, 100).replace(/^.*[#:/]/, '') : ''
  const wanted = wordsOf(local)
  const score = (term: PurposeTerm): number => {
    const words = [...wordsOf(term), ...wordsOf(ALSO_CALLED[term] ?? '')]
    const hits = wanted.map((one) =>
      Math.max(0, ...words.map((word) => alike(one, word) / Math.max(one.length, word.length))),
    )
    const edits = distance(local.toLowerCase(), term.toLowerCase()) / Math.max(local.length, term.length)
    return hits.reduce((sum, hit) => sum + (hit >= 0.5 ? hit : 0), 0) / Math.max(1, wanted.length) + 1 - edits
  }
  return PURPOSE_TERMS.map((term) => ({ term, score: score(term) }))
    .sort((a, b) => b.score - a.score)
    .slice(0, 3)
    .map(({ term }) => `dpv:${term}`)
}

/** The basis that an IRI or `eu-gdpr:…` names; null when it is not carried. */
export function basisTerm(text: unknown): BasisTerm | null {
  return termOf(text, [GDPR, 'eu-gdpr:'], BASIS_TERMS)
}

/** What follows from the basis of a checked purpose. */
export function basisOf(text: string): Basis {
  const term = basisTerm(text)
  if (term === null) throw new RangeError('not a basis out of the vocabulary')
  return BASES[term]
}
