/** The shard that a delivery works for, and how it reaches Kafka: what never changes while it runs. */
import { transactionalIds } from '../flow/shards.js'
import { LEDGER_TOPIC } from '../flow/topic-names.js'
import { checkKafkaProperties, type ProducerLimits, producerLimits } from '../kafka/properties.js'
import type { KafkaProperties } from '../kafka/property-rules.js'
import { ledgerTopic, type WantedTopic } from '../kafka/topics.js'
import type { Place } from './lane.js'
import { type Ledger, ownerKey, readLedger } from './ledger.js'
import type { DeliveryOptions, DeliverySettings } from './options.js'

export class Shard {
  readonly index: number
  readonly count: number
  readonly bootstrap: string
  readonly properties: KafkaProperties
  readonly producer: ProducerLimits
  readonly settings: DeliverySettings
  readonly replication: number
  /** Topics to create and check, the ledger's among them; null on the embedded cluster, which knows neither. */
  readonly topics: readonly WantedTopic[] | null
  /** Its partition of the ledger. */
  readonly ledger: Place
  /** What the ledger's old names become; null where nobody says. */
  readonly renaming: NonNullable<DeliveryOptions['renaming']> | null

  /** @throws MinimError for a property of Kafka's clients that is minim's own, or makes no sense */
  constructor(options: DeliveryOptions) {
    const { bootstrap, properties = {}, settings, topics, replication, shard = 0, shards = 1 } = options
    checkKafkaProperties(properties)
    const name = options.ledgerTopic ?? LEDGER_TOPIC
    this.bootstrap = bootstrap
    this.properties = properties
    this.producer = producerLimits(properties)
    this.settings = settings
    this.replication = replication
    this.index = shard
    this.count = shards
    this.topics =
      topics === null || topics.some((topic) => topic.name === name) ? topics : [...topics, ledgerTopic(shards, name)]
    this.ledger = { topic: name, partition: shard }
    this.renaming = options.renaming ?? null
  }

  /** Whether there are transactions; else batches are delivered at least once. */
  get isExactlyOnce(): boolean {
    return this.settings.guarantee === 'exactly-once'
  }

  /** Whether it can be taken by somebody else: the embedded cluster belongs to this process alone. */
  get isContested(): boolean {
    return this.topics !== null && this.isExactlyOnce
  }

  /** The transactional ids of its two lanes, in the order of their turns. */
  get ids(): readonly [string, string] {
    return transactionalIds(this.settings.cluster, this.index)
  }

  get ownerKey(): string {
    return ownerKey(this.settings.cluster, this.index)
  }

  readLedger(): Promise<Ledger> {
    return readLedger({
      bootstrap: this.bootstrap,
      properties: this.properties,
      topic: this.ledger.topic,
      shard: this.index,
      shards: this.count,
      ownerKey: this.ownerKey,
      ...(this.renaming === null ? {} : { isOutdated: this.renaming.isOutdated }),
    })
  }
}
