/**
 * How the proxy's process ends: what is open is closed in order, in bounded time, and then it ends whatever else hangs.
 *
 * `process.exit` runs C++ destructors and joins libuv's threads. LMDB's waits for JavaScript in the middle of a
 * transaction, so while the spool is open `process.exit` may never return; a thread that waits for a disk, or for a
 * name server, holds it up as well. So the spool is closed first; where that does not come to its end, the process
 * kills itself, which loses its exit code and nothing else: what was acknowledged is on disk or in Kafka. And since
 * nothing here can run once `process.exit` hangs, a process of its own watches the end.
 */
import { spawn } from 'node:child_process'
import process from 'node:process'
import type { Logger } from '../flow/log.js'
import { mayExit } from '../spool/open.js'

/** Closing takes less: each of its parts has a limit of its own (`app/app.ts`). */
export const CLOSE_MS = 8_000
/** From then on only the watcher is left to end it. */
const SLACK_MS = 2_000

/** In how much time a process is gone that was told to end, and may drain for so long. docs/delivery.md says so too. */
export function endLimitMs(drainMs: number): number {
  return drainMs + CLOSE_MS + SLACK_MS
}

/** Its standard input ends with the process that it watches, however that ends. */
const WATCHER = `
const [pid, ms] = process.argv.slice(1).map(Number)
process.stdin.on('error', () => process.exit()).on('end', () => process.exit()).resume()
setTimeout(() => { try { process.kill(pid, 'SIGKILL') } catch {} process.exit() }, ms)
`

/**
 * Kills this process after a time, unless it has ended. Without it (no memory, no more processes) the rest still holds.
 */
export function watchEnd(limitMs: number): void {
  try {
    const watcher = spawn(process.execPath, ['-e', WATCHER, String(process.pid), String(limitMs)], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      env: {},
    })
    watcher.on('error', () => undefined)
    watcher.stdin.on('error', () => undefined)
    watcher.unref()
  } catch {
    // As above.
  }
}

/** Ends the process: with a code, or, if the spool is still open, by SIGKILL. */
export function exitNow(code: number): never {
  // The first process of a container cannot kill itself: for that one, what is left is worth trying.
  if (!mayExit()) process.kill(process.pid, 'SIGKILL')
  process.exit(code)
}

/**
 * Closes what is open and ends the process.
 * @param code asked for at the very end: what goes wrong meanwhile may change it
 */
export async function endProcess(
  code: () => number,
  close: () => Promise<unknown>,
  drainMs: number,
  log: Logger,
): Promise<never> {
  watchEnd(endLimitMs(drainMs))
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => {
      resolve('late')
    }, drainMs + CLOSE_MS)
  })
  const outcome = await Promise.race([
    close().then(
      () => 'closed',
      (error: unknown) => error,
    ),
    late,
  ])
  clearTimeout(timer)
  if (outcome === 'closed' && mayExit()) log.info('stopped')
  else if (outcome === 'closed' || outcome === 'late')
    log.warn({ code: code() }, 'not all that was open could be closed in time: it is given up')
  else log.error({ err: outcome }, 'closing failed')
  return exitNow(code())
}
