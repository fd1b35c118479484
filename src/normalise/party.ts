/**
 * Parties: dial strings, telephone numbers, tel: and SIP URIs, channel names to one form each, so that the same person
 * gets the same token from whichever source.
 *
 * - E.164 (ITU-T E.164), read with the tenant's region: the fast path takes `+…`, the international prefix and the
 *   national form where libphonenumber would only strip a plain prefix (`test/normalise/party.test.ts` holds it against
 *   libphonenumber); everything else goes to libphonenumber, behind an `lru-cache`, behind a table that knows repeats
 *   by their bytes
 * - extensions, short codes and local names: the tenant's own, so the same text in two tenants is two parties
 * - SIP URIs of other hosts (`own-hosts.ts` says which): `user@host`, host in lower case. Their numbers are E.164 like any other, but their
 *   extensions are theirs: 1001 at a stranger's PBX is not this tenant's 1001
 * - `anonymous` and its kin are nobody: no token
 */
import { LRUCache } from 'lru-cache'
import { ByteTable } from '../base/byte-table.js'
import { BLOCK_BYTES, FORM, longLength, packE164, packLong, packText, PROTECTED, SLOT, TYPES } from '../batch/block.js'
import type { Tenant } from '../flow/tenant.js'
import { type DialPlan, extensionOf, numberOf } from './dial-string.js'
import { HelpNumbers, SHORT_E164_DIGITS } from './help-numbers.js'
import { dialPlanOf, type Plan, planOf, REGIONS } from './numbering-plan.js'
import { OwnHosts, plainHost } from './own-hosts.js'
import { zeroBeginningsOf } from './service-codes.js'

/**
 * Words that stand for nobody (RFC 3323, Asterisk's and FreeSWITCH's placeholders, dialplan extensions that no one
 * dials).
 */
const NOBODY = new Set([
  '',
  'anonymous',
  'unknown',
  '<unknown>',
  'unavailable',
  'restricted',
  'private',
  'withheld',
  'asterisk',
  's',
  'h',
  'i',
  't',
])

interface CallingCode {
  /**
   * What libphonenumber strips from the front of a national number; a number that starts with one is not for the fast
   * path. Single digits as a bit mask, longer prefixes as text.
   */
  readonly strippedDigits: number
  readonly strippedPrefixes: readonly string[]
}

function callingCode(stripped: Iterable<string>): CallingCode {
  const all = [...stripped]
  return {
    strippedDigits: all.filter((p) => p.length === 1).reduce((mask, p) => mask | (1 << Number(p)), 0),
    strippedPrefixes: all.filter((p) => p.length > 1),
  }
}

/**
 * What is stripped from the front of a national number, where that is digits only and nothing takes its place; else
 * null.
 */
function strippedPatterns(plan: Plan): string[] | null {
  if ((plan.nationalPrefixTransformRule() || 0) !== 0) return null
  const patterns = (plan.nationalPrefixForParsing() || '').split('|').filter((p) => p !== '')
  return patterns.every((p) => /^\d+$/.test(p)) ? patterns : null
}

/** By calling code: those whose numbers libphonenumber takes as they are, unless they start with a stripped prefix. */
const plainCodes: (CallingCode | undefined)[] = Array<undefined>(1000).fill(undefined)
for (const [code, regions] of Object.entries(REGIONS)) {
  if (!/^[A-Z]{2}$/.test(regions[0])) continue
  // Of regions that share a calling code, the first one's plan decides what is stripped.
  const plan = planOf(regions[0])
  const patterns = strippedPatterns(plan)
  if (patterns !== null) plainCodes[Number(code)] = callingCode([...patterns, '0'])
}

interface Party {
  readonly slot: number
  readonly block: DataView
  readonly long: Uint8Array | null
}

const NO_PARTY: Party = { slot: SLOT.absent, block: new DataView(new ArrayBuffer(BLOCK_BYTES)), long: null }

function e164Party(digits: string): Party {
  const block = new DataView(new ArrayBuffer(BLOCK_BYTES))
  const bytes = Buffer.from(digits, 'latin1')
  packE164('', bytes, 0, bytes.length, block, 0)
  return { slot: SLOT.block, block, long: null }
}

function textParty(type: number, tenant: number, text: string): Party {
  const bytes = Buffer.from(text, 'utf8')
  const block = new DataView(new ArrayBuffer(BLOCK_BYTES))
  if (packText(type, tenant, bytes, 0, bytes.length, block, 0)) return { slot: SLOT.block, block, long: null }
  const long = new Uint8Array(longLength(bytes.length))
  packLong(type, tenant, bytes, 0, bytes.length, long, 0)
  return { slot: SLOT.long, block, long }
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function beginsWith(src: Uint8Array, off: number, end: number, beginning: string): boolean {
  if (end - off < beginning.length) return false
  for (let i = 0; i < beginning.length; i++) if (src[off + i] !== beginning.charCodeAt(i)) return false
  return true
}

/** The host of a URI, without port, parameters and headers. */
function hostOf(text: string): string {
  return text
    .replace(/[;?>].*$/, '')
    .replace(/^\[([^\]]*)\].*$/, '$1')
    .replace(/^([^:]*):\d+$/, '$1')
}

/** Reads parties for one tenant. */
export class PartyReader {
  readonly #tenant: Tenant
  readonly #dialPlan: DialPlan
  readonly #own: OwnHosts
  readonly #help: HelpNumbers
  readonly #callingCode: string
  readonly #fastInternational: boolean
  readonly #fastNational: boolean
  readonly #nanp: boolean
  /** What may be a code or an outside line's prefix rather than the beginning of a number. */
  readonly #slowBeginnings: readonly string[]
  /** Possible lengths of a national number, as bits. */
  readonly #lengths: number
  readonly #table = new ByteTable(8192, 8192 * 48)
  readonly #byNumber: Party[] = []
  readonly #dear = new LRUCache<string, Party>({ max: 20_000 })
  /** The long form of the party last read, when its slot says so. */
  long: Uint8Array = new Uint8Array(0)

  constructor(tenant: Tenant) {
    this.#tenant = tenant
    const plan = planOf(tenant.region)
    this.#dialPlan = dialPlanOf(tenant)
    this.#own = new OwnHosts(tenant.domains, tenant.anyAddress ?? false)
    this.#help = new HelpNumbers(tenant)
    const { callingCode, dials00, prefixes } = this.#dialPlan
    this.#callingCode = callingCode
    this.#fastInternational = dials00
    this.#nanp = callingCode === '1'
    this.#slowBeginnings = [...prefixes, ...zeroBeginningsOf(tenant.region, callingCode)]
    // A national number is a plain 0 before the significant one, and no 0 starts anything else.
    this.#fastNational =
      this.#fastInternational &&
      strippedPatterns(plan)
        ?.filter((p) => p.startsWith('0'))
        .join() === '0'
    // Those that every region of the calling code has, since a prefix stays where the rest is too short for the region
    // found by it; and no longer than E.164 allows together with the calling code, which a few plans are.
    const lengths = (REGIONS[callingCode] ?? []).map((region) =>
      planOf(region)
        .possibleLengths()
        .reduce((bits, n) => bits | (1 << n), 0),
    )
    this.#lengths = lengths.reduce((common, bits) => common & bits, (1 << (16 - callingCode.length)) - 1)
  }

  /**
   * Reads one party and packs it at `dst[at]`.
   * @returns its slot, with {@link PROTECTED} for a number that one calls for help; for {@link SLOT.long}, {@link long}
   * holds the form
   */
  read(src: Uint8Array, off: number, len: number, dst: DataView, at: number): number {
    if (len <= 18 && this.readPlain(src, off, len, dst, at)) return SLOT.block
    let number = this.#table.find(src, off, len)
    let party: Party
    if (number >= 0) party = this.#byNumber[number]
    else {
      party = this.#slow(Buffer.from(src.buffer, src.byteOffset + off, len).toString('utf8'))
      if (len <= 256) {
        number = this.#table.add(src, off, len)
        if (number < 0) {
          this.#table.clear()
          number = this.#table.add(src, off, len)
        }
        this.#byNumber[number] = party
      }
    }
    if ((party.slot & FORM) === SLOT.long) this.long = party.long as Uint8Array
    else for (let i = 0; i < BLOCK_BYTES; i += 4) dst.setInt32(at + i, party.block.getInt32(i))
    return party.slot
  }

  /** The forms whose reading needs no metadata beyond a prefix: packs one, or leaves it to the long way. */
  readPlain(src: Uint8Array, off: number, len: number, dst: DataView, at: number): boolean {
    let start = off
    const end = off + len
    if (src[off] === 43) start++
    if (start === end) return false
    for (let i = start; i < end; i++) if (src[i] < 48 || src[i] > 57) return false
    if (start > off) return this.#international(src, start, end, dst, at)
    if (len <= this.#tenant.extensionDigits)
      return !this.#help.maybeShort(src, off, len) && packText(TYPES.local, this.#tenant.id, src, off, len, dst, at)
    for (const beginning of this.#slowBeginnings) if (beginsWith(src, off, end, beginning)) return false
    if (src[off] === 48) {
      if (src[off + 1] === 48) return this.#fastInternational && this.#international(src, off + 2, end, dst, at)
      if (!this.#fastNational || (this.#lengths & (1 << (len - 1))) === 0) return false
      if (this.#help.maybeFull(src, end)) return false
      packE164(this.#callingCode, src, off + 1, len - 1, dst, at)
      return true
    }
    if (!this.#nanp) return false
    if (len === 11 && src[off] === 49) start++
    if (end - start !== 10 || src[start] < 50) return false
    if (this.#help.maybeFull(src, end)) return false
    packE164('1', src, start, 10, dst, at)
    return true
  }

  #international(src: Uint8Array, start: number, end: number, dst: DataView, at: number): boolean {
    const digits = end - start
    if (digits <= SHORT_E164_DIGITS || digits > 15 || src[start] === 48 || this.#help.maybeFull(src, end)) return false
    let code = 0
    for (let n = 1; n <= 3; n++) {
      code = code * 10 + src[start + n - 1] - 48
      const plain = plainCodes[code]
      if (plain === undefined) continue
      if ((plain.strippedDigits & (1 << (src[start + n] - 48))) !== 0) return false
      for (const prefix of plain.strippedPrefixes) {
        let i = 0
        while (i < prefix.length && prefix.charCodeAt(i) === src[start + n + i]) i++
        if (i === prefix.length) return false
      }
      packE164('', src, start, digits, dst, at)
      return true
    }
    return false
  }

  #slow(text: string): Party {
    const trimmed = text.trim()
    const known = this.#dear.get(trimmed)
    if (known !== undefined) return known
    const party = this.#party(trimmed, 0)
    this.#dear.set(trimmed, party)
    return party
  }

  #party(text: string, depth: number): Party {
    if (NOBODY.has(text.toLowerCase()) || depth > 3) return NO_PARTY
    const angle = /<([^<>]*)>[^<>]*$/.exec(text)
    if (angle !== null) return this.#party(angle[1].trim(), depth + 1)
    const scheme = /^(tel|sips?|pjsip|local|iax2|dahdi|sofia\/[^/]+)([:/])/i.exec(text)
    if (scheme !== null) {
      const rest = text.slice(scheme[0].length)
      if (scheme[2] === ':') return scheme[1].toLowerCase() === 'tel' ? this.#tel(rest) : this.#uri(rest)
      // A channel name: technology/endpoint-serial, Local/extension@context-serial;leg.
      return this.#party(
        rest
          .replace(/;\d$/, '')
          .replace(/-[0-9a-f]{8}$/i, '')
          .replace(scheme[1].toLowerCase() === 'local' ? /@.*$/ : /$^/, ''),
        depth + 1,
      )
    }
    if (/^[^@\s]+@[^@\s]+$/.test(text)) return this.#uri(text)
    return this.#dialled(text)
  }

  /** RFC 3966: global numbers, or local ones whose context is a calling code or a domain. */
  #tel(rest: string): Party {
    const text = percentDecoded(rest)
    const context = /;\s*phone-context=([^;+][^;]*)/i.exec(text)?.[1]
    const number = text.replace(/;.*$/, '')
    return context === undefined || number.trimStart().startsWith('+') || this.#own.has(plainHost(context))
      ? this.#dialled(text)
      : this.#foreign(number, context)
  }

  /** RFC 3261 §19.1: user, password and parameters, host, port. */
  #uri(rest: string): Party {
    // The first one: a user part has none unescaped, parameters and headers may.
    const at = rest.indexOf('@')
    if (at < 0) return NO_PARTY
    const [before] = rest.slice(0, at).split(':')
    // Of the parameters that a telephone number has of its own, the context says where it belongs.
    const [name, ...parameters] = before.split(';')
    const context = parameters.find((parameter) => /^phone-context=%?\+?\d/i.test(parameter))
    const user = percentDecoded(context === undefined ? name : `${name};${context}`)
    const host = plainHost(hostOf(rest.slice(at + 1)))
    if (NOBODY.has(user.toLowerCase()) || host === 'anonymous.invalid') return NO_PARTY
    return this.#own.has(host) ? this.#dialled(user) : this.#foreign(user, host)
  }

  #foreign(user: string, host: string): Party {
    const number = this.#number(user)
    if (number !== null) return number
    const name = user.replace(/;.*$/, '')
    return this.#told(textParty(TYPES.uri, 0, `${name}@${host}`), this.#help.hasDialled(name))
  }

  #dialled(text: string): Party {
    const number = this.#number(text)
    if (number !== null) return number
    const name = text.trim()
    if (NOBODY.has(name.toLowerCase())) return NO_PARTY
    const party = textParty(TYPES.local, this.#tenant.id, extensionOf(name) ?? name)
    return this.#told(party, this.#help.hasDialled(name))
  }

  /** The E.164 number that a dial string stands for; null when it is an extension, a name or a number of no plan. */
  #number(text: string): Party | null {
    const number = numberOf(text, this.#dialPlan)
    return number === null ? null : this.#told(e164Party(number), this.#help.hasNumber(number))
  }

  #told(party: Party, help: boolean): Party {
    return help ? { ...party, slot: party.slot | PROTECTED } : party
  }
}
