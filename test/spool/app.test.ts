/**
 * The spool in the whole program: real pipeline, real delivery with its ledger, a cluster that speaks Kafka's protocol.
 */
import { cpSync, mkdirSync } from 'node:fs'
import { Writable } from 'node:stream'
import t from 'tap'
import { startApp } from '../../src/app/app.js'
import { catalogue as shipped } from '../../src/catalogue/catalogue.js'
import type { Spooled } from '../../src/flow/source.js'
import { RecordWriter } from '../../src/formats/record-writer.js'
import { SPOOLED_SCRATCH_BYTES, spooledReaders } from '../../src/formats/spooled.js'
import { startEmbeddedKafka } from '../../src/kafka/embedded.js'
import { tail } from '../../src/kafka/tail.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { createLog } from '../../src/ops/log.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { compile } from '../../src/policy/compile.js'
import { loadPolicy } from '../../src/policy/load.js'
import { loadSettings } from '../../src/settings/load.js'
import { Spool, type SpoolOptions } from '../../src/spool/spool.js'
import { Place, until } from '../e2e/program.js'
import { shippedDelivery } from '../helpers/delivery.js'
import { repositoryRoot } from '../helpers/shared.js'

const catalogue = shipped()
const writer = new RecordWriter(catalogue)

function callOf(n: number, over: Partial<Spooled> = {}): Spooled {
  writer.add('call', {
    account: 'acct-1',
    call_id: `call-${n}`,
    calling: '1001',
    called: `+447700900${String(n).padStart(3, '0')}`,
    start_ms: Date.now() - 60_000,
    duration_seconds: n,
    disposition: 'ANSWERED',
    origin: 'CDR',
  })
  return { source: 'http', format: 'protobuf', tenant: 'default', bytes: writer.take(), ...over }
}

async function topicOf(bootstrap: string, topic: string): Promise<string[]> {
  const values: string[] = []
  await tail({
    bootstrap,
    topics: [topic],
    from: 'beginning',
    untilEnd: true,
    onMessage: (_, message) => {
      values.push(message.value.toString('hex'))
    },
  })
  return values
}

t.test("what was left in the folder is delivered, what comes too, each counted as its source's", async (t) => {
  const place = new Place(t)
  place.makeStore()
  const settings = loadSettings(place.settings({ spool: { path: 'spool' }, keys: { store: 'minim-keys.json' } }))
  const before = process.env['MINIM_MASTER_KEY']
  process.env['MINIM_MASTER_KEY'] = place.master
  t.teardown(() => {
    if (before === undefined) delete process.env['MINIM_MASTER_KEY']
    else process.env['MINIM_MASTER_KEY'] = before
  })
  const left = Spool.open({ ...settings.spool, keyring: place.openStore() })
  await left.put(callOf(1, { id: 'one' }))
  await left.put({
    source: 'ami',
    format: 'refused',
    reason: 'malformed_record',
    tenant: 'default',
    bytes: Buffer.from('broken'),
  })
  await left.put({
    source: 'freeswitch',
    format: 'jsonl-call',
    tenant: 'default',
    bytes: Buffer.from(`{"start_ms":${Date.now() - 5000},"called":"+44770090\\u0030417"}\n{"start_ms":}`),
  })
  await left.close()

  const lines: string[] = []
  const app = await startApp({
    settings,
    log: createLog(
      'info',
      new Writable({
        write: (chunk: Buffer, _, done) => {
          lines.push(chunk.toString())
          done()
        },
      }),
    ),
    onFatal: (error) => {
      t.error(error)
    },
  })
  t.equal(await app.inlet.put(callOf(1, { id: 'one' })), 'repeated')
  t.same(
    await Promise.all(Array.from({ length: 50 }, (_, i) => app.inlet.put(callOf(2 + i)))),
    Array.from({ length: 50 }, () => 'stored'),
  )
  const metric = async (): Promise<string> => app.metrics.registry.metrics()
  await until('all is committed and deleted', async () => /minim_spool_blocks 0\n/.test(await metric()))
  const text = await metric()
  for (const [source, count] of [
    ['http', 51],
    ['ami', 1],
    ['freeswitch', 2],
  ] as const)
    t.match(text, `minim_records_received_total{source_kind="${source}"} ${count}\n`)
  t.match(text, 'minim_records_quarantined_total{reason="malformed_record"} 1\n')
  t.match(text, 'minim_records_quarantined_total{reason="malformed_json"} 1\n')
  t.match(text, /minim_spool_put_seconds_count 51\n/)
  t.notMatch(text, /minim_conservation_drift_records\{[^}]*\} [^0]/)
  t.equal((await topicOf(app.bootstrap, 'pbx.billing.call')).length, 52)
  await app.stop()
  // What was refused is told, and nothing else.
  const told = lines.filter((line) => !line.includes('input was refused and is in quarantine'))
  t.notMatch(told.join(''), /"level":"(?:warn|error|fatal)"/)
  t.notMatch(lines.join(''), /7700900/)
})

t.test('killed between the commit and the deletion: the ledger says what is there', async (t) => {
  const place = new Place(t)
  const kafka = await startEmbeddedKafka()
  t.teardown(() => kafka.stop())
  const keyring = throwawayKeyring()
  const policy = loadPolicy(`${repositoryRoot()}/config/policy.yaml`, catalogue)
  const pipeline = new Pipeline({
    catalogue,
    plan: compile(policy, catalogue),
    keyring,
    tenants: [{ name: 'default', id: 1, region: 'GB', extensionDigits: 5, domains: [] }],
    futureMs: 300_000,
  })
  const readers = { reader: spooledReaders(catalogue, 65_536), scratchBytes: SPOOLED_SCRATCH_BYTES }
  const options = (folder: string): SpoolOptions => ({
    path: place.path(folder),
    maxBytes: 1 << 24,
    rememberHours: 1,
    keyring,
  })
  const deliver = async (spool: Spool, count: number): Promise<void> => {
    const delivery = shippedDelivery({ bootstrap: kafka.bootstrap, topics: null, settings: { cluster: 'spool-test' } })
    await delivery.start()
    let records = 0
    spool.start(
      {
        lastTaken: (id) => delivery.lastTaken(id),
        offer: (item) =>
          delivery.offer({
            ...item,
            committed: () => {
              for (const n of item.received?.().values() ?? []) records += n
              item.committed()
            },
          }),
        minimiseAll: (inputs, excluded, counts) => pipeline.runAll(inputs, excluded ?? null, counts),
      },
      readers,
    )
    await until('all is committed', () => records === count)
    spool.stopFeeding()
    await delivery.stop()
    await spool.close()
  }

  const filled = Spool.open(options('spool'))
  for (let n = 0; n < 20; n++) await filled.put(callOf(n))
  await filled.close()
  mkdirSync(place.path('copy'))
  cpSync(place.path('spool'), place.path('copy'), { recursive: true })
  await deliver(Spool.open(options('spool')), 20)
  t.equal((await topicOf(kafka.bootstrap, 'pbx.billing.call')).length, 20)

  // The folder as a crash leaves it: nothing was deleted.
  const again = Spool.open(options('copy'))
  t.match(again.sample(), { blocks: 20 })
  await again.put(callOf(100))
  await deliver(again, 1)
  t.equal((await topicOf(kafka.bootstrap, 'pbx.billing.call')).length, 21, 'nothing twice')
})
