/**
 * The spool on a real disk, behind it what stands for delivery. With Kafka: `test/e2e/spool.test.ts`; killed:
 * `spool-kill.test.ts`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import type { MinimError } from '../../src/errors/catalogue.js'
import type { Spooled } from '../../src/flow/source.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { Spool, type SpoolOptions } from '../../src/spool/spool.js'
import { RecordingIntake } from '../helpers/spool-intake.js'

const HOUR_MS = 3_600_000

interface Kit {
  readonly path: string
  readonly clock: { now: number; monotonic: number }
  readonly troubles: MinimError[]
  readonly open: (over?: Partial<SpoolOptions>) => Spool
  /** Closes all that are open, and gives the folder back as a process that starts finds it. */
  readonly reopen: (over?: Partial<SpoolOptions>) => Promise<Spool>
}

function kit(t: Test): Kit {
  const path = mkdtempSync(join(tmpdir(), 'minim-spool-'))
  const clock = { now: Date.UTC(2026, 10, 24, 12), monotonic: 1_000_000 }
  const keyring = throwawayKeyring(() => clock.now)
  const troubles: MinimError[] = []
  let spool: Spool | null = null
  t.teardown(async () => {
    await spool?.close()
    rmSync(path, { recursive: true, force: true })
  })
  const made = (over: Partial<SpoolOptions>): Spool =>
    (spool = Spool.open({
      path,
      maxBytes: 64 << 20,
      rememberHours: 24,
      keyring,
      now: () => clock.now,
      monotonic: () => clock.monotonic,
      onTrouble: (error) => {
        troubles.push(error)
      },
      ...over,
    }))
  return {
    path,
    clock,
    troubles,
    open: (over = {}) => made(over),
    reopen: async (over = {}) => {
      await spool?.close()
      return made(over)
    },
  }
}

const entry = (text: string, over: Partial<Spooled> = {}): Spooled => ({
  source: 'http',
  format: 'protobuf',
  tenant: 'acme',
  bytes: Buffer.from(text),
  ...over,
})

t.test('what is put comes out, in order, as it was', async (t) => {
  const { open, troubles } = kit(t)
  const spool = open()
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  const bytes = Buffer.from('first')
  const first = spool.put(entry('', { bytes }))
  bytes.fill(0)
  t.equal(await first, 'stored')
  await Promise.all(['a', 'b', 'c'].map((text) => spool.put(entry(text))))
  await spool.put(entry('x', { source: 'ami', format: 'refused', reason: 'too_large', tenant: 'bravo' }))
  await spool.put(entry('{"start_ms":1}', { source: 'hep', format: 'jsonl-call' }))
  await intake.until(6)
  t.same(
    intake.committed.map(({ text }) => text),
    ['first', 'a', 'b', 'c', 'x', '{"start_ms":1}'],
  )
  t.same(intake.committed[4], { source: 'ami', format: 'refused', reason: 'too_large', tenant: 'bravo', text: 'x' })
  t.same(troubles, [])
})

t.test('what is put at once is one block; what is fed counts its sources', async (t) => {
  const { open } = kit(t)
  const spool = open()
  const intake = new RecordingIntake(0, false)
  spool.start(intake, intake.readers)
  const sources = ['http', 'ami', 'http', 'hep', 'http', 'ami'] as const
  await Promise.all(sources.map((source, i) => spool.put(entry(String(i), { source }))))
  while (intake.offered.length === 0) await new Promise(setImmediate)
  t.equal(intake.offered.length, 1)
  const [item] = intake.offered
  t.equal(item.sequence, 1)
  item.minimise()
  t.same(
    [...(item.received?.() ?? [])],
    [
      ['http', 3],
      ['ami', 2],
      ['hep', 1],
    ],
  )
  intake.commit()
  t.same(
    intake.committed.map(({ source, text }) => `${source} ${text}`),
    ['http 0', 'http 2', 'http 4', 'ami 1', 'ami 5', 'hep 3'],
  )
})

t.test('what is not committed is there after a restart, what is is not', async (t) => {
  const { open, reopen } = kit(t)
  let spool = open()
  const before = new RecordingIntake()
  spool.start(before, before.readers)
  await spool.put(entry('gone'))
  await before.until(1)
  before.auto = false
  await spool.put(entry('left 1'))
  await spool.put(entry('left 2'))
  spool = await reopen()
  t.match(spool.sample(), { blocks: 2 })
  const after = new RecordingIntake(before.taken)
  spool.start(after, after.readers)
  await spool.put(entry('new'))
  await after.until(3)
  t.same(
    after.committed.map(({ text }) => text),
    ['left 1', 'left 2', 'new'],
  )
  t.ok(after.sequences.every((sequence) => sequence > before.taken))
})

t.test('committed, and killed before it was deleted: the ledger knows', async (t) => {
  const { open, reopen } = kit(t)
  let spool = open()
  for (const text of ['1', '2', '3']) await spool.put(entry(text))
  spool = await reopen()
  const intake = new RecordingIntake(2)
  spool.start(intake, intake.readers)
  await intake.until(1)
  t.same(
    intake.committed.map(({ text }) => text),
    ['3'],
  )
  spool = await reopen()
  t.match(spool.sample(), { blocks: 0, oldestSeconds: 0 })
})

t.test('the same id again is a repeat: at once, later, after a restart, from elsewhere not', async (t) => {
  const { open, reopen, clock } = kit(t)
  let spool = open()
  t.same(await Promise.all([1, 2, 3].map(() => spool.put(entry('x', { id: 'one' })))), [
    'stored',
    'repeated',
    'repeated',
  ])
  t.equal(await spool.put(entry('x', { id: 'one' })), 'repeated')
  t.equal(await spool.put(entry('x', { id: 'one', tenant: 'bravo' })), 'stored')
  t.equal(await spool.put(entry('x', { id: 'one', source: 'freeswitch' })), 'stored')
  t.equal(await spool.put(entry('x', { id: null })), 'stored')
  t.equal(await spool.put(entry('x', { id: null })), 'stored')
  spool = await reopen()
  t.equal(await spool.put(entry('x', { id: 'one' })), 'repeated')
  clock.now += 24 * HOUR_MS
  clock.monotonic += 24 * HOUR_MS
  t.equal(await spool.put(entry('x', { id: 'one' })), 'repeated', 'as long as was asked')
  clock.now += 7 * HOUR_MS
  clock.monotonic += 7 * HOUR_MS
  t.equal(await spool.put(entry('x', { id: 'one' })), 'stored', 'and not much longer')
})

t.test(
  'a name that two kinds of source share is taken once, by whichever of them, and by another worker',
  async (t) => {
    const { open, path } = kit(t)
    const id = { name: 'one', space: 'sip-message' }
    const [first, second] = [open(), open({ worker: 1 })]
    t.equal(await first.put(entry('x', { id, source: 'hep' })), 'stored')
    t.equal(await first.put(entry('x', { id, source: 'sip' })), 'repeated')
    t.equal(await second.put(entry('x', { id, source: 'sip' })), 'repeated')
    t.equal(await first.put(entry('x', { id, source: 'sip', tenant: 'bravo' })), 'stored')
    t.equal(await first.put(entry('x', { id: 'one', source: 'sip' })), 'stored', 'a name of its own is another')
    await Promise.all([first.close(), second.close()])
    for (const file of readdirSync(path)) t.notOk(readFileSync(join(path, file)).includes('sip-message'), file)
  },
)

t.test('files hold nothing that can be read', async (t) => {
  const { open, path } = kit(t)
  const spool = open()
  await spool.put(entry('+447700900123 canary', { id: 'canary-id-447700900456', tenant: 'canary-tenant' }))
  for (let i = 0; i < 50; i++) await spool.put(entry('canary '.repeat(1000)))
  t.equal(statSync(path).mode & 0o777, 0o700)
  for (const name of readdirSync(path)) {
    t.equal(statSync(join(path, name)).mode & 0o777, 0o600, name)
    t.notMatch(readFileSync(join(path, name)).toString('latin1'), /canary|447700900/, name)
  }
})

t.test('full: refused, until some is in Kafka', async (t) => {
  const { open } = kit(t)
  const said: string[] = []
  const spool = open({
    maxBytes: 1 << 20,
    onFull: ({ code }) => said.push(code),
    onRoom: () => said.push('room'),
    causeOfFull: () => 'kafka_away',
  })
  const intake = new RecordingIntake(0, false)
  spool.start(intake, intake.readers)
  let stored = 0
  t.equal(spool.trouble, null)
  await t.rejects(
    (async () => {
      for (; ; stored++) await spool.put(entry('y'.repeat(20_000)))
    })(),
    { code: 'MINIM_SPOOL_FULL', retryable: true },
  )
  t.ok(stored > 20, `${stored} were taken`)
  t.ok(spool.sample().bytes <= 1 << 20)
  for (let n = 0; n < 5; n++) await t.rejects(spool.put(entry('y'.repeat(20_000))), { code: 'MINIM_SPOOL_FULL' })
  t.same(said, ['MINIM_SPOOL_FULL'], 'said once, however many are refused')
  t.same(spool.trouble, { reason: 'spool_full', cause: 'kafka_away' })
  intake.auto = true
  intake.commit()
  await intake.until(stored)
  for (let tries = 0; ; tries++) {
    if (
      await spool.put(entry('z')).then(
        () => true,
        () => false,
      )
    )
      break
    if (tries > 1000) t.fail('never room again')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.equal(spool.full, false)
  for (let tries = 0; spool.trouble !== null && tries < 500; tries++)
    await new Promise((resolve) => setTimeout(resolve, 10))
  t.same([spool.trouble, said], [null, ['MINIM_SPOOL_FULL', 'room']], 'and once when it is over')
})

t.test('full and nearly full by turns: said once, until there is room to speak of', async (t) => {
  const { open } = kit(t)
  const said: string[] = []
  const spool = open({ maxBytes: 1 << 20, onFull: () => said.push('full'), onRoom: () => said.push('room') })
  const intake = new RecordingIntake(0, false)
  spool.start(intake, intake.readers)
  const put = (): Promise<boolean> =>
    spool.put(entry('y'.repeat(20_000))).then(
      () => true,
      () => false,
    )
  while (await put());
  let refused = 0
  let stored = 0
  for (let round = 0; round < 5; round++) {
    // Kafka takes one block, as one comes.
    intake.commit(1)
    for (let tries = 0; !(await put()); tries++) {
      refused++
      if (tries > 500) throw new Error('never room for one')
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    stored++
    while (await put()) stored++
    refused++
  }
  t.ok(stored >= 5 && refused >= 5, `${stored} were taken meanwhile, and ${refused} refused`)
  t.same(said, ['full'])
  intake.auto = true
  intake.commit()
  for (let tries = 0; spool.trouble !== null && tries < 500; tries++)
    await new Promise((resolve) => setTimeout(resolve, 10))
  t.same(said, ['full', 'room'])
})

t.test('who asks first and puts nothing is a refusal too', async (t) => {
  const { open } = kit(t)
  const said: string[] = []
  const spool = open({ maxBytes: 1 << 20, onFull: () => said.push('full') })
  // Down to the last octet.
  for (let size = 20_000; size >= 1; size = Math.floor(size / 2)) {
    const put = (): Promise<unknown> => spool.put(entry('y'.repeat(size)))
    for (;;) {
      const before = said.length
      const { bytes } = spool.sample()
      if (bytes + size + 500 > 1 << 20 || before > 0) break
      await put()
    }
  }
  for (let n = 0; n < 2_000 && !spool.full; n++) await spool.put(entry('')).catch(() => undefined)
  t.same([said, spool.trouble], [['full'], { reason: 'spool_full', cause: null }])
})

t.test('the file does not grow by what passes through it', async (t) => {
  const { open, path } = kit(t)
  const spool = open()
  const intake = new RecordingIntake(0, false)
  spool.start(intake, intake.readers)
  const sizes: number[] = []
  for (let round = 0; round < 12; round++) {
    // Kafka is a round behind; sizes differ, so that what is freed is of other sizes than what is wanted.
    for (let n = 0; n < 40; n++)
      await spool.put(entry('x'.repeat(500 + ((n * 7919 + round * 104_729) % 60_000)), { id: `${round} ${n}` }))
    intake.commit()
    sizes.push(statSync(join(path, 'data.mdb')).size)
  }
  t.ok(sizes[11] <= sizes[3] * 2, `${sizes[3]} octets after 4 rounds, ${sizes[11]} after 12`)
  t.ok(spool.sample().bytes <= sizes[11])
})

t.test('a damaged block is said, kept aside, and does not hold up the others', async (t) => {
  const { open: openSpool, reopen, path, troubles } = kit(t)
  let spool = openSpool()
  for (const text of ['1', '2', '3', '4']) await spool.put(entry(text))
  await spool.close()
  const root = open({ path, noSubdir: false, overlappingSync: false, encoding: 'binary' })
  const blocks = root.openDB<Buffer, number>({ name: 'blocks-0', encoding: 'binary' })
  const flip = blocks.get(2) as Buffer
  flip[flip.length - 20] ^= 1
  await blocks.put(2, flip)
  await blocks.put(3, (blocks.get(3) as Buffer).subarray(0, 15))
  await root.close()
  spool = await reopen()
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  await intake.until(2)
  t.same(
    intake.committed.map(({ text }) => text),
    ['1', '4'],
  )
  t.same(
    troubles.map(({ code, details }) => [code, details['sequence']]),
    [
      ['MINIM_SPOOL_DAMAGED', 2],
      ['MINIM_SPOOL_DAMAGED', 3],
    ],
  )
  await spool.close()
  const again = open({ path, noSubdir: false, overlappingSync: false, encoding: 'binary' })
  t.same([...again.openDB<Buffer, number>({ name: 'damaged-0', encoding: 'binary' }).getKeys()], [2, 3])
  t.same([...again.openDB<Buffer, number>({ name: 'blocks-0', encoding: 'binary' }).getKeys()], [])
  await again.close()
})

t.test('other keys: no start while something is in it', async (t) => {
  const { open, reopen, path } = kit(t)
  let spool = open()
  await spool.put(entry('1', { id: 'one' }))
  await spool.close()
  const other = throwawayKeyring(() => Date.UTC(2026, 10, 24, 12))
  t.throws(() => Spool.open({ path, maxBytes: 1 << 20, rememberHours: 1, keyring: other }), { code: 'MINIM_SPOOL_KEY' })
  spool = await reopen()
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  await intake.until(1)
  await spool.close()
  const empty = Spool.open({
    path,
    maxBytes: 1 << 20,
    rememberHours: 1,
    keyring: other,
    now: () => Date.UTC(2026, 10, 24, 12),
  })
  t.equal(await empty.put(entry('1', { id: 'one' })), 'stored')
  await empty.close()
})

t.test('what delivery could not take comes again', async (t) => {
  const { open } = kit(t)
  const spool = open()
  const intake = new RecordingIntake(0, false)
  spool.start(intake, intake.readers)
  await spool.put(entry('1'))
  while (intake.offered.length === 0) await new Promise(setImmediate)
  intake.fail()
  await spool.put(entry('2'))
  intake.auto = true
  await intake.until(2)
  t.same(
    intake.committed.map(({ text }) => text),
    ['1', '2'],
  )
})

t.test('closing answers what was put, and takes no more', async (t) => {
  const { open, reopen } = kit(t)
  let spool = open()
  const puts = Array.from({ length: 100 }, (_, i) => spool.put(entry(String(i))))
  const closed = spool.close()
  await t.rejects(spool.put(entry('late')), { code: 'MINIM_DELIVERY_STOPPED' })
  await closed
  t.ok((await Promise.all(puts)).every((outcome) => outcome === 'stored'))
  spool = await reopen()
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  await intake.until(100)
  t.same(
    intake.committed.map(({ text }) => text),
    Array.from({ length: 100 }, (_, i) => String(i)),
  )
})
