/**
 * Settings file + overrides → checked settings, complete and frozen. Every mistake at once; no value that was given is
 * repeated.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type CountryCode, isSupportedCountry } from 'libphonenumber-js/core'
import metadata from 'libphonenumber-js/metadata.max'
import type { Problem } from '../errors/catalogue.js'
import { checker, deepFreeze, ProblemsError, readYaml, useOneOf } from '../errors/problems.js'
import type { FileFormat } from '../flow/file-formats.js'
import { kafkaProblems, type KafkaValue, ownKafkaProblems } from '../kafka/settings.js'
import { authoriseProblems } from '../sections/authorise.js'
import { type PemFile, pemFiles, pemProblems } from '../sections/tls-files.js'
import type { FileSettings } from '../sources/common/file-settings.js'
import { DEFAULTS } from './defaults.js'
import { type Settings, settingsSchema, type TenantSettings } from './schema.js'
import type { SourceSettings } from './sections.js'
import { type AnySection, SOURCE_SECTIONS } from './sections.js'

/** Settings as a file may hold them: any part may be left out. */
export type SettingsInput = {
  readonly [K in keyof Settings]?: K extends
    'kafka' | 'tenants' | 'mappings' | 'files' | 'cluster' | 'policy' | 'embedded' | 'workers'
    ? K extends 'tenants'
      ? Readonly<Record<string, Partial<TenantSettings>>>
      : K extends 'files'
        ? readonly Partial<FileSettings>[]
        : Settings[K]
    : Partial<Settings[K]>
}

type Tree = Record<string, unknown>

const CONFIG_FOLDER = fileURLToPath(new URL('../../../config/', import.meta.url))

/** librdkafka properties whose values are secrets, or may hold one. */
const SECRET_KAFKA = /password|secret|sasl\.username|sasl\.oauthbearer\.config|\.pem$|\.key$|keystore/

let check: ((value: unknown) => Problem[]) | null = null

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Maps whose entries are the operator's: a file that names tenants names all of them. */
const REPLACED: ReadonlySet<string> = new Set(['tenants', 'mappings', 'files', 'master', 'tls', 'drachtio'])

/** Lays `over` on `base`, section by section. */
function lay(base: unknown, over: unknown, key = ''): unknown {
  if (over === undefined) return base
  if (base === undefined || !isTree(over) || REPLACED.has(key)) return over
  // Not a section, and should be one: what lies over it must not hide that.
  if (!isTree(base)) return base
  const both: Tree = { ...base }
  for (const [k, v] of Object.entries(over))
    Object.defineProperty(both, k, {
      value: lay(Object.hasOwn(base, k) ? base[k] : undefined, v, k),
      enumerable: true,
      writable: true,
      configurable: true,
    })
  return both
}

/**
 * Loads settings. Relative paths in the file are meant from the file's folder, those in `overrides` from the working
 * directory.
 * @param file null: the defaults, with the policy that minim ships and the key store in the working directory
 * @param overrides laid over the file: what the command line says
 * @param more what else the command needs of them: its problems are told together with the others
 * @throws ProblemsError `MINIM_SETTINGS_INVALID` with every mistake
 */
export function loadSettings(
  file: string | null,
  overrides: SettingsInput = {},
  more: (settings: Settings) => readonly Problem[] = () => [],
): Settings {
  const name = file ?? 'settings'
  let written: unknown = {}
  if (file !== null) {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'error'
      throw new ProblemsError('MINIM_SETTINGS_INVALID', name, [
        { path: '', what: `cannot be read (${code})`, mend: 'name a settings file that can' },
      ])
    }
    const { value, problems } = readYaml(text)
    if (problems.length > 0) throw new ProblemsError('MINIM_SETTINGS_INVALID', name, problems)
    written = value ?? {}
  }
  const folder = file === null ? process.cwd() : path.dirname(path.resolve(file))
  const given = lay(resolvePaths(written, folder), resolvePaths(overrides, process.cwd()))
  check ??= checker(settingsSchema())
  const problems = check(given)
  const policyFolder = file === null ? CONFIG_FOLDER : folder
  const settings = complete(isTree(given) ? given : {}, folder, policyFolder)
  // Of a place that the schema refuses, nothing more can be said.
  const said = problems.map((p) => p.path)
  const mended = (): Settings => complete(said.reduce(without, given) as Tree, folder, policyFolder)
  problems.push(
    ...[...crossChecks(settings, said, mended), ...more(settings)].filter(
      (p) => !said.some((path) => path === p.path || p.path.startsWith(`${path}.`)),
    ),
  )
  if (problems.length > 0) throw new ProblemsError('MINIM_SETTINGS_INVALID', name, problems)
  return deepFreeze(settings)
}

function absolute(folder: string, value: unknown): unknown {
  return typeof value === 'string' && value !== '' ? path.resolve(folder, value) : value
}

/** A part of a tree with some of its values made absolute; anything else as it is, for the checks to name. */
function withPaths(part: unknown, keys: readonly string[], folder: string): unknown {
  if (!isTree(part)) return part
  const copy = { ...part }
  for (const key of keys) if (Object.hasOwn(copy, key)) copy[key] = absolute(folder, copy[key])
  return copy
}

function resolvePaths(tree: unknown, folder: string): unknown {
  if (!isTree(tree)) return tree
  const copy = withPaths(tree, ['policy'], folder) as Tree
  if (isTree(copy['keys'])) {
    const keys = withPaths(copy['keys'], ['store'], folder) as Tree
    copy['keys'] = Object.hasOwn(keys, 'master')
      ? { ...keys, master: withPaths(keys['master'], ['file'], folder) }
      : keys
  }
  if (isTree(copy['grpc']) && Object.hasOwn(copy['grpc'], 'tls')) {
    copy['grpc'] = { ...copy['grpc'], tls: withPaths(copy['grpc']['tls'], ['cert', 'key', 'clientCa'], folder) }
  }
  if (Array.isArray(copy['files'])) copy['files'] = copy['files'].map((f) => withPaths(f, ['path'], folder))
  for (const { key, paths } of SOURCE_SECTIONS) {
    for (const way of paths ?? [])
      if (Object.hasOwn(copy, key))
        copy[key] = eachEntry(copy[key], (entry) => withPathAt(entry, way.split('.'), folder))
  }
  return copy
}

/** A section, or each entry of one that is a list. */
function eachEntry(part: unknown, change: (entry: unknown) => unknown): unknown {
  return Array.isArray(part) ? part.map(change) : change(part)
}

function withPathAt(part: unknown, way: readonly string[], folder: string): unknown {
  const [key, ...rest] = way
  if (rest.length === 0) return withPaths(part, [key], folder)
  return isTree(part) && Object.hasOwn(part, key) ? { ...part, [key]: withPathAt(part[key], rest, folder) } : part
}

/** The sections of the sources, complete. */
function completeSources(given: Tree, folder: string): SourceSettings {
  return Object.fromEntries(
    SOURCE_SECTIONS.map(({ key, defaults, entry, paths }) => {
      const part = given[key]
      const value =
        entry !== undefined
          ? (Array.isArray(part) ? (part as unknown[]) : []).map((e) =>
              lay(structuredClone(entry), isTree(e) ? e : undefined),
            )
          : lay(structuredClone(defaults), isTree(part) ? part : undefined)
      return [key, (paths ?? []).reduce((v, way) => eachEntry(v, (e) => withPathAt(e, way.split('.'), folder)), value)]
    }),
  ) as unknown as SourceSettings
}

function at(part: unknown, way: readonly string[]): unknown {
  return way.reduce<unknown>((value, key) => (isTree(value) ? value[key] : undefined), part)
}

/** Whether a section is in use: what is off may name a tenant that there is not. */
function isOn({ listens, connects }: AnySection, value: unknown): boolean {
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

const MAPPING_OF: Readonly<Record<FileFormat, string | null>> = {
  'asterisk-csv': 'asterisk-cdr',
  jsonl: 'minim',
  protobuf: null,
}

/** Fills what was left out. What is given is taken as it is: it may still be wrong, and then the result is not used. */
function complete(given: Tree, folder: string, policyFolder: string): Settings {
  const D = DEFAULTS
  const section = (key: 'topics' | 'delivery' | 'keys' | 'grpc' | 'ops' | 'limits' | 'log' | 'kafka'): unknown =>
    lay(structuredClone(D[key]), isTree(given[key]) ? given[key] : undefined, key)
  const tenants = isTree(given['tenants']) ? given['tenants'] : D.tenants
  const files = Array.isArray(given['files']) ? (given['files'] as unknown[]) : D.files
  const keys = section('keys') as Settings['keys']
  const grpc = section('grpc') as Settings['grpc']
  return {
    cluster: (given['cluster'] ?? D.cluster) as string,
    policy: (given['policy'] ?? path.resolve(policyFolder, D.policy)) as string,
    embedded: (given['embedded'] ?? D.embedded) as boolean,
    workers: (given['workers'] ?? D.workers) as number,
    kafka: section('kafka') as Settings['kafka'],
    topics: section('topics') as Settings['topics'],
    delivery: section('delivery') as Settings['delivery'],
    keys: { ...keys, store: absolute(folder, keys.store) as string },
    tenants: Object.fromEntries(
      Object.entries(tenants).map(([k, t]) => [
        k,
        { ...D.tenant, ...(isTree(t) ? t : {}) } as unknown as TenantSettings,
      ]),
    ),
    grpc: { ...grpc, tls: grpc.tls === null ? null : { ...grpc.tls, clientCa: grpc.tls.clientCa ?? null } },
    files: files.map((f): FileSettings => {
      const tree = isTree(f) ? f : {}
      return {
        mapping: MAPPING_OF[tree['format'] as FileFormat] ?? null,
        ...D.file,
        source: null,
        follow: tree['format'] !== 'protobuf',
        ...tree,
      } as unknown as FileSettings
    }),
    mappings: (isTree(given['mappings']) ? given['mappings'] : {}) as Settings['mappings'],
    ...completeSources(given, folder),
    ops: section('ops') as Settings['ops'],
    limits: section('limits') as Settings['limits'],
    log: section('log') as Settings['log'],
  }
}

function badPort(listen: string): boolean {
  return typeof listen === 'string' && Number(listen.slice(listen.lastIndexOf(':') + 1)) > 65_535
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

/** A tree without what is at a path. In a list the place stays, empty: those after it keep their numbers. */
function without(part: unknown, path: string): unknown {
  if (Array.isArray(part)) {
    const [index] = path.split('.')
    const rest = path.slice(index.length + 1)
    return part.map((entry: unknown, i) =>
      String(i) !== index
        ? entry
        : rest === '' || !isTree(entry)
          ? ''
          : Object.hasOwn(entry, rest)
            ? { ...entry, [rest]: '' }
            : without(entry, rest),
    )
  }
  if (!isTree(part)) return part
  // Names of Kafka's properties hold dots.
  return Object.fromEntries(
    Object.entries(part)
      .filter(([key]) => key !== path)
      .map(([key, value]) => [key, path.startsWith(`${key}.`) ? without(value, path.slice(key.length + 1)) : value]),
  )
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

/** A broker's address. Its host may be any name that resolves: those of containers have underscores. */
const BROKER = /^(?:\[[0-9A-Fa-f:.]+\]|[^\s:/[\]]+):[0-9]{1,5}$/

/**
 * What the schema cannot say: how settings fit each other. @param refused places that the schema refuses @param mended
 * the settings without these
 */
function crossChecks(s: Settings, refused: readonly string[], mended: () => Settings): Problem[] {
  const problems: Problem[] = []
  const add = (at: string, what: string, mend: string): void => void problems.push({ path: at, what, mend })

  problems.push(...ownKafkaProblems(s.kafka))
  if (!s.embedded && s.kafka['bootstrap.servers'] === '') {
    add('kafka.bootstrap.servers', 'is empty', 'name a broker: host:9092')
  } else if (
    !s.embedded &&
    typeof s.kafka['bootstrap.servers'] === 'string' &&
    !s.kafka['bootstrap.servers'].split(',').every((broker) => BROKER.test(broker.trim()))
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

  const owners = new Map<number, string>()
  for (const [name, tenant] of Object.entries(s.tenants)) {
    const owner = owners.get(tenant.id)
    if (owner !== undefined)
      add(`tenants.${name}.id`, `is the id of tenant ${owner} too`, 'give each tenant an id of its own')
    else owners.set(tenant.id, name)
    if (typeof tenant.region === 'string' && !isRegion(tenant.region)) {
      add(`tenants.${name}.region`, 'is no country with a numbering plan', 'use two capital letters of ISO 3166: GB')
    }
  }

  const names = Object.keys(s.tenants)
  const mappings = ['asterisk-cdr', 'minim', ...Object.keys(s.mappings)]
  const sources = new Map<string, number>()
  const paths = new Map<string, number>()
  s.files.forEach((f, i) => {
    if (!names.includes(f.tenant)) add(`files.${i}.tenant`, 'is no tenant of these settings', useOneOf(f.tenant, names))
    if (f.format === 'protobuf' && f.mapping !== null)
      add(`files.${i}.mapping`, 'has no use for protobuf files', 'take it out')
    if (f.format === 'protobuf' && f.follow)
      add(`files.${i}.follow`, 'is for files of lines', 'take it out: a protobuf file is read once')
    if (f.mapping !== null && !mappings.includes(f.mapping))
      add(`files.${i}.mapping`, 'is no mapping of these settings', useOneOf(f.mapping, mappings))
    if (!isTimeZone(f.timeZone)) add(`files.${i}.timeZone`, 'is no time zone', 'use an IANA name: Europe/London')
    if (s.workers > 1 && f.source === null)
      add(
        `files.${i}.source`,
        'is needed with more than one worker: it says which of them the file belongs to',
        'give the file a name of its own',
      )
    const twin = f.source === null ? undefined : sources.get(f.source)
    if (twin !== undefined)
      add(`files.${i}.source`, `is the source of files.${twin} too`, 'give each file a source of its own, or none')
    else if (f.source !== null) sources.set(f.source, i)
    const same = paths.get(f.path)
    if (same !== undefined) add(`files.${i}.path`, `is the path of files.${same} too`, 'name each file once')
    else paths.set(f.path, i)
  })
  for (const name of Object.keys(s.mappings)) {
    if (name === 'asterisk-cdr' || name === 'minim') add(`mappings.${name}`, 'is built in', 'give it another name')
  }

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
  for (const section of SOURCE_SECTIONS) problems.push(...sectionProblems(section, s, refused, mended))
  problems.push(...authoriseProblems('grpc', s.grpc.authorise, s.grpc.tls, names))
  if (s.grpc.maxMessageBytes < s.limits.maxRecordBytes) {
    add(
      'grpc.maxMessageBytes',
      'is less than limits.maxRecordBytes, so a record could fit no batch',
      `set it to ${s.limits.maxRecordBytes} or more`,
    )
  }
  return problems
}

/** What is wrong with the files and variables that a proxy with these settings reads when it starts. */
export function proxyFileProblems(settings: Settings): Problem[] {
  const { grpc } = settings
  return [
    ...kafkaFileProblems(settings),
    ...(grpc.tls === null ? [] : pemProblems(pemFiles(grpc.tls, 'grpc.tls'))),
    ...SOURCE_SECTIONS.flatMap((section) =>
      isOn(section, settings[section.key]) ? (section.checkFiles?.(settings[section.key], settings) ?? []) : [],
    ),
  ]
}

/** What is wrong with the certificate files of the connections to Kafka. */
export function kafkaFileProblems({ kafka, embedded }: Settings): Problem[] {
  if (embedded || !/ssl$/i.test(String(kafka['security.protocol'] ?? ''))) return []
  const at = (name: string, inline: string): PemFile | null =>
    kafka[name] === undefined || kafka[inline] !== undefined
      ? null
      : { file: String(kafka[name]), path: `kafka.${name}` }
  const passphrase = kafka['ssl.key.password']
  return pemProblems({
    ca: at('ssl.ca.location', 'ssl.ca.pem'),
    cert: at('ssl.certificate.location', 'ssl.certificate.pem'),
    key: at('ssl.key.location', 'ssl.key.pem'),
    ...(passphrase === undefined ? {} : { passphrase: String(passphrase) }),
  })
}

const MASK = '***'

/** The settings as they may be logged: secrets replaced by `***`. */
export function maskSettings(settings: Settings): Settings {
  const kafka: Record<string, KafkaValue> = {}
  for (const [key, value] of Object.entries(settings.kafka)) kafka[key] = SECRET_KAFKA.test(key) ? MASK : value
  const { master } = settings.keys
  // A command's arguments may hold a token for the service it asks.
  const masked =
    master !== null && 'exec' in master ? { exec: [master.exec[0], ...master.exec.slice(1).map(() => MASK)] } : master
  return { ...settings, kafka, keys: { ...settings.keys, master: masked } }
}

/** The larger entry of the library is for parsing. */
function isRegion(text: string): boolean {
  return isSupportedCountry(text as CountryCode, metadata)
}
