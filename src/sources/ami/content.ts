/**
 * Content of communications, and names, that AMI's events hold and no record has a field for. It is left where it is;
 * that it came is counted, by nothing that it says.
 */
import type { LeftContent } from '../../flow/counters.js'
import type { Stanza } from './stanzas.js'

/** Events that are about nothing else. */
const EVENTS: ReadonlyMap<string, LeftContent> = new Map([
  ['dtmf', 'dtmf'],
  ['dtmfbegin', 'dtmf'],
  ['dtmfend', 'dtmf'],
  ['mixmonitorstart', 'recording'],
  ['mixmonitorstop', 'recording'],
  ['mixmonitormute', 'recording'],
  ['monitorstart', 'recording'],
  ['monitorstop', 'recording'],
  ['messagewaiting', 'voicemail'],
  ['minivoicemail', 'voicemail'],
  ['voicemailuserentry', 'voicemail'],
])

/** Applications whose data a call record repeats. */
const APPLICATIONS: ReadonlyMap<string, LeftContent> = new Map([
  ['mixmonitor', 'recording'],
  ['monitor', 'recording'],
  ['record', 'recording'],
  ['dictate', 'recording'],
  ['voicemail', 'voicemail'],
  ['voicemailmain', 'voicemail'],
  ['minivmrecord', 'voicemail'],
  ['minivmnotify', 'voicemail'],
  ['senddtmf', 'dtmf'],
  ['read', 'dtmf'],
  ['sendtext', 'message'],
  ['messagesend', 'message'],
  ['jabbersend', 'message'],
  ['sms', 'message'],
])

/** A column that is called after a recording and holds something. */
const RECORDING_COLUMN = /^[^:\n]{0,64}(?:recording|mixmonitor|monitor_filename)[^:\n]{0,64}:[ \t]{0,8}\S/im
/** A file of sound, in any column. */
const SOUND_FILE = /\.(?:wav|wav49|gsm|mp3|ogg|opus|ulaw|alaw|sln\d*|g722|g729)\b/i

/** Told of each kind of content once an event. */
export function contentOf(stanza: Stanza, name: string, left: (content: LeftContent) => void): void {
  const event = EVENTS.get(name)
  if (event !== undefined) {
    left(event)
    return
  }
  switch (name) {
    case 'cdr': {
      const application = APPLICATIONS.get(stanza.get('lastapplication').toLowerCase())
      if (application !== undefined && stanza.get('lastdata') !== '') left(application)
      if (application !== 'recording' && (RECORDING_COLUMN.test(stanza.text) || SOUND_FILE.test(stanza.text)))
        left('recording')
      return
    }
    case 'varset': {
      if (/record|monitor_?filename/i.test(stanza.get('variable')) && stanza.get('value') !== '') left('recording')
      return
    }
    case 'cel': {
      const application = APPLICATIONS.get(stanza.get('application').toLowerCase())
      if (application !== undefined && stanza.get('appdata') !== '') left(application)
      break
    }
    case 'hangup':
    case 'rtcpsent':
    case 'rtcpreceived':
      break
    default:
      return
  }
  if (isName(stanza.get('calleridname')) || isName(stanza.get('connectedlinename'))) left('name')
}

/** Asterisk writes `<unknown>` where there is none. */
function isName(text: string): boolean {
  return text !== '' && text !== '<unknown>'
}
