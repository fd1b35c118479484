/**
 * What one PBX says by AMI, turned into records. Knows nothing of the connection: events come in, records go to the
 * outbox.
 */
import { HOUR_MS } from '../../base/time.js'
import type { LeftContent, SourceCounters } from '../../flow/counters.js'
import { LocalTime } from '../../formats/local-time.js'
import type { Outbox } from '../common/outbox.js'
import {
  asCause,
  type CdrRow,
  celCause,
  type ChannelFacts,
  completeCall,
  isFarEnd,
  learnFromCel,
  newFacts,
  pickRows,
  readCdr,
  rowId,
  type Span,
} from './calls.js'
import { Channels, localHalf } from './channels.js'
import { Contacts } from './contacts.js'
import { contentOf } from './content.js'
import { Followed } from './followed.js'
import { beginning, pickOriginated } from './originated.js'
import { Leg, legKey } from './rtcp.js'
import type { AmiSettings } from './settings.js'
import type { Stanza } from './stanzas.js'

/** What is known of a channel is of no use so long after it was last heard of. */
const FACTS_IDLE_MS = 4 * HOUR_MS
/** A leg whose call is over, but whose end was not said: RTCP comes every five seconds. */
const LEG_NAMELESS_IDLE_MS = 30_000

interface Held {
  readonly dueAt: number
  readonly rows: CdrRow[]
}

export interface NodeOptions {
  readonly settings: AmiSettings
  readonly counters: SourceCounters
  readonly outbox: Pick<Outbox, 'add' | 'call' | 'refuse'>
  /** Another source of the settings gives this node's call records. */
  readonly callsElsewhere: boolean
  /** A contact came that no list has shown. */
  readonly onUnknownContact: () => void
}

export class AmiNode {
  readonly #options: NodeOptions
  readonly #clock: LocalTime
  readonly #left: (content: LeftContent) => void
  readonly #facts: Followed<ChannelFacts>
  readonly #legs: Followed<Leg>
  readonly #nameless: Followed<Leg>
  readonly #contacts: Contacts
  readonly #channels: Channels
  /** Records of a channel, or of both halves of a `Local/` channel, in the order in which they are due. */
  readonly #held = new Map<string, Held>()
  /**
   * Legs whose channel has ended, in the order in which they are due: the call record may still say their SIP Call-ID.
   */
  readonly #ending = new Map<string, number>()

  constructor(options: NodeOptions) {
    this.#options = options
    const { settings, counters } = options
    this.#clock = new LocalTime(settings.timeZone)
    this.#left = (content) => {
      counters.left(content)
    }
    this.#facts = new Followed(settings.maxFollowed, FACTS_IDLE_MS, () => undefined)
    const over = (leg: Leg, _key: string, pushed: boolean): void => {
      if (pushed) counters.refused('too_many')
      this.#legOver(leg)
    }
    this.#legs = new Followed(settings.maxFollowed, settings.legIdleMs, over)
    this.#nameless = new Followed(settings.maxFollowed, Math.min(settings.legIdleMs, LEG_NAMELESS_IDLE_MS), over)
    this.#contacts = new Contacts(settings.contactsMs / 2)
    this.#channels = new Channels(settings.maxFollowed, FACTS_IDLE_MS)
  }

  /** Channels, legs and calls that are followed now. */
  get following(): number {
    return this.#facts.size + this.#legs.size + this.#nameless.size + this.#held.size
  }

  /**
   * Takes an event. Those of no use are counted, by nothing that they say.
   * @param atMs when it happened, by the PBX's clock where that says it
   */
  event(stanza: Stanza, name: string, nowMs: number, atMs: number = nowMs): void {
    contentOf(stanza, name, this.#left)
    switch (name) {
      case 'cdr': {
        this.#cdr(stanza, nowMs)
        return
      }
      case 'rtcpsent': {
        this.#rtcp(stanza, true, nowMs, atMs)
        return
      }
      case 'rtcpreceived': {
        this.#rtcp(stanza, false, nowMs, atMs)
        return
      }
      case 'cel': {
        this.#cel(stanza, nowMs)
        return
      }
      case 'hangup': {
        this.#hangup(stanza, nowMs)
        return
      }
      case 'contactstatus': {
        this.#contactStatus(stanza, nowMs, atMs)
        return
      }
      case 'contactlist':
      case 'contactstatusdetail': {
        this.#device(this.#contacts.listed(stanza, nowMs, atMs))
        return
      }
      case 'peerstatus': {
        this.#device(this.#contacts.peer(stanza, atMs))
        return
      }
      default:
        this.#options.counters.refused('unused')
    }
  }

  /** Hands on what is due. To be called often: a few times in `settleMs`. */
  sweep(nowMs: number): void {
    for (const [key, { dueAt }] of this.#held) {
      if (dueAt > nowMs) break
      this.#settle(key)
    }
    for (const [key, dueAt] of this.#ending) {
      if (dueAt > nowMs) break
      this.#ending.delete(key)
      this.#legs.end(key)
    }
    this.#legs.sweep(nowMs)
    this.#nameless.sweep(nowMs)
    this.#facts.sweep(nowMs)
    this.#channels.sweep(nowMs)
  }

  /** Hands on all that is held. */
  flush(): void {
    for (const key of [...this.#held.keys()]) this.#settle(key)
    this.#ending.clear()
    this.#legs.endAll()
    this.#nameless.endAll()
  }

  #cdr(stanza: Stanza, nowMs: number): void {
    const { settings, counters, outbox, callsElsewhere } = this.#options
    const { calls } = settings
    if (calls === 'never' || (calls === 'auto' && callsElsewhere)) {
      counters.refused(calls === 'never' ? 'unused' : 'other_source')
      // The call is over all the same.
      this.#ends(stanza.get('uniqueid'), nowMs)
      return
    }
    const row = readCdr(stanza, this.#clock)
    if (typeof row === 'string') {
      counters.refused('malformed')
      outbox.refuse(stanza.text, row, settings.tenant)
      return
    }
    const facts = this.#channel(row.uniqueId, nowMs)
    if (row.linkedId !== '') facts.linkedId = row.linkedId
    if (row.callId !== '') facts.callId = row.callId
    this.#ends(row.uniqueId, nowMs)
    this.#channels.isFarEnd(row.destinationChannel, row.billableSeconds, nowMs)
    const key = localHalf(row.channel)?.pair ?? row.uniqueId
    const held = this.#held.get(key)
    if (held !== undefined) {
      held.rows.push(row)
      return
    }
    if (this.#held.size >= settings.maxFollowed) {
      for (const oldest of this.#held.keys()) {
        this.#settle(oldest)
        break
      }
    }
    this.#held.set(key, { dueAt: nowMs + settings.settleMs, rows: [row] })
  }

  #settle(key: string): void {
    const { settings, counters, outbox } = this.#options
    const held = this.#held.get(key)
    if (held === undefined) return
    this.#held.delete(key)
    const { rows } = held
    const calls = settings.rows === 'all' ? rows.map((row) => ({ row, cause: 0 })) : this.#callsOf(key, held)
    if (calls.length < rows.length) counters.refused('unused', rows.length - calls.length)
    for (const { row, cause } of calls) {
      const fields = completeCall(row, this.#factsOf(row.uniqueId))
      outbox.call(cause > 0 ? { ...fields, hangup_cause: cause } : fields, rowId(settings.node, row), settings.tenant)
    }
  }

  /** The calls that records tell which were held together; a cause of 0 leaves it to what is known of the channel. */
  #callsOf(key: string, { rows, dueAt }: Held): { readonly row: CdrRow; readonly cause: number }[] {
    // The extension that runs after the hang-up.
    const inCall = rows.filter((row) => row.destination !== 'h')
    if (inCall.length === 0) return []
    if (localHalf(inCall[0].channel) !== null) {
      const linked = inCall.map((row) => ({ ...row, linkedId: row.linkedId || this.#factsOf(row.uniqueId).linkedId }))
      const began = beginning(key, linked, this.#channels)
      if (began === null) return []
      const causeOf = (uniqueId: string): number => this.#facts.peek(uniqueId)?.cause ?? 0
      return pickOriginated(key, linked, began, this.#taken(began, dueAt), this.#channels, causeOf)
    }
    const candidates = inCall.filter(
      (row) =>
        !row.channel.startsWith('Local/') &&
        !isFarEnd(
          row,
          row.linkedId || this.#factsOf(row.uniqueId).linkedId,
          this.#channels.get(row.channel)?.farEndSeconds ?? NaN,
        ),
    )
    return pickRows(candidates, this.#taken(key, dueAt)).map((row) => ({ row, cause: 0 }))
  }

  #factsOf(uniqueId: string): ChannelFacts {
    return this.#facts.peek(uniqueId) ?? newFacts()
  }

  /** Conversations of a channel that were taken already: late records of it tell of no others. */
  #taken(uniqueId: string, nowMs: number): Span[] {
    return this.#channel(uniqueId, nowMs).taken
  }

  #rtcp(stanza: Stanza, sent: boolean, nowMs: number, atMs: number): void {
    const key = legKey(stanza, sent)
    const { counters } = this.#options
    if (key === '') {
      counters.refused('malformed')
      return
    }
    const named = key.startsWith('u')
    if (named && this.#facts.peek(key.slice(1))?.ended === true && this.#legs.peek(key) === undefined) {
      counters.refused('unused')
      return
    }
    ;(named ? this.#legs : this.#nameless).touch(key, nowMs, () => new Leg(atMs)).add(stanza, sent, atMs)
  }

  #legOver(leg: Leg): void {
    const { settings, counters, outbox } = this.#options
    const fields = leg.fields(settings.clockRateHz)
    if (fields === null) {
      counters.refused('unused')
      return
    }
    const facts = leg.uniqueId === '' ? undefined : this.#facts.peek(leg.uniqueId)
    outbox.add(
      'quality',
      facts === undefined
        ? fields
        : { ...fields, call_id: facts.callId || leg.uniqueId, linked_id: leg.linkedId || facts.linkedId },
      settings.tenant,
    )
  }

  #cel(stanza: Stanza, nowMs: number): void {
    const uniqueId = stanza.get('uniqueid')
    this.#channels.heard(stanza, celCause(stanza), nowMs)
    if (uniqueId === '' || !learnFromCel(stanza, this.#channel(uniqueId, nowMs), this.#clock))
      this.#options.counters.refused('unused')
  }

  #hangup(stanza: Stanza, nowMs: number): void {
    const uniqueId = stanza.get('uniqueid')
    if (uniqueId === '') {
      this.#options.counters.refused('malformed')
      return
    }
    const facts = this.#channel(uniqueId, nowMs)
    facts.linkedId = stanza.get('linkedid') || facts.linkedId
    const cause = asCause(stanza.get('cause'))
    facts.cause = cause || facts.cause
    this.#channels.heard(stanza, cause, nowMs)
    this.#ends(uniqueId, nowMs)
  }

  #contactStatus(stanza: Stanza, nowMs: number, atMs: number): void {
    const change = this.#contacts.changed(stanza, nowMs, atMs)
    this.#device(change?.fields ?? null)
    if (change?.unknown === true) this.#options.onUnknownContact()
  }

  #device(fields: ReturnType<Contacts['listed']>): void {
    if (fields === null) this.#options.counters.refused('unused')
    else this.#options.outbox.add('device', fields, this.#options.settings.tenant)
  }

  #channel(uniqueId: string, nowMs: number): ChannelFacts {
    return this.#facts.touch(uniqueId, nowMs, newFacts)
  }

  #ends(uniqueId: string, nowMs: number): void {
    if (uniqueId === '') return
    this.#channel(uniqueId, nowMs).ended = true
    const key = `u${uniqueId}`
    if (this.#legs.peek(key) !== undefined && !this.#ending.has(key))
      this.#ending.set(key, nowMs + this.#options.settings.settleMs)
  }
}
