/**
 * A server that speaks drachtio's wire protocol to applications: `<octets>#<id>|<what>|…`, as drachtio-server 0.8 and
 * later do. It has no SIP stack: tests hand it requests as if they had come from the network.
 */
import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createServer, type Server, type Socket } from 'node:net'

export interface Reply {
  readonly transaction: string
  readonly text: string
}

export class DrachtioServer {
  readonly #secret: string
  readonly #server: Server
  #socket: Socket | null = null
  connections = 0
  refused = 0
  readonly routes: string[] = []
  readonly replies: Reply[] = []
  /** Octets by which frames are written; 0: at once. */
  pieces = 0

  private constructor(secret: string) {
    this.#secret = secret
    this.#server = createServer((socket) => {
      this.#serve(socket)
    })
  }

  static async listen(secret: string, port = 0): Promise<DrachtioServer> {
    const made = new DrachtioServer(secret)
    await new Promise<void>((resolve) => {
      made.#server.listen(port, '127.0.0.1', resolve)
    })
    return made
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get ready(): boolean {
    return this.#socket !== null && this.routes.length === 4
  }

  /** Hands a request on; returns its transaction. */
  request(message: Buffer | string, source = 'network'): string {
    const transaction = randomUUID()
    const text = message.toString()
    this.raw(
      this.frame(
        `${randomUUID()}|sip|${source}|${Buffer.byteLength(text)}|udp|192.0.2.14|5060|10:00:00.123456|` +
          `${transaction}|${randomUUID()}|127.0.0.1|5060\r\n${text}`,
      ),
    )
    return transaction
  }

  frame(text: string): Buffer {
    return Buffer.from(`${Buffer.byteLength(text)}#${text}`)
  }

  raw(bytes: Buffer): void {
    if (this.pieces === 0) this.#socket?.write(bytes)
    else
      for (let at = 0; at < bytes.length; at += this.pieces) this.#socket?.write(bytes.subarray(at, at + this.pieces))
  }

  /** Breaks off. */
  drop(): void {
    this.#socket?.destroy()
  }

  async close(): Promise<void> {
    this.#socket?.destroy()
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve()
      })
    })
  }

  #serve(socket: Socket): void {
    let buffer = Buffer.alloc(0)
    socket.setNoDelay(true)
    socket.on('error', () => undefined)
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = null
      this.routes.length = 0
    })
    socket.on('data', (chunk) => {
      buffer = Buffer.concat([buffer, chunk])
      for (;;) {
        const hash = buffer.indexOf('#')
        if (hash < 0) return
        const length = Number(buffer.toString('latin1', 0, hash))
        if (buffer.length < hash + 1 + length) return
        this.#frame(socket, buffer.toString('utf8', hash + 1, hash + 1 + length))
        buffer = buffer.subarray(hash + 1 + length)
      }
    })
  }

  #frame(socket: Socket, text: string): void {
    const cr = text.indexOf('\r\n')
    const [id, what, ...rest] = (cr < 0 ? text : text.slice(0, cr)).split('|')
    switch (what) {
      case 'authenticate': {
        const ok = rest[0] === this.#secret
        if (ok) {
          this.connections++
          this.#socket = socket
        } else this.refused++
        socket.write(
          this.frame(
            `${randomUUID()}|response|${id}|${ok ? 'OK|sip:127.0.0.1:5060|v0.8.26|127.0.0.1:5060' : 'NOK|incorrect secret'}`,
          ),
        )
        return
      }
      case 'route':
        this.routes.push(rest[0])
        socket.write(this.frame(`${randomUUID()}|response|${id}|OK`))
        return
      case 'sip':
        this.replies.push({ transaction: rest[0], text: text.slice(cr + 2) })
        socket.write(
          this.frame(
            `${randomUUID()}|response|${id}|OK|network|100|udp|192.0.2.14|5060|10:00:00|${rest[0]}|x\r\n${text.slice(cr + 2)}`,
          ),
        )
    }
  }
}
