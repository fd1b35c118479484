/**
 * Topics of raw records as a source: filled by `cdr_kafka`, `mod_event_kafka` or an agent, on the Kafka that minim
 * writes to. Messages are consumed, transformed and produced in one transaction with the group's offsets: proxies of
 * one group share the partitions, and whatever dies, every message is taken once.
 *
 *   input.ts   from joining the group to offering pieces        member.ts, requests.ts   the group's protocol
 *   record-set.ts, unpack.ts   what brokers answer              messages.ts, freeswitch-event.ts   what messages hold
 */
import { createHash } from 'node:crypto'
import { ProtobufReader } from '../../batch/scanner.js'
import type { Source, SourceContext } from '../../flow/source.js'
import { ALONE } from '../../flow/worker-place.js'
import { JsonLinesReader } from '../../formats/json-lines.js'
import { resolveMapping } from '../../formats/readers.js'
import { RecordWriter } from '../../formats/record-writer.js'
import { connectionOptions } from '../../kafka/admin.js'
import { Cluster } from '../../kafka/cluster.js'
import { producerLimits } from '../../kafka/properties.js'
import { unpacker } from '../../kafka/unpack.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { convertEvent } from './freeswitch-event.js'
import { KafkaInput } from './input.js'
import type { MessageFormat } from './messages.js'
import type { KafkaInputSettings } from './settings.js'

const KIND = 'kafka'
/** How often the lag is measured. */
const LAG_MS = 1000
const REBALANCE_MS = 30_000
/** A compressed batch may grow to so many times what a message may have. */
const UNPACKED_MESSAGES = 64
/** Snappy's number in a batch's attributes. */
const SNAPPY = 2

/** What it takes of the settings: its section, and how the brokers are reached. */
type KafkaContext = { readonly kafkaInput: readonly KafkaInputSettings[] } & Pick<
  SettingsAround,
  'cluster' | 'kafka' | 'mappings' | 'limits'
>

/**
 * Starts to read the topics of `kafkaInput:`. A topic that is not there yet is waited for.
 * @throws ProblemsError for a mapping that there is not
 */
export async function startKafka({
  settings,
  catalogue,
  intake,
  counters,
  log,
  worker,
  onBroken,
}: SourceContext<KafkaContext>): Promise<Source | null> {
  if (settings.kafkaInput.length === 0) return null
  const { 'bootstrap.servers': bootstrap, ...properties } = settings.kafka
  const { clientId, connectTimeoutMs, socketTimeoutMs } = producerLimits(properties)
  const formats = settings.kafkaInput.map((entry, i) => formatOf(entry, i, { settings, catalogue }))
  const { compressionsAlgorithmsByBitmask } = await import('@platformatic/kafka')
  const snappy = compressionsAlgorithmsByBitmask[SNAPPY]
  const counted = counters(KIND)
  const inputs = settings.kafkaInput.map(
    (entry, i) =>
      new KafkaInput({
        settings: entry,
        instance: instanceOf(settings.cluster, (worker ?? ALONE).index, entry.topic),
        intake: intake(KIND),
        format: formats[i],
        counters: counted,
        log,
        unpack: unpacker(
          entry.maxMessageBytes * UNPACKED_MESSAGES,
          (block) => snappy.decompressSync(block),
          entry.topic,
        ),
        rebalanceMs: Math.min(REBALANCE_MS, socketTimeoutMs / 2),
        cluster: new Cluster({
          bootstrap: String(bootstrap),
          clientId,
          createTopics: false,
          connection: {
            ...connectionOptions(properties),
            connectTimeout: connectTimeoutMs,
            requestTimeout: socketTimeoutMs,
          },
        }),
      }),
  )
  const lag = setInterval(() => {
    counted.lag(Math.max(...inputs.map((input) => input.lagSeconds)))
  }, LAG_MS)
  lag.unref()
  for (const input of inputs)
    input.start((error) => {
      onBroken(KIND, error)
    })
  return {
    kind: KIND,
    addresses: {},
    stopTaking: async () => {
      await Promise.all(inputs.map((input) => input.stopTaking()))
    },
    stop: async () => {
      clearInterval(lag)
      await Promise.all(inputs.map((input) => input.stop()))
    },
  }
}

/**
 * A proxy's name in a group: as much its own as its transactional ids. A topic's name may be longer than Kafka lets an
 * instance's be.
 */
function instanceOf(cluster: string, worker: number, topic: string): string {
  return `minim.${cluster}.${worker}.${createHash('sha256').update(topic).digest('hex').slice(0, 12)}`
}

/** How the messages of an entry's topic are read. */
function formatOf(
  entry: KafkaInputSettings,
  position: number,
  { settings, catalogue }: Pick<SourceContext<KafkaContext>, 'settings' | 'catalogue'>,
): MessageFormat {
  if (entry.format === 'jsonl') {
    const mapping = resolveMapping(
      entry.mapping,
      settings.mappings,
      catalogue,
      { kind: entry.kind, timeZone: entry.timeZone },
      `kafkaInput.${position}.mapping`,
    )
    return {
      reader: new JsonLinesReader(mapping, catalogue, { maxRecordBytes: settings.limits.maxRecordBytes }),
      lines: true,
      convert: null,
      refusedFormat: null,
    }
  }
  const reader = new ProtobufReader(catalogue, 'whole')
  if (entry.format === 'protobuf') return { reader, lines: false, convert: null, refusedFormat: null }
  const writer = new RecordWriter(catalogue)
  return {
    reader,
    lines: false,
    convert: (message) => convertEvent(message, entry.legs, writer),
    refusedFormat: 'freeswitch',
  }
}
