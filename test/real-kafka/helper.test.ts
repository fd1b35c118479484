import t from 'tap'
import { asError } from '../../src/kafka/errors.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

t.test('a broker starts, keeps what it is given and ends', { skip: reason ?? false, timeout: 120_000 }, async (t) => {
  const kafka = await startKafka()
  t.teardown(() => kafka.stop())
  await kafka.tool('org.apache.kafka.tools.TopicCommand', [
    '--bootstrap-server',
    kafka.bootstrap,
    '--create',
    '--topic',
    'a',
    '--partitions',
    '2',
  ])
  const { default: Kafka } = await import('node-rdkafka')
  const producer = new Kafka.Producer({ 'bootstrap.servers': kafka.bootstrap })
  await new Promise<void>((resolve, reject) => {
    producer.connect({}, (e) => {
      if (e) reject(asError(e))
      else resolve()
    })
  })
  producer.produce('a', 1, Buffer.from([0, 9, 10, 65, 92, 255]), null, 1_700_000_000_000)
  producer.produce('a', 0, Buffer.from('x'), 'key', 1_700_000_000_001)
  await new Promise<void>((resolve, reject) => {
    producer.flush(10_000, (e: unknown) => {
      if (e) reject(asError(e))
      else resolve()
    })
  })
  await new Promise<void>((resolve) => {
    producer.disconnect(() => {
      resolve()
    })
  })
  const records = (await kafka.consoleConsumer('a', { maxMessages: 2 })).sort((x, y) => x.partition - y.partition)
  t.same(records, [
    { timestamp: 1_700_000_000_001, partition: 0, offset: 0, key: Buffer.from('key'), value: Buffer.from('x') },
    { timestamp: 1_700_000_000_000, partition: 1, offset: 0, key: null, value: Buffer.from([0, 9, 10, 65, 92, 255]) },
  ])
  const { pid } = kafka
  await kafka.kill()
  t.throws(() => process.kill(pid, 0))
  await kafka.restart()
  t.equal((await kafka.consoleConsumer('a', { maxMessages: 2 })).length, 2)
})
