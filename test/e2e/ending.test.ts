/**
 * How `minim run` ends, and that two do not share a spool. The program as it is, by itself: no broker is ever there.
 */
import { Agent, request } from 'node:http'
import process from 'node:process'
import t, { type Test } from 'tap'
import { endLimitMs } from '../../src/cli/end.js'
import { freePort } from '../helpers/free-port.js'
import { get, minim, Place, Program, sleep, until } from './program.js'
import { call } from './records.js'

t.setTimeout(900_000)

const ROUNDS = Number(process.env['MINIM_END_ROUNDS'] ?? 12)
const SENDERS = 16

interface Waiting {
  readonly place: Place
  readonly settings: string
  readonly http: number
  readonly ops: number
}

/** A place for proxies whose Kafka is not there. */
async function waiting(t: Test, over: Readonly<Record<string, unknown>> = {}): Promise<Waiting> {
  const place = new Place(t)
  place.makeStore()
  const [kafka, http, ops] = await Promise.all([freePort(), freePort(), freePort()])
  const settings = place.settings({
    embedded: false,
    kafka: { 'bootstrap.servers': `127.0.0.1:${kafka}` },
    http: { listen: `127.0.0.1:${http}` },
    ops: { listen: `127.0.0.1:${ops}` },
    spool: { path: place.path('spool') },
    ...over,
  })
  return { place, settings, http, ops }
}

/** Senders that post without end, each its next one when it has its answer. */
function senders(port: number): { answers: Record<string, number>; stop(): Promise<void> } {
  const agent = new Agent({ keepAlive: true, maxSockets: SENDERS })
  const answers: Record<string, number> = {}
  let over = false
  const post = (): Promise<string> =>
    new Promise((resolve) => {
      const body = JSON.stringify(call(0))
      const sent = request(
        {
          agent,
          port,
          host: '127.0.0.1',
          path: '/v1/calls',
          method: 'POST',
          headers: { 'content-type': 'application/json' },
        },
        (answer) => {
          answer
            .resume()
            .once('end', () => {
              resolve(String(answer.statusCode))
            })
            .once('error', () => {
              resolve('cut')
            })
        },
      )
      sent.once('error', (error: NodeJS.ErrnoException) => {
        resolve(error.code ?? 'cut')
      })
      sent.end(body)
    })
  const work = Array.from({ length: SENDERS }, async () => {
    while (!over) {
      const answer = await post()
      answers[answer] = (answers[answer] ?? 0) + 1
      if (answer !== '202') await sleep(20)
    }
  })
  return {
    answers,
    stop: async () => {
      over = true
      await Promise.all(work)
      agent.destroy()
    },
  }
}

t.test(
  'told to end while Kafka was never reached and posts come, it ends with 0, and every sender has its answer',
  { timeout: 600_000 },
  async (t) => {
    let slowest = 0
    for (let round = 0; round < ROUNDS; round++) {
      const { place, settings, http } = await waiting(t)
      const proxy = new Program(t, ['run', '--config', settings], place)
      const load = senders(http)
      await until('posts are taken', () => (load.answers['202'] ?? 0) > 50)
      await sleep(Math.random() * 100)
      const begunAt = performance.now()
      proxy.kill('SIGTERM')
      const { code, signal, stderr } = await proxy.end(endLimitMs(0))
      slowest = Math.max(slowest, performance.now() - begunAt)
      // Nobody waits for an answer for ever: this would.
      await load.stop()
      t.equal(signal ?? code, 0, `round ${round}\n${stderr}`)
    }
    t.comment(`${ROUNDS} ends, the slowest took ${Math.round(slowest)} ms`)
  },
)

const log = (program: Program): string =>
  program
    .log()
    .map((line) => (line['err'] as { code?: string } | undefined)?.code ?? line.msg)
    .join(', ')

t.test(
  'a second proxy on the same spool does not start; after SIGKILL of the first one it does',
  { timeout: 120_000 },
  async (t) => {
    const { place, settings, http, ops } = await waiting(t)
    const first = new Program(t, ['run', '--config', settings], place)
    await until('it listens', () => first.log().some((line) => line.msg === "operator's port"))
    const second = await minim(t, ['run', '--config', settings], place)
    t.equal(second.code, 1, second.stderr)
    t.match(
      second.stderr,
      /MINIM_SPOOL_LOCKED: .*spool: another minim runs with this spool\n {2}→ give each one a spool\.path of its own/,
    )
    // Commands that only read it do so.
    const keys = await minim(t, ['keys', 'status', '--config', settings], place)
    t.equal(keys.code, 0, keys.stderr)
    const gone = await minim(t, ['keys', 'destroy', 'minim.spool', '2026-01-01', '--yes', '--config', settings], place)
    t.notMatch(gone.stderr, /SPOOL_LOCKED/)
    first.kill('SIGKILL')
    await first.end()
    // Two at once: one of them.
    const both = [
      new Program(t, ['run', '--config', settings], place),
      new Program(t, ['run', '--config', settings], place),
    ] as const
    const loser = await Promise.race(both.map((program) => program.end().then((end) => ({ program, end }))))
    t.equal(loser.end.code, 1, loser.end.stderr)
    t.match(loser.end.stderr, /MINIM_SPOOL_LOCKED/)
    const winner = both[0] === loser.program ? both[1] : both[0]
    await until(
      `the other one takes posts: ${log(winner)}`,
      async () =>
        (
          await fetch(`http://127.0.0.1:${http}/v1/calls`, {
            method: 'POST',
            body: JSON.stringify(call(0)),
            headers: { 'content-type': 'application/json' },
          }).catch(() => null)
        )?.status === 202,
    )
    t.equal((await get(`127.0.0.1:${ops}`, '/readyz')).status, 503)
    winner.kill('SIGTERM')
    t.equal((await winner.end()).code, 0)
  },
)

t.test('workers hold the spool together, also when their supervisor is killed', { timeout: 120_000 }, async (t) => {
  const { place, settings } = await waiting(t, { workers: 2 })
  const first = new Program(t, ['run', '--config', settings], place)
  const pids = (): number[] => [
    ...new Set(
      first
        .log()
        .filter((line) => line.msg === 'delivery')
        .map((line) => Number(line['pid'])),
    ),
  ]
  await until('both workers are there', () => pids().length === 2)
  await sleep(500)
  const [worker] = pids()
  t.teardown(() => {
    for (const pid of pids())
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        /* it has ended */
      }
  })
  const second = await minim(t, ['run', '--config', settings], place)
  t.equal(second.code, 1, second.stderr)
  t.match(second.stderr, /MINIM_SPOOL_LOCKED/)
  // One hangs when the supervisor dies.
  process.kill(worker, 'SIGSTOP')
  first.kill('SIGKILL')
  await sleep(500)
  const third = await minim(t, ['run', '--config', settings], place)
  t.equal(third.code, 1, third.stderr)
  t.match(third.stderr, /MINIM_SPOOL_LOCKED/, 'a worker still has it')
  process.kill(worker, 'SIGKILL')
  const fourth = new Program(t, ['run', '--config', settings], place)
  await until('it runs', () => {
    if (fourth.over) throw new Error(fourth.stderr)
    return fourth.log().filter((line) => line.msg === 'delivery').length >= 2
  })
  fourth.kill('SIGTERM')
  t.equal((await fourth.end()).code, 0)
})

t.test('a worker that does not end is killed by its supervisor', { timeout: 120_000 }, async (t) => {
  const { place, settings } = await waiting(t, { workers: 2 })
  const supervisor = new Program(t, ['run', '--config', settings], place)
  const pids = (): number[] => [
    ...new Set(
      supervisor
        .log()
        .filter((line) => line.msg === 'delivery')
        .map((line) => Number(line['pid'])),
    ),
  ]
  await until('both workers are there', () => pids().length === 2)
  const [worker] = pids()
  t.teardown(() => {
    try {
      process.kill(worker, 'SIGKILL')
    } catch {
      /* it has ended */
    }
  })
  process.kill(worker, 'SIGSTOP')
  const begunAt = performance.now()
  supervisor.kill('SIGTERM')
  const { code, stderr } = await supervisor.end(60_000)
  t.equal(code, 1, `it says that one was killed:\n${stderr}`)
  t.ok(performance.now() - begunAt < endLimitMs(30_000) + 4_000, `after ${Math.round(performance.now() - begunAt)} ms`)
  t.throws(() => process.kill(worker, 0), { code: 'ESRCH' }, 'the worker is gone')
})

t.test(
  'with a worker that hangs, or is being replaced, the page of metrics comes all the same',
  { timeout: 120_000 },
  async (t) => {
    const { place, settings, ops } = await waiting(t, { workers: 2 })
    const supervisor = new Program(t, ['run', '--config', settings], place)
    const pids = (): number[] => [
      ...new Set(
        supervisor
          .log()
          .filter((line) => line.msg === 'delivery')
          .map((line) => Number(line['pid'])),
      ),
    ]
    await until('both workers are there', () => pids().length === 2)
    await until('they answer', async () =>
      /^minim_spool_bytes [1-9]/m.test((await get(`127.0.0.1:${ops}`, '/metrics')).body),
    )
    const look = async (what: string): Promise<void> => {
      const begunAt = performance.now()
      const { status, body } = await get(`127.0.0.1:${ops}`, '/metrics')
      t.equal(status, 200, what)
      t.match(body, /^minim_ready 0$/m, what)
      t.match(body, /^minim_build_info\{/m, `${what}: the other worker's figures are there`)
      t.ok(performance.now() - begunAt < 4000, `${what}: ${performance.now() - begunAt} ms`)
    }
    const [victim] = pids()
    process.kill(victim, 'SIGSTOP')
    await look('one hangs')
    process.kill(victim, 'SIGKILL')
    for (let i = 0; i < 5; i++) {
      await look('one is being replaced')
      await sleep(200)
    }
    await until('it is replaced', () => pids().length === 3)
    supervisor.kill('SIGTERM')
    t.equal((await supervisor.end()).code, 0)
  },
)

t.test(
  'SIGHUP ends nothing: the policy is read anew, once for all workers, and the agent says that it has none',
  { timeout: 120_000 },
  async (t) => {
    const { place, settings, ops } = await waiting(t, { workers: 2 })
    const supervisor = new Program(t, ['run', '--config', settings], place)
    const saying = (program: Program, msg: RegExp): number[] =>
      program.log().flatMap((line) => (msg.test(line.msg) ? [Number(line['pid'])] : []))
    await until('both workers are there', () => new Set(saying(supervisor, /^delivery$/)).size === 2)
    const [main] = saying(supervisor, /^supervisor$/)
    const all = [main, ...new Set(saying(supervisor, /^delivery$/))]
    for (const pid of all) process.kill(pid, 'SIGHUP')
    await until('the supervisor has said so', () => saying(supervisor, /^the policy is the one that runs$/).length > 0)
    await sleep(500)
    t.same(saying(supervisor, /^the policy is the one that runs$/), [main], 'and nobody else')
    t.equal((await get(`127.0.0.1:${ops}`, '/healthz')).status, 200)
    t.same(
      supervisor.log().filter(({ level }) => level === 'error'),
      [],
      'no worker died',
    )
    supervisor.kill('SIGTERM')
    t.equal((await supervisor.end()).code, 0)

    place.write('followed.jsonl', '')
    const agent = new Program(
      t,
      [
        'agent',
        '--config',
        place.settings({
          agent: { proxy: `127.0.0.1:${await freePort()}`, source: 'pbx-1', stateFile: place.path('agent-state.json') },
          files: [{ path: place.path('followed.jsonl'), format: 'jsonl' }],
        }),
      ],
      place,
    )
    await until('the agent runs', () => saying(agent, /^ready$/).length === 1)
    agent.kill('SIGHUP')
    await until('it has said so', () => saying(agent, /^ignored: settings/).length === 1)
    t.notOk(agent.over)
    agent.kill('SIGTERM')
    t.equal((await agent.end()).code, 0)
  },
)

t.test('Kafka is waited for with a line every ten seconds', { timeout: 120_000 }, async (t) => {
  const { place, settings } = await waiting(t)
  const proxy = new Program(t, ['run', '--config', settings], place)
  const lines = (): unknown[] => proxy.log().filter(({ msg }) => msg === 'waiting for Kafka')
  const begunAt = performance.now()
  await until('it has been said twice', () => lines().length === 2, 40_000)
  t.ok(performance.now() - begunAt > 15_000, 'no oftener')
  proxy.kill('SIGTERM')
  t.equal((await proxy.end()).code, 0)
})
