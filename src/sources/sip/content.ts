/**
 * Content of communications, and names, that SIP requests hold and no record has a field for. It is left where it is;
 * that it came is counted, by nothing that it says.
 */
import type { LeftContent } from '../../flow/counters.js'
import type { SipHeader, SipMessage } from '../../formats/sip/message.js'

const NAMED: readonly SipHeader[] = ['from', 'to', 'contact', 'p-asserted-identity']
/** `"Name" <…>` or `Name <…>`. */
const DISPLAY_NAME = /^\s*(?:"(?:[^"\\]|\\.)+"|[^<"\s,:][^<",:]*)\s*</
/** RFC 2976's and the usual ones; RFC 4733's as a type, and Nortel's. */
const DTMF = /^\s*(?:application\/(?:dtmf|vnd\.nortelnetworks\.digits)|audio\/telephone-event)/i

/** Told of each kind of content once a request. */
export function contentOf(message: SipMessage, left: (content: LeftContent) => void): void {
  const { method } = message
  const hasBody = message.body.length > 0
  if (method === 'MESSAGE' && hasBody) left('message')
  if (method === 'INFO' && hasBody && DTMF.test(message.header('content-type') ?? '')) left('dtmf')
  if (method === 'NOTIFY' && /^\s*message-summary/i.test(message.header('event') ?? '')) left('voicemail')
  if (NAMED.some((header) => DISPLAY_NAME.test(message.header(header) ?? ''))) left('name')
}
