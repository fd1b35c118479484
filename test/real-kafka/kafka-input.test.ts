/**
 * A topic of raw records on a real broker: read by the real program as a member of a consumer group, read back by
 * Java's `read_committed` consumer. Whoever dies, and whatever is taken from whom, every message is in every topic
 * once.
 */
import Kafka from 'node-rdkafka'
import t, { type Test } from 'tap'
import type { Delivery, DeliveryHooks } from '../../src/deliver/delivery.js'
import type { GroupOffset } from '../../src/flow/work-item.js'
import { Cluster } from '../../src/kafka/cluster.js'
import { CODE } from '../../src/kafka/codes.js'
import { type Assignment, GroupMember } from '../../src/kafka/member.js'
import { get, metric, Place, run, type Running, sleep, until } from '../e2e/program.js'
import { call, records } from '../e2e/records.js'
import { shippedDelivery } from '../helpers/delivery.js'
import { type ConsumedRecord, kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'
import { type FakeItem, fakeItem, QUARANTINE } from '../helpers/minimised.js'

const reason = kafkaAvailable()
t.setTimeout(900_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const PARTITIONS = 6
const RECORDS = 20_000

/** Two purposes: one keyed by account, in protobuf; one by call, in JSON. */
const POLICY = {
  purposes: {
    billing: {
      notice: 'P2',
      description: 'Bill',
      purpose: 'https://w3id.org/dpv#PaymentManagement',
      basis: { term: 'eu-gdpr:A6-1-b', evidence: 'contract' },
      recipients: ['billing'],
      region: 'UK',
      transfer: 'adequacy',
      retention_days: 30,
      epoch: 'contract',
      call: {
        key: 'account',
        format: 'json',
        fields: {
          account: 'token',
          call_id: 'token',
          calling_name: 'drop',
          start_ms: { 'time-bucket': { ms: 1000 } },
          billable_seconds: 'keep',
        },
      },
    },
    quality: {
      notice: 'P4',
      description: 'Watch',
      purpose: 'https://w3id.org/dpv#ServiceMonitoring',
      basis: { term: 'eu-gdpr:A6-1-b', evidence: 'contract' },
      recipients: ['operations'],
      region: 'UK',
      transfer: 'adequacy',
      retention_days: 14,
      epoch: 'day',
      call: {
        key: 'call_id',
        format: 'json',
        fields: { call_id: 'token', calling_name: 'drop', start_ms: { 'time-bucket': 'minute' }, codec: 'keep' },
      },
    },
  },
} as const
const TOPICS = ['pbx.billing.call', 'pbx.quality.call'] as const

interface Sent {
  readonly value: string | Buffer | null
  readonly partition?: number
}

/** A producer beside minim: librdkafka's. */
class Raw {
  readonly #producer: Kafka.Producer

  private constructor(producer: Kafka.Producer) {
    this.#producer = producer
  }

  static async open(
    t: Test,
    bootstrap: string,
    properties: Record<string, string | number | boolean> = {},
  ): Promise<Raw> {
    const producer = new Kafka.Producer({
      'bootstrap.servers': bootstrap,
      'enable.idempotence': true,
      'linger.ms': 5,
      ...properties,
    })
    await new Promise<void>((resolve, reject) => {
      producer.connect({ timeout: 20_000 }, (error: unknown) => {
        if (error) reject(new Error('the producer cannot connect'))
        else resolve()
      })
    })
    producer.setPollInterval(50)
    t.teardown(
      () =>
        new Promise<void>((resolve) => {
          producer.disconnect(() => {
            resolve()
          })
        }),
    )
    const raw = new Raw(producer)
    if (properties['transactional.id'] !== undefined)
      await raw.#call((done) => {
        producer.initTransactions(20_000, done)
      })
    return raw
  }

  send(topic: string, messages: readonly Sent[]): Promise<void> {
    for (const { value, partition } of messages)
      this.#producer.produce(topic, partition ?? null, value === null ? null : Buffer.from(value as string))
    return this.#call((done) => {
      this.#producer.flush(60_000, done)
    })
  }

  async inTransaction(end: 'commit' | 'abort', topic: string, messages: readonly Sent[]): Promise<void> {
    await this.#call((done) => {
      this.#producer.beginTransaction(done)
    })
    await this.send(topic, messages)
    await this.#call((done) => {
      if (end === 'commit') this.#producer.commitTransaction(20_000, done)
      else this.#producer.abortTransaction(20_000, done)
    })
  }

  #call(call: (done: (error: unknown) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      call((error) => {
        if (error) reject(error instanceof Error ? error : new Error('the producer failed'))
        else resolve()
      })
    })
  }
}

const cdr = (n: number, over: object = {}): string =>
  JSON.stringify({
    account: `acct-${n % 50}`,
    call_id: `call-${n}`,
    calling: '1001',
    called: '+447700900123',
    start_ms: Date.now() - 3_600_000 + n,
    duration_seconds: 40,
    billable_seconds: n % 600,
    ...over,
  })

const makeTopic = (kafka: KafkaCluster, name: string, partitions = PARTITIONS): Promise<string> =>
  kafka.tool('org.apache.kafka.tools.TopicCommand', [
    '--bootstrap-server',
    kafka.toolBootstrap,
    '--create',
    '--topic',
    name,
    '--partitions',
    String(partitions),
    '--replication-factor',
    '1',
  ])

const read = (kafka: KafkaCluster, topic: string): Promise<ConsumedRecord[]> =>
  kafka.consoleConsumer(topic, { timeoutMs: 4000 })
const callIds = (found: readonly ConsumedRecord[]): string[] =>
  found.map(({ value }) => (JSON.parse(value.toString()) as { call_id: string }).call_id)

/** More than transaction.timeout.ms, at its default. */
const TRANSACTION_MS = 80_000

/** Each call once in each topic, and nothing else. */
async function eachOnce(t: Test, kafka: KafkaCluster, count: number): Promise<void> {
  for (const topic of TOPICS) {
    let ids = callIds(await read(kafka, topic))
    // A proxy that is told to end before it has Kafka back leaves a transaction open: readers wait until the
    // coordinator has ended it.
    for (const deadline = Date.now() + TRANSACTION_MS; ids.length < count && Date.now() < deadline;) {
      t.comment(`${topic}: ${ids.length} of ${count} can be read yet`)
      ids = callIds(await read(kafka, topic))
    }
    t.equal(ids.length, count, `${topic}: as many as were sent`)
    t.equal(new Set(ids).size, count, `${topic}: all different`)
  }
}

/** What the group has left to read, as Kafka's own tool says it; null while it says nothing. */
async function lagOf(kafka: KafkaCluster, group: string): Promise<number | null> {
  let text: string
  try {
    text = await kafka.tool('org.apache.kafka.tools.consumer.group.ConsumerGroupCommand', [
      '--bootstrap-server',
      kafka.toolBootstrap,
      '--describe',
      '--group',
      group,
    ])
  } catch {
    return null
  }
  const rows = text
    .split('\n')
    .filter((line) => line.startsWith(group))
    .map((line) => line.split(/\s+/))
  // Where the group never was, all is left.
  return rows.length === 0 ? null : rows.reduce((sum, row) => sum + Number(row[5] === '-' ? row[4] : row[5]), 0)
}

/** Waits until all that was sent is committed by the group. */
const caughtUp = (kafka: KafkaCluster, group = 'minim'): Promise<unknown> =>
  until('the group has read all', async () => (await lagOf(kafka, group)) === 0, 180_000)

/** A proxy with a name of its own, whose folder and keys the others share: tokens must be the same. */
function settingsOf(
  place: Place,
  kafka: KafkaCluster,
  cluster: string,
  input: Record<string, unknown>,
  over: Record<string, unknown> = {},
): string {
  return place.settings(
    {
      cluster,
      embedded: false,
      kafka: { 'bootstrap.servers': kafka.bootstrap },
      topics: { partitions: 2, replication: 1 },
      policy: place.write('policy.yaml', JSON.stringify(POLICY)),
      delivery: { lingerMs: 2, maxMessages: 1500 },
      kafkaInput: [{ topic: 'raw', sessionMs: 6000, ...input }],
      ...over,
    },
    `${cluster}.yaml`,
  )
}

async function stopped(t: Test, { program }: Running): Promise<void> {
  program.kill('SIGTERM')
  const ended = await program.end()
  t.equal(ended.code, 0, 'it ends well')
}

t.test('a topic of raw records', { skip: reason ?? false, timeout: 900_000 }, async (t) => {
  /** A broker of its own for each part: topics have fixed names. */
  const cluster = async (t: Test): Promise<KafkaCluster> => {
    const kafka = await startKafka({ heap: '512m' })
    t.teardown(() => kafka.stop())
    return kafka
  }

  t.test('two proxies share the partitions; one is killed again and again while records come', async (t) => {
    const kafka = await cluster(t)
    await makeTopic(kafka, 'raw')
    const place = new Place(t)
    place.makeStore()
    const steady = await run(t, place, settingsOf(place, kafka, 'steady', {}))
    const mortalSettings = settingsOf(place, kafka, 'mortal', {})
    const raw = await Raw.open(t, kafka.bootstrap)
    let sent = 0
    const sending = (async () => {
      while (sent < RECORDS) {
        await raw.send(
          'raw',
          Array.from({ length: 200 }, (_, i) => ({ value: cdr(sent++), partition: i % PARTITIONS })),
        )
        await sleep(500)
      }
    })()
    const shared = (line: { readonly [name: string]: unknown }): boolean =>
      line.msg === 'partitions of a topic are read' && (line['partitions'] as number[]).length === PARTITIONS / 2
    let rounds = 0
    let withShare = 0
    let absent = 0
    while (sent < RECORDS) {
      const mortal = await run(t, place, mortalSettings)
      await until('it has its share, or all is sent', () => sent >= RECORDS || mortal.program.log().some(shared))
      if (mortal.program.log().some(shared)) withShare++
      await sleep(Math.random() * 2500)
      mortal.program.kill('SIGKILL')
      await mortal.program.end()
      // Now and then it is away for longer than a session: the other one takes its partitions.
      if (++rounds % 3 === 0) {
        const before = steady.program.log().length
        await until('the other one has all', () =>
          steady.program
            .log()
            .slice(before)
            .some(
              (line) =>
                line.msg === 'partitions of a topic are read' && (line['partitions'] as number[]).length === PARTITIONS,
            ),
        )
        absent++
      }
    }
    await sending
    const last = await run(t, place, mortalSettings)
    await until('the last one has its share', () => last.program.log().some(shared))
    await raw.send(
      'raw',
      Array.from({ length: 600 }, (_, i) => ({ value: cdr(sent++), partition: i % PARTITIONS })),
    )
    await caughtUp(kafka)
    t.ok(
      rounds >= 5 && withShare >= 4 && absent >= 1,
      `killed ${rounds} times, ${withShare} of them with half of the partitions; away for longer than a session ${absent} times`,
    )
    for (const { program } of [steady, last])
      t.comment(
        program
          .log()
          .filter((line) => line.level === 'warn' || line.level === 'error')
          .map((line) => line.msg)
          .join(' | '),
      )
    const received = async ({ ops }: Running): Promise<number> =>
      metric((await get(ops, '/metrics')).body, 'minim_source_received_total')['source_kind="kafka"'] ?? 0
    const counts = [await received(steady), await received(last)]
    t.ok(
      counts.every((count) => count > 0),
      `received ${counts.join(' and ')}`,
    )
    await stopped(t, steady)
    await stopped(t, last)
    await eachOnce(t, kafka, sent)
    t.notOk((steady.program.stderr + last.program.stderr).includes('7700900123'), 'no number in the log')
  })

  t.test('the broker is killed in the middle, and one proxy is told to stop', async (t) => {
    const kafka = await cluster(t)
    await makeTopic(kafka, 'raw')
    const place = new Place(t)
    place.makeStore()
    const proxies = [
      await run(t, place, settingsOf(place, kafka, 'one', {})),
      await run(t, place, settingsOf(place, kafka, 'two', {})),
    ]
    const raw = await Raw.open(t, kafka.bootstrap)
    let sent = 0
    const send = (count: number): Promise<void> =>
      raw.send(
        'raw',
        Array.from({ length: count }, (_, i) => ({ value: cdr(sent++), partition: i % PARTITIONS })),
      )
    for (let i = 0; i < 20; i++) {
      await send(100)
      if (i === 8) {
        await kafka.kill()
        await sleep(1000)
        await kafka.restart()
      }
      // Its partitions go to the other one while records come.
      if (i === 15) await stopped(t, proxies[1])
      await sleep(100)
    }
    await caughtUp(kafka)
    await stopped(t, proxies[0])
    await eachOnce(t, kafka, sent)
  })

  t.test('what messages may hold, and what brokers may answer', async (t) => {
    const kafka = await cluster(t)
    for (const topic of ['raw', 'agents', 'switch', 'late']) await makeTopic(kafka, topic, 2)
    const place = new Place(t)
    place.makeStore()
    const plain = await Raw.open(t, kafka.bootstrap)
    const start = new Date(Date.now() - 600_000).toISOString().replace('Z', '+0000')
    const asterisk = (n: number): string =>
      JSON.stringify({
        clid: '"Xanthippe" <07700900123>',
        src: '07700900123',
        dst: '1001',
        dcontext: 'from-trunk',
        channel: 'PJSIP/trunk-0000001a',
        dstchannel: '',
        lastapp: 'Dial',
        lastdata: 'PJSIP/1001',
        start,
        answer: start,
        end: start,
        durationsec: 12,
        billsec: 10,
        disposition: 'ANSWERED',
        accountcode: 'acct',
        amaflags: 'DOCUMENTATION',
        peeraccount: '',
        linkedid: `l-${n}`,
        sequence: n,
        EntityID: '00:00:5e:00:53:01',
        uniqueid: `u-${n}`,
      })
    let n = 0
    for (const codec of ['none', 'gzip', 'snappy', 'lz4']) {
      const packed = await Raw.open(t, kafka.bootstrap, { 'compression.codec': codec })
      await packed.send(
        'raw',
        Array.from({ length: 50 }, () => ({ value: asterisk(n++), partition: n % 2 })),
      )
    }
    const writer = await Raw.open(t, kafka.bootstrap, { 'transactional.id': 'raw-writer' })
    await writer.inTransaction('commit', 'raw', [{ value: asterisk(n++), partition: 0 }])
    await writer.inTransaction(
      'abort',
      'raw',
      Array.from({ length: 20 }, (_, i) => ({ value: asterisk(900_000 + i), partition: 0 })),
    )
    await writer.inTransaction('commit', 'raw', [{ value: asterisk(n++), partition: 0 }])
    await plain.send('raw', [
      { value: `${asterisk(n++)}\n${asterisk(n++)}\n`, partition: 1 },
      { value: JSON.stringify(JSON.parse(asterisk(n++)), null, 2), partition: 1 },
      { value: null, partition: 1 },
      { value: '{"src": "07700900', partition: 1 },
      { value: asterisk(n++), partition: 1 },
      { value: 'x'.repeat(5000), partition: 1 },
      { value: asterisk(n++), partition: 1 },
    ])
    await plain.send('agents', [
      { value: records({ calls: [call(1), call(2)] }), partition: 0 },
      { value: Buffer.from([0x22, 0x7f, 1]), partition: 0 },
      { value: records({ calls: [call(3)] }), partition: 0 },
    ])
    const event = (name: string, uuid: string, over: object = {}): string =>
      JSON.stringify({
        'Event-Name': name,
        'Core-UUID': 'c',
        'Unique-ID': uuid,
        'Caller-Direction': 'inbound',
        'Caller-Caller-ID-Number': '07700900123',
        'Caller-Destination-Number': '1001',
        'Caller-Channel-Created-Time': String((Date.now() - 60_000) * 1000),
        'Caller-Channel-Answered-Time': '0',
        'Hangup-Cause': 'USER_BUSY',
        ...over,
      })
    await plain.send('switch', [
      { value: event('CHANNEL_CREATE', 'a'), partition: 0 },
      { value: event('CHANNEL_HANGUP_COMPLETE', 'a'), partition: 0 },
      { value: event('CHANNEL_HANGUP_COMPLETE', 'b', { 'Other-Type': 'originator' }), partition: 0 },
      { value: event('HEARTBEAT', 'x'), partition: 1 },
      { value: '{"Event-Name":"CHANNEL_HANGUP_COMPLETE",', partition: 1 },
    ])
    await plain.send('late', [{ value: cdr(1), partition: 0 }])
    const settings = place.settings({
      cluster: 'one',
      embedded: false,
      kafka: { 'bootstrap.servers': kafka.bootstrap },
      topics: { partitions: 2, replication: 1 },
      policy: place.write('policy.yaml', JSON.stringify(POLICY)),
      kafkaInput: [
        { topic: 'raw', group: 'pbx', mapping: 'asterisk-cdr', maxMessageBytes: 4096 },
        { topic: 'agents', group: 'pbx', format: 'protobuf' },
        { topic: 'switch', group: 'switches', format: 'freeswitch-event' },
        { topic: 'late', group: 'late', fromBeginning: false },
      ],
    })
    const proxy = await run(t, place, settings)
    await caughtUp(kafka, 'late')
    await plain.send('late', [{ value: cdr(2), partition: 0 }])
    for (const group of ['pbx', 'switches', 'late']) await caughtUp(kafka, group)
    const page = (await get(proxy.ops, '/metrics')).body
    const value = (name: string, labels: string): number => metric(page, name)[labels] ?? 0
    t.equal(n, 207)
    // 200 packed, 2 in transactions, a message of 2 lines, one written over several, and 2 among those that are none.
    const calls = 207 + 3 + 1 + 1
    t.equal(
      value('minim_records_quarantined_total', 'reason="malformed_json"'),
      2,
      'a line that is cut off, an event that is',
    )
    t.equal(value('minim_records_quarantined_total', 'reason="too_large"'), 1)
    t.equal(
      value('minim_records_quarantined_total', 'reason="malformed_batch"') +
        value('minim_records_quarantined_total', 'reason="malformed_record"'),
      1,
    )
    t.equal(
      value('minim_source_refused_total', 'source_kind="kafka",reason="unused"'),
      4,
      'a tombstone, two other events, a b-leg',
    )
    t.equal(
      value('minim_source_refused_total', 'source_kind="kafka",reason="too_large"'),
      0,
      'what is in quarantine is counted there',
    )
    t.equal(value('minim_source_received_total', 'source_kind="kafka"'), 202 + 7 + 3 + 5 + 1)
    await stopped(t, proxy)
    for (const topic of TOPICS) t.equal((await read(kafka, topic)).length, calls, topic)
    t.equal((await read(kafka, QUARANTINE)).length, 4)
    // Nothing is read twice by the next one.
    const again = await run(t, place, settings)
    await again.program.line('partitions of a topic are read')
    await plain.send('late', [{ value: cdr(3), partition: 1 }])
    await caughtUp(kafka, 'late')
    await stopped(t, again)
    t.equal((await read(kafka, TOPICS[0])).length, calls + 1)
  })

  t.test('members and transactions', async (t) => {
    const kafka = await cluster(t)
    await makeTopic(kafka, 'raw', 2)
    const member = (name: string, group: string): GroupMember => {
      const one = new GroupMember({
        group,
        topic: 'raw',
        instance: name,
        sessionMs: 6000,
        rebalanceMs: 20_000,
        cluster: new Cluster({
          bootstrap: kafka.bootstrap,
          clientId: name,
          connection: { requestTimeout: 60_000 },
          createTopics: false,
        }),
      })
      t.teardown(() => {
        one.close()
      })
      return one
    }
    /**
     * What is offered at once is in one transaction, however busy the machine is: the first of it asks for its topic's
     * leaders.
     */
    const LINGER_MS = 300
    /** As the source does: a coordinator that loads is asked again. */
    const joined = async (one: GroupMember): Promise<Assignment> => {
      for (;;) {
        try {
          return await one.join()
        } catch {
          await sleep(200)
        }
      }
    }
    const start = async (
      t: Test,
      cluster: string,
      hooks: DeliveryHooks = {},
      guarantee: 'exactly-once' | 'at-least-once' = 'exactly-once',
    ): Promise<Delivery> => {
      const delivery = shippedDelivery({
        bootstrap: kafka.bootstrap,
        hooks,
        settings: { cluster, lingerMs: LINGER_MS, guarantee },
        topics: [
          { name: `${cluster}.out`, partitions: 2, retentionDays: 30, compacted: false },
          { name: QUARANTINE, partitions: 1, retentionDays: 7, compacted: false },
        ],
      })
      t.teardown(() => delivery.stop(1000))
      await delivery.start()
      return delivery
    }
    const piece = (cluster: string, text: string, offset: GroupOffset): FakeItem =>
      Object.assign(
        fakeItem({
          incarnation: text,
          sequence: offset.next,
          messages: [{ topic: `${cluster}.out`, value: text, key: text }],
        }),
        { offset },
      )
    const place = (group: string, { generation, member }: Assignment, next: number, partition = 0): GroupOffset => ({
      group,
      generation,
      member,
      topic: 'raw',
      partition,
      next,
    })
    const values = async (cluster: string): Promise<string[]> =>
      (await read(kafka, `${cluster}.out`)).map(({ value }) => value.toString()).sort()
    const ignore = (): void => undefined

    t.test(
      'who has lost its partitions commits nothing of them; what else was in the transaction comes once',
      async (t) => {
        const delivery = await start(t, 'zombie')
        const old = member('old', 'zombie')
        const former = await joined(old)
        t.same(former.partitions, [0, 1])
        const heir = member('heir', 'zombie')
        const joining = joined(heir)
        await until('another generation is wanted', async () => (await old.heartbeat()) === CODE.rebalanceInProgress)
        // It says nothing more.
        const now = await joining
        t.same(now.partitions, [0, 1])
        t.not(now.generation, former.generation)
        const beside = fakeItem({
          incarnation: 'beside',
          sequence: 1,
          messages: [{ topic: 'zombie.out', value: 'beside', key: 'x' }],
        })
        const late = piece('zombie', 'late', place('zombie', former, 3))
        await Promise.all([delivery.offer(beside), delivery.offer(late)])
        await t.rejects(late.done, { code: 'MINIM_DELIVERY_ABORTED' })
        await beside.done
        t.equal(beside.minimised, 2, 'it was in the transaction that was refused')
        const good = piece('zombie', 'good', place('zombie', now, 3))
        await delivery.offer(good)
        await good.done
        t.same([...(await heir.committed([0, 1], () => true, ignore))].sort(), [
          [0, 3],
          [1, -1],
        ])
        t.same(await values('zombie'), ['beside', 'good'])
        t.equal(delivery.stats.aborts.aborted, 1)
      },
    )

    t.test('an heir waits for the transaction that its predecessor left open, and goes on behind it', async (t) => {
      let release: () => void = ignore
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      let inCommit = false
      const delivery = await start(t, 'open', {
        beforeCommit: () => {
          inCommit = true
          return held
        },
      })
      const old = member('old', 'open')
      const former = await joined(old)
      const item = piece('open', 'one', place('open', former, 5))
      await delivery.offer(item)
      await until('offsets are in the transaction', () => inCommit)
      const heir = member('heir', 'open')
      const now = await joined(heir)
      t.ok(now.generation > former.generation)
      let answer: Map<number, number> | null = null
      let waits = 0
      const asking = heir
        .committed(
          [0, 1],
          () => true,
          () => {
            waits++
          },
        )
        .then((offsets) => {
          answer = offsets
        })
      await until('it says that it waits', () => waits > 0)
      t.equal(answer, null, 'no answer before the transaction is over')
      release()
      await item.done
      await asking
      t.same([...(answer ?? [])].sort(), [
        [0, 5],
        [1, -1],
      ])
      t.same(await values('open'), ['one'])
    })

    t.test('a member that comes back by its name has its partitions at once, and its former self is out', async (t) => {
      const delivery = await start(t, 'again')
      const first = member('same', 'again')
      const former = await joined(first)
      const second = member('same', 'again')
      const now = await joined(second)
      t.same(now.partitions, former.partitions)
      t.not(now.member, former.member)
      t.equal(await first.heartbeat(), CODE.fencedInstance)
      const late = piece('again', 'late', place('again', former, 1))
      await delivery.offer(late)
      await t.rejects(late.done, { code: 'MINIM_DELIVERY_ABORTED' })
      t.same(await values('again'), [])
      await second.leave()
    })

    t.test('a record that Kafka refuses goes to quarantine, and the group goes on behind it', async (t) => {
      const delivery = await start(t, 'poison')
      const one = member('one', 'poison')
      const now = await joined(one)
      await kafka.tool('kafka.admin.ConfigCommand', [
        '--bootstrap-server',
        kafka.toolBootstrap,
        '--alter',
        '--topic',
        'poison.out',
        '--add-config',
        'max.message.bytes=2000',
      ])
      const item = Object.assign(
        fakeItem({
          incarnation: 'p',
          sequence: 9,
          messages: [
            { topic: 'poison.out', value: 'good', key: 'a' },
            { topic: 'poison.out', value: 'x'.repeat(5000), key: 'b' },
          ],
        }),
        { offset: place('poison', now, 9) },
      )
      await delivery.offer(item)
      await item.done
      t.same(item.excluded, [1])
      t.equal((await one.committed([0], () => true, ignore)).get(0), 9)
      t.same(await values('poison'), ['good'])
    })

    t.test('at least once: offsets are committed behind the messages', async (t) => {
      const delivery = await start(t, 'least', {}, 'at-least-once')
      const one = member('one', 'least')
      const now = await joined(one)
      const items = [1, 2, 3].map((next) => piece('least', `m${next}`, place('least', now, next)))
      for (const item of items) await delivery.offer(item)
      await Promise.all(items.map((item) => item.done))
      t.equal((await one.committed([0], () => true, ignore)).get(0), 3)
      t.same(await values('least'), ['m1', 'm2', 'm3'])
    })
  })
})
