/** Settings and the policy that they name, for commands that need both: the mistakes of both are told at once. */
import { readFileSync } from 'node:fs'
import type { Problem } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { inspectPolicy, loadPolicy } from '../policy/load.js'
import type { Policy } from '../policy/model.js'
import { loadSettings, type SettingsInput } from '../settings/load.js'
import type { Settings } from '../settings/schema.js'

export interface Checked {
  readonly settings: Settings
  readonly policy: Policy
  /** The file that it was read from. */
  readonly policyFile: Uint8Array
}

/**
 * Loads both; the parameters are {@link loadSettings}'.
 * @throws ProblemsError `MINIM_SETTINGS_INVALID`, with the policy's mistakes in `also`, or `MINIM_POLICY_INVALID`
 */
export function loadChecked(
  file: string | null,
  overrides: SettingsInput,
  more: (settings: Settings) => readonly Problem[],
): Checked {
  let named: unknown = null
  let settings: Settings
  try {
    settings = loadSettings(file, overrides, (settings) => {
      named = settings.policy
      return more(settings)
    })
  } catch (error) {
    throw error instanceof ProblemsError && typeof named === 'string' ? withPolicy(error, named) : error
  }
  let policyFile: Uint8Array
  try {
    policyFile = readFileSync(settings.policy)
  } catch {
    return { settings, policy: loadPolicy(settings.policy), policyFile: Buffer.alloc(0) }
  }
  return { settings, policy: loadPolicy({ text: policyFile, path: settings.policy }), policyFile }
}

function withPolicy(error: ProblemsError, named: string): ProblemsError {
  // Where they do not say which policy it is, nothing can be said of it.
  if (error.problems.some(({ path }) => path === '' || path === 'policy')) return error
  const { path, problems } = inspectPolicy(named)
  return problems.length === 0
    ? error
    : new ProblemsError(
        error.code,
        String(error.details['path']),
        error.problems,
        new ProblemsError('MINIM_POLICY_INVALID', path, problems),
      )
}
