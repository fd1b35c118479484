/** Topics: created and checked at start, compared with what policy and settings ask for, and changed. */
import type { Admin, ClusterMetadata } from '@platformatic/kafka'
import { DAY_MS, HOUR_MS } from '../base/time.js'
import { MinimError, type Problem, problemLines } from '../errors/catalogue.js'
import { LEDGER_TOPIC, QUARANTINE_TOPIC } from '../flow/topic-names.js'
import { adminError, closeAdmin, openAdmin, request, textOf } from './admin.js'
import type { KafkaProperties } from './property-rules.js'

/** Refused input is kept no longer than this. */
const QUARANTINE_MAX_DAYS = 7

/** Kafka's own default: a segment is closed after a week at the latest. */
const MAX_SEGMENT_MS = 7 * DAY_MS
/**
 * Kafka deletes whole segments, once the last record of one is past the retention: its first may be older by as long as
 * a segment is open. So a topic's retention is what was promised less a segment, and a segment a thirtieth of it.
 */
const SEGMENTS_PER_RETENTION = 30
/** `max.message.bytes` counts a batch: its header, and what a record carries beside key and value. */
const DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
const DEFAULT_TIMESTAMP_AFTER_MS = HOUR_MS
/** `ConfigResourceTypes.TOPIC` of the protocol. */
export const TOPIC_RESOURCE = 2

/** A topic that policy and settings ask for. */
export interface WantedTopic {
  readonly name: string
  readonly partitions: number
  /** null: kept without a limit. */
  readonly retentionDays: number | null
  readonly compacted: boolean
  /** More partitions than asked for are no drift: the ledger keeps those of shards no longer used. */
  readonly morePartitions?: boolean
}

/** What Kafka takes into a topic. */
export interface TopicLimit {
  readonly maxMessageBytes: number
  /** How far ahead of the broker's clock a timestamp may be. */
  readonly timestampAfterMaxMs: number
}

export interface TopicsReport {
  readonly brokers: number
  readonly replication: number
  readonly created: readonly string[]
  readonly limits: ReadonlyMap<string, TopicLimit>
  /** To be said loudly. */
  readonly warnings: readonly string[]
}

export interface TopicsOptions {
  readonly bootstrap: string
  readonly properties: KafkaProperties
  readonly wanted: readonly WantedTopic[]
  /** Default 3, or as many as there are brokers. */
  readonly replication: number
}

/** Limits of a topic that was not looked at: Kafka's defaults. */
export const DEFAULT_LIMIT: TopicLimit = {
  maxMessageBytes: DEFAULT_MAX_MESSAGE_BYTES,
  timestampAfterMaxMs: DEFAULT_TIMESTAMP_AFTER_MS,
}

/** The ledger, for so many shards. */
export function ledgerTopic(shards: number, name: string = LEDGER_TOPIC): WantedTopic {
  return { name, partitions: shards, retentionDays: null, compacted: true, morePartitions: true }
}

/** Creates what is missing, then compares every topic with what is wanted. All differences are told at once. */
export async function ensureTopics(options: TopicsOptions): Promise<TopicsReport> {
  for (const topic of options.wanted) checkWanted(topic)
  const admin = await openAdmin(options)
  try {
    return await ensure(admin, options)
  } finally {
    await closeAdmin(admin)
  }
}

/** What topics are like, beside what is wanted of them. */
export interface TopicsLooked {
  readonly brokers: number
  readonly replication: number
  readonly missing: readonly WantedTopic[]
  readonly drift: readonly Drift[]
  readonly warnings: readonly string[]
}

/** Compares topics with what is wanted, and makes none. @throws MinimError when Kafka does not answer, or not this */
export async function lookAtTopics(options: TopicsOptions): Promise<TopicsLooked> {
  for (const topic of options.wanted) checkWanted(topic)
  const admin = await openAdmin(options)
  try {
    const { existing, cluster, ...about } = await survey(admin, options)
    const there = options.wanted.filter((topic) => existing.has(topic.name))
    const configs = await describe(
      admin,
      options.bootstrap,
      there.map((topic) => topic.name),
    )
    return {
      ...about,
      brokers: cluster.brokers.size,
      missing: options.wanted.filter((topic) => !existing.has(topic.name)),
      drift: driftOf(there, about.replication, cluster, configs, options.bootstrap),
    }
  } finally {
    await closeAdmin(admin)
  }
}

/** Reads the limits of topics again: an operator may have changed them since the start. */
export async function readLimits(
  options: Pick<TopicsOptions, 'bootstrap' | 'properties'>,
  topics: readonly string[],
): Promise<Map<string, TopicLimit>> {
  const admin = await openAdmin(options)
  try {
    const configs = await describe(admin, options.bootstrap, topics)
    return new Map([...configs].map(([name, config]) => [name, limitOf(config)]))
  } finally {
    await closeAdmin(admin)
  }
}

/** What tells a topic from one of the same name that was there before: Kafka's own id of it. */
export async function topicId(
  options: Pick<TopicsOptions, 'bootstrap' | 'properties'>,
  topic: string,
): Promise<string> {
  const admin = await openAdmin(options)
  try {
    const cluster = await request(options, 'described', () =>
      admin.metadata({ topics: [topic], forceUpdate: true, autocreateTopics: false }),
    )
    return cluster.topics.get(topic)?.id ?? ''
  } finally {
    await closeAdmin(admin)
  }
}

/** Deletes what stands before an offset, by partition. */
export async function deleteRecords(
  options: Pick<TopicsOptions, 'bootstrap' | 'properties'>,
  topic: string,
  before: ReadonlyMap<number, number>,
): Promise<void> {
  const admin = await openAdmin(options)
  try {
    await request(options, `emptied (${topic})`, () =>
      admin.deleteRecords({
        topics: [
          {
            name: topic,
            partitions: [...before].map(([partition, offset]) => ({ partition, offset: BigInt(offset) })),
          },
        ],
      }),
    )
  } finally {
    await closeAdmin(admin)
  }
}

function checkWanted(topic: WantedTopic): void {
  if (!Number.isInteger(topic.partitions) || topic.partitions < 1) {
    throw new MinimError('MINIM_KAFKA_TOPIC_INVALID', {
      topic: topic.name,
      what: 'a topic needs one partition or more',
    })
  }
  if (topic.name === QUARANTINE_TOPIC && (topic.retentionDays === null || topic.retentionDays > QUARANTINE_MAX_DAYS)) {
    throw new MinimError('MINIM_KAFKA_TOPIC_INVALID', {
      topic: topic.name,
      what: `refused input is kept for ${QUARANTINE_MAX_DAYS} days at most`,
    })
  }
}

type Config = ReadonlyMap<string, string>

/** Settings that a topic is created with. */
export function topicConfig(topic: WantedTopic, replication: number): Record<string, string> {
  const config: Record<string, string> = {
    'cleanup.policy': topic.compacted ? 'compact' : 'delete',
    'message.timestamp.type': 'CreateTime',
    'min.insync.replicas': String(minInsync(replication)),
    'segment.ms': String(segmentMs(topic)),
  }
  if (!topic.compacted) config['retention.ms'] = String(retentionMs(topic))
  return config
}

/** The longest that a record may be there, ms. */
function promisedMs(retentionDays: number): number {
  return Math.round(retentionDays * DAY_MS)
}

function retentionMs(topic: WantedTopic): number {
  return topic.retentionDays === null ? -1 : promisedMs(topic.retentionDays) - segmentMs(topic)
}

function segmentMs(topic: WantedTopic): number {
  // A compacted topic is compacted by closed segments, too.
  if (topic.compacted) return DAY_MS
  return topic.retentionDays === null
    ? MAX_SEGMENT_MS
    : Math.min(MAX_SEGMENT_MS, Math.floor(promisedMs(topic.retentionDays) / SEGMENTS_PER_RETENTION))
}

/** With three replicas one may be away, and what is committed is on two. */
function minInsync(replication: number): number {
  return replication >= 3 ? 2 : 1
}

/** What there is before anything is made. */
interface Surveyed {
  readonly existing: ReadonlySet<string>
  readonly cluster: ClusterMetadata
  readonly replication: number
  readonly warnings: readonly string[]
}

async function survey(admin: Admin, options: TopicsOptions): Promise<Surveyed> {
  const names = options.wanted.map((t) => t.name)
  const existing = new Set(await request(options, 'listed', () => admin.listTopics()))
  const cluster = await metadata(
    admin,
    options,
    [...existing].filter((name) => names.includes(name)),
  )
  const brokers = cluster.brokers.size
  const wantedReplication = options.replication
  const replication = Math.min(wantedReplication, brokers)
  const warnings: string[] = []
  if (replication < wantedReplication) {
    warnings.push(
      `the cluster has ${brokers} broker(s): topics get ${replication} replica(s) instead of ${wantedReplication}, ` +
        (replication === 1 ? "and the loss of that broker's disk loses them" : 'and fewer brokers may fail'),
    )
  }
  return { existing, cluster, replication, warnings }
}

async function ensure(admin: Admin, options: TopicsOptions): Promise<TopicsReport> {
  const names = options.wanted.map((t) => t.name)
  const { existing, cluster: before, replication, warnings } = await survey(admin, options)
  const missing = options.wanted.filter((t) => !existing.has(t.name))
  for (const topic of missing) await create(admin, options, topic, replication)
  const after = missing.length === 0 ? before : await metadataOfAll(admin, options, names)
  const configs = await describe(admin, options.bootstrap, names)
  const problems = driftOf(options.wanted, replication, after, configs, options.bootstrap).map(driftProblem)
  if (problems.length > 0) {
    throw new MinimError('MINIM_KAFKA_TOPIC_DRIFT', { count: problems.length, problems: problemLines(problems) })
  }
  return {
    brokers: before.brokers.size,
    replication,
    warnings,
    created: missing.map((t) => t.name),
    limits: new Map([...configs].map(([name, config]) => [name, limitOf(config)])),
  }
}

/** How a topic differs from what is wanted. */
export interface Drift {
  readonly topic: string
  readonly setting: string
  readonly is: string
  /** In words where more than one value would do. */
  readonly wanted: string
  readonly mend: string
  /** What a request to Kafka can set it to; null: nothing that can be done without losing or moving what is there. */
  readonly change: string | null
}

/** A difference as the mistakes in settings are told. */
export function driftProblem({ topic, setting, is, wanted, mend }: Drift): Problem {
  return { path: topic, what: `${setting} is ${is} and should be ${wanted}`, mend }
}

function driftOf(
  wanted: readonly WantedTopic[],
  replication: number,
  cluster: ClusterMetadata,
  configs: ReadonlyMap<string, Config>,
  bootstrap: string,
): Drift[] {
  return wanted.flatMap((topic) =>
    compare(topic, replication, cluster, configs.get(topic.name) ?? new Map<string, string>(), bootstrap),
  )
}

function compare(
  topic: WantedTopic,
  replication: number,
  cluster: ClusterMetadata,
  config: Config,
  bootstrap: string,
): Drift[] {
  const found = cluster.topics.get(topic.name)
  const replicas = Math.min(...(found?.partitions ?? []).map((p) => p.replicas.length))
  const drift = partitionsDrift(topic, found?.partitionsCount ?? 0, bootstrap)
  if (Number.isFinite(replicas) && replicas < replication) {
    drift.push({
      topic: topic.name,
      setting: 'replication',
      is: String(replicas),
      wanted: String(replication),
      mend: 'reassign its partitions with kafka-reassign-partitions.sh, or set topics.replication',
      change: null,
    })
  }
  for (const [setting, wanted] of Object.entries(topicConfig(topic, Math.min(replication, replicas)))) {
    const is = config.get(setting)
    if (is === undefined || fits(setting, Number(is), is, wanted, replicas)) continue
    drift.push({
      topic: topic.name,
      setting,
      is,
      wanted:
        setting === 'segment.ms' || setting === 'min.insync.replicas'
          ? `${wanted} (${setting === 'segment.ms' ? 'or less' : 'or more'})`
          : wanted,
      mend: `kafka-configs.sh --bootstrap-server ${bootstrap} --alter --topic ${topic.name} --add-config ${setting}=${wanted}`,
      change: wanted,
    })
  }
  return drift
}

function partitionsDrift(topic: WantedTopic, partitions: number, bootstrap: string): Drift[] {
  const about = { topic: topic.name, setting: 'partitions', is: String(partitions), wanted: String(topic.partitions) }
  if (partitions < topic.partitions) {
    const mend =
      `kafka-topics.sh --bootstrap-server ${bootstrap} --alter --topic ${topic.name} --partitions ` +
      `${topic.partitions} (keys move to other partitions)`
    return [{ ...about, mend, change: about.wanted }]
  }
  if (partitions > topic.partitions && topic.morePartitions !== true)
    return [{ ...about, mend: `set topics.partitions to ${partitions}, or make the topic anew`, change: null }]
  return []
}

function fits(setting: string, number: number, is: string, wanted: string, replicas: number): boolean {
  if (setting === 'segment.ms') return number > 0 && number <= Number(wanted)
  if (setting === 'min.insync.replicas') return number >= Number(wanted) && !(number > replicas)
  return is === wanted
}

function limitOf(config: Config): TopicLimit {
  const number = (name: string, fallback: number): number => {
    const value = Number(config.get(name) ?? NaN)
    return Number.isFinite(value) ? value : fallback
  }
  return {
    maxMessageBytes: number('max.message.bytes', DEFAULT_MAX_MESSAGE_BYTES),
    timestampAfterMaxMs: number('message.timestamp.after.max.ms', DEFAULT_TIMESTAMP_AFTER_MS),
  }
}

async function create(admin: Admin, options: TopicsOptions, topic: WantedTopic, replication: number): Promise<void> {
  const configs = Object.entries(topicConfig(topic, replication)).map(([name, value]) => ({ name, value }))
  try {
    await admin.createTopics({ topics: [topic.name], partitions: topic.partitions, replicas: replication, configs })
  } catch (error) {
    // Another process that starts at the same time made it: the comparison tells whether it made the same.
    if (textOf(error).includes('TOPIC_ALREADY_EXISTS')) return
    throw adminError(options.bootstrap, `created (${topic.name})`, error)
  }
}

function metadata(admin: Admin, options: TopicsOptions, topics: string[]): Promise<ClusterMetadata> {
  return request(options, 'described', () => admin.metadata({ topics, forceUpdate: true, autocreateTopics: false }))
}

const PROPAGATION_ATTEMPTS = 50
const PROPAGATION_DELAY_MS = 100

/** A topic just created is known to the controller first, and to the other brokers a moment later. */
async function metadataOfAll(admin: Admin, options: TopicsOptions, names: string[]): Promise<ClusterMetadata> {
  let failure = adminError(options.bootstrap, 'described', new Error('new topics have no leader yet'))
  for (let attempt = 0; attempt < PROPAGATION_ATTEMPTS; attempt++) {
    try {
      const cluster = await metadata(admin, options, names)
      if (
        names.every(
          (name) => cluster.topics.get(name)?.partitions.every((p) => p !== undefined && p.leader >= 0) === true,
        )
      )
        return cluster
    } catch (error) {
      if (error instanceof MinimError) failure = error
    }
    await new Promise((resolve) => {
      setTimeout(resolve, PROPAGATION_DELAY_MS)
    })
  }
  throw failure
}

async function describe(admin: Admin, bootstrap: string, topics: readonly string[]): Promise<Map<string, Config>> {
  if (topics.length === 0) return new Map()
  const described = await request({ bootstrap }, 'described', () =>
    admin.describeConfigs({
      resources: topics.map((resourceName) => ({ resourceType: TOPIC_RESOURCE, resourceName })),
    }),
  )
  return new Map(described.map((d) => [d.resourceName, new Map(d.configs.map((c) => [c.name, c.value ?? '']))]))
}
