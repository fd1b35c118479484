/**
 * The HTTP(S) server that the sources which are posted to share: who may post, how much, how fast; a body is read
 * whole, within bounds, and only then handed on. What goes wrong is answered with a word out of a closed set, and
 * nothing that was sent is repeated.
 *
 * It is `node:http` itself: a framework's routing and parsing have nothing to do here, where a body is looked at and
 * not believed. Each limit has the client that it is for: slow headers and bodies (`requestMs`), silence (`idleMs`),
 * many connections, large bodies and compressed ones that grow (`maxBodyBytes`), many posts in flight, a flood
 * (`ratePerSecond`, of each sender).
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { RateLimit } from '../../base/rate-limit.js'
import { MinimError } from '../../errors/catalogue.js'
import type { SourceCounters, SourceRefusal } from '../../flow/counters.js'
import type { Logger } from '../../flow/log.js'
import type { Inlet, SourceContext } from '../../flow/source.js'
import type { AuthoriseSettings } from '../../sections/authorise.js'
import { readServerTls } from '../../sections/server-tls.js'
import type { TlsSettings } from '../../sections/tls-files.js'
import {
  Authoriser,
  type CertifiedSocket,
  isLoopback,
  namesOfSocket,
  ownGrant,
  type TenantGrant,
  tenantGrant,
} from './authorise.js'
import { bomAt } from './content-stream.js'
import {
  BUSY,
  type HttpAnswer,
  INTERNAL,
  isWhole,
  LINGER_MS,
  noRoom,
  notStored,
  refusal,
  refuseUnread,
  sendAnswer,
  STOPPING,
  TOO_FAST,
  TOO_LARGE,
} from './http-answers.js'
import type { Credentials, KnownSender } from './http-auth.js'

/** What every such listener has in its settings. */
export interface ListenerSettings {
  readonly listen: string
  readonly tls: TlsSettings | null
  readonly authorise: AuthoriseSettings
  /** Tenant of records that name none. */
  readonly tenant: string
  readonly maxBodyBytes: number
  readonly maxConnections: number
  readonly ratePerSecond: number
  readonly idleMs: number
  readonly requestMs: number
}

/** A post that has arrived whole. */
export interface HttpPost {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** Tells senders apart: who showed credentials, or an address. Never logged. */
  readonly sender: string
  /** Tenants that it may use. */
  readonly grant: TenantGrant
}

export interface HttpListenerOptions {
  /** Section of the settings: `http`, `freeswitch`. */
  readonly section: string
  readonly settings: ListenerSettings
  /** Tenants that there are. */
  readonly tenants: readonly string[]
  readonly credentials: Credentials | null
  readonly counters: SourceCounters
  readonly inlet: Inlet
  readonly log: Logger
  /** Paths that are posted to. */
  readonly paths: readonly string[]
  /** May throw what `Inlet.put` does. */
  readonly handle: (post: HttpPost) => Promise<HttpAnswer> | HttpAnswer
}

/** Octets of a request's line and headers; their number. */
const MAX_HEADER_BYTES = 8192
const MAX_HEADERS = 64
/** Longest wait for a request's headers, ms. */
const HEADERS_MS = 10_000
/** How often Node looks for connections that are too slow, ms. */
const CHECK_MS = 500
/** Posts that are being read or made safe at once, and the octets of their bodies. */
const MAX_PENDING = 4096
const MAX_PENDING_BYTES = 67_108_864
/** Bodies that are inflated at once: as many as libuv has threads for it. */
const MAX_INFLATING = 4
/** Wrong passwords a second that an address is told of: what comes then is not looked at. */
const FAILURES_PER_SECOND = 20

const inflate = promisify(gunzip)

export class HttpListener {
  readonly #options: HttpListenerOptions
  readonly #server: Server
  readonly #posts: RateLimit
  readonly #failures = new RateLimit(FAILURES_PER_SECOND)
  /** Of each post whose body is still coming: ends it. */
  readonly #reading = new Set<() => void>()
  /** Connections on which something came that is no HTTP: counted, and to be ended. */
  readonly #spoilt = new WeakSet<Duplex>()
  /** Posts of each connection that are not answered yet. */
  readonly #unanswered = new WeakMap<Duplex, Set<IncomingMessage>>()
  #connections = 0
  #pending = 0
  #pendingBytes = 0
  #inflating = 0
  readonly #waiting: (() => void)[] = []
  readonly #authoriser: Authoriser | null
  readonly #own: TenantGrant
  /** Tenants of the certificate that each connection has shown: asked for once. */
  readonly #certified = new WeakMap<Socket, readonly string[] | null>()
  #stopping = false
  #quiet: (() => void) | null = null

  constructor(options: HttpListenerOptions) {
    this.#options = options
    this.#posts = new RateLimit(options.settings.ratePerSecond)
    const { section, settings } = options
    this.#authoriser =
      (settings.tls?.clientCa ?? null) === null
        ? null
        : new Authoriser(settings.authorise, settings.tenant, options.tenants)
    this.#own = ownGrant(settings.tenant, options.tenants)
    const limits = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: Math.min(HEADERS_MS, settings.requestMs),
      requestTimeout: settings.requestMs,
      keepAliveTimeout: settings.idleMs,
      connectionsCheckingInterval: CHECK_MS,
      noDelay: true,
    }
    if (settings.tls === null) this.#server = createServer(limits)
    else {
      // Left out in the settings file, it is not null but not there.
      const { cert, key, ca } = readServerTls(
        { ...settings.tls, clientCa: settings.tls.clientCa ?? null },
        `${section}.tls`,
      )
      this.#server = createTlsServer({
        ...limits,
        cert,
        key,
        ...(ca === null ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
        minVersion: 'TLSv1.2',
        handshakeTimeout: HEADERS_MS,
      })
      this.#server.on('tlsClientError', () => {
        options.counters.refused(ca === null ? 'malformed' : 'unauthorised')
      })
    }
    const server = this.#server
    server.maxHeadersCount = MAX_HEADERS
    server.maxConnections = settings.maxConnections
    server.on('request', (request, response) => {
      this.#begin(request, response)
    })
    // The client asks before it sends: it is refused before it has.
    server.on('checkContinue', (request, response) => {
      this.#begin(request, response)
    })
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      this.#broken(error, socket)
    })
    server.on('drop', () => {
      options.counters.refused('connections')
    })
    server.on('connection', (socket: Socket) => {
      options.counters.connections(++this.#connections)
      socket.once('close', () => {
        options.counters.connections(--this.#connections)
      })
    })
  }

  /**
   * Listens. Resolves to the address with the port that was taken.
   * @throws MinimError MINIM_HTTP_LISTEN
   */
  start(): Promise<string> {
    const {
      section,
      settings: { listen },
    } = this.#options
    const at = listen.lastIndexOf(':')
    const host = listen.slice(0, at)
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => {
        reject(new MinimError('MINIM_HTTP_LISTEN', { section, listen, what: error.code ?? 'error' }))
      })
      this.#server.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(listen.slice(at + 1)) }, () => {
        this.#server.removeAllListeners('error')
        this.#server.on('error', (error: NodeJS.ErrnoException) => {
          this.#options.log.error({ section, code: error.code ?? 'error' }, 'the listener has an error')
        })
        resolve(`${host}:${(this.#server.address() as AddressInfo).port}`)
      })
    })
  }

  /** No new posts; resolves when those that were handed on are answered. */
  stopTaking(): Promise<void> {
    this.#stopping = true
    this.#server.close()
    this.#server.closeIdleConnections()
    for (const end of this.#reading) end()
    return this.#pending === 0
      ? Promise.resolve()
      : new Promise((resolve) => {
          this.#quiet = resolve
        })
  }

  stop(): Promise<void> {
    this.#stopping = true
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve()
      })
      this.#server.closeAllConnections()
    })
  }

  /** What can be said from the request's head alone; null if it may go on. */
  #early(request: IncomingMessage, path: string, sender: string | null): HttpAnswer | null {
    const { settings, paths, credentials, inlet } = this.#options
    if (this.#stopping) return STOPPING
    if (sender === null && !this.#failures.take(request.socket.remoteAddress ?? '', performance.now())) return TOO_FAST
    if (sender === null)
      return refusal(401, 'unauthorised', 'unauthorised', {}, { 'www-authenticate': credentials?.challenge ?? '' })
    if (!this.#posts.take(sender, performance.now())) return TOO_FAST
    if (!paths.includes(path)) return refusal(404, 'not_found', 'not_found')
    if (request.method !== 'POST') return refusal(405, 'method_not_allowed', 'not_found', {}, { allow: 'POST' })
    if (!ENCODINGS.has(request.headers['content-encoding'] ?? 'identity'))
      return refusal(415, 'unsupported_encoding', 'malformed', {}, { 'accept-encoding': 'gzip, identity' })
    if (Number(request.headers['content-length'] ?? 0) > settings.maxBodyBytes) return TOO_LARGE
    if (inlet.full) return noRoom(inlet.trouble)
    if (this.#pending >= MAX_PENDING || this.#pendingBytes >= MAX_PENDING_BYTES) return BUSY
    return null
  }

  /** Tenants that a sender may use: what its credential and its certificate say. Of whom nobody asks anything, any. */
  #grantOf(socket: Socket, known: KnownSender | null): TenantGrant {
    const authoriser = this.#authoriser
    const own = this.#own
    if (authoriser === null)
      return known === null ? { tenant: own.tenant, tenants: null } : tenantGrant([known.tenants], own)
    let certified = this.#certified.get(socket)
    if (certified === undefined) {
      certified = authoriser.tenantsOf(namesOfSocket(socket as Socket & CertifiedSocket))
      this.#certified.set(socket, certified)
    }
    return tenantGrant([known?.tenants ?? null, certified], own)
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    const { counters, credentials } = this.#options
    counters.received(1)
    // An error of the socket is told by 'close' too.
    request.on('error', ignore)
    response.on('error', ignore)
    const url = request.url ?? ''
    const query = url.indexOf('?')
    const path = query < 0 ? url : url.slice(0, query)
    const known = credentials?.check(request.headers.authorization) ?? null
    const sender = credentials === null ? (request.socket.remoteAddress ?? '') : (known?.who ?? null)
    const refused = this.#early(request, path, sender)
    // Without a sender it is refused.
    if (refused !== null || sender === null) {
      this.#refuse(request, response, refused ?? STOPPING)
      return
    }
    if (request.headers.expect !== undefined) response.writeContinue()
    this.#read(request, response, (body) =>
      this.#take({ path, headers: request.headers, body, sender, grant: this.#grantOf(request.socket, known) }),
    )
  }

  /** Reads a body whole, within the limits, and answers what `take` says of it. */
  #read(request: IncomingMessage, response: ServerResponse, take: (body: Buffer) => Promise<HttpAnswer>): void {
    const { counters, settings, log } = this.#options
    this.#pending++
    let unanswered = this.#unanswered.get(request.socket)
    if (unanswered === undefined) this.#unanswered.set(request.socket, (unanswered = new Set()))
    unanswered.add(request)
    let chunks: Buffer[] = []
    let size = 0
    let over = false
    const done = (): void => {
      if (over) return
      over = true
      chunks = []
      this.#reading.delete(stop)
      unanswered.delete(request)
      this.#pendingBytes -= size
      if (--this.#pending === 0) this.#quiet?.()
    }
    const stop = (): void => {
      done()
      this.#refuse(request, response, STOPPING)
    }
    this.#reading.add(stop)
    request.on('data', (chunk: Buffer) => {
      if (over) return
      size += chunk.length
      this.#pendingBytes += chunk.length
      if (size <= settings.maxBodyBytes && this.#pendingBytes <= MAX_PENDING_BYTES) {
        chunks.push(chunk)
        return
      }
      const answer = size > settings.maxBodyBytes ? TOO_LARGE : BUSY
      done()
      this.#refuse(request, response, answer)
    })
    let whole = false
    request.on('end', () => {
      whole = true
      if (over) return
      this.#reading.delete(stop)
      take(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size)).then(
        (answer) => {
          this.#send(response, answer)
          done()
        },
        // `take` catches what there is; this is for what it does not know of.
        (error: unknown) => {
          log.error({ err: error }, 'a post failed')
          this.#send(response, INTERNAL)
          done()
        },
      )
    })
    request.on('close', () => {
      if (whole || over) return
      // Cut off in the middle: nothing of it is taken.
      if (!this.#spoilt.has(request.socket)) counters.refused('malformed')
      done()
    })
  }

  /** Inflates, hands on, and knows what the spool's errors mean. */
  async #take(post: HttpPost): Promise<HttpAnswer> {
    const { handle, inlet, log, settings } = this.#options
    let { body } = post
    if (isGzip(post.headers)) {
      // A few at a time: small bodies that wait may become large ones.
      if (this.#inflating >= MAX_INFLATING)
        await new Promise<void>((resolve) => {
          this.#waiting.push(resolve)
        })
      this.#inflating++
      try {
        body = await inflate(body, { maxOutputLength: settings.maxBodyBytes })
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
          ? TOO_LARGE
          : refusal(400, 'malformed', 'malformed')
      } finally {
        this.#inflating--
        this.#waiting.shift()?.()
      }
    }
    try {
      // No message of protobuf begins with one.
      return await handle({ ...post, body: body.subarray(bomAt(body, 0, body.length)) })
    } catch (error) {
      // Full or broken: the sender keeps what it has, and tries again.
      if (!(error instanceof MinimError && error.code === 'MINIM_SPOOL_FULL'))
        log.error({ err: error }, 'a post could not be made safe')
      return notStored(error, inlet.trouble)
    }
  }

  #send(response: ServerResponse, answer: HttpAnswer): void {
    if (answer.refused !== undefined) this.#options.counters.refused(answer.refused)
    sendAnswer(response, answer, this.#stopping || (response.socket !== null && this.#spoilt.has(response.socket)))
  }

  /** Answers before the body has been read. */
  #refuse(request: IncomingMessage, response: ServerResponse, answer: HttpAnswer): void {
    if (isWhole(request)) {
      request.resume()
      this.#send(response, answer)
      return
    }
    if (answer.refused !== undefined) this.#options.counters.refused(answer.refused)
    refuseUnread(request, response, answer)
  }

  /** What Node's parser refuses, or gave up waiting for. */
  #broken(error: NodeJS.ErrnoException, socket: Duplex): void {
    const { counters } = this.#options
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy()
      return
    }
    const [status, reason]: [number, SourceRefusal] =
      error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'idle']
        : error.code === 'HPE_HEADER_OVERFLOW'
          ? [431, 'too_large']
          : [400, 'malformed']
    counters.refused(reason)
    this.#spoilt.add(socket)
    // An answer that is still due would be taken for the earlier post's: that one is answered, and then the connection
    // ends.
    for (const { complete } of this.#unanswered.get(socket) ?? []) if (complete) return
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
    // One that goes on sending must not keep its connection by it.
    const timer = setTimeout(() => {
      socket.destroy()
    }, LINGER_MS)
    socket.once('close', () => {
      clearTimeout(timer)
    })
  }
}

const ENCODINGS: ReadonlySet<string> = new Set(['identity', 'gzip', 'x-gzip'])

function isGzip(headers: IncomingHttpHeaders): boolean {
  const encoding = headers['content-encoding']
  return encoding === 'gzip' || encoding === 'x-gzip'
}

function ignore(): void {
  /* told elsewhere */
}

/** Said once, at start: anybody who can reach the port can post. */
export function warnIfOpen(
  section: string,
  { listen, tls }: ListenerSettings,
  credentials: Credentials | null,
  log: SourceContext['log'],
): void {
  if (!isLoopback(listen) && credentials === null && (tls?.clientCa ?? null) === null)
    log.warn(
      { listen },
      `${section}: whoever reaches this port may post, for any tenant; set ${section}.credentialsFile or ${section}.tls.clientCa`,
    )
}
