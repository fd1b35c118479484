/** `grpc:` where PBX nodes stream records to. */
import type { TSchema } from '@sinclair/typebox'
import { DAY_MS } from '../../base/time.js'
import { authorisePart, type AuthoriseSettings } from '../../sections/authorise.js'
import { listen, section, tlsFiles, whole } from '../../sections/parts.js'
import type { TlsSettings } from '../../sections/tls-files.js'

export interface GrpcSettings {
  readonly listen: string
  readonly maxMessageBytes: number
  readonly maxStreams: number
  readonly idleMs: number
  readonly tls: TlsSettings | null
  /** What certificates may use. */
  readonly authorise: AuthoriseSettings
}

export const GRPC_DEFAULTS = {
  /** Where PBX nodes connect; port 0 takes a free one. */
  listen: '127.0.0.1:50051',
  /** Octets of one batch at most. */
  maxMessageBytes: 4_194_304,
  /** Nodes connected at once at most. */
  maxStreams: 1024,
  /** A node that sends nothing for so long is disconnected, ms. */
  idleMs: 600_000,
  /** PEM files `{ cert, key, clientCa }`; `clientCa` asks nodes for a certificate. Null: no TLS. */
  tls: null,
  /** By a name of a client's certificate, what it may use that is not its own: `{ sources, tenants }`. */
  authorise: {},
} as const

/** The section's schema. */
export function grpcPart(): TSchema {
  return section(
    {
      listen: listen(GRPC_DEFAULTS.listen, 'where PBX nodes connect'),
      maxMessageBytes: whole(GRPC_DEFAULTS.maxMessageBytes, 65_536, 67_108_864, 'octets of one batch at most'),
      maxStreams: whole(GRPC_DEFAULTS.maxStreams, 1, 100_000, 'nodes connected at once at most'),
      idleMs: whole(GRPC_DEFAULTS.idleMs, 1000, DAY_MS, 'a node that sends nothing for so long is disconnected, ms'),
      tls: tlsFiles('PEM files'),
      authorise: authorisePart(['sources', 'tenants']),
    },
    'where PBX nodes stream records to',
  )
}
