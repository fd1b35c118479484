/**
 * Short torture runs. That they can fail is shown by taking a rule of delivery out: without the ledger batches come
 * twice, acknowledged before the commit they are lost, and so are lines of files that share a batch without leases;
 * read as if there were no transactions the aborted ones come twice.
 * MINIM_KILL_ROUNDS=200 is the long form of the first.
 */
import t, { type Test } from 'tap'
import { kafkaAvailable } from '../helpers/kafka.js'
import { allEnded } from '../torture/checker.js'
import { torture, type TortureOptions, type TortureResult } from '../torture/run.js'

const reason = kafkaAvailable()
const skip = reason ?? false
if (reason !== null) t.comment(`NOT RUN: ${reason}`)

const ROUNDS = Number(process.env['MINIM_KILL_ROUNDS'] ?? 20)
/** What a process has from its start to its end. */
const ROUND_MS = [100, 2_000] as const
/** With its start, about. */
const ROUND_SECONDS = 3.5
const limitMs = 1_200_000 + ROUNDS * 10_000
t.setTimeout(limitMs)

/** @returns what the run says; how it came about is told as comments */
async function run(t: Test, over: Partial<TortureOptions>): Promise<TortureResult> {
  const seed = Number(process.env['MINIM_TORTURE_SEED'] ?? Date.now() % 1_000_000)
  const result = await torture({
    minutes: 0.3,
    seed,
    workers: 1,
    brokers: 1,
    sources: ['grpc'],
    nodes: 2,
    rate: 200,
    sabotage: null,
    guarantee: 'exactly-once',
    faults: null,
    say: (line) => {
      t.comment(line)
    },
    ...over,
  })
  t.ok(
    allEnded(result.processes),
    `${result.processes.started} processes, each ended in time: ${result.processes.notEnded.join('; ')}`,
  )
  for (const what of [...result.verdict.examples, ...result.disagreements, ...result.voids]) t.comment(what)
  return result
}

t.test(
  `SIGKILL at ${ROUNDS} moments: nothing lost, nothing twice, and the figures agree`,
  { skip, timeout: limitMs },
  async (t) => {
    const { verdict, faults, voids, disagreements } = await run(t, {
      minutes: (3 + ROUNDS * ROUND_SECONDS) / 60,
      faults: ['proxy killed'],
      gapMs: ROUND_MS,
    })
    t.same(voids, [])
    t.same(disagreements, [])
    t.ok(faults >= ROUNDS * 0.8, `${faults} kills`)
    t.ok(verdict.sent > 1_000, `${verdict.sent} records`)
    const { lost, duplicated, misrouted, leaked } = verdict
    t.same({ lost, duplicated, misrouted, leaked }, { lost: 0, duplicated: 0, misrouted: 0, leaked: 0 })
    t.equal(verdict.outOfOrder, 0, 'in order')
  },
)

t.test('at least once: nothing lost, and no more twice than was under way', { skip, timeout: limitMs }, async (t) => {
  const { verdict, voids, disagreements } = await run(t, {
    minutes: 0.5,
    guarantee: 'at-least-once',
    faults: ['proxy killed', 'connections to Kafka cut'],
  })
  t.same(voids, [])
  t.same(disagreements, [])
  t.ok(verdict.sent > 1_000, `${verdict.sent} records`)
  const { lost, misrouted, leaked } = verdict
  t.same({ lost, misrouted, leaked }, { lost: 0, misrouted: 0, leaked: 0 }, `${verdict.duplicated} twice`)
})

t.test(
  'another host takes over, from one that runs, that is stopped, and that has nothing to do: streams, files and posts',
  { skip, timeout: limitMs },
  async (t) => {
    const { verdict, faults, voids, disagreements } = await run(t, {
      minutes: 0.6,
      sources: ['grpc', 'file', 'http'],
      nodes: 1,
      faults: ['second proxy', 'second proxy while the first is stopped', 'second proxy while the first is at rest'],
    })
    t.same(voids, [])
    t.same(disagreements, [])
    t.ok(faults >= 3, `${faults} times`)
    t.ok(verdict.sent > 1_000, `${verdict.sent} records`)
    const { lost, duplicated, misrouted, leaked, outOfOrder } = verdict
    t.same(
      { lost, duplicated, misrouted, leaked, outOfOrder },
      { lost: 0, duplicated: 0, misrouted: 0, leaked: 0, outOfOrder: 0 },
    )
  },
)

/** Lines wait for delivery, and more come in every rhythm. */
const OUTAGES = {
  minutes: 0.9,
  sources: ['file', 'http'],
  nodes: 1,
  faults: ['broker stopped for long', 'Kafka is silent'],
  gapMs: [1_000, 3_000],
} as const

t.test('files in every rhythm while Kafka is away', { skip, timeout: limitMs }, async (t) => {
  const { verdict, voids, disagreements } = await run(t, OUTAGES)
  t.same(voids, [])
  t.same(disagreements, [])
  t.ok(verdict.sent > 1_000, `${verdict.sent} records`)
  const { lost, duplicated, misrouted, leaked, outOfOrder } = verdict
  t.same(
    { lost, duplicated, misrouted, leaked, outOfOrder },
    { lost: 0, duplicated: 0, misrouted: 0, leaked: 0, outOfOrder: 0 },
  )
})

const KILLS = { faults: ['proxy killed'], gapMs: [2_500, 3_500] } as const

/** A fault that comes by chance may miss the few moments in which something can go wrong: another seed then. */
const SABOTAGED_RUNS = 4

t.test('it can fail', { skip, timeout: limitMs }, async (t) => {
  /** @returns the first run's verdict that shows it, or the last one's */
  const untilItShows = async (
    t: Test,
    over: Partial<TortureOptions>,
    shows: (verdict: TortureResult['verdict']) => boolean,
  ): Promise<TortureResult['verdict']> => {
    let verdict = (await run(t, over)).verdict
    for (let n = 1; n < SABOTAGED_RUNS && !shows(verdict); n++) verdict = (await run(t, over)).verdict
    return verdict
  }

  t.test('the ledger is not found again: duplicates', async (t) => {
    const verdict = await untilItShows(t, { ...KILLS, sabotage: 'ledger' }, ({ duplicated }) => duplicated > 0)
    t.ok(verdict.duplicated > 0, `${verdict.duplicated} duplicated`)
    t.equal(verdict.lost, 0)
  })

  t.test('acknowledged before the commit: loss', async (t) => {
    const verdict = await untilItShows(t, { ...KILLS, sabotage: 'early-ack' }, ({ lost }) => lost > 0)
    t.ok(verdict.lost > 0, `${verdict.lost} lost`)
  })

  t.test("what one file has read is emptied by another one's half line: loss", async (t) => {
    const verdict = await untilItShows(t, { ...OUTAGES, sabotage: 'lease' }, ({ lost }) => lost > 0)
    t.ok(verdict.lost > 0, `${verdict.lost} lost`)
    t.equal(verdict.duplicated, 0)
  })

  t.test('no isolation of transactions: duplicates', async (t) => {
    const isolation = {
      faults: ['proxy killed', 'connections to Kafka cut again and again'],
      gapMs: [500, 2_000],
      sabotage: 'isolation',
    } as const
    const verdict = await untilItShows(t, isolation, ({ duplicated }) => duplicated > 0)
    t.ok(verdict.duplicated > 0, `${verdict.duplicated} duplicated`)
  })
})
