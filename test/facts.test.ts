/** Facts that have one owner: what is written a second time may be changed in one place only, and then the two drift apart. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { repositoryRoot } from './helpers/shared.js'
import { sourceFiles } from './walls/imports.js'

const root = join(repositoryRoot(), 'src')
const sources = sourceFiles(root).map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }))

/** Facts that are written nowhere but with their owner, as code would write them. */
const OWNED: readonly { readonly fact: string; readonly owner: string; readonly written: RegExp }[] = [
  { fact: 'a day in ms', owner: 'base/time.ts', written: /(?<!ms: )\b(?:86_?400_?000|24 \* 60 \* 60 \* 1_?000|24 \* 3_?600_?000|864e5)\b/ },
  { fact: 'an hour in ms', owner: 'base/time.ts', written: /\b(?:3_?600_?000|60 \* 60 \* 1_?000|36e5)\b/ },
  { fact: 'chance in a wait', owner: 'base/backoff.ts', written: /\bMath\.random\b/ },
]

t.test('a fact is written by its owner alone', (t) => {
  for (const { fact, owner, written } of OWNED) {
    const found = sources.filter(({ text }) => written.test(text)).map(({ file }) => file)
    t.same(found, [owner], fact)
  }
  t.end()
})
