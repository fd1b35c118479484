/**
 * Who may use which names: `authorise` of a listener whose clients show certificates. One meaning for every listener
 * that has it.
 *
 * A key is a name of a certificate: a DNS name or a URI of its subjectAltName, as it stands there. What the map does
 * not say has a default that is as narrow as can be (`sources/common/authorise.ts`).
 */
import { type TSchema, Type } from '@sinclair/typebox'
import type { Problem } from '../errors/catalogue.js'
import { useOneOf } from '../errors/problems.js'
import { closed, NAME } from './parts.js'

/** What the holder of a certificate may use. */
export interface Authorised {
  /** gRPC: names of streams. Left out: the certificate's own. */
  readonly sources?: readonly string[]
  /** HEP: ids of capture agents. Left out: any. */
  readonly captureIds?: readonly number[]
  /** The first is that of records that name none. Left out: the listener's own. */
  readonly tenants?: readonly string[]
}

/** By a name of the certificate. */
export type AuthoriseSettings = Readonly<Record<string, Authorised>>

/** A network that may send, and what its senders may use. */
export interface AllowedNetwork extends Omit<Authorised, 'sources'> {
  readonly network: string
}

/** An entry of `allow`: a network alone has no limits but the listener's. */
export type Allowed = string | AllowedNetwork

/** A DNS name, which may have a label `*`, or a URI. */
const CERTIFICATE_NAME =
  '^(?:[A-Za-z0-9*_][A-Za-z0-9._-]{0,252}|\\*(?:\\.[A-Za-z0-9_-]+)+|[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,500})$'

const tenantsPart = (description: string, most = 1024) =>
  Type.Array(Type.String({ pattern: NAME, description: 'a tenant of these settings' }), {
    minItems: 1,
    maxItems: most,
    uniqueItems: true,
    description,
  })
const SOURCES = Type.Array(
  Type.String({
    pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$',
    description: 'name of a source, or of an agent: its streams are meant, too',
  }),
  { minItems: 1, maxItems: 1024, uniqueItems: true, description: 'a list of sources' },
)
const CAPTURE_IDS = Type.Array(
  Type.Integer({ minimum: 0, maximum: 4_294_967_295, description: 'a whole number from 0 to 4294967295' }),
  { minItems: 1, maxItems: 1024, uniqueItems: true, description: "a list of capture agents' ids" },
)

const TENANTS = 'a list of tenants; the first is that of records that name none'
/** Where no record names its tenant. */
const ONE_TENANT = 'a list with the one tenant of its records'

/** What each listener's senders can name. */
export type Nameable = 'sources' | 'captureIds' | 'tenants' | 'tenant'

/**
 * Parts of an entry. @param names what senders of this listener name: `tenant` where records have the one that they are
 * given
 */
function parts(names: readonly Nameable[]): Record<string, TSchema> {
  return {
    ...(names.includes('sources') ? { sources: Type.Optional(SOURCES) } : {}),
    ...(names.includes('captureIds') ? { captureIds: Type.Optional(CAPTURE_IDS) } : {}),
    tenants: Type.Optional(names.includes('tenants') ? tenantsPart(TENANTS) : tenantsPart(ONE_TENANT, 1)),
  }
}

const inWords = (names: readonly Nameable[]): string =>
  names
    .map((name) => `${name === 'tenant' ? 'tenants' : name}: [NAME]`)
    .join(', ')
    .replace('captureIds: [NAME]', 'captureIds: [7]')

/** Setting of what certificates may use. */
export function authorisePart(names: readonly Nameable[]): TSchema {
  return Type.Record(
    Type.String({ pattern: CERTIFICATE_NAME }),
    Type.Object(parts(names), { ...closed, description: `what its holder may use: { ${inWords(names)} }` }),
    {
      ...closed,
      default: {},
      description:
        "what a client may use, by a DNS name or URI of its certificate's subjectAltName: " +
        `{ pbx-1.example.net: { ${inWords(names)} } }`,
    },
  )
}

/** Form of an entry of `allow` that says more than the network. */
export function allowedNetwork(names: readonly Nameable[], network: TSchema): TSchema {
  return Type.Object(
    { network, ...parts(names) },
    { ...closed, description: `a network and what its senders may use: { network: 192.0.2.0/24, ${inWords(names)} }` },
  )
}

/** What is wrong with the tenants that an entry names. */
export function tenantsProblems(
  path: string,
  named: readonly string[] | undefined,
  tenants: readonly string[],
): Problem[] {
  const list = Array.isArray(named) ? (named as readonly string[]) : []
  return list.flatMap((tenant, i) =>
    tenants.includes(tenant)
      ? []
      : [{ path: `${path}.tenants.${i}`, what: 'is no tenant of these settings', mend: useOneOf(tenant, tenants) }],
  )
}

/**
 * What is wrong with what certificates may use.
 * @param section `grpc`
 */
export function authoriseProblems(
  section: string,
  authorise: AuthoriseSettings,
  tls: { readonly clientCa?: string | null } | null,
  tenants: readonly string[],
): Problem[] {
  // What is of another form the schema refuses.
  if (!isObject(authorise)) return []
  const names = Object.keys(authorise)
  // Without an authority nobody shows a certificate: the map would keep nobody out.
  if (names.length > 0 && (tls?.clientCa ?? null) === null) {
    return [
      {
        path: `${section}.authorise`,
        what: `has no effect without ${section}.tls.clientCa: nobody is asked for a certificate`,
        mend: `name the authority of the clients' certificates there, or take ${section}.authorise out`,
      },
    ]
  }
  return names.flatMap((name) =>
    !isObject(authorise[name]) ? [] : tenantsProblems(`${section}.authorise.${name}`, authorise[name].tenants, tenants),
  )
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
