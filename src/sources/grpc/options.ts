/** What the gRPC source is told, and what it tells. */
import type { Catalogue } from '../../catalogue/catalogue.js'
import type { ErrorCode } from '../../errors/catalogue.js'
import type { StreamIntake } from '../../flow/intake.js'
import type { Authoriser } from '../common/authorise.js'

export interface GrpcTls {
  readonly cert: string
  readonly key: string
  /** CA that nodes' certificates must come from; null: none is asked for. */
  readonly clientCa: string | null
}

export interface GrpcOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string
  readonly maxMessageBytes: number
  readonly maxStreams: number
  readonly idleMs: number
  readonly tls: GrpcTls | null
  readonly catalogue: Catalogue
  readonly intake: StreamIntake
  /** Tenant of records that name none. */
  readonly tenant: string
  /** What certificates may use. Asked only where `tls.clientCa` asks for one. Default: each its own names. */
  readonly authoriser?: Authoriser
  readonly onEvent?: (event: GrpcEvent) => void
  /** Where there are more processes: whose a source is. */
  readonly workers?: GrpcWorkers
}

/** How a stream finds the worker that owns its source. */
export interface GrpcWorkers {
  /** Address that the other workers reach this one by. */
  readonly own: string
  /** Address of a source's owner; null when it is this one. */
  owner(source: string): string | null
}

/** What happened, for logs and metrics: names of sources, codes and counts, never a value out of a record. */
export type GrpcEvent =
  | { readonly kind: 'connected'; readonly source: string; readonly resumeAfter: number }
  | { readonly kind: 'ended'; readonly source: string; readonly code: ErrorCode | null }
  | { readonly kind: 'unauthorised' }
  | { readonly kind: 'received'; readonly source: string; readonly bytes: number }
