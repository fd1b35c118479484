/**
 * A lock between processes that the kernel drops with its holder: `flock(2)` on a file next to the one guarded.
 *
 * Node has no `flock`, and a lock file made with O_EXCL needs a rule for when it is stale, which two waiters can both apply.
 * `flock(1)` (util-linux, essential on Debian and Ubuntu) locks the open file that it inherits, and this process goes on holding it.
 */
import { closeSync, openSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { MinimError } from '../errors/catalogue.js'
import { errorCode } from './master.js'

/** How long to wait for another process: a write takes milliseconds. */
export const LOCK_TIMEOUT_MS = 10_000

/** Runs `critical` while no other process holds the lock of `path`. The lock file stays: to unlink it would split the lock in two. */
export function withFileLock<T>(path: string, critical: () => T, timeoutMs: number = LOCK_TIMEOUT_MS): T {
  const lockPath = `${path}.lock`
  let fd: number
  try {
    fd = openSync(lockPath, 'a', 0o600)
  } catch (error) {
    throw new MinimError('MINIM_KEYS_STORE_IO', { path: lockPath, what: errorCode(error) })
  }
  try {
    const run = spawnSync('flock', ['-x', '-w', String(timeoutMs / 1000), '3'], { stdio: ['ignore', 'ignore', 'ignore', fd], shell: false })
    if (run.error !== undefined) throw new MinimError('MINIM_KEYS_NO_FLOCK', { what: errorCode(run.error) })
    if (run.status !== 0) throw new MinimError('MINIM_KEYS_LOCKED', { path: lockPath, seconds: timeoutMs / 1000 })
    return critical()
  } finally {
    closeSync(fd)
  }
}
