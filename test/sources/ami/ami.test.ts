/** AMI: the source as a whole, against a server that behaves as Asterisk does. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import t, { type Test } from 'tap'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import type { SourceRefusal } from '../../../src/flow/counters.js'
import type { StreamIntake } from '../../../src/flow/intake.js'
import type { Source } from '../../../src/flow/source.js'
import { createLog } from '../../../src/ops/log.js'
import { loadSettings } from '../../../src/settings/load.js'
import { startAmi } from '../../../src/sources/ami/ami.js'
import { until } from '../../e2e/program.js'
import { execFileSync } from '../../helpers/child-process.js'
import { type CollectedRecord, type CollectingInlet, collectingInlet } from '../../helpers/inlet.js'
import { shared } from '../../helpers/shared.js'
import { AmiServer, cdr, crlf, fixture, stanza } from './server.js'

interface Running {
  readonly source: Source
  readonly inlet: CollectingInlet
  readonly counted: {
    received: number
    refused: Partial<Record<SourceRefusal, number>>
    gap: number
    connections: number
    lag: number
  }
  readonly log: () => string
  /** Records of a kind, once there are so many. */
  readonly of: (kind: string, count: number) => Promise<CollectedRecord['fields'][]>
}

const ENTRY = {
  node: 'pbx1',
  host: '127.0.0.1',
  user: 'minim',
  secretEnv: 'AMI_TEST_SECRET',
  timeZone: 'UTC',
  settleMs: 30,
  pingMs: 10_000,
  reconnectMs: 20,
  reconnectMaxMs: 60,
}
process.env['AMI_TEST_SECRET'] = 'a secret'

async function start(
  t: Test,
  entries: readonly Readonly<Record<string, unknown>>[],
  more: Readonly<Record<string, unknown>> = {},
): Promise<Running> {
  const folder = t.testdir({
    'minim.yaml': JSON.stringify({ ami: entries.map((entry) => ({ ...ENTRY, ...entry })), ...more }),
  })
  const written = JSON.parse(readFileSync(join(folder, 'minim.yaml'), 'utf8')) as { ami: unknown[] }
  writeFileSync(
    join(folder, 'minim.yaml'),
    JSON.stringify({ policy: join(process.cwd(), 'config/policy.yaml'), ...written }),
  )
  const settings = loadSettings(join(folder, 'minim.yaml'))
  const inlet = collectingInlet(catalogue())
  const counted: Running['counted'] = { received: 0, refused: {}, gap: 0, connections: 0, lag: 0 }
  let text = ''
  const log = createLog(
    'trace',
    new Writable({
      write: (chunk: Buffer, _, done) => {
        text += chunk.toString()
        done()
      },
    }),
  )
  const source = await startAmi({
    settings,
    catalogue: catalogue(),
    log,
    inlet,
    intake: () => null as unknown as StreamIntake,
    onBroken: (_, error) => {
      t.error(error)
    },
    counters: () => ({
      received: (count) => {
        counted.received += count
      },
      refused: (reason, count = 1) => {
        counted.refused[reason] = (counted.refused[reason] ?? 0) + count
      },
      lag: (seconds) => {
        counted.lag = seconds
      },
      connections: (count) => {
        counted.connections = count
      },
      left: () => undefined,
      gap: (seconds) => {
        counted.gap += seconds
      },
    }),
  })
  if (source === null) throw new Error('no source')
  let stopped = false
  t.teardown(async () => {
    if (!stopped) await source.stopTaking()
  })
  const of = (kind: string, count: number): Promise<CollectedRecord['fields'][]> =>
    until(`${count} of ${kind}`, () => {
      const found = inlet
        .records()
        .filter((record) => record.kind === kind)
        .map((record) => record.fields)
      return found.length >= count ? found : null
    })
  return {
    source: {
      ...source,
      stopTaking: () => {
        stopped = true
        return source.stopTaking()
      },
    },
    inlet,
    counted,
    log: () => text,
    of,
  }
}

const START = Date.UTC(2026, 10, 24, 13, 20)

t.test('one call, whatever the splits: a call, one quality of its leg, and the SIP Call-ID in both', async (t) => {
  for (const pieceBytes of [1, 7, 100_000]) {
    const server = await AmiServer.start(t, { pieceBytes })
    const run = await start(t, [{ port: server.port, challenge: pieceBytes === 7 ? 'plain' : 'md5', settleMs: 1000 }])
    await server.loggedIn()
    await server.send(fixture('call.txt'))
    const [call] = await run.of('call', 1)
    t.match(
      call,
      {
        account: 'acme',
        call_id: '3c26-7b-example@192.0.2.44',
        linked_id: 'pbx1-1795526400.26',
        calling: '447700900123',
        called: '02079460101',
        calling_name: 'O\\"Quote',
        start_ms: START,
        answer_ms: START + 5000,
        end_ms: START + 75_000,
        duration_seconds: 75,
        billable_seconds: 70,
        disposition: 'ANSWERED',
        hangup_cause: 16,
        origin: 'CDR',
      },
      `${pieceBytes} octets a packet`,
    )
    const qualities = await run.of('quality', 1)
    t.equal(qualities.length, 1)
    const { loss_percent: loss, mos_cq: mos, ...quality } = qualities[0]
    t.match(quality, {
      account: 'acme',
      call_id: '3c26-7b-example@192.0.2.44',
      linked_id: 'pbx1-1795526400.26',
      local_party: '447700900123',
      remote_party: '02079460101',
      local_ip: '192.0.2.44',
      jitter_ms: 20,
      jitter_max_ms: 30,
      round_trip_ms: 40,
      packets_sent: 500,
      packets_received: 490,
      packets_lost: 10,
      origin: 'REPORT',
    })
    t.ok(Math.abs(Number(loss) - (10 / 995) * 100) < 0.001, 'loss is the share of what both sent')
    t.ok(Math.abs(Number(mos) - 4.3) < 0.001)
    t.ok(Number(quality['start_ms']) > START - 1e12)
    await run.source.stopTaking()
    t.same(
      run.inlet
        .records()
        .map((record) => record.kind)
        .sort(),
      ['call', 'quality'],
      'nothing more at the end',
    )
    t.ok(server.actions.includes('Logoff'))
    t.equal(server.mask, 'cdr,reporting,call,system')
    t.match(server.filters, [/Cdr\|CEL/])
    t.notMatch(run.log(), /7700|2079|a secret|Ada|Quote/)
  }
})

t.test('an originated call gives four Cdr events, and is one call; the cause comes from CEL', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port }])
  await server.loggedIn()
  await server.send(fixture('originate.txt'))
  const [call] = await run.of('call', 1)
  await run.source.stopTaking()
  t.equal(run.inlet.records().length, 1)
  t.match(call, {
    call_id: 'pbx1-1795526500.30',
    linked_id: 'pbx1-1795526500.30',
    calling: '02079460102',
    calling_name: 'Bob',
    called: '02079460101',
    hangup_cause: 17,
    answer_ms: Date.UTC(2026, 10, 24, 13, 21, 43),
    disposition: 'ANSWERED',
  })
  t.equal(run.counted.refused.malformed, undefined, 'an answer to someone else and an event with Response: are neither')
  await until('the first is gone', () => server.clients === 0)
  const all = await start(t, [{ port: server.port, rows: 'all' }])
  await until('the second client', () => server.clients === 1)
  await server.send(fixture('originate.txt'))
  t.equal((await all.of('call', 4)).length, 4, 'rows: all')
})

const ROWS: readonly {
  readonly name: string
  readonly rows: readonly Readonly<Record<string, string | number>>[]
  readonly expected: readonly string[]
}[] = [
  {
    name: 'a ring group: one answered, two not',
    expected: ['b'],
    rows: [
      {
        DestinationChannel: 'PJSIP/a-1',
        Destination: 'a',
        Disposition: 'NO ANSWER',
        AnswerTime: '',
        BillableSeconds: 0,
        Duration: 5,
        EndTime: '2026-11-24 13:20:05',
      },
      { DestinationChannel: 'PJSIP/b-1', Destination: 'b' },
      {
        DestinationChannel: 'PJSIP/c-1',
        Destination: 'c',
        Disposition: 'NO ANSWER',
        AnswerTime: '',
        BillableSeconds: 0,
        Duration: 5,
      },
    ],
  },
  {
    name: 'none answered: the longest attempt',
    expected: ['b'],
    rows: [
      { Destination: 'a', Disposition: 'NO ANSWER', AnswerTime: '', BillableSeconds: 0, Duration: 5 },
      { Destination: 'b', Disposition: 'BUSY', AnswerTime: '', BillableSeconds: 0, Duration: 20 },
    ],
  },
  {
    name: 'two calls of one channel, one after the other',
    expected: ['a', 'b'],
    rows: [
      { Destination: 'a' },
      {
        Destination: 'b',
        StartTime: '2026-11-24 13:21:15',
        AnswerTime: '2026-11-24 13:21:15',
        EndTime: '2026-11-24 13:22:00',
        Duration: 45,
        BillableSeconds: 45,
      },
    ],
  },
  {
    name: 'a conference: pairs that overlap',
    expected: ['b'],
    rows: [{ Destination: 'a', AnswerTime: '2026-11-24 13:20:30', BillableSeconds: 45 }, { Destination: 'b' }],
  },
  { name: 'a Local leg of another call', expected: [], rows: [{ Channel: 'Local/5@x-1;2', LinkedID: '1795526400.0' }] },
  {
    name: 'the first half of a Local channel that belongs to another',
    expected: [],
    rows: [{ Channel: 'Local/5@x-1;1', LinkedID: '1795526400.0' }],
  },
  { name: 'the h extension alone', expected: [], rows: [{ Destination: 'h' }] },
]

t.test('which records of a channel are calls', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port }])
  await server.loggedIn()
  for (const [i, { name, rows, expected }] of ROWS.entries()) {
    run.inlet.clear()
    const before = run.counted.refused.unused ?? 0
    await server.send(rows.map((row) => cdr({ UniqueID: `1795526400.${100 + i}`, ...row })).join(''))
    await until(name, () => run.inlet.records().length + (run.counted.refused.unused ?? 0) - before >= rows.length)
    t.same(
      run.inlet
        .records()
        .map(({ fields }) => fields['called'])
        .sort(),
      expected,
      name,
    )
  }
})

t.test('a record is taken once, and late records of a channel that was taken are not counted again', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [
    { port: server.port, rows: 'all' },
    { node: 'pbx2', port: server.port },
  ])
  await until('both', () => server.clients === 2)
  await server.send(cdr({}))
  await run.of('call', 2)
  await server.send(cdr({}))
  await until('the repeat', () => run.inlet.repeats === 1)
  await until('the late record', () => run.counted.refused.unused !== undefined && run.counted.refused.repeated === 1)
  t.equal(run.inlet.records().length, 2, 'one a node')
  for (const { id } of run.inlet.entries) t.notMatch(id, /7700|PJSIP/, 'ids hold no name')
})

t.test("times are the PBX's own; what is no record goes to quarantine", async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port, timeZone: 'America/New_York' }])
  await server.loggedIn()
  await server.send(
    cdr({}) +
      cdr({ StartTime: '', UniqueID: '1' }) +
      cdr({ StartTime: '2026-02-31 00:00:00', UniqueID: '2' }) +
      cdr({ Disposition: 'PERHAPS', UniqueID: '3' }),
  )
  const [call] = await run.of('call', 1)
  t.equal(call['start_ms'], START + 5 * 3_600_000)
  t.same(
    run.inlet.entries.filter((entry) => entry.format === 'refused').map((entry) => entry.reason),
    ['no_start_time', 'bad_value', 'bad_value'],
  )
  t.equal(run.counted.refused.malformed, 3)
  t.notMatch(run.log(), /7700|2079/)
})

t.test('a text that is not UTF-8 costs its own field, and no call', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port }])
  await server.loggedIn()
  const rows: Readonly<Record<string, string>>[] = [
    { CallerID: '"Jos\xe9" <447700900123>', Source: '' },
    { LastData: 'PJSIP/Jos\xe9@trunk' },
    { DestinationContext: '\xe9', AccountCode: 'soci\xe9t\xe9' },
    { Destination: '+44\xa0207' },
    { Source: '44\xa07', CallerID: '"Ann" <447700900123>' },
    { 'X-M\xe9tier': 'x', UserField: '\xc3\xe9' },
    { Channel: 'PJSIP/Jos\xe9-00000001' },
  ]
  await server.send(Buffer.from(rows.map((row, i) => cdr({ UniqueID: `1795526400.${i}`, ...row })).join(''), 'latin1'))
  const calls = await run.of('call', rows.length)
  t.equal(run.counted.refused.malformed, undefined)
  t.notOk('calling_name' in calls[0])
  t.equal(calls[0]['calling'], '447700900123', 'the number beside a spoilt name')
  t.same(
    calls.map((call) => call['account']),
    ['acme', 'acme', undefined, 'acme', 'acme', 'acme', 'acme'],
  )
  t.same(
    calls.map((call) => call['called']),
    rows.map((_, i) => (i === 3 ? undefined : '02079460101')),
  )
  t.ok(calls.every((call) => call['calling'] === '447700900123' && call['disposition'] === 'ANSWERED'))
})

t.test('RTCP up to Asterisk 11 names no channel: a leg is an address', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port }])
  await server.loggedIn()
  await server.send(fixture('rtcp-11.txt'))
  await until('both', () => run.counted.received >= 3)
  await run.source.stopTaking()
  const [quality] = await run.of('quality', 1)
  t.match(quality, {
    local_ip: '192.0.2.45',
    jitter_ms: 15,
    jitter_max_ms: 20,
    packets_lost: 10,
    packets_sent: 200,
    loss_percent: 5,
  })
  t.notOk('call_id' in quality)
})

t.test("devices: the list at log-in, changes completed from it, repeats left out, chan_sip's peers", async (t) => {
  const server = await AmiServer.start(t, { contacts: fixture('contacts.txt') })
  const run = await start(t, [{ port: server.port }])
  const listed = await run.of('device', 2)
  t.match(listed[0], {
    party: '447700900123',
    contact_ip: '192.0.2.44',
    contact_port: 5060,
    user_agent: /^Yealink/,
    event: 'REACHABLE',
    origin: 'REGISTRATION',
  })
  t.match(listed[1], { party: '1002', contact_ip: '2001:db8::17', contact_port: 5061, user_agent: /^Grandstream/ })
  t.ok(Number(listed[0]['expires_seconds']) > 1e9)
  await server.send(
    stanza({
      Event: 'ContactStatus',
      Privilege: 'system,all',
      URI: 'sip:447700900123@192.0.2.44:5060;transport=UDP',
      ContactStatus: 'Unreachable',
      AOR: '447700900123',
      EndpointName: '447700900123',
    }) +
      stanza({
        Event: 'PeerStatus',
        ChannelType: 'SIP',
        Peer: 'SIP/1003',
        PeerStatus: 'Registered',
        Address: '192.0.2.46:5064',
      }) +
      stanza({ Event: 'PeerStatus', ChannelType: 'PJSIP', Peer: 'PJSIP/1003', PeerStatus: 'Reachable' }) +
      stanza({ Event: 'PeerStatus', ChannelType: 'SIP', Peer: 'SIP/1003', PeerStatus: 'constructor', Address: '' }),
  )
  const [, , changed, peer, odd] = await run.of('device', 5)
  t.match(changed, { event: 'UNREACHABLE', user_agent: /^Yealink/, contact_ip: '192.0.2.44' })
  t.match(peer, { party: '1003', event: 'REGISTERED', contact_ip: '192.0.2.46', contact_port: 5064 })
  t.notOk('event' in odd)
  server.drop()
  await until('it is back', () => server.actions.filter((name) => name === 'PJSIPShowContacts').length === 2)
  await until('the list', () => (run.counted.refused.unused ?? 0) >= 2)
  t.ok(
    (await run.of('device', 5)).length <= 6,
    'the list says again only what has changed: 192.0.2.44 is reachable again',
  )
})

t.test(
  'a gap is counted while it lasts, and said with its length; calls are not missed where a file gives them',
  async (t) => {
    const server = await AmiServer.start(t)
    const run = await start(t, [{ port: server.port }])
    await server.loggedIn()
    const { port } = server
    await server.send('Event: Cdr\r\nUniqueID: 17955')
    await server.close()
    await until('some gap', () => run.counted.gap > 0)
    t.equal(run.counted.connections, 0)
    const counted = run.counted.gap
    await until('it grows', () => run.counted.gap > counted)
    const again = await AmiServer.start(t, {}, port)
    await again.loggedIn()
    await until('it is said', () => run.log().includes('gapSeconds'))
    const said = run
      .log()
      .split('\n')
      .filter((line) => line.includes('gapSeconds'))
      .map((line) => JSON.parse(line) as { node: string; gapSeconds: number; calls: string })
    t.match(said, [{ node: 'pbx1', calls: 'missed' }])
    t.ok(Math.abs(said[0].gapSeconds - run.counted.gap) < 0.2)
    t.match(run.log(), /MINIM_AMI_LOST/)
    await again.send(cdr({}))
    await run.of('call', 1)
    t.equal(run.counted.connections, 1)
  },
)

t.test('a followed file of the same node gives its calls, unless calls: always', async (t) => {
  const server = await AmiServer.start(t)
  for (const [calls, expected] of [
    ['auto', 0],
    ['always', 1],
    ['never', 0],
  ] as const) {
    const run = await start(t, [{ port: server.port, calls }], {
      files: [{ path: 'Master.csv', format: 'asterisk-csv', node: 'pbx1' }],
    })
    await until('it is there', () => server.clients === 1)
    await server.send(cdr({}))
    if (expected > 0) await run.of('call', expected)
    else
      await until('it is counted', () => (run.counted.refused[calls === 'auto' ? 'other_source' : 'unused'] ?? 0) >= 1)
    await run.source.stopTaking()
    t.equal(run.inlet.records().length, expected, calls)
    await until('it is gone', () => server.clients === 0)
  }
})

t.test('a refused log-in is said with its mend and tried seldom; others go on', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [
    { port: server.port, user: 'nobody', reconnectMs: 10, reconnectMaxMs: 3_600_000 },
    { node: 'pbx2', port: server.port },
  ])
  await until('it is refused', () => run.counted.refused.unauthorised === 1)
  await server.loggedIn()
  await server.send(cdr({}))
  await run.of('call', 1)
  t.equal(server.refused, 1)
  t.match(run.log(), /MINIM_AMI_REFUSED.*manager reload/)
  const retry = /"retryMs":(\d+)/.exec(run.log())
  t.ok(Number(retry?.[1]) >= 1_800_000)
})

t.test('a user that may only read: no filter, no lists, and calls all the same', async (t) => {
  const server = await AmiServer.start(t, { readOnly: true })
  const run = await start(t, [{ port: server.port }])
  await server.loggedIn()
  await server.send(stanza({ Event: 'VarSet', Variable: 'X', Value: '+447700900199' }) + cdr({}))
  await run.of('call', 1)
  t.equal(run.counted.refused.unused, 2, 'FullyBooted and VarSet')
})

t.test('no Pong, no banner, another protocol: the connection is given up and tried again', async (t) => {
  const deaf = await AmiServer.start(t, { deaf: true })
  const silent = await AmiServer.start(t, { banner: '' })
  const other = await AmiServer.start(t, { banner: 'SSH-2.0-OpenSSH_9.2' })
  const run = await start(t, [
    { port: deaf.port, pingMs: 50, timeoutMs: 100 },
    { node: 'silent', port: silent.port, timeoutMs: 100 },
    { node: 'other', port: other.port },
  ])
  for (const [node, code] of [
    ['pbx1', 'MINIM_AMI_TIMEOUT'],
    ['silent', 'MINIM_AMI_TIMEOUT'],
    ['other', 'MINIM_AMI_PROTOCOL'],
  ]) {
    await until(code, () =>
      run
        .log()
        .split('\n')
        .some((line) => line.includes(`"node":"${node}"`) && line.includes(code)),
    )
  }
  deaf.deaf = false
  await until('it answers', () => deaf.pings > 3 && deaf.clients === 1)
})

t.test('an event that is too long or has no end is skipped; what follows is taken', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port, maxStanzaBytes: 2048 }])
  await server.loggedIn()
  await server.send(`Event: Cdr\r\n${'X: 447700900123\r\n'.repeat(20_000)}\r\n`)
  await server.send(`Event: Cdr\r\nX: ${'4'.repeat(1_000_000)}`)
  await server.send(`\r\n\r\n${cdr({})}`)
  await run.of('call', 1)
  t.equal(run.counted.refused.too_large, 2)
})

t.test('a spool that is full makes the PBX wait: nothing is lost', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port }])
  await server.loggedIn()
  run.inlet.full = true
  for (let i = 0; i < 50; i++) await server.send(cdr({ UniqueID: `1795526400.${i}` }))
  await until('it is said', () => run.log().includes('reading is paused'))
  run.inlet.full = false
  await run.of('call', 50)
  await until('it goes on', () => run.log().includes('reading goes on'))
  await server.send(cdr({ UniqueID: 'later' }))
  await run.of('call', 51)
})

t.test('above the rate nothing is read until the second is over', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port, maxEventsPerSecond: 100 }])
  await server.loggedIn()
  for (let i = 0; i < 250; i++) await server.send(cdr({ UniqueID: `1795526400.${i}` }))
  await run.of('call', 250)
  t.equal(run.counted.refused.rate, undefined)
})

t.test('no more legs are followed than allowed', async (t) => {
  const server = await AmiServer.start(t)
  const run = await start(t, [{ port: server.port, maxFollowed: 16 }])
  await server.loggedIn()
  for (let i = 0; i < 40; i++)
    await server.send(fixture('rtcp-11.txt').replaceAll('192.0.2.45:40003', `192.0.2.45:${40_003 + i}`))
  await run.of('quality', 24)
  t.equal(run.counted.refused.too_many, 24)
})

t.test('TLS: the certificate is checked', async (t) => {
  const folder = t.testdir()
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      key,
      '-out',
      cert,
      '-days',
      '1',
      '-subj',
      '/CN=pbx.example',
      '-addext',
      'subjectAltName=DNS:pbx.example',
    ],
    { stdio: 'ignore' },
  )
  const pem = { key: readFileSync(key), cert: readFileSync(cert) }
  const server = await AmiServer.start(t, { tls: pem })
  await t.test('its own authority and name', async (t) => {
    const run = await startTls(t, pem.cert, { port: server.port, tls: { ca: 'ca.pem', serverName: 'pbx.example' } })
    await server.loggedIn()
    await server.send(cdr({}))
    await run.of('call', 1)
  })
  await t.test('a stranger', async (t) => {
    const run = await startTls(t, pem.cert, { port: server.port, tls: { ca: null, serverName: 'pbx.example' } })
    await until('it is refused', () => run.log().includes('SELF_SIGNED'))
    t.equal(server.clients, 0)
  })
})

/** Settings are written into a folder of the test's own: the file of the authority stands outside. */
async function startTls(t: Test, ca: Buffer, entry: Readonly<Record<string, unknown>>): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'minim-ami-'))
  const path = join(folder, 'ca.pem')
  writeFileSync(path, ca)
  const { tls } = entry as { tls: { ca: string | null; serverName: string } }
  try {
    return await start(t, [{ ...entry, tls: { ...tls, ca: tls.ca === null ? null : path } }])
  } finally {
    rmSync(folder, { recursive: true })
  }
}

t.test('a secret that cannot be had stops the start', async (t) => {
  for (const [name, value, what] of [
    ['AMI_TEST_NONE', undefined, /ami\.0\.secretEnv: names a variable that is not set/],
    ['AMI_TEST_EMPTY', '', /is empty/],
    ['AMI_TEST_LINES', 'two\nlines', /more than one line/],
  ] as const) {
    if (value !== undefined) process.env[name] = value
    await t.rejects(start(t, [{ port: 1, secretEnv: name }]), { code: 'MINIM_SETTINGS_INVALID', message: what })
  }
  await t.rejects(start(t, [{ port: 1, secretEnv: null, secretFile: 'nowhere' }]), {
    code: 'MINIM_SETTINGS_INVALID',
    message: /ami\.0\.secretFile: cannot be read \(ENOENT\)/,
  })
})

t.test('settings: mistakes are named', async (t) => {
  for (const [entries, path] of [
    [[{}, {}], 'ami.1.node'],
    [[{ tenant: 'other' }], 'ami.0.tenant'],
    [[{ timeZone: 'Mars' }], 'ami.0.timeZone'],
    [[{ secretFile: 'x' }], 'ami.0.secretFile'],
    [[{ reconnectMs: 100, reconnectMaxMs: 50 }], 'ami.0.reconnectMaxMs'],
    [[{ user: 'a\r\nAction: Command' }], 'ami.0.user'],
    [[{ tls: { cert: 'x' } }], 'ami.0.tls.cert'],
  ] as const)
    await t.rejects(start(t, entries), { message: new RegExp(`${path}: `) }, path)
})

t.test('recorded sessions of other projects', async (t) => {
  const names = [
    'goami2-getAmiFixtureCall.raw',
    'panoramisk-originate_with_events.txt',
    'panoramisk-pjsip_show_endpoint.txt',
    'panoramisk-queue_status.txt',
    'panoramisk-login_ok.txt',
  ]
  const paths = names.map((name) => shared(`fixtures/ami/${name}`))
  if (paths.includes(null)) {
    t.comment('../shared/fixtures/ami is not there')
    return
  }
  const server = await AmiServer.start(t, { pieceBytes: 4096 })
  const run = await start(t, [{ port: server.port }])
  await server.loggedIn()
  let events = 1
  for (const path of paths) {
    const text = crlf(readFileSync(path ?? '', 'utf8'))
    events += [...text.matchAll(/^Event:/gm)].length
    await server.send(`${text}\r\n`)
  }
  await until('all events', () => run.counted.received >= events)
  await run.source.stopTaking()
  const { unused, malformed = 0 } = run.counted.refused
  t.comment(`${events} events, ${run.inlet.records().length} records, ${unused} of no use, ${malformed} not understood`)
  t.match(
    run.inlet
      .records()
      .filter((record) => record.kind === 'device')
      .map(({ fields }) => fields),
    [{ party: 'XXXXX' }],
  )
  const [quality, more] = run.inlet
    .records()
    .filter((record) => record.kind === 'quality')
    .map(({ fields }) => fields)
  t.match(quality, { local_ip: '192.168.0.2', packets_sent: 201, packets_lost: 1 })
  t.ok(Math.abs(Number(quality['jitter_max_ms']) - 8.4) < 0.001)
  t.equal(more, undefined)
})
