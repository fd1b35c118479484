/**
 * A process that puts into a spool as fast as it can, and ends in the middle of it. Arguments: folder, how.
 *
 *   exit     `process.exit`, and nobody watches: what the others must not be
 *   now      the spool is left open
 *   closed   in order
 *   watched  `process.exit` in the middle, with a watcher
 *   lock     holds LMDB's lock for ever, and puts nothing
 */
import process from 'node:process'
import { open } from 'lmdb'
import { endProcess, exitNow, watchEnd } from '../../src/cli/end.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { createLog } from '../../src/ops/log.js'
import { Spool } from '../../src/spool/spool.js'

const [, , path, how] = process.argv as [string, string, string, string]
if (how === 'lock') {
  const root = open({ path, noSubdir: false, maxDbs: 140 })
  root.transactionSync(() => {
    process.stdout.write('locked\n')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })
}
const spool = Spool.open({ path, maxBytes: 1 << 28, rememberHours: 1, keyring: throwawayKeyring() })
const bytes = Buffer.alloc(200)
let told = false
for (let sender = 0; sender < 16; sender++) {
  void (async () => {
    for (;;) {
      await spool.put({ source: 'http', format: 'protobuf', tenant: 'default', bytes, id: null })
      if (!told) process.stdout.write('put\n')
      told = true
    }
  })().catch(() => undefined)
}
process.stdin.once('data', () => {
  setTimeout(() => {
    if (how === 'exit') process.exit(7)
    if (how === 'now') exitNow(7)
    if (how === 'closed')
      void endProcess(
        () => 7,
        () => spool.close(1_500),
        0,
        createLog('info'),
      )
    if (how === 'watched') {
      watchEnd(1_000)
      setTimeout(() => process.exit(7), 300)
    }
  }, Math.random() * 50)
})
