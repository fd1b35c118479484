/** The real program as a process of its own, brought back when it ends, as a service manager would. */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'

export interface ProxyOptions {
  /** The program and its arguments. */
  readonly command: readonly string[]
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  /** All that it says goes here. */
  readonly logFile: string
}

export interface Addresses {
  readonly grpc: number
  readonly http: number | null
  readonly ops: string
}

const RESTART_MS = 300
const portOf = (address: unknown): number => Number(String(address).split(':').at(-1))

export class ProxyProcess {
  child: ChildProcess | null = null
  /** Of the process that runs; null until it is ready. */
  addresses: Addresses | null = null
  /** How often it was started. */
  starts = 0
  /** Ends that nobody asked for, by exit code and the last error's code. */
  readonly unplanned: string[] = []
  private wanted = false
  private expected = false
  private over: Promise<number | null> = Promise.resolve(null)
  private rest = ''
  private lastError = ''
  private ops = ''

  constructor(private readonly options: ProxyOptions, private readonly onReady: (proxy: ProxyProcess) => void) {}

  get pid(): number {
    return this.child?.pid ?? 0
  }

  get running(): boolean {
    return this.child !== null
  }

  start(): void {
    this.wanted = true
    this.launch()
  }

  private launch(): void {
    this.starts++
    this.addresses = null
    this.rest = ''
    this.lastError = ''
    const { command: [program, ...args], cwd, env, logFile } = this.options
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
        if (!this.expected) this.unplanned.push(`${signal ?? code} ${this.lastError}`)
        this.expected = false
        resolve(code)
        if (this.wanted) setTimeout(() => { if (this.wanted && this.child === null) this.launch() }, RESTART_MS)
      })
    })
  }

  private line(line: string): void {
    if (!line.startsWith('{')) {
      this.lastError = line.slice(0, 200)
      return
    }
    const entry = JSON.parse(line) as Record<string, unknown>
    const { err } = entry as { err?: { code?: string } }
    if (err?.code !== undefined) this.lastError = err.code
    // Of more processes, each says that it is ready; one has the operator's port.
    if (typeof entry['ops'] === 'string' && entry['ops'] !== '') this.ops = entry['ops']
    if (entry['msg'] !== 'ready' || entry['grpc'] === undefined) return
    this.addresses = { grpc: portOf(entry['grpc']), http: entry['http'] === undefined ? null : portOf(entry['http']), ops: this.ops }
    this.onReady(this)
  }

  /** It will be brought back. */
  kill(signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL' || signal === 'SIGTERM') this.expected = true
    this.child?.kill(signal)
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

  /** Ends it for good; SIGKILL after `limitMs`. */
  async stop(limitMs: number): Promise<{ readonly code: number | null; readonly ms: number }> {
    this.retire()
    const begun = performance.now()
    const { child } = this
    child?.kill('SIGCONT')
    child?.kill('SIGTERM')
    const timer = setTimeout(() => child?.kill('SIGKILL'), limitMs)
    const code = await this.over
    clearTimeout(timer)
    return { code, ms: Math.round(performance.now() - begun) }
  }

  async kill9(): Promise<void> {
    this.retire()
    this.child?.kill('SIGKILL')
    await this.over
  }
}
