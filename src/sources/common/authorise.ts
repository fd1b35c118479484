/**
 * What a sender may call itself: which sources and which tenants. Who it is says a certificate, a credential or a
 * network; what it may use say the settings, and where they do not, the default is narrow: its own name, and the tenant
 * that the listener's records have.
 *
 * Of a certificate the DNS names and URIs of its subjectAltName count, as they stand there. Its subject's common name
 * does not: authorities need not check it (RFC 6125 §6.4.4, RFC 9525 §2), and it is not one field but as many as there
 * are.
 */
import type { TLSSocket } from 'node:tls'
import type { Logger } from '../../flow/log.js'
import type { Authorised, AuthoriseSettings } from '../../sections/authorise.js'

/** Which tenants a sender may use. */
export interface TenantGrant {
  /** Of records that name none. */
  readonly tenant: string
  /** Null: any. */
  readonly tenants: ReadonlySet<string> | null
}

/** What the holder of a certificate may use. */
export interface Grant extends TenantGrant {
  readonly sources: ReadonlySet<string>
}

/** How `minim agent` names the stream of a file that has no name of its own: behind the node's name. */
const AGENT_STREAM = /-[0-9a-f]{8}$/

/** Whether a source is one of those granted, or an agent's stream of one. */
export function maySend({ sources }: Grant, source: string): boolean {
  return sources.has(source) || sources.has(source.replace(AGENT_STREAM, ''))
}

const SAN_ENTRY = /([A-Za-z][A-Za-z0-9 ]*):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y

/**
 * The DNS names and URIs in a subjectAltName, as Node.js writes it: what could be taken for two entries is quoted
 * (CVE-2021-44532).
 * @returns none at all where any of it cannot be read
 */
export function namesOf(subjectAltName: string | undefined): string[] {
  const names: string[] = []
  const text = subjectAltName ?? ''
  for (SAN_ENTRY.lastIndex = 0; SAN_ENTRY.lastIndex < text.length;) {
    const match = SAN_ENTRY.exec(text)
    if (match === null) return []
    const [, type, value] = match
    let name: unknown = value
    if (value.startsWith('"')) {
      try {
        name = JSON.parse(value)
      } catch {
        return []
      }
    }
    if ((type === 'DNS' || type === 'URI') && typeof name === 'string' && name !== '') names.push(name)
  }
  return names
}

/** What is asked of a connection over TLS. */
export type CertifiedSocket = Pick<TLSSocket, 'authorized' | 'getPeerCertificate'>

/** Names of the certificate that a client has shown and that was verified. */
export function namesOfSocket(socket: CertifiedSocket): string[] {
  if (!socket.authorized) return []
  // Without a certificate Node.js gives an empty object, or null.
  return namesOf((socket.getPeerCertificate() as { readonly subjectaltname?: string } | null)?.subjectaltname)
}

/**
 * What a sender may use whom the settings know and say nothing more of: the listener's own tenant. Where there is only
 * one, nobody can take another's.
 */
export function ownGrant(tenant: string, all: readonly string[]): TenantGrant {
  return { tenant, tenants: new Set(all.length === 1 ? [tenant, all[0]] : [tenant]) }
}

/**
 * What is left of several lists of tenants: of a credential, a certificate, a network.
 * @param lists each null where it says nothing
 * @param otherwise where none says anything
 */
export function tenantGrant(lists: readonly (readonly string[] | null)[], otherwise: TenantGrant): TenantGrant {
  const [first, ...others] = lists.filter((list) => list !== null)
  if (first === undefined) return otherwise
  const left = first.filter((tenant) => others.every((list) => list.includes(tenant)))
  return { tenant: left.at(0) ?? first[0], tenants: new Set(left) }
}

/** Whether a record may be of a tenant. */
export function mayUse({ tenants }: TenantGrant, tenant: string): boolean {
  return tenants === null || tenants.has(tenant)
}

/** Knows what the holders of certificates may use. */
export class Authoriser {
  readonly #authorise: ReadonlyMap<string, Authorised>
  readonly #own: TenantGrant

  /** @param tenant the listener's @param tenants all of the settings */
  constructor(authorise: AuthoriseSettings, tenant: string, tenants: readonly string[]) {
    this.#authorise = new Map(Object.entries(authorise))
    this.#own = ownGrant(tenant, tenants)
  }

  /**
   * What a certificate with these names may use: what the settings say of any of them; what they say of none is the
   * default.
   */
  grantOf(names: readonly string[]): Grant {
    const said = this.#listed(names, (entry) => entry.sources)
    return { sources: new Set(said ?? names), ...tenantGrant([this.tenantsOf(names)], this.#own) }
  }

  /** Tenants that the settings give to any of these names; null where they say nothing of them. */
  tenantsOf(names: readonly string[]): readonly string[] | null {
    return this.#listed(names, (entry) => entry.tenants)
  }

  /** The same of capture agents' ids. */
  captureIdsOf(names: readonly string[]): readonly number[] | null {
    return this.#listed(names, (entry) => entry.captureIds)
  }

  /** Those of a certificate's names that decide about a source: the others need not be told to another worker. */
  deciding(names: readonly string[], source: string): string[] {
    const agent = source.replace(AGENT_STREAM, '')
    return names.filter((name) => name === source || name === agent || this.#authorise.has(name))
  }

  #listed<T>(names: readonly string[], of: (entry: Authorised) => readonly T[] | undefined): readonly T[] | null {
    const lists = names.flatMap((name) => {
      const entry = this.#authorise.get(name)
      const list = entry === undefined ? undefined : of(entry)
      return list === undefined ? [] : [list]
    })
    return lists.length === 0 ? null : [...new Set(lists.flat())]
  }
}

/** Whether only this machine can reach an address that is listened on. */
export function isLoopback(listen: string): boolean {
  return /^(localhost|127\.[0-9.]+|\[::1\]):/.test(listen)
}

/** What senders do wrong is said so often at most. */
export const SAY_MS = 60_000

/**
 * Says that somebody claimed what they may not use: not each time, since whoever knocks decides how often. All are
 * counted.
 */
export function warnOfUnauthorised(log: Logger, source: string): () => void {
  let said = -Infinity
  return () => {
    if (performance.now() - said < SAY_MS) return
    said = performance.now()
    log.warn(
      { source },
      'a sender claimed a source or tenant that it may not use: refused, and counted as unauthorised (said once a minute at most)',
    )
  }
}
