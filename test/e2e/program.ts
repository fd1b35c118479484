/**
 * Runs the real program as processes of its own, each in a folder of its own, and reads its topics with another client.
 */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Kafka from 'node-rdkafka'
import type { Test } from 'tap'
import { MasterKey } from '../../src/keys/master.js'
import { KeyStore } from '../../src/keys/store.js'
import { spawn, spawnSync } from '../helpers/child-process.js'
import { repositoryRoot } from '../helpers/shared.js'

export const ROOT = repositoryRoot()
export const MAIN = join(ROOT, 'dist/src/cli/main.js')
/** Longest that a test waits for anything. */
const PATIENCE_MS = 60_000

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs: number = PATIENCE_MS,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const found = await probe()
    if (found !== null && found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`never: ${what}`)
    await sleep(25)
  }
}

/** Folders of one test: where the program works, and the only place where it may leave temporary files. */
export class Place {
  readonly folder = mkdtempSync(join(tmpdir(), 'minim-e2e-'))
  readonly temp = join(this.folder, 'tmp')
  readonly master = randomBytes(32).toString('base64')

  constructor(t: Test) {
    mkdirSync(this.temp)
    t.teardown(() => {
      rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 })
    })
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }

  env(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
    const { PATH, HOME } = process.env
    return { PATH, HOME, TMPDIR: this.temp, MINIM_MASTER_KEY: this.master, ...more }
  }

  /** A settings file; JSON is YAML. */
  settings(over: Readonly<Record<string, unknown>> = {}, name = 'minim.yaml'): string {
    return this.write(
      name,
      JSON.stringify({
        policy: join(ROOT, 'config/policy.yaml'),
        embedded: true,
        grpc: { listen: '127.0.0.1:0' },
        ops: { listen: '127.0.0.1:0' },
        ...over,
      }),
    )
  }

  /** What `minim keys init` makes, without a process for it. */
  makeStore(): void {
    KeyStore.create(this.path('minim-keys.json'), this.#key())
  }

  openStore(): KeyStore {
    return KeyStore.open(this.path('minim-keys.json'), this.#key())
  }

  #key(): MasterKey {
    return new MasterKey(Buffer.from(this.master, 'base64'), 'test')
  }

  /**
   * Every file that the program left in its temporary folder and beside its settings, without those that the test
   * wrote.
   */
  left(written: readonly string[]): { path: string; bytes: Buffer }[] {
    return readdirSync(this.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !written.includes(path))
      .map((path) => ({ path, bytes: readFileSync(path) }))
  }
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A process of the program. Killed at the test's end, by its id, if it still runs. */
export class Program {
  stdout = ''
  stderr = ''
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  over = false

  constructor(
    t: Test,
    args: readonly string[],
    place: Place,
    env: Readonly<Record<string, string>> = {},
    command: readonly string[] = [process.execPath, MAIN],
    cwd: string = place.folder,
  ) {
    const [program, ...first] = command
    this.child = spawn(program, [...first, ...args], { cwd, env: place.env(env), stdio: ['ignore', 'pipe', 'pipe'] })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', (code, signal) => {
        this.over = true
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr })
      })
    })
    t.teardown(async () => {
      if (!this.over) this.child.kill('SIGKILL')
      await this.ended
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Waits for the end; one that takes too long is killed, which shows in the code. */
  async end(timeoutMs: number = PATIENCE_MS): Promise<Ended> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), timeoutMs)
    const ended = await this.ended
    clearTimeout(timer)
    return ended
  }

  /** The log's lines, as far as they are whole. */
  log(): LogLine[] {
    return this.stderr
      .split('\n')
      .slice(0, -1)
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as LogLine)
  }

  /** Waits for a line of the log. */
  line(msg: string): Promise<LogLine> {
    return until(`"${msg}" in the log:\n${this.stderr}`, () => {
      const found = this.log().find((line) => line.msg === msg)
      if (found === undefined && this.over) throw new Error(`it ended before "${msg}":\n${this.stderr}`)
      return found
    })
  }
}

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [name: string]: unknown
}

/** Runs a command to its end. */
export function minim(
  t: Test,
  args: readonly string[],
  place: Place,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  return new Program(t, args, place, env).end()
}

export interface Running {
  readonly program: Program
  readonly kafka: string
  readonly grpc: string
  readonly ops: string
}

/** `minim run`, once it is ready. */
export async function run(t: Test, place: Place, settings: string): Promise<Running> {
  const program = new Program(t, ['run', '--config', settings], place)
  const ready = await program.line('ready')
  return { program, kafka: String(ready['kafka']), grpc: String(ready['grpc']), ops: String(ready['ops']) }
}

/** An answer of the operator's port. */
export async function get(ops: string, path: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`http://${ops}${path}`, { signal: AbortSignal.timeout(PATIENCE_MS) })
  return { status: response.status, body: await response.text() }
}

/** One metric's values by its labels as they are written. */
export function metric(body: string, name: string): Record<string, number> {
  const values: Record<string, number> = {}
  for (const line of body.split('\n')) {
    const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (found?.[1] === name) values[found[2] ?? ''] = Number(found[3])
  }
  return values
}

export interface KafkaRecord {
  readonly topic: string
  readonly key: Buffer | null
  readonly value: Buffer
  readonly timestamp: number
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error('the client failed'))

const hasKcat = spawnSync('kcat', ['-V'], { stdio: 'ignore' }).status === 0

/** All records of a topic, read by a client that is not minim's: kcat where it is installed, else a bare consumer. */
export async function readTopic(bootstrap: string, topic: string): Promise<KafkaRecord[]> {
  return hasKcat ? readByKcat(bootstrap, topic) : await readByConsumer(bootstrap, topic)
}

/** Names of all topics that there are. */
export async function topicNames(bootstrap: string): Promise<string[]> {
  const consumer = new Kafka.KafkaConsumer({ 'bootstrap.servers': bootstrap, 'group.id': 'test' }, {})
  try {
    return await new Promise((resolve, reject) => {
      consumer.connect({ timeout: 10_000, allTopics: true }, (error: unknown, data) => {
        if (error) reject(asError(error))
        else resolve(data.topics.map((topic) => topic.name))
      })
    })
  } finally {
    await new Promise<void>((resolve) => {
      consumer.disconnect(() => {
        resolve()
      })
    })
  }
}

function readByKcat(bootstrap: string, topic: string): KafkaRecord[] {
  const { stdout, status } = spawnSync(
    'kcat',
    ['-b', bootstrap, '-C', '-t', topic, '-o', 'beginning', '-e', '-q', '-D', '', '-f', '%T %K %S\n%k%s'],
    { timeout: PATIENCE_MS, maxBuffer: 1 << 28 },
  )
  if (status !== 0) throw new Error(`kcat: ${status}`)
  const records: KafkaRecord[] = []
  for (let at = 0; at < stdout.length;) {
    const eol = stdout.indexOf(10, at)
    const [timestamp, keyLength, length] = stdout.toString('latin1', at, eol).split(' ').map(Number)
    const keyEnd = eol + 1 + Math.max(0, keyLength)
    records.push({
      topic,
      timestamp,
      key: keyLength < 0 ? null : stdout.subarray(eol + 1, keyEnd),
      value: stdout.subarray(keyEnd, keyEnd + length),
    })
    at = keyEnd + length
  }
  return records
}

async function readByConsumer(bootstrap: string, topic: string): Promise<KafkaRecord[]> {
  const consumer = new Kafka.KafkaConsumer(
    { 'bootstrap.servers': bootstrap, 'group.id': 'test', 'enable.partition.eof': true, 'enable.auto.commit': false },
    { 'auto.offset.reset': 'earliest' },
  )
  const records: KafkaRecord[] = []
  const open = new Set<number>()
  try {
    const metadata = await new Promise<Kafka.Metadata>((resolve, reject) => {
      consumer.connect({ timeout: 10_000, topic }, (error: unknown, data) => {
        if (error) reject(asError(error))
        else resolve(data)
      })
    })
    const partitions = metadata.topics.find((found) => found.name === topic)?.partitions ?? []
    for (const { id } of partitions) open.add(id)
    consumer.on('partition.eof', ({ partition }) => {
      open.delete(partition)
    })
    consumer.setDefaultConsumeTimeout(100)
    consumer.assign(partitions.map(({ id }) => ({ topic, partition: id, offset: -2 })))
    await until(`the end of ${topic}`, async () => {
      const messages = await new Promise<Kafka.Message[]>((resolve, reject) => {
        consumer.consume(1000, (error: unknown, batch) => {
          if (error) reject(asError(error))
          else resolve(batch)
        })
      })
      for (const { value, key, timestamp } of messages) {
        records.push({
          topic,
          value: value ?? Buffer.alloc(0),
          key: key === null || key === undefined ? null : Buffer.from(key),
          timestamp: timestamp ?? -1,
        })
      }
      return messages.length === 0 && open.size === 0
    })
  } finally {
    await new Promise<void>((resolve) => {
      consumer.disconnect(() => {
        resolve()
      })
    })
  }
  return records
}
