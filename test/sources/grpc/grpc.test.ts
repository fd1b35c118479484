import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ServiceError, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { SourceId, WorkItem } from '../../../src/flow/work-item.js'
import { batchHeader, DeliverClient } from '../../../src/sources/common/deliver-client.js'
import { decodeAck, encodeAck } from '../../../src/sources/common/ingest-service.js'
import { GrpcSource } from '../../../src/sources/grpc/grpc.js'

/** Stands where delivery stands: takes items, commits them when told. */
class FakeDelivery {
  readonly offered: WorkItem[] = []
  readonly taken = new Map<string, number>()
  auto = true
  /** Of taken batches: the bytes themselves stand in for their mark. */
  readonly marks = new Map<string, Uint8Array>()
  mark = (_id: SourceId, _sequence: number, body: Uint8Array): Uint8Array => Buffer.from(body)
  differs = ({ source, incarnation }: SourceId, sequence: number, mark: Uint8Array): boolean => {
    const known = this.marks.get(`${source} ${incarnation} ${sequence}`)
    return known !== undefined && !Buffer.from(known).equals(mark)
  }
  lastTaken = (id: SourceId): number => this.taken.get(`${id.source} ${id.incarnation}`) ?? 0
  offer = (item: WorkItem): Promise<void> => {
    this.offered.push(item)
    if (item.mark !== undefined) this.marks.set(`${item.id.source} ${item.id.incarnation} ${item.sequence}`, item.mark)
    if (this.auto) this.commit()
    return Promise.resolve()
  }
  commit(): void {
    for (const item of this.offered) {
      this.taken.set(`${item.id.source} ${item.id.incarnation}`, item.sequence)
      item.committed()
    }
  }
}

async function started(
  t: Test,
  delivery: FakeDelivery,
  over: Partial<ConstructorParameters<typeof GrpcSource>[0]> = {},
): Promise<string> {
  const source = new GrpcSource({
    listen: '127.0.0.1:0',
    maxMessageBytes: 1 << 20,
    maxStreams: 8,
    idleMs: 60_000,
    tls: null,
    catalogue: catalogue(),
    tenant: 'default',
    intake: {
      lastTaken: delivery.lastTaken,
      offer: delivery.offer,
      streamsOf: () => [],
      contentsName: (hash) => hash,
      mark: delivery.mark,
      differs: delivery.differs,
      minimise: () => {
        throw new Error('not here')
      },
      minimiseFilled: () => {
        throw new Error('not here')
      },
    },
    ...over,
  })
  const address = await source.start()
  t.teardown(() => source.stop())
  return address
}

function client(
  t: Test,
  address: string,
  source: string,
  incarnation: string,
): { client: DeliverClient; acks: number[]; ended: Promise<ServiceError | null> } {
  const acks: number[] = []
  let made!: DeliverClient
  const ended = new Promise<ServiceError | null>((resolve) => {
    made = new DeliverClient({ address, source, incarnation, onAck: (s) => acks.push(s), onEnd: resolve })
  })
  t.teardown(() => {
    made.cancel()
  })
  return { client: made, acks, ended }
}

const NO_RECORDS = Buffer.alloc(0)

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await sleep(10)
  if (!condition()) throw new Error('it never came')
}

void t.test('acknowledgements survive encoding', (t) => {
  for (const n of [0, 1, 127, 128, 300, 2 ** 31, 2 ** 53 - 1]) t.equal(decodeAck(encodeAck(n)), n)
  t.end()
})

void t.test('batches are taken in order and acknowledged after commit only', async (t) => {
  const delivery = new FakeDelivery()
  delivery.auto = false
  const { client: c, acks } = client(t, await started(t, delivery), 'pbx-1', randomUUID())
  t.equal(await c.resumeAfter, 0)
  c.send(1, NO_RECORDS)
  c.send(2, NO_RECORDS)
  await until(() => delivery.offered.length === 2)
  t.same(
    delivery.offered.map((i) => i.sequence),
    [1, 2],
  )
  t.same(acks, [], 'nothing is acknowledged before it is committed')
  delivery.commit()
  await until(() => acks.length > 0)
  t.equal(acks.at(-1), 2)
})

void t.test('a source goes on where it left off, and what was taken is not taken again', async (t) => {
  const delivery = new FakeDelivery()
  const address = await started(t, delivery)
  const incarnation = randomUUID()
  const first = client(t, address, 'pbx-1', incarnation)
  await first.client.resumeAfter
  for (let s = 1; s <= 3; s++) first.client.send(s, NO_RECORDS)
  first.client.end()
  t.equal(await first.ended, null)
  t.equal(first.acks.at(-1), 3, 'the last acknowledgement comes before the end')

  const second = client(t, address, 'pbx-1', incarnation)
  t.equal(await second.client.resumeAfter, 3)
  second.client.send(3, NO_RECORDS)
  second.client.send(4, NO_RECORDS)
  await until(() => second.acks.includes(4))
  t.same(
    delivery.offered.map((i) => i.sequence),
    [1, 2, 3, 4],
  )

  const reinstalled = client(t, address, 'pbx-1', randomUUID())
  t.equal(await reinstalled.client.resumeAfter, 0, 'a new installation starts again at 1')
})

const refusals: { name: string; send: (c: DeliverClient) => void; code: status; says: RegExp }[] = [
  {
    name: 'a gap',
    send: (c) => c.send(2, NO_RECORDS),
    code: status.FAILED_PRECONDITION,
    says: /MINIM_GRPC_GAP.*2 came where 1 was due/,
  },
  {
    name: 'records without a sequence',
    send: (c) => c.send(0, Buffer.from([0x22, 0x00])),
    code: status.INVALID_ARGUMENT,
    says: /MINIM_GRPC_NO_SEQUENCE/,
  },
]
for (const { name, send, code, says } of refusals) {
  void t.test(`${name} is refused`, async (t) => {
    const delivery = new FakeDelivery()
    const { client: c, ended } = client(t, await started(t, delivery), 'pbx-1', randomUUID())
    await c.resumeAfter
    send(c)
    const error = await ended
    t.equal(error?.code, code)
    t.match(error?.details, says)
    t.equal(delivery.offered.length, 0)
  })
}

void t.test('a name that could hold anything is refused, and not repeated', async (t) => {
  const delivery = new FakeDelivery()
  const address = await started(t, delivery)
  for (const [source, incarnation] of [
    ['', randomUUID()],
    ['+447700900123 & co', randomUUID()],
    ['pbx-1', 'one'],
  ]) {
    const { ended } = client(t, address, source, incarnation)
    const error = await ended
    t.equal(error?.code, status.INVALID_ARGUMENT)
    t.notMatch(error?.details, /7700900123/)
  }
})

void t.test('a batch with a broken envelope counts as the next one, and the stream goes on', async (t) => {
  const delivery = new FakeDelivery()
  const { client: c, acks } = client(t, await started(t, delivery), 'pbx-1', randomUUID())
  await c.resumeAfter
  c.send(1, Buffer.from([0x22, 0x7f, 0x01]))
  c.send(2, NO_RECORDS)
  await until(() => acks.includes(2))
  t.same(
    delivery.offered.map((i) => i.sequence),
    [1, 2],
  )
})

void t.test('a second stream of the same installation ends the first', async (t) => {
  const delivery = new FakeDelivery()
  const address = await started(t, delivery)
  const incarnation = randomUUID()
  const first = client(t, address, 'pbx-1', incarnation)
  await first.client.resumeAfter
  const second = client(t, address, 'pbx-1', incarnation)
  await second.client.resumeAfter
  t.match((await first.ended)?.details, /MINIM_GRPC_SUPERSEDED/)
})

void t.test('a stream that says nothing for too long is ended', async (t) => {
  const { ended } = client(t, await started(t, new FakeDelivery(), { idleMs: 50 }), 'pbx-1', randomUUID())
  t.match((await ended)?.details, /MINIM_GRPC_IDLE/)
})

void t.test('the header that clients write is what the server reads', (t) => {
  const type = catalogue().root.lookupType('minim.v1.Batch')
  const incarnation = randomUUID()
  t.match(type.toObject(type.decode(batchHeader('pbx-1', incarnation, 300)), { longs: Number }), {
    source: 'pbx-1',
    incarnation,
    sequence: 300,
  })
  t.end()
})
