/**
 * The table of remembered ids: what `seen.ts` says of their keys, looked up, stored and forgotten within the spool's
 * transactions.
 */
import type { PutOutcome } from '../flow/source.js'
import type { Keyring } from '../keys/keyring.js'
import { type SeenName, SeenNames, spanIn, spanStart } from './seen.js'
import type { SpoolTables } from './store.js'

/** A quarter of the room is for ids at most. */
const SEEN_SHARE = 0.25
/** Rows forgotten by one write: it holds the lock, and this thread. */
const DELETES = 1000
const NOTHING = Buffer.alloc(0)

/** In `meta`, for all workers: changes whenever the table of ids has other spans; and the time that they age by. */
const REVISION = 'seen-revision'
const TRUSTED = 'seen-trusted'
const NO_REVISION = '0'

/** What an id was before, if it was. */
export type Known = Exclude<PutOutcome, 'stored'>

/** Within a transaction, what changes the list of the table's spans changes this too. */
export function reviseSpans({ meta }: SpoolTables): string {
  const revision = String(Number(meta.get(REVISION) ?? NO_REVISION) + 1)
  meta.put(REVISION, revision)
  return revision
}

/** The spans that the table of ids holds, in order. */
function spansOf({ seen }: SpoolTables): number[] {
  const spans: number[] = []
  for (let start: Buffer = NOTHING; ;) {
    const [key] = seen.keys({ start, limit: 1 })
    if (key === undefined) return spans
    spans.push(spanIn(key))
    start = spanStart(spanIn(key) + 1)
  }
}

/** Ids of one group of puts, looked up before the first write of its transaction. */
class SeenGroup {
  readonly #names: SeenNames
  readonly #seen: SpoolTables['seen']
  readonly #fresh = new Map<string, SeenName>()

  constructor(names: SeenNames, seen: SpoolTables['seen']) {
    this.#names = names
    this.#seen = seen
  }

  /** What an id was before, in the same group or in the table. null: it is new, and part of the group now. */
  look(given: SeenName): Known | null {
    const name = this.#names.again(given)
    const before = this.#before(this.#fresh.get(name.text), name)
    if (before === null) this.#fresh.set(name.text, name)
    return before
  }

  /** What is to be stored of those that are new. */
  rows(): { readonly key: Buffer; readonly value: Buffer }[] {
    return [...this.#fresh.values()].map((name) => ({ key: name.now, value: this.#names.fingerprint(name, name.now) }))
  }

  #before(earlier: SeenName | undefined, name: SeenName): Known | null {
    if (earlier !== undefined)
      return earlier.digest === null || name.digest === null || earlier.digest === name.digest ? 'repeated' : 'reused'
    for (let i = -1; i < name.before.length; i++) {
      const key = i < 0 ? name.now : name.before[i]
      if (!this.#seen.has(key)) continue
      const value = this.#seen.get(key) ?? NOTHING
      const fingerprint = value.length === 0 ? NOTHING : this.#names.fingerprint(name, key)
      return value.length === 0 || fingerprint.length === 0 || value.equals(fingerprint) ? 'repeated' : 'reused'
    }
    return null
  }
}

export interface SeenTableOptions {
  readonly keyring: Keyring
  readonly rememberMs: number
  /** Of the whole spool. */
  readonly maxBytes: number
  readonly now: () => number
  readonly monotonic: () => number
}

export class SeenTable {
  readonly #names: SeenNames
  readonly #maxBytes: number
  readonly #now: () => number
  readonly #monotonic: () => number
  #due = false
  #crowded = false

  constructor(tables: SpoolTables, { keyring, rememberMs, maxBytes, now, monotonic }: SeenTableOptions) {
    const stored = Number(tables.meta.get(TRUSTED) ?? NaN)
    const start = {
      spans: spansOf(tables),
      revision: tables.meta.get(REVISION) ?? NO_REVISION,
      trustedMs: Number.isFinite(stored) ? stored : null,
    }
    this.#names = new SeenNames(keyring, rememberMs, start, now(), monotonic())
    this.#maxBytes = maxBytes
    this.#now = now
    this.#monotonic = monotonic
  }

  /** Something may have to be forgotten. */
  get due(): boolean {
    return this.#due || this.#crowded
  }

  /** Looks at the clocks; the next write forgets what is due by then. */
  age(): void {
    this.#due = true
    this.#names.advance(this.#now(), this.#monotonic())
  }

  /** How much of the spool's room the table takes: too much, and a span goes early. */
  measured(bytes: number): void {
    if (bytes > this.#maxBytes * SEEN_SHARE || this.#names.crowded) this.#crowded = true
  }

  /** @throws MinimError when the key store cannot be read, or the day's key is not there */
  name(source: string, tenant: string, id: string, body: Uint8Array | null): SeenName {
    this.#names.advance(this.#now(), this.#monotonic())
    return this.#names.name(source, tenant, id, body)
  }

  /** Within a transaction: where the ids of a group are looked up. */
  group(tables: SpoolTables): SeenGroup {
    // A span that another worker, or the write before, has made since the names were: it is asked as well.
    const revision = tables.meta.get(REVISION) ?? NO_REVISION
    if (revision !== this.#names.revision) this.#names.learn(spansOf(tables), revision)
    return new SeenGroup(this.#names, tables.seen)
  }

  /** Whether storing a row makes a span that the table has not yet. */
  isNewSpan(key: Buffer): boolean {
    return !this.#names.knows(key)
  }

  /** The table's spans are others now, and that is on disk. */
  learn(tables: SpoolTables, revision: string): void {
    this.#names.learn(spansOf(tables), revision)
  }

  /** What was due is forgotten, and that is on disk. */
  swept(): void {
    this.#due = false
    this.#crowded = false
  }

  /**
   * Within a transaction: forgets ids that are due, some at a time.
   * @returns whether all of them are, and whether there are fewer spans now
   */
  sweep({ seen, meta }: SpoolTables, nowMs: number): { readonly done: boolean; readonly less: boolean } {
    this.#names.advance(nowMs, this.#monotonic())
    meta.put(TRUSTED, String(this.#names.trustedMs))
    const spans = this.#names.due()
    // Too many for their share of the room: a span goes early.
    const early = spans.length === 0 && this.#crowded ? this.#names.leastUseful() : null
    if (early !== null) spans.push(early)
    let left = DELETES
    let less = false
    for (const span of spans) {
      const keys = [...seen.keys({ start: spanStart(span), end: spanStart(span + 1), limit: left })]
      for (const key of keys) seen.remove(key)
      left -= keys.length
      if (left === 0) return { done: false, less }
      less = true
    }
    return { done: true, less }
  }
}
