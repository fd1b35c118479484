/** One stream of a node: its name, its sequence, what of it was taken, and how it ends. */
import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import { type Envelope, ProtobufReader, readEnvelope } from '../../batch/scanner.js'
import { type ErrorCode, MinimError } from '../../errors/catalogue.js'
import { Marks } from '../../flow/marks.js'
import type { SourceId, WorkItem } from '../../flow/work-item.js'
import { type Grant, maySend } from '../common/authorise.js'
import type { GrpcOptions } from './options.js'

export type Stream = ServerDuplexStream<Buffer, number>

/** A source's name goes to the ledger, logs and metrics; so it is short and of harmless characters. */
export const SOURCE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** One stream of one source, from its first message to its end. */
export class StreamSession {
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
