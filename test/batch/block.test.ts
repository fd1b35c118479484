/** Packing is injective: no two identifiers share a block or a long form, and each can be read back. */
import fc from 'fast-check'
import t from 'tap'
import {
  BLOCK_BYTES,
  type BlockType,
  longLength,
  packBytes,
  packE164,
  packLong,
  packText,
  packUuid,
  TYPES,
  unpack,
} from '../../src/batch/block.js'
import { seed } from '../project/generate.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)

interface Identifier {
  readonly type: BlockType
  readonly tenant: number
  readonly text: string
}

function pack({ type, tenant, text }: Identifier): Uint8Array {
  const view = new DataView(new ArrayBuffer(BLOCK_BYTES + 8).slice(0))
  for (let i = 0; i < view.byteLength; i++) view.setUint8(i, 0xa5)
  const bytes = Buffer.from(text)
  const block = (): Uint8Array => {
    for (const i of [0, 1, 2, 3, 20, 21, 22, 23])
      if (view.getUint8(i) !== 0xa5) throw new Error('wrote outside its block')
    return new Uint8Array(view.buffer, 4, BLOCK_BYTES)
  }
  if (type === 'e164') {
    const digits = Buffer.from(text.slice(1))
    const prefix = digits.length > 3 ? text.slice(1, 1 + (tenant % 4)) : ''
    packE164(prefix, digits, prefix.length, digits.length - prefix.length, view, 4)
    return block()
  }
  if (type === 'ipv4' || type === 'mac') {
    packBytes(
      TYPES[type],
      Buffer.from(type === 'ipv4' ? text.split('.').map(Number) : text.split(':').map((o) => parseInt(o, 16))),
      type === 'ipv4' ? 4 : 6,
      view,
      4,
    )
    return block()
  }
  if (packText(TYPES[type], tenant, bytes, 0, bytes.length, view, 4)) return block()
  const long = new Uint8Array(longLength(bytes.length))
  packLong(TYPES[type], tenant, bytes, 0, bytes.length, long, 0)
  return long
}

const everywhere = (i: Identifier): boolean => i.type === 'e164' || i.type === 'ipv4' || i.type === 'mac'
const nameOf = (i: Identifier): string => `${i.type} ${everywhere(i) ? 0 : i.tenant} ${i.text}`

const tenant = fc.constantFrom(1, 2, 0x01000000, 0x7fffffff, 0x80000000, 0xffffffff)
const digits = (min: number, max: number): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...Array.from('0123456789')), { minLength: min, maxLength: max }).map((a) => a.join(''))
const symbols = fc.array(fc.constantFrom(...Array.from('0123456789.-+:*')), { maxLength: 24 }).map((a) => a.join(''))
const text = fc.oneof(
  symbols,
  digits(0, 22),
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.string({ unit: 'binary', minLength: 9, maxLength: 12 }),
  fc.array(fc.constantFrom('\0', 'a'), { maxLength: 12 }).map((a) => a.join('')),
)
const identifier: fc.Arbitrary<Identifier> = fc.oneof(
  fc.tuple(tenant, digits(1, 15)).map(([tenant, d]) => ({ type: 'e164' as const, tenant, text: `+${d}` })),
  fc.tuple(tenant, fc.ipV4()).map(([tenant, text]) => ({ type: 'ipv4' as const, tenant, text })),
  fc.tuple(tenant, fc.uint8Array({ minLength: 6, maxLength: 6 })).map(([tenant, b]) => ({
    type: 'mac' as const,
    tenant,
    text: Buffer.from(b)
      .toString('hex')
      .replace(/(..)(?=.)/g, '$1:'),
  })),
  fc.record({
    type: fc.constantFrom(
      'local' as const,
      'account' as const,
      'call' as const,
      'serial' as const,
      'trunk' as const,
      'uri' as const,
    ),
    tenant,
    text,
  }),
)

t.test('read back', (t) => {
  fc.assert(
    fc.property(identifier, (i) => {
      const found = unpack(pack(i))
      if (found === null) throw new Error('null')
      if (
        found.type !== i.type ||
        found.text !== i.text ||
        found.generation !== 0 ||
        found.tenant !== (everywhere(i) ? 0 : i.tenant)
      )
        throw new Error(`${found.type} ${found.text}`)
    }),
    { seed: SEED, numRuns: 5000 },
  )
  t.pass('5000 runs')
  t.end()
})

t.test('different identifiers, different bytes; the same identifier, the same bytes', (t) => {
  const seen = new Map<string, string>()
  fc.assert(
    fc.property(fc.array(identifier, { minLength: 2, maxLength: 40 }), (list) => {
      for (const i of list) {
        const bytes = Buffer.from(pack(i)).toString('hex')
        const other = seen.get(bytes)
        if (other !== undefined && other !== nameOf(i)) throw new Error(`${other} and ${nameOf(i)} share ${bytes}`)
        seen.set(bytes, nameOf(i))
      }
      if (new Set(list.map(nameOf)).size !== new Set(list.map((i) => Buffer.from(pack(i)).toString('hex'))).size)
        throw new Error('an identifier has two forms')
    }),
    { seed: SEED, numRuns: 1000 },
  )
  t.pass('1000 runs')
  t.end()
})

t.test('forms', (t) => {
  const rows: { name: string; input: Identifier; hex: string }[] = [
    {
      name: 'E.164',
      input: { type: 'e164', tenant: 1, text: '+447700900123' },
      hex: '1c000000000044770090012300000000',
    },
    {
      name: 'E.164, 15 digits',
      input: { type: 'e164', tenant: 1, text: '+447700900123456' },
      hex: '1f000000000044770090012345600000',
    },
    {
      name: 'IPv4',
      input: { type: 'ipv4', tenant: 1, text: '192.0.2.1' },
      hex: '340000000000c0000201000000000000'.replace(/^3/, '4'),
    },
    {
      name: 'extension',
      input: { type: 'local', tenant: 0x01020304, text: '1001' },
      hex: '24000102030431303031000000000000',
    },
    {
      name: 'Asterisk unique id',
      input: { type: 'call', tenant: 1, text: '1767225845.123' },
      hex: '6f000000000117672258' + '45a123ffffff',
    },
    {
      name: 'long',
      input: { type: 'uri', tenant: 1, text: 'a@host.example' },
      hex: '9e0000000001' + Buffer.from('a@host.example').toString('hex'),
    },
  ]
  for (const { name, input, hex } of rows) t.equal(Buffer.from(pack(input)).toString('hex'), hex, name)
  t.end()
})

t.test('bytes that nothing packs are nothing: a block under the wrong key does not pass for an identifier', (t) => {
  let passed = 0
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      if (unpack(bytes)?.generation === 0) passed++
    }),
    { seed: SEED, numRuns: 20_000 },
  )
  t.ok(passed < 20, `${passed} of 20,000 random blocks`)
  for (const hex of [
    '',
    '00',
    '1c000000000044770090012300000001',
    '1c000000010044770090012300000000',
    '10000000000000000000000000000000',
    '2f0000000001123fffffffffffffffff',
    '2e000000000131303031000000000000',
    '45000000000000000000000000000000',
    '2b000000000131303031000000000000',
    '22000000000131303100000000000000',
    '21000000000180000000000000000000',
  ])
    t.equal(unpack(Buffer.from(hex, 'hex')), null, hex)
  t.end()
})

t.test('UUIDs in either case are the same 16 bytes; nothing else is one', (t) => {
  const view = new DataView(new ArrayBuffer(16))
  fc.assert(
    fc.property(fc.uuid(), (u) => {
      for (const form of [u, u.toUpperCase()]) {
        const bytes = Buffer.from(`x${form}x`)
        if (!packUuid(bytes, 1, 36, view, 0)) throw new Error('no UUID')
        if (Buffer.from(view.buffer).toString('hex') !== u.replaceAll('-', '')) throw new Error('other bytes')
      }
    }),
    { seed: SEED },
  )
  for (const wrong of [
    '',
    '00000000-0000-0000-0000-00000000000',
    '00000000-0000-0000-0000-0000000000000',
    '00000000x0000-0000-0000-000000000000',
    '00000000-0000-0000-0000-00000000000g',
    '000000000-000-0000-0000-000000000000',
  ]) {
    t.notOk(packUuid(Buffer.from(wrong), 0, wrong.length, view, 0), wrong)
  }
  t.end()
})
