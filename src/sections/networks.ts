/**
 * Who may send to a listener that asks for no credentials: networks, by address. One meaning for every source that has
 * `allow`.
 */
import { isIP } from 'node:net'
import { type TSchema, Type } from '@sinclair/typebox'
import type { Problem } from '../errors/catalogue.js'
import { type Allowed, allowedNetwork, type Nameable, tenantsProblems } from './authorise.js'

/** This machine. */
export const LOOPBACK: readonly string[] = ['127.0.0.0/8', '::1/128']
/** Everybody. */
export const EVERYBODY: readonly string[] = ['0.0.0.0/0', '::/0']

/** Setting of the networks that may send. @param names what their senders may be limited to */
export function allowPart(otherwise: string, names: readonly Nameable[]): TSchema {
  const network = Type.String({ minLength: 2, maxLength: 64, description: 'an address, or a network: 192.0.2.0/24' })
  return Type.Array(
    Type.Union([network, allowedNetwork(names, network)], {
      description: 'a network: 192.0.2.0/24, or { network: 192.0.2.0/24 } and what its senders may use',
    }),
    {
      default: LOOPBACK,
      maxItems: 1024,
      description: `a list of networks that may send, as [192.0.2.0/24]; ${EVERYBODY.join(' and ')} are everybody; ${otherwise}`,
    },
  )
}

/** The network of an entry. */
export function networkText(entry: Allowed): string {
  return typeof entry === 'string' ? entry : entry.network
}

/** An address and how many of its bits count; null for what is none. */
export function networkOf(
  text: string,
): { readonly address: string; readonly prefix: number; readonly family: 'ipv4' | 'ipv6' } | null {
  const [address, bits, ...more] = text.split('/')
  const version = isIP(address)
  const most = version === 4 ? 32 : 128
  const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : -1
  return version === 0 || more.length > 0 || prefix < 0 || prefix > most
    ? null
    : { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' }
}

/**
 * What is wrong with who may send.
 * @param section `hep`
 * @param listens where it listens; each null for not at all
 * @param senders who sends to it, for the mend
 * @param tenants those that there are
 */
export function allowProblems(
  section: string,
  allow: readonly Allowed[],
  listens: readonly (string | null)[],
  senders: string,
  tenants: readonly string[],
): Problem[] {
  const path = `${section}.allow`
  const mend = `list the networks of ${senders}: [192.0.2.0/24], or [${EVERYBODY.join(', ')}] for everybody`
  const used = listens.filter((listen) => typeof listen === 'string')
  if (used.length === 0) return []
  if (allow.length === 0) return [{ path, what: 'names nobody who may send', mend }]
  const wrong = allow.flatMap((entry, i) => [
    // One that is left out, or of another type, the schema refuses.
    ...(typeof (networkText(entry) as unknown) === 'string' && networkOf(networkText(entry)) === null
      ? [
          {
            path: `${path}.${i}${typeof entry === 'string' ? '' : '.network'}`,
            what: 'is no network',
            mend: 'write an address, or an address and its prefix: 192.0.2.0/24, 2001:db8::/32',
          },
        ]
      : []),
    ...(typeof entry === 'string' ? [] : tenantsProblems(`${path}.${i}`, entry.tenants, tenants)),
  ])
  if (wrong.length > 0) return wrong
  // Nothing would come, and nothing say so but a counter.
  if (
    allow.every((entry) => isLoopback(networkText(entry))) &&
    !used.every((listen) => isLoopback(listen.slice(0, listen.lastIndexOf(':'))))
  ) {
    return [
      {
        path,
        what: `lets only this machine send, and ${section} listens to others`,
        mend: `${mend}; or listen on 127.0.0.1`,
      },
    ]
  }
  return []
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || /^127\.[0-9./]+$/.test(host) || /^\[?::1\]?(\/128)?$/.test(host)
}
