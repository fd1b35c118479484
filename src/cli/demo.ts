/**
 * `minim demo`: the whole program on one machine, with Kafka inside and three simulated PBX nodes that speak to the
 * real gRPC port.
 */
import { rmSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import type { Command } from 'commander'
import { type App, startApp } from '../app/app.js'
import type { Outcome } from '../flow/outcome.js'
import { throwawayKeyring } from '../keys/throwaway.js'
import { createLog } from '../ops/log.js'
import type { Plan } from '../policy/compile.js'
import { loadSettings } from '../settings/load.js'
import { DeliverClient } from '../sources/common/deliver-client.js'
import { demoFile, type RunningDemo } from './demo-file.js'
import { fail } from './exit.js'
import { seconds } from './options.js'
import { printer } from './output.js'
import { SimulatedNode } from './simulate.js'

const NODES = ['pbx-london', 'pbx-leeds', 'pbx-cardiff']
const TICK_MS = 200
const CALLS_PER_TICK = 6
const TICKS_PER_LINE = 1000 / TICK_MS

const WARNING = `┌──────────────────────────────────────────────────────────────────────────────┐
│ DEMO: a throw-away key was made and dies with this process. Nobody can       │
│ reverse these tokens afterwards. Real data: \`minim keys init\`, \`minim run\`.  │
└──────────────────────────────────────────────────────────────────────────────┘`

export function register(program: Command): void {
  const print = printer(program)
  program
    .command('demo')
    .description('see it work: Kafka inside, three simulated PBX nodes, every topic of the default policy')
    .option('--seconds <n>', 'end after so many seconds; 0: when you press Ctrl-C', seconds, 0)
    .option('--policy <file>', 'the policy, instead of the one that minim ships')
    .action(async (options: { readonly seconds: number; readonly policy?: string }) => {
      const settings = loadSettings(null, {
        embedded: true,
        grpc: { listen: '127.0.0.1:0' },
        ops: { listen: '127.0.0.1:0' },
        log: { level: 'warn' },
        ...(options.policy === undefined ? {} : { policy: options.policy }),
      })
      const totals = new Totals()
      print(WARNING)
      const app = await startApp({
        settings,
        log: createLog(settings.log.level),
        keyring: throwawayKeyring(),
        onFatal: fail,
        onCommitted: (outcome) => {
          totals.add(outcome)
        },
      })
      writeFileSync(
        demoFile(),
        JSON.stringify({ bootstrap: app.bootstrap, pid: process.pid, policy: settings.policy } satisfies RunningDemo),
        { mode: 0o600 },
      )
      print(whereToLook(app))
      const stopNodes = await startNodes(app, (second) => {
        print(totals.line(second, app.plan))
      })
      endOnSignal(options.seconds, async () => {
        stopNodes()
        await app.stop()
        rmSync(demoFile(), { force: true })
        print(`committed ${totals.records} records of ${NODES.length} nodes`)
        process.exit(0)
      })
    })
}

/** What was committed since the start. */
class Totals {
  records = 0
  #told = 0
  /** Messages by purpose, all kinds together. */
  readonly #produced: Record<string, number> = {}

  add(outcome: Outcome): void {
    this.records += outcome.records
    for (const [topic, count] of Object.entries(outcome.produced)) {
      const [, purpose] = topic.split('.')
      this.#produced[purpose] = (this.#produced[purpose] ?? 0) + count
    }
  }

  /** A second's line. */
  line(second: number, plan: Plan): string {
    const purposes = plan.policy.purposes.map(({ id }) => `${id} ${this.#produced[id] ?? 0}`).join('  ')
    const since = this.records - this.#told
    this.#told = this.records
    return `${String(second).padStart(4)} s  ${this.records} records (+${since})  →  messages to ${purposes}`
  }
}

function whereToLook({ bootstrap, grpcAddress, opsAddress, plan }: App): string {
  return `Kafka (embedded)  ${bootstrap}
gRPC for nodes    ${grpcAddress}
metrics           http://${opsAddress}/metrics   /healthz   /readyz
policy            ${plan.policy.version} (${plan.policy.purposes.map((p) => p.id).join(', ')})

Look, in another terminal:
  npx minim tail billing          what billing sees; or service, fraud, quality.quality, research, marketing …
  npx minim explain calling       who sees the caller's number, in which form, on which basis
  kcat -b ${bootstrap} -L      any Kafka client works
`
}

/**
 * Simulated nodes that send calls to the proxy's own port.
 * @param onSecond told each second
 * @returns what ends them
 */
async function startNodes(app: App, onSecond: (second: number) => void): Promise<() => void> {
  const nodes = NODES.map((name, i) => new SimulatedNode(name, i, app.catalogue))
  const clients = nodes.map(
    (node) => new DeliverClient({ address: app.grpcAddress, source: node.source, incarnation: node.incarnation }),
  )
  await Promise.all(clients.map((c) => c.resumeAfter))
  let sequence = 0
  const ticker = setInterval(() => {
    sequence++
    nodes.forEach((node, i) => clients[i].send(sequence, node.batch(CALLS_PER_TICK, Date.now())))
    if (sequence % TICKS_PER_LINE === 0) onSecond(sequence / TICKS_PER_LINE)
  }, TICK_MS)
  return () => {
    clearInterval(ticker)
    for (const client of clients) client.end()
  }
}

/** Ends once: at a signal, or when its time is over (0: never). */
function endOnSignal(afterSeconds: number, end: () => Promise<void>): void {
  let stopping = false
  const stop = (): void => {
    if (stopping) return
    stopping = true
    end().catch(fail)
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  if (afterSeconds > 0) setTimeout(stop, afterSeconds * 1000)
}
