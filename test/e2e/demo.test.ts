/** `minim demo`, and `minim tail` finding it. */
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import t from 'tap'
import { get, metric, minim, Place, Program, readTopic, until } from './program.js'
import { canariesIn } from './records.js'

/** What the simulated nodes say. */
const SIMULATED = /7700900\d{3}|20794600\d\d|25555?01\d\d|192\.0\.2\.[1-9]|00:?00:?5e:?00:?53|Extra 10|ACME-10/i

t.test('demo --seconds 3 tells where it is, a line a second, and ends by itself', async (t) => {
  const place = new Place(t)
  const { code, stdout, stderr } = await new Program(t, ['demo', '--seconds', '3'], place).end()
  t.equal(code, 0, stderr)
  t.equal(stderr, '')
  t.match(stdout, /throw-away key/)
  for (const what of ['Kafka \\(embedded\\)', 'gRPC for nodes', 'metrics'])
    t.match(stdout, new RegExp(`${what} +(http://)?127\\.0\\.0\\.1:[1-9]\\d*`), what)
  t.match(stdout, /npx minim tail billing/)
  const seconds = stdout.match(/^ +\d+ s {2}.*$/gm) ?? []
  t.ok(seconds.length >= 2, stdout)
  const purposes = ['service', 'billing', 'fraud', 'quality', 'research', 'marketing', 'legal']
  const counts = purposes.map((purpose) => `${purpose} \\d+`).join(' {2}')
  t.match(seconds[0], new RegExp(`^ +1 s {2}[1-9]\\d* records \\(\\+[1-9]\\d*\\) {2}→ {2}messages to ${counts}$`))
  t.match(stdout, /committed [1-9]\d* records of 3 nodes\n$/)
  t.notMatch(stdout, SIMULATED)
  t.same(place.left([]), [], 'it leaves no file')
})

/** Whether something listens where Kafka is unless it is named. */
const taken = await new Promise<boolean>((resolve) => {
  const socket = connect(9092, '127.0.0.1', () => {
    resolve(true)
  }).on('error', () => {
    resolve(false)
  })
  socket.on('connect', () => {
    socket.destroy()
  })
})

t.test('tail without a demo says so, with the mend', { skip: taken ? 'a broker runs here' : false }, async (t) => {
  const place = new Place(t)
  // What a demo leaves that was killed.
  place.write(
    `tmp/minim-demo-${userInfo().uid}.json`,
    JSON.stringify({ bootstrap: '127.0.0.1:1', pid: 2 ** 30, policy: '/nonexistent' }),
  )
  const { code, stdout, stderr } = await minim(t, ['tail', 'billing'], place)
  t.equal(code, 3)
  t.match(
    stderr,
    /^minim: MINIM_KAFKA_NO_DEMO: no demo is running: none was found, and nothing answers at 127\.0\.0\.1:9092/,
  )
  t.match(stderr, /→ start one with `npm start`, or name the Kafka[^]*--brokers/)
  t.equal(stdout, '')
})

t.test('tail finds a running demo', async (t) => {
  const place = new Place(t)
  const demo = new Program(t, ['demo'], place)
  await until('the demo has begun', () => /^ +1 s /m.exec(demo.stdout))
  for (const [name, limit] of [
    ['billing', 20],
    ['quality.quality', 5],
  ] as const) {
    const { code, stdout, stderr } = await minim(t, ['tail', name, '--limit', String(limit)], place)
    t.equal(code, 0, stderr)
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { tag: Record<string, unknown> })
    t.equal(lines.length, limit, name)
    const [purpose] = name.split('.')
    for (const { tag } of lines) {
      t.match(tag, {
        purpose,
        basis: /^eu-gdpr:A6-1-[bcf]$/,
        policy: /^[0-9a-f]{12}$/,
        epoch: /./,
        region: 'UK',
        retention_days: Number,
        transfer: 'adequacy',
      })
    }
    t.notMatch(stdout, SIMULATED, `${name} holds nothing of what the nodes say`)
    t.same(canariesIn(stdout), [])
  }
  const once = await minim(t, ['tail', 'research', '--once'], place)
  t.equal(once.code, 0, once.stderr)
  t.ok(once.stdout.trimEnd().split('\n').length > 5)

  const [, kafka] = /Kafka \(embedded\) +(\S+)/.exec(demo.stdout) ?? []
  const seen = await readTopic(kafka, 'pbx.billing.call')
  t.ok(seen.length > 20, 'any Kafka client can read it')
  const account = /^[^]{16}$/
  for (const { key, value } of seen)
    if (key === null || !account.test(key.toString('latin1')) || SIMULATED.test(value.toString('latin1')))
      t.fail('a record that shows what it should not, or has no key')
  const [, ops] = /metrics +http:\/\/([^/]+)\//.exec(demo.stdout) ?? []
  t.same(
    [...new Set(Object.values(metric((await get(ops, '/metrics')).body, 'minim_conservation_drift_records')))],
    [0],
  )

  const watching = new Program(t, ['tail', 'billing', '--from-now'], place)
  await until('it reads', () => watching.stdout !== '')
  demo.kill('SIGINT')
  const over = await watching.end()
  t.match(
    over,
    {
      code: 3,
      stderr: /^minim: MINIM_KAFKA_NO_DEMO: no demo is running: it has ended[^]*→ start one with `npm start`[^]*$/,
    },
    'who watches is told, and does not wait for ever',
  )
  const { code, stdout, stderr } = await demo.end()
  t.equal(code, 0, stderr)
  t.match(stdout, /committed [1-9]\d* records/)
  t.notOk(existsSync(place.path('tmp/minim-demo-0.json')))
  t.same(place.left([]), [], 'it takes its note away')
})
