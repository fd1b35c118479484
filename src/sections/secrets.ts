/**
 * Secrets that settings name: `secretFile` (one secret) or `credentialsFile` (a list of users and tokens), which only
 * its owner may read; or `secretEnv`, `credentialsEnv`, the name of a variable of the environment. Named, not taken
 * from a name that minim knows: a variable that is misspelt would leave a listener open to everybody then. Read by the
 * same code when the settings are checked, before anything is connected, and when a source starts: so a start finds
 * nothing that a check did not.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import type { Problem } from '../errors/catalogue.js'
import { ProblemsError } from '../errors/problems.js'

/** Octets of a secret's or a certificate's file at most. */
const MAX_FILE_BYTES = 1_048_576
const READABLE = 'name a file that the user minim runs as can read'

/** What was read, or why not. */
export type Read<T> = { readonly value: T } | { readonly problem: Problem }

/** Where a secret is, and what it must be like. */
export interface SecretPlace<T> {
  /** Where it stands in the settings, less `File` and `Env`: `http.credentials`. */
  readonly setting: string
  /** null: not given. */
  readonly file: string | null | undefined
  /** Name of the variable; null: not given. */
  readonly variable: string | null | undefined
  /** What the octets say, or what is wrong with them, in words that hold none of them. */
  readonly parse: (bytes: Buffer) => { readonly value: T } | { readonly wrong: string }
  /** What to put there. */
  readonly mend: string
}

/** Reads a secret; a value of null is one that settings do not name. */
export function trySecret<T>(place: SecretPlace<T>, env: NodeJS.ProcessEnv = process.env): Read<T | null> {
  const { setting, file, variable, parse, mend } = place
  let bytes: Buffer
  let path = `${setting}File`
  // Of settings that the schema refuses, either may be anything.
  if (typeof file === 'string') {
    const read = readOwn(file, path, 0o077)
    if ('problem' in read) return read
    bytes = read.value
  } else {
    if (typeof variable !== 'string') return { value: null }
    path = `${setting}Env`
    const text = env[variable]
    if (text === undefined)
      return {
        problem: {
          path,
          what: 'names a variable that is not set',
          mend: 'set it in the environment that minim runs in',
        },
      }
    bytes = Buffer.from(text, 'utf8')
  }
  const parsed = parse(bytes)
  return 'value' in parsed ? parsed : { problem: { path, what: parsed.wrong, mend } }
}

/**
 * Reads a secret whose place the settings' check has found in order.
 * @throws ProblemsError MINIM_SETTINGS_INVALID, if it has changed since
 */
export function readSecret<T>(place: SecretPlace<T>, env?: NodeJS.ProcessEnv): T | null {
  return valueOf(trySecret(place, env))
}

/** What is wrong with a secret. */
export function secretProblems(place: SecretPlace<unknown>): Problem[] {
  const read = trySecret(place)
  return 'problem' in read ? [read.problem] : []
}

/** What is wrong with where a secret is said to be: in both places, or in none though it is needed. */
export function placeProblems({ setting, file, variable, mend }: SecretPlace<unknown>, needed: boolean): Problem[] {
  const [path, other] = [`${setting}File`, `${setting.slice(setting.lastIndexOf('.') + 1)}Env`]
  const given = [file, variable].filter((value) => value !== null && value !== undefined).length
  if (given === 2) return [{ path, what: `and ${other} are both given`, mend: 'leave one of them out' }]
  return given === 0 && needed
    ? [
        {
          path,
          what: `and ${other} are missing, and one of them is needed`,
          mend: `name a file, or a variable of the environment, and ${mend}`,
        },
      ]
    : []
}

/** @throws ProblemsError MINIM_SETTINGS_INVALID */
export function valueOf<T>(read: Read<T>): T {
  if ('problem' in read) throw new ProblemsError('MINIM_SETTINGS_INVALID', 'settings', [read.problem])
  return read.value
}

/**
 * A whole file.
 * @param refused bits of its mode that must not be set
 */
export function readOwn(file: string, path: string, refused: number): Read<Buffer> {
  const bad = (what: string, mend: string): Read<Buffer> => ({ problem: { path, what, mend } })
  let fd: number
  try {
    // A pipe that nobody writes to must not hold the start up.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    return bad(`cannot be read (${codeOf(error)})`, READABLE)
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES)
      return bad(`is no file of at most ${MAX_FILE_BYTES} octets`, 'name a file that holds it, and nothing else')
    if ((stat.mode & refused) !== 0) {
      return bad(
        `may be read or written by others (mode ${(stat.mode & 0o777).toString(8).padStart(4, '0')})`,
        'chmod 600 the file, and ask who could have read it',
      )
    }
    const bytes = Buffer.alloc(stat.size)
    return { value: bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0)) }
  } catch (error) {
    return bad(`cannot be read (${codeOf(error)})`, READABLE)
  } finally {
    closeSync(fd)
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'error'
}
