import t from 'tap'
import { createLog } from '../../src/ops/log.js'
import { QuarantineNotes } from '../../src/ops/quarantine-notes.js'

/** A log whose lines are kept. */
function kept(): { lines: Record<string, unknown>[]; log: ReturnType<typeof createLog> } {
  const lines: Record<string, unknown>[] = []
  return { lines, log: createLog('info', { write: (line) => void lines.push(JSON.parse(line) as never) }) }
}

t.test('the first is said at once, then a line an interval, with counts by reason', async (t) => {
  const { lines, log } = kept()
  const notes = new QuarantineNotes(log, 100)
  const said = (): unknown[] => lines.map((line) => line['quarantined'])
  notes.add({})
  t.same(said(), [], 'nothing is said of nothing')
  notes.add({ malformed_json: 2 })
  notes.add({ malformed_json: 3, no_start_time: 1 })
  notes.add({ malformed_json: 4, no_start_time: 0 })
  t.same(said(), [{ malformed_json: 2 }])
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.same(said().slice(1), [{ malformed_json: 7, no_start_time: 1 }])
  await new Promise((resolve) => setTimeout(resolve, 250))
  t.equal(lines.length, 2, 'quiet while nothing comes')
  notes.add({ too_large: 1 })
  t.equal(lines.length, 3, 'after a quiet time at once again')
  notes.add({ too_large: 5 })
  notes.stop()
  t.same(said().slice(3), [{ too_large: 5 }], 'the rest at the end')
  t.ok(lines.every((line) => line['level'] === 'warn'))
})

t.test('what is no reason of the closed set is not written', async (t) => {
  const { lines, log } = kept()
  const notes = new QuarantineNotes(log)
  notes.add({ '+447700900417': 1, malformed_json: 1 } as never)
  notes.stop()
  t.same(lines[0]['quarantined'], { malformed_json: 1 })
})
