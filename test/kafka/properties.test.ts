import t from 'tap'
import {
  checkKafkaProperties,
  checkWithLibrdkafka,
  consumerProperties,
  producerLimits,
  refusedProperty,
} from '../../src/kafka/properties.js'
import {
  COMMIT_TIMEOUT_MS,
  type KafkaProperties,
  PRODUCER_COUNTS,
  PRODUCER_DEFAULTS,
  RESERVED_PROPERTIES,
  reservedFor,
} from '../../src/kafka/property-rules.js'
import { given } from '../helpers/given.js'

t.test('what minim sets itself is refused, with the reason', (t) => {
  for (const name of RESERVED_PROPERTIES) {
    t.throws(
      () => {
        checkKafkaProperties({ [name]: 'x' })
      },
      {
        code: 'MINIM_KAFKA_PROPERTY_RESERVED',
        details: { property: name },
        message: `kafka."${name}" cannot be set: ${given(reservedFor(name)).why}`,
      },
      name,
    )
  }
  t.end()
})

t.test('time-outs keep their order: commit < request < transaction', (t) => {
  const rows: { name: string; properties: KafkaProperties; bad: string | null }[] = [
    { name: 'defaults', properties: {}, bad: null },
    { name: 'any property passes', properties: { 'security.protocol': 'sasl_ssl', 'linger.ms': 1 }, bad: null },
    { name: 'a name out of Object', properties: { toString: 1 }, bad: null },
    { name: 'request below commit', properties: { 'socket.timeout.ms': COMMIT_TIMEOUT_MS }, bad: 'socket.timeout.ms' },
    {
      name: 'transaction below request',
      properties: { 'transaction.timeout.ms': 60_000 },
      bad: 'transaction.timeout.ms',
    },
    { name: 'request above transaction', properties: { 'socket.timeout.ms': 100_000 }, bad: 'transaction.timeout.ms' },
    { name: 'no number', properties: { 'socket.timeout.ms': 'long' }, bad: 'socket.timeout.ms' },
    { name: 'both raised', properties: { 'socket.timeout.ms': 100_000, 'transaction.timeout.ms': 110_000 }, bad: null },
  ]
  for (const { name, properties, bad } of rows) {
    if (bad === null)
      t.doesNotThrow(() => {
        checkKafkaProperties(properties)
      }, name)
    else
      t.throws(
        () => {
          checkKafkaProperties(properties)
        },
        { code: 'MINIM_KAFKA_PROPERTY_INVALID', details: { property: bad } },
        name,
      )
  }
  t.throws(
    () => {
      checkKafkaProperties({ 'socket.timeout.ms': 1 })
    },
    { message: 'kafka."socket.timeout.ms" is not more than a commit may take: set it above 10000' },
  )
  t.throws(
    () => {
      checkKafkaProperties({ 'transaction.timeout.ms': 1 })
    },
    { message: 'kafka."transaction.timeout.ms" is not more than kafka.socket.timeout.ms: set it above 60000' },
  )
  t.end()
})

t.test('a producer gets settings over defaults', (t) => {
  t.match(producerLimits({}), {
    clientId: 'minim',
    maxMessageBytes: 1_000_000,
    socketTimeoutMs: 60_000,
    transactionTimeoutMs: 90_000,
  })
  t.match(producerLimits({ 'batch.size': 5_000, 'queue.buffering.max.kbytes': 2, 'client.id': 'x' }), {
    maxBatchBytes: 5_000,
    maxQueuedBytes: 2_048,
    clientId: 'x',
  })
  for (const name of PRODUCER_COUNTS)
    t.throws(
      () => producerLimits({ [name]: 0 }),
      { code: 'MINIM_KAFKA_PROPERTY_INVALID', details: { property: name, what: 'must be a whole number above 0' } },
      name,
    )
  t.same(
    Object.entries(PRODUCER_DEFAULTS)
      .filter(([, value]) => typeof value === 'number')
      .map(([name]) => name)
      .sort(),
    [...PRODUCER_COUNTS].sort(),
  )
  t.throws(() => producerLimits({ 'batch.size': 'large' }), {
    code: 'MINIM_KAFKA_PROPERTY_INVALID',
    details: { property: 'batch.size' },
  })
  t.end()
})

t.test('librdkafka checks names and values before anything is connected', (t) => {
  t.doesNotThrow(() => {
    checkWithLibrdkafka({ 'linger.ms': 7, 'compression.codec': 'lz4', 'sasl.username': 'u' })
  })
  t.throws(
    () => {
      checkWithLibrdkafka({ 'linger.mss': 7 })
    },
    { code: 'MINIM_KAFKA_PROPERTY_INVALID', details: { property: 'linger.mss' } },
  )
  t.throws(
    () => {
      checkWithLibrdkafka({ 'linger.ms': 'long' })
    },
    { code: 'MINIM_KAFKA_PROPERTY_INVALID' },
  )
  t.end()
})

t.test('a consumer is given nothing that only a producer knows', (t) => {
  const properties = consumerProperties(
    { 'linger.ms': 7, 'batch.size': 1, 'ssl.ca.location': '/ca' },
    'h:1',
    'read_committed',
  )
  t.notOk('linger.ms' in properties || 'batch.size' in properties)
  t.match(properties, { 'ssl.ca.location': '/ca', 'isolation.level': 'read_committed', 'enable.auto.commit': false })
  t.end()
})

t.test('what librdkafka refuses is named, and no value is quoted', (t) => {
  const rows = [
    {
      text: 'No such configuration property: "linger.mss"',
      property: 'linger.mss',
      what: 'is not known to librdkafka',
    },
    {
      text: 'Invalid value "hunter2" for configuration property "sasl.mechanisms"',
      property: 'sasl.mechanisms',
      what: 'has a value that librdkafka refuses',
    },
  ]
  for (const row of rows) {
    const error = refusedProperty(new Error(row.text))
    t.match(error, { code: 'MINIM_KAFKA_PROPERTY_INVALID', details: { property: row.property, what: row.what } })
    t.notMatch(error.message, 'hunter2')
  }
  t.end()
})
