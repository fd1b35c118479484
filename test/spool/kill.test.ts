/** The spool and SIGKILL: what was acknowledged is there once, whatever the moment; what was not, once at most. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MasterKey } from '../../src/keys/master.js'
import { KeyStore } from '../../src/keys/store.js'
import { Spool } from '../../src/spool/spool.js'
import { spawn } from '../helpers/child-process.js'
import { RecordingIntake } from '../helpers/spool-intake.js'

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url))
const ROUNDS = Number(process.env['MINIM_KILL_ROUNDS'] ?? 6)

t.test(`killed ${ROUNDS} times, two processes at once`, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'minim-spool-kill-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  const master = randomBytes(32).toString('base64')
  const store = join(folder, 'keys.json')
  const path = join(folder, 'spool')
  KeyStore.create(store, new MasterKey(Buffer.from(master, 'base64'), 'test'))

  const acknowledged: [Set<number>, Set<number>] = [new Set(), new Set()]
  /** Runs a worker until it has said so much, and kills it. */
  const run = (worker: 0 | 1, first: number, after: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [CHILD, path, store, String(worker), String(first)], {
        env: { ...process.env, MINIM_MASTER_KEY: master },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let said = 0
      let rest = ''
      child.stdout.setEncoding('latin1').on('data', (text: string) => {
        const lines = (rest + text).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          const [outcome, number] = line.split(' ')
          if (outcome !== 'stored') reject(new Error(`number ${number} was ${outcome}`))
          acknowledged[worker].add(Number(number))
          if (++said === after) child.kill('SIGKILL')
        }
      })
      child.on('error', reject)
      child.on('close', (code, signal) => {
        if (signal === 'SIGKILL') resolve()
        else reject(new Error(`the child ended by itself: ${code}`))
      })
    })
  for (let round = 0; round < ROUNDS; round++) {
    const after = 1 + Math.floor(Math.random() * 400)
    await Promise.all([
      run(0, round * 1_000_000, after),
      run(1, 500_000 + round * 1_000_000, 1 + Math.floor(Math.random() * 400)),
    ])
  }

  const keyring = KeyStore.open(store, new MasterKey(Buffer.from(master, 'base64'), 'test'))
  for (const worker of [0, 1] as const) {
    const spool = Spool.open({
      path,
      maxBytes: 1 << 30,
      rememberHours: 24,
      keyring,
      worker,
      onTrouble: (error) => {
        t.error(error)
      },
    })
    const intake = new RecordingIntake()
    spool.start(intake, intake.readers)
    await spool.put({ source: 'http', format: 'protobuf', tenant: 'acme', bytes: Buffer.from('last') })
    while (intake.committed.at(-1)?.text !== 'last') await new Promise((resolve) => setTimeout(resolve, 5))
    const numbers = intake.committed.slice(0, -1).map(({ text }) => Number(text))
    const found = new Set(numbers)
    t.equal(found.size, numbers.length, 'nothing twice')
    t.same(
      [...acknowledged[worker]].filter((number) => !found.has(number)),
      [],
      `all ${acknowledged[worker].size} that were acknowledged`,
    )
    t.ok(
      found.size - acknowledged[worker].size <= ROUNDS * 8,
      `${found.size - acknowledged[worker].size} more were written, and their senders not told`,
    )
    // Whose sender was not told sends it again.
    t.equal(
      await spool.put({
        source: 'http',
        format: 'protobuf',
        tenant: 'acme',
        bytes: Buffer.from('again'),
        id: `id ${numbers[0]}`,
      }),
      'repeated',
    )
    await spool.close()
  }
})
