/** `agent:` for `minim agent`, which runs on a PBX node and streams the files of `files:` to a distant proxy. */
import { Type } from '@sinclair/typebox'
import { HOUR_MS } from '../../base/time.js'
import { closed, file, HOST_PORT_PATTERN, NAME, NAME_IN_WORDS, section, whole } from '../../sections/parts.js'
import type { SourceSection } from '../../sections/source-section.js'

export interface AgentSettings {
  /** `host:port` of the proxy's gRPC; null: this is no agent. */
  readonly proxy: string | null
  /** The node's name. */
  readonly source: string | null
  readonly stateFile: string
  readonly tls: AgentTls | null
  readonly windowBatches: number
  readonly batchBytes: number
  readonly reconnectMaxMs: number
}

export interface AgentTls {
  /** Authority that the proxy's certificate is of. */
  readonly ca: string
  /** The node's own certificate and key; null where the proxy asks for none. */
  readonly cert?: string | null
  readonly key?: string | null
  /** Name in the proxy's certificate where it is not that of `proxy`. */
  readonly serverName?: string | null
}

const DEFAULTS: AgentSettings = {
  proxy: null,
  source: null,
  /** Relative to the settings file. */
  stateFile: 'minim-agent.json',
  tls: null,
  /** Batches on their way at most. */
  windowBatches: 16,
  /** Octets of lines in one batch at most. */
  batchBytes: 131_072,
  reconnectMaxMs: 30_000,
}

export const AGENT: SourceSection<AgentSettings, 'agent'> = {
  key: 'agent',
  defaults: DEFAULTS,
  spools: false,
  paths: ['stateFile', 'tls.ca', 'tls.cert', 'tls.key'],
  schema: section(
    {
      proxy: Type.Union([Type.Null(), Type.String({ pattern: HOST_PORT_PATTERN })], {
        default: DEFAULTS.proxy,
        description: 'where the proxy takes gRPC: host:port, as minim.example:50051; or null: this is no agent',
      }),
      source: Type.Union([Type.Null(), Type.String({ pattern: NAME })], {
        default: DEFAULTS.source,
        description: `the node's name, its own in the whole installation: ${NAME_IN_WORDS}`,
      }),
      stateFile: {
        ...file('which batches are on their way, and how far each file was sent; relative to this file'),
        default: DEFAULTS.stateFile,
      },
      tls: Type.Union(
        [
          Type.Null(),
          Type.Object(
            {
              ca: file("authority of the proxy's certificate, PEM"),
              cert: Type.Optional(
                Type.Union([Type.Null(), file("the node's certificate, PEM")], { description: 'a PEM file' }),
              ),
              key: Type.Optional(
                Type.Union([Type.Null(), file('its private key, PEM')], { description: 'a PEM file' }),
              ),
              serverName: Type.Optional(
                Type.Union([Type.Null(), Type.String({ minLength: 1, maxLength: 253 })], {
                  description: 'a host name',
                }),
              ),
            },
            closed,
          ),
        ],
        { default: DEFAULTS.tls, description: 'PEM files: { ca: PATH, cert: PATH, key: PATH }, or null for no TLS' },
      ),
      windowBatches: whole(DEFAULTS.windowBatches, 1, 1024, 'batches on their way at most'),
      batchBytes: whole(DEFAULTS.batchBytes, 4096, 4_194_304, 'octets of lines in one batch at most'),
      reconnectMaxMs: whole(DEFAULTS.reconnectMaxMs, 100, HOUR_MS, 'longest wait between two attempts to connect, ms'),
    },
    'for minim agent: where it streams its files to',
  ),
  check: (agent) => {
    const { proxy, source, tls } = agent
    const problems = []
    if ((proxy === null) !== (source === null))
      problems.push({
        path: proxy === null ? 'agent.proxy' : 'agent.source',
        what: 'is missing',
        mend: 'give both proxy and source, or neither',
      })
    if (tls !== null && ((tls.cert ?? null) === null) !== ((tls.key ?? null) === null)) {
      problems.push({
        path: 'agent.tls',
        what: 'has a certificate without key, or a key without certificate',
        mend: 'give both cert and key, or neither',
      })
    }
    return problems
  },
}
