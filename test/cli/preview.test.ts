/** `minim preview` as it is called. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { formatOf } from '../../src/cli/file-input.js'
import type { RecordSight } from '../../src/trial/trial.js'
import { spawnSync } from '../helpers/child-process.js'
import { repositoryRoot } from '../helpers/shared.js'

const MAIN = join(repositoryRoot(), 'dist/src/cli/main.js')

function preview(args: readonly string[], input = ''): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, 'preview', ...args], { encoding: 'utf8', input, timeout: 60_000 })
}

t.test('its own records need neither Kafka nor keys, and fit 80 columns', (t) => {
  const { status, stdout, stderr } = preview(['--example'])
  t.equal(status, 0, stderr)
  t.match(stdout, /a key that is thrown away/)
  t.match(stdout, /^record 1: call, \d+ fields$/m)
  t.match(stdout, /^3 records; 0 to quarantine$/m)
  t.same(
    stdout.split('\n').filter((line) => Array.from(line).length > 120),
    [],
  )
  t.end()
})

t.test('standard input, one object a record', (t) => {
  const call = JSON.stringify({ calling: '+447700900123', start_ms: Date.now(), duration_seconds: 3 })
  const { status, stdout, stderr } = preview(['-', '--json', '--purpose', 'fraud'], `${call}\n${call}\n`)
  t.equal(status, 0, stderr)
  const sights = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as RecordSight)
  t.same(
    sights.map(({ record, purposes }) => [record, purposes.map(({ purpose }) => purpose)]),
    [
      [1, ['fraud']],
      [2, ['fraud']],
    ],
  )
  t.not(sights[0].purposes[0].fields[0].sees, '+447700900123')
  t.end()
})

t.test('--at looks from another time', (t) => {
  const call = JSON.stringify({ calling: '+447700900123', start_ms: Date.UTC(2020, 1, 1), duration_seconds: 3 })
  t.match(preview(['-'], call).stdout, /sees nothing \(expired\)/)
  t.notMatch(preview(['-', '--at', '2020-02-01T01:00:00Z'], call).stdout, /expired/)
  t.match(preview(['-', '--at', '2019-02-01T01:00:00Z'], call).stdout, /quarantine \(clock\)/)
  t.end()
})

t.test('a page instead of text', (t) => {
  const path = join(t.testdir({}), 'page.html')
  const { status, stdout } = preview(['--example', '--html', path])
  t.equal(status, 0)
  t.match(stdout, '3 of 3 records')
  t.ok(existsSync(path))
  t.match(readFileSync(path, 'utf8'), /^<!doctype html>/)
  t.end()
})

t.test('who reads may stop reading', (t) => {
  const call = JSON.stringify({ calling: '+447700900123', start_ms: Date.now() })
  const { status, stderr } = spawnSync(
    'bash',
    ['-c', `set -o pipefail; "$1" "$2" preview - --json | head -n 1 > /dev/null`, 'bash', process.execPath, MAIN],
    { encoding: 'utf8', input: `${call}\n`.repeat(2000), timeout: 60_000 },
  )
  t.equal(stderr, '')
  t.equal(status, 0)
  t.end()
})

t.test('mistakes, all at once', (t) => {
  const none = preview(['--purpose', 'biling'])
  t.equal(none.status, 2)
  t.match(none.stderr, /did you mean billing\?[^]*file: is missing/)
  t.match(preview(['/nowhere/x.csv']).stderr, /\/nowhere\/x\.csv: cannot be read \(ENOENT\)/)
  t.match(preview(['-', '--format', 'csv', '--kind', 'calls']).stderr, /--format[^]*--kind/)
  t.match(preview(['--example', 'x.csv']).stderr, /--example: has records of its own/)
  t.match(preview(['--example', '--at', 'soon']).stderr, /write a time/)
  t.end()
})

t.test('the format by name, else by the beginning', (t) => {
  const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
  t.equal(formatOf('Master.CSV', bytes('{')), 'asterisk-csv')
  t.equal(formatOf('-', bytes(' {"a":1}')), 'jsonl')
  t.equal(formatOf('-', bytes('"","1001"')), 'asterisk-csv')
  t.equal(formatOf('calls', bytes('\x12\x01\x05')), 'protobuf')
  t.end()
})
