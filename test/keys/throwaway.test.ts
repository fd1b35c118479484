import { inspect } from 'node:util'
import t from 'tap'
import type { EpochKeys } from '../../src/keys/keyring.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'

const NOW = Date.parse('2026-11-24T10:00:00Z')

t.test('keeps to the rules of the store, in memory', async (t) => {
  const keyring = throwawayKeyring(() => NOW)
  const first = (keyring.keys('billing', '2026-Q4') as EpochKeys).block.toString('hex')
  t.equal((keyring.keys('billing', '2026-Q4') as EpochKeys).block.toString('hex'), first)
  t.not((keyring.keys('billing', '2027-Q1') as EpochKeys).block.toString('hex'), first)
  t.not(
    (throwawayKeyring(() => NOW).keys('billing', '2026-Q4') as EpochKeys).block.toString('hex'),
    first,
    'another run has other keys',
  )
  t.equal(keyring.keys('billing', '2027-Q2'), 'absent')
  t.equal(keyring.keys('billing', 'never'), 'absent')
  keyring.destroy('billing', '2026-Q4')
  t.equal(keyring.keys('billing', '2026-Q4'), 'destroyed')
  keyring.ensureAhead([{ id: 'billing', epoch: 'quarter' }])
  t.equal(keyring.keys('billing', '2026-Q4'), 'destroyed')
})

t.test('shows no key', async (t) => {
  const keyring = throwawayKeyring(() => NOW)
  keyring.keys('billing', '2026-Q4')
  t.equal(inspect(keyring, { showHidden: true }), '[keyring]')
  t.equal(JSON.stringify({ keyring }), '{"keyring":"[keyring]"}')
  t.notMatch(inspect(keyring, { customInspect: false, showHidden: true, depth: 9 }), /<Buffer/)
})
