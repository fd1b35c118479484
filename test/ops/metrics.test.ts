import fc from 'fast-check'
import t from 'tap'
import { type Refusal, REFUSALS } from '../../src/batch/batch.js'
import type { Outcome } from '../../src/flow/outcome.js'
import { WITHHOLDINGS } from '../../src/flow/outcome.js'
import type { Flow } from '../../src/ops/flows.js'
import { Metrics, type MetricsOptions } from '../../src/ops/metrics.js'

const FLOWS: readonly Flow[] = [
  { purpose: 'billing', kind: 'call', topic: 'pbx.billing.call' },
  { purpose: 'quality', kind: 'call', topic: 'pbx.quality.call' },
  { purpose: 'quality', kind: 'quality', topic: 'pbx.quality.quality' },
  { purpose: 'operations', kind: 'device', topic: 'pbx.operations.device' },
]
const OPTIONS: MetricsOptions = { flows: FLOWS, minimVersion: '0.1.0', policyVersion: '0123456789ab', defaults: false }

const outcome = (parts: Partial<Outcome>): Outcome => ({
  records: 0,
  produced: {},
  withheld: {},
  quarantined: {},
  unknownFields: 0,
  unsafeFields: 0,
  ...parts,
})

/** Series and values as a scrape sees them. */
async function scrape(metrics: Metrics): Promise<Record<string, number>> {
  const lines = (await metrics.registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

async function drifts(metrics: Metrics): Promise<Record<string, number>> {
  const all = Object.entries(await scrape(metrics)).filter(
    ([name, value]) => name.startsWith('minim_conservation_drift') && value !== 0,
  )
  return Object.fromEntries(all.map(([name, value]) => [name.replace('minim_conservation_drift_records', ''), value]))
}

t.test('counts what was committed', async (t) => {
  const metrics = new Metrics(OPTIONS)
  metrics.onCommitted(
    outcome({
      records: 10,
      produced: { 'pbx.billing.call': 7, 'pbx.quality.call': 8 },
      withheld: { 'billing\0call\0expired': 1 },
      quarantined: { malformed_record: 1, clock: 1 },
      unknownFields: 4,
      unsafeFields: 2,
    }),
    0.012,
    'grpc',
  )
  metrics.onCommitted(outcome({ records: 1, produced: { 'pbx.billing.call': 1, 'pbx.quality.call': 1 } }), 3, 'file')
  metrics.onTransaction('committed', 0.004)
  metrics.onTransaction('unclean', 10)
  metrics.onDropped(2)
  const series = await scrape(metrics)
  t.match(series, {
    'minim_records_received_total{source_kind="grpc"}': 10,
    'minim_records_received_total{source_kind="file"}': 1,
    'minim_messages_produced_total{topic="pbx.billing.call"}': 8,
    'minim_messages_produced_total{topic="pbx.quality.call"}': 9,
    'minim_messages_produced_total{topic="pbx.quality.quality"}': 0,
    'minim_records_withheld_total{purpose="billing",reason="expired"}': 1,
    'minim_records_withheld_total{purpose="billing",reason="other_tenant"}': 0,
    'minim_records_quarantined_total{reason="malformed_record"}': 1,
    'minim_records_quarantined_total{reason="clock"}': 1,
    'minim_records_quarantined_total{reason="too_large"}': 0,
    minim_unknown_fields_total: 4,
    minim_unsafe_fields_total: 2,
    minim_messages_dropped_total: 2,
    'minim_transactions_total{end="committed"}': 1,
    'minim_transactions_total{end="unclean"}': 1,
    'minim_receipt_to_commit_seconds_bucket{le="0.01"}': 0,
    'minim_receipt_to_commit_seconds_bucket{le="0.02"}': 1,
    minim_receipt_to_commit_seconds_count: 2,
    minim_commit_seconds_count: 1,
    'minim_build_info{version="0.1.0",policy="0123456789ab",guarantee="exactly-once"}': 1,
  })
  t.same(await drifts(metrics), {})
})

t.test('gauges are asked for at each scrape', async (t) => {
  const metrics = new Metrics(OPTIONS)
  t.match(await scrape(metrics), { minim_ready: 0, minim_items_in_flight: 0, minim_bytes_retained: 0 })
  metrics.sampleFrom(() => ({ ready: true, inFlightItems: 3, retainedBytes: 4096 }))
  t.match(await scrape(metrics), { minim_ready: 1, minim_items_in_flight: 3, minim_bytes_retained: 4096 })
})

t.test('conservation holds for every honest batch', async (t) => {
  const share = fc.integer({ min: 0, max: 50 })
  const batch = fc.record({
    calls: fc.tuple(share, share, share, share),
    qualities: fc.tuple(share, share),
    devices: fc.tuple(share, share),
    quarantined: fc.dictionary(fc.constantFrom(...REFUSALS), share),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(batch, { maxLength: 5 }), async (batches) => {
      const metrics = new Metrics(OPTIONS)
      for (const {
        calls: [a, b, c, d],
        qualities: [e, f],
        devices: [g, h],
        quarantined,
      } of batches) {
        const rows = a + b + c + d
        metrics.onCommitted(
          outcome({
            records: rows + e + f + g + h + Object.values(quarantined).reduce((sum, count) => sum + count, 0),
            produced: {
              'pbx.billing.call': a,
              'pbx.quality.call': rows - c,
              'pbx.quality.quality': e,
              'pbx.operations.device': g,
            },
            withheld: {
              'billing\0call\0expired': b + c,
              'billing\0call\0other_tenant': d,
              'quality\0call\0expired': c,
              'quality\0quality\0expired': f,
              'operations\0device\0expired': h,
            },
            quarantined,
          }),
          0.01,
          'file',
        )
      }
      return Object.keys(await drifts(metrics)).length === 0
    }),
    { numRuns: 30 },
  )
  t.pass('held')
})

for (const { name, parts, drift } of [
  {
    name: 'one purpose lacks a message',
    parts: { records: 3, produced: { 'pbx.billing.call': 2, 'pbx.quality.call': 3 } },
    drift: { '{source_kind="grpc",purpose="billing",kind="call"}': 1 },
  },
  {
    name: 'all purposes lack a message',
    parts: { records: 3, produced: { 'pbx.billing.call': 2, 'pbx.quality.call': 2 } },
    drift: { '{source_kind="grpc",purpose="*",kind="*"}': 1 },
  },
  {
    name: 'a message too many',
    parts: { records: 3, produced: { 'pbx.quality.quality': 4 } },
    drift: { '{source_kind="grpc",purpose="*",kind="*"}': -1 },
  },
  {
    name: 'withheld and produced as well',
    parts: {
      records: 3,
      produced: { 'pbx.billing.call': 3, 'pbx.quality.call': 3 },
      withheld: { 'billing\0call\0expired': 1 },
    },
    drift: { '{source_kind="grpc",purpose="quality",kind="call"}': 1, '{source_kind="grpc",purpose="*",kind="*"}': -1 },
  },
  {
    name: 'quarantine forgotten',
    parts: { records: 3, produced: { 'pbx.operations.device': 2 } },
    drift: { '{source_kind="grpc",purpose="*",kind="*"}': 1 },
  },
]) {
  t.test(`drift shows when ${name}`, async (t) => {
    const metrics = new Metrics(OPTIONS)
    metrics.onCommitted(outcome(parts), 0.01, 'grpc')
    t.same(await drifts(metrics), drift)
  })
}

t.test('each source has its own account: what one loses, another cannot make good', async (t) => {
  const metrics = new Metrics(OPTIONS)
  metrics.onCommitted(outcome({ records: 3, produced: { 'pbx.quality.quality': 2 } }), 0.01, 'hep')
  metrics.onCommitted(outcome({ records: 3, produced: { 'pbx.quality.quality': 4 } }), 0.01, 'sip')
  t.same(await drifts(metrics), {
    '{source_kind="hep",purpose="*",kind="*"}': 1,
    '{source_kind="sip",purpose="*",kind="*"}': -1,
  })
  const spooled = new Metrics(OPTIONS)
  spooled.onCommitted(outcome({ records: 3, produced: { 'pbx.quality.quality': 2 } }), 0.01, new Map([['http', 3]]))
  spooled.onCommitted(
    outcome({ records: 3, produced: { 'pbx.quality.quality': 2 } }),
    0.01,
    new Map([
      ['http', 1],
      ['ami', 2],
    ]),
  )
  t.same(await drifts(spooled), {
    '{source_kind="http",purpose="*",kind="*"}': 1,
    '{source_kind="spool",purpose="*",kind="*"}': 1,
  })
})

t.test('records are in flight from when they are read until they are committed', async (t) => {
  const metrics = new Metrics(OPTIONS)
  const first = metrics.handOver('grpc', 10)
  metrics.handOver('grpc', 5)
  // Not read by its source: known when the pipeline has had it.
  metrics.handOver(null, null).minimised(7)
  first.minimised(10)
  first.committed()
  t.match(await scrape(metrics), {
    'minim_records_in_flight{source_kind="grpc"}': 5,
    'minim_records_in_flight{source_kind="spool"}': 7,
    'minim_records_in_flight{source_kind="file"}': 0,
  })
})

t.test('what a source handed over is what the pipeline took, or was refused, or is in flight', async (t) => {
  const metrics = new Metrics(OPTIONS)
  const told: unknown[] = []
  metrics.driftTo((drift) => told.push(drift))
  const item = (records: number | null, ...minimised: number[]): ReturnType<Metrics['handOver']> => {
    const handover = metrics.handOver('file', records)
    for (const found of minimised) handover.minimised(found)
    return handover
  }
  await t.test('honest ones', async (t) => {
    item(10, 10).committed()
    // Filled again after an aborted transaction, once with other records excluded; in trials of what Kafka refuses.
    item(10, 10, 10, 10).committed()
    // The ledger had it: the pipeline never saw it.
    item(10).committed()
    // It went back to its source, before the pipeline had it and after, and comes again.
    item(10).failed()
    item(10, 10).failed()
    item(10, 10).committed()
    // Not read by its source.
    item(null, 4).committed()
    item(null, 4, 4).committed()
    item(null).failed()
    item(null).committed()
    // On their way.
    item(10, 10)
    item(3)
    t.same(await drifts(metrics), {})
    t.match(await scrape(metrics), { 'minim_records_in_flight{source_kind="file"}': 13 })
    t.notOk(metrics.drifting)
    t.same(told, [])
  })
  await t.test("a batch that was another's, and filled again in time", async (t) => {
    item(10, 0, 10).committed()
    t.same(await drifts(metrics), {})
  })
  await t.test("a batch that was another's", async (t) => {
    item(100, 0).committed()
    t.same(await drifts(metrics), { '{source_kind="file",purpose="*",kind="*"}': 100 })
    t.ok(metrics.drifting)
    item(99, 0).committed()
    t.same(told, [{ source: 'file', purpose: '*', kind: '*', records: 100 }], 'not said at each commit')
    item(1, 0).committed()
    t.same(told.slice(1), [{ source: 'file', purpose: '*', kind: '*', records: 200 }], 'but when it has doubled')
    metrics.handOver('grpc', 5).committed()
    t.equal(Object.keys(await drifts(metrics)).length, 1, 'of other sources nothing is said')
  })
  await t.test('what is decided twice', async (t) => {
    const twice = metrics.handOver('grpc', 5)
    twice.minimised(5)
    twice.committed()
    twice.committed()
    t.match(await drifts(metrics), { '{source_kind="grpc",purpose="*",kind="*"}': -5 })
  })
})

t.test('a kind that no purpose has rules for is counted as withheld, or it is drift', async (t) => {
  const parts = { records: 5, produced: { 'pbx.billing.call': 2, 'pbx.quality.call': 2 } }
  const metrics = new Metrics({ ...OPTIONS, flows: FLOWS.slice(0, 2) })
  metrics.onCommitted(outcome({ ...parts, withheld: { '\0device\0no_purpose': 3 } }), 0.01, 'grpc')
  t.same(await drifts(metrics), {})
  t.match(await scrape(metrics), { 'minim_records_withheld_total{purpose="none",reason="no_purpose"}': 3 })
  metrics.onCommitted(outcome(parts), 0.01, 'grpc')
  t.same(await drifts(metrics), { '{source_kind="grpc",purpose="*",kind="*"}': 3 })
})

t.test('no label is made of what comes in', async (t) => {
  const metrics = new Metrics(OPTIONS)
  const series = Object.keys(await scrape(metrics))
  const canary = '+447700900123'
  metrics.onCommitted(
    outcome({
      records: 1,
      produced: { [canary]: 1 },
      withheld: { [`${canary}\0call\0expired`]: 1, [`billing\0call\0${canary}`]: 1, [canary]: 1 },
      quarantined: { [canary as Refusal]: 1 },
    }),
    0.01,
    canary as 'grpc',
  )
  metrics.onTransaction(canary as 'aborted', 1)
  const after = await scrape(metrics)
  t.same(
    Object.keys(after).filter((name) => !series.includes(name) && !name.includes('source_kind="other"')),
    [],
    'no series but those of the start, and of "other"',
  )
  t.notOk((await metrics.registry.metrics()).includes(canary.slice(1)))
  t.match(after, {
    'minim_messages_produced_total{topic="other"}': 1,
    'minim_records_withheld_total{purpose="other",reason="other"}': 2,
    'minim_records_withheld_total{purpose="billing",reason="other"}': 1,
    'minim_records_quarantined_total{reason="other"}': 1,
    'minim_records_received_total{source_kind="other"}': 1,
    'minim_transactions_total{end="other"}': 1,
  })
})

t.test('every series of the closed sets is there from the start, at 0', async (t) => {
  const series = await scrape(new Metrics(OPTIONS))
  for (const reason of REFUSALS) t.equal(series[`minim_records_quarantined_total{reason="${reason}"}`], 0)
  for (const { purpose } of FLOWS)
    for (const reason of WITHHOLDINGS)
      t.equal(series[`minim_records_withheld_total{purpose="${purpose}",reason="${reason}"}`], 0)
})

t.test('of sources that are off there are no series, until they count something after all', async (t) => {
  const metrics = new Metrics({ ...OPTIONS, sources: ['grpc', 'http'] })
  const kinds = async (): Promise<(string | undefined)[]> =>
    [...new Set(Object.keys(await scrape(metrics)).map((name) => /source_kind="(\w+)"/.exec(name)?.[1]))].filter(
      (kind) => kind !== undefined,
    )
  t.same((await kinds()).sort(), ['grpc', 'http', 'other'], "other: a mistake of minim's own")
  t.match(await scrape(metrics), {
    'minim_source_received_total{source_kind="http"}': 0,
    'minim_source_refused_total{source_kind="http",reason="not_found"}': 0,
    'minim_records_received_total{source_kind="grpc"}': 0,
    'minim_conservation_drift_records{source_kind="grpc",purpose="*",kind="*"}': 0,
  })
  // Left in the spool by a source that was on.
  metrics.onCommitted(outcome({ records: 3, produced: { 'pbx.quality.quality': 2 } }), 0.01, new Map([['sip', 3]]))
  metrics.handOver(null, 2)
  metrics.counters('hep').refused('malformed')
  t.match(await scrape(metrics), {
    'minim_records_received_total{source_kind="sip"}': 3,
    'minim_records_in_flight{source_kind="spool"}': 2,
    'minim_source_refused_total{source_kind="hep",reason="malformed"}': 1,
    'minim_conservation_drift_records{source_kind="sip",purpose="*",kind="*"}': 1,
  })
})

t.test("Node's own metrics are on by default", async (t) => {
  const { flows, minimVersion, policyVersion } = OPTIONS
  t.match(
    Object.keys(await scrape(new Metrics({ flows, minimVersion, policyVersion }))).join('\n'),
    /^process_cpu_seconds_total$/m,
  )
})
