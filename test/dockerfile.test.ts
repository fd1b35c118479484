import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { repositoryRoot } from './helpers/shared.js'

const dockerfile = readFileSync(join(repositoryRoot(), 'Dockerfile'), 'utf8')
const manifest = JSON.parse(readFileSync(join(repositoryRoot(), 'package.json'), 'utf8')) as { scripts: Record<string, string>, files: string[] }
const runtime = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))

t.test('every build step is a package script, so that it can run without Docker', (t) => {
  const steps = [...dockerfile.matchAll(/^RUN npm (.*)$/gm)].map(([, command]) => /^run (docker:[a-z]+)$/.exec(command)?.[1])
  t.same(steps, ['docker:install', 'docker:build', 'docker:prune'])
  for (const step of steps) t.ok(step !== undefined && Object.hasOwn(manifest.scripts, step), `package.json has the script ${step}`)
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
  t.same(new Set(copied), new Set(['package.json', 'node_modules', ...manifest.files]))
  t.end()
})
