/**
 * A TCP proxy on loopback that disturbs what passes through it and changes none of its bytes: latency, bandwidth, cut
 * connections, silence (half-open), one direction held back, one kind of Kafka request or response held back. Kafka's
 * clients find it when it is what the broker advertises (`kafka-cluster.ts`).
 *
 * Kafka's frames (length, then API key or correlation id: https://kafka.apache.org/protocol#protocol_messages) are only
 * read, and only with `frames`. A request that is held back still reaches the broker when it is released, even if the
 * client has long since gone: that is how a stale one comes about.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export type Towards = 'client' | 'server'

/** Numbers of Kafka's requests: https://kafka.apache.org/protocol#protocol_api_keys. */
export const API = {
  produce: 0,
  fetch: 1,
  metadata: 3,
  initProducerId: 22,
  addPartitionsToTxn: 24,
  endTxn: 26,
} as const

export interface FaultProxyOptions {
  /** Port on loopback to connect to; can be set later, and changed for new connections. */
  readonly target?: number
  /** Read Kafka's frames, so that single requests and responses can be held. */
  readonly frames?: boolean
}

export interface Held {
  /** Resolves once something is held back. */
  readonly caught: Promise<void>
  /** Lets go of what was held back, and holds no more. */
  release(): void
}

interface Rule {
  readonly towards: Towards
  readonly apiKey: number
  left: number
  readonly onCaught: () => void
}

/** What one side has sent and the other has not got yet. */
class Lane {
  readonly #queue: { readonly due: number; readonly bytes: Buffer }[] = []
  #queued = 0
  #due = 0
  #timer: NodeJS.Timeout | null = null
  #partial: Buffer = Buffer.alloc(0)
  /** Reasons not to forward anything. */
  readonly #holds = new Set<object>()
  #ended = false

  readonly #pair: Pair
  readonly #from: Socket
  readonly #to: Socket
  readonly #towards: Towards

  constructor(pair: Pair, from: Socket, to: Socket, towards: Towards) {
    this.#pair = pair
    this.#from = from
    this.#to = to
    this.#towards = towards

    from.on('data', (bytes: Buffer) => {
      this.#take(bytes)
    })
    from.on('end', () => {
      this.finish()
    })
    to.on('drain', () => {
      this.#pump()
    })
  }

  get waiting(): boolean {
    return this.#queue.length > 0 || this.#holds.size > 0
  }

  /** No more comes: the other side is told when it has got what is waiting. */
  finish(): void {
    this.#ended = true
    this.#pump()
  }

  hold(by: object): void {
    this.#holds.add(by)
  }

  release(by: object): void {
    if (this.#holds.delete(by)) this.#pump()
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#queue.length = 0
  }

  #take(bytes: Buffer): void {
    if (!this.#pair.proxy.frames) {
      this.#put(bytes)
      return
    }
    let rest = this.#partial.length === 0 ? bytes : Buffer.concat([this.#partial, bytes])
    while (rest.length >= 12) {
      const length = rest.readInt32BE(0) + 4
      if (rest.length < length) break
      this.#frame(rest.subarray(0, length))
      rest = rest.subarray(length)
    }
    this.#partial = Buffer.from(rest)
  }

  #frame(frame: Buffer): void {
    const { inFlight, proxy } = this.#pair
    let apiKey: number
    if (this.#towards === 'server') {
      apiKey = frame.readInt16BE(4)
      inFlight.set(frame.readInt32BE(8), apiKey)
    } else {
      const correlation = frame.readInt32BE(4)
      apiKey = inFlight.get(correlation) ?? -1
      inFlight.delete(correlation)
    }
    const rule = proxy.matching(this.#towards, apiKey)
    if (rule !== null) {
      // What came before it goes on.
      this.#pump()
      this.hold(rule)
      rule.onCaught()
    }
    this.#put(frame)
  }

  #put(bytes: Buffer): void {
    const { latencyMs, bytesPerSecond } = this.#pair.proxy
    const now = performance.now()
    this.#due =
      Math.max(this.#due, now + latencyMs) + (bytesPerSecond === null ? 0 : (bytes.length / bytesPerSecond) * 1000)
    this.#queue.push({ due: this.#due, bytes })
    this.#queued += bytes.length
    if (this.#queued > QUEUE_BYTES) this.#from.pause()
    this.#pump()
  }

  #pump(): void {
    if (this.#timer !== null || this.#holds.size > 0) return
    for (;;) {
      const next = this.#queue[0]
      if (next === undefined) break
      const wait = next.due - performance.now()
      if (wait > 0.5) {
        this.#timer = setTimeout(() => {
          this.#timer = null
          this.#pump()
        }, wait)
        return
      }
      if (this.#to.writableNeedDrain) return
      this.#queue.shift()
      this.#queued -= next.bytes.length
      this.#to.write(next.bytes)
    }
    if (this.#queued <= QUEUE_BYTES) this.#from.resume()
    if (this.#ended) this.#to.end()
  }
}

/** A client's connection and the one to the server that belongs to it. */
class Pair {
  readonly inFlight = new Map<number, number>()
  readonly toServer: Lane
  readonly toClient: Lane

  readonly #client: Socket
  readonly #server: Socket

  constructor(
    readonly proxy: FaultProxy,
    client: Socket,
    server: Socket,
    onOver: (pair: Pair) => void,
  ) {
    this.#client = client
    this.#server = server

    this.toServer = new Lane(this, client, server, 'server')
    this.toClient = new Lane(this, server, client, 'client')
    for (const socket of [client, server]) socket.setNoDelay(true).on('error', () => undefined)
    client.on('close', () => {
      // What is held back for the server is still to reach it.
      if (this.toServer.waiting && !server.destroyed) this.toServer.finish()
      else this.destroy()
    })
    server.on('close', () => {
      this.destroy()
      onOver(this)
    })
  }

  destroy(): void {
    this.toServer.stop()
    this.toClient.stop()
    this.#client.destroy()
    this.#server.destroy()
  }

  /** The server's end goes, the client is not told. */
  halfOpen(): void {
    this.#server.removeAllListeners('close').destroy()
    this.toServer.hold(this)
  }
}

const QUEUE_BYTES = 1 << 20

export class FaultProxy {
  latencyMs = 0
  /** In each direction of each connection; null: as fast as it comes. */
  bytesPerSecond: number | null = null
  /** Where new connections go. */
  target: number
  readonly frames: boolean
  /** Connections cut so far. */
  cuts = 0
  readonly #pairs = new Set<Pair>()
  readonly #halves = new Set<Pair>()
  readonly #rules: Rule[] = []
  readonly #silence = {}
  #silent = new Set<Towards>()

  readonly #listener: Server

  private constructor(listener: Server, options: FaultProxyOptions) {
    this.#listener = listener

    this.target = options.target ?? 0
    this.frames = options.frames ?? false
    listener.on('connection', (client: Socket) => {
      this.#accept(client)
    })
  }

  static start(options: FaultProxyOptions = {}): Promise<FaultProxy> {
    return new Promise((resolve, reject) => {
      const listener = createServer({ allowHalfOpen: true })
      const proxy = new FaultProxy(listener, options)
      listener.once('error', reject)
      listener.listen(0, '127.0.0.1', () => {
        resolve(proxy)
      })
    })
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port
  }

  get connections(): number {
    return this.#pairs.size
  }

  #accept(client: Socket): void {
    const server = connect({ port: this.target, host: '127.0.0.1', allowHalfOpen: true })
    const pair = new Pair(this, client, server, (over) => this.#pairs.delete(over))
    this.#pairs.add(pair)
    for (const towards of this.#silent) this.#lane(pair, towards).hold(this.#silence)
  }

  #lane(pair: Pair, towards: Towards): Lane {
    return towards === 'client' ? pair.toClient : pair.toServer
  }

  /** Which rule holds a frame back; for lanes. */
  matching(towards: Towards, apiKey: number): Rule | null {
    const rule = this.#rules.find((r) => r.towards === towards && r.apiKey === apiKey && r.left > 0)
    if (rule === undefined) return null
    rule.left--
    return rule
  }

  /** Breaks every connection. */
  cut(): void {
    this.cuts += this.#pairs.size
    for (const pair of this.#pairs) pair.destroy()
  }

  /** Nothing arrives any more and nobody is told, on open connections and on new ones; in one direction or in both. */
  hush(towards: readonly Towards[] = ['client', 'server']): void {
    this.#silent = new Set(towards)
    for (const pair of this.#pairs) for (const way of towards) this.#lane(pair, way).hold(this.#silence)
  }

  /** Ends {@link hush}: what was held back arrives late. */
  speak(): void {
    this.#silent.clear()
    for (const pair of this.#pairs)
      for (const way of ['client', 'server'] as const) this.#lane(pair, way).release(this.#silence)
  }

  /** Open connections lose their other end and are not told: half-open. New ones work. */
  halfOpen(): void {
    for (const pair of this.#pairs) {
      pair.halfOpen()
      this.#pairs.delete(pair)
      this.#halves.add(pair)
    }
  }

  /** Holds back the next frames of a kind, and what comes behind each on its connection. Needs `frames`. */
  holdBack(towards: Towards, apiKey: number, count = 1): Held {
    let onCaught = (): void => undefined
    const caught = new Promise<void>((resolve) => {
      onCaught = resolve
    })
    const rule: Rule = { towards, apiKey, left: count, onCaught }
    this.#rules.push(rule)
    return {
      caught,
      release: () => {
        this.#rules.splice(this.#rules.indexOf(rule), 1)
        for (const pair of this.#pairs) this.#lane(pair, towards).release(rule)
      },
    }
  }

  /** No more faults; connections that were silenced go on. */
  heal(): void {
    this.latencyMs = 0
    this.bytesPerSecond = null
    this.speak()
    for (const pair of this.#halves) pair.destroy()
    this.#halves.clear()
  }

  stop(): Promise<void> {
    this.#rules.length = 0
    for (const pair of [...this.#pairs, ...this.#halves]) pair.destroy()
    return new Promise((resolve) => {
      this.#listener.close(() => {
        resolve()
      })
    })
  }
}
