/**
 * A checked policy: what `load` makes of `config/policy.yaml` and `compile` turns into a plan. Frozen, every reference
 * resolved.
 */
import type { Field, Kind } from '../catalogue/catalogue.js'
import type { EpochLength } from '../keys/keyring.js'
import type { Treatment } from '../treatments/registry.js'

export type { Treatment, TreatmentKind } from '../treatments/registry.js'

/**
 * Most purposes that can be on: a record's purposes are the bits of one mask, 31 of which can be told apart by
 * sign-free tests.
 */
export const MAX_PURPOSES = 31

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
  /**
   * `named`: numbers that one calls for help are numbers like all others. Else they are one and the same, without a
   * prefix: that somebody called one says something of his health or safety.
   */
  readonly helplines?: 'named' | 'hidden'
  /** Share of its records that may be linked with another purpose's, by that one's id: 0.01 is 1 %. */
  readonly linkableWith?: Readonly<Record<string, number>>
  readonly kinds: Readonly<Partial<Record<Kind, KindRules>>>
}

export interface Policy {
  /** First 12 hexadecimal digits of the file's SHA-256. */
  readonly version: string
  /** All of them. */
  readonly hash: string
  /** Only those that are on, in the file's order. */
  readonly purposes: readonly Purpose[]
}
