/**
 * The connection to one Asterisk: connects, reads the banner, logs in, says which events it wants, pings, and starts
 * again with a longer wait each time it breaks. What came is handed on; nothing of it is ever logged.
 *
 * Every request has an `ActionID` of its own and a time limit; an event that carries `Response:` (OriginateResponse) is
 * an event.
 */
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { Backoff } from '../../base/backoff.js'
import { MinimError } from '../../errors/catalogue.js'
import type { Logger } from '../../flow/log.js'
import { challengeKey, encodeAction, EVENT_FILTER, EVENT_MASK } from './actions.js'
import type { AmiSettings } from './settings.js'
import { type Stanza, StanzaParser } from './stanzas.js'

const BANNER = /^Asterisk Call Manager\//
/** A connection that held so long begins with the shortest wait again. */
const STEADY_MS = 10_000
/** Asked for at most so often because of contacts that are not known. */
const UNKNOWN_CONTACTS_MS = 30_000
/** The end is said, and not waited for. */
const LOGOFF_MS = 200

export interface SessionOptions {
  readonly settings: AmiSettings
  readonly secret: string
  readonly tls: ConnectionOptions | null
  readonly log: Logger
  readonly onEvent: (stanza: Stanza, name: string) => void
  readonly onTooLarge: () => void
  readonly onMalformed: () => void
  /** Logged in. */
  readonly onUp: () => void
  /** Was logged in, and is no more. */
  readonly onDown: () => void
  /** Refused: the secret, the user or the address is not allowed. */
  readonly onRefused: () => void
  /** About to try again; called before each wait too. */
  readonly onWaiting: () => void
}

interface Pending {
  readonly resolve: (answer: Stanza) => void
  deadline: number
}

/** Why nothing is read. */
type Hold = 'rate' | 'outbox'

export class AmiSession {
  readonly #options: SessionOptions
  #socket: Socket | null = null
  /** The first line of the connection has come. */
  #banner = false
  #loggedIn = false
  #stopped = false
  #wake: (() => void) | null = null
  #done: Promise<void> = Promise.resolve()
  readonly #pending = new Map<string, Pending>()
  readonly #holds = new Set<Hold>()
  #actions = 0
  #askedContactsAt = -Infinity
  #contactsRefused = false
  #windowStart = 0
  #windowEvents = 0
  #rateTimer: NodeJS.Timeout | null = null
  #contactsTimer: NodeJS.Timeout | null = null
  #fail: (error: MinimError) => void = () => undefined

  constructor(options: SessionOptions) {
    this.#options = options
  }

  start(): void {
    this.#done = this.#run()
  }

  /** Says good-bye and ends. Resolves when nothing more will be handed on. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake?.()
    const socket = this.#socket
    if (socket !== null) {
      if (this.#loggedIn && socket.writable) socket.end(encodeAction('Logoff', this.#nextId(), {}))
      const timer = setTimeout(() => socket.destroy(), this.#loggedIn ? LOGOFF_MS : 0)
      socket.once('close', () => {
        clearTimeout(timer)
      })
      socket.resume()
    }
    await this.#done
  }

  /** Stops or goes on reading: the PBX has to wait meanwhile. */
  hold(why: Hold, on: boolean): void {
    if (on) this.#holds.add(why)
    else this.#holds.delete(why)
    if (this.#stopped) return
    if (this.#holds.size > 0) this.#socket?.pause()
    else {
      // No answer could be read: none of the waits counts.
      for (const pending of this.#pending.values())
        pending.deadline = performance.now() + this.#options.settings.timeoutMs
      this.#socket?.resume()
    }
  }

  /** A contact came that no list has shown: a list is asked for, not too often. */
  contactUnknown(): void {
    if (this.#contactsTimer !== null || this.#contactsRefused) return
    const wait = Math.max(50, this.#askedContactsAt + UNKNOWN_CONTACTS_MS - performance.now())
    this.#contactsTimer = setTimeout(() => {
      this.#contactsTimer = null
      if (this.#loggedIn) this.#askContacts()
    }, wait)
  }

  async #run(): Promise<void> {
    const { settings, log, onWaiting, onRefused } = this.#options
    const backoff = new Backoff(settings.reconnectMs, settings.reconnectMaxMs)
    while (!this.#stopped) {
      const from = performance.now()
      const error = await this.#connection()
      if (this.#stopped) return
      if (performance.now() - from >= STEADY_MS) backoff.reset()
      const refused = error.code === 'MINIM_AMI_REFUSED'
      // A PBX that has refused will refuse again, and may lock the address out: the longest wait at once.
      const wait = refused ? backoff.longest() : backoff.next()
      if (refused) onRefused()
      onWaiting()
      log.warn({ err: error, node: settings.node, retryMs: wait }, 'AMI: not connected')
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
  }

  /** One connection, from its beginning to its end. Resolves with why it ended. */
  #connection(): Promise<MinimError> {
    const { settings, tls, onDown, onTooLarge } = this.#options
    const { host, port, maxStanzaBytes } = settings
    return new Promise((resolve) => {
      let over = false
      const socket = tls === null ? connectTcp({ host, port }) : connectTls({ ...tls, host, port })
      this.#socket = socket
      this.#banner = false
      const timers = [this.#watch(), this.#listContacts()]
      this.#fail = (error) => {
        if (over) return
        over = true
        for (const timer of timers) clearInterval(timer)
        this.#forget()
        socket.destroy()
        if (this.#loggedIn) {
          this.#loggedIn = false
          onDown()
        }
        resolve(error)
      }
      const parser = new StanzaParser(maxStanzaBytes)
      const sink = {
        banner: (line: string | null): void => {
          this.#greeted(line)
        },
        stanza: (stanza: Stanza): void => {
          if (!over) this.#take(stanza)
        },
        tooLarge: onTooLarge,
      }
      this.#listen(socket, this.#fail, (chunk) => {
        if (over || this.#stopped) return
        parser.push(chunk, sink)
        this.#limitRate()
      })
      if (this.#holds.size > 0) socket.pause()
    })
  }

  #listen(socket: Socket, failed: (error: MinimError) => void, onData: (chunk: Buffer) => void): void {
    const { node } = this.#options.settings
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 30_000)
    socket.on('data', onData)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failed(new MinimError('MINIM_AMI_LOST', { node, what: safeCode(error.code) }))
    })
    socket.on('close', () => {
      failed(new MinimError('MINIM_AMI_LOST', { node, what: 'closed' }))
    })
  }

  /** What belongs to a connection that has ended. */
  #forget(): void {
    if (this.#rateTimer !== null) clearTimeout(this.#rateTimer)
    if (this.#contactsTimer !== null) clearTimeout(this.#contactsTimer)
    this.#rateTimer = this.#contactsTimer = null
    this.#holds.delete('rate')
    this.#pending.clear()
    this.#socket = null
  }

  /** Ends the connection when an answer does not come in time, and pings. */
  #watch(): NodeJS.Timeout {
    const { node, timeoutMs, pingMs } = this.#options.settings
    const begun = performance.now()
    let lastPing = begun
    return setInterval(
      () => {
        if (this.#holds.size > 0) return
        const now = performance.now()
        if (!this.#banner && now - begun > timeoutMs) {
          this.#fail(new MinimError('MINIM_AMI_TIMEOUT', { node, ms: timeoutMs, what: 'banner' }))
          return
        }
        for (const { deadline } of this.#pending.values())
          if (now > deadline) {
            this.#fail(new MinimError('MINIM_AMI_TIMEOUT', { node, ms: timeoutMs, what: 'answer' }))
            return
          }
        if (this.#loggedIn && now - lastPing >= pingMs) {
          lastPing = now
          void this.#request('Ping', {})
        }
      },
      Math.max(10, Math.min(500, pingMs / 2, timeoutMs / 2)),
    )
  }

  #listContacts(): NodeJS.Timeout {
    return setInterval(() => {
      if (this.#loggedIn) this.#askContacts()
    }, this.#options.settings.contactsMs)
  }

  #greeted(line: string | null): void {
    const { node } = this.#options.settings
    this.#banner = true
    if (line === null || !BANNER.test(line))
      this.#fail(new MinimError('MINIM_AMI_PROTOCOL', { node, what: "no banner of Asterisk's" }))
    else void this.#logIn()
  }

  #take(stanza: Stanza): void {
    if (this.#stopped) return
    const name = stanza.event
    if (name === '') {
      if (!this.#answer(stanza)) this.#options.onMalformed()
      return
    }
    this.#windowEvents++
    this.#options.onEvent(stanza, name)
  }

  async #logIn(): Promise<void> {
    const { settings, secret, log, onUp } = this.#options
    const { node, user } = settings
    const refused = (what: string): void => {
      this.#fail(new MinimError('MINIM_AMI_REFUSED', { node, what }))
    }
    if (settings.challenge === 'md5') {
      const answer = await this.#request('Challenge', { AuthType: 'MD5' })
      const challenge = answer.get('challenge')
      if (!succeeded(answer) || challenge === '') {
        refused('challenge')
        return
      }
      if (
        !succeeded(
          await this.#request('Login', {
            AuthType: 'MD5',
            Username: user,
            Key: challengeKey(challenge, secret),
            Events: EVENT_MASK,
          }),
        )
      ) {
        refused('log-in')
        return
      }
    } else if (!succeeded(await this.#request('Login', { Username: user, Secret: secret, Events: EVENT_MASK }))) {
      refused('log-in')
      return
    }
    this.#loggedIn = true
    this.#contactsRefused = false
    onUp()
    log.info({ node }, 'AMI: connected')
    // Needs write=system, which a user may lack: then all events of the classes come, and what is of no use is counted.
    if (settings.filter) void this.#request('Filter', { Operation: 'Add', Filter: EVENT_FILTER })
    this.#askContacts()
  }

  #askContacts(): void {
    if (this.#contactsRefused) return
    this.#askedContactsAt = performance.now()
    void this.#request('PJSIPShowContacts', {}).then((answer) => {
      // No PJSIP there, or no leave to ask: not asked again on this connection.
      if (!succeeded(answer)) this.#contactsRefused = true
    })
  }

  /** Never settles when the connection ends first: nothing waits for it then. */
  #request(action: string, fields: Readonly<Record<string, string>>): Promise<Stanza> {
    const id = this.#nextId()
    return new Promise((resolve) => {
      this.#pending.set(id, { resolve, deadline: performance.now() + this.#options.settings.timeoutMs })
      this.#socket?.write(encodeAction(action, id, fields))
    })
  }

  #answer(stanza: Stanza): boolean {
    if (!stanza.has('response')) return false
    const id = stanza.get('actionid')
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    pending?.resolve(stanza)
    return true
  }

  #nextId(): string {
    return `minim-${++this.#actions}`
  }

  #limitRate(): void {
    const now = performance.now()
    if (now - this.#windowStart >= 1000) {
      this.#windowStart = now
      this.#windowEvents = 0
    }
    if (
      this.#windowEvents < this.#options.settings.maxEventsPerSecond ||
      this.#holds.has('rate') ||
      this.#socket === null
    )
      return
    this.hold('rate', true)
    this.#rateTimer = setTimeout(
      () => {
        this.#rateTimer = null
        this.#windowStart = performance.now()
        this.#windowEvents = 0
        this.hold('rate', false)
      },
      this.#windowStart + 1000 - now,
    )
  }
}

function succeeded(answer: Stanza): boolean {
  return answer.get('response').toLowerCase() === 'success'
}

/** Node.js's and OpenSSL's codes; never a text. */
function safeCode(code: unknown): string {
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(code) ? code : 'error'
}
