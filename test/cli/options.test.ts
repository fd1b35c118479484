/** What options of several commands have in common. */
import { join } from 'node:path'
import t from 'tap'
import { brokersOf, brokersOver } from '../../src/cli/options.js'
import { ProblemsError } from '../../src/errors/problems.js'
import { loadSettings, type SettingsInput } from '../../src/settings/load.js'
import type { Settings } from '../../src/settings/schema.js'

t.test("the brokers: as given, else the settings'; an embedded Kafka's only as given", async (t) => {
  const kafka = { 'bootstrap.servers': 'b:1' }
  const over = (given: string | undefined, settings: SettingsInput): Settings => {
    const path = join(t.testdir({ 'minim.yaml': JSON.stringify(settings) }), 'minim.yaml')
    return loadSettings(path, brokersOver(given))
  }
  t.equal(brokersOf('minim tail', over(undefined, { kafka })), 'b:1')
  t.equal(brokersOf('minim tail', over('c:2', { kafka })), 'c:2')
  t.match(
    over('c:2', { kafka, embedded: true }),
    { embedded: false, kafka: { 'bootstrap.servers': 'c:2' } },
    'what starts a Kafka of its own otherwise does not',
  )
  t.equal(brokersOf('minim tail', over('c:2', { embedded: true })), 'c:2')
  try {
    brokersOf('minim tail', over(undefined, { kafka, embedded: true }))
    t.fail('it is refused')
  } catch (error) {
    if (!(error instanceof ProblemsError)) throw error
    t.equal(error.code, 'MINIM_COMMAND_LINE')
    t.match(error.problems, [{ path: '--brokers', what: /embedded: true/, mend: /line "ready"/ }])
  }
})
