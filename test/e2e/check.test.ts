/** `minim check`: everything at once, each with its line; and nothing is made by looking. */
import { execFileSync } from 'node:child_process'
import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Authority, noOpenssl } from '../helpers/certificates.js'
import { minim, Place, ROOT } from './program.js'

t.jobs = 2

interface Found {
  readonly file: string | null
  readonly line: number | null
  readonly path: string
  readonly code: string
  readonly severity: string
  readonly what: string
  readonly mend: string
}

interface Checked {
  readonly code: number
  readonly passed: boolean
  readonly findings: readonly Found[]
  readonly notLookedAt: readonly string[]
}

const SETTINGS = ['policy: policy.yaml', 'embedded: true', 'ops:', '  listen: 127.0.0.1:0']

function placed(t: Test): Place {
  const place = new Place(t)
  place.makeStore()
  place.write('policy.yaml', readFileSync(join(ROOT, 'config/policy.yaml')))
  return place
}

/** A file of credentials that only its owner may read. */
function secret(place: Place): string {
  const file = place.write('credentials', `pbx:${'s'.repeat(32)}\n`)
  chmodSync(file, 0o600)
  return file
}

async function check(t: Test, place: Place, lines: readonly string[], ...more: string[]): Promise<Checked> {
  const config = place.write('minim.yaml', `${lines.join('\n')}\n`)
  const { code, stdout, stderr } = await minim(t, ['check', '--config', config, '--format', 'json', ...more], place)
  t.equal(stderr, '', 'nothing unexpected')
  return { ...(JSON.parse(stdout) as Omit<Checked, 'code'>), code: code ?? -1 }
}

/** Where and of what: `minim.yaml:5 ops.lissten MINIM_SETTINGS_INVALID`. */
function places({ findings }: Checked): string[] {
  return findings.map(
    ({ file, line, path, code }) => `${file?.split('/').at(-1) ?? '-'}:${line ?? '-'} ${path} ${code}`,
  )
}

t.test('what is sound passes, and nothing was made', async (t) => {
  const place = placed(t)
  secret(place)
  const before = readdirSync(place.folder)
  const sound = await check(t, place, [
    ...SETTINGS,
    'http:',
    '  listen: 127.0.0.1:0',
    `  credentialsFile: ${secret(place)}`,
  ])
  t.match(sound, { code: 0, passed: true, findings: [], notLookedAt: [/Kafka: --brokers/] })
  t.same(readdirSync(place.folder).sort(), [...before, 'minim.yaml'].sort(), 'no key, no spool')
})

t.test('one wrong indent or tab is one mistake, in its line, and hides no other file', async (t) => {
  const rows = [
    { name: 'a tab', lines: [...SETTINGS, 'log:', '\tlevel: info', 'topics:', '  partitions: 3'], line: 6 },
    { name: 'a tab among spaces', lines: [...SETTINGS, '\tx: 1', 'topics:', '  partitions: 3'], line: 5 },
    { name: 'too deep', lines: [...SETTINGS, '   x: 1', 'topics:', '  partitions: 3'], line: 5 },
    { name: 'not deep enough', lines: [...SETTINGS, ' topics:', '  partitions: 3', 'log:', '  level: info'], line: 5 },
    { name: 'in a list', lines: [...SETTINGS, 'files:', '  - path: a', ' - path: b', '   format: x'], line: 7 },
    { name: 'below a list', lines: [...SETTINGS, 'files:', '  - path: a', '    format: b', '   mapping: c'], line: 8 },
    { name: 'after a comment', lines: [...SETTINGS, '# more', '', '    y: 2', 'log:', '  level: info'], line: 7 },
  ]
  for (const { name, lines, line } of rows) {
    const place = placed(t)
    place.write('policy.yaml', 'purposes: 5\n')
    const found = await check(t, place, lines)
    const [first, ...rest] = places(found)
    t.match(first, new RegExp(`^minim\\.yaml:${line} line ${line}, .* MINIM_SETTINGS_INVALID$`), name)
    t.same(rest, ['policy.yaml:1 purposes MINIM_POLICY_INVALID'], `${name}: the policy's own mistake, and no other`)
    t.match(found.notLookedAt.join(), /settings cannot be read/, name)
    t.equal(found.code, 2, name)
  }
})

t.test('settings, policy, secrets, keys and spool at once, each with its line', async (t) => {
  const place = new Place(t)
  place.write('policy.yaml', readFileSync(join(ROOT, 'config/policy.yaml'), 'utf8').replace('epoch: ', 'epock: '))
  place.write('a-file', '')
  chmodSync(place.write('loose', 'u:hunter2-canary\n'), 0o644)
  const found = await check(t, place, [
    'policy: policy.yaml',
    'embeded: true',
    'kafka:',
    '  bootstrap.servers: 127.0.0.1:9092',
    '  bootstrap.server: 127.0.0.1:9092',
    'keys:',
    '  # beside it',
    '  store: none.json',
    'topics: { replication: 1,',
    '  partitions: 0 }',
    'http:',
    '  listen: 127.0.0.1:0',
    `  credentialsFile: ${place.path('loose')}`,
    'spool:',
    '  path: a-file',
    'mappings:',
    '  unused:',
    '    form: csv',
  ])
  const line = (key: string): number =>
    readFileSync(place.path('policy.yaml'), 'utf8')
      .split('\n')
      .findIndex((text) => text.includes(key)) + 1
  const all = places(found)
  for (const place of [
    'minim.yaml:2 embeded MINIM_SETTINGS_INVALID',
    'minim.yaml:5 kafka.bootstrap.server MINIM_SETTINGS_INVALID',
    'minim.yaml:8 keys.store MINIM_KEYS_NO_STORE',
    'minim.yaml:10 topics.partitions MINIM_SETTINGS_INVALID',
    'minim.yaml:13 http.credentialsFile MINIM_SETTINGS_INVALID',
    'minim.yaml:15 spool.path MINIM_SPOOL_OPEN',
  ])
    t.ok(all.includes(place), `${place}\n${all.join('\n')}`)
  t.ok(
    all.some((place) => /^minim\.yaml:1[78] mappings\.unused/.test(place)),
    all.join('\n'),
  )
  t.ok(
    all.some((place) => place.startsWith(`policy.yaml:${line('epock')} `) && place.includes('epock')),
    all.join('\n'),
  )
  t.notOk(
    all.some((place) => place.includes('MINIM_NOTICE')),
    'no follow-on of the policy in the notice',
  )
  t.notMatch(JSON.stringify(found), /hunter2/)
  t.match(found, { code: 2, passed: false })
  t.ok(found.findings.every(({ mend }) => mend.length > 5))
})

t.test('the dates of certificates', { skip: noOpenssl }, async (t) => {
  const place = placed(t)
  const authority = new Authority(t)
  const soon = authority.issue('soon', 'DNS:minim')
  // An end that has passed is older than what openssl's `-days` takes.
  const [key, cert] = [place.path('old.key'), place.path('old.pem')]
  execFileSync('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-out', key])
  const request = place.path('old.csr')
  execFileSync('openssl', ['req', '-new', '-key', key, '-subj', '/CN=old', '-out', request])
  place.write('index.txt', '')
  place.write('serial', '01\n')
  place.write(
    'ca.cnf',
    [
      '[ca]',
      'default_ca = own',
      '[own]',
      `database = ${place.path('index.txt')}`,
      `serial = ${place.path('serial')}`,
      `new_certs_dir = ${place.folder}`,
      'default_md = sha256',
      'policy = any',
      '[any]',
      'commonName = supplied',
      '',
    ].join('\n'),
  )
  execFileSync(
    'openssl',
    [
      ...['ca', '-batch', '-selfsign', '-config', place.path('ca.cnf'), '-keyfile', key, '-in', request, '-out', cert],
      ...['-notext', '-startdate', '20240101000000Z', '-enddate', '20240301000000Z'],
    ],
    { stdio: 'ignore' },
  )
  chmodSync(key, 0o600)
  const found = await check(t, place, [
    ...SETTINGS,
    'grpc:',
    '  listen: 127.0.0.1:0',
    '  tls:',
    `    key: ${key}`,
    `    cert: ${cert}`,
    'http:',
    '  listen: 127.0.0.1:0',
    `  credentialsFile: ${secret(place)}`,
    `  tls: { cert: ${soon.cert}, key: ${soon.key} }`,
  ])
  t.same(places(found), [
    'minim.yaml:9 grpc.tls.cert MINIM_CERTIFICATE_EXPIRED',
    'minim.yaml:13 http.tls.cert MINIM_CERTIFICATE_EXPIRES',
  ])
  t.match(found.findings[0], { severity: 'error', what: /has expired on 2024-03-01/ })
  t.match(found.findings[1], { severity: 'warning', what: /expires on .*, in [01] day/ })
  t.equal(found.code, 2)
})

t.test('as text, and as annotations of a pull request', async (t) => {
  const place = placed(t)
  const config = place.write('minim.yaml', `${SETTINGS.join('\n')}\n  100%,lissten: 1\n`)
  const text = await minim(t, ['check', '--config', config], place)
  t.match(
    text.stdout,
    /minim\.yaml:5: error MINIM_SETTINGS_INVALID\n {2}ops\.100%,lissten: is unknown\n {2}→ use one of/,
  )
  t.match(text.stdout, /not looked at: Kafka[^]*\ncheck: 1 mistake\(s\)\n$/)
  t.equal(text.code, 2)
  const github = await minim(t, ['check', '--config', config, '--format', 'github'], place)
  t.match(
    github.stdout,
    /^::error file=[^,]*minim\.yaml,line=5,title=MINIM_SETTINGS_INVALID::ops\.100%25,lissten: is unknown; [^\n]*\n::notice /,
  )
  t.equal(github.code, 2)
})

t.test('brokers that do not answer, and a master key that is missing', async (t) => {
  const place = placed(t)
  const lines = ['policy: policy.yaml', 'kafka:', '  bootstrap.servers: 127.0.0.1:1']
  const away = await check(t, place, lines, '--brokers')
  t.same(places(away), ['minim.yaml:3 kafka.bootstrap.servers MINIM_KAFKA_UNREACHABLE'])
  t.equal(away.code, 3)
  const named = await check(t, place, lines, '--brokers', '127.0.0.1:1')
  t.same(places(named), ['-:- --brokers MINIM_KAFKA_UNREACHABLE'])
  const config = place.path('minim.yaml')
  const keyless = await minim(t, ['check', '--config', config], place, { MINIM_MASTER_KEY: '' })
  t.match(keyless.stdout, /error MINIM_KEYS_NO_MASTER/)
  t.equal(keyless.code, 4)
})

t.test('lint and run say the lines as well', async (t) => {
  const place = placed(t)
  const config = place.write('minim.yaml', `${SETTINGS.join('\n')}\n  lissten: 1\n`)
  const run = await minim(t, ['run', '--config', config], place)
  t.match(run.stderr, /line 5, ops\.lissten: is unknown/)
  const policy = place.write('bad.yaml', '# a comment\npurposes:\n  billing:\n    epock: day\n')
  const lint = await minim(t, ['lint', '--policy', policy], place)
  t.match(lint.stdout, /line 4, purposes\.billing\.epock: is unknown/)
})
