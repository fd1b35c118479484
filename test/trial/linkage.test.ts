/** What can be linked is found where it is known to be all, some or nothing, and is the same each time. */
import t from 'tap'
import { catalogue as shippedCatalogue } from '../../src/catalogue/catalogue.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { loadPolicy } from '../../src/policy/load.js'
import type { Policy } from '../../src/policy/model.js'
import { loadSettings } from '../../src/settings/load.js'
import { tenantsOf } from '../../src/settings/tenants.js'
import { type Groups, groupsOf } from '../../src/trial/groups.js'
import { linkage, type Pair, type Readers } from '../../src/trial/linkage.js'
import { type SampleTable, sampleTable } from '../../src/trial/sample-table.js'
import { clopperPearsonUpper } from '../../src/trial/upper-bound.js'

const catalogue = shippedCatalogue()
const NOW_MS = Date.UTC(2026, 10, 27, 10)
const HOUR_MS = 3_600_000
/** Noon of the day before. */
const START_MS = NOW_MS - 22 * HOUR_MS

interface Rules {
  readonly fields: string
  readonly more?: string
  readonly format?: string
}

function policyOf(purposes: Readonly<Record<string, Rules>>): Policy {
  const text = Object.entries(purposes).map(
    ([id, { fields, more = '', format = 'protobuf' }]) => `
  ${id}:
    notice: P1
    description: ${id}
    purpose: dpv:ServiceProvision
    basis: { term: eu-gdpr:A6-1-b, evidence: the contract }
    recipients: [${id}]
    region: UK
    transfer: adequacy
    retention_days: 30
    epoch: day
${more}
    call:
      format: ${format}
      fields: { ${fields} }
`,
  )
  return loadPolicy({ text: `purposes:${text.join('')}` }, catalogue)
}

type Call = Readonly<Record<string, string | number>>

/** Calls of a hundred accounts, each begun at a second of its own. */
const CALLS = Array.from({ length: 300 }, (_, i) => ({
  account: `ACME-${i % 100}`,
  calling: `+44770090${String(i % 100).padStart(4, '0')}`,
  called: '+442079460123',
  start_ms: START_MS + i * 10_000 + 7,
  answer_ms: START_MS + i * 10_000 + 2007,
  end_ms: START_MS + i * 10_000 + 62_507,
  billable_seconds: 60,
  disposition: 'ANSWERED',
  codec: 'PCMA',
}))

function sampleOf(policy: Policy, calls: readonly Call[], maxRecords = 10_000, seed = 1): SampleTable {
  const input = Buffer.from(calls.map((call) => `${JSON.stringify(call)}\n`).join(''))
  return sampleTable({
    policy,
    catalogue,
    input,
    tenants: tenantsOf(loadSettings(null)),
    models: {},
    futureMs: 300_000,
    now: () => NOW_MS,
    reader: () => new JsonLinesReader(builtInMapping('minim', catalogue, { kind: 'call', timeZone: 'UTC' }), catalogue),
    tenant: 'default',
    maxRecords,
    seed,
  })
}

function pairOf(a: Rules, b: Rules, calls: readonly Call[] = CALLS, readers: Readers = 'values'): Pair {
  const policy = policyOf({ one: a, two: b })
  const [pair] = linkage(policy, sampleOf(policy, calls), readers)
  return pair
}

const attempt = ({ attempts }: Pair, attack: string): Pair['attempts'][number] => {
  const found = attempts.find((one) => one.attack === attack)
  if (found === undefined) throw new Error(`no attack by ${attack}`)
  return found
}

t.test('a start that both see to the second links all, whatever the topics are written as', (t) => {
  for (const format of ['protobuf', 'json']) {
    const second = { fields: 'start_ms: { time-bucket: { ms: 1000 } }, disposition: keep', format }
    const pair = pairOf(second, { fields: 'start_ms: { time-bucket: { ms: 1000 } }, disposition: keep' })
    const { right, wrong, guess, linked, by } = attempt(pair, 'fields')
    t.same([pair.records, right.hits, wrong.hits, right.share], [300, 300, 0, 1], format)
    t.same(by, ['start_ms', 'disposition'])
    t.equal(guess, 1 / 300)
    t.equal(linked, 1 - guess)
    t.equal(pair.upper, linked)
    t.same(pair.channels, [], 'rows of a database have no transactions')
  }
  t.end()
})

t.test('with nothing in common nothing is linked, except by the topics themselves', (t) => {
  const [a, b] = [{ fields: 'disposition: keep' }, { fields: 'codec: keep' }]
  const values = pairOf(a, b)
  t.same([values.records, values.attempts, values.upper], [300, [], 0])
  const topics = pairOf(a, b, CALLS, 'topics')
  t.same(topics.channels, ['transaction', 'position', 'marker'])
  t.equal(topics.upper, 1)
  t.end()
})

t.test('no link in so many subjects shows no less than so many can', (t) => {
  const day = { fields: 'start_ms: { time-bucket: day }' }
  const pair = pairOf(day, day)
  t.equal(attempt(pair, 'fields').right.hits, 0)
  t.equal(pair.upper, clopperPearsonUpper(0, 100), 'by subjects: their records are alike')
  const alone = pairOf(day, day, CALLS.slice(0, 1))
  t.equal(alone.upper, clopperPearsonUpper(0, 1), 'one record, which guessing hits, shows nothing')
  t.equal(pairOf(day, day, []).upper, 1, 'and none shows nothing at all')
  t.end()
})

t.test('an exact time on both sides is a channel, of a time and of nothing else that is kept', (t) => {
  const exact = { fields: 'start_ms: { time-bucket: hour }, end_ms: keep' }
  t.same(pairOf(exact, exact).channels, ['exact time'])
  t.equal(pairOf(exact, exact).upper, 1)
  const figures = { fields: 'start_ms: { time-bucket: hour }, billable_seconds: keep, disposition: keep' }
  t.same(pairOf(figures, figures).channels, [])
  t.end()
})

t.test('who has others’ tenants has nothing to link', (t) => {
  const fields = 'start_ms: { time-bucket: day }'
  const of = (tenant: string): Rules => ({ fields, more: `    tenants: [${tenant}]` })
  const policy = policyOf({ one: of('default'), two: of('acme') })
  t.same(linkage(policy, sampleOf(policy, CALLS), 'topics'), [])
  t.end()
})

t.test('accounts are told by how much they call, though no record is', (t) => {
  // The account of number n has n + 1 calls, all alike.
  const calls = Array.from({ length: 12 }, (_, n) => Array.from({ length: n + 1 }, () => n))
    .flat()
    .map((n) => ({ ...CALLS[0], account: `ACME-${n}` }))
  const rules = { fields: 'account: token, start_ms: { time-bucket: day }' }
  const pair = pairOf(rules, rules, calls)
  t.equal(attempt(pair, 'fields').right.hits, 0)
  const history = attempt(pair, 'history')
  t.same([history.right.hits, history.wrong.hits], [calls.length, 0])
  const sizes = Array.from({ length: 12 }, (_, n) => (n + 1) / calls.length)
  t.ok(Math.abs(history.guess - sizes.reduce((sum, size) => sum + size ** 2, 0)) < 1e-12)
  const same = pairOf(
    rules,
    rules,
    calls.map((call, i) => ({ ...call, account: `ACME-${i % 6}` })),
  )
  t.equal(attempt(same, 'history').right.hits, 0, 'accounts that call alike are not told')
  t.end()
})

t.test('what only one side rounds, works out or cuts is compared as the other has it', (t) => {
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    ['start_ms: { time-bucket: minute }', 'start_ms: keep', ['start_ms']],
    ['answer_ms: keep, end_ms: keep', 'billable_seconds: keep', ['billable_seconds']],
    [
      'answer_ms: { time-bucket: { ms: 1000 } }, end_ms: { time-bucket: { ms: 1000 } }',
      'billable_seconds: { number-bucket: { bounds: [0, 30, 60, 120] } }',
      ['billable_seconds'],
    ],
    ['billable_seconds: { number-bucket: { step: 20 } }', 'billable_seconds: keep', ['billable_seconds']],
    [
      'billable_seconds: { number-bucket: { step: 20 } }',
      'billable_seconds: { number-bucket: { step: 30 } }',
      ['billable_seconds'],
    ],
    ['called_prefix: { e164-prefix: country }', 'called_prefix: { e164-prefix: { digits: 5 } }', ['called_prefix']],
    [
      'called_prefix: { e164-prefix: { digits: 4 } }',
      'called_prefix: { e164-prefix: { digits: 3 } }',
      ['called_prefix'],
    ],
    ['device_vendor: user-agent', 'device_model: user-agent', ['device_vendor']],
  ]
  const call = { ...CALLS[0], user_agent: 'Yealink SIP-T46S 66.85.0.5', duration_seconds: 63 }
  // A second call differs in all of it, so each has one counterpart; the third stands for whom nobody could tell.
  const other = {
    ...call,
    account: 'ACME-2',
    start_ms: call.start_ms + HOUR_MS,
    answer_ms: call.answer_ms + HOUR_MS,
    end_ms: call.end_ms + HOUR_MS + 240_000,
    billable_seconds: 300,
    called: '+33199001234',
    user_agent: 'snomD785/10.1.64.14',
  }
  for (const [a, b, by] of cases)
    for (const [one, two] of [
      [a, b],
      [b, a],
    ]) {
      const { right, wrong, by: compared } = attempt(pairOf({ fields: one }, { fields: two }, [call, other]), 'fields')
      t.same([compared, right.hits, wrong.hits], [by, 2, 0], `${one} against ${two}`)
    }
  t.end()
})

t.test('of a larger file whole subjects are drawn, the same with the same seed', (t) => {
  const policy = policyOf({ one: { fields: 'account: token, start_ms: { time-bucket: { ms: 1000 } }' } })
  const drawn = (seed: number): SampleTable => sampleOf(policy, CALLS, 90, seed)
  const first = drawn(1)
  t.equal(first.read, 300)
  t.ok(first.records > 30 && first.records < 150, `${first.records} of about 90`)
  t.equal(first.records, first.subjects * 3, 'all records of each')
  t.equal(first.tables[0].rows, first.records)
  t.same(first.subjectOf, drawn(1).subjectOf)
  t.notSame(first.subjectOf, drawn(2).subjectOf)
  t.equal(first.cut, false)
  const one = CALLS.map((call) => ({ ...call, account: 'ACME-1' }))
  const cut = [1, 2, 3, 4, 5, 6, 7, 8]
    .map((seed) => sampleOf(policy, one, 90, seed))
    .filter(({ subjects }) => subjects > 0)
  t.ok(cut.length > 0)
  for (const { records, cut: told, tables } of cut)
    t.same([records, tables[0].rows, told], [113, 113, true], 'one that is larger than the room is cut, and said to be')
  t.end()
})

t.test('records that are not alone are counted with those they are like', (t) => {
  const groups = (calls: readonly Call[]): Groups => {
    const policy = policyOf({ one: { fields: 'account: token, disposition: keep, codec: keep' } })
    return groupsOf(sampleOf(policy, calls))[0]
  }
  const calls = [
    ...Array.from({ length: 12 }, () => CALLS[0]),
    ...Array.from({ length: 7 }, () => ({ ...CALLS[1], codec: 'G722' })),
    { ...CALLS[2], disposition: 'BUSY' },
  ]
  const { combinations, histories, records } = groups(calls)
  t.equal(records, 20)
  t.same(combinations.at(-1), {
    fields: combinations.at(-1)?.fields,
    k: 1,
    alone: 1 / 20,
    under5: 1 / 20,
    under10: 8 / 20,
  })
  t.same(combinations[0].fields, ['disposition'], 'it singles out more than the codec')
  t.same(histories, [{ field: 'account', tokens: 3, unique: 1, uniqueDays: 1 }])
  t.equal(groups(calls.slice(0, 12)).combinations[0].k, 12)
  t.end()
})
