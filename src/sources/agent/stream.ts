/**
 * The stream of one followed file to the proxy: numbers its batches, has each cut on disk before it is sent, and sends
 * again what was not acknowledged, from memory or out of the file.
 */
import { createHash } from 'node:crypto'
import { type ChannelCredentials, type ChannelOptions, type ServiceError, status } from '@grpc/grpc-js'
import { Backoff } from '../../base/backoff.js'
import { Batch, type Reader } from '../../batch/batch.js'
import type { Catalogue } from '../../catalogue/catalogue.js'
import { MinimError } from '../../errors/catalogue.js'
import type { Logger } from '../../flow/log.js'
import type { SourceId } from '../../flow/work-item.js'
import { bomAt } from '../common/content-stream.js'
import { DeliverClient } from '../common/deliver-client.js'
import { FileIdentity } from '../common/file-identity.js'
import type { FollowedPiece, FollowSink } from '../common/follow-file.js'
import type { ConfiguredFile, FilesContext } from '../common/followers.js'
import { GrowingFile } from '../common/growing-file.js'
import { PackedLooks } from '../common/packed-file.js'
import { isPackedName, listRotated, MAX_LOOKS, unchanged } from '../common/rotated-files.js'
import type { BatchEncoder } from './batch-encoder.js'
import type { AgentSettings } from './settings.js'
import { type AgentState, type Cut, movePlace, type StreamState } from './state.js'

const BACKOFF_MIN_MS = 250
/** Well under the time after which a proxy ends a stream on which nothing comes. */
export const KEEP_ALIVE_MS = 20_000
/** A connection that takes nothing for so long is dead. */
export const ANSWER_MS = 30_000
const SAVE_AGAIN_MS = 1000
/** Characters of what gRPC says at most. */
const MAX_WHAT = 80

/** The proxy's default tenant: its records name none. */
const DEFAULT_TENANT = 'default'

/** What the agent takes of the settings: its section, the files, and how they are read. */
export type AgentContext = { readonly agent: AgentSettings } & FilesContext

interface StreamOptions extends ConfiguredFile {
  readonly settings: AgentContext
  readonly catalogue: Catalogue
  readonly log: Logger
  readonly encoder: BatchEncoder
  readonly reader: Reader
  readonly state: AgentState
  readonly credentials: ChannelCredentials
  readonly channel: ChannelOptions
  readonly signal: AbortSignal
  readonly onConnected: () => void
}

/** A batch on its way. */
interface Sending {
  readonly cut: Cut
  /** null after a restart, until it is read again. */
  bytes: Buffer | null
  readonly readAt: number
  /** The cut is on disk. */
  saved: boolean
}

/** The stream of one followed file: what a ledger and delivery are to a proxy. */
export class AgentStream implements FollowSink {
  readonly #options: StreamOptions
  /** The stream's name at the proxy. */
  readonly #name: string
  readonly #state: StreamState
  readonly #sending: Sending[]
  /** Last batch that went to the connection there is. */
  #sent = 0
  #client: DeliverClient | null = null
  #room: (() => void)[] = []
  #said = ''
  /** Codes whose mend was said: the next time the line alone will do. */
  readonly #mended = new Set<string>()

  constructor(options: StreamOptions) {
    this.#options = options
    const { file, settings } = options
    this.#name =
      file.source ??
      `${settings.agent.source ?? ''}-${createHash('sha256').update(file.path).digest('hex').slice(0, 8)}`
    this.#state = options.state.stream(this.#name)
    const readAt = performance.now()
    this.#sending = this.#state.cuts.map((cut) => ({ cut, bytes: null, readAt, saved: true }))
    options.signal.addEventListener(
      'abort',
      () => {
        this.#makeRoom()
      },
      { once: true },
    )
  }

  get connected(): boolean {
    return this.#client !== null
  }

  // ---- what the follower asks
  // ---------------------------------------------------------------------------------------------------

  lastTaken(id: SourceId): number {
    return this.#state.places.find((p) => p.source === id.source && p.incarnation === id.incarnation)?.sequence ?? 0
  }

  streamsOf(source: string): { readonly incarnation: string; readonly sequence: number }[] {
    return this.#state.places.filter((p) => p.source === source)
  }

  contentsName(hash: string): string {
    return this.#options.state.contentsName(hash)
  }

  get oldest(): number | null {
    return this.#sending.at(0)?.readAt ?? null
  }

  /** A cut that is made stays made: there is nothing to wait for, and nothing fails. */
  settled(): Promise<void> {
    return Promise.resolve()
  }

  failure(): null {
    return null
  }

  async offer(piece: FollowedPiece): Promise<void> {
    const { file, encoder, reader, settings, state, signal, log, position } = this.#options
    const bytes = encoder.encode(piece.batch(), reader.format, tenantOf(file.tenant))
    const { id, idBefore, place, start, endOffset: end, last, tooLarge, receivedAt } = piece
    piece.release()
    const cut: Cut = { sequence: this.#last + 1, ...id, place, start, end, last, tooLarge }
    this.#state.cuts.push(cut)
    movePlace(this.#state, idBefore, { ...id, sequence: end })
    const sending: Sending = { cut, bytes, readAt: receivedAt, saved: false }
    this.#sending.push(sending)
    void (async () => {
      while (!signal.aborted) {
        try {
          await state.save()
          sending.saved = true
          this.#send()
          return
        } catch (error) {
          if (this.#say('unsaved')) log.error({ err: error, file: position })
          await this.#pause(SAVE_AGAIN_MS)
        }
      }
    })()
    while (this.#sending.length >= settings.agent.windowBatches && !signal.aborted) {
      await new Promise<void>((resolve) => this.#room.push(resolve))
    }
  }

  // ---- the stream
  // ---------------------------------------------------------------------------------------------------------------

  /** Connects, and connects again, until the signal. */
  async run(): Promise<void> {
    const { signal, settings, log, position } = this.#options
    const backoff = new Backoff(BACKOFF_MIN_MS, settings.agent.reconnectMaxMs)
    while (!signal.aborted) {
      try {
        await this.#connection(() => {
          backoff.reset()
        })
      } catch (error) {
        if (signal.aborted) return
        const said =
          error instanceof MinimError
            ? error
            : new MinimError('MINIM_AGENT_DISCONNECTED', { file: position, ...saidBy(error) })
        const { code, message } = said
        if (this.#say(`${code} ${message}`))
          log.warn(this.#mended.has(code) ? { code, file: position } : { err: said }, message)
        this.#mended.add(code)
      }
      await this.#pause(backoff.next())
    }
  }

  /** One connection, to its end. @throws what ended it */
  async #connection(onResumed: () => void): Promise<void> {
    const { settings, signal, credentials, channel, log, position } = this.#options
    let ended: (error: ServiceError | null) => void = () => undefined
    const over = new Promise<ServiceError | null>((resolve) => {
      ended = resolve
    })
    const client = new DeliverClient({
      address: settings.agent.proxy ?? '',
      source: this.#name,
      incarnation: this.#state.incarnation,
      credentials,
      channel,
      onAck: (sequence) => {
        this.#acknowledged(sequence)
      },
      onEnd: (error) => {
        ended(error)
      },
    })
    const stop = (): void => {
      client.cancel()
    }
    signal.addEventListener('abort', stop, { once: true })
    const silent = setTimeout(stop, ANSWER_MS)
    let alive: NodeJS.Timeout | undefined
    try {
      const resume = await client.resumeAfter
      clearTimeout(silent)
      if (resume < this.#state.acknowledged || resume > this.#last) {
        throw new MinimError('MINIM_AGENT_RESUME', {
          source: this.#name,
          resume,
          first: this.#state.acknowledged,
          last: this.#last,
        })
      }
      this.#acknowledged(resume)
      await this.#readAgain()
      this.#said = ''
      log.info(
        { file: position, source: this.#name, resumeAfter: resume, again: this.#sending.length },
        'connected to the proxy',
      )
      onResumed()
      this.#client = client
      this.#sent = resume
      this.#options.onConnected()
      this.#send()
      alive = setInterval(() => {
        client.keepAlive()
      }, KEEP_ALIVE_MS)
      const error = await over
      if (error !== null) throw error
      throw new MinimError('MINIM_AGENT_DISCONNECTED', { file: position, status: 'OK', what: 'the proxy ended it' })
    } finally {
      clearTimeout(silent)
      clearInterval(alive)
      signal.removeEventListener('abort', stop)
      this.#client = null
      this.#options.onConnected()
      client.cancel()
    }
  }

  get #last(): number {
    return this.#sending.at(-1)?.cut.sequence ?? this.#state.acknowledged
  }

  /** Sends what is on disk and was not sent on this connection. */
  #send(): void {
    const client = this.#client
    if (client === null) return
    for (const { cut, bytes, saved } of this.#sending) {
      if (cut.sequence <= this.#sent) continue
      if (!saved || bytes === null) return
      client.send(cut.sequence, bytes)
      this.#sent = cut.sequence
    }
  }

  #acknowledged(sequence: number): void {
    const { cuts } = this.#state
    if (sequence > this.#last) return
    while (cuts.length > 0 && cuts[0].sequence <= sequence) {
      cuts.shift()
      this.#sending.shift()
    }
    this.#state.acknowledged = Math.max(this.#state.acknowledged, sequence)
    this.#makeRoom()
  }

  #makeRoom(): void {
    for (const resolve of this.#room.splice(0)) resolve()
  }

  /** After a restart: cuts that the proxy has not taken are read from their files again. */
  async #readAgain(): Promise<void> {
    const { log, position } = this.#options
    for (const sending of this.#sending) {
      if (sending.bytes !== null) continue
      const bytes = await this.#cutAgain(sending.cut)
      if (bytes === null) {
        const { start, end } = sending.cut
        log.error({ err: new MinimError('MINIM_AGENT_LOST', { file: position, bytes: end - start }) })
      }
      // Its number must be filled, since the next ones are given: without records.
      sending.bytes = bytes ?? Buffer.alloc(0)
    }
  }

  /**
   * The same bytes under the same identity, wherever the file is called now.
   * @returns null when no file has them any more
   * @throws MinimError MINIM_FILE_UNREADABLE: one that cannot be read may have them
   */
  async #cutAgain(cut: Cut): Promise<Buffer | null> {
    const { path } = this.#options.file
    let listed = await listRotated(path, [], 'both')
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      for (const file of [path, ...listed.map((entry) => entry.file).reverse()]) {
        const bytes = await this.#cutFrom(file, cut)
        if (bytes !== null) return bytes
      }
      const again = await listRotated(path, [], 'both')
      if (looks > 0 && unchanged(listed, again)) return null
      listed = again
    }
    return null
  }

  async #cutFrom(path: string, cut: Cut): Promise<Buffer | null> {
    const { file, position, settings, catalogue, reader, encoder } = this.#options
    // A packed file that was read has a source that is named.
    const opened =
      file.source !== null && isPackedName(path)
        ? await new PackedLooks().open(path, `files.${position}`, file.source)
        : await GrowingFile.open(path, `files.${position}`, file.source)
    if (opened === null) return null
    try {
      const { source, incarnation } = new FileIdentity(file.source, cut.place, opened.identity.head).idAt(cut.end, this)
      if (source !== cut.source || incarnation !== cut.incarnation || (await opened.stat()).size < cut.end) return null
      const bytes = cut.tooLarge ? Math.min(cut.end - cut.start, settings.limits.maxRecordBytes) : cut.end - cut.start
      const arena = Buffer.alloc(2 * bytes + settings.limits.maxRecordBytes)
      if ((await opened.read(arena, 0, cut.start, bytes)) < 0) return null
      const batch = new Batch(catalogue)
      const parts: Buffer[] = []
      for (let at = cut.start === 0 ? bomAt(arena, 0, bytes) : 0; at < bytes;) {
        batch.reset(arena, bytes)
        let next = bytes
        if (cut.tooLarge) batch.refuse('too_large', 0, bytes)
        else next = reader.fill(batch, at, bytes, cut.last)
        parts.push(encoder.encode(batch, reader.format, tenantOf(file.tenant)))
        if (next === at) break
        at = next
      }
      return Buffer.concat(parts)
    } finally {
      await opened.close()
    }
  }

  #say(what: string): boolean {
    if (this.#said === what) return false
    this.#said = what
    return true
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#options
    return new Promise((resolve) => {
      if (signal.aborted) {
        resolve()
        return
      }
      const done = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal.addEventListener('abort', done, { once: true })
    })
  }
}

/** The proxy has a default tenant, too. */
function tenantOf(tenant: string): string | null {
  return tenant === DEFAULT_TENANT ? null : tenant
}

/** What a stream's error says, without anything that it was given. */
function saidBy(error: unknown): { readonly status: string; readonly what: string } {
  const { code, details } = error as Partial<ServiceError>
  return {
    status: typeof code === 'number' ? (status[code] ?? String(code)) : 'error',
    what: typeof details === 'string' ? shortly(details) : 'no text',
  }
}

/**
 * Of minim's own errors code and message, whose mend the proxy's log has; of gRPC's what failed last, without when and
 * where.
 */
function shortly(details: string): string {
  const own = /^MINIM_\w+: [^;]*/.exec(details)
  const text =
    own?.[0] ??
    details
      .replace(/^.*Last error: (?:Error: )?/s, '')
      .replace(/[.\s]*Resolution note:.*$/s, '')
      .replace(/ \(\d{4}-\d\d-\d\dT[^)]*\)/g, '')
  return text.length <= MAX_WHAT ? text : `${text.slice(0, MAX_WHAT)}…`
}
