/**
 * What every keyring does alike, wherever its keys lie: which epochs may have a key, keys made ahead, and the cache.
 */
import { inspect } from 'node:util'
import { HOUR_MS } from '../base/time.js'
import { epochEnd, epochId, parseEpochId } from './epochs.js'
import {
  type EpochKeys,
  type KeyAbsence,
  type KeyDomain,
  type Keyring,
  LEDGER_DOMAIN,
  QUARANTINE_DOMAIN,
  SPOOL_DOMAIN,
} from './keyring.js'
import { splitEpochKey } from './split.js'

/** A purpose and one of its epochs. */
export interface KeyName {
  readonly purpose: string
  readonly epoch: string
}

/** How often keys are made ahead while the program runs: well within the shortest epoch. */
const AHEAD_EVERY_MS = HOUR_MS

export abstract class CachedKeyring implements Keyring {
  readonly #cache = new Map<string, EpochKeys | 'destroyed'>()

  constructor(protected readonly now: () => number) {}

  keys(purpose: string, epoch: string): EpochKeys | KeyAbsence {
    this.refresh()
    const name = joinName(purpose, epoch)
    const known = this.#cache.get(name)
    if (known !== undefined) return known
    // A record's clock must not fill the store: no key for what lies further ahead than the next epoch.
    const mayMake = this.mayHaveKey(epoch)
    const key = this.obtain([{ purpose, epoch }], mayMake)[0]
    if (key === 'absent') return key
    const entry = key === 'destroyed' ? key : splitEpochKey(purpose, epoch, key)
    this.#cache.set(name, entry)
    return entry
  }

  /**
   * Makes the keys of the current and the next epoch of every domain, of quarantine, spool and ledger, where they are
   * lacking.
   */
  ensureAhead(domains: readonly KeyDomain[], timeMs: number = this.now()): void {
    const names: KeyName[] = []
    for (const { id, epoch } of [...domains, QUARANTINE_DOMAIN, SPOOL_DOMAIN, LEDGER_DOMAIN]) {
      names.push({ purpose: id, epoch: epochId(epoch, timeMs) })
      if (epoch !== 'contract') names.push({ purpose: id, epoch: epochId(epoch, epochEnd(epoch, timeMs)) })
    }
    this.refresh()
    this.obtain(names, true)
  }

  /**
   * {@link ensureAhead} now and every hour, so that a fleet agrees on the next epoch's keys long before it begins.
   * @param onError told when a later turn fails (the next one tries again); the first one throws
   * @returns ends it
   */
  keepAhead(
    domains: readonly KeyDomain[],
    onError: (error: unknown) => void,
    everyMs: number = AHEAD_EVERY_MS,
  ): () => void {
    this.ensureAhead(domains)
    const timer = setInterval(() => {
      try {
        this.ensureAhead(domains)
      } catch (error) {
        onError(error)
      }
    }, everyMs)
    timer.unref()
    return () => {
      clearInterval(timer)
    }
  }

  /** Whether an epoch is now, past or one ahead; false for what is no epoch's id. */
  protected mayHaveKey(epoch: string): boolean {
    const parsed = parseEpochId(epoch)
    return parsed !== null && parsed.startMs <= epochEnd(parsed.length, this.now())
  }

  /** Forgets cached keys, since the store has changed. */
  protected forget(): void {
    this.#cache.clear()
  }

  /** Looks for changes that another process made. */
  protected abstract refresh(): void

  /** The epoch keys of these names; those that are lacking are made and stored first, if `mayMake`. */
  protected abstract obtain(names: readonly KeyName[], mayMake: boolean): readonly (Buffer | KeyAbsence)[]

  toJSON(): string {
    return '[keyring]'
  }
  [inspect.custom](): string {
    return this.toJSON()
  }
}

/** One string for a purpose and an epoch. */
export function joinName(purpose: string, epoch: string): string {
  return `${purpose}\0${epoch}`
}
