/**
 * Compares what simulated nodes were told is taken with what is in the topics. Knows nothing of Kafka: `reading.ts`
 * turns messages into {@link Observed}, the tests make their own.
 */
import type { Numbered } from './numbers.js'

/** What one node sent. */
export interface Sender {
  /** Records 1 to this were sent. */
  readonly sent: number
  /** Records 1 to this were acknowledged. */
  readonly acknowledged: number
  /** Topics where a record must be, if it was acknowledged; it may be in no other. */
  readonly topicsOf: (n: number) => readonly string[]
  /** Records of one way to Kafka are in order among themselves. Default: all go the same. */
  readonly wayOf?: (n: number) => string
}

/** A message as an independent reader found it. */
export interface Observed {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** The subject's token, in any spelling; null where there is none. */
  readonly key: string | null
  /** null: nobody's record. */
  readonly record: Numbered | null
  /** It holds another record's values. */
  readonly mixedUp?: boolean
  /** Identifiers, or fields that the topic may not have. */
  readonly leaks?: boolean
}

export interface Verdict {
  /** Records acknowledged. */
  sent: number
  /** Places (record and topic) where an acknowledged record is not, or where one that is elsewhere is missing. */
  lost: number
  /** Messages that are there once more. */
  duplicated: number
  /** Messages where they may not be, of nobody, or mixed up. */
  misrouted: number
  leaked: number
  /** Messages of a subject behind a later one of the same node. */
  outOfOrder: number
  /** The first few of each, for people. Numbers of records and names of topics only. */
  readonly examples: string[]
}

const EXAMPLES = 5

export function check(senders: readonly Sender[], messages: Iterable<Observed>): Verdict {
  const verdict: Verdict = { sent: 0, lost: 0, duplicated: 0, misrouted: 0, leaked: 0, outOfOrder: 0, examples: [] }
  const shown = new Map<string, number>()
  const example = (what: string, where: string): void => {
    const count = (shown.get(what) ?? 0) + 1
    shown.set(what, count)
    if (count <= EXAMPLES) verdict.examples.push(`${what}: ${where}`)
  }
  /** By topic and node: how often each record is there. */
  const counts = new Map<string, Uint8Array>()
  const countsOf = (topic: string, source: number): Uint8Array => {
    const name = `${topic} ${source}`
    let found = counts.get(name)
    if (found === undefined) counts.set(name, (found = new Uint8Array(senders[source].sent + 1)))
    return found
  }
  /** By topic, node and subject: its partition. */
  const homes = new Map<string, number>()
  /** By topic, node, subject and way: the latest record so far. */
  const latest = new Map<string, number>()
  for (const message of inLogOrder(messages)) {
    const { topic, partition, offset, key, record } = message
    const at = `${topic} ${partition}/${offset}`
    if (message.leaks === true) {
      verdict.leaked++
      example('leaked', at)
    }
    if (
      record === null ||
      message.mixedUp === true ||
      senders[record.source] === undefined ||
      record.n < 1 ||
      record.n > senders[record.source].sent
    ) {
      verdict.misrouted++
      example(
        'misrouted',
        `${at}, ${record === null ? "nobody's" : message.mixedUp === true ? 'mixed up' : 'never sent'}`,
      )
      continue
    }
    const { source, n } = record
    if (!senders[source].topicsOf(n).includes(topic)) {
      verdict.misrouted++
      example('misrouted', `${at}, record ${n} of node ${source}`)
      continue
    }
    const seen = countsOf(topic, source)
    if (seen[n] > 0) {
      verdict.duplicated++
      example('duplicated', `${at}, record ${n} of node ${source}`)
      continue
    }
    seen[n] = 1
    if (key === null) continue
    const subject = `${topic} ${source} ${key}`
    const way = `${subject} ${senders[source].wayOf?.(n) ?? ''}`
    const home = homes.get(subject) ?? partition
    const before = latest.get(way) ?? 0
    // A subject in two partitions has no order at all.
    if (before > n || home !== partition) {
      verdict.outOfOrder++
      example('out of order', `${at}, record ${n} of node ${source} behind ${before} of partition ${home}`)
    }
    homes.set(subject, home)
    latest.set(way, Math.max(before, n))
  }
  senders.forEach((sender, source) => {
    verdict.sent += sender.acknowledged
    for (let n = 1; n <= sender.sent; n++) {
      const topics = sender.topicsOf(n)
      const there = topics.filter((topic) => countsOf(topic, source)[n] > 0)
      // To every purpose or to none, acknowledged or not.
      if (there.length === topics.length || (n > sender.acknowledged && there.length === 0)) continue
      verdict.lost += topics.length - there.length
      const missing = topics.filter((topic) => !there.includes(topic)).join(', ')
      const how = n > sender.acknowledged ? 'not acknowledged, ' : ''
      example('lost', `record ${n} of node ${source}, ${how}from ${missing}`)
    }
  })
  return verdict
}

function inLogOrder(messages: Iterable<Observed>): Observed[] {
  return [...messages].sort((a, b) =>
    a.topic === b.topic ? a.partition - b.partition || a.offset - b.offset : a.topic < b.topic ? -1 : 1,
  )
}

/** Processes of the program. */
export interface Processes {
  readonly started: number
  /** When they had to, or by themselves. */
  readonly ended: number
  /** Those that had to and did not, until they were killed: why they had to. */
  readonly notEnded: readonly string[]
}

/** The last line of a run. */
export function summary(verdict: Verdict, faults: number, { started, ended, notEnded }: Processes): string {
  const { sent, lost, duplicated, misrouted, leaked, outOfOrder } = verdict
  return (
    `sent ${sent}, faults ${faults}, started ${started}, ended ${ended}, not ended ${notEnded.length}, ` +
    `lost ${lost}, duplicated ${duplicated}, misrouted ${misrouted}, leaked ${leaked}, out of order ${outOfOrder}`
  )
}

/** Whether every process that was started has ended, and within its limit. */
export function allEnded({ started, ended, notEnded }: Processes): boolean {
  return started > 0 && ended === started && notEnded.length === 0
}

/** Whether all five are 0. */
export function isClean({ lost, duplicated, misrouted, leaked, outOfOrder }: Verdict): boolean {
  return lost + duplicated + misrouted + leaked + outOfOrder === 0
}
