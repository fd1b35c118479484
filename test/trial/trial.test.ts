/** What a trial shows is what the real stages make: kept, coarsened, tokenised, dropped, withheld, refused. */
import t from 'tap'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shippedCatalogue } from '../../src/catalogue/catalogue.js'
import { WITHHOLDINGS_TEXT } from '../../src/flow/outcome.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { loadPolicy } from '../../src/policy/load.js'
import { loadSettings } from '../../src/settings/load.js'
import { tenantsOf } from '../../src/settings/tenants.js'
import { exampleRecords } from '../../src/trial/examples.js'
import { previewPage } from '../../src/trial/preview-html.js'
import { fit, recordLines, wrap } from '../../src/trial/preview-text.js'
import { type PurposeSight, type RecordSight, Trial } from '../../src/trial/trial.js'

const catalogue = shippedCatalogue()
const NOW_MS = Date.UTC(2026, 10, 27, 10)
const DAY_MS = 86_400_000
const tenants = tenantsOf(loadSettings(null))
const policy = loadPolicy()

const makeTrial = (purposes: readonly string[] | null = null): Trial =>
  new Trial({
    policy,
    catalogue,
    tenants,
    models: { Yealink: ['T99X'] },
    futureMs: 300_000,
    purposes: purposes === null ? null : new Set(purposes),
    now: () => NOW_MS,
  })

const calls = new JsonLinesReader(builtInMapping('minim', catalogue, { kind: 'call', timeZone: 'UTC' }), catalogue)
const lines = (...records: readonly object[]): Buffer =>
  Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(''))
const seen = (sight: RecordSight, purpose: string): PurposeSight => {
  const found = sight.purposes.find((p) => p.purpose === purpose)
  if (found === undefined) throw new Error(`${purpose} is not shown`)
  return found
}
const CALL = {
  account: 'ACME-1',
  calling: '+447700900123',
  called: '+442079460123',
  calling_name: 'Reception',
  start_ms: NOW_MS - 60_000,
  duration_seconds: 59,
  billable_seconds: 50,
  disposition: 'ANSWERED',
}

t.test('models that the settings add are known', (t) => {
  const models = ['Yealink SIP-T99X 66.85.0.5', 'Yealink SIP-T98X 66.85.0.5'].map((user_agent) => {
    const [sight] = makeTrial().sights(calls, lines({ ...CALL, user_agent }), 'default')
    return seen(sight, 'service').fields.find(({ field }) => field === 'device_model')?.sees
  })
  t.same(models, ['T99X', 'other'])
  t.end()
})

t.test('a call, a report and a registration, each as every purpose sees it', (t) => {
  const sights = [
    ...makeTrial().sights(new ProtobufReader(catalogue, 'delimited'), exampleRecords(catalogue, NOW_MS), 'default'),
  ]
  t.same(
    sights.map(({ record, kind }) => [record, kind]),
    [
      [1, 'call'],
      [2, 'quality'],
      [3, 'device'],
    ],
  )
  const billing = seen(sights[0], 'billing')
  const fates = Object.fromEntries(billing.fields.map(({ field, fate }) => [field, fate]))
  t.match(fates, { calling: 'tokenised', called_prefix: 'coarsened', disposition: 'kept', calling_name: 'dropped' })
  const of = (name: string): unknown => billing.fields.find(({ field }) => field === name)?.sees
  t.match(of('calling'), /^[\w-]{22}$/)
  t.equal(of('called_prefix'), '+44770')
  t.equal(of('calling_name'), null)
  t.same(
    policy.purposes.map(({ id }) => id),
    sights[0].purposes.map(({ purpose }) => purpose),
    'every purpose is told of',
  )
  for (const sight of sights)
    for (const { purpose, fields, verdict } of sight.purposes) {
      const rules = policy.purposes.find(({ id }) => id === purpose)?.kinds[sight.kind ?? 'call']
      t.equal(verdict, rules === undefined ? 'blind' : 'sees', `${purpose}, ${sight.kind}`)
      const named = rules?.rules.map(({ field }): string => field.name) ?? []
      for (const field of fields) {
        t.equal(field.fate === 'dropped', !named.includes(field.field), `${purpose} ${field.field}`)
        if (field.fate === 'dropped') t.equal(field.sees, null)
        // A record need not name its tenant: what is written is whose it is.
        if (field.fate === 'kept') t.equal(field.sees, field.field === 'tenant' ? 'default' : field.came)
        if (field.fate === 'tokenised') t.not(field.sees, field.came)
      }
    }
  t.end()
})

t.test('what a purpose may not have is told with its reason, never as emptiness', (t) => {
  const [old, now] = makeTrial().sights(calls, lines({ ...CALL, start_ms: NOW_MS - 20 * DAY_MS }, CALL), 'default')
  t.match(seen(old, 'service'), { verdict: 'withheld', reason: 'expired', why: WITHHOLDINGS_TEXT.expired, fields: [] })
  t.equal(seen(old, 'billing').verdict, 'sees', 'which keeps for 30 days')
  t.equal(seen(now, 'service').verdict, 'sees')
  t.end()
})

t.test('what no purpose may see is quarantine, with its reason', (t) => {
  const input = Buffer.concat([
    lines({ ...CALL, start_ms: NOW_MS + DAY_MS }, { ...CALL, tenant: 'nobody' }),
    Buffer.from('{"broken\n'),
    lines(CALL),
  ])
  const sights = [...makeTrial().sights(calls, input, 'default')]
  t.same(
    sights.map(({ kind, refused, purposes }) => [kind, refused, purposes.length > 0]),
    [
      ['call', 'clock', false],
      ['call', 'unknown_tenant', false],
      [null, 'malformed_json', false],
      ['call', null, true],
    ],
  )
  t.end()
})

t.test('fields that nobody knows are counted', (t) => {
  const [sight] = makeTrial().sights(calls, lines({ ...CALL, shoe_size: 44 }), 'default')
  t.equal(sight.unknownFields, 1)
  t.notMatch(JSON.stringify(sight), 'shoe')
  t.end()
})

t.test('only the purposes that are asked for, and only so many records in full', (t) => {
  const [first, second] = makeTrial(['fraud']).sights(calls, lines(CALL, CALL), 'default', 1)
  t.same(
    first.purposes.map(({ purpose }) => purpose),
    ['fraud'],
  )
  t.ok(seen(first, 'fraud').fields.length > 0)
  t.match(seen(second, 'fraud'), { verdict: 'sees', fields: [] })
  t.end()
})

t.test('text fits its terminal, with and without colour', (t) => {
  const long = { ...CALL, account: 'A'.repeat(64), calling_name: 'é'.repeat(200), user_agent: 'Yealink '.repeat(20) }
  const broken = Buffer.concat([lines(long, { ...CALL, start_ms: NOW_MS - 20 * DAY_MS }), Buffer.from('{\n')])
  const sights = [...makeTrial().sights(calls, broken, 'default')]
  for (const width of [60, 80, 132, 250])
    for (const sight of sights)
      for (const line of recordLines(sight, { width, colour: false })) {
        if (Array.from(line).length > width) t.fail(`${width}: ${line}`)

        if (/[\u0000-\u001f]/.test(line)) t.fail(`control characters: ${JSON.stringify(line)}`)
      }
  const [plain, coloured] = [false, true].map((colour) => recordLines(sights[0], { width: 80, colour }).join('\n'))

  t.equal(coloured.replace(/\u001b\[\d+m/g, ''), plain)
  t.match(coloured, '\u001b[9m', 'dropped fields are struck out')
  t.equal(fit('a\u001b[31mb', 12), 'a·[31mb     ', 'what came in cannot steer the terminal')
  t.equal(fit('abcdef', 4), 'abc…')
  t.same(wrap('one two three', 7), ['one two', 'three'])
  t.end()
})

t.test('the page needs nothing beside itself, and what came in stays text', (t) => {
  const sights = [
    ...makeTrial().sights(calls, lines({ ...CALL, calling_name: '<script>alert(1)</script>"' }), 'default'),
  ]
  const page = previewPage(sights, { policyVersion: policy.version, total: 5 })
  t.match(page, '&lt;script&gt;alert(1)&lt;/script&gt;&quot;')
  t.notMatch(page, /<script|<link|<img|src=|@import|url\(/)
  t.match(page, '4 more records are not shown')
  t.match(page, '<del>')
  t.end()
})
