/**
 * Finds the messages of a batch that Kafka refuses, by trial transactions that are never committed. First the whole batch as it would be
 * sent; when that is refused, its messages each in a request of its own, so that every refusal names one message. Slow, and rare: size and
 * time are checked before anything is sent.
 */
import type { Minimised } from '../project/minimised.js'
import { QUEUE_FULL, asError, classify, isRefusalText } from './kafka-errors.js'
import type { Lane } from './lane.js'

export interface Trial {
  /** The messages, and the numbers of those that are not to be sent. */
  minimise(): [Minimised, ReadonlySet<number> | null]
  /** These records are to become quarantine messages. */
  exclude(records: ReadonlySet<number>): void
  open(single: boolean, onReport: (error: unknown, opaque: unknown) => void): Promise<Lane>
}

export interface TrialOutcome {
  /** Records that are refused. */
  readonly records: number
  /** The batch was refused, and each of its messages alone was not. */
  readonly byBatch: boolean
}

const REPORT_TIMEOUT_MS = 60_000
const ABORT_TIMEOUT_MS = 10_000
const POLL_MS = 5
/** After a first refusal: what was sent at the same time may be refused as well. */
const LATE_REPORTS_MS = 50

const sleep = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

/** Excludes what is refused, until a trial is not. Rejects when a trial has no outcome (time-out, no broker). */
export async function findRefused(trial: Trial): Promise<TrialOutcome> {
  let refused = await run(trial, false)
  if (refused.size === 0) return { records: 0, byBatch: false }
  let records = 0
  for (;;) {
    refused = await run(trial, true)
    if (refused.size === 0) return { records, byBatch: records === 0 }
    records += refused.size
    trial.exclude(refused)
  }
}

/** @returns records of the messages that were refused */
async function run(trial: Trial, single: boolean): Promise<Set<number>> {
  const refused = new Set<number>()
  let reported = 0
  let failure: unknown = null
  // The numbers of the records: the messages themselves may be gone when a report comes.
  let records = new Int32Array(0)
  const lane = await trial.open(single, (error, opaque) => {
    reported++
    if (error === null || error === undefined) return
    if (isRefusalText(error)) refused.add(records[opaque as number])
    else failure ??= error
  })
  try {
    await lane.begin()
    const [messages, dropped] = trial.minimise()
    records = messages.record.slice(0, messages.count)
    let sent = 0
    for (let i = 0; i < messages.count && refused.size === 0; i++) {
      if (dropped?.has(i) === true) continue
      const code = produce(lane, messages, i)
      if (code === 0) {
        sent++
      } else if (code === QUEUE_FULL) {
        lane.poll()
        await sleep(POLL_MS)
        i--
      } else if (classify({ code }).kind === 'refused') {
        refused.add(records[i])
      } else if (refused.size === 0) {
        // The transaction has failed: a report that says why is on its way.
        await settle(lane, () => refused.size > 0 || failure !== null)
        if (refused.size === 0) throw Object.assign(new Error('trial'), { code })
      }
    }
    await settle(lane, () => reported >= sent || refused.size > 0 || failure !== null)
    if (refused.size > 0) await sleep(LATE_REPORTS_MS)
    else if (failure !== null || reported < sent) throw asError(failure ?? 'trial without an outcome')
    else await lane.abort(ABORT_TIMEOUT_MS)
    return refused
  } finally {
    await lane.close()
  }
}

async function settle(lane: Lane, done: () => boolean): Promise<void> {
  const deadline = Date.now() + REPORT_TIMEOUT_MS
  while (!done() && Date.now() < deadline) {
    lane.poll()
    await sleep(POLL_MS)
  }
}

function produce(lane: Lane, messages: Minimised, i: number): number {
  const { bytes } = messages
  const t = messages.topic[i]
  const value = bytes.subarray(messages.valueOff[i], (messages.valueOff[i]) + (messages.valueLen[i]))
  const keyOff = messages.keyOff[i]
  const keyLen = messages.keyLen[i]
  const key = keyLen === 0 ? null : bytes.subarray(keyOff, keyOff + keyLen)
  return lane.native.produce(messages.topics[t], -1, value, key, messages.timestamp[i], i, messages.headers[t])
}
