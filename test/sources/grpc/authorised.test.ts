/**
 * Whose stream it is, over workers that pass it on; names in certificates; batches that differ while they are under
 * way.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ChannelCredentials, Client, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { Input } from '../../../src/flow/input.js'
import type { StreamIntake } from '../../../src/flow/intake.js'
import type { SourceId, WorkItem } from '../../../src/flow/work-item.js'
import { Authoriser, maySend, namesOf } from '../../../src/sources/common/authorise.js'
import { batchHeader, DeliverClient } from '../../../src/sources/common/deliver-client.js'
import { DELIVER_PATH, INGEST_SERVICE } from '../../../src/sources/common/ingest-service.js'
import { GrpcSource } from '../../../src/sources/grpc/grpc.js'
import type { GrpcEvent, GrpcOptions } from '../../../src/sources/grpc/options.js'
import { Authority, noOpenssl, type Pair } from '../../helpers/certificates.js'

/** Keeps what the pipeline was given; commits at once. */
class Taking implements StreamIntake {
  readonly inputs: Input[] = []
  readonly taken = new Map<string, number>()
  lastTaken = (id: SourceId): number => this.taken.get(id.source) ?? 0
  contentsName = (hash: string): string => hash
  streamsOf = (): [] => []
  mark = (): Uint8Array => Buffer.alloc(8)
  differs = (): boolean => false
  minimise = (input: Input): never => {
    this.inputs.push(input)
    throw new Error('kept')
  }
  minimiseFilled = (): never => {
    throw new Error('not here')
  }
  offer = (item: WorkItem): Promise<void> => {
    try {
      item.minimise()
    } catch {
      /* it is kept */
    }
    this.taken.set(item.id.source, item.sequence)
    item.committed()
    return Promise.resolve()
  }
}

/** Opens a stream with headers of one's own. @returns the resume point */
function opening(
  t: Test,
  address: string,
  credentials: ChannelCredentials,
  source: string,
  metadata = new Metadata(),
): Promise<number> {
  const client = new Client(address, credentials)
  const { requestSerialize, responseDeserialize } = INGEST_SERVICE.deliver
  const stream = client.makeBidiStreamRequest(DELIVER_PATH, requestSerialize, responseDeserialize, metadata)
  t.teardown(() => {
    stream.cancel()
    client.close()
  })
  stream.write(batchHeader(source, randomUUID(), 0))
  return new Promise((resolve, reject) => {
    stream.on('data', resolve)
    stream.on('error', (error: ServiceError) => {
      reject(error)
    })
  })
}

t.test(
  "a stream that is passed on keeps its certificate's names, and nobody else can say any",
  { skip: noOpenssl },
  async (t) => {
    const authority = new Authority(t)
    const folder = mkdtempSync(join(tmpdir(), 'minim-workers-'))
    t.teardown(() => {
      rmSync(folder, { recursive: true, force: true })
    })
    const tls = { ...authority.issue('proxy', 'DNS:localhost,IP:127.0.0.1'), clientCa: authority.ca }
    const sockets = [0, 1].map((index) => `unix:${join(folder, `${index}.sock`)}`)
    const events: GrpcEvent[][] = [[], []]
    // Sources that begin with b are the second worker's.
    const ownerOf = (source: string): number => (source.startsWith('b') ? 1 : 0)
    const workers = await Promise.all(
      sockets.map(async (own, index) => {
        const intake = new Taking()
        const options: GrpcOptions = {
          listen: '127.0.0.1:0',
          maxMessageBytes: 1 << 20,
          maxStreams: 32,
          idleMs: 60_000,
          tls,
          catalogue: catalogue(),
          tenant: 'default',
          intake,
          authoriser: new Authoriser(
            { 'urn:pbx:many': { sources: ['a-2', 'b-2'], tenants: ['acme', 'other'] } },
            'default',
            ['default', 'acme', 'other'],
          ),
          workers: { own, owner: (source) => (ownerOf(source) === index ? null : sockets[ownerOf(source)]) },
          onEvent: (event) => {
            events[index].push(event)
          },
        }
        const source = new GrpcSource(options)
        const address = await source.start()
        t.teardown(() => source.stop())
        return { address, intake }
      }),
    )
    const [{ address }] = workers
    const [a, b] = [authority.issue('a', 'DNS:a-1'), authority.issue('b', 'DNS:b-1')]
    const many = authority.issue(
      'many',
      `URI:urn:pbx:many,${Array.from({ length: 300 }, (_, i) => `DNS:host-${i}.example.net`).join(',')}`,
    )
    const send = async (pair: Pair, source: string): Promise<void> => {
      await new Promise<void>((resolve, reject) => {
        const client = new DeliverClient({
          address,
          source,
          incarnation: randomUUID(),
          credentials: authority.grpc(pair),
          onAck: () => {
            resolve()
          },
          onEnd: reject,
        })
        t.teardown(() => {
          client.cancel()
        })
        client.resumeAfter.then(() => client.send(1, Buffer.alloc(0)), reject)
      })
    }
    const seen = (index: number): unknown => {
      const { tenant, tenants } = workers[index].intake.inputs.at(-1) as Input
      return [tenant, [...(tenants ?? ['any'])]]
    }
    await send(a, 'a-1')
    t.same(seen(0), ['default', ['default']])
    await send(b, 'b-1-0a1b2c3d')
    t.same(seen(1), ['default', ['default']])
    await send(many, 'a-2')
    t.same(seen(0), ['acme', ['acme', 'other']])
    await send(many, 'b-2')
    t.same(seen(1), ['acme', ['acme', 'other']], 'passed on, with as many names as a certificate may have')

    const denied = { code: status.PERMISSION_DENIED, details: /MINIM_GRPC_UNAUTHORISED/ }
    const forged = new Metadata()
    forged.set('minim-certificate-names-bin', Buffer.from(JSON.stringify(['a-1', 'b-1', 'urn:pbx:many'])))
    for (const [pair, source] of [
      [a, 'b-1'],
      [b, 'a-1'],
      [b, 'a-2'],
      [a, 'b-2'],
    ] as const) {
      for (const metadata of [new Metadata(), forged])
        await t.rejects(opening(t, address, authority.grpc(pair), source, metadata), denied, `${source} by another`)
    }
    t.equal(await opening(t, address, authority.grpc(b), 'b-1', forged), 0, 'what is its own it may open')
    await t.rejects(
      opening(t, sockets[1], ChannelCredentials.createInsecure(), 'b-1'),
      denied,
      'a socket that is told nothing believes nothing',
    )
    for (const wrong of ['nonsense', '"b-1"', '{"0":"b-1"}', 'null']) {
      const metadata = new Metadata()
      metadata.set('minim-certificate-names-bin', Buffer.from(wrong))
      await t.rejects(opening(t, sockets[1], ChannelCredentials.createInsecure(), 'b-1', metadata), denied, wrong)
    }
    t.equal(events[0].filter(({ kind }) => kind === 'unauthorised').length, 4)
    t.equal(events[1].filter(({ kind }) => kind === 'unauthorised').length, 9)
  },
)

t.test('names of a certificate: DNS names and URIs, and nothing that only looks like one', (t) => {
  const rows: [text: string | undefined, names: string[]][] = [
    [undefined, []],
    ['', []],
    ['DNS:pbx-1', ['pbx-1']],
    [
      'DNS:a, DNS:b.example.net, IP Address:192.0.2.1, email:a@example.net, URI:spiffe://example.net/a',
      ['a', 'b.example.net', 'spiffe://example.net/a'],
    ],
    ['DNS:"a, DNS:b"', ['a, DNS:b']],
    ['DNS:"a\\", DNS:b"', ['a", DNS:b']],
    ['URI:"http://example.net/?a, DNS:pbx-1", DNS:c', ['http://example.net/?a, DNS:pbx-1', 'c']],
    ['othername:<unsupported>, DNS:a', ['a']],
    ['DirName:"CN = a, DNS = b", DNS:c', ['c']],
    ['DNS:"a', []],
    ['DNS:a"b', []],
    ['DNS:"a"b, DNS:c', []],
    ['a', []],
    ['DNS:a,DNS:b', []],
    ['DNS:"\\x"', []],
    ['DNS:', []],
  ]
  for (const [text, names] of rows) t.same(namesOf(text), names, text ?? 'none')
  t.end()
})

t.test('what certificates may use', (t) => {
  const authoriser = new Authoriser(
    { a: { sources: ['x', 'y'] }, b: { tenants: ['acme'] }, c: { sources: ['z'], tenants: ['other', 'acme'] } },
    'default',
    ['default', 'acme', 'other'],
  )
  const grant = (...names: string[]): unknown => {
    const { sources, tenant, tenants } = authoriser.grantOf(names)
    return [[...sources], tenant, [...(tenants ?? ['any'])]]
  }
  t.same(grant(), [[], 'default', ['default']])
  t.same(grant('d', 'e'), [['d', 'e'], 'default', ['default']])
  t.same(grant('a', 'd'), [['x', 'y'], 'default', ['default']], 'what is said of one of its names stands in for all')
  t.same(grant('b'), [['b'], 'acme', ['acme']])
  t.same(grant('a', 'b', 'c'), [['x', 'y', 'z'], 'acme', ['acme', 'other']])
  t.same(
    [...(new Authoriser({}, 'default', ['acme']).grantOf(['a']).tenants ?? [])],
    ['default', 'acme'],
    "the only tenant is everybody's",
  )
  t.same(grant('__proto__', 'constructor'), [['__proto__', 'constructor'], 'default', ['default']])
  t.same(
    ['x', 'x-0a1b2c3d', 'x-0A1B2C3D', 'x-0a1b2c3', '', 'a'].map((source) => maySend(authoriser.grantOf(['a']), source)),
    [true, true, false, false, false, false],
  )
  t.end()
})
