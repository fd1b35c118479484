/** The longest texts that are kept have room: typed arrays would drop the rest of a message in silence. */
import t from 'tap'
import { BATCH_ROWS, KEPT_TEXT_MAX_BYTES } from '../../src/batch/columns.js'
import { ProtobufReader } from '../../src/batch/scanner.js'
import { catalogue as shipped } from '../../src/catalogue/catalogue.js'
import { Pipeline } from '../../src/pipeline/pipeline.js'
import { compile } from '../../src/policy/compile.js'
import { loadPolicy } from '../../src/policy/load.js'
import type { Policy } from '../../src/policy/model.js'
import { given } from '../helpers/given.js'
import { FUTURE_MS, NOW, TENANTS, TestKeyring } from './generate.js'

const catalogue = shipped()
const trunk = given(catalogue.kinds.call.byName.get('trunk'))
// Letters that are no hexadecimal digits: those could hide a MAC address.
const longest = 'trunk-xy'.repeat(KEPT_TEXT_MAX_BYTES).slice(0, KEPT_TEXT_MAX_BYTES)

for (const format of ['protobuf', 'json'] as const) {
  const policy: Policy = {
    version: '0123456789ab',
    hash: '0123456789ab',
    purposes: [
      {
        ...loadPolicy().purposes[0],
        tenants: null,
        kinds: {
          call: {
            kind: 'call',
            topic: 'pbx.room.call',
            format,
            headers: false,
            key: null,
            rules: [{ field: trunk, treatment: { kind: 'keep' } }],
          },
        },
      },
    ],
  }
  t.test(`${format}: texts of ${KEPT_TEXT_MAX_BYTES} bytes, and none of one more`, async (t) => {
    const plan = compile(policy, catalogue)
    const type = catalogue.root.lookupType('minim.v1.Batch')
    const calls = Array.from({ length: 3 * BATCH_ROWS }, (_, i) => ({
      start_ms: NOW,
      trunk: i % 2 === 0 ? longest : `${longest}a`,
    }))
    const arena = Buffer.from(type.encode(type.fromObject({ calls })).finish())
    const pipeline = new Pipeline({
      catalogue,
      plan,
      keyring: new TestKeyring(),
      tenants: TENANTS,
      futureMs: FUTURE_MS,
      now: () => NOW,
    })
    const reader = new ProtobufReader(catalogue, 'whole')
    const found = pipeline.run({
      reader,
      arena,
      start: 0,
      end: arena.length,
      scratchStart: arena.length,
      last: true,
      tenant: 'default',
    })
    t.equal(found.count, calls.length)
    const [{ maxBytes }] = plan.kinds.call.purposes
    const bare = found.valueLen[1]
    let whole = 0
    let roomy = 0
    for (let i = 0; i < found.count; i++) {
      const value = Buffer.from(found.bytes.subarray(found.valueOff[i], found.valueOff[i] + found.valueLen[i]))
      if (value.includes(longest) === (i % 2 === 0)) whole++
      // What a message takes beside its tag is no more than what was made room for.
      if (value.length - bare <= maxBytes) roomy++
    }
    t.equal(whole, calls.length)
    t.equal(roomy, calls.length)
  })
}
