import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ProblemsError } from '../../src/errors/problems.js'
import { type SecretPlace, trySecret } from '../../src/sections/secrets.js'
import { pemFiles, pemProblems } from '../../src/sections/tls-files.js'
import { kafkaFileProblems, loadSettings, proxyFileProblems, type SettingsInput } from '../../src/settings/load.js'
import { execFileSync } from '../helpers/child-process.js'

const CANARY = 'hunter2-canary'

/** A file with a mode of its own, whatever the umask. */
function file(folder: string, name: string, text: string, mode = 0o600): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

function problems(over: SettingsInput): string[] {
  try {
    loadSettings(null, over, proxyFileProblems)
    return []
  } catch (error) {
    if (!(error instanceof ProblemsError)) throw error
    return error.problems.map(({ path, what }) => `${path}: ${what}`)
  }
}

/** A certificate of its own authority. */
function certificate(folder: string, name: string): { readonly cert: string; readonly key: string } {
  const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)]
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
      '/CN=localhost',
    ],
    { stdio: 'ignore' },
  )
  for (const path of [cert, key]) chmodSync(path, 0o600)
  return { cert, key }
}

t.test('all files and variables of all sources are checked at once, with the other mistakes', async (t) => {
  const folder = t.testdir({})
  const none = join(folder, 'none')
  const own = certificate(folder, 'own')
  const entry = { host: '192.0.2.10', user: 'minim' }
  const found = problems({
    topics: { partitions: 0 },
    grpc: { tls: { cert: none, key: none, clientCa: null } },
    kafka: { 'security.protocol': 'ssl', 'ssl.ca.location': none },
    http: { listen: '127.0.0.1:0', credentialsFile: file(folder, 'http', 'alice:hunter2-canary\nhunter2\n') },
    freeswitch: {
      listen: '127.0.0.1:0',
      credentialsFile: file(folder, 'fs', `fs:${CANARY}`, 0o644),
      tls: { cert: own.cert, key: own.cert, clientCa: own.key },
    },
    hep: { udp: '127.0.0.1:0', secretFile: file(folder, 'hep', '\n'), allow: ['127.0.0.1'] },
    ami: [
      { ...entry, node: 'a', secretFile: none },
      { ...entry, node: 'b', secretEnv: 'SECRETS_TEST_UNSET' },
      { ...entry, node: 'c', secretFile: file(folder, 'ami', `${CANARY}\nmore`), tls: { ca: none } },
    ],
    sip: { drachtio: { host: '127.0.0.1', port: 9022, secretFile: file(folder, 'sip', `${CANARY}|`), tls: false } },
  } as unknown as SettingsInput)
  t.same(
    found.map((line) => line.slice(0, line.indexOf(': '))),
    [
      'topics.partitions',
      'kafka.ssl.ca.location',
      'grpc.tls.cert',
      'grpc.tls.key',
      'ami.0.secretFile',
      'ami.1.secretEnv',
      'ami.2.secretFile',
      'ami.2.tls.ca',
      'freeswitch.credentialsFile',
      'freeswitch.tls.key',
      'freeswitch.tls.clientCa',
      'hep.secretFile',
      'http.credentialsFile',
      'sip.drachtio.secretFile',
    ],
  )
  t.notMatch(found.join('\n'), /hunter2|alice/)
})

t.test('what is off is not read', async (t) => {
  t.same(
    problems({
      http: { credentialsFile: '/nonexistent' },
      freeswitch: { credentialsEnv: 'SECRETS_TEST_UNSET' },
      hep: { secretFile: '/nonexistent' },
      kafka: { 'ssl.ca.location': '/nonexistent' },
    }),
    [],
  )
  t.same(
    problems({
      hep: {
        udp: '127.0.0.1:0',
        allow: ['127.0.0.1'],
        tls: { cert: '/nonexistent', key: '/nonexistent', clientCa: null },
      },
    }),
    [],
    'and so are certificates that nothing listens with',
  )
  t.doesNotThrow(
    () => loadSettings(null, { http: { listen: '127.0.0.1:0', credentialsFile: '/nonexistent' } }),
    'nor does a command that starts no source read anything',
  )
  t.same(
    kafkaFileProblems(
      loadSettings(null, { embedded: true, kafka: { 'security.protocol': 'ssl', 'ssl.ca.location': '/nonexistent' } }),
    ),
    [],
  )
})

t.test('what has no form at all is named by the schema alone', async (t) => {
  for (const wrong of [5, true, [], {}]) {
    t.same(
      problems({
        http: { listen: '127.0.0.1:0', credentialsFile: wrong, credentialsEnv: wrong, tls: wrong },
      } as unknown as SettingsInput)
        .map((line) => line.replace(/: .*/, ''))
        .sort(),
      [
        'http.credentialsEnv',
        'http.credentialsFile',
        ...(JSON.stringify(wrong) === '{}' ? ['http.tls.cert', 'http.tls.key'] : ['http.tls']),
      ],
    )
    for (const way of ['sip', 'hep', 'ami', 'grpc', 'http', 'freeswitch', 'agent'])
      t.same(problems({ [way]: wrong === true || wrong === 5 ? wrong : { x: wrong } }).length, 1, way)
  }
})

t.test('one place for each secret', async (t) => {
  const posted = { listen: '127.0.0.1:0' }
  const entry = { node: 'a', host: '192.0.2.10', user: 'minim' }
  const both = { credentialsFile: '/x', credentialsEnv: 'X' }
  const wrong = (over: unknown): string[] => {
    try {
      loadSettings(null, over as SettingsInput)
      return []
    } catch (error) {
      return (error as ProblemsError).problems.map(({ path, what }) => `${path}: ${what}`)
    }
  }
  t.same(wrong({ http: { ...posted, ...both } }), ['http.credentialsFile: and credentialsEnv are both given'])
  t.same(wrong({ freeswitch: { ...posted, ...both } }), [
    'freeswitch.credentialsFile: and credentialsEnv are both given',
  ])
  t.same(wrong({ hep: { udp: '127.0.0.1:0', allow: ['127.0.0.1'], secretFile: '/x', secretEnv: 'X' } }), [
    'hep.secretFile: and secretEnv are both given',
  ])
  t.same(wrong({ ami: [{ ...entry, secretFile: '/x', secretEnv: 'X' }] }), [
    'ami.0.secretFile: and secretEnv are both given',
  ])
  t.same(wrong({ ami: [entry] }), ['ami.0.secretFile: and secretEnv are missing, and one of them is needed'])
  const drachtio = { host: '127.0.0.1', port: 9022 }
  t.same(wrong({ sip: { drachtio } }), [
    'sip.drachtio.secretFile: and secretEnv are missing, and one of them is needed',
  ])
  t.same(wrong({ sip: { drachtio: { ...drachtio, secretEnv: 'X' } } }), [])
  t.same(
    wrong({
      http: { ...posted, credentialsEnv: 'X' },
      freeswitch: { listen: '127.0.0.1:1' },
      hep: { udp: '127.0.0.1:0', allow: ['127.0.0.1'], secretEnv: 'X' },
    }),
    [],
  )
})

t.test('a secret', async (t) => {
  const folder = t.testdir({})
  const place = (over: Partial<SecretPlace<string>>): SecretPlace<string> => ({
    setting: 'a.secret',
    file: null,
    variable: null,
    mend: 'mend it',
    parse: (bytes) => (bytes.length === 0 ? { wrong: 'is empty' } : { value: bytes.toString() }),
    ...over,
  })
  const read = (over: Partial<SecretPlace<string>>, env: NodeJS.ProcessEnv = {}): unknown => trySecret(place(over), env)
  const says = (path: string, what: RegExp) => ({ problem: { path, what, mend: /./ } })
  t.same(read({}), { value: null }, 'none is named')
  t.same(read({ file: file(folder, 'good', CANARY, 0o400) }), { value: CANARY })
  t.same(
    read({ file: file(folder, 'both', CANARY), variable: 'V' }, { V: 'other' }),
    { value: CANARY },
    'the file comes first',
  )
  t.same(read({ variable: 'V' }, { V: CANARY }), { value: CANARY })
  t.match(read({ variable: 'V' }), says('a.secretEnv', /not set/))
  t.match(read({ variable: 'V' }, { V: '' }), says('a.secretEnv', /is empty/))
  t.match(read({ file: file(folder, 'empty', '') }), says('a.secretFile', /is empty/))
  t.match(read({ file: join(folder, 'none') }), says('a.secretFile', /ENOENT/))
  t.match(read({ file: folder }), says('a.secretFile', /is no file/))
  t.match(read({ file: file(folder, 'large', 'x'.repeat(1_048_577)) }), says('a.secretFile', /is no file of at most/))
  execFileSync('mkfifo', [join(folder, 'pipe')])
  t.match(read({ file: join(folder, 'pipe') }), says('a.secretFile', /is no file/), 'a pipe is not waited for')
  for (const mode of [0o640, 0o604, 0o620, 0o610, 0o644])
    t.match(
      read({ file: file(folder, 'loose', CANARY, mode) }),
      says('a.secretFile', new RegExp(`by others \\(mode 0${mode.toString(8)}\\)`)),
    )
})

t.test('certificates', async (t) => {
  const folder = t.testdir({})
  const [own, other] = [certificate(folder, 'own'), certificate(folder, 'other')]
  const says = (tls: Parameters<typeof pemFiles>[0]): string[] =>
    pemProblems(pemFiles(tls, 'x.tls')).map(({ path, what }) => `${path}: ${what}`)
  t.same(says(own), [])
  t.same(says({ ...own, clientCa: other.cert }), [])
  t.same(says({ ca: other.cert }), [])
  t.same(says({ ca: null, cert: null, key: null }), [])
  t.same(says({ cert: own.cert, key: other.key }), ['x.tls.key: is not the key of the certificate'])
  t.same(says({ cert: own.key, key: own.cert, clientCa: join(folder, 'none') }), [
    'x.tls.cert: holds no certificate',
    'x.tls.key: holds no private key that can be read',
    'x.tls.clientCa: cannot be read (ENOENT)',
  ])
  chmodSync(own.key, 0o640)
  t.same(says(own), [], 'a group may have keys')
  chmodSync(own.key, 0o644)
  t.same(says(own), ['x.tls.key: may be read or written by others (mode 0644)'])
  chmodSync(own.cert, 0o644)
  t.same(says({ cert: own.cert }), [], 'a certificate is no secret')
})

t.test('a key with a password, for Kafka', async (t: Test) => {
  const folder = t.testdir({})
  const { cert, key } = certificate(folder, 'own')
  const locked = join(folder, 'locked.key')
  execFileSync('openssl', ['pkcs8', '-topk8', '-in', key, '-out', locked, '-passout', `pass:${CANARY}`], {
    stdio: 'ignore',
  })
  chmodSync(locked, 0o600)
  const kafka = { 'security.protocol': 'SASL_SSL', 'ssl.certificate.location': cert, 'ssl.key.location': locked }
  t.match(kafkaFileProblems(loadSettings(null, { kafka })), [
    { path: 'kafka.ssl.key.location', what: /no private key/ },
  ])
  t.same(kafkaFileProblems(loadSettings(null, { kafka: { ...kafka, 'ssl.key.password': CANARY } })), [])
})
