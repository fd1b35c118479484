/**
 * `minim load` of each format, on the embedded cluster: what its last line says, and that nothing is lost by bad lines.
 */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { spawnSync } from '../helpers/child-process.js'
import { shared } from '../helpers/shared.js'
import { minim, Place, Program, ROOT, sleep, until } from './program.js'
import { call, canariesIn, canaryCall, canaryDevice, delimited, field, records } from './records.js'

interface Report {
  readonly records: number
  readonly produced: Record<string, number>
  readonly withheld: Record<string, number>
  readonly quarantined: number
  readonly seconds: number
  readonly cpuSeconds: number
  readonly skippedBytes: number
  readonly quarantinedByReason: Record<string, number>
  readonly unknownFields: number
}

async function load(t: Test, place: Place, ...args: string[]): Promise<Report> {
  const { code, stdout, stderr } = await minim(
    t,
    ['load', ...args, '--config', place.settings({ log: { level: 'warn' } })],
    place,
  )
  t.equal(code, 0, stderr)
  t.equal(stdout.trimEnd().split('\n').length, 1, 'one line on stdout')
  const report = JSON.parse(stdout) as Report
  t.match(report, {
    records: Number,
    produced: Object,
    withheld: Object,
    quarantined: Number,
    seconds: Number,
    cpuSeconds: Number,
  })
  t.same(canariesIn(stdout + stderr), [])
  return report
}

const CALL_PURPOSES = ['service', 'billing', 'fraud', 'quality', 'research', 'marketing', 'legal']
const each = (count: number, purposes: readonly string[] = CALL_PURPOSES, kind = 'call'): Record<string, number> =>
  Object.fromEntries(purposes.map((purpose) => [`pbx.${purpose}.${kind}`, count]))
/** A topic that got nothing may be there with 0. */
const without0 = (counts: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
const stamp = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace('T', ' ')

/** A line of Master.csv, times in UTC. */
function csvLine(n: number, startMs: number, over: Partial<Record<'calling' | 'start', string>> = {}): string {
  const calling = over.calling ?? '07700 900417'
  return (
    `"canary-account","${calling}","020 7946 0918","from-internal",` +
    `"""Xanthippe Quagmire"" <${calling}>","PJSIP/7700900417-00000${n}","PJSIP/carrier-1",` +
    `"Dial","PJSIP/02079460918@203.0.113.77,30",` +
    `"${over.start ?? stamp(startMs)}","${stamp(startMs + 5000)}","${stamp(startMs + 65_000)}",` +
    `65,60,"ANSWERED","DOCUMENTATION","canary-call-${n}","canary-place"\n`
  )
}

t.jobs = 2
t.setTimeout(300_000)

t.test("Asterisk's Master.csv: two files, bad lines between good ones", async (t) => {
  const place = new Place(t)
  place.makeStore()
  const now = Date.now()
  // Twenty days: too old for service and quality (14), not for the others.
  const first = place.write(
    'Master.csv',
    csvLine(1, now - 3_600_000) +
      'not a line of it\n' +
      csvLine(2, now - 3_600_000, { start: '2026-13-45 99:00:00' }) +
      csvLine(3, now - 20 * 86_400_000) +
      '\n' +
      csvLine(4, now - 7_200_000, { calling: 'anonymous' }),
  )
  const second = place.write('Master-2.csv', csvLine(5, now - 1_000_000) + csvLine(6, now - 1_000_000).slice(0, 40))
  const report = await load(t, place, first, second, '--format', 'asterisk-csv')
  t.same(without0(report.produced), { ...each(4), ...each(3, ['service', 'quality']) })
  t.same(report.withheld, { expired: 2 })
  t.equal(report.quarantined, 3)
  t.same(report.quarantinedByReason, { malformed_csv: 2, bad_value: 1 })
  t.equal(report.records, 7)
  t.equal(report.skippedBytes, 0)
})

t.test("Asterisk's own test data: from 2010, so nobody may have it any more, and nothing is lost", async (t) => {
  const place = new Place(t)
  place.makeStore()
  const theirs = shared('fixtures/csv/testsuite-Master.csv')
  if (theirs === null) t.comment("LEFT OUT: ../shared/fixtures/csv is not there; the project's own fixture stands in")
  copyFileSync(theirs ?? join(ROOT, 'test/fixtures/csv/Master.csv'), place.path('Master.csv'))
  const report = await load(
    t,
    place,
    place.path('Master.csv'),
    '--format',
    'asterisk-csv',
    '--time-zone',
    'Europe/London',
    '--force',
  )
  t.ok(report.records > 0)
  const produced = Object.values(report.produced).reduce((a, b) => a + b, 0)
  const withheld = Object.values(report.withheld).reduce((a, b) => a + b, 0)
  t.equal(
    produced + withheld,
    CALL_PURPOSES.length * (report.records - report.quarantined),
    'each record is produced or withheld, for each purpose',
  )
  if (theirs !== null) {
    t.equal(report.records, 2)
    t.equal(report.quarantined, 0)
    t.same(report.withheld, { expired: 14 })
  }
})

t.test('JSON Lines in both vocabularies', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const lines = [
    JSON.stringify(canaryCall(1)),
    JSON.stringify(canaryCall(2, { nickname: 'Xanthippe', age: 7 })),
    '{"calling":"07700900417","start_ms":',
    '[1,2]',
    '"07700900417"',
    JSON.stringify(call(3, { start_ms: 'Xanthippe' })),
    JSON.stringify(call(4, { start_ms: undefined })),
    '',
    `{"calling":"${'7700900417'.repeat(7000)}"}`,
    JSON.stringify(call(5)),
  ]
  const file = place.write('calls.jsonl', lines.join('\n'))
  const report = await load(t, place, file, '--format', 'jsonl')
  t.same(without0(report.produced), each(3))
  t.same(report.quarantinedByReason, { malformed_json: 3, bad_value: 1, no_start_time: 1, too_large: 1 })
  t.equal(report.records, 9)
  t.equal(report.unknownFields, 2)
  const asterisk = place.write(
    'cdr.jsonl',
    JSON.stringify({
      accountcode: 'canary-account',
      src: '07700900417',
      dst: '02079460918',
      clid: '"Xanthippe" <07700900417>',
      channel: 'PJSIP/7700900417-1',
      lastdata: '7700900417',
      start: stamp(Date.now() - 60_000),
      end: stamp(Date.now() - 30_000),
      duration: 30,
      billsec: 20,
      disposition: 'NO ANSWER',
      uniqueid: 'canary-call-1',
    }),
  )
  t.same(without0((await load(t, place, asterisk, '--format', 'jsonl', '--map', 'asterisk-cdr')).produced), each(1))
})

t.test('length-delimited protobuf, all kinds, the last message torn', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const good = records({
    calls: [canaryCall(1), call(2)],
    devices: [canaryDevice(1)],
    qualities: [{ call_id: 'q', local_party: '1001', start_ms: Date.now() - 1000, mos_lq: 4 }],
  })
  const mixed = Buffer.concat([field(4, Buffer.from([0x0a, 0x7f, 0x41])), records({ calls: [call(3)] })])
  const file = place.write(
    'batches.bin',
    Buffer.concat([delimited(good), delimited(mixed), delimited(records({ calls: [canaryCall(4)] })).subarray(0, 30)]),
  )
  const report = await load(t, place, file, '--format', 'protobuf')
  t.same(without0(report.produced), {
    ...each(3),
    ...each(1, ['quality'], 'quality'),
    ...each(1, ['service', 'fraud', 'quality', 'legal'], 'device'),
  })
  t.same(report.quarantinedByReason, { malformed_record: 1, malformed_batch: 1 })
  t.equal(report.records, 7)
})

t.test('a file of another format: nothing is taken, unless it is forced', { timeout: 120_000 }, async (t) => {
  const place = new Place(t)
  place.makeStore()
  const good = place.write('calls.jsonl', `${JSON.stringify(call(1))}\n`)
  const csv = place.write('Master.csv', Array.from({ length: 20 }, (_, n) => csvLine(n, Date.now() - 60_000)).join(''))
  const settings = place.settings({ log: { level: 'warn' } })
  const foreign = place.write('foreign.jsonl', '{"src":"07700900417"}\n'.repeat(20))
  for (const [file, format, reason] of [
    [csv, 'jsonl', 'malformed_json'],
    [csv, 'protobuf', 'malformed_batch'],
    [foreign, 'jsonl', 'no_start_time'],
  ] as const) {
    const { code, stdout, stderr } = await minim(t, ['load', file, '--format', format, '--config', settings], place)
    t.equal(code, 2, stderr)
    t.match(
      stderr,
      new RegExp(
        'MINIM_FILE_WRONG_FORMAT: input file \\(file names are not printed[^)]*\\): of its first \\d+ record.* ' +
          `would go to quarantine \\([^)]*${reason}.*nothing was taken`,
      ),
    )
    t.equal(stdout, '')
    t.same(canariesIn(stderr), [])
  }
  const second = await minim(t, ['load', good, csv, '--format', 'jsonl', '--config', settings], place)
  t.equal(second.code, 2)
  t.match(
    second.stderr,
    /MINIM_FILE_WRONG_FORMAT: input file 2 of the 2 given \(file names are not printed/,
    'which of several',
  )
  const forced = await load(t, place, csv, '--format', 'jsonl', '--force')
  t.equal(forced.quarantined, 20)
})

t.test('without a broker: one line for now, and it goes on trying', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const good = place.write('calls.jsonl', `${JSON.stringify(call(1))}\n`)
  // Brokers that the command line names come before a Kafka inside the process.
  const program = new Program(
    t,
    [
      'load',
      good,
      '--format',
      'jsonl',
      '--brokers',
      '127.0.0.1:1',
      '--config',
      place.settings({ embedded: true, log: { level: 'warn' } }),
    ],
    place,
  )
  await until('it is said', () => program.stderr.includes('MINIM_KAFKA_NO_BROKER'))
  await sleep(3000)
  t.match(
    program.stderr,
    /^minim: MINIM_KAFKA_NO_BROKER: 127\.0\.0\.1:1: no broker answers \(ECONNREFUSED\); trying again in \d+ ms\n$/,
  )
  program.kill('SIGTERM')
  t.equal((await program.end()).code, 130)
})

t.test('a file that is not there: said without a word of what it would have held', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const good = place.write('calls.jsonl', `${JSON.stringify(call(1))}\n`)
  const { code, stdout, stderr } = await new Program(
    t,
    ['load', good, place.path('none.jsonl'), '--format', 'jsonl', '--config', place.settings()],
    place,
  ).end()
  t.equal(code, 1)
  t.match(
    stderr,
    /MINIM_FILE_UNREADABLE: input file 2 of the 2 given \(file names are not printed[^)]*\): cannot be read \(ENOENT\)[^]*→/,
  )
  t.equal(stdout, '')
  const away = await new Program(
    t,
    [
      'load',
      good,
      place.path('none.jsonl'),
      '--format',
      'jsonl',
      '--config',
      place.settings({ embedded: false, kafka: { 'bootstrap.servers': '127.0.0.1:1' } }, 'away.yaml'),
    ],
    place,
  ).end()
  t.equal(away.code, 1, 'and no broker is waited for')
  t.match(away.stderr, /^minim: MINIM_FILE_UNREADABLE: input file 2 of the 2 given \(/)
})

t.test('a byte order mark, packed files, standard input', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const now = Date.now()
  const text = `\ufeff${csvLine(1, now - 3_600_000)}${csvLine(2, now - 3_600_000)}`
  const jsonl = `\ufeff${JSON.stringify(call(3))}\n${JSON.stringify(call(4))}`
  const format = ['--format', 'asterisk-csv']
  for (const [name, bytes] of [
    ['plain.csv', text],
    ['Master.csv.1.gz', gzipSync(text)],
    ['packed-under-another-name', gzipSync(text)],
  ] as const) {
    const report = await load(t, place, place.write(name, bytes), ...format)
    t.match(report, { records: 2, quarantined: 0 }, name)
    t.same(without0(report.produced), each(2), name)
  }
  t.match(await load(t, place, place.write('calls.jsonl', jsonl), '--format', 'jsonl'), { records: 2, quarantined: 0 })
  // Two members, as `cat a.gz b.gz` makes them.
  const members = Buffer.concat([gzipSync(csvLine(5, now - 1000)), gzipSync(csvLine(6, now - 1000))])
  t.match(await load(t, place, place.write('two.gz', members), ...format), { records: 2, quarantined: 0 })
  for (const input of [Buffer.from(text), gzipSync(text)]) {
    const settings = place.settings({ log: { level: 'warn' } })
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(ROOT, 'dist/src/cli/main.js'), 'load', '-', ...format, '--config', settings],
      { input, env: place.env(), encoding: 'utf8' },
    )
    t.equal(status, 0, stderr)
    t.match(JSON.parse(stdout), { records: 2, quarantined: 0 }, 'from standard input')
  }
  const cut = gzipSync(text.repeat(100))
  const torn = await minim(
    t,
    ['load', place.write('torn.gz', cut.subarray(0, cut.length - 20)), ...format, '--config', place.settings({})],
    place,
  )
  t.equal(torn.code, 1)
  t.match(torn.stderr, /MINIM_FILE_UNREADABLE: input file .*Z_BUF_ERROR/)
})

t.test('a load of which nothing comes, or little, does not end with 0', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const now = Date.now()
  const run = (name: string, lines: readonly object[], ...more: string[]): ReturnType<typeof minim> =>
    minim(
      t,
      [
        ...['load', place.write(name, lines.map((line) => JSON.stringify(line)).join('\n')), '--format', 'jsonl'],
        ...['--config', place.settings({ log: { level: 'warn' } }), ...more],
      ],
      place,
    )
  const seconds = call(1, { start_ms: Math.round(now / 1000) })
  const good = call(2, { start_ms: now - 60_000 })
  for (const [name, lines, code] of [
    ['all', [seconds, seconds], 2],
    ['most', [seconds, seconds, seconds, good], 2],
    ['few', [seconds, good, good, good], 0],
  ] as const) {
    const found = await run(`${name}.jsonl`, lines)
    // Where the time itself is refused, nothing is withheld as expired, and a file of which nothing can be read is told
    // so before.
    const refused = /MINIM_FILE_WRONG_FORMAT/.test(found.stderr) || /"quarantined":[1-9]/.test(found.stdout)
    if (!refused) {
      t.equal(found.code, code, name)
      t.equal(/MINIM_LOAD_WITHHELD/.test(found.stderr), code === 2, name)
      t.match(JSON.parse(found.stdout), { records: lines.length }, 'the report is there all the same')
      t.equal((await run(`${name}-forced.jsonl`, lines, '--force')).code, 0)
    }
  }
})
