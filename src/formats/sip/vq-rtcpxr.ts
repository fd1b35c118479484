/**
 * Call-quality reports as phones and gateways publish them: `application/vq-rtcpxr` (RFC 6035 §4.6), and what is sent
 * under that name.
 *
 * Seen in the wild, and read: the report's line without a colon; `Metrics:` for `LocalMetrics:`; `Timestamps:`; folded
 * and indented lines; `IP= 192.0.2.1`, `IP:192.0.2.1`, `Port=`; `PD=G.711 A-Law`; `JBM=20JBX=240`; `CallID=…`; LF
 * alone; `(null)`; Poly's dialect from before the standard, which has ToID and FromID, and the session's lines after
 * the metrics'.
 *
 * 127 for a score and 65535 for a time mean *unavailable* (RFC 3611 §4.7): such a figure is left out, as is one out of
 * its range.
 */
import type { FieldNameOf } from '../../catalogue/catalogue.js'
import type { FieldValue } from '../record-writer.js'
import { addressOf, ipOf } from './address.js'

/** What a body may have at most. More is not read. */
export const VQ_LIMITS = { bytes: 65_535, lines: 1024, lineChars: 2048, reports: 32 } as const

/** Figures of one end, by the names of `Quality`'s fields. Whoever reads the report may make the record out of them. */
export type VqFigures = Partial<Record<FieldNameOf<'quality'>, FieldValue>>

/** One report. */
export interface VqReport {
  /** Of a session, an interval or an alert, in lower case; an alert's with what it is about. Empty where it says none. */
  readonly kind: string
  readonly callId: string | null
  /** Who reports, and who is at the other end. SIP URIs. */
  readonly localParty: string | null
  readonly remoteParty: string | null
  /** Poly's dialect: which of the two is the reporting end, the report does not say. */
  readonly fromParty: string | null
  readonly toParty: string | null
  /** Who began the call. */
  readonly origParty: string | null
  readonly localIp: string | null
  readonly remoteIp: string | null
  readonly localMac: string | null
  readonly remoteMac: string | null
  /** What the reporting end measured, and what it was told that the other end measured; null where there is nothing. */
  readonly local: VqFigures | null
  readonly remote: VqFigures | null
}

type Session = { -readonly [K in keyof VqReport]: VqReport[K] }

/** Percent, 0 to 100. */
const percent = (value: number): boolean => value >= 0 && value <= 100
/** Milliseconds in 16 bits, of which the last stands for unavailable. */
const time = (value: number): boolean => value >= 0 && value < 65_535
/** A mean opinion score (ITU-T P.800). */
const mos = (value: number): boolean => value >= 1 && value <= 5
/** R (ITU-T G.107); 127 is unavailable. */
const rating = (value: number): boolean => value >= 0 && value <= 120

/** Parameter: the field it fills, and what it may be. */
const FIGURES: readonly (readonly [
  parameter: string,
  field: FieldNameOf<'quality'>,
  fits: (value: number) => boolean,
])[] = [
  ['MOSLQ', 'mos_lq', mos],
  ['MOSCQ', 'mos_cq', mos],
  ['RCQ', 'r_factor', rating],
  ['RLQ', 'r_factor', rating],
  ['NLR', 'loss_percent', percent],
  ['JDR', 'discard_percent', percent],
  ['IAJ', 'jitter_ms', time],
  ['MAJ', 'jitter_ms', time],
  ['RTD', 'round_trip_ms', time],
  ['ESD', 'end_system_delay_ms', time],
  ['OWD', 'one_way_delay_ms', time],
  ['SOWD', 'one_way_delay_ms', time],
  ['BLD', 'burst_loss_percent', percent],
  ['BD', 'burst_ms', time],
  ['GLD', 'gap_loss_percent', percent],
  ['GD', 'gap_ms', time],
]

/** All parameters of RFC 6035: they tell where a value ends that has a space in it, or none behind it. */
const PARAMETERS: ReadonlySet<string> = new Set([
  ...FIGURES.map(([name]) => name),
  'START',
  'STOP',
  'PT',
  'PD',
  'SR',
  'FD',
  'FO',
  'FPP',
  'PPS',
  'PLC',
  'SSUP',
  'JBA',
  'JBR',
  'JBN',
  'JBM',
  'JBX',
  'GMIN',
  'SL',
  'NL',
  'RERL',
  'RLQESTALG',
  'RCQESTALG',
  'EXTRI',
  'EXTRIESTALG',
  'EXTRO',
  'EXTROESTALG',
  'MOSLQESTALG',
  'MOSCQESTALG',
  'QOEESTALG',
  'IP',
  'PORT',
  'SSRC',
  'TYPE',
  'SEVERITY',
  'DIR',
])

/** Static payload types (RFC 3551 §6) of the codecs that telephones use. */
const PAYLOAD_TYPES: Readonly<Record<string, string>> = {
  0: 'PCMU',
  3: 'GSM',
  4: 'G723',
  8: 'PCMA',
  9: 'G722',
  15: 'G728',
  18: 'G729',
}

const METRIC_LINES: ReadonlySet<string> = new Set([
  'timestamps',
  'sessiondesc',
  'jitterbuffer',
  'packetloss',
  'burstgaploss',
  'delay',
  'signal',
  'qualityest',
])

const SESSION_LINES: ReadonlySet<string> = new Set([
  'callid',
  'localid',
  'remoteid',
  'origid',
  'fromid',
  'toid',
  'localgroup',
  'remotegroup',
  'localaddr',
  'remoteaddr',
  'localmac',
  'remotemac',
  'dialogid',
])

function isKnownLine(name: string): boolean {
  return SESSION_LINES.has(name) || METRIC_LINES.has(name) || REPORTS.has(name) || SECTIONS.has(name)
}

const REPORTS: ReadonlySet<string> = new Set(['vqsessionreport', 'vqintervalreport', 'vqalertreport'])
const SECTIONS: ReadonlyMap<string, 'local' | 'remote'> = new Map([
  ['metrics', 'local'],
  ['localmetrics', 'local'],
  ['remotemetrics', 'remote'],
])

function emptySession(): Session {
  return {
    kind: '',
    callId: null,
    localParty: null,
    remoteParty: null,
    fromParty: null,
    toParty: null,
    origParty: null,
    localIp: null,
    remoteIp: null,
    localMac: null,
    remoteMac: null,
    local: null,
    remote: null,
  }
}

/**
 * Reads a body.
 * @returns its reports, which may have no figure at all; null for what is no such body
 */
export function readVqRtcpxr(body: Uint8Array): VqReport[] | null {
  if (body.length > VQ_LIMITS.bytes) return null
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
  const reports: Session[] = []
  let session = emptySession()
  let side: 'local' | 'remote' = 'local'
  let known = false
  for (const line of linesOf(text)) {
    const name = lineName(line)
    if (name === '') continue
    const value = valueOf(line, name.length)
    if (REPORTS.has(name)) {
      if (known) reports.push(session)
      if (reports.length === VQ_LIMITS.reports) return reports
      session = emptySession()
      session.kind = name === 'vqalertreport' ? `${name} ${value.toLowerCase()}` : name
      side = 'local'
      known = true
    } else if (SECTIONS.has(name)) {
      side = SECTIONS.get(name) ?? side
      known = true
    } else if (METRIC_LINES.has(name)) {
      known = true
      readFigures(value, (session[side] ??= {}))
    } else if (SESSION_LINES.has(name)) readSession(name, value, session)
  }
  if (known) reports.push(session)
  return reports.length === 0 ? null : reports
}

/**
 * Lines without their ends, those that are folded (RFC 3261 §7.3.1) put together; an indented line with a name of its
 * own is one.
 */
function linesOf(text: string): string[] {
  const lines: string[] = []
  let at = 0
  while (at < text.length && lines.length < VQ_LIMITS.lines) {
    let eol = text.indexOf('\n', at)
    if (eol < 0) eol = text.length
    const line = text.slice(at, Math.min(eol, at + VQ_LIMITS.lineChars))
    at = eol + 1
    const folded = line.startsWith(' ') || line.startsWith('\t')
    const trimmed = line.trim()
    if (folded && lines.length > 0 && lineName(trimmed) === '') {
      const last = lines[lines.length - 1]
      if (last.length + trimmed.length < VQ_LIMITS.lineChars) lines[lines.length - 1] = `${last} ${trimmed}`
    } else lines.push(trimmed)
  }
  return lines
}

/** Name of a line, in lower case; empty where it has none that is known. */
function lineName(line: string): string {
  let end = 0
  while (end < line.length && end < 20 && isLetter(line.charCodeAt(end))) end++
  if (end === 0 || end === 20) return ''
  const name = line.slice(0, end).toLowerCase()
  return isKnownLine(name) ? name : ''
}

function valueOf(line: string, nameLength: number): string {
  let at = nameLength
  while (line[at] === ' ' || line[at] === '\t') at++
  if (line[at] === ':' || line[at] === '=') at++
  return line.slice(at).trim()
}

function isLetter(code: number): boolean {
  return (code | 32) >= 97 && (code | 32) <= 122
}

function readSession(name: string, value: string, session: Session): void {
  if (value === '' || value === '(null)') return
  switch (name) {
    case 'callid':
      session.callId = value
      return
    case 'localid':
      session.localParty = partyOf(value)
      return
    case 'remoteid':
      session.remoteParty = partyOf(value)
      return
    case 'origid':
      session.origParty = partyOf(value)
      return
    case 'fromid':
      session.fromParty = partyOf(value)
      return
    case 'toid':
      session.toParty = partyOf(value)
      return
    case 'localaddr':
      session.localIp = addressIp(value)
      return
    case 'remoteaddr':
      session.remoteIp = addressIp(value)
      return
    case 'localmac':
      session.localMac = value
      return
    case 'remotemac':
      session.remoteMac = value
      return
    // Poly's dialect gives no CallID in some releases, yet a DialogID that begins with it.
    case 'dialogid':
      session.callId ??= value.split(';', 1)[0].trim() || null
  }
}

function partyOf(value: string): string | null {
  return addressOf(value)?.uri ?? null
}

const ADDRESS_IP = /(?<![A-Za-z])IP\s{0,8}[=:]\s{0,8}(\[?[0-9A-Fa-f:.]{2,45}\]?)/i

function addressIp(value: string): string | null {
  const found = ADDRESS_IP.exec(value)
  return found === null ? null : ipOf(found[1])
}

/** Reads `NAME=value NAME=value …` of one line. */
function readFigures(line: string, figures: VqFigures): void {
  let equals = line.indexOf('=')
  let nameStart = nameBefore(line, equals, 0)
  let payloadType = ''
  while (equals >= 0) {
    const next = line.indexOf('=', equals + 1)
    const nextStart = next < 0 ? line.length : nameBefore(line, next, equals + 1)
    const name = line.slice(nameStart, equals).trim().toUpperCase()
    const value = line.slice(equals + 1, nextStart).trim()
    if (name === 'START') timeInto(figures, 'start_ms', value)
    else if (name === 'STOP') timeInto(figures, 'end_ms', value)
    else if (name === 'PD') textInto(figures, 'codec', value)
    else if (name === 'PT') payloadType = value
    else numberInto(figures, name, value)
    nameStart = nextStart
    equals = next
  }
  if (figures['codec'] === undefined && Object.hasOwn(PAYLOAD_TYPES, payloadType))
    figures['codec'] = PAYLOAD_TYPES[payloadType]
}

/**
 * Where the name before the sign at `equals` begins: the letters before it; where a value runs into it
 * (`SSUP=offPLC=3`), the longest end of them that is a parameter.
 */
function nameBefore(line: string, equals: number, from: number): number {
  let end = equals
  while (end > from && (line[end - 1] === ' ' || line[end - 1] === '\t')) end--
  let start = end
  while (start > from && end - start < 24 && isLetter(line.charCodeAt(start - 1))) start--
  for (let at = start; at < end; at++) if (PARAMETERS.has(line.slice(at, end).toUpperCase())) return at
  return start
}

const NUMBER = /^-?\d{1,9}(?:[.,]\d{1,9})?(?![\d.,])/

function numberInto(figures: VqFigures, name: string, value: string): void {
  const known = BY_PARAMETER.get(name)
  if (known === undefined) return
  const [, field, fits] = known
  if (figures[field] !== undefined && SECOND_CHOICES.has(name)) return
  const number = NUMBER.exec(value)
  if (number === null) return
  const figure = Number(number[0].replace(',', '.'))
  if (fits(figure)) figures[field] = figure
}

const BY_PARAMETER = new Map(FIGURES.map((figure) => [figure[0], figure]))

/**
 * Stand in where the other parameter of their field is not given: listening R for conversational, MAJ for IAJ, half the
 * way there and back for one.
 */
const SECOND_CHOICES: ReadonlySet<string> = new Set(['RLQ', 'MAJ', 'SOWD'])

function textInto(figures: VqFigures, field: FieldNameOf<'quality'>, value: string): void {
  const text = value.replace(/^"|"$/g, '').trim()
  if (text !== '' && text !== '(null)') figures[field] = text
}

/** RFC 3339 §5.6; UTC where it says no offset, as the standard's grammar asks for. */
const DATE_TIME = /^"?(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)\s?(Z|[+-]\d{2}:?\d{2})?/i
/** A clock that was never set starts in 1970 or at its firmware's making: what is before this says nothing. */
const EARLIEST_MS = Date.UTC(2010, 0, 1)

function timeInto(figures: VqFigures, field: FieldNameOf<'quality'>, value: string): void {
  const found = DATE_TIME.exec(value)
  if (found === null) return
  const ms = Date.parse(`${found[1]}T${found[2]}${((found[3] as string | undefined) ?? 'Z').toUpperCase()}`)
  if (ms >= EARLIEST_MS) figures[field] = ms
}
