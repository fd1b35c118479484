/**
 * The keys of the spool's days, and their marks: a mark is stored with the first block under a day's key, so that a
 * spool is not opened with other keys, under which each of its blocks would be taken for a damaged one.
 */
import { MinimError } from '../errors/catalogue.js'
import { epochId } from '../keys/epochs.js'
import { type EpochKeys, type Keyring, SPOOL_DOMAIN } from '../keys/keyring.js'
import { keyMark, sealedAt } from './block.js'
import type { SpoolTables } from './store.js'

/** The name of the day that a time is in, as its keys are asked for. */
export function dayOf(timeMs: number): string {
  return epochId(SPOOL_DOMAIN.epoch, timeMs)
}

export class DayKeys {
  readonly #keyring: Keyring
  readonly #worker: number
  /** Days whose key's mark is written. */
  readonly #marked = new Set<string>()

  constructor(keyring: Keyring, worker: number) {
    this.#keyring = keyring
    this.#worker = worker
  }

  /** null: they are not there. @throws MinimError when the key store cannot be read */
  of(day: string): EpochKeys | null {
    const keys = this.#keyring.keys(SPOOL_DOMAIN.id, day)
    return typeof keys === 'string' ? null : keys
  }

  /** For a block that is written now. @throws MinimError MINIM_SPOOL_BROKEN where there are none */
  demand(day: string): EpochKeys {
    const keys = this.of(day)
    if (keys === null) throw new MinimError('MINIM_SPOOL_BROKEN', { what: 'the key of the day is not there' })
    return keys
  }

  /** What has to be stored with a block under the keys of a day; null where it is stored. */
  markFor(day: string, keys: EpochKeys): { readonly name: string; readonly mark: string } | null {
    return this.#marked.has(day) ? null : { name: this.#name(day), mark: keyMark(keys) }
  }

  /** A day's mark is on disk. */
  marked(day: string): void {
    this.#marked.add(day)
  }

  /** Within a transaction: marks of days that no block is of any more. */
  forgetOld({ blocks, meta }: SpoolTables, nowMs: number): void {
    let firstDay = dayOf(nowMs)
    for (const block of blocks.values({ limit: 1 })) firstDay = dayOf(sealedAt(block) ?? 0)
    for (const name of [...this.#names(meta)]) if (name < this.#name(firstDay)) meta.remove(name)
  }

  /**
   * Other keys than those that the blocks were written with: no start.
   * @throws MinimError MINIM_SPOOL_KEY
   */
  check({ meta }: SpoolTables, path: string): void {
    for (const name of this.#names(meta)) {
      const day = name.slice(this.#name('').length)
      const keys = this.#keyring.keys(SPOOL_DOMAIN.id, day)
      // Destroyed on purpose: its blocks will be found unreadable, and said to be.
      if (keys === 'destroyed') continue
      if (keys === 'absent' || keyMark(keys) !== meta.get(name))
        throw new MinimError('MINIM_SPOOL_KEY', { path, what: `of ${day}` })
      this.#marked.add(day)
    }
  }

  #names(meta: SpoolTables['meta']): Iterable<string> {
    const prefix = this.#name('')
    return meta.keys({ start: prefix, end: `${prefix}~` })
  }

  #name(day: string): string {
    return `mark-${this.#worker}-${day}`
  }
}
