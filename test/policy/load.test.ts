import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import fc from 'fast-check'
import t from 'tap'
import { stringify } from 'yaml'
import { catalogue, type Field, KINDS } from '../../src/catalogue/catalogue.js'
import { ProblemsError } from '../../src/errors/problems.js'
import { fitting } from '../../src/policy/fit.js'
import { DEFAULT_POLICY_PATH, inspectPolicy, loadPolicy, tenantProblems } from '../../src/policy/load.js'
import type { Policy } from '../../src/policy/model.js'
import { policySchema } from '../../src/policy/schema.js'

type Tree = Record<string, unknown>

/** A sound purpose, to be spoilt. */
function sound(): Tree {
  return {
    notice: 'P2',
    description: 'Bill for calls',
    purpose: 'dpv:PaymentManagement',
    basis: { term: 'eu-gdpr:A6-1-b', evidence: 'the contract' },
    recipients: ['billing'],
    region: 'UK',
    transfer: 'none-needed',
    retention_days: 30,
    epoch: 'month',
    call: {
      key: 'account',
      fields: { account: 'token', start_ms: 'keep', called_prefix: { 'e164-prefix': 'country' } },
    },
  }
}

/** Sets or, with undefined, takes away what is at a path. */
function spoil(tree: Tree, path: string, value: unknown): Tree {
  const steps = path.split('.')
  let at = tree
  for (const step of steps.slice(0, -1)) at = (at[step] ??= {}) as Tree
  if (value === undefined) Reflect.deleteProperty(at, steps[steps.length - 1])
  else at[steps[steps.length - 1]] = value
  return tree
}

function load(purposes: Tree): Policy {
  return loadPolicy({ text: stringify({ purposes }), path: 'policy.yaml' })
}

/** Problems of a policy, as `path: what; mend`. */
function problems(text: string): string[] {
  try {
    loadPolicy({ text, path: 'policy.yaml' })
    return []
  } catch (error) {
    if (!(error instanceof ProblemsError)) throw error
    return error.problems.map((p) => `${p.path}: ${p.what}; ${p.mend}`)
  }
}

t.test('a sound policy is loaded, complete and frozen', async (t) => {
  const text = stringify({ purposes: { billing: sound(), off: { ...sound(), enabled: false } } })
  const policy = loadPolicy({ text })
  t.equal(policy.version, createHash('sha256').update(text).digest('hex').slice(0, 12))
  t.equal(policy.purposes.length, 1, 'what is off is left out')
  const [billing] = policy.purposes
  t.match(billing, {
    id: 'billing',
    notice: 'P2',
    dpv: 'https://w3id.org/dpv#PaymentManagement',
    basis: 'eu-gdpr:A6-1-b',
    evidence: 'the contract',
    recipients: ['billing'],
    region: 'UK',
    transfer: 'none-needed',
    retentionDays: 30,
    epoch: 'month',
    tenants: null,
  })
  t.same(Object.keys(billing.kinds), ['call'])
  const call = billing.kinds.call
  if (call === undefined) throw new Error('no call')
  t.equal(call.topic, 'pbx.billing.call')
  t.equal(call.format, 'protobuf')
  t.equal(call.headers, false)
  t.equal(call.key, catalogue().kinds.call.byName.get('account'))
  t.same(
    call.rules.map((r) => r.field.name),
    ['account', 'start_ms', 'called_prefix'],
  )
  for (const part of [
    policy,
    policy.purposes,
    billing,
    billing.kinds,
    call,
    call.rules,
    call.rules[0],
    call.rules[0].treatment,
  ])
    t.ok(Object.isFrozen(part))
})

t.test('rules are sorted by field number, however they are written', async (t) => {
  const fields = Object.fromEntries(
    ['called_prefix', 'tenant', 'hangup_cause', 'start_ms', 'account'].map((n) => [
      n,
      n === 'account' ? 'token' : n === 'called_prefix' ? { 'e164-prefix': { digits: 5 } } : 'keep',
    ]),
  )
  const rules = load({ a: spoil(sound(), 'call.fields', fields) }).purposes[0].kinds.call?.rules ?? []
  t.same(
    rules.map((r) => r.field.number),
    [1, 2, 9, 16, 33],
  )
})

const treatments: [field: string, written: unknown, read: unknown][] = [
  ['calling', 'token', { kind: 'token', reversible: false }],
  ['calling', { token: { reversible: true } }, { kind: 'token', reversible: true }],
  ['trunk', 'token', { kind: 'token', reversible: false }],
  ['trunk', 'keep', { kind: 'keep' }],
  ['codec', 'keep', { kind: 'keep' }],
  ['called_prefix', { 'e164-prefix': 'country' }, { kind: 'e164-prefix', digits: 'country' }],
  ['called_prefix', { 'e164-prefix': { digits: 11 } }, { kind: 'e164-prefix', digits: 11 }],
  ['source_network', { 'ip-prefix': { v4: 24, v6: 48 } }, { kind: 'ip-prefix', v4: 24, v6: 48 }],
  ['answer_ms', { 'time-bucket': 'minute' }, { kind: 'time-bucket', ms: 60_000 }],
  ['answer_ms', { 'time-bucket': 'hour' }, { kind: 'time-bucket', ms: 3_600_000 }],
  ['answer_ms', { 'time-bucket': 'day' }, { kind: 'time-bucket', ms: 86_400_000 }],
  ['answer_ms', { 'time-bucket': { ms: 1500 } }, { kind: 'time-bucket', ms: 1500 }],
  ['duration_seconds', { 'number-bucket': { step: 60 } }, { kind: 'number-bucket', step: 60, bounds: null }],
  [
    'duration_seconds',
    { 'number-bucket': { bounds: [0, 60, 300] } },
    { kind: 'number-bucket', step: null, bounds: [0, 60, 300] },
  ],
  ['device_vendor', 'user-agent', { kind: 'user-agent', part: 'vendor' }],
  ['device_model', 'user-agent', { kind: 'user-agent', part: 'model' }],
  ['device_firmware', 'user-agent', { kind: 'user-agent', part: 'firmware' }],
  ['mac_vendor', 'mac-vendor', { kind: 'mac-vendor' }],
]
for (const [field, written, read] of treatments) {
  t.test(`treatment ${field}: ${JSON.stringify(written)}`, async (t) => {
    const rules = load({ a: spoil(sound(), `call.fields.${field}`, written) }).purposes[0].kinds.call?.rules
    t.same(rules?.find((r) => r.field.name === field)?.treatment, read)
  })
}

t.test('drop is a rule that may be said, and makes none', async (t) => {
  const rules = load({ a: spoil(sound(), 'call.fields.calling_name', 'drop') }).purposes[0].kinds.call?.rules ?? []
  t.notOk(rules.some((r) => r.field.name === 'calling_name'))
})

/** [what is done to a sound purpose, the problem's path, what it says, its mend] */
const mistakes: [path: string, value: unknown, at: string, what: RegExp, mend: RegExp][] = [
  ['call.fields.callr', 'token', 'call.fields.callr', /no field of call records/, /did you mean .*calling/],
  ['call.fields.mos_lq', 'keep', 'call.fields.mos_lq', /quality records have it/, /use one of/],
  ['call.fields.tag', 'keep', 'call.fields.tag', /written by minim itself/, /take it out/],
  ['call.fields.calling', 'tokn', 'call.fields.calling', /treatment "tokn" is unknown/, /did you mean token/],
  ['call.fields.calling', 'keep', 'call.fields.calling', /keep does not fit a field that holds party/, /write token/],
  ['call.fields.calling', { token: {} }, 'call.fields.calling', /token is not understood/, /reversible/],
  [
    'call.fields.calling',
    { token: { reversible: 'yes' } },
    'call.fields.calling',
    /token is not understood/,
    /reversible/,
  ],
  [
    'call.fields.calling',
    { token: { reversible: true }, keep: 1 },
    'call.fields.calling',
    /no treatment/,
    /write token/,
  ],
  ['call.fields.calling', ['token'], 'call.fields.calling', /no treatment/, /write token/],
  ['call.fields.calling', null, 'call.fields.calling', /no treatment/, /write token/],
  ['call.fields.calling', 7, 'call.fields.calling', /no treatment/, /write token/],
  ['call.fields.calling', { drop: {} }, 'call.fields.calling', /drop takes nothing/, /write drop/],
  [
    'call.fields.calling_name',
    'token',
    'call.fields.calling_name',
    /does not fit a field that holds name/,
    /write drop/,
  ],
  ['call.fields.calling_name', 'keep', 'call.fields.calling_name', /does not fit/, /write drop/],
  ['call.fields.location', 'keep', 'call.fields.location', /holds free text/, /write drop/],
  ['call.fields.user_agent', 'keep', 'call.fields.user_agent', /holds user agent text/, /write drop/],
  ['call.fields.user_agent', 'user-agent', 'call.fields.user_agent', /does not fit/, /write drop/],
  ['call.fields.tenant', 'token', 'call.fields.tenant', /does not fit/, /write keep/],
  ['call.fields.source_ip', 'keep', 'call.fields.source_ip', /does not fit/, /write token/],
  ['call.fields.mac', 'mac-vendor', 'call.fields.mac', /does not fit/, /write token/],
  ['call.fields.called_prefix', 'keep', 'call.fields.called_prefix', /made from called/, /e164-prefix/],
  ['call.fields.called_prefix', 'token', 'call.fields.called_prefix', /made from called/, /e164-prefix/],
  ['call.fields.called_prefix', 'e164-prefix', 'call.fields.called_prefix', /not understood/, /country/],
  [
    'call.fields.called_prefix',
    { 'e164-prefix': { digits: 12 } },
    'call.fields.called_prefix',
    /not understood/,
    /1 to 11/,
  ],
  [
    'call.fields.called_prefix',
    { 'e164-prefix': { digits: 5, x: 1 } },
    'call.fields.called_prefix',
    /not understood/,
    /digits/,
  ],
  [
    'call.fields.source_network',
    { 'ip-prefix': { v4: 32, v6: 48 } },
    'call.fields.source_network',
    /not understood/,
    /8 to 24/,
  ],
  [
    'call.fields.source_network',
    { 'ip-prefix': { v4: 24, v6: 64 } },
    'call.fields.source_network',
    /not understood/,
    /16 to 48/,
  ],
  ['call.fields.source_network', { 'ip-prefix': { v4: 24 } }, 'call.fields.source_network', /not understood/, /v6/],
  ['call.fields.start_ms', { 'time-bucket': 'week' }, 'call.fields.start_ms', /not understood/, /minute, hour or day/],
  ['call.fields.start_ms', { 'time-bucket': { ms: 0 } }, 'call.fields.start_ms', /not understood/, /1000/],
  ['call.fields.start_ms', { 'number-bucket': { step: 60 } }, 'call.fields.start_ms', /does not fit/, /time-bucket/],
  [
    'call.fields.start_ms',
    { 'time-bucket': { ms: 20 * 86_400_000 } },
    'call.fields.start_ms',
    /longer than half of the 30 days/,
    /1296000000 ms or less/,
  ],
  [
    'call.fields.duration_seconds',
    { 'time-bucket': 'hour' },
    'call.fields.duration_seconds',
    /does not fit/,
    /number-bucket/,
  ],
  [
    'call.fields.duration_seconds',
    { 'number-bucket': { step: 0 } },
    'call.fields.duration_seconds',
    /not understood/,
    /step/,
  ],
  [
    'call.fields.duration_seconds',
    { 'number-bucket': { step: 0.5 } },
    'call.fields.duration_seconds',
    /not understood/,
    /step/,
  ],
  [
    'call.fields.duration_seconds',
    { 'number-bucket': { bounds: [] } },
    'call.fields.duration_seconds',
    /not understood/,
    /bounds/,
  ],
  [
    'call.fields.duration_seconds',
    { 'number-bucket': { bounds: [60, 300] } },
    'call.fields.duration_seconds',
    /not understood/,
    /bounds: \[0/,
  ],
  [
    'call.fields.duration_seconds',
    { 'number-bucket': { bounds: [0, 60, 60] } },
    'call.fields.duration_seconds',
    /not understood/,
    /bounds/,
  ],
  [
    'call.fields.disposition',
    { 'number-bucket': { step: 2 } },
    'call.fields.disposition',
    /does not fit a field that holds a enum|does not fit/,
    /write keep/,
  ],
  ['call.fields', {}, 'call.fields', /lets no field pass/, /take call out/],
  ['call.fields', { calling: 'drop' }, 'call.fields', /lets no field pass/, /take call out/],
  ['call.fields', [], 'call.fields', /must be a mapping/, /a treatment for each field/],
  ['call.fields', undefined, 'call.fields', /is missing/, /a treatment for each field/],
  [
    'call.fields.start_ms',
    undefined,
    'call.fields.start_ms',
    /start of the month, too coarse for 30 days/,
    /set epoch: day, or let start_ms pass/,
  ],
  ['call.key', 'start_ms', 'call.key', /must be a field that this purpose sees as a token/, /use one of: account/],
  ['call.key', 'calling', 'call.key', /must be a field that this purpose sees as a token/, /use one of: account/],
  ['call.key', 'called_prefix', 'call.key', /must be a field/, /use one of: account/],
  ['call.key', true, 'call.key', /must be a text/, /the token becomes|whose token/],
  ['call.format', 'avro', 'call.format', /none of the allowed values/, /protobuf, json/],
  ['call.headers', 'yes', 'call.headers', /must be true or false/, /headers/],
  ['call.topic', 'minim.ledger', 'call.topic', /kept for minim or Kafka/, /pbx\.<purpose>\.<kind>/],
  ['call.topic', 'a b', 'call.topic', /is of another form/, /name of the Kafka topic/],
  ['call.topics', 'x', 'call.topics', /is unknown/, /did you mean topic/],
  ['call', undefined, '', /sees no kind of record/, /call, quality, device/],
  ['call', null, 'call', /must be a mapping/, /sees of call records/],
  ['calls', {}, 'calls', /is unknown/, /did you mean call/],
  ['notice', 'billing', 'notice', /is of another form/, /P2/],
  ['description', '  ', 'description', /is of another form/, /words that a customer understands/],
  ['purpose', 'dpv:Paymentmanagement', 'purpose', /none of the allowed values/, /did you mean dpv:PaymentManagement/],
  [
    'purpose',
    'https://w3id.org/dpv#SellEverything',
    'purpose',
    /none of the allowed values/,
    /use one of|did you mean/,
  ],
  ['basis.term', 'eu-gdpr:A9-2-a', 'basis.term', /none of the allowed values/, /eu-gdpr:A6-1-a/],
  ['basis.evidence', undefined, 'basis.evidence', /is missing/, /the contract and its clause/],
  ['basis.evidence', '', 'basis.evidence', /is missing/, /the contract and its clause/],
  ['basis.evidence', null, 'basis.evidence', /is missing/, /the contract and its clause/],
  ['basis', { term: 'eu-gdpr:A6-1-f' }, 'basis.evidence', /is missing/, /balancing test/],
  ['basis', { term: 'eu-gdpr:A6-1-c' }, 'basis.evidence', /is missing/, /statute/],
  ['basis.consent_notice', 'v1', 'basis.consent_notice', /does not belong to contract/, /take it out/],
  ['basis', undefined, 'basis', /is missing/, /lawful basis/],
  ['recipients', [], 'recipients', /must NOT have fewer/, /a list of those who read/],
  ['region', 'uk', 'region', /none of the allowed values/, /did you mean UK/],
  ['region', 'GBR', 'region', /none of the allowed values/, /write UK or GB, EEA, or the two capital letters/],
  ['region', undefined, 'region', /is missing/, /where the topics are kept/],
  ['transfer', undefined, 'transfer', /is missing/, /transfer mechanism/],
  ['transfer', 'privacy-shield', 'transfer', /struck down in 2020 \(Schrems II\)/, /scc or bcr/],
  ['transfer', 'safe-harbour', 'transfer', /struck down in 2015/, /scc or bcr/],
  ['transfer', 'constructor', 'transfer', /none of the allowed values/, /adequacy/],
  ['region', 'EEA', 'transfer', /none-needed does not cover European Economic Area/, /adequacy, scc, bcr/],
  ['region', 'US', 'transfer', /none-needed does not cover United States/, /use one of: scc, bcr/],
  ['retention_days', undefined, 'retention_days', /is missing/, /whole days/],
  ['retention_days', 0, 'retention_days', /must be >= 1/, /whole days/],
  ['retention_days', 1.5, 'retention_days', /must be a whole number/, /whole days/],
  ['retention_days', '30', 'retention_days', /must be a whole number/, /whole days/],
  ['epoch', 'week', 'epoch', /none of the allowed values/, /day, month, quarter, year, contract/],
  ['epoch', undefined, 'epoch', /is missing/, /same token/],
  ['tenants', [], 'tenants', /must NOT have fewer/, /tenants whose records pass/],
  ['enabled', 'no', 'enabled', /must be true or false/, /is off/],
]
for (const [path, value, at, what, mend] of mistakes) {
  t.test(`refused: ${path} = ${JSON.stringify(value)}`, async (t) => {
    const found = problems(stringify({ purposes: { a: spoil(sound(), path, value) } }))
    const expected = at === '' ? 'purposes.a' : `purposes.a.${at}`
    const here = found.filter((p) => p.startsWith(`${expected}: `))
    t.equal(here.length, 1, found.join('\n'))
    t.match(here[0], what)
    t.match(here[0], mend)
    if (!spreads(path, value)) t.equal(found.length, 1, 'one mistake is told once')
  })
}

/** Whether a mistake spoils other rules too, and is told with them. */
function spreads(path: string, value: unknown): boolean {
  return path === 'call.fields' && value !== undefined
}

t.test('every mistake is named at once', async (t) => {
  const a = spoil(
    spoil(spoil(sound(), 'call.fields.callr', 'token'), 'transfer', 'privacy-shield'),
    'basis.evidence',
    undefined,
  )
  const b = spoil(spoil(sound(), 'retention_days', undefined), 'call.fields.calling_name', 'keep')
  const error = t.throws(() => load({ a, b }))
  t.ok(error instanceof ProblemsError)
  if (!(error instanceof ProblemsError)) return
  t.equal(error.code, 'MINIM_POLICY_INVALID')
  const paths = [
    'purposes.a.transfer',
    'purposes.a.call.fields.callr',
    'purposes.a.basis.evidence',
    'purposes.b.retention_days',
    'purposes.b.call.fields.calling_name',
  ]
  t.same(error.problems.map((p) => p.path).sort(), paths.sort())
  for (const path of paths) t.ok(error.message.includes(path))
  t.match(error.message, /^policy\.yaml: the policy has 5 mistake/)
})

t.test('what is off is checked all the same', async (t) => {
  t.match(
    problems(
      stringify({ purposes: { a: sound(), b: { ...spoil(sound(), 'call.fields.callr', 'keep'), enabled: false } } }),
    ),
    [/^purposes\.b\.call\.fields\.callr/],
  )
})

t.test('consent cannot be relied on yet', async (t) => {
  const consent = (more: Tree): Tree => ({
    ...sound(),
    basis: { term: 'eu-gdpr:A6-1-a', evidence: 'recorded consents', consent_notice: 'form 1', ...more },
  })
  t.match(problems(stringify({ purposes: { a: consent({}) } })), [
    /^purposes\.a\.enabled: rests on consent.*set enabled: false/,
  ])
  t.same(problems(stringify({ purposes: { b: sound(), a: { ...consent({}), enabled: false } } })), [])
  t.match(
    problems(stringify({ purposes: { b: sound(), a: { ...consent({ consent_notice: undefined }), enabled: false } } })),
    [/^purposes\.a\.basis\.consent_notice: is missing/],
  )
})

t.test('two purposes may not share a topic', async (t) => {
  const found = (one: string, two: string): string[] =>
    problems(stringify({ purposes: { a: spoil(sound(), 'call.topic', one), b: spoil(sound(), 'call.topic', two) } }))
  t.match(found('pbx.x', 'pbx.x'), [/^purposes\.b\.call\.topic: names the same topic as purposes\.a\.call\.topic/])
  t.match(found('pbx.x', 'pbx_x'), [/^purposes\.b\.call\.topic: names the same topic/])
  t.match(found('pbx.b.call', 'pbx.b.call'), [/^purposes\.b\.call\.topic/])
  t.same(found('pbx.x', 'pbx.y'), [])
})

t.test('a coarse time needs an epoch that fits the retention', async (t) => {
  const without = (days: number, epoch: string): string[] =>
    problems(
      stringify({
        purposes: { a: { ...spoil(sound(), 'call.fields.start_ms', undefined), retention_days: days, epoch } },
      }),
    )
  t.same(without(30, 'day'), [])
  t.same(without(62, 'month'), [])
  t.equal(without(61, 'month').length, 1)
  t.equal(without(3650, 'contract').length, 1)
  t.match(without(1, 'day'), [/too coarse for 1 days of retention; let start_ms pass/])
})

for (const [name, text, expected] of [
  ['an empty file', '', [/^: must be a mapping/]],
  ['a list', '- a', [/^: must be a mapping/]],
  ['no purposes', 'purposes: {}', [/^purposes: /]],
  ['purposes that are no mapping', 'purposes: [a]', [/^purposes: must be a mapping/]],
  ['an unknown key on top', 'purpose: {}', [/^purposes: is missing/, /^purpose: is unknown; did you mean purposes/]],
  ['a duplicate key', 'purposes:\n  a: {}\n  a: {}\n', [/^line 3, column 3: .*duplicate key/]],
  ['an unknown tag', 'purposes: !include x', [/^line 1, column 11: .*tag resolve failed/]],
  ['an alias to nowhere', 'purposes: *x', [/not understood as YAML|aliases cannot be resolved/]],
  ['broken YAML', 'purposes: {', [/^line 1, column 12: /]],
  ['a purpose named like a prototype', 'purposes: { __proto__: {} }', [/^purposes/]],
  ['an id with a dot', 'purposes: { "a.b": {} }', [/^purposes\.a\.b: is unknown; needed: purposes by id/]],
] as const) {
  t.test(`refused: ${name}`, async (t) => {
    const found = problems(text)
    for (const line of expected)
      t.ok(
        found.some((p) => line.test(p)),
        `${line}\n${found.join('\n')}`,
      )
  })
}

t.test('no purpose on is refused, and so are more than a mask holds', async (t) => {
  t.match(problems(stringify({ purposes: { a: { ...sound(), enabled: false } } })), [/^purposes: none is on/])
  const many = (n: number): string =>
    stringify(
      { purposes: Object.fromEntries(Array.from({ length: n }, (_, i) => [`p${i}`, sound()])) },
      { aliasDuplicateObjects: false },
    )
  t.same(problems(many(31)), [])
  t.match(problems(many(32)), [/^purposes: 32 are on; switch some off/])
})

t.test('a file that cannot be read is a mistake like any other', async (t) => {
  t.throws(() => loadPolicy(`${t.testdirName}/none.yaml`), {
    code: 'MINIM_POLICY_INVALID',
    message: /cannot be read \(ENOENT\)/,
  })
})

t.test('the shipped policy is sound, and its version is its hash', async (t) => {
  const policy = loadPolicy()
  t.equal(policy.version, createHash('sha256').update(readFileSync(DEFAULT_POLICY_PATH)).digest('hex').slice(0, 12))
  t.match(readFileSync(DEFAULT_POLICY_PATH, 'utf8'), /^# yaml-language-server: \$schema=\.\/policy\.schema\.json\n/)
  t.same(
    inspectPolicy()
      .purposes.filter((p) => !p.enabled)
      .map((p) => p.id),
    ['settlement', 'billing-partner', 'partner-testimonial'],
  )
  t.same(tenantProblems(policy, ['default']), [], 'it names no tenant that the default settings lack')
})

t.test('tenants are held against the settings', async (t) => {
  const policy = load({ a: { ...sound(), tenants: ['acme', 'acne'] } })
  t.match(tenantProblems(policy, ['default', 'acme']), [{ path: 'purposes.a.tenants.1', what: /"acne"/, mend: /acme/ }])
})

t.test('an identifier passes only as a token, whatever a rule says', async (t) => {
  const identifying = ['PARTY', 'IP', 'MAC', 'ACCOUNT_CODE', 'CALL', 'SERIAL', 'USER_AGENT_TEXT', 'NAME', 'FREE_TEXT']
  for (const kind of KINDS) {
    const { fields, byName } = catalogue().kinds[kind]
    const fits = (f: Field): readonly string[] => fitting(f, (n) => byName.get(n))
    for (const f of fields) {
      if (identifying.includes(f.identifier)) t.notOk(fits(f).includes('keep'), `${kind}.${f.name}`)
      if (f.identifier === 'NAME' || f.identifier === 'FREE_TEXT') t.same(fits(f), [], `${kind}.${f.name}`)
      if (f.derivedFrom !== null) t.equal(fits(f).length, 1, `${kind}.${f.name} is made in one way`)
    }
  }
})

t.test('whatever is written in place of a treatment: understood and fitting, or refused', async () => {
  const validate = new Ajv({ strict: false }).compile(policySchema(catalogue()))
  const { fields, byName } = catalogue().kinds.call
  const word = fc.constantFrom(
    'keep',
    'token',
    'drop',
    'e164-prefix',
    'ip-prefix',
    'time-bucket',
    'number-bucket',
    'user-agent',
    'mac-vendor',
    'toString',
    '',
  )
  const leaf = fc.oneof(
    word,
    fc.integer({ min: -2, max: 100 }),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom('country', 'minute', 'day'),
  )
  const parameters = fc.oneof(
    leaf,
    fc.dictionary(
      fc.constantFrom('reversible', 'digits', 'v4', 'v6', 'ms', 'step', 'bounds', 'x'),
      fc.oneof(leaf, fc.array(leaf, { maxLength: 3 })),
      { maxKeys: 3 },
    ),
  )
  const written = fc.oneof(leaf, fc.dictionary(word, parameters, { maxKeys: 2 }))
  fc.assert(
    fc.property(fc.constantFrom(...fields.map((f) => f.name)), written, (name, value) => {
      const file = { purposes: { a: spoil(spoil(sound(), 'call.key', undefined), `call.fields.${name}`, value) } }
      const text = stringify(file)
      let policy: Policy
      try {
        policy = loadPolicy({ text })
      } catch (error) {
        return error instanceof ProblemsError && error.problems.every((p) => p.path.startsWith('purposes.a'))
      }
      // The editor's schema has a mind of its own: what starts is nothing that an editor marks as wrong.
      if (!validate(file)) return false
      const rule = policy.purposes[0].kinds.call?.rules.find((r) => r.field.name === name)
      if (value === 'drop') return rule === undefined
      const field = byName.get(name)
      return (
        field !== undefined && rule !== undefined && fitting(field, (n) => byName.get(n)).includes(rule.treatment.kind)
      )
    }),
    { numRuns: 2000 },
  )
})

t.test('a file that holds more than any policy is refused', (t) => {
  const purposes = Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`p${i}`, { x: 1 }]))
  t.match(inspectPolicy({ text: JSON.stringify({ purposes }) }).problems, [{ what: 'holds more than 20000 values' }])
  t.match(inspectPolicy({ text: 'x'.repeat(900_001) }).problems, [{ what: 'is larger than 900 kB' }])
  t.end()
})
