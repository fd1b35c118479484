import Kafka from 'node-rdkafka'
import t from 'tap'
import { startEmbeddedKafka } from '../../src/deliver/embedded.js'
import { tail } from '../../src/deliver/tail.js'

t.test('tail', async (t) => {
  const kafka = await startEmbeddedKafka()
  t.teardown(() => kafka.stop())
  const producer = new Kafka.Producer({ 'bootstrap.servers': kafka.bootstrap })
  await new Promise<void>((resolve, reject) => { producer.connect({}, (e) => { if (e) reject(e); else resolve() }) })
  t.teardown(() => new Promise<void>((resolve) => { producer.disconnect(() => { resolve() }) }))
  const write = async (topic: string, value: string): Promise<void> => {
    producer.produce(topic, 0, Buffer.from(value), value === 'a' ? null : 'key', 1_700_000_000_000)
    await new Promise<void>((resolve, reject) => { producer.flush(5_000, (e: unknown) => { if (e) reject(e as Error); else resolve() }) })
  }

  t.test('reads to the end and stops', async (t) => {
    await write('one', 'a')
    await write('one', 'b')
    const messages = []
    for await (const m of tail({ bootstrap: kafka.bootstrap, topic: 'one', follow: false })) messages.push(m)
    t.match(messages, [
      { partition: 0, offset: 0, timestamp: 1_700_000_000_000, key: null, value: Buffer.from('a') },
      { offset: 1, key: Buffer.from('key'), value: Buffer.from('b') },
    ])
  })

  t.test('follows until it is told to stop', async (t) => {
    await write('two', 'old')
    const stop = new AbortController()
    const seen: string[] = []
    const writing = setInterval(() => { void write('two', 'new') }, 50)
    for await (const m of tail({ bootstrap: kafka.bootstrap, topic: 'two', from: 'end', signal: stop.signal })) {
      seen.push(m.value?.toString() ?? '')
      if (seen.length === 3) stop.abort()
    }
    clearInterval(writing)
    t.same(seen, ['new', 'new', 'new'])
  })

  t.test('a consumer that breaks off leaves nothing behind', async (t) => {
    for await (const m of tail({ bootstrap: kafka.bootstrap, topic: 'one' })) {
      t.equal(m.value?.toString(), 'a')
      break
    }
  })
})

t.test('no broker is an error, not silence', { timeout: 30_000 }, async (t) => {
  await t.rejects(tail({ bootstrap: '127.0.0.1:1', topic: 'x' }).next(), { code: 'MINIM_KAFKA_NO_BROKER' })
})

t.test('minim\'s own properties are refused here too', async (t) => {
  await t.rejects(tail({ bootstrap: '127.0.0.1:1', topic: 'x', properties: { 'group.id': 'mine' } }).next(), { code: 'MINIM_KAFKA_PROPERTY_RESERVED' })
})
