/** Kept texts: closed shapes, so that no name or number leaves as a codec, a model or a vendor. */
import t from 'tap'
import { Batch } from '../../src/batch/batch.js'
import { catalogue as shipped } from '../../src/catalogue/catalogue.js'
import { isCodec } from '../../src/normalise/codec.js'
import { Normalised, Tenants } from '../../src/normalise/normalise.js'
import { TENANTS } from '../project/generate.js'

const catalogue = shipped()

for (const name of ['PCMU', 'PCMA', 'pcma', 'G.711 A-Law', 'opus/48000/2', 'G722', 'G.729a', 'ulaw', 'slin16', 'telephone-event/8000', 'AMR-WB', 'iLBC', 'VP8', 'H264/90000']) t.ok(isCodec(name), name)
for (const name of ['', 'Alice', 'alice smith', '07700900123', 'PCMU/07700', 'PCMU/8000/07700900123', '192.0.2.1', 'PCMA alice', 'a'.repeat(100)]) t.notOk(isCodec(name), JSON.stringify(name))

t.test('what a device says of itself', (t) => {
  const kind = catalogue.kinds.device
  const rows: { field: string; value: string; kept: boolean }[] = [
    { field: 'model', value: 'SIP-T46S', kept: true }, { field: 'model', value: 'Wanda Canary', kept: false }, { field: 'model', value: 'VVX 410 0004f2abcdef', kept: false },
    { field: 'vendor', value: 'yealink', kept: true }, { field: 'vendor', value: 'Wanda', kept: false }, { field: 'vendor', value: 'Yealink 07700900123', kept: false },
    { field: 'firmware', value: '66.85.0.5', kept: true }, { field: 'firmware', value: '192.0.2.1', kept: false }, { field: 'firmware', value: 'Wanda 1', kept: false },
    { field: 'tenant', value: 'default', kept: true }, { field: 'tenant', value: 'x"y', kept: false },
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
    const normalised = new Normalised({ kind, identifiers: [], userAgent: -1, texts: [found.index] }, new Tenants(TENANTS), 4)
    normalised.run(arena, columns, 0)
    t.equal(columns.off[found.index] >= 0, kept, `${field}: ${value}`)
    t.equal(normalised.unsafe, kept ? 0 : 1, 'counted')
  }
  t.end()
})
