/**
 * `minim agent --config FILE`: on a PBX node, follows files and streams them to a distant proxy. Runs until SIGTERM or
 * SIGINT.
 */
import process from 'node:process'
import type { Command } from 'commander'
import { catalogue } from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import { startOps } from '../ops/health.js'
import { createLog } from '../ops/log.js'
import { Metrics } from '../ops/metrics.js'
import { pemFiles, pemProblems } from '../sections/tls-files.js'
import { loadSettings, maskSettings } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { type Agent, startAgent } from '../sources/agent/agent.js'
import { VERSION } from '../version.js'
import { EXIT, exitCode } from './exit.js'
import { ignoreHangUp } from './hang-up.js'

/** What an agent needs beyond what settings must be. */
function agentProblems(settings: Settings): Problem[] {
  const problems: Problem[] = []
  if (settings.agent.proxy === null)
    problems.push({
      path: 'agent',
      what: 'is missing',
      mend: 'say where the proxy is: agent: { proxy: host:50051, source: NODE }',
    })
  if (settings.files.length === 0)
    problems.push({ path: 'files', what: 'is empty', mend: 'name the files that the agent follows' })
  settings.files.forEach((file, i) => {
    if (!file.follow)
      problems.push({
        path: `files.${i}`,
        what: 'is not followed',
        mend: 'an agent follows files of lines; load others at the proxy',
      })
  })
  if (settings.agent.tls !== null) problems.push(...pemProblems(pemFiles(settings.agent.tls, 'agent.tls')))
  return problems
}

export function register(program: Command): void {
  program
    .command('agent')
    .description(
      'on a PBX node: follow the files of the settings and stream their records to a distant proxy, exactly once',
    )
    .requiredOption('--config <file>', 'settings: agent and files')
    .action(async (options: { readonly config: string }) => {
      const settings = loadSettings(options.config, {}, agentProblems)
      const log = createLog(settings.log.level)
      ignoreHangUp(log)
      const { agent: agentSettings, files, ops: opsSettings } = maskSettings(settings)
      log.info(
        { version: VERSION, source: settings.agent.source, proxy: settings.agent.proxy, files: files.length },
        'starting',
      )
      log.debug({ settings: { agent: agentSettings, files, ops: opsSettings } }, 'settings')
      const metrics = new Metrics({ flows: [], minimVersion: VERSION, policyVersion: 'none', sources: ['file'] })
      const agent: Agent = startAgent({ settings, catalogue: catalogue(), log, counters: metrics.counters('file') })
      metrics.sampleFrom(() => ({ ready: agent.connected, inFlightItems: 0, retainedBytes: 0 }))
      const ops = await startOps({
        listen: settings.ops.listen,
        registry: metrics.registry,
        ready: () => ({ ok: agent.connected, reasons: agent.connected ? [] : ['not_connected'] }),
      })
      log.info({ ops: `${ops.host}:${ops.port}`, proxy: settings.agent.proxy }, 'ready')
      let stopping = false
      const stop = (signal: string): void => {
        if (stopping) return
        stopping = true
        log.info({ signal }, 'stopping: what is not acknowledged is sent again at the next start')
        agent
          .stop()
          .then(() => ops.close())
          .then(
            () => {
              log.info('stopped')
              process.exit(EXIT.done)
            },
            (error: unknown) => {
              log.fatal({ err: error })
              process.exit(exitCode(error))
            },
          )
      }
      process.on('SIGTERM', () => {
        stop('SIGTERM')
      })
      process.on('SIGINT', () => {
        stop('SIGINT')
      })
    })
}
