import { createHash } from 'node:crypto'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AgentState } from '../../../src/sources/agent/state.js'

const hash = createHash('sha256').update('66305 1234 "acme","07700900123"').digest('hex').slice(0, 32)
const place = { source: 'file-0123456789ab', incarnation: hash, sequence: 120 }
const cut = { ...place, sequence: 4, place: '66305 1234', start: 0, end: 120, last: false, tooLarge: false }
const UNKEYED = JSON.stringify({
  version: 1,
  streams: {
    'pbx-1': { incarnation: 'd2a4f1f0-0000-4000-8000-000000000000', acknowledged: 3, cuts: [cut], places: [place] },
  },
})

t.test('hashes of an earlier version are kept under a key from then on', async (t) => {
  const file = join(t.testdir({ 'agent.json': UNKEYED }), 'agent.json')
  const state = AgentState.open(file)
  const { places, cuts, acknowledged } = state.stream('pbx-1')
  t.same(places, [{ ...place, incarnation: state.contentsName(hash) }])
  t.same(cuts, [{ ...cut, incarnation: state.contentsName(hash) }])
  t.equal(acknowledged, 3)
  await state.save()
  state.close()
  t.notOk(readFileSync(file, 'utf8').includes(hash), 'the bare hash is gone')
  t.equal(statSync(`${file}.key`).mode & 0o777, 0o600)
  const again = AgentState.open(file)
  t.same(again.stream('pbx-1').places, places, 'under the same key after a restart')
  again.close()
})

t.test('without its key no start: each file would be sent again', async (t) => {
  const file = join(t.testdir(), 'agent.json')
  const state = AgentState.open(file)
  state.stream('pbx-1').places.push({ ...place, incarnation: state.contentsName(hash) })
  await state.save()
  state.close()
  rmSync(`${file}.key`)
  t.throws(() => AgentState.open(file), { code: 'MINIM_AGENT_STATE', message: /its key file is not there/ })
  writeFileSync(`${file}.key`, 'short')
  t.throws(() => AgentState.open(file), { code: 'MINIM_AGENT_STATE', message: /its key file is damaged/ })
})

t.test('a key file that was cut off while it was made is made anew', async (t) => {
  const file = join(t.testdir({ 'agent.json': UNKEYED, 'agent.json.key': 'cut' }), 'agent.json')
  const state = AgentState.open(file)
  t.equal(readFileSync(`${file}.key`).length, 32)
  t.same(state.stream('pbx-1').places, [{ ...place, incarnation: state.contentsName(hash) }])
  state.close()
})
