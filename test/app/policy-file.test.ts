/** A policy file that somebody is writing just now. */
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readSettled } from '../../src/app/policy-file.js'
import { MinimError } from '../../src/errors/catalogue.js'

/** Does something every 20 ms: a file is settled that nobody has written to for longer. */
function often(t: Test, work: () => void): () => void {
  const timer = setInterval(work, 20)
  const stop = (): void => {
    clearInterval(timer)
  }
  t.teardown(stop)
  return stop
}

t.test('one that is being written is waited for', async (t) => {
  const path = join(t.testdir({}), 'policy.yaml')
  writeFileSync(path, '')
  let lines = 0
  const stop = often(t, () => {
    appendFileSync(path, `line ${++lines}\n`)
    if (lines === 30) stop()
  })
  const read = (await readSettled(path)).toString()
  t.equal(read.split('\n').length - 1, 30, 'all of it')
})

t.test('one that never is settled is given up', async (t) => {
  const path = join(t.testdir({}), 'policy.yaml')
  let n = 0
  const write = (): void => {
    writeFileSync(path, `text ${++n}`)
  }
  write()
  const stop = often(t, write)
  await t.rejects(readSettled(path), { code: 'MINIM_POLICY_UNSETTLED' })
  stop()
  t.equal((await readSettled(path)).toString(), `text ${n}`)
})

t.test('what is no file, or too large for a policy, is refused at once', async (t) => {
  const folder = t.testdir({ folder: {}, large: 'x'.repeat(900_001), most: 'x'.repeat(900_000) })
  for (const [name, said] of [
    ['folder', /is no plain file/],
    ['large', /is larger than 900 kB/],
    ['none', /cannot be read \(ENOENT\)/],
  ] as const) {
    const error: unknown = await readSettled(join(folder, name)).catch((reason: unknown) => reason)
    if (!(error instanceof MinimError)) throw new Error(`${name} was read`)
    t.match(error.message, said)
  }
  t.equal((await readSettled(join(folder, 'most'))).length, 900_000)
})
