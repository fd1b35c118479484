/**
 * HEP3 packets to records: each frame is checked and read in place, its payload goes to where such payloads are put
 * together, and what comes out goes to the spool: each call by itself, under its Call-ID, so that it is taken once over
 * restarts and by many proxies; quality and devices gathered.
 *
 * Most packets of a call (100, 180, ACK, and all copies) give nothing: they cost a glance at their first lines and a
 * look into a table.
 */
import { timingSafeEqual } from 'node:crypto'
import { inflateSync } from 'node:zlib'
import type { Catalogue } from '../../catalogue/catalogue.js'
import type { SourceCounters, SourceRefusal } from '../../flow/counters.js'
import type { Inlet } from '../../flow/source.js'
import type { RecordFields } from '../../formats/record-writer.js'
import { registerIdentity, reportsIdentity, SIP_IDENTITIES } from '../../formats/sip/identity.js'
import { peekSip, readSip, type SipMessage, type SipPeek } from '../../formats/sip/message.js'
import {
  registerToDevice,
  statisticsToQuality,
  VQ_CONTENT_TYPE,
  VQ_EVENT,
  vqToQuality,
} from '../../formats/sip/records.js'
import { readVqRtcpxr } from '../../formats/sip/vq-rtcpxr.js'
import { Networks } from '../../sections/network-list.js'
import { Outbox } from '../common/outbox.js'
import { CallTable, MAX_CALL_ID, type Taken } from './calls.js'
import type { CallNode, Captured, FollowedCall } from './followed-call.js'
import { HepFrame, PAYLOAD } from './frame.js'
import { RequestTable } from './requests.js'
import { type LegCall, LegTable, readRtcp, readRtpReport } from './rtcp.js'

/** How records of one capture agent are treated. */
export type HepNode = CallNode

/** What the sender of a packet may use. */
export interface HepLimits {
  /** Null: any. */
  readonly captureIds: ReadonlySet<number> | null
  /** Capture agents that differ; null for one whose tenant is not the sender's to use. */
  readonly nodes: ReadonlyMap<number, HepNode | null>
  /** The others; null where there is no tenant that the sender may use. */
  readonly node: HepNode | null
}

export interface HepReaderOptions {
  readonly catalogue: Catalogue
  readonly inlet: Inlet
  readonly counters: SourceCounters
  /** What every packet must carry; null: nothing. */
  readonly key: Uint8Array | null
  readonly node: HepNode
  /** Capture agents that differ. */
  readonly nodes: ReadonlyMap<number, HepNode>
  readonly setupMs: number
  readonly callMs: number
  readonly maxCalls: number
  readonly maxFrameBytes: number
  readonly maxInflatedBytes: number
  readonly inflationsPerSecond: number
  /** Networks whose calls are not taken: of a B2BUA, so that one of its sides is. */
  readonly skipCallsFrom: readonly string[]
}

/** Entries that are not on disk yet: above it what comes is dropped and counted. */
const MAX_PENDING = 20_000
/** Longest key that is compared. */
const MAX_KEY = 255
/** A capture's clock that is further off says nothing of how far behind this is, s. */
const MAX_LAG_SECONDS = 60
/** Names of channels that are known for their Call-IDs. */
const MAX_NAMES = 50_000
const MAX_NAMES_OF_CALL = 4
const NOTHING = Buffer.alloc(0)

export class HepReader {
  readonly #options: HepReaderOptions
  readonly #unlimited: HepLimits
  readonly #frame = new HepFrame()
  readonly #expectedKey: Buffer | null
  readonly #givenKey = Buffer.alloc(MAX_KEY + 1)
  readonly #calls: CallTable
  readonly #requests: RequestTable
  readonly #legs: LegTable
  /** Channel name or other correlation id → Call-ID, as far as SIP packets have told. The oldest leaves first. */
  readonly #names = new Map<string, string>()
  readonly #outbox: Outbox
  readonly #skipped: Networks
  /** Of the packet that is being read. */
  #bytes: Buffer = NOTHING
  #inflations = 0
  #inflationsFrom = 0
  #received = 0
  #refused = new Map<SourceRefusal, number>()
  #lastCapturedMs = 0
  #now = 0

  constructor(options: HepReaderOptions) {
    this.#options = options
    this.#unlimited = { captureIds: null, node: options.node, nodes: options.nodes }
    this.#skipped = new Networks(options.skipCallsFrom)
    this.#expectedKey = options.key === null ? null : paddedKey(options.key)
    // What is refused is counted by entry: nobody can be told of it, so it is lost.
    const { catalogue, inlet } = options
    this.#outbox = new Outbox({
      source: 'hep',
      catalogue,
      inlet,
      maxPending: MAX_PENDING,
      refused: (reason) => {
        this.refuse(reason)
      },
      waiting: null,
    })
    this.#calls = new CallTable({
      maxCalls: options.maxCalls,
      setupMs: options.setupMs,
      callMs: options.callMs,
      correlation: () => this.#correlation(this.#bytes),
      onLeg: (call) => {
        this.#rtcpEnds(call)
        this.refuse('repeated')
      },
      onCall: (call, fields) => {
        this.#onCall(call, fields)
      },
      onEvicted: () => {
        this.refuse('too_many')
      },
      onUnanswered: () => {
        this.refuse('unused')
      },
    })
    this.#requests = new RequestTable({
      max: options.maxCalls,
      onRecords: (kind, records, tenant, id) => {
        this.#outbox.named(kind, records, { name: id, space: SIP_IDENTITIES }, tenant)
      },
    })
    this.#legs = new LegTable({
      max: options.maxCalls,
      onRecord: (fields, tenant) => {
        this.#outbox.add('quality', fields, tenant)
      },
      onEvicted: () => {
        this.refuse('too_many')
      },
    })
  }

  /** Calls that are followed. */
  get followed(): number {
    return this.#calls.size
  }

  /** Entries whose records are not on disk yet. */
  get pending(): number {
    return this.#outbox.pending
  }

  /** Counts what was refused before it came here. */
  refuse(reason: SourceRefusal, count = 1): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + count)
  }

  /** Counts packets that are not handed to {@link packet}. */
  count(packets: number): void {
    this.#received += packets
  }

  /**
   * Takes one frame. Nothing of it is kept but copies: the memory may be used again.
   * @param end where it ends, by its own length
   * @param now a clock that never goes back, ms
   * @param limits what its sender may use
   * @returns false where it does not carry the key, is broken, or is not its sender's to send
   */
  packet(bytes: Buffer, at: number, end: number, now: number, limits: HepLimits = this.#unlimited): boolean {
    this.#received++
    this.#now = now
    this.#bytes = bytes
    const frame = this.#frame
    if (end - at > this.#options.maxFrameBytes) return this.#wrong('too_large')
    if (!frame.read(bytes, at, end)) return this.#wrong('malformed')
    if (this.#expectedKey !== null && !this.#hasKey(bytes)) return this.#wrong('unauthorised')
    if (frame.payloadAt < 0) {
      // Keep-alives.
      this.refuse('unused')
      return true
    }
    const found = limits.nodes.get(frame.captureId)
    const node = found === undefined ? limits.node : found
    if (node === null || (limits.captureIds !== null && !limits.captureIds.has(frame.captureId)))
      return this.#wrong('unauthorised')
    const payload = frame.compressed ? this.#inflated(bytes, now) : bytes.subarray(frame.payloadAt, frame.payloadEnd)
    if (payload === null) return true
    const taken = this.#payload(payload, bytes, node, now)
    if (taken !== 'taken') this.refuse(taken)
    return true
  }

  /** Ends what has had its time; gives the counts to the metrics. */
  sweep(now: number): void {
    this.#now = now
    this.#calls.sweep(now)
    this.#requests.sweep(now)
    this.#legs.sweep(now)
    this.#flushCounts()
  }

  /** Writes what waits, as far as it is known, and resolves when all is safe or refused. */
  async stop(now: number): Promise<void> {
    this.#now = now
    this.#calls.flush(now)
    this.#requests.flush(now)
    this.#legs.flush(now)
    await this.#outbox.close()
    this.#flushCounts()
  }

  #wrong(reason: SourceRefusal): boolean {
    this.refuse(reason)
    return false
  }

  #hasKey(bytes: Buffer): boolean {
    const { keyAt, keyEnd } = this.#frame
    const given = this.#givenKey.fill(0)
    const length = keyAt < 0 ? 0 : keyEnd - keyAt
    // The same work for every length: how long the right one is, is not to be learnt.
    given[0] = Math.min(length, MAX_KEY)
    if (length > 0 && length <= MAX_KEY) bytes.copy(given, 1, keyAt, keyEnd)
    return this.#expectedKey !== null && timingSafeEqual(given, this.#expectedKey) && length > 0
  }

  /** The payload without its compression; null where it is broken, too large, or one too many. */
  #inflated(bytes: Buffer, now: number): Buffer | null {
    const { maxInflatedBytes, inflationsPerSecond } = this.#options
    if (now - this.#inflationsFrom >= 1000) {
      this.#inflationsFrom = now
      this.#inflations = 0
    }
    if (++this.#inflations > inflationsPerSecond) {
      this.refuse('rate')
      return null
    }
    try {
      return inflateSync(bytes.subarray(this.#frame.payloadAt, this.#frame.payloadEnd), {
        maxOutputLength: maxInflatedBytes,
      })
    } catch (error) {
      this.refuse((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? 'too_large' : 'malformed')
      return null
    }
  }

  #payload(payload: Buffer, bytes: Buffer, node: HepNode, now: number): Taken {
    switch (this.#frame.kind) {
      case PAYLOAD.sip:
        return this.#sip(payload, bytes, node, now)
      case PAYLOAD.rtcp: {
        const report = readRtcp(payload)
        if (report === null) return 'malformed'
        const id = this.#correlation(bytes)
        if (id === '' || (report.blocks.length === 0 && Number.isNaN(report.packetsSent))) return 'unused'
        this.#legs.rtcp(id, this.#legCall(id), report, this.#captured(bytes), node.tenant, now)
        return 'taken'
      }
      case PAYLOAD.rtpReport: {
        const report = readRtpReport(payload)
        if (report === null) return 'malformed'
        const id = this.#correlation(bytes) || report.callId
        if (id === '') return 'unused'
        this.#legs.rtpReport(id, this.#legCall(id), report, this.#captured(bytes), node.tenant, now)
        return 'taken'
      }
      case PAYLOAD.vqRtcpXr:
        return this.#vqRtcpXr(payload, bytes, node, now)
      default:
        return 'unused'
    }
  }

  #sip(payload: Buffer, bytes: Buffer, node: HepNode, now: number): Taken {
    const peek = peekSip(payload)
    // Keep-alives of SIP over UDP are empty lines (RFC 5626 §3.5.1).
    if (peek === null) return payload.length <= 4 ? 'unused' : 'malformed'
    const { method } = peek
    const about = method ?? peek.cseqMethod
    if (about === 'REGISTER' || about === 'PUBLISH' || about === 'NOTIFY')
      return this.#request(peek, payload, bytes, node, now)
    // They belong to an INVITE, and say nothing more; nor do 100 and an answer to CANCEL.
    if (
      about === 'ACK' ||
      about === 'PRACK' ||
      (method === null && (about === 'CANCEL' || (about === 'INVITE' && peek.status <= 100)))
    )
      return 'taken'
    if (about === 'INVITE' || about === 'CANCEL') {
      const taken = this.#calls.message(peek, () => readSip(payload), this.#captured(bytes), node, now)
      if (method === 'INVITE' && taken === 'taken') this.#nameCall(bytes, peek.callId)
      return taken
    }
    if (about !== 'BYE') return 'unused'
    const message = readSip(payload)
    if (message === null) return 'malformed'
    const measured = this.#statistics(peek, message, node, bytes, now)
    const taken = method === null ? 'taken' : this.#calls.message(peek, () => message, this.#captured(bytes), node, now)
    return measured ? 'taken' : taken
  }

  #request(peek: SipPeek, payload: Buffer, bytes: Buffer, node: HepNode, now: number): Taken {
    if (peek.callId.length > MAX_CALL_ID) return 'too_large'
    const key = `${peek.callId} ${peek.cseq} ${peek.cseqMethod}`
    if (peek.method === null) {
      this.#requests.answer(key, peek.status, now)
      return 'taken'
    }
    if (this.#requests.knows(key)) return 'taken'
    const message = readSip(payload)
    if (message === null) return 'malformed'
    const seen = { seenMs: this.#atMs, remoteIp: this.#frame.sourceIp(bytes) }
    if (peek.method === 'REGISTER') {
      const devices = registerToDevice(message, seen)
      // A query for what is registered.
      if (devices.length === 0) return 'unused'
      this.#requests.add(key, 'device', devices, node.tenant, registerIdentity(message), now)
      return 'taken'
    }
    if (!isQualityReport(message)) return 'unused'
    const reports = readVqRtcpxr(message.body)
    if (reports === null) return 'malformed'
    const id = reportsIdentity(reports, message, message.body)
    const qualities = vqToQuality(reports, message, seen)
    if (qualities.length === 0) return 'unused'
    this.#requests.add(key, 'quality', qualities, node.tenant, id, now)
    return 'taken'
  }

  /** What BYE, or its answer, says of the media. @returns whether it says anything */
  #statistics(peek: SipPeek, message: SipMessage, node: HepNode, bytes: Buffer, now: number): boolean {
    const call = this.#calls.find(peek.callId)
    const record = statisticsToQuality(message, { seenMs: this.#atMs }, { startMs: call?.startMs ?? null })
    if (record === null || peek.callId.length > MAX_CALL_ID) return false
    const key = `${peek.callId} ${peek.cseq} BYE${peek.method === null ? ' answered' : ''}`
    if (this.#requests.knows(key)) return true
    this.#requests.remember(key, now)
    // The end that measured is the one that this was sent by, on the first hop that is seen of it.
    this.#outbox.add(
      'quality',
      {
        ...record,
        call_id: call?.root.callId ?? record['call_id'],
        local_ip: record['local_ip'] ?? this.#frame.sourceIp(bytes),
        codec: record['codec'] ?? call?.codec?.name,
      },
      node.tenant,
    )
    return true
  }

  #vqRtcpXr(payload: Buffer, bytes: Buffer, node: HepNode, now: number): Taken {
    // Some send the whole PUBLISH.
    const peek = peekSip(payload)
    if (peek !== null) return this.#request(peek, payload, bytes, node, now)
    const reports = readVqRtcpxr(payload)
    // HOMER's own "full report" in JSON has this number too: its figures come in kind 34.
    if (reports === null) return payload[0] === 0x7b ? 'unused' : 'malformed'
    const name = reportsIdentity(reports, null, payload)
    const records = vqToQuality(reports, null, { seenMs: this.#atMs })
    if (records.length === 0) return 'unused'
    const id = this.#correlation(bytes)
    const callId = id === '' ? null : (this.#names.get(id) ?? id)
    this.#outbox.named(
      'quality',
      records.map((record) => (record['call_id'] === null ? { ...record, call_id: callId } : record)),
      // Of a report that names no call, what ties it to one is part of what it says.
      { name: reports.some((report) => report.callId === null) ? `${name}\0${id}` : name, space: SIP_IDENTITIES },
      node.tenant,
    )
    return 'taken'
  }

  /** When the packet was captured; now, where it does not say. */
  get #atMs(): number {
    const captured = this.#frame.capturedMs
    if (captured > 0) this.#lastCapturedMs = captured
    return captured > 0 ? captured : Date.now()
  }

  #captured(bytes: Buffer): Captured {
    const frame = this.#frame
    return {
      atMs: this.#atMs,
      sourceIp: frame.sourceIp(bytes),
      sourcePort: frame.sourcePort,
      destinationIp: frame.destinationIp(bytes),
      destinationPort: frame.destinationPort,
      captureId: frame.captureId,
    }
  }

  #correlation(bytes: Buffer): string {
    const { correlationAt, correlationEnd } = this.#frame
    const length = correlationEnd - correlationAt
    // Asterisk ends it with a NUL in some versions.
    return correlationAt < 0 || length > MAX_CALL_ID
      ? ''
      : bytes.toString('utf8', correlationAt, correlationEnd).replace(/\0+$/, '')
  }

  /** Asterisk may tie RTCP to a channel's name: the SIP packets of that channel carry it too. */
  #nameCall(bytes: Buffer, callId: string): void {
    const name = this.#correlation(bytes)
    if (name === '' || name === callId || this.#names.get(name) === callId) return
    const call = this.#calls.find(callId)
    if (call === null || call.names.length >= MAX_NAMES_OF_CALL) return
    call.names.push(name)
    this.#names.delete(name)
    this.#names.set(name, callId)
    if (this.#names.size <= MAX_NAMES) return
    const oldest = this.#names.keys().next()
    if (oldest.done !== true) this.#names.delete(oldest.value)
  }

  #legCall(id: string): LegCall | null {
    const callId = this.#names.get(id) ?? id
    const call = this.#calls.find(callId)
    if (call !== null && call.parent !== null) {
      // A further leg's media are its call's.
      const { codec, calling, called, source, destination } = call
      return { callId: call.root.callId, codec, calling, called, source, destination }
    }
    return (
      call ??
      (callId === id
        ? null
        : { callId, codec: null, calling: null, called: null, source: { ip: '' }, destination: { ip: '' } })
    )
  }

  #onCall(call: FollowedCall, fields: RecordFields): void {
    this.#rtcpEnds(call)
    if (!call.isWanted) {
      this.refuse('other_source')
      return
    }
    if (this.#skipped.has(call.source.ip)) {
      this.refuse('unused')
      return
    }
    this.#outbox.call(fields, call.recordId, call.tenant)
  }

  #rtcpEnds(call: FollowedCall): void {
    this.#legs.callEnded(call.callId, this.#now)
    for (const name of call.names) this.#legs.callEnded(name, this.#now)
  }

  #flushCounts(): void {
    const { counters } = this.#options
    if (this.#received > 0) counters.received(this.#received)
    this.#received = 0
    for (const [reason, count] of this.#refused) counters.refused(reason, count)
    this.#refused.clear()
    if (this.#lastCapturedMs === 0) return
    const lag = (Date.now() - this.#lastCapturedMs) / 1000
    if (Math.abs(lag) <= MAX_LAG_SECONDS) counters.lag(Math.max(0, lag))
    this.#lastCapturedMs = 0
  }
}

/** A key at a fixed length, with its own before it. */
function paddedKey(key: Uint8Array): Buffer {
  const padded = Buffer.alloc(MAX_KEY + 1)
  padded[0] = key.length
  padded.set(key, 1)
  return padded
}

function isQualityReport(message: SipMessage): boolean {
  const event = message.header('event')?.split(';')[0].trim().toLowerCase()
  return event === VQ_EVENT || message.header('content-type')?.split(';')[0].trim().toLowerCase() === VQ_CONTENT_TYPE
}
