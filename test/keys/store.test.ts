import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { lockDescriptor, withFileLock } from '../../src/base/file-lock.js'
import { type ErrorCode, MinimError } from '../../src/errors/catalogue.js'
import { type EpochKeys, KEY_USES, type KeyAbsence, type KeyDomain } from '../../src/keys/keyring.js'
import { MasterKey } from '../../src/keys/master.js'
import { KeyStore, type KeyStoreOptions } from '../../src/keys/store.js'
import { spawn } from '../helpers/child-process.js'

const MASTER = new MasterKey(Buffer.from('a master key for tests, 32 bytes'), 'test')
const OTHER = new MasterKey(Buffer.from('another master key of 32 bytes !'), 'test')
const NOW = Date.parse('2026-11-24T10:00:00Z')

function create(t: Test): string {
  const path = join(t.testdir({}), 'keys.json')
  KeyStore.create(path, MASTER)
  return path
}

function open(path: string, options: KeyStoreOptions = {}): KeyStore {
  return KeyStore.open(path, MASTER, { now: () => NOW, refreshMs: 0, ...options })
}

/** The block key, as something that can be compared. */
function block(keys: EpochKeys | KeyAbsence): string {
  return typeof keys === 'string' ? keys : keys.block.toString('hex')
}

function refused(t: Test, code: ErrorCode, act: () => unknown, what?: RegExp): void {
  try {
    act()
  } catch (error) {
    t.ok(error instanceof MinimError, `refused with ${code}`)
    t.equal((error as MinimError).code, code)
    t.notMatch((error as MinimError).message, /\{\w+\}/, 'every place in the message is filled')
    if (what !== undefined) t.match((error as MinimError).message, what)
    return
  }
  t.fail(`not refused with ${code}`)
}

function edit(
  path: string,
  change: (file: Record<string, unknown> & { keys: Record<string, unknown>[] }) => void,
): void {
  const file = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown> & { keys: Record<string, unknown>[] }
  change(file)
  writeFileSync(path, JSON.stringify(file))
}

t.test('a new store is private, empty and never overwritten', async (t) => {
  const path = create(t)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.same(KeyStore.status(path), [])
  const before = readFileSync(path, 'utf8')
  refused(t, 'MINIM_KEYS_STORE_EXISTS', () => {
    KeyStore.create(path, MASTER)
  })
  writeFileSync(`${path}.other`, 'something else')
  refused(t, 'MINIM_KEYS_STORE_EXISTS', () => {
    KeyStore.create(`${path}.other`, MASTER)
  })
  t.equal(readFileSync(path, 'utf8'), before)
  t.equal(readFileSync(`${path}.other`, 'utf8'), 'something else')
})

t.test('a key is made once, and is the same for whoever asks, whenever', async (t) => {
  const path = create(t)
  const store = open(path)
  const first = block(store.keys('billing', '2026-Q4'))
  t.match(first, /^[0-9a-f]{64}$/)
  t.equal(store.keys('billing', '2026-Q4'), store.keys('billing', '2026-Q4'), 'cached')
  t.equal(block(open(path).keys('billing', '2026-Q4')), first)
  const others = [
    block(store.keys('billing', '2026-Q3')),
    block(store.keys('quality', '2026-Q4')),
    block(store.keys('billing', 'contract')),
  ]
  t.equal(new Set([first, ...others]).size, 4)
  t.same(
    KeyStore.status(path).map(({ purpose, epoch, createdAt, destroyedAt }) => [purpose, epoch, createdAt, destroyedAt]),
    [
      ['billing', '2026-Q3', '2026-11-24T10:00:00.000Z', null],
      ['billing', '2026-Q4', '2026-11-24T10:00:00.000Z', null],
      ['billing', 'contract', '2026-11-24T10:00:00.000Z', null],
      ['quality', '2026-Q4', '2026-11-24T10:00:00.000Z', null],
    ],
  )
})

t.test('stores do not share keys, though the master is the same', async (t) => {
  const path = create(t)
  const other = `${path}.other`
  KeyStore.create(other, MASTER)
  t.not(block(open(path).keys('billing', '2026')), block(open(other).keys('billing', '2026')))
  const salts = [path, other].map((file) => JSON.parse(readFileSync(file, 'utf8')) as { salt: string; check: string })
  t.not(salts[0].salt, salts[1].salt)
  t.not(salts[0].check, salts[1].check)
})

for (const { name, epoch, expected } of [
  { name: 'long past', epoch: '1999-12-31', expected: 'made' },
  { name: 'yesterday', epoch: '2026-11-23', expected: 'made' },
  { name: 'today', epoch: '2026-11-24', expected: 'made' },
  { name: 'tomorrow', epoch: '2026-11-25', expected: 'made' },
  { name: 'the day after', epoch: '2026-11-26', expected: 'absent' },
  { name: 'this month', epoch: '2026-11', expected: 'made' },
  { name: 'next month', epoch: '2026-12', expected: 'made' },
  { name: 'two months ahead', epoch: '2027-01', expected: 'absent' },
  { name: 'next quarter', epoch: '2027-Q1', expected: 'made' },
  { name: 'two quarters ahead', epoch: '2027-Q2', expected: 'absent' },
  { name: 'next year', epoch: '2027', expected: 'made' },
  { name: 'two years ahead', epoch: '2028', expected: 'absent' },
  { name: 'a contract', epoch: 'contract', expected: 'made' },
  { name: 'no epoch', epoch: '2026-Q9', expected: 'absent' },
  { name: 'nothing', epoch: '', expected: 'absent' },
]) {
  t.test(`which epochs may have a key: ${name}`, async (t) => {
    const path = create(t)
    const keys = open(path).keys('billing', epoch)
    t.equal(typeof keys === 'string' ? keys : 'made', expected)
    t.equal(KeyStore.status(path).length, expected === 'made' ? 1 : 0)
  })
}

t.test('absent becomes present when its time comes', async (t) => {
  let now = NOW
  const store = open(create(t), { now: () => now })
  t.equal(store.keys('fraud', '2027-Q2'), 'absent')
  now = Date.parse('2027-01-01T00:00:00Z')
  t.not(store.keys('fraud', '2027-Q2'), 'absent')
})

const DOMAINS: readonly KeyDomain[] = [
  { id: 'billing', epoch: 'contract' },
  { id: 'fraud', epoch: 'quarter' },
  { id: 'quality', epoch: 'day' },
]
const AHEAD = [
  'billing contract',
  'fraud 2026-Q4',
  'fraud 2027-Q1',
  'minim.ledger contract',
  'minim.quarantine 2026-11-24',
  'minim.quarantine 2026-11-25',
  'minim.spool 2026-11-24',
  'minim.spool 2026-11-25',
  'quality 2026-11-24',
  'quality 2026-11-25',
]
const names = (path: string): string[] => KeyStore.status(path).map(({ purpose, epoch }) => `${purpose} ${epoch}`)

t.test('keys are made ahead, once, in one write', async (t) => {
  const path = create(t)
  const store = open(path)
  store.ensureAhead(DOMAINS)
  t.same(names(path), AHEAD)
  const ino = statSync(path).ino
  const content = readFileSync(path, 'utf8')
  store.ensureAhead(DOMAINS)
  t.equal(statSync(path).ino, ino)
  t.equal(readFileSync(path, 'utf8'), content)
  store.ensureAhead(DOMAINS, NOW + 86_400_000)
  t.same(names(path).slice(-3), ['quality 2026-11-24', 'quality 2026-11-25', 'quality 2026-11-26'])
})

t.test('keys are kept ahead while time goes on, and a failure is told, not thrown', async (t) => {
  let now = NOW
  const path = create(t)
  const store = open(path, { now: () => now })
  const errors: unknown[] = []
  const stop = store.keepAhead(DOMAINS, (error) => errors.push(error), 5)
  t.teardown(stop)
  t.same(names(path), AHEAD)
  now += 86_400_000
  for (let turn = 0; turn < 400 && !names(path).includes('quality 2026-11-26'); turn++)
    await new Promise((resolve) => setTimeout(resolve, 5))
  t.ok(names(path).includes('quality 2026-11-26'))
  chmodSync(path, 0o644)
  for (let turn = 0; turn < 400 && errors.length === 0; turn++) await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal((errors[0] as MinimError).code, 'MINIM_KEYS_LOOSE_PERMISSIONS')
  stop()
})

t.test('a destroyed key stays destroyed, for everyone', async (t) => {
  const path = create(t)
  const store = open(path)
  const other = open(path)
  const key = block(store.keys('billing', '2026-Q3'))
  t.equal(block(other.keys('billing', '2026-Q3')), key)
  const wrapped = (JSON.parse(readFileSync(path, 'utf8')) as { keys: { wrapped: string }[] }).keys[0].wrapped
  t.equal(store.destroy('billing', '2026-Q3'), true)
  t.equal(store.keys('billing', '2026-Q3'), 'destroyed')
  t.equal(other.keys('billing', '2026-Q3'), 'destroyed', 'another process sees it')
  t.equal(open(path).keys('billing', '2026-Q3'), 'destroyed')
  t.equal(store.destroy('billing', '2026-Q3'), false)
  for (const name of readdirSync(join(path, '..')))
    t.notOk(readFileSync(join(path, '..', name), 'utf8').includes(wrapped), name)
  t.same(KeyStore.status(path), [
    {
      purpose: 'billing',
      epoch: '2026-Q3',
      createdAt: '2026-11-24T10:00:00.000Z',
      destroyedAt: '2026-11-24T10:00:00.000Z',
    },
  ])
  store.ensureAhead([{ id: 'billing', epoch: 'quarter' }], Date.parse('2026-08-01T00:00:00Z'))
  t.equal(store.keys('billing', '2026-Q3'), 'destroyed', 'not made again')
})

t.test('an epoch can be destroyed before its key was made', async (t) => {
  const path = create(t)
  const store = open(path)
  t.equal(store.destroy('fraud', '2020-Q1'), true)
  t.equal(store.keys('fraud', '2020-Q1'), 'destroyed')
  t.equal(KeyStore.status(path)[0].createdAt, null)
  t.equal(open(path).keys('fraud', '2020-Q1'), 'destroyed')
})

t.test('what cannot be destroyed', async (t) => {
  const path = create(t)
  const store = open(path)
  refused(t, 'MINIM_KEYS_NO_EPOCH', () => store.destroy('fraud', '2020-Q5'))
  refused(t, 'MINIM_KEYS_NO_EPOCH', () => store.destroy('fraud', '2030'))
  refused(t, 'MINIM_KEYS_IN_USE', () => store.destroy('minim.quarantine', '2026-11-24'))
  refused(t, 'MINIM_KEYS_IN_USE', () => store.destroy('minim.quarantine', '2026-11-25'))
  for (const epoch of ['contract', '2020', '2026-11-23'])
    refused(t, 'MINIM_KEYS_NEVER', () => store.destroy('minim.ledger', epoch))
  t.same(KeyStore.status(path), [])
  t.equal(store.destroy('minim.quarantine', '2026-11-23'), true)
  t.equal(typeof store.keys('minim.ledger', 'contract'), 'object', 'made when it is first asked for')
})

t.test('a running process looks for changes no more often than asked', async (t) => {
  const path = create(t)
  const store = open(path, { refreshMs: 3_600_000 })
  const key = block(store.keys('billing', '2026'))
  open(path).destroy('billing', '2026')
  t.equal(block(store.keys('billing', '2026')), key)
})

t.test('a wrong master key is refused', async (t) => {
  const path = create(t)
  refused(t, 'MINIM_KEYS_WRONG_MASTER', () => KeyStore.open(path, OTHER))
  open(path).keys('billing', '2026')
  refused(t, 'MINIM_KEYS_WRONG_MASTER', () => KeyStore.open(path, OTHER))
})

for (const mode of [0o644, 0o640, 0o660, 0o602]) {
  t.test(`a store of mode ${mode.toString(8)} is refused`, async (t) => {
    const path = create(t)
    const running = open(path)
    chmodSync(path, mode)
    refused(t, 'MINIM_KEYS_LOOSE_PERMISSIONS', () => open(path))
    refused(t, 'MINIM_KEYS_LOOSE_PERMISSIONS', () => running.keys('billing', '2026'))
    refused(t, 'MINIM_KEYS_LOOSE_PERMISSIONS', () => KeyStore.status(path))
  })
}

t.test('no store', async (t) => {
  refused(t, 'MINIM_KEYS_NO_STORE', () => open(join(t.testdir({}), 'absent')))
  refused(t, 'MINIM_KEYS_STORE_IO', () => {
    KeyStore.create(join(t.testdirName, 'no', 'folder'), MASTER)
  })
  const path = create(t)
  const store = open(path)
  store.keys('billing', '2026')
  renameSync(path, `${path}.away`)
  refused(t, 'MINIM_KEYS_NO_STORE', () => store.keys('billing', '2026'))
})

const DAMAGES: readonly { name: string; damage: (path: string) => void; what: RegExp }[] = [
  {
    name: 'empty',
    damage: (path) => {
      writeFileSync(path, '')
    },
    what: /empty/,
  },
  {
    name: 'cut off',
    damage: (path) => {
      writeFileSync(path, readFileSync(path, 'utf8').slice(0, -20))
    },
    what: /no JSON/,
  },
  {
    name: 'something else',
    damage: (path) => {
      writeFileSync(path, '{"a":1}')
    },
    what: /no key store/,
  },
  {
    name: 'a list',
    damage: (path) => {
      writeFileSync(path, '[]')
    },
    what: /no key store/,
  },
  {
    name: 'of a later format',
    damage: (path) => {
      edit(path, (file) => {
        file.minimKeyStore = 2
      })
    },
    what: /format is not 1/,
  },
  {
    name: 'without salt',
    damage: (path) => {
      edit(path, (file) => {
        delete file.salt
      })
    },
    what: /salt/,
  },
  {
    name: 'with a short check',
    damage: (path) => {
      edit(path, (file) => {
        file.check = 'AAAA'
      })
    },
    what: /check/,
  },
  {
    name: 'without keys',
    damage: (path) => {
      edit(path, (file) => {
        delete (file as { keys?: unknown }).keys
      })
    },
    what: /keys is no list/,
  },
  {
    name: 'with a key cut',
    damage: (path) => {
      edit(path, (file) => {
        file.keys[1].wrapped = 'AAAA'
      })
    },
    what: /keys\[1\] is damaged/,
  },
  {
    name: 'with an epoch that is none',
    damage: (path) => {
      edit(path, (file) => {
        file.keys[0].epoch = 'soon'
      })
    },
    what: /keys\[0\] is damaged/,
  },
  {
    name: 'with a key that is also destroyed',
    damage: (path) => {
      edit(path, (file) => {
        file.keys[0].destroyedAt = file.keys[0].createdAt
      })
    },
    what: /keys\[0\] is damaged/,
  },
  {
    name: 'with an entry twice',
    damage: (path) => {
      edit(path, (file) => {
        file.keys.push(file.keys[0])
      })
    },
    what: /keys\[2\] is there twice/,
  },
]
for (const { name, damage, what } of DAMAGES) {
  t.test(`a damaged store is refused: ${name}`, async (t) => {
    const path = create(t)
    const running = open(path)
    running.keys('billing', '2026')
    running.keys('quality', '2026')
    damage(path)
    refused(t, 'MINIM_KEYS_STORE_CORRUPT', () => open(path), what)
    refused(t, 'MINIM_KEYS_STORE_CORRUPT', () => running.keys('fraud', '2026'), what)
  })
}

const EXCHANGES: readonly { name: string; exchange: (keys: Record<string, unknown>[]) => void }[] = [
  {
    name: 'wrapped keys of two purposes',
    exchange: (keys) => {
      ;[keys[0].wrapped, keys[1].wrapped] = [keys[1].wrapped, keys[0].wrapped]
    },
  },
  {
    name: 'an epoch renamed',
    exchange: (keys) => {
      keys[0].epoch = '2025'
    },
  },
  {
    name: 'a bit of a key',
    exchange: (keys) => {
      const bytes = Buffer.from(keys[0].wrapped as string, 'base64')
      bytes[20] ^= 1
      keys[0].wrapped = bytes.toString('base64')
    },
  },
]
for (const { name, exchange } of EXCHANGES) {
  t.test(`what was exchanged by hand is refused: ${name}`, async (t) => {
    const path = create(t)
    const store = open(path)
    store.keys('billing', '2026')
    store.keys('quality', '2026')
    edit(path, (file) => {
      exchange(file.keys)
    })
    const [{ purpose, epoch }] = KeyStore.status(path)
    refused(t, 'MINIM_KEYS_STORE_CORRUPT', () => open(path).keys(purpose, epoch), /billing/)
  })
}

t.test('written whole: a crash leaves the old store, and its remains vanish', async (t) => {
  const path = create(t)
  const store = open(path)
  const key = block(store.keys('billing', '2026'))
  const remains = join(path, '..', '.keys.json.tmp')
  writeFileSync(remains, '{"minimKeyStore": 1, "ke', { mode: 0o644 })
  t.equal(block(open(path).keys('billing', '2026')), key)
  store.keys('billing', '2025')
  t.notOk(existsSync(remains))
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.same(readdirSync(join(path, '..')).sort(), ['keys.json', 'keys.json.lock'])
})

t.test('a store behind a symbolic link is replaced where it lies', async (t) => {
  const path = create(t)
  const link = join(path, '..', 'link.json')
  symlinkSync(path, link)
  const store = open(link)
  store.keys('billing', '2026')
  t.same(names(path), ['billing 2026'])
  t.same(names(link), ['billing 2026'])
})

t.test('the lock keeps others out, and ends with its holder', async (t) => {
  const path = create(t)
  withFileLock(path, () => {
    refused(t, 'MINIM_KEYS_LOCKED', () => {
      withFileLock(path, () => {}, 50)
    })
  })
  t.equal(
    withFileLock(path, () => 7, 50),
    7,
  )
  t.throws(
    () =>
      withFileLock(path, () => {
        throw new Error('within')
      }),
    /within/,
  )
  t.equal(
    withFileLock(path, () => 8, 50),
    8,
  )
})

t.test('either program locks, and each other out', async (t) => {
  const file = `${create(t)}.other`
  for (const [first, second] of [
    ['flock', 'perl'],
    ['perl', 'flock'],
    ['perl', 'perl'],
  ]) {
    const [held, other] = [openSync(file, 'a'), openSync(file, 'a')]
    t.equal(lockDescriptor(held, 0, [first]), true, `${first} locks`)
    t.equal(lockDescriptor(other, 0, [second]), false, `${second} finds it locked`)
    t.equal(lockDescriptor(other, 100, [second]), false, 'and waits no longer than it is told to')
    closeSync(held)
    t.equal(lockDescriptor(other, 1_000, [second]), true, 'the lock ends with its descriptor')
    closeSync(other)
  }
  const held = openSync(file, 'a')
  t.equal(lockDescriptor(held, 0, []), 'ENOENT', 'neither is there')
  closeSync(held)
})

t.test('processes that share a store never make two keys for one epoch', async (t) => {
  const path = create(t)
  const script = fileURLToPath(new URL('../helpers/key-asker.js', import.meta.url))
  const epochs = Array.from({ length: 12 }, (_, at) => `2025-${String(at + 1).padStart(2, '0')}`)
  const askers = Array.from({ length: 4 }, () =>
    spawn(process.execPath, [script, path, ...epochs], { stdio: ['pipe', 'pipe', 'inherit'] }),
  )
  t.teardown(() => {
    for (const asker of askers) asker.kill()
  })
  const outputs = askers.map(
    (asker) =>
      new Promise<string>((resolve) => {
        let text = ''
        asker.stdout.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        asker.on('close', () => {
          resolve(text)
        })
      }),
  )
  await Promise.all(
    askers.map(
      (asker) =>
        new Promise((resolve) => {
          asker.stdout.once('data', resolve)
        }),
    ),
  )
  // All are ready: off they go together.
  for (const asker of askers) asker.stdin.end('go\n')
  const answers = (await Promise.all(outputs)).map((text) => text.split('\n').slice(1).join('\n'))
  t.equal(answers[0].trim().split('\n').length, epochs.length)
  for (const answer of answers) t.equal(answer, answers[0])
  const store = open(path)
  t.equal(epochs.map((epoch) => `${epoch} ${block(store.keys('billing', epoch))}\n`).join(''), answers[0])
  t.equal(names(path).length, epochs.length)
})

t.test('neither the store nor its file shows a key', async (t) => {
  const path = create(t)
  const store = open(path)
  const keys = store.keys('billing', '2026') as EpochKeys
  const shown = [
    inspect(store, { depth: 9, showHidden: true }),
    inspect(store, { customInspect: false, depth: 9, showHidden: true }),
    JSON.stringify({ store }),
    JSON.stringify(store.status()),
    readFileSync(path, 'utf8'),
  ].join('\n')
  for (const use of KEY_USES) {
    t.notOk(shown.includes(keys[use].toString('hex', 0, 8)))
    t.notOk(shown.includes(keys[use].toString('base64').slice(0, 10)))
  }
  t.notOk(shown.includes('a master key'))
  t.notMatch(shown, /<Buffer/)
  t.match(inspect(store), /^\[key store .*keys\.json\]$/)
})
