/** Settings and policy are checked together: who mends one should not learn only then of the other. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadChecked } from '../../src/cli/checked.js'
import { explainError } from '../../src/cli/exit.js'
import { ProblemsError } from '../../src/errors/problems.js'
import type { SettingsInput } from '../../src/settings/load.js'
import { repositoryRoot } from '../helpers/shared.js'

const SHIPPED = join(repositoryRoot(), 'config/policy.yaml')

function refused(
  t: Test,
  settings: unknown,
  files: Readonly<Record<string, string>> = {},
  overrides: SettingsInput = {},
): ProblemsError {
  const path = join(t.testdir({ 'minim.yaml': JSON.stringify(settings), ...files }), 'minim.yaml')
  try {
    loadChecked(path, overrides, () => [])
  } catch (error) {
    if (error instanceof ProblemsError) return error
    throw error
  }
  throw new Error('it was taken')
}

t.test("a policy that cannot be read is told with the settings' mistakes", (t) => {
  const error = refused(t, { cluser: 'a', policy: 'polcy.yaml' })
  t.match(
    [error.code, error.problems, error.also?.code, error.also?.problems],
    [
      'MINIM_SETTINGS_INVALID',
      [{ path: 'cluser' }],
      'MINIM_POLICY_INVALID',
      [{ path: '', what: 'cannot be read (ENOENT)' }],
    ],
  )
  const settings = 'MINIM_SETTINGS_INVALID[^]*cluser[^]*→ mend each line'
  const policy = 'MINIM_POLICY_INVALID[^]*polcy\\.yaml[^]*cannot be read \\(ENOENT\\)[^]*→ mend'
  t.match(explainError(error), new RegExp(`${settings}[^]*${policy}`))
  t.end()
})

t.test('and so are the mistakes in it', (t) => {
  const error = refused(
    t,
    { topics: { partitions: 0 }, policy: 'policy.yaml' },
    { 'policy.yaml': 'purposes: { billing: { epoch: fortnight } }' },
  )
  t.match(error.problems, [{ path: 'topics.partitions' }])
  t.ok(error.also?.problems.some(({ path }) => path === 'purposes.billing.epoch'))
  t.end()
})

t.test('one that is sound adds nothing; alone its mistakes are its own error', (t) => {
  t.equal(refused(t, { topics: { partitions: 0 }, policy: SHIPPED }).also, null)
  t.match(refused(t, { policy: 'gone.yaml' }), { code: 'MINIM_POLICY_INVALID', also: null })
  t.equal(refused(t, { cluser: 'a' }, {}, { policy: SHIPPED }).also, null, "it is the command line's policy then")
  t.end()
})

for (const { name, settings } of [
  { name: 'of another type', settings: { policy: 5 } },
  { name: 'in no mapping', settings: ['policy'] },
]) {
  t.test(`a policy's path that is ${name}: nothing is said of the policy`, (t) => {
    t.match(refused(t, settings), { code: 'MINIM_SETTINGS_INVALID', also: null })
    t.end()
  })
}

t.test('both, when both are sound', (t) => {
  const path = join(t.testdir({ 'minim.yaml': JSON.stringify({ cluster: 'a', policy: SHIPPED }) }), 'minim.yaml')
  const { settings, policy } = loadChecked(path, {}, () => [])
  t.equal(settings.cluster, 'a')
  t.ok(policy.purposes.some(({ id }) => id === 'billing'))
  t.end()
})
