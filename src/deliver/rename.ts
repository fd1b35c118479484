/**
 * Entries of the ledger that earlier versions wrote under names which are given no more: each is written under its new
 * name, and the old one gets a tombstone in every partition that holds it, so that Kafka's compaction removes it.
 */
import { COMMIT_TIMEOUT_MS } from '../kafka/property-rules.js'
import type { Lane, Place } from './lane.js'
import { encodeEntry, type Ledger, streamKey } from './ledger.js'

/** Entries of one transaction. */
const ENTRIES = 1000

/**
 * Renames what the ledger has under old names, in the ledger and in what was read of it. Done again from the beginning
 * after a failure, it leaves the same.
 * @param rename the new incarnation of an old one
 * @returns how many were renamed
 */
export async function renameEntries(
  lane: Pick<Lane, 'produceTo' | 'flush' | 'commit'>,
  ledger: Pick<Ledger, 'taken' | 'outdated'>,
  place: Place,
  rename: (incarnation: string) => string,
): Promise<number> {
  const { taken, outdated } = ledger
  const all = [...outdated]
  for (let first = 0; first < all.length; first += ENTRIES) {
    const some = all.slice(first, first + ENTRIES)
    for (const [oldKey] of some) {
      const split = oldKey.indexOf('\u0000')
      const key = streamKey({ source: oldKey.slice(0, split), incarnation: rename(oldKey.slice(split + 1)) })
      // Where an older version ran once more in between, the new name may be further.
      const sequence = Math.max(taken.get(oldKey) ?? 0, taken.get(key) ?? 0)
      lane.produceTo(place, { key: Buffer.from(key, 'utf8'), value: encodeEntry(sequence), timestamp: Date.now() })
      taken.set(key, sequence)
      taken.delete(oldKey)
    }
    // Without transactions, what ends in between leaves both names, never none.
    await lane.flush(COMMIT_TIMEOUT_MS)
    for (const [oldKey, partitions] of some)
      for (const partition of partitions)
        lane.produceTo(
          { topic: place.topic, partition },
          { key: Buffer.from(oldKey, 'utf8'), value: null, timestamp: Date.now() },
        )
    await lane.commit(COMMIT_TIMEOUT_MS)
    for (const [oldKey] of some) outdated.delete(oldKey)
  }
  return all.length
}
