/**
 * The agent: follows files on a PBX node and streams their records to a distant proxy (`minim.v1.Ingest/Deliver`),
 * exactly once.
 *
 *   file ──whole lines──▶ batch, numbered ──cut on disk──▶ stream ──▶ proxy ──commit──▶ acknowledged: forgotten
 *
 * - Each file has a stream of its own. Its batches are numbered 1, 2, 3 …; where each lies in the file is on disk
 *   before it is sent (`state.ts`). The proxy's resume point says which were taken; the others are sent again, the same
 *   bytes under the same numbers: from memory, or after a restart cut again from the file.
 * - Lines become records here: what the mapping does not name never leaves the node. Nothing is minimised and no key is
 *   needed. A line that makes no record goes along as it is, and the proxy puts it into quarantine.
 * - `windowBatches` are on their way at most; then reading waits for acknowledgements.
 */
import { ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js'
import type { Catalogue } from '../../catalogue/catalogue.js'
import type { SourceCounters } from '../../flow/counters.js'
import type { Logger } from '../../flow/log.js'
import { pemFiles, readPem } from '../../sections/tls-files.js'
import { checkMappings, type ConfiguredFile, followersOf } from '../common/followers.js'
import { BatchEncoder } from './batch-encoder.js'
import type { AgentTls } from './settings.js'
import { AgentState } from './state.js'
import { type AgentContext, AgentStream, ANSWER_MS, KEEP_ALIVE_MS } from './stream.js'

const DRAIN_MS = 5000

export interface AgentOptions {
  readonly settings: AgentContext
  readonly catalogue: Catalogue
  readonly log: Logger
  readonly counters: SourceCounters
}

export interface Agent {
  /** Every stream is connected. */
  readonly connected: boolean
  /** Reads nothing more, waits a moment for acknowledgements, and leaves the rest to the next start. */
  stop(): Promise<void>
}

/**
 * Starts following and streaming.
 * @throws MinimError what no retry can mend: the state file, certificates
 */
export function startAgent({ settings, catalogue, log, counters }: AgentOptions): Agent {
  const { agent } = settings
  const { credentials, channel } = clientTls(agent.tls)
  const mappings = checkMappings(settings, catalogue)
  const state = AgentState.open(agent.stateFile)
  const stopping = new AbortController()
  const ending = new AbortController()
  const encoder = new BatchEncoder(catalogue)
  const streams: AgentStream[] = []
  const files = settings.files.map((file, position): ConfiguredFile => ({
    file,
    position,
    mapping: mappings[position],
  }))
  const followers = followersOf(files, {
    settings,
    catalogue,
    signal: stopping.signal,
    log,
    counters,
    chunkBytes: agent.batchBytes,
    sinkOf: (configured, reader) => {
      const stream = new AgentStream({
        ...configured,
        settings,
        catalogue,
        log,
        encoder,
        reader,
        state,
        credentials,
        channel,
        signal: ending.signal,
        onConnected: () => {
          counters.connections(streams.filter((s) => s.connected).length)
        },
      })
      streams.push(stream)
      return stream
    },
  })
  const lag = setInterval(() => {
    counters.lag(Math.max(0, ...followers.map((f) => f.lagSeconds)))
  }, 1000)
  lag.unref()
  const running = [...followers.map((follower) => follower.run()), ...streams.map((stream) => stream.run())]
  return {
    get connected() {
      return streams.every((s) => s.connected)
    },
    stop: async () => {
      clearInterval(lag)
      stopping.abort()
      const until = performance.now() + DRAIN_MS
      while (performance.now() < until && streams.some((s) => s.connected && s.oldest !== null))
        await new Promise((resolve) => {
          setTimeout(resolve, 20)
        })
      ending.abort()
      await Promise.all(running)
      await state.save().catch((error: unknown) => {
        log.warn({ err: error })
      })
      state.close()
    },
  }
}

/** What a stream to the proxy is opened with. @throws ProblemsError MINIM_SETTINGS_INVALID */
function clientTls(tls: AgentTls | null): {
  readonly credentials: ChannelCredentials
  readonly channel: ChannelOptions
} {
  const channel: ChannelOptions = {
    'grpc.keepalive_time_ms': KEEP_ALIVE_MS,
    'grpc.keepalive_timeout_ms': ANSWER_MS,
    'grpc.max_reconnect_backoff_ms': 1000,
  }
  if (tls === null) return { credentials: ChannelCredentials.createInsecure(), channel }
  const { ca, cert, key } = readPem(pemFiles(tls, 'agent.tls'))
  return {
    credentials: ChannelCredentials.createSsl(ca, key, cert),
    channel:
      typeof tls.serverName === 'string'
        ? { ...channel, 'grpc.ssl_target_name_override': tls.serverName, 'grpc.default_authority': tls.serverName }
        : channel,
  }
}
