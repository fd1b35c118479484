import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type ErrorCode, type ErrorEntry, ERRORS, MinimError, problemLines } from '../../src/errors/catalogue.js'
import { repositoryRoot } from '../helpers/shared.js'

const root = repositoryRoot()
const codes = Object.keys(ERRORS) as ErrorCode[]

/** Every source file under src/, as one text each. */
function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) return sources(path)
    return name.endsWith('.ts') && !path.endsWith('errors/catalogue.ts') ? [readFileSync(path, 'utf8')] : []
  })
}

for (const code of codes) {
  const entry: ErrorEntry = ERRORS[code]
  t.test(code, async (t) => {
    t.match(code, /^MINIM_[A-Z]+(_[A-Z0-9]+)+$/)
    t.ok(statSync(join(root, 'src', entry.stage)).isDirectory(), `src/${entry.stage}`)
    t.match(entry.message, /\S/)
    t.match(entry.fix, /\S/, 'it says how to mend it')
    const names = [...entry.message.matchAll(/\{(\w+)\}/g)].map((m) => m[1])
    const cause = new Error('cause')
    const error = new MinimError(code, Object.fromEntries(names.map((n, i) => [n, `$&value${i}`])), { cause })
    t.match(error, { code, stage: entry.stage, retryable: entry.retryable, fix: entry.fix, name: 'MinimError', cause })
    t.notMatch(error.message, /\{\w+\}/, 'details fill the message')
    names.forEach((_, i) => {
      t.ok(error.message.includes(`$&value${i}`), 'as they are')
    })
  })
}

t.test('every code is raised somewhere', async (t) => {
  const text = sources(join(root, 'src')).join('\n')
  for (const code of codes) t.ok(text.includes(`'${code}'`), code)
})

t.test('docs/errors.md has a row for each error, and no other', async (t) => {
  const path = join(root, 'docs/errors.md')
  t.ok(existsSync(path), 'docs/errors.md is there')
  const rows = existsSync(path)
    ? [...readFileSync(path, 'utf8').matchAll(/^\| `(MINIM_[A-Z0-9_]+)` +\| (.*) \|$/gm)]
    : []
  t.same(rows.map((r) => r[1]).sort(), [...codes].sort())
  for (const [, code, rest] of rows) t.match(rest, /\S/, `${code} says what to do`)
})

t.test('problems are told one a line: where, what, mend', async (t) => {
  t.equal(
    problemLines([
      { path: 'a.b', what: 'is missing', mend: 'add it' },
      { path: '', what: 'must be a mapping', mend: 'write one' },
    ]),
    '  a.b: is missing; add it\n  (top): must be a mapping; write one',
  )
})
