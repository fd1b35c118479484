/**
 * What one direction of a leg's media sent and lost, out of reports whose figures are cumulative.
 *
 * A stream is told by its synchronisation source (SSRC, RFC 3550 §5.1), so that audio and video on one port are two.
 * But some builds of Asterisk write the seconds of the NTP clock in its place, which are others in each report: there
 * is nothing to tell streams by then but address and direction. Both are kept until the leg is over, when it shows
 * which holds.
 *
 * A counter that falls back is that of a new stream (a re-INVITE, another codec): its totals add to those before.
 */
const MAX_STREAMS = 16
/** RTP clock rates of audio and video (RFC 3551, RFC 7587, RFC 3190). */
const CLOCK_RATES = [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000]
/** From 1900, where NTP begins, to 1970. */
const NTP_SECONDS = 2_208_988_800
const DAY_SECONDS = 86_400
/** So many sources, each in one report: no stream changes its source so often. */
const UNSTABLE_REPORTS = 3
/** Sequence numbers go on by so many at most between two reports of one stream: a quarter of their range. */
const MAX_SEQUENCE_STEP = 16_384

/** A sender report. Times are NaN where it has none. */
export interface SenderReport {
  readonly ssrc: string
  readonly packets: number
  /** s */
  readonly ntp: number
  /** RTP timestamp units. */
  readonly rtp: number
}

/** A report block on the stream. Values are NaN where it has none. */
export interface ReportBlock {
  readonly ssrc: string
  /** Its place in the report. */
  readonly place: number
  /** Cumulative, signed. */
  readonly lost: number
  /** 256ths */
  readonly fraction: number
  readonly jitter: number
  /** The jitter's unit: s, or RTP timestamp units. */
  readonly inSeconds: boolean
  /** Highest sequence number, 16 bits. */
  readonly sequence: number
}

/** A number that only grows, of streams that follow each other. */
class Counter {
  #before = 0
  #last = NaN

  get total(): number {
    return this.#before + (Number.isNaN(this.#last) ? 0 : this.#last)
  }

  set(value: number): void {
    this.#last = value
  }

  /** What comes now is another stream's. */
  restart(): void {
    if (Number.isNaN(this.#last)) return
    this.#before += this.#last
    this.#last = NaN
  }
}

class Stream {
  readonly #packets = new Counter()
  readonly #lost = new Counter()
  #lastPackets = -1
  #lastLost = NaN
  /** Its sender has begun anew since the last report on it. */
  #restarted = false
  #lastSequence = NaN
  #lastSsrc = ''
  #firstNtp = NaN
  #firstRtp = NaN
  #lastNtp = NaN
  #lastRtp = NaN
  blocks = 0
  units = 0
  unitsMax = 0
  unitBlocks = 0
  seconds = 0
  secondsMax = 0
  secondBlocks = 0

  get packets(): number {
    return this.#packets.total
  }

  get lost(): number {
    return this.#lost.total
  }

  sender({ packets, ntp, rtp }: SenderReport): void {
    const fellBack = packets < this.#lastPackets
    if (fellBack) {
      this.#packets.restart()
      this.#restarted = true
    }
    this.#packets.set(packets)
    this.#lastPackets = packets
    if (Number.isNaN(ntp) || !(rtp >= 0)) return
    if (fellBack || Number.isNaN(this.#firstNtp)) {
      this.#firstNtp = ntp
      this.#firstRtp = rtp
    }
    this.#lastNtp = ntp
    this.#lastRtp = rtp
  }

  block({ lost, sequence, ssrc, jitter, inSeconds }: ReportBlock): void {
    this.blocks++
    if (lost >= 0) {
      if (this.#restarted || (lost < this.#lastLost && this.#isOfAnother(lost, sequence, ssrc))) this.#lost.restart()
      this.#restarted = false
      this.#lost.set(lost)
      this.#lastLost = lost
    }
    this.#lastSequence = sequence
    this.#lastSsrc = ssrc
    if (!(jitter >= 0 && jitter < 2 ** 32)) return
    if (inSeconds) {
      this.seconds += jitter
      this.secondsMax = Math.max(this.secondsMax, jitter)
      this.secondBlocks++
    } else {
      this.units += jitter
      this.unitsMax = Math.max(this.unitsMax, jitter)
      this.unitBlocks++
    }
  }

  /** Whether a number of losses that fell is another stream's: packets that come twice make it fall too. */
  #isOfAnother(lost: number, sequence: number, ssrc: string): boolean {
    const step = (sequence - this.#lastSequence + 65_536) % 65_536
    return Number.isNaN(step) ? ssrc !== this.#lastSsrc && lost * 2 < this.#lastLost : step > MAX_SEQUENCE_STEP
  }

  /** The clock rate that its sender reports show, or 0. */
  get clockRate(): number {
    const seconds = this.#lastNtp - this.#firstNtp
    if (!(seconds >= 1)) return 0
    const units = (this.#lastRtp - this.#firstRtp + 2 ** 32) % 2 ** 32
    const rate = units / seconds
    return CLOCK_RATES.find((known) => Math.abs(rate / known - 1) < 0.03) ?? 0
  }
}

/** Streams by name, as many as there is room for. */
class Streams {
  readonly #byName = new Map<string, Stream>()

  get all(): Stream[] {
    return [...this.#byName.values()]
  }

  of(name: string): Stream | null {
    let stream = this.#byName.get(name)
    if (stream === undefined && this.#byName.size < MAX_STREAMS) this.#byName.set(name, (stream = new Stream()))
    return stream ?? null
  }
}

/** How often sources change from report to report. */
class Sources {
  readonly #seen = new Set<string>()
  #reports = 0
  #clocks = 0

  add(ssrc: string, atMs: number): void {
    this.#reports++
    const distance = Number(ssrc) - NTP_SECONDS - atMs / 1000
    if (Math.abs(distance) < DAY_SECONDS) this.#clocks++
    if (this.#seen.size <= MAX_STREAMS) this.#seen.add(ssrc)
  }

  /** They name no stream. */
  get unstable(): boolean {
    return (
      this.#seen.size > MAX_STREAMS ||
      (this.#clocks > 0 && this.#clocks === this.#reports) ||
      (this.#reports >= UNSTABLE_REPORTS && this.#seen.size === this.#reports)
    )
  }
}

export class Direction {
  readonly #bySource = new Streams()
  readonly #byAddress = new Streams()
  readonly #senders = new Sources()
  readonly #reported = new Sources()
  fraction = 0
  blocks = 0

  /** @param address the other end's; empty where the report says none */
  sender(report: SenderReport, address: string, atMs: number): void {
    this.#senders.add(report.ssrc, atMs)
    this.#bySource.of(report.ssrc)?.sender(report)
    this.#byAddress.of(`0 ${address}`)?.sender(report)
  }

  block(block: ReportBlock, address: string, atMs: number): void {
    if (block.place === 0) this.#reported.add(block.ssrc, atMs)
    this.#bySource.of(block.ssrc)?.block(block)
    this.#byAddress.of(`${block.place} ${address}`)?.block(block)
    this.blocks++
    if (block.fraction >= 0 && block.fraction <= 255) this.fraction += block.fraction
  }

  /** The streams that hold. */
  get #streams(): Stream[] {
    return (this.#senders.unstable || this.#reported.unstable ? this.#byAddress : this.#bySource).all
  }

  get packets(): number {
    return this.#streams.reduce((sum, { packets }) => sum + packets, 0)
  }

  get lost(): number {
    return this.#streams.reduce((sum, { lost }) => sum + lost, 0)
  }

  /** Packets of the streams on which somebody reported. */
  get reportedPackets(): number {
    return this.#streams.reduce((sum, { packets, blocks }) => (blocks > 0 ? sum + packets : sum), 0)
  }

  /** Losses of the streams that say how much they sent. */
  get reportedLost(): number {
    return this.#streams.reduce((sum, { packets, lost }) => (packets > 0 ? sum + lost : sum), 0)
  }

  /** 0: not known. */
  get clockRate(): number {
    return this.#streams.map(({ clockRate }) => clockRate).find((rate) => rate > 0) ?? 0
  }

  /** Reports that say the jitter, their sum and their maximum, ms. @param clockRateHz where the streams' is not known */
  jitter(clockRateHz: number): { readonly blocks: number; readonly sum: number; readonly max: number } {
    let blocks = 0,
      sum = 0,
      max = 0
    for (const stream of this.#streams) {
      const rate = stream.clockRate || clockRateHz
      blocks += stream.unitBlocks + stream.secondBlocks
      sum += (stream.seconds + stream.units / rate) * 1000
      max = Math.max(max, stream.secondsMax * 1000, (stream.unitsMax / rate) * 1000)
    }
    return { blocks, sum, max }
  }
}
