/**
 * RTCP as HEP carries it: JSON (payload kind 5; Asterisk `res_hep_rtcp`, heplify, captagent), and the reports that RTP
 * agents make of what they heard (kind 34). All the reports of a call leg become one `Quality` record.
 *
 * - Numbers come as numbers or as texts of digits, by sender; `lsr` may be negative; `packets_lost` is 24 bits with a
 *   sign (RFC 3550 §6.4.1), printed without it by some.
 * - Jitter is in RTP timestamp units: divided by the clock of the codec that the call's SDP names, else by 8000 Hz,
 *   which nearly every telephone codec has (RFC 3551 §6).
 * - The record is of the end that reported most; what the other end sent is known from its sender reports. A leg's
 *   round trip is worked out on the capture's clock alone: from the other end's last sender report to this report, less
 *   the time it was held (`dlsr`).
 * - SDES (`CNAME`: user@address) is not looked at.
 */
import type { RecordFields } from '../../formats/record-writer.js'
import { Queue, Queued } from './queue.js'

/** Hz, where nothing says otherwise. */
const DEFAULT_CLOCK_HZ = 8000
/** RFC 3550 §6.4: a count of five bits. */
const MAX_BLOCKS = 31
/** A leg that is silent for so long is over; RTCP comes every 5 s or so (RFC 3550 §6.2). */
const LEG_IDLE_MS = 60_000
/** After its call's end: for reports that were under way. */
const LEG_SETTLE_MS = 3000
/** How long a leg that was written is known, so that what comes late makes no second record. */
const LEG_LINGER_MS = 32_000
const SWEEP = 20_000
/** Legs of one correlation id that are told apart. */
const MAX_LEGS_OF_ID = 8
const MAX_JSON_BYTES = 65_535
/** No round trip on the ground, or by one satellite and back, takes longer. */
const MAX_ROUND_TRIP_MS = 5000

/** One report block: what an end heard of the other. */
export interface RtcpBlock {
  /** Of 256 packets since the last report. */
  readonly fractionLost: number
  /** Since the beginning. */
  readonly packetsLost: number
  /** RTP timestamp units. */
  readonly jitter: number
  /** Since the other end's sender report came, ms; NaN where none had come. */
  readonly heldMs: number
}

/** One RTCP packet: what an end sent, and what it heard. */
export interface RtcpReport {
  /** Packets that this end has sent so far; NaN in a receiver report. */
  readonly packetsSent: number
  readonly blocks: readonly RtcpBlock[]
  /** RFC 3611 §4.7: VoIP metrics; null where there are none. */
  readonly endSystemDelayMs: number | null
  readonly discardPercent: number | null
}

/** A number, written as one or as text; NaN for anything else. */
function numeric(value: unknown): number {
  if (typeof value === 'number') return value
  return typeof value === 'string' && /^-?\d{1,20}(?:\.\d{1,10})?$/.test(value) ? Number(value) : NaN
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : null
}

function jsonObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | null {
  if (bytes.length > MAX_JSON_BYTES) return null
  try {
    // Some end it with a NUL, as C does its texts.
    return objectOf(
      JSON.parse(
        Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
          .toString('utf8')
          .replace(/[\0\s]+$/, ''),
      ),
    )
  } catch {
    return null
  }
}

function inRange(value: number, least: number, most: number): number {
  return value >= least && value <= most ? value : NaN
}

/** Reads RTCP JSON; null for what is none. */
export function readRtcp(bytes: Uint8Array): RtcpReport | null {
  const json = jsonObject(bytes)
  if (json === null) return null
  const sender = objectOf(json['sender_information'])
  const listed = Array.isArray(json['report_blocks']) ? (json['report_blocks'].slice(0, MAX_BLOCKS) as unknown[]) : []
  const blocks = listed
    .map(objectOf)
    .filter((block) => block !== null)
    .map(blockOf)
    .filter((block) => block !== null)
  const xr = objectOf(json['report_blocks_xr'])
  // Senders that have none write one of zeros.
  const measured = xr !== null && numeric(xr['type']) === 7
  if (sender === null && blocks.length === 0 && !measured && !('ssrc' in json)) return null
  const delay = measured ? inRange(numeric(xr['end_system_delay']), 1, 65_534) : NaN
  const discard = measured ? inRange(numeric(xr['fraction_discard']), 0, 255) : NaN
  return {
    packetsSent: sender === null ? NaN : inRange(numeric(sender['packets']), 0, 0xffff_ffff),
    blocks,
    endSystemDelayMs: Number.isNaN(delay) ? null : delay,
    discardPercent: Number.isNaN(discard) ? null : (discard * 100) / 256,
  }
}

function blockOf(block: Readonly<Record<string, unknown>>): RtcpBlock | null {
  const jitter = inRange(numeric(block['ia_jitter']), 0, 0xffff_ffff)
  const fraction = inRange(numeric(block['fraction_lost']), 0, 255)
  let lost = numeric(block['packets_lost'])
  // 24 bits, whose sign was lost on the way; negative when packets came twice (RFC 3550 §6.4.1).
  if (lost >= 0x80_0000) lost = lost > 0xff_ffff ? lost - 0x1_0000_0000 : lost - 0x100_0000
  const lsr = numeric(block['lsr'])
  const dlsr = inRange(numeric(block['dlsr']), 0, 0xffff_ffff)
  if (Number.isNaN(jitter) && Number.isNaN(fraction) && Number.isNaN(lost)) return null
  return {
    fractionLost: fraction,
    packetsLost: inRange(Math.max(0, lost), 0, 0x7f_ffff),
    jitter,
    heldMs: Number.isNaN(lsr) || lsr === 0 ? NaN : (dlsr * 1000) / 65_536,
  }
}

/** Figures of an RTP agent's report, by the names of `Quality`'s fields, and whether another may follow. */
export interface RtpReport {
  readonly fields: RecordFields
  /** The stream's last. */
  readonly final: boolean
  /** Its own idea of what call it belongs to; '' where it has none. */
  readonly callId: string
}

/** Reads an RTP agent's report (captagent, heplify): one stream, as it passed the agent; null for what is none. */
export function readRtpReport(bytes: Uint8Array): RtpReport | null {
  const json = jsonObject(bytes)
  if (json === null) return null
  const figure = (least: number, most: number, ...names: readonly string[]): number | null => {
    for (const name of names) {
      const value = inRange(numeric(json[name]), least, most)
      if (!Number.isNaN(value)) return value
    }
    return null
  }
  const text = (name: string, most: number): string => {
    const value = json[name]
    return typeof value === 'string' && value.length <= most ? value : ''
  }
  const [received, expected, lost] = [
    figure(0, 0xffff_ffff, 'TOTAL_PK'),
    figure(0, 0xffff_ffff, 'EXPECTED_PK'),
    figure(0, 0xffff_ffff, 'PACKET_LOSS'),
  ]
  const fields = {
    // Heard and worked out from loss alone: a listening quality.
    mos_lq: figure(1, 5, 'MEAN_MOS', 'MOS'),
    r_factor: figure(1, 120, 'MEAN_RFACTOR', 'RFACTOR'),
    jitter_ms: figure(0, 60_000, 'MEAN_JITTER', 'JITTER'),
    jitter_max_ms: figure(0, 60_000, 'MAX_JITTER'),
    packets_received: received,
    packets_lost: lost,
    loss_percent: lost !== null && expected !== null && expected > 0 ? Math.min(100, (100 * lost) / expected) : null,
  }
  if (Object.values(fields).every((value) => value === null)) return null
  const type = text('TYPE', 16).toUpperCase()
  return {
    // The end that heard the stream is the one it went to.
    fields: { ...fields, codec: text('CODEC_NAME', 32), local_ip: text('DST_IP', 45), remote_ip: text('SRC_IP', 45) },
    final: type !== 'PERIODIC',
    callId: text('RTP_SIP_CALL_ID', 256) || text('CORRELATION_ID', 256),
  }
}

interface End {
  readonly name: string
  readonly ip: string
  reports: number
  jitters: number
  jitterSum: number
  jitterMax: number
  fractions: number
  fractionSum: number
  packetsLost: number
  packetsSent: number
  /** When its last sender report was captured. */
  sentAtMs: number
  roundTrips: number
  roundTripSum: number
  endSystemDelayMs: number | null
  discardPercent: number | null
}

class Leg extends Queued {
  readonly id: string
  readonly name: string
  readonly tenant: string
  readonly ends: [End, End] | null
  /**
   * What the call's signalling knows: fetched anew with each report, since it is forgotten before a leg that goes
   * silent is.
   */
  call: LegCall | null = null
  firstMs = Infinity
  lastMs = 0
  /** Of an RTP agent: its last report. */
  report: RecordFields | null = null
  over = false

  constructor(id: string, name: string, tenant: string, ends: [End, End] | null) {
    super()
    this.id = id
    this.name = name
    this.tenant = tenant
    this.ends = ends
  }
}

/** What the signalling knows of the call that a leg belongs to. */
export interface LegCall {
  readonly callId: string
  readonly codec: { readonly name: string; readonly clockHz: number } | null
  readonly calling: string | null
  readonly called: string | null
  readonly source: { readonly ip: string }
  readonly destination: { readonly ip: string }
}

/** Where a report was captured. */
export interface LegPacket {
  readonly atMs: number
  readonly sourceIp: string
  readonly sourcePort: number
  readonly destinationIp: string
  readonly destinationPort: number
}

export interface LegTableOptions {
  readonly max: number
  readonly onRecord: (fields: RecordFields, tenant: string) => void
  /** There was no room to follow a leg on: what was known of it is written. */
  readonly onEvicted: () => void
}

export class LegTable {
  readonly #options: LegTableOptions
  readonly #byId = new Map<string, Leg[]>()
  readonly #open = new Queue<Leg>(LEG_IDLE_MS)
  readonly #ending = new Queue<Leg>(LEG_SETTLE_MS)
  readonly #over = new Queue<Leg>(LEG_LINGER_MS)

  constructor(options: LegTableOptions) {
    this.#options = options
  }

  /** Takes an RTCP packet. @param id what ties it to its call: a Call-ID, or a channel's name */
  rtcp(id: string, call: LegCall | null, report: RtcpReport, packet: LegPacket, tenant: string, now: number): void {
    const sameIp = packet.sourceIp === packet.destinationIp
    const from = sameIp ? String(packet.sourcePort) : packet.sourceIp
    const to = sameIp ? String(packet.destinationPort) : packet.destinationIp
    const name = from < to ? `${from} ${to}` : `${to} ${from}`
    const leg = this.#leg(id, name, tenant, now, () => [
      emptyEnd(from, packet.sourceIp),
      emptyEnd(to, packet.destinationIp),
    ])
    if (leg === null || leg.over || leg.ends === null) return
    if (call !== null) leg.call = call
    const [end, other] = leg.ends[0].name === from ? leg.ends : [leg.ends[1], leg.ends[0]]
    leg.firstMs = Math.min(leg.firstMs, packet.atMs)
    leg.lastMs = Math.max(leg.lastMs, packet.atMs)
    if (!Number.isNaN(report.packetsSent)) {
      end.packetsSent =
        report.packetsSent > end.packetsSent || Number.isNaN(end.packetsSent) ? report.packetsSent : end.packetsSent
      end.sentAtMs = packet.atMs
    }
    for (const block of report.blocks) take(end, block, other, packet.atMs)
    end.endSystemDelayMs = report.endSystemDelayMs ?? end.endSystemDelayMs
    end.discardPercent = report.discardPercent ?? end.discardPercent
  }

  /** Takes an RTP agent's report: the figures are totals, so the last of a stream stands for it. */
  rtpReport(id: string, call: LegCall | null, report: RtpReport, packet: LegPacket, tenant: string, now: number): void {
    const name = `rtp ${packet.sourceIp}:${packet.sourcePort} ${packet.destinationIp}:${packet.destinationPort}`
    const leg = this.#leg(id, name, tenant, now, () => null)
    if (leg === null || leg.over) return
    if (call !== null) leg.call = call
    leg.firstMs = Math.min(leg.firstMs, packet.atMs)
    leg.lastMs = Math.max(leg.lastMs, packet.atMs)
    leg.report = report.fields
    if (report.final) this.#end(leg, now)
  }

  /** A call has ended: its legs are written when the last reports have had time to come. */
  callEnded(id: string, now: number): void {
    for (const leg of this.#byId.get(id) ?? [])
      if (!leg.over && leg.queue === (this.#open as unknown)) this.#ending.add(leg, now)
  }

  sweep(now: number): void {
    this.#open.sweep(now, SWEEP, (leg) => {
      this.#end(leg, now)
    })
    this.#ending.sweep(now, SWEEP, (leg) => {
      this.#end(leg, now)
    })
    this.#over.sweep(now, SWEEP, (leg) => {
      this.#forget(leg)
    })
  }

  /** Writes all legs, as far as they are known. */
  flush(now: number): void {
    for (const queue of [this.#ending, this.#open])
      for (let leg = queue.first; leg !== null; leg = queue.first) this.#end(leg, now)
  }

  #leg(id: string, name: string, tenant: string, now: number, ends: () => [End, End] | null): Leg | null {
    const legs = this.#byId.get(id) ?? []
    let leg = legs.find((known) => known.name === name)
    if (leg === undefined) {
      if (legs.length >= MAX_LEGS_OF_ID) return null
      leg = new Leg(id, name, tenant, ends())
      if (this.#open.size + this.#ending.size >= this.#options.max) this.#makeRoom(now)
      legs.push(leg)
      this.#byId.set(id, legs)
    }
    if (!leg.over && leg.queue !== (this.#ending as unknown)) this.#open.add(leg, now)
    return leg
  }

  #makeRoom(now: number): void {
    const oldest = this.#ending.first ?? this.#open.first
    if (oldest === null) return
    this.#end(oldest, now)
    this.#options.onEvicted()
  }

  #end(leg: Leg, now: number): void {
    leg.over = true
    const fields = fieldsOf(leg)
    leg.report = null
    this.#over.add(leg, now)
    const oldest = this.#over.first
    if (this.#over.size > this.#options.max && oldest !== null) {
      this.#over.remove(oldest)
      this.#forget(oldest)
    }
    if (fields !== null) this.#options.onRecord(fields, leg.tenant)
  }

  #forget(leg: Leg): void {
    const left = (this.#byId.get(leg.id) ?? []).filter((other) => other !== leg)
    if (left.length === 0) this.#byId.delete(leg.id)
    else this.#byId.set(leg.id, left)
  }
}

function emptyEnd(name: string, ip: string): End {
  return {
    name,
    ip,
    reports: 0,
    jitters: 0,
    jitterSum: 0,
    jitterMax: 0,
    fractions: 0,
    fractionSum: 0,
    packetsLost: NaN,
    packetsSent: NaN,
    sentAtMs: NaN,
    roundTrips: 0,
    roundTripSum: 0,
    endSystemDelayMs: null,
    discardPercent: null,
  }
}

function take(end: End, block: RtcpBlock, other: End, atMs: number): void {
  end.reports++
  if (!Number.isNaN(block.jitter)) {
    end.jitters++
    end.jitterSum += block.jitter
    end.jitterMax = Math.max(end.jitterMax, block.jitter)
  }
  if (!Number.isNaN(block.fractionLost)) {
    end.fractions++
    end.fractionSum += block.fractionLost
  }
  if (!Number.isNaN(block.packetsLost)) end.packetsLost = block.packetsLost
  const roundTrip = atMs - other.sentAtMs - block.heldMs
  // At the end that captures it is no trip at all.
  if (roundTrip >= 1 && roundTrip <= MAX_ROUND_TRIP_MS) {
    end.roundTrips++
    end.roundTripSum += roundTrip
  }
}

/** The record of a leg; null where neither end heard anything. */
function fieldsOf(leg: Leg): RecordFields | null {
  const { call } = leg
  const common = {
    call_id: call?.callId ?? leg.id,
    start_ms: leg.firstMs,
    end_ms: leg.lastMs,
    duration_seconds: Math.floor((leg.lastMs - leg.firstMs) / 1000),
    codec: call?.codec?.name,
    origin: 'REPORT',
  }
  if (leg.report !== null) {
    const codec = leg.report['codec']
    return { ...common, ...leg.report, codec: codec === '' ? common.codec : codec }
  }
  if (leg.ends === null) return null
  const [first, second] = leg.ends
  const [end, other] = second.reports > first.reports ? [second, first] : [first, second]
  if (end.reports === 0) return null
  const toMs = (units: number): number => (units * 1000) / (call?.codec?.clockHz ?? DEFAULT_CLOCK_HZ)
  const counted = other.packetsSent > 0 && end.packetsLost >= 0
  const trips = first.roundTrips + second.roundTrips
  return {
    ...common,
    jitter_ms: end.jitters > 0 ? toMs(end.jitterSum / end.jitters) : null,
    jitter_max_ms: end.jitters > 0 ? toMs(end.jitterMax) : null,
    loss_percent: counted
      ? Math.min(100, (100 * end.packetsLost) / other.packetsSent)
      : end.fractions > 0
        ? ((end.fractionSum / end.fractions) * 100) / 256
        : null,
    packets_lost: end.packetsLost,
    packets_sent: end.packetsSent,
    packets_received: counted ? Math.max(0, other.packetsSent - end.packetsLost) : null,
    round_trip_ms: trips > 0 ? (first.roundTripSum + second.roundTripSum) / trips : null,
    end_system_delay_ms: end.endSystemDelayMs,
    discard_percent: end.discardPercent,
    local_party: partyAt(call, end.ip, other.ip),
    remote_party: partyAt(call, other.ip, end.ip),
    local_ip: end.ip,
    remote_ip: other.ip,
  }
}

/** Who is at this address, where the signalling went to the same address as the media did, and only then. */
function partyAt(call: LegCall | null, ip: string, otherIp: string): string | null {
  if (call === null || ip === otherIp || ip === '') return null
  return ip === call.source.ip ? call.calling : ip === call.destination.ip ? call.called : null
}
