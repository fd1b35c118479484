/**
 * Commits the places that consumer groups have got to: as a part of the lane's transaction, or at once where there is
 * none. Each group has a coordinator of its own.
 */
import { type Cluster, GROUP, type GroupOffsets, type Link } from '../kafka/cluster.js'
import { CODE } from '../kafka/codes.js'
import { isNotYet, KafkaError } from '../kafka/errors.js'
import { Retry, type Transaction } from './transaction.js'

export class GroupPlaces {
  readonly #cluster: Cluster
  readonly #transaction: Transaction | null
  /** The ways to the groups' coordinators; null once it is closed. */
  #links: Map<string, Link> | null = new Map()

  constructor(cluster: Cluster, transaction: Transaction | null) {
    this.#cluster = cluster
    this.#transaction = transaction
  }

  /** @throws KafkaError why Kafka does not take them */
  async commit(offsets: GroupOffsets): Promise<void> {
    const transaction = this.#transaction
    await transaction?.addGroup(offsets.group)
    const retry = new Retry()
    for (;;) {
      const link = await this.#link(offsets.group)
      const code = await (transaction === null
        ? link.offsetCommit(offsets)
        : link.txnOffsetCommit(transaction.id, transaction.identity, offsets))
      if (code === 0) return
      if (!isNotYet(code)) throw new KafkaError(code, transaction === null ? 'OffsetCommit' : 'TxnOffsetCommit')
      // The coordinator loads, or another has become it.
      link.close()
      await retry.wait()
    }
  }

  close(): void {
    for (const link of this.#links?.values() ?? []) link.close()
    this.#links = null
  }

  async #link(group: string): Promise<Link> {
    if (this.#links === null) throw new KafkaError(CODE.timedOut, 'closed')
    const known = this.#links.get(group)
    if (known?.connected === true) return known
    known?.close()
    const found = await this.#cluster.coordinator(GROUP, group)
    // It may have been closed meanwhile; then the request that follows fails.
    if (this.#links === null) found.close()
    else this.#links.set(group, found)
    return found
  }
}
