/**
 * The master key: wraps the epoch keys in the key store, and nothing else. From the environment, a file or a command;
 * never a default.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { inspect } from 'node:util'
import { errorCode } from '../base/system-error.js'
import { MinimError } from '../errors/catalogue.js'
import { hkdfSha256 } from './split.js'

/** `keys.master` in the settings. */
export type MasterSettings =
  /** A file that holds the key in base64, readable by its owner only. */
  | { readonly file: string }
  /** A command that prints the key in base64 on stdout: any KMS's client. Run without a shell. */
  | { readonly exec: readonly string[] }

export const MASTER_VARIABLE = 'MINIM_MASTER_KEY'
const MASTER_BYTES = 32
/** How long a command may take to fetch the key. */
const MASTER_COMMAND_TIMEOUT_MS = 30_000

/** A master key. Its bytes are in a private field, so that no logger, `JSON.stringify` or `inspect` reaches them. */
export class MasterKey {
  readonly #bytes: Buffer
  /** Where it came from, in words that may be logged. */
  readonly source: string

  constructor(bytes: Uint8Array, source: string) {
    if (bytes.length !== MASTER_BYTES)
      throw new MinimError('MINIM_KEYS_BAD_MASTER', { source, what: `${bytes.length} bytes` })
    this.#bytes = Buffer.from(bytes)
    this.source = source
  }

  /** A key for one use of the master: the master itself encrypts nothing. */
  derive(use: string, salt: Uint8Array, bytes: number): Buffer {
    return hkdfSha256(this.#bytes, salt, `minim/v1/master\0${use}`, bytes)
  }

  toJSON(): string {
    return `[master key from ${this.source}]`
  }
  [inspect.custom](): string {
    return this.toJSON()
  }
}

/**
 * The master key out of `MINIM_MASTER_KEY`, which comes first, or as the settings say.
 * @throws MinimError `MINIM_KEYS_NO_MASTER` when there is none
 */
export function loadMaster(
  settings: MasterSettings | null | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
  timeoutMs: number = MASTER_COMMAND_TIMEOUT_MS,
): MasterKey {
  const variable = env[MASTER_VARIABLE]
  if (variable !== undefined && variable !== '') return parseMaster(variable, MASTER_VARIABLE)
  if (settings === null || settings === undefined) throw new MinimError('MINIM_KEYS_NO_MASTER')
  if ('file' in settings) return parseMaster(readMasterFile(settings.file), settings.file)
  return parseMaster(runMasterCommand(settings.exec, env, timeoutMs), `command ${settings.exec[0]}`)
}

/** A master key that dies with the process: for the demo only. */
export function throwawayMaster(): MasterKey {
  return new MasterKey(randomBytes(MASTER_BYTES), 'this process (throw-away)')
}

/** A new master key as text: what a key file holds. */
export function newMasterText(): string {
  return `${randomBytes(MASTER_BYTES).toString('base64')}\n`
}

/**
 * Strict: the canonical base64 of exactly 32 bytes. Node's own decoder skips what it does not know, and would make a
 * short key of a typing error.
 */
function parseMaster(text: string, source: string): MasterKey {
  const trimmed = text.trim()
  if (trimmed === '') throw new MinimError('MINIM_KEYS_BAD_MASTER', { source, what: 'nothing' })
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(trimmed))
    throw new MinimError('MINIM_KEYS_BAD_MASTER', { source, what: 'no base64' })
  const bytes = Buffer.from(trimmed, 'base64')
  if (bytes.length !== MASTER_BYTES)
    throw new MinimError('MINIM_KEYS_BAD_MASTER', { source, what: `${bytes.length} bytes` })
  if (bytes.toString('base64') !== trimmed)
    throw new MinimError('MINIM_KEYS_BAD_MASTER', { source, what: 'base64 that is cut or padded wrongly' })
  // AAAA…= out of an example file is 32 bytes as well, and known to everybody.
  if (bytes.every((byte) => byte === bytes[0]))
    throw new MinimError('MINIM_KEYS_BAD_MASTER', { source, what: 'one byte repeated' })
  return new MasterKey(bytes, source)
}

function readMasterFile(path: string): string {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    throw new MinimError('MINIM_KEYS_MASTER_FILE', { path, what: errorCode(error) })
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw new MinimError('MINIM_KEYS_MASTER_FILE', { path, what: 'not a file' })
    refuseLoose(path, stat.mode)
    const bytes = Buffer.alloc(1024)
    return bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, 0))
  } catch (error) {
    if (error instanceof MinimError) throw error
    throw new MinimError('MINIM_KEYS_MASTER_FILE', { path, what: errorCode(error) })
  } finally {
    closeSync(fd)
  }
}

/** Neither the command's stdout (the key) nor its stderr (whatever a KMS client says) is put into an error. */
function runMasterCommand(
  command: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  timeoutMs: number,
): string {
  const [file = '', ...args] = command
  const childEnv: Record<string, string> = {}
  for (const [name, value] of Object.entries(env))
    if (name !== MASTER_VARIABLE && value !== undefined) childEnv[name] = value
  const run = spawnSync(file, args, {
    env: childEnv,
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    maxBuffer: 4096,
    shell: false,
    encoding: 'latin1',
  })
  const outcome =
    run.error !== undefined
      ? errorCode(run.error)
      : run.signal !== null
        ? `signal ${run.signal}`
        : run.status !== 0
          ? `exit code ${run.status}`
          : null
  if (outcome !== null) throw new MinimError('MINIM_KEYS_MASTER_COMMAND', { command: file, outcome })
  return run.stdout
}

/** @throws MinimError when anybody but the owner may read or write the file. */
export function refuseLoose(path: string, mode: number): void {
  if ((mode & 0o077) !== 0)
    throw new MinimError('MINIM_KEYS_LOOSE_PERMISSIONS', { path, mode: (mode & 0o777).toString(8).padStart(4, '0') })
}
