/**
 * One call, as each source hands it over, through the real pipeline: within a purpose it has one token whoever reported
 * it, and so has each of its parties; between purposes and tenants nothing is the same.
 */
import t from 'tap'
import type { Reader } from '../../src/batch/batch.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped, type Kind } from '../../src/catalogue/catalogue.js'
import { CsvReader } from '../../src/formats/csv.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { type RecordFields, RecordWriter } from '../../src/formats/record-writer.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { compile } from '../../src/policy/compile.js'
import { inspectPolicy } from '../../src/policy/load.js'
import { FUTURE_MS, NOW, TENANTS, TestKeyring } from '../project/generate.js'

const catalogue = shipped()
const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5)
const CALL_ID = 'a84b4c76e66710@192.0.2.14'

const purpose = (epoch: string): object => ({
  description: 'a test',
  notice: 'P2',
  purpose: 'https://w3id.org/dpv#PaymentManagement',
  basis: { term: 'eu-gdpr:A6-1-b', evidence: 'the contract' },
  recipients: ['a desk'],
  region: 'UK',
  transfer: 'adequacy',
  retention_days: 30,
  epoch,
  call: {
    format: 'json',
    fields: {
      call_id: 'token',
      calling: 'token',
      called: 'token',
      mac: 'token',
      origin: 'keep',
      start_ms: { 'time-bucket': { ms: 1000 } },
    },
  },
  quality: {
    format: 'json',
    fields: {
      call_id: 'token',
      local_party: 'token',
      remote_party: 'token',
      mac: 'token',
      origin: 'keep',
      start_ms: { 'time-bucket': { ms: 1000 } },
    },
  },
  device: {
    format: 'json',
    fields: { party: 'token', mac: 'token', origin: 'keep', start_ms: { 'time-bucket': { ms: 1000 } } },
  },
})
const policy = inspectPolicy(
  { text: JSON.stringify({ purposes: { billing: purpose('contract'), service: purpose('day') } }) },
  catalogue,
)
if (policy.problems.length > 0) throw new Error(JSON.stringify(policy.problems))
const pipeline = new Pipeline(
  {
    catalogue,
    plan: compile(policy, catalogue),
    keyring: new TestKeyring(),
    // As the settings name the PBX that these records are from.
    tenants: TENANTS.map((tenant) =>
      tenant.name === 'default' ? { ...tenant, domains: [...tenant.domains, '192.0.2.14'] } : tenant,
    ),
    futureMs: FUTURE_MS,
    now: () => NOW,
  },
  32,
)

/** What a purpose sees of one record. */
type Seen = Readonly<Record<string, string>>

/** The records of one input, by purpose. */
function run(
  reader: Reader,
  input: string | Buffer,
  tenant = 'default',
): { readonly billing: Seen[]; readonly service: Seen[] } {
  const bytes = Buffer.from(input as string)
  const arena = Buffer.concat([bytes, Buffer.alloc(4096)])
  const made = pipeline.run({
    reader,
    arena,
    start: 0,
    end: bytes.length,
    scratchStart: bytes.length,
    last: true,
    tenant,
  })
  const seen = { billing: [] as Seen[], service: [] as Seen[] }
  for (let i = 0; i < made.count; i++) {
    const name = made.topics[made.topic[i]].split('.')[1]
    if (name !== 'billing' && name !== 'service')
      throw new Error(`${made.topics[made.topic[i]]}: ${JSON.stringify(made.outcome.quarantined)}`)
    seen[name].push(
      JSON.parse(
        Buffer.from(made.bytes).toString('utf8', made.valueOff[i], made.valueOff[i] + made.valueLen[i]),
      ) as Seen,
    )
  }
  return seen
}

/** Records of a source that writes them itself. */
function written(kind: Kind, fields: RecordFields, tenant = 'default'): ReturnType<typeof run> {
  const writer = new RecordWriter(catalogue)
  writer.add(kind, { start_ms: START_MS, ...fields })
  return run(new ProtobufReader(catalogue, 'whole'), writer.take(), tenant)
}

const asterisk = builtInMapping('asterisk-cdr', catalogue)
const csv = (
  calling: string,
  called: string,
  more = ',"1767323045.1","","","1767323045.1",1,"a84b4c76e66710@192.0.2.14"',
): string =>
  `"acct","${calling}","${called}","ctx","""Ann"" <${calling}>","PJSIP/1004-0000001a",` +
  `"PJSIP/trunk-0000001b","Dial","PJSIP/${called}@trunk","2026-01-02 03:04:05","2026-01-02 03:04:09",` +
  `"2026-01-02 03:05:05",60,56,"ANSWERED","DOCUMENTATION"${more}\n`

/** The call from extension 1004 to +44 7700 900123, as each source says it. */
const SOURCES: readonly { readonly name: string; readonly origin: string; readonly seen: ReturnType<typeof run> }[] = [
  { name: 'Asterisk CSV', origin: 'CDR', seen: run(new CsvReader(asterisk, catalogue), csv('1004', '07700900123')) },
  {
    name: 'Asterisk JSON',
    origin: 'CDR',
    seen: run(
      new JsonLinesReader(asterisk, catalogue),
      `{"src":"1004","dst":"00447700900123","start":"1767323045.1","uniqueid":"1767323045.1","sipcallid":"${CALL_ID}"}\n`,
    ),
  },
  {
    name: "JSON of one's own",
    origin: 'CDR',
    seen: run(
      new JsonLinesReader(builtInMapping('minim', catalogue), catalogue),
      `{"calling":"1004","called":"+44 7700 900123","start_ms":${START_MS},"call_id":"${CALL_ID}"}\n`,
    ),
  },
  {
    name: 'AMI',
    origin: 'CDR',
    seen: written('call', { origin: 'CDR', call_id: CALL_ID, calling: '1004', called: '07700 900 123' }),
  },
  {
    name: 'FreeSWITCH',
    origin: 'CDR',
    seen: written('call', {
      origin: 'CDR',
      call_id: CALL_ID,
      calling: 'sofia/internal/1004@192.0.2.14',
      called: '447700900123',
    }),
  },
  {
    name: 'HEP',
    origin: 'SIGNALLING',
    seen: written('call', {
      origin: 'SIGNALLING',
      call_id: ` ${CALL_ID}\r\n`,
      calling: '"Ann Example" <sip:1004@pbx.example:5060;transport=udp>;tag=4fab',
      called: '<sip:+447700900123@carrier.example;user=phone>',
    }),
  },
  {
    name: 'SIP by another proxy',
    origin: 'SIGNALLING',
    seen: written('call', {
      origin: 'SIGNALLING',
      call_id: `<${CALL_ID}>`,
      calling: 'sip:1004@192.0.2.14',
      called: 'sip:%2B447700900123@carrier.example;user=phone',
    }),
  },
]

for (const name of ['billing', 'service'] as const) {
  t.test(`${name}: one call, one token, from every source`, (t) => {
    const first = SOURCES[0].seen[name][0]
    for (const field of ['call_id', 'calling', 'called']) t.match(first[field], /^[\w-]{22}$/, field)
    for (const { name: source, origin, seen } of SOURCES) {
      t.equal(seen[name].length, 1, source)
      const [record] = seen[name]
      for (const field of ['call_id', 'calling', 'called']) t.equal(record[field], first[field], `${source}: ${field}`)
      t.equal(record['origin'], origin, `${source} says what it is`)
    }
    const quality = written('quality', {
      origin: 'REPORT',
      call_id: CALL_ID,
      local_party: '"Ann" <sip:1004@pbx.example>',
      remote_party: 'tel:+44-7700-900-123',
    })[name][0]
    t.same(
      [quality['call_id'], quality['local_party'], quality['remote_party']],
      [first['call_id'], first['calling'], first['called']],
      'and so in a quality report',
    )
    t.end()
  })
}

t.test('purposes have nothing in common', (t) => {
  const [{ seen }] = SOURCES
  for (const field of ['call_id', 'calling', 'called']) t.not(seen.billing[0][field], seen.service[0][field], field)
  t.end()
})

t.test('without a SIP Call-ID, a call detail record is known by its unique id: the same in AMI and CSV', (t) => {
  const file = run(new CsvReader(asterisk, catalogue), csv('1004', '07700900123', ',"1767323045.1",""')).billing[0]
  t.equal(file['call_id'], written('call', { origin: 'CDR', call_id: '1767323045.1' }).billing[0]['call_id'])
  t.not(file['call_id'], SOURCES[0].seen.billing[0]['call_id'])
  t.end()
})

const MOBILE = [
  '+447700900123',
  '00447700900123',
  '07700900123',
  '447700900123',
  '+44 7700 900123',
  '07700 900-123',
  '(07700) 900.123',
  '+44 (0)7700 900123',
  'tel:+447700900123',
  'tel:+44-7700-900.123',
  'tel:07700900123',
  'sip:+447700900123@carrier.example;user=phone',
  'sip:07700900123@pbx.example',
  'sips:00447700900123@192.0.2.14',
  '<sip:+447700900123@carrier.example>',
  '"Ann (Home)" <sip:+447700900123@carrier.example>;tag=1',
  'sip:%2B447700900123@carrier.example',
  'sip:%2b44770%30900123@carrier.example',
  'sip:+44-7700-900123@carrier.example;user=phone',
  'PJSIP/447700900123-0000001a',
  'SIP/+447700900123-0000001a',
  'Local/07700900123@from-internal-0000001a;2',
  'sofia/external/+447700900123@carrier.example',
  '"Ann" <07700900123>',
]

t.test('a number has one token, however it is written and wherever it stands', (t) => {
  const first = written('call', { calling: MOBILE[0] }).billing[0]['calling']
  for (const text of MOBILE) {
    t.equal(written('call', { calling: text }).billing[0]['calling'], first, text)
    t.equal(written('call', { called: text }).billing[0]['called'], first, `${text}, called`)
    t.equal(
      written('quality', { remote_party: text }).billing[0]['remote_party'],
      first,
      `${text}, of a quality report`,
    )
    t.equal(written('device', { party: text }).billing[0]['party'], first, `${text}, of a device`)
  }
  t.not(written('call', { calling: '+447700900124' }).billing[0]['calling'], first)
  t.end()
})

t.test('a number is the same person in every tenant, an extension is not', (t) => {
  const of = (tenant: string, calling: string): string => written('call', { calling }, tenant).billing[0]['calling']
  t.equal(of('default', '07700900123'), of('acme', '+447700900123'))
  t.not(of('default', '1004'), of('acme', '1004'))
  t.not(of('default', 'sip:1004@pbx.example'), of('acme', 'sip:1004@pbx.example'), "a domain is one tenant's own")
  t.equal(of('default', '1004'), of('default', 'PJSIP/1004-0000001a'), 'an endpoint called by its extension')
  t.not(
    written('call', { call_id: '1767323045.1' }, 'default').billing[0]['call_id'],
    written('call', { call_id: '1767323045.1' }, 'acme').billing[0]['call_id'],
    'two nodes count their calls alike',
  )
  t.end()
})

t.test('a phone has one token, from its registration, its calls and its reports', (t) => {
  const first = written('device', { mac: '00:00:5E:00:53:04' }).billing[0]['mac']
  t.match(first, /^[\w-]{22}$/)
  const agent = 'Yealink SIP-T46S 66.85.0.5 00005e005304'
  for (const [kind, fields] of [
    ['device', { user_agent: agent }],
    ['call', { user_agent: agent }],
    ['quality', { user_agent: agent }],
    ['call', { mac: '0000.5e00.5304' }],
    ['quality', { mac: '00-00-5e-00-53-04', user_agent: 'other 00:00:5e:00:53:99' }],
  ] as const) {
    t.equal(written(kind, fields).billing[0]['mac'], first, `${kind} ${JSON.stringify(fields)}`)
  }
  t.end()
})
