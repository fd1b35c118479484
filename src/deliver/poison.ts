/**
 * Finds the messages of a batch that Kafka refuses, by trial transactions that are never committed. First the whole
 * batch as it would be sent; when that is refused, its messages each in a request of its own, so that every refusal
 * names one message. Slow, and rare: size and time are checked before anything is sent.
 */
import { classify, KafkaError } from '../kafka/errors.js'
import type { Lane } from './lane.js'
import type { Made } from './minimiser.js'

export interface Trial {
  /** The batch's messages, made anew. */
  make(): Made
  /** These records are to become quarantine messages. */
  exclude(records: ReadonlySet<number>): void
  /** A lane for one trial, under an id of this shard. */
  open(): Promise<Lane>
}

export interface TrialOutcome {
  /** Records that are refused. */
  readonly records: number
  /** The batch was refused, and each of its messages alone was not. */
  readonly byBatch: boolean
}

const ANSWER_TIMEOUT_MS = 60_000
const ABORT_TIMEOUT_MS = 10_000

/** Excludes what is refused, until a trial is not. Rejects when a trial has no outcome (time-out, no broker). */
export async function findRefused(trial: Trial): Promise<TrialOutcome> {
  if (await isTaken(trial)) return { records: 0, byBatch: false }
  let records = 0
  for (;;) {
    const refused = await refusedAlone(trial)
    if (refused.size === 0) return { records, byBatch: records === 0 }
    records += refused.size
    trial.exclude(refused)
  }
}

function isRefusal(error: unknown): boolean {
  return classify(error).kind === 'refused'
}

/** Whether the brokers take the whole batch as it would be sent. */
async function isTaken(trial: Trial): Promise<boolean> {
  const lane = await trial.open()
  try {
    const { messages, dropped } = trial.make()
    if (!lane.knows(messages.topics)) await lane.learn(messages.topics)
    for (let next = 0; next < messages.count;) {
      next = lane.produce(messages, next, dropped).next
      await lane.flush(ANSWER_TIMEOUT_MS)
    }
    await lane.abort(ABORT_TIMEOUT_MS)
    return true
  } catch (error) {
    if (isRefusal(error)) return false
    throw error
  } finally {
    lane.close()
  }
}

/** @returns records of the messages that are refused one by one */
async function refusedAlone(trial: Trial): Promise<Set<number>> {
  const refused = new Set<number>()
  const lane = await trial.open()
  try {
    const { messages, dropped } = trial.make()
    if (!lane.knows(messages.topics)) await lane.learn(messages.topics)
    for (let i = 0; i < messages.count; i++) {
      if (dropped?.has(i) === true) continue
      const code = await lane.trial(messages, i, ANSWER_TIMEOUT_MS)
      if (code === 0) continue
      if (!isRefusal({ code })) throw new KafkaError(code, 'trial')
      refused.add(messages.record[i])
    }
    await lane.abort(ABORT_TIMEOUT_MS)
    return refused
  } finally {
    lane.close()
  }
}
