/**
 * The spool on disks that fail, for real: one that is full, one that the kernel has made read-only. Needs root, for
 * mount.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import type { MinimError } from '../../src/errors/catalogue.js'
import type { Spooled } from '../../src/flow/source.js'
import { throwawayKeyring } from '../../src/keys/throwaway.js'
import { Spool, type SpoolOptions } from '../../src/spool/spool.js'
import { execFileSync, spawnSync } from '../helpers/child-process.js'
import { RecordingIntake } from '../helpers/spool-intake.js'

const MEBIBYTE = 1 << 20
const entry = (text: string, over: Partial<Spooled> = {}): Spooled => ({
  source: 'http',
  format: 'protobuf',
  tenant: 'acme',
  bytes: Buffer.from(text),
  ...over,
})
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface Disk {
  readonly mount: string
  readonly folder: string
  /** Fills what is free, but for so much. */
  fill(butBytes?: number): void
  free(): void
}

function disk(t: Test, mountIt: (mount: string, folder: string) => boolean): Disk | null {
  const folder = mkdtempSync(join(tmpdir(), 'minim-spool-disk-'))
  const mount = join(folder, 'mount')
  mkdirSync(mount)
  t.teardown(() => {
    spawnSync('umount', [mount])
    rmSync(folder, { recursive: true, force: true })
  })
  if (!mountIt(mount, folder)) {
    t.comment('SKIPPED: mount is not allowed here; run this test as root')
    return null
  }
  const filler = join(mount, 'filler')
  return {
    mount,
    folder,
    fill: (butBytes = 0) => {
      const { bavail, bsize } = statfsSync(mount)
      writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - butBytes), 1), { flag: 'a' })
    },
    free: () => {
      rmSync(filler)
    },
  }
}

const tmpfs =
  (size: string) =>
  (mount: string): boolean =>
    spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'minim-test', mount]).status === 0

interface Opened {
  readonly spool: Spool
  readonly troubles: MinimError[]
  readonly mended: () => number
}

function openOn(path: string, over: Partial<SpoolOptions> = {}): Opened {
  const troubles: MinimError[] = []
  let mended = 0
  const spool = Spool.open({
    path,
    maxBytes: 256 * MEBIBYTE,
    rememberHours: 24,
    keyring: throwawayKeyring(),
    onTrouble: (error) => {
      troubles.push(error)
    },
    onMended: () => {
      mended++
    },
    ...over,
  })
  return { spool, troubles, mended: () => mended }
}

/** Puts until it is refused. */
async function putUntilRefused(spool: Spool, bytes: number, stored: string[], first = 0): Promise<MinimError> {
  for (let n = first; ; n++) {
    const text = `${n} `.padEnd(bytes, 'x')
    try {
      await spool.put(entry(text, { id: String(n) }))
      stored.push(text)
    } catch (error) {
      return error as MinimError
    }
  }
}

/** Puts again and again until it is taken. */
async function untilTaken(spool: Spool, text: string, id: string | null = null): Promise<string> {
  for (let tries = 0; tries < 1000; tries++) {
    const outcome = await spool.put(entry(text, { id })).catch(() => null)
    if (outcome !== null) return outcome
    await sleep(20)
  }
  throw new Error('never taken')
}

t.test('a full disk: refused before it is hit, said once, taken again when there is room', async (t) => {
  const at = disk(t, tmpfs('40m'))
  if (at === null) return
  const { spool, troubles, mended } = openOn(join(at.mount, 'spool'))
  const stored: string[] = []
  for (let n = 0; n < 20; n++) {
    await spool.put(entry(`${n} before`))
    stored.push(`${n} before`)
  }
  at.fill(17 * MEBIBYTE)
  const refused = await putUntilRefused(spool, 30_000, stored)
  t.match(refused, { code: 'MINIM_SPOOL_BROKEN', retryable: true, details: { what: 'ENOSPC' } })
  t.equal(spool.full, true)
  await t.rejects(spool.put(entry('no')), { code: 'MINIM_SPOOL_BROKEN' })
  const failedId = String(stored.length - 20)
  await sleep(1_200)
  t.equal(troubles.length, 1, 'said once')
  at.free()
  t.equal(await untilTaken(spool, 'after', failedId), 'stored', 'what was refused left no trace')
  stored.push('after')
  t.equal(mended(), troubles.length)
  t.equal(spool.full, false)
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  await intake.until(stored.length)
  t.same(
    intake.committed.map(({ text }) => text),
    stored,
    'all that was acknowledged, once, in order',
  )
  await spool.close()
})

t.test('a disk that only the spool fills: what Kafka takes makes room', async (t) => {
  const at = disk(t, tmpfs('24m'))
  if (at === null) return
  const { spool } = openOn(join(at.mount, 'spool'))
  const stored: string[] = []
  const refused = await putUntilRefused(spool, 20_000, stored)
  t.match(refused.details, { what: 'ENOSPC' })
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  await intake.until(stored.length)
  t.equal(await untilTaken(spool, 'after'), 'stored')
  await intake.until(stored.length + 1)
  t.same(
    intake.committed.map(({ text }) => text),
    [...stored, 'after'],
  )
  const again: string[] = []
  for (let n = 0; n < 100; n++) again.push(await untilTaken(spool, `again ${n}`.padEnd(20_000)))
  t.ok(
    again.every((outcome) => outcome === 'stored'),
    'and it goes on',
  )
  await spool.close()
})

t.test('a disk that goes read-only: refused, and taken again when it is back', async (t) => {
  let device = ''
  const at = disk(t, (mount, folder) => {
    const image = join(folder, 'image')
    writeFileSync(image, '')
    if (spawnSync('truncate', ['-s', '32M', image]).status !== 0 || spawnSync('mkfs.ext4', ['-q', image]).status !== 0)
      return false
    if (spawnSync('mount', ['-o', 'loop,errors=remount-ro', image, mount]).status !== 0) return false
    device = basename(execFileSync('findmnt', ['-n', '-o', 'SOURCE', mount], { encoding: 'utf8' }).trim())
    const seen = execFileSync('losetup', ['-n', '-O', 'NAME', '-j', image], { encoding: 'utf8' }).trim()
    device = basename(seen)
    return existsSync(`/sys/fs/ext4/${device}/trigger_fs_error`)
  })
  if (at === null) return
  const { spool, troubles } = openOn(join(at.mount, 'spool'))
  const stored: string[] = []
  for (let n = 0; n < 30; n++) {
    await spool.put(entry(`${n}`, { id: String(n) }))
    stored.push(`${n}`)
  }
  // What the kernel does to a disk that it can no longer trust.
  writeFileSync(`/sys/fs/ext4/${device}/trigger_fs_error`, '1')
  const refused = await putUntilRefused(spool, 100, stored, 30)
  t.match(refused, { code: 'MINIM_SPOOL_BROKEN', details: { what: /^E/ } })
  t.comment(`refused with ${String(refused.details['what'])}`)
  t.equal(spool.full, true)
  // The spool lets go of it while it cannot be written, so that it can be mended.
  for (let tries = 0; spawnSync('umount', [at.mount]).status !== 0; tries++) {
    if (tries > 200) throw new Error('never let go of')
    await sleep(25)
  }
  await sleep(600)
  t.equal(existsSync(join(at.mount, 'spool')), false, 'nothing is made in the empty folder')
  spawnSync('e2fsck', ['-fy', join(at.folder, 'image')])
  t.equal(spawnSync('mount', ['-o', 'loop', join(at.folder, 'image'), at.mount]).status, 0)
  t.equal(await untilTaken(spool, 'after', String(stored.length)), 'stored')
  stored.push('after')
  t.equal(troubles.length, 1, 'said once')
  const intake = new RecordingIntake()
  spool.start(intake, intake.readers)
  await intake.until(stored.length)
  t.same(
    intake.committed.map(({ text }) => text),
    stored,
  )
  await spool.close()
})

t.test('a disk that is read-only from the start', async (t) => {
  const at = disk(t, tmpfs('24m'))
  if (at === null) return
  await openOn(join(at.mount, 'spool')).spool.close()
  t.equal(spawnSync('mount', ['-o', 'remount,ro', at.mount]).status, 0)
  t.throws(() => openOn(join(at.mount, 'spool')), { code: 'MINIM_SPOOL_OPEN', details: { what: 'EROFS' } })
})
