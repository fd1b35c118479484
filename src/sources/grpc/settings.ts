/** `grpc:` where PBX nodes stream records to. */
import type { AuthoriseSettings } from '../../sections/authorise.js'
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
