/** Kept texts: closed shapes, so that no name or number leaves as a codec, a model or a vendor. */
import t from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { BLOCK_BYTES, SLOT, unpack } from '../../src/batch/block.js'
import { catalogue as shipped, type Kind } from '../../src/catalogue/catalogue.js'
import { isCodec } from '../../src/normalise/codec.js'
import { Normalised, Tenants } from '../../src/normalise/normalise.js'
import { TENANTS } from '../project/generate.js'

const catalogue = shipped()

for (const name of [
  'PCMU',
  'PCMA',
  'pcma',
  'G.711 A-Law',
  'opus/48000/2',
  'G722',
  'G.729a',
  'ulaw',
  'slin16',
  'telephone-event/8000',
  'AMR-WB',
  'iLBC',
  'VP8',
  'H264/90000',
])
  t.ok(isCodec(name), name)
for (const name of [
  '',
  'Alice',
  'alice smith',
  '07700900123',
  'PCMU/07700',
  'PCMU/8000/07700900123',
  '192.0.2.1',
  'PCMA alice',
  'a'.repeat(100),
])
  t.notOk(isCodec(name), JSON.stringify(name))

t.test('what a device says of itself', (t) => {
  const kind = catalogue.kinds.device
  const rows: { field: string; value: string; kept: boolean }[] = [
    { field: 'model', value: 'SIP-T46S', kept: true },
    { field: 'model', value: 'Wanda Canary', kept: false },
    { field: 'model', value: 'VVX 410 0004f2abcdef', kept: false },
    { field: 'vendor', value: 'yealink', kept: true },
    { field: 'vendor', value: 'Wanda', kept: false },
    { field: 'vendor', value: 'Yealink 07700900123', kept: false },
    { field: 'firmware', value: '66.85.0.5', kept: true },
    { field: 'firmware', value: '192.0.2.1', kept: false },
    { field: 'firmware', value: 'Wanda 1', kept: false },
    { field: 'tenant', value: 'default', kept: true },
    { field: 'tenant', value: 'x"y', kept: false },
  ]
  for (const { field, value, kept } of rows) {
    const batch = new Batch(catalogue, 4)
    const arena = Buffer.from(value)
    batch.reset(arena)
    const columns = batch.columns.device
    const found = kind.byName.get(field)
    if (found === undefined) throw new Error(field)
    columns.off[columns.begin() + found.index] = 0
    columns.len[columns.begin() + found.index] = arena.length
    columns.commit(0, arena.length)
    const normalised = new Normalised(
      { kind, identifiers: [], userAgent: -1, texts: [found.index] },
      new Tenants(TENANTS),
      4,
    )
    normalised.run(arena, columns, 0)
    t.equal(columns.off[found.index] >= 0, kept, `${field}: ${value}`)
    t.equal(normalised.unsafe, kept ? 0 : 1, 'counted')
  }
  t.end()
})

/** One record's identifier, as it is packed; null where there is none. */
function identifierOf(kind: Kind, field: string, record: Readonly<Record<string, string>>): string | null {
  const fields = catalogue.kinds[kind]
  const batch = new Batch(catalogue, 4)
  const arena = Buffer.from(Object.values(record).join(''))
  batch.reset(arena)
  const columns = batch.columns[kind]
  const cell = columns.begin()
  let at = 0
  for (const [name, value] of Object.entries(record)) {
    const { index } = fields.byName.get(name)!
    columns.off[cell + index] = at
    at += columns.len[cell + index] = Buffer.byteLength(value)
  }
  columns.commit(0, arena.length)
  const normalised = new Normalised(
    {
      kind: fields,
      identifiers: [fields.byName.get(field)!],
      userAgent: fields.byName.get('user_agent')!.index,
      texts: [],
    },
    new Tenants(TENANTS),
    4,
  )
  normalised.run(arena, columns, 0)
  switch (normalised.slots[0]) {
    case SLOT.block:
      return unpack(normalised.blocks.subarray(0, BLOCK_BYTES))!.text
    case SLOT.long:
      return unpack(normalised.long.subarray(normalised.longOff[0], normalised.longOff[0] + normalised.longLen[0]))!
        .text
    case SLOT.uuid:
      return normalised.blocks.toString('hex', 0, BLOCK_BYTES)
    default:
      return null
  }
}

t.test('a MAC address or serial number in the User-Agent is taken out of it, where the record has none', (t) => {
  const agent = 'Yealink SIP-T46S 66.85.0.5 00-00-5E-00-53-04'
  for (const kind of ['call', 'quality', 'device'] as const) {
    t.equal(identifierOf(kind, 'mac', { user_agent: agent }), '00:00:5e:00:53:04', kind)
    t.equal(
      identifierOf(kind, 'mac', { user_agent: agent, mac: '0000.5e00.5399' }),
      '00:00:5e:00:53:99',
      `${kind}: its own goes first`,
    )
    t.equal(
      identifierOf(kind, 'mac', { user_agent: agent, mac: 'none' }),
      '00:00:5e:00:53:04',
      `${kind}: what is none does not count`,
    )
    t.equal(identifierOf(kind, 'mac', { user_agent: 'Yealink SIP-T46S 66.85.0.5' }), null, `${kind}: none at all`)
  }
  t.equal(
    identifierOf('device', 'serial', { user_agent: 'Cisco/SPA504G-7.5.7 (CCQ182502JZ)' }),
    'CCQ182502JZ',
    'longer than a block',
  )
  t.equal(identifierOf('device', 'serial', { user_agent: 'TAU-8.IP/2.6.3 SN/VI12345678' }), 'VI12345678')
  t.equal(identifierOf('device', 'serial', { user_agent: 'TAU-8.IP/2.6.3 SN/VI12345678', serial: 'X-1' }), 'X-1')
  t.equal(identifierOf('device', 'serial', { user_agent: 'Yealink SIP-T46S 66.85.0.5' }), null)
  t.end()
})

t.test('a Call-ID is the same however a source quotes it', (t) => {
  for (const kind of ['call', 'quality'] as const) {
    const plain = identifierOf(kind, 'call_id', { call_id: 'a84b4c76e66710@pc33.example' })
    t.equal(plain, 'a84b4c76e66710@pc33.example')
    for (const text of [
      ' a84b4c76e66710@pc33.example',
      'a84b4c76e66710@pc33.example\r\n',
      '<a84b4c76e66710@pc33.example>',
      '"a84b4c76e66710@pc33.example"',
    ]) {
      t.equal(identifierOf(kind, 'call_id', { call_id: text }), plain, JSON.stringify(text))
    }
    // RFC 3261 §8.1.1.4: Call-IDs are compared byte by byte.
    t.not(identifierOf(kind, 'call_id', { call_id: 'A84B4C76E66710@pc33.example' }), plain)
    t.equal(
      identifierOf(kind, 'call_id', { call_id: '<3C7A1C9A-9E8B-4C9C-8C5D-7F0E2A1B3C4D>' }),
      identifierOf(kind, 'call_id', { call_id: '3c7a1c9a-9e8b-4c9c-8c5d-7f0e2a1b3c4d' }),
      'a UUID is one in either case',
    )
    t.equal(identifierOf(kind, 'call_id', { call_id: ' <> ' }), null)
  }
  t.end()
})
