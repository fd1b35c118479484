/**
 * One connection to a broker, and what a producer, a group's member and a reader of transactions ask over it. Requests are
 * encoded here, in versions that Kafka 2.1 to 4.x and librdkafka's mock cluster share.
 */
import type { Connection, ConnectionOptions, Reader, Writer } from '@platformatic/kafka'
import { CODE } from './codes.js'
import { KafkaError } from './errors.js'
import { type ProduceAnswer, ProduceRequests, type ProduceTopic } from './produce-requests.js'
import type { ProducerIdentity } from './record-batch.js'

type Library = typeof import('@platformatic/kafka')
let library: Library | null = null

/** Loaded when it is needed: commands that write nothing start without it. */
async function load(): Promise<Library> {
  library ??= await import('@platformatic/kafka')
  return library
}

export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

export interface ClusterOptions {
  /** `host:port`, more than one separated by commas. */
  readonly bootstrap: string
  readonly clientId: string
  /** TLS, SASL and time-outs. */
  readonly connection: ConnectionOptions
  /** Topics that do not exist are made by asking for them: on the embedded cluster, and nowhere else. */
  readonly createTopics: boolean
}

const INIT_PRODUCER_ID_V4 = [22, 4] as const
const ADD_PARTITIONS_V1 = [24, 1] as const
const ADD_OFFSETS_V1 = [25, 1] as const
const END_TXN_V1 = [26, 1] as const
const TXN_OFFSET_COMMIT_V3 = [28, 3] as const
const OFFSET_COMMIT_V7 = [8, 7] as const
/** Since Kafka 3.0, and not in the mock cluster. */
const DESCRIBE_TRANSACTIONS_V0 = [65, 0] as const

/** The library's own. */
const DEFAULT_REQUEST_TIMEOUT_MS = 30_000

/** One connection to a broker. */
export class Link {
  /** Requests without an answer yet. */
  inFlight = 0
  #connection: Connection

  /** Made with the first one. */
  #requests: ProduceRequests | null = null

  readonly #options: ClusterOptions

  private constructor(
    connection: Connection,
    readonly address: BrokerAddress,
    options: ClusterOptions,
  ) {
    this.#options = options

    this.#connection = connection
    // Its requests are told; an error event without a listener would end the process.
    connection.on('error', () => undefined)
  }

  static async open(address: BrokerAddress, options: ClusterOptions): Promise<Link> {
    const { Connection } = await load()
    const connection = new Connection(options.clientId, { ...options.connection, maxInflights: 16 })
    const link = new Link(connection, address, options)
    try {
      await connection.connect(address.host, address.port)
    } catch (error) {
      throw new KafkaError(CODE.transport, reasonOf(error), { cause: error })
    }
    return link
  }

  get connected(): boolean {
    return this.#connection.isConnected()
  }

  close(): void {
    // No farewell: what was asked and not answered is given up.
    this.#connection.socket?.destroy()
    void this.#connection.close().catch(() => undefined)
  }

  send<T>(
    [key, version]: readonly [number, number],
    write: (writer: Writer) => void,
    read: (reader: Reader) => T,
    flexible = false,
  ): Promise<T> {
    const { Writer } = library as Library
    this.inFlight++
    return new Promise<T>((resolve, reject) => {
      this.#connection.send<T>(
        key,
        version,
        () => {
          const writer = Writer.create()
          write(writer)
          return writer
        },
        (_id, _key, _version, reader) => read(reader),
        flexible,
        flexible,
        (error, result) => {
          this.inFlight--
          if (error === null || error === undefined) resolve(result as T)
          else
            reject(
              error instanceof KafkaError
                ? error
                : new KafkaError(isTimeout(error) ? CODE.timedOut : CODE.transport, reasonOf(error), { cause: error }),
            )
        },
      )
    })
  }

  /**
   * Takes (or takes back) a producer's identity. @param former null: whoever has it is fenced; else it is continued,
   * unless somebody else took it
   */
  initProducerId(
    transactionalId: string | null,
    transactionTimeoutMs: number,
    former: ProducerIdentity | null,
  ): Promise<ProducerIdentity> {
    return this.send(
      INIT_PRODUCER_ID_V4,
      (w) => {
        w.appendString(transactionalId, true)
          .appendInt32(transactionTimeoutMs)
          .appendInt64(former?.producerId ?? -1n)
          .appendInt16(former?.epoch ?? -1)
          .appendTaggedFields()
      },
      (r) => {
        r.readInt32()
        checked(r.readInt16(), 'InitProducerId')
        return { producerId: r.readInt64(), epoch: r.readInt16() }
      },
      true,
    )
  }

  /** Makes partitions part of the transaction. @returns the first code that is none of success */
  addPartitions(
    transactionalId: string,
    { producerId, epoch }: ProducerIdentity,
    partitions: ReadonlyMap<string, readonly number[]>,
  ): Promise<number> {
    return this.send(
      ADD_PARTITIONS_V1,
      (w) => {
        w.appendString(transactionalId, false).appendInt64(producerId).appendInt16(epoch)
        w.appendArray(
          [...partitions],
          (w, [topic, numbers]) => {
            w.appendString(topic, false).appendArray(
              [...numbers],
              (w, number) => {
                w.appendInt32(number)
              },
              false,
              false,
            )
          },
          false,
          false,
        )
      },
      (r) => {
        r.readInt32()
        const codes = r
          .readArray(
            (r) => {
              r.readString(false)
              return r.readArray(
                (r) => {
                  r.readInt32()
                  return r.readInt16()
                },
                false,
                false,
              )
            },
            false,
            false,
          )
          .flat()
        // Of several, the one that is not only a consequence of another's (OPERATION_NOT_ATTEMPTED).
        return codes.find((code) => code !== CODE.none && code !== CODE.notAttempted) ?? Math.max(CODE.none, ...codes)
      },
    )
  }

  endTxn(transactionalId: string, { producerId, epoch }: ProducerIdentity, commit: boolean): Promise<number> {
    return this.send(
      END_TXN_V1,
      (w) => {
        w.appendString(transactionalId, false).appendInt64(producerId).appendInt16(epoch).appendBoolean(commit)
      },
      (r) => {
        r.readInt32()
        return r.readInt16()
      },
    )
  }

  /**
   * Who has a transactional id, and when its transaction began, Unix ms by the coordinator's clock (null: there is
   * none). From Kafka 3.0 on: brokers of before end the connection. It changes nothing, so it does no harm however late
   * it arrives.
   * @throws KafkaError also when nobody has the id
   */
  async transactionState(
    transactionalId: string,
  ): Promise<{ readonly holder: ProducerIdentity; readonly startMs: number | null }> {
    const states = await this.send(
      DESCRIBE_TRANSACTIONS_V0,
      (w) => {
        w.appendArray(
          [transactionalId],
          (w, id) => {
            w.appendString(id, true)
          },
          true,
          false,
        ).appendTaggedFields()
      },
      (r) => {
        r.readInt32()
        return r.readArray((r) => {
          const code = r.readInt16()
          r.readString()
          r.readString()
          r.readInt32()
          const startMs = Number(r.readInt64())
          const holder = { producerId: r.readInt64(), epoch: r.readInt16() }
          r.readArray((r) => {
            r.readString()
            r.readArray((r) => r.readInt32(), true, false)
          })
          return { code, holder, startMs: startMs > 0 ? startMs : null }
        })
      },
      true,
    )
    const [{ code, holder, startMs }] = states
    checked(code, 'DescribeTransactions')
    return { holder, startMs }
  }

  addOffsets(transactionalId: string, { producerId, epoch }: ProducerIdentity, group: string): Promise<number> {
    return this.send(
      ADD_OFFSETS_V1,
      (w) => {
        w.appendString(transactionalId, false).appendInt64(producerId).appendInt16(epoch).appendString(group, false)
      },
      (r) => {
        r.readInt32()
        return r.readInt16()
      },
    )
  }

  /**
   * Offsets of a consumer group as part of the transaction; refused when the group has given the partitions to another
   * member.
   */
  txnOffsetCommit(
    transactionalId: string,
    { producerId, epoch }: ProducerIdentity,
    offsets: GroupOffsets,
  ): Promise<number> {
    const { group, generation, member, partitions } = offsets
    return this.send(
      TXN_OFFSET_COMMIT_V3,
      (w) => {
        w.appendString(transactionalId, true).appendString(group, true).appendInt64(producerId).appendInt16(epoch)
        w.appendInt32(generation).appendString(member, true).appendString(null, true)
        w.appendArray([...partitions], (w, [topic, numbers]) => {
          w.appendString(topic, true).appendArray([...numbers], (w, [partition, offset]) => {
            w.appendInt32(partition).appendInt64(BigInt(offset)).appendInt32(-1).appendString(null, true)
          })
        }).appendTaggedFields()
      },
      (r) => {
        r.readInt32()
        const codes = r
          .readArray((r) => {
            r.readString()
            return r.readArray((r) => {
              r.readInt32()
              return r.readInt16()
            })
          })
          .flat()
        return codes.find((code) => code !== 0) ?? 0
      },
      true,
    )
  }

  /** The same without a transaction. */
  offsetCommit({ group, generation, member, partitions }: GroupOffsets): Promise<number> {
    return this.send(
      OFFSET_COMMIT_V7,
      (w) => {
        w.appendString(group, false).appendInt32(generation).appendString(member, false).appendString(null, false)
        w.appendArray(
          [...partitions],
          (w, [topic, numbers]) => {
            w.appendString(topic, false).appendArray(
              [...numbers],
              (w, [partition, offset]) => {
                w.appendInt32(partition).appendInt64(BigInt(offset)).appendInt32(-1).appendString(null, false)
              },
              false,
              false,
            )
          },
          false,
          false,
        )
      },
      (r) => {
        r.readInt32()
        const codes = r
          .readArray(
            (r) => {
              r.readString(false)
              return r.readArray(
                (r) => {
                  r.readInt32()
                  return r.readInt16()
                },
                false,
                false,
              )
            },
            false,
            false,
          )
          .flat()
        return codes.find((code) => code !== 0) ?? 0
      },
    )
  }

  /** Sends batches; nobody may change them before the answer. */
  async produce(
    transactionalId: string | null,
    timeoutMs: number,
    topics: readonly ProduceTopic[],
  ): Promise<ProduceAnswer[]> {
    const { socket } = this.#connection
    this.#requests ??= new ProduceRequests(
      socket,
      this.#options.clientId,
      this.#options.connection.requestTimeout ?? DEFAULT_REQUEST_TIMEOUT_MS,
    )
    this.inFlight++
    try {
      return await this.#requests.send(transactionalId, timeoutMs, topics)
    } finally {
      this.inFlight--
    }
  }
}

/** Where a consumer group has got to, and who says so. */
export interface GroupOffsets {
  readonly group: string
  readonly generation: number
  readonly member: string
  /** Next offset to read, by topic and partition. */
  readonly partitions: ReadonlyMap<string, ReadonlyMap<number, number>>
}

/** @throws KafkaError for every code but that of no error */
export function checked(code: number, what: string): void {
  if (code !== 0) throw new KafkaError(code, what)
}

function isTimeout(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'PLT_KFK_TIMEOUT'
}

/** What a connection's error says: addresses and causes, never what was sent. */
function reasonOf(error: unknown): string {
  const { message, cause, errors } = error as { message?: string; cause?: unknown; errors?: unknown[] }
  return [message, ...(errors ?? []).map(reasonOf), cause === undefined ? undefined : reasonOf(cause)]
    .filter((text) => typeof text === 'string' && text !== '')
    .join(': ')
    .slice(0, 300)
}
