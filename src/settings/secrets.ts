/**
 * Secrets that settings name, each in a file that only its owner may read or in a variable of the environment. Read by the same code
 * when the settings are checked, before anything is connected, and when a source starts: so a start finds nothing that a check did not.
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
  /** The file, and its path in the settings; null where it is not given. */
  readonly file: string | null
  readonly fileSetting: string
  /** The variable, and the path of its name in the settings; null where it is not given. */
  readonly variable: string | null
  readonly variableSetting: string
  /** Whether a variable that is not set is a mistake. */
  readonly needed: boolean
  /** What the octets say, or what is wrong with them, in words that hold none of them. */
  readonly parse: (bytes: Buffer) => { readonly value: T } | { readonly wrong: string }
  /** What to put there. */
  readonly mend: string
}

/** Reads a secret; a value of null is one that settings do not name. */
export function trySecret<T>(place: SecretPlace<T>, env: NodeJS.ProcessEnv = process.env): Read<T | null> {
  const { variable, parse, mend } = place
  // Of settings that the schema refuses, it may be anything.
  const file = typeof place.file === 'string' ? place.file : null
  let bytes: Buffer
  let path = place.fileSetting
  if (file !== null) {
    const read = readOwn(file, path, 0o077)
    if ('problem' in read) return read
    bytes = read.value
  } else {
    path = place.variableSetting
    const text = variable === null ? undefined : env[variable]
    if (text === undefined && (variable === null || !place.needed)) return { value: null }
    if (text === undefined) return { problem: { path, what: 'names a variable that is not set', mend: 'set it in the environment that minim runs in' } }
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
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES) return bad(`is no file of at most ${MAX_FILE_BYTES} octets`, 'name a file that holds it, and nothing else')
    if ((stat.mode & refused) !== 0) {
      return bad(`may be read or written by others (mode ${(stat.mode & 0o777).toString(8).padStart(4, '0')})`, 'chmod 600 the file, and ask who could have read it')
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
