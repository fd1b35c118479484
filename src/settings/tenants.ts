/**
 * The tenants of the settings, as normalisation takes them: with the hosts that are their own since the settings name
 * them as their nodes or sources.
 */
import { isIP } from 'node:net'
import type { Tenant } from '../flow/tenant.js'
import type { Settings } from './schema.js'
import { SOURCE_SECTIONS } from './sections.js'
import { isTree, type Tree } from './tree.js'

/** Every tenant, complete. */
export function tenantsOf(settings: Settings): Tenant[] {
  return Object.entries(settings.tenants).map(([name, tenant]) => ({
    name,
    ...tenant,
    domains: [...new Set([...tenant.domains, ...namedHosts(settings, name)])],
    prefixes: settings.numbers.prefixes,
    helplines: settings.numbers.helplines,
  }))
}

/** Networks wider than these are no one's own. */
const WIDEST = { 4: 8, 6: 16 } as const

/** Hosts of nodes and sources that the settings name: where a tenant's PBXs are, or whatever listens for them. */
function namedHosts(settings: Settings, tenant: string): string[] {
  const hosts = hostsOf({ ...settings.grpc, tenants: Object.keys(settings.tenants) }, tenant)
  for (const { key } of SOURCE_SECTIONS) {
    const value: unknown = settings[key]
    for (const entry of Array.isArray(value) ? (value as unknown[]) : [value]) hosts.push(...hostsOf(entry, tenant))
  }
  return hosts.filter((host) => host !== '' && host !== '0.0.0.0' && host !== '::')
}

/** Hosts in one section, or one entry of it, that are the tenant's. */
function hostsOf(part: unknown, tenant: string): string[] {
  if (!isTree(part)) return []
  const mine = (of: Tree): boolean => {
    const { tenants } = of
    return Array.isArray(tenants) ? tenants.includes(tenant) : part['tenant'] === tenant || tenantsListed(part, tenant)
  }
  const hosts: string[] = []
  if (mine(part)) {
    for (const key of ['listen', 'udp', 'tcp', 'tlsListen']) hosts.push(hostOfListen(part[key]))
    if (typeof part['host'] === 'string') hosts.push(part['host'].toLowerCase())
    const { drachtio } = part
    if (isTree(drachtio) && typeof drachtio['host'] === 'string') hosts.push(drachtio['host'].toLowerCase())
  }
  for (const entry of Array.isArray(part['allow']) ? (part['allow'] as unknown[]) : []) {
    const network = isTree(entry) ? entry['network'] : entry
    if (typeof network === 'string' && isNarrow(network) && mine(isTree(entry) ? entry : {})) hosts.push(network)
  }
  for (const [name, entry] of Object.entries(isTree(part['authorise']) ? part['authorise'] : {}))
    if (!name.includes(':') && isTree(entry) && mine(entry)) hosts.push(name.toLowerCase())
  return hosts
}

function tenantsListed(part: Tree, tenant: string): boolean {
  return Array.isArray(part['tenants']) && part['tenants'].includes(tenant)
}

function hostOfListen(listen: unknown): string {
  return typeof listen === 'string'
    ? listen
        .replace(/:\d+$/, '')
        .replace(/^\[|\]$/g, '')
        .toLowerCase()
    : ''
}

function isNarrow(network: string): boolean {
  const [address, bits] = network.split('/')
  const version = isIP(address)
  return (version === 4 || version === 6) && (bits === undefined || Number(bits) >= WIDEST[version])
}
