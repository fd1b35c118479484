/**
 * Reads what SIP headers hold: addresses with their parameters, and the URIs in them (RFC 3261 §20.10, §19.1).
 *
 * sip.js's grammar reads the URIs that are not of the plain shape that nearly all have; it takes 0.1 ms a URI, so its
 * work is remembered in an `lru-cache`.
 */
import { isIP } from 'node:net'
import { LRUCache } from 'lru-cache'
import { Grammar } from 'sip.js/lib/grammar/grammar.js'

/** An address of a header: From, To, Contact. The display name is not kept: no record has a use for it. */
export interface SipAddress {
  readonly uri: string
  /** By their names in lower case; without a value: the empty text. */
  readonly params: Readonly<Record<string, string>>
}

const MAX_ADDRESSES = 16

/** Addresses of one header's value, which may be several with commas between (RFC 3261 §7.3.1); at most 16. */
export function addressesOf(value: string): SipAddress[] {
  const found: SipAddress[] = []
  let at = 0
  while (at < value.length && found.length < MAX_ADDRESSES) {
    const end = partEnd(value, at, ',')
    const address = addressOf(value.slice(at, end))
    if (address !== null) found.push(address)
    at = end + 1
  }
  return found
}

/** The one address of From or To; null where there is none. */
export function addressOf(value: string): SipAddress | null {
  const open = unquotedIndexOf(value, '<')
  let uri: string
  let rest: string
  if (open >= 0) {
    const close = value.indexOf('>', open)
    if (close < 0) return null
    uri = value.slice(open + 1, close).trim()
    rest = value.slice(close + 1)
  } else {
    // Without angle brackets, what follows a semicolon belongs to the header and not to the URI (RFC 3261 §20.10).
    const semicolon = value.indexOf(';')
    uri = (semicolon < 0 ? value : value.slice(0, semicolon)).trim()
    rest = semicolon < 0 ? '' : value.slice(semicolon)
  }
  return uri === '' || /\s/.test(uri) ? null : { uri, params: paramsOf(rest) }
}

/** Parameters that follow a value: `;tag=…;expires=…`. */
export function paramsOf(text: string): Record<string, string> {
  const params: Record<string, string> = Object.create(null) as Record<string, string>
  let at = text.indexOf(';')
  for (let n = 0; at >= 0 && at < text.length && n < 32; n++) {
    const end = partEnd(text, at + 1, ';')
    const part = text.slice(at + 1, end)
    const equals = part.indexOf('=')
    const name = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase()
    const value = equals < 0 ? '' : part.slice(equals + 1).trim()
    if (name !== '' && !(name in params))
      params[name] = value.startsWith('"') ? value.replace(/^"|"$/g, '').replace(/\\(.)/g, '$1') : value
    at = end
  }
  return params
}

/** Where the part that begins at `from` ends: at the separator, outside of quotes and angle brackets. */
function partEnd(text: string, from: number, separator: string): number {
  let quoted = false
  let inAngle = false
  for (let i = from; i < text.length; i++) {
    const c = text[i]
    if (quoted) {
      if (c === '\\') i++
      else if (c === '"') quoted = false
    } else if (c === '"' && !inAngle) quoted = true
    else if (c === '<') inAngle = true
    else if (c === '>') inAngle = false
    else if (c === separator && !inAngle) return i
  }
  return text.length
}

function unquotedIndexOf(text: string, wanted: string): number {
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (quoted) {
      if (c === '\\') i++
      else if (c === '"') quoted = false
    } else if (c === '"') quoted = true
    else if (c === wanted) return i
  }
  // A name whose quote never closes: the last bracket is the address's.
  return quoted ? text.lastIndexOf(wanted) : -1
}

/** Where a SIP URI points. */
export interface SipUri {
  readonly user: string
  readonly host: string
  /** null where the URI says none. */
  readonly port: number | null
}

/** `sip:user@host:port`, with parameters behind: what nearly every URI is. */
const PLAIN_URI = /^sips?:(?:([A-Za-z0-9+._*#~-]{1,128})@)?([A-Za-z0-9.-]{1,253})(?::(\d{1,5}))?(?:;[^?\s<>"]*)?$/i

const uris = new LRUCache<string, { readonly uri: SipUri | null }>({ max: 4096 })

/**
 * Reads a SIP URI; null for what is none. Plain ones by their shape, others by sip.js's grammar, whose work is
 * remembered.
 */
export function uriOf(text: string): SipUri | null {
  const plain = PLAIN_URI.exec(text)
  if (plain !== null)
    return {
      user: plain[1] ?? '',
      host: plain[2].toLowerCase(),
      port: plain[3] === undefined ? null : Number(plain[3]),
    }
  if (text.length > 512 || !/^sips?:/i.test(text)) return null
  let known = uris.get(text)
  if (known === undefined) {
    const parsed = Grammar.URIParse(text)
    known = {
      uri:
        parsed === undefined
          ? null
          : {
              user: (parsed.user ?? '').replace(/:.*$/, ''),
              host: parsed.host.replace(/^\[|\]$/g, ''),
              port: parsed.port ?? null,
            },
    }
    uris.set(text, known)
  }
  return known.uri
}

/** An IP address out of a SIP host, without the brackets of IPv6; null for a name. */
export function ipOf(host: string): string | null {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  return isIP(bare) === 0 ? null : bare
}
