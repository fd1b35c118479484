import t from 'tap'
import { catalogue } from '../../src/catalogue/catalogue.js'
import { plainObject } from '../../src/trial/decode.js'

const batch = catalogue().root.lookupType('minim.v1.Batch')

/** A quality report with this MOS, there and back. */
function there(mos: number): unknown {
  const bytes = batch.encode(batch.fromObject({ qualities: [{ mosLq: mos, mos_lq: mos }] })).finish()
  const {
    qualities: [quality],
  } = plainObject(batch, bytes) as { qualities: [Record<string, unknown>] }
  return quality['mos_lq'] ?? quality['mosLq']
}

for (const figure of [
  4.1, 93.2, 0.1, 0.000_042, 1, 0, -1.5, 16_777_216, 3.402_823_5e38, 1e-45, 123_456.79, 0.333_333_34,
]) {
  t.test(`a float is the shortest number that means it: ${figure}`, async (t) => {
    t.equal(there(figure), figure)
  })
}

t.test('any float comes back as a number that is the same float', async (t) => {
  const view = new DataView(new ArrayBuffer(4))
  for (let i = 0, bits = 1; i < 20_000; i++) {
    bits = (Math.imul(bits, 1_664_525) + 1_013_904_223) | 0
    view.setInt32(0, bits)
    const float = view.getFloat32(0)
    if (!Number.isFinite(float)) continue
    const back = there(float) as number
    if (Math.fround(back) !== float || String(back).length > String(float).length) t.fail(String(float))
  }
  t.ok(Number.isNaN(there(NaN)))
  t.equal(there(Infinity), Infinity)
})
