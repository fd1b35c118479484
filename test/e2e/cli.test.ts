/** The commands that need no Kafka, and how the program refuses. */
import { chmodSync, existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { VERSION } from '../../src/version.js'
import { spawnSync } from '../helpers/child-process.js'
import { MAIN, minim, Place, Program, ROOT } from './program.js'

t.jobs = 2

t.test('npx minim --version, in the checkout', async (t) => {
  const place = new Place(t)
  const program = new Program(
    t,
    ['--version'],
    place,
    { npm_config_cache: place.path('npm'), npm_config_update_notifier: 'false' },
    ['npx', '--offline', 'minim'],
    ROOT,
  )
  const { code, stdout } = await program.end()
  t.equal(code, 0)
  t.equal(stdout.trim(), VERSION)
})

t.test('keys init and status, then a wrong master key', async (t) => {
  const place = new Place(t)
  const noMaster = { MINIM_MASTER_KEY: '' }
  const masterFile = place.path('master.key')
  const store = place.path('minim-keys.json')
  const made = await minim(t, ['keys', 'init', '--generate-master', masterFile], place, noMaster)
  t.equal(made.code, 0, made.stderr)
  t.ok(existsSync(masterFile) && existsSync(store))
  const settings = place.settings({ keys: { master: { file: masterFile } } })
  const status = await minim(t, ['keys', 'status', '--config', settings, '--json'], place, noMaster)
  t.equal(status.code, 0, status.stderr)
  t.match(JSON.parse(status.stdout), { store, master: 'right', purposes: [] })
  const again = await minim(t, ['keys', 'init', '--generate-master', masterFile], place, noMaster)
  t.equal(again.code, 4)
  t.match(again.stderr, /MINIM_KEYS_STORE_EXISTS/)
  const wrong = await minim(t, ['run', '--config', settings], place)
  t.equal(wrong.code, 4)
  t.match(wrong.stderr, /MINIM_KEYS_WRONG_MASTER.*minim-keys\.json/)
  t.notOk(wrong.stderr.includes(place.master), 'the key itself is not said')
})

t.test('without a master key run and load are refused', async (t) => {
  const place = new Place(t)
  const settings = place.settings()
  for (const command of [
    ['run', '--config', settings],
    ['load', MAIN, '--format', 'jsonl', '--brokers', '127.0.0.1:1'],
  ]) {
    const { code, stderr, stdout } = await minim(t, command, place, { MINIM_MASTER_KEY: '' })
    t.equal(code, 4, command[0])
    t.match(stderr, /MINIM_KEYS_NO_MASTER: there is no master key[^]*→ set MINIM_MASTER_KEY/, command[0])
    t.equal(stdout, '', command[0])
  }
})

t.test(
  'files of secrets and certificates: all of them at once, with the other mistakes, before anything is connected',
  async (t) => {
    const place = new Place(t)
    const [none, loose] = [place.path('none'), place.write('loose', 'freeswitch:hunter2-canary\n')]
    chmodSync(loose, 0o644)
    const over = {
      topics: { partitions: 0 },
      http: { listen: '127.0.0.1:0', credentialsFile: none },
      freeswitch: { listen: '127.0.0.1:0', credentialsFile: loose },
      agent: { proxy: '127.0.0.1:1', source: 'pbx-1', tls: { ca: none } },
    }
    const proxy = await minim(t, ['run', '--config', place.settings(over)], place)
    t.equal(proxy.code, 2)
    for (const part of [
      'MINIM_SETTINGS_INVALID',
      'topics.partitions',
      'http.credentialsFile: cannot be read (ENOENT)',
      'freeswitch.credentialsFile: may be read or written by others (mode 0644); chmod 600',
    ])
      t.ok(proxy.stderr.includes(part), `${part}\n${proxy.stderr}`)
    t.notMatch(proxy.stderr, /hunter2|agent\.tls|embedded cluster/)
    const agent = await minim(t, ['agent', '--config', place.settings(over, 'agent.yaml')], place)
    t.equal(agent.code, 2)
    for (const part of ['topics.partitions', 'files: is empty', 'agent.tls.ca: cannot be read (ENOENT)'])
      t.ok(agent.stderr.includes(part), `${part}\n${agent.stderr}`)
    t.notMatch(agent.stderr, /http\.credentials/)
  },
)

t.test('mistakes in settings and policy: all at once, each with path and mend', async (t) => {
  const place = new Place(t)
  const settings = place.settings({
    embeded: true,
    topics: { partitions: 0 },
    tenants: { default: { id: 1, region: 'XX' } },
    kafka: { 'enable.idempotence': false, 'bootstrap.server': 'b:1', 'batch.size': -4 },
  })
  const bad = await minim(t, ['run', '--config', settings], place)
  t.equal(bad.code, 2)
  for (const part of [
    'MINIM_SETTINGS_INVALID',
    'embeded',
    'did you mean embedded',
    'topics.partitions',
    'tenants.default.region',
    'enable.idempotence',
    'take it out',
    'did you mean bootstrap.servers',
    'from 1 to 2147483647',
  ]) {
    t.ok(bad.stderr.includes(part), `${part}\n${bad.stderr}`)
  }
  const policy = place.write(
    'policy.yaml',
    JSON.stringify({
      purposes: {
        billing: {
          description: 'bills',
          purpose: 'https://w3id.org/dpv#PaymentManagement',
          basis: { term: 'eu-gdpr:A6-1-b', evidence: 'the contract' },
          recipients: ['billing'],
          region: 'UK',
          transfer: 'adequacy',
          retention_days: 30,
          epoch: 'fortnight',
          call: {
            key: 'accont',
            fields: { account: 'token', calling: 'keep', called_prefix: { 'e164-prefix': { digits: 5 } } },
          },
        },
      },
    }),
  )
  for (const command of [
    ['run', '--config', place.settings({ policy }, 'with-policy.yaml')],
    ['lint', '--policy', policy],
  ]) {
    const { code, stderr, stdout } = await minim(t, command, place)
    t.equal(code, 2, command[0])
    const said = stderr + stdout
    for (const part of [
      'purposes.billing.epoch',
      'purposes.billing.call.key',
      'use one of: account',
      'purposes.billing.call.fields.calling',
    ]) {
      t.ok(said.includes(part), `${command[0]}: ${part}\n${said}`)
    }
  }
})

t.test('lint, explain and schema of the policy that minim ships', async (t) => {
  const place = new Place(t)
  const lint = await minim(t, ['lint'], place)
  t.equal(lint.code, 0, lint.stderr)
  t.match(lint.stdout, /lint: passed/)
  const explain = await minim(t, ['explain', 'calling'], place)
  t.equal(explain.code, 0, explain.stderr)
  for (const part of ['billing', 'fraud', 'quality', 'eu-gdpr:A6-1-b', 'token'])
    t.ok(explain.stdout.includes(part), part)
  const schema = await minim(t, ['schema', 'billing.call'], place)
  t.equal(schema.code, 0, schema.stderr)
  t.match(schema.stdout, /syntax = "proto3";[^]*message Call[^]*bytes account[^]*Tag tag = 15/)
})

t.test('an old Node.js is told in one sentence, before anything is loaded', async (t) => {
  const old =
    "data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'18.20.8'}})"
  const entry = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', old, entry, '--help'], {
    encoding: 'utf8',
  })
  t.equal(stderr, 'minim: needs Node.js 24 (or 22.19, or 20.19.4), and this is 18.20.8: install a newer one\n')
  t.equal(stdout, '')
  t.equal(status, 2)
  const imports = [...readFileSync(entry, 'utf8').matchAll(/^import .* from '([^']+)'/gm)].map((m) => m[1])
  t.same(imports, ['node:process'], 'its own syntax is all that an old version must read')
})
