/**
 * Ids that were taken, remembered for a while: the same id again is a repeat.
 *
 * An id is kept as an HMAC of it, since call ids and idempotency keys may tell who called. Keys of the table are
 * `[when its span began, minutes since 1970 (4)] [HMAC (16)]`. Time is cut into spans of a quarter of what is
 * remembered; new ids go to the current span, and a lookup asks each span that the table has and that is not due. So
 * nothing has to be kept to find what is due: a span that is too old is a range of keys, and goes as one. An id is
 * remembered for as long as was asked, and for up to a quarter longer.
 *
 * The system's clock may step. Spans that lie ahead of it are asked as well, and when a span is due is told by {@link
 * SeenClock}.
 *
 * A row's value is a fingerprint of the body that came with the id, where the same id with another body is a mistake:
 * an HMAC (16) of id and body. It is empty where the id alone counts, and in rows of versions that kept none.
 *
 * An index by time beside the table would write each id twice, and touch twice the pages in each group commit.
 *
 * The HMAC's key is that of the spool in the epoch (day) that the span began in: it goes with the day's key. Asking for
 * a day's key makes it, so no days are asked for but those of spans that are there, and the current one's.
 */
import { MINUTE_MS } from '../base/time.js'
import { MinimError } from '../errors/catalogue.js'
import { epochId } from '../keys/epochs.js'
import { HmacSha256, sha256 } from '../keys/hmac.js'
import { type EpochKeys, type Keyring, SPOOL_DOMAIN } from '../keys/keyring.js'
import { SeenClock } from './clock.js'

const SPANS = 4
/** More spans than a clock that behaves makes: each is asked at each lookup, so the least useful goes early. */
const MAX_SPANS = 48
const SPAN_BYTES = 4
const HASH_BYTES = 16
/** Days whose HMAC is kept: those that spans lie in, and the next. */
const MAX_HMACS = 16

/** Where an id may be found, and where it goes if it is not. */
export interface SeenName {
  /** The id itself, in memory only. */
  readonly text: string
  /** SHA-256 of the body that it came with, in memory only; null where the id alone counts. */
  readonly digest: string | null
  readonly now: Buffer
  readonly before: readonly Buffer[]
  /** Of the list of spans that `before` was made for. */
  readonly revision: string
}

/** What is known when the table is opened. */
export interface SeenStart {
  /** Spans that the table has, in order. */
  readonly spans: readonly number[]
  readonly revision: string
  /** {@link SeenNames.trustedMs} as it was stored last. */
  readonly trustedMs: number | null
}

export class SeenNames {
  readonly #keyring: Keyring
  readonly #spanMinutes: number
  readonly #clock: SeenClock
  #spans: readonly number[]
  #revision: string
  /** By day: each with the keys that it was made of, so that it goes when they do. */
  readonly #hmacs = new Map<string, { readonly keys: EpochKeys; readonly hmac: HmacSha256 }>()
  readonly #days = new Map<number, string>()

  constructor(keyring: Keyring, rememberMs: number, start: SeenStart, wallMs: number, monotonicMs: number) {
    this.#keyring = keyring
    this.#spanMinutes = Math.max(1, Math.ceil(rememberMs / MINUTE_MS / SPANS))
    this.#spans = start.spans
    this.#revision = start.revision
    // A version that stored no time has written the table: its newest span is not older than that.
    const newest = start.spans.length === 0 ? null : start.spans[start.spans.length - 1] * MINUTE_MS
    this.#clock = new SeenClock(
      (SPANS + 1) * this.#spanMinutes * MINUTE_MS,
      wallMs,
      monotonicMs,
      start.trustedMs ?? newest,
    )
  }

  /** Changes with the list of spans in the table, whichever worker changes it. */
  get revision(): string {
    return this.#revision
  }

  /** To be stored, for the next run. */
  get trustedMs(): number {
    return this.#clock.trustedMs
  }

  /** There are too many spans. */
  get crowded(): boolean {
    return this.#spans.length > MAX_SPANS
  }

  /** The table has these spans now. */
  learn(spans: readonly number[], revision: string): void {
    this.#spans = spans
    this.#revision = revision
  }

  /** Whether the table has a key's span already. */
  knows(key: Buffer): boolean {
    return this.#spans.includes(spanIn(key))
  }

  /** Looks at the clocks. */
  advance(wallMs: number, monotonicMs: number): void {
    this.#clock.advance(wallMs, monotonicMs)
  }

  /**
   * The keys of an id.
   * @param body what the id may come with again; null where the id alone counts
   * @throws MinimError when the key store cannot be read, or the day's key is not there
   */
  name(source: string, tenant: string, id: string, body: Uint8Array | null): SeenName {
    return this.#named(
      `${source}\0${tenant}\0${id}`,
      body === null ? null : sha256(body),
      this.#spanOf(this.#clock.wallMs),
    )
  }

  /** The same for the spans that the table has now. @throws MinimError as {@link name} */
  again(name: SeenName): SeenName {
    return name.revision === this.#revision ? name : this.#named(name.text, name.digest, spanIn(name.now))
  }

  /**
   * What a row says of the body that came with an id: the value of the row at one of its keys.
   * @throws MinimError when the key store cannot be read
   */
  fingerprint({ text, digest }: SeenName, key: Buffer): Buffer {
    if (digest === null) return NONE
    const hash = this.#hmacOf(this.#dayOf(spanIn(key)))?.ofText(`body\0${text}\0${digest}`)
    return hash === undefined ? NONE : Buffer.from(hash, 'latin1').subarray(0, HASH_BYTES)
  }

  /** Spans that may be forgotten. */
  due(): number[] {
    return this.#spans.filter((span) => this.#isDue(span))
  }

  /**
   * The span that is missed least where there is no room: the oldest, else the one furthest ahead, the current one
   * last. null: there is none.
   */
  leastUseful(): number | null {
    const current = this.#spanOf(this.#clock.wallMs)
    const [oldest] = this.#spans
    if (oldest === undefined) return null
    return oldest < current ? oldest : this.#spans[this.#spans.length - 1]
  }

  #named(text: string, digest: string | null, current: number): SeenName {
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
    for (let i = this.#spans.length - 1; i >= 0; i--) {
      const span = this.#spans[i]
      const key = span === current || this.#isDue(span) ? null : keyIn(span)
      if (key !== null) before.push(key)
    }
    return { text, digest, now, before, revision: this.#revision }
  }

  #isDue(span: number): boolean {
    const { trustedMs, wallMs, even } = this.#clock
    return (
      span < this.#spanOf(trustedMs) - SPANS * this.#spanMinutes ||
      (even && span > this.#spanOf(wallMs) + this.#spanMinutes)
    )
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
      this.#days.set(span, (day = epochId(SPOOL_DOMAIN.epoch, span * MINUTE_MS)))
    }
    return day
  }

  #spanOf(timeMs: number): number {
    const minutes = Math.floor(Math.min(Math.max(0, timeMs), 0xffff_ffff * MINUTE_MS) / MINUTE_MS)
    return minutes - (minutes % this.#spanMinutes)
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

const NONE = Buffer.alloc(0)
