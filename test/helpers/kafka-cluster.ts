/**
 * A real Kafka whose clients come to it through a {@link FaultProxy} per broker; brokers among themselves, and tools,
 * do not.
 */
import { FaultProxy } from './fault-proxy.js'
import { type KafkaCluster, startKafka, type StartKafkaOptions } from './kafka.js'

export interface ProxiedKafka {
  readonly kafka: KafkaCluster
  /** For clients: the proxies. */
  readonly bootstrap: string
  /** One per broker. */
  readonly proxies: readonly FaultProxy[]
  stop(): Promise<void>
}

/** Starts it. The options' `advertisedPorts` are the proxies'. */
export async function startProxiedKafka(options: StartKafkaOptions = {}): Promise<ProxiedKafka> {
  const proxies: FaultProxy[] = []
  for (let i = 0; i < (options.brokers ?? 1); i++) proxies.push(await FaultProxy.start({ frames: true }))
  const stopProxies = (): Promise<unknown> => Promise.all(proxies.map((proxy) => proxy.stop()))
  try {
    const kafka = await startKafka({ ...options, advertisedPorts: proxies.map((proxy) => proxy.port) })
    proxies.forEach((proxy, i) => {
      proxy.target = kafka.ports[i]
    })
    return {
      kafka,
      proxies,
      bootstrap: proxies.map((proxy) => `127.0.0.1:${proxy.port}`).join(','),
      stop: async () => {
        await kafka.stop()
        await stopProxies()
      },
    }
  } catch (error) {
    await stopProxies()
    throw error
  }
}

/** Broker (by its number in the cluster, from 0) that leads a partition; null while none does. */
export async function leaderOf(kafka: KafkaCluster, topic: string, partition: number): Promise<number | null> {
  const described = await kafka.tool('org.apache.kafka.tools.TopicCommand', [
    '--bootstrap-server',
    kafka.toolBootstrap,
    '--describe',
    '--topic',
    topic,
  ])
  const leader = new RegExp(`Partition: ${partition}\\s+Leader: (\\d+)`).exec(described)?.[1]
  return leader === undefined ? null : Number(leader) - 1
}

/** Gives every partition back to the broker that it belongs to first: leaders move, all brokers up. */
export function electPreferred(kafka: KafkaCluster): Promise<string> {
  return kafka.tool('org.apache.kafka.tools.LeaderElectionCommand', [
    '--bootstrap-server',
    kafka.toolBootstrap,
    '--election-type',
    'preferred',
    '--all-topic-partitions',
  ])
}
