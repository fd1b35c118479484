/**
 * FreeSWITCH's events as mod_event_kafka writes them (`switch_event_serialize_json`: one flat object). A channel's last
 * one with its facts, CHANNEL_HANGUP_COMPLETE, holds what mod_json_cdr would have posted: the channel's variables, with
 * `variable_` before their names, and its caller profile, with `Caller-` before them. All others are of no use here:
 * most say the same call once more.
 */
import { type Cdr } from '../../formats/freeswitch/body.js'
import { type Legs, writeCdr } from '../../formats/freeswitch/records.js'
import { WANTED_VARIABLES } from '../../formats/freeswitch/wanted.js'
import type { RecordWriter } from '../../formats/record-writer.js'
import type { Converted } from './messages.js'

const NAME = Buffer.from('"Event-Name"')
const WANTED = Buffer.from('"CHANNEL_HANGUP_COMPLETE"')
const COLON = 0x3a
const SPACE = 0x20

/**
 * Names of the event's own headers, by those of a caller profile (switch_caller.c,
 * `switch_caller_profile_event_set_data`).
 */
const CALLER = [
  ['caller_id_number', 'Caller-Caller-ID-Number'],
  ['caller_id_name', 'Caller-Caller-ID-Name'],
  ['ani', 'Caller-ANI'],
  ['destination_number', 'Caller-Destination-Number'],
  ['network_addr', 'Caller-Network-Addr'],
  ['uuid', 'Unique-ID'],
] as const
const TIMES = [
  ['created_time', 'Caller-Channel-Created-Time'],
  ['profile_created_time', 'Caller-Profile-Created-Time'],
  ['answered_time', 'Caller-Channel-Answered-Time'],
  ['bridged_time', 'Caller-Channel-Bridged-Time'],
  ['hangup_time', 'Caller-Channel-Hangup-Time'],
] as const

/** Whether an event is one that records are made of, without reading all of it. */
export function isHangup(message: Buffer): boolean {
  let at = message.indexOf(NAME)
  if (at < 0) return false
  at += NAME.length
  while (message[at] === COLON || (message[at] !== undefined && message[at] <= SPACE)) at++
  return message.length - at >= WANTED.length && message.compare(WANTED, 0, WANTED.length, at, at + WANTED.length) === 0
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : undefined
}

function pick(
  names: readonly (readonly [to: string, from: string])[],
  event: ReadonlyMap<string, unknown>,
): Map<string, string> {
  const found = new Map<string, string>()
  for (const [to, from] of names) {
    const value = textOf(event.get(from))
    if (value !== undefined) found.set(to, value)
  }
  return found
}

/** Makes records of an event. */
export function convertEvent(message: Buffer, legs: Legs, writer: RecordWriter): Converted {
  if (!isHangup(message)) return { unused: true }
  let parsed: unknown
  try {
    parsed = JSON.parse(message.toString('utf8'))
  } catch {
    return { reason: 'malformed_json' }
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return { reason: 'malformed_json' }
  const taken = writeCdr(cdrOf(new Map(Object.entries(parsed))), legs, writer)
  if (taken === null) return { reason: 'no_start_time' }
  return taken.records === 0 ? { unused: true } : { bytes: writer.take() }
}

function cdrOf(event: ReadonlyMap<string, unknown>): Cdr {
  const variables = pick(
    WANTED_VARIABLES.map((name) => [name, `variable_${name}`] as const),
    event,
  )
  for (const [name, header] of [
    ['hangup_cause', 'Hangup-Cause'],
    ['uuid', 'Unique-ID'],
    ['read_codec', 'Channel-Read-Codec-Name'],
  ] as const) {
    const value = textOf(event.get(header))
    if (value !== undefined && !variables.has(name)) variables.set(name, value)
  }
  const profile = {
    caller: pick(CALLER, event),
    times: pick(TIMES, event),
    index: 0,
    // What the other end of the channel is: its originator, so this one was made by another.
    originated: event.get('Other-Type') === 'originator',
  }
  return { variables, stats: new Map(), profiles: [profile] }
}
