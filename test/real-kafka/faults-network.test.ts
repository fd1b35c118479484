/**
 * What a network does to delivery: connections that go silent, half-open, slow; requests and answers that come late.
 * The broker stands behind a proxy that changes no byte. Cut connections are in `delivery.test.ts`.
 */
import t from 'tap'
import { API } from '../helpers/fault-proxy.js'
import { kafkaAvailable } from '../helpers/kafka.js'
import { startProxiedKafka } from '../helpers/kafka-cluster.js'
import { Feed, sleep, until } from './feeding.js'

const reason = kafkaAvailable()
t.setTimeout(400_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

/** As short as they may be: a commit has 10 s. */
const SHORT = { 'socket.timeout.ms': 11_000, 'transaction.timeout.ms': 12_000 }

t.test('a network in trouble', { skip: reason ?? false, timeout: 400_000 }, async (t) => {
  const proxied = await startProxiedKafka({ heap: '512m' })
  t.teardown(() => proxied.stop())
  const {
    kafka,
    bootstrap,
    proxies: [proxy],
  } = proxied
  t.afterEach(() => {
    proxy.heal()
  })

  t.test('the broker hangs for longer than every time-out', async (t) => {
    const feed = new Feed(t, kafka, 'hung', { bootstrap, properties: SHORT })
    await feed.start()
    await feed.flows()
    kafka.pause()
    await until('it is noticed', () => !feed.delivery.state.ready)
    // Request, commit and transaction are all over by then.
    await sleep(13_000)
    t.equal(feed.delivery.state.ready, false)
    kafka.resume()
    await feed.flows()
    await feed.finish()
    t.comment(`${feed.items.length} batches, ${JSON.stringify(feed.delivery.stats.aborts)}`)
    await feed.isExactlyOnce(t)
  })

  t.test('the answer to a commit comes after it was given up', async (t) => {
    const feed = new Feed(t, kafka, 'answer', { bootstrap, properties: SHORT })
    await feed.start()
    await feed.flows()
    const held = proxy.holdBack('client', API.endTxn)
    await held.caught
    await until('it is given up', () => !feed.delivery.state.ready)
    // The broker has committed: the ledger says so, and nothing of it may be sent again.
    await feed.flows()
    held.release()
    await feed.flows()
    await feed.finish()
    t.ok(feed.delivery.stats.aborts.unknown_outcome > 0, JSON.stringify(feed.delivery.stats.aborts))
    await feed.isExactlyOnce(t)
  })

  t.test('a commit reaches the broker when its producer has long been replaced', async (t) => {
    const feed = new Feed(t, kafka, 'stale', { bootstrap, properties: SHORT })
    await feed.start()
    await feed.flows()
    const held = proxy.holdBack('server', API.endTxn)
    await held.caught
    await until('it is given up', () => !feed.delivery.state.ready)
    await until('it goes on', () => feed.delivery.state.ready)
    // In the middle of its successor's transactions: it must end none of them.
    await feed.flows(5)
    held.release()
    await feed.flows()
    await feed.finish()
    await feed.isExactlyOnce(t)
  })

  t.test("half-open: the broker's ends of all connections are gone, and nobody says so", async (t) => {
    const feed = new Feed(t, kafka, 'half', { bootstrap, properties: SHORT })
    await feed.start()
    await feed.flows()
    proxy.halfOpen()
    await feed.flows()
    await feed.finish()
    await feed.isExactlyOnce(t)
  })

  for (const [name, towards] of [
    ['from the broker', 'client'],
    ['to the broker', 'server'],
  ] as const) {
    t.test(`nothing arrives ${name}, for a while`, async (t) => {
      const cluster = `hush-${towards}`
      const feed = new Feed(t, kafka, cluster, { bootstrap, properties: SHORT })
      await feed.start()
      await feed.flows()
      proxy.hush([towards])
      await sleep(3_000)
      proxy.speak()
      await feed.flows()
      await feed.finish()
      await feed.isExactlyOnce(t)
    })
  }

  t.test('slow: 50 ms each way, 400 kB a second', async (t) => {
    proxy.latencyMs = 50
    proxy.bytesPerSecond = 400_000
    const feed = new Feed(t, kafka, 'slow', { bootstrap, properties: SHORT })
    await feed.start()
    await feed.flows(100)
    await feed.finish()
    t.equal(feed.notices.length, 0, 'slow is no fault')
    await feed.isExactlyOnce(t)
  })
})
