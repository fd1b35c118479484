/**
 * Exactly once, on a real broker, read back by Java's console consumer. Each rule of delivery is shown where a simpler
 * one would break: processes killed while they commit, producers fenced, brokers killed and paused, records that only
 * the broker knows to be bad.
 */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Kafka from 'node-rdkafka'
import t, { type Test } from 'tap'
import type { Delivery } from '../../src/deliver/delivery.js'
import { encodeEntry, readLedger, streamKey } from '../../src/deliver/ledger.js'
import type { MinimError } from '../../src/errors/catalogue.js'
import { LEDGER_TOPIC } from '../../src/flow/topic-names.js'
import { Cluster, TRANSACTION } from '../../src/kafka/cluster.js'
import { CODE } from '../../src/kafka/codes.js'
import { asError, errorCode } from '../../src/kafka/errors.js'
import { ensureTopics, ledgerTopic, type WantedTopic } from '../../src/kafka/topics.js'
import { DEFAULTS } from '../../src/settings/defaults.js'
import { spawn } from '../helpers/child-process.js'
import { shippedDelivery, type TestDelivery } from '../helpers/delivery.js'
import { type ConsumedRecord, kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'
import { type FakeItem, fakeItem, type FakeMessage, QUARANTINE } from '../helpers/minimised.js'

const reason = kafkaAvailable()
t.setTimeout(900_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const HOUR_MS = 3_600_000
const topic = (name: string, partitions = 6): WantedTopic => ({ name, partitions, retentionDays: 30, compacted: false })
const quarantine: WantedTopic = { name: QUARANTINE, partitions: 1, retentionDays: 7, compacted: false }
/** `sequence/row`, by their numbers. */
const byNumber = (a: string, b: string): number => {
  const [a1 = 0, a2 = 0] = a.split('/').map(Number)
  const [b1 = 0, b2 = 0] = b.split('/').map(Number)
  return a1 - b1 || a2 - b2
}
const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

async function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`)
    await sleep(20)
  }
}

t.test('delivery to a real broker', { skip: reason ?? false, timeout: 900_000 }, async (t) => {
  const kafka: KafkaCluster = await startKafka()
  t.teardown(() => kafka.stop())

  interface Started {
    delivery: Delivery
    notices: MinimError[]
    fatal: MinimError[]
  }
  const start = async (t: Test, cluster: string, options: Partial<TestDelivery> = {}): Promise<Started> => {
    const notices: MinimError[] = []
    const fatal: MinimError[] = []
    const delivery = shippedDelivery({
      bootstrap: kafka.bootstrap,
      topics: [topic(`${cluster}.one`), topic(`${cluster}.two`, 1), quarantine],
      ...options,
      settings: { cluster, ...options.settings },
      hooks: {
        onNotice: (e) => {
          notices.push(e)
        },
        onFatal: (e) => {
          fatal.push(e)
        },
        ...options.hooks,
      },
    })
    t.teardown(() => delivery.stop(1_000))
    await delivery.start()
    return { delivery, notices, fatal }
  }
  const values = (records: readonly ConsumedRecord[]): string[] => records.map((r) => r.value.toString())
  const batch = (cluster: string, sequence: number, rows = 20): FakeMessage[] => {
    const messages: FakeMessage[] = []
    for (let i = 0; i < rows; i++) {
      messages.push(
        { topic: `${cluster}.one`, value: `${sequence}/${i}`, key: `k${i}`, record: i },
        { topic: `${cluster}.two`, value: `${sequence}/${i}`, key: null, record: i },
      )
    }
    return messages
  }
  const sequences = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)
  const all = (from: number, to: number, rows = 20): string[] =>
    sequences(from, to).flatMap((s) => Array.from({ length: rows }, (_, i) => `${s}/${i}`))
  /**
   * Every message in both topics, once. Commits are in the order of offers, and so are messages within a transaction;
   * in a partition's log the messages of neighbouring transactions may stand interleaved, since one is sent while the
   * other commits.
   */
  const isExactlyOnce = async (t: Test, cluster: string, expected: readonly string[]): Promise<void> => {
    const [one, two] = await Promise.all([
      kafka.consoleConsumer(`${cluster}.one`),
      kafka.consoleConsumer(`${cluster}.two`),
    ])
    t.equal(one.length, expected.length, 'no loss and no repeat in one')
    t.same(values(one).sort(), [...expected].sort(), 'one holds what was offered')
    t.same(values(two).sort(), [...expected].sort(), 'so does two')
    const bySequence = new Map<string, string[]>()
    for (const value of values(two)) {
      const [sequence = ''] = value.split('/')
      bySequence.set(sequence, [...(bySequence.get(sequence) ?? []), value])
    }
    t.same(
      [...bySequence.values()].flat().sort(byNumber),
      [...bySequence.keys()].sort((a, b) => Number(a) - Number(b)).flatMap((s) => bySequence.get(s) ?? []),
      'each batch is in its order',
    )
  }

  t.test('messages and ledger are in the order of offers', async (t) => {
    const { delivery } = await start(t, 'order', { settings: { lingerMs: 1, maxMessages: 200 } })
    const items = sequences(1, 60).map((sequence) =>
      fakeItem({ incarnation: 'order', sequence, messages: batch('order', sequence) }),
    )
    for (const item of items) await delivery.offer(item)
    await delivery.drain()
    t.ok(delivery.stats.commits > 5, `${delivery.stats.commits} transactions`)
    t.equal(delivery.stats.replaced, 0)
    await isExactlyOnce(t, 'order', all(1, 60))
    const ledger = (await kafka.consoleConsumer(LEDGER_TOPIC))
      .filter((r) => r.key?.toString() === 'node-a\u0000order')
      .map((r) => JSON.parse(r.value.toString()) as { sequence: number })
    t.same(
      ledger.map((l) => l.sequence),
      ledger.map((l) => l.sequence).sort((a, b) => a - b),
      'the ledger grows',
    )
    t.equal(ledger.at(-1)?.sequence, 60)
    t.equal(ledger.length, delivery.stats.commits)
  })

  t.test('keys are in the partitions that Java would choose', async (t) => {
    const { delivery } = await start(t, 'java')
    await delivery.offer(
      fakeItem({
        sequence: 1,
        messages: ['21', 'foobar', 'a-little-bit-long-string'].map((key, record) => ({
          topic: 'java.one',
          value: key,
          key,
          record,
        })),
      }),
    )
    await delivery.drain()
    const expected = new Map([
      ['21', -973932308],
      ['foobar', -790332482],
      ['a-little-bit-long-string', -985981536],
    ])
    for (const record of await kafka.consoleConsumer('java.one', { maxMessages: 3 })) {
      t.equal(
        record.partition,
        ((expected.get(record.key?.toString() ?? '') ?? 0) & 0x7fffffff) % 6,
        record.key?.toString() ?? '',
      )
    }
  })

  /** Runs the child until it has delivered all, killing it after so many commits a few times. */
  const killRounds = async (
    cluster: string,
    last: number,
    kills: readonly number[],
    guarantee: string,
  ): Promise<{ committed: ReadonlySet<number>; started: readonly number[]; code: number | null }> => {
    await ensureTopics({
      bootstrap: kafka.bootstrap,
      properties: {},
      replication: DEFAULTS.topics.replication,
      wanted: [topic(`${cluster}.one`), topic(`${cluster}.two`, 1), ledgerTopic(1)],
    })
    const child = join(dirname(fileURLToPath(import.meta.url)), 'delivery-child.js')
    const committed = new Set<number>()
    const started: number[] = []
    const run = (killAfter: number | null): Promise<number | null> =>
      new Promise((resolve, reject) => {
        const process: ChildProcess = spawn(
          'node',
          [child, kafka.bootstrap, cluster, '1', String(last), '50', guarantee],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        )
        let rest = ''
        let seen = 0
        process.stdout?.on('data', (data: Buffer) => {
          const lines = (rest + data.toString()).split('\n')
          rest = lines.pop() ?? ''
          for (const line of lines) {
            const event = JSON.parse(line) as { committed?: number; started?: number }
            if (event.started !== undefined) started.push(event.started)
            if (event.committed === undefined) continue
            if (!committed.has(event.committed)) seen++
            committed.add(event.committed)
            if (killAfter !== null && seen === killAfter) process.kill('SIGKILL')
          }
        })
        process.once('error', reject)
        process.once('close', (code) => {
          resolve(code)
        })
      })
    for (const killAfter of kills) await run(killAfter)
    return { code: await run(null), committed, started }
  }

  t.test('processes killed while they work: nothing lost, nothing twice', async (t) => {
    const { committed, started, code } = await killRounds('killed', 400, [1, 30, 60, 90], 'exactly-once')
    t.equal(code, 0)
    t.equal(committed.size, 400)
    t.same(
      started,
      [...started].sort((a, b) => a - b),
    )
    t.ok((started.at(-1) ?? 0) > 0, `taken at each start: ${started}`)
    await isExactlyOnce(t, 'killed', all(1, 400, 50))
  })

  t.test('without transactions: nothing lost, and few twice', async (t) => {
    const kills = [30, 60, 90]
    const { committed, started, code } = await killRounds('least', 400, kills, 'at-least-once')
    t.equal(code, 0)
    t.equal(committed.size, 400)
    t.ok((started.at(-1) ?? 0) > 0, `taken at each start: ${started}`)
    const found = values(await kafka.consoleConsumer('least.one'))
    t.same([...new Set(found)].sort(), all(1, 400, 50).sort(), 'all of them')
    const twice = found.length - new Set(found).size
    // Two turns of 500 messages and a batch each, half of a turn's messages in this topic.
    t.ok(twice <= kills.length * 2 * 550, `${twice} of ${found.length} are there twice after ${kills.length} kills`)
  })

  t.test('compressed batches are read by Java', async (t) => {
    for (const codec of ['lz4', 'gzip']) {
      const { delivery } = await start(t, `packed-${codec}`, { properties: { 'compression.codec': codec } })
      const items = sequences(1, 5).map((sequence) =>
        fakeItem({ incarnation: codec, sequence, messages: batch(`packed-${codec}`, sequence) }),
      )
      for (const item of items) await delivery.offer(item)
      await delivery.drain()
      await isExactlyOnce(t, `packed-${codec}`, all(1, 5))
      await delivery.stop()
    }
  })

  t.test('an aborted transaction is filled again, the one behind it too', async (t) => {
    // Not known when it started: a topic takes less by now, so that only the broker refuses.
    const { delivery, notices } = await start(t, 'refill', { settings: { lingerMs: 1, maxMessages: 100 } })
    const items: FakeItem[] = []
    for (const sequence of sequences(1, 30)) {
      if (sequence === 10) await alter('refill.two', 'max.message.bytes=600')
      const messages = batch('refill', sequence)
      if (sequence === 15)
        messages.push({ topic: 'refill.two', value: randomBytes(5_000).toString('hex'), record: 999 })
      const item = fakeItem({ incarnation: 'refill', sequence, messages })
      items.push(item)
      await delivery.offer(item)
    }
    await delivery.drain()
    t.ok(items.every((i) => i.commits === 1 && i.failure === null))
    await isExactlyOnce(t, 'refill', all(1, 30))
    t.ok((delivery.stats.aborts.refused ?? 0) > 0, JSON.stringify(delivery.stats.aborts))
    t.ok(notices.some((n) => n.code === 'MINIM_DELIVERY_ABORTED'))
    t.same(items[14]?.excluded, [999])
    t.ok(values(await kafka.consoleConsumer(QUARANTINE)).includes('refused 999'))
    t.equal(delivery.stats.refusedRecords, 1)
  })

  async function alter(name: string, config: string): Promise<void> {
    await kafka.tool('kafka.admin.ConfigCommand', [
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
  }

  t.test('timestamps that only the broker refuses are found by trials', async (t) => {
    const { delivery } = await start(t, 'late')
    // Unknown to us: how old a timestamp may be.
    await alter('late.two', `message.timestamp.before.max.ms=${HOUR_MS}`)
    await sleep(1_000)
    const messages = batch('late', 1)
    const item = fakeItem({
      incarnation: 'late',
      sequence: 1,
      messages: [
        ...messages,
        { topic: 'late.two', value: 'old', record: 500, timestamp: Date.now() - 5 * HOUR_MS },
        { topic: 'late.one', value: 'its other purpose', record: 500 },
        { topic: 'late.two', value: 'older', record: 501, timestamp: Date.now() - 6 * HOUR_MS },
      ],
    })
    const before = fakeItem({ incarnation: 'late-2', sequence: 1, messages: [] })
    await delivery.offer(before)
    await delivery.offer(item)
    await item.done
    await isExactlyOnce(t, 'late', all(1, 1))
    t.equal(delivery.stats.refusedRecords, 2)
    const refused = values(await kafka.consoleConsumer(QUARANTINE))
    t.equal(refused.filter((v) => v === 'refused 500').length, 1)
    t.equal(refused.filter((v) => v === 'refused 501').length, 1)
    const next = fakeItem({ incarnation: 'late', sequence: 2, messages: batch('late', 2) })
    await delivery.offer(next)
    await next.done
  })

  t.test("a time ahead of the broker's limit never reaches it", async (t) => {
    const { delivery } = await start(t, 'ahead')
    const item = fakeItem({
      sequence: 1,
      incarnation: 'ahead',
      messages: [
        ...batch('ahead', 1),
        { topic: 'ahead.one', value: 'tomorrow', record: 700, timestamp: Date.now() + 24 * HOUR_MS },
      ],
    })
    await delivery.offer(item)
    await item.done
    await isExactlyOnce(t, 'ahead', all(1, 1))
    t.match(delivery.stats, { refusedRecords: 1, aborts: { refused: 0 } })
  })

  t.test('who takes a shard fences who had it, for good', async (t) => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let hold = false
    const zombie = await start(t, 'fence', { hooks: { beforeCommit: () => (hold ? held : undefined) } })
    const one = fakeItem({ incarnation: 'fence', sequence: 1, messages: batch('fence', 1) })
    await zombie.delivery.offer(one)
    await one.done
    hold = true
    const lost = fakeItem({ incarnation: 'fence', sequence: 2, messages: batch('fence', 2) })
    await zombie.delivery.offer(lost)
    await until(
      'its messages are with the broker',
      async () =>
        (await kafka.consoleConsumer('fence.two', { isolation: 'read_uncommitted', timeoutMs: 2_000 })).length === 40,
    )
    // Asleep in the middle of a transaction; meanwhile another one takes over and delivers the same batch.
    const heir = await start(t, 'fence')
    t.equal(heir.delivery.lastTaken(one.id), 1)
    const again = fakeItem({ incarnation: 'fence', sequence: 2, messages: batch('fence', 2) })
    await heir.delivery.offer(again)
    await again.done
    release()
    await until('the zombie knows', () => zombie.delivery.state.phase === 'failed')
    t.match(lost.failure, { code: 'MINIM_DELIVERY_FENCED' })
    t.match(zombie.delivery.state, { phase: 'failed', error: { code: 'MINIM_DELIVERY_FENCED', retryable: false } })
    const late = fakeItem({ incarnation: 'fence', sequence: 3, messages: batch('fence', 3) })
    await zombie.delivery.offer(late)
    t.match(late.failure, { code: 'MINIM_DELIVERY_FENCED' })
    const next = fakeItem({ incarnation: 'fence', sequence: 3, messages: batch('fence', 3) })
    await heir.delivery.offer(next)
    await next.done
    await isExactlyOnce(t, 'fence', all(1, 3))
    t.equal(heir.delivery.stats.aborts.fenced, 0)
  })

  t.test('ids of shards that are no longer used are fenced', async (t) => {
    const ledger = 'fewer.ledger'
    const wanted = [topic('fewer.one'), topic('fewer.two', 1)]
    const second = await start(t, 'fewer', { shard: 1, shards: 2, ledgerTopic: ledger, topics: [...wanted] })
    // A source of shard 1 of 2.
    const source =
      ['a', 'b', 'c', 'd', 'e', 'f'].find((s) => {
        const probe = fakeItem({ source: s, sequence: 1, messages: [] })
        void second.delivery.offer(probe)
        return probe.failure === null
      }) ?? ''
    await second.delivery.drain()
    const five = fakeItem({ source, incarnation: 'f', sequence: 5, messages: batch('fewer', 5) })
    await second.delivery.offer(five)
    await five.done
    const only = await start(t, 'fewer', { ledgerTopic: ledger, topics: [...wanted] })
    t.equal(only.delivery.lastTaken(five.id), 5, 'the entry is found in the partition of the shard that was')
    const late = fakeItem({ source, incarnation: 'f', sequence: 6, messages: batch('fewer', 6) })
    await second.delivery.offer(late)
    await until('fenced', () => late.failure !== null)
    t.match(late.failure, { code: 'MINIM_DELIVERY_FENCED' })
  })

  t.test('a shard that is no longer used is not taken back by whoever had it and rests', async (t) => {
    const ledger = 'rest.ledger'
    const wanted = [topic('rest.one'), topic('rest.two', 1)]
    const second = await start(t, 'rest', { shard: 1, shards: 2, ledgerTopic: ledger, topics: [...wanted] })
    await start(t, 'rest', { ledgerTopic: ledger, topics: [...wanted] })
    await until('it is fenced though it rests', () => second.delivery.state.phase === 'failed')
    t.match(second.delivery.state.error, { code: 'MINIM_DELIVERY_FENCED' })
  })

  t.test('an epoch that the coordinator has raised is no take-over', async (t) => {
    const { delivery } = await start(t, 'raised')
    const one = fakeItem({ incarnation: 'raised', sequence: 1, messages: batch('raised', 1) })
    await delivery.offer(one)
    await one.done
    const link = await new Cluster({
      bootstrap: kafka.bootstrap,
      clientId: 'test',
      createTopics: false,
      connection: {},
    }).coordinator(TRANSACTION, 'minim.raised.0.a')
    t.teardown(() => {
      link.close()
    })
    // The coordinator may still be writing the end of the transaction, and says so.
    await until('the coordinator has raised it', () =>
      link.initProducerId('minim.raised.0.a', 60_000, null).then(
        () => true,
        (error: unknown) => {
          if (errorCode(error) === CODE.concurrentTransactions) return false
          throw error
        },
      ),
    )
    await until('it takes the shard anew', () => delivery.stats.replaced > 0 && delivery.state.ready)
    const two = fakeItem({ incarnation: 'raised', sequence: 2, messages: batch('raised', 2) })
    await delivery.offer(two)
    await two.done
    t.equal(delivery.stats.aborts.fenced, 0)
    await isExactlyOnce(t, 'raised', all(1, 2))
  })

  t.test(
    'what was offered while the coordinator was asked for the holder is not lost when it is another',
    async (t) => {
      const { delivery } = await start(t, 'asked', { settings: { lingerMs: 60_000 } })
      const one = fakeItem({ incarnation: 'asked', sequence: 1, messages: batch('asked', 1) })
      await delivery.offer(one)
      await delivery.drain()
      // The first look after a commit asks nothing: the commit has told.
      await sleep(2_500)
      const link = await new Cluster({
        bootstrap: kafka.bootstrap,
        clientId: 'test',
        createTopics: false,
        connection: {},
      }).coordinator(TRANSACTION, 'minim.asked.0.a')
      await link.initProducerId('minim.asked.0.a', 60_000, null)
      link.close()
      // The question is on its way, and the answer is not.
      kafka.pause()
      await sleep(2_500)
      const two = fakeItem({ incarnation: 'asked', sequence: 2, messages: batch('asked', 2) })
      try {
        await delivery.offer(two)
        t.equal(delivery.stats.inFlightItems, 1, 'it is in the open transaction')
      } finally {
        kafka.resume()
      }
      await until('it takes the shard anew', () => delivery.stats.replaced > 0 && delivery.state.ready)
      await delivery.drain()
      t.same([two.commits, two.failure], [1, null])
      t.equal(delivery.stats.retainedBytes, 0)
      await isExactlyOnce(t, 'asked', all(1, 2))
    },
  )

  t.test('the ledger is read to its real end, behind an open transaction', async (t) => {
    const name = 'behind.ledger'
    await ensureTopics({
      bootstrap: kafka.bootstrap,
      properties: {},
      replication: DEFAULTS.topics.replication,
      wanted: [ledgerTopic(1, name)],
    })
    const producer = (id: string | null): Promise<Kafka.Producer> =>
      new Promise((resolve, reject) => {
        const made = new Kafka.Producer({
          'bootstrap.servers': kafka.bootstrap,
          ...(id === null ? {} : { 'transactional.id': id, 'transaction.timeout.ms': 60_000 }),
        })
        made.connect({ topic: name }, (e) => {
          if (e) reject(asError(e))
          else resolve(made)
        })
        t.teardown(
          () =>
            new Promise<void>((r) => {
              made.disconnect(() => {
                r()
              })
            }),
        )
      })
    const call = (f: (done: (e: unknown) => void) => void): Promise<void> =>
      new Promise((resolve, reject) => {
        f((e) => {
          if (e) reject(asError(e))
          else resolve()
        })
      })
    const write = (p: Kafka.Producer, source: string, sequence: number): void => {
      p.produce(name, 0, encodeEntry(sequence), Buffer.from(streamKey({ source, incarnation: 'i' })))
    }
    const open = await producer('somebody-else')
    await call((done) => {
      open.initTransactions(10_000, done)
    })
    await call((done) => {
      open.beginTransaction(done)
    })
    write(open, 'aborted', 1)
    await call((done) => {
      open.flush(5_000, done)
    })
    const plain = await producer(null)
    write(plain, 'behind', 7)
    await call((done) => {
      plain.flush(5_000, done)
    })

    const read = (timeoutMs: number): ReturnType<typeof readLedger> =>
      readLedger({ bootstrap: kafka.bootstrap, properties: {}, topic: name, shard: 0, shards: 1, timeoutMs })
    await t.rejects(
      read(1_500),
      { code: 'MINIM_DELIVERY_LEDGER_TIMEOUT', details: { partition: 0, end: 2 } },
      'it does not take the last stable offset for the end',
    )
    const waiting = read(30_000)
    await sleep(500)
    await call((done) => {
      open.abortTransaction(10_000, done)
    })
    t.same(Object.fromEntries((await waiting).taken), { 'behind\u0000i': 7 })
  })

  t.test('topics are made as wanted, and drift is refused with its mend', async (t) => {
    const wanted = [topic('drift.a'), { ...topic('drift.b', 2), retentionDays: 1 }, ledgerTopic(1, 'drift.ledger')]
    const report = await ensureTopics({
      bootstrap: kafka.bootstrap,
      properties: {},
      replication: DEFAULTS.topics.replication,
      wanted,
    })
    t.match(report, { brokers: 1, replication: 1, created: ['drift.a', 'drift.b', 'drift.ledger'] })
    t.match(report.warnings[0], /1 broker/)
    t.same(report.limits.get('drift.a'), { maxMessageBytes: 1_048_588, timestampAfterMaxMs: HOUR_MS })
    t.same(
      (
        await ensureTopics({
          bootstrap: kafka.bootstrap,
          properties: {},
          replication: DEFAULTS.topics.replication,
          wanted,
        })
      ).created,
      [],
      'a second start changes nothing',
    )
    await alter(
      'drift.a',
      'retention.ms=1000,segment.ms=604800000,message.timestamp.type=LogAppendTime,cleanup.policy=[compact,delete],min.insync.replicas=3',
    )
    const changed = [
      { ...topic('drift.a', 9), retentionDays: 30 },
      { ...topic('drift.b', 1), retentionDays: 1 },
    ]
    try {
      await ensureTopics({
        bootstrap: kafka.bootstrap,
        properties: {},
        replication: DEFAULTS.topics.replication,
        wanted: changed,
      })
      t.fail('drift went through')
    } catch (error) {
      const { code, message } = error as MinimError
      t.equal(code, 'MINIM_KAFKA_TOPIC_DRIFT')
      for (const text of [
        'drift.a: partitions is 6 and should be 9',
        'drift.a: retention.ms is 1000 and should be 2505600000',
        'drift.a: segment.ms is 604800000 and should be 86400000 (or less)',
        'drift.a: message.timestamp.type is LogAppendTime and should be CreateTime',
        'cleanup.policy is compact,delete and should be delete',
        'min.insync.replicas is 3',
        'drift.b: partitions is 2 and should be 1',
        '--add-config retention.ms=2505600000',
      ])
        t.match(message, text)
    }
    const delivery = shippedDelivery({ bootstrap: kafka.bootstrap, topics: changed, settings: { cluster: 'drift' } })
    await t.rejects(delivery.start(), { code: 'MINIM_KAFKA_TOPIC_DRIFT' })
    t.equal(delivery.state.phase, 'failed')
  })

  t.test('a broker that is killed and comes back', async (t) => {
    const { delivery, notices } = await start(t, 'outage', { settings: { lingerMs: 1, maxMessages: 200 } })
    const items: FakeItem[] = []
    let stop = false
    const feeding = (async () => {
      for (let sequence = 1; !stop && sequence <= 5_000; sequence++) {
        const item = fakeItem({ incarnation: 'outage', sequence, messages: batch('outage', sequence) })
        items.push(item)
        await delivery.offer(item)
        await sleep(5)
      }
    })()
    await until('some are committed', () => items.filter((i) => i.commits === 1).length > 20)
    await kafka.kill()
    await until('it is noticed', () => delivery.state.phase === 'recovering')
    t.equal(delivery.state.ready, false)
    await kafka.restart()
    const at = items.length
    await until('it goes on', () => delivery.state.ready && items.length > at + 20, 120_000)
    stop = true
    await feeding
    await delivery.drain()
    t.ok(items.every((i) => i.commits === 1 && i.failure === null))
    t.ok(notices.length > 0)
    await isExactlyOnce(t, 'outage', all(1, items.length))
  })

  t.test('a broker that hangs in the middle of a commit', async (t) => {
    const { delivery } = await start(t, 'hang', {
      settings: { lingerMs: 1 },
      hooks: {
        beforeCommit: () => {
          if (pause) {
            pause = false
            kafka.pause()
          }
        },
      },
    })
    let pause = false
    const one = fakeItem({ incarnation: 'hang', sequence: 1, messages: batch('hang', 1) })
    await delivery.offer(one)
    await one.done
    pause = true
    const two = fakeItem({ incarnation: 'hang', sequence: 2, messages: batch('hang', 2) })
    const three = fakeItem({ incarnation: 'hang', sequence: 3, messages: batch('hang', 3) })
    await delivery.offer(two)
    await delivery.offer(three)
    await until('the commit times out', () => delivery.state.phase === 'recovering')
    kafka.resume()
    await Promise.all([two.done, three.done])
    await delivery.drain()
    t.ok(delivery.stats.replaced >= 2)
    t.ok(delivery.stats.aborts.unknown_outcome > 0)
    await isExactlyOnce(t, 'hang', all(1, 3))
  })

  t.test('no broker first, one later', async (t) => {
    await kafka.kill()
    const notices: MinimError[] = []
    const delivery = shippedDelivery({
      bootstrap: kafka.bootstrap,
      topics: [topic('first.one'), topic('first.two', 1)],
      settings: { cluster: 'first' },
      hooks: {
        onNotice: (e) => {
          notices.push(e)
        },
      },
    })
    t.teardown(() => delivery.stop(1_000))
    const started = delivery.start()
    const item = fakeItem({ incarnation: 'first', sequence: 1, messages: batch('first', 1) })
    void delivery.offer(item)
    await until('it says so', () => notices.length > 0)
    t.match(delivery.state, { phase: 'connecting', ready: false, error: { retryable: true } })
    await kafka.restart()
    await started
    await item.done
    t.match(delivery.state, { phase: 'ready', error: null })
    await isExactlyOnce(t, 'first', all(1, 1))
  })
})

t.test('connections that break at any moment', { skip: reason ?? false, timeout: 300_000 }, async (t) => {
  // All traffic goes through a proxy that cuts every connection now and then: in the middle of requests, of commits, of
  // their answers.
  const sockets = new Set<Socket>()
  let target = 0
  const proxy = createServer((client) => {
    const server = connect(target, '127.0.0.1')
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => undefined)
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  })
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    proxy.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = proxy.address() as AddressInfo
  const kafka = await startKafka({ properties: { 'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}` } })
  t.teardown(() => kafka.stop())
  target = Number(kafka.bootstrap.split(':')[1])

  const delivery = shippedDelivery({
    bootstrap: `127.0.0.1:${port}`,
    topics: [topic('shaky.one'), topic('shaky.two', 1)],
    settings: { cluster: 'shaky', lingerMs: 1, maxMessages: 300 },
  })
  t.teardown(() => delivery.stop(1_000))
  await delivery.start()
  const items: FakeItem[] = []
  let cuts = 0
  const cutting = setInterval(() => {
    cuts++
    for (const socket of sockets) socket.destroy()
  }, 300)
  const deadline = Date.now() + 30_000
  for (let sequence = 1; sequence <= 2_000 && Date.now() < deadline; sequence++) {
    const messages: FakeMessage[] = []
    for (let i = 0; i < 20; i++) {
      messages.push(
        { topic: 'shaky.one', value: `${sequence}/${i}`, key: `k${i}`, record: i },
        { topic: 'shaky.two', value: `${sequence}/${i}`, key: null, record: i },
      )
    }
    const item = fakeItem({ incarnation: 'shaky', sequence, messages })
    items.push(item)
    await delivery.offer(item)
  }
  clearInterval(cutting)
  await delivery.drain()
  t.comment(`${items.length} batches, ${cuts} cuts, ${JSON.stringify(delivery.stats)}`)
  t.ok(items.length > 20 && cuts > 20)
  t.ok(delivery.stats.replaced > 0, 'producers were replaced')
  t.ok(items.every((i) => i.commits === 1 && i.failure === null))
  for (const name of ['shaky.one', 'shaky.two']) {
    const found = (await kafka.consoleConsumer(name)).map((r) => r.value.toString())
    t.equal(found.length, items.length * 20, `${name}: no loss and no repeat`)
    t.equal(new Set(found).size, items.length * 20, `${name}: all of them`)
  }
})
