/**
 * What makes a record recognisable after minimisation: its start time, which every purpose of the torture's policy
 * keeps to the millisecond. Each is given out once, over all simulated nodes; so each message in a topic says whose it
 * is and which one.
 */
import type { Kind } from '../../src/catalogue/catalogue.js'

/** Simulated nodes at most. */
export const MAX_SOURCES = 64
/** Accounts of a node: subjects whose records must stay in order. */
const ACCOUNTS = 5
const DAY_MS = 86_400_000

export interface Numbered {
  readonly source: number
  /** 1, 2, 3 … */
  readonly n: number
}

/**
 * First start time of a run: the middle of the planned records is at a midnight (UTC) some days ago, where key epochs
 * change.
 * @param records planned of each node
 */
export function firstStart(nowMs: number, records: number): number {
  return (Math.floor(nowMs / DAY_MS) - 2) * DAY_MS - Math.floor(records / 2) * MAX_SOURCES
}

export function startOf(base: number, { source, n }: Numbered): number {
  return base + n * MAX_SOURCES + source
}

/** Whose record a start time is; null if none of `sources` nodes can have given it out. */
export function identify(base: number, startMs: number, sources: number): Numbered | null {
  const offset = startMs - base
  if (!Number.isSafeInteger(offset) || offset < MAX_SOURCES) return null
  const source = offset % MAX_SOURCES
  return source < sources ? { source, n: Math.floor(offset / MAX_SOURCES) } : null
}

/** Every eighth of a node that streams is a quality report. Files and posts hold one kind only. */
export function kindOf({ n }: Numbered, mixed: boolean): Kind {
  return mixed && n % 8 === 7 ? 'quality' : 'call'
}

export const tenantOf = ({ n }: Numbered): 'acme' | null => (n % 5 === 3 ? 'acme' : null)
/** What the record says, to know it from another's. */
export const secondsOf = ({ source, n }: Numbered): number => (n * 7 + source) % 3_600

/** The record's fields; each text that identifies anybody holds one of {@link CANARIES}. */
export function fieldsOf(base: number, record: Numbered, kind: Kind): Record<string, string | number> {
  const { source, n } = record
  const tenant = tenantOf(record)
  const common = {
    ...(tenant === null ? {} : { tenant }),
    account: `torture-canary-${source}-${n % ACCOUNTS}`,
    call_id: `torture-canary-call-${source}-${n}@203.0.113.77`,
    start_ms: startOf(base, record),
    duration_seconds: secondsOf(record),
    user_agent: 'Yealink SIP-T46S 66.85.0.5 00:00:5E:00:53:7F',
    mac: '00:00:5E:00:53:7F',
  }
  if (kind === 'quality') {
    return {
      ...common,
      local_party: '+447700900417',
      remote_party: 'sip:07700900418@pbx.example',
      local_ip: '203.0.113.77',
      mos_lq: 4.25,
    }
  }
  return {
    ...common,
    calling: '07700 900417',
    called: '+447700900418',
    calling_name: 'Xanthippe Quagmire',
    billable_seconds: secondsOf(record),
    disposition: 'ANSWERED',
    source_ip: '203.0.113.77',
    codec: 'PCMA',
    location: 'torture-canary place',
  }
}

/** What may be in no output, in no log and on no disk in clear. */
export const CANARIES: readonly string[] = [
  'torture-canary',
  '7700900417',
  '7700900418',
  '7700 900417',
  'Xanthippe',
  'Quagmire',
  '203.0.113.77',
  '00:00:5E:00:53:7F',
  '00005e00537f',
]
