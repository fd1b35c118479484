/**
 * A real Kafka 4.1 for tests and benchmarks: KRaft, loopback, free ports, its data in a temporary folder.
 *
 * The jars come from Maven once and stay in `.cache/kafka/`. Every broker hangs on a small shell that holds a pipe to
 * this process: whatever way this process ends, the broker ends with it.
 */
import type { ChildProcess } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawn, spawnSync } from './child-process.js'
import { freePort } from './free-port.js'
export const KAFKA_VERSION = '4.1.0'
const CLUSTER_ID = 'MkU3OEVBNTcwNTJENDM2Qg'
const ATTEMPTS = 3
const READY_TIMEOUT_MS = 90_000

/** One record as the Java console consumer printed it. */
export interface ConsumedRecord {
  readonly timestamp: number
  readonly partition: number
  readonly offset: number
  readonly key: Buffer | null
  readonly value: Buffer
}

export interface ConsoleConsumerOptions {
  /** Stop after so many; without it, after `timeoutMs` without a message. */
  readonly maxMessages?: number
  /** Default 4000. */
  readonly timeoutMs?: number
  readonly isolation?: 'read_committed' | 'read_uncommitted'
}

export interface StartKafkaOptions {
  readonly brokers?: number
  /** Lines of `server.properties` beside the helper's own, which they override. */
  readonly properties?: Readonly<Record<string, string | number>>
  /** Heap of each broker, as Java's -Xmx takes it. Default `1g`. */
  readonly heap?: string
  /** Set these to start on ports chosen before (a broker that comes late). */
  readonly port?: number
  /**
   * Port that each broker tells clients to come to, in place of its own: a proxy's. Brokers among themselves, and this
   * helper's tools and consumer, then use a listener beside it.
   */
  readonly advertisedPorts?: readonly number[]
  /**
   * Where each broker keeps its log, in place of a folder that is removed at the end (a file system that can be full).
   */
  readonly dataDirs?: readonly string[]
}

export interface KafkaCluster {
  readonly bootstrap: string
  /** For Kafka's own tools: the same as `bootstrap`, or the listeners beside proxies. */
  readonly toolBootstrap: string
  /** Of each broker's listener for clients, as it is, whatever it advertises. */
  readonly ports: readonly number[]
  /** Of the first broker. */
  readonly pid: number
  readonly pids: readonly number[]
  readonly logDir: string
  readonly classpath: string
  /** What the first broker printed. */
  readonly logFile: string
  /** Ends all brokers and removes their data. */
  stop(): Promise<void>
  /** SIGKILL to one broker (default the first), data kept: {@link KafkaCluster.restart} brings it back. */
  kill(index?: number): Promise<void>
  restart(index?: number): Promise<void>
  /** SIGSTOP and SIGCONT: a broker that hangs. */
  pause(index?: number): void
  resume(index?: number): void
  /** The independent reader: Java, from the beginning, `read_committed` unless asked otherwise. */
  consoleConsumer(topic: string, options?: ConsoleConsumerOptions): Promise<ConsumedRecord[]>
  /**
   * Runs one of Kafka's own tools, e.g. `org.apache.kafka.tools.TopicCommand`; resolves with its output, rejects when
   * it fails.
   */
  tool(mainClass: string, args: readonly string[]): Promise<string>
}

/** null when a broker can be started here, else why not: say it loudly. */
export function kafkaAvailable(): string | null {
  for (const [command, flag] of [
    ['java', '-version'],
    ['mvn', '-version'],
  ] as const) {
    const found = spawnSync(command, [flag], { stdio: 'ignore' })
    if (found.error !== undefined || found.status !== 0) {
      return `${command} is not installed: a real Kafka broker needs a Java runtime (17 or later) and Maven`
    }
  }
  return null
}

function repoRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('no package.json above the test helper')
    folder = parent
  }
  return folder
}

/** Folder with Kafka's jars, fetched on first use. */
export function kafkaJars(): string {
  const cache = join(repoRoot(), '.cache', 'kafka')
  const lib = join(cache, `lib-${KAFKA_VERSION}`)
  if (existsSync(lib)) return lib
  mkdirSync(cache, { recursive: true })
  // A folder of its own, renamed when complete: two runs at once, or one cut short, leave no half of a library behind.
  const work = mkdtempSync(join(cache, 'fetch-'))
  const dependency = (artefact: string): string =>
    `<dependency><groupId>org.apache.kafka</groupId><artifactId>${artefact}</artifactId><version>${KAFKA_VERSION}</version></dependency>`
  writeFileSync(
    join(work, 'pom.xml'),
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>' +
      '<groupId>minim.test</groupId><artifactId>kafka</artifactId><version>1</version>' +
      `<dependencies>${dependency('kafka_2.13')}${dependency('kafka-tools')}</dependencies></project>\n`,
  )
  try {
    const fetched = spawnSync('mvn', ['-q', '-B', 'dependency:copy-dependencies', '-DoutputDirectory=lib'], {
      cwd: work,
      encoding: 'utf8',
      timeout: 600_000,
    })
    if (fetched.status !== 0) {
      throw new Error(
        `Maven could not fetch Kafka ${KAFKA_VERSION}: ${fetched.error?.message ?? (fetched.stdout + fetched.stderr).slice(0, 2000)}`,
      )
    }
    try {
      renameSync(join(work, 'lib'), lib)
    } catch (error) {
      if (!existsSync(lib)) throw error
    }
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return lib
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => {
      resolve(false)
    })
  })
}

interface Broker {
  readonly port: number
  /** Of the listener that is never disturbed. */
  readonly innerPort: number
  readonly folder: string
  readonly properties: string
  readonly logFile: string
  guard: ChildProcess | null
  pid: number
}

// The guard prints the broker's id, then waits for its pipe to close, and ends the broker.
const GUARD =
  '"$@" </dev/null >>"$MINIM_LOG" 2>&1 & broker=$!; echo $broker; cat >/dev/null; kill -9 $broker 2>/dev/null; wait $broker 2>/dev/null'

async function launch(broker: Broker, classpath: string, heap: string): Promise<void> {
  const guard = spawn(
    'sh',
    [
      '-c',
      GUARD,
      'sh',
      'java',
      `-Xmx${heap}`,
      '-Xms256m',
      '-XX:+UseG1GC',
      '-Djava.awt.headless=true',
      '-cp',
      classpath,
      'kafka.Kafka',
      broker.properties,
    ],
    { stdio: ['pipe', 'pipe', 'ignore'], env: { ...process.env, MINIM_LOG: broker.logFile } },
  )
  guard.unref()
  broker.guard = guard
  broker.pid = await new Promise<number>((resolve, reject) => {
    guard.once('error', reject)
    guard.stdout.once('data', (data: Buffer) => {
      resolve(Number(data.toString().trim()))
    })
  })
  const unref = (stream: unknown): void => {
    ;(stream as { unref?: () => void }).unref?.()
  }
  unref(guard.stdin)
  unref(guard.stdout)
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function end(broker: Broker): Promise<void> {
  const guard = broker.guard
  if (guard === null) return
  broker.guard = null
  const gone = new Promise<void>((resolve) => {
    guard.once('exit', () => {
      resolve()
    })
  })
  guard.ref()
  if (alive(broker.pid)) process.kill(broker.pid, 'SIGKILL')
  guard.stdin?.end()
  if (guard.exitCode === null) await gone
}

async function untilReady(broker: Broker): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS
  while (!(await answers(broker.port))) {
    if (!alive(broker.pid))
      throw new Error(`the broker ended while it started: ${readFileSync(broker.logFile, 'utf8').slice(-2000)}`)
    if (Date.now() > deadline) throw new Error('the broker did not start in time')
    await sleep(100)
  }
}

function run(
  command: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: Buffer; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const out: Buffer[] = []
    let err = ''
    child.stdout.on('data', (chunk: Buffer) => {
      out.push(chunk)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString()
    })
    child.once('error', reject)
    child.once('close', (code) => {
      resolve({ code, stdout: Buffer.concat(out), stderr: err })
    })
  })
}

// BytesDeserializer prints what is not printable ASCII, and the backslash, as \xNN.
function unescapeBytes(text: string): Buffer {
  return Buffer.from(
    text.replace(/\\x([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    'latin1',
  )
}

const NULL_LITERAL = '(null)'

function parseRecord(line: string): ConsumedRecord | null {
  const parts = line.split('\t')
  if (parts.length !== 5) return null
  const number = (text: string | undefined): number => Number((text ?? '').split(':')[1])
  const [time, partition, offset, key, value] = parts
  return {
    timestamp: number(time),
    partition: number(partition),
    offset: number(offset),
    key: key === NULL_LITERAL || key === undefined ? null : unescapeBytes(key),
    value: unescapeBytes(value ?? ''),
  }
}

/**
 * Starts a cluster of one or more brokers and waits until it answers. One or two: the first is the controller. Three or
 * more: each is broker and controller, so that any one of them may be missing.
 */
export async function startKafka(options: StartKafkaOptions = {}): Promise<KafkaCluster> {
  const reason = kafkaAvailable()
  if (reason !== null) throw new Error(reason)
  const lib = kafkaJars()
  const classpath = readdirSync(lib)
    .filter((f) => f.endsWith('.jar'))
    .map((f) => join(lib, f))
    .join(delimiter)
  let failure: unknown
  // A free port may be taken by someone else before the broker has it.
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      return await startOnce(options, classpath)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

async function startOnce(options: StartKafkaOptions, classpath: string): Promise<KafkaCluster> {
  const count = options.brokers ?? 1
  const heap = options.heap ?? '1g'
  const folder = mkdtempSync(join(tmpdir(), 'minim-kafka-'))
  const controllerPorts: number[] = []
  for (let i = 0; i < (count >= 3 ? count : 1); i++) controllerPorts.push(await freePort())
  const voters = controllerPorts.map((port, i) => `${i + 1}@127.0.0.1:${port}`).join(',')
  const { advertisedPorts } = options
  const brokers: Broker[] = []
  const replication = Math.min(count, 3)
  const removeAll = async (): Promise<void> => {
    await Promise.all(brokers.map(end))
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    for (let i = 0; i < count; i++) {
      const port = i === 0 && options.port !== undefined ? options.port : await freePort()
      const home = join(folder, `broker-${i + 1}`)
      mkdirSync(home)
      const controllerPort = controllerPorts[i]
      const innerPort = advertisedPorts === undefined ? port : await freePort()
      const listeners = [
        `PLAINTEXT://127.0.0.1:${port}`,
        ...(innerPort === port ? [] : [`INTERNAL://127.0.0.1:${innerPort}`]),
      ]
      const advertised = [`PLAINTEXT://127.0.0.1:${advertisedPorts?.[i] ?? port}`, ...listeners.slice(1)]
      const settings: Record<string, string | number> = {
        'node.id': i + 1,
        'process.roles': controllerPort === undefined ? 'broker' : 'broker,controller',
        listeners: [
          ...listeners,
          ...(controllerPort === undefined ? [] : [`CONTROLLER://127.0.0.1:${controllerPort}`]),
        ].join(','),
        'advertised.listeners': advertised.join(','),
        ...(innerPort === port ? {} : { 'inter.broker.listener.name': 'INTERNAL' }),
        'controller.listener.names': 'CONTROLLER',
        'controller.quorum.voters': voters,
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL',
        'log.dirs': options.dataDirs?.[i] ?? join(home, 'data'),
        'num.partitions': 1,
        'default.replication.factor': replication,
        'offsets.topic.replication.factor': replication,
        'offsets.topic.num.partitions': 4,
        'transaction.state.log.replication.factor': replication,
        'transaction.state.log.min.isr': 1,
        'transaction.state.log.num.partitions': 4,
        'share.coordinator.state.topic.replication.factor': replication,
        'share.coordinator.state.topic.min.isr': 1,
        'group.initial.rebalance.delay.ms': 0,
        'auto.create.topics.enable': 'false',
        'controlled.shutdown.enable': 'false',
        ...options.properties,
      }
      const properties = join(home, 'server.properties')
      writeFileSync(
        properties,
        Object.entries(settings)
          .map(([k, v]) => `${k}=${v}\n`)
          .join(''),
      )
      brokers.push({
        port,
        innerPort,
        folder: home,
        properties,
        logFile: join(home, 'broker.log'),
        guard: null,
        pid: 0,
      })
    }
    for (const broker of brokers) {
      closeSync(openSync(broker.logFile, 'w'))
      const formatted = await run('java', [
        '-XX:TieredStopAtLevel=1',
        '-cp',
        classpath,
        'kafka.tools.StorageTool',
        'format',
        '-t',
        CLUSTER_ID,
        '-c',
        broker.properties,
      ])
      if (formatted.code !== 0) throw new Error(`StorageTool failed: ${formatted.stderr.slice(-2000)}`)
    }
    for (const broker of brokers) await launch(broker, classpath, heap)
    for (const broker of brokers) await untilReady(broker)
  } catch (error) {
    await removeAll()
    throw error
  }
  const bootstrap = brokers.map((b) => `127.0.0.1:${b.port}`).join(',')
  const toolBootstrap = brokers.map((b) => `127.0.0.1:${b.innerPort}`).join(',')
  const pick = (index: number): Broker => {
    const broker = brokers[index]
    if (broker === undefined) throw new RangeError(`no broker ${index}`)
    return broker
  }
  return {
    bootstrap,
    toolBootstrap,
    ports: brokers.map((b) => b.port),
    get pid() {
      return pick(0).pid
    },
    get pids() {
      return brokers.map((b) => b.pid)
    },
    logDir: join(pick(0).folder, 'data'),
    logFile: pick(0).logFile,
    classpath,
    stop: removeAll,
    async kill(index = 0) {
      await end(pick(index))
    },
    async restart(index = 0) {
      const broker = pick(index)
      await end(broker)
      await launch(broker, classpath, heap)
      await untilReady(broker)
    },
    pause(index = 0) {
      process.kill(pick(index).pid, 'SIGSTOP')
    },
    resume(index = 0) {
      process.kill(pick(index).pid, 'SIGCONT')
    },
    async consoleConsumer(topic, consumer = {}) {
      const args = [
        '-XX:TieredStopAtLevel=1',
        '-cp',
        classpath,
        'org.apache.kafka.tools.consumer.ConsoleConsumer',
        '--bootstrap-server',
        toolBootstrap,
        '--topic',
        topic,
        '--from-beginning',
        '--timeout-ms',
        String(consumer.timeoutMs ?? 4000),
        '--consumer-property',
        `isolation.level=${consumer.isolation ?? 'read_committed'}`,
        '--property',
        'print.timestamp=true',
        '--property',
        'print.partition=true',
        '--property',
        'print.offset=true',
        '--property',
        'print.key=true',
        '--property',
        `null.literal=${NULL_LITERAL}`,
        '--property',
        'key.deserializer=org.apache.kafka.common.serialization.BytesDeserializer',
        '--property',
        'value.deserializer=org.apache.kafka.common.serialization.BytesDeserializer',
      ]
      if (consumer.maxMessages !== undefined) args.push('--max-messages', String(consumer.maxMessages))
      let { stdout } = await run('java', args)
      if (stdout.length === 0) {
        // On a busy machine Java may need all of that time to start.
        args[args.indexOf('--timeout-ms') + 1] = '12000'
        stdout = (await run('java', args)).stdout
      }
      const records: ConsumedRecord[] = []
      let start = 0
      for (;;) {
        const stop = stdout.indexOf(10, start)
        if (stop < 0) break
        const record = parseRecord(stdout.toString('latin1', start, stop))
        if (record !== null) records.push(record)
        start = stop + 1
      }
      return records
    },
    async tool(mainClass, args) {
      const { code, stdout, stderr } = await run('java', [
        '-XX:TieredStopAtLevel=1',
        '-cp',
        classpath,
        mainClass,
        ...args,
      ])
      if (code !== 0) throw new Error(`${mainClass} failed: ${stderr.slice(-2000)}${stdout.toString().slice(-2000)}`)
      return stdout.toString()
    },
  }
}
