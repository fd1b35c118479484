/**
 * A FreeSWITCH CDR as records: a `Call` for each party that the caller was put through to (one, but for transfers), a
 * `Quality` where audio was measured, a `Device` where the other end said what it is.
 *
 * Names are those of channel variables and caller profiles (FreeSWITCH documentation, "Channel Variables", "JSON CDR");
 * values go on as they are, `src/normalise` knows what a number or an address is.
 */
import { isIP } from 'node:net'
import type { RecordFields, RecordWriter } from '../record-writer.js'
import type { Cdr, Profile } from './body.js'

/**
 * Which posts become calls: those of the channel that called in (`a`), or those of the channels that it led to as well.
 */
export const LEGS = ['a', 'both'] as const
export type Legs = (typeof LEGS)[number]

/** What a post gave. */
export interface Taken {
  /** Names this channel's CDR and no other: the same again is a repeat. null: it has no uuid. */
  readonly id: string | null
  readonly records: number
}

/** Q.850 §2.2.5 values of FreeSWITCH's names, for versions that do not write `hangup_cause_q850`. */
const CAUSES: Readonly<Record<string, number>> = {
  UNALLOCATED_NUMBER: 1,
  NO_ROUTE_TRANSIT_NET: 2,
  NO_ROUTE_DESTINATION: 3,
  CHANNEL_UNACCEPTABLE: 6,
  CALL_AWARDED_DELIVERED: 7,
  NORMAL_CLEARING: 16,
  USER_BUSY: 17,
  NO_USER_RESPONSE: 18,
  NO_ANSWER: 19,
  SUBSCRIBER_ABSENT: 20,
  CALL_REJECTED: 21,
  NUMBER_CHANGED: 22,
  DESTINATION_OUT_OF_ORDER: 27,
  INVALID_NUMBER_FORMAT: 28,
  FACILITY_REJECTED: 29,
  NORMAL_UNSPECIFIED: 31,
  NORMAL_CIRCUIT_CONGESTION: 34,
  NETWORK_OUT_OF_ORDER: 38,
  NORMAL_TEMPORARY_FAILURE: 41,
  SWITCH_CONGESTION: 42,
  REQUESTED_CHAN_UNAVAIL: 44,
  OUTGOING_CALL_BARRED: 52,
  INCOMING_CALL_BARRED: 54,
  BEARERCAPABILITY_NOTAUTH: 57,
  BEARERCAPABILITY_NOTAVAIL: 58,
  SERVICE_UNAVAILABLE: 63,
  FACILITY_NOT_IMPLEMENTED: 69,
  INCOMPATIBLE_DESTINATION: 88,
  RECOVERY_ON_TIMER_EXPIRE: 102,
  PROTOCOL_ERROR: 111,
  INTERWORKING: 127,
}

/** How a call ended that nobody answered. What is not named has failed. */
const DISPOSITIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    // Hung up in good order, and not answered.
    NORMAL_CLEARING: 'NO_ANSWER',
    NO_ANSWER: 'NO_ANSWER',
    NO_USER_RESPONSE: 'NO_ANSWER',
    ALLOTTED_TIMEOUT: 'NO_ANSWER',
    PROGRESS_TIMEOUT: 'NO_ANSWER',
    USER_BUSY: 'BUSY',
    ORIGINATOR_CANCEL: 'CANCELLED',
    LOSE_RACE: 'CANCELLED',
    PICKED_OFF: 'CANCELLED',
    NORMAL_CIRCUIT_CONGESTION: 'CONGESTION',
    SWITCH_CONGESTION: 'CONGESTION',
    REQUESTED_CHAN_UNAVAIL: 'CONGESTION',
  }),
)

/**
 * `call_direction`, which dialplans set; a channel's own `direction` is another thing: inbound is whoever called
 * FreeSWITCH.
 */
const DIRECTIONS: ReadonlyMap<string, string> = new Map([
  ['inbound', 'INBOUND'],
  ['outbound', 'OUTBOUND'],
  ['local', 'INTERNAL'],
  ['internal', 'INTERNAL'],
])

/** Longest uuid that is taken as one: `origination_uuid` lets operators write anything. */
const UUID_MAX = 128

/** µs, or s where an old version writes no µs, to ms; 0 and what is no time are absent. */
function timeMs(micro: string | undefined, seconds: string | undefined): number | null {
  const us = Number(micro ?? NaN)
  if (us > 0) return Math.floor(us / 1000)
  const s = Number(seconds ?? NaN)
  return s > 0 ? Math.floor(s * 1000) : null
}

function first(...values: readonly (string | undefined)[]): string | null {
  for (const value of values) if (value !== undefined && value !== '') return value
  return null
}

function number(text: string | undefined): number {
  return text === undefined ? NaN : Number(text)
}

function uri(user: string | null | undefined, host: string | undefined): string | null {
  return user === null || user === undefined ? null : host === undefined ? user : `sip:${user}@${host}`
}

interface Times {
  readonly start: number
  readonly answer: number | null
  readonly end: number | null
}

/**
 * Writes the records of a CDR.
 * @returns null if it does not say when it began: then nothing is written, since no record may be without
 */
export function writeCdr(cdr: Cdr, legs: Legs, writer: RecordWriter): Taken | null {
  const { variables: v, profiles } = cdr
  const opening = profiles.at(0)
  const times = timesOf(cdr)
  if (times === null) return null
  const isB = isLegB(cdr)
  const uuid = first(v.get('uuid'), opening?.caller.get('uuid'))
  const before = writer.records
  const common: RecordFields = {
    account: v.get('accountcode'),
    // The SIP Call-ID, so that signalling and phones' reports of the same dialogue have the same token.
    call_id: first(v.get('sip_call_id'), uuid ?? undefined),
    linked_id: first(
      v.get('originating_leg_uuid'),
      v.get('originator'),
      v.get('call_uuid'),
      isB ? v.get('bridge_uuid') : undefined,
      uuid ?? undefined,
    ),
    codec: first(v.get('read_codec'), v.get('rtp_use_codec_name')),
    user_agent: v.get('sip_user_agent'),
  }
  const calling = first(
    opening?.caller.get('caller_id_number'),
    opening?.caller.get('ani'),
    v.get('caller_id_number'),
    v.get('sip_from_uri'),
    v.get('sip_from_user'),
  )
  const called = first(
    opening?.caller.get('destination_number'),
    v.get('destination_number'),
    v.get('dialed_user'),
    v.get('sip_req_user'),
    v.get('sip_to_user'),
  )
  writer.whole(() => {
    if (!isB || legs === 'both') writeCalls(cdr, isB, times, common, { calling, called }, writer)
    writeQuality(
      cdr,
      times,
      common,
      isB ? { local_party: called, remote_party: calling } : { local_party: calling, remote_party: called },
      writer,
    )
    writeDevice(cdr, isB, times, writer)
  })
  return {
    id: uuid === null || uuid.length > UUID_MAX ? null : `${uuid} ${isB ? 'b' : 'a'}`,
    records: writer.records - before,
  }
}

/**
 * A channel that another one made (mod_json_cdr.c asks the same). One that was made by a command is nobody's b-leg,
 * though it went out.
 */
function isLegB({ variables, profiles }: Cdr): boolean {
  return (
    profiles.some(({ originated }) => originated) ||
    variables.has('originating_leg_uuid') ||
    variables.has('originator')
  )
}

function timesOf({ variables: v, profiles }: Cdr): Times | null {
  const last = profiles.at(-1)?.times
  const start =
    timeMs(v.get('start_uepoch'), v.get('start_epoch')) ?? timeMs(profiles.at(0)?.times.get('created_time'), undefined)
  if (start === null) return null
  return {
    start,
    answer: timeMs(v.get('answer_uepoch'), v.get('answer_epoch')) ?? timeMs(last?.get('answered_time'), undefined),
    end: timeMs(v.get('end_uepoch'), v.get('end_epoch')) ?? timeMs(last?.get('hangup_time'), undefined),
  }
}

/**
 * Entries of `callflow`, each the first of those that led to a conversation: where the caller was sent before anybody
 * spoke is one way to one party. Two in a row with the same party are one.
 */
function conversations(profiles: readonly Profile[]): Profile[] {
  const found: Profile[] = []
  let entered: Profile | null = null
  for (const profile of profiles) {
    entered ??= profile
    if (!(number(profile.times.get('bridged_time')) > 0)) continue
    if (found.at(-1)?.caller.get('destination_number') !== entered.caller.get('destination_number')) found.push(entered)
    entered = null
  }
  return found
}

function writeCalls(
  { variables: v, profiles }: Cdr,
  isB: boolean,
  times: Times,
  common: RecordFields,
  parties: RecordFields,
  writer: RecordWriter,
): void {
  const address = first(v.get('sip_network_ip'), profiles.at(0)?.caller.get('network_addr'), v.get('remote_media_ip'))
  const cause = v.get('hangup_cause')
  const octets = number(v.get('rtp_audio_in_media_bytes')) + number(v.get('rtp_audio_out_media_bytes'))
  const call: RecordFields = {
    calling_name: first(profiles.at(0)?.caller.get('caller_id_name'), v.get('caller_id_name')),
    direction: DIRECTIONS.get(v.get('call_direction') ?? ''),
    trunk: first(v.get('sip_gateway_name'), v.get('sip_gateway')),
    // The channel's other end: the caller's on an a-leg, the called party's on a b-leg.
    source_ip: isB ? null : address,
    destination_ip: isB ? address : null,
    origin: 'CDR',
  }
  const end: RecordFields = {
    end_ms: times.end,
    hangup_cause: hangupCause(v.get('hangup_cause_q850'), cause),
    usage_octets: octets,
  }
  const talks = conversations(profiles)
  if (talks.length < 2) {
    const billable = v.get('billsec') ?? seconds(v.get('billmsec')) ?? between(times.answer, times.end)
    const answered = times.answer !== null || number(String(billable)) > 0
    writer.add('call', common, parties, call, end, {
      start_ms: times.start,
      answer_ms: times.answer,
      duration_seconds: v.get('duration') ?? seconds(v.get('mduration')) ?? between(times.start, times.end),
      billable_seconds: billable,
      disposition: answered ? 'ANSWERED' : cause === undefined ? null : (DISPOSITIONS.get(cause) ?? 'FAILED'),
    })
    return
  }
  // Put through to one party after another: a call each, as Asterisk's CDRs have it, whose times follow each other.
  for (let i = 0; i < talks.length; i++) {
    const last = i === talks.length - 1
    const began = (talk: Profile): number | null => timeMs(talk.times.get('profile_created_time'), undefined)
    const start = i === 0 ? times.start : (began(talks[i]) ?? times.start)
    const over = last ? times.end : began(talks[i + 1])
    // The caller's channel was answered once: what came after was answered from its start.
    const answer = i === 0 ? times.answer : start
    writer.add('call', common, call, last ? end : { end_ms: over }, {
      calling: parties['calling'],
      called: i === 0 ? parties['called'] : talks[i].caller.get('destination_number'),
      start_ms: start,
      answer_ms: answer,
      duration_seconds: between(start, over),
      billable_seconds: between(answer, over),
      disposition: 'ANSWERED',
    })
  }
}

function seconds(ms: string | undefined): number | undefined {
  return ms === undefined ? undefined : Number(ms) / 1000
}

function between(from: number | null, to: number | null): number | null {
  return from === null || to === null || to < from ? null : Math.floor((to - from) / 1000)
}

function hangupCause(q850: string | undefined, name: string | undefined): number | null {
  const given = number(q850)
  if (given >= 1 && given <= 127) return given
  return name === undefined || !Object.hasOwn(CAUSES, name) ? null : CAUSES[name]
}

/**
 * What FreeSWITCH measured of the audio that it received on this leg (switch_rtp.c). A figure that was not measured is
 * left out: MOS starts at 4.5 and stays there when no packet was timed, and the loss rate leaps above 1 when sequence
 * numbers wrap.
 */
function writeQuality(
  { variables: v, stats }: Cdr,
  times: Times,
  common: RecordFields,
  parties: RecordFields,
  writer: RecordWriter,
): void {
  const figure = (name: string): number => number(v.get(`rtp_audio_${name}`) ?? stats.get(name))
  const received = figure('in_packet_count')
  const sent = figure('out_packet_count')
  if (!(received > 0 || sent > 0)) return
  const measured = received > 0 && figure('in_mean_interval') > 0
  const mos = figure('in_mos')
  const loss = figure('in_jitter_loss_rate')
  // A variance, ms²: its root is the deviation of the packets' intervals, ms.
  const deviation = Math.sqrt(figure('in_jitter_max_variance'))
  writer.add('quality', common, parties, {
    start_ms: times.start,
    end_ms: times.end,
    duration_seconds: between(times.start, times.end),
    packets_received: received,
    packets_sent: sent,
    mos_lq: measured && mos >= 1 && mos <= 5 ? mos : null,
    jitter_max_ms: measured ? deviation : null,
    loss_percent: measured && loss >= 0 && loss <= 1 ? loss * 100 : null,
    local_ip: v.get('remote_media_ip'),
    origin: 'REPORT',
  })
}

/** The device at the other end, if it said what it is; whose it is, if FreeSWITCH knew it as a user of its own. */
function writeDevice({ variables: v }: Cdr, isB: boolean, times: Times, writer: RecordWriter): void {
  const userAgent = v.get('sip_user_agent')
  if (userAgent === undefined) return
  const party = isB
    ? uri(v.get('dialed_user'), v.get('dialed_domain'))
    : uri(first(v.get('sip_auth_username'), v.get('user_name')), v.get('domain_name'))
  const contact = v.get('sip_contact_host')
  const known = contact !== undefined && isIP(contact) !== 0
  writer.add('device', {
    account: v.get('accountcode'),
    party,
    start_ms: times.start,
    user_agent: userAgent,
    contact_ip: known ? contact : v.get('sip_network_ip'),
    contact_port: known ? v.get('sip_contact_port') : v.get('sip_network_port'),
    origin: 'CDR',
  })
}
