/**
 * The same answers through a drachtio-server, which has the SIP transports and transactions: minim connects to it as an
 * application, by `drachtio-srf`, and is handed PUBLISH, NOTIFY, REGISTER and OPTIONS.
 *
 * `drachtio-srf` 5.0 prints messages that it cannot read on stderr, throws on frames that it does not know, which would
 * end the process, and connects again without TLS. So each frame is looked at before it gets there ({@link
 * FrameGuard}), and each connection is a new client's; the waits between them are minim's.
 */
import type { Socket } from 'node:net'
import type { SrfRequest, SrfResponse } from 'drachtio-srf'
import { Backoff } from '../../base/backoff.js'
import { MinimError } from '../../errors/catalogue.js'
import type { SourceCounters } from '../../flow/counters.js'
import type { Logger } from '../../flow/log.js'
import { readSip } from '../../formats/sip/message.js'
import { plainAddress } from '../../sections/network-list.js'
import { readSecret } from '../../sections/secrets.js'
import type { SipService } from './service.js'
import { drachtioSecret, type DrachtioSettings } from './settings.js'

export interface DrachtioOptions {
  readonly settings: DrachtioSettings
  readonly maxMessageBytes: number
  readonly service: SipService
  readonly counters: SourceCounters
  readonly log: Logger
  readonly onBroken: (error: unknown) => void
}

const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 60_000
/** What a frame has beside its message: an id, where it came from and on, transaction and dialogue. */
const FRAME_OVERHEAD_BYTES = 2048
const METHODS = ['publish', 'notify', 'register', 'options'] as const

/** What of the library's client is needed that its types leave out. */
interface Client {
  use(method: string, handler: (req: Request, res: SrfResponse) => void): void
  connect(options: object): unknown
  on(event: string, listener: (error?: unknown) => void): void
  readonly app: { readonly client: { readonly wp: { on(event: string, listener: (socket: Socket) => void): void } } }
}
interface Request extends SrfRequest {
  readonly msg: SrfRequest['msg'] & { readonly raw: string }
}

/** A connection to a drachtio-server, made anew whenever it is lost. */
export class DrachtioApplication {
  readonly #options: DrachtioOptions
  readonly #secret: string
  #socket: Socket | null = null
  #timer: NodeJS.Timeout | null = null
  readonly #backoff = new Backoff(FIRST_DELAY_MS, LONGEST_DELAY_MS)
  #stopped = false
  #lostAt = performance.now()

  /** @throws ProblemsError MINIM_SETTINGS_INVALID */
  constructor(options: DrachtioOptions) {
    this.#options = options
    this.#secret = readSecret(drachtioSecret(options.settings)) ?? ''
  }

  /** Loads the library and begins to connect. That the server is not there yet is no failure. */
  async start(): Promise<void> {
    const { default: Srf } = await import('drachtio-srf')
    this.#connect(Srf)
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#socket?.destroy()
  }

  #connect(Srf: new () => unknown): void {
    const { host, port, tls } = this.#options.settings
    const srf = new Srf() as Client
    for (const method of METHODS)
      srf.use(method, (req, res) => {
        this.#handle(req, res)
      })
    let what = 'cannot be reached'
    srf.on('error', () => {
      /* its connection closes */
    })
    srf.on('connect', (error) => {
      const socket = this.#socket
      if (error !== null && error !== undefined) {
        what = 'refuses the secret'
        socket?.destroy()
        return
      }
      what = 'has closed the connection'
      this.#backoff.reset()
      this.#options.counters.connections(1)
      this.#options.counters.gap((performance.now() - this.#lostAt) / 1000)
      this.#options.log.info({ host, port }, 'connected to drachtio-server')
    })
    srf.connect({
      host,
      port,
      secret: this.#secret,
      reconnect: { maxAttempts: 1 },
      ...(tls ? { tls: { servername: host } } : {}),
    })
    const { wp } = srf.app.client
    // Before anything can have come.
    wp.on('connect', (socket) => {
      this.#socket = socket
      if (this.#stopped) socket.destroy()
      else this.#guard(socket)
    })
    wp.on('close', () => {
      this.#socket = null
      this.#options.counters.connections(0)
      if (what === 'has closed the connection') this.#lostAt = performance.now()
      this.#again(what, Srf)
    })
  }

  /** Tries again after a while, longer each time, and not at the same moment as others. */
  #again(what: string, Srf: new () => unknown): void {
    if (this.#stopped || this.#timer !== null) return
    const { host, port } = this.#options.settings
    const delayMs = this.#backoff.next()
    this.#options.log.warn({ err: new MinimError('MINIM_SIP_DRACHTIO', { host, port, what, delayMs }) })
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#connect(Srf)
    }, delayMs)
  }

  /** Puts a guard before the library's reader. */
  #guard(socket: Socket): void {
    const { maxMessageBytes, counters } = this.#options
    const readers = socket.listeners('data') as ((chunk: Buffer) => void)[]
    socket.removeAllListeners('data')
    const guard = new FrameGuard(maxMessageBytes + FRAME_OVERHEAD_BYTES, (reason) => {
      counters.refused(reason)
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        const frames = guard.feed(chunk)
        if (frames === null) socket.destroy()
        else for (const frame of frames) for (const reader of readers) reader.call(socket, frame)
      } catch (error) {
        this.#options.onBroken(error)
        socket.destroy()
      }
    })
  }

  #handle(req: Request, res: SrfResponse): void {
    const { service, counters, onBroken } = this.#options
    counters.received(1)
    const message = readSip(Buffer.from(req.msg.raw))
    const answered =
      message === null
        ? Promise.resolve(service.refused('malformed', 400))
        : service.handle(message, plainAddress(req.source_address))
    answered
      .then((answer) => {
        if (answer === null || this.#socket === null) return
        const headers: Record<string, string> = {}
        for (const [name, value] of [...answer.headers, ...answer.more])
          headers[name] = name in headers ? `${headers[name]}, ${value}` : value
        res.send(answer.status, answer.reason, { headers })
      })
      .catch(onBroken)
  }
}

const HASH = 35
/** Digits of a frame's length. */
const MAX_DIGITS = 8
/** Octets of the line before a message: ids and addresses. */
const MAX_LEADER_BYTES = 1024

/**
 * Lets only those frames pass (`<octets>#<id>|<what>|…`) that the library can take: answers to what it asked, and
 * requests that it can read. Others are counted and left out.
 */
export class FrameGuard {
  readonly #maxBytes: number
  readonly #onRefused: (reason: 'malformed' | 'too_large' | 'unused') => void
  #buffer: Buffer = Buffer.alloc(0)
  /** Of a frame that is too large: octets still to be left out. */
  #skip = 0

  constructor(maxBytes: number, onRefused: (reason: 'malformed' | 'too_large' | 'unused') => void) {
    this.#maxBytes = maxBytes
    this.#onRefused = onRefused
  }

  /**
   * @returns whole frames, with their length before them; null when the stream is not in step: nothing more can be read
   */
  feed(chunk: Buffer): Buffer[] | null {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk])
    const frames: Buffer[] = []
    for (;;) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, this.#buffer.length)
        this.#buffer = this.#buffer.subarray(skipped)
        this.#skip -= skipped
        if (this.#skip > 0) return frames
      }
      const hash = this.#buffer.subarray(0, MAX_DIGITS + 1).indexOf(HASH)
      if (hash < 0)
        return this.#buffer.length > MAX_DIGITS || !/^\d*$/.test(this.#buffer.toString('latin1')) ? null : frames
      const digits = this.#buffer.toString('latin1', 0, hash)
      if (!/^[1-9]\d*$/.test(digits)) return null
      const start = hash + 1
      const length = Number(digits)
      if (length > this.#maxBytes) {
        this.#onRefused('too_large')
        this.#skip = start + length
        continue
      }
      if (this.#buffer.length < start + length) return frames
      const text = this.#buffer.toString('utf8', start, start + length)
      const refusal = refusalOf(text)
      // Invalid UTF-8 grows when it is decoded, and so its length changes: what passes is encoded anew.
      if (refusal === null) frames.push(Buffer.concat([Buffer.from(`${Buffer.byteLength(text)}#`), Buffer.from(text)]))
      else this.#onRefused(refusal)
      this.#buffer = this.#buffer.subarray(start + length)
    }
  }
}

/** Why a frame may not pass; null if it may. */
function refusalOf(text: string): 'malformed' | 'unused' | null {
  const cr = text.indexOf('\r')
  if ((cr < 0 ? text.length : cr) > MAX_LEADER_BYTES) return 'malformed'
  const [, what, source, ...rest] = (cr < 0 ? text : text.slice(0, cr)).split('|')
  if (what === 'response') return null
  if (what !== 'sip' || cr < 0 || source !== 'network' || rest.length < 7) return 'unused'
  const message = readSip(Buffer.from(text.slice(cr + 2)))
  if (message === null) return 'malformed'
  // What the library does with other messages is not minim's business: it asked for these.
  if (message.method === null || !(METHODS as readonly string[]).includes(message.method.toLowerCase())) return 'unused'
  return parses(text.slice(cr + 2)) ? null : 'malformed'
}

interface LibraryMessage {
  readonly method?: string
}
let librarySipMessage: (new (raw: string) => LibraryMessage) | null = null

/** Loads the library's own reader of messages, which the guard asks. */
export async function loadLibraryReader(): Promise<void> {
  const path = 'drachtio-srf/lib/sip-parser/message.js'
  librarySipMessage = ((await import(path)) as { default: new (raw: string) => LibraryMessage }).default
}

function parses(raw: string): boolean {
  try {
    return librarySipMessage !== null && new librarySipMessage(raw).method !== undefined
  } catch {
    return false
  }
}
