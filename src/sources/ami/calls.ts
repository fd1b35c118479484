/**
 * `Cdr` events to calls. Asterisk writes a record for each pair of channels that had to do with each other, so one call
 * may give many: every attempt of a ring group, the `h` extension that runs after the hang-up, both halves of a
 * `Local/` channel.
 *
 * A call (`rows: calls`) is what one *calling channel* did; all records of a channel are written together, when it
 * ends, and are held for a moment (`settleMs`) to be looked at together:
 *
 * - a record of the `h` extension is none
 * - a `Local/` channel only ties other legs together: its records are none, unless it began everything
 *   (`originated.ts`): an originated call has no other beginning
 * - the record of an outgoing leg, which Asterisk has made to ring somebody (`AppDial`, no destination, its UniqueID is
 *   not the LinkedID), is the far end of a call. In doubt it is kept: where it talked to somebody, and no caller's
 *   record tells of that
 * - of the answered records those that overlap in time are one conversation (parallel attempts, a conference's pairs):
 *   the longest counts
 * - if nothing was answered, the longest attempt stands for all of them
 *
 * What the record lacks comes from `Hangup` and `CEL` of the same channel, if they come in time: its LinkedID, the
 * cause of its end, its answer.
 */
import { createHash } from 'node:crypto'
import type { Refusal } from '../../batch/batch.js'
import type { LocalTime } from '../../formats/local-time.js'
import { DISPOSITION_WORDS } from '../../formats/mapping.js'
import { isReadable, type RecordFields } from '../../formats/record-writer.js'
import type { Stanza } from './stanzas.js'
import { parseNumber, parseTime } from './times.js'

/** What other events said of a channel. */
export interface ChannelFacts {
  linkedId: string
  /** ITU-T Q.850; 0: not known. */
  cause: number
  answerMs: number
  /** The SIP Call-ID, where a mapped column of the `Cdr` gave it. */
  callId: string
  /** It is over: what is still said of its media comes late. */
  ended: boolean
  /** Conversations that were taken already. */
  taken: Span[]
}

export interface Span {
  readonly from: number
  readonly to: number
}

export interface CdrRow {
  readonly uniqueId: string
  readonly linkedId: string
  readonly callId: string
  readonly channel: string
  readonly destination: string
  readonly destinationChannel: string
  readonly lastApplication: string
  readonly lastData: string
  /** Made by an application that rings somebody: the far end of another channel's call, or of nobody's. */
  readonly isOutgoingLeg: boolean
  readonly disposition: string | null
  readonly startMs: number
  readonly answerMs: number | null
  readonly endMs: number | null
  readonly billableSeconds: number
  readonly durationSeconds: number
  readonly fields: RecordFields
}

/**
 * Names that a column with the SIP Call-ID is given in `cdr_manager.conf`, in small letters; the mapping `asterisk-cdr`
 * knows the same.
 */
const CALL_ID_KEYS = ['sipcallid', 'sip_call_id', 'pjsip_call_id', 'pjsipcallid']

/** What an outgoing leg runs, and the data that Asterisk gives it (app_dial, app_queue, app_followme). */
const OUTGOING_APPLICATIONS: ReadonlySet<string> = new Set(['AppDial', 'AppQueue'])
/** What rings on behalf of the dialplan (Page) as of nobody (Originate): only the ids tell which. */
const OUTGOING_OR_ORIGINATED = 'AppDial2'
const OUTGOING_DATA = '(Outgoing Line)'

/** Conversations remembered of a channel. */
const MAX_SPANS = 32

const DISPOSITIONS: ReadonlyMap<string, string | null> = new Map([
  ...['ANSWERED', 'NO_ANSWER', 'BUSY', 'FAILED', 'CONGESTION', 'CANCELLED'].map((name): [string, string] => [
    name.replace('_', ''),
    name,
  ]),
  ...Object.entries(DISPOSITION_WORDS),
])

export function newFacts(): ChannelFacts {
  return { linkedId: '', cause: 0, answerMs: NaN, callId: '', ended: false, taken: [] }
}

/** Reads a `Cdr` event. @returns why it is none, for quarantine */
export function readCdr(stanza: Stanza, clock: LocalTime): CdrRow | Refusal {
  const uniqueId = stanza.get('uniqueid')
  const startMs = parseTime(stanza.get('starttime'), clock)
  if (startMs === null) return 'no_start_time'
  const answerMs = parseTime(stanza.get('answertime'), clock)
  const endMs = parseTime(stanza.get('endtime'), clock)
  const durationSeconds = parseNumber(stanza.get('duration'))
  const billableSeconds = parseNumber(stanza.get('billableseconds'))
  const word = stanza
    .get('disposition')
    .toUpperCase()
    .replace(/[^A-Z]/g, '')
  const disposition = word === '' ? null : DISPOSITIONS.get(word)
  if (
    uniqueId === '' ||
    Number.isNaN(startMs) ||
    Number.isNaN(answerMs) ||
    Number.isNaN(endMs) ||
    disposition === undefined
  )
    return 'bad_value'
  const lastApplication = stanza.get('lastapplication')
  const lastData = stanza.get('lastdata')
  const caller = readCallerId(stanza.get('callerid'))
  const source = stanza.get('source')
  const linkedId = stanza.get('linkedid')
  const callId = CALL_ID_KEYS.map((key) => stanza.get(key)).find((value) => value !== '' && isReadable(value)) ?? ''
  return {
    uniqueId,
    linkedId,
    callId,
    channel: stanza.get('channel'),
    destination: stanza.get('destination'),
    destinationChannel: stanza.get('destinationchannel'),
    lastApplication,
    lastData,
    isOutgoingLeg:
      lastApplication !== OUTGOING_OR_ORIGINATED &&
      (OUTGOING_APPLICATIONS.has(lastApplication) || lastData === OUTGOING_DATA),
    disposition,
    startMs,
    answerMs,
    endMs,
    billableSeconds: Number.isNaN(billableSeconds) ? 0 : billableSeconds,
    durationSeconds: Number.isNaN(durationSeconds) ? 0 : durationSeconds,
    fields: {
      account: stanza.get('accountcode'),
      calling: source !== '' && (isReadable(source) || caller.number === '') ? source : caller.number,
      called: stanza.get('destination'),
      calling_name: caller.name,
      start_ms: startMs,
      answer_ms: answerMs,
      end_ms: endMs,
      duration_seconds: durationSeconds,
      billable_seconds: billableSeconds,
      disposition,
      origin: 'CDR',
    },
  }
}

/**
 * `"Name" <number>`, `Name <number>`, or one of the two, as `values.ts` reads them of files. The name may hold quotes
 * in any escaping.
 */
function readCallerId(text: string): { readonly name: string; readonly number: string } {
  let name = text.trim()
  let number = ''
  const open = name.endsWith('>') ? name.lastIndexOf('<') : -1
  if (open >= 0) {
    number = name.slice(open + 1, -1)
    name = name.slice(0, open).trimEnd()
  } else if (/^[0-9+*#]+$/.test(name)) {
    number = name
    name = ''
  }
  if (name.length >= 2 && name.startsWith('"') && name.endsWith('"')) name = name.slice(1, -1)
  return { name, number: number === 'unknown' ? '' : number }
}

/**
 * Whether a record is that of a call's far end, and so none of a call.
 * @param farEndSeconds the longest conversation, s, in whose record its channel is the far end; NaN: there is none
 */
export function isFarEnd(row: CdrRow, linkedId: string, farEndSeconds: number): boolean {
  const outgoing = row.isOutgoingLeg || (linkedId !== '' && row.lastApplication === OUTGOING_OR_ORIGINATED)
  if (!outgoing || row.destination !== '' || linkedId === row.uniqueId) return false
  // Times are whole seconds, and rounded.
  return row.billableSeconds === 0 || row.destinationChannel === '' || row.billableSeconds <= farEndSeconds + 1
}

/**
 * The records of a channel that are calls.
 * @param taken conversations of it that were taken before; those taken now are added
 */
export function pickRows(rows: readonly CdrRow[], taken: Span[]): CdrRow[] {
  const picked: CdrRow[] = []
  const answered = rows
    .filter((row) => row.disposition === 'ANSWERED')
    .sort((a, b) => b.billableSeconds - a.billableSeconds)
  for (const row of answered) {
    const span = spanOf(row)
    if (taken.some((other) => overlap(span, other))) continue
    remember(taken, span)
    picked.push(row)
  }
  if (taken.length > 0) return picked
  let longest: CdrRow | null = null
  for (const row of rows) if (longest === null || row.durationSeconds >= longest.durationSeconds) longest = row
  if (longest === null) return picked
  remember(taken, spanOf(longest))
  return [longest]
}

function spanOf({ startMs, answerMs, endMs }: CdrRow): Span {
  const from = answerMs ?? startMs
  return { from, to: Math.max(from, endMs ?? from) }
}

/** One may begin in the second in which the other ends: times are whole seconds. */
function overlap(a: Span, b: Span): boolean {
  if (a.from === a.to) return a.from >= b.from && a.from <= b.to
  if (b.from === b.to) return b.from >= a.from && b.from <= a.to
  return a.from < b.to && b.from < a.to
}

function remember(taken: Span[], span: Span): void {
  if (taken.length >= MAX_SPANS) taken.shift()
  taken.push(span)
}

/** The record's fields, completed with what other events said. */
export function completeCall(row: CdrRow, facts: ChannelFacts): RecordFields {
  const answeredMs =
    row.answerMs ?? (row.disposition === 'ANSWERED' && !Number.isNaN(facts.answerMs) ? facts.answerMs : null)
  return {
    ...row.fields,
    answer_ms: answeredMs,
    call_id: row.callId || facts.callId || row.uniqueId,
    linked_id: row.linkedId || facts.linkedId,
    hangup_cause: facts.cause > 0 ? facts.cause : null,
  }
}

/**
 * What a record is known again by. The hash has no key, so it must not leave the process: the spool keeps an HMAC of it
 * under the day's key (`spool/seen.ts`).
 */
export function rowId(node: string, row: CdrRow): string {
  const parts = [
    node,
    row.uniqueId,
    row.startMs,
    row.answerMs,
    row.endMs,
    row.channel,
    row.destinationChannel,
    row.destination,
  ]
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}

/** Takes what a `CEL` event says that completes a call record. */
export function learnFromCel(stanza: Stanza, facts: ChannelFacts, clock: LocalTime): boolean {
  const linkedId = stanza.get('linkedid')
  const learnt = linkedId !== '' && linkedId !== facts.linkedId
  if (linkedId !== '') facts.linkedId = linkedId
  switch (stanza.get('eventname').toUpperCase()) {
    case 'ANSWER': {
      const time = parseTime(stanza.get('eventtime'), clock)
      if (time === null || Number.isNaN(time) || !Number.isNaN(facts.answerMs)) return learnt
      facts.answerMs = time
      return true
    }
    case 'HANGUP': {
      const cause = causeOf(stanza.get('extra'))
      if (cause > 0) facts.cause = cause
      return learnt || cause > 0
    }
    default:
      return learnt
  }
}

/** The cause of a channel's end that a `CEL` event says; 0: none. */
export function celCause(stanza: Stanza): number {
  return stanza.get('eventname').toUpperCase() === 'HANGUP' ? causeOf(stanza.get('extra')) : 0
}

/** CEL's extra: `16,PJSIP/…,ANSWER` up to Asterisk 11, JSON after. */
function causeOf(extra: string): number {
  const found = /^(\d{1,3})(?:,|$)/.exec(extra) ?? /"hangupcause"\s*:\s*"?(\d{1,3})\b/.exec(extra)
  return found === null ? 0 : asCause(found[1])
}

/** A Q.850 cause value, 0 for none. */
export function asCause(text: string): number {
  const cause = /^\d{1,3}$/.test(text) ? Number(text) : 0
  return cause <= 127 ? cause : 0
}
