import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { register } from '../../src/cli/lint.js'
import { lint, type LintReport } from '../../src/policy/lint.js'
import { DEFAULT_POLICY_PATH, loadPolicy } from '../../src/policy/load.js'
import { DEFAULT_NOTICE_PATH, PROMISE_IDS, type Promised } from '../../src/policy/notice.js'

async function minim(...args: string[]): Promise<{ out: string; err: string; exitCode: number }> {
  let out = ''
  let err = ''
  const program = new Command('minim').exitOverride().configureOutput({
    writeOut: (text) => {
      out += text
    },
    writeErr: (text) => {
      err += text
    },
  })
  register(program)
  try {
    await program.parseAsync(['lint', ...args], { from: 'user' })
    return { out, err, exitCode: 0 }
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return { out, err, exitCode: error.exitCode }
  }
}

type Row = { -readonly [K in keyof Promised]: Promised[K] }

function rows(): Row[] {
  return (parse(readFileSync(DEFAULT_NOTICE_PATH, 'utf8')) as { promises: Row[] }).promises
}

/** Lints the shipped policy against the shipped notice as changed. */
function spoilt(t: Test, change: (row: (id: string) => Row, rows: Row[]) => void): LintReport {
  const changed = rows()
  change((id) => {
    const found = changed.find((r) => r.id === id)
    if (found === undefined) throw new Error(id)
    return found
  }, changed)
  const path = join(t.testdir({}), 'notice.yaml')
  writeFileSync(path, stringify({ promises: changed }))
  return lint(catalogue(), DEFAULT_POLICY_PATH, path)
}

/** Lints a policy made of purposes laid over a sound one, for its warnings. */
function warnings(purposes: Record<string, Record<string, unknown>>): string[] {
  const rest = {
    notice: 'P2',
    description: 'x',
    purpose: 'dpv:PaymentManagement',
    basis: { term: 'eu-gdpr:A6-1-b', evidence: 'the contract' },
    recipients: ['x'],
    region: 'UK',
    transfer: 'none-needed',
    retention_days: 30,
    epoch: 'month',
  }
  const text = stringify({
    purposes: Object.fromEntries(Object.entries(purposes).map(([id, p]) => [id, { ...rest, ...p }])),
  })
  const report = lint(catalogue(), { text })
  t.same(report.policyProblems, [])
  return report.warnings.map((w) => `${w.path}: ${w.what}`)
}

const call = (fields: Record<string, unknown>): Record<string, unknown> => ({
  call: { key: 'account', fields: { account: 'token', ...fields } },
})

t.test('the shipped policy keeps the shipped notice', async (t) => {
  const report = lint(catalogue())
  t.same(report.policyProblems, [])
  t.same(report.noticeProblems, [])
  t.equal(report.failed, false)
  t.same(
    rows().map((r) => r.id),
    PROMISE_IDS,
    'each promise has its row',
  )
  t.equal(PROMISE_IDS.length, 38)
})

t.test('what is not kept yet is said', async (t) => {
  const { open, lines } = lint(catalogue())
  for (const id of ['R1', 'R2', 'R3', 'R4', 'R5', 'R6', 'R7', 'R8'])
    t.match(
      open.find((p) => p.id === id),
      { status: 'planned' },
      id,
    )
  for (const p of open)
    t.ok(
      lines.some((l) => l.startsWith(`  ${p.id} ${p.status}: ${p.missing}`)),
      p.id,
    )
  // What was measured stands beside what is not kept.
  for (const [id, figure] of [
    ['P4', /59 to 71 % of callers and 86 % of telephones/],
    ['T2', /6 of the 21/],
    ['T5', /words/],
    ['P7', /in clear/],
    ['P2', /no command yet/],
    ['D5', /model, firmware, OS and vendor/],
    ['K1', /some minutes after/],
  ] as const)
    t.match(
      open.find((p) => p.id === id),
      { status: 'partly', missing: figure },
      id,
    )
  t.notOk(open.some((p) => p.id === 'P1'))
})

t.test('what a purpose does not name does not leave, so it need not be named', async (t) => {
  const text = readFileSync(DEFAULT_POLICY_PATH, 'utf8').replace(/^ +calling_name: drop.*\n/gm, '')
  t.notMatch(text, /calling_name/)
  const report = lint(catalogue(), { text, path: 'policy.yaml' })
  t.same(report.noticeProblems, [])
  t.notOk(report.failed)
})

t.test('a purpose that lets pass what is promised to be dropped fails', async (t) => {
  const path = join(t.testdir({}), 'notice.yaml')
  const notice = parse(readFileSync(DEFAULT_NOTICE_PATH, 'utf8')) as { promises: Row[] }
  for (const row of notice.promises) if (row.id === 'D4') row.rules = ['!purposes.*.call.fields.calling']
  writeFileSync(path, stringify(notice))
  const { noticeProblems, failed } = lint(catalogue(), DEFAULT_POLICY_PATH, path)
  t.ok(failed)
  t.match(noticeProblems[0], { path: 'D4.rules', what: /^purposes\.\w+\.call\.fields\.calling lets pass/ })
  t.ok(noticeProblems.length > 2, 'each purpose that does is named')
})

t.test('the figure that the notice gives for T2 is what lint finds', async (t) => {
  const { warnings, open } = lint(catalogue())
  const on = loadPolicy().purposes.length
  const pairs = warnings.filter(({ what }) => what.includes('can be joined without tokens'))
  const found = new Set(pairs.map(({ path }) => path.replace(/\.(call|quality|device)/g, '')))
  t.match(open.find((p) => p.id === 'T2')?.missing, new RegExp(`${found.size} of the ${(on * (on - 1)) / 2} `))
})

const mistakes: [name: string, change: (row: (id: string) => Row, rows: Row[]) => void, path: string, what: RegExp][] =
  [
    [
      'a promise without a row',
      (_, all) => {
        all.splice(
          all.findIndex((r) => r.id === 'P3'),
          1,
        )
      },
      'P3',
      /is missing/,
    ],
    [
      'a promise that nobody made',
      (row, all) => {
        all.push({ ...row('R10'), id: 'R11' })
      },
      'R11',
      /is no row of the notice/,
    ],
    [
      'a promise with two rows',
      (row, all) => {
        all.push(row('P1'))
      },
      'P1',
      /is there twice/,
    ],
    [
      'a rule that the policy does not have',
      (row) => {
        row('P2').rules = ['purposes.billing.call.fields.callr']
      },
      'P2.rules',
      /purposes\.billing\.call\.fields\.callr is not in the policy/,
    ],
    [
      'a rule that one purpose lacks',
      (row) => {
        row('K1').rules = ['purposes.*.device']
      },
      'K1.rules',
      /purposes\.\*\.device is not in the policy/,
    ],
    [
      "a rule that is a prototype's",
      (row) => {
        row('P2').rules = ['purposes.constructor']
      },
      'P2.rules',
      /is not in the policy/,
    ],
    [
      'a test that does not exist',
      (row) => {
        row('P2').tests = ['test/policy/none.test.ts']
      },
      'P2.tests',
      /test\/policy\/none\.test\.ts is no test file/,
    ],
    [
      'a test that is no test',
      (row) => {
        row('P2').tests = ['package.json']
      },
      'P2.tests',
      /package\.json is no test file/,
    ],
    [
      'a test outside',
      (row) => {
        row('P2').tests = ['test/../test/policy/lint.test.ts']
      },
      'P2.tests',
      /is no test file/,
    ],
    [
      'a kept promise without rules',
      (row) => {
        row('P1').rules = []
      },
      'P1.rules',
      /is empty, and the promise is enforced/,
    ],
    [
      'a kept promise without tests',
      (row) => {
        row('P1').tests = []
      },
      'P1.tests',
      /is empty, and the promise is enforced/,
    ],
    [
      'a promise kept in part without tests',
      (row) => {
        row('P6').tests = []
      },
      'P6.tests',
      /is empty, and the promise is partly/,
    ],
    [
      'a promise kept in part that does not say what is missing',
      (row) => {
        delete row('P6').missing
      },
      'P6.missing',
      /is missing/,
    ],
    [
      'a kept promise with something missing',
      (row) => {
        row('P1').missing = 'x'
      },
      'P1.missing',
      /does not belong to enforced/,
    ],
  ]
for (const [name, change, path, what] of mistakes) {
  t.test(`fails: ${name}`, async (t) => {
    const report = spoilt(t, change)
    t.equal(report.failed, true)
    t.equal(report.noticeProblems.length, 1, JSON.stringify(report.noticeProblems))
    t.equal(report.noticeProblems[0].path, path)
    t.match(report.noticeProblems[0].what, what)
  })
}

t.test('fails: a notice that is not understood', async (t) => {
  const path = join(t.testdir({}), 'notice.yaml')
  for (const [text, what] of [
    ['promises: [{ id: P1 }]', /is missing/],
    ['promises: []\nx: 1', /is unknown/],
    ['{', /not understood/],
  ] as const) {
    writeFileSync(path, text)
    const report = lint(catalogue(), DEFAULT_POLICY_PATH, path)
    t.equal(report.failed, true)
    t.ok(
      report.noticeProblems.some((p) => what.test(p.what)),
      text,
    )
  }
  t.match(lint(catalogue(), DEFAULT_POLICY_PATH, join(path, 'none')).noticeProblems, [{ what: /cannot be read/ }])
})

for (const [name, text] of [
  ['is not there', null],
  ['is no YAML', 'purposes: [\n'],
  ['is empty', ''],
  ['has no purposes', 'purposes: 5\n'],
] as const) {
  t.test(`a policy that ${name} is told, and not what follows from it`, async (t) => {
    const policy = join(t.testdir(text === null ? {} : { 'policy.yaml': text }), 'policy.yaml')
    const report = lint(catalogue(), policy)
    t.ok(report.failed)
    t.ok(report.policyProblems.length > 0)
    t.same(report.noticeProblems, [])
    t.same(report.lines.slice(-2), ['notice: not checked until the policy can be read', 'lint: failed'])
    t.equal(report.lines.length, 4)
    const notice = join(t.testdir({ 'notice.yaml': 'promises: 5' }), 'notice.yaml')
    t.match(
      lint(catalogue(), policy, notice).noticeProblems,
      [{ path: 'promises' }],
      "but the notice's own mistakes are",
    )
  })
}

t.test('fails: a purpose that keeps a promise without a row', async (t) => {
  const report = lint(catalogue(), {
    text: readFileSync(DEFAULT_POLICY_PATH, 'utf8').replace('notice: P5', 'notice: P12'),
  })
  t.match(report.noticeProblems, [{ path: 'P12', what: /purposes\.research keeps it/ }])
})

t.test('without tests (as installed), tests are not looked for, and that is said', async (t) => {
  const root = t.testdir({})
  const report = lint(catalogue(), DEFAULT_POLICY_PATH, DEFAULT_NOTICE_PATH, root)
  t.equal(report.failed, false)
  t.ok(report.lines.some((l) => l.startsWith('tests: not part of this installation')))
  mkdirSync(join(root, 'test'))
  t.equal(lint(catalogue(), DEFAULT_POLICY_PATH, DEFAULT_NOTICE_PATH, root).failed, true)
})

const exact = { start_ms: 'keep', duration_seconds: 'keep' }
const pairs: [name: string, a: Record<string, unknown>, b: Record<string, unknown>, joinable: boolean][] = [
  ['start and duration in both', exact, exact, true],
  ['start to the second in one', exact, { ...exact, start_ms: { 'time-bucket': { ms: 1000 } } }, true],
  ['start to the minute in one', exact, { ...exact, start_ms: { 'time-bucket': 'minute' } }, false],
  ['duration in buckets in one', exact, { ...exact, duration_seconds: { 'number-bucket': { step: 60 } } }, false],
  ['duration worked out from start and end', exact, { start_ms: 'keep', end_ms: 'keep' }, true],
  [
    'billable time worked out from answer and end',
    { start_ms: 'keep', billable_seconds: 'keep' },
    { start_ms: 'keep', answer_ms: 'keep', end_ms: 'keep' },
    true,
  ],
  ['two durations that differ', exact, { start_ms: 'keep', billable_seconds: 'keep' }, false],
  ['no duration in one', exact, { start_ms: 'keep' }, false],
]
for (const [name, a, b, joinable] of pairs) {
  t.test(`joinable: ${name}`, async (t) => {
    const found = warnings({ a: call(a), b: call(b) }).filter((w) => w.includes('joined without tokens'))
    t.equal(found.length, joinable ? 1 : 0)
    if (joinable) t.match(found[0], /^purposes\.a\.call and purposes\.b\.call: /)
  })
}

t.test('a purpose that is off joins nothing', async (t) => {
  t.same(warnings({ a: call(exact), b: { ...call(exact), enabled: false } }), [])
})

t.test('research and marketing of the shipped policy can be joined with nothing', async (t) => {
  for (const w of lint(catalogue()).warnings)
    if (w.what.includes('joined')) t.notMatch(w.path, /research|marketing|quality/)
})

t.test('other warnings', async (t) => {
  const seen = (p: Record<string, unknown>): string[] => warnings({ a: p })
  t.match(seen({ call: { fields: { start_ms: 'keep' } } }), [/^purposes\.a\.call\.key: there is none/])
  t.match(seen({ ...call(exact), retention_days: 31 }), [/^purposes\.a\.retention_days: is above 30/])
  t.same(seen({ ...call(exact), retention_days: 3650, basis: { term: 'eu-gdpr:A6-1-c', evidence: 'a statute' } }), [])
  t.same(seen({ ...call(exact), epoch: 'contract' }), [])
  t.match(seen({ ...call(exact), epoch: 'contract', basis: { term: 'eu-gdpr:A6-1-f', evidence: 'a test' } }), [
    /^purposes\.a\.epoch: gives tokens as long as a contract/,
  ])
  t.match(seen(call({ start_ms: { 'time-bucket': 'hour' }, end_ms: { 'time-bucket': 'minute' } })), [
    /^purposes\.a\.call\.fields\.end_ms: is finer than start_ms/,
  ])
  t.same(seen(call({ start_ms: { 'time-bucket': 'hour' }, end_ms: { 'time-bucket': 'hour' } })), [])
  t.match(seen({ ...call({ start_ms: 'keep', calling: 'token', called: 'token' }), purpose: 'dpv:Marketing' }), [
    /^purposes\.a\.call\.fields: sees calling and called, so it knows who called whom/,
  ])
})

t.test('minim lint', async (t) => {
  const good = await minim()
  t.equal(good.exitCode, 0)
  t.match(good.out, /^policy [0-9a-f]{12}: 7 purposes on, 3 off\nnotice: 38 promises: /)
  t.match(good.out, /\nlint: passed\n$/)
  const path = join(t.testdir({}), 'policy.yaml')
  writeFileSync(path, readFileSync(DEFAULT_POLICY_PATH, 'utf8').replace('calling: token', 'callr: token'))
  const bad = await minim('--policy', path)
  t.equal(bad.exitCode, 1)
  t.match(bad.out, /policy\.yaml: 1 mistake\(s\)\n {2}line \d+, purposes\.service\.call\.fields\.callr: is no field/)
  t.match(bad.out, /\nlint: failed\n$/)
  const json = await minim('--json', '--policy', path)
  t.equal(json.exitCode, 1)
  t.match(JSON.parse(json.out), { failed: true, policyProblems: [{ path: 'purposes.service.call.fields.callr' }] })
})
