/**
 * Captured SIP as HEP3 frames, as Kamailio's `siptrace` sends them: whole calls, many at once, each packet of realistic
 * size.
 */
import { ID_DIGITS, Template } from './template.js'

/** INVITE, 100, 180, 200, ACK, BYE, 200. */
export const PACKETS_OF_CALL = 7

/** How many calls begin until a call goes on with its next packets. */
const RINGS_AFTER = 8
const ANSWERED_AFTER = 64
const OVER_AFTER = 512

const PHONE = '192.0.2.10'
const PBX = '198.51.100.7'
const FROM = '"Extension 1004" <sip:+447700900{{calling:3}}@pbx.example>;tag=a{{id:9}}'
const TO = '<sip:02079460{{called:3}}@pbx.example;user=phone>'
const CALL_ID = `Call-ID: 3c26{{id:${ID_DIGITS}}}-7b4e2a@${PHONE}`
const VIA = [
  `Via: SIP/2.0/UDP ${PBX}:5060;branch=z9hG4bK5d9f.{{id:9}}a17c0e2.0;i=1`,
  `Via: SIP/2.0/UDP ${PHONE}:5060;received=${PHONE};branch=z9hG4bK-{{id:9}};rport=5060`,
]
const CONTACT = `Contact: <sip:1004@${PHONE}:5060;transport=udp;line={{id:9}}>`
const USER_AGENT = 'User-Agent: Yealink SIP-T46S 66.85.0.5'
const ALLOW =
  'Allow: INVITE, INFO, PRACK, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REGISTER, SUBSCRIBE, REFER, PUBLISH, UPDATE, MESSAGE'
const SDP = [
  'v=0',
  `o=- 20083 20083 IN IP4 ${PHONE}`,
  's=SDP data',
  `c=IN IP4 ${PHONE}`,
  't=0 0',
  'm=audio 11790 RTP/AVP 9 8 0 18 101',
  'a=rtpmap:9 G722/8000',
  'a=rtpmap:8 PCMA/8000',
  'a=rtpmap:0 PCMU/8000',
  'a=rtpmap:18 G729/8000',
  'a=fmtp:18 annexb=no',
  'a=rtpmap:101 telephone-event/8000',
  'a=fmtp:101 0-15',
  'a=ptime:20',
  'a=sendrecv',
  '',
].join('\r\n')

function message(first: string, toTag: boolean, cseq: string, more: readonly string[], body = ''): string {
  return [
    first,
    ...VIA,
    `From: ${FROM}`,
    `To: ${TO}${toTag ? ';tag=b{{id:9}}' : ''}`,
    CALL_ID,
    `CSeq: ${cseq}`,
    'Max-Forwards: 69',
    ...more,
    ...(body === '' ? [] : ['Content-Type: application/sdp']),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}

const TARGET = 'sip:02079460{{called:3}}@pbx.example;user=phone'
const ANSWER = 'sip:02079460{{called:3}}@198.51.100.40:5060;transport=udp'

interface Kind {
  readonly text: string
  /** By the phone, else to it. */
  readonly out: boolean
  /** After the INVITE, ms. */
  readonly afterMs: number
}

/** In the order of a call. */
const KINDS: readonly Kind[] = [
  {
    text: message(
      `INVITE ${TARGET} SIP/2.0`,
      false,
      '1 INVITE',
      [
        CONTACT,
        USER_AGENT,
        ALLOW,
        'Supported: replaces, timer',
        'Session-Expires: 1800',
        'Allow-Events: talk,hold,conference,refer,check-sync',
      ],
      SDP,
    ),
    out: true,
    afterMs: 0,
  },
  {
    text: message('SIP/2.0 100 trying -- your call is important to us', false, '1 INVITE', [
      'Server: kamailio (5.7.4 (x86_64/linux))',
    ]),
    out: false,
    afterMs: 5,
  },
  {
    text: message('SIP/2.0 180 Ringing', true, '1 INVITE', [`Contact: <${ANSWER}>`, 'Server: carrier', ALLOW]),
    out: false,
    afterMs: 900,
  },
  {
    text: message(
      'SIP/2.0 200 OK',
      true,
      '1 INVITE',
      [`Contact: <${ANSWER}>`, 'Server: carrier', ALLOW, 'Supported: timer'],
      SDP,
    ),
    out: false,
    afterMs: 8000,
  },
  { text: message(`ACK ${ANSWER} SIP/2.0`, true, '1 ACK', [CONTACT, USER_AGENT]), out: true, afterMs: 8040 },
  {
    text: message(`BYE ${ANSWER} SIP/2.0`, true, '2 BYE', [
      CONTACT,
      USER_AGENT,
      'Reason: Q.850;cause=16;text="Normal call clearing"',
    ]),
    out: true,
    afterMs: 61_000,
  },
  { text: message('SIP/2.0 200 OK', true, '2 BYE', ['Server: carrier']), out: false, afterMs: 61_030 },
]
const [INVITE, TRYING, RINGING, OK, ACK, BYE, BYE_OK] = KINDS.keys()
const LAST_MS = 61_030

const HEADER_BYTES = 6
const u = (bytes: 1 | 2 | 4, value: number): Buffer => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntBE(value, 0, bytes)
  return buffer
}

function chunk(type: number, value: Buffer): Buffer {
  return Buffer.concat([u(2, 0), u(2, type), u(2, value.length + HEADER_BYTES), value])
}

class FrameTemplate {
  readonly length: number
  readonly #head: Buffer
  readonly #secondsAt: number
  readonly #microsAt: number
  readonly #payload: Template

  constructor({ text, out }: Kind) {
    const [source, destination] = (out ? [PHONE, PBX] : [PBX, PHONE]).map((ip) =>
      Buffer.from(ip.split('.').map(Number)),
    )
    this.#payload = new Template(text, ['id', 'calling', 'called'])
    const before = [
      chunk(1, u(1, 2)),
      chunk(2, u(1, 17)),
      chunk(3, source),
      chunk(4, destination),
      chunk(7, u(2, 5060)),
      chunk(8, u(2, 5060)),
    ]
    const times = [chunk(9, u(4, 0)), chunk(10, u(4, 0))]
    const after = [chunk(11, u(1, 1)), chunk(12, u(4, 101))]
    const { length } = this.#payload.bytes
    const chunks = Buffer.concat([...before, ...times, ...after, u(2, 0), u(2, 15), u(2, length + HEADER_BYTES)])
    this.length = HEADER_BYTES + chunks.length + length
    this.#head = Buffer.concat([Buffer.from('HEP3'), u(2, this.length), chunks])
    this.#secondsAt = HEADER_BYTES + Buffer.concat(before).length + HEADER_BYTES
    this.#microsAt = this.#secondsAt + 4 + HEADER_BYTES
  }

  append(into: Buffer, at: number, id: number, atMs: number): number {
    this.#head.copy(into, at)
    into.writeUInt32BE(Math.floor(atMs / 1000), at + this.#secondsAt)
    into.writeUInt32BE((atMs % 1000) * 1000, at + this.#microsAt)
    return this.#payload.append(into, at + this.#head.length, [id, id % 1000, (id * 7) % 1000])
  }
}

/** Frames of whole calls, as they come from a PBX that has many of them at once. */
export class Captures {
  readonly #frames = KINDS.map((kind) => new FrameTemplate(kind))
  /** Octets of a call's frames. */
  readonly callBytes = this.#frames.reduce((sum, frame) => sum + frame.length, 0)

  /** @param nowMs no packet was captured later */
  readonly #nowMs: number

  constructor(nowMs: number) {
    this.#nowMs = nowMs
  }

  /** The frames of so many calls, back to back; their names begin with `first`. */
  of(first: number, calls: number): Buffer {
    const bytes = Buffer.allocUnsafe(calls * this.callBytes)
    const begins = Math.floor(this.#nowMs) - LAST_MS
    let at = 0
    const add = (kind: number, call: number): void => {
      if (call < 0 || call >= calls) return
      at = this.#frames[kind].append(bytes, at, first + call, begins + KINDS[kind].afterMs)
    }
    for (let i = 0; i < calls + OVER_AFTER; i++) {
      add(INVITE, i)
      add(TRYING, i)
      add(RINGING, i - RINGS_AFTER)
      add(OK, i - ANSWERED_AFTER)
      add(ACK, i - ANSWERED_AFTER)
      add(BYE, i - OVER_AFTER)
      add(BYE_OK, i - OVER_AFTER)
    }
    return bytes
  }
}
