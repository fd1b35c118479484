/** Processes that end while the spool is written: in order with their code, or by SIGKILL, but always. */
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { CLOSE_MS, endLimitMs } from '../../src/cli/end.js'
import { spawn } from '../helpers/child-process.js'

t.setTimeout(900_000)

const CHILD = fileURLToPath(new URL('./ending-child.js', import.meta.url))
const ROUNDS = Number(process.env['MINIM_END_ROUNDS'] ?? 12)

interface End {
  readonly how: number | string
  readonly ms: number
  readonly stderr: string
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'minim-ending-'))
  t.teardown(() => {
    rmSync(path, { recursive: true, force: true, maxRetries: 5 })
  })
  return path
}

function start(t: Test, path: string, how: string): ChildProcess {
  const child = spawn(process.execPath, [CHILD, path, how], { stdio: ['pipe', 'pipe', 'pipe'] })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  return child
}

const said = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    child.stdout?.once('data', () => {
      resolve()
    })
  })

/** Tells one to end, and how it does; `hung` after the limit. */
async function ended(child: ChildProcess, limitMs: number): Promise<End> {
  let stderr = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const begunAt = performance.now()
  child.stdin?.write('end\n')
  let hung = false
  const timer = setTimeout(() => {
    hung = true
    child.kill('SIGKILL')
  }, limitMs)
  const how = await new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => {
      resolve(signal ?? code ?? 'unknown')
    })
  })
  clearTimeout(timer)
  return { how: hung ? 'hung' : how, ms: performance.now() - begunAt, stderr }
}

async function rounds(t: Test, how: string, limitMs: number): Promise<Record<string, number>> {
  const path = folder(t)
  const counts: Record<string, number> = {}
  for (let round = 0; round < ROUNDS; round++) {
    const child = start(t, join(path, String(round)), how)
    await said(child)
    const end = await ended(child, limitMs)
    counts[end.how] = (counts[end.how] ?? 0) + 1
  }
  t.comment(`${how}: ${JSON.stringify(counts)}`)
  return counts
}

t.test('closed in order, each ends with its code', { timeout: 600_000 }, async (t) => {
  t.same(await rounds(t, 'closed', endLimitMs(0)), { 7: ROUNDS })
})

t.test('with the spool left open, each ends at once, killed by itself', { timeout: 600_000 }, async (t) => {
  t.same(await rounds(t, 'now', 5_000), { SIGKILL: ROUNDS })
})

t.test('one that hangs in process.exit is ended by its watcher', { timeout: 600_000 }, async (t) => {
  const counts = await rounds(t, 'watched', 10_000)
  t.equal((counts['7'] ?? 0) + (counts['SIGKILL'] ?? 0), ROUNDS)
  t.ok((counts['SIGKILL'] ?? 0) > 0, 'some hung')
})

t.test('a write that never comes to its end holds nobody up', { timeout: 60_000 }, async (t) => {
  const path = folder(t)
  const child = start(t, path, 'closed')
  await said(child)
  // Stopped in the middle of a transaction, another process of the folder has the lock.
  const holder = start(t, path, 'lock')
  await said(holder)
  const end = await ended(child, endLimitMs(0) + 2_000)
  t.equal(end.how, 'SIGKILL')
  t.match(end.stderr, /not all that was open could be closed in time/)
  t.ok(end.ms > CLOSE_MS - 500 && end.ms < endLimitMs(0), `after ${Math.round(end.ms)} ms`)
})
