/**
 * One installation for each spool folder: a lock that the kernel drops with its last holder, so that nothing is left
 * behind by SIGKILL.
 *
 * Of several workers the supervisor takes it, and they inherit it: also when the supervisor dies, nobody else begins
 * while one of them still writes. Whoever only reads (`minim keys`) does not ask for it.
 */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { lockDescriptor } from '../base/file-lock.js'
import { errorCode } from '../base/system-error.js'
import { MinimError } from '../errors/catalogue.js'

/** For one that was just killed, and is not gone yet. */
const WAIT_MS = 1_000

export interface SpoolLock {
  readonly descriptor: number
  release(): void
}

/** Whether something may have been left in a folder. */
export function holdsSpool(path: string): boolean {
  return existsSync(join(path, 'data.mdb'))
}

/**
 * Takes a folder, making it where there is none.
 * @throws MinimError MINIM_SPOOL_LOCKED; MINIM_SPOOL_OPEN
 */
export function lockSpool(path: string, waitMs: number = WAIT_MS): SpoolLock {
  let descriptor: number
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    chmodSync(path, 0o700)
    // It stays: to unlink it would let two hold it.
    descriptor = openSync(join(path, 'minim.lock'), 'a', 0o600)
  } catch (error) {
    throw new MinimError('MINIM_SPOOL_OPEN', { path, what: errorCode(error) })
  }
  const locked = lockDescriptor(descriptor, waitMs)
  if (locked !== true) {
    closeSync(descriptor)
    throw locked === false
      ? new MinimError('MINIM_SPOOL_LOCKED', { path })
      : new MinimError('MINIM_SPOOL_OPEN', { path, what: `flock cannot be run: ${locked}` })
  }
  let held = true
  return {
    descriptor,
    release: () => {
      if (held) closeSync(descriptor)
      held = false
    },
  }
}
