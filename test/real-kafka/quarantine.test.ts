/** Quarantine on a real broker: counted, shown, replayed once after a mend, beside a proxy that goes on; deleted. */
import t from 'tap'
import type { QuarantineRow } from '../../src/cli/quarantine-list.js'
import type { ReplayReport } from '../../src/cli/quarantine-replay.js'
import { readLedger } from '../../src/deliver/ledger.js'
import { type Ended, minim, Place, Program, run, until } from '../e2e/program.js'
import { kafkaAvailable, startKafka } from '../helpers/kafka.js'

const reason = kafkaAvailable()
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

t.setTimeout(600_000)

const UNKNOWN = 20_000
const BAD = 5
const GOOD = 40

const POLICY = {
  purposes: {
    billing: {
      notice: 'P2',
      description: 'Bill',
      purpose: 'https://w3id.org/dpv#PaymentManagement',
      basis: { term: 'eu-gdpr:A6-1-b', evidence: 'contract' },
      recipients: ['billing'],
      region: 'UK',
      transfer: 'adequacy',
      retention_days: 30,
      epoch: 'contract',
      call: {
        key: 'account',
        format: 'json',
        fields: { account: 'token', call_id: 'token', calling_name: 'drop', start_ms: { 'time-bucket': { ms: 1000 } } },
      },
    },
  },
}

t.test('refused, counted, shown, replayed, dropped', { skip: reason ?? false, timeout: 600_000 }, async (t) => {
  const kafka = await startKafka({ heap: '512m' })
  t.teardown(() => kafka.stop())
  const place = new Place(t)
  place.makeStore()
  const common = {
    embedded: false,
    kafka: { 'bootstrap.servers': kafka.bootstrap },
    topics: { partitions: 2, replication: 1 },
    policy: place.write('policy.yaml', JSON.stringify(POLICY)),
  }
  const before = place.settings(common)
  const start = Date.now() - 3_600_000
  const line = (n: number, more: object): string =>
    JSON.stringify({
      account: 'acct-1',
      call_id: `call-${n}`,
      calling: '1001',
      called: '+447700900123',
      start_ms: start + n,
      ...more,
    })
  const file = place.write(
    'calls.jsonl',
    [
      ...Array.from({ length: GOOD }, (_, n) => line(n, {})),
      ...Array.from({ length: UNKNOWN }, (_, n) => line(1000 + n, { tenant: 'acme' })),
      ...Array.from({ length: BAD }, (_, n) => line(n, { hangup_cause: 'no number' })),
    ].join('\n') + '\n',
  )
  const loaded = await minim(t, ['load', file, '--format', 'jsonl', '--force', '--config', before], place)
  t.equal(loaded.code, 0, loaded.stderr)
  const billing = async (): Promise<string[]> =>
    (await kafka.consoleConsumer('pbx.billing.call', { timeoutMs: 3000 })).map(
      ({ value }) => (JSON.parse(value.toString()) as { call_id: string }).call_id,
    )

  // A proxy with the mended settings runs all the while.
  const mended = place.settings(
    { ...common, tenants: { default: { id: 1 }, acme: { id: 2 } }, delivery: { lingerMs: 1, maxMessages: 50 } },
    'mended.yaml',
  )
  const proxy = await run(t, place, mended)
  const rows = async (...args: string[]): Promise<QuarantineRow[]> => {
    const { code, stdout, stderr } = await minim(
      t,
      ['quarantine', 'list', '--json', '--config', mended, ...args],
      place,
      { MINIM_MASTER_KEY: '' },
    )
    t.equal(code, 0, stderr)
    return stdout
      .split('\n')
      .slice(0, -1)
      .map((row) => JSON.parse(row) as QuarantineRow)
  }
  const counts = (found: readonly QuarantineRow[]): Record<string, [number, number | null]> =>
    Object.fromEntries(found.map((row) => [row.reason, [row.messages, row.replayed]]))
  t.same(counts(await rows()), { unknown_tenant: [UNKNOWN, 0], bad_value: [BAD, 0] }, 'counted, without a key')
  t.same(counts(await rows('--reason', 'bad_value', '--format', 'json-lines')), { bad_value: [BAD, 0] })
  t.same(await rows('--day', '2020-01-01'), [])

  const hidden = await minim(t, ['quarantine', 'show', '--limit', '3', '--config', mended], place, {
    MINIM_MASTER_KEY: '',
  })
  t.equal(hidden.stdout.split('\n').length - 1, 3)
  t.notMatch(hidden.stdout + hidden.stderr, /447700900|call-1/, 'nothing of the input unless it is asked for')
  const shown = await minim(
    t,
    ['quarantine', 'show', '--reason', 'bad_value', '--limit', '2', '--yes-show-personal-data', '--config', mended],
    place,
  )
  t.same(
    shown.stdout
      .split('\n')
      .slice(0, -1)
      .map((row) =>
        Object.keys(JSON.parse((JSON.parse(row) as { input: string }).input) as object).includes('hangup_cause'),
      ),
    [true, true],
  )
  const trace = shown.stderr
    .split('\n')
    .filter((l) => l.includes('"audit":true'))
    .map((l) => JSON.parse(l) as Record<string, unknown>)
  t.match(
    trace,
    [
      { msg: 'quarantine is opened', reason: 'bad_value', limit: 2, user: /./, time: /^\d{4}-/ },
      { msg: 'quarantine was shown', count: 2 },
    ],
    'who looked is in the log',
  )
  t.notMatch(shown.stderr, /447700900|call-/, 'what was seen is not')
  const keyless = await minim(t, ['quarantine', 'show', '--yes-show-personal-data', '--config', mended], place, {
    MINIM_MASTER_KEY: '',
  })
  t.equal(keyless.code, 4)

  // Killed in the middle, then once more to the end: every record is there once.
  const replay = ['quarantine', 'replay', '--config', mended]
  const killed = new Program(t, [...replay, '--reason', 'unknown_tenant'], place)
  await until('a part of it is committed', async () => {
    const { taken } = await readLedger({ bootstrap: kafka.bootstrap, properties: {}, shard: 0, shards: 1 })
    return killed.over || [...taken.keys()].some((key) => key.startsWith('quarantine.'))
  })
  killed.kill('SIGKILL')
  // Looking at the ledger takes a second: a fast machine may be done by then.
  const { signal } = await killed.end()
  const reportOf = ({ code, stdout, stderr }: Ended): ReplayReport => {
    t.equal(code, 0, stderr)
    return JSON.parse(stdout) as ReplayReport
  }
  const second = reportOf(await minim(t, [...replay, '--reason', 'unknown_tenant'], place))
  t.comment(`killed after ${second.skipped} of ${UNKNOWN}`)
  t.equal(second.replayed + second.skipped, UNKNOWN)
  t.ok(
    second.skipped > 0 && (second.replayed > 0 || signal !== 'SIGKILL'),
    `${signal ?? 'it ended by itself'}: ${second.replayed} were left`,
  )
  t.same([second.unopened, second.unreadable, second.quarantined], [{}, {}, {}])
  const third = reportOf(await minim(t, [...replay, '--reason', 'unknown_tenant'], place))
  t.same([third.replayed, third.skipped], [0, UNKNOWN], 'again: nothing')
  const found = await billing()
  t.equal(found.length, GOOD + UNKNOWN)
  t.equal(new Set(found).size, GOOD + UNKNOWN, 'each call once')

  // What is refused again goes back once, as a new message; the old ones count as replayed.
  const embedded = place.settings(
    { ...common, embedded: true, kafka: {}, tenants: { default: { id: 1 }, acme: { id: 2 } } },
    'embedded.yaml',
  )
  const again = reportOf(
    await minim(t, ['quarantine', 'replay', '--brokers', kafka.bootstrap, '--config', embedded], place),
  )
  t.match(again, { replayed: BAD, skipped: UNKNOWN, quarantined: { bad_value: BAD } })
  t.same(counts(await rows()), { unknown_tenant: [UNKNOWN, UNKNOWN], bad_value: [2 * BAD, BAD] })
  t.notOk(proxy.program.over, 'the proxy was not fenced')

  const dropped = await minim(t, ['quarantine', 'drop', '--before', '2020-01-01', '--yes', '--config', mended], place)
  t.match(dropped.stdout, /^deleted: 0 message/)
  t.same(
    counts(await rows()),
    { unknown_tenant: [UNKNOWN, UNKNOWN], bad_value: [2 * BAD, BAD] },
    'what is younger stays',
  )
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)
  const all = await minim(t, ['quarantine', 'drop', '--before', tomorrow, '--yes', '--config', mended], place)
  t.equal(all.code, 0, all.stderr)
  t.match(all.stdout, new RegExp(`^deleted: ${UNKNOWN + 2 * BAD} message`))
  t.match(all.stderr, /"audit":true.*quarantine was emptied/)
  t.same(await rows(), [])
  proxy.program.kill('SIGTERM')
  t.equal((await proxy.program.end()).code, 0)
})
