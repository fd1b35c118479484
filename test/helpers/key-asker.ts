/** A process of its own that asks a key store for keys, when its standard input ends: `key-asker STORE EPOCH…`. */
import { MasterKey } from '../../src/keys/master.js'
import { KeyStore } from '../../src/keys/store.js'

const [path, ...epochs] = process.argv.slice(2)
const store = KeyStore.open(path, new MasterKey(Buffer.from('a master key for tests, 32 bytes'), 'test'))
process.stdout.write('ready\n')
process.stdin.resume().on('end', () => {
  for (const epoch of epochs) {
    const keys = store.keys('billing', epoch)
    process.stdout.write(`${epoch} ${typeof keys === 'string' ? keys : keys.block.toString('hex')}\n`)
  }
})
