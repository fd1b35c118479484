/** What Kafka says of the settings: whether it answers, knows what is asked of it, and has topics as they are wanted. */
import { catalogue as shippedCatalogue } from '../catalogue/catalogue.js'
import { MinimError } from '../errors/catalogue.js'
import type { LineOf } from '../errors/yaml.js'
import { driftProblem, ledgerTopic, lookAtTopics, type TopicsOptions } from '../kafka/topics.js'
import { compile } from '../policy/compile.js'
import type { Policy } from '../policy/model.js'
import type { Settings } from '../settings/schema.js'
import type { Finding } from './check.js'
import { wantedTopics } from './generation.js'

/** The topics of an installation, ledger and quarantine among them, and where they are. */
export function topicsOf(settings: Settings, policy: Policy): TopicsOptions {
  const { 'bootstrap.servers': bootstrap, ...properties } = settings.kafka
  const wanted = wantedTopics(compile(policy, shippedCatalogue()), settings)
  return {
    bootstrap: String(bootstrap),
    properties,
    replication: settings.topics.replication,
    wanted: [...wanted, ledgerTopic(settings.workers)],
  }
}

/**
 * Asks Kafka, and makes nothing there.
 * @param file the settings' file
 * @param lineOf its lines
 * @param given the brokers were named on the command line
 */
export async function checkBrokers(
  settings: Settings,
  policy: Policy,
  file: string,
  lineOf: LineOf,
  given: boolean,
): Promise<Finding[]> {
  const place = given
    ? { file: null, path: '--brokers' }
    : { file, path: 'kafka.bootstrap.servers', line: lineOf('kafka.bootstrap.servers') }
  try {
    const { drift, missing, warnings } = await lookAtTopics(topicsOf(settings, policy))
    const findings: Finding[] = drift.map((one) => ({
      ...driftProblem(one),
      code: 'MINIM_KAFKA_TOPIC_DRIFT',
      file: null,
      severity: 'error',
    }))
    for (const { name } of missing)
      findings.push({
        code: 'MINIM_KAFKA_NO_TOPIC',
        file: null,
        path: name,
        what: 'is not there yet',
        mend: 'nothing to do where minim may create topics: it does when it starts; `minim topics apply` does before',
        severity: 'warning',
      })
    for (const what of warnings)
      findings.push({
        code: 'MINIM_KAFKA_TOPIC_DRIFT',
        file,
        path: 'topics.replication',
        line: lineOf('topics.replication'),
        what,
        mend: 'run more brokers, or write here how many replicas there are to be',
        severity: 'warning',
      })
    return findings
  } catch (error) {
    if (!(error instanceof MinimError)) throw error
    return [{ ...place, code: error.code, what: error.message, mend: error.fix, severity: 'error' }]
  }
}
