/**
 * The pages among themselves: every link leads somewhere, every file they name is there, every part of settings they
 * show is one.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { EXIT, exitCode } from '../../src/cli/exit.js'
import { type ErrorCode, ERRORS, MinimError } from '../../src/errors/catalogue.js'
import { loadSettings } from '../../src/settings/load.js'
import { given } from '../helpers/given.js'
import { repositoryRoot } from '../helpers/shared.js'
import { ROOMS } from '../walls/rooms.js'
import { blocksOf, codesOf, tableOf, withoutPadding } from './page.js'

const root = repositoryRoot()
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
].sort()
const text = new Map(pages.map((page) => [page, withoutPadding(readFileSync(join(root, page), 'utf8'))]))
const withoutBlocks = (page: string): string => given(text.get(page)).replace(/^```[^]*?^```$/gm, '')

/** Headings of a page as links name them. */
function anchors(page: string): Set<string> {
  const found = new Set<string>()
  for (const [, heading] of withoutBlocks(page).matchAll(/^#+ (.*)$/gm)) {
    const slug = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replace(/ /g, '-')
    let name = slug
    for (let n = 1; found.has(name); n++) name = `${slug}-${n}`
    found.add(name)
  }
  return found
}

t.test('every link leads to a page and a heading that are there', (t) => {
  let count = 0
  for (const page of pages) {
    for (const [, target] of withoutBlocks(page)
      .replace(/`[^`]*`/g, (code) => code.replace(/[[\]]/g, ' '))
      .matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path, anchor] = target.split('#')
      const file = path === '' ? page : relative(root, join(root, dirname(page), path))
      count++
      if (!existsSync(join(root, file))) t.fail(`${page}: ${target}`)
      else if (anchor !== undefined && !(text.has(file) && anchors(file).has(anchor)))
        t.fail(`${page}: ${target}: no such heading`)
    }
  }
  t.ok(count > 100, `${count} links`)
  t.end()
})

t.test('the contents name every page, and each page begins with its title', (t) => {
  const contents = given(text.get('docs/README.md'))
  for (const page of pages.filter((name) => name.startsWith('docs/') && name !== 'docs/README.md')) {
    t.match(text.get(page), /^# .+\n/, page)
    const list =
      page.startsWith('docs/decisions/') && page !== 'docs/decisions/README.md'
        ? 'docs/decisions/README.md'
        : 'docs/README.md'
    t.ok(given(text.get(list)).includes(`](${relative(dirname(list), page)}`), `${list} names ${page}`)
  }
  t.ok(contents.length > 0)
  t.end()
})

/** Made by the program, where a page's commands are done in a checkout. */
const MADE = new Set(['config/minim-keys.json'])

t.test('every file that a page names is there', (t) => {
  let count = 0
  for (const page of pages) {
    for (const path of codesOf(withoutBlocks(page))) {
      if (
        !/^(src|test|config|proto|bench|\.ci)\/[\w./*<>-]*$/.test(path) ||
        path.includes('<') ||
        MADE.has(path) ||
        /^(src\/a|test\/a)\//.test(path)
      )
        continue
      count++
      if (path.includes('*')) {
        const [folder, pattern] = [
          dirname(path),
          new RegExp(
            `^${path
              .slice(dirname(path).length + 1)
              .replace(/\./g, '\\.')
              .replace(/\*/g, '.*')}$`,
          ),
        ]
        t.ok(
          readdirSync(join(root, folder)).some((name) => pattern.test(name)),
          `${page}: ${path}`,
        )
      } else t.ok(existsSync(join(root, path)), `${page}: ${path}`)
    }
  }
  t.ok(count > 50)
  t.end()
})

t.test('the page on architecture has every room, and what each may import', (t) => {
  const rows = tableOf(given(text.get('docs/architecture.md')), 'folder')
  const rooms = Object.entries(ROOMS).filter(([name]) => !name.endsWith('.ts'))
  t.same(
    rows.map(([folder]) => codesOf(folder)),
    rooms.map(([name]) => [`src/${name.replace('*', '<kind>')}/`]),
    'the rooms, in their order',
  )
  t.same(
    rows.map(([, , imports]) => (imports === 'all' ? ['*'] : codesOf(imports))),
    rooms.map(([, { imports }]) => imports),
    'what each may import',
  )
  t.end()
})

t.test('every part of settings that a page shows is one', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'minim-pages-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  let count = 0
  for (const page of pages) {
    for (const block of blocksOf(given(text.get(page)))) {
      if (!('settings' in block.attributes)) continue
      const path = join(folder, 'part.yaml')
      writeFileSync(path, block.text)
      t.doesNotThrow(() => loadSettings(path), `${page}:${block.line}`)
      count++
    }
  }
  t.ok(count >= 9)
  t.end()
})

t.test("an error's code says with what the program ends", (t) => {
  const rows = tableOf(given(text.get('docs/errors.md')), 'code').flatMap(([codes, , exit]) =>
    codesOf(codes).map((code) => ({ parts: code.split('…'), exit })),
  )
  const literal = ({ parts }: (typeof rows)[number]): number => parts.join('').length
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const [row] = rows
      .filter(({ parts }) => code.startsWith(parts[0]) && code.endsWith(given(parts.at(-1))))
      .sort((a, b) => literal(b) - literal(a))
    if (row === undefined) t.fail(`${code} has no row`)
    else if (row.exit !== '–')
      t.equal(
        String(exitCode(Object.assign(Object.create(MinimError.prototype) as MinimError, { code }))),
        row.exit,
        code,
      )
  }
  t.same(
    tableOf(given(text.get('docs/operations.md')), 'code').map(([code]) => Number(code)),
    Object.values(EXIT).sort((a, b) => a - b),
    'every exit code has its row',
  )
  t.end()
})
