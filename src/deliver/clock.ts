/** Whether Kafka takes what bears this machine's time: what delivery stamps itself does, and all would wait for that. */
import { MinimError } from '../errors/catalogue.js'
import { type Cluster, TRANSACTION } from '../kafka/cluster.js'
import { CODE } from '../kafka/codes.js'
import { classify } from '../kafka/errors.js'
import { COMMIT_TIMEOUT_MS } from '../kafka/property-rules.js'
import { DEFAULT_LIMIT } from '../kafka/topics.js'
import type { Lane } from './lane.js'
import type { Limits } from './limits.js'
import type { Shard } from './shard.js'

export interface ClockOptions {
  /** A record that bears the time of now has just been produced to it. */
  readonly lane: Lane
  readonly cluster: Cluster
  readonly shard: Shard
  readonly limits: Limits
  readonly onNotice: (error: MinimError) => void
}

const seconds = (ms: number): string => `${Math.round(Math.abs(ms) / 1_000)} s`

/** @throws MinimError MINIM_KAFKA_CLOCK when Kafka takes nothing that bears the time of now */
export async function checkClock({ lane, cluster, shard, limits, onNotice }: ClockOptions): Promise<void> {
  let refused = false
  try {
    await lane.flush(COMMIT_TIMEOUT_MS)
  } catch (error) {
    if (classify(error).code !== CODE.invalidTimestamp) throw error
    refused = true
  }
  const aheadMs = await clockAheadMs(cluster, shard)
  const { bootstrap } = shard
  if (refused || (aheadMs !== null && aheadMs > limits.aheadMs)) {
    const what =
      aheadMs === null ? "too far from Kafka's" : `${seconds(aheadMs)} ${aheadMs > 0 ? 'ahead of' : 'behind'} Kafka's`
    throw new MinimError('MINIM_KAFKA_CLOCK', {
      bootstrap,
      what: `${what}, which takes no records that bear its time: all waits`,
    })
  }
  // Kafka takes old times; but to us, what senders with a right clock say lies ahead.
  if (aheadMs !== null && aheadMs < -DEFAULT_LIMIT.timestampAfterMaxMs) {
    onNotice(
      new MinimError('MINIM_KAFKA_CLOCK', {
        bootstrap,
        what: `${seconds(aheadMs)} behind Kafka's: records of now lie ahead of it, and are refused as "clock"`,
      }),
    )
  }
}

/**
 * How far this machine's clock is ahead of the coordinator's, as the transaction tells that has just begun; null where
 * that is not to be had.
 */
async function clockAheadMs(cluster: Cluster, shard: Shard): Promise<number | null> {
  if (!shard.isExactlyOnce) return null
  const [id] = shard.ids
  try {
    const link = await cluster.coordinator(TRANSACTION, id)
    try {
      const { startMs } = await link.transactionState(id)
      return startMs === null ? null : Date.now() - startMs
    } finally {
      link.close()
    }
  } catch {
    // A broker that does not know the request, or does not let us: the time is only for the message.
    return null
  }
}
