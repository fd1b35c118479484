/**
 * The two legs of one call through a B2BUA (Asterisk, FreeSWITCH, an SBC, a proxy that hides topology): each has a
 * Call-ID of its own, and only together are they one call.
 *
 * They are joined by one of
 *
 *   a name     both INVITEs carry the same Session-ID (RFC 7989) or icid-value (RFC 7315), or one names the other's
 *              Call-ID, or both the same other one, in X-CID, X-Call-ID, X-Correlation-ID or the capture's correlation
 *              chunk; they come from different senders, and one began while the other lasted
 *   likeness   without a name: the new leg is sent by where the older one ended, both are told of by one capture agent
 *              and are of the same two parties, the older one lasts still and has no other leg that may yet be
 *              answered; and it is the only such call. Where there are two, which is whose would be a guess, and none
 *              is joined
 *
 * So neither calls that follow each other nor calls beside each other become one. A leg that is joined is no record of
 * its own: the call has its first leg's parties and times, and goes to where the answered further leg went.
 */
import { addressOf, paramsOf, uriOf } from '../../formats/sip/address.js'
import type { SipHeader, SipMessage } from '../../formats/sip/message.js'
import type { Endpoint, FollowedCall } from './followed-call.js'

/** Further legs of one call: a hunt group's, at most. */
const MAX_LEGS = 16
/** Calls of one name, or between the same parties: beyond this the name names nothing, and the likeness is none. */
const MAX_ALIKE = 32
/** A shorter text is a number that counts, or a word of the settings. */
const MIN_NAME = 8
const MAX_NAME = 256
/** Headers that hold another leg's Call-ID, or a name that all legs have. */
const NAMING: readonly SipHeader[] = ['x-cid', 'x-call-id', 'x-correlation-id']
/** Digits at the end of two numbers that make them one: with a country code and without one. */
const SAME_DIGITS = 7
/** Digits that only one of the two may have before them: an outside line's, the international prefix, the country. */
const MORE_DIGITS = 6

export class Joins {
  readonly #find: (callId: string) => FollowedCall | null
  /** Calls by what they are named by, besides their Call-IDs. */
  readonly #named = new Map<string, FollowedCall[]>()
  /** Calls by the ends of their parties' numbers. */
  readonly #alike = new Map<string, FollowedCall[]>()

  /** @param find a call by its Call-ID */
  constructor(find: (callId: string) => FollowedCall | null) {
    this.#find = find
  }

  /** A call has begun: it is joined to another if it is a leg of that. @param correlation of its capture, '' for none */
  opened(call: FollowedCall, invite: SipMessage, correlation: string): void {
    const { tenant } = call
    const ids = NAMING.map((header) => invite.header(header) ?? '')
    ids.push(correlation)
    const names: string[] = []
    for (const id of ids)
      if (id.length >= MIN_NAME && id.length <= MAX_NAME && id !== call.callId) names.push(`${tenant}\0id\0${id}`)
    for (const name of sessionNames(invite)) names.push(`${tenant}\0${name}`)
    const likeness = likenessOf(call)
    const other = this.#byName(call, ids, names) ?? this.#byLikeness(call, likeness)
    if (other !== null) join(call, other)
    for (const name of new Set(names)) this.#add(this.#named, name, call)
    if (likeness !== '') this.#add(this.#alike, likeness, call)
  }

  /** More is known of where a call came from: that may be where another one ended. */
  sourceChanged(call: FollowedCall): void {
    if (call.parent !== null || call.legs.length > 0) return
    const likeness = call.joinNames.find((name) => this.#alike.has(name))
    const other = likeness === undefined ? null : this.#byLikeness(call, likeness)
    if (other !== null) join(call, other)
  }

  forget(call: FollowedCall): void {
    for (const name of call.joinNames) {
      const map = this.#alike.has(name) ? this.#alike : this.#named
      const left = (map.get(name) ?? []).filter((other) => other !== call)
      if (left.length === 0) map.delete(name)
      else map.set(name, left)
    }
    call.joinNames.length = 0
  }

  #byName(call: FollowedCall, ids: readonly string[], names: readonly string[]): FollowedCall | null {
    for (const id of ids) {
      const other = id === '' ? null : this.#find(id)
      if (other !== null && other.tenant === call.tenant && areLegs(call, other)) return other
    }
    for (const name of [...names, `${call.tenant}\0id\0${call.callId}`]) {
      const others = this.#named.get(name) ?? []
      if (others.length >= MAX_ALIKE) continue
      const other = others.find((one) => areLegs(call, one))
      if (other !== undefined) return other
    }
    return null
  }

  #byLikeness(call: FollowedCall, likeness: string): FollowedCall | null {
    const others = this.#alike.get(likeness) ?? []
    if (others.length >= MAX_ALIKE) return null
    const found = others.filter((other) => continues(call, other))
    return found.length === 1 ? found[0] : null
  }

  #add(map: Map<string, FollowedCall[]>, name: string, call: FollowedCall): void {
    const calls = map.get(name)
    if (calls === undefined) map.set(name, [call])
    else if (calls.length < MAX_ALIKE) calls.push(call)
    else return
    call.joinNames.push(name)
  }
}

/** Makes the later of two the other's leg; one whose record is written already stays what it is. */
function join(call: FollowedCall, other: FollowedCall): void {
  const first = other.root
  if (call.startMs < first.startMs && first.phase !== 'over' && first.legs.length < MAX_LEGS) {
    first.parent = call
    call.legs.push(first)
  } else if (other.legs.length < MAX_LEGS) {
    call.parent = other
    other.legs.push(call)
  }
}

/** Whether two calls that a name ties may be legs of one: other senders, and one began while the other lasted. */
function areLegs(call: FollowedCall, other: FollowedCall): boolean {
  return call !== other && !isSame(call.source, other.source) && lasts(other, call.startMs)
}

/** Whether a call that has begun may be the further leg of another that nothing names. */
function continues(call: FollowedCall, other: FollowedCall): boolean {
  return (
    other.startMs <= call.startMs &&
    lasts(other, call.startMs) &&
    other.captureIds.some((id) => call.captureIds.includes(id)) &&
    isThere(other, call) &&
    !isSame(other.source, call.source) &&
    isSameParty(other.calling, call.calling) &&
    isSameParty(other.called, call.called) &&
    !other.legs.some((leg) => leg.phase === 'setup' || leg.phase === 'answered' || leg.answerMs > 0)
  )
}

/**
 * Whether the further leg was sent by where the other one ended. The port may be another one (an own port for each
 * side, TCP), but then the address must tell: not where all are on one host.
 */
function isThere(other: FollowedCall, call: FollowedCall): boolean {
  return (
    other.destination.ip === call.source.ip &&
    (other.destination.port === call.source.port ||
      (other.source.ip !== other.destination.ip && call.source.ip !== call.destination.ip))
  )
}

function lasts(call: FollowedCall, atMs: number): boolean {
  return (call.phase !== 'over' && call.phase !== 'failing') || atMs < call.endMs
}

function isSame(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.ip === b.ip
}

/** What its session is called, where INVITE says it. */
function sessionNames(invite: SipMessage): string[] {
  const names: string[] = []
  const session = invite.header('session-id')
  // RFC 7989 §5: 32 lower-case hex digits; nil where there is none yet.
  const uuid = /^([0-9a-f]{32})\s*(?:;|$)/i.exec(session ?? '')?.[1].toLowerCase()
  if (uuid !== undefined && !/^0+$/.test(uuid)) names.push(`session\0${uuid}`)
  const vector = invite.header('p-charging-vector')
  const icid = vector === null ? undefined : paramsOf(`;${vector}`)['icid-value']
  if (icid !== undefined && icid.length >= MIN_NAME && icid.length <= MAX_NAME) names.push(`icid\0${icid}`)
  return names
}

/** Equal for two calls of the same parties, and for few others; '' where a party is not known. */
function likenessOf(call: FollowedCall): string {
  const [calling, called] = [partyKey(call.calling), partyKey(call.called)]
  return calling === '' || called === '' ? '' : `${call.tenant}\0like\0${tail(calling)}\0${tail(called)}`
}

function tail(key: string): string {
  return /^\d+$/.test(key) ? key.slice(-SAME_DIGITS) : key
}

/** A party's user part: digits alone where it is a number. What baresip adds to a user of its own is left off. */
function partyKey(uri: string | null): string {
  if (uri === null) return ''
  const user = /^tel:/i.test(uri) ? uri.slice(4).split(';', 1)[0] : (uriOf(uri)?.user ?? addressOf(uri)?.uri ?? '')
  const bare = user.split(';', 1)[0].replace(/-0x[0-9a-f]{6,16}$/i, '')
  return /^\+?[\d().\s-]{1,32}$/.test(bare) ? bare.replace(/\D/g, '').replace(/^00(?=\d{7})/, '') : bare
}

/** Whether two URIs mean one party: the same user, or one number with its country code and without. */
function isSameParty(a: string | null, b: string | null): boolean {
  const [one, two] = [partyKey(a), partyKey(b)]
  if (one === two) return one !== ''
  if (!/^\d+$/.test(one) || !/^\d+$/.test(two)) return false
  const [short, long] = [one, two].map((key) => key.replace(/^0/, '')).sort((x, y) => x.length - y.length)
  return short.length >= SAME_DIGITS && long.length - short.length <= MORE_DIGITS && long.endsWith(short)
}
