/**
 * Every error that minim raises, in one table: code, where it arises, whether a retry can help, what it says, how to mend it.
 *
 * Match `code`, never `instanceof` or the text. Messages hold codes, field paths, lengths and names out of settings;
 * never a value out of a record. `test/errors/catalogue.test.ts` holds this table against README's.
 */
export interface ErrorEntry {
  /** The folder under `src/` it arises in. */
  readonly stage: string
  readonly retryable: boolean
  /** `{name}` is filled from the details given. */
  readonly message: string
  readonly fix: string
}

export const ERRORS = {
  MINIM_POLICY_INVALID: {
    stage: 'policy', retryable: false,
    message: '{path}: the policy has {count} mistake(s):\n{problems}',
    fix: 'mend each line named and run `minim lint`',
  },
  MINIM_SETTINGS_INVALID: {
    stage: 'settings', retryable: false,
    message: '{path}: the settings have {count} mistake(s):\n{problems}',
    fix: 'mend each line named; config/minim.yaml shows every setting with its default',
  },
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof ERRORS

export type ErrorDetails = Readonly<Record<string, string | number>>

/** An error out of the catalogue. `details` fill the message and never hold a value out of a record. */
export class MinimError extends Error {
  readonly code: ErrorCode
  readonly stage: string
  readonly retryable: boolean
  readonly fix: string
  readonly details: ErrorDetails
  constructor(code: ErrorCode, details: ErrorDetails = {}, options: { cause?: unknown } = {}) {
    const entry: ErrorEntry = ERRORS[code]
    super(entry.message.replace(/\{(\w+)\}/g, (_, name: string) => String(details[name] ?? `{${name}}`)), options)
    this.name = 'MinimError'
    this.code = code
    this.stage = entry.stage
    this.retryable = entry.retryable
    this.fix = entry.fix
    this.details = details
  }
}

/** One mistake in a policy or settings file: where it is, what is wrong, what to write instead. */
export interface Problem {
  /** Path in the file: `purposes.billing.call.fields.callr`. */
  readonly path: string
  readonly what: string
  readonly mend: string
}

/** The lines of several problems, as {@link MinimError} messages carry them. */
export function problemLines(problems: readonly Problem[]): string {
  return problems.map((p) => `  ${p.path === '' ? '(top)' : p.path}: ${p.what}; ${p.mend}`).join('\n')
}
