import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { ProblemsError } from '../../src/errors/problems.js'
import { producerLimits } from '../../src/kafka/properties.js'
import { PRODUCER_DEFAULTS, RESERVED_PROPERTIES, reservedFor } from '../../src/kafka/property-rules.js'
import { CODECS } from '../../src/kafka/record-batch.js'
import { DEFAULT_POLICY_PATH } from '../../src/policy/load.js'
import { DEFAULTS } from '../../src/settings/defaults.js'
import { loadSettings, maskSettings, type SettingsInput } from '../../src/settings/load.js'
import type { Settings } from '../../src/settings/schema.js'
import { SOURCE_DEFAULTS } from '../../src/settings/sections.js'
import { given } from '../helpers/given.js'
import { repositoryRoot } from '../helpers/shared.js'

const root = repositoryRoot()

/** Loads settings from a file of the test's own. */
function load(t: Test, values: unknown, overrides: SettingsInput = {}): Settings {
  const path = join(t.testdir({}), 'minim.yaml')
  writeFileSync(path, typeof values === 'string' ? values : stringify(values))
  return loadSettings(path, overrides)
}

function problems(t: Test, values: unknown, overrides: SettingsInput = {}): string[] {
  try {
    load(t, values, overrides)
    return []
  } catch (error) {
    if (!(error instanceof ProblemsError)) throw error
    t.equal(error.code, 'MINIM_SETTINGS_INVALID')
    return error.problems.map((p) => `${p.path}: ${p.what}; ${p.mend}`)
  }
}

t.test('without a file: the defaults, the shipped policy, and keys in the working directory', async (t) => {
  const s = loadSettings(null)
  t.equal(s.policy, DEFAULT_POLICY_PATH)
  t.equal(s.keys.store, resolve('minim-keys.json'))
  t.same(s.tenants, { default: { id: 1, region: 'GB', extensionDigits: 6, domains: [], anyAddress: false } })
  t.same(s.kafka, { 'bootstrap.servers': '127.0.0.1:9092' })
  t.same(s.topics, DEFAULTS.topics)
  t.same(s.delivery, DEFAULTS.delivery)
  t.same(s.grpc, DEFAULTS.grpc)
  t.same(s.files, [])
})

t.test('config/minim.yaml shows every setting, at its default', async (t) => {
  const path = join(root, 'config/minim.yaml')
  const shown = loadSettings(path)
  const { keys, spool, agent, ...rest } = loadSettings(null)
  t.same(
    { ...shown, keys: undefined, spool: undefined, agent: undefined },
    { ...rest, keys: undefined, spool: undefined, agent: undefined },
  )
  t.same(shown.agent, { ...agent, stateFile: join(root, 'config/minim-agent.json') })
  t.same(shown.spool, { ...spool, path: join(root, 'config/minim-spool') })
  t.same(shown.keys, { ...keys, store: join(root, 'config/minim-keys.json') })
  const written = parse(readFileSync(path, 'utf8')) as object
  // `tenant` and `file` are the defaults of each entry, not settings.
  t.same(
    { ...written, tenant: DEFAULTS.tenant, file: DEFAULTS.file },
    { ...DEFAULTS, ...SOURCE_DEFAULTS, tenants: { default: { ...DEFAULTS.tenants.default, ...DEFAULTS.tenant } } },
  )
  const lines = readFileSync(path, 'utf8').split('\n')
  for (const line of lines)
    if (/^\s+[A-Za-z]+: [^{]/.test(line) && !/^\s+bootstrap/.test(line))
      t.match(line, / # /, `${line.trim()} says what it is`)
})

/** What a file has that says nothing of being followed. */
const FOLLOWED = { node: null, pollMs: 1000, settleMs: 10_000 }

t.test('defaults are frozen into what is given, part by part', async (t) => {
  const s = load(t, {
    topics: { replication: 5 },
    kafka: { 'linger.ms': 20 },
    tenants: { acme: { id: 7, region: 'US' } },
    keys: { master: { exec: ['vault', 'read'] } },
    files: [
      { path: 'Master.csv', format: 'asterisk-csv', tenant: 'acme' },
      { path: '/var/x.pb', format: 'protobuf', tenant: 'acme' },
      { path: 'x.jsonl', format: 'jsonl', tenant: 'acme', mapping: 'mine', source: 'pbx-1', timeZone: 'Europe/London' },
    ],
    mappings: { mine: { fields: { a: 'calling' } } },
    grpc: { tls: { cert: 'c.pem', key: 'k.pem' } },
  })
  const folder = t.testdirName
  t.same(s.topics, { ...DEFAULTS.topics, replication: 5 })
  t.same(s.kafka, { 'bootstrap.servers': '127.0.0.1:9092', 'linger.ms': 20 })
  t.same(
    s.tenants,
    { acme: { id: 7, region: 'US', extensionDigits: 6, domains: [], anyAddress: false } },
    'who names tenants names all of them',
  )
  t.same(s.files, [
    {
      path: join(folder, 'Master.csv'),
      format: 'asterisk-csv',
      mapping: 'asterisk-cdr',
      timeZone: 'UTC',
      tenant: 'acme',
      source: null,
      follow: true,
      ...FOLLOWED,
    },
    {
      path: '/var/x.pb',
      format: 'protobuf',
      mapping: null,
      timeZone: 'UTC',
      tenant: 'acme',
      source: null,
      follow: false,
      ...FOLLOWED,
    },
    {
      path: join(folder, 'x.jsonl'),
      format: 'jsonl',
      mapping: 'mine',
      timeZone: 'Europe/London',
      tenant: 'acme',
      source: 'pbx-1',
      follow: true,
      ...FOLLOWED,
    },
  ])
  t.same(s.grpc.tls, { cert: join(folder, 'c.pem'), key: join(folder, 'k.pem'), clientCa: null })
  t.same(s.keys, { store: join(folder, 'minim-keys.json'), master: { exec: ['vault', 'read'] } })
  t.equal(s.policy, join(folder, 'policy.yaml'), 'paths are meant from the file')
  for (const part of [
    s,
    s.topics,
    s.kafka,
    s.tenants,
    s.tenants['acme'],
    s.files,
    s.files[0],
    s.grpc,
    s.grpc.tls,
    s.mappings,
  ])
    t.ok(Object.isFrozen(part))
})

t.test('an empty file, and empty settings, are the defaults', async (t) => {
  t.same(load(t, '').topics, DEFAULTS.topics)
  t.same(load(t, '# nothing\n').grpc, DEFAULTS.grpc)
})

t.test('overrides lie over the file, and are checked like it', async (t) => {
  const s = load(
    t,
    { topics: { partitions: 3 }, kafka: { 'bootstrap.servers': 'a:1', 'linger.ms': 9 } },
    { kafka: { 'bootstrap.servers': 'b:2' }, embedded: true, policy: 'other.yaml', grpc: { listen: '127.0.0.1:0' } },
  )
  t.equal(s.topics.partitions, 3)
  t.same(s.kafka, { 'bootstrap.servers': 'b:2', 'linger.ms': 9 })
  t.equal(s.embedded, true)
  t.equal(s.policy, resolve('other.yaml'), 'a path on the command line is meant from the working directory')
  t.equal(s.grpc.listen, '127.0.0.1:0')
  t.equal(s.grpc.idleMs, DEFAULTS.grpc.idleMs)
  t.match(
    problems(t, { topics: 3 }, { topics: { partitions: 3 } }),
    [/^topics: must be a mapping/],
    'an override does not hide a mistake in the file',
  )
  t.match(problems(t, '- a', { topics: { partitions: 3 } }), [/^: must be a mapping/])
  t.match(problems(t, {}, { topics: { partitions: 0 } }), [/^topics\.partitions: must be >= 1/])
  t.match(problems(t, {}, { tenants: { acme: { id: 0 } } }), [/^tenants\.acme\.id: must be >= 1/])
})

/** [what is written, the problem's path, what it says, its mend] */
const mistakes: [values: Record<string, unknown> | string, path: string, what: RegExp, mend: RegExp][] = [
  [{ clustre: 'a' }, 'clustre', /is unknown/, /did you mean cluster/],
  [{ cluster: 'a b' }, 'cluster', /is of another form/, /transactional ids/],
  [{ topics: { partition: 6 } }, 'topics.partition', /is unknown/, /did you mean partitions/],
  [{ topics: { partitions: 6.5 } }, 'topics.partitions', /whole number/, /from 1 to 1000/],
  [{ topics: { partitions: '6' } }, 'topics.partitions', /whole number/, /from 1 to 1000/],
  [
    { tenants: { default: { id: 1, domains: ['PBX.example'] } } },
    'tenants.default.domains.0',
    /is of another form/,
    /small letters/,
  ],
  [
    { tenants: { default: { id: 1, domains: ['192.0.2.0/33'] } } },
    'tenants.default.domains.0',
    /no address and no network/,
    /192\.0\.2\.0\/24/,
  ],
  [{ numbers: { prefixes: ['x'] } }, 'numbers.prefixes.0', /is of another form/, /outside line/],
  [
    { tenants: { default: { id: 1, domains: 'pbx.example' } } },
    'tenants.default.domains',
    /must be a list/,
    /this tenant's own/,
  ],
  [{ topics: { quarantineDays: 8 } }, 'topics.quarantineDays', /must be <= 7/, /from 1 to 7/],
  [{ topics: null }, 'topics', /must be a mapping/, /how topics are created/],
  [{ policy: '' }, 'policy', /must NOT have fewer/, /the policy file/],
  [{ embedded: 'yes' }, 'embedded', /true or false/, /trying things out/],
  [{ kafka: { 'transactional.id': 'x' } }, 'kafka.transactional.id', /set by minim itself/, /set cluster instead/],
  [
    { kafka: { 'metadata.broker.list': 'b:1' } },
    'kafka.metadata.broker.list',
    /set by minim itself/,
    /set bootstrap\.servers instead/,
  ],
  [{ kafka: { 'enable.idempotence': false } }, 'kafka.enable.idempotence', /set by minim itself/, /take it out/],
  [{ kafka: { acks: 1 } }, 'kafka.acks', /set by minim itself/, /take it out/],
  [{ kafka: { 'test.mock.num.brokers': 1 } }, 'kafka.test.mock.num.brokers', /set by minim itself/, /embedded: true/],
  [{ kafka: { 'bootstrap.servers': '' } }, 'kafka.bootstrap.servers', /is empty/, /host:9092/],
  [
    { kafka: { 'bootstrap.servers': ':9092' } },
    'kafka.bootstrap.servers',
    /without host or port/,
    /kafka\.example:9092/,
  ],
  [
    { kafka: { 'bootstrap.servers': 'kafka_1:9092, kafka_2' } },
    'kafka.bootstrap.servers',
    /without host or port/,
    /kafka\.example:9092/,
  ],
  [
    { kafka: { 'bootstrap.servers': ['a:1'] } },
    'kafka.bootstrap.servers',
    /must be a text or a number/,
    /a text, a number, true or false/,
  ],
  [
    { kafka: { 'socket.timeout.ms': 5000 } },
    'kafka.socket.timeout.ms',
    /not more than a commit may take/,
    /above 10000/,
  ],
  [
    { kafka: { 'socket.timeout.ms': 'soon' } },
    'kafka.socket.timeout.ms',
    /not more than a commit may take/,
    /above 10000/,
  ],
  [
    { kafka: { 'transaction.timeout.ms': 60000 } },
    'kafka.transaction.timeout.ms',
    /not more than kafka.socket.timeout.ms/,
    /above 60000/,
  ],
  [
    { kafka: { 'bootstrap.server': 'b:1' } },
    'kafka.bootstrap.server',
    /not known to librdkafka/,
    /did you mean bootstrap\.servers/,
  ],
  [{ kafka: { 'zzz.qqqq.wwww': 1 } }, 'kafka.zzz.qqqq.wwww', /not known to librdkafka/, /CONFIGURATION\.md/],
  [{ kafka: { 'linger.ms': 'abc' } }, 'kafka.linger.ms', /librdkafka refuses/, /CONFIGURATION\.md/],
  [{ kafka: { 'batch.size': -4 } }, 'kafka.batch.size', /out of range/, /from 1 to 2147483647/],
  [{ kafka: { 'batch.size': 4.5 } }, 'kafka.batch.size', /./, /./],
  [
    { kafka: { 'security.protocol': 'SASL_SSSL' } },
    'kafka.security.protocol',
    /librdkafka refuses/,
    /did you mean .*sasl_ssl/,
  ],
  [{ kafka: { 'compression.codec': 'zip' } }, 'kafka.compression.codec', /no compression/, /did you mean gzip/],
  [
    { kafka: { 'compression.type': 'zstd' } },
    'kafka.compression.type',
    /no compression/,
    /use one of: none, gzip, lz4/,
  ],
  [{ delivery: { lingerMs: -1 } }, 'delivery.lingerMs', /must be >= 0/, /longest wait/],
  [{ keys: { master: { env: 'X' } } }, 'keys.master', /none of the forms/, /\{ file: PATH \} or \{ exec:/],
  [
    { keys: { master: { file: 'x', exec: ['y'] } } },
    'keys.master',
    /none of the forms/,
    /\{ file: PATH \} or \{ exec:/,
  ],
  [{ keys: { master: { exec: [] } } }, 'keys.master.exec', /fewer than 1/, /a command and its arguments/],
  [{ tenants: {} }, 'tenants', /fewer than 1/, /tenants by name/],
  [{ tenants: { default: {} } }, 'tenants.default.id', /is missing/, /its own for ever/],
  [{ tenants: { default: { id: 0 } } }, 'tenants.default.id', /must be >= 1/, /its own for ever/],
  [{ tenants: { default: { id: 4294967296 } } }, 'tenants.default.id', /must be <= 4294967295/, /its own for ever/],
  [
    { tenants: { default: { id: 1 }, acme: { id: 1 } } },
    'tenants.acme.id',
    /is the id of tenant default too/,
    /an id of its own/,
  ],
  [
    { tenants: { default: { id: 1, region: 'XX' } } },
    'tenants.default.region',
    /no country with a numbering plan/,
    /GB/,
  ],
  [
    { tenants: { default: { id: 1, region: 'gb' } } },
    'tenants.default.region',
    /is of another form/,
    /two capital letters/,
  ],
  [
    { tenants: { default: { id: 1, extensionDigits: 11 } } },
    'tenants.default.extensionDigits',
    /must be <= 10/,
    /extension/,
  ],
  [{ tenants: { default: { id: 1 }, 'a b': { id: 2 } } }, 'tenants.a b', /is unknown/, /a name is up to 63 letters/],
  [{ grpc: { listen: '50051' } }, 'grpc.listen', /is of another form/, /host:port, as 127\.0\.0\.1:50051/],
  [
    { http: { listen: ':8081' } },
    'http.listen',
    /is of another form/,
    /host:port, as 127\.0\.0\.1:8080 or \[::1\]:8080; or null for not at all/,
  ],
  [{ sip: { udp: 5060 } }, 'sip.udp', /must be a text or null/, /host:port, as 127\.0\.0\.1:5060/],
  [
    { sip: { drachtio: { host: 'a', port: 9022, secretEnv: 'PATH', secrets: 'x' } } },
    'sip.drachtio.secrets',
    /is unknown/,
    /did you mean secretEnv or secretFile/,
  ],
  [{ freeswitch: { legs: 'c' } }, 'freeswitch.legs', /none of the allowed/, /; use one of: a, both$/],
  [
    { freeswitch: { legs: 'boht' } },
    'freeswitch.legs',
    /none of the allowed/,
    /; did you mean both\? Else use one of: a, both$/,
  ],
  [{ grpc: { listen: '127.0.0.1:99999' } }, 'grpc.listen', /above 65535/, /0 to 65535/],
  [{ grpc: { tls: { cert: 'a' } } }, 'grpc.tls.key', /is missing/, /private key/],
  [
    { grpc: { maxMessageBytes: 65536 }, limits: { maxRecordBytes: 65537 } },
    'grpc.maxMessageBytes',
    /a record could fit no batch/,
    /65537 or more/,
  ],
  [{ ops: { listen: '127.0.0.1:50051' } }, 'ops.listen', /the same as grpc.listen/, /a port of its own/],
  [{ files: {} }, 'files', /must be a list/, /files that are read/],
  [{ files: [{ path: 'x' }] }, 'files.0.format', /is missing/, /asterisk-csv, jsonl, protobuf/],
  [{ files: [{ path: 'x', format: 'csv' }] }, 'files.0.format', /none of the allowed values/, /asterisk-csv/],
  [
    { files: [{ path: 'x', format: 'jsonl', tenant: 'acme' }] },
    'files.0.tenant',
    /no tenant of these settings/,
    /default/,
  ],
  [
    { files: [{ path: 'x', format: 'protobuf', follow: true }] },
    'files.0.follow',
    /is for files of lines/,
    /read once/,
  ],
  [{ files: [{ path: 'x', format: 'jsonl', pollMs: 1 }] }, 'files.0.pollMs', /must be >= 10/, /looked at/],
  [{ agent: { proxy: 'proxy:50051' } }, 'agent.source', /is missing/, /both/],
  [{ agent: { source: 'pbx-1' } }, 'agent.proxy', /is missing/, /both/],
  [
    { agent: { proxy: 'proxy:50051', source: 'pbx-1', tls: { ca: 'ca.pem', cert: 'c.pem' } } },
    'agent.tls',
    /certificate without key/,
    /both/,
  ],
  [
    { tenants: { acme: { id: 1 } }, files: [{ path: 'x', format: 'jsonl' }] },
    'files.0.tenant',
    /no tenant of these settings/,
    /acme/,
  ],
  [
    { files: [{ path: 'x', format: 'jsonl', mapping: 'minm' }] },
    'files.0.mapping',
    /no mapping of these settings/,
    /did you mean minim/,
  ],
  [
    { files: [{ path: 'x', format: 'protobuf', mapping: 'minim' }] },
    'files.0.mapping',
    /no use for protobuf/,
    /take it out/,
  ],
  [
    { files: [{ path: 'x', format: 'jsonl', timeZone: 'Mars/Base' }] },
    'files.0.timeZone',
    /no time zone/,
    /Europe\/London/,
  ],
  [
    {
      files: [
        { path: 'x', format: 'jsonl' },
        { path: './x', format: 'jsonl' },
      ],
    },
    'files.1.path',
    /the path of files\.0 too/,
    /once/,
  ],
  [
    {
      files: [
        { path: 'x', format: 'jsonl', source: 's' },
        { path: 'y', format: 'jsonl', source: 's' },
      ],
    },
    'files.1.source',
    /the source of files\.0 too/,
    /a source of its own/,
  ],
  [{ kafkaInput: [{}] }, 'kafkaInput.0.topic', /is missing/, /made by whoever fills it/],
  [{ kafkaInput: [{ topic: 5 }] }, 'kafkaInput.0.topic', /must be a text/, /letters, digits/],
  [{ hep: { udp: '127.0.0.1:9060', nodes: [null] } }, 'hep.nodes.0', /must be a mapping/, /captureId/],
  [{ sip: { udp: '127.0.0.1:5060', allow: 5 } }, 'sip.allow', /must be a list/, /networks/],
  [{ mappings: { minim: {} } }, 'mappings.minim', /is built in/, /another name/],
  [{ mappings: { a: [] } }, 'mappings.a', /must be a mapping/, /names to fields/],
  [{ limits: { futureMs: 3600000 } }, 'limits.futureMs', /must be <= 3000000/, /Kafka refuses an hour/],
  [{ log: { level: 'verbose' } }, 'log.level', /none of the allowed values/, /trace, debug/],
  ['a: 1\na: 2\n', 'line 2, column 1', /duplicate key/, /mend the YAML/],
  ['- a', '', /must be a mapping/, /settings by name/],
]
for (const [values, path, what, mend] of mistakes) {
  t.test(`refused: ${JSON.stringify(values)}`, async (t) => {
    const found = problems(t, values)
    t.equal(found.length, 1, JSON.stringify(found))
    t.ok(found[0].startsWith(`${path}: `), found[0])
    t.match(found[0], what)
    t.match(found[0], mend)
  })
}

t.test('a country is ISO 3166; GB and UK are one', (t) => {
  const path = join(t.testdir({}), 'minim.yaml')
  writeFileSync(path, 'tenants: { a: { id: 1, region: UK }, b: { id: 2, region: GB }, c: { id: 3, region: IE } }\n')
  t.same(
    Object.values(loadSettings(path).tenants).map(({ region }) => region),
    ['GB', 'GB', 'IE'],
  )
  t.end()
})

t.test('all that delivery keeps to itself is refused here already', async (t) => {
  const found = problems(t, { kafka: Object.fromEntries(RESERVED_PROPERTIES.map((name) => [name, true])) })
  for (const name of RESERVED_PROPERTIES) {
    const { why, mend } = given(reservedFor(name))
    t.equal(found.filter((p) => p === `kafka.${name}: is set by minim itself: ${why}; ${mend}`).length, 1, name)
  }
})

t.test('every wrong Kafka property is named at once, with the other mistakes, and no value', async (t) => {
  const found = problems(t, {
    topics: { partitions: 0 },
    kafka: {
      'bootstrap.server': 'b.example:1',
      'linger.ms': 'abc',
      'security.protocol': 'SASL_SSSL',
      'batch.size': -4,
      'compression.codec': 'zip',
      'sasl.username': 'u',
      'fetch.wait.max.ms': 50,
    },
  })
  for (const path of [
    'topics.partitions',
    'kafka.bootstrap.server',
    'kafka.linger.ms',
    'kafka.security.protocol',
    'kafka.batch.size',
    'kafka.compression.codec',
  ]) {
    t.equal(found.filter((p) => p.startsWith(`${path}: `)).length, 1, path)
  }
  t.equal(found.length, 6)
  t.notMatch(found.join('\n'), /b\.example|abc|SASL_SSSL|-4|zip,/)
})

const NOBODY: Readonly<Record<string, Record<string, unknown>>> = {
  hep: { udp: '127.0.0.1:9060', tenant: 'nobody' },
  sip: { udp: '127.0.0.1:5060', tenant: 'nobody' },
  http: { listen: '127.0.0.1:8080', tenant: 'nobody' },
}
for (const wrong of [5, 'x', true, null, [null], [{}]]) {
  for (const key of ['allow', 'nodes', 'tls', 'idleMs', 'drachtio']) {
    t.test(`a value of another type hides no other mistake: ${key}: ${JSON.stringify(wrong)}`, async (t) => {
      for (const [section, values] of Object.entries(NOBODY)) {
        const found = problems(t, { ...NOBODY, [section]: { ...values, [key]: wrong } })
        for (const name of Object.keys(NOBODY))
          t.ok(
            found.some((p) => p.startsWith(`${name}.tenant: is no tenant`)),
            `${section}: ${name}`,
          )
      }
    })
  }
  t.test(`nor does one in a list: ${JSON.stringify(wrong)}`, async (t) => {
    const found = problems(t, {
      kafkaInput: [
        { topic: wrong, tenant: 'nobody' },
        { topic: 'b', timeZone: 'Mars/Base' },
      ],
    })
    for (const path of ['kafkaInput.0.tenant', 'kafkaInput.1.timeZone'])
      t.ok(
        found.some((p) => p.startsWith(path)),
        path,
      )
  })
}

t.test("what minim's own producer refuses of Kafka properties, the settings refuse", async (t) => {
  for (const codec of Object.keys(CODECS)) t.same(problems(t, { kafka: { 'compression.codec': codec } }), [], codec)
  for (const codec of ['snappy', 'zstd'])
    t.throws(() => producerLimits({ 'compression.codec': codec }), { code: 'MINIM_KAFKA_PROPERTY_INVALID' }, codec)
  for (const [name, value] of Object.entries(PRODUCER_DEFAULTS)) {
    if (typeof value !== 'number') continue
    t.same(problems(t, { kafka: { [name]: value } }), [], name)
    for (const bad of [0, 'many', ''])
      t.equal(problems(t, { kafka: { [name]: bad } }).length, 1, `${name}: ${JSON.stringify(bad)}`)
  }
})

t.test('every mistake is named at once, and no value is repeated', async (t) => {
  const secret = 'hunter2-canary'
  const path = join(t.testdir({}), 'minim.yaml')
  writeFileSync(
    path,
    stringify({
      clustre: secret,
      kafka: { 'sasl.password': [secret], 'transactional.id': secret },
      keys: { master: { file: secret, exec: [secret] } },
      log: { level: secret },
      tenants: { default: { id: secret, region: secret } },
      files: [{ path: secret, format: secret, tenant: secret, timeZone: secret, mapping: secret }],
      grpc: { listen: secret, tls: { cert: [secret] } },
    }),
  )
  const error = t.throws(() => loadSettings(path))
  if (!(error instanceof ProblemsError)) throw new TypeError('not a ProblemsError')
  t.ok(error.problems.length >= 12, error.message)
  t.notMatch(error.message, secret)
  t.notMatch(JSON.stringify(error), secret)
})

t.test('a file that cannot be read is a mistake like any other', async (t) => {
  t.throws(() => loadSettings(join(t.testdir({}), 'none.yaml')), {
    code: 'MINIM_SETTINGS_INVALID',
    message: /cannot be read \(ENOENT\)/,
  })
})

t.test('what may be logged holds no secret', async (t) => {
  const secret = 'hunter2-canary'
  const s = loadSettings(null, {
    kafka: {
      'sasl.password': secret,
      'sasl.username': secret,
      'ssl.key.password': secret,
      'ssl.key.pem': secret,
      'ssl.keystore.password': secret,
      'sasl.oauthbearer.config': secret,
      'ssl.ca.location': '/ca.pem',
      'bootstrap.servers': 'b:1',
    },
    keys: { master: { exec: ['vault', `--token=${secret}`] } },
  })
  // librdkafka may have been built without it, and is not given it then.
  const masked = maskSettings({ ...s, kafka: { ...s.kafka, 'sasl.oauthbearer.client.secret': secret } })
  t.notMatch(JSON.stringify(masked), secret)
  t.match(masked, {
    kafka: { 'bootstrap.servers': 'b:1', 'ssl.ca.location': '/ca.pem', 'sasl.password': '***' },
    keys: { master: { exec: ['vault', '***'] } },
  })
  t.equal(s.kafka['sasl.password'], secret, 'the settings themselves are left alone')
  t.same(maskSettings(loadSettings(null)), loadSettings(null))
})
