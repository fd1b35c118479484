/**
 * Statistics of the media that BYE and its answer carry: `X-RTP-Stat`, `X-RTP-Stats`, `P-RTP-Stat`. Each of them is
 * `PS=…;PR=…;PL=…`, and what stands for what in which unit depends on who has written it: {@link DIALECTS}.
 *
 * Counts (`PS`, `PR`, `PL`), codecs (`EN`, `DE`) and addresses (`IP`) mean the same in all that is documented. Of
 * pairs, `PL=22,33` and `JI=23,2`, the first is about what the sender of the header received.
 */
import { ipOf } from './address.js'
import type { SipHeader, SipMessage } from './message.js'

/** What a header says, by the names of `Quality`'s fields. */
export type RtpStatistics = Readonly<Record<string, number | string>>
type Fields = Record<string, number | string>

/** What a dialect makes of the parameters that others read otherwise, or do not have. */
interface Dialect {
  /** Where its meaning is written down. */
  readonly source: string
  /** Whether a header is of it; the first that says so has it. */
  readonly told: (header: SipHeader, parameters: ReadonlyMap<string, string>, separator: ';' | ',') => boolean
  /** Parameter → field, in the field's own unit. What is not here is left out. */
  readonly figures: Readonly<Record<string, string>>
  /** The parameter that is jitter in units of the RTP timestamp. */
  readonly jitterUnits?: string
}

const DIALECTS: readonly Dialect[] = [
  {
    // `CS` is call set-up in ms, `CD` the duration in s since the answer, and `JI` in units of the timestamp.
    source: "baresip's rtpstat.c",
    told: (_, parameters) => /^baresip$/i.test(parameters.get('EX') ?? ''),
    figures: { CD: 'duration_seconds' },
    jitterUnits: 'JI',
  },
  {
    // Whoever names itself has a dialect of its own: a unit would be a guess.
    source: 'none',
    told: (_, parameters) => parameters.has('EX'),
    figures: {},
  },
  {
    // `DU` is the duration in s, `LA` the delay in ms.
    source: 'Linksys SPA and Cisco SPA administration guides, "Stats In BYE"',
    told: (header) => header === 'p-rtp-stat',
    figures: { JI: 'jitter_ms', LA: 'round_trip_ms', DU: 'duration_seconds' },
  },
  {
    // `LA` is the decoder's delay or the depth of the jitter buffer: no trip. `MOS` is worked out from loss alone.
    source: 'Poly ATA 400 and OBi administration guides, X_InsertRTPStats',
    told: (_, parameters, separator) => separator === ',' || parameters.has('MOS'),
    figures: { JI: 'jitter_ms', DU: 'duration_seconds', MOS: 'mos_lq' },
  },
  {
    // `CS` is call set-up in ms and no duration; `ES`, `ER`, `RB`, `DL` are its own.
    source: "AVM's specification of X-RTP-Stat (Iptelorg QoS, 2005; version 3.2)",
    told: (_, parameters) => ['CS', 'ES', 'ER', 'SP', 'RB', 'DL'].some((name) => parameters.has(name)),
    figures: { JI: 'jitter_ms' },
  },
  {
    source: 'AudioCodes MediaPack and Mediant SIP manuals, QoSStatistics',
    told: () => true,
    figures: { JI: 'jitter_ms', LA: 'round_trip_ms', DU: 'duration_seconds' },
  },
]

const COUNTS: Readonly<Record<string, string>> = { PS: 'packets_sent', PR: 'packets_received', PL: 'packets_lost' }

const HEADERS: readonly SipHeader[] = ['x-rtp-stat', 'p-rtp-stat', 'x-rtp-stats']
/** Longest header that is looked at. */
const MAX_CHARS = 1024
/** A week: no call lasts longer, and a duration that says so would make a call begin in another year. */
const MAX_DURATION_SECONDS = 604_800
/** Of timestamps, Hz, where the header names no codec: what nearly all telephone codecs have (RFC 3551 §6). */
const DEFAULT_CLOCK_HZ = 8000

/** Reads the statistics of a message; null where there are none, and for a side that sent and got nothing. */
export function rtpStatisticsOf(message: SipMessage): RtpStatistics | null {
  for (const header of HEADERS) {
    const value = message.header(header)
    if (value !== null) return read(header, value.slice(0, MAX_CHARS))
  }
  return null
}

function read(header: SipHeader, text: string): RtpStatistics | null {
  const parameters = parametersOf(text)
  const separator = text.includes(';') ? ';' : ','
  const dialect = DIALECTS.find(({ told }) => told(header, parameters, separator))
  const fields: Fields = {}
  for (const figures of [COUNTS, dialect?.figures ?? {}])
    for (const [name, field] of Object.entries(figures)) numberInto(fields, field, first(parameters, name))
  // What it decoded is what the figures are about.
  const codec = first(parameters, 'DE') || first(parameters, 'EN')
  const [name, clock] = codec.split('/')
  if (name !== '' && name !== '-') fields['codec'] = name
  if (dialect?.jitterUnits !== undefined) {
    numberInto(fields, 'jitter_ms', first(parameters, dialect.jitterUnits))
    const clockHz = /^\d{4,6}$/.test(clock) ? Number(clock) : DEFAULT_CLOCK_HZ
    if (typeof fields['jitter_ms'] === 'number') fields['jitter_ms'] = (fields['jitter_ms'] * 1000) / clockHz
  }
  const [local, remote] = (parameters.get('IP') ?? '').split(',')
  addressInto(fields, 'local_ip', local)
  addressInto(fields, 'remote_ip', remote)
  return checked(fields)
}

/** `NAME=value` with semicolons between, or commas; a value may be a list with commas. The first of a name counts. */
function parametersOf(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const [, name, value] of text.matchAll(/(?<![A-Za-z])([A-Z]{2,4})\s{0,4}=\s{0,4}([^;\s=]{0,128}(?![A-Za-z=]))/g))
    if (!found.has(name)) found.set(name, value)
  return found
}

/** The first of a list. */
function first(parameters: ReadonlyMap<string, string>, name: string): string {
  return (parameters.get(name) ?? '').split(',', 1)[0]
}

function checked(fields: Fields): RtpStatistics | null {
  const duration = fields['duration_seconds']
  if (typeof duration === 'number' && duration > MAX_DURATION_SECONDS) delete fields['duration_seconds']
  const mos = fields['mos_lq']
  if (typeof mos === 'number' && !(mos >= 1 && mos <= 5)) delete fields['mos_lq']
  const received = Number(fields['packets_received'] ?? NaN)
  const lost = Number(fields['packets_lost'] ?? NaN)
  if (received + lost > 0) fields['loss_percent'] = (100 * lost) / (received + lost)
  return (fields['packets_sent'] ?? 0) === 0 && (fields['packets_received'] ?? 0) === 0 ? null : fields
}

function numberInto(fields: Fields, field: string, text: string): void {
  if (/^\d{1,12}(?:\.\d{1,6})?$/.test(text)) fields[field] = Number(text)
}

/** `address:port`, IPv6 in brackets or bare; an address that says *any* is none. */
function addressInto(fields: Fields, field: string, text: string | undefined): void {
  if (text === undefined) return
  const ip = ipOf(text.replace(/(\]|^[^:]*):\d{1,5}$/, '$1'))
  if (ip !== null && !/^[0.:]+$/.test(ip)) fields[field] = ip
}
