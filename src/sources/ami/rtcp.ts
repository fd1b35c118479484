/**
 * `RTCPSent` and `RTCPReceived` to one quality record for each leg (channel), when it ends.
 *
 * Both dialects. Asterisk 12 and later name the channel, and write a report block as `Report0…` with jitter in RTP
 * timestamp units: these are turned into time by the stream's own clock, which two sender reports of the leg give away
 * (RTP time against wall-clock time), else by `clockRateHz`. Up to 11 there is no channel, a leg is one address; the
 * jitter is seconds where it has a decimal point (what Asterisk measured) and timestamp units where it has none (what
 * the other end reported).
 *
 * A leg has two directions and there is one record: jitter is the mean (and the maximum) of all report blocks of both,
 * packets lost are those of both, the loss is their share of what both sent. `packets_sent` and `packets_received` are
 * the PBX's own. RFC 3550 §6.4: fraction lost is in 256ths; the cumulative number is signed, and repeated packets make
 * it negative: Asterisk writes such a number unsigned. A round trip of 0 or of 65535.9993 s was not measured.
 */
import type { RecordFields } from '../../formats/record-writer.js'
import type { Stanza } from './stanzas.js'
import { Direction } from './streams.js'
import { parseAddress, parseNumber } from './times.js'

/** Report blocks of a packet (RFC 3550: five bits). */
const MAX_BLOCKS = 31
/** `0x` and 32 bits, or as many in decimal. */
const MAX_SSRC = 16
const UNAVAILABLE_S = 65_535
/** Asterisk's media experience score is a mean opinion score of 0 to 5, stretched to 100. */
const MES_PER_MOS = 20

export class Leg {
  readonly startMs: number
  endMs: number
  uniqueId = ''
  linkedId = ''
  party = ''
  other = ''
  account = ''
  ip = ''
  readonly #ours = new Direction()
  readonly #theirs = new Direction()
  #rttSum = 0
  #rtts = 0
  #mesSum = 0
  #mess = 0

  constructor(startMs: number) {
    this.startMs = startMs
    this.endMs = startMs
  }

  /** Takes one event. */
  add(stanza: Stanza, sent: boolean, atMs: number): void {
    this.endMs = Math.max(this.endMs, atMs)
    if (stanza.has('channel')) this.#who(stanza)
    const address = stanza.get(sent ? 'to' : 'from')
    const { ip } = parseAddress(address)
    if (ip !== '') this.ip = ip
    const rtt = parseNumber(stanza.get('rtt'))
    if (rtt > 0 && rtt < UNAVAILABLE_S) {
      this.#rttSum += rtt
      this.#rtts++
    }
    const mes = parseNumber(stanza.get('mes'))
    if (mes >= MES_PER_MOS && mes <= 100) {
      this.#mesSum += mes
      this.#mess++
    }
    const [sender, reported] = sent ? [this.#ours, this.#theirs] : [this.#theirs, this.#ours]
    if (stanza.has('reportcount')) newDialect(stanza, sender, reported, address, atMs)
    else oldDialect(stanza, sent, sender, reported, address, atMs)
  }

  /** @param clockRateHz of streams whose own is not known */
  fields(clockRateHz: number): RecordFields | null {
    const ours = this.#ours
    const theirs = this.#theirs
    const blocks = ours.blocks + theirs.blocks
    const [sentByUs, sentByThem] = [ours.packets, theirs.packets]
    if (blocks === 0 && sentByUs === 0 && sentByThem === 0) return null
    const known = ours.clockRate || theirs.clockRate || clockRateHz
    const jitters = [ours.jitter(known), theirs.jitter(known)]
    const jitterBlocks = jitters[0].blocks + jitters[1].blocks
    // The share of what was sent, in the directions that say how much that is; if none does, the mean of what reports
    // say of their interval.
    const reported = ours.reportedPackets + theirs.reportedPackets
    const loss =
      reported > 0
        ? Math.min(100, ((ours.reportedLost + theirs.reportedLost) / reported) * 100)
        : (((ours.fraction + theirs.fraction) / blocks) * 100) / 256
    return {
      account: this.account,
      call_id: this.uniqueId,
      linked_id: this.linkedId,
      local_party: this.party,
      remote_party: this.other,
      local_ip: this.ip,
      start_ms: this.startMs,
      end_ms: this.endMs,
      duration_seconds: (this.endMs - this.startMs) / 1000,
      ...(jitterBlocks > 0
        ? {
            jitter_ms: (jitters[0].sum + jitters[1].sum) / jitterBlocks,
            jitter_max_ms: Math.max(jitters[0].max, jitters[1].max),
          }
        : {}),
      ...(blocks > 0 ? { loss_percent: loss, packets_lost: ours.lost + theirs.lost } : {}),
      ...(sentByUs > 0 ? { packets_sent: sentByUs } : {}),
      ...(sentByThem > 0 ? { packets_received: Math.max(0, sentByThem - theirs.lost) } : {}),
      ...(this.#rtts > 0 ? { round_trip_ms: (this.#rttSum / this.#rtts) * 1000 } : {}),
      ...(this.#mess > 0 ? { mos_cq: this.#mesSum / this.#mess / MES_PER_MOS } : {}),
      origin: 'REPORT',
    }
  }

  #who(stanza: Stanza): void {
    this.uniqueId = stanza.get('uniqueid') || this.uniqueId
    this.linkedId = stanza.get('linkedid') || this.linkedId
    const number = stanza.get('calleridnum')
    this.party = number !== '' && number !== '<unknown>' ? number : this.party || stanza.get('channel')
    const other = stanza.get('connectedlinenum')
    if (other !== '' && other !== '<unknown>') this.other = other
    this.account = stanza.get('accountcode') || this.account
  }
}

/** @param sender the direction whose sender wrote the report; `reported` the other one */
function newDialect(stanza: Stanza, sender: Direction, reported: Direction, address: string, atMs: number): void {
  senderReport(stanza, stanza.get('ssrc'), sender, address, atMs)
  const count = Math.min(MAX_BLOCKS, parseNumber(stanza.get('reportcount')) || 0)
  for (let place = 0; place < count; place++) {
    const lost = stanza.get(`report${place}cumulativelost`)
    if (lost === '') return
    const block = {
      ssrc: stanza.get(`report${place}sourcessrc`).slice(0, MAX_SSRC),
      place,
      lost: signed(parseNumber(lost)),
      fraction: parseNumber(stanza.get(`report${place}fractionlost`)),
      jitter: parseNumber(stanza.get(`report${place}iajitter`)),
      inSeconds: false,
      sequence: parseNumber(stanza.get(`report${place}highestsequence`)) % 65_536,
    }
    reported.block(block, address, atMs)
  }
}

function oldDialect(
  stanza: Stanza,
  sent: boolean,
  sender: Direction,
  reported: Direction,
  address: string,
  atMs: number,
): void {
  if (sent) senderReport(stanza, '', sender, address, atMs)
  if (parseNumber(stanza.get('receptionreports')) === 0) return
  const lost = stanza.get(sent ? 'cumulativeloss' : 'packetslost')
  if (lost === '') return
  const jitter = stanza.get('iajitter')
  const block = {
    ssrc: '',
    place: 0,
    lost: signed(parseNumber(lost)),
    fraction: parseNumber(stanza.get('fractionlost')),
    jitter: parseNumber(jitter),
    inSeconds: jitter.includes('.'),
    sequence: parseNumber(stanza.get('highestsequence')) % 65_536,
  }
  reported.block(block, address, atMs)
}

function senderReport(stanza: Stanza, ssrc: string, sender: Direction, address: string, atMs: number): void {
  const packets = parseNumber(stanza.get('sentpackets'))
  if (!(packets >= 0)) return
  const report = {
    ssrc: ssrc.slice(0, MAX_SSRC),
    packets,
    ntp: wallClock(stanza.get('sentntp')),
    rtp: parseNumber(stanza.get('sentrtp')),
  }
  sender.sender(report, address, atMs)
}

/**
 * What a leg is known by: its channel, or the other end's address where none is named. Empty: it can be told from no
 * other.
 */
export function legKey(stanza: Stanza, sent: boolean): string {
  const id = stanza.get('uniqueid')
  return id !== '' ? `u${id}` : stanza.get(sent ? 'to' : 'from')
}

/** 24 bits, signed; written as an unsigned number of 24 or 32 bits. */
function signed(value: number): number {
  if (value >= 2 ** 31) return value - 2 ** 32
  return value >= 2 ** 23 ? value - 2 ** 24 : value
}

/** `seconds.fraction`: up to six digits are microseconds, ten are Asterisk's own 1/4096 of a microsecond. */
function wallClock(text: string): number {
  const found = /^(\d{1,12})\.(\d{1,12})$/.exec(text)
  if (found === null) return NaN
  return Number(found[1]) + Number(found[2]) / (found[2].length <= 6 ? 1e6 : 4.096e9)
}
