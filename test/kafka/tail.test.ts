import Kafka from 'node-rdkafka'
import t from 'tap'
import { startEmbeddedKafka } from '../../src/kafka/embedded.js'
import { asError } from '../../src/kafka/errors.js'
import { tail } from '../../src/kafka/tail.js'

t.test('tail', async (t) => {
  const kafka = await startEmbeddedKafka()
  t.teardown(() => kafka.stop())
  const producer = new Kafka.Producer({ 'bootstrap.servers': kafka.bootstrap })
  await new Promise<void>((resolve, reject) => {
    producer.connect({}, (e) => {
      if (e) reject(asError(e))
      else resolve()
    })
  })
  t.teardown(
    () =>
      new Promise<void>((resolve) => {
        producer.disconnect(() => {
          resolve()
        })
      }),
  )
  const write = async (topic: string, value: string): Promise<void> => {
    producer.produce(topic, 0, Buffer.from(value), value === 'a' ? null : 'key', 1_700_000_000_000)
    await new Promise<void>((resolve, reject) => {
      producer.flush(5_000, (e: unknown) => {
        if (e) reject(asError(e))
        else resolve()
      })
    })
  }

  interface Seen {
    readonly topic: string
    readonly value: string
    readonly key: string | null
    readonly timestamp: number
  }

  t.test('reads several topics to their ends and stops', async (t) => {
    await write('one', 'a')
    await write('one', 'b')
    await write('other', 'c')
    const seen: Seen[] = []
    await tail({
      bootstrap: kafka.bootstrap,
      topics: ['one', 'other'],
      from: 'beginning',
      untilEnd: true,
      onMessage: (topic, m) => {
        seen.push({ topic, value: m.value.toString(), key: m.key?.toString() ?? null, timestamp: m.timestamp })
      },
    })
    t.same(
      seen.sort((x, y) => (x.value < y.value ? -1 : 1)),
      [
        { topic: 'one', value: 'a', key: null, timestamp: 1_700_000_000_000 },
        { topic: 'one', value: 'b', key: 'key', timestamp: 1_700_000_000_000 },
        { topic: 'other', value: 'c', key: 'key', timestamp: 1_700_000_000_000 },
      ],
    )
  })

  t.test('follows until it is told to stop', async (t) => {
    await write('two', 'old')
    const stop = new AbortController()
    const seen: string[] = []
    const writing = setInterval(() => {
      void write('two', 'new')
    }, 50)
    await tail({
      bootstrap: kafka.bootstrap,
      topics: ['two'],
      from: 'end',
      signal: stop.signal,
      onMessage: (_, m) => {
        seen.push(m.value.toString())
        if (seen.length === 3) stop.abort()
      },
    })
    clearInterval(writing)
    t.same(seen.slice(0, 3), ['new', 'new', 'new'])
    await tail({
      bootstrap: kafka.bootstrap,
      topics: ['two'],
      from: 'beginning',
      signal: stop.signal,
      onMessage: () => undefined,
    })
  })

  t.test('a topic that is not there', async (t) => {
    await t.rejects(
      tail({ bootstrap: kafka.bootstrap, topics: ['none'], from: 'beginning', onMessage: () => undefined }),
      { code: 'MINIM_KAFKA_NO_TOPIC' },
    )
  })
})

t.test('no broker is an error, not silence', { timeout: 30_000 }, async (t) => {
  await t.rejects(tail({ bootstrap: '127.0.0.1:1', topics: ['x'], from: 'end', onMessage: () => undefined }), {
    code: 'MINIM_KAFKA_UNREACHABLE',
  })
})

t.test("minim's own properties are refused here too", async (t) => {
  await t.rejects(
    tail({
      bootstrap: '127.0.0.1:1',
      topics: ['x'],
      from: 'end',
      properties: { 'group.id': 'mine' },
      onMessage: () => undefined,
    }),
    { code: 'MINIM_KAFKA_PROPERTY_RESERVED' },
  )
  await t.rejects(
    tail({
      bootstrap: '127.0.0.1:1',
      topics: ['x'],
      from: 'end',
      properties: { 'no.such': 1 },
      onMessage: () => undefined,
    }),
    { code: 'MINIM_KAFKA_PROPERTY_INVALID' },
  )
})
