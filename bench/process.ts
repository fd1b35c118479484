/** Runs a row's program as a process of its own, bounded in time, and tells what it cost. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout, seen from dist/bench/. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MEASURE = join(ROOT, 'bench', 'measure.py')
const OUTPUT_LIMIT = 1 << 20

/** Cost of a process and all it started, by getrusage. */
export interface Cost {
  readonly wallSeconds: number
  readonly cpuSeconds: number
  readonly peakMB: number
}

export interface Finished extends Cost {
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  /** Folder for the report of what it cost. */
  readonly folder: string
  readonly timeoutMs: number
  readonly env?: Readonly<Record<string, string>>
}

export interface Running {
  readonly done: Promise<Finished>
  /** Resolves with the first line of stdout or stderr that matches. */
  line(pattern: RegExp, timeoutMs: number): Promise<RegExpExecArray>
  /** Asks the program to end; it is killed when it does not. */
  stop(): void
}

let reports = 0
const alive = new Set<ChildProcess>()

function kill(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    // The whole group: the measuring process and the measured one.
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    /* it has just ended */
  }
}

process.once('exit', () => {
  for (const child of alive) kill(child)
})

/** Starts a program under `measure.py`. */
export function start(command: string, args: readonly string[], options: RunOptions): Running {
  const report = join(options.folder, `cost-${process.pid}-${reports++}.json`)
  const child = spawn('python3', [MEASURE, report, command, ...args], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: ROOT,
    env: { ...process.env, ...options.env },
  })
  alive.add(child)
  const text = { stdout: '', stderr: '' }
  const watchers = new Set<() => void>()
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8')
    child[stream].on('data', (chunk: string) => {
      text[stream] = (text[stream] + chunk).slice(-OUTPUT_LIMIT)
      for (const watch of watchers) watch()
    })
  }
  let late = false
  const timer = setTimeout(() => {
    late = true
    kill(child)
  }, options.timeoutMs)
  const name = [command, ...args.slice(0, 3)].map((part) => part.split('/').pop()).join(' ')
  const done = new Promise<Finished>((resolve, reject) => {
    child.once('error', (error) => {
      reject(new Error(`${command}: ${error.message}`))
    })
    child.once('close', () => {
      clearTimeout(timer)
      alive.delete(child)
      let cost: (Cost & { code: number }) | null = null
      try {
        cost = JSON.parse(readFileSync(report, 'ascii')) as Cost & { code: number }
        rmSync(report)
      } catch {
        /* it was killed before it could say */
      }
      if (late)
        reject(new Error(`${name} did not end within ${options.timeoutMs / 1000} s; last output: ${tail(text)}`))
      else if (cost === null || cost.code !== 0)
        reject(new Error(`${name} failed with ${cost?.code ?? 'a signal'}: ${tail(text)}`))
      else resolve({ ...cost, ...text })
    })
  })
  done.catch(() => {
    /* whoever awaits it hears of it */
  })
  return {
    done,
    line(pattern, timeoutMs) {
      return new Promise((resolve, reject) => {
        const watch = (): void => {
          const found = pattern.exec(text.stdout) ?? pattern.exec(text.stderr)
          if (found !== null)
            end(() => {
              resolve(found)
            })
        }
        const end = (how: () => void): void => {
          clearTimeout(limit)
          watchers.delete(watch)
          how()
        }
        const limit = setTimeout(() => {
          end(() => {
            reject(new Error(`${name} did not say ${pattern} in time: ${tail(text)}`))
          })
        }, timeoutMs)
        done.catch((error: unknown) => {
          end(() => {
            reject(error instanceof Error ? error : new Error(`${name}: ${String(error)}`))
          })
        })
        watchers.add(watch)
        watch()
      })
    },
    stop() {
      if (child.exitCode === null) child.kill('SIGTERM')
    },
  }
}

/** Runs a program to its end. */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  return start(command, args, options).done
}

function tail({ stdout, stderr }: { stdout: string; stderr: string }): string {
  return (stderr + stdout).trim().slice(-1500)
}

/** The last line of a program's output, which is JSON. */
export function lastJson(stdout: string): Record<string, unknown> {
  const line = stdout.trimEnd().split('\n').pop() ?? ''
  return JSON.parse(line) as Record<string, unknown>
}
