/** The source itself: UDP, TCP and TLS on loopback, what it refuses, and how it ends. */
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { deflateSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { SourceCounters } from '../../../src/flow/counters.js'
import type { Source, SourceContext } from '../../../src/flow/source.js'
import { createLog } from '../../../src/ops/log.js'
import { loadSettings, type SettingsInput } from '../../../src/settings/load.js'
import type { Settings } from '../../../src/settings/schema.js'
import { hasCallRecords, startHep } from '../../../src/sources/hep/hep.js'
import { Senders } from '../../../src/sources/hep/senders.js'
import { hepSecret, type HepSettings } from '../../../src/sources/hep/settings.js'
import { dropsIn, udpDrops } from '../../../src/sources/hep/udp-drops.js'
import { spawnSync } from '../../helpers/child-process.js'
import { type CollectingInlet, collectingInlet } from '../../helpers/inlet.js'
import { chunk, frame, hep, request, response, SDP } from './frames.js'

const PATIENCE_MS = 20_000

interface Rig {
  readonly source: Source
  readonly inlet: CollectingInlet
  readonly counts: { received: number; connections: number; readonly refused: Record<string, number> }
  readonly broken: unknown[]
  readonly log: string[]
  udp(...packets: readonly Buffer[]): Promise<void>
  tcp(): Promise<Socket>
  /** Waits until something is so; the counts come with a sweep, four times a second. */
  until(what: string, probe: () => boolean): Promise<void>
}

async function rig(t: Test, over: Partial<HepSettings>, settings: SettingsInput = {}): Promise<Rig> {
  const inlet = collectingInlet(catalogue())
  const counts: Rig['counts'] = { received: 0, connections: 0, refused: {} }
  const counters: SourceCounters = {
    received: (count) => {
      counts.received += count
    },
    refused: (reason, count = 1) => {
      counts.refused[reason] = (counts.refused[reason] ?? 0) + count
    },
    lag: () => undefined,
    connections: (count) => {
      counts.connections = count
    },
    gap: () => undefined,
    left: () => undefined,
  }
  const broken: unknown[] = []
  const log: string[] = []
  const context: SourceContext<Settings> = {
    settings: loadSettings(null, { ...settings, hep: over }),
    catalogue: catalogue(),
    inlet,
    counters: () => counters,
    intake: () => {
      throw new Error('not a source that can send again')
    },
    log: createLog('trace', {
      write: (line) => {
        log.push(line)
      },
    }),
    onBroken: (_, error) => broken.push(error),
  }
  const source = await startHep(context)
  if (source === null) throw new Error('it did not start')
  t.teardown(async () => {
    await source.stop()
    if (broken.length > 0) throw new Error('it broke', { cause: broken[0] })
  })
  const port = (name: string): number => Number(source.addresses[name].split(':').pop())
  return {
    source,
    inlet,
    counts,
    broken,
    log,
    udp: async (...packets) => {
      const socket = createSocket('udp4')
      for (const packet of packets)
        await new Promise<void>((resolve, reject) => {
          socket.send(packet, port('hepUdp'), '127.0.0.1', (error) => {
            if (error === null) resolve()
            else reject(error)
          })
        })
      socket.close()
    },
    tcp: async () => {
      const socket = connect(port('hepTcp'), '127.0.0.1')
      socket.on('error', () => undefined)
      t.teardown(() => {
        socket.destroy()
      })
      await once(socket, 'connect')
      return socket
    },
    until: async (what, probe) => {
      const deadline = Date.now() + PATIENCE_MS
      while (!probe()) {
        if (Date.now() > deadline) throw new Error(`never: ${what}; ${JSON.stringify(counts)}`)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    },
  }
}

const calls = (r: Rig): number => r.inlet.records().filter(({ kind }) => kind === 'call').length

function call(callId: string, over: object = {}): Buffer[] {
  const sdp = { headers: ['Content-Type: application/sdp'], body: SDP }
  const now = Date.now() - 60_000
  return [
    hep({ payload: request({ callId, ...sdp }), atMs: now, ...over }),
    hep({ payload: response(200, { callId, ...sdp }), atMs: now + 1000, ...over }),
    hep({ payload: request({ callId, cseq: 2, method: 'BYE', toTag: 'b' }), atMs: now + 9000, ...over }),
  ]
}

t.test('UDP and TCP: the same calls', async (t) => {
  const r = await rig(t, { udp: '127.0.0.1:0', tcp: '127.0.0.1:0' })
  await r.udp(...call('u1'), ...call('u2', { zlib: true }))
  await r.until('two calls', () => calls(r) === 2)
  const socket = await r.tcp()
  const bytes = Buffer.concat([...call('t1'), ...call('t2', { zlib: true, asterisk: true })])
  for (let at = 0; at < bytes.length; at += 101) {
    socket.write(bytes.subarray(at, at + 101))
    if (at % 707 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await r.until('four calls', () => calls(r) === 4)
  // The same again, by the other way.
  socket.write(Buffer.concat(call('u1')))
  await r.until('15 packets', () => r.counts.received === 15)
  t.equal(calls(r), 4)
  t.same(r.counts.refused, {})
  t.equal(r.counts.connections, 1)
})

t.test('TLS, with and without a certificate', async (t) => {
  const folder = t.testdir({})
  const made = spawnSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'key.pem',
      '-out',
      'cert.pem',
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
    ],
    { cwd: folder },
  )
  if (made.status !== 0) {
    t.comment('openssl is not there: TLS was not tried')
    return
  }
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => join(folder, name))
  const r = await rig(t, { tlsListen: '127.0.0.1:0', tls: { cert, key, clientCa: cert }, idleMs: 1000 })
  const port = Number(r.source.addresses['hepTls'].split(':').pop())
  const options = {
    port,
    host: '127.0.0.1',
    ca: readFileSync(cert),
    servername: 'localhost',
    checkServerIdentity: () => undefined,
  }
  const good = connectTls({ ...options, cert: readFileSync(cert), key: readFileSync(key) })
  good.on('error', () => undefined)
  await once(good, 'secureConnect')
  // Busy for longer than a connection may be idle.
  for (const packet of call('s1')) {
    good.write(packet)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  await r.until('one call', () => calls(r) === 1)
  await r.until('it is closed when nothing comes', () => r.counts.refused['idle'] === 1 && r.counts.connections === 0)
  const stranger = connectTls(options)
  stranger.on('error', () => undefined)
  await r.until('a stranger is refused', () => r.counts.refused['unauthorised'] === 1)
  const noTls = connect(port, '127.0.0.1')
  noTls.on('error', () => undefined)
  noTls.write(Buffer.concat(call('s2')))
  await r.until('so is what is no TLS', () => r.counts.refused['unauthorised'] === 2)
  await r.until('all are gone', () => r.counts.connections === 0)
  t.equal(calls(r), 1)
  stranger.destroy()
  noTls.destroy()
})

t.test('the key: right, wrong, missing, and never told', async (t) => {
  const secret = 'k3y-that-nobody-must-see'
  const folder = t.testdir({ key: `${secret}\n` })
  spawnSync('chmod', ['600', join(folder, 'key')])
  const r = await rig(t, { udp: '127.0.0.1:0', tcp: '127.0.0.1:0', secretFile: join(folder, 'key') })
  await r.udp(...call('k1', { key: secret }))
  await r.until('one call', () => calls(r) === 1)
  const wrong = [
    undefined,
    '',
    'k',
    secret.slice(0, -1),
    `${secret}x`,
    secret.toUpperCase(),
    '\0'.repeat(secret.length),
    'x'.repeat(5000),
  ]
  for (const key of wrong) await r.udp(call('k2', key === undefined ? {} : { key })[0])
  await r.until('all are refused', () => r.counts.refused['unauthorised'] === wrong.length)
  const socket = await r.tcp()
  socket.write(Buffer.concat([call('k3', { key: 'wrong' })[0], ...call('k4', { key: secret })]))
  await r.until(
    'the connection is closed',
    () => r.counts.refused['unauthorised'] === wrong.length + 1 && r.counts.connections === 0,
  )
  t.equal(calls(r), 1)
  t.notOk(r.log.join('').includes(secret.slice(4)), 'not in the log')
  const { parse } = hepSecret(loadSettings(null).hep)
  t.same(parse(Buffer.from(`${secret}\r\n`)), { value: Buffer.from(secret) })
  for (const text of ['', '\n', 'x'.repeat(300)]) t.ok('wrong' in parse(Buffer.from(text)), text.slice(0, 5))
})

t.test('what is no HEP3, by UDP', async (t) => {
  const r = await rig(t, { udp: '127.0.0.1:0', maxFrameBytes: 2000, maxInflatedBytes: 20_000, inflationsPerSecond: 5 })
  const one = hep({ payload: 'x' })
  await r.udp(
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from('HEP3'),
    Buffer.from('HEP3\0\0'),
    Buffer.from('HEP3\xff\xff', 'latin1'),
    one.subarray(0, -1),
    frame([chunk(15, 'x', 0, 0)]),
    frame([chunk(15, 'x', 0, 65_535)]),
  )
  await r.until('malformed ones', () => r.counts.refused['malformed'] === 7)
  await r.udp(hep({ payload: randomBytes(2000) }))
  await r.until('one that is too large', () => r.counts.refused['too_large'] === 1)
  const zlib = (bytes: Uint8Array): Buffer => frame([chunk(11, Buffer.from([1])), chunk(16, bytes)])
  const bomb = deflateSync(Buffer.alloc(1_000_000))
  t.ok(bomb.length < 1100)
  await r.udp(zlib(bomb), zlib(Buffer.from('no zlib')), zlib(deflateSync('cut off').subarray(0, -6)))
  await r.until(
    'a bomb, and what is no zlib',
    () => r.counts.refused['too_large'] === 2 && r.counts.refused['malformed'] === 9,
  )
  await r.udp(...Array<Buffer>(50).fill(zlib(bomb)))
  await r.until('too many of them are not tried', () => (r.counts.refused['rate'] ?? 0) >= 40)
  // And after all that, a call, uncompressed.
  await r.udp(...call('after'))
  await r.until('one call', () => calls(r) === 1)
})

t.test('TCP: one out of step is closed, the others go on', async (t) => {
  const r = await rig(t, { tcp: '127.0.0.1:0', maxConnections: 2 })
  const [bad, good] = [await r.tcp(), await r.tcp()]
  const third = await r.tcp()
  await r.until('a third is turned away', () => r.counts.refused['connections'] === 1)
  await r.until('and closed', () => third.closed)
  bad.write('HTTP or anything else')
  good.write(Buffer.concat(call('g1')).subarray(0, 333))
  await r.until('the bad one is closed', () => bad.closed)
  good.write(Buffer.concat(call('g1')).subarray(333))
  await r.until('one call', () => calls(r) === 1 && r.counts.refused['malformed'] === 1 && r.counts.connections === 1)
  good.end()
  await r.until('nobody is connected', () => r.counts.connections === 0)
})

t.test('TCP waits while the spool is full', async (t) => {
  const r = await rig(t, { tcp: '127.0.0.1:0' })
  const socket = await r.tcp()
  r.inlet.full = true
  socket.write(hep({ payload: 'x', kind: 100 }))
  await r.until('it was read', () => r.counts.refused['unused'] === 1)
  socket.write(Buffer.concat(call('w1')))
  await new Promise((resolve) => setTimeout(resolve, 300))
  r.inlet.full = false
  await r.until('the call was kept', () => calls(r) === 1)
  t.notOk('no_room' in r.counts.refused)
})

t.test('who may send, and how much', async (t) => {
  const senders = new Senders(['192.0.2.0/24', '2001:db8::/32', '198.51.100.7'], 2)
  for (const [address, taken] of [
    ['192.0.2.9', 'taken'],
    ['192.0.3.9', 'unauthorised'],
    ['::ffff:192.0.2.10', 'taken'],
    ['2001:db8::5', 'taken'],
    ['2001:db9::5', 'unauthorised'],
    ['198.51.100.7', 'taken'],
    ['198.51.100.8', 'unauthorised'],
    ['', 'unauthorised'],
  ] as const) {
    t.equal(senders.take(address, 0), taken, address)
    t.equal(senders.allows(address), taken === 'taken')
  }
  t.same(
    [0, 1, 300, 499, 1001].map((now) => senders.take('192.0.2.77', now)),
    ['taken', 'taken', 'rate', 'rate', 'taken'],
  )
  const open = new Senders(['::/0', '0.0.0.0/0'], 0)
  for (const address of ['203.0.113.5', '2001:db8::5', '::ffff:203.0.113.5'])
    for (let i = 0; i < 3; i++) t.equal(open.take(address, 0), 'taken')
  t.equal(new Senders(['0.0.0.0/0'], 0).take('2001:db8::5', 0), 'unauthorised', 'all of IPv4 is not everybody')
  t.equal(new Senders([], 0).take('127.0.0.1', 0), 'unauthorised', 'nobody is nobody')
  for (let i = 0; i < 40_000; i++) senders.take(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, 0)
  t.equal(senders.take('192.0.2.9', 0), 'taken', 'made-up addresses do not fill the memory')
  const r = await rig(t, { udp: '127.0.0.1:0', allow: ['192.0.2.0/24'] })
  await r.udp(...call('n1'))
  await r.until('all are refused', () => r.counts.refused['unauthorised'] === 3 && r.counts.received === 3)
  const s = await rig(t, { udp: '127.0.0.1:0', allow: ['127.0.0.0/8'], ratePerSecond: 5 })
  await s.udp(...Array<Buffer>(30).fill(hep({ payload: 'x', kind: 100 })))
  await s.until('most are too many', () => s.counts.received === 30 && (s.counts.refused['rate'] ?? 0) >= 15)
})

t.test('what the kernel drops is known', async (t) => {
  const line = (port: string, drops: number): string =>
    `  123: 0100007F:${port} 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345 2 0000000000000000 ${drops}`
  const table = [
    '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops',
    line('2364', 7),
    line('2365', 9),
    line('2364', 1),
    '',
  ].join('\n')
  t.equal(dropsIn(table, 0x2364), 8)
  t.equal(dropsIn(table, 0x2365), 9)
  t.equal(dropsIn(table, 0x2366), null)
  t.equal(await udpDrops('127.0.0.1', 1), null)
  if (process.platform !== 'linux') {
    t.comment("/proc/net/udp is Linux's: drops were not counted")
    return
  }
  const r = await rig(t, { udp: '127.0.0.1:0', receiveBufferBytes: 65_536 })
  const port = Number(r.source.addresses['hepUdp'].split(':').pop())
  t.equal(await udpDrops('127.0.0.1', port), 0)
  // The sender is a process of its own, and this one does not read while it sends.
  const script = `
    const socket = require('dgram').createSocket('udp4')
    const frame = Buffer.from('${hep({ payload: 'x', kind: 100 }).toString('hex')}', 'hex')
    let sent = 0
    for (let i = 0; i < 3000; i++)
      socket.send(frame, ${port}, '127.0.0.1', () => {
        if (++sent === 3000) socket.close()
      })`
  spawnSync(process.execPath, ['-e', script])
  await r.until('all 3000 are accounted for', () => r.counts.received === 3000)
  t.ok((r.counts.refused['no_room'] ?? 0) > 0)
  t.equal((r.counts.refused['no_room'] ?? 0) + r.counts.refused['unused'], 3000)
  t.ok(r.log.some((entry) => entry.includes('dropped')))
})

t.test('calls: which source gives them', async (t) => {
  const on: SettingsInput = { files: [{ path: '/x/Master.csv', format: 'asterisk-csv' }] }
  t.equal(hasCallRecords(loadSettings(null)), false)
  t.equal(hasCallRecords(loadSettings(null, on)), true)
  t.equal(hasCallRecords(loadSettings(null, { freeswitch: { listen: '127.0.0.1:0' } })), true)
  for (const [choice, made] of [
    ['auto', 0],
    ['always', 1],
    ['never', 0],
  ] as const) {
    const r = await rig(t, { udp: '127.0.0.1:0', calls: choice }, on)
    await r.udp(...call('o1'))
    await r.until('the call is over', () => r.counts.received === 3)
    t.equal(calls(r), made, choice)
    t.equal(r.counts.refused['other_source'] ?? 0, 1 - made)
  }
})

t.test('a port that is in use, and one that is off', async (t) => {
  const r = await rig(t, { udp: '127.0.0.1:0', tcp: '127.0.0.1:0' })
  await t.rejects(rig(t, { udp: r.source.addresses['hepUdp'] }), { code: 'MINIM_HEP_LISTEN' })
  await t.rejects(rig(t, { tcp: r.source.addresses['hepTcp'] }), { code: 'MINIM_HEP_LISTEN' })
  await t.rejects(rig(t, {}), /did not start/)
  t.throws(() => loadSettings(null, { hep: { tlsListen: '127.0.0.1:0' } }), {
    code: 'MINIM_SETTINGS_INVALID',
    message: /hep.tls/,
  })
  t.throws(() => loadSettings(null, { hep: { udp: '127.0.0.1:0', allow: ['192.0.2.0/33', 'host'] } }), {
    message: /hep.allow.0[^]*hep.allow.1/,
  })
  t.throws(
    () =>
      loadSettings(null, {
        hep: { udp: '127.0.0.1:0', tenant: 'nobody', nodes: [{ captureId: 1 }, { captureId: 1, tenant: 'nobody' }] },
      }),
    { message: /hep.tenant[^]*hep.nodes.1.captureId[^]*hep.nodes.1.tenant/ },
  )
})

t.test('stopping: what is known is written, nothing is taken after', async (t) => {
  const r = await rig(t, { udp: '127.0.0.1:0', tcp: '127.0.0.1:0' })
  await r.tcp()
  await r.udp(
    ...call('e1').slice(0, 2),
    hep({
      payload: request({ callId: 'reg', method: 'REGISTER', headers: ['Contact: <sip:1001@192.0.2.10>'] }),
      atMs: Date.now(),
    }),
  )
  await r.until('all is read', () => r.counts.received === 3)
  await r.source.stopTaking()
  t.match(
    r.inlet
      .records()
      .map(({ kind }) => kind)
      .sort(),
    ['call', 'device'],
  )
  await r.udp(...call('e2')).catch(() => undefined)
  await r.source.stop()
  t.equal(calls(r), 1)
})
