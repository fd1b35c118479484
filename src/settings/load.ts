/**
 * Settings file + overrides → checked settings, complete and frozen. Every mistake at once; no value that was given is
 * repeated.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Problem } from '../errors/catalogue.js'
import { checker, deepFreeze, ProblemsError } from '../errors/problems.js'
import { type LineOf, readYaml, withLines } from '../errors/yaml.js'
import { DEFAULT_MAPPING, type FileFormat } from '../flow/file-formats.js'
import type { KafkaValue } from '../kafka/settings.js'
import { type PemFile, pemFiles, pemProblems } from '../sections/tls-files.js'
import type { FileSettings } from '../sources/common/file-settings.js'
import { crossChecks, isOn } from './cross-checks.js'
import { DEFAULTS } from './defaults.js'
import { type Settings, settingsSchema, type TenantSettings } from './schema.js'
import { SOURCE_SECTIONS, type SourceSettings } from './sections.js'
import { isTree, type Tree } from './tree.js'

/** Settings as a file may hold them: any part may be left out. */
export type SettingsInput = {
  readonly [K in keyof Settings]?: K extends
    'kafka' | 'tenants' | 'mappings' | 'files' | 'cluster' | 'policy' | 'notice' | 'embedded' | 'workers'
    ? K extends 'tenants'
      ? Readonly<Record<string, Partial<TenantSettings>>>
      : K extends 'files'
        ? readonly Partial<FileSettings>[]
        : Settings[K]
    : Partial<Settings[K]>
}

const CONFIG_FOLDER = fileURLToPath(new URL('../../../config/', import.meta.url))

/** librdkafka properties whose values are secrets, or may hold one. */
const SECRET_KAFKA = /password|secret|sasl\.username|sasl\.oauthbearer\.config|\.pem$|\.key$|keystore/

let check: ((value: unknown) => Problem[]) | null = null

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
  let lineOf: LineOf | null = null
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
    const { value, problems, lineOf: finder } = readYaml(text)
    if (problems.length > 0) throw new ProblemsError('MINIM_SETTINGS_INVALID', name, problems)
    written = value ?? {}
    lineOf = finder
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
  if (problems.length > 0)
    throw new ProblemsError('MINIM_SETTINGS_INVALID', name, lineOf === null ? problems : withLines(problems, lineOf))
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
  const copy = withPaths(tree, ['policy', 'notice'], folder) as Tree
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

/** ISO 3166 says GB where most people say UK: they are one. */
function tenantOf(given: Tree): TenantSettings {
  const region = given['region'] === 'UK' ? { region: 'GB' } : {}
  return { ...DEFAULTS.tenant, ...given, ...region } as unknown as TenantSettings
}

/** Fills what was left out. What is given is taken as it is: it may still be wrong, and then the result is not used. */
function complete(given: Tree, folder: string, policyFolder: string): Settings {
  const D = DEFAULTS
  const section = (
    key: 'topics' | 'delivery' | 'keys' | 'grpc' | 'devices' | 'ops' | 'limits' | 'log' | 'kafka' | 'numbers',
  ): unknown => lay(structuredClone(D[key]), isTree(given[key]) ? given[key] : undefined, key)
  const tenants = isTree(given['tenants']) ? given['tenants'] : D.tenants
  const files = Array.isArray(given['files']) ? (given['files'] as unknown[]) : D.files
  const keys = section('keys') as Settings['keys']
  const grpc = section('grpc') as Settings['grpc']
  return {
    cluster: (given['cluster'] ?? D.cluster) as string,
    policy: (given['policy'] ?? path.resolve(policyFolder, D.policy)) as string,
    notice: (given['notice'] ?? D.notice) as string | null,
    embedded: (given['embedded'] ?? D.embedded) as boolean,
    workers: (given['workers'] ?? D.workers) as number,
    kafka: section('kafka') as Settings['kafka'],
    topics: section('topics') as Settings['topics'],
    delivery: section('delivery') as Settings['delivery'],
    keys: { ...keys, store: absolute(folder, keys.store) as string },
    tenants: Object.fromEntries(Object.entries(tenants).map(([k, t]) => [k, tenantOf(isTree(t) ? t : {})])),
    numbers: section('numbers') as Settings['numbers'],
    grpc: { ...grpc, tls: grpc.tls === null ? null : { ...grpc.tls, clientCa: grpc.tls.clientCa ?? null } },
    files: files.map((f): FileSettings => {
      const tree = isTree(f) ? f : {}
      return {
        mapping: DEFAULT_MAPPING[tree['format'] as FileFormat] ?? null,
        ...D.file,
        source: null,
        follow: tree['format'] !== 'protobuf',
        ...tree,
      } as unknown as FileSettings
    }),
    devices: section('devices') as Settings['devices'],
    mappings: (isTree(given['mappings']) ? given['mappings'] : {}) as Settings['mappings'],
    ...completeSources(given, folder),
    ops: section('ops') as Settings['ops'],
    limits: section('limits') as Settings['limits'],
    log: section('log') as Settings['log'],
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
