/**
 * Batches and canaries for the end-to-end tests. Numbers, addresses and MACs are of the ranges reserved for
 * documentation.
 */
import { catalogue } from '../../src/catalogue/catalogue.js'

const batchType = catalogue().root.lookupType('minim.v1.Batch')

/** Encoded fields 4, 5 and 6 of a `Batch`. */
export function records(of: {
  readonly calls?: readonly object[]
  readonly qualities?: readonly object[]
  readonly devices?: readonly object[]
}): Buffer {
  return Buffer.from(batchType.encode(batchType.fromObject(of)).finish())
}

/** A field of a `Batch` with bytes of one's own. */
export function field(number: number, bytes: Uint8Array): Buffer {
  if (bytes.length > 127) throw new RangeError('too long for one octet')
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes])
}

/** A batch as `minim load --format protobuf` takes it. */
export function delimited(batch: Uint8Array): Buffer {
  const head: number[] = []
  let rest = batch.length
  for (; rest >= 128; rest >>>= 7) head.push((rest & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([...head, rest]), batch])
}

/** A plain good call, some minutes ago. */
export function call(n: number, over: object = {}): Record<string, unknown> {
  return {
    account: `acct-${n % 7}`,
    call_id: `plain-call-${n}`,
    calling: '1001',
    called: `+447700900${String(n % 400).padStart(3, '0')}`,
    start_ms: Date.now() - 600_000 - n,
    duration_seconds: 30,
    billable_seconds: 20,
    disposition: 'ANSWERED',
    hangup_cause: 16,
    ...over,
  }
}

/** What must come out nowhere. Of numbers the digits that all their notations share. */
export const CANARIES: readonly string[] = [
  '7700900417',
  '2079460918',
  '2025550142',
  'Xanthippe',
  'Quagmire',
  '203.0.113.77',
  '2001:db8:cafe:77::9',
  '2001:0db8:cafe:0077',
  '00:00:5e:00:53:7f',
  '00005e00537f',
  '0000.5e00.537f',
  '00-00-5e-00-53-7f',
  'canary-account',
  'canary-call',
  'canary-serial',
  'canary-place',
  'canary-node-text',
]

/** The same person in all the notations that sources write. */
export const NOTATIONS: readonly string[] = [
  '+447700900417',
  '+44 7700 900417',
  '00447700900417',
  '07700900417',
  '(07700) 900-417',
  'tel:+44-7700-900-417',
  'sip:+447700900417@203.0.113.77',
  '"Xanthippe Quagmire" <sip:07700900417@pbx.example;user=phone>',
  'sip:%2B447700900417@pbx.example',
]

/** A call whose every text is a canary. */
export function canaryCall(n: number, over: object = {}): Record<string, unknown> {
  return {
    account: 'canary-account',
    call_id: `canary-call-${n}@203.0.113.77`,
    linked_id: `canary-call-${n}`,
    calling: NOTATIONS[n % NOTATIONS.length],
    called: ['+442079460918', '020 7946 0918', '+12025550142'][n % 3],
    calling_name: 'Xanthippe Quagmire',
    location: 'canary-place 7, 07700 900417',
    start_ms: Date.now() - 600_000,
    answer_ms: Date.now() - 590_000,
    end_ms: Date.now() - 560_000,
    duration_seconds: 40,
    billable_seconds: 30,
    disposition: 'ANSWERED',
    hangup_cause: 16,
    trunk: 'line-+447700900417',
    source_ip: '203.0.113.77',
    destination_ip: '2001:db8:cafe:77::9',
    codec: '07700900417',
    user_agent: 'Yealink SIP-T46S 66.85.0.5 00005e00537f',
    usage_octets: 1_000_000,
    mac: '00:00:5E:00:53:7F',
    ...over,
  }
}

export function canaryQuality(n: number): Record<string, unknown> {
  return {
    account: 'canary-account',
    call_id: `canary-call-${n}@203.0.113.77`,
    local_party: NOTATIONS[n % NOTATIONS.length],
    remote_party: '+442079460918',
    start_ms: Date.now() - 600_000,
    mos_lq: 4.2,
    jitter_ms: 3.5,
    loss_percent: 0.1,
    codec: 'canary-node-text',
    local_ip: '203.0.113.77',
    remote_ip: '2001:db8:cafe:77::9',
    user_agent: 'PolycomVVX-VVX_410-UA/5.9.5.0614_00005e00537f',
    mac: '0000.5e00.537f',
  }
}

export function canaryDevice(n: number): Record<string, unknown> {
  return {
    account: 'canary-account',
    party: NOTATIONS[n % NOTATIONS.length],
    start_ms: Date.now() - 600_000,
    mac: '00-00-5E-00-53-7F',
    serial: 'canary-serial-17',
    vendor: 'Yealink',
    model: 'T46S 07700900417',
    firmware: 'canary-node-text',
    os: 'canary-node-text',
    browser: 'canary-node-text',
    user_agent: 'Yealink SIP-T46S 66.85.0.5 00:00:5e:00:53:7f',
    contact_ip: '203.0.113.77',
    contact_port: 5060,
    network: 'vlan of Xanthippe',
    wireless: 'ssid Quagmire',
    event: 'REGISTERED',
    expires_seconds: 3600,
  }
}

/** Which canaries are in some bytes: as they are, in any case, and with what people put between digits taken out. */
export function canariesIn(bytes: Uint8Array | string): string[] {
  const text = (typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('latin1')).toLowerCase()
  const packed = text.replace(/(?<=\d)[ ().-]+(?=\d)/g, '')
  // Base64 and UTF-16 would hide them from a plain search.
  const wide = text.replaceAll('\0', '')
  const decoded = (
    text.length < 1 << 20
      ? [
          ...new Set(
            Buffer.from(bytes as string)
              .toString('latin1')
              .match(/[A-Za-z0-9+/_-]{16,}/g) ?? [],
          ),
        ]
      : []
  )
    .map((run) => Buffer.from(run, 'base64').toString('latin1').toLowerCase())
    .join(' ')
  return CANARIES.map((canary) => canary.toLowerCase()).filter((canary) =>
    [text, packed, wide, decoded].some((form) => form.includes(canary)),
  )
}
