/**
 * The terms that a policy may use: purposes and lawful bases out of the W3C Data Privacy Vocabulary 2.3
 * (https://w3id.org/dpv), transfer mechanisms and regions. Only the terms that make sense for PBX telemetry are
 * carried.
 */

const DPV = 'https://w3id.org/dpv#'
const GDPR = 'https://w3id.org/dpv/legal/eu/gdpr#'

/** Purposes by DPV's local name, with what they mean here. */
const PURPOSES = {
  ServiceProvision: 'provide the service',
  TechnicalServiceProvision: 'provide the technical means of the service',
  CustomerCare: 'support customers',
  ServiceMonitoring: 'watch how the service performs',
  ServiceOptimisation: 'make the service run better',
  IncreaseServiceRobustness: 'make the service more robust',
  ServiceUsageAnalytics: 'analyse how the service is used',
  PaymentManagement: 'bill and collect',
  DisputeManagement: 'settle disputes',
  VendorPayment: 'settle with other providers',
  FraudPreventionAndDetection: 'prevent and detect fraud',
  MisusePreventionAndDetection: 'prevent and detect misuse',
  EnforceSecurity: 'keep the service secure',
  ResearchAndDevelopment: 'research and develop',
  ImproveExistingProductsAndServices: 'improve what exists',
  Marketing: 'market and promote',
  DirectMarketing: 'market to a person directly',
  PublicRelations: 'speak about the service in public, testimonials included',
  LegalCompliance: 'do what a law demands',
} as const
export type PurposeTerm = keyof typeof PURPOSES

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

/**
 * Regions, seen from an operator in the UK with users in the EEA. "Adequate" means for both: the United Kingdom's
 * regulations and the European Commission's decisions. The United States are adequate only for listed companies, so a
 * safeguard is asked for.
 */
export const REGIONS = {
  // Home. Users in the EEA send their data here under the Commission's decision on the UK: then `adequacy`.
  UK: { name: 'United Kingdom', transfers: ['none-needed', ...ADEQUATE] },
  EEA: { name: 'European Economic Area', transfers: ADEQUATE },
  CH: { name: 'Switzerland', transfers: ADEQUATE },
  AD: { name: 'Andorra', transfers: ADEQUATE },
  AR: { name: 'Argentina', transfers: ADEQUATE },
  FO: { name: 'Faroe Islands', transfers: ADEQUATE },
  GG: { name: 'Guernsey', transfers: ADEQUATE },
  IL: { name: 'Israel', transfers: ADEQUATE },
  IM: { name: 'Isle of Man', transfers: ADEQUATE },
  JE: { name: 'Jersey', transfers: ADEQUATE },
  JP: { name: 'Japan', transfers: ADEQUATE },
  KR: { name: 'Republic of Korea', transfers: ADEQUATE },
  NZ: { name: 'New Zealand', transfers: ADEQUATE },
  UY: { name: 'Uruguay', transfers: ADEQUATE },
  CA: { name: 'Canada', transfers: ADEQUATE },
  US: { name: 'United States', transfers: SAFEGUARDS },
  AE: { name: 'United Arab Emirates', transfers: SAFEGUARDS },
  AU: { name: 'Australia', transfers: SAFEGUARDS },
  BR: { name: 'Brazil', transfers: SAFEGUARDS },
  HK: { name: 'Hong Kong', transfers: SAFEGUARDS },
  IN: { name: 'India', transfers: SAFEGUARDS },
  MX: { name: 'Mexico', transfers: SAFEGUARDS },
  PH: { name: 'Philippines', transfers: SAFEGUARDS },
  SG: { name: 'Singapore', transfers: SAFEGUARDS },
  ZA: { name: 'South Africa', transfers: SAFEGUARDS },
} as const satisfies Record<string, Region>
export type RegionCode = keyof typeof REGIONS

export const PURPOSE_TERMS = Object.keys(PURPOSES) as PurposeTerm[]
export const BASIS_TERMS = Object.keys(BASES) as BasisTerm[]
export const TRANSFER_NAMES = Object.keys(TRANSFERS) as Transfer[]
export const REGION_CODES = Object.keys(REGIONS) as RegionCode[]

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
