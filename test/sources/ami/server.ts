/**
 * A server that behaves as Asterisk's manager interface does: banner without an empty line, log-in plain and by
 * challenge, answers with the action's id, events after the log-in only. It can split what it sends anywhere, be slow,
 * be silent, and end in the middle of a line.
 */
import { createHash, randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import type { Test } from 'tap'
import { repositoryRoot } from '../../helpers/shared.js'

export interface AmiServerOptions {
  readonly user?: string
  readonly secret?: string
  readonly tls?: TlsOptions | null
  /** First line; default that of Asterisk 20. Empty: says nothing. */
  readonly banner?: string
  /** Octets that are written at once; default all. */
  readonly pieceBytes?: number
  /** Answers no Ping. */
  readonly deaf?: boolean
  /** The user lacks write=system. */
  readonly readOnly?: boolean
  /** Stanzas that answer PJSIPShowContacts. null: there is no PJSIP. */
  readonly contacts?: string | null
}

type Action = ReadonlyMap<string, string>

/** One of the project's own fixtures, with the line ends of the protocol. */
export function fixture(name: string): string {
  return crlf(readFileSync(join(repositoryRoot(), 'test/fixtures/ami', name), 'utf8'))
}

export function crlf(text: string): string {
  return text.replace(/\r?\n/g, '\r\n')
}

/** A `Cdr` event. */
export function cdr(fields: Readonly<Record<string, string | number>>): string {
  const all = {
    AccountCode: 'acme',
    Source: '447700900123',
    Destination: '02079460101',
    CallerID: '"" <447700900123>',
    Channel: 'PJSIP/447700900123-00000001',
    DestinationChannel: 'PJSIP/trunk-00000002',
    StartTime: '2026-11-24 13:20:00',
    AnswerTime: '2026-11-24 13:20:05',
    EndTime: '2026-11-24 13:21:15',
    Duration: 75,
    BillableSeconds: 70,
    Disposition: 'ANSWERED',
    UniqueID: '1795526400.1',
    ...fields,
  }
  return stanza({ Event: 'Cdr', Privilege: 'cdr,all', ...all })
}

export function stanza(fields: Readonly<Record<string, string | number>>): string {
  return `${Object.entries(fields)
    .map(([key, value]) => `${key}: ${value}\r\n`)
    .join('')}\r\n`
}

export class AmiServer {
  /** Actions that came, by name, in order. Pings are not among them. */
  readonly actions: string[] = []
  pings = 0
  /** The mask that the last log-in asked for, and the filters. */
  mask = ''
  readonly filters: string[] = []
  refused = 0
  /** Log-ins that were right, since the start. */
  logins = 0
  deaf: boolean
  /** What is sent right after each log-in. */
  greeting = ''
  readonly #server: Server
  readonly #options: AmiServerOptions
  readonly #sockets = new Set<Socket>()
  readonly #loggedIn = new Set<Socket>()
  #waiting: (() => void)[] = []

  private constructor(options: AmiServerOptions) {
    this.#options = options
    this.deaf = options.deaf ?? false
    const serve = (socket: Socket): void => {
      this.#serve(socket)
    }
    this.#server = options.tls ? createTlsServer(options.tls, serve) : createServer(serve)
  }

  static async start(t: Test, options: AmiServerOptions = {}, port = 0): Promise<AmiServer> {
    const server = new AmiServer(options)
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject)
      server.#server.listen(port, '127.0.0.1', resolve)
    })
    t.teardown(() => server.close())
    return server
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Clients that are logged in. */
  get clients(): number {
    return this.#loggedIn.size
  }

  /** Resolves once a client is logged in. */
  async loggedIn(): Promise<void> {
    while (this.#loggedIn.size === 0)
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
  }

  /** Sends events to all who are logged in. Resolves when they are written. */
  async send(text: string | Buffer): Promise<void> {
    await Promise.all([...this.#loggedIn].map((socket) => this.#write(socket, text)))
  }

  /** Ends all connections at once, in the middle of whatever they were in. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.drop()
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve()
      })
    })
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    let challenge = ''
    let text = ''
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#loggedIn.delete(socket)
    })
    const banner = this.#options.banner ?? 'Asterisk Call Manager/9.0.0'
    if (banner !== '') socket.write(`${banner}\r\n`)
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const action: Action = new Map(
          text
            .slice(0, end)
            .split('\r\n')
            .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
        )
        text = text.slice(end + 4)
        challenge = this.#act(socket, action, challenge)
      }
    })
  }

  #act(socket: Socket, action: Action, challenge: string): string {
    const { user = 'minim', secret = 'a secret', contacts = '', readOnly = false } = this.#options
    const name = action.get('action') ?? ''
    const answer = (fields: Readonly<Record<string, string>>): Promise<void> => {
      return this.#write(
        socket,
        stanza({ Response: fields['Response'] ?? 'Success', ActionID: action.get('actionid') ?? '', ...fields }),
      )
    }
    if (name === 'Ping') this.pings++
    else this.actions.push(name)
    if (name === 'Challenge') {
      const made = String(randomInt(1e8, 1e9))
      void answer({ Challenge: made })
      return made
    }
    if (name === 'Login') {
      const key = createHash('md5')
        .update(challenge + secret)
        .digest('hex')
      const right =
        action.get('username') === user &&
        (action.get('authtype') === 'MD5'
          ? challenge !== '' && action.get('key') === key
          : action.get('secret') === secret)
      if (!right) {
        this.refused++
        void answer({ Response: 'Error', Message: 'Authentication failed' }).then(() => {
          socket.end()
        })
        return ''
      }
      this.logins++
      this.mask = action.get('events') ?? ''
      void answer({ Message: 'Authentication accepted' })
      this.#loggedIn.add(socket)
      for (const resolve of this.#waiting.splice(0)) resolve()
      void this.#write(
        socket,
        stanza({
          Event: 'FullyBooted',
          Privilege: 'system,all',
          Uptime: 100,
          LastReload: 100,
          Status: 'Fully Booted',
        }) + this.greeting,
      )
      return ''
    }
    if (!this.#loggedIn.has(socket)) void answer({ Response: 'Error', Message: 'Permission denied' })
    else if (name === 'Ping') {
      if (!this.deaf) void answer({ Ping: 'Pong', Timestamp: `${Date.now() / 1000}` })
    } else if (name === 'Logoff') {
      void answer({ Response: 'Goodbye', Message: 'Thanks for all the fish.' }).then(() => {
        socket.end()
      })
    } else if (readOnly) void answer({ Response: 'Error', Message: 'Permission denied' })
    else if (name === 'Filter') {
      this.filters.push(action.get('filter') ?? '')
      void answer({ Message: 'Filter Added' })
    } else if (name === 'PJSIPShowContacts' && contacts !== null) {
      void answer({ EventList: 'start', Message: 'A listing of Contacts follows, presented as ContactList events' })
      void this.#write(
        socket,
        contacts
          .replace(/^Event: (.*)$/gm, `Event: $1\r\nActionID: ${action.get('actionid') ?? ''}`)
          .replace(/\r+\n/g, '\r\n'),
      )
      void this.#write(
        socket,
        stanza({
          Event: 'ContactListComplete',
          ActionID: action.get('actionid') ?? '',
          EventList: 'Complete',
          ListItems: 2,
        }),
      )
    } else void answer({ Response: 'Error', Message: 'Invalid/unknown command' })
    return challenge
  }

  readonly #order = new WeakMap<Socket, Promise<void>>()

  /** One after the other, as they are. */
  #write(socket: Socket, text: string | Buffer): Promise<void> {
    const written = (this.#order.get(socket) ?? Promise.resolve()).then(() => this.#writePieces(socket, text))
    this.#order.set(socket, written)
    return written
  }

  /** In pieces, each a packet of its own. */
  async #writePieces(socket: Socket, text: string | Buffer): Promise<void> {
    const bytes = Buffer.from(text as string)
    const size = this.#options.pieceBytes ?? bytes.length
    for (let at = 0; at < bytes.length; at += size) {
      if (socket.destroyed) return
      await new Promise<void>((resolve) => {
        socket.write(bytes.subarray(at, at + size), () => {
          resolve()
        })
      })
      if (size < bytes.length)
        await new Promise((resolve) => {
          setImmediate(resolve)
        })
    }
  }
}
