/**
 * What a reader can take in at once: no source file over 500 lines, no function over 80, no line of code over 140
 * columns. What is longer stands here with its reason.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { execFileSync } from './helpers/child-process.js'
import { repositoryRoot } from './helpers/shared.js'

const FILE_LINES = 500
const FUNCTION_LINES = 80
const COLUMNS = 140

/** Files that may be longer, and why. */
const LONG_FILES: Readonly<Record<string, string>> = {
  'src/errors/catalogue.ts': 'a table: every code with its message and mend',
}

/** Functions that may be longer, as `file name`, and why. */
const LONG_FUNCTIONS: Readonly<Record<string, string>> = {}

const root = repositoryRoot()
const sources = execFileSync('git', ['ls-files', '*.ts', '*.js'], { cwd: root, encoding: 'utf8' })
  .split('\n')
  .filter((path) => path !== '' && !path.startsWith('bench/peers/') && !path.startsWith('test/fixtures/'))

/** Every function of a file that has a body, by the name under which a reader would look for it. */
function functionsOf(path: string): { name: string; lines: number }[] {
  const text = readFileSync(join(root, path), 'utf8')
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const found: { name: string; lines: number }[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const first = file.getLineAndCharacterOfPosition(node.getStart(file)).line
      const last = file.getLineAndCharacterOfPosition(node.getEnd()).line
      const owner = node.name ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined)
      const name = owner?.getText(file) ?? (ts.isConstructorDeclaration(node) ? 'constructor' : '(anonymous)')
      found.push({ name: `${path} ${name}`, lines: last - first + 1 })
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return found
}

t.test('no source file is longer than 500 lines, but for tables', (t) => {
  const long = sources
    .filter((path) => path.startsWith('src/'))
    .map((path) => ({ path, lines: readFileSync(join(root, path), 'utf8').split('\n').length - 1 }))
    .filter(({ lines }) => lines > FILE_LINES)
    .sort((a, b) => b.lines - a.lines)
  t.same(
    long.filter(({ path }) => !(path in LONG_FILES)).map(({ path, lines }) => `${path}: ${lines}`),
    [],
  )
  t.same(
    Object.keys(LONG_FILES).filter((path) => !long.some((one) => one.path === path)),
    [],
    'no exception is left that none needs',
  )
  t.end()
})

t.test('no function is longer than 80 lines, but for tables', (t) => {
  const long = sources
    .filter((path) => path.startsWith('src/'))
    .flatMap(functionsOf)
    .filter(({ lines }) => lines > FUNCTION_LINES)
    .sort((a, b) => b.lines - a.lines)
  t.same(
    long.filter(({ name }) => !(name in LONG_FUNCTIONS)).map(({ name, lines }) => `${name}: ${lines}`),
    [],
  )
  t.same(
    Object.keys(LONG_FUNCTIONS).filter((name) => !long.some((one) => one.name === name)),
    [],
    'no exception is left that none needs',
  )
  t.end()
})

t.test('no line of code is longer than 140 columns', (t) => {
  const long = sources.flatMap((path) =>
    readFileSync(join(root, path), 'utf8')
      .split('\n')
      .flatMap((line, i) => (line.length > COLUMNS ? [`${path}:${i + 1}: ${line.length}`] : [])),
  )
  t.same(long, [])
  t.end()
})
