import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { type ErrorCode, MinimError } from '../../src/errors/catalogue.js'
import { loadMaster, MasterKey, type MasterSettings, newMasterText, throwawayMaster } from '../../src/keys/master.js'

const BYTES = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff', 'hex')
const TEXT = BYTES.toString('base64')

function proof(master: MasterKey): string {
  return master.derive('test', Buffer.alloc(0), 16).toString('hex')
}
const PROOF = proof(new MasterKey(BYTES, 'test'))

function file(t: Tap, name: string, content: string | Uint8Array, mode: number): string {
  const path = join(t.testdir(), name)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}
type Tap = Test

/** The code, and that no part of the key and of what the command said shows. */
function refused(t: Tap, code: ErrorCode, load: () => unknown): MinimError {
  let caught: unknown = null
  try {
    load()
  } catch (error) {
    caught = error
  }
  t.ok(caught instanceof MinimError, `refused with ${code}`)
  const error = caught as MinimError
  t.equal(error.code, code)
  t.notMatch(error.message, /\{\w+\}/, 'every place in the message is filled')
  const shown = inspect(error, { depth: 9, showHidden: true }) + JSON.stringify(error) + inspect(error.cause)
  t.notMatch(shown, /AAECAwQFBgcI|canary/)
  return error
}

t.test('MINIM_MASTER_KEY', async (t) => {
  t.equal(proof(loadMaster(null, { MINIM_MASTER_KEY: TEXT })), PROOF)
  t.equal(proof(loadMaster(null, { MINIM_MASTER_KEY: `${TEXT}\n` })), PROOF)
  t.equal(loadMaster(null, { MINIM_MASTER_KEY: TEXT }).source, 'MINIM_MASTER_KEY')
})

t.test('the environment comes before the settings', async (t) => {
  t.equal(proof(loadMaster({ file: '/nowhere/at/all' }, { MINIM_MASTER_KEY: TEXT })), PROOF)
})

for (const { name, env } of [
  { name: 'nothing', env: {} },
  { name: 'an empty variable', env: { MINIM_MASTER_KEY: '' } },
]) {
  t.test(`keyless start is refused: ${name}`, async (t) => {
    refused(t, 'MINIM_KEYS_NO_MASTER', () => loadMaster(null, env))
    refused(t, 'MINIM_KEYS_NO_MASTER', () => loadMaster(undefined, env))
  })
}

const BAD: readonly { name: string; text: string; what: string }[] = [
  { name: 'too short', text: BYTES.subarray(0, 31).toString('base64'), what: '31 bytes' },
  { name: 'too long', text: Buffer.concat([BYTES, Buffer.alloc(1)]).toString('base64'), what: '33 bytes' },
  { name: 'hexadecimal', text: BYTES.toString('hex'), what: '48 bytes' },
  { name: 'without its padding', text: TEXT.slice(0, -1), what: 'base64 that is cut or padded wrongly' },
  { name: 'base64url', text: Buffer.alloc(32, '~?').toString('base64url'), what: 'no base64' },
  {
    name: 'a stray character, which Node would skip',
    text: `${TEXT.slice(0, 20)}!${TEXT.slice(20)}`,
    what: 'no base64',
  },
  { name: 'a line break within', text: `${TEXT.slice(0, 20)}\n${TEXT.slice(20)}`, what: 'no base64' },
  { name: 'bits beyond its end', text: `${TEXT.slice(0, -2)}9=`, what: 'base64 that is cut or padded wrongly' },
  { name: 'white space only', text: ' \n', what: 'nothing' },
  { name: 'zeros', text: Buffer.alloc(32).toString('base64'), what: 'one byte repeated' },
]
for (const { name, text, what } of BAD) {
  t.test(`strict: ${name}`, async (t) => {
    const error = refused(t, 'MINIM_KEYS_BAD_MASTER', () => loadMaster(null, { MINIM_MASTER_KEY: text }))
    t.ok(error.message.endsWith(what), error.message)
  })
}

t.test('a file', async (t) => {
  for (const mode of [0o600, 0o400])
    t.equal(proof(loadMaster({ file: file(t, 'master', `${TEXT}\n`, mode) }, {})), PROOF)
})

t.test('a file that newMasterText fills', async (t) => {
  t.not(newMasterText(), newMasterText())
  t.doesNotThrow(() => loadMaster({ file: file(t, 'master', newMasterText(), 0o600) }, {}))
})

for (const mode of [0o644, 0o640, 0o604, 0o660, 0o620, 0o610]) {
  t.test(`a file of mode ${mode.toString(8)} is refused`, async (t) => {
    const error = refused(t, 'MINIM_KEYS_LOOSE_PERMISSIONS', () =>
      loadMaster({ file: file(t, 'master', TEXT, mode) }, {}),
    )
    t.match(error.message, mode.toString(8))
  })
}

t.test('files that are none', async (t) => {
  const folder = t.testdir()
  refused(t, 'MINIM_KEYS_MASTER_FILE', () => loadMaster({ file: join(folder, 'absent') }, {}))
  mkdirSync(join(folder, 'folder'), { mode: 0o700 })
  refused(t, 'MINIM_KEYS_MASTER_FILE', () => loadMaster({ file: join(folder, 'folder') }, {}))
  refused(t, 'MINIM_KEYS_BAD_MASTER', () => loadMaster({ file: file(t, 'raw', BYTES, 0o600) }, {}))
  refused(t, 'MINIM_KEYS_BAD_MASTER', () => loadMaster({ file: file(t, 'empty', '', 0o600) }, {}))
})

const node = (script: string, ...args: string[]): MasterSettings => ({
  exec: [process.execPath, '-e', script, ...args],
})

t.test('a command', async (t) => {
  t.equal(proof(loadMaster(node(`console.error('canary'); console.log('${TEXT}')`), {})), PROOF)
})

t.test('a command is run without a shell, and without the variable of the key', async (t) => {
  t.equal(
    proof(
      loadMaster(node(`if (process.argv[1] === '$HOME; exit 3') console.log('${TEXT}')`, '$HOME; exit 3'), {
        HOME: '/',
      }),
    ),
    PROOF,
  )
  t.equal(
    proof(
      loadMaster(node(`if (!('MINIM_MASTER_KEY' in process.env)) console.log('${TEXT}')`), { MINIM_MASTER_KEY: '' }),
    ),
    PROOF,
  )
})

const COMMANDS: readonly {
  name: string
  settings: MasterSettings
  code: ErrorCode
  message: RegExp
  timeoutMs?: number
}[] = [
  {
    name: 'fails',
    settings: node(`console.error('canary'); console.log('${TEXT}'); process.exitCode = 3`),
    code: 'MINIM_KEYS_MASTER_COMMAND',
    message: /exit code 3/,
  },
  {
    name: 'dies',
    settings: node(`process.stdout.write('${TEXT}'); process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 9000)`),
    code: 'MINIM_KEYS_MASTER_COMMAND',
    message: /signal SIGTERM/,
  },
  {
    name: 'hangs',
    settings: node('setTimeout(() => {}, 60_000)'),
    code: 'MINIM_KEYS_MASTER_COMMAND',
    message: /ETIMEDOUT/,
    timeoutMs: 300,
  },
  {
    name: 'says too much',
    settings: node('process.stdout.write("canary".repeat(10_000))'),
    code: 'MINIM_KEYS_MASTER_COMMAND',
    message: /ENOBUFS/,
  },
  { name: 'is not there', settings: { exec: ['/nowhere/kms'] }, code: 'MINIM_KEYS_MASTER_COMMAND', message: /ENOENT/ },
  {
    name: 'prints no key',
    settings: node('console.log("canary")'),
    code: 'MINIM_KEYS_BAD_MASTER',
    message: /base64|bytes/,
  },
  { name: 'prints nothing', settings: node(''), code: 'MINIM_KEYS_BAD_MASTER', message: /nothing/ },
]
for (const { name, settings, code, message, timeoutMs } of COMMANDS) {
  t.test(`a command that ${name}`, async (t) => {
    const error = refused(t, code, () => loadMaster(settings, {}, timeoutMs))
    t.match(error.message, message)
  })
}

t.test('shows no key', async (t) => {
  const master = new MasterKey(BYTES, 'test')
  t.equal(JSON.stringify({ master }), '{"master":"[master key from test]"}')
  t.equal(inspect(master, { showHidden: true }), '[master key from test]')
  t.notMatch(inspect(master, { customInspect: false, showHidden: true, getters: true }), /00 01 02|<Buffer/)
})

t.test('derived keys differ by use and salt', async (t) => {
  const master = new MasterKey(BYTES, 'test')
  const made = [
    master.derive('a', Buffer.alloc(1), 32),
    master.derive('b', Buffer.alloc(1), 32),
    master.derive('a', Buffer.alloc(2, 1), 32),
    throwawayMaster().derive('a', Buffer.alloc(1), 32),
    loadMaster(null, { MINIM_MASTER_KEY: Buffer.from('another master key of 32 bytes !').toString('base64') }).derive(
      'a',
      Buffer.alloc(1),
      32,
    ),
  ]
  t.equal(new Set(made.map((key) => key.toString('hex'))).size, made.length)
})
