/**
 * The other end of the gRPC source: streams encoded batches to a proxy and learns what is committed. For agents,
 * simulated nodes and tests.
 */
import {
  ChannelCredentials,
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js'
import { DELIVER_PATH, INGEST_SERVICE } from './ingest-service.js'

export interface DeliverClientOptions {
  readonly address: string
  readonly source: string
  /** UUID of the installation. */
  readonly incarnation: string
  readonly credentials?: ChannelCredentials
  /** grpc-js's own. */
  readonly channel?: ChannelOptions
  readonly maxMessageBytes?: number
  /** Called for every acknowledgement after the first. */
  readonly onAck?: (sequence: number) => void
  /** Called once when the stream is over. */
  readonly onEnd?: (error: ServiceError | null) => void
}

function lengthDelimited(number: number, bytes: Uint8Array): Buffer {
  const head: number[] = [(number << 3) | 2]
  let rest = bytes.length
  for (; rest >= 128; rest >>>= 7) head.push((rest & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([...head, rest]), bytes])
}

/** The first bytes of an encoded `Batch`: source, incarnation, sequence. Records follow as they are. */
export function batchHeader(source: string, incarnation: string, sequence: number): Buffer {
  const digits: number[] = [3 << 3]
  let rest = sequence
  for (; rest >= 128; rest = Math.floor(rest / 128)) digits.push((rest % 128) | 0x80)
  return Buffer.concat([
    lengthDelimited(1, Buffer.from(source)),
    lengthDelimited(2, Buffer.from(incarnation)),
    Buffer.from([...digits, rest]),
  ])
}

export class DeliverClient {
  readonly #client: Client
  readonly #stream: ClientDuplexStream<Buffer, number>
  readonly #options: DeliverClientOptions
  #over = false
  /** Resolves to the last sequence that the proxy has committed of this stream; rejects if the stream ends before. */
  readonly resumeAfter: Promise<number>
  acknowledged = 0

  constructor(options: DeliverClientOptions) {
    this.#options = options
    this.#client = new Client(options.address, options.credentials ?? ChannelCredentials.createInsecure(), {
      'grpc.max_send_message_length': options.maxMessageBytes ?? -1,
      ...options.channel,
    })
    const { requestSerialize, responseDeserialize } = INGEST_SERVICE.deliver
    this.#stream = this.#client.makeBidiStreamRequest(DELIVER_PATH, requestSerialize, responseDeserialize)
    let first = true
    this.resumeAfter = new Promise((resolve, reject) => {
      this.#stream.on('data', (sequence: number) => {
        this.acknowledged = sequence
        if (first) resolve(sequence)
        else options.onAck?.(sequence)
        first = false
      })
      this.#stream.on('error', (error: ServiceError) => {
        reject(error)
        this.#finish(error)
      })
      this.#stream.on('end', () => {
        reject(new Error('the stream ended before it began'))
        this.#finish(null)
      })
    })
    this.resumeAfter.catch(() => undefined)
    this.#stream.write(batchHeader(options.source, options.incarnation, 0))
  }

  #finish(error: ServiceError | null): void {
    if (this.#over) return
    this.#over = true
    // A stream that broke off says neither 'drain' nor 'close'.
    this.#stream.emit('drain')
    this.#options.onEnd?.(error)
    this.#client.close()
  }

  /**
   * Sends one batch.
   * @param records encoded fields 4, 5 and 6 of `Batch`
   * @returns false when the stream asks to wait for {@link drained}
   */
  send(sequence: number, records: Uint8Array): boolean {
    return this.#stream.write(
      Buffer.concat([batchHeader(this.#options.source, this.#options.incarnation, sequence), records]),
    )
  }

  /** Says that this end is there, to a proxy that ends streams on which nothing comes. */
  keepAlive(): void {
    if (!this.#over) this.#stream.write(batchHeader(this.#options.source, this.#options.incarnation, 0))
  }

  /** Resolves when the stream takes more, or is over. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#over) resolve()
      else this.#stream.once('drain', resolve)
    })
  }

  /** Says that no more comes; the proxy ends the stream when all is committed. */
  end(): void {
    this.#stream.end()
  }

  /** Breaks the stream off. */
  cancel(): void {
    this.#stream.cancel()
  }
}
