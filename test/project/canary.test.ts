/**
 * Canaries: numbers, names, addresses and MACs in every field of every kind, through the policy that ships. None may be
 * found in any message, key, quarantine header or error, in any notation.
 *
 * A name as the trunk's name is not among them: a trunk is called what the operator calls it, no shape tells it from a
 * person, and only the legal desk sees it.
 */
import { inspect } from 'node:util'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { Reader } from '../../src/batch/batch.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped, type Kind, KINDS } from '../../src/catalogue/catalogue.js'
import { JsonLinesReader } from '../../src/formats/json-lines.js'
import { builtInMapping } from '../../src/formats/mapping.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { compile } from '../../src/policy/compile.js'
import { loadPolicy } from '../../src/policy/load.js'
import type { Policy } from '../../src/policy/model.js'
import { encodeRecord, FUTURE_MS, NOW, type PlainRecord, TENANTS, TestKeyring } from './generate.js'

const catalogue = shipped()
const { root } = catalogue

const NUMBERS = [
  '+447700900157',
  '00447700900157',
  '07700900157',
  '07700 900 157',
  '(07700) 900-157',
  '447700900157',
  '+12025550157',
  'sip:+447700900157@198.51.100.57',
  'tel:+44-7700-900-157',
  'PJSIP/447700900157-0000001a',
]
const NAMES = [
  'Wanda Canary',
  '"Wanda Canary" <+447700900157>',
  'wanda.canary@example.net',
  'sip:wanda.canary@example.net',
]
const ADDRESSES = [
  '198.51.100.57',
  '198.51.100.57:5060',
  '2001:db8:ca:7a27:ca7a:27ca:7a27:ca57',
  '::ffff:198.51.100.57',
  '[2001:db8:ca:7a27:ca7a:27ca:7a27:ca57]:5061',
]
const MACS = [
  '00:00:5E:00:53:57',
  '00005e005357',
  '0000.5e00.5357',
  '00-00-5e-00-53-57',
  'PolycomVVX-VVX_410-UA/5.9.5.0614 00005e005357',
  'Yealink SIP-T46S 66.85.0.5 00005e005357',
]
/** What was taken for a model, a version or a codec once: names, flats, serial numbers, halves of MAC addresses. */
const DEVICES = [
  'wanda.canary.1984',
  'Flat 57 CA57 7YY',
  'CAN18250ARY',
  '07700x900157',
  'T46S ca57ca',
  'VVX 411 53:57',
  '77.00.90.0157',
  '7700.900.157',
  '44.7700.900.157',
  '00.00.5e.00.53.57',
]
const CANARIES = [...NUMBERS, ...NAMES, ...ADDRESSES, ...MACS, ...DEVICES]

/** What must not be found: text in any case, and bytes. */
const TEXTS = [
  '7700900157',
  '7700 900 157',
  '7700) 900-157',
  '7700-900-157',
  '2025550157',
  '900157',
  'wanda',
  'canary',
  'example.net',
  '198.51.100.57',
  'c6336439',
  '7a27:ca7a',
  'ca7a27ca',
  'ca57',
  '5e:00:53:57',
  '5e005357',
  '5e-00-53-57',
  '5e00.5357',
  '53:57',
  'can18250ary',
  '07700x900157',
  '77.00.90.0157',
  '7700.900',
  '00.00.5e',
]
const BYTES: Buffer[] = ['447700900157', '120255501570', '07700900157f']
  .map((bcd) => Buffer.from(bcd, 'hex'))
  .concat(['c6336439', '20010db800ca7a27ca7a', 'ca7a27ca7a27ca57', '5e005357'].map((h) => Buffer.from(h, 'hex')))
/** Base64 of the canaries at each of its three alignments, the uncertain ends cut off. */
const BASE64 = [
  '+447700900157',
  '447700900157',
  '07700900157',
  'Wanda Canary',
  '198.51.100.57',
  '00:00:5E:00:53:57',
  '00005e005357',
].flatMap((text) =>
  [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), Buffer.from(text)])
      .toString('base64url')
      .slice(shift === 0 ? 0 : 4, -4),
  ),
)

function leaks(bytes: Uint8Array): string[] {
  const buffer = Buffer.from(bytes)
  const text = buffer.toString('latin1')
  const lower = text.toLowerCase()
  return [
    ...TEXTS.filter((x) => lower.includes(x)),
    ...BYTES.filter((x) => buffer.includes(x)).map((x) => x.toString('hex')),
    ...BASE64.filter((x) => text.includes(x) || text.includes(x.replaceAll('-', '+').replaceAll('_', '/'))),
  ]
}

function pipelineOf(policy: Policy, keyring: TestKeyring): Pipeline {
  return new Pipeline(
    { catalogue, plan: compile(policy, catalogue), keyring, tenants: TENANTS, futureMs: FUTURE_MS, now: () => NOW },
    32,
  )
}

/** Everything that leaves, checked; how much there was. */
function check(
  t: Test,
  name: string,
  pipeline: Pipeline,
  reader: Reader,
  bytes: Buffer,
): { out: number; quarantined: number } {
  const arena = Buffer.concat([bytes, Buffer.alloc(4096)])
  const found = pipeline.run({
    reader,
    arena,
    start: 0,
    end: bytes.length,
    scratchStart: bytes.length,
    last: true,
    tenant: 'default',
  })
  const seen = new Set<string>()
  let quarantined = 0
  for (let i = 0; i < found.count; i++) {
    const value = found.bytes.subarray(found.valueOff[i], found.valueOff[i] + found.valueLen[i])
    const topic = found.topics[found.topic[i]]
    if (topic === 'minim.quarantine') quarantined++
    // Reversible long tokens and sealed input are random bytes: of short patterns they would hold some by chance, so
    // those are left out.
    const random = topic === 'minim.quarantine' ? value.subarray(0, 3 + ((value[1] << 8) | value[2])) : value
    for (const leak of leaks(random)) seen.add(`${topic}: ${leak}`)
    for (const leak of leaks(found.bytes.subarray(found.keyOff[i], found.keyOff[i] + found.keyLen[i])))
      seen.add(`${topic} key: ${leak}`)
  }
  for (const leak of leaks(Buffer.from(JSON.stringify([found.outcome, found.headers])))) seen.add(`outcome: ${leak}`)
  t.strictSame([...seen], [], name)
  return { out: found.count - quarantined, quarantined }
}

const policy = loadPolicy()
const asJson: Policy = {
  ...policy,
  purposes: policy.purposes.map((p) => ({
    ...p,
    kinds: Object.fromEntries(
      Object.entries(p.kinds).map(([k, r]) => [k, { ...r, format: 'json' as const, headers: true }]),
    ),
  })),
}
const usable = (kind: Kind): string[] =>
  catalogue.kinds[kind].fields.filter((f) => f.derivedFrom === null && f.type === 'string').map((f) => f.name)
const trunkName = (field: string, canary: string): boolean =>
  field === 'trunk' && (NAMES.includes(canary) || DEVICES.includes(canary))

/**
 * A record for each field and canary, and one for each canary in all fields at once; undeclared and derived fields hold
 * it as well.
 */
function records(kind: Kind): PlainRecord[] {
  const fields = usable(kind)
  return CANARIES.flatMap((canary) => [
    ...fields.filter((f) => !trunkName(f, canary)).map((f) => ({ start_ms: NOW - 1000, [f]: canary })),
    {
      start_ms: NOW - 1000,
      ...Object.fromEntries(fields.filter((f) => f !== 'tenant' && !trunkName(f, canary)).map((f) => [f, canary])),
    },
  ])
}

function withStrangers(bytes: Buffer, canary: string): Buffer {
  const text = Buffer.from(canary)
  // Field 200, the derived field 34 or 48, and the tag.
  return Buffer.concat([
    bytes,
    ...[[0xc2, 0x0c], [0x92, 0x02], [0x82, 0x03], [0x7a]].map((tag) =>
      Buffer.concat([Buffer.from([...tag, text.length]), text]),
    ),
  ])
}

const NUMBER: Record<Kind, number> = { call: 4, quality: 5, device: 6 }
function batchOf(kind: Kind, list: readonly Buffer[]): Buffer {
  return Buffer.concat(
    list.flatMap((b) => [
      Buffer.from(
        b.length < 128
          ? [NUMBER[kind] * 8 + 2, b.length]
          : [NUMBER[kind] * 8 + 2, (b.length & 127) | 128, b.length >> 7],
      ),
      b,
    ]),
  )
}

for (const [format, p] of [
  ['protobuf', policy],
  ['json', asJson],
] as const) {
  for (const kind of KINDS) {
    t.test(`${kind} records, ${format} out`, (t) => {
      const list = records(kind)
      const encoded = list.map((r, i) =>
        withStrangers(encodeRecord(root, catalogue, kind, r), CANARIES[i % CANARIES.length]),
      )
      const all = check(
        t,
        'protobuf in',
        pipelineOf(p, new TestKeyring()),
        new ProtobufReader(catalogue, 'whole'),
        batchOf(kind, encoded),
      )
      t.ok(all.out > 100, `${all.out} messages`)
      t.ok(all.quarantined >= CANARIES.length, 'unknown tenants are refused')
      const lines = Buffer.from(
        list
          .map((r, i) =>
            JSON.stringify({ ...r, [`unknown ${CANARIES[i % CANARIES.length]}`]: CANARIES[i % CANARIES.length] }),
          )
          .join('\n'),
      )
      check(
        t,
        'JSON Lines in',
        pipelineOf(p, new TestKeyring()),
        new JsonLinesReader(builtInMapping('minim', catalogue, { kind }), catalogue),
        lines,
      )
      t.end()
    })
  }
}

t.test('random identifiers in what a device says of itself, and in numbers, leave by no topic', (t) => {
  const digit = fc.constantFrom(...Array.from('0123456789'))
  const digits = (least: number, most: number): fc.Arbitrary<string> =>
    fc.array(digit, { minLength: least, maxLength: most }).map((all) => all.join(''))
  const split = (text: string, sizes: readonly number[], separator: string): string => {
    const groups: string[] = []
    for (let at = 0, i = 0; at < text.length; i++) groups.push(text.slice(at, (at += sizes[i % sizes.length])))
    return groups.join(separator)
  }
  const separator = fc.constantFrom('.', '-', '_', ' ', '', '/', ':')
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })
  // Of ten digits and more: what is shorter can be a version to the letter, as docs/devices.md says.
  const number = fc.tuple(digits(10, 13), sizes, separator).map(([text, by, between]) => split(text, by, between))
  const hex = fc.array(fc.constantFrom(...Array.from('0123456789abcdef')), { minLength: 12, maxLength: 12 })
  const mac = fc.tuple(hex, sizes, separator).map(([text, by, between]) => split(text.join(''), by, between))
  const octet = fc.integer({ min: 0, max: 255 })
  const network = fc.constantFrom('192.0.2', '198.51.100', '203.0.113', '192.168.7', '172.16.0', '10.20.30')
  const ip = fc.tuple(network, octet).map((octets) => octets.join('.'))
  const letters = (least: number, most: number): fc.Arbitrary<string> =>
    fc
      .array(fc.constantFrom(...Array.from('BCDFGHJKLQZ')), { minLength: least, maxLength: most })
      .map((all) => all.join(''))
  const serial = fc.tuple(letters(3, 3), digits(4, 4), letters(1, 4)).map((parts) => parts.join(''))
  const name = fc.tuple(letters(3, 8), letters(4, 9)).map((parts) => parts.join('.'))
  const flat = fc
    .tuple(digits(1, 3), letters(2, 2), digits(3, 3), letters(2, 2))
    .map((parts) => `Flat ${parts.join(' ')}`)
  const secret = fc.oneof(number, mac, ip, serial, name, flat)
  const before = fc.constantFrom('', 'T46S ', 'Yealink ', 'VVX 411-', 'PCMA/', 'v')
  const fields = ['vendor', 'model', 'firmware', 'os', 'user_agent', 'codec', 'browser', 'network', 'wireless']
  fc.assert(
    fc.property(secret, before, fc.constantFrom(...fields), fc.constantFrom(...KINDS), (value, head, field, kind) => {
      if (!catalogue.kinds[kind].byName.has(field)) return
      const bytes = batchOf(kind, [
        encodeRecord(root, catalogue, kind, { start_ms: NOW - 1000, [field]: head + value }),
      ])
      const found = pipelineOf(asJson, new TestKeyring()).run({
        reader: new ProtobufReader(catalogue, 'whole'),
        arena: bytes,
        start: 0,
        end: bytes.length,
        scratchStart: bytes.length,
        last: true,
        tenant: 'default',
      })
      for (let i = 0; i < found.count; i++) {
        const text = Buffer.from(
          found.bytes.subarray(found.valueOff[i], found.valueOff[i] + found.valueLen[i]),
        ).toString('latin1')
        const record = JSON.parse(text) as Record<string, unknown>
        // Tokens are random characters; what is shown are the other parts.
        const shown = ['vendor', 'model', 'firmware', 'os', 'codec', 'device_vendor', 'device_model', 'device_firmware']
        for (const part of shown) {
          const written = record[part]
          if (typeof written !== 'string' || written === 'other') continue
          const squeezed = (of: string): string => of.toLowerCase().replace(/[^a-z0-9]/g, '')
          if (squeezed(value).length >= 4 && squeezed(written).includes(squeezed(value)))
            throw new Error(`${part} shows a ${field}`)
          if (part.endsWith('firmware') && !head.startsWith('Yealink') && !head.startsWith('VVX'))
            throw new Error('a version was made of an identifier')
        }
      }
    }),
    { numRuns: 1500 },
  )
  t.end()
})

t.test('numbers outside of what their field can hold are no numbers', (t) => {
  const rows: { kind: Kind; field: string; value: number; kept: boolean }[] = [
    { kind: 'call', field: 'hangup_cause', value: 16, kept: true },
    { kind: 'call', field: 'hangup_cause', value: 0, kept: false },
    { kind: 'call', field: 'hangup_cause', value: 128, kept: false },
    { kind: 'call', field: 'hangup_cause', value: 900157, kept: false },
    { kind: 'call', field: 'end_ms', value: NOW - 30 * 86_400_000, kept: false },
    { kind: 'call', field: 'duration_seconds', value: 2_025_550_157, kept: false },
    { kind: 'call', field: 'usage_octets', value: 447700900157, kept: false },
    { kind: 'quality', field: 'mos_lq', value: 4.25, kept: true },
    { kind: 'quality', field: 'mos_lq', value: 0.5, kept: false },
    { kind: 'quality', field: 'mos_cq', value: 5.5, kept: false },
    { kind: 'quality', field: 'r_factor', value: 93, kept: true },
    { kind: 'quality', field: 'r_factor', value: 121, kept: false },
    { kind: 'quality', field: 'loss_percent', value: 100, kept: true },
    { kind: 'quality', field: 'loss_percent', value: 100.5, kept: false },
    { kind: 'quality', field: 'jitter_ms', value: 900157, kept: false },
    { kind: 'quality', field: 'round_trip_ms', value: -1, kept: false },
    { kind: 'quality', field: 'packets_sent', value: 3000, kept: true },
    { kind: 'quality', field: 'packets_sent', value: 447700900157, kept: false },
    { kind: 'device', field: 'contact_port', value: 5060, kept: true },
    { kind: 'device', field: 'contact_port', value: 900157, kept: false },
    { kind: 'device', field: 'expires_seconds', value: 2_025_550_157, kept: false },
  ]
  for (const { kind, field, value, kept } of rows) {
    const bytes = batchOf(kind, [encodeRecord(root, catalogue, kind, { start_ms: NOW - 1000, [field]: value })])
    const found = pipelineOf(asJson, new TestKeyring()).run({
      reader: new ProtobufReader(catalogue, 'whole'),
      arena: bytes,
      start: 0,
      end: bytes.length,
      scratchStart: bytes.length,
      last: true,
      tenant: 'default',
    })
    const shown = Array.from(
      { length: found.count },
      (_, i) =>
        (
          JSON.parse(
            Buffer.from(found.bytes.subarray(found.valueOff[i], found.valueOff[i] + found.valueLen[i])).toString(
              'latin1',
            ),
          ) as Record<string, unknown>
        )[field] !== undefined,
    )
    t.equal(shown.includes(true), kept, `${field} ${value}`)
    t.equal(found.outcome.unsafeFields, kept ? 0 : 1, 'counted')
  }
  t.end()
})

t.test('through every refusal', (t) => {
  const canary = encodeRecord(root, catalogue, 'call', {
    calling: NUMBERS[0],
    calling_name: NAMES[0],
    source_ip: ADDRESSES[0],
    mac: MACS[0],
    account: NUMBERS[2],
    start_ms: NOW,
  })
  const wrong: { name: string; bytes: Buffer; refused: number }[] = [
    { name: 'cut', bytes: batchOf('call', [canary.subarray(0, canary.length - 3)]), refused: 1 },
    { name: 'not UTF-8', bytes: batchOf('call', [Buffer.concat([canary, Buffer.from([0x2a, 1, 0xff])])]), refused: 0 },
    {
      name: 'bad value',
      bytes: batchOf('call', [Buffer.concat([canary, Buffer.from([0x60, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])])]),
      refused: 1,
    },
    { name: 'no start', bytes: batchOf('call', [Buffer.concat([canary, Buffer.from([0x48, 0])])]), refused: 1 },
    {
      name: 'envelope',
      bytes: Buffer.concat([batchOf('call', [canary]), Buffer.from([0x22, 0x7f]), Buffer.from(NUMBERS[0])]),
      refused: 1,
    },
    { name: 'nonsense', bytes: Buffer.from(CANARIES.join('\n')), refused: 1 },
  ]
  for (const { name, bytes, refused } of wrong)
    t.equal(
      check(t, name, pipelineOf(policy, new TestKeyring()), new ProtobufReader(catalogue, 'whole'), bytes).quarantined,
      refused,
      name,
    )
  const destroyed = new TestKeyring(policy.purposes.map((p) => `${p.id} contract`))
  t.equal(
    check(
      t,
      'destroyed key',
      pipelineOf(policy, destroyed),
      new ProtobufReader(catalogue, 'whole'),
      batchOf('call', [canary]),
    ).quarantined,
    0,
    'withheld where a key is gone',
  )
  const json = new JsonLinesReader(builtInMapping('minim', catalogue, { kind: 'call' }), catalogue)
  t.equal(
    check(
      t,
      'JSON',
      pipelineOf(policy, new TestKeyring()),
      json,
      Buffer.from(
        `${CANARIES.join('\n')}\n{"calling":{"x":"${NUMBERS[0]}"}}\n{"calling":"${NUMBERS[0]}","duration_seconds":"${NUMBERS[0]}"}`,
      ),
    ).quarantined,
    CANARIES.length + 2,
  )
  t.end()
})

t.test('errors', (t) => {
  const failing = new TestKeyring()
  failing.keys = () => {
    throw new Error('the key store cannot be read')
  }
  const bytes = batchOf(
    'call',
    records('call').map((r) => encodeRecord(root, catalogue, 'call', r)),
  )
  try {
    pipelineOf(policy, failing).run({
      reader: new ProtobufReader(catalogue, 'whole'),
      arena: bytes,
      start: 0,
      end: bytes.length,
      scratchStart: bytes.length,
      last: true,
      tenant: 'default',
    })
    t.fail('must throw')
  } catch (error) {
    t.strictSame(leaks(Buffer.from(inspect(error, { depth: 9 }).replaceAll('canary.test', ''))), [])
  }
  t.end()
})

t.test('the search finds what it looks for', (t) => {
  for (const canary of CANARIES) {
    for (const form of [canary, Buffer.from(canary).toString('base64')]) {
      if (form === canary) t.ok(leaks(Buffer.from(`x${form}`)).length > 0, form)
    }
  }
  t.ok(leaks(Buffer.from(`xx${Buffer.from('x+447700900157').toString('base64url')}`)).length > 0)
  t.ok(leaks(Buffer.from('000000447700900157', 'hex')).length > 0, 'BCD')
  t.end()
})
