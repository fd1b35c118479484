/** Keys that live and die with the process: for the demo and for tests. */
import { randomBytes } from 'node:crypto'
import { CachedKeyring, joinName, type KeyName } from './cached-keyring.js'
import type { KeyAbsence } from './keyring.js'

/** A keyring in memory only. What was tokenised under it can be reversed by nobody once the process ends. */
export function throwawayKeyring(now: () => number = Date.now): ThrowawayKeyring {
  return new ThrowawayKeyring(now)
}

class ThrowawayKeyring extends CachedKeyring {
  readonly #keys = new Map<string, Buffer | 'destroyed'>()

  destroy(purpose: string, epoch: string): void {
    this.#keys.set(joinName(purpose, epoch), 'destroyed')
    this.forget()
  }

  protected refresh(): void {}

  protected obtain(names: readonly KeyName[], mayMake: boolean): readonly (Buffer | KeyAbsence)[] {
    return names.map(({ purpose, epoch }) => {
      const name = joinName(purpose, epoch)
      const known = this.#keys.get(name)
      if (known !== undefined) return known
      if (!mayMake) return 'absent'
      const key = randomBytes(32)
      this.#keys.set(name, key)
      return key
    })
  }
}
