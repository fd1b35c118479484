/**
 * The embedded cluster: librdkafka's mock brokers, in a client of their own. It speaks the real protocol on a loopback
 * port, so any client can read it. It keeps 5 MB or 100,000 messages a partition, makes topics on first use and does
 * not isolate transactions: for trying minim out, never for data that must be kept.
 */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'

export interface EmbeddedKafka {
  readonly bootstrap: string
  stop(): Promise<void>
}

const METADATA_TIMEOUT_MS = 10_000

/** Starts mock brokers in this process. */
export async function startEmbeddedKafka(brokers = 1): Promise<EmbeddedKafka> {
  const client = new Kafka.Producer({
    'test.mock.num.brokers': brokers,
    'client.id': 'minim-embedded',
  } as Kafka.ProducerGlobalConfig)
  const metadata = await new Promise<Kafka.Metadata>((resolve, reject) => {
    client.connect({ timeout: METADATA_TIMEOUT_MS }, (error: Kafka.LibrdKafkaError | null, data) => {
      if (error !== null && error !== undefined) {
        reject(new MinimError('MINIM_KAFKA_UNREACHABLE', { bootstrap: 'embedded', what: error.message }))
      } else {
        resolve(data)
      }
    })
  })
  return {
    bootstrap: metadata.brokers.map((b) => `${b.host}:${b.port}`).join(','),
    stop: () =>
      new Promise((resolve) => {
        client.disconnect(0, () => {
          resolve()
        })
      }),
  }
}
