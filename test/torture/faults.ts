/** Does the faults of a schedule to proxy, brokers and connections, and undoes each. */
import type { Held } from '../helpers/fault-proxy.js'
import { API, type FaultProxy } from '../helpers/fault-proxy.js'
import { electPreferred, type ProxiedKafka } from '../helpers/kafka-cluster.js'
import { type ProxyProcess, STOP_LIMIT_MS } from './proxy-process.js'
import type { Fault } from './schedule.js'

export interface Victims {
  readonly kafka: ProxiedKafka
  /** Between nodes and proxy: gRPC, HTTP. */
  readonly doors: readonly FaultProxy[]
  /** The proxy in charge. */
  readonly proxy: () => ProxyProcess
  /** Starts another one of the same cluster, on another host. */
  readonly second: () => ProxyProcess
  /** Nodes make no records, or go on. */
  readonly quiet: (on: boolean) => void
  /** Whether the proxy in charge has nothing to commit. */
  readonly atRest: () => Promise<boolean>
  /** Starts another one on the same host: the folder of its spool is in use. */
  readonly rival: () => ProxyProcess
  /** Nodes are sent to this one from now on. */
  readonly takeOver: (proxy: ProxyProcess) => void
  readonly note: (what: string) => void
  /** A line of the report that judges nothing. */
  readonly say: (line: string) => void
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

async function within(ms: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > deadline) return false
    await sleep(50)
  }
  return true
}

const CUT_EVERY_MS = 120
const SECOND_READY_MS = 60_000
/** A proxy that lost its shard must have ended by then, also when it has nothing to commit. */
const FENCED_MS = 20_000
const AT_REST_LIMIT_MS = 45_000
const REFUSED_MS = 20_000
/** What it ends with that may not use its spool's folder. */
const SPOOL_ERROR = /^MINIM_SPOOL_/

/** @returns whether it could be done */
export async function inflict(fault: Fault, victims: Victims): Promise<boolean> {
  const {
    kafka: { kafka, proxies },
    doors,
    note,
  } = victims
  const { holdMs, pick } = fault
  const broker = pick % proxies.length
  const proxy = victims.proxy()
  const onAll = (brokers: readonly FaultProxy[], action: (p: FaultProxy) => void): void => {
    for (const each of brokers) action(each)
  }
  switch (fault.kind) {
    case 'proxy killed':
      if (!(await within(10_000, () => proxy.running))) return false
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
      const { starts } = proxy
      proxy.kill('SIGTERM')
      // Killed after its limit, and told by the process.
      await within(STOP_LIMIT_MS + 5_000, () => proxy.starts > starts || !proxy.running)
      return true
    }
    case 'second proxy':
    case 'second proxy while the first is stopped':
    case 'second proxy while the first is at rest':
      try {
        return await replace(fault, victims)
      } finally {
        victims.quiet(false)
      }
    case 'second proxy on the same spool folder': {
      if (!proxy.running) return false
      const { starts } = proxy
      const rival = victims.rival()
      rival.mustEnd(REFUSED_MS, 'its spool folder was in use')
      await within(REFUSED_MS, () => !rival.running || rival.addresses !== null)
      if (rival.addresses !== null) {
        note('it started')
        await rival.kill9()
        return true
      }
      const code = await rival.end()
      if (code === 0 || !SPOOL_ERROR.test(rival.endedBy))
        note(`it ended with ${code ?? 'SIGKILL'} and said ${rival.endedBy === '' ? 'nothing' : rival.endedBy}`)
      if (proxy.starts !== starts || !proxy.running) note('the first one did not go on')
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
      onAll(proxies, (p) => {
        p.cut()
      })
      return true
    case 'connections to Kafka cut again and again': {
      const timer = setInterval(() => {
        onAll(proxies, (p) => {
          p.cut()
        })
      }, CUT_EVERY_MS)
      await sleep(holdMs)
      clearInterval(timer)
      return true
    }
    case 'Kafka is slow':
      onAll(proxies, (p) => {
        p.latencyMs = 20 + (pick % 180)
        p.bytesPerSecond = 300_000
      })
      await sleep(holdMs)
      onAll(proxies, (p) => {
        p.heal()
      })
      return true
    case 'Kafka is half-open':
      onAll(proxies, (p) => {
        p.halfOpen()
      })
      await sleep(holdMs)
      return true
    case 'Kafka is silent':
      onAll([proxies[broker]], (p) => {
        p.hush(pick % 3 === 0 ? ['client'] : pick % 3 === 1 ? ['server'] : ['client', 'server'])
      })
      await sleep(holdMs)
      onAll(proxies, (p) => {
        p.heal()
      })
      return true
    case "a commit's answer is held back":
    case 'a commit is held back': {
      const held: Held[] = proxies.map((p) =>
        p.holdBack(fault.kind === 'a commit is held back' ? 'server' : 'client', API.endTxn),
      )
      const caught = await Promise.race([
        Promise.race(held.map((h) => h.caught)).then(() => true),
        sleep(holdMs + 5_000).then(() => false),
      ])
      if (caught) await sleep(holdMs)
      for (const each of held) each.release()
      return caught
    }
    case "nodes' connections cut":
      onAll(doors, (p) => {
        p.cut()
      })
      return true
    case 'nodes are half-open':
      onAll(doors, (p) => {
        p.halfOpen()
      })
      await sleep(holdMs)
      onAll(doors, (p) => {
        p.heal()
      })
      return true
    case 'leaders moved':
      await electPreferred(kafka).catch(() => undefined)
      return true
  }
}

/** Another proxy, on another host, takes what the one in charge has. */
async function replace({ kind, holdMs }: Fault, victims: Victims): Promise<boolean> {
  const { note } = victims
  const proxy = victims.proxy()
  if (!proxy.running) return false
  const hung = proxy.notEnded.length
  const asleep = kind === 'second proxy while the first is stopped'
  const atRest = kind === 'second proxy while the first is at rest'
  if (atRest) {
    victims.quiet(true)
    if (!(await within(AT_REST_LIMIT_MS, () => victims.atRest()))) return false
  }
  if (asleep) proxy.kill('SIGSTOP')
  proxy.retire()
  const second = victims.second()
  if (!(await within(SECOND_READY_MS, () => second.addresses !== null))) note('it was not ready in time')
  if (asleep) {
    victims.takeOver(second)
    await sleep(holdMs)
    proxy.kill('SIGCONT')
  }
  proxy.mustEnd(FENCED_MS, atRest ? 'another had its shard, and it had nothing to do' : 'another had its shard')
  const code = await proxy.end()
  // One that had to be killed is told of by itself. What a fenced one could not close in time it gives up by SIGKILL of
  // its own, which its documentation says: that is an end within the limit, not the one that is wished for.
  const ownKill = code === null && proxy.endedBy.startsWith('MINIM_DELIVERY_FENCED')
  if (ownKill) victims.say('the first one ended in time, by SIGKILL of its own')
  else if (code !== 3 && proxy.notEnded.length === hung) note(`the first one ended with ${code ?? 'a signal'}`)
  victims.takeOver(second)
  return true
}
