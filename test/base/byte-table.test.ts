/** The byte table against a Map. */
import fc from 'fast-check'
import t from 'tap'
import { ByteTable } from '../../src/base/byte-table.js'
import { seed } from '../project/generate.js'

const SEED = seed()
t.comment(`seed ${SEED}: repeat with MINIM_TEST_SEED=${SEED}`)

t.test('finds what was added, and nothing else; full is -1', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 6 }), { maxLength: 60 }),
      fc.constantFrom(4, 16, 64),
      (keys, capacity) => {
        const table = new ByteTable(capacity, 200)
        const known = new Map<string, number>()
        let bytes = 0
        for (const key of keys) {
          const name = Buffer.from(key).toString('hex')
          const src = Buffer.concat([Buffer.from([1]), key, Buffer.from([2])])
          const found = table.find(src, 1, key.length)
          if (found !== (known.get(name) ?? -1)) throw new Error(`found ${found}`)
          if (found >= 0) continue
          const added = table.add(src, 1, key.length)
          const full = known.size === capacity || bytes + key.length > 200
          if (full !== added < 0) throw new Error('full or not')
          if (full) {
            table.clear()
            known.clear()
            bytes = 0
            if (table.find(src, 1, key.length) >= 0) throw new Error('not cleared')
            continue
          }
          if (added !== known.size) throw new Error('numbers are not dense')
          known.set(name, added)
          bytes += key.length
        }
      },
    ),
    { seed: SEED, numRuns: 500 },
  )
  t.pass('500 runs')
  t.end()
})
