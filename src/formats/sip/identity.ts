/**
 * What a SIP message is known by, whichever way it comes: from a phone, from a proxy that hands it on or sends a copy,
 * and as a capture (HEP) of any of those. A proxy adds and rewrites headers (Via, Route, Contact behind NAT), so an
 * identity is made of what it must leave alone.
 *
 * The texts are names for {@link Inlet.put}, which keeps a keyed hash of them and nothing else. They hold Call-IDs and
 * parties, so they go nowhere else.
 */
import { addressOf, paramsOf, uriOf } from './address.js'
import type { SipMessage } from './message.js'
import type { VqReport } from './vq-rtcpxr.js'

/** What these names are unique in: a message has one, whether HEP or SIP brings it. */
export const SIP_IDENTITIES = 'sip-message'

/**
 * A registration: Call-ID and CSeq, which RFC 3261 §10.2 makes another for each request of a phone; its From tag, since
 * a phone that starts anew may count from 1 again; and whom it registers.
 */
export function registerIdentity(message: SipMessage): string {
  const from = message.header('from') ?? ''
  const cseq = message.cseq
  return [
    'register',
    message.callId,
    cseq === null ? '' : String(cseq.number),
    paramsOf(from.slice(from.lastIndexOf('>') + 1))['tag'] ?? '',
    userOf(message.header('to')),
  ].join('\0')
}

/**
 * The reports of one body: for each what it is about, whose it is and which time it covers. Where a report lacks a call
 * or a time, many may look the same: then it is known by all that it says.
 * @param message what brought them; null where that is not known, as for a report that HEP brings alone
 */
export function reportsIdentity(reports: readonly VqReport[], message: SipMessage | null, body: Uint8Array): string {
  const sender = message === null ? '' : userOf(message.header('from'))
  return ['vq', ...reports.map((report) => reportIdentity(report, sender) ?? bodyIdentity(sender, body))].join('\0')
}

function reportIdentity(report: VqReport, sender: string): string | null {
  const { kind, callId, localParty, remoteParty, fromParty, toParty, localIp, remoteIp } = report
  const [start, end] = [timeOf(report, 'start_ms'), timeOf(report, 'end_ms')]
  if (callId === null || (start === '' && end === '')) return null
  const ends =
    localParty !== null || remoteParty !== null
      ? [localParty, remoteParty]
      : // The dialect in which only the sender tells which of the two it is.
        [fromParty, toParty, sender]
  return [kind, callId, ...ends, localIp, remoteIp, start, end].map((part) => part ?? '').join('\x01')
}

function bodyIdentity(sender: string, body: Uint8Array): string {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
  return `${sender}\x01${text.replace(/[\r\n\0 ]+/g, ' ').trim()}`
}

function timeOf({ local, remote }: VqReport, field: 'start_ms' | 'end_ms'): string {
  return String(local?.[field] ?? remote?.[field] ?? '')
}

function userOf(header: string | null): string {
  const uri = header === null ? undefined : addressOf(header)?.uri
  return uri === undefined ? '' : (uriOf(uri)?.user ?? uri)
}
