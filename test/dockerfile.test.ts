import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { repositoryRoot } from './helpers/shared.js'

const dockerfile = readFileSync(join(repositoryRoot(), 'Dockerfile'), 'utf8')
const manifest = JSON.parse(readFileSync(join(repositoryRoot(), 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
  files: string[]
}
const runtime = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))

t.test('every build step is a package script, so that it can run without Docker', (t) => {
  const steps = [...dockerfile.matchAll(/^RUN npm (.*)$/gm)].map(
    ([, command]) => /^run (docker:[a-z]+)$/.exec(command)?.[1],
  )
  t.same(steps, ['docker:install', 'docker:build', 'docker:prune'])
  for (const step of steps)
    t.ok(step !== undefined && Object.hasOwn(manifest.scripts, step), `package.json has the script ${step}`)
  t.end()
})

t.test('the image runs as nobody in particular and tells whether it lives', (t) => {
  const user = [...runtime.matchAll(/^USER (\d+):(\d+)$/gm)].at(-1)
  t.ok(user !== undefined && Number(user[1]) > 0 && Number(user[2]) > 0, 'a user by number, not root')
  t.match(runtime, /^HEALTHCHECK .*\\\n.*\/healthz/m)
  t.match(runtime, /^VOLUME \/var\/lib\/minim$/m)
  t.notMatch(runtime, /^(?:ENV|ARG).*(?:KEY|SECRET|PASSWORD)/m, 'no key is part of an image')
  t.end()
})

t.test('the image holds what the package holds', (t) => {
  const copied = [...runtime.matchAll(/^COPY --from=build \/app\/(\S+) /gm)].map(([, path]) => path)
  t.same(
    new Set(copied),
    new Set(['package.json', 'node_modules', ...manifest.files.map((path) => path.replace(/\/\*.*$/, ''))]),
  )
  t.end()
})

t.test('neither image nor package holds what is kept beside the settings', (t) => {
  const lines = (name: string): string[] =>
    readFileSync(join(repositoryRoot(), name), 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
  // As Docker reads it: `*` ends at a slash, only `**/` is any folder.
  const inWords: Readonly<Record<string, string>> = { '**/': '(?:.*/)?', '*': '[^/]*', '.': '\\.' }
  const matcher = (pattern: string): RegExp =>
    new RegExp(`^${pattern.replace(/\*\*\/|\*|\./g, (part) => inWords[part])}(?:/.*)?$`)
  const ignored = lines('.dockerignore').map(matcher)
  const isIgnored = (path: string): boolean => ignored.some((pattern) => pattern.test(path))
  const kept = [
    'minim-keys.json',
    'minim-keys.json.lock',
    'minim-agent.json',
    'minim-spool/data.mdb',
    'master.key',
    'proxy.pem',
    'hep.secret',
    'http.users',
  ]
  const packed = manifest.files.map(matcher)
  for (const name of kept) {
    for (const path of [name, `config/${name}`]) {
      t.ok(isIgnored(path), `${path} is not sent to Docker`)
      t.notOk(
        packed.some((pattern) => pattern.test(path)),
        `${path} is not packed`,
      )
    }
  }
  for (const path of ['config/minim.yaml', 'config/policy.schema.json', 'proto/minim/v1/call.proto'])
    t.ok(!isIgnored(path) && packed.some((pattern) => pattern.test(path)), path)
  for (const path of [
    'src/cli/keys.ts',
    'src/keys/store.ts',
    'test/spool/keys.test.ts',
    'package.json',
    '.ci/docker-prune',
    'tsconfig.json',
  ])
    t.notOk(isIgnored(path), path)
  t.end()
})
