/** A batch is made by the policy that it was made by first, however often it is made again. */
import t from 'tap'
import { generationOf } from '../../src/app/generation.js'
import { Policies } from '../../src/app/policies.js'
import { catalogue as shipped } from '../../src/catalogue/catalogue.js'
import type { Minimised } from '../../src/flow/minimised.js'
import type { WorkItem } from '../../src/flow/work-item.js'
import { readerFor } from '../../src/formats/readers.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { loadPolicy } from '../../src/policy/load.js'
import { loadSettings } from '../../src/settings/load.js'
import { call, delimited, records } from '../e2e/records.js'
import { policyText } from '../helpers/two-policies.js'

const catalogue = shipped()

function rig(): {
  policies: Policies
  offer: () => { minimise: (excluded?: ReadonlySet<number>) => string[]; release: () => readonly object[] | undefined }
  use: (which: 'a' | 'b') => void
  done: () => number
} {
  const parts = { catalogue, keyring: throwawayKeyring(), settings: loadSettings(null, {}) }
  const generation = (which: 'a' | 'b') => generationOf(loadPolicy({ text: policyText(which) }, catalogue), parts)
  let done = 0
  const policies = new Policies(generation('a'), () => {
    done++
  })
  const bytes = delimited(records({ calls: [call(1), call(2)] }))
  const reader = readerFor('protobuf', null, catalogue, 65_536)
  const offer = () => {
    const hold = policies.hold()
    const item: WorkItem = {
      id: { source: 's', incarnation: 'i' },
      sequence: 1,
      bytes: bytes.length,
      receivedAt: 0,
      minimise: (excluded) =>
        policies.pipeline.run(
          {
            reader,
            arena: bytes,
            start: 0,
            end: bytes.length,
            scratchStart: bytes.length,
            last: true,
            tenant: 'default',
          },
          excluded ?? null,
        ),
      committed: () => undefined,
      failed: () => undefined,
    }
    const shown = (made: Minimised): string[] =>
      Array.from({ length: made.count }, (_, i) => {
        const topic = made.topics[made.topic[i]]
        if (topic === 'minim.quarantine') return topic
        const text = Buffer.from(made.bytes.subarray(made.valueOff[i], made.valueOff[i] + made.valueLen[i])).toString()
        const { tag, hangup_cause: cause } = JSON.parse(text) as Record<string, unknown>
        return `${topic} ${(tag as { policy: string }).policy} ${cause === undefined ? 'a' : 'b'}`
      }).sort()
    return {
      minimise: (excluded?: ReadonlySet<number>) => shown(hold.minimise(item, excluded)),
      release: () => hold.release(),
    }
  }
  return {
    policies,
    offer,
    use: (which) => {
      policies.use(generation(which))
    },
    done: () => done,
  }
}

const [a, b] = (['a', 'b'] as const).map((which) => loadPolicy({ text: policyText(which) }, catalogue).version)
const BY_A = Array.from({ length: 2 }, () => `pbx.billing.call ${a} a`)
const BY_B = [
  ...Array.from({ length: 2 }, () => `pbx.audit.call ${b} b`),
  ...Array.from({ length: 2 }, () => `pbx.billing.call ${b} b`),
]

t.test('made before the change, and made again after it: the same policy', (t) => {
  const { offer, use } = rig()
  const early = offer()
  const waiting = offer()
  t.same(early.minimise(), BY_A)
  use('b')
  t.same(early.minimise(), BY_A, 'refilled')
  t.same(early.minimise(new Set([0])), [`minim.quarantine`, BY_A[0]], 'refilled without what Kafka refuses')
  t.same(waiting.minimise(), BY_B, 'what was only waiting has the policy that runs')
  use('a')
  t.same(waiting.minimise(), BY_B)
  t.same(early.minimise(), BY_A)
  t.end()
})

t.test('a former policy is kept for as long as a batch needs it', (t) => {
  const { policies, offer, use, done } = rig()
  const [first, second, never] = [offer(), offer(), offer()]
  first.minimise()
  second.minimise()
  use('b')
  t.equal(policies.former.length, 1)
  t.same(first.release()?.length, 1, 'and says what it wrote: one purpose')
  t.equal(policies.former.length, 1)
  t.equal(done(), 0)
  second.release()
  t.equal(policies.former.length, 0)
  t.equal(done(), 1)
  t.equal(never.release(), undefined, 'a batch that was never made holds none')
  const late = offer()
  late.minimise()
  late.release()
  t.equal(done(), 1, 'of the one that runs nobody is told')
  t.end()
})

t.test('what throws leaves nothing behind', (t) => {
  const { policies, use } = rig()
  const hold = policies.hold()
  t.throws(
    () =>
      hold.minimise(
        {
          minimise: () => {
            throw new Error('broken')
          },
        } as unknown as WorkItem,
        undefined,
      ),
    /broken/,
  )
  use('b')
  t.equal(policies.pipeline, policies.current.pipeline)
  t.end()
})
