/** Three brokers, and one of them missing: leaders and coordinators that move, too few replicas in sync. */
import t from 'tap'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'
import { electPreferred, leaderOf } from '../helpers/kafka-cluster.js'
import { Feed, until } from './feeding.js'

const reason = kafkaAvailable()
t.setTimeout(400_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const SHORT = { 'socket.timeout.ms': 11_000, 'transaction.timeout.ms': 12_000 }

t.test('three brokers', { skip: reason ?? false, timeout: 400_000 }, async (t) => {
  const kafka = await startKafka({
    brokers: 3,
    heap: '384m',
    // A broker that is gone is noticed soon, for a test's sake.
    properties: {
      'broker.session.timeout.ms': 3_000,
      'broker.heartbeat.interval.ms': 500,
      'replica.lag.time.max.ms': 3_000,
      'transaction.state.log.min.isr': 2,
    },
  })
  t.teardown(() => kafka.stop())
  const alter = (name: string, config: string): Promise<string> =>
    kafka.tool('kafka.admin.ConfigCommand', [
      '--bootstrap-server',
      kafka.bootstrap,
      '--alter',
      '--entity-type',
      'topics',
      '--entity-name',
      name,
      '--add-config',
      config,
    ])

  t.test('each broker in turn is killed and comes back: leaders, coordinators and the controller move', async (t) => {
    const feed = new Feed(t, kafka, 'turns', { properties: SHORT })
    await feed.start()
    await feed.flows()
    const leaders: (number | null)[] = []
    for (const broker of [0, 1, 2]) {
      await kafka.kill(broker)
      await feed.flows()
      leaders.push(await leaderOf(kafka, 'turns.two', 0))
      t.not(leaders.at(-1), broker, 'another leads')
      await kafka.restart(broker)
      await feed.flows()
    }
    await until('all replicas are in sync', async () => {
      const behind = await kafka.tool('org.apache.kafka.tools.TopicCommand', [
        '--bootstrap-server',
        kafka.bootstrap,
        '--describe',
        '--under-replicated-partitions',
      ])
      return behind.trim() === ''
    })
    await electPreferred(kafka)
    await feed.flows()
    await feed.finish()
    t.comment(`${feed.items.length} batches, led by ${leaders}, ${JSON.stringify(feed.delivery.stats.aborts)}`)
    await feed.isExactlyOnce(t)
  })

  t.test('min.insync.replicas is not met, then met again', async (t) => {
    const feed = new Feed(t, kafka, 'insync', { properties: SHORT })
    await feed.start()
    await feed.flows()
    await alter('insync.two', 'min.insync.replicas=3')
    await kafka.kill(2)
    await until('it is noticed', () => feed.notices.length > 0)
    const { committed } = feed
    // A topic that takes nothing: no purpose gets anything, since all is one transaction.
    await until('it has tried again', () => feed.notices.length > 3)
    t.ok(feed.committed <= committed + 200, 'nothing goes round it')
    await kafka.restart(2)
    await feed.flows()
    await feed.finish()
    t.comment(`${feed.items.length} batches, ${[...new Set(feed.notices.map((n) => n.message))].join(' | ')}`)
    await feed.isExactlyOnce(t)
  })
})
