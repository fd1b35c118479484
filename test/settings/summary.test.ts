/** The log's first line: what runs, and nothing that is secret. */
import { join } from 'node:path'
import t from 'tap'
import { loadSettings, type SettingsInput } from '../../src/settings/load.js'
import type { Settings } from '../../src/settings/schema.js'
import { sourcesOf, summaryOf } from '../../src/settings/summary.js'

const ENTRY = { node: 'pbx-1', host: 'pbx.example', user: 'minim', secretEnv: 'PBX_SECRET' }

const POLICY = { version: '0123456789ab', purposes: ['billing', 'quality'] }

t.test('sources that are on, with where they are; those that are off are not in it', (t) => {
  const load = (settings: SettingsInput): Settings =>
    loadSettings(join(t.testdir({ 'minim.yaml': JSON.stringify(settings) }), 'minim.yaml'))
  t.same(sourcesOf(load({})), { grpc: '127.0.0.1:50051' })
  t.same(
    sourcesOf(
      load({
        http: { listen: '127.0.0.1:8080' },
        freeswitch: { listen: '127.0.0.1:8081' },
        hep: { udp: '127.0.0.1:9060', tcp: '127.0.0.1:9061' },
        sip: {
          udp: '127.0.0.1:5060',
          drachtio: { host: 'sip.example', port: 9022, tls: false, secretEnv: 'DRACHTIO' },
        },
        ami: [ENTRY] as unknown as Settings['ami'],
        files: [{ path: 'acme-ltd.csv', format: 'asterisk-csv' }],
        kafkaInput: [{ topic: 'cdr' }] as unknown as Settings['kafkaInput'],
      }),
    ),
    {
      grpc: '127.0.0.1:50051',
      file: 1,
      ami: ['pbx.example:5038'],
      freeswitch: '127.0.0.1:8081',
      http: '127.0.0.1:8080',
      hep: { udp: '127.0.0.1:9060', tcp: '127.0.0.1:9061' },
      sip: { udp: '127.0.0.1:5060', drachtio: 'sip.example:9022' },
      kafka: ['cdr'],
    },
  )
  t.end()
})

t.test('the line is short, and holds no secret', (t) => {
  const settings = loadSettings(null, {
    cluster: 'uk-1',
    kafka: { 'bootstrap.servers': 'b:9092', 'sasl.username': 'minim', 'sasl.password': 'hunter2hunter2' },
  })
  const line = summaryOf(settings, POLICY, '0.1.0')
  t.same(line, {
    version: '0.1.0',
    cluster: 'uk-1',
    kafka: 'b:9092',
    guarantee: 'exactly-once',
    policy: '0123456789ab',
    purposes: 2,
    sources: { grpc: '127.0.0.1:50051' },
  })
  t.match(summaryOf({ ...settings, embedded: true, workers: 2 }, POLICY, '0.1.0'), { kafka: 'embedded', workers: 2 })
  t.end()
})
