/**
 * What minim answers to SIP requests, whoever brings them: the listener, or a drachtio-server.
 *
 * - PUBLISH of `vq-rtcpxr` (RFC 6035, RFC 3903): 200 with SIP-ETag and Expires, once the records are safe. Other
 *   packages 489, other bodies 415, what cannot be understood 400, an entity tag that is not known 412
 * - NOTIFY of the same: 200
 * - REGISTER, a copy that a proxy or registrar forks here: 200 with the contacts that it has, or 405. minim is no
 *   registrar: nothing is remembered of it
 * - OPTIONS: 200 with what can be done here (RFC 3261 §11)
 * - the spool full or broken: 503 with Retry-After
 */
import { randomBytes, randomInt } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Catalogue } from '../../catalogue/catalogue.js'
import { MinimError } from '../../errors/catalogue.js'
import type { LeftContent, SourceCounters, SourceRefusal } from '../../flow/counters.js'
import type { Inlet } from '../../flow/source.js'
import type { RecordFields } from '../../formats/record-writer.js'
import { registerIdentity, reportsIdentity, SIP_IDENTITIES } from '../../formats/sip/identity.js'
import type { SipMessage } from '../../formats/sip/message.js'
import { registerToDevice, VQ_CONTENT_TYPE, VQ_EVENT, vqToQuality } from '../../formats/sip/records.js'
import { readVqRtcpxr } from '../../formats/sip/vq-rtcpxr.js'
import { Outbox } from '../common/outbox.js'
import { contentOf } from './content.js'

/** An answer, but for what every answer copies from its request. */
export interface SipAnswer {
  readonly status: number
  readonly reason: string
  /** Without which the answer means nothing. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Left out where they would make an answer larger than its request. */
  readonly more: readonly (readonly [name: string, value: string])[]
}

export interface SipServiceOptions {
  readonly catalogue: Catalogue
  readonly inlet: Inlet
  readonly counters: SourceCounters
  readonly tenant: string
  readonly registerCopies: boolean
  readonly expiresSeconds: number
  /** Something that is no fault of the sender's and not of the spool's. */
  readonly onBroken: (error: unknown) => void
  readonly now?: () => number
}

/** Reason phrases (RFC 3261 §21, RFC 3903 §11, RFC 6665 §8.3.2). */
const REASONS = {
  200: 'OK',
  400: 'Bad Request',
  405: 'Method Not Allowed',
  412: 'Conditional Request Failed',
  413: 'Request Entity Too Large',
  415: 'Unsupported Media Type',
  481: 'Call/Transaction Does Not Exist',
  489: 'Bad Event',
  500: 'Server Internal Error',
  503: 'Service Unavailable',
  513: 'Message Too Large',
} as const
type Status = keyof typeof REASONS
type Headers = readonly (readonly [string, string])[]

const METHODS = 'PUBLISH, NOTIFY, OPTIONS'
/** When to come again after a 503, s: not all at once. */
const RETRY_MIN_SECONDS = 10
const RETRY_MAX_SECONDS = 60
/**
 * Publications whose entity tag is known. A tag that was forgotten is answered with 412, and the phone publishes anew.
 */
const MAX_PUBLICATIONS = 10_000
/** Requests whose records are being made safe. */
const MAX_PENDING = 4096

export class SipService {
  readonly #options: SipServiceOptions
  readonly #outbox: Outbox
  readonly #now: () => number
  readonly #left: (content: LeftContent) => void
  /** When each publication ends, by its entity tag. */
  readonly #publications = new LRUCache<string, number>({ max: MAX_PUBLICATIONS })
  readonly #allow: string
  #stopping = false

  constructor(options: SipServiceOptions) {
    this.#options = options
    const { catalogue, inlet } = options
    this.#outbox = new Outbox({
      source: 'sip',
      catalogue,
      inlet,
      maxPending: MAX_PENDING,
      refused: (reason) => {
        this.refuse(reason)
      },
      waiting: null,
    })
    this.#now = options.now ?? Date.now
    this.#left = (content) => {
      options.counters.left(content)
    }
    this.#allow = options.registerCopies ? `${METHODS}, REGISTER` : METHODS
  }

  /** Answers 503 from now on; resolves when all that was taken before has been answered. */
  async stopTaking(): Promise<void> {
    this.#stopping = true
    await this.#outbox.close()
  }

  /**
   * Takes a request.
   * @param remoteIp where it came from
   * @param tenant of its records
   * @returns the answer; null where there is none: to ACK and to what is no request. Never rejects
   */
  async handle(message: SipMessage, remoteIp: string | null, tenant = this.#options.tenant): Promise<SipAnswer | null> {
    if (message.method === null || message.method === 'ACK') {
      this.refuse('unused')
      return null
    }
    contentOf(message, this.#left)
    try {
      switch (message.method) {
        case 'PUBLISH':
          return await this.#publish(message, remoteIp, tenant)
        case 'NOTIFY':
          return await this.#notify(message, remoteIp, tenant)
        case 'REGISTER':
          return this.#options.registerCopies ? await this.#register(message, remoteIp, tenant) : this.#notAllowed()
        // Asked by proxies to see whether anybody is there; no record comes of it.
        case 'OPTIONS':
          return this.refused('unused', 200, [], this.#capabilities())
        case 'CANCEL':
          return this.refused('unused', 481)
        case 'INVITE':
        case 'BYE':
        case 'SUBSCRIBE':
        case 'INFO':
        case 'PRACK':
        case 'UPDATE':
        case 'MESSAGE':
        case 'REFER':
        case 'OTHER':
          return this.#notAllowed()
      }
    } catch (error) {
      if (
        error instanceof MinimError &&
        (error.code === 'MINIM_SPOOL_FULL' ||
          error.code === 'MINIM_SPOOL_BROKEN' ||
          error.code === 'MINIM_DELIVERY_STOPPED')
      )
        return this.unavailable()
      this.#options.onBroken(error)
      return answer(500)
    }
  }

  /** Counts what no record comes from. */
  refuse(reason: SourceRefusal): void {
    this.#options.counters.refused(reason)
  }

  /** The same, with an answer. */
  refused(reason: SourceRefusal, status: Status, headers: Headers = [], more: Headers = []): SipAnswer {
    this.refuse(reason)
    return answer(status, headers, more)
  }

  /** There is no room: come again later. */
  unavailable(): SipAnswer {
    return this.refused('no_room', 503, [['Retry-After', String(randomInt(RETRY_MIN_SECONDS, RETRY_MAX_SECONDS))]])
  }

  #notAllowed(): SipAnswer {
    return this.refused('unused', 405, [['Allow', this.#allow]])
  }

  #capabilities(): Headers {
    return [
      ['Allow', this.#allow],
      ['Accept', VQ_CONTENT_TYPE],
      ['Allow-Events', VQ_EVENT],
    ]
  }

  /** RFC 3903 §6, step by step. */
  async #publish(message: SipMessage, remoteIp: string | null, tenant: string): Promise<SipAnswer> {
    if (!isVqEvent(message)) return this.refused('unused', 489, [['Allow-Events', VQ_EVENT]])
    const now = this.#now()
    const asked = message.header('expires')
    const wanted = asked !== null && /^\d{1,10}$/.test(asked) ? Number(asked) : this.#options.expiresSeconds
    const expires = Math.min(wanted, this.#options.expiresSeconds)
    const match = message.header('sip-if-match')
    if (match !== null) {
      const until = this.#publications.get(match)
      if (until === undefined || until < now) return this.refused('unused', 412)
    }
    if (isEmpty(message)) {
      // Without a body it refreshes or removes what was published: there is nothing new in it. Without a tag it is
      // nothing at all.
      if (match === null) return this.refused('malformed', 400)
      this.refuse('unused')
    } else {
      const problem = this.#bodyProblem(message)
      if (problem !== null) return problem
      const failed = await this.#takeReports(message, remoteIp, tenant, now)
      if (failed !== null) return failed
    }
    if (match !== null) this.#publications.delete(match)
    const tag = randomBytes(9).toString('base64url')
    if (expires > 0) this.#publications.set(tag, now + expires * 1000)
    return answer(200, [
      ['SIP-ETag', tag],
      ['Expires', String(expires)],
    ])
  }

  async #notify(message: SipMessage, remoteIp: string | null, tenant: string): Promise<SipAnswer> {
    if (!isVqEvent(message)) return this.refused('unused', 489, [['Allow-Events', VQ_EVENT]])
    if (isEmpty(message)) return this.refused('unused', 200)
    return (
      this.#bodyProblem(message) ?? (await this.#takeReports(message, remoteIp, tenant, this.#now())) ?? answer(200)
    )
  }

  async #register(message: SipMessage, remoteIp: string | null, tenant: string): Promise<SipAnswer> {
    const devices = registerToDevice(message, { seenMs: this.#now(), remoteIp })
    if (devices.length === 0) return this.refused('unused', 200)
    if (!(await this.#put('device', devices, tenant, registerIdentity(message)))) this.refuse('repeated')
    const expires = message.header('expires')
    const contacts = message
      .headers('contact')
      .filter((contact) => contact !== '*')
      .map((contact): readonly [string, string] => ['Contact', contact])
    return answer(200, [
      ...contacts,
      ...(expires === null || !/^\d{1,10}$/.test(expires) ? [] : [['Expires', expires] as const]),
    ])
  }

  /** What is wrong with a body before it is read; null if nothing is. */
  #bodyProblem(message: SipMessage): SipAnswer | null {
    const type = message.header('content-type')
    // Some phones leave it out: the event package says what it must be.
    if (type !== null && type !== '' && type.split(';', 1)[0].trim().toLowerCase() !== VQ_CONTENT_TYPE)
      return this.refused('unused', 415, [['Accept', VQ_CONTENT_TYPE]])
    const encoding = message.header('content-encoding')
    if (encoding !== null && encoding.toLowerCase() !== 'identity')
      return this.refused('unused', 415, [['Accept-Encoding', 'identity']])
    return null
  }

  /**
   * Takes the reports of a body. Returns the answer if they were not taken, null if they were: also where there was no
   * figure in them.
   */
  async #takeReports(
    message: SipMessage,
    remoteIp: string | null,
    tenant: string,
    seenMs: number,
  ): Promise<SipAnswer | null> {
    const reports = readVqRtcpxr(message.body)
    if (reports === null) return this.refused('malformed', 400)
    // The same report is one report, however often and by whichever way it comes: so what it is known by is what it
    // says.
    const id = reportsIdentity(reports, message, message.body)
    const qualities = vqToQuality(reports, message, { seenMs, remoteIp })
    if (qualities.length === 0) this.refuse('unused')
    else if (!(await this.#put('quality', qualities, tenant, id))) this.refuse('repeated')
    return null
  }

  /** Makes records safe; false where they were before. */
  async #put(
    kind: 'quality' | 'device',
    records: readonly RecordFields[],
    tenant: string,
    id: string,
  ): Promise<boolean> {
    if (this.#stopping || this.#options.inlet.full) throw new MinimError('MINIM_SPOOL_FULL')
    return (await this.#outbox.put(kind, records, { name: id, space: SIP_IDENTITIES }, tenant)) === 'stored'
  }
}

function answer(status: Status, headers: Headers = [], more: Headers = []): SipAnswer {
  return { status, reason: REASONS[status], headers, more }
}

function isVqEvent(message: SipMessage): boolean {
  return message.header('event')?.split(';', 1)[0].trim().toLowerCase() === VQ_EVENT
}

function isEmpty(message: SipMessage): boolean {
  const { body } = message
  for (const byte of body) if (byte > 32) return false
  return true
}
