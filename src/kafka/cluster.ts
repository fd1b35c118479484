/**
 * The brokers as a producer sees them: who leads which partition, and connections to them. Connections (TCP, TLS, SASL,
 * requests and their answers) are `@platformatic/kafka`'s; the requests are encoded here, in versions that Kafka 2.1 to
 * 4.x and librdkafka's mock cluster share. Produce requests go beside it (`produce-requests.ts`).
 */
import { CODE } from './codes.js'
import { KafkaError } from './errors.js'
import { type BrokerAddress, checked, type ClusterOptions, Link } from './link.js'

export { type GroupOffsets, Link } from './link.js'

const METADATA_V5 = [3, 5] as const
const FIND_COORDINATOR_V2 = [10, 2] as const

/** The kinds of coordinator. */
export const GROUP = 0
export const TRANSACTION = 1

interface TopicMap {
  /** Node that leads each partition, by its number; -1 when there is none. */
  readonly leaders: Int32Array
}

/** What a topic has that is new, or whose leader is being chosen: it is asked for again. */
const NO_LEADER_YET: readonly number[] = [CODE.none, CODE.unknownPartition, CODE.leaderNotAvailable]

/** Who leads what, kept between producers of one cluster. */
export class Cluster {
  #nodes = new Map<number, BrokerAddress>()
  readonly #topics = new Map<string, TopicMap>()

  constructor(readonly options: ClusterOptions) {}

  /** Topics that were asked for. */
  get topics(): readonly string[] {
    return [...this.#topics.keys()]
  }

  /** Partitions of a topic; 0 when it is not known. */
  partitions(topic: string): number {
    return this.#topics.get(topic)?.leaders.length ?? 0
  }

  /** Node that leads a partition; -1 when none does. */
  leader(topic: string, partition: number): number {
    return this.#topics.get(topic)?.leaders[partition] ?? -1
  }

  knows(topics: readonly string[]): boolean {
    for (const topic of topics) if (!this.#topics.has(topic)) return false
    return true
  }

  open(node: number): Promise<Link> {
    const address = this.#nodes.get(node)
    if (address === undefined) return Promise.reject(new KafkaError(CODE.transport, `broker ${node} is not known`))
    return Link.open(address, this.options)
  }

  /** Asks for the leaders of topics, waiting a moment for those that were just made. */
  async refresh(topics: readonly string[], timeoutMs = 10_000): Promise<void> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const link = await this.any()
      let missing: string | undefined
      try {
        missing = await this.#ask(link, topics)
      } finally {
        link.close()
      }
      if (missing === undefined) return
      if (performance.now() > deadline) throw new KafkaError(CODE.unknownPartition, `${missing} has no leader`)
      await new Promise((resolve) => {
        setTimeout(resolve, 50)
      })
    }
  }

  /** The broker that keeps a transactional id's (or a group's) state. */
  async coordinator(kind: typeof GROUP | typeof TRANSACTION, key: string): Promise<Link> {
    const link = await this.any()
    try {
      const address = await link.send(
        FIND_COORDINATOR_V2,
        (w) => {
          w.appendString(key, false).appendInt8(kind)
        },
        (r) => {
          r.readInt32()
          const code = r.readInt16()
          r.readNullableString(false)
          r.readInt32()
          const host = r.readString(false)
          const port = r.readInt32()
          checked(code, 'FindCoordinator')
          return { host, port }
        },
      )
      return await Link.open(address, this.options)
    } finally {
      link.close()
    }
  }

  /** A connection to whichever broker answers. @throws KafkaError of the last that does not */
  async any(): Promise<Link> {
    const seeds = this.options.bootstrap.split(',').map((broker) => {
      const at = broker.trim().lastIndexOf(':')
      return {
        host: broker
          .trim()
          .slice(0, at)
          .replace(/^\[|\]$/g, ''),
        port: Number(broker.trim().slice(at + 1)),
      }
    })
    let failure: unknown = new KafkaError(CODE.transport, 'no broker is named')
    for (const address of [...seeds, ...this.#nodes.values()]) {
      try {
        return await Link.open(address, this.options)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  /** @returns a topic, or one of its partitions, that has no leader yet */
  async #ask(link: Link, topics: readonly string[]): Promise<string | undefined> {
    const answer = await link.send(
      METADATA_V5,
      (w) => {
        w.appendArray(
          [...topics],
          (w, topic) => {
            w.appendString(topic, false)
          },
          false,
          false,
        ).appendBoolean(this.options.createTopics)
      },
      (r) => {
        r.readInt32()
        const brokers = r.readArray(
          (r) => {
            const node = r.readInt32()
            const address = { host: r.readString(false), port: r.readInt32() }
            r.readNullableString(false)
            return [node, address] as const
          },
          false,
          false,
        )
        r.readNullableString(false)
        r.readInt32()
        const found = r.readArray(
          (r) => {
            const code = r.readInt16()
            const name = r.readString(false)
            r.readBoolean()
            const partitions = r.readArray(
              (r) => {
                const code = r.readInt16()
                const index = r.readInt32()
                const leader = r.readInt32()
                for (let list = 0; list < 3; list++) r.readArray((r) => r.readInt32(), false, false)
                return { code, index, leader }
              },
              false,
              false,
            )
            return { code, name, partitions }
          },
          false,
          false,
        )
        return { brokers, found }
      },
    )
    this.#nodes = new Map(answer.brokers)
    let missing: string | undefined
    for (const { code, name, partitions } of answer.found) {
      const leaders = new Int32Array(partitions.length).fill(-1)
      for (const p of partitions) if (p.index < leaders.length) leaders[p.index] = p.leader
      if (!NO_LEADER_YET.includes(code)) checked(code, name)
      if (code !== 0 || leaders.length === 0 || leaders.includes(-1)) missing ??= name
      if (leaders.length > 0) this.#topics.set(name, { leaders })
    }
    return missing
  }
}

/**
 * Connections to brokers, one for each, made when they are first needed, and made again after Kafka closed one while
 * nothing was asked.
 */
export class Links {
  readonly #links = new Map<number, Link>()
  readonly #opening = new Map<number, Promise<Link>>()
  #closed = false

  readonly #cluster: Cluster

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /**
   * The connection to a broker.
   * @returns null while it is being made: then one of both is called
   */
  get(node: number, onOpen: () => void, onFailure: (error: unknown) => void): Link | null {
    const link = this.#links.get(node)
    if (link !== undefined && (link.connected || link.inFlight > 0)) return link
    link?.close()
    this.#links.delete(node)
    this.#open(node).then(onOpen, onFailure)
    return null
  }

  #open(node: number): Promise<Link> {
    let opening = this.#opening.get(node)
    if (opening !== undefined) return opening
    opening = this.#cluster
      .open(node)
      .then((link) => {
        if (this.#closed) {
          link.close()
          throw new KafkaError(CODE.transport, 'closed')
        }
        this.#links.set(node, link)
        return link
      })
      .finally(() => {
        this.#opening.delete(node)
      })
    this.#opening.set(node, opening)
    return opening
  }

  close(): void {
    this.#closed = true
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
  }
}
