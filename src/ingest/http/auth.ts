/**
 * Who may post: `user:password` (RFC 7617) and bearer tokens (RFC 6750), out of a file that only its owner may read, or out of the
 * environment. Kept as digests; each request is compared with all of them, whole, whatever the first one says, so that the time it
 * takes tells nothing.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { MinimError } from '../../errors/catalogue.js'
import { refuseLoose } from '../../keys/master.js'

const MAX_FILE_BYTES = 65_536
const MAX_ENTRIES = 256
/** A shorter token could be guessed. */
const MIN_TOKEN = 16
/** Longest header that is looked at. */
const MAX_HEADER = 4096

interface Entry {
  readonly digest: Buffer
  /** Tells senders apart, for their idempotency keys and their share of the rate. Never logged. */
  readonly who: string
}

/** Where credentials come from. */
export interface CredentialSource {
  /** null: from the environment, or none. */
  readonly file: string | null
  readonly variable: string
  /** Way of the file in the settings: `http.auth`. */
  readonly setting: string
}

function digestOf(scheme: 'basic' | 'bearer', secret: string): Buffer {
  return createHash('sha256').update(`${scheme}\0`).update(secret, 'utf8').digest()
}

/** What senders must show. */
export class Credentials {
  readonly #entries: readonly Entry[]
  readonly #schemes: readonly string[]

  /** @param text a line each: `user:password`, or a token, which has no colon; `#` begins a comment */
  constructor(text: string, setting: string) {
    const wrong = (line: number, what: string): never => {
      throw new MinimError('MINIM_HTTP_AUTH', { what: `${setting}: line ${line} ${what}` })
    }
    const entries: Entry[] = []
    const schemes = new Set<string>()
    text.split(/\r?\n/).forEach((raw, i) => {
      const line = raw.trim()
      if (line === '' || line.startsWith('#')) return
      const colon = line.indexOf(':')
      if (colon === 0 || colon === line.length - 1) wrong(i + 1, 'has no user or no password')
      if (colon < 0 && line.length < MIN_TOKEN) wrong(i + 1, `is a token of less than ${MIN_TOKEN} characters`)
      if (/\s/.test(line)) wrong(i + 1, 'has a space in it')
      if (entries.length === MAX_ENTRIES) wrong(i + 1, `is more than ${MAX_ENTRIES} entries`)
      const digest = digestOf(colon < 0 ? 'bearer' : 'basic', line)
      entries.push({ digest, who: colon < 0 ? `token ${digest.toString('hex', 0, 8)}` : `user ${line.slice(0, colon)}` })
      schemes.add(colon < 0 ? 'Bearer' : 'Basic')
    })
    if (entries.length === 0) throw new MinimError('MINIM_HTTP_AUTH', { what: `${setting}: nobody is in it` })
    this.#entries = entries
    this.#schemes = [...schemes]
  }

  /** For `WWW-Authenticate`. */
  get challenge(): string {
    return this.#schemes.map((scheme) => `${scheme} realm="minim"`).join(', ')
  }

  /** @returns who it is, or null */
  check(header: string | undefined): string | null {
    const match = header === undefined || header.length > MAX_HEADER ? null : /^(basic|bearer) +([!-~]+)$/i.exec(header)
    if (match === null) return null
    const bearer = match[1].length === 6
    const digest = digestOf(bearer ? 'bearer' : 'basic', bearer ? match[2] : Buffer.from(match[2], 'base64').toString('utf8'))
    let found: string | null = null
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry.who
    return found
  }

  toJSON(): string { return '[credentials]' }
}

/**
 * The credentials of a listener; null if the settings have none.
 * @throws MinimError MINIM_HTTP_AUTH, MINIM_KEYS_LOOSE_PERMISSIONS
 */
export function loadCredentials({ file, variable, setting }: CredentialSource, env: Readonly<Record<string, string | undefined>> = process.env): Credentials | null {
  if (file !== null) return new Credentials(readSecret(file, setting), setting)
  const text = env[variable]
  return text === undefined || text === '' ? null : new Credentials(text, variable)
}

function readSecret(path: string, setting: string): string {
  const failed = (error: unknown): MinimError => new MinimError('MINIM_HTTP_AUTH', { what: `${setting}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})` })
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    throw failed(error)
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES) throw new MinimError('MINIM_HTTP_AUTH', { what: `${setting}: is no file of at most ${MAX_FILE_BYTES} octets` })
    refuseLoose(path, stat.mode)
    const bytes = Buffer.alloc(stat.size)
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0))
  } catch (error) {
    throw error instanceof MinimError ? error : failed(error)
  } finally {
    closeSync(fd)
  }
}
