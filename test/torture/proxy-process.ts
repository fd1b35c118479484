/**
 * The real program as a process of its own, brought back when it ends, as a service manager would. One that has to end
 * (it was told to, was killed, or has said that it cannot go on) and does not within its limit is killed, and never
 * forgotten: see `notEnded`.
 */
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { spawn } from '../helpers/child-process.js'

export interface ProxyOptions {
  /** The program and its arguments. */
  readonly command: readonly string[]
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  /** All that it says goes here. */
  readonly logFile: string
  /** Default: {@link STOP_LIMIT_MS}. */
  readonly stopLimitMs?: number
  /** Default: {@link FATAL_LIMIT_MS}. */
  readonly fatalLimitMs?: number
}

export interface Addresses {
  readonly grpc: number
  readonly http: number | null
  readonly ops: string
}

/**
 * After SIGTERM: what was taken is committed within 30 s, then it ends. So long has a worker whose supervisor was
 * killed.
 */
export const STOP_LIMIT_MS = 45_000
/** After a fatal error nothing is committed any more. */
export const FATAL_LIMIT_MS = 15_000
const RESTART_MS = 300
const portOf = (address: unknown): number => Number(String(address).split(':').at(-1))

export class ProxyProcess {
  child: ChildProcess | null = null
  /** Of the process that runs; null until it is ready. */
  addresses: Addresses | null = null
  /** How often it was started. */
  starts = 0
  /** How often it ended when it had to, or by itself. */
  endedInTime = 0
  /** Ends that were a SIGKILL after its limit, by why it had to end. */
  readonly notEnded: string[] = []
  /** Why the process that runs has to end, and until when; null while it may go on. */
  private must: { readonly why: string; readonly limitMs: number; timer: NodeJS.Timeout | null } | null = null
  private overdue: string | null = null
  private stopped = false
  /** The last error that the process before this one told of, by its code. */
  endedBy = ''
  /** Ends that nobody asked for, by exit code and the last error's code. */
  readonly unplanned: string[] = []
  private wanted = false
  private expected = false
  private over: Promise<number | null> = Promise.resolve(null)
  private rest = ''
  private lastError = ''
  private ops = ''

  constructor(
    private readonly options: ProxyOptions,
    private readonly onReady: (proxy: ProxyProcess) => void,
  ) {}

  get pid(): number {
    return this.child?.pid ?? 0
  }

  get running(): boolean {
    return this.child !== null
  }

  /** @param again it is brought back when it ends */
  start(again = true): void {
    this.wanted = again
    this.expected = !again
    this.launch()
  }

  private launch(): void {
    this.starts++
    this.addresses = null
    this.rest = ''
    this.lastError = ''
    this.overdue = null
    this.stopped = false
    const {
      command: [program, ...args],
      cwd,
      env,
      logFile,
    } = this.options
    const log = openSync(logFile, 'a')
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', log, 'pipe'] })
    this.child = child
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      writeSync(log, text)
      const lines = (this.rest + text).split('\n')
      this.rest = lines.pop() ?? ''
      for (const line of lines) this.line(line)
    })
    this.over = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        closeSync(log)
        this.child = null
        this.addresses = null
        this.disarm()
        this.endedBy = this.lastError
        if (this.overdue === null) this.endedInTime++
        else this.notEnded.push(this.overdue)
        if (!this.expected) this.unplanned.push(`${signal ?? code} ${this.lastError}`)
        this.expected = false
        resolve(code)
        if (this.wanted)
          setTimeout(() => {
            if (this.wanted && this.child === null) this.launch()
          }, RESTART_MS)
      })
    })
  }

  private line(line: string): void {
    if (!line.startsWith('{')) {
      // What stops a start is told in words, the code first, and then how to mend it.
      this.lastError =
        /\bMINIM_[A-Z_]+\b/.exec(line)?.[0] ?? (this.lastError === '' ? line.slice(0, 200) : this.lastError)
      return
    }
    const entry = JSON.parse(line) as Record<string, unknown>
    const { err } = entry as { err?: { code?: string } }
    if (err?.code !== undefined) this.lastError = err.code
    if (entry['level'] === 'fatal')
      this.mustEnd(
        this.options.fatalLimitMs ?? FATAL_LIMIT_MS,
        `after ${this.lastError === '' ? 'a fatal error' : this.lastError}`,
      )
    // Of more processes, each says that it is ready; one has the operator's port.
    if (typeof entry['ops'] === 'string' && entry['ops'] !== '') this.ops = entry['ops']
    if (entry['msg'] !== 'ready' || entry['grpc'] === undefined) return
    this.addresses = {
      grpc: portOf(entry['grpc']),
      http: entry['http'] === undefined ? null : portOf(entry['http']),
      ops: this.ops,
    }
    this.onReady(this)
  }

  /** It will be brought back. */
  kill(signal: NodeJS.Signals): void {
    if (this.child === null) return
    if (signal === 'SIGKILL' || signal === 'SIGTERM') {
      this.expected = true
      if (signal === 'SIGKILL') this.stopped = false
      this.mustEnd(this.options.stopLimitMs ?? STOP_LIMIT_MS, signal === 'SIGTERM' ? 'told to end' : 'killed')
    }
    if (signal === 'SIGSTOP' || signal === 'SIGCONT') this.freeze(signal === 'SIGSTOP')
    this.child.kill(signal)
  }

  /**
   * The process that runs has to end within so long, unless it has to already; else it is killed, which is told by
   * `notEnded`. While it is stopped no time passes for it.
   */
  mustEnd(limitMs: number, why: string): void {
    if (this.child === null || this.must !== null) return
    this.must = { why, limitMs, timer: null }
    if (!this.stopped) this.arm()
  }

  private arm(): void {
    const { must, child } = this
    if (must === null || must.timer !== null || child === null) return
    const { cwd } = this.options
    const family = children(child.pid, cwd)
    must.timer = setTimeout(() => {
      this.overdue = `${must.why}, and not within ${must.limitMs / 1000} s`
      // Workers of a supervisor that is gone hold its output open.
      for (const pid of new Set([...children(child.pid, cwd), ...family.filter((pid) => isOf(pid, cwd))]))
        process.kill(pid, 'SIGKILL')
      child.kill('SIGKILL')
    }, must.limitMs)
  }

  private disarm(): void {
    clearTimeout(this.must?.timer ?? undefined)
    this.must = null
  }

  private freeze(stopped: boolean): void {
    this.stopped = stopped
    if (!stopped) {
      this.arm()
      return
    }
    clearTimeout(this.must?.timer ?? undefined)
    if (this.must !== null) this.must.timer = null
  }

  /** Resolves to the exit code of the process that runs, when it ends. */
  end(): Promise<number | null> {
    return this.over
  }

  /** For good: nobody brings it back. What it ends with is expected. */
  retire(): void {
    this.wanted = false
    this.expected = true
  }

  /** Ends it for good, by SIGTERM. */
  async stop(): Promise<{ readonly code: number | null; readonly ms: number }> {
    this.wanted = false
    const begun = performance.now()
    this.kill('SIGCONT')
    this.kill('SIGTERM')
    const code = await this.over
    return { code, ms: Math.round(performance.now() - begun) }
  }

  async kill9(): Promise<void> {
    this.wanted = false
    this.kill('SIGKILL')
    await this.over
  }
}

/** Whether a process runs with the settings of a folder: its number may be another's by now. */
function isOf(pid: number, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder)
  } catch {
    return false
  }
}

/** Workers that a process has started. */
function children(pid: number | undefined, folder: string): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
      .split(' ')
      .filter((text) => text !== '')
      .map(Number)
      .filter((child) => isOf(child, folder))
  } catch {
    return []
  }
}
