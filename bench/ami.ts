/**
 * What an Asterisk says by AMI while calls go through it: RTCP of each leg every five seconds, the end and the record
 * of each call, and phones that register anew. And the server that says it, as far as the client needs one.
 */
import { createHash, randomInt } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { epochMs } from './minim.js'
import { Template } from './template.js'

/** RTCP packets in each direction that a leg has here. */
const REPORTS = 4
/** How many calls begin until a call goes on. */
const STEP = 40
/** Events of a call: RTCP both ways, Hangup, Cdr, ContactStatus. */
export const EVENTS_OF_CALL = 2 * REPORTS + 3
/** Records of a call: a call, its quality, a device. */
export const RECORDS_OF_CALL = 3

export const AMI_USER = 'bench'
export const AMI_SECRET = 'of-the-bench'

const ID = '{{start:10}}.{{id:9}}'
const CHANNEL = 'PJSIP/447700900{{calling:3}}-{{id:8}}'

const CHANNEL_LINES = `Channel: ${CHANNEL}
ChannelState: 6
ChannelStateDesc: Up
CallerIDNum: 447700900{{calling:3}}
CallerIDName: Ada Example
ConnectedLineNum: 02079460{{called:3}}
ConnectedLineName: <unknown>
Language: en
AccountCode: ac{{calling:6}}
Context: internal
Exten: 02079460{{called:3}}
Priority: 1
Uniqueid: ${ID}
Linkedid: ${ID}`

const PHONE = '192.0.2.44:40001'
const PBX = '198.51.100.5:18001'

function rtcp(event: 'RTCPSent' | 'RTCPReceived', n: number): string {
  const sent = event === 'RTCPSent'
  return `Event: ${event}
Privilege: reporting,all
${CHANNEL_LINES}
To: ${sent ? PHONE : PBX}
From: ${sent ? PBX : PHONE}${sent ? '' : '\nRTT: 0.0412'}
SSRC: ${sent ? '0x1a2b3c4d' : '0x0000beef'}
PT: 200(SR)
ReportCount: 1
SentNTP: {{answer:10}}.${String(100_000 + n * 100).padStart(6, '0')}
SentRTP: ${n * 40_000}
SentPackets: ${n * 250}
SentOctets: ${n * 40_000}
Report0SourceSSRC: ${sent ? '0x0000beef' : '0x1a2b3c4d'}
Report0FractionLost: 0
Report0CumulativeLost: ${n}
Report0HighestSequence: ${1000 + n * 250}
Report0SequenceNumberCycles: 0
Report0IAJitter: ${80 + n}
Report0LSR: 12345
Report0DLSR: 0.5000
`
}

const HANGUP = `Event: Hangup
Privilege: call,all
${CHANNEL_LINES}
Cause: 16
Cause-txt: Normal Clearing
`

const CDR = `Event: Cdr
Privilege: cdr,all
AccountCode: ac{{calling:6}}
Source: 447700900{{calling:3}}
Destination: 02079460{{called:3}}
DestinationContext: internal
CallerID: "Ada Example" <447700900{{calling:3}}>
Channel: ${CHANNEL}
DestinationChannel: PJSIP/trunk-{{id:8}}
LastApplication: Dial
LastData: PJSIP/02079460{{called:3}}@trunk
StartTime: DATE:{{startMinute:2}}:{{second:2}}
AnswerTime: DATE:{{startMinute:2}}:{{answerSecond:2}}
EndTime: DATE:{{endMinute:2}}:{{second:2}}
Duration: 60
BillableSeconds: 55
Disposition: ANSWERED
AMAFlags: DOCUMENTATION
UniqueID: ${ID}
UserField: 
LinkedID: ${ID}
sipcallid: 3c26{{id:9}}-7b@192.0.2.44
`

const CONTACT_STATUS = `Event: ContactStatus
Privilege: system,all
URI: sip:447700900{{calling:3}}@192.0.2.44:5060;transport=UDP
ContactStatus: Updated
AOR: 447700900{{calling:3}}
EndpointName: 447700900{{calling:3}}
RoundtripUsec: 12000
`

const HOUR_MS = 3_600_000

/** The events of so many calls. @param nowMs all of them have ended before */
export function amiEvents(calls: number, nowMs: number): Buffer {
  const hourMs = (Math.floor(nowMs / HOUR_MS) - 1) * HOUR_MS
  const hour = new Date(hourMs).toISOString().slice(0, 13).replace('T', ' ')
  const template = (text: string): Template =>
    new Template(`${text}\n`.replaceAll('DATE', hour).replaceAll('\n', '\r\n'), [
      'id',
      'calling',
      'called',
      'start',
      'answer',
      'startMinute',
      'endMinute',
      'second',
      'answerSecond',
    ])
  const reports = Array.from({ length: REPORTS }, (_, n) => [
    template(rtcp('RTCPSent', n + 1)),
    template(rtcp('RTCPReceived', n + 1)),
  ])
  const ends = [template(HANGUP), template(CDR), template(CONTACT_STATUS)]
  const callBytes = [...reports.flat(), ...ends].reduce((sum, { bytes }) => sum + bytes.length, 0)
  const bytes = Buffer.allocUnsafe(calls * callBytes)
  let at = 0
  const add = (events: readonly Template[], call: number): void => {
    if (call < 0 || call >= calls) return
    const [minute, second] = [Math.floor(call / 50) % 58, call % 50]
    const start = hourMs / 1000 + minute * 60 + second
    const values = [call, call % 1000, (call * 7) % 1000, start, start + 5, minute, minute + 1, second, second + 5]
    for (const event of events) at = event.append(bytes, at, values)
  }
  for (let i = 0; i < calls + REPORTS * STEP; i++) {
    reports.forEach((pair, n) => {
      add(pair, i - n * STEP)
    })
    add(ends, i - REPORTS * STEP)
  }
  return bytes
}

/** A manager interface that lets one client log in, and then says what it was given as fast as it is read. */
export class AmiServer {
  readonly #server: Server
  #socket: Socket | null = null
  #ready: () => void = () => undefined
  /** Resolves when the client has asked for all that it asks for at the beginning. */
  readonly listening = new Promise<void>((resolve) => {
    this.#ready = resolve
  })

  private constructor() {
    this.#server = createServer((socket) => {
      this.#serve(socket)
    })
  }

  static async start(): Promise<AmiServer> {
    const ami = new AmiServer()
    await new Promise<void>((resolve) => {
      ami.#server.listen(0, '127.0.0.1', resolve)
    })
    return ami
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Sends events. @returns when it began, ms since 1970 */
  async send(events: Buffer): Promise<number> {
    const socket = this.#socket
    if (socket === null) throw new Error('nobody is logged in')
    const began = epochMs()
    await writeAll(socket, events)
    return began
  }

  close(): void {
    this.#socket?.destroy()
    this.#server.close()
  }

  #serve(socket: Socket): void {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.write('Asterisk Call Manager/9.0.0\r\n')
    let text = ''
    let challenge = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const action = new Map(
          text
            .slice(0, end)
            .split('\r\n')
            .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
        )
        text = text.slice(end + 4)
        const answer = (response: string, more = ''): void => {
          socket.write(`Response: ${response}\r\nActionID: ${action.get('actionid') ?? ''}\r\n${more}\r\n`)
        }
        const name = action.get('action')
        if (name === 'Challenge') {
          challenge = String(randomInt(1e8, 1e9))
          answer('Success', `Challenge: ${challenge}\r\n`)
        } else if (name === 'Login') {
          answer(
            action.get('key') ===
              createHash('md5')
                .update(challenge + AMI_SECRET)
                .digest('hex')
              ? 'Success'
              : 'Error',
          )
        } else if (name === 'PJSIPShowContacts') {
          // Phones of another channel driver: nothing to list.
          answer('Error', 'Message: No Contacts found\r\n')
          this.#ready()
        } else answer('Success')
      }
    })
  }
}

/** Octets that are written at once. */
const PIECE_BYTES = 262_144

/** Writes as fast as the other end reads. */
export async function writeAll(socket: Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    await new Promise<void>((resolve, reject) => {
      socket.write(bytes.subarray(at, at + PIECE_BYTES), (error) => {
        if (error) reject(error)
        else resolve()
      })
    })
  }
}
