import fc from 'fast-check'
import Kafka from 'node-rdkafka'
import t from 'tap'
import {
  decodeEntry,
  decodeMarks,
  decodeOwner,
  encodeEntry,
  encodeOwner,
  ownerKey,
  ownerText,
  readLedger,
  streamKey,
  thisProcess,
} from '../../src/deliver/ledger.js'
import { shardOf } from '../../src/flow/shards.js'
import { startEmbeddedKafka } from '../../src/kafka/embedded.js'
import { asError } from '../../src/kafka/errors.js'

t.test('entries come back', (t) => {
  fc.assert(fc.property(fc.maxSafeNat(), (sequence) => decodeEntry(encodeEntry(sequence)) === sequence))
  t.equal(decodeEntry(Buffer.from('{"later":"field","sequence":7}')), 7)
  for (const bad of [
    '',
    '{}',
    '7',
    'null',
    '{"sequence":"7"}',
    '{"sequence":-1}',
    '{"sequence":1.5}',
    '{"sequence":9007199254740993}',
    '{"sequence":1',
  ]) {
    t.equal(decodeEntry(Buffer.from(bad)), null, bad)
  }
  t.equal(decodeEntry(null), null)
  fc.assert(
    fc.property(
      fc.maxSafeNat(),
      fc.integer({ min: 1, max: 64 }).chain((n) => fc.uint8Array({ minLength: n * 8, maxLength: n * 8 })),
      (sequence, marks) => {
        const entry = encodeEntry(sequence, Buffer.from(marks))
        return decodeEntry(entry) === sequence && decodeMarks(entry) === Buffer.from(marks).toString('base64')
      },
    ),
  )
  t.equal(encodeEntry(7, Buffer.alloc(0)).toString(), '{"sequence":7}', 'as earlier versions wrote it')
  for (const marks of [
    '7',
    '""',
    '"AAAA"',
    '"AAAAAAAAAA="',
    '"not base64!"',
    JSON.stringify(Buffer.alloc(65 * 8).toString('base64')),
    '[]',
  ]) {
    const entry = Buffer.from(`{"sequence":7,"marks":${marks}}`)
    t.equal(decodeEntry(entry), 7, marks)
    t.ok((decodeMarks(entry) ?? '') === '', marks)
  }
  t.end()
})

t.test('owners come back, those of earlier versions too, and nothing odd does', (t) => {
  const own = thisProcess('5f0c64c4-6b0e-4c0e-9a6b-0d2b4bd7a3f1')
  t.same(decodeOwner(encodeOwner(own)), own)
  t.match(
    ownerText(own),
    new RegExp(`^host [A-Za-z0-9._-]{1,64}, pid ${process.pid}, since [0-9TZ:-]{20}, id 5f0c64c4`),
  )
  const earlier = decodeOwner(Buffer.from('{"owner":"5f0c64c4-6b0e-4c0e-9a6b-0d2b4bd7a3f1"}'))
  t.same(earlier, { id: own.id })
  t.equal(ownerText({ id: 'a' }), 'id a')
  t.same(decodeOwner(Buffer.from(JSON.stringify({ owner: 'a', host: 'x'.repeat(65), pid: -1, since: 'now\n' }))), {
    id: 'a',
  })
  for (const bad of ['', '{}', 'null', '{"owner":1}', '{"owner":"a b"}', `{"owner":"${'a'.repeat(65)}"}`])
    t.equal(decodeOwner(Buffer.from(bad)), null, bad)
  t.equal(decodeOwner(null), null)
  t.end()
})

t.test('a reader takes the last entry of its own streams', async (t) => {
  const kafka = await startEmbeddedKafka()
  t.teardown(() => kafka.stop())
  const producer = new Kafka.Producer({ 'bootstrap.servers': kafka.bootstrap, dr_cb: false })
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
  const write = async (
    topic: string,
    rows: readonly (readonly [Buffer | null, Buffer | null, number])[],
  ): Promise<void> => {
    for (const [key, value, partition] of rows) producer.produce(topic, partition, value, key)
    await new Promise<void>((resolve, reject) => {
      producer.flush(5_000, (e: unknown) => {
        if (e) reject(asError(e))
        else resolve()
      })
    })
  }
  const key = (source: string): Buffer => Buffer.from(streamKey({ source, incarnation: 'i' }))
  const read = (topic: string, shard = 0, shards = 1): ReturnType<typeof readLedger> =>
    readLedger({ bootstrap: kafka.bootstrap, properties: {}, topic, shard, shards, timeoutMs: 10_000 })

  t.equal((await read('empty')).taken.size, 0)

  const mine = Buffer.from(ownerKey('a', 0))
  const owners = await (async () => {
    await write('owned', [
      [mine, encodeOwner({ id: 'first' }), 0],
      [Buffer.from(ownerKey('b', 0)), encodeOwner({ id: 'another' }), 0],
      [mine, encodeOwner({ id: 'second', pid: 7 }), 0],
      [mine, encodeOwner({ id: 'third', pid: 8 }), 0],
      [mine, encodeOwner({ id: 'third', pid: 8 }), 0],
    ])
    return await readLedger({
      bootstrap: kafka.bootstrap,
      properties: {},
      topic: 'owned',
      shard: 0,
      shards: 1,
      timeoutMs: 10_000,
      ownerKey: ownerKey('a', 0),
    })
  })()
  t.match(owners, { owner: { id: 'third', pid: 8 }, formerOwner: { id: 'second', pid: 7 } })

  await write('plain', [
    [key('a'), encodeEntry(1), 0],
    [key('b'), encodeEntry(5), 0],
    [key('a'), encodeEntry(2), 0],
    // The number of shards was another one once: an older entry in another partition.
    [key('a'), encodeEntry(9), 1],
    [key('c'), encodeEntry(3), 0],
    [key('c'), null, 0],
  ])
  t.same(Object.fromEntries((await read('plain')).taken), { 'a\u0000i': 9, 'b\u0000i': 5 })

  const own = shardOf('a', 2)
  t.same(
    [...(await read('plain', own, 2)).taken.keys()].filter((k) => shardOf(k.split('\u0000')[0] ?? '', 2) !== own),
    [],
  )
  t.ok((await read('plain', own, 2)).taken.has('a\u0000i'))

  for (const [name, row] of [
    ['no number', [key('a'), Buffer.from('x'), 0]],
    ['no key', [null, encodeEntry(1), 0]],
    ['a strange key', [Buffer.from('a'), encodeEntry(1), 0]],
  ] as const) {
    const topic = `bad-${name.replaceAll(' ', '-')}`
    await write(topic, [row])
    await t.rejects(
      read(topic),
      { code: 'MINIM_DELIVERY_LEDGER_INVALID', details: { topic, partition: 0, offset: 0 } },
      name,
    )
  }
})
