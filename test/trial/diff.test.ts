/** What a change of policy shows to whom: wider apart from narrower, and the gravest first. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { catalogue as shippedCatalogue } from '../../src/catalogue/catalogue.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { DEFAULT_POLICY_PATH, loadPolicy } from '../../src/policy/load.js'
import type { Policy } from '../../src/policy/model.js'
import { type Change, diffPolicies } from '../../src/trial/diff.js'
import { presenceOf } from '../../src/trial/presence.js'

type Tree = Record<string, unknown>
interface PurposeTree extends Tree {
  call: { fields: Tree }
}

const text = readFileSync(DEFAULT_POLICY_PATH, 'utf8')
const shipped = loadPolicy()

function changed(change: (purposes: Record<string, PurposeTree>) => void): Policy {
  const document = parse(text) as { purposes: Record<string, PurposeTree> }
  change(document.purposes)
  return loadPolicy({ text: stringify(document) })
}
const brief = (changes: readonly Change[]): unknown =>
  changes.map(({ direction, purpose, field, what }) => [direction, purpose, field ?? what])

t.test('nothing, where only the layout differs', (t) => {
  t.same(
    diffPolicies(
      shipped,
      changed(() => undefined),
    ),
    [],
  )
  t.end()
})

t.test('fields: added, taken away, finer, coarser, another treatment', (t) => {
  const after = changed(({ billing, research, fraud, service, quality }) => {
    Object.assign(billing.call.fields, { hangup_cause: 'keep', called: 'token' })
    Object.assign(research.call.fields, { start_ms: { 'time-bucket': 'minute' }, duration_seconds: 'drop' })
    Object.assign(fraud.call.fields, { called_prefix: { 'e164-prefix': 'country' } })
    Object.assign(service.call.fields, { start_ms: 'keep' })
    Object.assign(quality.call.fields, { source_ip: 'token' })
  })
  const changes = diffPolicies(shipped, after)
  t.same(brief(changes), [
    ['widening', 'quality', 'source_ip'],
    ['widening', 'service', 'start_ms'],
    ['widening', 'billing', 'hangup_cause'],
    ['widening', 'research', 'start_ms'],
    ['narrowing', 'billing', 'called'],
    ['narrowing', 'fraud', 'called_prefix'],
    ['narrowing', 'research', 'duration_seconds'],
  ])
  t.match(changes[0], {
    before: null,
    after: /^token/,
    recipients: ['network operations'],
    basis: 'contract (eu-gdpr:A6-1-b)',
    source: 'source_ip',
  })
  t.same(
    brief(diffPolicies(after, shipped).filter(({ direction }) => direction === 'narrowing')),
    [
      ['narrowing', 'quality', 'source_ip'],
      ['narrowing', 'service', 'start_ms'],
      ['narrowing', 'billing', 'hangup_cause'],
      ['narrowing', 'research', 'start_ms'],
    ],
    'and the other way round',
  )
  t.end()
})

t.test('terms: retention, recipients, region, transfer, basis, epoch, tenants', (t) => {
  const after = changed(({ billing, service, fraud, marketing }) => {
    Object.assign(billing, { retention_days: 60, recipients: ['billing', 'a partner'], tenants: ['default'] })
    Object.assign(service, { retention_days: 7, epoch: 'day', recipients: ['operations'], description: 'Other words' })
    Object.assign(fraud, { basis: { term: 'eu-gdpr:A6-1-f', evidence: 'a balancing test' } })
    Object.assign(marketing, { region: 'US', transfer: 'scc' })
  })
  t.same(
    new Set(brief(diffPolicies(shipped, after)) as unknown[]),
    new Set([
      ['widening', 'billing', 'retention'],
      ['widening', 'billing', 'recipients'],
      ['widening', 'fraud', 'basis'],
      ['widening', 'marketing', 'region'],
      ['widening', 'marketing', 'transfer'],
      ['narrowing', 'service', 'retention'],
      ['narrowing', 'service', 'epoch of tokens'],
      ['narrowing', 'billing', 'tenants'],
      ['other', 'service', 'description'],
      ['other', 'fraud', 'evidence'],
    ]),
  )
  t.end()
})

t.test('a purpose that is switched on is wider in all that it sees', (t) => {
  const after = changed(({ settlement }) => {
    delete settlement['enabled']
  })
  const changes = diffPolicies(shipped, after)
  t.ok(changes.every(({ direction, purpose }) => direction === 'widening' && purpose === 'settlement'))
  t.ok(changes.some(({ field }) => field === 'called_prefix'))
  t.match(
    changes.find(({ what }) => what === 'purpose'),
    { before: null, recipients: ['interconnect providers'] },
  )
  t.ok(diffPolicies(after, shipped).every(({ direction }) => direction === 'narrowing'))
  t.end()
})

t.test('a sample: how many records have what a change is about', (t) => {
  const catalogue = shippedCatalogue()
  const reader = new JsonLinesReader(builtInMapping('minim', catalogue, { kind: 'call', timeZone: 'UTC' }), catalogue)
  const input = Array.from({ length: 5000 }, (_, i) =>
    JSON.stringify({ start_ms: 1795773601000 + i, calling: '+447700900123', ...(i % 2 === 0 ? { trunk: 'a' } : {}) }),
  ).join('\n')
  const { records, withField, refused } = presenceOf(reader, Buffer.from(`${input}\n{"broken\n`), catalogue)
  t.same(records, { call: 5000, quality: 0, device: 0 })
  t.equal(withField.call.get('trunk'), 2500)
  t.equal(withField.call.get('calling'), 5000)
  t.equal(withField.call.get('called'), undefined)
  t.equal(refused, 1)
  t.end()
})

t.test('help numbers that are named, and a topic that was another purpose had, are wider', (t) => {
  const named = changed(({ billing }) => {
    billing['helplines'] = billing['helplines'] === 'named' ? 'hidden' : 'named'
  })
  const is = shipped.purposes.find(({ id }) => id === 'billing')?.helplines
  t.same(brief(diffPolicies(shipped, named)), [[is === 'named' ? 'narrowing' : 'widening', 'billing', 'help numbers']])
  t.same(brief(diffPolicies(named, shipped)), [[is === 'named' ? 'widening' : 'narrowing', 'billing', 'help numbers']])

  const swapped = changed(({ billing, research }) => {
    Object.assign(billing.call, { topic: 'pbx.research.call' })
    Object.assign(research.call, { topic: 'pbx.billing.call' })
  })
  t.same(
    brief(diffPolicies(shipped, swapped)),
    [
      ['widening', 'billing', 'topic'],
      ['widening', 'research', 'topic'],
    ],
    "readers of a topic would have another purpose's records",
  )
  const renamed = changed(({ billing }) => {
    Object.assign(billing.call, { topic: 'pbx.bills.call' })
  })
  t.same(brief(diffPolicies(shipped, renamed)), [['other', 'billing', 'topic']], 'a topic of its own is no wider')
  t.end()
})
