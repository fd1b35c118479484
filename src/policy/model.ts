/** A checked policy: what `load` makes of `config/policy.yaml` and `compile` turns into a plan. Frozen, every reference resolved. */
import type { Field, Kind } from '../catalogue/catalogue.js'
import type { EpochLength } from '../keys/keyring.js'

/** Treatments by name, with their parameters. `drop` is the absence of a rule. */
export type Treatment =
  | { readonly kind: 'keep' }
  /** Pseudonym under the purpose's epoch key. `reversible`: also what does not fit a block can be reversed (AES-SIV, wider than 16 bytes). */
  | { readonly kind: 'token'; readonly reversible: boolean }
  /** `country`: calling code only; `digits`: calling code and further digits, so many in all, never the last four. */
  | { readonly kind: 'e164-prefix'; readonly digits: number | 'country' }
  /** Network of an address, with so many leading bits kept. */
  | { readonly kind: 'ip-prefix'; readonly v4: number; readonly v6: number }
  /** Rounded down to a whole multiple. */
  | { readonly kind: 'time-bucket'; readonly ms: number }
  /** Lower bound of the bucket: the greatest of `bounds` not above the value, or a whole multiple of `step`. */
  | { readonly kind: 'number-bucket'; readonly step: number | null; readonly bounds: readonly number[] | null }
  | { readonly kind: 'user-agent'; readonly part: 'vendor' | 'model' | 'firmware' }
  /** First three octets of a MAC address. */
  | { readonly kind: 'mac-vendor' }
export type TreatmentKind = Treatment['kind']

export interface FieldRule {
  readonly field: Field
  readonly treatment: Treatment
}

/** What one purpose may see of one kind of record. */
export interface KindRules {
  readonly kind: Kind
  readonly topic: string
  readonly format: 'protobuf' | 'json'
  readonly headers: boolean
  /** Field whose token is the Kafka key; null: none. */
  readonly key: Field | null
  /** Ascending by field number. */
  readonly rules: readonly FieldRule[]
}

/** DPV terms by local name, with their IRIs: `src/policy/vocabulary.ts`. */
export interface Purpose {
  /** `billing`: names topics, keys and metrics. */
  readonly id: string
  /** Row of the notice: `P2`. */
  readonly notice: string
  readonly description: string
  /** `https://w3id.org/dpv#…` */
  readonly dpv: string
  /** Lawful basis as a DPV term (`eu-gdpr:A6-1-b`), and its evidence in words. */
  readonly basis: string
  readonly evidence: string
  readonly recipients: readonly string[]
  readonly region: string
  readonly transfer: string
  readonly retentionDays: number
  readonly epoch: EpochLength
  /** Only records of these tenants; null: all. */
  readonly tenants: readonly string[] | null
  readonly kinds: Readonly<Partial<Record<Kind, KindRules>>>
}

export interface Policy {
  /** First 12 hexadecimal digits of the file's SHA-256. */
  readonly version: string
  /** Only those that are on, in the file's order. */
  readonly purposes: readonly Purpose[]
}
