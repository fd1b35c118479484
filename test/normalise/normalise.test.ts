/** Kept texts: closed shapes, so that no name or number leaves as a codec, a model or a vendor. */
import t from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { BLOCK_BYTES, SLOT, unpack } from '../../src/batch/block.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped, type Field, type Kind, type KindCatalogue } from '../../src/catalogue/catalogue.js'
import { DEVICE_PARTS, type OwnModels } from '../../src/flow/device-parts.js'
import { codecOf, CODECS } from '../../src/normalise/codec.js'
import { DeviceReader } from '../../src/normalise/device-reader.js'
import { Normalised, Tenants } from '../../src/normalise/normalise.js'
import { deviceNames } from '../../src/normalise/user-agent.js'
import { given } from '../helpers/given.js'
import { TENANTS } from '../project/generate.js'

const catalogue = shipped()

for (const [spelling, name] of [
  ['PCMU', 'PCMU'],
  ['ulaw', 'PCMU'],
  ['G.711 µ-law', 'PCMU'],
  ['g711u', 'PCMU'],
  ['PCMA', 'PCMA'],
  ['pcma', 'PCMA'],
  ['PCMA/8000', 'PCMA'],
  ['PCMA/8000/1', 'PCMA'],
  ['G.711 A-Law', 'PCMA'],
  ['G711A', 'PCMA'],
  ['alaw', 'PCMA'],
  ['8', 'PCMA'],
  ['PCMA@8000h@20i@64000b', 'PCMA'],
  ['CORE_PCM_MODULE.PCMA@8000h@20i@64000b', 'PCMA'],
  ['G722', 'G722'],
  ['G722/8000', 'G722'],
  ['mod_spandsp.G722@8000h@20i@64000b', 'G722'],
  ['G722.1', 'G7221'],
  ['Siren7', 'G7221'],
  ['G722.1C', 'G7221C'],
  ['G7221C/32000', 'G7221C'],
  ['siren14', 'G7221C'],
  ['G.723.1', 'G723'],
  ['G726-32/8000', 'G726-32'],
  ['AAL2-G726-32', 'G726-32'],
  ['g729', 'G729'],
  ['G.729a', 'G729'],
  ['G729 Annex B', 'G729'],
  ['gsm', 'GSM'],
  ['opus/48000/2', 'opus'],
  ['opus@48000h@20i@1c', 'opus'],
  ['OPUS', 'opus'],
  ['slin', 'L16'],
  ['slin16', 'L16'],
  ['L16/44100/2', 'L16'],
  ['telephone-event/8000', 'telephone-event'],
  ['AMR-WB', 'AMR-WB'],
  ['iLBC', 'iLBC'],
  ['SILK/24000', 'SILK'],
  ['VP8', 'VP8'],
  ['H264/90000', 'H264'],
  ['', 'other'],
  ['Alice', 'other'],
  ['alice smith', 'other'],
  ['07700900123', 'other'],
  ['PCMU/07700', 'other'],
  ['PCMU/8000/07700900123', 'other'],
  ['192.0.2.1', 'other'],
  ['PCMA alice', 'other'],
  ['99', 'other'],
  ['CCQ18250ABC', 'other'],
  ['a'.repeat(100), 'other'],
])
  t.equal(codecOf(spelling), name, JSON.stringify(spelling))
t.equal(new Set(CODECS).size, CODECS.length, 'each name stands once')

/** What the parts of a device are told as: what is given, and what a User-Agent says. */
function deviceOf(record: Readonly<Record<string, string>>, own: OwnModels = {}): Record<string, string | number> {
  const kind = catalogue.kinds.device
  const arena = Buffer.from(Object.values(record).join(''))
  const batch = new Batch(catalogue, 4)
  batch.reset(arena)
  const columns = batch.columns.device
  const cell = columns.begin()
  let at = 0
  for (const [name, value] of Object.entries(record)) {
    const index = fieldOf(kind, name).index
    columns.off[cell + index] = at
    at += columns.len[cell + index] = Buffer.byteLength(value)
  }
  columns.commit(0, arena.length)
  const reader = new DeviceReader(deviceNames(own), 4)
  const given = DEVICE_PARTS.map((part) => fieldOf(kind, part).index)
  const refused = reader.run(arena, columns, fieldOf(kind, 'user_agent').index, given)
  const parts = reader.parts[reader.rows[0]]
  return {
    refused,
    ...Object.fromEntries(
      DEVICE_PARTS.map((part): [string, string] => [part, Buffer.from(parts[part]).toString()]).filter(
        ([, text]) => text !== '',
      ),
    ),
  }
}

function fieldOf(kind: KindCatalogue, name: string): Field {
  const found = kind.byName.get(name)
  if (found === undefined) throw new Error(name)
  return found
}

t.test('what a device says of itself', (t) => {
  const rows: { record: Record<string, string>; expected: Record<string, string | number> }[] = [
    { record: { model: 'SIP-T46S' }, expected: { refused: 0, model: 'T46S', vendor: '', firmware: '' } },
    { record: { model: 'Yealink SIP-T46S' }, expected: { refused: 0, model: 'T46S' } },
    { record: { model: 'vvx411' }, expected: { refused: 0, model: 'VVX 411' } },
    { record: { vendor: 'Snom', model: 'snom 370' }, expected: { refused: 0, vendor: 'Snom', model: '370' } },
    { record: { vendor: 'Algo', model: '8186' }, expected: { refused: 0, vendor: 'Algo', model: '8186' } },
    { record: { model: '8186' }, expected: { refused: 1, model: 'other' } },
    { record: { model: 'Wanda Canary' }, expected: { refused: 1, model: 'other' } },
    { record: { model: 'john.smith.1984' }, expected: { refused: 1, model: 'other' } },
    { record: { model: 'Flat 3 SW1A 1AA' }, expected: { refused: 1, model: 'other' } },
    { record: { model: 'CCQ18250ABC' }, expected: { refused: 1, model: 'other' } },
    { record: { model: 'FCH1825A0BC' }, expected: { refused: 1, model: 'other' } },
    { record: { model: '07700x900457' }, expected: { refused: 1, model: 'other' } },
    {
      record: { vendor: 'Yealink', model: 'T46S a1b2c3' },
      expected: { refused: 1, vendor: 'Yealink', model: 'other' },
    },
    { record: { model: 'VVX 410 0004f2abcdef' }, expected: { refused: 1, model: 'other' } },
    { record: { vendor: 'yealink' }, expected: { refused: 0, vendor: 'Yealink' } },
    { record: { vendor: 'Polycom' }, expected: { refused: 0, vendor: 'Poly' } },
    { record: { vendor: 'Cisco Systems, Inc.' }, expected: { refused: 0, vendor: 'Cisco' } },
    { record: { vendor: 'Wanda' }, expected: { refused: 1, vendor: 'other' } },
    { record: { vendor: 'Yealink 07700900123' }, expected: { refused: 1, vendor: 'other' } },
    { record: { vendor: 'Yealink', firmware: '66.85.0.5' }, expected: { refused: 0, firmware: '66.85.0.5' } },
    { record: { model: 'T46S', firmware: '66.85.0.5' }, expected: { refused: 0, firmware: '66.85.0.5' } },
    { record: { firmware: '66.85.0.5' }, expected: { refused: 1, firmware: 'other' } },
    { record: { vendor: 'snom', firmware: '10.1.73.15' }, expected: { refused: 0, firmware: '10.1.73.15' } },
    { record: { vendor: 'Cisco', firmware: '10.1.73.15' }, expected: { refused: 1, firmware: 'other' } },
    { record: { firmware: '1.10.4' }, expected: { refused: 0, firmware: '1.10.4' } },
    { record: { firmware: '192.0.2.1' }, expected: { refused: 1, firmware: 'other' } },
    { record: { firmware: 'Wanda 1' }, expected: { refused: 1, firmware: 'other' } },
    { record: { os: 'android 14' }, expected: { refused: 0, os: 'Android 14' } },
    { record: { os: 'Windows-PC-of-Anna' }, expected: { refused: 1, os: 'other' } },
    { record: { os: '192.0.2.1' }, expected: { refused: 1, os: 'other' } },
    { record: { model: 'x'.repeat(65) }, expected: { refused: 1, model: 'other' } },
    {
      record: { user_agent: 'Yealink SIP-T46S 66.85.0.5', model: 'john.smith.1984' },
      expected: { refused: 1, vendor: 'Yealink', model: 'T46S', firmware: '66.85.0.5' },
    },
    {
      record: { user_agent: 'Anna Example', firmware: '1.2.3' },
      expected: { refused: 0, vendor: 'other', model: 'other', firmware: '1.2.3' },
    },
  ]
  for (const { record, expected } of rows) {
    const found = deviceOf(record)
    for (const [part, value] of Object.entries(expected))
      t.equal(found[part] ?? '', value, `${JSON.stringify(record)}: ${part}`)
  }
  t.end()
})

t.test('models of the settings', (t) => {
  const own = { yealink: ['T99X'], 'Example Phones': ['EX1 Pro'] }
  t.match(deviceOf({ user_agent: 'Yealink SIP-T99X 66.85.0.5' }, own), { model: 'T99X', firmware: '66.85.0.5' })
  t.match(deviceOf({ vendor: 'Yealink', model: 't99x' }, own), { refused: 0, model: 'T99X' })
  t.match(deviceOf({ user_agent: 'Example Phones EX1 Pro/1.2.3' }, own), {
    vendor: 'Example Phones',
    model: 'EX1 Pro',
    firmware: '1.2.3',
  })
  t.match(deviceOf({ vendor: 'example phones', model: 'EX1-PRO' }, own), { refused: 0, vendor: 'Example Phones' })
  t.match(deviceOf({ vendor: 'Example Phones', model: 'EX2' }, own), { refused: 1, model: 'other' })
  t.match(deviceOf({ vendor: 'Yealink', model: 'T99X' }), { refused: 1, model: 'other' }, 'not without')
  t.end()
})

t.test('a text that is not UTF-8: counted where some purpose treats its field, and no tenant is guessed', (t) => {
  const batch = new Batch(catalogue, 4)
  const { columns } = batch
  const callField = (name: string): Field => fieldOf(catalogue.kinds.call, name)
  const bytes = (field: string, value: Buffer): Buffer =>
    Buffer.concat([Buffer.from([callField(field).number * 8 + 2, value.length]), value])
  const spoilt = Buffer.from('Jos\xe9', 'latin1')
  const records = [
    [bytes('called', spoilt), bytes('calling_name', spoilt), bytes('calling', Buffer.from('1001'))],
    [bytes('calling_name', spoilt), bytes('called', Buffer.from('1002'))],
    [bytes('calling_name', spoilt), bytes('calling_name', Buffer.from('Jose'))],
    [bytes('tenant', spoilt), bytes('called', Buffer.from('1002'))],
  ].map((fields) => Buffer.concat(fields))
  const arena = Buffer.concat(records.flatMap((record) => [Buffer.from([0x22, record.length]), record]))
  batch.reset(arena)
  t.equal(new ProtobufReader(catalogue, 'whole').fill(batch, 0, arena.length, true), arena.length)
  t.same(batch.refusedReason, [], 'none is refused')
  const calls = columns.call
  t.equal(calls.rows, 4)
  const plan = { kind: catalogue.kinds.call, userAgent: -1, texts: [], given: [], named: [], numbers: [] }
  for (const [names, count, absent] of [
    [['calling', 'called'], 1, [true, false, true, true]],
    [['calling'], 0, [false, true, true, true]],
    [['called', 'account'], 1, [true, true, true, true]],
  ] as const) {
    const normalised = new Normalised({ ...plan, identifiers: names.map(callField) }, new Tenants(TENANTS), 4)
    normalised.run(arena, calls, 0)
    t.equal(normalised.unsafe, count, names.join())
    t.same([...normalised.tenant], [0, 0, 0, -1])
    t.same(
      [0, 1, 2, 3].map((row) => normalised.slots[(names.length - 1) * 4 + row] === SLOT.absent),
      absent,
    )
  }
  const kept = new Normalised(
    { ...plan, identifiers: [], texts: [callField('calling_name').index] },
    new Tenants(TENANTS),
    4,
  )
  kept.run(arena, calls, 0)
  t.equal(kept.unsafe, 2, 'a later value of the field mends it')
  batch.reset(arena)
  t.notOk(calls.anyUnreadable, 'forgotten with the rows')
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
    const { index } = given(fields.byName.get(name))
    columns.off[cell + index] = at
    at += columns.len[cell + index] = Buffer.byteLength(value)
  }
  columns.commit(0, arena.length)
  const normalised = new Normalised(
    {
      kind: fields,
      identifiers: [given(fields.byName.get(field))],
      userAgent: fieldOf(fields, 'user_agent').index,
      given: [],
      texts: [],
      named: [],
      numbers: [],
    },
    new Tenants(TENANTS),
    4,
  )
  normalised.run(arena, columns, 0)
  switch (normalised.slots[0]) {
    case SLOT.block:
      return given(unpack(normalised.blocks.subarray(0, BLOCK_BYTES))).text
    case SLOT.long:
      return given(
        unpack(normalised.long.subarray(normalised.longOff[0], normalised.longOff[0] + normalised.longLen[0])),
      ).text
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
