/**
 * `minim run` as rows start it: settings, keys and topics of its own, asked by its operator's port what it has done.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { PARTITIONS } from './kafka.js'
import { type Finished, lastJson, ROOT, run, start } from './process.js'
import { type Context, Disqualified, options, program } from './row.js'
import { Scrape } from './scrape.js'

export const MAIN = join(ROOT, 'dist/src/cli/main.js')
const READY_TIMEOUT_MS = 60_000
/** How often the operator's port is asked whether all is committed, and how long nothing may change. */
const POLL_MS = 20
const STUCK_MS = 30_000
/** Until a process that has died is known to have. */
const ENDING_MS = 500

export interface MinimRun {
  readonly settings: string
  readonly policy: string
  readonly topics: readonly string[]
  readonly env: Record<string, string>
  readonly grpc: string
  readonly ops: string
}

/** A port that nobody listens on just now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : 0)
      })
    })
  })
}

interface PolicyDocument {
  purposes: Record<string, Record<string, { topic?: string }> & { enabled?: boolean }>
}

/**
 * Settings, key store and policy of one run: topics of its own, so that what it finds there it has written.
 * @param more sections of the settings, beside those that every run has
 */
export async function prepareMinim(
  context: Context,
  name: string,
  policyPath: string,
  more: Readonly<Record<string, unknown>> = {},
): Promise<MinimRun> {
  const folder = join(context.folder, name)
  mkdirSync(folder)
  const document = parse(readFileSync(policyPath, 'utf8')) as PolicyDocument
  const topics: string[] = []
  for (const [purpose, rules] of Object.entries(document.purposes)) {
    for (const kind of ['call', 'quality', 'device']) {
      if (rules[kind] === undefined) continue
      rules[kind].topic = `${name}.${purpose}.${kind}`
      if (rules.enabled !== false) topics.push(rules[kind].topic)
    }
  }
  const policy = join(folder, 'policy.yaml')
  writeFileSync(policy, stringify(document))
  const [grpcPort, opsPort] = [await freePort(), await freePort()]
  const settings = join(folder, 'minim.yaml')
  writeFileSync(
    settings,
    stringify({
      cluster: name,
      policy: 'policy.yaml',
      kafka: { 'bootstrap.servers': context.bootstrap },
      topics: { partitions: PARTITIONS, replication: 1 },
      keys: { store: 'keys.json' },
      grpc: { listen: `127.0.0.1:${grpcPort}` },
      ops: { listen: `127.0.0.1:${opsPort}` },
      log: { level: 'warn' },
      ...more,
    }),
  )
  const env = { MINIM_MASTER_KEY: context.masterKey }
  await run('node', [MAIN, 'keys', 'init', '--config', settings], options(context, env))
  return { settings, policy, topics, env, grpc: `127.0.0.1:${grpcPort}`, ops: `http://127.0.0.1:${opsPort}` }
}

/** null when the program can be run, else why not. */
export function minimMissing(): string | null {
  const found = spawnSync('node', [MAIN, 'load', '--help'], { encoding: 'utf8' })
  return found.status === 0 && found.stdout.includes('minim load')
    ? null
    : 'the program is not built: run `npm run build`'
}

async function untilReady(ops: string, ended: Promise<unknown>): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS
  let over: unknown = null
  ended.catch((error: unknown) => {
    over = error
  })
  while (Date.now() < deadline) {
    if (over !== null) throw over as Error
    try {
      const answer = await fetch(`${ops}/readyz`)
      await answer.arrayBuffer()
      if (answer.ok) return
    } catch {
      /* not listening yet */
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 50)
    })
  }
  throw new Error(`minim was not ready within ${READY_TIMEOUT_MS / 1000} s`)
}

/** A proxy that runs. */
export class Server {
  readonly #ops: string
  readonly #ended: Promise<unknown>

  constructor(ops: string, ended: Promise<unknown>) {
    this.#ops = ops
    this.#ended = ended
  }

  /** The page of metrics. Asking costs it a few milliseconds. */
  async scrape(): Promise<Scrape> {
    const answer = await fetch(`${this.#ops}/metrics`)
    return new Scrape(await answer.text())
  }

  /**
   * Waits until a count is what it must be.
   * @param value what counts, of a page of metrics
   * @returns when that was seen: ms since 1970
   * @throws Disqualified where it is more, or does not change for long
   */
  async until(
    what: string,
    expected: number,
    value: (page: Scrape) => number,
  ): Promise<{ readonly at: number; readonly page: Scrape }> {
    let over: unknown = null
    this.#ended.catch((error: unknown) => {
      over = error
    })
    let last = -1
    let changedAt = performance.now()
    for (;;) {
      const page = await this.scrape().catch(async (error: unknown) => {
        // Why it does not answer says more than that it does not.
        await new Promise((resolve) => {
          setTimeout(resolve, ENDING_MS)
        })
        throw (over ?? error) as Error
      })
      const found = value(page)
      if (found === expected) return { at: epochMs(), page }
      if (found > expected || performance.now() - changedAt > STUCK_MS)
        throw new Disqualified(`${what}: ${found}, expected ${expected}${page.troubles()}`)
      if (found !== last) changedAt = performance.now()
      last = found
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS)
      })
    }
  }
}

/** ms since 1970, with their fractions: the same clock in all processes. */
export function epochMs(): number {
  return performance.timeOrigin + performance.now()
}

/** Starts a proxy (default `minim run`), does something with it, and ends it. */
export async function serving<T>(
  context: Context,
  prepared: MinimRun,
  body: (server: Server) => Promise<T>,
  command: readonly string[] = [MAIN, 'run', '--config', prepared.settings],
): Promise<{ readonly result: T; readonly finished: Finished }> {
  const server = start('node', command, options(context, prepared.env))
  try {
    await untilReady(prepared.ops, server.done)
    const result = await body(new Server(prepared.ops, server.done))
    server.stop()
    return { result, finished: await server.done }
  } catch (error) {
    server.stop()
    await server.done.catch(() => undefined)
    throw error
  }
}

/** Runs a client against a proxy's gRPC port. */
export async function grpcLoad(
  context: Context,
  prepared: MinimRun,
  client: readonly string[],
): Promise<Record<string, unknown>> {
  const { stdout } = await run('node', [program('grpc-load'), prepared.grpc, ...client], options(context))
  return lastJson(stdout)
}
