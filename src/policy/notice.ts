/**
 * The privacy notice as the machine knows it: `config/notice.yaml`, one row a promise, with the rules that keep it and
 * the tests that prove it.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Type } from '@sinclair/typebox'
import type { Problem } from '../errors/catalogue.js'
import { checker } from '../errors/problems.js'
import { type LineOf, readYaml, withLines } from '../errors/yaml.js'

/** How far a promise is kept by this version. */
export const STATUSES = ['enforced', 'partly', 'planned', 'not-in-telemetry'] as const
export type Status = (typeof STATUSES)[number]

export interface Promised {
  readonly id: string
  readonly promise: string
  readonly status: Status
  /** What is not kept yet, for `partly` and `planned`. */
  readonly missing?: string
  /** Paths into the policy file; `*` stands for every purpose, and `!` before one says that nothing there may pass. */
  readonly rules: readonly string[]
  /** Test files, from the project's folder. */
  readonly tests: readonly string[]
}

/** Every row that the notice has, by group: data, purposes, transfers, retention, rights. */
const GROUPS: Readonly<Record<string, number>> = { D: 7, P: 9, T: 6, K: 6, R: 10 }

/** D1 … R10. */
export const PROMISE_IDS: readonly string[] = Object.entries(GROUPS).flatMap(([letter, count]) =>
  Array.from({ length: count }, (_, i) => `${letter}${i + 1}`),
)

export const DEFAULT_NOTICE_PATH = fileURLToPath(new URL('../../../config/notice.yaml', import.meta.url))

const closed = { additionalProperties: false } as const
const paths = (description: string) => Type.Array(Type.String({ minLength: 1 }), { uniqueItems: true, description })

const noticeSchema = Type.Object(
  {
    promises: Type.Array(
      Type.Object(
        {
          id: Type.String({ pattern: '^[DPTKR][0-9]{1,2}$', description: 'the row of the notice: P2' }),
          promise: Type.String({ minLength: 1, description: 'the promise in a sentence' }),
          status: Type.Unsafe<Status>({ type: 'string', enum: [...STATUSES], description: STATUSES.join(', ') }),
          missing: Type.Optional(Type.String({ minLength: 1, description: 'what is not kept yet' })),
          rules: paths('a list of paths into the policy file'),
          tests: paths('a list of test files'),
        },
        { ...closed, description: 'id, promise, status, missing, rules and tests' },
      ),
      { description: 'a list of promises' },
    ),
  },
  { ...closed, description: 'a mapping with the one key promises' },
)

/** Reads the notice's rows; what is wrong with the file itself comes as problems. */
export function readNotice(file: string): {
  readonly promises: readonly Promised[]
  readonly problems: readonly Problem[]
  /** The line of a row's part: `P2.rules`. */
  readonly lineOf: LineOf
} {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'error'
    return {
      promises: [],
      problems: [{ path: '', what: `cannot be read (${code})`, mend: 'name a notice file that can' }],
      lineOf: () => 1,
    }
  }
  const { value, problems, lineOf } = readYaml(text)
  if (problems.length > 0) return { promises: [], problems, lineOf }
  const wrong = checker(noticeSchema)(value)
  if (wrong.length > 0) return { promises: [], problems: withLines(wrong, lineOf), lineOf }
  const { promises } = value as { promises: Promised[] }
  const ofRow = (path: string): number => {
    const [id, ...rest] = path.split('.')
    const row = promises.findIndex((promise) => promise.id === id)
    return lineOf(row < 0 ? 'promises' : ['promises', row, ...rest].join('.'))
  }
  return { promises, problems: [], lineOf: ofRow }
}
