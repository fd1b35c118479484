/**
 * A ledger that an earlier version wrote: its files' names were bare hashes, from which what a file holds can be found
 * by trying. Delivery writes them anew under a key, and Kafka's compaction takes the old ones away.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Kafka from 'node-rdkafka'
import t, { type Test } from 'tap'
import type { Delivery } from '../../src/deliver/delivery.js'
import { encodeEntry, readLedger, streamKey } from '../../src/deliver/ledger.js'
import { isUnkeyed } from '../../src/flow/contents.js'
import { asError } from '../../src/kafka/errors.js'
import type { WantedTopic } from '../../src/kafka/topics.js'
import { contentsName } from '../helpers/contents.js'
import { shippedDelivery } from '../helpers/delivery.js'
import { kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'
import { fakeItem, QUARANTINE } from '../helpers/minimised.js'

const reason = kafkaAvailable()
t.setTimeout(600_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const hash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32)
const topic = (name: string): WantedTopic => ({ name, partitions: 1, retentionDays: 30, compacted: false })
const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

/** What an earlier version had taken: files with and without a name, one of them by two shards; and who is no file. */
const FILE = { source: 'file-0123456789ab', incarnation: hash('66305 1234 "acme","07700900123"') }
const NAMED = { source: 'pbx-1', incarnation: hash(' "acme","07700900456"') }
const AGENT = { source: 'branch', incarnation: '0b1e2f3a-0000-4000-8000-000000000001' }
/** A client whose own ids look like our hashes, and whose batches have marks. */
const CLIENT = { source: 'foreign', incarnation: hash('their own') }
const OLD: readonly [partition: number, id: typeof FILE, sequence: number, marks?: Buffer][] = [
  [0, FILE, 4000],
  [0, FILE, 70_000],
  [0, NAMED, 120],
  [1, NAMED, 90],
  [0, AGENT, 7],
  [0, CLIENT, 9, Buffer.alloc(8, 1)],
]

async function write(kafka: KafkaCluster, ledger: string, entries: typeof OLD): Promise<void> {
  const producer = new Kafka.Producer({ 'bootstrap.servers': kafka.bootstrap })
  await new Promise<void>((resolve, reject) => {
    producer.connect({ topic: ledger }, (e: unknown) => {
      if (e) reject(asError(e))
      else resolve()
    })
  })
  for (const [partition, id, sequence, marks] of entries)
    producer.produce(ledger, partition, encodeEntry(sequence, marks), Buffer.from(streamKey(id)))
  await new Promise<void>((resolve, reject) => {
    producer.flush(5000, (e: unknown) => {
      if (e) reject(asError(e))
      else
        producer.disconnect(() => {
          resolve()
        })
    })
  })
}

/** Whether any of the broker's segments of a topic holds some bytes. */
function onDisk(kafka: KafkaCluster, ledger: string, text: string): boolean {
  return readdirSync(kafka.logDir, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.includes(`${ledger}-`) && path.endsWith('.log'))
    .some((path) => {
      try {
        return readFileSync(join(kafka.logDir, path)).includes(text)
      } catch {
        // Removed by compaction between the listing and the reading.
        return false
      }
    })
}

t.test('the ledger of an earlier version', { skip: reason ?? false }, async (t) => {
  const kafka = await startKafka({ properties: { 'log.cleaner.backoff.ms': 200 } })
  t.teardown(() => kafka.stop())
  for (const guarantee of ['exactly-once', 'at-least-once'] as const) {
    t.test(guarantee, async (t) => {
      const ledger = `ledger.${guarantee}`
      await kafka.tool('org.apache.kafka.tools.TopicCommand', [
        ...['--bootstrap-server', kafka.toolBootstrap, '--create', '--topic', ledger],
        ...['--partitions', '2', '--replication-factor', '1'],
        ...[
          'cleanup.policy=compact',
          'segment.ms=500',
          'min.cleanable.dirty.ratio=0.01',
          'delete.retention.ms=100',
        ].flatMap((setting) => ['--config', setting]),
      ])
      await write(kafka, ledger, OLD)
      const start = async (): Promise<Delivery> => {
        const delivery = shippedDelivery({
          bootstrap: kafka.bootstrap,
          topics: [topic('one'), { ...topic(QUARANTINE), retentionDays: 7 }],
          ledgerTopic: ledger,
          renaming: { isOutdated: isUnkeyed, rename: contentsName },
          settings: { cluster: guarantee, guarantee },
        })
        t.teardown(() => delivery.stop(1000))
        await delivery.start()
        return delivery
      }
      const keyed = (id: typeof FILE): typeof FILE => ({ ...id, incarnation: contentsName(id.incarnation) })
      const knows = (t: Test, delivery: Delivery): void => {
        t.same(delivery.streamsOf(FILE.source), [{ incarnation: contentsName(FILE.incarnation), sequence: 70_000 }])
        t.equal(delivery.lastTaken(keyed(NAMED)), 120, 'of two partitions the further one')
        t.same(delivery.streamsOf(AGENT.source), [{ incarnation: AGENT.incarnation, sequence: 7 }])
        t.equal(delivery.lastTaken(CLIENT), 9, 'who chose a name that looks like a hash keeps it')
      }
      const first = await start()
      knows(t, first)
      const item = fakeItem({
        ...keyed(FILE),
        sequence: 80_000,
        messages: [{ topic: 'one', value: 'x', key: null, record: 0 }],
      })
      await first.offer(item)
      await item.done
      await first.stop()
      const read = await readLedger({
        ...{ bootstrap: kafka.bootstrap, properties: {}, topic: ledger, shard: 0, shards: 1 },
        isOutdated: isUnkeyed,
      })
      t.same([...read.outdated], [], 'nothing is left to be renamed')
      t.same(
        [...read.taken].sort(),
        [
          [streamKey(AGENT), 7],
          [streamKey(keyed(FILE)), 80_000],
          [streamKey(CLIENT), 9],
          [streamKey(keyed(NAMED)), 120],
        ].sort(),
      )
      const again = await start()
      t.equal(again.lastTaken(keyed(FILE)), 80_000)
      t.equal(again.lastTaken(keyed(NAMED)), 120)
      // Each write closes the segment before it, so that it is compacted.
      for (
        let sequence = 1;
        sequence < 200 && [FILE, NAMED].some((id) => onDisk(kafka, ledger, id.incarnation));
        sequence++
      ) {
        await write(kafka, ledger, [
          [0, AGENT, 7 + sequence],
          [1, AGENT, 7 + sequence],
        ])
        await sleep(300)
      }
      for (const id of [FILE, NAMED])
        t.notOk(onDisk(kafka, ledger, id.incarnation), 'compaction has removed the old name from every partition')
      t.ok(onDisk(kafka, ledger, contentsName(NAMED.incarnation)))
    })
  }
})
