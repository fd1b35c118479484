/** The shard that a delivery works for, and how it reaches Kafka: what does not change while it runs, topics apart. */
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
  #topics: readonly WantedTopic[] | null
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
    this.ledger = { topic: name, partition: shard }
    this.#topics = topics === null ? null : this.#withLedger(topics)
    this.renaming = options.renaming ?? null
  }

  /** Topics to create and check, the ledger's among them; null on the embedded cluster, which knows neither. */
  get topics(): readonly WantedTopic[] | null {
    return this.#topics
  }

  /** From now on these topics are wanted; nothing changes on the embedded cluster. */
  useTopics(topics: readonly WantedTopic[]): void {
    if (this.#topics !== null) this.#topics = this.#withLedger(topics)
  }

  #withLedger(topics: readonly WantedTopic[]): readonly WantedTopic[] {
    const { topic } = this.ledger
    return topics.some(({ name }) => name === topic) ? topics : [...topics, ledgerTopic(this.count, topic)]
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
