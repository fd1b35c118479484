/** `minim keys destroy` and what is in the spool: nothing that was acknowledged is made unreadable by accident. */
import { Command } from 'commander'
import t from 'tap'
import { register } from '../../src/cli/keys.js'
import { MinimError } from '../../src/errors/catalogue.js'
import { epochId } from '../../src/keys/epochs.js'
import { blocksOfDay } from '../../src/spool/lmdb-store.js'
import { Spool } from '../../src/spool/spool.js'
import { Place } from '../e2e/program.js'
import { RecordingIntake } from '../helpers/spool-intake.js'

t.test("a day's key is kept while a block needs it", async (t) => {
  const place = new Place(t)
  place.makeStore()
  const config = place.settings({ spool: { path: 'spool' }, keys: { store: 'minim-keys.json' } })
  process.env['MINIM_MASTER_KEY'] = place.master
  const destroy = async (epoch: string): Promise<string> => {
    let out = ''
    const program = new Command('minim').exitOverride().configureOutput({
      writeOut: (text) => {
        out += text
      },
    })
    register(program)
    return program
      .parseAsync(['keys', 'destroy', 'minim.spool', epoch, '--yes', '--config', config], { from: 'user' })
      .then(
        () => out,
        (error: unknown) => {
          if (error instanceof MinimError) return error.code
          throw error
        },
      )
  }
  const yesterday = Date.now() - 86_400_000
  const day = epochId('day', yesterday)
  const options = { path: place.path('spool'), maxBytes: 1 << 24, rememberHours: 1, keyring: place.openStore() }
  options.keyring.ensureAhead([])
  const spool = Spool.open({ ...options, now: () => yesterday })
  await spool.put({ source: 'http', format: 'protobuf', tenant: 'default', bytes: Buffer.from('x') })
  // While a proxy has the folder open, and when it has not.
  t.equal(await blocksOfDay(options.path, day), 1)
  t.equal(await destroy(day), 'MINIM_SPOOL_KEY_NEEDED')
  await spool.close()
  t.equal(await destroy(day), 'MINIM_SPOOL_KEY_NEEDED')
  t.equal(await destroy(epochId('day', Date.now())), 'MINIM_KEYS_IN_USE', 'of a day that is not over')

  const again = Spool.open(options)
  const intake = new RecordingIntake()
  again.start(intake, intake.readers)
  await intake.until(1)
  await again.close()
  t.equal(await blocksOfDay(options.path, day), 0)
  t.match(await destroy(day), /^destroyed: minim.spool/)
})

t.test('destroyed all the same, from elsewhere: said, and the others go on', async (t) => {
  const place = new Place(t)
  place.makeStore()
  const yesterday = Date.now() - 86_400_000
  const store = place.openStore()
  const options = { path: place.path('spool'), maxBytes: 1 << 24, rememberHours: 1, keyring: store }
  const before = Spool.open({ ...options, now: () => yesterday })
  await before.put({ source: 'http', format: 'protobuf', tenant: 'default', bytes: Buffer.from('lost'), id: 'one' })
  await before.close()
  store.destroy('minim.spool', epochId('day', yesterday))
  const troubles: MinimError[] = []
  const spool = Spool.open({
    ...options,
    onTrouble: (error) => {
      troubles.push(error)
    },
  })
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  t.equal(
    await spool.put({ source: 'http', format: 'protobuf', tenant: 'default', bytes: Buffer.from('new'), id: 'one' }),
    'stored',
  )
  await intake.until(1)
  t.same(
    intake.committed.map(({ text }) => text),
    ['new'],
  )
  t.same(
    troubles.map(({ code }) => code),
    ['MINIM_SPOOL_DAMAGED'],
  )
  await spool.close()
})
