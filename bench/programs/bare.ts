// node-rdkafka and nothing else: ready messages in transactions, two producers taking turns, no delivery report.
// Usage: bare.js BROKERS MESSAGES NAME TOPIC...
import Kafka from 'node-rdkafka'
import { PRODUCER } from '../kafka.js'
import { readMessages } from '../messages.js'

const MESSAGES_PER_TRANSACTION = 20_000
const TIMEOUT_MS = 30_000

const [brokers, path, name, ...topics] = process.argv.slice(2)
const ready = readMessages(path)

type Callback = (error: Kafka.LibrdKafkaError | null | undefined) => void
const done = (call: (callback: Callback) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    call((error) => {
      if (error) reject(new Error(error.message))
      else resolve()
    })
  })

const producers: Kafka.Producer[] = []
for (const turn of ['a', 'b']) {
  const producer = new Kafka.Producer({
    ...PRODUCER,
    'bootstrap.servers': brokers,
    'transactional.id': `${name}.${turn}`,
    'linger.ms': 5,
    dr_cb: false,
    'queue.buffering.max.messages': 200_000,
    partitioner: 'murmur2_random',
  } as Kafka.ProducerGlobalConfig)
  await new Promise<void>((resolve, reject) => {
    producer.connect({}, (error: Kafka.LibrdKafkaError | null) => {
      if (error) reject(new Error(error.message))
      else resolve()
    })
  })
  await done((callback) => {
    producer.initTransactions(TIMEOUT_MS, callback)
  })
  producers.push(producer)
}

const started = performance.now()
const cpuBefore = process.cpuUsage()
let committing: Promise<void> = Promise.resolve()
for (let first = 0, turn = 0; first < ready.count; first += MESSAGES_PER_TRANSACTION, turn ^= 1) {
  const producer = producers[turn]
  await done((callback) => {
    producer.beginTransaction(callback)
  })
  const end = Math.min(first + MESSAGES_PER_TRANSACTION, ready.count)
  for (let i = first; i < end; i++)
    producer.produce(topics[ready.topic[i]], null, ready.values[i], ready.keys[i], ready.timestamp[i])
  await committing
  committing = done((callback) => {
    producer.commitTransaction(TIMEOUT_MS, callback)
  })
}
await committing
const seconds = (performance.now() - started) / 1000
const cpu = process.cpuUsage(cpuBefore)
for (const producer of producers) producer.disconnect()
console.log(JSON.stringify({ produced: ready.count, seconds, cpuSeconds: (cpu.user + cpu.system) / 1e6 }))
