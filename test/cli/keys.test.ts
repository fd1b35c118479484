import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import t, { type Test } from 'tap'
import { register, type StatusReport } from '../../src/cli/keys.js'
import { MinimError } from '../../src/errors/catalogue.js'
import { loadMaster } from '../../src/keys/master.js'
import { KeyStore } from '../../src/keys/store.js'

delete process.env['MINIM_MASTER_KEY']

/** Runs a command; its output, or the code of its error. */
async function minim(...args: string[]): Promise<{ out: string; code: string | null; err: string }> {
  let out = ''
  let err = ''
  const program = new Command('minim').exitOverride().configureOutput({
    writeOut: (text) => {
      out += text
    },
    writeErr: (text) => {
      err += text
    },
  })
  register(program)
  try {
    await program.parseAsync(['keys', ...args], { from: 'user' })
    return { out, code: null, err }
  } catch (error) {
    if (error instanceof MinimError || error instanceof CommanderError)
      return { out, code: error.code, err: err + error.message }
    throw error
  }
}

function folder(t: Test): { store: string; master: string; at: (name: string) => string } {
  const path = t.testdir({})
  const at = (name: string): string => join(path, name)
  return { store: at('keys.json'), master: at('master'), at }
}

/** A folder with a store, a master key file and settings that name both. */
async function prepared(t: Test): Promise<{ store: string; master: string; config: string }> {
  const { store, master, at } = folder(t)
  const config = at('minim.yaml')
  writeFileSync(config, 'keys:\n  store: keys.json\n  master: { file: master }\n')
  t.equal((await minim('init', '--config', config, '--generate-master', master)).code, null)
  return { store, master, config }
}

t.test('init makes a master key and a store that fit each other', async (t) => {
  const { store, master, config } = await prepared(t)
  t.equal(statSync(master).mode & 0o777, 0o600)
  t.equal(statSync(store).mode & 0o777, 0o600)
  t.doesNotThrow(() => KeyStore.open(store, loadMaster({ file: master }, {})))
  const again = await minim('init', '--config', config)
  t.equal(again.code, 'MINIM_KEYS_STORE_EXISTS')
})

t.test('init says what it made, and shows no key', async (t) => {
  const { store, master } = folder(t)
  const { out, err } = await minim('init', '--store', store, '--generate-master', master)
  t.ok(out.includes(store) && out.includes(master))
  t.notOk((out + err).includes(readFileSync(master, 'utf8').trim()))
})

t.test('init without a master key tells how to get one', async (t) => {
  const { store } = folder(t)
  t.equal((await minim('init', '--store', store)).code, 'MINIM_KEYS_NO_MASTER')
  t.notOk(existsSync(store))
})

t.test('init never overwrites, and makes no master key in vain', async (t) => {
  const { store, master } = folder(t)
  writeFileSync(store, 'something')
  t.equal((await minim('init', '--store', store, '--generate-master', master)).code, 'MINIM_KEYS_STORE_EXISTS')
  t.notOk(existsSync(master))
  t.equal(readFileSync(store, 'utf8'), 'something')
  writeFileSync(master, 'something else')
  t.equal((await minim('init', '--store', `${store}2`, '--generate-master', master)).code, 'MINIM_KEYS_STORE_EXISTS')
  t.equal(readFileSync(master, 'utf8'), 'something else')
  t.notOk(existsSync(`${store}2`))
})

t.test('init does not generate a master key where another would be used', async (t) => {
  const { store, master, at } = folder(t)
  process.env['MINIM_MASTER_KEY'] = Buffer.from('a master key for tests, 32 bytes').toString('base64')
  try {
    t.equal((await minim('init', '--store', store, '--generate-master', master)).code, 'MINIM_KEYS_MASTER_SET')
    t.equal((await minim('init', '--store', store)).code, null)
  } finally {
    delete process.env['MINIM_MASTER_KEY']
  }
  const config = at('minim.yaml')
  writeFileSync(config, 'keys: { store: other.json, master: { exec: [fetch-key] } }\n')
  t.equal((await minim('init', '--config', config, '--generate-master', master)).code, 'MINIM_KEYS_MASTER_SET')
  t.notOk(existsSync(master))
})

t.test('status', async (t) => {
  const { store, master, config } = await prepared(t)
  t.match((await minim('status', '--config', config)).out, /master key: right\n\nno keys yet\n/)
  const now = Date.now()
  const keyStore = KeyStore.open(store, loadMaster({ file: master }, {}), { now: () => now })
  keyStore.ensureAhead([
    { id: 'billing', epoch: 'contract' },
    { id: 'fraud', epoch: 'year' },
  ])
  keyStore.keys('analytics', '2020')
  keyStore.destroy('fraud', '2021')
  const { out } = await minim('status', '--config', config, '--json')
  t.equal(out.trim().split('\n').length, 1)
  const report = JSON.parse(out) as StatusReport
  const time = new Date(now).toISOString()
  const year = new Date(now).getUTCFullYear()
  t.equal(report.store, store)
  t.equal(report.master, 'right')
  t.same(
    report.purposes.map(({ purpose }) => purpose),
    ['analytics', 'billing', 'fraud', 'minim.ledger', 'minim.quarantine', 'minim.spool'],
  )
  t.same(report.purposes[0], {
    purpose: 'analytics',
    epochs: [{ epoch: '2020', createdAt: time, destroyedAt: null }],
    next: { epoch: String(year + 1), made: false },
  })
  t.same(report.purposes[1], {
    purpose: 'billing',
    epochs: [{ epoch: 'contract', createdAt: time, destroyedAt: null }],
    next: null,
  })
  t.same(report.purposes[2], {
    purpose: 'fraud',
    epochs: [
      { epoch: '2021', createdAt: null, destroyedAt: time },
      { epoch: String(year), createdAt: time, destroyedAt: null },
      { epoch: String(year + 1), createdAt: time, destroyedAt: null },
    ],
    next: { epoch: String(year + 1), made: true },
  })
  const table = (await minim('status', '--config', config)).out
  t.match(table, /^purpose +epoch +created +destroyed$/m)
  t.match(table, new RegExp(`^analytics +${year + 1} \\(next\\) +not yet +-$`, 'm'))
  t.match(table, new RegExp(`^fraud +2021 +never +${time.replaceAll('.', '\\.')}$`, 'm'))
  for (const { wrapped } of (JSON.parse(readFileSync(store, 'utf8')) as { keys: { wrapped?: string }[] }).keys) {
    if (wrapped !== undefined) t.notOk((out + table).includes(wrapped), 'not even a wrapped key')
  }
})

t.test('status needs no master key, and says whether there is the right one', async (t) => {
  const { store } = await prepared(t)
  t.match(
    (await minim('status', '--store', store)).out,
    /^master key: MINIM_KEYS_NO_MASTER: there is no master key.*\n {2}→ set MINIM_MASTER_KEY/m,
  )
  t.match(JSON.parse((await minim('status', '--store', store, '--json')).out), { master: 'MINIM_KEYS_NO_MASTER' })
  process.env['MINIM_MASTER_KEY'] = Buffer.from('another master key of 32 bytes !').toString('base64')
  try {
    for (const option of ['--store', '--key-store']) {
      const wrong = await minim('status', option, store)
      t.match(wrong.out, /master key: MINIM_KEYS_WRONG_MASTER/)
      t.equal(wrong.code, 'MINIM_KEYS_WRONG_MASTER', 'which ends with 4')
    }
  } finally {
    delete process.env['MINIM_MASTER_KEY']
  }
  t.equal((await minim('status', '--store', `${store}.absent`)).code, 'MINIM_KEYS_NO_STORE')
})

t.test('destroy asks for --yes, and is final', async (t) => {
  const { store, master, config } = await prepared(t)
  const keyStore = KeyStore.open(store, loadMaster({ file: master }, {}), { refreshMs: 0 })
  t.type(keyStore.keys('billing', '2025'), 'object')
  t.equal((await minim('destroy', 'billing', '2025', '--config', config)).code, 'commander.missingMandatoryOptionValue')
  t.type(keyStore.keys('billing', '2025'), 'object')
  t.match((await minim('destroy', 'billing', '2025', '--yes', '--config', config)).out, /^destroyed: billing 2025\./)
  t.equal(keyStore.keys('billing', '2025'), 'destroyed')
  t.match((await minim('destroy', 'billing', '2025', '--yes', '--config', config)).out, /^was destroyed before/)
  t.equal((await minim('destroy', 'billing', 'soon', '--yes', '--config', config)).code, 'MINIM_KEYS_NO_EPOCH')
})

t.test('destroy takes no name that is none, and no running epoch by accident', async (t) => {
  const { store, master, config } = await prepared(t)
  const keyStore = KeyStore.open(store, loadMaster({ file: master }, {}), { refreshMs: 0 })
  keyStore.ensureAhead([
    { id: 'billing', epoch: 'contract' },
    { id: 'fraud', epoch: 'year' },
  ])
  const year = String(new Date().getUTCFullYear())
  const destroy = (...args: string[]): ReturnType<typeof minim> =>
    minim('destroy', ...args, '--yes', '--config', config)
  const misspelt = await destroy('biling', 'contract')
  t.equal(misspelt.code, 'MINIM_KEYS_UNKNOWN')
  t.match(misspelt.err, /did you mean billing\?/)
  t.equal((await destroy('fraud', '1999')).code, 'MINIM_KEYS_UNKNOWN', 'an epoch that never had a key')
  t.equal((await destroy('fraud', year.replace(/$/, '-Q1'))).code, 'MINIM_KEYS_UNKNOWN', 'an epoch of another length')
  for (const [purpose, epoch] of [
    ['fraud', year],
    ['fraud', String(Number(year) + 1)],
    ['billing', 'contract'],
  ]) {
    t.equal((await destroy(purpose, epoch)).code, 'MINIM_KEYS_RUNNING', `${purpose} ${epoch}`)
    t.type(keyStore.keys(purpose, epoch), 'object')
  }
  t.match((await destroy('fraud', year, '--running')).out, /^destroyed: fraud/)
  t.equal(keyStore.keys('fraud', year), 'destroyed')
  t.match((await destroy('fraud', year)).out, /^was destroyed before/, 'said without the second word')
  t.equal(
    (await destroy('minim.quarantine', new Date().toISOString().slice(0, 10), '--running')).code,
    'MINIM_KEYS_IN_USE',
    'whatever is said',
  )
  t.equal((await destroy('minim.ledger', 'contract', '--running')).code, 'MINIM_KEYS_NEVER')
  t.match((await minim('status', '--config', config)).out, /minim\.ledger +contract +\S+ +never will be/)
})

t.test('a mistake in the settings is told', async (t) => {
  const { at } = folder(t)
  writeFileSync(at('minim.yaml'), 'keys: { stoer: x }\n')
  t.equal((await minim('status', '--config', at('minim.yaml'))).code, 'MINIM_SETTINGS_INVALID')
})
