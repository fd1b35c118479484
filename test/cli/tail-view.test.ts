import t from 'tap'
import { TailView } from '../../src/cli/tail-view.js'

const tag = { purpose: 'billing', policy: 'abc', epoch: '2026-11' }

t.test('each record has its kind, and the tag is shown once', async (t) => {
  const view = new TailView(false)
  t.same(view.lines('call', { account: 'x', duration_seconds: 5, tag }), [
    `call    tag ${JSON.stringify(tag)}`,
    'call    account="x"  duration_seconds=5',
  ])
  t.same(view.lines('call', { account: 'y', tag }), ['call    account="y"'])
  t.same(view.lines('quality', { account: 'y', tag }).length, 2, 'of another kind once more')
  t.same(view.lines('call', { account: 'y', tag: { ...tag, epoch: '2026-12' } }).length, 2, 'and when it changes')
})

t.test('a field has the same colour in each record, and its neighbour another', async (t) => {
  const view = new TailView(true)

  const colours = (line: string): string[] => [...line.matchAll(/=\u001b\[0m\u001b\[(\d+)m/g)].map((m) => m[1])
  const [first] = view.lines('call', { a: 1, b: 2 })
  const [second] = view.lines('call', { b: 3 })
  const [a, b] = colours(first)
  t.not(a, b)
  t.same(colours(second), [b])
})

t.test('nothing out of a record can steer the terminal', async (t) => {
  const [line] = new TailView(false).lines('call', { account: '\u001b[2J\u0007\n' })

  t.notMatch(line, /[\u0000-\u001f]/)
})
