/** What is sent to an Asterisk: actions, and the key of its MD5 log-in. */
import { createHash } from 'node:crypto'

/**
 * Classes of events that are asked for: `cdr` and `reporting` are enough for calls and quality; the others complete
 * them.
 */
export const EVENT_MASK = 'cdr,reporting,call,system'

/** The events that are of use, as one regular expression: Asterisk's `Filter` action then sends no others. */
export const EVENT_FILTER = 'Event: (Cdr|CEL|Hangup|RTCPSent|RTCPReceived|ContactStatus|PeerStatus)'

/**
 * An action's bytes.
 * @throws TypeError for a value that would begin a line of its own: settings are checked before they come here
 */
export function encodeAction(action: string, id: string, fields: Readonly<Record<string, string>>): string {
  let text = `Action: ${action}\r\nActionID: ${id}\r\n`
  for (const [key, value] of Object.entries(fields)) {
    if (/[\r\n]/.test(value)) throw new TypeError(`${key} holds a line end`)
    text += `${key}: ${value}\r\n`
  }
  return `${text}\r\n`
}

/** What a log-in by challenge answers (Asterisk's `AuthType: MD5`). The protocol has no better. */
export function challengeKey(challenge: string, secret: string): string {
  return createHash('md5')
    .update(challenge + secret)
    .digest('hex')
}
