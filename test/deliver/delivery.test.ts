/**
 * The flow of delivery, on the embedded cluster. It does not isolate transactions: exactly once is shown in
 * `test/real-kafka/`.
 */
import t, { type Test } from 'tap'
import type { Delivery, DeliveryPhase } from '../../src/deliver/delivery.js'
import type { MinimError } from '../../src/errors/catalogue.js'
import type { Minimised } from '../../src/flow/minimised.js'
import { Output } from '../../src/flow/output.js'
import { startEmbeddedKafka } from '../../src/kafka/embedded.js'
import { tail, type TailOptions } from '../../src/kafka/tail.js'
import { shippedDelivery, type TestDelivery } from '../helpers/delivery.js'
import { type FakeItem, fakeItem, type FakeMessage, newIncarnation, QUARANTINE } from '../helpers/minimised.js'

const HOUR_MS = 3_600_000

void t.test('delivery on the embedded cluster', async (t) => {
  const kafka = await startEmbeddedKafka()
  t.teardown(() => kafka.stop())
  let clusters = 0

  const start = async (
    t: Test,
    options: Partial<TestDelivery> = {},
  ): Promise<{ delivery: Delivery; notices: MinimError[] }> => {
    const notices: MinimError[] = []
    const delivery = shippedDelivery({
      bootstrap: kafka.bootstrap,
      topics: null,
      ledgerTopic: `ledger-${++clusters}`,
      ...options,
      settings: { cluster: `test-${clusters}`, ...options.settings },
      hooks: {
        onNotice: (error) => {
          notices.push(error)
        },
        ...options.hooks,
      },
    })
    t.teardown(() => delivery.stop(2_000))
    await delivery.start()
    return { delivery, notices }
  }
  type Message = Parameters<TailOptions['onMessage']>[1]
  const read = async (topic: string): Promise<Message[]> => {
    const messages: Message[] = []
    await tail({
      bootstrap: kafka.bootstrap,
      topics: [topic],
      from: 'beginning',
      untilEnd: true,
      onMessage: (_, message) => {
        messages.push(message)
      },
    })
    return messages
  }
  const values = async (topic: string): Promise<string[]> => (await read(topic)).map((m) => m.value.toString())
  const row = (topic: string, value: string, more: Partial<FakeMessage> = {}): FakeMessage => ({
    topic,
    value,
    key: 'k',
    ...more,
  })

  t.test('batches are committed in order, and told so once', async (t) => {
    const commits: number[] = []
    const phases: DeliveryPhase[] = []
    const { delivery } = await start(t, {
      hooks: {
        onCommit: (c) => {
          commits.push(c.messages)
        },
        onPhase: (p) => {
          phases.push(p)
        },
      },
    })
    const incarnation = newIncarnation()
    const items: FakeItem[] = []
    const told: number[] = []
    for (let sequence = 1; sequence <= 50; sequence++) {
      const item = fakeItem({
        incarnation,
        sequence,
        messages: [row('order', `v${sequence}`), row('order-2', `w${sequence}`)],
      })
      void item.done.then(() => {
        told.push(sequence)
      })
      items.push(item)
      await delivery.offer(item)
    }
    await delivery.drain()
    t.same(
      await values('order'),
      items.map((_, i) => `v${i + 1}`),
    )
    t.equal((await read('order-2')).length, 50)
    t.ok(items.every((item) => item.commits === 1 && item.failure === null && item.minimised === 1))
    t.same(
      told,
      items.map((_, i) => i + 1),
    )
    t.equal(delivery.lastTaken(items[0]?.id ?? { source: '', incarnation: '' }), 50)
    t.equal(
      commits.reduce((a, b) => a + b),
      100,
    )
    t.match(delivery.stats, {
      messages: 100,
      items: 50,
      inFlightItems: 0,
      inFlightMessages: 0,
      waitingItems: 0,
      retainedBytes: 0,
    })
    await delivery.stop()
    t.same(phases, ['connecting', 'ready', 'stopping', 'stopped'])
  })

  t.test("messages whose memory holds another batch's by now are not sent: the batch is made again", async (t) => {
    const { delivery, notices } = await start(t)
    const output = new Output()
    const minted = (value: string): Minimised => {
      output.clear()
      output.pos = output.bytes.length > 0 ? Buffer.from(output.bytes.buffer).write(value) : 0
      output.add(0, 0, 0, 0, Date.now(), 0)
      return output.mint(['stale'], [undefined], {
        records: 1,
        produced: { stale: 1 },
        withheld: {},
        quarantined: {},
        unknownFields: 0,
        unsafeFields: 0,
      })
    }
    let made = 0
    const item = fakeItem({ sequence: 1, messages: [] })
    item.minimise = () => {
      const own = minted('own')
      if (made++ === 0) minted("another's")
      return own
    }
    await delivery.offer(item)
    await item.done
    t.same(await values('stale'), ['own'])
    t.equal(made, 2)
    t.same(
      notices.map(({ code }) => code),
      ['MINIM_DELIVERY_ABORTED'],
    )
  })

  t.test('messages that the projection has not made reach no topic, whatever their type says', async (t) => {
    const { delivery } = await start(t)
    const item = fakeItem({ sequence: 1, messages: [row('forged', 'x')] })
    const real = item.minimise()
    // It has all that the real one has, and answers as it does: only the mint is missing.
    item.minimise = () => Object.assign({ stale: () => false }, real)
    await delivery.offer(item)
    await delivery.drain()
    t.match(item.failure, {
      code: 'MINIM_DELIVERY_MINIMISE',
      cause: { message: 'messages that the projection has not made' },
    })
    t.same([item.commits, delivery.lastTaken(item.id), delivery.stats.messages], [0, 0, 0])
    const good = fakeItem({ source: 'node-b', sequence: 1, messages: [row('forged', 'good')] })
    await delivery.offer(good)
    await good.done
    t.same(await values('forged'), ['good'])
  })

  t.test('keys, times, headers and partitions are those asked for', async (t) => {
    const { delivery } = await start(t)
    await delivery.offer(
      fakeItem({
        sequence: 1,
        messages: [
          // Partitions as Java computes them: murmur2 over the key, four partitions.
          { topic: 'parts', value: 'a', key: 'foobar', timestamp: 1_700_000_000_000 },
          { topic: 'parts', value: 'b', key: '21', timestamp: 1_700_000_000_001 },
          { topic: 'parts', value: 'c', key: null, timestamp: 1_700_000_000_002 },
          { topic: 'with-headers', value: 'h', key: 'k', headers: [{ purpose: 'billing' }, { region: 'GB' }] },
        ],
      }),
    )
    await delivery.drain()
    const found = await read('parts')
    const murmur = (hash: number): number => (hash & 0x7fffffff) % 4
    // Vectors of Kafka's own UtilsTest.
    const expected = [
      { key: 'foobar', partition: murmur(-790332482), timestamp: 1_700_000_000_000, value: 'a' },
      { key: '21', partition: murmur(-973932308), timestamp: 1_700_000_000_001, value: 'b' },
    ]
    for (const e of expected) {
      const m = found.find((f) => f.key?.toString() === e.key)
      t.match(m && { partition: m.partition, timestamp: m.timestamp, value: m.value.toString() }, {
        partition: e.partition,
        timestamp: e.timestamp,
        value: e.value,
      })
    }
    const keyless = found.find((f) => f.timestamp === 1_700_000_000_002)
    t.ok(keyless !== undefined && keyless.key === null && keyless.value.toString() === 'c')
    t.same(await values('with-headers'), ['h'])
  })

  t.test('what was taken is not sent again, by whoever starts next', async (t) => {
    const incarnation = newIncarnation()
    const { delivery } = await start(t, { ledgerTopic: 'ledger-again', settings: { cluster: 'again' } })
    await delivery.offer(fakeItem({ incarnation, sequence: 3, messages: [row('again', 'one')] }))
    await delivery.drain()
    const twice = fakeItem({ incarnation, sequence: 3, messages: [row('again', 'two')] })
    await delivery.offer(twice)
    await twice.done
    await delivery.stop()

    const next = await start(t, { ledgerTopic: 'ledger-again', settings: { cluster: 'again' } })
    t.equal(next.delivery.lastTaken({ source: 'node-a', incarnation }), 3)
    t.equal(next.delivery.lastTaken({ source: 'node-a', incarnation: 'reinstalled' }), 0)
    const older = fakeItem({ incarnation, sequence: 2, messages: [row('again', 'three')] })
    const reinstalled = fakeItem({ incarnation: 'reinstalled', sequence: 1, messages: [row('again', 'four')] })
    await next.delivery.offer(older)
    await next.delivery.offer(reinstalled)
    await next.delivery.drain()
    t.same((await values('again')).sort(), ['four', 'one'])
    t.equal(older.commits, 1)
    t.equal(older.minimised + twice.minimised, 0)
    t.equal(next.delivery.stats.skipped, 1)
  })

  t.test('a batch offered again while it is under way is acknowledged with the first, not before', async (t) => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const { delivery } = await start(t, { hooks: { beforeCommit: () => held } })
    const incarnation = newIncarnation()
    const first = fakeItem({ incarnation, sequence: 1, messages: [row('once', 'x')] })
    const again = fakeItem({ incarnation, sequence: 1, messages: [row('once', 'y')] })
    await delivery.offer(first)
    await new Promise((resolve) => {
      setTimeout(resolve, 30)
    })
    await delivery.offer(again)
    t.equal(again.commits, 0)
    release()
    await Promise.all([first.done, again.done])
    await delivery.drain()
    t.same(await values('once'), ['x'])
    t.equal(again.minimised, 0)
  })

  t.test('a full transaction holds up offers until the one before it is committed', async (t) => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const { delivery } = await start(t, {
      settings: { maxMessages: 2, lingerMs: 0 },
      hooks: { beforeCommit: () => held },
    })
    const incarnation = newIncarnation()
    const taken: number[] = []
    const items = [1, 2, 3, 4, 5, 6].map((sequence) =>
      fakeItem({ incarnation, sequence, messages: [row('full', `v${sequence}`), row('full', 'w')] }),
    )
    for (const item of items)
      void delivery.offer(item).then(() => {
        taken.push(item.sequence)
      })
    await new Promise((resolve) => {
      setTimeout(resolve, 50)
    })
    t.same(taken, [1, 2], 'one commits, one is full')
    t.equal(delivery.stats.waitingItems, 4)
    t.equal(delivery.stats.retainedBytes, 600)
    t.equal(delivery.state.ready, true)
    release()
    await delivery.drain()
    t.same(taken, [1, 2, 3, 4, 5, 6])
    t.equal(delivery.stats.commits, 6)
    t.equal(delivery.stats.retainedBytes, 0)
  })

  t.test('a transaction waits for more, but not when it is drained', async (t) => {
    const { delivery } = await start(t, { settings: { lingerMs: 60_000 } })
    for (let sequence = 1; sequence <= 5; sequence++)
      await delivery.offer(fakeItem({ sequence, messages: [row('linger', 'x')] }))
    t.equal(delivery.stats.commits, 0)
    await delivery.drain()
    t.equal(delivery.stats.commits, 1)
  })

  t.test('a batch without messages is taken as well', async (t) => {
    const { delivery } = await start(t)
    const item = fakeItem({ sequence: 8, messages: [] })
    await delivery.offer(item)
    await item.done
    t.equal(delivery.lastTaken(item.id), 8)
  })

  t.test('what Kafka would refuse is quarantined before it is sent, and the rest goes on', async (t) => {
    const { delivery } = await start(t, { properties: { 'message.max.bytes': 20_000 } })
    const ahead = Date.now() + HOUR_MS
    const rows = [
      { name: 'large', message: row('poison', 'x'.repeat(20_000)) },
      { name: 'key', message: row('poison', 'x', { key: 'k'.repeat(20_000) }) },
      { name: 'clock', message: row('poison', 'x', { timestamp: ahead }) },
      { name: 'zero', message: row('poison', 'x', { timestamp: 0 }) },
      { name: 'no number', message: row('poison', 'x', { timestamp: NaN }) },
    ]
    const messages = [row('poison', 'good 1'), ...rows.map((r) => r.message), row('poison', 'good 2')].map(
      (m, record) => ({ ...m, record }),
    )
    // A record is in several topics: none of them may have it.
    const item = fakeItem({ sequence: 1, messages: [...messages, row('poison', 'also of 1', { record: 1 })] })
    await delivery.offer(item)
    await item.done
    t.same(await values('poison'), ['good 1', 'good 2'])
    t.same(
      (await values(QUARANTINE)).filter((v) => v.startsWith('refused')).sort(),
      rows.map((_, i) => `refused ${i + 1}`),
    )
    t.equal(delivery.stats.refusedRecords, 5)
    t.equal(item.minimised, 2)
  })

  t.test('a record that cannot even be quarantined is dropped, said and counted', async (t) => {
    const { delivery, notices } = await start(t, { properties: { 'message.max.bytes': 20_000 } })
    const item = fakeItem({
      sequence: 1,
      messages: () => [row('hopeless', 'x'.repeat(30_000), { record: 0 }), row('hopeless', 'fine', { record: 1 })],
    })
    await delivery.offer(item)
    await item.done
    t.same(await values('hopeless'), ['fine'])
    t.equal(delivery.stats.unquarantinable, 1)
    t.match(notices, [{ code: 'MINIM_DELIVERY_UNQUARANTINABLE', details: { topic: 'hopeless', count: 1 } }])
  })

  t.test('a batch that cannot be made stops its own stream only', async (t) => {
    const { delivery } = await start(t)
    const a = newIncarnation()
    const b = newIncarnation()
    let broken = true
    const bad = (): FakeItem =>
      fakeItem({
        incarnation: a,
        sequence: 2,
        messages: () => {
          if (broken) throw new Error('no key')
          return [row('broken', 'a2')]
        },
      })
    const first = fakeItem({ incarnation: a, sequence: 1, messages: [row('broken', 'a1')] })
    const second = bad()
    const third = fakeItem({ incarnation: a, sequence: 3, messages: [row('broken', 'a3')] })
    const other = fakeItem({ incarnation: b, sequence: 1, messages: [row('broken', 'b1')] })
    for (const item of [first, second, third, other]) await delivery.offer(item)
    await delivery.drain()
    t.match(second.failure, { code: 'MINIM_DELIVERY_MINIMISE' })
    t.match(third.failure, { code: 'MINIM_DELIVERY_BROKEN_STREAM' })
    t.same([first.commits, other.commits], [1, 1])
    t.equal(delivery.lastTaken(first.id), 1, 'the ledger stays before the failed batch')
    broken = false
    for (const item of [bad(), fakeItem({ incarnation: a, sequence: 3, messages: [row('broken', 'a3')] })])
      await delivery.offer(item)
    await delivery.drain()
    t.same((await values('broken')).sort(), ['a1', 'a2', 'a3', 'b1'])
  })

  t.test('a source of another shard is refused', async (t) => {
    const { delivery } = await start(t, { shard: 1, shards: 2, ledgerTopic: 'ledger-two' })
    const items = ['a', 'b', 'c', 'd'].map((source) =>
      fakeItem({ source, sequence: 1, messages: [row('shards', source)] }),
    )
    for (const item of items) await delivery.offer(item)
    await delivery.drain()
    t.ok(items.some((item) => item.commits === 1) && items.some((item) => item.failure !== null))
    for (const item of items)
      if (item.failure !== null)
        t.match(item.failure, { code: 'MINIM_DELIVERY_WRONG_SHARD', details: { owner: 0, shard: 1 } })
  })

  t.test('stopping commits what it can and fails the rest', async (t) => {
    const { delivery } = await start(t, { settings: { lingerMs: 60_000 } })
    const item = fakeItem({ sequence: 1, messages: [row('stop', 'x')] })
    await delivery.offer(item)
    await delivery.stop()
    t.equal(item.commits, 1)
    const late = fakeItem({ sequence: 2, messages: [row('stop', 'y')] })
    await delivery.offer(late)
    t.match(late.failure, { code: 'MINIM_DELIVERY_STOPPED' })
    t.same(await values('stop'), ['x'])

    const slow = await start(t, { hooks: { beforeCommit: () => new Promise(() => undefined) } })
    const held = fakeItem({ sequence: 1, messages: [row('stop-2', 'x')] })
    await slow.delivery.offer(held)
    await slow.delivery.stop(50)
    t.match(held.failure, { code: 'MINIM_DELIVERY_STOPPED' })
    t.match(slow.delivery.stats, { inFlightItems: 0, retainedBytes: 0 })
  })
})

t.test('without a broker it says so, goes on trying, and can be stopped', async (t) => {
  const notices: MinimError[] = []
  const delivery = shippedDelivery({
    bootstrap: '127.0.0.1:1',
    topics: [],
    hooks: {
      onNotice: (error) => {
        notices.push(error)
      },
    },
  })
  const started = delivery.start()
  const item = fakeItem({ sequence: 1, messages: [{ topic: 'x', value: 'x' }] })
  void delivery.offer(item)
  while (notices.length === 0)
    await new Promise((resolve) => {
      setTimeout(resolve, 20)
    })
  t.match(delivery.state, { phase: 'connecting', ready: false, error: { retryable: true } })
  t.match(notices[0]?.message, '127.0.0.1:1')
  t.equal(item.failure, null)
  await delivery.stop(10)
  await started
  t.match(item.failure, { code: 'MINIM_DELIVERY_STOPPED' })
})

t.test("properties that are minim's own are refused before anything starts", (t) => {
  t.throws(() => shippedDelivery({ bootstrap: 'x', topics: null, properties: { 'transactional.id': 'mine' } }), {
    code: 'MINIM_KAFKA_PROPERTY_RESERVED',
  })
  t.end()
})

t.test('a property that librdkafka does not know stops the start', async (t) => {
  const delivery = shippedDelivery({ bootstrap: '127.0.0.1:1', topics: null, properties: { 'no.such.property': 1 } })
  await t.rejects(delivery.start(), { code: 'MINIM_KAFKA_PROPERTY_INVALID', details: { property: 'no.such.property' } })
  t.equal(delivery.state.phase, 'failed')
})
