/**
 * The walls between the rooms of `src/`: an import that the table of `walls/rooms.ts` does not allow fails, and so does
 * a circle.
 */
import { join } from 'node:path'
import t from 'tap'
import { repositoryRoot } from './helpers/shared.js'
import { allImports, circles, type Import, importsOf, packagesWith, sourceFiles } from './walls/imports.js'
import { ENTRIES, GROUND, OWNED_FILES, ROOMS } from './walls/rooms.js'

const root = join(repositoryRoot(), 'src')

/** The room of a path below `src/`. */
function roomOf(file: string): string {
  const [first, second, ...more] = file.split('/')
  if (second === undefined) return file
  return first === 'sources' && more.length > 0 ? `${first}/${second}` : first
}

const rulesOf = (name: string): readonly string[] | null =>
  (ROOMS[name] ?? (name.startsWith('sources/') ? ROOMS['sources/*'] : undefined))?.imports ?? null

/** Whether a file may import another. */
function allowed({ from, to }: Import): boolean {
  const [here, there] = [roomOf(from), roomOf(to)]
  if (here === there || there === 'version.ts') return true
  if (to.startsWith('..')) return false
  if (to in OWNED_FILES) return OWNED_FILES[to].includes(here)
  const rules = rulesOf(here)
  if (rules === null) return false
  if (rules.includes('*') || rules.includes(there)) return true
  if (rules.includes('settings.ts') && to.endsWith('settings.ts')) return true
  const ground: readonly string[] = GROUND
  const [own, other] = [ground.indexOf(here), ground.indexOf(there)]
  return other >= 0 && (own < 0 || other < own)
}

const line = ({ from, to }: Import): string => `${from} -> ${to}`
const imports = allImports(root)

t.test('the checker sees every way of importing, and what the table does not allow', (t) => {
  const text = `
    import { a } from '../deliver/delivery.js'
    import type { B } from '../ops/metrics.js'
    export { c } from '../cli/main.js'
    type D = import('../policy/load.js').Policy
    const e = await import('../app/app.js')
    new Worker(new URL('./thread.js', import.meta.url))
    import { readFileSync } from 'node:fs'`
  const found = importsOf('normalise/x.ts', text)
  t.same(
    found.map(({ to }) => to),
    ['deliver/delivery.ts', 'ops/metrics.ts', 'cli/main.ts', 'policy/load.ts', 'app/app.ts', 'normalise/thread.ts'],
  )
  t.same(found.map(allowed), [false, false, false, false, false, true])
  t.ok(allowed({ from: 'cli/run.ts', to: 'app/app.ts' }))
  t.ok(allowed({ from: 'flow/work-item.ts', to: 'batch/batch.ts' }))
  t.notOk(allowed({ from: 'batch/batch.ts', to: 'flow/work-item.ts' }), 'ground rooms import upwards only')
  t.notOk(allowed({ from: 'treatments/token.ts', to: 'kafka/cluster.ts' }), 'kafka must be named')
  t.notOk(allowed({ from: 'pipeline/pipeline.ts', to: 'flow/output.ts' }), "the mint is the projection's alone")
  t.notOk(allowed({ from: 'app/app.ts', to: 'flow/output.ts' }), 'whatever else a room may import')
  t.ok(allowed({ from: 'project/messages.ts', to: 'flow/output.ts' }))
  t.notOk(allowed({ from: 'cli/run.ts', to: '../test/helpers/minimised.ts' }), 'tests are no part of the program')
  t.same(
    circles([
      { from: 'a.ts', to: 'b.ts' },
      { from: 'b.ts', to: 'a.ts' },
      { from: 'b.ts', to: 'c.ts' },
    ]),
    [['a.ts', 'b.ts']],
  )
  t.end()
})

t.test('every file is in a room', (t) => {
  const homeless = sourceFiles(root).filter((file) => rulesOf(roomOf(file)) === null)
  t.same(homeless, [])
  t.end()
})

t.test('rooms import what the table allows', (t) => {
  const violations = imports
    .filter((one) => !allowed(one))
    .map(line)
    .sort()
  t.comment(`${imports.length} imports, ${violations.length} violations`)
  t.same(violations, [])
  t.end()
})

t.test('rooms are entered by their entries alone', (t) => {
  const ground: readonly string[] = GROUND
  const entered = new Map<string, Set<string>>()
  for (const { from, to } of imports) {
    const room = roomOf(to)
    if (roomOf(from) === room || ground.includes(room) || room === to) continue
    entered.set(room, (entered.get(room) ?? new Set()).add(to.slice(room.length + 1)))
  }
  const listed = (room: string): readonly string[] =>
    ENTRIES[room] ?? (room.startsWith('sources/') ? [`${room.slice('sources/'.length)}.ts`, 'settings.ts'] : [])
  for (const [room, files] of [...entered].sort()) t.same([...files].sort(), [...listed(room)].sort(), room)
  t.same(
    Object.keys(ENTRIES).filter((room) => !entered.has(room)),
    [],
    'no room is listed that nobody enters',
  )
  t.end()
})

t.test('a question about the policy loads no client of Kafka, no store and no gRPC', (t) => {
  const heavy = ['lmdb', 'node-rdkafka', '@grpc/grpc-js', '@platformatic/kafka', 'fastify', 'drachtio-srf']
  for (const file of ['main', 'commands', 'explain', 'lint', 'schema', 'preview', 'test', 'diff', 'completion'])
    t.same(
      [...packagesWith(root, `cli/${file}.ts`)].filter((name) => heavy.includes(name)),
      [],
      file,
    )
  t.ok(packagesWith(root, 'app/app.ts').has('node-rdkafka'), 'and what runs the proxy does')
  t.end()
})

t.test('no circles', (t) => {
  t.same(
    circles(imports)
      .map((group) => group.join(' '))
      .sort(),
    [],
  )
  t.end()
})
