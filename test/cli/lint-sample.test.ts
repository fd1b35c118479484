/** `minim lint --sample` as it is called: its limits end it, and it names nobody. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Linkability } from '../../src/cli/lint-sample.js'
import { repositoryRoot } from '../helpers/shared.js'

const MAIN = join(repositoryRoot(), 'dist/src/cli/main.js')
const NOW_MS = Date.UTC(2026, 10, 27, 10)

function lint(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, 'lint', '--at', String(NOW_MS), ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  })
}

const folder = t.testdir({})
const sample = join(folder, 'calls.jsonl')
writeFileSync(
  sample,
  Array.from({ length: 400 }, (_, i) =>
    JSON.stringify({
      account: `ACME-${i % 200}`,
      calling: `+44770090${String(i % 200).padStart(4, '0')}`,
      called: '+442079460123',
      start_ms: NOW_MS - 3_600_000 + i * 1001,
      duration_seconds: 63,
      billable_seconds: 60,
      user_agent: 'Yealink SIP-T46S 66.85.0.5',
    }),
  ).join('\n'),
)

/** The default policy with limits on what may be linked with marketing's records. */
function policyWith(limits: string): string {
  const file = join(folder, 'policy.yaml')
  const shipped = readFileSync(join(repositoryRoot(), 'config/policy.yaml'), 'utf8')
  const changed = shipped.replace('    notice: P6\n', `    notice: P6\n    linkable_with: ${limits}\n`)
  t.not(changed, shipped)
  writeFileSync(file, changed)
  return file
}

t.test('a table that fits 80 columns, and no identifier in it', (t) => {
  const { status, stdout, stderr } = lint(['--sample', sample])
  t.equal(status, 0, stderr)
  t.match(stdout, /^sample: 400 records; 200 subjects; 0 not read$/m)
  t.match(stdout, /^100 % of every pair by: transaction, position, marker/m)
  t.match(stdout, /^service – billing +\S+: /m)
  const tables = stdout.slice(stdout.indexOf('What can be linked'))
  t.same(
    tables.split('\n').filter((line) => Array.from(line).length > 80),
    [],
  )
  for (const output of [stdout, lint(['--sample', sample, '--json']).stdout])
    t.notMatch(output, /ACME-\d|7700 ?90|7946|T46S/)
  t.end()
})

t.test('a limit that the bound is above ends it with an error; one that is kept does not', (t) => {
  const broken = lint(['--sample', sample, '--policy', policyWith('{ research: 1% }')])
  t.equal(broken.status, 2)
  t.match(broken.stderr, /MINIM_POLICY_LINKABLE: .*policy\.yaml: more can be linked than the policy allows, 1 time/)
  t.match(
    broken.stderr,
    /purposes\.marketing\.linkable_with\.research: is 1 %, and 100 % of call records may be linked/,
  )
  t.match(broken.stderr, /transaction, position, marker/)
  // 200 subjects without a link show 1.5 %.
  const values = ['--readers', 'values']
  t.equal(lint(['--sample', sample, ...values, '--policy', policyWith('{ research: 2% }')]).status, 0)
  const small = lint(['--sample', sample, ...values, '--json', '--policy', policyWith('{ research: 1% }')])
  t.equal(small.status, 2, 'nothing linked, and too few to show it')
  const { linkage } = JSON.parse(small.stdout) as { linkage: Linkability }
  t.equal(linkage.exceeded.length, 1)
  t.equal(linkage.pairs.find(({ purposes }) => purposes.join() === 'research,marketing')?.attempts[0].right.hits, 0)
  t.end()
})

t.test('it says the same each time', (t) => {
  const drawn = (seed: string): string =>
    lint(['--sample', sample, '--json', '--records', '150', '--seed', seed]).stdout
  t.equal(drawn('1'), drawn('1'))
  t.not(drawn('1'), drawn('2'))
  t.end()
})

t.test('limits of purposes that there are none of, or that are no shares, are mistakes', (t) => {
  const { status, stderr, stdout } = lint(['--policy', policyWith('{ marketing: 1%, reserch: 2%, billing: 101% }')])
  t.equal(status, 2)
  const said = stdout + stderr
  t.match(said, /purposes\.marketing\.linkable_with\.marketing: is the purpose itself/)
  t.match(said, /purposes\.marketing\.linkable_with\.reserch: is no purpose of this policy; did you mean research/)
  t.match(said, /purposes\.marketing\.linkable_with\.billing: is of another form/)
  t.end()
})
