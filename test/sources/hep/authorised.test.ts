/** What a network or a certificate lets senders of HEP and SIP use: capture agents' ids and tenants. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import t, { type Test } from 'tap'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { ProblemsError } from '../../../src/errors/problems.js'
import type { Source, SourceContext, StartSource } from '../../../src/flow/source.js'
import { createLog } from '../../../src/ops/log.js'
import { Networks } from '../../../src/sections/network-list.js'
import { loadSettings, type SettingsInput } from '../../../src/settings/load.js'
import type { Settings } from '../../../src/settings/schema.js'
import { startHep } from '../../../src/sources/hep/hep.js'
import { Senders } from '../../../src/sources/hep/senders.js'
import { startSip } from '../../../src/sources/sip/sip.js'
import { Authority, noOpenssl, type Pair } from '../../helpers/certificates.js'
import { type CollectingInlet, collectingInlet } from '../../helpers/inlet.js'
import { publish, vqBody } from '../sip/messages.js'
import { hep } from './frames.js'

const TENANTS = { default: { id: 1 }, acme: { id: 2 }, other: { id: 3 } }
const HERE = '127.0.0.1/32'
const REFUSED = 'refused'

interface Rig {
  readonly source: Source
  readonly inlet: CollectingInlet
  readonly refused: Record<string, number>
  readonly port: (name: string) => number
}

async function rig(t: Test, start: StartSource<Settings>, over: SettingsInput): Promise<Rig> {
  const inlet = collectingInlet(catalogue())
  const refused: Record<string, number> = {}
  const none = (): void => undefined
  const source = await start({
    settings: loadSettings(null, { tenants: TENANTS, ...over }),
    catalogue: catalogue(),
    inlet,
    log: createLog('silent'),
    onBroken: (_, error) => t.error(error),
    counters: () => ({
      received: none,
      refused: (reason, count = 1) => {
        refused[reason] = (refused[reason] ?? 0) + count
      },
      lag: none,
      connections: none,
      gap: none,
      left: none,
    }),
    intake: () => {
      throw new Error('not for this source')
    },
  } satisfies SourceContext<Settings>)
  if (source === null) throw new Error('it is off')
  t.teardown(() => source.stop())
  return { source, inlet, refused, port: (name) => Number(source.addresses[name].split(':').pop()) }
}

async function until<T>(what: string, probe: () => T | undefined): Promise<T> {
  for (let i = 0; i < 1000; i++) {
    const found = probe()
    if (found !== undefined) return found
    await new Promise((resolve) => {
      setTimeout(resolve, 10)
    })
  }
  throw new Error(`never: ${what}`)
}

let calls = 0
/** A phone's report of its quality, by HEP from a capture agent, and by SIP from the phone. */
const captured = (captureId: number | null): Buffer =>
  hep({ kind: 35, payload: vqBody(`c${calls++}@192.0.2.14`), atMs: Date.now() - 1000, captureId })
const report = (): Buffer => publish(vqBody(`c${calls++}@192.0.2.14`))

/** Sends one message and tells what became of it: its tenant, or that it was refused. */
async function outcome({ inlet, refused }: Rig, send: () => Promise<void> | void): Promise<string> {
  const before = [inlet.entries.length, refused['unauthorised'] ?? 0]
  await send()
  return until('taken or refused', () =>
    inlet.entries.length > before[0]
      ? inlet.entries.at(-1)?.tenant
      : (refused['unauthorised'] ?? 0) > before[1]
        ? REFUSED
        : undefined,
  )
}

async function byUdp(port: number, bytes: Buffer): Promise<void> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve, reject) => {
    socket.send(bytes, port, '127.0.0.1', (error) => {
      if (error === null) resolve()
      else reject(error)
    })
  })
  socket.close()
}

function byTcp(t: Test, port: number, bytes: Buffer): void {
  const socket = connect(port, '127.0.0.1', () => {
    socket.write(bytes)
  })
  socket.on('error', () => undefined)
  t.teardown(() => {
    socket.destroy()
  })
}

async function byTls(t: Test, port: number, authority: Authority, { cert, key }: Pair, bytes: Buffer): Promise<void> {
  const options: ConnectionOptions = {
    port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: readFileSync(authority.ca),
    cert: readFileSync(cert),
    key: readFileSync(key),
  }
  const socket = connectTls(options)
  socket.on('error', () => undefined)
  t.teardown(() => {
    socket.destroy()
  })
  await once(socket, 'secureConnect')
  socket.write(bytes)
}

const NODES = [{ captureId: 7, tenant: 'acme' }, { captureId: 8, tenant: 'other' }, { captureId: 9 }]

t.test("HEP by UDP and TCP: a network's senders have its capture agents and tenants", async (t) => {
  const rows: [allow: unknown, expected: Record<string, string>][] = [
    [[HERE], { none: 'default', 7: 'acme', 8: 'other', 9: 'default', 10: 'default' }],
    [[{ network: HERE }], { none: 'default', 7: 'acme', 8: 'other', 9: 'default', 10: 'default' }],
    [[{ network: HERE, tenants: ['acme'] }], { none: 'acme', 7: 'acme', 8: REFUSED, 9: 'acme', 10: 'acme' }],
    [[{ network: HERE, tenants: ['default', 'acme'] }], { none: 'default', 7: 'acme', 8: REFUSED }],
    [[{ network: HERE, captureIds: [7, 10] }], { none: REFUSED, 7: 'acme', 8: REFUSED, 10: 'default' }],
    [[{ network: HERE, captureIds: [8], tenants: ['acme'] }], { none: REFUSED, 7: REFUSED, 8: REFUSED }],
    // The narrowest counts, wherever it stands.
    [
      ['127.0.0.0/8', { network: HERE, tenants: ['other'] }, { network: '127.0.0.0/16', tenants: ['acme'] }],
      { none: 'other', 7: REFUSED, 8: 'other' },
    ],
    [['0.0.0.0/0', '::/0', { network: '127.0.0.0/16', tenants: ['acme'] }], { none: 'acme', 8: REFUSED }],
  ]
  for (const [allow, expected] of rows) {
    const r = await rig(t, startHep, {
      hep: { udp: '127.0.0.1:0', tcp: '127.0.0.1:0', nodes: NODES, allow: allow as never },
    })
    for (const [id, wanted] of Object.entries(expected)) {
      const packet = (): Buffer => captured(id === 'none' ? null : Number(id))
      t.equal(await outcome(r, () => byUdp(r.port('hepUdp'), packet())), wanted, `UDP ${id} ${JSON.stringify(allow)}`)
      t.equal(
        await outcome(r, () => {
          byTcp(t, r.port('hepTcp'), packet())
        }),
        wanted,
        `TCP ${id} ${JSON.stringify(allow)}`,
      )
    }
    await r.source.stop()
  }
})

t.test("SIP by UDP and TCP: a network's tenant is that of its reports", async (t) => {
  const r = await rig(t, startSip, {
    sip: { udp: '127.0.0.1:0', tcp: '127.0.0.1:0', allow: ['127.0.0.0/8', { network: HERE, tenants: ['acme'] }] },
  })
  t.equal(await outcome(r, () => byUdp(r.port('sipUdp'), report())), 'acme')
  t.equal(
    await outcome(r, () => {
      byTcp(t, r.port('sipTcp'), report())
    }),
    'acme',
  )
})

t.test('TLS: certificates', { skip: noOpenssl }, async (t) => {
  const authority = new Authority(t)
  const tls = { ...authority.issue('own', 'DNS:localhost'), clientCa: authority.ca }
  const [plain, probe] = [
    authority.issue('plain', 'DNS:plain.example.net'),
    authority.issue('probe', 'URI:urn:probe:1', 'plain.example.net'),
  ]
  const h = await rig(t, startHep, {
    hep: {
      tlsListen: '127.0.0.1:0',
      tls,
      nodes: NODES,
      authorise: { 'urn:probe:1': { captureIds: [8, 9], tenants: ['other'] } },
    },
  })
  const hepBy = (pair: Pair, id: number | null = null): Promise<string> =>
    outcome(h, () => byTls(t, h.port('hepTls'), authority, pair, captured(id)))
  t.same(
    [await hepBy(plain), await hepBy(plain, 7), await hepBy(plain, 9)],
    ['default', REFUSED, 'default'],
    "the listener's own tenant",
  )
  t.same(
    [await hepBy(probe), await hepBy(probe, 7), await hepBy(probe, 8), await hepBy(probe, 9)],
    [REFUSED, REFUSED, 'other', 'other'],
  )

  const s = await rig(t, startSip, {
    sip: {
      tlsListen: '127.0.0.1:0',
      tls,
      allow: [{ network: HERE }],
      authorise: { 'urn:probe:1': { tenants: ['other'] } },
    },
  })
  const sipBy = (r: Rig, pair: Pair): Promise<string> =>
    outcome(r, () => byTls(t, r.port('sipTls'), authority, pair, report()))
  t.same([await sipBy(s, plain), await sipBy(s, probe)], ['default', 'other'])
  const both = await rig(t, startSip, {
    sip: {
      tlsListen: '127.0.0.1:0',
      tls,
      allow: [{ network: HERE, tenants: ['acme'] }],
      authorise: { 'urn:probe:1': { tenants: ['other'] } },
    },
  })
  t.same([await sipBy(both, plain), await sipBy(both, probe)], ['acme', REFUSED], 'both must allow it')
})

t.test('what an entry may be', (t) => {
  const wrong = (over: SettingsInput): string[] => {
    try {
      loadSettings(null, { tenants: TENANTS, ...over })
      return []
    } catch (error) {
      return (error as ProblemsError).problems.map(({ path }) => path)
    }
  }
  t.same(
    wrong({
      hep: {
        udp: '127.0.0.1:0',
        allow: [{ network: HERE, tenants: ['nobody', 'acme'] }, { network: 'here' }, '300.0.0.0/8'] as never,
      },
    }),
    ['hep.allow.0.tenants.0', 'hep.allow.1.network', 'hep.allow.2'],
  )
  for (const [section, entry] of [
    ['hep', { network: HERE, tenant: 'acme' }],
    ['hep', { tenants: ['acme'] }],
    ['hep', { network: HERE, captureIds: ['7'] }],
    ['sip', { network: HERE, captureIds: [7] }],
    ['sip', { network: HERE, tenants: ['acme', 'other'] }],
    ['hep', 7],
  ] as const) {
    t.ok(wrong({ [section]: { udp: '127.0.0.1:0', allow: [entry] } }).length > 0, JSON.stringify(entry))
  }
  t.same(
    wrong({ sip: { udp: '192.0.2.1:5060', allow: [{ network: '127.0.0.0/8' }] } }),
    ['sip.allow'],
    'this machine alone, beside a listener for others',
  )
  t.same(wrong({ hep: { udp: '127.0.0.1:0', authorise: { a: { tenants: ['acme'] } } } }), ['hep.authorise'])
  const networks = new Networks([
    { network: '2001:db8::/32', tenants: ['a'] },
    '2001:db8:1::/48',
    { network: '192.0.2.0/24', captureIds: [1] },
  ])
  t.same(
    ['2001:db8:2::1', '2001:db8:1::1', '192.0.2.9'].map((address) => networks.place(address)),
    [0, 1, 2],
  )
  t.notOk(networks.everybody)
  const senders = new Senders(
    ['192.0.2.0/24', { network: '192.0.2.128/25', tenants: ['a'] }, { network: '198.51.100.7', tenants: ['c'] }],
    0,
  )
  const places = (): readonly number[] =>
    ['192.0.2.1', '192.0.2.200', '192.0.2.200', '192.0.2.1', '::ffff:192.0.2.200', '198.51.100.7'].map((address) =>
      senders.place(address),
    )
  t.same(
    [places(), places()],
    [
      [0, 1, 1, 0, 1, 2],
      [0, 1, 1, 0, 1, 2],
    ],
    'in trains and in turns, as they come first and as they are remembered',
  )
  t.same(
    ['203.0.113.1', '192.0.2.200', '203.0.113.1'].map((address) => senders.take(address, 0)),
    ['unauthorised', 'taken', 'unauthorised'],
  )
  t.equal(senders.place('203.0.113.1'), 0, 'nothing of it is taken, but there are limits for it')
  t.end()
})
