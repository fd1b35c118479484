/** What AMI says that no record has a field for: left, and counted by its kind. */
import t from 'tap'
import { type Event, tell } from './events.js'

const CDR = {
  Event: 'Cdr',
  Destination: '1001',
  CallerID: '"Ann" <447700900123>',
  Channel: 'PJSIP/447700900123-1',
  StartTime: '2026-11-24 13:20:00',
  Disposition: 'ANSWERED',
  UniqueID: '1795526400.1',
}
const LEG = { Channel: 'PJSIP/447700900123-1', Uniqueid: '1795526400.1' }

const CASES: readonly {
  readonly name: string
  readonly event: Event
  readonly left: Readonly<Record<string, number>>
}[] = [
  { name: 'keys that were pressed', event: { Event: 'DTMFEnd', ...LEG, Digit: 7 }, left: { dtmf: 1 } },
  { name: 'the same, of old', event: { Event: 'DTMF', ...LEG, Digit: 7 }, left: { dtmf: 1 } },
  { name: 'a recording that begins', event: { Event: 'MixMonitorStart', ...LEG }, left: { recording: 1 } },
  { name: 'a voice message', event: { Event: 'MessageWaiting', Mailbox: '1001@x' }, left: { voicemail: 1 } },
  {
    name: "a call record's last application",
    event: { ...CDR, LastApplication: 'VoiceMail', LastData: '1001@x,u' },
    left: { voicemail: 1 },
  },
  {
    name: 'a recording application',
    event: { ...CDR, LastApplication: 'MixMonitor', LastData: '/a/b.wav' },
    left: { recording: 1 },
  },
  { name: 'a text', event: { ...CDR, LastApplication: 'SendText', LastData: 'come home' }, left: { message: 1 } },
  { name: 'digits', event: { ...CDR, LastApplication: 'SendDTMF', LastData: '1234#' }, left: { dtmf: 1 } },
  {
    name: 'a column for recordings',
    event: { ...CDR, recordingfile: 'out-447700900123-20261124' },
    left: { recording: 1 },
  },
  {
    name: 'a file of sound in any column',
    event: { ...CDR, UserField: 'audio:/spool/447700900123.WAV' },
    left: { recording: 1 },
  },
  {
    name: 'a variable',
    event: { Event: 'VarSet', Variable: 'MIXMONITOR_FILENAME', Value: '/a/b.wav' },
    left: { recording: 1 },
  },
  {
    name: "another's name",
    event: { Event: 'Hangup', ...LEG, ConnectedLineName: 'Ann Example', Cause: 16 },
    left: { name: 1 },
  },
  {
    name: 'a name of a leg',
    event: { Event: 'RTCPSent', ...LEG, CallerIDName: 'Ann', ReportCount: 0 },
    left: { name: 1 },
  },
  { name: 'no name', event: { Event: 'Hangup', ...LEG, CallerIDName: '<unknown>', ConnectedLineName: '' }, left: {} },
  {
    name: 'an empty column',
    event: { ...CDR, recordingfile: '', LastApplication: 'Dial', LastData: 'PJSIP/1001' },
    left: {},
  },
]

t.test('content that is left is counted', async (t) => {
  for (const { name, event, left } of CASES) t.same(tell([event]).left, left, name)
})

t.test('a key that never ends costs no time', async (t) => {
  const began = performance.now()
  tell([{ ...CDR, ['recording'.repeat(7000)]: 'x' }])
  t.ok(performance.now() - began < 500)
})
