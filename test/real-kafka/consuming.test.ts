/** `docs/consuming.md`: each of its readers, as it is written, against a real broker. */
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { blocksOf, has, readPage, walk } from '../docs/page.js'
import { minim, Place, ROOT } from '../e2e/program.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
t.setTimeout(600_000)
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

/** What a reader needs and this machine has not. */
const MISSING: Readonly<Record<string, string | null>> = {
  python: has('python3', '-c', 'import ensurepip, venv') ? null : 'python3 has no venv here',
  java: has('javac', '-version') && process.arch === 'x64' ? null : 'no javac here, or no protoc for this processor',
  kcat: has('kcat', '-V') ? null : 'kcat is not installed',
  npm: "librdkafka takes minutes to compile: the checkout's is used",
}

t.test('each reader reads what minim wrote', { skip: reason ?? false, timeout: 600_000 }, async (t) => {
  const known = blocksOf(readPage('consuming.md')).flatMap(({ attributes }) => attributes['for'] ?? [])
  t.same([...new Set(known)].sort(), Object.keys(MISSING).sort())
  const kafka = await startKafka({ heap: '512m' })
  t.teardown(() => kafka.stop())
  const place = new Place(t)
  place.makeStore()
  const shipped = readFileSync(join(ROOT, 'config/policy.yaml'), 'utf8')
  const json = shipped.replace(
    '    call: # no key: research may not know whose calls these are\n',
    '$&      format: json\n',
  )
  t.not(json, shipped)
  const policy = place.write('policy.yaml', json)
  const settings = place.settings({
    embedded: false,
    policy,
    topics: { replication: 1 },
    kafka: { 'bootstrap.servers': kafka.bootstrap },
  })
  const start = Date.now() - 600_000
  const calls = [
    {
      called: '07700 900123',
      start_ms: start,
      duration_seconds: 137,
      billable_seconds: 129,
      disposition: 'ANSWERED',
      user_agent: 'Yealink SIP-T46S 66.85.0.5',
    },
    {
      called: '020 7946 0101',
      start_ms: start + 1000,
      duration_seconds: 11,
      billable_seconds: 7,
      disposition: 'ANSWERED',
    },
    { called: '01632 960044', start_ms: start + 2000, duration_seconds: 4, billable_seconds: 0, disposition: 'BUSY' },
  ]
  const input = place.write(
    'calls.jsonl',
    calls.map((call) => `${JSON.stringify({ account: 'ACME-101', calling: '1004', ...call })}\n`).join(''),
  )
  const loaded = await minim(t, ['load', input, '--format', 'jsonl', '--config', settings], place)
  t.equal(loaded.code, 0, loaded.stderr)

  await walk(t, 'consuming.md', {
    instead: { '127.0.0.1:9092': kafka.bootstrap },
    prepare: (folder) => {
      writeFileSync(join(folder, 'policy.yaml'), json)
      symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    },
    leaveOut: ({ attributes }) => MISSING[attributes['for'] ?? ''] ?? null,
  })
})
