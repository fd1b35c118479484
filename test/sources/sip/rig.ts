/** The SIP service with an inlet that collects, what it counts, and clients for it. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import { catalogue as shippedCatalogue } from '../../../src/catalogue/catalogue.js'
import type { SourceCounters } from '../../../src/flow/counters.js'
import { SipListener, type SipListenerSettings } from '../../../src/sources/sip/listener.js'
import { SipService, type SipServiceOptions } from '../../../src/sources/sip/service.js'
import { type CollectingInlet, collectingInlet } from '../../helpers/inlet.js'

export const catalogue = shippedCatalogue()

export interface Counted extends SourceCounters {
  readonly counts: {
    received: number
    connections: number
    gap: number
    readonly refused: Record<string, number>
    readonly left: Record<string, number>
  }
}

export function counters(): Counted {
  const counts = {
    received: 0,
    connections: 0,
    gap: 0,
    refused: {} as Record<string, number>,
    left: {} as Record<string, number>,
  }
  return {
    counts,
    received: (count) => {
      counts.received += count
    },
    refused: (reason, count = 1) => {
      counts.refused[reason] = (counts.refused[reason] ?? 0) + count
    },
    lag: () => undefined,
    connections: (count) => {
      counts.connections = count
    },
    left: (content) => {
      counts.left[content] = (counts.left[content] ?? 0) + 1
    },
    gap: (seconds) => {
      counts.gap += seconds
    },
  }
}

export interface Rig {
  readonly service: SipService
  readonly inlet: CollectingInlet
  readonly counted: Counted
  readonly broken: unknown[]
}

export function rig(over: Partial<SipServiceOptions> = {}): Rig {
  const inlet = collectingInlet(catalogue)
  const counted = counters()
  const broken: unknown[] = []
  const service = new SipService({
    catalogue,
    inlet,
    counters: counted,
    tenant: 'default',
    registerCopies: true,
    expiresSeconds: 3600,
    onBroken: (error) => {
      broken.push(error)
    },
    ...over,
  })
  return { service, inlet, counted, broken }
}

export const SETTINGS: SipListenerSettings = {
  udp: null,
  tcp: null,
  tlsListen: null,
  tls: null,
  allow: ['127.0.0.0/8'],
  maxMessageBytes: 16_384,
  maxConnections: 16,
  ratePerSecond: 10_000,
  idleMs: 60_000,
}

export interface Listening extends Rig {
  readonly listener: SipListener
  readonly port: (transport: 'sipUdp' | 'sipTcp' | 'sipTls') => number
}

export async function listening(
  t: Test,
  settings: Partial<SipListenerSettings>,
  over: Partial<SipServiceOptions> = {},
): Promise<Listening> {
  const made = rig(over)
  const listener = new SipListener({
    settings: { ...SETTINGS, ...settings },
    service: made.service,
    counters: made.counted,
    onBroken: (error) => {
      made.broken.push(error)
    },
  })
  await listener.start()
  t.teardown(() => listener.stop())
  return { ...made, listener, port: (transport) => Number(listener.addresses[transport].split(':').pop()) }
}

const PATIENCE_MS = 20_000

/** Waits until something is so. */
export async function until(what: string, probe: () => boolean): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  while (!probe()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}

/** A client by UDP, which keeps what it is answered. */
export class UdpClient {
  readonly answers: string[] = []
  readonly #socket: UdpSocket
  readonly #port: number

  private constructor(socket: UdpSocket, port: number) {
    this.#socket = socket
    this.#port = port
    socket.on('message', (bytes) => {
      this.answers.push(bytes.toString())
    })
  }

  static async open(t: Test, port: number, own = 0): Promise<UdpClient> {
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => {
      socket.bind(own, '127.0.0.1', resolve)
    })
    t.teardown(() => {
      socket.close()
    })
    return new UdpClient(socket, port)
  }

  get port(): number {
    return this.#socket.address().port
  }

  send(bytes: Buffer): void {
    this.#socket.send(bytes, this.#port, '127.0.0.1')
  }

  /** Sends, and waits for one more answer. */
  async ask(bytes: Buffer): Promise<string> {
    const before = this.answers.length
    this.send(bytes)
    await until('an answer by UDP', () => this.answers.length > before)
    return this.answers[before]
  }
}

/** A client by TCP. */
export class TcpClient {
  text = ''
  closed = false
  readonly socket: Socket

  constructor(t: Test, socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (bytes: Buffer) => {
      this.text += bytes.toString()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.closed = true
    })
    t.teardown(() => {
      socket.destroy()
    })
  }

  static open(t: Test, port: number): TcpClient {
    return new TcpClient(t, connect({ port, host: '127.0.0.1' }))
  }

  /** First lines of the answers that have come. */
  get statuses(): string[] {
    return [...this.text.matchAll(/^SIP\/2\.0 (\d{3})/gm)].map((m) => m[1])
  }

  async answers(count: number): Promise<string[]> {
    await until(
      `${count} answers by TCP, not ${this.statuses.join()}`,
      () => this.statuses.length >= count || this.closed,
    )
    return this.statuses
  }
}

/** Value of a header in an answer. */
export function headerOf(answer: string, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)$`, 'mi').exec(answer)?.[1].trim()
}
