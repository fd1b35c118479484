/** The examples that treatments print in the docs, and what they do at their edges. */
import t from 'tap'
import { PartyReader } from '../../src/normalise/party.js'
import { ipBytes, parseIp } from '../../src/normalise/ip.js'
import { macInto } from '../../src/normalise/mac.js'
import { TYPES, packBytes } from '../../src/batch/block.js'
import { boundsBucket, numberBucketInfo, stepBucket, timeBucketInfo } from '../../src/treatments/buckets.js'
import { e164PrefixInfo, writeE164Prefix } from '../../src/treatments/e164-prefix.js'
import { ipPrefixInfo, writeIpv4Prefix, writeIpv6Prefix } from '../../src/treatments/ip-prefix.js'
import { macVendorInfo, writeMacVendor } from '../../src/treatments/mac-vendor.js'
import type { TreatmentInfo } from '../../src/treatments/treatment.js'

const out = Buffer.alloc(80)
const written = (write: (pos: number) => number): string => out.toString('latin1', 7, write(7))
const parties = new PartyReader({ name: 'default', id: 1, region: 'GB', extensionDigits: 6, domains: [] })

const apply: Record<string, (input: string, parameters: string) => string> = {
  'e164-prefix': (input, parameters) => {
    const block = Buffer.alloc(16)
    parties.read(Buffer.from(input), 0, input.length, new DataView(block.buffer, block.byteOffset), 0)
    return written((pos) => writeE164Prefix(block, 0, parameters === 'country' ? 0 : Number(parameters.replace('digits: ', '')), out, pos))
  },
  'ip-prefix': (input, parameters) => {
    const [v4, v6] = parameters.split(', ').map((p) => Number(p.slice(4)))
    const length = parseIp(Buffer.from(input), 0, input.length)
    return written((pos) => length === 4 ? writeIpv4Prefix(ipBytes, 0, v4, out, pos) : writeIpv6Prefix(ipBytes, 0, v6, out, pos))
  },
  'mac-vendor': (input) => {
    const block = Buffer.alloc(16)
    const octets = Buffer.alloc(6)
    if (macInto(Buffer.from(input), 0, input.length, octets, 0)) packBytes(TYPES.mac, octets, 6, new DataView(block.buffer, block.byteOffset), 0)
    return written((pos) => writeMacVendor(block, 0, out, pos))
  },
  'time-bucket': (input, parameters) => String(stepBucket(Number(input), Number(parameters.slice(4)))),
  'number-bucket': (input, parameters) => String(parameters.startsWith('step') ? stepBucket(Number(input), Number(parameters.slice(6))) : boundsBucket(Number(input), Float64Array.from(parameters.slice(8).split(', '), Number))),
}

for (const info of [e164PrefixInfo, ipPrefixInfo, macVendorInfo, timeBucketInfo, numberBucketInfo] as TreatmentInfo[]) {
  t.test(info.kind, (t) => {
    t.ok(info.examples.length > 0 && info.reveals.length > 0 && !info.reversible)
    for (const { input, parameters = '', output } of info.examples) t.equal(apply[info.kind](input, parameters), output, `${input}, ${parameters}`)
    t.end()
  })
}

t.test('at the edges', (t) => {
  const rows: { kind: string; input: string; parameters: string; output: string }[] = [
    { kind: 'e164-prefix', input: '+35312', parameters: 'country', output: '' },
    { kind: 'e164-prefix', input: '+3531234', parameters: 'country', output: '+353' },
    { kind: 'e164-prefix', input: '+447700900123', parameters: 'digits: 11', output: '+44770090' },
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
  for (const { kind, input, parameters, output } of rows) t.equal(apply[kind](input, parameters), output, `${kind} ${input} ${parameters}`)
  t.end()
})
