/** The two lanes of a shard: opened together, and again after each unclean end under the same ids. */
import { connectionOptions } from '../kafka/admin.js'
import { Cluster, Links } from '../kafka/cluster.js'
import type { ProducerIdentity } from '../kafka/record-batch.js'
import { Lane, type LaneOptions } from './lane.js'
import type { Limits } from './limits.js'
import type { Shard } from './shard.js'

export type LanePair = readonly [Lane, Lane]

export class Lanes {
  readonly #shard: Shard
  readonly #limits: Limits
  readonly cluster: Cluster
  #links: Links
  /** Of the lanes that were opened last: the next ones continue them. */
  readonly #identities: (ProducerIdentity | null)[] = [null, null]
  #open: LanePair | null = null

  constructor(shard: Shard, limits: Limits) {
    this.#shard = shard
    this.#limits = limits
    this.cluster = new Cluster({
      bootstrap: shard.bootstrap,
      clientId: shard.producer.clientId,
      createTopics: shard.topics === null,
      connection: {
        ...connectionOptions(shard.properties),
        connectTimeout: shard.producer.connectTimeoutMs,
        requestTimeout: shard.producer.socketTimeoutMs,
      },
    })
    this.#links = new Links(this.cluster)
  }

  /** Who the first lane is to the coordinator: whoever takes the shard takes its id first. */
  get identity(): ProducerIdentity | null {
    return this.#identities[0]
  }

  /** Opens both: what a predecessor, or our own former self, had under way is completed or aborted by it. */
  async open(): Promise<LanePair> {
    // Leaders may have moved: that is what many unclean ends are about.
    await this.cluster.refresh([this.#shard.ledger.topic, ...this.cluster.topics])
    this.#links.close()
    this.#links = new Links(this.cluster)
    return this.#openBoth()
  }

  /** Opens both anew. @returns the pair that is in use from now on */
  reopen(): Promise<LanePair> {
    this.#closeOpen()
    return this.#openBoth()
  }

  async #openBoth(): Promise<LanePair> {
    const first = await this.openOne(0)
    try {
      return (this.#open = [first, await this.openOne(1)])
    } catch (error) {
      first.close()
      throw error
    }
  }

  /** One lane under the shard's first or second id; whoever opens it closes it. */
  async openOne(index: 0 | 1): Promise<Lane> {
    const lane = await Lane.open(this.#options(this.#shard.ids[index], this.#identities[index]))
    this.#identities[index] = lane.identity
    return lane
  }

  /** A lane under another shard's id, whose holder is fenced by it. */
  openOther(transactionalId: string): Promise<Lane> {
    return Lane.open(this.#options(transactionalId, null))
  }

  /** The ids are taken anew, and not continued. */
  forgetIdentities(): void {
    this.#identities.fill(null)
  }

  /** @returns how many were open */
  close(): number {
    this.#links.close()
    return this.#closeOpen()
  }

  #closeOpen(): number {
    const lanes = this.#open ?? []
    this.#open = null
    for (const lane of lanes) lane.close()
    return lanes.length
  }

  #options(transactionalId: string, former: ProducerIdentity | null): LaneOptions {
    const { transactionTimeoutMs, requestTimeoutMs, maxQueuedBytes, codec } = this.#shard.producer
    return {
      cluster: this.cluster,
      links: this.#links,
      ledger: this.#shard.ledger,
      transactionalId: this.#shard.isExactlyOnce ? transactionalId : null,
      transactionTimeoutMs,
      requestTimeoutMs,
      maxQueuedBytes,
      codec,
      maxBatchBytes: this.#limits.batchBytes,
      former,
    }
  }
}
