/**
 * HEP source: captures of SIP and RTCP by UDP, TCP and TLS, from Kamailio (`siptrace`), Asterisk (`res_hep`),
 * FreeSWITCH, captagent, heplify. HEP has no acknowledgements, so nothing can be sent again: what is lost before the
 * spool (in the network, in the kernel's buffer, in a crash while a call is going on) is lost, and what the kernel
 * dropped is counted.
 */
import { type AddressInfo, createServer, isIPv6, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { Worker } from 'node:worker_threads'
import { MinimError } from '../../errors/catalogue.js'
import type { Source, SourceContext, StartSource } from '../../flow/source.js'
import type { Allowed } from '../../sections/authorise.js'
import { isLimited } from '../../sections/network-list.js'
import { readSecret } from '../../sections/secrets.js'
import { readServerTls } from '../../sections/server-tls.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { Authoriser, mayUse, namesOfSocket, ownGrant, type TenantGrant, tenantGrant } from '../common/authorise.js'
import { frameLength } from './frame.js'
import { type HepLimits, type HepNode, HepReader } from './reader.js'
import { Ring, ringMemory } from './ring.js'
import { Senders } from './senders.js'
import { hepSecret, type HepSettings } from './settings.js'
import { FrameStream } from './streams.js'
import { udpDrops } from './udp-drops.js'
import type { UdpThreadMessage, UdpThreadOptions } from './udp-thread.js'

/** How often what has had its time is looked for, and metrics are counted. */
const SWEEP_MS = 250
const DROPS_MS = 2000
/** Packets between the thread that receives and this one: so many times what the kernel holds. */
const RING_FACTOR = 8
const MIN_RING_BYTES = 262_144
/** Packets read in one turn. */
const DRAIN_PACKETS = 512
/** How often TCP is asked again whether the spool has room. */
const FULL_MS = 100
/** TLS handshake, and for a plain connection its first octet. */
const HANDSHAKE_MS = 10_000

/** What HEP takes of the settings: its section, and whether another one holds call records. */
export type HepContext = { readonly hep: HepSettings; readonly files: readonly unknown[] } & Pick<
  SettingsAround,
  'tenants'
>

export const startHep: StartSource<HepContext> = async (context) => {
  const { hep } = context.settings
  if (hep.udp === null && hep.tcp === null && hep.tlsListen === null) return null
  const server = new HepServer(context)
  try {
    await server.start()
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

/** Whether the settings have a source of call detail records: those come before calls made of captured signalling. */
export function hasCallRecords(settings: Pick<HepContext, 'files'>): boolean {
  // Sections that may not be there, by their names; each says in its own way whether it is on.
  const sections = settings as unknown as Readonly<Record<string, unknown>>
  const entries = (name: string): readonly unknown[] =>
    Array.isArray(sections[name]) ? (sections[name] as unknown[]) : []
  const listens = (name: string): boolean =>
    typeof (sections[name] as { listen?: unknown } | undefined)?.listen === 'string'
  return (
    settings.files.length > 0 ||
    entries('ami').some((entry) => (entry as { calls?: unknown }).calls !== 'never') ||
    listens('freeswitch') ||
    listens('http') ||
    entries('kafkaInput').length > 0
  )
}

/** Splits `host:port`, `[host]:port`. */
function hostPort(listen: string): { readonly host: string; readonly port: number } {
  const at = listen.lastIndexOf(':')
  return { host: listen.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(listen.slice(at + 1)) }
}

function addressText({ address, port }: AddressInfo): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`
}

class HepServer implements Source {
  readonly kind = 'hep'
  readonly addresses: Record<string, string> = {}
  readonly #context: SourceContext<HepContext>
  readonly #settings: HepSettings
  readonly #reader: HepReader
  readonly #senders: Senders
  /** What senders of each network may use, by its place in `allow`. */
  readonly #limits: readonly HepLimits[]
  readonly #authoriser: Authoriser | null
  readonly #connections = new Set<Socket>()
  readonly #servers: Server[] = []
  /** Of a sender that shows a certificate, and of whom nothing more is said. */
  readonly #own: TenantGrant
  /** Capture agents that differ; a tenant that is null is the sender's. */
  readonly #nodes: ReadonlyMap<number, Omit<HepNode, 'tenant'> & { readonly tenant: string | null }>
  readonly #node: HepNode
  #udp: { readonly thread: Worker; readonly ring: Ring; readonly address: string; readonly port: number } | null = null
  #listening = false
  #timers: NodeJS.Timeout[] = []
  /** Packets that the kernel had dropped when it was last asked. */
  #drops = 0
  #stopping = false
  #failed = false

  constructor(context: SourceContext<HepContext>) {
    const { settings, catalogue, inlet } = context
    const { hep } = settings
    this.#context = context
    this.#settings = hep
    this.#senders = new Senders(hep.allow, hep.ratePerSecond)
    const found = hasCallRecords(settings)
    const calls = (choice: HepSettings['calls']): boolean => choice === 'always' || (choice === 'auto' && !found)
    const node: HepNode = { tenant: hep.tenant, calls: calls(hep.calls), joinLegs: hep.joinLegs }
    const tenants = Object.keys(settings.tenants)
    this.#authoriser = (hep.tls?.clientCa ?? null) === null ? null : new Authoriser(hep.authorise, hep.tenant, tenants)
    this.#own = ownGrant(hep.tenant, tenants)
    this.#nodes = new Map(
      hep.nodes.map((n) => [
        n.captureId,
        { tenant: n.tenant ?? null, calls: calls(n.calls ?? hep.calls), joinLegs: n.joinLegs ?? hep.joinLegs },
      ]),
    )
    this.#node = node
    this.#limits = hep.allow.map((entry) => this.#limitsOf(entry, null))
    this.#reader = new HepReader({
      catalogue,
      inlet,
      counters: context.counters('hep'),
      key: readSecret(hepSecret(hep)),
      node,
      nodes: new Map([...this.#nodes].map(([id, n]) => [id, { ...n, tenant: n.tenant ?? hep.tenant }])),
      setupMs: hep.setupSeconds * 1000,
      callMs: hep.callSeconds * 1000,
      maxCalls: hep.maxCalls,
      maxFrameBytes: hep.maxFrameBytes,
      maxInflatedBytes: hep.maxInflatedBytes,
      inflationsPerSecond: hep.inflationsPerSecond,
      skipCallsFrom: hep.skipCallsFrom,
    })
    if (hep.calls === 'auto')
      context.log.info(
        { calls: node.calls },
        node.calls
          ? 'calls are made of captured signalling'
          : 'another source gives call records: none are made of captured signalling',
      )
  }

  /**
   * What a sender may use: what its network says, and its certificate.
   * @param names of its certificate; null where none is asked for
   */
  #limitsOf(entry: Allowed | undefined, names: readonly string[] | null): HepLimits {
    const network = entry !== undefined && isLimited(entry) ? entry : null
    const certified = names === null || this.#authoriser === null ? null : { names, authoriser: this.#authoriser }
    const grant = tenantGrant(
      [network?.tenants ?? null, certified?.authoriser.tenantsOf(certified.names) ?? null],
      certified === null ? { ...this.#own, tenants: null } : this.#own,
    )
    const ids = [network?.captureIds ?? null, certified?.authoriser.captureIdsOf(certified.names) ?? null].filter(
      (list) => list !== null,
    )
    const nodeOf = (node: Omit<HepNode, 'tenant'> & { readonly tenant: string | null }): HepNode | null =>
      mayUse(grant, node.tenant ?? grant.tenant) ? { ...node, tenant: node.tenant ?? grant.tenant } : null
    return {
      captureIds: ids.length === 0 ? null : new Set(ids[0].filter((id) => ids.every((list) => list.includes(id)))),
      node: nodeOf({ ...this.#node, tenant: null }),
      nodes: new Map([...this.#nodes].map(([id, node]) => [id, nodeOf(node)])),
    }
  }

  async start(): Promise<void> {
    const { udp, tcp, tlsListen, tls } = this.#settings
    if (udp !== null) await this.#listenUdp(udp)
    if (tcp !== null) await this.#listenTcp('tcp', tcp, createServer({ noDelay: false }))
    if (tlsListen !== null && tls !== null) {
      const { cert, key, ca } = readServerTls({ ...tls, clientCa: tls.clientCa ?? null }, 'hep.tls')
      const server = createTlsServer({
        cert,
        key,
        handshakeTimeout: HANDSHAKE_MS,
        ...(ca === null ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
      })
      server.on('tlsClientError', () => {
        this.#reader.refuse('unauthorised')
      })
      await this.#listenTcp('tlsListen', tlsListen, server)
    }
    this.#timers = [
      setInterval(() => {
        this.#guarded(() => {
          this.#countThread()
          this.#reader.sweep(performance.now())
        })
      }, SWEEP_MS),
      setInterval(() => {
        void this.#countDrops()
      }, DROPS_MS),
    ]
  }

  async stopTaking(): Promise<void> {
    this.#stopping = true
    for (const timer of this.#timers) clearInterval(timer)
    const udp = this.#udp
    if (udp !== null) {
      await this.#countDrops()
      await closed(udp.thread, this.#listening)
      while (
        udp.ring.read(DRAIN_PACKETS, (bytes, at, end, place) => {
          this.#guarded(() => {
            this.#reader.packet(bytes, at, at + frameLength(bytes, at, end), performance.now(), this.#limits[place])
          })
        })
      )
        await Promise.resolve()
      this.#countThread()
      this.#udp = null
    }
    for (const connection of this.#connections) connection.destroy()
    await Promise.all(
      this.#servers.splice(0).map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => {
              resolve()
            })
          }),
      ),
    )
    await this.#reader.stop(performance.now())
  }

  async stop(): Promise<void> {
    if (!this.#stopping) await this.stopTaking()
  }

  async #listenUdp(listen: string): Promise<void> {
    const { receiveBufferBytes, allow, ratePerSecond } = this.#settings
    const { host, port } = hostPort(listen)
    const memory = ringMemory(Math.max(MIN_RING_BYTES, receiveBufferBytes * RING_FACTOR))
    const options: UdpThreadOptions = { host, port, receiveBufferBytes, allow, ratePerSecond, ring: memory }
    const thread = new Worker(new URL('./udp-thread.js', import.meta.url), { workerData: options })
    this.#udp = { thread, ring: new Ring(memory), address: '', port: 0 }
    const bound = await new Promise<{ readonly address: string; readonly port: number; readonly bufferBytes: number }>(
      (resolve, reject) => {
        const failed = (cause: unknown): void => {
          reject(new MinimError('MINIM_HEP_LISTEN', { by: 'udp', listen }, { cause }))
        }
        thread.once('error', failed)
        thread.on('message', (message: UdpThreadMessage) => {
          if (message === null) this.#drain()
          else if (message.kind === 'listening') resolve(message)
          else if (message.kind === 'failed') {
            failed(new Error(message.code))
            this.#broken(new Error(`the UDP socket failed: ${message.code}`))
          }
        })
      },
    )
    thread.removeAllListeners('error')
    thread.on('error', (error) => {
      this.#broken(error)
    })
    if (bound.bufferBytes < receiveBufferBytes) {
      this.#context.log.warn(
        { wanted: receiveBufferBytes, given: bound.bufferBytes },
        'the kernel gives less than hep.receiveBufferBytes: raise net.core.rmem_max, or bursts are lost',
      )
    }
    this.#udp = { ...this.#udp, address: bound.address, port: bound.port }
    this.#listening = true
    this.addresses['hepUdp'] = addressText({ address: bound.address, port: bound.port, family: '' })
    this.#drops = (await udpDrops(bound.address, bound.port)) ?? 0
  }

  /** Takes what is in the ring, some at a time, so that others have their turn. */
  #drain(): void {
    const udp = this.#udp
    if (udp === null) return
    udp.ring.woken()
    const now = performance.now()
    const more = udp.ring.read(DRAIN_PACKETS, (bytes, at, end, place) => {
      this.#guarded(() => {
        this.#reader.packet(bytes, at, at + frameLength(bytes, at, end), now, this.#limits[place])
      })
    })
    if (more)
      setImmediate(() => {
        this.#drain()
      })
  }

  /** What the thread has counted; the packets in the ring are counted as they are read. */
  #countThread(): void {
    const ring = this.#udp?.ring
    if (ring === undefined) return
    ring.takeCount('received')
    for (const reason of ['malformed', 'rate', 'unauthorised'] as const) {
      const count = ring.takeCount(reason)
      this.#reader.count(count)
      if (count > 0) this.#reader.refuse(reason, count)
    }
    this.#dropped(ring.takeCount('dropped'), 'packets were dropped: they came faster than they are read')
  }

  async #listenTcp(by: 'tcp' | 'tlsListen', listen: string, server: Server): Promise<void> {
    const { host, port } = hostPort(listen)
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        reject(new MinimError('MINIM_HEP_LISTEN', { by, listen }, { cause: error }))
      })
      server.listen({ port, host, exclusive: true }, resolve)
    })
    server.removeAllListeners('error')
    server.on('error', (error) => {
      this.#broken(error)
    })
    // With TLS, before its handshake: that is what costs.
    server.on('connection', (socket: Socket) => {
      if (this.#connections.size >= this.#settings.maxConnections) this.#turnAway(socket, 'connections')
      else if (!this.#senders.allows(socket.remoteAddress ?? '')) this.#turnAway(socket, 'unauthorised')
      else this.#track(socket)
    })
    server.on(by === 'tlsListen' ? 'secureConnection' : 'connection', (socket: Socket) => {
      if (!socket.destroyed) this.#serve(socket)
    })
    this.#servers.push(server)
    this.addresses[by === 'tlsListen' ? 'hepTls' : 'hepTcp'] = addressText(server.address() as AddressInfo)
  }

  #turnAway(socket: Socket, reason: 'connections' | 'unauthorised'): void {
    socket.on('error', () => undefined)
    socket.destroy()
    this.#reader.refuse(reason)
  }

  #track(socket: Socket): void {
    const { counters } = this.#context
    this.#connections.add(socket)
    counters('hep').connections(this.#connections.size)
    socket.on('error', () => undefined)
    socket.once('close', () => {
      this.#connections.delete(socket)
      counters('hep').connections(this.#connections.size)
    })
  }

  #serve(socket: Socket): void {
    const address = socket.remoteAddress ?? ''
    const place = this.#senders.place(address)
    // Only a listener with TLS has sockets of it.
    const limits =
      this.#authoriser === null || !('getPeerCertificate' in socket)
        ? this.#limits[place]
        : this.#limitsOf(this.#settings.allow[place], namesOfSocket(socket as TLSSocket))
    let now = 0
    const stream = new FrameStream((bytes, at, end) => {
      if (socket.destroyed) return
      const taken = this.#senders.take(address, now)
      if (taken !== 'taken') {
        this.#reader.count(1)
        this.#reader.refuse(taken)
      } else if (!this.#reader.packet(bytes, at, end, now, limits)) socket.destroy()
    })
    socket.on('error', () => undefined)
    socket.setTimeout(this.#settings.idleMs, () => {
      this.#reader.refuse('idle')
      socket.destroy()
    })
    socket.on('data', (chunk: Buffer) => {
      this.#guarded(() => {
        now = performance.now()
        if (!stream.push(chunk) && !socket.destroyed) {
          this.#reader.refuse('malformed')
          socket.destroy()
        }
        if (this.#context.inlet.full) this.#pause(socket)
      })
    })
  }

  /** Nothing can be stored: the sender is made to wait, as TCP can. */
  #pause(socket: Socket): void {
    socket.pause()
    const again = (): void => {
      if (socket.destroyed) return
      if (this.#context.inlet.full) setTimeout(again, FULL_MS).unref()
      else socket.resume()
    }
    setTimeout(again, FULL_MS).unref()
  }

  async #countDrops(): Promise<void> {
    const udp = this.#udp
    if (udp === null || !this.#listening) return
    const drops = await udpDrops(udp.address, udp.port)
    if (drops === null || drops <= this.#drops) return
    const count = drops - this.#drops
    this.#drops = drops
    this.#dropped(count, 'packets were dropped by the kernel: its buffer was full')
  }

  #dropped(packets: number, what: string): void {
    if (packets === 0) return
    this.#reader.count(packets)
    this.#reader.refuse('no_room', packets)
    this.#context.log.warn({ packets }, what)
  }

  /** A mistake here must not end the program, nor stop the packets after it. */
  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#reader.refuse('malformed')
      if (this.#failed) return
      this.#failed = true
      this.#broken(error)
    }
  }

  #broken(error: unknown): void {
    if (!this.#stopping) this.#context.onBroken('hep', error)
  }
}

/** Ends the thread: its socket first, so that what it has read is in the ring. */
async function closed(thread: Worker, listening: boolean): Promise<void> {
  if (listening) {
    await new Promise<void>((resolve) => {
      thread.once('exit', () => {
        resolve()
      })
      thread.on('message', (message: UdpThreadMessage) => {
        if (message !== null && message.kind === 'closed') resolve()
      })
      thread.postMessage('close')
    })
  }
  await thread.terminate()
}
