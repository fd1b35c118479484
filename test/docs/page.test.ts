/** What reads the pages finds what it is for, and fails where it should. */
import t from 'tap'
import { blocksOf, codesOf, looksLike, tableOf } from './page.js'

t.test('blocks, with what stands beside their language', (t) => {
  const page = "A\n\n```sh until='a b'\nx\n```\n\n```json output\n{}\n\n{}\n```\n```yaml file=a/b.yaml\n```\n"
  t.same(blocksOf(page), [
    { language: 'sh', attributes: { until: 'a b' }, text: 'x\n', line: 3 },
    { language: 'json', attributes: { output: '' }, text: '{}\n\n{}\n', line: 7 },
    { language: 'yaml', attributes: { file: 'a/b.yaml' }, text: '', line: 12 },
  ])
  t.end()
})

t.test('output is compared, but for what is left open', (t) => {
  t.ok(looksLike('{"a":"…","b":1}\n', '{"a":"x.y","b":1}\n'))
  t.ok(looksLike('…\nend', 'one\ntwo\nend'))
  t.notOk(looksLike('{"a":"…","b":1}', '{"a":"x","b":2}'))
  t.notOk(looksLike('{"a":"…"}', '{"a":"x"}\n{"a":"y"} more'))
  t.notOk(looksLike('a.c', 'abc'), 'a dot is a dot')
  t.end()
})

t.test('tables', (t) => {
  t.same(tableOf('| a | b |\n|---|---|\n| `x\\|y` | 2 |\n\nend', 'a'), [['`x|y`', '2']])
  t.same(codesOf('`a` and `b c`'), ['a', 'b c'])
  t.throws(() => tableOf('', 'a'), /no table/)
  t.end()
})
