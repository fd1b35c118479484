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
import { parseAddress, parseNumber } from './times.js'

/** Streams of a leg that are told apart: two directions, audio and video, and some changes of each. */
const MAX_STREAMS = 16
/** Report blocks of a packet (RFC 3550: five bits). */
const MAX_BLOCKS = 31
const UNAVAILABLE_S = 65_535
/** RTP clock rates of audio and video (RFC 3551, RFC 7587, RFC 3190). */
const CLOCK_RATES = [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000]
/** Asterisk's media experience score is a mean opinion score of 0 to 5, stretched to 100. */
const MES_PER_MOS = 20

/** One direction's stream: its sender's synchronisation source. */
interface Stream {
  /** Sent by the PBX. */
  readonly ours: boolean
  packets: number
  lost: number
  /** Sums over report blocks; those in timestamp units wait for the clock. */
  units: number
  unitsMax: number
  unitBlocks: number
  seconds: number
  secondsMax: number
  secondBlocks: number
  fraction: number
  blocks: number
  firstNtp: number
  firstRtp: number
  lastNtp: number
  lastRtp: number
}

export class Leg {
  readonly startMs: number
  endMs: number
  uniqueId = ''
  linkedId = ''
  party = ''
  other = ''
  account = ''
  ip = ''
  readonly #streams = new Map<string, Stream>()
  #rttSum = 0
  #rtts = 0
  #mesSum = 0
  #mess = 0

  constructor(startMs: number) {
    this.startMs = startMs
    this.endMs = startMs
  }

  /** Takes one event. */
  add(stanza: Stanza, sent: boolean, nowMs: number): void {
    this.endMs = nowMs
    if (stanza.has('channel')) this.#who(stanza)
    const { ip } = parseAddress(stanza.get(sent ? 'to' : 'from'))
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
    if (stanza.has('reportcount')) this.#newDialect(stanza, sent)
    else this.#oldDialect(stanza, sent)
  }

  /** @param clockRateHz of streams whose own is not known */
  fields(clockRateHz: number): RecordFields | null {
    const streams = [...this.#streams.values()]
    const known = streams.map(clockOf).find((rate) => rate > 0) ?? clockRateHz
    let jitter = 0,
      jitterBlocks = 0,
      jitterMax = 0,
      fraction = 0,
      blocks = 0,
      lost = 0,
      lostOfTheirs = 0,
      sentByUs = 0,
      sentByThem = 0,
      reported = 0,
      lostOfReported = 0
    for (const stream of streams) {
      const rate = clockOf(stream) || known
      jitter += stream.seconds * 1000 + (stream.units / rate) * 1000
      jitterBlocks += stream.secondBlocks + stream.unitBlocks
      jitterMax = Math.max(jitterMax, stream.secondsMax * 1000, (stream.unitsMax / rate) * 1000)
      fraction += stream.fraction
      blocks += stream.blocks
      lost += stream.lost
      if (stream.blocks > 0 && stream.packets > 0) {
        reported += stream.packets
        lostOfReported += stream.lost
      }
      if (stream.ours) sentByUs += stream.packets
      else {
        sentByThem += stream.packets
        lostOfTheirs += stream.lost
      }
    }
    if (blocks === 0 && sentByUs === 0 && sentByThem === 0) return null
    // The share of what was sent, in the directions that say how much that is; if none does, the mean of what reports
    // say of their interval.
    const loss = reported > 0 ? Math.min(100, (lostOfReported / reported) * 100) : ((fraction / blocks) * 100) / 256
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
      ...(jitterBlocks > 0 ? { jitter_ms: jitter / jitterBlocks, jitter_max_ms: jitterMax } : {}),
      ...(blocks > 0 ? { loss_percent: loss, packets_lost: lost } : {}),
      ...(sentByUs > 0 ? { packets_sent: sentByUs } : {}),
      ...(sentByThem > 0 ? { packets_received: Math.max(0, sentByThem - lostOfTheirs) } : {}),
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

  #newDialect(stanza: Stanza, sent: boolean): void {
    this.#senderReport(this.#stream(stanza.get('ssrc'), sent), stanza)
    const count = Math.min(MAX_BLOCKS, parseNumber(stanza.get('reportcount')) || 0)
    for (let i = 0; i < count; i++) {
      const lost = stanza.get(`report${i}cumulativelost`)
      if (lost === '') return
      this.#block(
        this.#stream(stanza.get(`report${i}sourcessrc`), !sent),
        lost,
        stanza.get(`report${i}fractionlost`),
        stanza.get(`report${i}iajitter`),
        false,
      )
    }
  }

  #oldDialect(stanza: Stanza, sent: boolean): void {
    if (sent) this.#senderReport(this.#stream('', true), stanza)
    if (parseNumber(stanza.get('receptionreports')) === 0) return
    const lost = stanza.get(sent ? 'cumulativeloss' : 'packetslost')
    if (lost === '') return
    const jitter = stanza.get('iajitter')
    this.#block(this.#stream('', !sent), lost, stanza.get('fractionlost'), jitter, jitter.includes('.'))
  }

  #stream(ssrc: string, ours: boolean): Stream | null {
    const key = `${ours ? 'o' : 't'}${ssrc.slice(0, 16)}`
    let stream = this.#streams.get(key)
    if (stream === undefined) {
      if (this.#streams.size >= MAX_STREAMS) return null
      stream = {
        ours,
        packets: 0,
        lost: 0,
        units: 0,
        unitsMax: 0,
        unitBlocks: 0,
        seconds: 0,
        secondsMax: 0,
        secondBlocks: 0,
        fraction: 0,
        blocks: 0,
        firstNtp: NaN,
        firstRtp: NaN,
        lastNtp: NaN,
        lastRtp: NaN,
      }
      this.#streams.set(key, stream)
    }
    return stream
  }

  #senderReport(stream: Stream | null, stanza: Stanza): void {
    const packets = parseNumber(stanza.get('sentpackets'))
    if (stream === null || !(packets >= 0)) return
    stream.packets = Math.max(stream.packets, packets)
    const ntp = wallClock(stanza.get('sentntp'))
    const rtp = parseNumber(stanza.get('sentrtp'))
    if (Number.isNaN(ntp) || !(rtp >= 0)) return
    if (Number.isNaN(stream.firstNtp)) {
      stream.firstNtp = ntp
      stream.firstRtp = rtp
    }
    stream.lastNtp = ntp
    stream.lastRtp = rtp
  }

  #block(stream: Stream | null, lost: string, fraction: string, jitter: string, inSeconds: boolean): void {
    if (stream === null) return
    stream.blocks++
    const count = signed(parseNumber(lost))
    if (count >= 0) stream.lost = count
    const share = parseNumber(fraction)
    if (share >= 0 && share <= 255) stream.fraction += share
    const value = parseNumber(jitter)
    if (!(value >= 0 && value < 2 ** 32)) return
    if (inSeconds) {
      stream.seconds += value
      stream.secondsMax = Math.max(stream.secondsMax, value)
      stream.secondBlocks++
    } else {
      stream.units += value
      stream.unitsMax = Math.max(stream.unitsMax, value)
      stream.unitBlocks++
    }
  }
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

/** The clock rate that a stream's sender reports show, or 0. */
function clockOf({ firstNtp, firstRtp, lastNtp, lastRtp }: Stream): number {
  const seconds = lastNtp - firstNtp
  if (!(seconds >= 1)) return 0
  const units = (lastRtp - firstRtp + 2 ** 32) % 2 ** 32
  const rate = units / seconds
  return CLOCK_RATES.find((known) => Math.abs(rate / known - 1) < 0.03) ?? 0
}
