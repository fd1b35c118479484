/**
 * Which worker owns a source. A source belongs to a shard by the hash of its name; a shard is a partition of the ledger
 * and two `transactional.id`s, so that taking a shard fences whoever had it before.
 */

/** Producers of a shard, in the order of their turns. */
export type TurnName = 'a' | 'b'

/**
 * Shards, and so workers, at most: the spool has tables for so many, and ids of shards no longer used are fenced at
 * start up to it.
 */
export const MAX_SHARDS = 64

/** FNV-1a over UTF-8: the same everywhere and for ever, since the ledger depends on it. */
export function shardOf(source: string, shards: number): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(source, 'utf8')) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  }
  return hash % shards
}

/** Names of the spool's streams begin with this. */
export const SPOOL_PREFIX = 'spool.'

/** Name of a spool's stream: one that belongs to the shard of the process that feeds it. */
export function spoolSource(worker: number, shard: number, shards: number): string {
  for (let i = 0; ; i++) {
    const name = i === 0 ? `${SPOOL_PREFIX}${worker}` : `${SPOOL_PREFIX}${worker}.${i}`
    if (shardOf(name, shards) === shard) return name
  }
}

export function transactionalId(cluster: string, shard: number, turn: TurnName): string {
  return `minim.${cluster}.${shard}.${turn}`
}

/** The ids of a shard. */
export function transactionalIds(cluster: string, shard: number): readonly [string, string] {
  return [transactionalId(cluster, shard, 'a'), transactionalId(cluster, shard, 'b')]
}
