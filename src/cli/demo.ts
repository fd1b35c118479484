/**
 * `minim demo`: the whole program on one machine, with Kafka inside and three simulated PBX nodes that speak to the
 * real gRPC port.
 */
import { rmSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import type { Command } from 'commander'
import { startApp } from '../app/app.js'
import { throwawayKeyring } from '../keys/throwaway.js'
import { createLog } from '../ops/log.js'
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
      const totals = { records: 0 }
      /** Messages by purpose, all kinds together. */
      const produced: Record<string, number> = {}
      print(WARNING)
      const app = await startApp({
        settings,
        log: createLog(settings.log.level),
        keyring: throwawayKeyring(),
        onFatal: fail,
        onCommitted: (outcome) => {
          totals.records += outcome.records
          for (const [topic, count] of Object.entries(outcome.produced)) {
            const [, purpose] = topic.split('.')
            produced[purpose] = (produced[purpose] ?? 0) + count
          }
        },
      })
      writeFileSync(
        demoFile(),
        JSON.stringify({ bootstrap: app.bootstrap, pid: process.pid, policy: settings.policy } satisfies RunningDemo),
        { mode: 0o600 },
      )
      print(`Kafka (embedded)  ${app.bootstrap}
gRPC for nodes    ${app.grpcAddress}
metrics           http://${app.opsAddress}/metrics   /healthz   /readyz
policy            ${app.plan.policy.version} (${app.plan.policy.purposes.map((p) => p.id).join(', ')})

Look, in another terminal:
  npx minim tail billing          what billing sees; or service, fraud, quality.quality, research, marketing …
  npx minim explain calling       who sees the caller's number, in which form, on which basis
  kcat -b ${app.bootstrap} -L      any Kafka client works
`)

      const nodes = NODES.map((name, i) => new SimulatedNode(name, i, app.catalogue))
      const clients = nodes.map(
        (node) => new DeliverClient({ address: app.grpcAddress, source: node.source, incarnation: node.incarnation }),
      )
      await Promise.all(clients.map((c) => c.resumeAfter))
      let sequence = 0
      let second = 0
      let last = { ...totals }
      const ticker = setInterval(() => {
        sequence++
        nodes.forEach((node, i) => clients[i].send(sequence, node.batch(CALLS_PER_TICK, Date.now())))
        if (sequence % TICKS_PER_LINE !== 0) return
        second++
        const purposes = app.plan.policy.purposes.map(({ id }) => `${id} ${produced[id] ?? 0}`).join('  ')
        print(
          `${String(second).padStart(4)} s  ${totals.records} records (+${totals.records - last.records})  →  messages to ${purposes}`,
        )
        last = { ...totals }
      }, TICK_MS)

      let stopping = false
      const stop = async (): Promise<void> => {
        if (stopping) return
        stopping = true
        clearInterval(ticker)
        for (const client of clients) client.end()
        await app.stop()
        rmSync(demoFile(), { force: true })
        print(`committed ${totals.records} records of ${NODES.length} nodes`)
        process.exit(0)
      }
      process.on('SIGINT', () => void stop().catch(fail))
      process.on('SIGTERM', () => void stop().catch(fail))
      if (options.seconds > 0) setTimeout(() => void stop().catch(fail), options.seconds * 1000)
    })
}
