/**
 * Policy file → checked policy. Fails closed: what is not understood, not complete or not lawful stops the start, with
 * every mistake listed at once. Passing says that the policy is sound; whether it keeps the notice's promises is
 * `lint.ts`'s question.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { DAY_MS } from '../base/time.js'
import {
  type Catalogue,
  catalogue as shippedCatalogue,
  type Field,
  type FieldsByName,
  type Kind,
  KINDS,
} from '../catalogue/catalogue.js'
import type { Problem } from '../errors/catalogue.js'
import { checker, deepFreeze, ProblemsError, useOneOf } from '../errors/problems.js'
import { type LineOf, readYaml, withLines } from '../errors/yaml.js'
import { type EpochLength, EPOCHS } from '../keys/keyring.js'
import { isToken, timeStepOf, treatmentNamed } from '../treatments/registry.js'
import { fitting, readTreatment, spellingOf, writtenKind } from './fit.js'
import { type FieldRule, type KindRules, MAX_PURPOSES, type Policy, type Purpose, type TreatmentKind } from './model.js'
import { policySchema } from './schema.js'
import {
  BASES,
  basisCurie,
  basisTerm,
  nearestPurposes,
  purposeIri,
  purposeTerm,
  REFUSED_TRANSFERS,
  regionCode,
  regionMend,
  regionOf,
  TRANSFER_NAMES,
} from './vocabulary.js'

/** A policy file by its path, or its bytes. */
export type PolicySource = string | { readonly text: string | Uint8Array; readonly path?: string }

/** A purpose with what the checked model leaves out. */
export interface InspectedPurpose extends Purpose {
  readonly enabled: boolean
}

/**
 * A policy file as far as it is understood. Purposes with mistakes are left out of `purposes`; those that are off are
 * in it.
 */
export interface InspectedPolicy {
  readonly path: string
  readonly version: string
  /** SHA-256 of the file, hexadecimal: `version` is its beginning. */
  readonly hash: string
  readonly problems: readonly Problem[]
  readonly purposes: readonly InspectedPurpose[]
  /** The file's values, for those who look up paths in it. */
  readonly document: unknown
  readonly lineOf: LineOf
}

/** The policy that minim ships. */
export const DEFAULT_POLICY_PATH = fileURLToPath(new URL('../../../config/policy.yaml', import.meta.url))

/** A version is named by so much of its hash: in tags, where each record carries it. */
const VERSION_DIGITS = 12

/** A policy larger than this is none: it must fit into one message of Kafka's, and is read while records wait. */
export const MAX_POLICY_BYTES = 900_000

/** What is said of one that is. */
export const TOO_LARGE: Problem = {
  path: '',
  what: `is larger than ${MAX_POLICY_BYTES / 1000} kB`,
  mend: 'is it another file? The policy that minim ships has 13 kB',
}

/** A policy of all purposes that there may be, each with every field, holds less. */
const MAX_VALUES = 20_000

const TOO_MANY: Problem = {
  path: '',
  what: `holds more than ${MAX_VALUES} values`,
  mend: 'is it another file? The policy that minim ships has some hundreds',
}

/** Longest span of an epoch, in days. */
const EPOCH_DAYS: Readonly<Record<EpochLength, number>> = {
  day: 1,
  month: 31,
  quarter: 92,
  year: 366,
  contract: Infinity,
}

type Tree = Readonly<Record<string, unknown>>

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether a document holds more values than so many; those that aliases repeat are counted each time. */
function holdsMore(document: unknown, limit: number): boolean {
  const left = [document]
  for (let count = 0; left.length > 0; count++) {
    if (count + left.length > limit) return true
    const value = left.pop()
    if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) left.push(part)
  }
  return false
}

const checkers = new WeakMap<Catalogue, (value: unknown) => Problem[]>()

function schemaChecker(catalogue: Catalogue): (value: unknown) => Problem[] {
  let check = checkers.get(catalogue)
  if (check === undefined) checkers.set(catalogue, (check = checker(policySchema(catalogue, false))))
  return check
}

/**
 * Loads and checks a policy.
 * @returns frozen; only the purposes that are on
 * @throws ProblemsError `MINIM_POLICY_INVALID` with every mistake
 */
export function loadPolicy(
  source: PolicySource = DEFAULT_POLICY_PATH,
  catalogue: Catalogue = shippedCatalogue(),
): Policy {
  const { path, version, hash, problems, purposes } = inspectPolicy(source, catalogue)
  if (problems.length > 0) throw new ProblemsError('MINIM_POLICY_INVALID', path, problems)
  return deepFreeze({ version, hash, purposes: purposes.filter((p) => p.enabled) })
}

/** Reads a policy as far as it is understood; never throws for what the file holds. */
export function inspectPolicy(
  source: PolicySource = DEFAULT_POLICY_PATH,
  catalogue: Catalogue = shippedCatalogue(),
): InspectedPolicy {
  const path = typeof source === 'string' ? source : (source.path ?? 'policy')
  let bytes: Buffer
  try {
    bytes = typeof source === 'string' ? readFileSync(source) : Buffer.from(source.text as Uint8Array)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'error'
    return {
      path,
      version: '',
      hash: '',
      problems: [
        {
          path: '',
          what: `cannot be read (${code})`,
          mend:
            'name a file that can under policy: in the settings, or by --policy; policy.yaml beside the ' +
            'settings is what is meant without',
        },
      ],
      purposes: [],
      document: undefined,
      lineOf: () => 1,
    }
  }
  const hash = createHash('sha256').update(bytes).digest('hex')
  const version = hash.slice(0, VERSION_DIGITS)
  const unread = { path, version, hash, purposes: [], document: undefined, lineOf: () => 1 }
  if (bytes.length > MAX_POLICY_BYTES) return { ...unread, problems: [TOO_LARGE] }
  const { value, problems: unreadable, lineOf } = readYaml(bytes.toString('utf8'))
  if (unreadable.length > 0) return { ...unread, problems: unreadable, lineOf }
  if (holdsMore(value, MAX_VALUES)) return { ...unread, problems: [TOO_MANY], lineOf }
  const check = new Check(catalogue)
  const purposes = check.policy(value)
  return {
    path,
    version,
    hash,
    problems: withLines(check.problems, lineOf),
    purposes: check.problems.length > 0 ? purposes : purposes.map((p) => deepFreeze(p)),
    document: value,
    lineOf,
  }
}

/** `1%` is 0.01. */
function sharesOf(limits: Tree): Record<string, number> {
  return Object.fromEntries(Object.entries(limits).map(([id, text]) => [id, Number.parseFloat(String(text)) / 100]))
}

/** Tenants that a policy names and the settings do not know. */
export function tenantProblems(policy: Policy, tenants: Iterable<string>): Problem[] {
  const known = [...tenants]
  return policy.purposes.flatMap((purpose) =>
    (purpose.tenants ?? []).flatMap((tenant, i) =>
      known.includes(tenant)
        ? []
        : [
            {
              path: `purposes.${purpose.id}.tenants.${i}`,
              what: `tenant "${tenant}" is not in the settings`,
              mend: useOneOf(tenant, known),
            },
          ],
    ),
  )
}

/**
 * One pass over one file. Each method reads a part, notes what is wrong with it, and returns null when it cannot be
 * used.
 */
class Check {
  readonly problems: Problem[] = []
  readonly #catalogue: Catalogue
  readonly #topics = new Map<string, string>()

  constructor(catalogue: Catalogue) {
    this.#catalogue = catalogue
  }

  #add(path: string, what: string, mend: string): null {
    // The schema may have said the same place already, less well.
    const at = this.problems.findIndex((p) => p.path === path)
    if (at >= 0) this.problems.splice(at, 1)
    this.problems.push({ path, what, mend })
    return null
  }

  policy(value: unknown): InspectedPurpose[] {
    this.problems.push(...schemaChecker(this.#catalogue)(value))
    const found: InspectedPurpose[] = []
    if (isTree(value) && isTree(value['purposes'])) {
      for (const [id, tree] of Object.entries(value['purposes'])) {
        // Under an id that cannot be, nothing can be named.
        if (!isTree(tree) || this.problems.some((p) => p.path === `purposes.${id}`)) continue
        const purpose = this.#purpose(id, tree)
        if (purpose !== null) found.push(purpose)
        this.#linkable(id, tree['linkable_with'], Object.keys(value['purposes']))
      }
      const on = Object.values(value['purposes']).filter((p) => isTree(p) && p['enabled'] !== false).length
      if (on === 0) this.#add('purposes', 'none is on, so nothing would leave', 'take enabled: false out of one')
      if (on > MAX_PURPOSES) this.#add('purposes', `${on} are on`, `switch some off: ${MAX_PURPOSES} at most`)
    }
    const order = isTree(value) && isTree(value['purposes']) ? Object.keys(value['purposes']) : []
    const place = (p: Problem): number => order.indexOf(p.path.split('.')[1])
    this.problems.sort((a, b) => place(a) - place(b))
    return found
  }

  #linkable(id: string, limits: unknown, known: readonly string[]): void {
    if (!isTree(limits)) return
    for (const other of Object.keys(limits)) {
      const at = `purposes.${id}.linkable_with.${other}`
      if (other === id) this.#add(at, 'is the purpose itself', 'name another one, or take it out')
      else if (!known.includes(other))
        this.#add(
          at,
          'is no purpose of this policy',
          useOneOf(
            other,
            known.filter((one) => one !== id),
          ),
        )
    }
  }

  #purpose(id: string, tree: Tree): InspectedPurpose | null {
    const at = `purposes.${id}`
    const before = this.problems.filter((p) => p.path === at || p.path.startsWith(`${at}.`)).length
    const enabled = tree['enabled'] !== false
    const basis = this.#basis(at, tree['basis'], enabled)
    const term = purposeTerm(tree['purpose'])
    if (term === null && typeof tree['purpose'] === 'string')
      this.#add(
        `${at}.purpose`,
        'is none of the allowed values',
        `did you mean ${nearestPurposes(tree['purpose']).join(' or ')}? They are the purposes of https://w3id.org/dpv`,
      )
    this.#transfer(at, tree['region'], tree['transfer'])
    const retentionDays = typeof tree['retention_days'] === 'number' ? tree['retention_days'] : null
    const epoch = (EPOCHS as readonly unknown[]).includes(tree['epoch']) ? (tree['epoch'] as EpochLength) : null
    const kinds: Partial<Record<Kind, KindRules>> = {}
    let named = 0
    for (const kind of KINDS) {
      const part = tree[kind]
      if (part === undefined) continue
      named++
      if (!isTree(part)) continue
      const rules = this.#kind(`${at}.${kind}`, id, kind, part)
      if (rules === null) continue
      kinds[kind] = rules
      if (retentionDays !== null && epoch !== null) this.#timestamp(`${at}.${kind}`, rules, retentionDays, epoch)
    }
    if (named === 0) this.#add(at, 'sees no kind of record', `add one of: ${KINDS.join(', ')}`)
    const after = this.problems.filter((p) => p.path === at || p.path.startsWith(`${at}.`)).length
    if (before > 0 || after > 0 || basis === null || term === null || retentionDays === null || epoch === null)
      return null
    return {
      id,
      enabled,
      kinds,
      epoch,
      retentionDays,
      notice: tree['notice'] as string,
      description: (tree['description'] as string).trim(),
      dpv: purposeIri(term),
      basis: basis.term,
      evidence: basis.evidence,
      recipients: tree['recipients'] as string[],
      region: regionCode(tree['region']) ?? '',
      transfer: tree['transfer'] as string,
      tenants: (tree['tenants'] as string[] | undefined) ?? null,
      helplines: tree['helplines'] === 'named' ? 'named' : 'hidden',
      ...(isTree(tree['linkable_with']) ? { linkableWith: sharesOf(tree['linkable_with']) } : {}),
    }
  }

  #basis(at: string, tree: unknown, enabled: boolean): { term: string; evidence: string } | null {
    if (!isTree(tree)) return null
    const term = basisTerm(tree['term'])
    if (term === null) return null
    const basis = BASES[term]
    const evidence = tree['evidence']
    if (typeof evidence !== 'string' || evidence.trim() === '') {
      return this.#add(`${at}.basis.evidence`, 'is missing', `add ${basis.evidence}`)
    }
    if (basis.name === 'consent') {
      if (tree['consent_notice'] === undefined)
        this.#add(`${at}.basis.consent_notice`, 'is missing', `add ${basis.evidence}, with its version`)
      // Nothing records consents yet, so nobody can have given one.
      if (enabled)
        this.#add(
          `${at}.enabled`,
          'rests on consent, and this version keeps no record of consents',
          'set enabled: false',
        )
    } else if (tree['consent_notice'] !== undefined) {
      this.#add(`${at}.basis.consent_notice`, `does not belong to ${basis.name}`, 'take it out')
    }
    return { term: basisCurie(term), evidence: evidence.trim() }
  }

  #transfer(at: string, written: unknown, transfer: unknown): void {
    const region = regionCode(written)
    if (typeof written === 'string' && region === null)
      this.#add(`${at}.region`, 'is none of the allowed values', regionMend(written))
    if (typeof transfer !== 'string') return
    if (Object.hasOwn(REFUSED_TRANSFERS, transfer)) {
      this.#add(
        `${at}.transfer`,
        `${transfer} is no valid mechanism: ${REFUSED_TRANSFERS[transfer]}`,
        'use scc or bcr, or keep the data at home',
      )
      return
    }
    if (region === null || !(TRANSFER_NAMES as readonly string[]).includes(transfer)) return
    const { name, transfers } = regionOf(region)
    if ((transfers as readonly string[]).includes(transfer)) return
    this.#add(`${at}.transfer`, `${transfer} does not cover ${name}`, `use one of: ${transfers.join(', ')}`)
  }

  #kind(at: string, purpose: string, kind: Kind, tree: Tree): KindRules | null {
    const known = this.#catalogue.kinds[kind]
    const topic = typeof tree['topic'] === 'string' ? tree['topic'] : `pbx.${purpose}.${kind}`
    this.#topic(`${at}.topic`, topic)
    if (!isTree(tree['fields'])) return null
    const rules: FieldRule[] = []
    let mistakes = 0
    for (const [name, value] of Object.entries(tree['fields'])) {
      const field = known.byName.get(name)
      if (field === undefined) {
        mistakes++
        this.#unknownField(`${at}.fields.${name}`, kind, name)
        continue
      }
      const rule = this.#rule(`${at}.fields.${name}`, field, value)
      if (rule === null) mistakes++
      else if (rule !== 'drop') rules.push(rule)
    }
    if (rules.length === 0 && mistakes === 0)
      this.#add(`${at}.fields`, 'lets no field pass', `name a field to pass, or take ${kind} out`)
    rules.sort((a, b) => a.field.number - b.field.number)
    const key = this.#key(`${at}.key`, tree['key'], known.byName, rules)
    return {
      kind,
      topic,
      key,
      rules,
      format: tree['format'] === 'json' ? 'json' : 'protobuf',
      headers: tree['headers'] === true,
    }
  }

  #unknownField(at: string, kind: Kind, name: string): void {
    if (name === 'tag') {
      this.#add(at, 'is written by minim itself', 'take it out')
      return
    }
    const others = KINDS.filter((k) => k !== kind && this.#catalogue.kinds[k].byName.has(name))
    const elsewhere = others.length > 0 ? ` (${others.join(' and ')} records have it)` : ''
    this.#add(
      at,
      `is no field of ${kind} records${elsewhere}`,
      useOneOf(name, this.#catalogue.kinds[kind].byName.keys()),
    )
  }

  #rule(at: string, field: Field, value: unknown): FieldRule | 'drop' | null {
    const fits = fitting(field, (name) => this.#catalogue.kinds[field.kind].byName.get(name))
    const allowed = [...fits, 'drop' as const]
    const kind = writtenKind(value)
    if (kind === null) return this.#add(at, 'is no treatment', `write ${allowed.map(spellingOf).join(', or ')}`)
    if (kind !== 'drop' && treatmentNamed(kind) === undefined) {
      const near = allowed.length > 1 ? useOneOf(kind, allowed) : 'only drop fits this field'
      return this.#add(at, `treatment "${kind.slice(0, 40)}" is unknown`, near)
    }
    if (kind === 'drop')
      return typeof value === 'string' ? 'drop' : this.#add(at, 'drop takes nothing with it', 'write drop')
    if (!(fits as readonly string[]).includes(kind)) {
      const nature =
        field.derivedFrom !== null
          ? `is made from ${field.derivedFrom}`
          : field.identifier === 'NOT_AN_IDENTIFIER'
            ? `holds a ${field.type}`
            : `holds ${field.identifier.toLowerCase().replace(/_/g, ' ')}`
      return this.#add(
        at,
        `${kind} does not fit a field that ${nature}`,
        `write ${allowed.map(spellingOf).join(', or ')}`,
      )
    }
    const treatment = readTreatment(field, kind as TreatmentKind, value)
    if (treatment === null)
      return this.#add(at, `${kind} is not understood as written`, `write ${spellingOf(kind as TreatmentKind)}`)
    return { field, treatment }
  }

  #key(at: string, key: unknown, byName: FieldsByName, rules: readonly FieldRule[]): Field | null {
    if (typeof key !== 'string') return null
    const tokens = rules.filter((r) => isToken(r.treatment)).map((r): string => r.field.name)
    if (tokens.includes(key)) return byName.get(key) ?? null
    // A key in clear would pass by the policy: it lies outside the value.
    const mend =
      tokens.length > 0 ? `use one of: ${tokens.join(', ')}` : 'take the key out, or give a field the treatment token'
    return this.#add(at, 'must be a field that this purpose sees as a token', mend)
  }

  #topic(at: string, topic: string): void {
    if (topic.startsWith('minim.') || topic.startsWith('__') || topic === '.' || topic === '..') {
      this.#add(at, 'is a name kept for minim or Kafka', 'use pbx.<purpose>.<kind>')
      return
    }
    // Kafka's own metrics do not tell `.` from `_`, so brokers refuse two such names.
    const same = topic.replace(/_/g, '.')
    const other = this.#topics.get(same)
    if (other === undefined) this.#topics.set(same, at)
    else this.#add(at, `names the same topic as ${other}`, 'give each purpose and kind a topic of its own')
  }

  /**
   * Kafka counts retention from a record's timestamp, and that is only as exact as what the purpose sees: the start,
   * its bucket, or the start of the epoch. Coarser than half the retention, records would be gone too early to be of
   * use.
   */
  #timestamp(at: string, rules: KindRules, retentionDays: number, epoch: EpochLength): void {
    const start = rules.rules.find((r) => r.field.name === 'start_ms')?.treatment
    if (start === undefined) {
      // A rule that is there and not understood has been named already.
      if (this.problems.some((p) => p.path === `${at}.fields.start_ms`)) return
      if (EPOCH_DAYS[epoch] <= retentionDays / 2) return
      const fitting = EPOCHS.filter((e) => EPOCH_DAYS[e] <= retentionDays / 2)
      const shorter = fitting.length > 0 ? `set epoch: ${fitting.join(' or ')}, or ` : ''
      this.#add(
        `${at}.fields.start_ms`,
        `is not seen, so Kafka's time is the start of the ${epoch}, too coarse for ${retentionDays} days of retention`,
        `${shorter}let start_ms pass in a time-bucket`,
      )
      return
    }
    const step = timeStepOf(start)
    if (step !== 1 && (step ?? Infinity) > (retentionDays * DAY_MS) / 2) {
      this.#add(
        `${at}.fields.start_ms`,
        `its bucket is longer than half of the ${retentionDays} days of retention`,
        `use a bucket of ${(retentionDays * DAY_MS) / 2} ms or less`,
      )
    }
  }
}
