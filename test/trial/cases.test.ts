/** Cases of a policy: those that hold, those that do not, and what no case looks at. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { catalogue as shippedCatalogue } from '../../src/catalogue/catalogue.js'
import { loadPolicy } from '../../src/policy/load.js'
import { loadSettings } from '../../src/settings/load.js'
import { tenantsOf } from '../../src/settings/tenants.js'
import { caseProblems, casesSchema, type PolicyCase, readCases, runCases } from '../../src/trial/cases.js'
import { repositoryRoot } from '../helpers/shared.js'

const options = {
  policy: loadPolicy(),
  catalogue: shippedCatalogue(),
  tenants: tenantsOf(loadSettings(null)),
  models: {},
  futureMs: 300_000,
}
const shipped = readFileSync(join(repositoryRoot(), 'config/policy.test.yaml'), 'utf8')

const record = {
  account: 'A-1',
  calling: '1001',
  called: '+447700900123',
  start_ms: '2026-11-27T10:00:00.500Z',
  billable_seconds: 70,
  disposition: 'ANSWERED',
}
const failures = (sees: NonNullable<PolicyCase['sees']> | null, more: Partial<PolicyCase> = {}): readonly string[] =>
  runCases([{ name: 'one', kind: 'call', record, ...(sees === null ? {} : { sees }), ...more }], options).results[0]
    .failures

t.test("the shipped policy's cases hold, and see every rule at work", (t) => {
  const { cases, problems } = readCases(shipped)
  t.same(problems, [])
  const { results, coverage } = runCases(cases?.cases ?? [], options)
  t.ok(results.length > 0)
  for (const { name, failures } of results) t.same(failures, [], name)
  t.same(coverage.rules, [])
  t.same(coverage.purposes, [])
  t.ok(coverage.allRules > 100)
  t.end()
})

t.test('what does not hold is told', (t) => {
  t.same(
    failures({ marketing: { exactly: { account: { is: 'token' }, start_ms: 1795737600000, billable_seconds: 60 } } }),
    [],
  )
  t.match(failures({ marketing: { exactly: { account: { is: 'token' } } } }), [
    /^marketing sees start_ms \(.*\), and should not$/,
    /^marketing sees billable_seconds/,
  ])
  t.match(failures({ marketing: { includes: { billable_seconds: 70 } } }), [/billable_seconds is 60 .*, expected 70/])
  t.match(failures({ marketing: { includes: { called: { is: 'seen' } } } }), ['marketing does not see called'])
  t.match(failures({ marketing: { includes: { billable_seconds: { is: 'token' } } } }), [/billable_seconds is 60/])
  t.same(failures({ marketing: { includes: { billable_seconds: { is: 'seen' } } } }), [])
  t.match(failures({ marketing: { fields: ['account'] } }), [/sees start_ms/, /sees billable_seconds/])
  t.match(failures({ marketing: 'nothing' }), ['marketing sees it, and should see nothing'])
  t.match(failures({ marketing: { withheld: 'expired' } }), ['marketing: expected withheld (expired), but it sees'])
  const old = { at: '2027-11-27T10:00:00Z' }
  t.match(failures({ marketing: { includes: {} } }, old), ['marketing sees nothing (expired)'])
  t.same(failures({ marketing: { withheld: 'expired' } }, old), [])
  t.same(failures(null, { quarantine: 'clock', at: '2026-11-26T10:00:00Z' }), [])
  t.match(failures(null, { quarantine: 'clock' }), [/expected quarantine \(clock\), but it was taken/])
  t.match(failures({ billing: 'nothing' }, { at: '2026-11-26T10:00:00Z' }), ['it went to quarantine (clock)'])
  t.end()
})

t.test('what no case looks at', (t) => {
  const { coverage } = runCases([{ name: 'one', kind: 'call', record, sees: { marketing: { includes: {} } } }], options)
  t.ok(coverage.rules.includes('marketing: call.usage_octets'))
  t.notOk(coverage.rules.includes('marketing: call.account'))
  t.ok(coverage.rules.includes('billing: call.account'), 'billing saw it, but nobody looked')
  t.same(
    coverage.purposes,
    options.policy.purposes.map(({ id }) => id).filter((id) => id !== 'marketing'),
  )
  t.end()
})

t.test('mistakes in a file, all at once, with their places', (t) => {
  t.match(readCases('cases: [').problems, [{ path: /^line 1/ }])
  t.match(readCases('cases: []').problems, [{ path: 'cases' }])
  const { cases, problems } = readCases(
    JSON.stringify({
      cases: [
        { name: 'a', kind: 'call', record: {}, preferences: {}, sees: {} },
        { name: 'b', kind: 'call', record: {} },
        { name: 'c', kind: 'call', record: {}, sees: {}, at: 'soon' },
      ],
    }),
  )
  t.equal(cases, null)
  t.same(
    problems.map(({ path }) => path),
    ['cases.0.preferences', 'cases.1', 'cases.2.at'],
  )
  t.same(
    caseProblems(
      [
        {
          name: 'd',
          kind: 'call',
          record: { caler: '1' },
          tenant: 'nobody',
          sees: { biling: 'nothing', billing: { fields: ['caled'] } },
        },
      ],
      options,
    ).map(({ path, mend }) => [path, mend]),
    [
      ['cases.0.record.caler', 'did you mean called?'],
      ['cases.0.sees.biling', 'did you mean billing?'],
      ['cases.0.sees.billing.caled', 'did you mean called?'],
      ['cases.0.tenant.nobody', 'use one of: default'],
    ],
  )
  t.end()
})

t.test("the editor's schema is the reader's", (t) => {
  const written = readFileSync(join(repositoryRoot(), 'config/policy.test.schema.json'), 'utf8')
  t.same(JSON.parse(written), JSON.parse(JSON.stringify(casesSchema())), 'npm run schemas')
  t.end()
})
