/**
 * gRPC source: `minim.v1.Ingest/Deliver`, batches up, acknowledgements down.
 *
 * The first message names source and incarnation and may be empty (sequence 0); the first acknowledgement, at once, is
 * the resume point: the last sequence that is committed. From there each batch counts one up. What was taken before is
 * acknowledged again and not taken again; a gap ends the stream (FAILED_PRECONDITION). Acknowledged is what is
 * committed, and nothing else.
 *
 * Messages stay the bytes that came: no protobuf object is made of them. A batch whose envelope is broken counts as the
 * next one of its stream: its bytes go to quarantine and the stream goes on, since the node would only send the same
 * bytes again.
 *
 * With `clientCa` a stream's source must be one that its certificate names, and its records' tenants those that it may
 * use (`authorise.ts`). A batch under a number that was taken with other bytes is refused (`flow/marks.ts`).
 */
import {
  ChannelCredentials,
  Client,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { type Envelope, ProtobufReader, readEnvelope } from '../../batch/scanner.js'
import type { Catalogue } from '../../catalogue/catalogue.js'
import { type ErrorCode, MinimError } from '../../errors/catalogue.js'
import type { StreamIntake } from '../../flow/intake.js'
import { Marks } from '../../flow/marks.js'
import { shardOf } from '../../flow/shards.js'
import type { Source, SourceContext } from '../../flow/source.js'
import type { SourceId, WorkItem } from '../../flow/work-item.js'
import { type WorkerPlace, workerSocket } from '../../flow/worker-place.js'
import { readServerTls } from '../../sections/server-tls.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { Authoriser, type Grant, isLoopback, maySend, namesOf, warnOfUnauthorised } from '../common/authorise.js'
import { DELIVER_PATH, INGEST_SERVICE } from '../common/ingest-service.js'
import type { GrpcSettings } from './settings.js'

export interface GrpcTls {
  readonly cert: string
  readonly key: string
  /** CA that nodes' certificates must come from; null: none is asked for. */
  readonly clientCa: string | null
}

export interface GrpcOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string
  readonly maxMessageBytes: number
  readonly maxStreams: number
  readonly idleMs: number
  readonly tls: GrpcTls | null
  readonly catalogue: Catalogue
  readonly intake: StreamIntake
  /** Tenant of records that name none. */
  readonly tenant: string
  /** What certificates may use. Asked only where `tls.clientCa` asks for one. Default: each its own names. */
  readonly authoriser?: Authoriser
  readonly onEvent?: (event: GrpcEvent) => void
  /** Where there are more processes: whose a source is. */
  readonly workers?: GrpcWorkers
}

/** How a stream finds the worker that owns its source. */
export interface GrpcWorkers {
  /** Address that the other workers reach this one by. */
  readonly own: string
  /** Address of a source's owner; null when it is this one. */
  owner(source: string): string | null
}

/** What happened, for logs and metrics: names of sources, codes and counts, never a value out of a record. */
export type GrpcEvent =
  | { readonly kind: 'connected'; readonly source: string; readonly resumeAfter: number }
  | { readonly kind: 'ended'; readonly source: string; readonly code: ErrorCode | null }
  | { readonly kind: 'unauthorised' }
  | { readonly kind: 'received'; readonly source: string; readonly bytes: number }

type Stream = ServerDuplexStream<Buffer, number>

/** A source's name goes to the ledger, logs and metrics; so it is short and of harmless characters. */
const SOURCE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

class StreamSession {
  #id: SourceId | null = null
  /** Last sequence that was handed on or acknowledged. */
  #last = 0
  #committed = 0
  #acknowledged = -1
  #ackDue = false
  #ended = false
  /** Nothing more is read of the stream; what was taken is still acknowledged. */
  #halted = false
  #idle: NodeJS.Timeout | null = null
  readonly #waiting: (() => void)[] = []
  #markOver: () => void = () => undefined
  readonly #over = new Promise<void>((resolve) => {
    this.#markOver = resolve
  })
  readonly #stream: Stream
  readonly #options: GrpcOptions
  readonly #reader: ProtobufReader
  readonly #sessions: Map<string, StreamSession>
  readonly #grant: Grant | null
  /**
   * Of batches that were handed on: delivery knows them only once it has taken them in, and not while it finds out what
   * became of them.
   */
  readonly #marks = new Marks()

  /** @param grant what the client may use; null: nobody asks who it is */
  constructor(
    stream: Stream,
    options: GrpcOptions,
    reader: ProtobufReader,
    sessions: Map<string, StreamSession>,
    grant: Grant | null,
  ) {
    this.#grant = grant
    this.#stream = stream
    this.#options = options
    this.#reader = reader
    this.#sessions = sessions
  }

  /**
   * Serves the stream; resolves when it is over. One message at a time: the next is read when delivery has taken this
   * one.
   * @param first what was read of it already
   */
  async run(first: Buffer | null): Promise<void> {
    const stream = this.#stream
    this.#touch()
    stream.on('cancelled', () => {
      this.#finish(null)
    })
    stream.on('error', () => {
      this.#finish(null)
    })
    const take = (message: Buffer): void => {
      stream.pause()
      // Not taken: the node has no acknowledgement of it, and sends it again.
      if (this.#halted) return
      this.#touch()
      this.#message(message).then(
        () => {
          if (!this.#ended && !this.#halted) stream.resume()
        },
        (error: unknown) => {
          this.fail(error instanceof MinimError ? error : new MinimError('MINIM_GRPC_STREAM', {}, { cause: error }))
        },
      )
    }
    stream.on('data', take)
    if (first !== null) take(first)
    // The node has said all; its last acknowledgements are still to come.
    stream.on(
      'end',
      () =>
        void this.#settled().then(() => {
          this.#finish(null)
        }),
    )
    await this.#over
  }

  /** Reads no more: a node that never pauses would keep delivery from ever being idle. */
  halt(): void {
    this.#halted = true
    this.#stream.pause()
  }

  /** Ends the stream with an error that says what to do. */
  fail(error: MinimError): void {
    if (this.#ended) return
    const code = STATUS[error.code] ?? status.INTERNAL
    this.#finish(error.code)
    this.#stream.emit(
      'error',
      Object.assign(new Error(`${error.code}: ${error.message}; ${error.fix}`), {
        code,
        details: `${error.code}: ${error.message}; ${error.fix}`,
      }),
    )
  }

  #touch(): void {
    if (this.#idle !== null) clearTimeout(this.#idle)
    this.#idle = setTimeout(() => {
      this.fail(new MinimError('MINIM_GRPC_IDLE', { ms: this.#options.idleMs }))
    }, this.#options.idleMs).unref()
  }

  #finish(code: ErrorCode | null): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#idle !== null) clearTimeout(this.#idle)
    if (this.#id !== null) {
      const key = sessionKey(this.#id)
      if (this.#sessions.get(key) === this) this.#sessions.delete(key)
      this.#options.onEvent?.({ kind: 'ended', source: this.#id.source, code })
    }
    if (code === null && !this.#stream.cancelled) {
      if (this.#committed > this.#acknowledged) this.#stream.write(this.#committed)
      this.#stream.end()
    }
    for (const resolve of this.#waiting.splice(0)) resolve()
    this.#markOver()
  }

  /** Resolves when all that was handed on is committed, or the stream is over. */
  #settled(): Promise<void> {
    if (this.#ended || this.#committed >= this.#last) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async #message(bytes: Buffer): Promise<void> {
    const receivedAt = performance.now()
    const envelope = readEnvelope(bytes)
    if (this.#id === null) this.#open(envelope.source, envelope.incarnation)
    const id = this.#id as unknown as SourceId
    if (
      (envelope.source !== '' && envelope.source !== id.source) ||
      (envelope.incarnation !== '' && envelope.incarnation !== id.incarnation)
    ) {
      throw new MinimError('MINIM_GRPC_SOURCE_CHANGED')
    }
    if (envelope.intact && envelope.sequence === 0) {
      if (envelope.records > 0) throw new MinimError('MINIM_GRPC_NO_SEQUENCE')
      return
    }
    const next = this.#last + 1
    const sequence = envelope.intact || envelope.sequence > 0 ? envelope.sequence : next
    const mark = this.#options.intake.mark(id, sequence, bytes.subarray(envelope.bodyStart))
    if (sequence < next) {
      if (this.#marks.differs(sequence, mark) || this.#options.intake.differs(id, sequence, mark))
        throw new MinimError('MINIM_DELIVERY_BATCH_DIFFERS', { source: id.source, sequence })
      this.#acknowledge(this.#committed, true)
      return
    }
    if (sequence > next) throw new MinimError('MINIM_GRPC_GAP', { expected: next, got: sequence })
    this.#last = sequence
    this.#marks.add(sequence, mark)
    this.#marks.committed(this.#committed)
    this.#options.onEvent?.({ kind: 'received', source: id.source, bytes: bytes.length })
    await this.#options.intake.offer(this.#item(id, sequence, bytes, mark, receivedAt, envelope))
  }

  #open(source: string, incarnation: string): void {
    if (!SOURCE_NAME.test(source) || !UUID.test(incarnation)) throw new MinimError('MINIM_GRPC_SOURCE_INVALID')
    // Before anything else: who may not use the name must not end the stream of who does, nor learn how far it is.
    if (this.#grant !== null && !maySend(this.#grant, source)) {
      this.#options.onEvent?.({ kind: 'unauthorised' })
      throw new MinimError('MINIM_GRPC_UNAUTHORISED')
    }
    const id = { source, incarnation: incarnation.toLowerCase() }
    const key = sessionKey(id)
    this.#sessions.get(key)?.fail(new MinimError('MINIM_GRPC_SUPERSEDED', { source }))
    this.#sessions.set(key, this)
    this.#id = id
    this.#last = this.#committed = this.#options.intake.lastTaken(id)
    this.#options.onEvent?.({ kind: 'connected', source, resumeAfter: this.#last })
    this.#acknowledge(this.#last, true)
  }

  #item(
    id: SourceId,
    sequence: number,
    bytes: Buffer,
    mark: Uint8Array,
    receivedAt: number,
    { intact, records }: Envelope,
  ): WorkItem {
    const { intake } = this.#options
    const { tenant, tenants } = this.#grant ?? { tenant: this.#options.tenant, tenants: null }
    const input = {
      reader: this.#reader,
      arena: bytes,
      start: 0,
      end: bytes.length,
      scratchStart: bytes.length,
      last: true,
      tenant,
      tenants,
    }
    return {
      id,
      sequence,
      mark,
      receivedAt,
      bytes: bytes.length,
      // Behind a break in the envelope nothing can be counted.
      ...(intact ? { records } : {}),
      minimise: (excluded) => intake.minimise(input, excluded),
      committed: () => {
        this.#committed = sequence
        this.#acknowledge(sequence, false)
        if (this.#committed >= this.#last) for (const resolve of this.#waiting.splice(0)) resolve()
      },
      failed: (error) => {
        this.fail(
          error instanceof MinimError && error.code === 'MINIM_DELIVERY_BATCH_DIFFERS'
            ? error
            : new MinimError('MINIM_GRPC_NOT_COMMITTED'),
        )
      },
    }
  }

  /** One acknowledgement for all batches of a commit: the last says it for those before. */
  #acknowledge(sequence: number, always: boolean): void {
    if (this.#ended) return
    if (always) {
      this.#acknowledged = sequence
      this.#stream.write(sequence)
      return
    }
    if (this.#ackDue) return
    this.#ackDue = true
    queueMicrotask(() => {
      this.#ackDue = false
      if (this.#ended || this.#committed === this.#acknowledged) return
      this.#acknowledged = this.#committed
      this.#stream.write(this.#committed)
    })
  }
}

function sessionKey(id: SourceId): string {
  return `${id.source}\u0000${id.incarnation}`
}

/** gRPC's words for our errors (https://grpc.io/docs/guides/status-codes/). */
const STATUS: Partial<Record<ErrorCode, status>> = {
  MINIM_GRPC_GAP: status.FAILED_PRECONDITION,
  MINIM_GRPC_UNAUTHORISED: status.PERMISSION_DENIED,
  MINIM_DELIVERY_BATCH_DIFFERS: status.ALREADY_EXISTS,
  MINIM_GRPC_SOURCE_INVALID: status.INVALID_ARGUMENT,
  MINIM_GRPC_SOURCE_CHANGED: status.INVALID_ARGUMENT,
  MINIM_GRPC_NO_SEQUENCE: status.INVALID_ARGUMENT,
  MINIM_GRPC_SUPERSEDED: status.ABORTED,
  MINIM_GRPC_IDLE: status.DEADLINE_EXCEEDED,
  MINIM_GRPC_TOO_MANY: status.RESOURCE_EXHAUSTED,
  MINIM_GRPC_NOT_COMMITTED: status.UNAVAILABLE,
  MINIM_GRPC_STOPPING: status.UNAVAILABLE,
}

function credentials(tls: GrpcTls | null): ServerCredentials {
  if (tls === null) return ServerCredentials.createInsecure()
  const { cert, key, ca } = readServerTls(tls, 'grpc.tls')
  return ServerCredentials.createSsl(ca, [{ cert_chain: cert, private_key: key }], ca !== null)
}

/**
 * Names of a stream's certificate, where it is passed on between workers: JSON. Only the socket that nobody else can
 * reach listens to it.
 */
const NAMES_HEADER = 'minim-certificate-names-bin'

/** The names that another worker has seen; none where it has not said any. */
function namesPassedOn(metadata: Metadata): string[] {
  const [value] = metadata.get(NAMES_HEADER)
  try {
    const names: unknown = JSON.parse(String(value))
    return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : []
  } catch {
    return []
  }
}

/** The listening source. */
export class GrpcSource {
  readonly #server: Server
  /**
   * Where other workers pass streams on: a server of its own, so that what is believed there is not believed elsewhere.
   */
  readonly #inner: Server | null
  /** Null: nobody shows a certificate. */
  readonly #authoriser: Authoriser | null
  readonly #options: GrpcOptions
  readonly #open = new Set<StreamSession>()
  readonly #sessions = new Map<string, StreamSession>()
  readonly #owners = new Map<string, Client>()
  #stopping = false

  constructor(options: GrpcOptions) {
    this.#options = options
    this.#authoriser =
      (options.tls?.clientCa ?? null) === null ? null : (options.authoriser ?? new Authoriser({}, options.tenant, []))
    this.#server = this.#serving((stream) => namesOf(stream.getAuthContext().sslPeerCertificate?.subjectaltname))
    this.#inner = options.workers === undefined ? null : this.#serving((stream) => namesPassedOn(stream.metadata))
  }

  #serving(namesOfStream: (stream: Stream) => string[]): Server {
    const server = new Server({
      'grpc.max_receive_message_length': this.#options.maxMessageBytes,
      'grpc.max_concurrent_streams': this.#options.maxStreams,
    })
    const implementation: UntypedServiceImplementation = {
      deliver: (stream: Stream) => void this.#serve(stream, this.#authoriser === null ? [] : namesOfStream(stream)),
    }
    server.addService(INGEST_SERVICE, implementation)
    return server
  }

  /** @param names of the client's certificate */
  async #serve(stream: Stream, names: readonly string[]): Promise<void> {
    // A reader of its own: it remembers where it stopped inside a message that is longer than the columns.
    const reader = new ProtobufReader(this.#options.catalogue, 'whole')
    const session = new StreamSession(
      stream,
      this.#options,
      reader,
      this.#sessions,
      this.#authoriser?.grantOf(names) ?? null,
    )
    if (this.#stopping) {
      session.fail(new MinimError('MINIM_GRPC_STOPPING'))
      return
    }
    if (this.#open.size >= this.#options.maxStreams) {
      session.fail(new MinimError('MINIM_GRPC_TOO_MANY', { max: this.#options.maxStreams }))
      return
    }
    this.#open.add(session)
    const first = this.#options.workers === undefined ? null : await this.#peek(stream, names, this.#options.workers)
    if (first !== undefined) await session.run(first)
    this.#open.delete(session)
  }

  /**
   * Reads a stream's first message, to see whose it is. One of another worker's is passed on to it, message by message,
   * and its answers back: what is acknowledged, and what is wrong, is the owner's to say.
   * @returns undefined when the stream was another worker's, and is over
   */
  async #peek(stream: Stream, names: readonly string[], workers: GrpcWorkers): Promise<Buffer | null | undefined> {
    const first = await new Promise<Buffer | null>((resolve) => {
      const idle = setTimeout(() => {
        end()
      }, this.#options.idleMs).unref()
      const settle = (message: Buffer | null): void => {
        clearTimeout(idle)
        stream.pause()
        stream.off('data', settle).off('end', end).off('cancelled', end).off('error', end)
        resolve(message)
      }
      const end = (): void => {
        settle(null)
      }
      stream.on('data', settle).on('end', end).on('cancelled', end).on('error', end)
    })
    if (first === null) {
      stream.end()
      return undefined
    }
    const { source } = readEnvelope(first)
    const owner = SOURCE_NAME.test(source) ? workers.owner(source) : null
    if (owner === null) return first
    await this.#passOn(stream, first, owner, this.#authoriser?.deciding(names, source) ?? [])
    return undefined
  }

  #passOn(stream: Stream, first: Buffer, owner: string, names: readonly string[]): Promise<void> {
    let client = this.#owners.get(owner)
    if (client === undefined) {
      client = new Client(owner, ChannelCredentials.createInsecure(), { 'grpc.max_send_message_length': -1 })
      this.#owners.set(owner, client)
    }
    const { requestSerialize, responseDeserialize } = INGEST_SERVICE.deliver
    // Nothing of what the client sent beside its messages goes along.
    const metadata = new Metadata()
    metadata.set(NAMES_HEADER, Buffer.from(JSON.stringify(names)))
    const upstream = client.makeBidiStreamRequest(DELIVER_PATH, requestSerialize, responseDeserialize, metadata)
    return new Promise((resolve) => {
      upstream.on('data', (sequence: number) => {
        stream.write(sequence)
      })
      upstream.on('end', () => {
        stream.end()
        resolve()
      })
      upstream.on('error', ({ code, details }: ServiceError) => {
        if (!stream.cancelled) stream.emit('error', Object.assign(new Error(details), { code, details }))
        resolve()
      })
      stream.on('cancelled', () => {
        upstream.cancel()
      })
      stream.on('error', () => {
        upstream.cancel()
      })
      stream.on('end', () => {
        upstream.end()
      })
      stream.on('data', (message: Buffer) => {
        if (upstream.write(message)) return
        stream.pause()
        upstream.once('drain', () => {
          stream.resume()
        })
      })
      upstream.write(first)
      stream.resume()
    })
  }

  get streams(): number {
    return this.#open.size
  }

  /** Listens. Resolves to the address with the port that was taken. */
  async start(): Promise<string> {
    const { listen, tls } = this.#options
    const bind = (server: Server, address: string, creds: ServerCredentials): Promise<number> =>
      new Promise((resolve, reject) => {
        server.bindAsync(address, creds, (error, port) => {
          if (error !== null) reject(new MinimError('MINIM_GRPC_LISTEN', { listen: address }, { cause: error }))
          else resolve(port)
        })
      })
    if (this.#inner !== null && this.#options.workers !== undefined)
      await bind(this.#inner, this.#options.workers.own, ServerCredentials.createInsecure())
    return `${listen.slice(0, listen.lastIndexOf(':'))}:${await bind(this.#server, listen, credentials(tls))}`
  }

  /** Takes nothing new. Streams stay open for the acknowledgements of what was taken. */
  stopTaking(): void {
    this.#stopping = true
    for (const session of this.#open) session.halt()
  }

  /** Ends what is still open. */
  async stop(): Promise<void> {
    this.#stopping = true
    for (const session of this.#open) session.fail(new MinimError('MINIM_GRPC_STOPPING'))
    for (const client of this.#owners.values()) client.close()
    await Promise.all(
      [this.#server, ...(this.#inner === null ? [] : [this.#inner])].map(
        (server) =>
          new Promise<void>((resolve) => {
            const force = setTimeout(() => {
              server.forceShutdown()
            }, 2000)
            server.tryShutdown(() => {
              clearTimeout(force)
              resolve()
            })
          }),
      ),
    )
  }
}

/** Tenant of records that name none, where a certificate's entry does not say otherwise. */
const TENANT = 'default'

/** gRPC as a source of the program: always there, since agents stream to it. */
export async function startGrpc({
  settings,
  catalogue,
  intake,
  counters,
  log,
  worker,
}: SourceContext<{ readonly grpc: GrpcSettings } & Pick<SettingsAround, 'tenants'>>): Promise<Source> {
  const counted = counters('grpc')
  const { listen, tls, authorise } = settings.grpc
  if ((tls?.clientCa ?? null) === null && !isLoopback(listen)) {
    log.warn(
      { listen },
      'grpc: whoever reaches this port may stream as any source and for any tenant; set grpc.tls.clientCa',
    )
  }
  const warn = warnOfUnauthorised(log, 'grpc')
  const server = new GrpcSource({
    ...settings.grpc,
    catalogue,
    intake: intake('grpc'),
    tenant: TENANT,
    authoriser: new Authoriser(authorise, TENANT, Object.keys(settings.tenants)),
    ...(worker === undefined || worker.folder === null ? {} : { workers: workersOf(worker, worker.folder) }),
    onEvent: (event) => {
      if (event.kind === 'received') counted.received(1)
      else if (event.kind === 'unauthorised') {
        counted.refused('unauthorised')
        warn()
      } else log.info(event, `stream ${event.kind}`)
    },
  })
  const address = await server.start()
  return {
    kind: 'grpc',
    addresses: { grpc: address },
    stopTaking: () => {
      server.stopTaking()
      return Promise.resolve()
    },
    stop: () => server.stop(),
  }
}

function workersOf({ index, count }: WorkerPlace, folder: string): GrpcWorkers {
  return {
    own: workerSocket(folder, index),
    owner: (source) => {
      const shard = shardOf(source, count)
      return shard === index ? null : workerSocket(folder, shard)
    },
  }
}
