/**
 * HEP3 frames and the SIP in them, as capture agents send them. Addresses and numbers are of the ranges reserved for
 * documentation.
 */
import { isIPv6 } from 'node:net'
import { deflateSync } from 'node:zlib'

/** One chunk; its length can be a wrong one. */
export function chunk(type: number, value: Uint8Array | string, vendor = 0, length?: number): Buffer {
  const bytes = Buffer.from(value as string)
  const head = Buffer.alloc(6)
  head.writeUInt16BE(vendor, 0)
  head.writeUInt16BE(type, 2)
  head.writeUInt16BE(length ?? bytes.length + 6, 4)
  return Buffer.concat([head, bytes])
}

/** A frame of chunks; its length can be a wrong one. */
export function frame(chunks: readonly Uint8Array[], length?: number): Buffer {
  const body = Buffer.concat(chunks)
  const head = Buffer.from('HEP3\0\0')
  head.writeUInt16BE(length ?? body.length + 6, 4)
  return Buffer.concat([head, body])
}

export interface Packet {
  readonly payload: string | Uint8Array
  readonly kind?: number
  /** `address:port`; IPv6 in brackets. */
  readonly from?: string
  readonly to?: string
  readonly atMs?: number
  /** null: it does not say. */
  readonly captureId?: number | null
  readonly key?: string
  readonly correlation?: string
  readonly zlib?: boolean
  /** In the order of Asterisk's `res_hep`, not of Kamailio's `siptrace`. */
  readonly asterisk?: boolean
}

const u = (bytes: 1 | 2 | 4, value: number): Buffer => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeUIntBE(value, 0, bytes)
  return buffer
}

function endpoint(text: string): { ip: Buffer; port: number } {
  const at = text.lastIndexOf(':')
  const host = text.slice(0, at).replace(/^\[|\]$/g, '')
  if (!isIPv6(host)) return { ip: Buffer.from(host.split('.').map(Number)), port: Number(text.slice(at + 1)) }
  const [left, right = ''] = host.split('::')
  const [a, b] = [left, right].map((part) => part.split(':').filter((group) => group !== ''))
  const groups = [...a, ...Array<string>(8 - a.length - b.length).fill('0'), ...b]
  return { ip: Buffer.concat(groups.map((group) => u(2, parseInt(group, 16)))), port: Number(text.slice(at + 1)) }
}

/** A whole frame. */
export function hep({
  payload,
  kind = 1,
  from = '192.0.2.10:5060',
  to = '192.0.2.1:5060',
  atMs,
  captureId = 7,
  key,
  correlation,
  zlib = false,
  asterisk = false,
}: Packet): Buffer {
  const [source, destination] = [endpoint(from), endpoint(to)]
  const six = source.ip.length === 16
  const addresses = [chunk(six ? 5 : 3, source.ip), chunk(six ? 6 : 4, destination.ip)]
  const ports = [chunk(7, u(2, source.port)), chunk(8, u(2, destination.port))]
  const time =
    atMs === undefined ? [] : [chunk(9, u(4, Math.floor(atMs / 1000))), chunk(10, u(4, (atMs % 1000) * 1000))]
  const what = [chunk(11, u(1, kind)), ...(captureId === null ? [] : [chunk(12, u(4, captureId))])]
  const rest = [
    ...(key === undefined ? [] : [chunk(14, key)]),
    ...(correlation === undefined ? [] : [chunk(17, correlation)]),
  ]
  const body = chunk(zlib ? 16 : 15, zlib ? deflateSync(payload) : payload)
  const family = [chunk(1, u(1, six ? 10 : 2)), chunk(2, u(1, 17))]
  return asterisk
    ? frame([...family, ...ports, ...time, ...what, ...addresses, ...rest, body])
    : frame([...family, ...addresses, ...ports, ...time, ...what, ...rest, body])
}

export interface Message {
  readonly callId: string
  readonly cseq?: number
  readonly method?: string
  readonly from?: string
  readonly to?: string
  readonly toTag?: string
  readonly headers?: readonly string[]
  readonly body?: string
}

function message(
  first: string,
  {
    callId,
    cseq = 1,
    method = 'INVITE',
    from = 'sip:1001@pbx.example',
    to = 'sip:+447700900123@pbx.example',
    toTag,
    headers = [],
    body = '',
  }: Message,
): string {
  return [
    first,
    'Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-1',
    `From: "Caller" <${from}>;tag=a1`,
    `To: <${to}>${toTag === undefined ? '' : `;tag=${toTag}`}`,
    `Call-ID: ${callId}`,
    `CSeq: ${cseq} ${method}`,
    'Max-Forwards: 70',
    ...headers,
    `Content-Length:   ${Buffer.byteLength(body)}`,
    '',
    body,
  ].join('\r\n')
}

/** A request. */
export function request(of: Message): string {
  return message(`${of.method ?? 'INVITE'} ${of.to ?? 'sip:+447700900123@pbx.example'} SIP/2.0`, of)
}

/** A response to a request of the same CSeq. */
export function response(status: number, of: Message): string {
  return message(`SIP/2.0 ${status} Whatever`, { toTag: 'b2', ...of })
}

export const SDP = [
  'v=0',
  'o=- 1 1 IN IP4 192.0.2.10',
  's=-',
  'c=IN IP4 192.0.2.10',
  't=0 0',
  'm=audio 4000 RTP/AVP 101 96 8',
  'a=rtpmap:101 telephone-event/8000',
  'a=rtpmap:96 opus/48000/2',
  'a=rtpmap:8 PCMA/8000',
  '',
].join('\r\n')
