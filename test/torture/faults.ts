/** Does the faults of a schedule to proxy, brokers and connections, and undoes each. */
import type { Held } from '../helpers/fault-proxy.js'
import { API, type FaultProxy } from '../helpers/fault-proxy.js'
import { electPreferred, type ProxiedKafka } from '../helpers/kafka-cluster.js'
import type { ProxyProcess } from './proxy-process.js'
import type { Fault } from './schedule.js'

export interface Victims {
  readonly kafka: ProxiedKafka
  /** Between nodes and proxy: gRPC, HTTP. */
  readonly doors: readonly FaultProxy[]
  /** The proxy in charge. */
  readonly proxy: () => ProxyProcess
  /** Another one of the same cluster, ready. Null when none can be started. */
  readonly second: () => ProxyProcess
  /** Nodes are sent to this one from now on. */
  readonly takeOver: (proxy: ProxyProcess) => void
  readonly note: (what: string) => void
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

async function within(ms: number, condition: () => boolean): Promise<boolean> {
  const deadline = performance.now() + ms
  while (!condition()) {
    if (performance.now() > deadline) return false
    await sleep(50)
  }
  return true
}

const CUT_EVERY_MS = 120
const SECOND_READY_MS = 60_000
/** A proxy that lost its shard must have noticed by then: it commits all the time. */
const FENCED_MS = 45_000
const DRAIN_MS = 40_000

/** @returns whether it could be done */
export async function inflict(fault: Fault, victims: Victims): Promise<boolean> {
  const { kafka: { kafka, proxies }, doors, note } = victims
  const { holdMs, pick } = fault
  const broker = pick % proxies.length
  const proxy = victims.proxy()
  const onAll = (brokers: readonly FaultProxy[], action: (p: FaultProxy) => void): void => { for (const each of brokers) action(each) }
  switch (fault.kind) {
    case 'proxy killed':
      if (!await within(10_000, () => proxy.running)) return false
      proxy.kill('SIGKILL')
      return true
    case 'proxy stopped':
    case 'proxy stopped for long':
      if (!proxy.running) return false
      proxy.kill('SIGSTOP')
      await sleep(holdMs)
      proxy.kill('SIGCONT')
      return true
    case 'proxy told to end': {
      if (!proxy.running) return false
      proxy.kill('SIGTERM')
      const starts = proxy.starts
      if (!await within(DRAIN_MS, () => proxy.starts > starts || !proxy.running)) note('told to end, and did not within its limit')
      return true
    }
    case 'second proxy':
    case 'second proxy while the first is stopped': {
      if (!proxy.running) return false
      const asleep = fault.kind !== 'second proxy'
      if (asleep) proxy.kill('SIGSTOP')
      proxy.retire()
      const second = victims.second()
      if (!await within(SECOND_READY_MS, () => second.addresses !== null)) note('a second proxy was not ready in time')
      if (asleep) {
        victims.takeOver(second)
        await sleep(holdMs)
        proxy.kill('SIGCONT')
      }
      // It has batches to commit, or its nodes come here: in both cases it is over.
      if (!await within(asleep ? 5_000 : FENCED_MS, () => !proxy.running)) {
        if (!asleep) note('a proxy that lost its shard went on')
      } else {
        const code = await proxy.end()
        if (code !== 3) note(`a proxy that lost its shard ended with ${code}`)
      }
      victims.takeOver(second)
      await proxy.kill9()
      return true
    }
    case 'broker killed':
      await kafka.kill(broker)
      await sleep(holdMs)
      await kafka.restart(broker)
      return true
    case 'broker stopped':
    case 'broker stopped for long':
      kafka.pause(broker)
      await sleep(holdMs)
      kafka.resume(broker)
      return true
    case 'connections to Kafka cut':
      onAll(proxies, (p) => { p.cut() })
      return true
    case 'connections to Kafka cut again and again': {
      const timer = setInterval(() => { onAll(proxies, (p) => { p.cut() }) }, CUT_EVERY_MS)
      await sleep(holdMs)
      clearInterval(timer)
      return true
    }
    case 'Kafka is slow':
      onAll(proxies, (p) => { p.latencyMs = 20 + pick % 180; p.bytesPerSecond = 300_000 })
      await sleep(holdMs)
      onAll(proxies, (p) => { p.heal() })
      return true
    case 'Kafka is half-open':
      onAll(proxies, (p) => { p.halfOpen() })
      await sleep(holdMs)
      return true
    case 'Kafka is silent':
      onAll([proxies[broker]], (p) => { p.hush(pick % 3 === 0 ? ['client'] : pick % 3 === 1 ? ['server'] : ['client', 'server']) })
      await sleep(holdMs)
      onAll(proxies, (p) => { p.heal() })
      return true
    case 'a commit\'s answer is held back':
    case 'a commit is held back': {
      const held: Held[] = proxies.map((p) => p.holdBack(fault.kind === 'a commit is held back' ? 'server' : 'client', API.endTxn))
      const caught = await Promise.race([Promise.race(held.map((h) => h.caught)).then(() => true), sleep(holdMs + 5_000).then(() => false)])
      if (caught) await sleep(holdMs)
      for (const each of held) each.release()
      return caught
    }
    case 'nodes\' connections cut':
      onAll(doors, (p) => { p.cut() })
      return true
    case 'nodes are half-open':
      onAll(doors, (p) => { p.halfOpen() })
      await sleep(holdMs)
      onAll(doors, (p) => { p.heal() })
      return true
    case 'leaders moved':
      await electPreferred(kafka).catch(() => undefined)
      return true
  }
}
