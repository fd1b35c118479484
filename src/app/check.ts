/**
 * Everything that a start would stumble over, looked for without starting anything: settings, policy, notice, mappings,
 * secrets, certificates, keys and spool. Nothing is made or changed: no key, no folder, no topic.
 */
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { errorCode } from '../base/system-error.js'
import { catalogue as shippedCatalogue } from '../catalogue/catalogue.js'
import { type ErrorCode, MinimError, type Problem } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { type LineOf, readYaml, withLines } from '../errors/yaml.js'
import { resolveMapping } from '../formats/readers.js'
import { loadMaster } from '../keys/master.js'
import { KeyStore } from '../keys/store.js'
import { lint } from '../policy/lint.js'
import { inspectPolicy, tenantProblems } from '../policy/load.js'
import type { Policy } from '../policy/model.js'
import { readNotice } from '../policy/notice.js'
import { certificateDates, namedCertificates } from '../sections/certificate-dates.js'
import { loadSettings, proxyFileProblems, type SettingsInput } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'
import { usesSpool } from '../settings/sections.js'
import { holdsSpool } from '../spool/lock.js'

/** Something found: a mistake, or something that will become one. */
export interface Finding extends Problem {
  readonly code: ErrorCode
  /** The file that is to be mended; null: no file's. */
  readonly file: string | null
  readonly severity: 'error' | 'warning'
}

export interface CheckReport {
  readonly findings: readonly Finding[]
  /** What could not be looked at, and why: nobody is to take silence for an all-clear. */
  readonly notLookedAt: readonly string[]
  /** As far as they are understood; null where nothing more can be asked with them. */
  readonly settings: Settings | null
  readonly policy: Policy | null
  /** Lines of the settings file. */
  readonly lineOf: LineOf
}

/** A settings file with what is found about it. */
class SettingsFile {
  readonly path: string
  readonly findings: Finding[] = []
  readonly lineOf: LineOf
  readonly #text: string

  constructor(path: string) {
    this.path = path
    this.#text = textOf(path)
    this.lineOf = readYaml(this.#text).lineOf
  }

  add(code: ErrorCode, problems: readonly Problem[], severity: Finding['severity'] = 'error'): void {
    this.findings.push(
      ...withLines(problems, this.lineOf).map((problem) => ({ ...problem, code, file: this.path, severity })),
    )
  }

  /** An error of the catalogue that a setting leads to. */
  addError(path: string, error: unknown): void {
    if (!(error instanceof MinimError)) throw error
    this.add(error.code, [{ path, what: error.message, mend: error.fix }])
  }

  /** Whether nothing is wrong with a setting, what it holds or what holds it. */
  isSound(path: string): boolean {
    return !this.findings.some(
      (found) =>
        found.severity === 'error' &&
        (found.path === '' ||
          found.path === path ||
          found.path.startsWith(`${path}.`) ||
          path.startsWith(`${found.path}.`)),
    )
  }

  /** The policy that settings name that cannot be read as YAML: a policy's mistakes need not wait for theirs. */
  get namedPolicy(): string | null {
    const written = /^policy:[ \t]+(["']?)([^"'#\n]+?)\1[ \t]*(?:#.*)?$/m.exec(this.#text)?.[2] ?? 'policy.yaml'
    const path = resolve(dirname(this.path), written)
    return existsSync(path) ? path : null
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Whoever loads the settings says so.
    return ''
  }
}

/**
 * Checks what needs no Kafka.
 * @param notice the notice that the policy is held against
 */
export function checkFiles(path: string, overrides: SettingsInput, notice: string): CheckReport {
  const file = new SettingsFile(path)
  const settings = checkSettings(file, overrides)
  const policyPath = settings === null ? file.namedPolicy : file.isSound('policy') ? settings.policy : null
  const notLookedAt: string[] = []
  if (settings === null)
    notLookedAt.push('mappings, secrets, certificates, keys and spool: the settings cannot be read')
  else {
    checkMappings(file, settings)
    checkCertificates(file, settings)
    checkKeys(file, settings)
    checkSpool(file, settings)
  }
  if (policyPath === null) notLookedAt.push('policy and notice: the settings do not say which policy it is')
  const said = policyPath === null ? NO_POLICY : checkPolicy(policyPath, notice, settings)
  return {
    findings: [...file.findings, ...said.findings],
    notLookedAt: [...notLookedAt, ...said.notLookedAt],
    settings,
    policy: said.policy,
    lineOf: file.lineOf,
  }
}

/** @returns null where the file could not be read at all */
function checkSettings(file: SettingsFile, overrides: SettingsInput): Settings | null {
  let read: Settings | null = null
  try {
    return loadSettings(file.path, overrides, (settings) => {
      read = settings
      return proxyFileProblems(settings)
    })
  } catch (error) {
    if (!(error instanceof ProblemsError)) throw error
    file.add(error.code, error.problems)
    return read
  }
}

/** Each mapping of the settings, whether a source uses it or not. */
function checkMappings(file: SettingsFile, settings: Settings): void {
  for (const name of Object.keys(settings.mappings)) {
    const path = `mappings.${name}`
    if (!file.isSound(path)) continue
    try {
      resolveMapping(name, settings.mappings, shippedCatalogue(), { timeZone: 'UTC' }, path)
    } catch (error) {
      if (!(error instanceof ProblemsError)) throw error
      file.add(error.code, error.problems)
    }
  }
}

function checkCertificates(file: SettingsFile, settings: Settings): void {
  for (const named of namedCertificates(settings)) {
    if (!file.isSound(named.path)) continue
    for (const { path, state, what } of certificateDates(named)) {
      const code = state === 'soon' ? 'MINIM_CERTIFICATE_EXPIRES' : 'MINIM_CERTIFICATE_EXPIRED'
      const error = new MinimError(code, { path: named.file ?? named.path, what })
      file.add(code, [{ path, what: error.message, mend: error.fix }], state === 'soon' ? 'warning' : 'error')
    }
  }
}

/** The master key and the store are each told of: the store is looked at though there is no key to open it. */
function checkKeys(file: SettingsFile, { keys }: Settings): void {
  const master = file.isSound('keys.master') ? attempt(file, 'keys.master', () => loadMaster(keys.master)) : null
  if (!file.isSound('keys.store')) return
  attempt(file, 'keys.store', () => (master === null ? KeyStore.status(keys.store) : KeyStore.open(keys.store, master)))
}

function attempt<T>(file: SettingsFile, path: string, read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    file.addError(path, error)
    return null
  }
}

/** Whether the spool's folder is one, or can be made, and can be written to. That a minim has it now is no mistake. */
function checkSpool(file: SettingsFile, settings: Settings): void {
  const { path } = settings.spool
  if (!file.isSound('spool.path') || !(usesSpool(settings) || holdsSpool(path))) return
  try {
    let folder = path
    while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder)
    if (!statSync(folder).isDirectory()) throw Object.assign(new Error(), { code: 'ENOTDIR' })
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    file.addError('spool.path', new MinimError('MINIM_SPOOL_OPEN', { path, what: errorCode(error) }))
  }
}

type PolicyReport = Pick<CheckReport, 'findings' | 'notLookedAt' | 'policy'>

const NO_POLICY: PolicyReport = { findings: [], notLookedAt: [], policy: null }

function checkPolicy(path: string, noticePath: string, settings: Settings | null): PolicyReport {
  const catalogue = shippedCatalogue()
  const report = lint(catalogue, path, noticePath)
  const isSound = report.policyProblems.length === 0
  const inspected = inspectPolicy(path, catalogue)
  const on = inspected.purposes.filter((purpose) => purpose.enabled)
  const policy: Policy = { version: inspected.version, hash: inspected.hash, purposes: on }
  const tenants =
    settings === null ? [] : withLines(tenantProblems(policy, Object.keys(settings.tenants)), inspected.lineOf)
  const asFindings = (code: ErrorCode, file: string, problems: readonly Problem[]): Finding[] =>
    problems.map((problem) => ({ ...problem, code, file, severity: 'error' }))
  // A rule that a mistake hides would be missed by the notice as well.
  const notice = isSound ? report.noticeProblems : readNotice(noticePath).problems
  return {
    findings: [
      ...asFindings('MINIM_POLICY_INVALID', path, [...report.policyProblems, ...tenants]),
      ...asFindings('MINIM_NOTICE_INVALID', noticePath, notice),
    ],
    notLookedAt: isSound ? [] : ['whether the policy keeps the notice: mend the policy first'],
    policy: isSound ? policy : null,
  }
}
