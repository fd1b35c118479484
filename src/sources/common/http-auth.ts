/**
 * Who may post: `user:password` (RFC 7617) and bearer tokens (RFC 6750). Kept as digests; each request is compared with
 * all of them, whole, whatever the first one says, so that the time it takes tells nothing.
 */
import { createHash, timingSafeEqual } from 'node:crypto'

const MAX_ENTRIES = 256
/** A shorter token could be guessed. */
const MIN_TOKEN = 16
/** Longest header that is looked at. */
const MAX_HEADER = 4096

interface Entry {
  readonly digest: Buffer
  readonly sender: KnownSender
}

/** Whom a credential shows. */
export interface KnownSender {
  /** Tells senders apart, for their idempotency keys and their share of the rate. Never logged. */
  readonly who: string
  /** Tenants that it may use, the first that of records that name none; null where its line does not say. */
  readonly tenants: readonly string[] | null
}

/** What may stand behind a credential. */
const TENANTS = /^tenants=([A-Za-z0-9._-]+(?:,[A-Za-z0-9._-]+)*)$/

function digestOf(scheme: 'basic' | 'bearer', secret: string): Buffer {
  return createHash('sha256').update(`${scheme}\0`).update(secret, 'utf8').digest()
}

/** What senders must show. */
export class Credentials {
  readonly #entries: readonly Entry[]
  readonly #schemes: readonly string[]

  private constructor(entries: readonly Entry[], schemes: readonly string[]) {
    this.#entries = entries
    this.#schemes = schemes
  }

  /**
   * @param text a line each: `user:password`, or a token, which has no colon; behind it, after a space,
   * `tenants=NAME,NAME`; `#` begins a comment
   * @param tenants those that there are
   */
  static parse(text: string, tenants: readonly string[]): { readonly value: Credentials } | { readonly wrong: string } {
    const entries: Entry[] = []
    const schemes = new Set<string>()
    for (const [i, raw] of text.split(/\r?\n/).entries()) {
      const trimmed = raw.trim()
      if (trimmed === '' || trimmed.startsWith('#')) continue
      const [line, ...more] = trimmed.split(/\s+/)
      const colon = line.indexOf(':')
      const wrong = (what: string): { readonly wrong: string } => ({ wrong: `in line ${i + 1} ${what}` })
      if (colon === 0 || colon === line.length - 1) return wrong('has no user or no password')
      if (colon < 0 && line.length < MIN_TOKEN) return wrong(`has a token of less than ${MIN_TOKEN} characters`)
      const list = more.length === 0 ? null : more.length === 1 ? TENANTS.exec(more[0])?.[1].split(',') : undefined
      if (list === undefined) return wrong('has a space, and behind it something else than tenants=NAME,NAME')
      if (list !== null && !list.every((tenant) => tenants.includes(tenant)))
        return wrong('names a tenant that is none of these settings')
      if (entries.length === MAX_ENTRIES) return wrong(`has more than the ${MAX_ENTRIES} entries that there may be`)
      const digest = digestOf(colon < 0 ? 'bearer' : 'basic', line)
      entries.push({
        digest,
        sender: {
          who: colon < 0 ? `token ${digest.toString('hex', 0, 8)}` : `user ${line.slice(0, colon)}`,
          tenants: list,
        },
      })
      schemes.add(colon < 0 ? 'Bearer' : 'Basic')
    }
    return entries.length === 0 ? { wrong: 'has nobody in it' } : { value: new Credentials(entries, [...schemes]) }
  }

  /** For `WWW-Authenticate`. */
  get challenge(): string {
    return this.#schemes.map((scheme) => `${scheme} realm="minim"`).join(', ')
  }

  /** @returns who it is, or null */
  check(header: string | undefined): KnownSender | null {
    const match = header === undefined || header.length > MAX_HEADER ? null : /^(basic|bearer) +([!-~]+)$/i.exec(header)
    if (match === null) return null
    const bearer = match[1].length === 6
    const digest = digestOf(
      bearer ? 'bearer' : 'basic',
      bearer ? match[2] : Buffer.from(match[2], 'base64').toString('utf8'),
    )
    let found: KnownSender | null = null
    for (const entry of this.#entries) if (timingSafeEqual(entry.digest, digest)) found = entry.sender
    return found
  }

  toJSON(): string {
    return '[credentials]'
  }
}
