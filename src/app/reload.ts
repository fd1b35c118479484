/**
 * Reads the policy anew while records flow. It is checked as at the start, and held against the one that runs; refused
 * as a whole, with all that speaks against it, or taken as a whole, at the next batch. Whatever happens on the way, the
 * policy that runs goes on.
 *
 *   read, settled ──▶ check ──▶ clash? ──▶ widening? ──▶ prepare: topics, keys ──▶ use, from the next batch on
 */
import { createHash } from 'node:crypto'
import type { Catalogue } from '../catalogue/catalogue.js'
import { MinimError, type Problem } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import type { Logger } from '../flow/log.js'
import type { ReloadEnd } from '../ops/reloads.js'
import { lint } from '../policy/lint.js'
import { loadPolicy, tenantProblems } from '../policy/load.js'
import type { Policy } from '../policy/model.js'
import type { Settings } from '../settings/schema.js'
import { diffPolicies } from '../trial/diff.js'
import { readSettled } from './policy-file.js'

/** A policy that was checked, and the file that it was read from. */
export interface CheckedPolicy {
  readonly policy: Policy
  readonly bytes: Uint8Array
}

/** Where a policy runs: in this process, or in its workers. */
export interface PolicyTarget {
  /**
   * Makes ready for another policy; nothing of what runs changes.
   * @returns what lets it run from the next batch on
   * @throws MinimError what speaks against it
   */
  prepare(next: CheckedPolicy): Promise<() => void>
}

export interface ReloadOptions {
  readonly settings: Settings
  readonly catalogue: Catalogue
  /** The policy that runs. */
  readonly running: Policy
  /** Why a policy may be taken that widens who sees what; null: it may not. */
  readonly allowWidening: string | null
  readonly target: PolicyTarget
  readonly log: Logger
  readonly count: (end: ReloadEnd) => void
}

/** Which end an error is, by its code. What is not named here is `failed`. */
const ENDS: Readonly<Partial<Record<string, ReloadEnd>>> = {
  MINIM_POLICY_INVALID: 'invalid',
  MINIM_POLICY_UNSETTLED: 'unsettled',
  MINIM_NOTICE_INVALID: 'notice',
  MINIM_POLICY_WIDENS: 'widening',
  MINIM_POLICY_CLASH: 'clash',
  MINIM_KAFKA_TOPIC_DRIFT: 'topics',
  MINIM_KAFKA_TOPIC_INVALID: 'topics',
}

export class PolicyReload {
  readonly #options: ReloadOptions
  #running: Policy
  /** Whole hashes of the policies that have run, by what tags name them by. */
  readonly #hashes: Map<string, string>
  #underWay: Promise<ReloadEnd> | null = null
  #next: Promise<ReloadEnd> | null = null

  constructor(options: ReloadOptions) {
    this.#options = options
    this.#running = options.running
    this.#hashes = new Map([[options.running.version, options.running.hash]])
  }

  get running(): Policy {
    return this.#running
  }

  /**
   * Reads the policy anew. One at a time: who asks while one is under way gets the one after it, which reads the file
   * as it is then.
   * @param cause who asked, for the log
   */
  reload(cause: string): Promise<ReloadEnd> {
    if (this.#underWay === null) {
      this.#underWay = this.#once(cause).finally(() => {
        this.#underWay = null
      })
      return this.#underWay
    }
    this.#next ??= this.#underWay.then(() => {
      this.#next = null
      return this.reload(cause)
    })
    return this.#next
  }

  async #once(cause: string): Promise<ReloadEnd> {
    const { log, count } = this.#options
    let end: ReloadEnd
    try {
      end = await this.#attempt(cause)
    } catch (error) {
      end = endOf(error)
      log.error(
        { err: error, cause, end, running: this.#running.version },
        'the policy is not taken: the one that runs goes on',
      )
    }
    count(end)
    return end
  }

  async #attempt(cause: string): Promise<ReloadEnd> {
    const { settings, target, log, allowWidening } = this.#options
    const bytes = await readSettled(settings.policy)
    const hash = createHash('sha256').update(bytes).digest('hex')
    const next = this.#checked(bytes)
    if (hash === this.#running.hash) {
      log.info({ cause, policy: next.version }, 'the policy is the one that runs')
      return 'unchanged'
    }
    const known = this.#hashes.get(next.version)
    if (known !== undefined && known !== hash) throw new MinimError('MINIM_POLICY_CLASH', { version: next.version })
    const wider = widenings(this.#running, next)
    if (wider.length > 0 && allowWidening === null)
      throw new ProblemsError('MINIM_POLICY_WIDENS', settings.policy, wider)
    const use = await target.prepare({ policy: next, bytes })
    use()
    const former = this.#running.version
    this.#running = next
    this.#hashes.set(next.version, hash)
    const reason = wider.length > 0 ? { widenings: wider.length, reason: allowWidening } : {}
    log.info({ cause, former, policy: next.version, ...reason }, 'another policy runs from now on')
    return 'ok'
  }

  /** @throws ProblemsError with all mistakes of the policy, or of the notice */
  #checked(bytes: Uint8Array): Policy {
    const { settings, catalogue } = this.#options
    const source = { text: bytes, path: settings.policy }
    const policy = loadPolicy(source, catalogue)
    const unknown = tenantProblems(policy, Object.keys(settings.tenants))
    if (unknown.length > 0) throw new ProblemsError('MINIM_POLICY_INVALID', settings.policy, unknown)
    checkNotice(settings, source, catalogue)
    return policy
  }
}

/**
 * Holds a policy against the notice that the settings name, if they name one.
 * @throws ProblemsError `MINIM_NOTICE_INVALID` with every promise that it does not keep
 */
export function checkNotice(
  { notice }: Settings,
  source: { readonly text: Uint8Array; readonly path: string },
  catalogue: Catalogue,
): void {
  if (notice === null) return
  const { noticeProblems } = lint(catalogue, source, notice)
  if (noticeProblems.length > 0) throw new ProblemsError('MINIM_NOTICE_INVALID', notice, noticeProblems)
}

/** What a policy lets somebody see that the one before it did not. */
function widenings(before: Policy, after: Policy): Problem[] {
  return diffPolicies(before, after)
    .filter(({ direction }) => direction === 'widening')
    .map(({ purpose, kind, field, what, before, after, recipients }) => ({
      path: ['purposes', purpose, ...(kind === null ? [] : [kind]), ...(field === null ? [] : ['fields', field])].join(
        '.',
      ),
      what: `${what}: ${before ?? 'nothing'} would become ${after ?? 'nothing'}, for ${recipients.join(', ')}`,
      mend: 'take it back, or have it allowed',
    }))
}

function endOf(error: unknown): ReloadEnd {
  if (!(error instanceof MinimError)) return 'failed'
  const { code } = error
  return ENDS[code] ?? (code.startsWith('MINIM_KAFKA_') || code === 'MINIM_WORKER_SILENT' ? 'unavailable' : 'failed')
}
