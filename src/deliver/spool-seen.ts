/**
 * Ids that were taken, remembered for a while: the same id again is a repeat.
 *
 * An id is kept as an HMAC of it, since call ids and idempotency keys may tell who called. Keys of the table are
 * `[when its span began, minutes since 1970 (4)] [HMAC (16)]`. Time is cut into spans of a quarter of what is remembered; new ids go to
 * the current span, and a lookup asks each of the last five. So nothing has to be kept to find what is due: a span that is too old is
 * a range of keys, and goes as one. An id is remembered for as long as was asked, and for up to a quarter longer.
 *
 * An index by time beside the table would write each id twice, and touch twice the pages in each group commit.
 *
 * The HMAC's key is that of the spool in the epoch (day) that the span began in: it goes with the day's key.
 */
import { MinimError } from '../errors/catalogue.js'
import { epochId } from '../keys/epochs.js'
import { HmacSha256 } from '../keys/hmac.js'
import { SPOOL_DOMAIN, type EpochKeys, type Keyring } from '../keys/keyring.js'

const SPANS = 4
const SPAN_BYTES = 4
const HASH_BYTES = 16
const MINUTE_MS = 60_000
/** Days whose HMAC is kept: those that spans lie in, and the next. */
const MAX_HMACS = 16

/** Where an id may be found, and where it goes if it is not. */
export interface SeenName {
  readonly now: Buffer
  readonly before: readonly Buffer[]
}

export class SeenNames {
  readonly #keyring: Keyring
  readonly #spanMinutes: number
  /** Spans that the table had when it was opened: asking for a day's key makes it, so no others of before are asked. */
  readonly #known: ReadonlySet<number>
  readonly #openedAt: number
  /** By day: each with the keys that it was made of, so that it goes when they do. */
  readonly #hmacs = new Map<string, { readonly keys: EpochKeys; readonly hmac: HmacSha256 }>()
  readonly #days = new Map<number, string>()

  constructor(keyring: Keyring, rememberMs: number, known: ReadonlySet<number>, nowMs: number) {
    this.#keyring = keyring
    this.#spanMinutes = Math.max(1, Math.ceil(rememberMs / MINUTE_MS / SPANS))
    this.#known = known
    this.#openedAt = this.#spanOf(nowMs)
  }

  /**
   * The keys of an id.
   * @throws MinimError when the key store cannot be read, or the day's key is not there
   */
  name(source: string, tenant: string, id: string, nowMs: number): SeenName {
    const current = this.#spanOf(nowMs)
    const text = `${source}\0${tenant}\0${id}`
    // Most spans are of one day: its hash is asked for once.
    let day: string | null = null
    let hash: string | null = null
    const keyIn = (span: number): Buffer | null => {
      const epoch = this.#dayOf(span)
      if (epoch !== day) {
        day = epoch
        hash = this.#hmacOf(epoch)?.ofText(text) ?? null
      }
      if (hash === null) return null
      const key = Buffer.allocUnsafe(SPAN_BYTES + HASH_BYTES)
      key.writeUInt32BE(span, 0)
      key.write(hash, SPAN_BYTES, HASH_BYTES, 'latin1')
      return key
    }
    const now = keyIn(current)
    if (now === null) throw new MinimError('MINIM_SPOOL_BROKEN', { what: 'the key of the day is not there' })
    const before: Buffer[] = []
    for (let back = 1; back <= SPANS; back++) {
      const span = current - back * this.#spanMinutes
      const key = span >= this.#openedAt || this.#known.has(span) ? keyIn(span) : null
      if (key !== null) before.push(key)
    }
    return { now, before }
  }

  /** Keys below this one are no longer asked for. */
  dueBefore(nowMs: number): Buffer {
    return spanStart(Math.max(0, this.#spanOf(nowMs) - SPANS * this.#spanMinutes))
  }

  /** null: the day's key is not there. */
  #hmacOf(day: string): HmacSha256 | null {
    const keys = this.#keyring.keys(SPOOL_DOMAIN.id, day)
    const known = this.#hmacs.get(day)
    if (typeof keys === 'string') {
      this.#hmacs.delete(day)
      return null
    }
    if (known?.keys === keys) return known.hmac
    if (this.#hmacs.size >= MAX_HMACS) this.#hmacs.clear()
    const hmac = new HmacSha256(keys.hmac)
    this.#hmacs.set(day, { keys, hmac })
    return hmac
  }

  #dayOf(span: number): string {
    let day = this.#days.get(span)
    if (day === undefined) {
      if (this.#days.size >= MAX_HMACS) this.#days.clear()
      this.#days.set(span, day = epochId(SPOOL_DOMAIN.epoch, span * MINUTE_MS))
    }
    return day
  }

  #spanOf(timeMs: number): number {
    const minutes = Math.floor(Math.min(Math.max(0, timeMs), 0xffff_ffff * MINUTE_MS) / MINUTE_MS)
    return minutes - minutes % this.#spanMinutes
  }
}

/** The span that a key of the table is in. */
export function spanIn(key: Buffer): number {
  return key.readUInt32BE(0)
}

/** Where a span's keys begin. */
export function spanStart(span: number): Buffer {
  const key = Buffer.alloc(SPAN_BYTES)
  key.writeUInt32BE(Math.min(0xffff_ffff, span))
  return key
}
