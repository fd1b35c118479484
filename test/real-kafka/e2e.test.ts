/**
 * The real program against a real broker, read back by Java's console consumer: processes killed at any moment, nodes
 * that reconnect, files loaded again. Nothing is lost, nothing is there twice, and topics are what the policy says.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { minim, Place, Program, run, type Running, sleep, until } from '../e2e/program.js'
import { call, canariesIn, canaryCall, records } from '../e2e/records.js'
import { type ConsumedRecord, kafkaAvailable, type KafkaCluster, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
t.setTimeout(900_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const DAY_MS = 86_400_000
const LINES = 200_000
const BATCHES = 300
const ROWS = 20

/** Three purposes: one keyed by account, one by call, one that may not know subjects. */
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
        headers: true,
        fields: { call_id: 'token', calling_name: 'drop', start_ms: { 'time-bucket': 'minute' }, codec: 'keep' },
      },
    },
    research: {
      notice: 'P5',
      description: 'Learn',
      purpose: 'https://w3id.org/dpv#ResearchAndDevelopment',
      basis: { term: 'eu-gdpr:A6-1-f', evidence: 'balancing test' },
      recipients: ['analytics'],
      region: 'UK',
      transfer: 'adequacy',
      retention_days: 30,
      epoch: 'day',
      call: {
        fields: {
          calling_name: 'drop',
          start_ms: { 'time-bucket': 'hour' },
          duration_seconds: { 'number-bucket': { bounds: [0, 30, 60, 300] } },
        },
      },
    },
  },
} as const
const TOPICS = ['pbx.billing.call', 'pbx.quality.call', 'pbx.research.call'] as const

/** A field of bytes of a protobuf message; the first of its number. */
function bytesField(message: Buffer, number: number): Buffer | null {
  for (let at = 0; at < message.length;) {
    const varint = (): number => {
      let value = 0
      for (let scale = 1; ; scale *= 128) {
        const byte = message[at++]
        value += (byte & 0x7f) * scale
        if (byte < 128) return value
      }
    }
    const tag = varint()
    if ((tag & 7) === 0) {
      const value = varint()
      if (tag >>> 3 === number) return Buffer.from(String(value))
    } else if ((tag & 7) === 2) {
      const length = varint()
      if (tag >>> 3 === number) return message.subarray(at, at + length)
      at += length
    } else throw new Error(`wire type ${tag & 7}`)
  }
  return null
}

const distinct = (values: Iterable<string>): number => new Set(values).size
const billingCallIds = (found: readonly ConsumedRecord[]): string[] =>
  found.map(({ value }) => bytesField(value, 3)?.toString('hex') ?? 'none')
const qualityCallIds = (found: readonly ConsumedRecord[]): string[] =>
  found.map(({ value }) => (JSON.parse(value.toString()) as { call_id: string }).call_id)

t.test('the program and a real broker', { skip: reason ?? false, timeout: 900_000 }, async (t) => {
  /** A broker of its own for each part: topics have fixed names. */
  const cluster = async (t: Test): Promise<KafkaCluster> => {
    const kafka = await startKafka({ heap: '512m' })
    t.teardown(() => kafka.stop())
    return kafka
  }
  const settingsFor = (place: Place, kafka: KafkaCluster, over: Record<string, unknown> = {}): string =>
    place.settings({
      embedded: false,
      kafka: { 'bootstrap.servers': kafka.bootstrap },
      topics: { partitions: 2, replication: 1 },
      policy: place.write('policy.yaml', JSON.stringify(POLICY)),
      ...over,
    })
  const read = (kafka: KafkaCluster, topic: string): Promise<ConsumedRecord[]> =>
    kafka.consoleConsumer(topic, { timeoutMs: 3000 })
  const ledger = async (kafka: KafkaCluster, source: (name: string) => boolean): Promise<number[]> =>
    (await read(kafka, 'minim.ledger'))
      .filter((r) => source((r.key?.toString() ?? '').split('\0')[0]))
      .map((r) => (JSON.parse(r.value.toString()) as { sequence: number }).sequence)
  const grows = (sequences: readonly number[]): boolean => sequences.every((s, i) => i === 0 || s > sequences[i - 1])

  t.test('a file whose load is killed again and again: every record once, in every topic', async (t) => {
    const kafka = await cluster(t)
    const place = new Place(t)
    place.makeStore()
    // Small transactions, so that there are many moments to be killed in.
    const settings = settingsFor(place, kafka, { delivery: { lingerMs: 1, maxMessages: 6000 } })
    const file = place.path('calls.jsonl')
    const out = openSync(file, 'w')
    const start = Date.now() - 3_600_000
    for (let n = 0; n < LINES; n += 1000) {
      writeSync(
        out,
        Array.from({ length: 1000 }, (_, i) =>
          JSON.stringify({
            account: `acct-${(n + i) % 50}`,
            call_id: `call-${n + i}`,
            calling: '1001',
            called: '+447700900123',
            start_ms: start + n + i,
            duration_seconds: 40,
            billable_seconds: (n + i) % 600,
          }),
        ).join('\n') + '\n',
      )
    }
    closeSync(out)
    // The proxy reads it at start, and is told to end in the middle.
    const proxy = await run(
      t,
      place,
      place.settings(
        {
          ...(parse(readFileSync(settings, 'utf8')) as object),
          files: [{ path: file, format: 'jsonl', mapping: 'minim', follow: false }],
        },
        'files.yaml',
      ),
    )
    await sleep(200)
    proxy.program.kill('SIGTERM')
    const told = await proxy.program.end()
    t.equal(told.code, 0, told.stderr)
    t.ok(
      proxy.program.log().some((line) => line.msg.startsWith('file left')),
      "it does not wait for the file's end",
    )
    const args = ['load', file, '--format', 'jsonl', '--config', settings]
    let kills = 0
    for (let attempt = 0; attempt < 5; attempt++) {
      const program = new Program(t, args, place)
      await until('delivery is ready', () => program.over || program.log().some((line) => line['phase'] === 'ready'))
      await sleep(Math.random() * 700)
      program.kill('SIGKILL')
      const { signal } = await program.end()
      if (signal === 'SIGKILL') kills++
    }
    t.ok(kills >= 3, `killed ${kills} times`)
    const last = await new Program(t, args, place).end(240_000)
    t.equal(last.code, 0, last.stderr)
    const report = JSON.parse(last.stdout.trimEnd().split('\n').at(-1) ?? '') as {
      records: number
      skippedBytes: number
      produced: Record<string, number>
    }
    t.ok(report.skippedBytes > 0, `${report.skippedBytes} bytes were skipped`)
    t.ok(report.records < LINES, `${report.records} records were left`)
    t.match(last.stderr, /bytes of this file were taken before: skipped/)
    const again = await new Program(t, args, place).end(240_000)
    t.match(JSON.parse(again.stdout), { records: 0, skippedBytes: statSync(file).size }, 'and once more does nothing')

    const billing = await read(kafka, TOPICS[0])
    t.equal(billing.length, LINES)
    t.equal(distinct(billingCallIds(billing)), LINES)
    const quality = await read(kafka, TOPICS[1])
    t.equal(quality.length, LINES)
    t.equal(distinct(qualityCallIds(quality)), LINES)
    t.equal((await read(kafka, TOPICS[2])).length, LINES)
    const taken = await ledger(kafka, (name) => name !== '')
    t.equal(taken.at(-1), statSync(file).size)
    t.ok(grows(taken), 'the ledger grows')
  })

  t.test('gRPC: the proxy is killed and started again while a node streams', async (t) => {
    const kafka = await cluster(t)
    const place = new Place(t)
    place.makeStore()
    const probe = createServer()
    await new Promise<void>((resolve) => {
      probe.listen(0, '127.0.0.1', resolve)
    })
    const address = `127.0.0.1:${(probe.address() as AddressInfo).port}`
    await new Promise<void>((resolve) => {
      probe.close(() => {
        resolve()
      })
    })
    const settings = settingsFor(place, kafka, { grpc: { listen: address } })
    const batch = (sequence: number): Buffer =>
      records({ calls: Array.from({ length: ROWS }, (_, i) => call(sequence * ROWS + i)) })
    const incarnation = randomUUID()
    const resumed: number[] = []
    let acknowledged = 0
    /** Connects, goes on from the resume point, and comes back when the stream breaks, as an agent does. */
    const node = async (): Promise<void> => {
      while (acknowledged < BATCHES) {
        let over = false
        const client = new DeliverClient({
          address,
          source: 'pbx-london',
          incarnation,
          onEnd: () => {
            over = true
          },
          onAck: (sequence) => {
            acknowledged = sequence
          },
        })
        try {
          const from = await client.resumeAfter
          resumed.push(from)
          // Nothing that was acknowledged is asked for again.
          t.ok(from >= acknowledged, `resumes after ${from}, acknowledged was ${acknowledged}`)
          acknowledged = from
          for (let sequence = from + 1; sequence <= BATCHES && !over; sequence++) {
            if (!client.send(sequence, batch(sequence))) await client.drained()
            await sleep(5)
          }
          await until('all is acknowledged, or the stream is over', () => over || acknowledged >= BATCHES)
          client.cancel()
        } catch {
          await sleep(100)
        }
      }
    }
    let running: Running = await run(t, place, settings)
    const streaming = node()
    for (const after of [60, 160]) {
      await until(`acknowledgement ${after}`, () => acknowledged >= after)
      running.program.kill('SIGKILL')
      await running.program.end()
      running = await run(t, place, settings)
    }
    await streaming
    t.equal(acknowledged, BATCHES)
    t.ok(resumed.length >= 3 && resumed[1] >= 60 && resumed[2] >= 160, `resumed after ${resumed.join(', ')}`)
    running.program.kill('SIGTERM')
    t.equal((await running.program.end()).code, 0)
    const billing = await read(kafka, TOPICS[0])
    t.equal(billing.length, BATCHES * ROWS)
    t.equal(distinct(billingCallIds(billing)), BATCHES * ROWS)
    t.equal((await read(kafka, TOPICS[2])).length, BATCHES * ROWS)
    const taken = await ledger(kafka, (source) => source === 'pbx-london')
    t.equal(taken.at(-1), BATCHES)
    t.ok(grows(taken))
  })

  t.test('SIGTERM while nodes stream: what is acknowledged is there, and nothing else', async (t) => {
    const kafka = await cluster(t)
    const place = new Place(t)
    place.makeStore()
    const { program, grpc } = await run(t, place, settingsFor(place, kafka))
    const incarnation = randomUUID()
    let over = false
    const client = new DeliverClient({
      address: grpc,
      source: 'pbx-london',
      incarnation,
      onEnd: () => {
        over = true
      },
    })
    await client.resumeAfter
    let sent = 0
    const streaming = (async () => {
      while (!over) {
        sent++
        const n = sent
        if (!client.send(n, records({ calls: Array.from({ length: ROWS }, (_, i) => call(n * ROWS + i)) })))
          await client.drained()
        await new Promise((resolve) => {
          setImmediate(resolve)
        })
      }
    })()
    await until('some is acknowledged', () => client.acknowledged >= 30)
    program.kill('SIGTERM')
    const ended = await program.end()
    t.equal(ended.code, 0, ended.stderr)
    await streaming
    t.ok(client.acknowledged >= 30 && client.acknowledged < sent, `${sent} sent, ${client.acknowledged} acknowledged`)
    t.equal((await read(kafka, TOPICS[0])).length, client.acknowledged * ROWS)
    t.equal((await ledger(kafka, (source) => source === 'pbx-london')).at(-1), client.acknowledged)
  })

  t.test('keys, timestamps, headers, JSON, and topics as the policy wants them', async (t) => {
    const kafka = await cluster(t)
    const place = new Place(t)
    place.makeStore()
    const settings = settingsFor(place, kafka)
    const start = Math.floor(Date.now() / 3_600_000) * 3_600_000 - 7_200_000 + 1_234_567
    const calls = [0, 1, 2, 3, 4, 5].map((n) =>
      canaryCall(n, {
        account: `canary-account-${n % 2}`,
        codec: 'PCMA',
        start_ms: start,
        answer_ms: start + 1,
        end_ms: start + 2,
      }),
    )
    const file = place.write(
      'calls.jsonl',
      [...calls.map((c) => JSON.stringify(c)), '{"calling":"07700900417"'].join('\n'),
    )
    const loaded = await minim(t, ['load', file, '--format', 'jsonl', '--config', settings], place)
    t.equal(loaded.code, 0, loaded.stderr)
    t.match(JSON.parse(loaded.stdout), {
      records: 7,
      produced: { 'pbx.billing.call': 6 },
      quarantined: 1,
      skippedBytes: 0,
    })
    const billing = await read(kafka, TOPICS[0])
    t.equal(billing.length, 6)
    t.equal(distinct(billing.map((r) => r.key?.toString('hex') ?? 'none')), 2, 'two accounts, two keys')
    for (const { key, value, timestamp } of billing) {
      t.equal(key?.length, 16)
      t.same(key, bytesField(value, 2), "the key is the account's token")
      t.equal(timestamp, Math.floor(start / 1000) * 1000, 'to the second, as billing sees it')
      t.equal(bytesField(value, 9)?.toString(), String(timestamp))
    }
    for (const { partition, key } of billing)
      t.equal(
        distinct(billing.filter((r) => r.key?.equals(key ?? Buffer.alloc(0))).map((r) => String(r.partition))),
        1,
        `one account, one partition (${partition})`,
      )
    const quality = await read(kafka, TOPICS[1])
    t.equal(quality.length, 6)
    for (const { key, value, timestamp } of quality) {
      const record = JSON.parse(value.toString()) as { call_id: string; start_ms: number; codec: string; tag: object }
      t.same(Object.keys(record), ['call_id', 'start_ms', 'codec', 'tag'])
      t.equal(record.call_id, key?.toString(), 'the key is the token as the record has it')
      t.equal(timestamp, Math.floor(start / 60_000) * 60_000, 'to the minute')
      t.equal(record.start_ms, timestamp)
      t.match(record.tag, {
        purpose: 'quality',
        basis: 'eu-gdpr:A6-1-b',
        epoch: new Date(start).toISOString().slice(0, 10),
        retention_days: 14,
      })
    }
    const research = await read(kafka, TOPICS[2])
    for (const { key, timestamp } of research) {
      t.equal(key, null, 'research knows no subject')
      t.equal(timestamp, Math.floor(start / 3_600_000) * 3_600_000, 'to the hour')
    }
    const headers = await kafka.tool('org.apache.kafka.tools.consumer.ConsoleConsumer', [
      '--bootstrap-server',
      kafka.bootstrap,
      '--topic',
      TOPICS[1],
      '--from-beginning',
      '--max-messages',
      '1',
      '--timeout-ms',
      '10000',
      '--property',
      'print.headers=true',
    ])
    t.match(
      headers,
      /purpose:quality,basis:eu-gdpr:A6-1-b,policy:[0-9a-f]{12},region:UK,retention_days:14,transfer:adequacy/,
    )
    t.equal(
      (
        await kafka.tool('org.apache.kafka.tools.consumer.ConsoleConsumer', [
          '--bootstrap-server',
          kafka.bootstrap,
          '--topic',
          TOPICS[0],
          '--from-beginning',
          '--max-messages',
          '1',
          '--timeout-ms',
          '10000',
          '--property',
          'print.headers=true',
        ])
      ).split('\t')[0],
      'NO_HEADERS',
    )
    const quarantine = await read(kafka, 'minim.quarantine')
    t.equal(quarantine.length, 1)
    for (const { key, value } of [...billing, ...quality, ...research, ...quarantine])
      t.same(canariesIn(Buffer.concat([key ?? Buffer.alloc(0), value])), [])

    const described = await kafka.tool('org.apache.kafka.tools.TopicCommand', [
      '--bootstrap-server',
      kafka.bootstrap,
      '--describe',
    ])
    const wanted: readonly (readonly [topic: string, partitions: number, days: number])[] = [
      [TOPICS[0], 2, 30],
      [TOPICS[1], 2, 14],
      [TOPICS[2], 2, 30],
      ['minim.quarantine', 2, 7],
    ]
    for (const [topic, partitions, days] of wanted) {
      const line = described.split('\n').find((l) => l.startsWith(`Topic: ${topic}\t`)) ?? ''
      t.ok(line.includes(`PartitionCount: ${partitions}`), line)
      const configs = new Map(
        (/Configs: (\S+)/.exec(line)?.[1] ?? '').split(',').map((c) => c.split('=') as [string, string]),
      )
      const segmentMs = Math.min(7 * DAY_MS, (days * DAY_MS) / 30)
      t.equal(configs.get('retention.ms'), String(days * DAY_MS - segmentMs), topic)
      t.equal(configs.get('segment.ms'), String(segmentMs), topic)
      t.equal(configs.get('cleanup.policy'), 'delete', topic)
    }
    t.match(
      described.split('\n').find((l) => l.startsWith('Topic: minim.ledger\t')),
      /PartitionCount: 1\b.*cleanup\.policy=compact/,
    )

    const tail = await minim(t, ['tail', 'quality', '--once', '--config', settings], place)
    t.equal(tail.code, 0, tail.stderr)
    t.equal(tail.stdout.trimEnd().split('\n').length, 6)

    // Drift.
    const proxy = await run(t, place, settings)
    await kafka.tool('kafka.admin.ConfigCommand', [
      '--bootstrap-server',
      kafka.bootstrap,
      '--alter',
      '--topic',
      TOPICS[0],
      '--add-config',
      'retention.ms=864000000000',
    ])
    const drifted = await new Program(
      t,
      [
        'run',
        '--config',
        place.settings({ ...(parse(readFileSync(settings, 'utf8')) as object), cluster: 'other' }, 'other.yaml'),
      ],
      place,
    ).end()
    t.equal(drifted.code, 3, drifted.stderr)
    t.match(
      drifted.stderr,
      /MINIM_KAFKA_TOPIC_DRIFT[^]*pbx\.billing\.call[^]*retention\.ms is 864000000000 and should be 2505600000/,
    )
    t.match(drifted.stderr, /kafka-configs\.sh[^]*--add-config retention\.ms=2505600000/)
    await kafka.tool('kafka.admin.ConfigCommand', [
      '--bootstrap-server',
      kafka.bootstrap,
      '--alter',
      '--topic',
      TOPICS[0],
      '--add-config',
      `retention.ms=${29 * DAY_MS}`,
    ])

    // Fencing: a second process of the same shard takes over, the first one stops for good when it notices.
    const second = await run(t, place, settings)
    const client = new DeliverClient({ address: proxy.grpc, source: 'pbx-london', incarnation: randomUUID() })
    await client.resumeAfter
    client.send(1, records({ calls: [call(1)] }))
    const fenced = await proxy.program.end()
    t.equal(fenced.code, 3, fenced.stderr)
    t.match(fenced.stderr, /MINIM_DELIVERY_FENCED/)
    second.program.kill('SIGTERM')
    t.equal((await second.program.end()).code, 0)
  })
})
