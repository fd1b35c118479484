/** Marks of batches against a plain model, and what a mark says. */
import fc from 'fast-check'
import t from 'tap'
import { MARK_BYTES, markOf, Marks, MARKS_KEPT } from '../../src/flow/marks.js'
import { LEDGER_DOMAIN } from '../../src/keys/keyring.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'

const id = { source: 'pbx-1', incarnation: 'one' }

t.test('a mark is of one key, stream, number and body', (t) => {
  const keyring = throwawayKeyring()
  const body = Buffer.from('body')
  const mark = markOf(keyring, id, 7, body)
  t.equal(mark.length, MARK_BYTES)
  t.same(markOf(keyring, id, 7, Buffer.from('body')), mark)
  for (const other of [
    markOf(keyring, id, 8, body),
    markOf(keyring, id, 7, Buffer.from('Body')),
    markOf(keyring, id, 7, Buffer.alloc(0)),
    markOf(keyring, { ...id, source: 'pbx-2' }, 7, body),
    markOf(keyring, { ...id, incarnation: 'two' }, 7, body),
    markOf(throwawayKeyring(), id, 7, body),
    // Nothing moves from one part to the next.
    markOf(keyring, { source: 'pbx-1', incarnation: 'one\u00007' }, 0, body),
    markOf(keyring, id, 70, Buffer.from('ody')),
  ])
    t.notSame(other, mark)
  keyring.destroy(LEDGER_DOMAIN.id, LEDGER_DOMAIN.epoch)
  t.throws(() => markOf(keyring, id, 7, body), { code: 'MINIM_KEYS_NEVER' })
  t.end()
})

t.test('as a plain list would, over commits and restarts', (t) => {
  const mark = (n: number): Buffer => Buffer.alloc(MARK_BYTES, n % 251)
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('add' as const), count: fc.integer({ min: 1, max: 40 }) }) },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant('commit' as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('gap' as const) }) },
  )
  fc.assert(
    fc.property(fc.nat(1000), fc.array(step, { maxLength: 60 }), (before, steps) => {
      let marks = new Marks(before)
      let last = before
      let committed = before
      // Numbers that must be known: all under way, and the last 64 that were committed, as far as they are whole.
      let from = before + 1
      for (const s of steps) {
        if (s.do === 'add') for (let i = 0; i < s.count; i++) marks.add(++last, mark(last))
        else if (s.do === 'gap') {
          last += 2
          marks.add(last, mark(last))
          from = last
        } else {
          if (s.do === 'commit')
            committed = Math.max(committed, from - 1, committed + Math.floor((last - committed) * s.part))
          const kept = marks.upTo(committed)
          const expected = committed < from ? 0 : Math.min(MARKS_KEPT, committed - from + 1)
          if (kept.length !== expected * MARK_BYTES)
            throw new Error(`${kept.length / MARK_BYTES} marks, not ${expected}`)
          for (let i = 0; i < expected; i++)
            if (!kept.subarray(i * MARK_BYTES, (i + 1) * MARK_BYTES).equals(mark(committed - expected + 1 + i)))
              throw new Error('another mark')
          if (s.do === 'commit') marks.committed(committed)
          else {
            marks = new Marks(committed, Buffer.from(kept))
            last = committed
            from = committed - expected + 1
          }
        }
        for (let n = Math.max(from, committed - MARKS_KEPT + 1); n <= last; n++) {
          if (marks.differs(n, mark(n))) throw new Error(`${n} is the same`)
          if (!marks.differs(n, mark(n + 1))) throw new Error(`${n} is another`)
        }
        if (
          marks.differs(last + 1, mark(0)) ||
          marks.differs(committed - MARKS_KEPT, mark(committed - MARKS_KEPT + 1)) ||
          marks.differs(0, mark(1))
        )
          throw new Error('nothing is known of it')
      }
    }),
  )
  t.end()
})
