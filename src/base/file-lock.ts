/**
 * A lock between processes that the kernel drops with its holder: `flock(2)` on a file next to the one guarded.
 *
 * Node has no `flock`, and a lock file made with O_EXCL needs a rule for when it is stale, which two waiters can both
 * apply. `flock(1)` (util-linux, essential on Debian and Ubuntu) locks the open file that it inherits, and this process
 * goes on holding it. Where there is none (macOS), Perl does the same.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { MinimError } from '../errors/catalogue.js'
import { errorCode } from './system-error.js'

/** How long to wait for another process: a write takes milliseconds. */
const LOCK_TIMEOUT_MS = 10_000

/** A timer that is over ends the waiting program, with another code than 0. */
const PERL =
  'use Fcntl ":flock"; $SIG{ALRM} = sub { exit 1 }; open(my $f, ">>&=", 3) or exit 2;' +
  ' if ($ARGV[0] > 0) { alarm($ARGV[0] < 1 ? 1 : $ARGV[0]); exit(flock($f, LOCK_EX) ? 0 : 1) } exit(flock($f, LOCK_EX | LOCK_NB) ? 0 : 1)'

const WAYS: readonly (readonly [program: string, args: (seconds: string) => string[]])[] = [
  ['flock', (seconds) => ['-x', '-w', seconds, '3']],
  ['perl', (seconds) => ['-e', PERL, seconds]],
]

/**
 * Locks an open file for this process, and for whoever inherits the descriptor: the lock ends with the last of them,
 * however they end.
 * @returns whether it is locked, or an error's code when no program is there that can lock it
 */
export function lockDescriptor(
  fd: number,
  waitMs: number,
  ways: readonly string[] = WAYS.map(([program]) => program),
): boolean | string {
  let code = 'ENOENT'
  for (const [program, args] of WAYS) {
    if (!ways.includes(program)) continue
    const run = spawnSync(program, args(String(waitMs / 1000)), {
      stdio: ['ignore', 'ignore', 'ignore', fd],
      shell: false,
    })
    if (run.error === undefined) return run.status === 0
    code = errorCode(run.error)
  }
  return code
}

/**
 * Runs `critical` while no other process holds the lock of `path`. The lock file stays: to unlink it would split the
 * lock in two.
 */
export function withFileLock<T>(path: string, critical: () => T, timeoutMs: number = LOCK_TIMEOUT_MS): T {
  const lockPath = `${path}.lock`
  let fd: number
  try {
    fd = openSync(lockPath, 'a', 0o600)
  } catch (error) {
    throw new MinimError('MINIM_KEYS_STORE_IO', { path: lockPath, what: errorCode(error) })
  }
  try {
    const locked = lockDescriptor(fd, timeoutMs)
    if (typeof locked === 'string') throw new MinimError('MINIM_KEYS_NO_FLOCK', { what: locked })
    if (!locked) throw new MinimError('MINIM_KEYS_LOCKED', { path: lockPath, seconds: timeoutMs / 1000 })
    return critical()
  } finally {
    closeSync(fd)
  }
}
