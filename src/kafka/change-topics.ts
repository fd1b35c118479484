/** Makes of topics what is wanted of them, as far as that can be done where they are. */
import type { CreatePartitionsOptions } from '@platformatic/kafka'
import { closeAdmin, openAdmin, request } from './admin.js'
import { type Drift, ensureTopics, lookAtTopics, TOPIC_RESOURCE, type TopicsOptions } from './topics.js'

/** `IncrementalAlterConfigOperationTypes.SET` of the protocol. */
const SET = 0
const SEEN_ATTEMPTS = 50
const SEEN_DELAY_MS = 100

/** A difference that a request to Kafka can end. */
export interface Change extends Drift {
  readonly change: string
}

export function isChange(drift: Drift): drift is Change {
  return drift.change !== null
}

/**
 * Makes changes, then the topics that are not there.
 * @returns the names of the topics made
 * @throws MinimError MINIM_KAFKA_TOPIC_DRIFT with what is different still
 */
export async function changeTopics(options: TopicsOptions, changes: readonly Change[]): Promise<readonly string[]> {
  const admin = await openAdmin(options)
  try {
    for (const { topic, setting, change } of changes) {
      await request(options, `changed (${topic} ${setting})`, () =>
        setting === 'partitions'
          ? admin.createPartitions({ topics: [morePartitions(topic, Number(change))] })
          : admin.incrementalAlterConfigs({
              resources: [
                {
                  resourceType: TOPIC_RESOURCE,
                  resourceName: topic,
                  configs: [{ name: setting, configOperation: SET, value: change }],
                },
              ],
            }),
      )
    }
  } finally {
    await closeAdmin(admin)
  }
  if (changes.length > 0) await untilSeen(options)
  const { created } = await ensureTopics(options)
  return created
}

/**
 * Kafka places the new ones itself where no assignment is given at all; an empty list of them, as another version of
 * the client asks for, it refuses.
 */
function morePartitions(name: string, count: number): CreatePartitionsOptions['topics'][number] {
  return { name, count }
}

/** A change is known to the controller first, and to the other brokers a moment later. */
async function untilSeen(options: TopicsOptions): Promise<void> {
  for (let attempt = 0; attempt < SEEN_ATTEMPTS; attempt++) {
    const { drift } = await lookAtTopics(options)
    if (!drift.some(isChange)) return
    await new Promise((resolve) => {
      setTimeout(resolve, SEEN_DELAY_MS)
    })
  }
}
