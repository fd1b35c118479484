/**
 * SIP messages to canonical records: REGISTER → `Device`, PUBLISH and NOTIFY of `vq-rtcpxr` and the statistics that a
 * BYE carries → `Quality`, and what a `Call` is put together from. Used by the listener and the drachtio application,
 * and by HEP, which sees the same messages from aside.
 *
 * Nothing is normalised here: URIs, addresses and User-Agents are handed on as they stand. Display names are not handed
 * on at all.
 */
import { parseMac } from '../../normalise/mac.js'
import { userAgent } from '../../normalise/user-agent.js'
import type { FieldValue, RecordFields } from '../record-writer.js'
import { addressesOf, addressOf, ipOf, paramsOf, uriOf } from './address.js'
import type { SipMessage } from './message.js'
import { rtpStatisticsOf } from './rtp-stat.js'
import { readVqRtcpxr, type VqFigures, type VqReport } from './vq-rtcpxr.js'

/** When and from where a message came. */
export interface Seen {
  readonly seenMs: number
  /** Where it came from, if that is its sender and not a proxy. */
  readonly remoteIp?: string | null
}

/** Contacts of one REGISTER that are looked at. */
const MAX_CONTACTS = 8
/** RFC 3261 §20.19: seconds in 32 bits. */
const MAX_EXPIRES = 4_294_967_295

/** Event package, content type of the quality reports (RFC 6035 §4). */
export const VQ_EVENT = 'vq-rtcpxr'
export const VQ_CONTENT_TYPE = 'application/vq-rtcpxr'

/**
 * Devices that a REGISTER request registers or unregisters: one for each contact. None for a query, which has no
 * contact, and for what is no REGISTER.
 */
export function registerToDevice(message: SipMessage, seen: Seen): RecordFields[] {
  if (message.method !== 'REGISTER') return []
  const contacts = message.headers('contact').flatMap(addressesOf).slice(0, MAX_CONTACTS)
  const common = {
    ...deviceIdentity(message),
    party: partyOf(message, 'to') ?? partyOf(message, 'from'),
    start_ms: seen.seenMs,
    user_agent: message.header('user-agent'),
    origin: 'REGISTRATION',
  }
  const expires = seconds(message.header('expires'))
  return contacts.map((contact) => {
    // The contact's own says more than the message's (RFC 3261 §10.2.1.1).
    const expiresSeconds = seconds(contact.params['expires']) ?? expires
    const uri = contact.uri === '*' ? null : uriOf(contact.uri)
    const instance = macOfInstance(contact.params['+sip.instance'])
    return {
      ...common,
      mac: common.mac ?? instance,
      contact_ip: (uri === null ? null : ipOf(uri.host)) ?? (contact.uri === '*' ? null : seen.remoteIp),
      contact_port: uri?.port,
      expires_seconds: expiresSeconds,
      event: expiresSeconds === 0 ? 'UNREGISTERED' : 'REGISTERED',
    }
  })
}

/**
 * Quality records of a PUBLISH or NOTIFY of vq-rtcpxr (RFC 6035): one for each end of each report that has figures.
 * @returns null where the body is no such report
 */
export function publishToQuality(message: SipMessage, seen: Seen): RecordFields[] | null {
  const reports = readVqRtcpxr(message.body)
  return reports === null ? null : vqToQuality(reports, message, seen)
}

/**
 * The same for reports that were read already.
 * @param message what brought them; null where that is not known, as for a report that HEP brings alone
 */
export function vqToQuality(reports: readonly VqReport[], message: SipMessage | null, seen: Seen): RecordFields[] {
  const records: RecordFields[] = []
  const agent = message?.header('user-agent') ?? null
  const identity = message === null ? { mac: null, serial: null } : deviceIdentity(message)
  const sender = message === null ? null : partyOf(message, 'from')
  for (const report of reports) {
    const { local, remote } = ends(report, sender)
    const direction = directionOf(report.origParty, local, remote)
    const start = report.local?.['start_ms'] ?? report.remote?.['start_ms']
    const end = report.local?.['end_ms'] ?? report.remote?.['end_ms']
    if (hasFigures(report.local)) {
      // Written on to: a copy of figures costs more than their reading.
      const record = report.local
      setTimes(record, start, end, seen)
      setEnds(record, report.callId, local, remote, report.localIp, report.remoteIp, direction)
      record['mac'] = parseMac(report.localMac ?? '') ?? identity.mac
      record['user_agent'] = agent
      records.push(record)
    }
    if (hasFigures(report.remote)) {
      // What the other end measured: its record has the ends the other way round, and nothing of the sender's device.
      const record = report.remote
      setTimes(record, start, end, seen)
      setEnds(
        record,
        report.callId,
        remote,
        local,
        report.remoteIp,
        report.localIp,
        direction === null ? null : direction === 'INBOUND' ? 'OUTBOUND' : 'INBOUND',
      )
      record['mac'] = parseMac(report.remoteMac ?? '')
      records.push(record)
    }
  }
  return records
}

/** In Poly's dialect the reporting end is the one that the message comes from; the other is the other. */
function ends(
  { localParty, remoteParty, fromParty, toParty }: VqReport,
  sender: string | null,
): { local: string | null; remote: string | null } {
  if (localParty !== null || remoteParty !== null) return { local: localParty, remote: remoteParty }
  const own = sender === null ? '' : (uriOf(sender)?.user ?? '')
  const isOwn = (party: string | null): boolean => own !== '' && party !== null && uriOf(party)?.user === own
  return isOwn(toParty) && !isOwn(fromParty)
    ? { local: toParty, remote: fromParty }
    : { local: fromParty, remote: toParty }
}

function directionOf(orig: string | null, local: string | null, remote: string | null): 'OUTBOUND' | 'INBOUND' | null {
  if (orig === null || local === remote) return null
  return orig === local ? 'OUTBOUND' : orig === remote ? 'INBOUND' : null
}

const NOT_MEASURED: ReadonlySet<string> = new Set(['start_ms', 'end_ms', 'codec'])

function hasFigures(figures: VqFigures | null): figures is VqFigures {
  if (figures !== null) for (const name in figures) if (!NOT_MEASURED.has(name)) return true
  return false
}

function setTimes(record: VqFigures, start: FieldValue, end: FieldValue, { seenMs }: Seen): void {
  // A report without a usable time is of the moment in which it came.
  const startMs = typeof start === 'number' ? start : seenMs
  const ended = typeof start === 'number' && typeof end === 'number' && end >= start
  record['start_ms'] = startMs
  record['end_ms'] = ended ? end : null
  record['duration_seconds'] = ended ? Math.round((end - startMs) / 1000) : null
}

type Party = string | null

function setEnds(
  record: VqFigures,
  callId: string | null,
  local: Party,
  remote: Party,
  localIp: string | null,
  remoteIp: string | null,
  direction: string | null,
): void {
  record['call_id'] = callId
  record['local_party'] = local
  record['remote_party'] = remote
  record['local_ip'] = localIp
  record['remote_ip'] = remoteIp
  record['direction'] = direction
  record['origin'] = 'REPORT'
}

function partyOf(message: SipMessage, name: 'from' | 'to' | 'p-asserted-identity'): string | null {
  const value = message.header(name)
  return value === null ? null : (addressOf(value)?.uri ?? null)
}

function seconds(text: string | null | undefined): number | null {
  if (text === null || text === undefined || !/^\d{1,10}$/.test(text)) return null
  return Math.min(Number(text), MAX_EXPIRES)
}

/**
 * MAC and serial number where vendors put them: Fanvil `Mac`, snom `X-Serialnumber`, Linksys `P-Station-Name`, and
 * User-Agents.
 */
function deviceIdentity(message: SipMessage): { readonly mac: string | null; readonly serial: string | null } {
  const station = message.header('p-station-name')
  const serial = message.header('x-serialnumber')
  const agent = message.header('user-agent')
  const named = agent === null ? null : userAgent(agent)
  return {
    mac:
      parseMac(message.header('mac') ?? '') ??
      (station === null ? null : parseMac(paramsOf(station)['mac'] ?? '')) ??
      // A snom's serial number is its MAC address.
      parseMac(serial ?? '') ??
      named?.mac ??
      null,
    serial: (serial !== null && /^[A-Za-z0-9-]{4,32}$/.test(serial) ? serial : null) ?? named?.serial ?? null,
  }
}

/** A UUID of version 1 (RFC 9562 §5.1) with that RFC's variant (§4.1), and its node. */
const CLOCK_UUID = /^<?\s{0,8}urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-([0-9a-f]{12})\s{0,8}>?$/i

/**
 * The MAC address in a `+sip.instance` (RFC 5626 §4.1): the node of a UUID that was made of the clock and it. Phones
 * write UUIDs of all kinds there, and a MAC address that is made of random digits would be somebody else's. Nodes with
 * the multicast bit are random numbers (RFC 9562 §6.10); with the bit of local administration they are made up, or a
 * privacy address that changes.
 */
function macOfInstance(instance: string | undefined): string | null {
  const node = CLOCK_UUID.exec(instance ?? '')?.[1]
  if (node === undefined || /^0{12}$/.test(node)) return null
  return (parseInt(node.slice(0, 2), 16) & 3) !== 0 ? null : parseMac(node)
}

/** What an INVITE says of its call. Strings are copies: they may outlive the message. */
export interface Invite {
  readonly callId: string
  readonly calling: string | null
  readonly called: string | null
  readonly userAgent: string | null
  /** Within a dialogue: a re-INVITE, which begins no call. */
  readonly again: boolean
}

/** The call that an INVITE asks for; null for what is none. */
export function inviteOf(message: SipMessage): Invite | null {
  if (message.method !== 'INVITE') return null
  const callId = message.callId
  if (callId === '') return null
  const to = message.header('to')
  const toAddress = to === null ? null : addressOf(to)
  return {
    callId,
    // The identity that a trusted network vouches for (RFC 3325) before what the caller says of itself.
    calling: partyOf(message, 'p-asserted-identity') ?? partyOf(message, 'from'),
    called: toAddress?.uri ?? message.uri,
    userAgent: message.header('user-agent'),
    again: (toAddress?.params['tag'] ?? '') !== '',
  }
}

/** How calls end, as `Call.disposition` says it. */
export type SipDisposition = 'ANSWERED' | 'NO_ANSWER' | 'BUSY' | 'FAILED' | 'CONGESTION' | 'CANCELLED'

/**
 * What a final answer to an INVITE makes of the call; null for a provisional one, and for one that only asks for
 * credentials or a retry.
 */
export function dispositionOf(status: number): SipDisposition | null {
  if (status < 200 || status === 401 || status === 407 || status === 422 || status === 491) return null
  if (status < 300) return 'ANSWERED'
  switch (status) {
    case 486:
    case 600:
      return 'BUSY'
    case 487:
      return 'CANCELLED'
    case 408:
    case 480:
      return 'NO_ANSWER'
    case 500:
    case 503:
      return 'CONGESTION'
    default:
      return 'FAILED'
  }
}

/** Q.850 causes of SIP's answers (RFC 3398 §8.2.6.1, the other way round: §7.2.4.1). */
const CAUSES: Readonly<Record<number, number>> = {
  400: 41,
  401: 21,
  402: 21,
  403: 21,
  404: 1,
  405: 63,
  406: 79,
  407: 21,
  408: 102,
  410: 22,
  413: 127,
  414: 127,
  415: 79,
  416: 127,
  420: 127,
  421: 127,
  423: 127,
  480: 18,
  481: 41,
  482: 25,
  483: 25,
  484: 28,
  485: 1,
  486: 17,
  487: 31,
  488: 31,
  500: 41,
  501: 79,
  502: 38,
  503: 41,
  504: 102,
  505: 127,
  513: 127,
  600: 17,
  603: 21,
  604: 1,
  606: 31,
}

/**
 * The Q.850 cause that a message gives: its Reason header's (RFC 3326), or for a final answer of failure the one that
 * gateways make of it.
 */
export function causeOf(message: SipMessage): number | null {
  for (const value of message.headers('reason')) {
    const found = /(?:^|,)\s{0,8}Q\.850\s{0,8};(?:[^,]{0,200};)?\s{0,8}cause\s{0,8}=\s{0,8}(\d{1,3})/i.exec(value)
    if (found !== null && Number(found[1]) >= 1 && Number(found[1]) <= 127) return Number(found[1])
  }
  return CAUSES[message.status] ?? null
}

/**
 * The quality record of a BYE, or of its answer, that carries statistics.
 * @param call what else is known: the call's start, which a BYE does not say; without it the record is of the moment in
 * which it came
 */
export function statisticsToQuality(
  message: SipMessage,
  seen: Seen,
  call: { readonly startMs?: number | null; readonly localIp?: string | null; readonly remoteIp?: string | null } = {},
): RecordFields | null {
  const statistics = rtpStatisticsOf(message)
  if (statistics === null) return null
  const duration = statistics['duration_seconds']
  // Who sends BYE is its From; who answers it is its To (RFC 3261 §12.2.1.1).
  const isRequest = message.method !== null
  return {
    ...statistics,
    call_id: message.callId,
    local_party: partyOf(message, isRequest ? 'from' : 'to'),
    remote_party: partyOf(message, isRequest ? 'to' : 'from'),
    start_ms: call.startMs ?? (typeof duration === 'number' ? seen.seenMs - duration * 1000 : seen.seenMs),
    end_ms: seen.seenMs,
    duration_seconds:
      call.startMs !== undefined && call.startMs !== null
        ? Math.max(0, Math.round((seen.seenMs - call.startMs) / 1000))
        : duration,
    local_ip: statistics['local_ip'] ?? call.localIp,
    remote_ip: statistics['remote_ip'] ?? call.remoteIp,
    user_agent: message.header('user-agent') ?? message.header('server'),
    origin: 'REPORT',
  }
}
