/** What the schema of the settings cannot say: how they fit each other. */
import { type CountryCode, isSupportedCountry } from 'libphonenumber-js/core'
import metadata from 'libphonenumber-js/metadata.max'
import type { Problem } from '../errors/catalogue.js'
import { useOneOf } from '../errors/problems.js'
import { BUILT_IN_MAPPINGS } from '../flow/file-formats.js'
import { kafkaProblems, ownKafkaProblems } from '../kafka/settings.js'
import { authoriseProblems } from '../sections/authorise.js'
import { networkOf } from '../sections/networks.js'
import type { FileSettings } from '../sources/common/file-settings.js'
import type { Settings, TenantSettings } from './schema.js'
import { type AnySection, SOURCE_SECTIONS } from './sections.js'
import { at } from './tree.js'

/** Notes a problem: where, what, and its mend. */
type Note = (path: string, what: string, mend: string) => void

/**
 * Every mistake in how settings fit each other.
 * @param refused places that the schema refuses
 * @param mended the settings without these
 */
export function crossChecks(s: Settings, refused: readonly string[], mended: () => Settings): Problem[] {
  const problems: Problem[] = []
  const add: Note = (path, what, mend) => void problems.push({ path, what, mend })
  problems.push(...brokerProblems(s))
  checkTenants(s, add)
  checkFiles(s, add)
  checkListens(s, add)
  for (const section of SOURCE_SECTIONS) problems.push(...sectionProblems(section, s, refused, mended))
  problems.push(...authoriseProblems('grpc', s.grpc.authorise, s.grpc.tls, Object.keys(s.tenants)))
  if (s.grpc.maxMessageBytes < s.limits.maxRecordBytes) {
    add(
      'grpc.maxMessageBytes',
      'is less than limits.maxRecordBytes, so a record could fit no batch',
      `set it to ${s.limits.maxRecordBytes} or more`,
    )
  }
  return problems
}

/** A broker's address. Its host may be any name that resolves: those of containers have underscores. */
const BROKER = /^(?:\[[0-9A-Fa-f:.]+\]|[^\s:/[\]]+):[0-9]{1,5}$/

function brokerProblems(s: Settings): Problem[] {
  const problems: Problem[] = [...ownKafkaProblems(s.kafka)]
  const add: Note = (path, what, mend) => void problems.push({ path, what, mend })
  const servers = s.kafka['bootstrap.servers']
  if (!s.embedded && servers === '') {
    add('kafka.bootstrap.servers', 'is empty', 'name a broker: host:9092')
  } else if (
    !s.embedded &&
    typeof servers === 'string' &&
    !servers.split(',').every((broker) => BROKER.test(broker.trim()))
  ) {
    add(
      'kafka.bootstrap.servers',
      'names a broker without host or port',
      'write host:port, as kafka.example:9092 or [2001:db8::1]:9092, more than one separated by commas',
    )
  }
  if (s.embedded && s.workers > 1)
    add(
      'workers',
      'needs a Kafka of its own: each worker would have another embedded one',
      'set it to 1, or embedded to false',
    )
  problems.push(...kafkaProblems(s.kafka, (name) => problems.some((p) => p.path === `kafka.${name}`)))
  return problems
}

function checkTenants({ tenants }: Settings, add: Note): void {
  const owners = new Map<number, string>()
  for (const [name, tenant] of Object.entries(tenants)) {
    const owner = owners.get(tenant.id)
    if (owner !== undefined)
      add(`tenants.${name}.id`, `is the id of tenant ${owner} too`, 'give each tenant an id of its own')
    else owners.set(tenant.id, name)
    if (typeof tenant.region === 'string' && !isRegion(tenant.region)) {
      add(`tenants.${name}.region`, 'is no country with a numbering plan', 'use two capital letters of ISO 3166: GB')
    }
    checkDomains(tenant, `tenants.${name}.domains`, add)
  }
}

/** What looks like an address or a network must be one. */
function checkDomains({ domains }: TenantSettings, path: string, add: Note): void {
  if (!Array.isArray(domains)) return
  domains.forEach((domain: unknown, i) => {
    if (typeof domain === 'string' && /[:/]/.test(domain) && networkOf(domain) === null)
      add(`${path}.${i}`, 'is no address and no network', 'write it as 192.0.2.0/24')
  })
}

/** The larger entry of the library is for parsing. */
function isRegion(text: string): boolean {
  return isSupportedCountry(text as CountryCode, metadata)
}

function checkFiles(s: Settings, add: Note): void {
  const tenants = Object.keys(s.tenants)
  const mappings = [...BUILT_IN_MAPPINGS, ...Object.keys(s.mappings)]
  s.files.forEach((f, i) => {
    checkFile(f, `files.${i}`, { tenants, mappings, workers: s.workers }, add)
  })
  sameTwice(
    s.files.map((f) => f.source),
    (i, twin) => {
      add(`files.${i}.source`, `is the source of files.${twin} too`, 'give each file a source of its own, or none')
    },
  )
  sameTwice(
    s.files.map((f) => f.path),
    (i, twin) => {
      add(`files.${i}.path`, `is the path of files.${twin} too`, 'name each file once')
    },
  )
  for (const name of BUILT_IN_MAPPINGS)
    if (Object.hasOwn(s.mappings, name)) add(`mappings.${name}`, 'is built in', 'give it another name')
}

interface KnownNames {
  readonly tenants: readonly string[]
  readonly mappings: readonly string[]
  readonly workers: number
}

function checkFile(f: FileSettings, path: string, { tenants, mappings, workers }: KnownNames, add: Note): void {
  if (!tenants.includes(f.tenant)) add(`${path}.tenant`, 'is no tenant of these settings', useOneOf(f.tenant, tenants))
  if (f.format === 'protobuf' && f.mapping !== null)
    add(`${path}.mapping`, 'has no use for protobuf files', 'take it out')
  if (f.format === 'protobuf' && f.follow)
    add(`${path}.follow`, 'is for files of lines', 'take it out: a protobuf file is read once')
  if (f.mapping !== null && !mappings.includes(f.mapping))
    add(`${path}.mapping`, 'is no mapping of these settings', useOneOf(f.mapping, mappings))
  if (!isTimeZone(f.timeZone)) add(`${path}.timeZone`, 'is no time zone', 'use an IANA name: Europe/London')
  if (workers > 1 && f.source === null)
    add(
      `${path}.source`,
      'is needed with more than one worker: it says which of them the file belongs to',
      'give the file a name of its own',
    )
}

/** Tells of each value that was there before, and where that was; null is no value. */
function sameTwice(values: readonly (string | null)[], tell: (place: number, first: number) => void): void {
  const first = new Map<string, number>()
  values.forEach((value, i) => {
    const before = value === null ? undefined : first.get(value)
    if (before !== undefined) tell(i, before)
    else if (value !== null) first.set(value, i)
  })
}

function isTimeZone(name: unknown): boolean {
  try {
    return (
      typeof name === 'string' && new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
    )
  } catch {
    return false
  }
}

function badPort(listen: string): boolean {
  return typeof listen === 'string' && Number(listen.slice(listen.lastIndexOf(':') + 1)) > 65_535
}

function checkListens(s: Settings, add: Note): void {
  const takenBy = new Map<string, string>()
  for (const { path, listen } of listens(s)) {
    // The same port can be had once by UDP and once by TCP.
    const taken = `${path.endsWith('.udp') ? 'udp' : 'tcp'} ${String(listen)}`
    const owner = takenBy.get(taken)
    if (typeof listen === 'string' && badPort(listen))
      add(path, 'its port is above 65535', 'use a port from 0 to 65535')
    else if (owner !== undefined) add(path, `is the same as ${owner}`, 'give each a port of its own')
    else if (typeof listen === 'string' && !listen.endsWith(':0')) takenBy.set(taken, path)
  }
}

/** Whether a section is in use: what is off may name a tenant that there is not. */
export function isOn({ listens, connects }: AnySection, value: unknown): boolean {
  const ways = [...(listens ?? []), ...(connects ?? [])]
  return ways.length === 0 || Array.isArray(value) || ways.some((way) => at(value, way.split('.')) !== null)
}

/** Every address that is listened on, with its path. */
function listens(s: Settings): { readonly path: string; readonly listen: unknown }[] {
  const all: { readonly path: string; readonly listen: unknown }[] = [
    { path: 'grpc.listen', listen: s.grpc.listen },
    { path: 'ops.listen', listen: s.ops.listen },
  ]
  for (const { key, listens } of SOURCE_SECTIONS) {
    for (const way of listens ?? []) {
      const part: unknown = s[key]
      const entries = Array.isArray(part)
        ? part.map((entry: unknown, i) => ({ path: `${key}.${i}.${way}`, listen: at(entry, way.split('.')) }))
        : [{ path: `${key}.${way}`, listen: at(part, way.split('.')) }]
      all.push(...entries.filter(({ listen }) => typeof listen === 'string'))
    }
  }
  return all
}

/**
 * What a section's check says. A check takes its section to be of the schema's form: where it is not, it may stumble
 * over that. Then it is asked again without what the schema refuses, so that one mistake does not hide the others.
 */
function sectionProblems(
  section: AnySection,
  s: Settings,
  refused: readonly string[],
  mended: () => Settings,
): readonly Problem[] {
  const { key } = section
  if (!isOn(section, s[key])) return []
  try {
    return section.check?.(s[key], s) ?? []
  } catch (error) {
    if (!refused.some((path) => path === key || path.startsWith(`${key}.`))) throw error
  }
  const rest = mended()
  try {
    return section.check?.(rest[key], rest) ?? []
  } catch {
    // Then what the schema says of it is all.
    return []
  }
}
