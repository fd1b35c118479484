/** Who may have a record, why nobody may, and which keys are asked for. */
import t from 'tap'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped } from '../../src/catalogue/catalogue.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { compile } from '../../src/policy/compile.js'
import { loadPolicy } from '../../src/policy/load.js'
import type { Policy } from '../../src/policy/model.js'
import { readBoxHeader } from '../../src/quarantine/box.js'
import { FUTURE_MS, NOW, type PlainRecord, TENANTS, TestKeyring } from '../project/generate.js'

const catalogue = shipped()
const DAY = 86_400_000
const policy: Policy = (() => {
  const all = loadPolicy().purposes
  const of = (id: string, more: object): Policy['purposes'][number] => ({
    ...(all.find((p) => p.id === id) as Policy['purposes'][number]),
    ...more,
  })
  return {
    version: '0123456789ab',
    hash: '0123456789ab',
    purposes: [
      of('billing', { retentionDays: 30, epoch: 'day' }),
      of('quality', { retentionDays: 1, tenants: ['acme'] }),
      of('research', {}),
    ],
  }
})()

function run(
  records: readonly PlainRecord[],
  keyring = new TestKeyring(),
  excluded: ReadonlySet<number> | null = null,
  tenants: ReadonlySet<string> | null = null,
): { produced: Record<string, number>; withheld: Record<string, number>; reasons: string[]; asked: string[] } {
  const type = catalogue.root.lookupType('minim.v1.Batch')
  const arena = Buffer.from(type.encode(type.fromObject({ calls: records })).finish())
  const pipeline = new Pipeline({
    catalogue,
    plan: compile(policy, catalogue),
    keyring,
    tenants: TENANTS,
    futureMs: FUTURE_MS,
    now: () => NOW,
  })
  const found = pipeline.run(
    {
      reader: new ProtobufReader(catalogue, 'whole'),
      arena,
      start: 0,
      end: arena.length,
      scratchStart: arena.length,
      last: true,
      tenant: 'default',
      tenants,
    },
    excluded,
  )
  const reasons: string[] = []
  for (let i = 0; i < found.count; i++) {
    if (found.topics[found.topic[i]] === 'minim.quarantine')
      reasons.push(
        readBoxHeader(found.bytes.subarray(found.valueOff[i], found.valueOff[i] + found.valueLen[i]))?.reason ?? 'none',
      )
  }
  const produced = Object.fromEntries(Object.entries(found.outcome.produced).filter(([, n]) => n > 0))
  return {
    produced,
    withheld: found.outcome.withheld,
    reasons,
    asked: [...keyring.asked].filter((k) => !k.startsWith('minim.quarantine')).sort(),
  }
}

const calling = '+447700900123'
const rows: { name: string; record: PlainRecord; reason: string }[] = [
  { name: 'no start', record: { calling }, reason: 'no_start_time' },
  { name: 'start 0', record: { calling, start_ms: 0 }, reason: 'no_start_time' },
  { name: 'too far ahead', record: { calling, start_ms: NOW + FUTURE_MS + 1 }, reason: 'clock' },
  { name: 'absurd', record: { calling, start_ms: 2 ** 53 - 1 }, reason: 'clock' },
  { name: 'seconds', record: { calling, start_ms: NOW / 1000 }, reason: 'clock' },
  { name: 'microseconds', record: { calling, start_ms: NOW * 1000 }, reason: 'clock' },
  { name: 'nanoseconds', record: { calling, start_ms: NOW * 1e6 }, reason: 'clock' },
  { name: 'the last century', record: { calling, start_ms: Date.UTC(2000, 0, 1) - 1 }, reason: 'clock' },
  { name: 'an answer in seconds', record: { calling, start_ms: NOW, answer_ms: NOW / 1000 }, reason: 'clock' },
  { name: 'an end in microseconds', record: { calling, start_ms: NOW, end_ms: NOW * 1000 }, reason: 'clock' },
  { name: 'an end in nanoseconds', record: { calling, start_ms: NOW, end_ms: NOW * 1e6 }, reason: 'clock' },
  { name: 'unknown tenant', record: { calling, start_ms: NOW, tenant: 'nobody' }, reason: 'unknown_tenant' },
]
for (const { name, record, reason } of rows) {
  t.strictSame(run([record]), { produced: {}, withheld: {}, reasons: [reason], asked: [] }, name)
}

t.strictSame(run([{ calling, start_ms: NOW + FUTURE_MS }]).reasons, [], 'just not too far ahead')
t.strictSame(run([{ calling, start_ms: Date.UTC(2000, 0, 1) }]).reasons, [], 'the first moment that may be')
t.strictSame(run([{ calling, start_ms: NOW, answer_ms: 0, end_ms: 0 }]).reasons, [], 'times that are not known')
t.strictSame(run([{ calling, start_ms: NOW, tenant: 'acme' }]).produced, {
  'pbx.billing.call': 1,
  'pbx.quality.call': 1,
  'pbx.research.call': 1,
})
t.strictSame(run([{ calling, start_ms: NOW }]).withheld, { 'quality\0call\0other_tenant': 1 })
t.strictSame(run([{ calling, start_ms: NOW - DAY, tenant: 'acme' }]).withheld, {}, 'as old as may be')
t.strictSame(run([{ calling, start_ms: NOW - DAY - 1, tenant: 'acme' }]).withheld, { 'quality\0call\0expired': 1 })
t.strictSame(
  run(
    [
      { calling, start_ms: NOW },
      { calling, start_ms: NOW },
    ],
    new TestKeyring(),
    new Set([1]),
  ).reasons,
  ['refused_by_kafka'],
)

t.test('a record of a tenant that its sender may not use goes nowhere, whatever else is wrong with it', (t) => {
  const of = (tenants: readonly string[], ...records: readonly PlainRecord[]): ReturnType<typeof run> =>
    run(records, new TestKeyring(), null, new Set(tenants))
  const [own, foreign, unknown] = [
    { calling, start_ms: NOW },
    { calling, start_ms: NOW, tenant: 'acme' },
    { calling, start_ms: NOW, tenant: 'nobody' },
  ]
  t.strictSame(
    of(
      ['default'],
      own,
      foreign,
      own,
      foreign,
      { ...foreign, start_ms: 0 },
      { ...foreign, start_ms: NOW + FUTURE_MS + 1 },
      unknown,
    ).reasons,
    [...Array<string>(4).fill('unauthorised'), 'unknown_tenant'],
  )
  t.strictSame(of(['default'], foreign).produced, {})
  t.strictSame(of(['default'], foreign).withheld, {})
  t.strictSame(of(['default'], foreign).asked, [], 'no key is asked for')
  t.strictSame(of(['acme'], foreign).produced, run([foreign]).produced)
  t.strictSame(of(['acme'], own).reasons, ['unauthorised'], 'also where the record names none')
  t.strictSame(of([], own, foreign).reasons, ['unauthorised', 'unauthorised'])
  t.strictSame(run([foreign], new TestKeyring(), new Set([0]), new Set(['default'])).reasons, ['unauthorised'])
  t.end()
})

t.test('records that nobody may see make no keys', (t) => {
  const old = Array.from({ length: 50 }, (_, i) => ({ calling, start_ms: NOW - (40 + i) * DAY }))
  const found = run(old)
  t.strictSame(found.asked, [])
  t.equal(found.withheld['billing\0call\0expired'], 50)
  t.strictSame(run([...old, { calling, start_ms: NOW }]).asked, ['billing 2026-01-02'])
  t.end()
})

t.test('a destroyed key withholds the record from its purpose alone', (t) => {
  const found = run(
    [
      { calling, start_ms: NOW - 2 * DAY, tenant: 'acme' },
      { calling, start_ms: NOW - 2 * DAY },
      { calling, start_ms: NOW },
    ],
    new TestKeyring(['billing 2025-12-31']),
  )
  t.strictSame(found.reasons, [], 'nothing goes to quarantine')
  t.strictSame(found.produced, { 'pbx.billing.call': 1, 'pbx.research.call': 3 })
  t.strictSame(
    found.withheld,
    { 'billing\0call\0key_destroyed': 2, 'quality\0call\0expired': 1, 'quality\0call\0other_tenant': 2 },
    'each counted once, under its own reason',
  )
  t.end()
})
