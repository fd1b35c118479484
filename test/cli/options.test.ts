/** What options of several commands have in common. */
import t from 'tap'
import { brokersOf } from '../../src/cli/options.js'
import { ProblemsError } from '../../src/errors/problems.js'
import { loadSettings } from '../../src/settings/load.js'

t.test('the brokers: as given, else the settings\'; an embedded Kafka\'s only as given', async (t) => {
  const kafka = { 'bootstrap.servers': 'b:1' }
  t.equal(brokersOf('minim tail', undefined, loadSettings(null, { kafka })), 'b:1')
  t.equal(brokersOf('minim tail', 'c:2', loadSettings(null, { kafka })), 'c:2')
  t.equal(brokersOf('minim tail', 'c:2', loadSettings(null, { embedded: true })), 'c:2')
  try {
    brokersOf('minim tail', undefined, loadSettings(null, { kafka, embedded: true }))
    t.fail('it is refused')
  } catch (error) {
    if (!(error instanceof ProblemsError)) throw error
    t.equal(error.code, 'MINIM_COMMAND_LINE')
    t.match(error.problems, [{ path: '--brokers', what: /embedded: true/, mend: /line "ready"/ }])
  }
})
