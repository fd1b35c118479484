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
  type ServiceError,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { ProtobufReader, readEnvelope } from '../../batch/scanner.js'
import { MinimError } from '../../errors/catalogue.js'
import { shardOf } from '../../flow/shards.js'
import type { Source, SourceContext } from '../../flow/source.js'
import { type WorkerPlace, workerSocket } from '../../flow/worker-place.js'
import { readServerTls } from '../../sections/server-tls.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { Authoriser, isLoopback, namesOf, warnOfUnauthorised } from '../common/authorise.js'
import { DELIVER_PATH, INGEST_SERVICE } from '../common/ingest-service.js'
import type { GrpcOptions, GrpcTls, GrpcWorkers } from './options.js'
import type { GrpcSettings } from './settings.js'
import { SOURCE_NAME, type Stream, StreamSession } from './stream-session.js'

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
