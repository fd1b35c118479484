/** How commands end: exit codes, and errors as lines for people. */
import process from 'node:process'
import { MinimError } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'
import { exitNow } from './end.js'

/** Documented in docs/operations.md. */
export const EXIT = {
  done: 0,
  /** Something that minim does not know. */
  failed: 1,
  /** The command line, the settings or the policy. */
  usage: 2,
  /** Kafka: what no retry can mend, or another process has taken over. */
  kafka: 3,
  /** The master key or the key store. */
  keys: 4,
  /** `diff`: somebody sees less, and nobody more. */
  narrower: 10,
  /** `diff`: somebody sees more. */
  wider: 11,
  /** `load` was interrupted by a signal (128 + SIGINT). */
  interrupted: 130,
  /**
   * What a shell says of a process that was killed, or killed itself since it could not end otherwise (128 + SIGKILL).
   */
  killed: 137,
} as const

export function exitCode(error: unknown): number {
  if (!(error instanceof MinimError)) return EXIT.failed
  if (
    error.code.startsWith('MINIM_POLICY') ||
    error.code.startsWith('MINIM_SETTINGS') ||
    error.code === 'MINIM_CASES_INVALID' ||
    error.code === 'MINIM_NOTICE_INVALID' ||
    error.code.startsWith('MINIM_CERTIFICATE') ||
    error.code === 'MINIM_COMMAND_LINE' ||
    error.code === 'MINIM_FILE_WRONG_FORMAT' ||
    error.code === 'MINIM_LOAD_WITHHELD'
  )
    return EXIT.usage
  if (error.code.startsWith('MINIM_KAFKA') || error.code.startsWith('MINIM_DELIVERY')) return EXIT.kafka
  if (error.code.startsWith('MINIM_KEYS') || error.code.startsWith('MINIM_SPOOL_KEY')) return EXIT.keys
  return EXIT.failed
}

/**
 * Says what went wrong and how to mend it. Of an error that is not minim's own only its name and code: its text may
 * quote anything.
 */
export function explainError(error: unknown): string {
  if (error instanceof MinimError) {
    const also = error instanceof ProblemsError && error.also !== null ? `\n${explainError(error.also)}` : ''
    return `minim: ${error.code}: ${error.message}\n  → ${error.fix}${also}`
  }
  const { name, code } = error as { name?: unknown; code?: unknown }
  const what = typeof name === 'string' ? name : 'error'
  const which = typeof code === 'string' ? ` (${code})` : ''
  return `minim: unexpected ${what}${which}; run with MINIM_DEBUG=1 to see where`
}

/** Ends the process with an error's words and code. */
export function fail(error: unknown): never {
  process.stderr.write(`${explainError(error)}\n`)
  if (process.env['MINIM_DEBUG'] === '1' && error instanceof Error) {
    process.stderr.write(
      `${(error.stack ?? '')
        .split('\n')
        .filter((line) => /^ {4}at /.test(line))
        .join('\n')}\n`,
    )
  }
  exitNow(exitCode(error))
}
