import t from 'tap'
import { QUARANTINE_TOPIC } from '../../src/flow/topic-names.js'
import { adminOptions } from '../../src/kafka/admin.js'
import { startEmbeddedKafka } from '../../src/kafka/embedded.js'
import { ensureTopics, ledgerTopic, topicConfig } from '../../src/kafka/topics.js'

const DAY = 86_400_000

t.test('settings of a topic follow from its retention', (t) => {
  const rows = [
    {
      name: '30 days',
      topic: { name: 'x', partitions: 6, retentionDays: 30, compacted: false },
      replication: 3,
      expected: {
        'cleanup.policy': 'delete',
        'retention.ms': String(29 * DAY),
        'segment.ms': String(DAY),
        'message.timestamp.type': 'CreateTime',
        'min.insync.replicas': '2',
      },
    },
    {
      name: 'a year: a segment is no longer than a week',
      topic: { name: 'x', partitions: 6, retentionDays: 365, compacted: false },
      replication: 1,
      expected: { 'retention.ms': String(358 * DAY), 'segment.ms': String(7 * DAY), 'min.insync.replicas': '1' },
    },
    {
      name: 'half a day',
      topic: { name: 'x', partitions: 1, retentionDays: 0.5, compacted: false },
      replication: 2,
      expected: { 'retention.ms': String((DAY / 60) * 29), 'segment.ms': String(DAY / 60), 'min.insync.replicas': '1' },
    },
    {
      name: 'no limit',
      topic: { name: 'x', partitions: 1, retentionDays: null, compacted: false },
      replication: 1,
      expected: { 'retention.ms': '-1' },
    },
    {
      name: 'the ledger',
      topic: ledgerTopic(4),
      replication: 3,
      expected: { 'cleanup.policy': 'compact', 'retention.ms': undefined },
    },
  ]
  for (const { name, topic, replication, expected } of rows) t.match(topicConfig(topic, replication), expected, name)
  t.end()
})

t.test('no record outlives what was promised: retention and a segment are within it', (t) => {
  for (const retentionDays of [0.5, 1, 7, 29, 30, 31, 92, 365, 3650]) {
    const config = topicConfig({ name: 'x', partitions: 1, retentionDays, compacted: false }, 1)
    const [retention, segment] = [Number(config['retention.ms']), Number(config['segment.ms'])]
    t.equal(retention + segment, retentionDays * DAY, `${retentionDays} days`)
    t.ok(segment > 0 && retention >= retentionDays * DAY * 0.96, 'and it is not gone long before')
  }
  t.end()
})

t.test('what cannot be wanted is refused before a broker is asked', async (t) => {
  const rows = [
    { name: QUARANTINE_TOPIC, partitions: 1, retentionDays: 8, compacted: false },
    { name: QUARANTINE_TOPIC, partitions: 1, retentionDays: null, compacted: false },
    { name: 'x', partitions: 0, retentionDays: 1, compacted: false },
  ]
  for (const wanted of rows) {
    await t.rejects(ensureTopics({ bootstrap: '127.0.0.1:1', properties: {}, replication: 1, wanted: [wanted] }), {
      code: 'MINIM_KAFKA_TOPIC_INVALID',
    })
  }
})

t.test('the Kafka inside another minim is said to be none for this, and not asked again and again', async (t) => {
  const embedded = await startEmbeddedKafka()
  t.teardown(() => embedded.stop())
  const wanted = [{ name: 'x', partitions: 1, retentionDays: 1, compacted: false }]
  await t.rejects(ensureTopics({ bootstrap: embedded.bootstrap, properties: {}, replication: 1, wanted }), {
    code: 'MINIM_KAFKA_NO_ADMIN',
    retryable: false,
  })
})

t.test('the admin client speaks as librdkafka was told to', (t) => {
  t.match(adminOptions('a:1, b:2', {}), { bootstrapBrokers: ['a:1', 'b:2'] })
  t.match(
    adminOptions('a:1', {
      'security.protocol': 'SASL_SSL',
      'sasl.mechanism': 'SCRAM-SHA-512',
      'sasl.username': 'u',
      'sasl.password': 'p',
      'ssl.ca.pem': 'CA',
    }),
    { sasl: { mechanism: 'SCRAM-SHA-512', username: 'u', password: 'p' }, tls: { ca: 'CA' } },
  )
  t.equal(
    adminOptions('a:1', { 'security.protocol': 'ssl', 'enable.ssl.certificate.verification': false }).tls
      ?.rejectUnauthorized,
    false,
  )
  t.throws(() => adminOptions('a:1', { 'security.protocol': 'sasl_ssl', 'sasl.mechanisms': 'GSSAPI' }), {
    code: 'MINIM_KAFKA_ADMIN_UNSUPPORTED',
  })
  t.throws(() => adminOptions('a:1', { 'security.protocol': 'carrier-pigeon' }), {
    code: 'MINIM_KAFKA_ADMIN_UNSUPPORTED',
  })
  t.end()
})
