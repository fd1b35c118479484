/**
 * The embedded SIP listener: UDP, TCP and TLS, for those who run no drachtio-server. It is an end, not a proxy: it
 * answers requests (`service.ts`) and sends none.
 *
 * What keeps it from being used against others: it answers only to networks of `allow`, only to the address that a
 * request came from, and by UDP with no more than the request's own size and a fixed part. What keeps one sender from
 * hurting the rest: its own rate; by TCP it is not read for a while, which slows it down, by UDP what is too much is
 * dropped.
 */
import { randomBytes } from 'node:crypto'
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { type AddressInfo, createServer, isIP, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { LRUCache } from 'lru-cache'
import { RateLimit } from '../../base/rate-limit.js'
import { MinimError } from '../../errors/catalogue.js'
import type { SourceCounters } from '../../flow/counters.js'
import { paramsOf } from '../../formats/sip/address.js'
import { readSip, type SipMessage } from '../../formats/sip/message.js'
import type { Allowed } from '../../sections/authorise.js'
import { isLimited, Networks, plainAddress } from '../../sections/network-list.js'
import { readServerTls } from '../../sections/server-tls.js'
import type { TlsSettings } from '../../sections/tls-files.js'
import { type Authoriser, mayUse, namesOfSocket, tenantGrant } from '../common/authorise.js'
import { SipConnection } from './connection.js'
import type { SipAnswer, SipService } from './service.js'

export interface SipListenerSettings {
  readonly udp: string | null
  readonly tcp: string | null
  readonly tlsListen: string | null
  readonly tls: TlsSettings | null
  readonly allow: readonly Allowed[]
  readonly maxMessageBytes: number
  readonly maxConnections: number
  readonly ratePerSecond: number
  readonly idleMs: number
}

export interface SipListenerOptions {
  readonly settings: SipListenerSettings
  readonly service: SipService
  readonly counters: SourceCounters
  /** What certificates may use, where clients show one. */
  readonly authoriser?: Authoriser | null
  /** A socket that can do no more. */
  readonly onBroken: (error: unknown) => void
}

/** How long a request that comes again is answered as before: Timer J (RFC 3261 §17.2.2), ms. */
const TRANSACTION_MS = 32_000
/** Answers that are kept for that. */
const MAX_TRANSACTIONS = 20_000
/** Octets by which an answer by UDP may be longer than its request: a tag, where it came from, an entity tag. */
const MAX_GROWTH_BYTES = 192
/** A TLS handshake takes no longer, ms. */
const HANDSHAKE_MS = 10_000
/** What the kernel keeps while a burst is worked off, octets. */
const RECEIVE_BUFFER_BYTES = 4_194_304

/** To's tag (RFC 3261 §19.3): no dialogue comes of it. */
const TAG = randomBytes(6).toString('hex')

const TOO_LARGE: SipAnswer = { status: 413, reason: 'Request Entity Too Large', headers: [], more: [] }

/** A request by UDP that was seen, and its answer once there is one. */
interface Transaction {
  answer: Buffer | null
}

export class SipListener {
  readonly #options: SipListenerOptions
  readonly #allowed: Networks
  readonly #rates: RateLimit
  readonly #transactions = new LRUCache<string, Transaction>({
    max: MAX_TRANSACTIONS,
    ttl: TRANSACTION_MS,
    ttlResolution: 1000,
  })
  readonly #connections = new Set<Socket>()
  /** How many of them each address has. */
  readonly #connectionsOf = new Map<string, number>()
  readonly #servers: Server[] = []
  #udp: UdpSocket | null = null
  /** Where it listens, by transport. */
  readonly addresses: Record<string, string> = {}

  constructor(options: SipListenerOptions) {
    this.#options = options
    this.#allowed = new Networks(options.settings.allow)
    this.#rates = new RateLimit(options.settings.ratePerSecond)
  }

  /** @throws MinimError MINIM_SIP_LISTEN, MINIM_SETTINGS_INVALID */
  async start(): Promise<void> {
    const { udp, tcp, tlsListen, tls } = this.#options.settings
    try {
      if (udp !== null) this.addresses['sipUdp'] = await this.#listenUdp(udp)
      if (tcp !== null)
        this.addresses['sipTcp'] = await this.#listenTcp(tcp, 'sip.tcp', createServer({ noDelay: true }))
      if (tlsListen !== null && tls !== null) {
        const { cert, key, ca } = readServerTls(tls, 'sip.tls')
        const server = createTlsServer({
          cert,
          key,
          minVersion: 'TLSv1.2',
          handshakeTimeout: HANDSHAKE_MS,
          ...(ca === null ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
        })
        this.addresses['sipTls'] = await this.#listenTcp(tlsListen, 'sip.tlsListen', server)
      }
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#connections) socket.destroy()
    await Promise.all([
      ...this.#servers.splice(0).map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => {
              resolve()
            })
          }),
      ),
      new Promise<void>((resolve) => {
        if (this.#udp === null) resolve()
        else
          this.#udp.close(() => {
            resolve()
          })
        this.#udp = null
      }),
    ])
  }

  async #listenUdp(listen: string): Promise<string> {
    const { host, port } = hostPort(listen)
    const socket = createSocket({ type: isIP(host) === 6 ? 'udp6' : 'udp4', reuseAddr: false })
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error: NodeJS.ErrnoException) => {
        reject(new MinimError('MINIM_SIP_LISTEN', { setting: 'sip.udp', listen, what: error.code ?? 'error' }))
      })
      socket.bind(port, host, resolve)
    })
    socket.removeAllListeners('error')
    // ICMP's answers to answers: nothing to be done about them. Others end the socket.
    socket.on('error', (error) => {
      this.#options.onBroken(error)
    })
    socket.on('message', (bytes, from) => {
      this.#datagram(bytes, from)
    })
    try {
      socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES)
    } catch {
      // The kernel's own size then.
    }
    this.#udp = socket
    return addressText(socket.address())
  }

  #datagram(bytes: Buffer, from: RemoteInfo): void {
    const { counters, service, settings } = this.#options
    // Keep-alives: line ends, NULs, STUN (RFC 5626 §3.5); counted as nothing.
    if (bytes.length < 16) return
    counters.received(1)
    const address = plainAddress(from.address)
    if (!this.#allowed.has(address)) {
      counters.refused('unauthorised')
      return
    }
    if (!this.#mayCome(address)) {
      counters.refused('rate')
      return
    }
    const message = readSip(bytes)
    if (message === null) {
      counters.refused('malformed')
      return
    }
    const tenant = this.#tenantOf(address, null) ?? undefined
    const send = (answer: Buffer): void => {
      const to = message.method === null ? null : udpTarget(message, from)
      if (to !== null)
        this.#udp?.send(answer, to, from.address, () => {
          /* gone or not: the sender asks again */
        })
    }
    if (message.method === null || message.method === 'ACK') {
      void service.handle(message, address, tenant)
      return
    }
    const key = transactionOf(message, address, from.port)
    if (key === null) {
      // Without what an answer copies there is nothing to answer with.
      counters.refused('malformed')
      return
    }
    const known = this.#transactions.get(key)
    if (known !== undefined) {
      counters.refused('repeated')
      if (known.answer !== null) send(known.answer)
      return
    }
    const transaction: Transaction = { answer: null }
    this.#transactions.set(key, transaction)
    const answered = (answer: SipAnswer): void => {
      const encoded = encodeAnswer(message, answer, address, from.port, bytes.length + MAX_GROWTH_BYTES)
      if (encoded === null) return
      transaction.answer = encoded
      send(encoded)
    }
    if (bytes.length > settings.maxMessageBytes) {
      answered(service.refused('too_large', 513))
      return
    }
    void service
      .handle(message, address, tenant)
      .then((answer) => {
        // What could not be kept may be tried again at once.
        if (answer?.status === 503) this.#transactions.delete(key)
        if (answer !== null) answered(answer)
      })
      .catch(this.#options.onBroken)
  }

  async #listenTcp(listen: string, setting: string, server: Server): Promise<string> {
    const { host, port } = hostPort(listen)
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        reject(new MinimError('MINIM_SIP_LISTEN', { setting, listen, what: error.code ?? 'error' }))
      })
      server.listen(port, host, resolve)
    })
    server.removeAllListeners('error')
    server.on('error', (error) => {
      this.#options.onBroken(error)
    })
    // Before the handshake of TLS: who may not send does not get that far.
    server.on('connection', (socket: Socket) => {
      this.#admit(socket)
    })
    server.on(setting === 'sip.tcp' ? 'connection' : 'secureConnection', (socket: Socket) => {
      if (!socket.destroyed) this.#serve(socket)
    })
    server.on('tlsClientError', () => {
      this.#options.counters.refused('unauthorised')
    })
    this.#servers.push(server)
    return addressText(server.address() as AddressInfo)
  }

  /** Counts a connection, or ends it. */
  #admit(socket: Socket): void {
    const { counters, settings } = this.#options
    socket.on('error', () => {
      /* it closes, and that is all */
    })
    const address = plainAddress(socket.remoteAddress ?? '0.0.0.0')
    if (!this.#allowed.has(address)) {
      counters.refused('unauthorised')
      socket.destroy()
      return
    }
    const own = this.#connectionsOf.get(address) ?? 0
    // Half of them at most are one address's: a whole office may be behind it, and still others can come.
    if (this.#connections.size >= settings.maxConnections || own >= Math.ceil(settings.maxConnections / 2)) {
      counters.refused('connections')
      socket.destroy()
      return
    }
    this.#connections.add(socket)
    this.#connectionsOf.set(address, own + 1)
    counters.connections(this.#connections.size)
    socket.on('close', () => {
      this.#connections.delete(socket)
      const left = (this.#connectionsOf.get(address) ?? 1) - 1
      if (left === 0) this.#connectionsOf.delete(address)
      else this.#connectionsOf.set(address, left)
      counters.connections(this.#connections.size)
    })
  }

  #serve(socket: Socket): void {
    const { counters, settings } = this.#options
    const address = plainAddress(socket.remoteAddress ?? '0.0.0.0')
    const port = socket.remotePort ?? 0
    const tenant = this.#tenantOf(address, 'getPeerCertificate' in socket ? namesOfSocket(socket as TLSSocket) : null)
    if (tenant === null) {
      counters.refused('unauthorised')
      socket.destroy()
      return
    }
    new SipConnection({
      socket,
      counters,
      maxMessageBytes: settings.maxMessageBytes,
      idleMs: settings.idleMs,
      mayCome: () => this.#mayCome(address),
      onMessage: (message, write) => {
        this.#request(message, address, port, tenant, write)
      },
      tooLarge: (message) => encodeAnswer(message, TOO_LARGE, address, port, Infinity),
    })
  }

  #request(
    message: SipMessage,
    address: string,
    port: number,
    tenant: string | undefined,
    write: (bytes: Buffer) => void,
  ): void {
    const { counters, service } = this.#options
    counters.received(1)
    if (message.method !== null && message.method !== 'ACK' && transactionOf(message, address, port) === null) {
      counters.refused('malformed')
      return
    }
    void service
      .handle(message, address, tenant)
      .then((answer) => {
        const encoded = answer === null ? null : encodeAnswer(message, answer, address, port, Infinity)
        if (encoded !== null) write(encoded)
      })
      .catch(this.#options.onBroken)
  }

  /**
   * Tenant of what a sender sends, by its network and its certificate.
   * @returns undefined where neither says one: the service's own; null where there is none that both allow
   */
  #tenantOf(address: string, names: readonly string[] | null): string | null | undefined {
    const { settings, authoriser = null } = this.#options
    const entry = settings.allow.at(this.#allowed.place(address))
    const network = entry !== undefined && isLimited(entry) ? (entry.tenants ?? null) : null
    const certified = names === null ? null : (authoriser?.tenantsOf(names) ?? null)
    if (network === null && certified === null) return undefined
    const grant = tenantGrant([network, certified], { tenant: '', tenants: null })
    return mayUse(grant, grant.tenant) ? grant.tenant : null
  }

  #mayCome(address: string): boolean {
    return this.#rates.take(address, performance.now())
  }
}

/**
 * What tells a request from all others while it may be sent again (RFC 3261 §17.2.3); null where an answer would lack
 * what it needs.
 */
function transactionOf(message: SipMessage, address: string, port: number): string | null {
  const via = message.header('via')
  const cseq = message.header('cseq')
  const callId = message.callId
  if (
    via === null ||
    cseq === null ||
    callId === '' ||
    message.header('from') === null ||
    message.header('to') === null
  )
    return null
  return `${address} ${port} ${callId} ${cseq} ${via}`
}

/**
 * The port that an answer goes to (RFC 3261 §18.2.2, RFC 3581 §4); its address is always the one that the request came
 * from.
 */
function udpTarget(message: SipMessage, from: RemoteInfo): number | null {
  const via = message.header('via')
  if (via === null) return null
  if ('rport' in paramsOf(via)) return from.port
  const port = /^\S{1,32}\s+(?:\[[^\]]{2,45}\]|[^\s:;,]{1,253})\s?:\s?(\d{1,5})/.exec(via)?.[1]
  const number = port === undefined ? 5060 : Number(port)
  return number >= 1 && number <= 65_535 ? number : null
}

/**
 * An answer's bytes: what it copies of the request (RFC 3261 §8.2.6.2), the first Via with where the request came from,
 * a tag for To.
 * @param maxBytes what does not need to be in it is left out beyond that
 * @returns null where it would be larger even so: then there is none
 */
export function encodeAnswer(
  message: SipMessage,
  { status, reason, headers, more }: SipAnswer,
  address: string,
  port: number,
  maxBytes: number,
): Buffer | null {
  const lines = [`SIP/2.0 ${status} ${reason}`]
  message.headers('via').forEach((via, i) => lines.push(`Via: ${i === 0 ? receivedVia(via, address, port) : via}`))
  const to = message.header('to') ?? ''
  lines.push(
    `From: ${message.header('from') ?? ''}`,
    `To: ${/;\s*tag\s*=/i.test(to) ? to : `${to};tag=${TAG}`}`,
    `Call-ID: ${message.callId}`,
    `CSeq: ${message.header('cseq') ?? ''}`,
  )
  for (const [name, value] of headers) lines.push(`${name}: ${value}`)
  const encode = (extra: readonly string[]): Buffer =>
    Buffer.from(`${[...lines, ...extra, 'Content-Length: 0'].join('\r\n')}\r\n\r\n`)
  const full = encode(more.map(([name, value]) => `${name}: ${value}`))
  if (full.length <= maxBytes) return full
  const least = encode([])
  return least.length <= maxBytes ? least : null
}

/** RFC 3261 §18.2.1, RFC 3581 §4. */
function receivedVia(via: string, address: string, port: number): string {
  // Several in one header: the first is the sender's.
  const comma = via.indexOf(',')
  const [first, rest] = comma < 0 ? [via, ''] : [via.slice(0, comma), via.slice(comma)]
  const bare = first.replace(/;\s*received\s*=[^;]*/gi, '')
  const asked = /;\s*rport\s*(?:=\s*\d*)?\s*(?=;|$)/i
  const marked = asked.test(bare) ? bare.replace(asked, `;rport=${port}`) : bare
  return `${marked.trim()};received=${address}${rest}`
}

function hostPort(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':')
  return { host: listen.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(listen.slice(colon + 1)) }
}

function addressText({ address, port, family }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
}
