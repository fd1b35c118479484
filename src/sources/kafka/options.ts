/** What reading a topic needs. */
import type { SourceCounters } from '../../flow/counters.js'
import type { Intake } from '../../flow/intake.js'
import type { Logger } from '../../flow/log.js'
import type { Cluster } from '../../kafka/cluster.js'
import type { Unpack } from '../../kafka/record-set.js'
import type { MessageFormat } from './messages.js'
import type { KafkaInputSettings } from './settings.js'

export interface KafkaInputOptions {
  readonly settings: KafkaInputSettings
  readonly cluster: Cluster
  readonly intake: Intake
  readonly format: MessageFormat
  readonly unpack: Unpack
  readonly counters: SourceCounters
  readonly log: Logger
  /** This proxy's name in the group. */
  readonly instance: string
  /** How long a new generation waits for its members, ms. */
  readonly rebalanceMs: number
}
