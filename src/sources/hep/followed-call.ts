/** One call while it is followed: what of it is held until it is over. */
import type { Invite } from '../../formats/sip/records.js'
import { Queued } from './queue.js'
import type { Codec } from './sdp.js'

/** Longest URI and User-Agent that are kept: what is held for hours must be small. */
const MAX_URI = 256
const MAX_USER_AGENT = 512

/** One captured packet, as its capture tells of it. Read at once: the next packet is told of by the same object. */
export interface Captured {
  /** When it was captured, ms since 1970. */
  readonly atMs: number
  readonly sourceIp: string
  readonly sourcePort: number
  readonly destinationIp: string
  readonly destinationPort: number
  /** Of the capture agent; -1: it gave none. */
  readonly captureId: number
}

/** How a capture agent's calls are treated. */
export interface CallNode {
  readonly tenant: string
  /** It gives call records. */
  readonly calls: boolean
  /** Two legs of a call through a B2BUA are one. */
  readonly joinLegs: boolean
}

export interface Endpoint {
  readonly ip: string
  readonly port: number
}

/** A call, while it is followed. */
export class FollowedCall extends Queued {
  phase: 'setup' | 'failing' | 'answered' | 'over' = 'setup'
  answerMs = 0
  endMs = 0
  /** Of the last final response that refused it, on any branch. */
  status = 0
  cancelled = false
  cancelCause = 0
  cause: number | null = null
  codec: Codec | null = null
  /** What RTCP may know it by, besides its Call-ID. */
  readonly names: string[] = []
  readonly callId: string
  /** Known again after a restart, or by a second proxy. */
  readonly recordId: string
  readonly tenant: string
  /** Whether a capture that gives call records has seen it. */
  wanted: boolean
  cseq: number
  startMs: number
  readonly calling: string | null
  readonly called: string | null
  readonly userAgent: string | null
  /** Who sent the first INVITE, who received the last, and from whom. */
  source: Endpoint
  destination: Endpoint
  sender: Endpoint
  /** The call that this is a further leg of, and its own further legs. */
  parent: FollowedCall | null = null
  readonly legs: FollowedCall[] = []
  /** Under which other legs may find it. */
  readonly joinNames: string[] = []
  /** Of those that have seen its INVITE. */
  readonly captureIds: number[] = []

  constructor(callId: string, recordId: string, node: CallNode, cseq: number, captured: Captured, invite: Invite) {
    super()
    this.callId = callId
    this.recordId = recordId
    this.tenant = node.tenant
    this.wanted = node.calls
    this.cseq = cseq
    this.captureIds.push(captured.captureId)
    this.startMs = captured.atMs
    this.calling = kept(invite.calling, MAX_URI)
    this.called = kept(invite.called, MAX_URI)
    this.userAgent = kept(invite.userAgent, MAX_USER_AGENT)
    this.source = { ip: captured.sourceIp, port: captured.sourcePort }
    this.sender = this.source
    this.destination = { ip: captured.destinationIp, port: captured.destinationPort }
  }

  /** The call whose record this one's is: itself, but for a further leg. */
  get root(): FollowedCall {
    let call = this.parent ?? this
    while (call.parent !== null) call = call.parent
    return call
  }

  /** Whether a capture that gives call records has seen any leg of it. */
  get isWanted(): boolean {
    return this.wanted || this.legs.some((leg) => leg.isWanted)
  }
}

/**
 * A text to be held for hours; null where it is too long for that. Copied: it may be a piece of a header's text, which
 * would be held along with it, and a header may be 32 times as long.
 */
function kept(text: string | null, most: number): string | null {
  return text !== null && text !== '' && text.length <= most ? Buffer.from(text, 'utf8').toString('utf8') : null
}
