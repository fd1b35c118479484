/**
 * One TCP or TLS connection of the SIP listener: takes messages out of its stream at the rate that its sender may have,
 * and ends it where nothing tells any more where the next one begins.
 *
 * What is too fast waits in the stream, and its sender with it, since nothing more is read meanwhile.
 */
import type { Socket } from 'node:net'
import type { SourceCounters } from '../../flow/counters.js'
import type { SipMessage } from '../../formats/sip/message.js'
import { SipStream } from './stream.js'

/** A body that is a little short is taken after so long a silence, ms. */
const SHORT_BODY_MS = 500
/** How soon a sender that was too fast is read again, ms. */
const SLOWED_MS = 100
/** Octets that a client may leave unread. */
const MAX_UNSENT_BYTES = 262_144

export interface SipConnectionOptions {
  readonly socket: Socket
  readonly counters: SourceCounters
  readonly maxMessageBytes: number
  readonly idleMs: number
  /** Whether its sender may have another message taken now. */
  readonly mayCome: () => boolean
  readonly onMessage: (message: SipMessage, write: (bytes: Buffer) => void) => void
  /** The answer to a request that is too large; null: there is none. */
  readonly tooLarge: (message: SipMessage) => Buffer | null
}

export class SipConnection {
  readonly #options: SipConnectionOptions
  readonly #stream: SipStream
  #timer: NodeJS.Timeout | null = null
  #slowed = false

  /** Serves a connection until it closes. */
  constructor(options: SipConnectionOptions) {
    const { socket, counters, maxMessageBytes, idleMs } = options
    this.#options = options
    this.#stream = new SipStream(maxMessageBytes)
    socket.on('error', () => {
      /* it closes, and that is all */
    })
    socket.setTimeout(idleMs, () => {
      counters.refused('idle')
      socket.destroy()
    })
    socket.on('close', () => {
      this.#clearTimer()
    })
    socket.on('data', (chunk: Buffer) => {
      this.#stream.feed(chunk)
      if (!this.#slowed) this.#work(false)
    })
    // A sender that closes its half has sent all of its last body.
    socket.on('end', () => {
      this.#work(true)
    })
  }

  /** @param silent nothing more has come for a while: a body may be as short as it is */
  #work(silent: boolean): void {
    const { socket, counters, mayCome } = this.#options
    this.#clearTimer()
    this.#slowed = false
    for (;;) {
      if (socket.destroyed) return
      // Before a message is taken out of the stream, which keeps it.
      if (this.#stream.waiting && !mayCome()) {
        counters.refused('rate')
        this.#slowed = true
        socket.pause()
        this.#again(silent, SLOWED_MS)
        return
      }
      const frame = silent ? this.#stream.flush() : this.#stream.next()
      if (frame === null) break
      if (frame.kind === 'ping') this.#write('\r\n')
      else if (frame.kind === 'message')
        this.#options.onMessage(frame.message, (bytes) => {
          this.#write(bytes)
        })
      else {
        counters.received(1)
        counters.refused(frame.kind)
        this.#end(frame.kind === 'too_large' ? frame.message : null)
        return
      }
    }
    socket.resume()
    if (this.#stream.waiting) this.#again(true, SHORT_BODY_MS)
  }

  #write(bytes: Buffer | string): void {
    const { socket } = this.#options
    if (socket.destroyed) return
    // Who reads no answers asks for no more of them.
    if (socket.writableLength > MAX_UNSENT_BYTES) socket.destroy()
    else socket.write(bytes)
  }

  /** @param request that is to be told why; null: there is none */
  #end(request: SipMessage | null): void {
    const { socket, tooLarge } = this.#options
    const answer = request === null || request.method === null ? null : tooLarge(request)
    if (answer !== null) socket.end(answer)
    else socket.end()
    setTimeout(() => socket.destroy(), SHORT_BODY_MS).unref()
  }

  #again(silent: boolean, afterMs: number): void {
    this.#timer = setTimeout(() => {
      this.#work(silent)
    }, afterMs)
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}
