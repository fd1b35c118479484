/** What the settings add to the tables of devices holds where a policy is tried, as it does where it runs. */
import { join } from 'node:path'
import t from 'tap'
import type { RecordSight } from '../../src/trial/trial.js'
import { spawnSync } from '../helpers/child-process.js'
import { repositoryRoot } from '../helpers/shared.js'

const MAIN = join(repositoryRoot(), 'dist/src/cli/main.js')
const POLICY = join(repositoryRoot(), 'config/policy.yaml')
const SETTINGS = 'devices: { models: { Yealink: [T99X] } }\n'
const CASES = `
cases:
  - name: service sees a model of the settings
    kind: call
    record:
      account: A-1
      calling: "1001"
      called: "+447700900123"
      start_ms: "2026-11-27T10:00:00.500Z"
      disposition: ANSWERED
      user_agent: Yealink SIP-T99X 66.85.0.5
    sees:
      service: { includes: { device_model: T99X } }
`

function minim(args: readonly string[], input = ''): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', input, timeout: 60_000 })
}

t.test('minim preview knows the models of the settings', (t) => {
  const config = join(t.testdir({ 'minim.yaml': SETTINGS }), 'minim.yaml')
  const call = JSON.stringify({ account: 'A-1', start_ms: Date.now(), user_agent: 'Yealink SIP-T99X 66.85.0.5' })
  const modelIn = (args: readonly string[]): unknown => {
    const { status, stdout, stderr } = minim(
      ['preview', '-', '--json', '--purpose', 'service', '--policy', POLICY, ...args],
      `${call}\n`,
    )
    t.equal(status, 0, stderr)
    const { purposes } = JSON.parse(stdout) as RecordSight
    return purposes[0].fields.find(({ field }) => field === 'device_model')?.sees
  }
  t.equal(modelIn(['--config', config]), 'T99X')
  t.equal(modelIn([]), 'other', 'not without')
  t.end()
})

t.test('minim test knows the models of the settings', (t) => {
  const folder = t.testdir({ 'minim.yaml': SETTINGS, 'cases.yaml': CASES })
  const cases = join(folder, 'cases.yaml')
  const found = minim(['test', cases, '--policy', POLICY, '--config', join(folder, 'minim.yaml')])
  t.equal(found.status, 0, found.stdout + found.stderr)
  t.equal(minim(['test', cases, '--policy', POLICY]).status, 1, 'not without')
  t.end()
})
