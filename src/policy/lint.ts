/**
 * What a sound policy may still get wrong: does every promise of the notice map to rules and tests that exist, and what
 * could be joined, followed or kept longer than it should? The first fails; the second is said.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Catalogue, type FieldName, type Kind, KINDS } from '../catalogue/catalogue.js'
import { type Problem, problemLines } from '../errors/catalogue.js'
import { useOneOf } from '../errors/problems.js'
import { withLines } from '../errors/yaml.js'
import { descriptorOf, timeStepOf } from '../treatments/registry.js'
import { type InspectedPolicy, type InspectedPurpose, inspectPolicy, type PolicySource } from './load.js'
import { DEFAULT_NOTICE_PATH, PROMISE_IDS, type Promised, readNotice, STATUSES } from './notice.js'
import { basisOf, isWithin, type PurposeTerm, purposeTerm } from './vocabulary.js'

export interface LintReport {
  /** Mistakes: the policy's own, then the notice's. Any fails. */
  readonly policyProblems: readonly Problem[]
  readonly noticeProblems: readonly Problem[]
  /** What is allowed, and worth knowing. */
  readonly warnings: readonly Problem[]
  /** Promises that this version does not keep, or not wholly. */
  readonly open: readonly Promised[]
  readonly lines: readonly string[]
  readonly failed: boolean
}

const PACKAGE_ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** What is erasable stays in Kafka no longer than this, so that erasure ends in time whatever a consumer does. */
const ERASABLE_DAYS = 30
/** A start no coarser than this, with a duration, picks out one call among many. */
const EXACT_MS = 1000
/** Whoever has one of these, or a narrower one, may not know who called whom. */
const MARKETING: readonly PurposeTerm[] = ['Marketing', 'PublicRelations']

/**
 * Lints a policy against a notice.
 * @param root folder that the notice's test files are named from
 */
export function lint(
  catalogue: Catalogue,
  source?: PolicySource,
  noticePath: string = DEFAULT_NOTICE_PATH,
  root: string = PACKAGE_ROOT,
): LintReport {
  const policy = inspectPolicy(source, catalogue)
  const notice = readNotice(noticePath)
  const hasTests = existsSync(join(root, 'test'))
  // Of a policy without purposes every rule of the notice would be missing: that is said once, by the policy's own
  // mistake.
  const readable = isMapping(policy.document) && isMapping(policy.document['purposes'])
  const noticeProblems = [
    ...notice.problems,
    ...(notice.problems.length > 0 || !readable
      ? []
      : withLines(promiseProblems(notice.promises, policy, hasTests ? root : null), notice.lineOf)),
  ]
  const on = policy.purposes.filter((p) => p.enabled)
  const warnings = withLines([...joinable(on), ...on.flatMap(purposeWarnings)], (path) =>
    policy.lineOf(path.split(' ')[0]),
  )
  const open = notice.promises.filter((p) => p.status === 'partly' || p.status === 'planned')
  const failed = policy.problems.length > 0 || noticeProblems.length > 0

  const lines: string[] = []
  const off = policy.purposes.length - on.length
  if (policy.problems.length > 0)
    lines.push(`${policy.path}: ${policy.problems.length} mistake(s)`, problemLines(policy.problems))
  else lines.push(`policy ${policy.version}: ${on.length} purposes on, ${off} off`)
  if (noticeProblems.length > 0)
    lines.push(`${noticePath}: ${noticeProblems.length} mistake(s)`, problemLines(noticeProblems))
  else if (!readable) lines.push('notice: not checked until the policy can be read')
  else lines.push(`notice: ${notice.promises.length} promises: ${countsOf(notice.promises)}`)
  if (!hasTests) lines.push('tests: not part of this installation, so whether they exist was not checked')
  if (readable && open.length > 0)
    lines.push(
      'promises not kept, or not wholly, by this version:',
      ...open.map((p) => `  ${p.id} ${p.status}: ${p.missing ?? p.promise}`),
    )
  if (warnings.length > 0) lines.push('worth knowing:', problemLines(warnings))
  lines.push(failed ? 'lint: failed' : 'lint: passed')
  return { policyProblems: policy.problems, noticeProblems, warnings, open, lines, failed }
}

/** How many promises are kept how far: `9 enforced, 13 partly, …`. */
function countsOf(promises: readonly Promised[]): string {
  return STATUSES.map((status) => `${promises.filter((p) => p.status === status).length} ${status}`).join(', ')
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function promiseProblems(promises: readonly Promised[], policy: InspectedPolicy, root: string | null): Problem[] {
  const problems: Problem[] = []
  const add = (path: string, what: string, mend: string): void => void problems.push({ path, what, mend })
  const seen = new Set<string>()
  for (const p of promises) {
    if (!PROMISE_IDS.includes(p.id)) add(p.id, 'is no row of the notice', useOneOf(p.id, PROMISE_IDS))
    if (seen.has(p.id)) add(p.id, 'is there twice', 'keep one')
    seen.add(p.id)
    if (p.status === 'enforced' || p.status === 'partly') {
      if (p.rules.length === 0)
        add(
          `${p.id}.rules`,
          `is empty, and the promise is ${p.status}`,
          'name the rules that keep it, or set status: planned',
        )
      if (p.tests.length === 0)
        add(
          `${p.id}.tests`,
          `is empty, and the promise is ${p.status}`,
          'name the tests that prove it, or set status: planned',
        )
    }
    if ((p.status === 'partly' || p.status === 'planned') !== (p.missing !== undefined)) {
      if (p.missing === undefined) add(`${p.id}.missing`, 'is missing', 'say what is not kept yet')
      else add(`${p.id}.missing`, `does not belong to ${p.status}`, 'take it out, or set status: partly')
    }
    // A policy with mistakes is told apart from a notice with mistakes: its document still has its paths.
    p.rules.forEach((rule) => {
      if (rule.startsWith('!')) {
        for (const path of passing(policy.document, rule.slice(1).split('.')))
          add(`${p.id}.rules`, `${path} lets pass what is promised to be dropped`, 'write drop, or take it out')
      } else if (!pathExists(policy.document, rule.split('.')))
        add(`${p.id}.rules`, `${rule} is not in the policy`, 'name a path that is, or mend the policy')
    })
    if (root !== null) {
      p.tests.forEach((test) => {
        if (!/^test\/.*\.test\.ts$/.test(test) || test.includes('..') || !existsSync(join(root, test)))
          add(`${p.id}.tests`, `${test} is no test file of this project`, 'name one under test/')
      })
    }
  }
  for (const id of PROMISE_IDS) if (!seen.has(id)) add(id, 'is missing', 'add a row for it')
  for (const purpose of policy.purposes) {
    if (!seen.has(purpose.notice) && !PROMISE_IDS.includes(purpose.notice))
      add(purpose.notice, `is missing, and purposes.${purpose.id} keeps it`, 'add a row for it')
  }
  return problems
}

/**
 * The places below a path that let something pass. What is not named is dropped, as is what is named `drop`: a purpose
 * need not say of each field that it does not see it.
 */
function passing(value: unknown, steps: readonly string[], at: readonly string[] = []): string[] {
  if (steps.length === 0) return value === undefined || value === 'drop' ? [] : [at.join('.')]
  if (!isMapping(value)) return []
  const [step, ...rest] = steps
  const keys = step === '*' ? Object.keys(value) : [step].filter((key) => Object.hasOwn(value, key))
  return keys.flatMap((key) => passing(value[key], rest, [...at, key]))
}

/** Whether a path leads to something; `*` must lead on through every entry. */
function pathExists(value: unknown, steps: readonly string[]): boolean {
  if (steps.length === 0) return value !== undefined
  if (typeof value !== 'object' || value === null) return false
  const [step, ...rest] = steps
  if (step === '*') {
    const entries = Object.values(value)
    return entries.length > 0 && entries.every((entry) => pathExists(entry, rest))
  }
  return Object.hasOwn(value, step) && pathExists((value as Record<string, unknown>)[step], rest)
}

/** How exactly a purpose sees a time, ms; null: not at all. */
function exactness(purpose: InspectedPurpose, kind: Kind, name: FieldName): number | null {
  const treatment = purpose.kinds[kind]?.rules.find((r) => r.field.name === name)?.treatment
  if (treatment === undefined) return null
  return timeStepOf(treatment)
}

function exact(purpose: InspectedPurpose, kind: Kind, name: FieldName): boolean {
  const ms = exactness(purpose, kind, name)
  return ms !== null && ms <= EXACT_MS
}

/** Durations that a purpose sees or can work out from exact times. */
function durations(purpose: InspectedPurpose, kind: Kind): Set<string> {
  const kept = (name: FieldName): boolean =>
    purpose.kinds[kind]?.rules.some(
      (r) => r.field.name === name && descriptorOf(r.treatment.kind).shows === 'value',
    ) === true
  const found = new Set<string>()
  const ends = exact(purpose, kind, 'end_ms')
  if (kept('duration_seconds') || (ends && exact(purpose, kind, 'start_ms'))) found.add('duration')
  if (kept('billable_seconds') || (ends && exact(purpose, kind, 'answer_ms'))) found.add('billable time')
  return found
}

/** Pairs of purposes whose records of a call can be told to be the same one, without any token. */
function joinable(purposes: readonly InspectedPurpose[]): Problem[] {
  const found: Problem[] = []
  purposes.forEach((a, i) => {
    for (const b of purposes.slice(i + 1)) {
      for (const kind of KINDS) {
        if (!exact(a, kind, 'start_ms') || !exact(b, kind, 'start_ms')) continue
        const shared = [...durations(a, kind)].filter((d) => durations(b, kind).has(d))
        if (shared.length === 0) continue
        found.push({
          path: `purposes.${a.id}.${kind} and purposes.${b.id}.${kind}`,
          what: `can be joined without tokens: both see the start to the second, and the ${shared.join(' and the ')}`,
          mend: 'keep their readers apart, or put a time-bucket on start_ms in one',
        })
      }
    }
  })
  return found
}

function purposeWarnings(purpose: InspectedPurpose): Problem[] {
  const found: Problem[] = []
  const at = `purposes.${purpose.id}`
  const basis = basisOf(purpose.basis)
  if (basis.erasable && purpose.retentionDays > ERASABLE_DAYS) {
    found.push({
      path: `${at}.retention_days`,
      what: `is above ${ERASABLE_DAYS}, and a person can have this erased`,
      mend: `set it to ${ERASABLE_DAYS} or less, or erasure is complete only when it ends`,
    })
  }
  if (purpose.epoch === 'contract' && basis.name !== 'contract') {
    found.push({
      path: `${at}.epoch`,
      what: `gives tokens as long as a contract, and the basis is ${basis.name}`,
      mend: 'use a year or less',
    })
  }
  const term = purposeTerm(purpose.dpv)
  for (const kind of KINDS) {
    const rules = purpose.kinds[kind]
    if (rules === undefined) continue
    if (rules.key === null) {
      found.push({
        path: `${at}.${kind}.key`,
        what: 'there is none, so records of one subject have no order among themselves',
        mend: 'fine where the purpose may not know a subject',
      })
    }
    const start = exactness(purpose, kind, 'start_ms') ?? Infinity
    for (const name of ['answer_ms', 'end_ms'] as const) {
      const other = exactness(purpose, kind, name)
      if (other !== null && other < start)
        found.push({
          path: `${at}.${kind}.fields.${name}`,
          what: 'is finer than start_ms, and says nearly the same',
          mend: 'treat it like start_ms',
        })
    }
    const parties = rules.rules.filter((r) => r.field.identifier === 'PARTY').map((r) => r.field.name)
    if (term !== null && MARKETING.some((broad) => isWithin(term, broad)) && parties.length > 1) {
      found.push({
        path: `${at}.${kind}.fields`,
        what: `sees ${parties.join(' and ')}, so it knows who called whom`,
        mend: 'drop them',
      })
    }
  }
  return found
}
