/** What SIGHUP does where there is no policy to read anew: nothing, and it says so. */
import process from 'node:process'
import type { Logger } from '../flow/log.js'

/**
 * Many programs read their settings anew at SIGHUP, and logrotate and operators send it for that. Node.js would end the
 * process at it without a word, with what it had under way.
 */
export function ignoreHangUp(log: Logger): void {
  process.on('SIGHUP', () => {
    log.warn(
      { signal: 'SIGHUP' },
      'ignored: settings are read at the start only; to have them read anew, end minim with SIGTERM and start it',
    )
  })
}
