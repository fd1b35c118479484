/**
 * Rows of single sources, the spool and more processes. What is sent is counted in the sources' own units (posts,
 * events, packets), and each record that must come of it in the topics: a row that loses or doubles one is
 * disqualified.
 *
 * Time runs from the first octet that is sent to the last message committed, CPU over the same time. Senders are in the
 * benchmark's own process (UDP: a process of its own) and share the machine; so the CPU of a unit says what one core
 * could do.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { shardOf } from '../src/flow/shards.js'
import { dropsIn } from '../src/sources/hep/udp-drops.js'
import { AMI_SECRET, AMI_USER, amiEvents, AmiServer, EVENTS_OF_CALL, RECORDS_OF_CALL, writeAll } from './ami.js'
import { CdrTemplate, RECORDS_OF_CDR } from './freeswitch.js'
import { Captures, PACKETS_OF_CALL } from './hep.js'
import { bodiesOf, type NextBody, Poster } from './http.js'
import { countArrived } from './kafka.js'
import { epochMs, freePort, grpcLoad, type MinimRun, prepareMinim, type Server, serving } from './minim.js'
import { lastJson, ROOT, run } from './process.js'
import {
  BENCH_POLICY,
  type Context,
  costOf,
  Disqualified,
  expectBenchMessages,
  expectEqual,
  type Measured,
  options,
  program,
  type Row,
  withTopics,
} from './row.js'
import { transformPasses } from './rows.js'
import { RECORDS_OF_BODY } from './vq.js'

const SOURCES_POLICY = join(ROOT, 'bench/policy-sources.yaml')
const HOST = '127.0.0.1'

const POST_LINES = 500
const POST_CONNECTIONS = 4
const CDR_CONNECTIONS = 64

/** How much of the benchmark's records each row is worth, so that each takes some seconds. */
const scaled = (context: Context, share: number): number => Math.max(200, Math.round(context.records * share))

interface SourceRun {
  readonly policy: string
  readonly settings: Readonly<Record<string, unknown>>
  /** In the source's units. */
  readonly units: number
  readonly messages: number
  /** Another program than `minim run`. */
  readonly command?: (prepared: MinimRun) => readonly string[]
  /** Sends all. @returns when the first octet was sent, ms since 1970 */
  readonly send: (server: Server) => Promise<number>
}

/** Runs a proxy with a source, sends, and waits until all is committed. */
async function throughSource(
  context: Context,
  name: string,
  { policy, settings, units, messages, command, send }: SourceRun,
): Promise<Measured> {
  const prepared = await prepareMinim(context, name, policy, settings)
  return withTopics(context, prepared.topics, false, async () => {
    const { result, finished } = await serving(
      context,
      prepared,
      async (server) => {
        const before = await server.scrape()
        const began = await send(server)
        const { at, page } = await server.until('messages committed', messages, ({ produced }) => produced)
        return { seconds: (at - began) / 1000, cpuSeconds: page.cpuSeconds - before.cpuSeconds }
      },
      command?.(prepared),
    )
    return { records: units, messages, ...costOf([finished]), ...result }
  })
}

/** Posts by several connections at once. @returns when it began */
async function postAll(
  port: number,
  path: string,
  contentType: string,
  bodies: readonly NextBody[],
  check: (answer: string) => void,
): Promise<number> {
  const posters = await Promise.all(bodies.map(() => Poster.open({ host: HOST, port, path, contentType })))
  try {
    const began = epochMs()
    await Promise.all(posters.map((poster, i) => poster.run(bodies[i], check)))
    return began
  } finally {
    for (const poster of posters) poster.close()
  }
}

function http(id: string, title: string, command?: SourceRun['command']): Row {
  return {
    id,
    title,
    needs: 'minim',
    async run(context, name) {
      const port = await freePort()
      const posts = bodiesOf(readFileSync(context.jsonl), POST_LINES)
      let taken = 0
      const measured = await throughSource(context, name, {
        policy: BENCH_POLICY,
        settings: { http: { listen: `${HOST}:${port}` } },
        units: context.records,
        messages: context.statistics.messages,
        ...(command === undefined ? {} : { command }),
        send: async () => {
          let next = 0
          const body: NextBody = () => posts[next++] ?? null
          const began = await postAll(
            port,
            '/v1/calls',
            'application/x-ndjson',
            Array.from({ length: POST_CONNECTIONS }, () => body),
            (answer) => {
              const found = /^202 \{"records":(\d+)\}$/.exec(answer)
              if (found === null) throw new Disqualified(`a post was answered with ${answer.slice(0, 100)}`)
              taken += Number(found[1])
            },
          )
          expectEqual('records acknowledged', taken, context.records)
          return began
        },
      })
      expectBenchMessages(context, measured)
      return measured
    },
  }
}

const freeswitch: Row = {
  id: 'freeswitch',
  title: `FreeSWITCH: posts of a CDR by ${CDR_CONNECTIONS} connections, each a call, a quality and a device`,
  needs: 'minim',
  async run(context, name) {
    const port = await freePort()
    const posts = scaled(context, 0.1)
    const template = new CdrTemplate(Date.now())
    return throughSource(context, name, {
      policy: SOURCES_POLICY,
      settings: { freeswitch: { listen: `${HOST}:${port}` } },
      units: posts,
      messages: posts * RECORDS_OF_CDR,
      send: () => {
        let next = 0
        const bodies = Array.from({ length: CDR_CONNECTIONS }, (): NextBody => {
          const body = template.body()
          return () => {
            if (next >= posts) return null
            template.write(body, next++)
            return body
          }
        })
        return postAll(port, '/cdr', 'application/json', bodies, (answer) => {
          if (answer !== `200 {"records":${RECORDS_OF_CDR}}`)
            throw new Disqualified(`a post was answered with ${answer.slice(0, 100)}`)
        })
      },
    })
  },
}

const ami: Row = {
  id: 'ami',
  title: 'AMI: events (RTCP, Hangup, Cdr, ContactStatus)',
  needs: 'minim',
  async run(context, name) {
    const calls = scaled(context, 1 / EVENTS_OF_CALL)
    const server = await AmiServer.start()
    const secretFile = join(context.folder, `${name}-secret`)
    writeFileSync(secretFile, AMI_SECRET, { mode: 0o600 })
    try {
      const entry = {
        node: 'bench',
        host: HOST,
        port: server.port,
        user: AMI_USER,
        secretFile,
        maxEventsPerSecond: 1_000_000,
        // Else the last of half a second would be measured, and its wait.
        settleMs: 50,
      }
      return await throughSource(context, name, {
        policy: SOURCES_POLICY,
        settings: { ami: [entry] },
        units: calls * EVENTS_OF_CALL,
        messages: calls * RECORDS_OF_CALL,
        send: async () => {
          const events = amiEvents(calls, Date.now())
          await server.listening
          return server.send(events)
        },
      })
    } finally {
      server.close()
    }
  },
}

const hepTcp: Row = {
  id: 'hep-tcp',
  title: `HEP3 by TCP: packets of SIP, ${PACKETS_OF_CALL} of a call`,
  needs: 'minim',
  async run(context, name) {
    const port = await freePort()
    const calls = scaled(context, 1 / PACKETS_OF_CALL)
    return throughSource(context, name, {
      policy: SOURCES_POLICY,
      settings: { hep: { tcp: `${HOST}:${port}`, calls: 'always', ratePerSecond: 0 } },
      units: calls * PACKETS_OF_CALL,
      messages: calls,
      send: async () => {
        const frames = new Captures(Date.now()).of(0, calls)
        const socket = connect(port, HOST)
        try {
          await new Promise<void>((resolve, reject) => {
            socket.once('connect', resolve).once('error', reject)
          })
          const began = epochMs()
          await writeAll(socket, frames)
          return began
        } finally {
          socket.end()
        }
      },
    })
  },
}

/** Rates of the UDP row, packets a second, one after the other until one is too fast; how long each. */
const UDP_RATES = [5000, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 80_000, 90_000, 100_000, 120_000]
const UDP_QUICK_RATES = [1000, 10_000, 60_000]
const UDP_SECONDS = 2
const UDP_QUICK_SECONDS = 0.5
/**
 * A rate fails for good when it failed so often; the lowest one may do so more often, since without it there is no
 * figure.
 */
const UDP_TRIES = 2
const UDP_FIRST_TRIES = 6
/** As long as nothing more is produced of calls that were lost in part. */
const QUIET_MS = 1500

interface UdpStep {
  readonly packets: number
  readonly lost: number
  readonly seconds: number
  readonly cpuSeconds: number
}

/**
 * Sends whole calls at a rate. What arrives must be exact: each packet received or counted as dropped, each call of a
 * step without loss in the topic.
 */
async function udpStep(
  context: Context,
  server: Server,
  port: number,
  rate: number,
  first: number,
  seconds: number,
): Promise<UdpStep> {
  const calls = Math.round((rate * seconds) / PACKETS_OF_CALL)
  const packets = calls * PACKETS_OF_CALL
  const path = join(context.folder, 'frames.bin')
  writeFileSync(path, new Captures(Date.now()).of(first, calls))
  const drops = (): number => dropsIn(readFileSync('/proc/net/udp', 'latin1'), port) ?? NaN
  const received = (page: Awaited<ReturnType<Server['scrape']>>): number =>
    page.total('minim_source_received_total', { source_kind: 'hep' })
  const before = await server.scrape()
  const dropsBefore = drops()
  const { stdout } = await run(
    'python3',
    [join(ROOT, 'bench/udp-send.py'), HOST, String(port), path, String(rate)],
    options(context),
  )
  rmSync(path)
  const report = lastJson(stdout)
  expectEqual('packets sent', Number(report['sent']), packets)
  // minim counts what the kernel dropped as received and refused.
  const { page } = await server.until('packets received or counted as dropped', received(before) + packets, received)
  const byKernel = drops() - dropsBefore
  const refused = (of: typeof page): number =>
    of.total('minim_source_refused_total', { source_kind: 'hep', reason: 'no_room' })
  // Beside the kernel's drops minim counts those of the thread that reads the socket, where the rest has fallen behind.
  const lost = refused(page) - refused(before)
  if (lost < byKernel) throw new Disqualified(`packets dropped: ${lost} by minim's count, ${byKernel} by the kernel's`)
  if (lost === 0) {
    const after = await server.until('calls committed', before.produced + calls, ({ produced }) => produced)
    return { packets, lost, seconds: Number(report['seconds']), cpuSeconds: after.page.cpuSeconds - before.cpuSeconds }
  }
  for (let last = -1, now = page.produced; now !== last;) {
    await sleep(QUIET_MS)
    last = now
    now = (await server.scrape()).produced
  }
  return { packets, lost, seconds: Number(report['seconds']), cpuSeconds: 0 }
}

const hepUdp: Row = {
  id: 'hep-udp',
  title: 'HEP3 by UDP: packets of SIP, the highest rate without loss',
  needs: 'minim',
  async run(context, name) {
    if (!existsSync('/proc/net/udp'))
      throw new Error('/proc/net/udp is not there: what the kernel drops cannot be counted')
    const port = await freePort()
    const prepared = await prepareMinim(context, name, SOURCES_POLICY, {
      hep: { udp: `${HOST}:${port}`, calls: 'always', ratePerSecond: 0 },
    })
    const rates = context.quick ? UDP_QUICK_RATES : UDP_RATES
    const seconds = context.quick ? UDP_QUICK_SECONDS : UDP_SECONDS
    try {
      const { result, finished } = await serving(context, prepared, async (server) => {
        let best: UdpStep | null = null
        let first = 0
        for (const rate of rates) {
          let step: UdpStep | null = null
          const tries = best === null ? UDP_FIRST_TRIES : UDP_TRIES
          for (let attempt = 0; attempt < tries && step?.lost !== 0; attempt++) {
            step = await udpStep(context, server, port, rate, first, seconds)
            first += step.packets
          }
          if (step === null || step.lost > 0) break
          best = step
        }
        if (best === null) throw new Disqualified(`packets are lost at ${rates[0]} a second already`)
        // Counted while the proxy runs: when it ends it also writes what it knows of calls whose end was lost.
        const { produced } = await server.scrape()
        expectEqual(
          'messages that a consumer found',
          (await countArrived(context.bootstrap, prepared.topics, options(context))).messages,
          produced,
        )
        return best
      })
      return {
        ...costOf([finished]),
        records: result.packets,
        messages: result.packets / PACKETS_OF_CALL,
        seconds: result.seconds,
        cpuSeconds: result.cpuSeconds,
      }
    } finally {
      await context.topics.remove(prepared.topics)
    }
  },
}

const vq: Row = {
  id: 'vq',
  title: 'vq-rtcpxr: bodies to records, two of a body, no network, no Kafka',
  needs: 'nothing',
  async run(context) {
    const bodies = scaled(context, 0.4)
    const finished = await run('node', [program('vq'), String(bodies)], options(context))
    const report = lastJson(finished.stdout)
    expectEqual('records', Number(report['records']), bodies * RECORDS_OF_BODY)
    return {
      records: bodies,
      messages: bodies * RECORDS_OF_BODY,
      seconds: Number(report['seconds']),
      ...costOf([finished]),
      cpuSeconds: Number(report['cpuSeconds']),
    }
  },
}

const workers2: Row = {
  id: 'workers2',
  title: 'transform, two processes at once',
  needs: 'nothing',
  async run(context) {
    const both = await Promise.all([transformPasses(context), transformPasses(context)])
    const sum = (of: (measured: Measured) => number): number =>
      both.reduce((total, { measured }) => total + of(measured), 0)
    return {
      records: sum(({ records }) => records),
      messages: sum(({ messages }) => messages),
      cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds),
      peakMB: sum(({ peakMB }) => peakMB),
      // From when the first began to when the last ended.
      seconds:
        (Math.max(...both.map(({ endedMs }) => endedMs)) - Math.min(...both.map(({ beganMs }) => beganMs))) / 1000,
      wallSeconds: Math.max(...both.map(({ measured }) => measured.wallSeconds)),
    }
  },
}

/** Processes of the rows with more than one. */
export const WORKERS = 2
/** Connections are dealt in turn: the second goes to the other worker. More are for what else may have connected. */
const CONNECTIONS = 6

/** Process ids of the workers of a proxy, by their number: other proxies' workers may run beside it. */
function workersOf({ settings }: MinimRun): Map<number, string> {
  const found = new Map<number, string>()
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes(settings)) continue
      const index = /(?:^|\0)MINIM_WORKER=(\d+)\0/.exec(readFileSync(`/proc/${pid}/environ`, 'latin1'))?.[1]
      if (index !== undefined) found.set(Number(index), pid)
    } catch {
      /* it has ended */
    }
  }
  return found
}

/** Which worker has the connection to a port that is open now; null while there is none. */
function holderOf(workers: ReadonlyMap<number, string>, port: number): number | null {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const inodes = new Set(
    readFileSync('/proc/net/tcp', 'latin1')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((columns) => columns[1]?.endsWith(local) && columns[3] === '01')
      .map((columns) => `socket:[${columns[9]}]`),
  )
  if (inodes.size === 0) return null
  for (const [index, pid] of workers) {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      try {
        if (inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`))) return index
      } catch {
        /* it was closed */
      }
    }
  }
  return null
}

function throughWorker(id: string, title: string, right: boolean): Row {
  return {
    id,
    title,
    needs: 'minim',
    async run(context, name) {
      if (!existsSync('/proc/net/tcp'))
        throw new Error('/proc/net/tcp is not there: which worker has a connection cannot be told')
      const prepared = await prepareMinim(context, name, BENCH_POLICY, { workers: WORKERS })
      const port = Number(prepared.grpc.split(':')[1])
      let connections = 0
      const measured = await withTopics(context, prepared.topics, false, async () => {
        const { result, finished } = await serving(context, prepared, async (server) => {
          const workers = workersOf(prepared)
          expectEqual('workers found', workers.size, WORKERS)
          while (connections < CONNECTIONS) {
            const source = sourceOf(name, connections++)
            const before = await server.scrape()
            let over = false
            const client = grpcLoad(context, prepared, [source, context.protobuf]).finally(() => {
              over = true
            })
            let holder: number | null = null
            while (holder === null && !over) {
              holder = holderOf(workers, port)
              if (holder === null) await sleep(5)
            }
            const report = await client
            const cpuSeconds = (await server.scrape()).cpuSeconds - before.cpuSeconds
            if (holder !== null && (holder === OWNER) === right)
              return { seconds: Number(report['seconds']), cpuSeconds }
          }
          throw new Error(`none of ${CONNECTIONS} connections reached the ${right ? 'owner' : 'other worker'}`)
        })
        return {
          records: context.records,
          messages: context.statistics.messages * connections,
          ...costOf([finished]),
          ...result,
        }
      })
      return { ...measured, messages: context.statistics.messages }
    },
  }
}

/** Whose sources these rows use. */
const OWNER = 0

function sourceOf(name: string, connection: number): string {
  for (let i = 0; ; i++) {
    const source = `${name}-${connection}-${i}`
    if (shardOf(source, WORKERS) === OWNER) return source
  }
}

export const SOURCE_ROWS: readonly Row[] = [
  http('http', `minim run, JSON Lines by HTTP, ${POST_LINES} a post, with the spool`),
  http('direct', 'the same without the spool: straight to delivery', ({ settings }) => [
    program('http-direct'),
    settings,
  ]),
  freeswitch,
  ami,
  hepUdp,
  hepTcp,
  vq,
  workers2,
  throughWorker('owner', 'gRPC, two workers, to the one that owns the source', true),
  throughWorker('handover', 'gRPC, two workers, to the other one, which hands it over', false),
]
