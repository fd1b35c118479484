/** What all sources that are posted to have in their sections of the settings. */
import { type TSchema, Type } from '@sinclair/typebox'
import { DAY_MS, HOUR_MS } from '../../base/time.js'
import type { Problem } from '../../errors/catalogue.js'
import { useOneOf } from '../../errors/problems.js'
import { authorisePart, authoriseProblems, type AuthoriseSettings, type Nameable } from '../../sections/authorise.js'
import { listenOrOff, NAME, secretParts, tlsFiles, whole } from '../../sections/parts.js'
import { placeProblems, type SecretPlace, secretProblems } from '../../sections/secrets.js'
import type { SettingsAround } from '../../sections/source-section.js'
import { pemFiles, pemProblems, type TlsSettings } from '../../sections/tls-files.js'
import { Credentials } from './http-auth.js'

/** What all sources that are posted to have in their settings. */
export interface PostedSettings {
  /** null: off. */
  readonly listen: string | null
  readonly tls: TlsSettings | null
  /** What certificates may use. */
  readonly authorise: AuthoriseSettings
  /** File of users and tokens, and variable; both null: nobody is asked. */
  readonly credentialsFile: string | null
  readonly credentialsEnv: string | null
  /** Tenant of records that name none. */
  readonly tenant: string
  readonly maxBodyBytes: number
  readonly maxConnections: number
  readonly ratePerSecond: number
  readonly idleMs: number
  readonly requestMs: number
}

/** Of every source that is posted to. */
export const POSTED_DEFAULTS = {
  /** Off. */
  listen: null,
  /** No TLS. */
  tls: null,
  /** Each certificate's holder the listener's own tenant. */
  authorise: {},
  /** Nobody is asked. */
  credentialsFile: null,
  credentialsEnv: null,
  tenant: 'default',
  /** Senders connected at once. */
  maxConnections: 1024,
  /** Posts a second of each sender; 0: as many as come. */
  ratePerSecond: 0,
  /** A connection on which nothing comes is closed, ms. */
  idleMs: 60_000,
  /** A request that takes longer to arrive is refused, ms. */
  requestMs: 30_000,
} as const

/** Their schema. */
export function postedParts(
  maxBodyBytes: number,
  what: string,
  port: number,
  names: readonly Nameable[],
): Record<string, TSchema> {
  const D = POSTED_DEFAULTS
  return {
    listen: listenOrOff(what, port),
    tls: tlsFiles('PEM files'),
    authorise: authorisePart(names),
    ...secretParts(
      'credentials',
      'a line user:password or a token for each sender, and behind it tenants=NAME,NAME',
      'both null: nobody is asked',
    ),
    tenant: Type.String({ pattern: NAME, default: D.tenant, description: 'tenant of records that name none' }),
    maxBodyBytes: whole(maxBodyBytes, 1024, 67_108_864, 'octets of a body, and of what it inflates to, at most'),
    maxConnections: whole(D.maxConnections, 1, 100_000, 'senders connected at once at most'),
    ratePerSecond: whole(D.ratePerSecond, 0, 1_000_000, 'posts a second of each sender at most, 0 for as many as come'),
    idleMs: whole(D.idleMs, 1000, DAY_MS, 'a connection on which nothing comes for so long is closed, ms'),
    requestMs: whole(D.requestMs, 1000, HOUR_MS, 'a request that takes longer to arrive is refused, ms'),
  }
}

/** What the schema cannot say. */
export function checkPosted(key: 'http' | 'freeswitch', value: PostedSettings, around: SettingsAround): Problem[] {
  const names = Object.keys(around.tenants)
  return [
    ...(names.includes(value.tenant)
      ? []
      : [{ path: `${key}.tenant`, what: 'is no tenant of these settings', mend: useOneOf(value.tenant, names) }]),
    ...placeProblems(credentialsPlace(key, value, names), false),
    ...authoriseProblems(key, value.authorise, value.tls, names),
  ]
}

/** Who may post. */
export function credentialsPlace(
  key: 'http' | 'freeswitch',
  { credentialsFile, credentialsEnv }: PostedSettings,
  tenants: readonly string[],
): SecretPlace<Credentials> {
  return {
    setting: `${key}.credentials`,
    file: credentialsFile,
    variable: credentialsEnv,
    parse: (bytes) => Credentials.parse(bytes.toString('utf8'), tenants),
    mend:
      'write a line user:password, or a token of 16 characters or more, for each sender, and behind it, if ' +
      "it is not to have the listener's tenant, tenants=NAME,NAME",
  }
}

/** What is wrong with the files that they need. */
export function postedFileProblems(
  key: 'http' | 'freeswitch',
  value: PostedSettings,
  around: SettingsAround,
): Problem[] {
  return [
    ...secretProblems(credentialsPlace(key, value, Object.keys(around.tenants))),
    ...(value.tls === null ? [] : pemProblems(pemFiles(value.tls, `${key}.tls`))),
  ]
}

/** Their paths. */
export const POSTED_PATHS = ['credentialsFile', 'tls.cert', 'tls.key', 'tls.clientCa'] as const
