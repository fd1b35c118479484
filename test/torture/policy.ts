/**
 * The torture's own policy: every purpose keeps the start time, and no two see the same fields. One may see one
 * tenant's records only.
 */
import type { Kind } from '../../src/catalogue/catalogue.js'
import { kindOf, type Numbered, tenantOf } from './numbers.js'

const common = {
  notice: 'P2',
  description: 'A purpose of a test',
  purpose: 'https://w3id.org/dpv#PaymentManagement',
  basis: { term: 'eu-gdpr:A6-1-b', evidence: 'contract' },
  recipients: ['test'],
  region: 'UK',
  transfer: 'adequacy',
  retention_days: 30,
}

export const POLICY = {
  purposes: {
    billing: {
      ...common,
      epoch: 'contract',
      call: {
        key: 'account',
        fields: {
          account: 'token',
          call_id: 'token',
          called: { token: { reversible: true } },
          start_ms: 'keep',
          billable_seconds: 'keep',
          calling_name: 'drop',
        },
      },
    },
    // Keys that change every day, JSON, both kinds.
    operations: {
      ...common,
      epoch: 'day',
      call: {
        key: 'account',
        format: 'json',
        fields: { account: 'token', start_ms: 'keep', duration_seconds: 'keep', codec: 'keep', calling_name: 'drop' },
      },
      quality: {
        key: 'account',
        fields: { account: 'token', start_ms: 'keep', duration_seconds: 'keep', mos_lq: 'keep' },
      },
    },
    planning: {
      ...common,
      epoch: 'month',
      call: { fields: { start_ms: 'keep', duration_seconds: 'keep', calling_name: 'drop' } },
    },
    acme: {
      ...common,
      epoch: 'year',
      tenants: ['acme'],
      call: {
        key: 'account',
        fields: { account: 'token', start_ms: 'keep', billable_seconds: 'keep', calling_name: 'drop' },
      },
      quality: { key: 'account', fields: { account: 'token', start_ms: 'keep', duration_seconds: 'keep' } },
    },
  },
} as const

export interface TopicForm {
  readonly kind: Kind
  readonly tenant: 'acme' | null
  readonly json: boolean
  /** What a message may hold, by number (protobuf) or name (JSON); 15 is the tag. */
  readonly fields: readonly (number | string)[]
  /** Which of them holds the record's seconds. */
  readonly seconds: number | string
}

/** What each topic may hold. Field numbers of `proto/minim/v1/`. */
export const TOPICS: Readonly<Record<string, TopicForm>> = {
  'pbx.billing.call': { kind: 'call', tenant: null, json: false, fields: [2, 3, 6, 9, 13, 15], seconds: 13 },
  'pbx.operations.call': {
    kind: 'call',
    tenant: null,
    json: true,
    fields: ['account', 'start_ms', 'duration_seconds', 'codec', 'tag'],
    seconds: 'duration_seconds',
  },
  'pbx.operations.quality': { kind: 'quality', tenant: null, json: false, fields: [2, 9, 12, 15, 16], seconds: 12 },
  'pbx.planning.call': { kind: 'call', tenant: null, json: false, fields: [9, 12, 15], seconds: 12 },
  'pbx.acme.call': { kind: 'call', tenant: 'acme', json: false, fields: [2, 9, 13, 15], seconds: 13 },
  'pbx.acme.quality': { kind: 'quality', tenant: 'acme', json: false, fields: [2, 9, 12, 15], seconds: 12 },
}

/** Where a record must be, and may be. */
export function topicsOf(record: Numbered, mixed: boolean): string[] {
  const kind = kindOf(record, mixed)
  const tenant = tenantOf(record)
  return Object.keys(TOPICS).filter(
    (name) => TOPICS[name].kind === kind && (TOPICS[name].tenant === null || TOPICS[name].tenant === tenant),
  )
}
