/**
 * Policy → plan: what has no rule has no operation, and the Kafka timestamp is never finer than the start that is
 * shown.
 */
import t from 'tap'
import { catalogue as shipped, KINDS } from '../../src/catalogue/catalogue.js'
import { compile } from '../../src/policy/compile.js'
import { loadPolicy } from '../../src/policy/load.js'

const catalogue = shipped()
const policy = loadPolicy()
const plan = compile(policy, catalogue)

t.test('one operation for each rule, ascending, keys only of tokens', (t) => {
  for (const kind of KINDS) {
    for (const p of plan.kinds[kind].purposes) {
      const numbers = p.rules.rules.map((r) => r.field.number)
      t.strictSame(
        p.operations.map((o) => ((o.tag0 & 0x7f) | (o.tag1 << 7)) >> 3),
        [...numbers].sort((a, b) => a - b),
        p.rules.topic,
      )
      t.equal(p.keyOperation < 0, p.rules.key === null)
      if (p.keyOperation >= 0) t.equal(p.operations[p.keyOperation].shape, 'token', 'the key is a token')
      const start = p.rules.rules.find((r) => r.field.name === 'start_ms')?.treatment
      t.equal(p.timestampStep, start === undefined ? 0 : start.kind === 'time-bucket' ? start.ms : 1)
      t.equal(plan.topics[p.topic], p.rules.topic)
    }
  }
  t.equal(new Set(plan.topics).size, plan.topics.length)
  t.equal(plan.topics[plan.quarantineTopic], 'minim.quarantine')
  t.end()
})

t.test('identifiers are read once for all purposes', (t) => {
  const { identifiers } = plan.kinds.call.normalise
  t.equal(new Set(identifiers).size, identifiers.length)
  t.notOk(identifiers.some((f) => f.identifier === 'NAME' || f.identifier === 'FREE_TEXT'))
  t.end()
})

t.test('more purposes than bits', (t) => {
  t.throws(
    () =>
      compile(
        {
          version: 'x',
          hash: 'x',
          purposes: Array.from({ length: 32 }, (_, i) => ({ ...policy.purposes[0], id: `p${i}` })),
        },
        catalogue,
      ),
    RangeError,
  )
  t.doesNotThrow(() =>
    compile(
      {
        version: 'x',
        hash: 'x',
        purposes: Array.from({ length: 31 }, (_, i) => ({ ...policy.purposes[0], id: `p${i}` })),
      },
      catalogue,
    ),
  )
  t.end()
})
