/**
 * A process that puts into a spool until it is killed, and says what was acknowledged: one number a line, written at
 * once. Arguments: folder, store, worker, first number. The master key is in MINIM_MASTER_KEY. Every number is its
 * sender's id too.
 */
import { writeSync } from 'node:fs'
import { loadMaster } from '../../src/keys/master.js'
import { KeyStore } from '../../src/keys/store.js'
import { Spool } from '../../src/spool/spool.js'

const [, , path, store, worker, first] = process.argv as [string, string, string, string, string, string]
const spool = Spool.open({
  path,
  maxBytes: 1 << 30,
  rememberHours: 24,
  keyring: KeyStore.open(store, loadMaster(null)),
  worker: Number(worker),
})
let next = Number(first)
for (let caller = 0; caller < 8; caller++) {
  void (async () => {
    for (;;) {
      const number = next++
      const outcome = await spool.put({
        source: 'http',
        format: 'protobuf',
        tenant: 'acme',
        bytes: Buffer.from(`${number}`.padEnd(40 + (number % 500))),
        id: `id ${number}`,
      })
      writeSync(1, `${outcome} ${number}\n`)
    }
  })()
}
