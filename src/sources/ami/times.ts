/** Times and numbers as AMI writes them. */
import type { LocalTime } from '../../formats/local-time.js'
import type { Stanza } from './stanzas.js'

const TIME = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:(Z)|([+-])(\d\d):?(\d\d))?$/

/**
 * `YYYY-MM-DD HH:MM:SS` on the PBX's wall clock, or with an offset, or seconds since 1970.
 * @returns ms since 1970; null for none (empty, all zeros), NaN for what is no time
 */
export function parseTime(text: string, clock: LocalTime): number | null {
  if (text === '' || text.startsWith('0000-00-00')) return null
  if (/^\d{9,11}(?:\.\d{1,9})?$/.test(text)) return Math.floor(Number(text) * 1000 + 0.0005)
  const found = TIME.exec(text)
  if (found === null) return NaN
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number)
  const wall = Date.UTC(year, month - 1, day, hour, minute, second)
  // Date.UTC takes a 31st of February for a day in March.
  const made = new Date(wall)
  if (
    year < 1970 ||
    made.getUTCMonth() !== month - 1 ||
    made.getUTCDate() !== day ||
    hour > 23 ||
    minute > 59 ||
    second > 59
  )
    return NaN
  const ms = found[7] === undefined ? 0 : Math.floor(Number(`0.${found[7]}`) * 1000)
  if (found[8] === 'Z') return wall + ms
  if (found[9] !== undefined) {
    const ahead = (Number(found[10]) * 60 + Number(found[11])) * 60_000
    return wall + ms - (found[9] === '-' ? -ahead : ahead)
  }
  const utc = wall + ms - clock.offsetSeconds(wall) * 1000
  return utc > 0 ? utc : NaN
}

/** A number at the beginning of a text (`0.3830 (sec)`), or NaN. */
export function parseNumber(text: string): number {
  const found = /^\s*(-?\d{1,20}(?:\.\d{1,20})?)/.exec(text)
  return found === null ? NaN : Number(found[1])
}

/**
 * The address and port of `192.0.2.1:5060`, `[2001:db8::1]:5060`, `IPV4/UDP/192.0.2.1/5060`; empty and NaN where there
 * is none.
 */
export function parseAddress(text: string): { readonly ip: string; readonly port: number } {
  const listed = /^IPV[46]\/\w+\/([0-9A-Fa-f:.]+)\/(\d{1,5})$/.exec(text)
  const found =
    listed ??
    /^\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?$/.exec(text) ??
    /^(\d{1,3}(?:\.\d{1,3}){3})(?::(\d{1,5}))?$/.exec(text)
  if (found !== null) return { ip: found[1], port: found[2] === undefined ? NaN : Number(found[2]) }
  return { ip: /^[0-9A-Fa-f]*:[0-9A-Fa-f:.]+$/.test(text) && text.split(':').length > 2 ? text : '', port: NaN }
}

/** Before 2000 no Asterisk wrote a time: what is earlier is none. */
const EARLIEST_MS = Date.UTC(2000, 0)
/** A clock may be ahead by so much; a record of a later time would be refused. */
const AHEAD_MS = 60_000

/**
 * When an event happened: its `Timestamp:` (`timestampevents = yes` of manager.conf), in seconds and microseconds since
 * 1970. NaN where it has none, or one that cannot be.
 */
export function eventTime(stanza: Stanza, nowMs: number): number {
  if (!stanza.text.includes('\nTimestamp: ')) return NaN
  const ms = Math.floor(parseNumber(stanza.get('timestamp')) * 1000 + 0.0005)
  return ms >= EARLIEST_MS && ms <= nowMs + AHEAD_MS ? ms : NaN
}
