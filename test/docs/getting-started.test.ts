/** `docs/getting-started.md` from its first block to its last, by the program as npm packs it. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ROOT } from '../e2e/program.js'
import { execFileSync } from '../helpers/child-process.js'
import { freePort } from '../helpers/free-port.js'
import { blocksOf, readPage, walk } from './page.js'

t.test('a newcomer gets both ways to work', { timeout: 110_000 }, async (t) => {
  const work = mkdtempSync(join(tmpdir(), 'minim-pack-'))
  t.teardown(() => {
    rmSync(work, { recursive: true, force: true, maxRetries: 5 })
  })
  // Without the scripts: they would build while other tests run what is built.
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', work], {
      cwd: ROOT,
      encoding: 'utf8',
    }),
  ) as { filename: string }[]
  execFileSync('tar', ['-xzf', join(work, filename), '-C', work])
  const packageFolder = join(work, 'package')
  t.ok(existsSync(join(packageFolder, 'config/policy.yaml')), 'the package has what the page copies')
  symlinkSync(join(ROOT, 'node_modules'), join(packageFolder, 'node_modules'))

  const pbx = join(work, 'cdr-csv')
  mkdirSync(pbx)
  await walk(t, 'getting-started.md', {
    packageFolder,
    instead: {
      '/var/log/asterisk/cdr-csv': pbx,
      '127.0.0.1:50051': `127.0.0.1:${await freePort()}`,
      '127.0.0.1:8080': `127.0.0.1:${await freePort()}`,
      '127.0.0.1:50052': '127.0.0.1:0',
      '127.0.0.1:9464': '127.0.0.1:0',
      '127.0.0.1:9465': '127.0.0.1:0',
      '127.0.0.1:9466': '127.0.0.1:0',
    },
    leaveOut: ({ attributes }) =>
      attributes['for'] === 'install' ? 'compiles librdkafka for minutes; the package is unpacked instead' : null,
  })
})

t.test('the package is installed as CI does it', (t) => {
  const page =
    blocksOf(readPage('getting-started.md')).find(({ attributes }) => attributes['for'] === 'install')?.text ?? ''
  const tried = readFileSync(join(ROOT, '.ci/pack'), 'utf8')
  const scripts = (text: string): readonly string[] => text.match(/--allow-scripts=\S+/g) ?? []
  t.equal(scripts(page).length, 1, 'without it npm 12 installs a program that cannot reach Kafka')
  t.same(scripts(page), scripts(tried))
  t.end()
})
