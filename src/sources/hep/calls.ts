/**
 * Calls out of captured SIP: INVITE to BYE, put together by Call-ID (RFC 3261 §12, §13, §15).
 *
 * A capture is not a dialog: it has retransmissions, both sides of each proxy, branches of a fork, and the same packet
 * again from a second capture point, all under one Call-ID. Together they are one call:
 *
 *   setup      from its first INVITE without To tag. A challenge (401, 407), a redirection or a refusal on one branch does not end it
 *   failing    a final 3xx to 6xx went to who had sent the first INVITE. What comes next may still show that the caller
 *              or a proxy tries on: so it ends when nothing did for {@link SETTLE_MS}; a challenge that nobody answers
 *              for {@link CHALLENGE_MS} was no call
 *   answered   a 2xx to INVITE
 *   over       BYE from either side. Copies that come now are known as such for {@link LINGER_MS}
 *
 * A call whose end is not seen is written when its time is over, with what is known: no end, no duration. The table is
 * bounded: where it is full the oldest call that is not answered makes room, then the oldest of all; those are lost and
 * counted.
 */
import type { RecordFields } from '../../formats/record-writer.js'
import type { SipMessage, SipPeek } from '../../formats/sip/message.js'
import { causeOf, dispositionOf, inviteOf } from '../../formats/sip/records.js'
import { type CallNode, type Captured, type Endpoint, FollowedCall } from './followed-call.js'
import { Joins } from './joins.js'
import { leave, Queue } from './queue.js'
import { type Codec, codecOf } from './sdp.js'

/** After a final refusal: how long a further branch may take to show itself. */
const SETTLE_MS = 3000
/**
 * After a challenge: how long the caller may take to answer it. RFC 3261 §17.1.1.2: no transaction lasts longer than 64
 * × T1.
 */
const CHALLENGE_MS = 32_000
/** How long copies of a call that is over are looked out for. */
const LINGER_MS = 32_000

/** Q.850: normal call clearing; what a BYE or CANCEL means that gives no reason (RFC 3398 §7.2.1, §8.2.7). */
const NORMAL_CLEARING = 16

/** Longest Call-ID that is kept: what is held for hours must be small. */
export const MAX_CALL_ID = 256
/** Capture agents of one call that are told apart. */
const MAX_CAPTURE_IDS = 4
/** B2BUAs on the way of one call. */
const MAX_DEPTH = 8
/** Members of a queue that one sweep ends at most. */
const SWEEP = 20_000

export interface CallTableOptions {
  readonly maxCalls: number
  readonly setupMs: number
  readonly callMs: number
  /** What ties the packet that is being read to others, as its capture says; '' for nothing. */
  readonly correlation: () => string
  /** A further leg has ended: it is part of another call's record. */
  readonly onLeg: (call: FollowedCall) => void
  /** A call that has ended, or whose time is over. */
  readonly onCall: (call: FollowedCall, fields: RecordFields) => void
  /** Room was made: a call is lost. */
  readonly onEvicted: () => void
  /** A call that was asked for credentials and gave none: it is none. */
  readonly onUnanswered: () => void
}

/** What became of a message. */
export type Taken = 'taken' | 'unused' | 'malformed' | 'too_large'

export class CallTable {
  readonly #options: CallTableOptions
  readonly #byId = new Map<string, FollowedCall>()
  readonly #setup: Queue<FollowedCall>
  readonly #answered: Queue<FollowedCall>
  readonly #settling = new Queue<FollowedCall>(SETTLE_MS)
  readonly #challenged = new Queue<FollowedCall>(CHALLENGE_MS)
  readonly #over = new Queue<FollowedCall>(LINGER_MS)
  readonly #joins = new Joins((callId) => this.find(callId))

  constructor(options: CallTableOptions) {
    this.#options = options
    this.#setup = new Queue(options.setupMs)
    this.#answered = new Queue(options.callMs)
  }

  /** Calls that are not over. */
  get size(): number {
    return this.#byId.size - this.#over.size
  }

  /** A call by its Call-ID, also one that is over and still known. */
  find(callId: string): FollowedCall | null {
    return this.#byId.get(callId) ?? null
  }

  /**
   * Takes a message that may belong to a call: an INVITE, BYE or CANCEL, or a response to INVITE.
   * @param read reads it whole; called where that is needed
   */
  message(peek: SipPeek, read: () => SipMessage | null, captured: Captured, node: CallNode, now: number): Taken {
    if (peek.method === 'INVITE') return this.#invite(peek, read, captured, node, now)
    const call = this.#byId.get(peek.callId)
    if (call === undefined) return 'unused'
    if (peek.method === 'BYE') this.#bye(call, read(), captured, now)
    else if (peek.method === 'CANCEL') this.#cancel(call, read, captured)
    else if (peek.method === null) this.#response(call, peek, read, captured, now)
    return 'taken'
  }

  /** Ends what has had its time. */
  sweep(now: number): void {
    this.#settling.sweep(now, SWEEP, (call) => {
      this.#end(call, now)
    })
    this.#challenged.sweep(now, SWEEP, (call) => {
      this.#drop(call, now)
    })
    this.#setup.sweep(now, SWEEP, (call) => {
      this.#end(call, now)
    })
    this.#answered.sweep(now, SWEEP, (call) => {
      this.#end(call, now)
    })
    this.#over.sweep(now, SWEEP, (call) => {
      this.#forget(call)
    })
  }

  /** Writes the calls that are answered, as far as they are known: nobody will see their ends. */
  flush(now: number): void {
    for (const queue of [this.#settling, this.#answered]) {
      for (let call = queue.first; call !== null; call = queue.first) this.#end(call, now)
    }
  }

  #invite(peek: SipPeek, read: () => SipMessage | null, captured: Captured, node: CallNode, now: number): Taken {
    const known = this.#byId.get(peek.callId)
    if (known !== undefined) {
      if (node.calls) known.wanted = true
      if (known.captureIds.length < MAX_CAPTURE_IDS && !known.captureIds.includes(captured.captureId))
        known.captureIds.push(captured.captureId)
      if (known.phase === 'answered') return 'taken'
      if (known.phase === 'over') {
        // The next call under the same Call-ID: some phones dial again with it. Copies of the last one were captured
        // before its end.
        if (peek.cseq <= known.cseq || captured.atMs <= known.endMs) return 'taken'
        const again = this.#open(peek, read(), captured, node, now, `${peek.callId} ${peek.cseq}`)
        return again === 'unused' ? 'taken' : again
      }
      if (this.#hop(known, captured)) this.#joins.sourceChanged(known)
      if (known.phase === 'failing' && captured.atMs > known.endMs) this.#goOn(known, now)
      if (peek.cseq > known.cseq) known.cseq = peek.cseq
      return 'taken'
    }
    return this.#open(peek, read(), captured, node, now, peek.callId)
  }

  #open(
    peek: SipPeek,
    message: SipMessage | null,
    captured: Captured,
    node: CallNode,
    now: number,
    recordId: string,
  ): Taken {
    if (message === null) return 'malformed'
    if (peek.callId.length > MAX_CALL_ID) return 'too_large'
    const invite = inviteOf(message)
    // Within a dialog that began before this was listening.
    if (invite === null || invite.again) return 'unused'
    const old = this.#byId.get(peek.callId)
    if (old !== undefined) this.#forget(old)
    this.#makeRoom()
    const call = new FollowedCall(peek.callId, recordId, node, peek.cseq, captured, invite)
    this.#byId.set(call.callId, call)
    this.#setup.add(call, now)
    if (node.joinLegs) this.#joins.opened(call, message, this.#options.correlation())
    return 'taken'
  }

  /**
   * Follows the INVITE over proxies, in whatever order its copies come: the call goes from the first hop's sender to
   * the last one's receiver. Returns whether another sender was the first.
   */
  #hop(call: FollowedCall, captured: Captured): boolean {
    if (
      captured.destinationPort === call.source.port &&
      captured.destinationIp === call.source.ip &&
      !isAt(call.source, captured.sourceIp, captured.sourcePort)
    ) {
      call.source = { ip: captured.sourceIp, port: captured.sourcePort }
      call.startMs = Math.min(call.startMs, captured.atMs)
      return true
    }
    if (
      isAt(call.destination, captured.sourceIp, captured.sourcePort) &&
      !isAt(call.source, captured.destinationIp, captured.destinationPort)
    ) {
      call.sender = call.destination
      call.destination = { ip: captured.destinationIp, port: captured.destinationPort }
    }
    return false
  }

  #response(call: FollowedCall, peek: SipPeek, read: () => SipMessage | null, captured: Captured, now: number): void {
    const { status } = peek
    if (status <= 100 || call.phase === 'over') return
    if (status < 200) {
      // Another branch rings.
      if (call.phase === 'failing' && captured.atMs > call.endMs) this.#goOn(call, now)
      return
    }
    if (status < 300) {
      if (call.phase !== 'answered') {
        call.phase = 'answered'
        call.answerMs = captured.atMs
        this.#answered.add(call, now)
        // Of a fork's branches, the one that answered.
        if (isAt(call.sender, captured.destinationIp, captured.destinationPort))
          call.destination = { ip: captured.sourceIp, port: captured.sourcePort }
      } else if (captured.atMs < call.answerMs) call.answerMs = captured.atMs
      if (call.codec === null) call.codec = codecIn(read())
      return
    }
    // Refused within the dialog: a re-INVITE's own affair.
    if (call.phase === 'answered') return
    const toCaller = isAt(call.source, captured.destinationIp, captured.destinationPort)
    if (!toCaller && (call.status !== 0 || status === 401 || status === 407)) return
    call.status = status
    const message = read()
    call.cause = message === null ? null : causeOf(message)
    if (!toCaller) return
    call.phase = 'failing'
    call.endMs = call.endMs === 0 ? captured.atMs : Math.max(call.endMs, captured.atMs)
    const queue = status === 401 || status === 407 ? this.#challenged : this.#settling
    if (call.queue !== (queue as unknown)) queue.add(call, now)
  }

  #goOn(call: FollowedCall, now: number): void {
    call.phase = 'setup'
    call.endMs = 0
    this.#setup.add(call, now)
  }

  #cancel(call: FollowedCall, read: () => SipMessage | null, captured: Captured): void {
    // A proxy cancels the branches that lost; the call is cancelled by its caller.
    if (
      call.phase === 'answered' ||
      call.phase === 'over' ||
      !isAt(call.source, captured.sourceIp, captured.sourcePort)
    )
      return
    const message = read()
    call.cancelled = true
    call.cancelCause = (message === null ? null : causeOf(message)) ?? NORMAL_CLEARING
  }

  #bye(call: FollowedCall, message: SipMessage | null, captured: Captured, now: number): void {
    if (call.phase === 'over') return
    call.endMs = Math.max(captured.atMs, call.startMs)
    call.cause = (message === null ? null : causeOf(message)) ?? NORMAL_CLEARING
    // Its answer was not seen, but there is no BYE without one.
    call.phase = 'answered'
    this.#end(call, now)
  }

  /**
   * Asked for credentials, and none came: as a REGISTER that gives none registers nobody, this calls nobody. Scanners
   * do it by the thousand.
   */
  #drop(call: FollowedCall, now: number): void {
    call.phase = 'over'
    this.#keepOver(call, now)
    this.#options.onUnanswered()
  }

  /** The call is written, and known for a while as one that was. */
  #end(call: FollowedCall, now: number): void {
    const fields = call.parent === null ? fieldsOf(call) : null
    call.phase = 'over'
    if (call.endMs === 0) call.endMs = call.startMs
    this.#keepOver(call, now)
    if (fields === null) this.#options.onLeg(call)
    else this.#options.onCall(call, fields)
  }

  #keepOver(call: FollowedCall, now: number): void {
    this.#over.add(call, now)
    const oldest = this.#over.first
    if (this.#over.size > this.#options.maxCalls && oldest !== null) this.#forget(oldest)
  }

  #forget(call: FollowedCall): void {
    leave(call)
    this.#joins.forget(call)
    this.#byId.delete(call.callId)
  }

  #makeRoom(): void {
    if (this.size < this.#options.maxCalls) return
    const oldest = this.#settling.first ?? this.#challenged.first ?? this.#setup.first ?? this.#answered.first
    if (oldest === null) return
    this.#forget(oldest)
    // A further leg's record is its call's; where the call itself had to go, its legs are calls of their own again.
    if (oldest.parent !== null) return
    for (const leg of oldest.legs) leg.parent = null
    this.#options.onEvicted()
  }
}

/** The record of a call, as far as it is known. */
function fieldsOf(call: FollowedCall): RecordFields {
  const answered = call.phase === 'answered'
  const last = lastLeg(call)
  // Of two legs that end together, the end of one may not be seen.
  const endMs = call.endMs > 0 || last.phase === 'setup' ? call.endMs : last.endMs
  const ended = endMs > 0
  const duration = ended ? Math.max(0, Math.floor((endMs - call.startMs) / 1000)) : null
  return {
    call_id: call.callId,
    calling: call.calling,
    called: call.called,
    start_ms: call.startMs,
    answer_ms: call.answerMs > 0 ? call.answerMs : null,
    end_ms: ended ? endMs : null,
    duration_seconds: duration,
    billable_seconds: !ended
      ? null
      : !answered
        ? 0
        : call.answerMs > 0
          ? Math.max(0, Math.floor((endMs - call.answerMs) / 1000))
          : null,
    disposition: answered
      ? 'ANSWERED'
      : call.cancelled
        ? 'CANCELLED'
        : call.status > 0
          ? dispositionOf(call.status)
          : null,
    hangup_cause: answered || !call.cancelled ? call.cause : call.cancelCause,
    source_ip: call.source.ip,
    destination_ip: last.destination.ip,
    codec: (call.codec ?? last.codec)?.name,
    user_agent: call.userAgent,
    origin: 'SIGNALLING',
  }
}

/** Where the call went in the end: the leg that was answered, else the one that was tried last. */
function lastLeg(call: FollowedCall): FollowedCall {
  let last = call
  for (let n = 0; last.legs.length > 0 && n < MAX_DEPTH; n++)
    last = last.legs.findLast((leg) => leg.answerMs > 0) ?? last.legs[last.legs.length - 1]
  return last
}

function isAt(endpoint: Endpoint, ip: string, port: number): boolean {
  return endpoint.port === port && endpoint.ip === ip
}

function codecIn(message: SipMessage | null): Codec | null {
  return message === null || message.body.length === 0 ? null : codecOf(message.body)
}
