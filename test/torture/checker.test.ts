import t from 'tap'
import { given } from '../helpers/given.js'
import { allEnded, check, isClean, type Observed, type Sender, summary } from './checker.js'
import { CANARIES, fieldsOf, firstStart, identify, kindOf, MAX_SOURCES, startOf, tenantOf } from './numbers.js'
import { TOPICS, topicsOf } from './policy.js'
import { leaks, observe } from './reading.js'
import { FAULTS, schedule } from './schedule.js'

const ONE = 'pbx.billing.call'
const TWO = 'pbx.planning.call'
const OTHER = 'pbx.acme.call'
const RECORDS = 12

/** Two nodes: each record must be in two topics; of the first node's the third in a third one. */
const senders: readonly Sender[] = [0, 1].map((source) => ({
  sent: RECORDS,
  acknowledged: 10,
  topicsOf: (n) => (source === 0 && n === 3 ? [ONE, TWO, OTHER] : [ONE, TWO]),
}))

/** What a run without faults leaves: a topic with keys, one without. */
function cleanLog(): Observed[] {
  const messages: Observed[] = []
  for (let n = 1; n <= 10; n++) {
    for (const source of [0, 1]) {
      for (const topic of senders[source].topicsOf(n)) {
        const subject = n % 2
        const offset = messages.length
        messages.push({
          topic,
          partition: topic === TWO ? offset % 2 : subject,
          offset,
          key: topic === TWO ? null : `${source}${subject}`,
          record: { source, n },
        })
      }
    }
  }
  return messages
}

const find = (log: Observed[], topic: string, source: number, n: number): number =>
  log.findIndex((m) => m.topic === topic && m.record?.source === source && m.record.n === n)

t.test('a good log is good, in whatever order it was read', async (t) => {
  const verdict = check(senders, cleanLog().reverse())
  t.same(verdict, { sent: 20, lost: 0, duplicated: 0, misrouted: 0, leaked: 0, outOfOrder: 0, examples: [] })
  t.ok(isClean(verdict))
  t.equal(
    summary(verdict, 4, { started: 3, ended: 2, notEnded: ['told to end'] }),
    'sent 20, faults 4, started 3, ended 2, not ended 1, lost 0, duplicated 0, misrouted 0, leaked 0, out of order 0',
  )
})

t.test('every process that was started must have ended', async (t) => {
  t.ok(allEnded({ started: 3, ended: 3, notEnded: [] }))
  t.notOk(allEnded({ started: 3, ended: 2, notEnded: ['told to end'] }), 'one hung')
  t.notOk(allEnded({ started: 3, ended: 2, notEnded: [] }), 'one is still there')
  t.notOk(allEnded({ started: 0, ended: 0, notEnded: [] }), 'there was none')
})

t.test(
  'records are in order among those that went the same way, and a subject has one partition over all',
  async (t) => {
    const ways = senders.map((sender) => ({ ...sender, wayOf: (n: number) => (n <= 4 ? 'a' : 'b') }))
    const log = cleanLog()
    // The first way's are read last.
    for (const m of log) if (given(m.record).n <= 4) Object.assign(m, { offset: m.offset + 500 })
    t.ok(isClean(check(ways, log)))
    t.ok(check(senders, log).outOfOrder > 0, 'of one way it would be out of order')
    const swapped = cleanLog()
    const [four, two] = [4, 2].map((n) => swapped[find(swapped, ONE, 1, n)])
    const { offset } = four
    Object.assign(four, { offset: two.offset })
    Object.assign(two, { offset })
    t.match(check(ways, swapped), { outOfOrder: 1, lost: 0 })
    const moved = cleanLog()
    for (const m of moved)
      if (given(m.record).n > 4 && m.topic === ONE && given(m.record).source === 1)
        Object.assign(m, { partition: m.partition + 2 })
    t.ok(check(ways, moved).outOfOrder > 0, 'another partition by the other way')
  },
)

const rows: readonly { readonly name: string; readonly spoil: (log: Observed[]) => void; readonly expected: object }[] =
  [
    {
      name: 'a message is missing',
      spoil: (log) => {
        log.splice(find(log, TWO, 1, 4), 1)
      },
      expected: { lost: 1 },
    },
    {
      name: 'a whole record is missing',
      spoil: (log) => {
        for (const topic of [ONE, TWO, OTHER]) log.splice(find(log, topic, 0, 3), 1)
      },
      expected: { lost: 3 },
    },
    {
      name: 'everything is missing',
      spoil: (log) => {
        log.length = 0
      },
      expected: { lost: 41 },
    },
    { name: 'not acknowledged and not there', spoil: () => undefined, expected: {} },
    {
      name: 'not acknowledged, and there everywhere: committed, and the acknowledgement was cut off',
      spoil: (log) => {
        log.push(
          ...[ONE, TWO].map((topic) => ({ topic, partition: 1, offset: 900, key: null, record: { source: 1, n: 11 } })),
        )
      },
      expected: {},
    },
    {
      name: 'not acknowledged, and there for one purpose only',
      spoil: (log) => {
        log.push({ topic: ONE, partition: 1, offset: 900, key: '11', record: { source: 1, n: 11 } })
      },
      expected: { lost: 1 },
    },
    {
      name: 'a message twice',
      spoil: (log) => {
        log.push({ ...log[find(log, TWO, 1, 4)], offset: 900 })
      },
      expected: { duplicated: 1 },
    },
    {
      name: 'three times, in other partitions',
      spoil: (log) => {
        for (const partition of [7, 8]) log.push({ ...log[find(log, ONE, 1, 4)], partition })
      },
      expected: { duplicated: 2 },
    },
    {
      name: 'where it may not be',
      spoil: (log) => {
        log.push({ topic: OTHER, partition: 0, offset: 900, key: null, record: { source: 1, n: 3 } })
      },
      expected: { misrouted: 1 },
    },
    {
      name: "nobody's",
      spoil: (log) => {
        log.push({ topic: ONE, partition: 0, offset: 900, key: null, record: null })
      },
      expected: { misrouted: 1 },
    },
    {
      name: 'a number that was not sent',
      spoil: (log) => {
        log.push({ topic: ONE, partition: 0, offset: 900, key: null, record: { source: 1, n: RECORDS + 1 } })
      },
      expected: { misrouted: 1 },
    },
    {
      name: 'values of another record',
      spoil: (log) => {
        const at = find(log, ONE, 1, 4)
        log[at] = { ...log[at], mixedUp: true }
      },
      // It is not where it should be, either.
      expected: { misrouted: 1, lost: 1 },
    },
    {
      name: 'an identifier',
      spoil: (log) => {
        log[5] = { ...log[5], leaks: true }
      },
      expected: { leaked: 1 },
    },
    {
      name: 'two of a subject exchanged',
      spoil: (log) => {
        const [a, b] = [find(log, ONE, 1, 4), find(log, ONE, 1, 6)]
        ;[log[a], log[b]] = [
          { ...log[a], offset: log[b].offset },
          { ...log[b], offset: log[a].offset },
        ]
      },
      expected: { outOfOrder: 1 },
    },
    {
      name: 'a subject in two partitions',
      spoil: (log) => {
        const at = find(log, ONE, 1, 10)
        log[at] = { ...log[at], partition: 5 }
      },
      expected: { outOfOrder: 1 },
    },
    {
      name: "two nodes' subjects have no order between them",
      spoil: (log) => {
        for (const m of log) if (m.record?.source === 1) Object.assign(m, { offset: m.offset + 1_000 })
      },
      expected: {},
    },
  ]

for (const { name, spoil, expected } of rows) {
  t.test(`seen: ${name}`, async (t) => {
    const log = cleanLog()
    spoil(log)
    const verdict = check(senders, log)
    const { lost, duplicated, misrouted, leaked, outOfOrder } = verdict
    t.same(
      { lost, duplicated, misrouted, leaked, outOfOrder },
      { lost: 0, duplicated: 0, misrouted: 0, leaked: 0, outOfOrder: 0, ...expected },
    )
    t.equal(isClean(verdict), Object.keys(expected).length === 0)
    t.equal(verdict.examples.length > 0, Object.keys(expected).length > 0, 'and shown')
  })
}

t.test('numbers are found again in start times, and cross a midnight', async (t) => {
  const now = Date.UTC(2026, 10, 24, 15)
  const base = firstStart(now, 1_000)
  for (const record of [
    { source: 0, n: 1 },
    { source: 3, n: 777 },
    { source: MAX_SOURCES - 1, n: 1_000 },
  ]) {
    t.same(identify(base, startOf(base, record), MAX_SOURCES), record)
    t.ok(startOf(base, record) < now)
  }
  t.equal(identify(base, startOf(base, { source: 5, n: 7 }), 5), null, 'no such node')
  for (const start of [base, base - 1, -1, NaN, 0]) t.equal(identify(base, start, 5), null)
  const day = (n: number): string => new Date(startOf(base, { source: 0, n })).toISOString().slice(0, 10)
  t.not(day(1), day(1_000))
})

t.test('every identifier of a record is a canary, and none is elsewhere', async (t) => {
  for (const kind of ['call', 'quality'] as const) {
    const fields = fieldsOf(Date.now(), { source: 1, n: 7 }, kind)
    for (const name of [
      'account',
      'call_id',
      'calling',
      'called',
      'calling_name',
      'location',
      'source_ip',
      'local_party',
      'remote_party',
      'local_ip',
      'mac',
      'user_agent',
    ]) {
      if (name in fields) t.ok(leaks(String(fields[name])), name)
    }
    for (const name of ['start_ms', 'codec', 'duration_seconds', 'disposition'])
      if (name in fields) t.notOk(leaks(String(fields[name])), name)
  }
  for (const canary of CANARIES) t.ok(leaks(Buffer.from(`..${canary.toUpperCase()}..`)))
})

t.test('messages are read: whose, whether whole, whether they tell too much', async (t) => {
  const base = 1_795_000_000_000
  const start = startOf(base, { source: 1, n: 7 })
  const varint = (value: number): number[] => {
    const bytes: number[] = []
    let rest = value
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80)
    return [...bytes, rest]
  }
  // Field 12 is 50: (7 × 7 + 1) % 3600.
  const planning = Buffer.from([9 * 8, ...varint(start), 12 * 8, 50, 15 * 8 + 2, 2, 1, 1])
  const message = { timestamp: 1, partition: 0, offset: 3, key: Buffer.from([1, 2]), value: planning }
  const options = { base, sources: 3 }
  t.match(observe(TWO, message, options), {
    topic: TWO,
    partition: 0,
    offset: 3,
    key: '0102',
    record: { source: 1, n: 7 },
    mixedUp: false,
    leaks: false,
  })
  t.match(
    observe(TWO, { ...message, value: Buffer.concat([planning, Buffer.from([5 * 8 + 2, 1, 1])]) }, options),
    { leaks: true },
    'a field that is not its',
  )
  t.match(
    observe(TWO, { ...message, key: Buffer.from('07700900417') }, options),
    { leaks: true },
    'a key that says who',
  )
  t.match(observe(TWO, { ...message, value: Buffer.from([9 * 8, ...varint(start), 12 * 8, 51]) }, options), {
    mixedUp: true,
  })
  t.match(observe(TWO, { ...message, value: planning.subarray(0, 10) }, options), { record: null })
  const json = (fields: object): Buffer => Buffer.from(JSON.stringify(fields))
  t.match(
    observe(
      'pbx.operations.call',
      { ...message, value: json({ start_ms: start, duration_seconds: 50, tag: {} }) },
      options,
    ),
    { record: { source: 1, n: 7 }, mixedUp: false, leaks: false },
  )
  t.match(
    observe(
      'pbx.operations.call',
      { ...message, value: json({ start_ms: start, duration_seconds: 50, called: 'x' }) },
      options,
    ),
    { leaks: true },
  )
})

t.test('records go where the policy says', async (t) => {
  for (let n = 1; n < 50; n++) {
    const topics = topicsOf({ source: 0, n }, true)
    t.ok(topics.every((topic) => TOPICS[topic].kind === kindOf({ source: 0, n }, true)))
    t.equal(
      topics.some((topic) => topic.startsWith('pbx.acme.')),
      tenantOf({ source: 0, n }) === 'acme',
    )
  }
  t.same(
    topicsOf({ source: 0, n: 7 }, false),
    ['pbx.billing.call', 'pbx.operations.call', 'pbx.planning.call'],
    'a source of calls only',
  )
})

t.test("a schedule is its seed's, has every kind, and keeps its time", async (t) => {
  const options = { seed: 7, durationMs: 3_600_000, brokers: 3 }
  const faults = schedule(options)
  t.same(faults, schedule(options))
  t.not(JSON.stringify(faults), JSON.stringify(schedule({ ...options, seed: 8 })))
  t.same(new Set(faults.map((f) => f.kind)), new Set(Object.keys(FAULTS)))
  t.ok(
    faults.every(
      (f, i) =>
        f.atMs + f.holdMs <= options.durationMs && (i === 0 || f.atMs >= faults[i - 1].atMs + faults[i - 1].holdMs),
    ),
  )
  t.notOk(schedule({ ...options, brokers: 1 }).some((f) => f.kind === 'leaders moved'))
  t.notOk(schedule({ ...options, without: new Set(['proxy killed']) }).some((f) => f.kind === 'proxy killed'))
})
