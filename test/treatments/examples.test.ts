/** The examples that treatments print in the docs, and what they do at their edges. */
import t from 'tap'
import { stringify } from 'yaml'
import { packBytes, TYPES } from '../../src/batch/block.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped, type FieldName, type Kind } from '../../src/catalogue/catalogue.js'
import { splitEpochKey } from '../../src/keys/split.js'
import { ipBytes, parseIp } from '../../src/normalise/ip.js'
import { macInto } from '../../src/normalise/mac.js'
import { PartyReader } from '../../src/normalise/party.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { compile } from '../../src/policy/compile.js'
import { loadPolicy } from '../../src/policy/load.js'
import { boundsBucket, stepBucket } from '../../src/treatments/buckets.js'
import { writeE164Prefix } from '../../src/treatments/e164-prefix.js'
import { writeIpv4Prefix, writeIpv6Prefix } from '../../src/treatments/ip-prefix.js'
import { writeMacVendor } from '../../src/treatments/mac-vendor.js'
import { descriptorOf, type Treatment, treatmentNamed, TREATMENTS } from '../../src/treatments/registry.js'
import type { Example } from '../../src/treatments/treatment.js'

const out = Buffer.alloc(80)
const written = (write: (pos: number) => number): string => out.toString('latin1', 7, write(7))
const parties = new PartyReader({ name: 'default', id: 1, region: 'GB', extensionDigits: 6, domains: [] })

const apply: Record<string, (input: string, parameters: string) => string> = {
  'e164-prefix': (input, parameters) => {
    const block = Buffer.alloc(16)
    parties.read(Buffer.from(input), 0, input.length, new DataView(block.buffer, block.byteOffset), 0)
    return written((pos) =>
      writeE164Prefix(block, 0, parameters === 'country' ? 0 : Number(parameters.replace('digits: ', '')), out, pos),
    )
  },
  'ip-prefix': (input, parameters) => {
    const [v4, v6] = parameters.split(', ').map((p) => Number(p.slice(4)))
    const length = parseIp(Buffer.from(input), 0, input.length)
    return written((pos) =>
      length === 4 ? writeIpv4Prefix(ipBytes, 0, v4, out, pos) : writeIpv6Prefix(ipBytes, 0, v6, out, pos),
    )
  },
  'mac-vendor': (input) => {
    const block = Buffer.alloc(16)
    const octets = Buffer.alloc(6)
    if (macInto(Buffer.from(input), 0, input.length, octets, 0))
      packBytes(TYPES.mac, octets, 6, new DataView(block.buffer, block.byteOffset), 0)
    return written((pos) => writeMacVendor(block, 0, out, pos))
  },
  'time-bucket': (input, parameters) => String(stepBucket(Number(input), Number(parameters.slice(4)))),
  'number-bucket': (input, parameters) =>
    String(
      parameters.startsWith('step')
        ? stepBucket(Number(input), Number(parameters.slice(6)))
        : boundsBucket(Number(input), Float64Array.from(parameters.slice(8).split(', '), Number)),
    ),
}

/**
 * Makes an example's output by the whole way: a policy that writes it so, a record with its input, the message of a
 * JSON topic.
 */
function made({ field: name, written, input }: Example): unknown {
  const [kind, field] = name.split('.') as [Kind, FieldName]
  const known = shipped().kinds[kind].byName
  const source = known.get(field)?.derivedFrom ?? field
  const policy = loadPolicy({
    text: stringify({
      purposes: {
        example: {
          notice: 'P2',
          description: 'an example',
          purpose: 'dpv:ServiceProvision',
          basis: { term: 'eu-gdpr:A6-1-b', evidence: 'a contract' },
          recipients: ['tests'],
          region: 'UK',
          transfer: 'adequacy',
          retention_days: 30,
          epoch: 'day',
          [kind]: { format: 'json', fields: { [field]: written } },
        },
      },
    }),
  })
  const start = Date.UTC(2026, 0, 1)
  const type = shipped().root.lookupType('minim.v1.Batch')
  const records = { call: 'calls', quality: 'qualities', device: 'devices' }[kind]
  const arena = Buffer.from(
    type.encode(type.fromObject({ [records]: [{ start_ms: start, [source]: input }] })).finish(),
  )
  // The tokens of the examples are under a key of 32 octets of 0.
  const keyring = { keys: (purpose: string, epoch: string) => splitEpochKey(purpose, epoch, Buffer.alloc(32)) }
  const tenants = [{ name: 'default', id: 1, region: 'GB', extensionDigits: 6, domains: [] }]
  const pipeline = new Pipeline({
    catalogue: shipped(),
    plan: compile(policy, shipped()),
    keyring,
    tenants,
    futureMs: 0,
    now: () => start + 86_400_000,
  })
  const found = pipeline.run({
    reader: new ProtobufReader(shipped(), 'whole'),
    arena,
    start: 0,
    end: arena.length,
    scratchStart: arena.length,
    last: true,
    tenant: 'default',
  })
  if (found.count !== 1 || found.outcome.quarantined.bad_value !== undefined) throw new Error(`${found.count} messages`)
  const value = Buffer.from(found.bytes.subarray(found.valueOff[0], found.valueOff[0] + found.valueLen[0])).toString()
  return (JSON.parse(value) as Record<string, unknown>)[field] ?? null
}

for (const descriptor of TREATMENTS) {
  t.test(descriptor.kind, (t) => {
    for (const example of descriptor.examples) t.equal(made(example), example.output, JSON.stringify(example))
    for (const row of descriptor.rows) {
      t.equal(row.written.split(':')[0], descriptor.kind, 'the documentation calls it by its name')
      t.ok(row.reveals.length > 0)
    }
    t.ok(
      descriptor.shows !== 'less' || descriptor.rows.every(({ reversible }) => reversible === null),
      'what is cut off is not had back',
    )
    t.end()
  })
}

t.test('the kinds are closed: another one does not compile', async (t) => {
  // @ts-expect-error -- not in the list
  const wrong: Treatment = { kind: 'blur' }
  t.throws(() => descriptorOf(wrong.kind))
  t.equal(treatmentNamed('toString'), undefined)
})

t.test('each kind is there once, in the order of the list', async (t) => {
  const kinds = TREATMENTS.map(({ kind }) => kind)
  t.equal(new Set(kinds).size, kinds.length)
  t.strictSame(kinds, [...kinds].sort())
})

t.test('at the edges', (t) => {
  const rows: { kind: string; input: string; parameters: string; output: string }[] = [
    { kind: 'e164-prefix', input: '+35312', parameters: 'country', output: '' },
    { kind: 'e164-prefix', input: '+3531234', parameters: 'country', output: '+353' },
    { kind: 'e164-prefix', input: '+447700900123', parameters: 'digits: 11', output: '+447700' },
    { kind: 'e164-prefix', input: '+79161234567', parameters: 'country', output: '+7' },
    { kind: 'e164-prefix', input: 'sip:alice@other.example', parameters: 'digits: 5', output: '' },
    { kind: 'ip-prefix', input: '::', parameters: 'v4: 24, v6: 48', output: '::/48' },
    { kind: 'ip-prefix', input: '2001:0:0:1::1', parameters: 'v4: 24, v6: 48', output: '2001::/48' },
    { kind: 'ip-prefix', input: '2001:0:1::1', parameters: 'v4: 24, v6: 48', output: '2001:0:1::/48' },
    { kind: 'ip-prefix', input: '0:0:1::1', parameters: 'v4: 24, v6: 48', output: '0:0:1::/48' },
    { kind: 'ip-prefix', input: '2001:dbf::1', parameters: 'v4: 24, v6: 29', output: '2001:db8::/29' },
    { kind: 'ip-prefix', input: '255.255.255.255', parameters: 'v4: 8, v6: 48', output: '255.0.0.0/8' },
    { kind: 'mac-vendor', input: 'not a mac', parameters: '', output: '' },
    { kind: 'number-bucket', input: 'NaN', parameters: 'bounds: 0, 30, 300', output: 'NaN' },
    { kind: 'number-bucket', input: 'NaN', parameters: 'step: 30', output: 'NaN' },
    { kind: 'number-bucket', input: '-1', parameters: 'bounds: 0, 30, 300', output: 'NaN' },
    { kind: 'number-bucket', input: '30', parameters: 'bounds: 0, 30, 300', output: '30' },
    { kind: 'number-bucket', input: '29', parameters: 'bounds: 0, 30, 300', output: '0' },
  ]
  for (const { kind, input, parameters, output } of rows)
    t.equal(apply[kind](input, parameters), output, `${kind} ${input} ${parameters}`)
  t.end()
})
