/**
 * The policy is read anew while records flow: what is taken, what is refused and how that is said, and that each record
 * is right by the policy that its tag names.
 */
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadPolicy } from '../../src/policy/load.js'
import { DeliverClient } from '../../src/sources/common/deliver-client.js'
import { NUMBER, policyText, wrongBy } from '../helpers/two-policies.js'
import { get, metric, Place, Program, readTopic, ROOT, sleep, until } from './program.js'
import { call, records } from './records.js'

const versionOf = (text: string): string => loadPolicy({ text }).version
const [A, B] = [policyText('a'), policyText('b')]
const versions = { a: versionOf(A), b: versionOf(B) }

interface Rig {
  readonly place: Place
  readonly program: Program
  readonly kafka: string
  readonly grpc: string
  readonly ops: string
  /** Has the policy read anew. @returns how that ended */
  readonly reload: () => Promise<string>
  /** The policy that runs, as /metrics says. */
  readonly runs: () => Promise<string>
}

async function rig(
  t: Test,
  { over = {}, args = [], place = new Place(t) }: { over?: object; args?: readonly string[]; place?: Place } = {},
): Promise<Rig> {
  place.makeStore()
  const policy = 'policy' in over ? '' : place.write('policy.yaml', A)
  const settings = place.settings({ policy, ...over })
  const program = new Program(t, ['run', '--config', settings, ...args], place)
  const ready = await program.line('ready')
  const [kafka, grpc, ops] = ['kafka', 'grpc', 'ops'].map((name) => String(ready[name]))
  const counts = async (): Promise<Record<string, number>> =>
    metric((await get(ops, '/metrics')).body, 'minim_policy_reload_total')
  const reload = async (): Promise<string> => {
    const before = await counts()
    program.kill('SIGHUP')
    return await until('the reload has ended', async () => {
      const now = await counts()
      return Object.keys(now).find((end) => now[end] > (before[end] ?? 0))
    }).then((label) => /end="(.*)"/.exec(label)?.[1] ?? label)
  }
  const runs = async (): Promise<string> => {
    const [labels] = Object.keys(metric((await get(ops, '/metrics')).body, 'minim_build_info'))
    return /policy="(.*?)"/.exec(labels)?.[1] ?? ''
  }
  return { place, program, kafka, grpc, ops, reload, runs }
}

type Json = Readonly<Record<string, unknown>>

async function billed(kafka: string, topic = 'pbx.billing.call'): Promise<Json[]> {
  return (await readTopic(kafka, topic)).map(({ value }) => JSON.parse(value.toString()) as Json)
}

const numbers = (read: readonly Json[]): number[] => read.map((one) => Number(one[NUMBER])).sort((x, y) => x - y)

/** How many of those that should be there are not, and how many are there that should not. */
function unlike(is: readonly number[], should: readonly number[]): { lost: number; more: number } {
  const wanted = new Set(should)
  const found = new Set(is)
  return {
    lost: should.filter((n) => !found.has(n)).length,
    more: is.length - is.filter((n) => wanted.delete(n)).length,
  }
}

t.test(
  'every policy that cannot run is refused whole, and the one that runs goes on',
  { timeout: 120_000 },
  async (t) => {
    const place = new Place(t)
    const notice = place.write('notice.yaml', 'promises: []\n')
    // A notice is only asked for by those settings that name one: the last case.
    const { program, reload, runs, grpc, kafka } = await rig(t, { place })
    const put = (text: string | Uint8Array): string => place.write('policy.yaml', text)
    const bomb = [
      'a: &a [x, x, x, x, x, x, x, x, x]',
      ...Array.from(
        { length: 9 },
        (_, i) =>
          `${'bcdefghij'[i]}: &${'bcdefghij'[i]} [${Array.from({ length: 9 }, () => `*${'abcdefghij'[i]}`).join(', ')}]`,
      ),
    ].join('\n')
    const cases: readonly [string, string, () => void, RegExp][] = [
      ['half written', 'invalid', () => put(A.slice(0, A.length / 2)), /YAML/],
      ['empty', 'invalid', () => put(''), /must be a mapping/],
      ['10 MB', 'invalid', () => put(Buffer.alloc(10_000_000, 0x20)), /larger than 900 kB/],
      ['a YAML bomb', 'invalid', () => put(bomb), /aliases/],
      ['not text', 'invalid', () => put(Buffer.from([0, 1, 2, 255, 254])), /YAML|must be a mapping/],
      ['a treatment that there is not', 'invalid', () => put(A.replace('"token"', '"tokn"')), /tokn/],
      [
        'a tenant that there is not',
        'invalid',
        () => put(A.replace('"epoch"', '"tenants": ["nobody"], "epoch"')),
        /nobody/,
      ],
      ['a purpose more', 'widening', () => put(B), /purposes\.audit.*\n?.*/],
      ['longer kept', 'widening', () => put(A.replace('90', '91')), /90 days would become 91 days, for billing/],
      ['another recipient', 'widening', () => put(A.replace('"billing"\n', '"billing", "sales"\n')), /sales/],
      [
        'help numbers named',
        'widening',
        () => put(A.replace('"epoch"', '"helplines": "named", "epoch"')),
        /hidden would become named/,
      ],
      [
        'a folder',
        'invalid',
        () => {
          renameSync(place.path('policy.yaml'), place.path('away'))
          mkdirSync(place.path('policy.yaml'))
        },
        /is no plain file|EISDIR/,
      ],
      [
        'a pipe that nobody writes to',
        'invalid',
        () => {
          renameSync(place.path('policy.yaml'), place.path('away-too'))
          spawnSync('mkfifo', [place.path('policy.yaml')])
        },
        /is no plain file/,
      ],
      [
        'gone',
        'invalid',
        () => {
          renameSync(place.path('policy.yaml'), place.path('gone'))
        },
        /ENOENT/,
      ],
    ]
    for (const [what, end, change, said] of cases) {
      change()
      t.equal(await reload(), end, what)
      t.equal(await runs(), versions.a, `${what}: the policy that runs goes on`)
      const line = program
        .log()
        .filter(({ msg }) => /^the policy is not taken/.test(msg))
        .at(-1)
      t.match(line, { level: 'error', end, cause: 'SIGHUP', running: versions.a }, what)
      t.match(JSON.stringify(line), said, `${what}: the log says what and why`)
    }
    const done: number[] = []
    const client = new DeliverClient({
      address: grpc,
      source: 'pbx',
      incarnation: randomUUID(),
      onAck: (n) => done.push(n),
      onEnd: () => undefined,
    })
    t.teardown(() => {
      client.cancel()
    })
    await client.resumeAfter
    client.send(1, records({ calls: [call(1, { [NUMBER]: 1 })] }))
    await until('it is taken', () => done.length > 0)
    put(A)
    t.equal(await reload(), 'unchanged')
    put(policyText('a', 'only a remark'))
    t.equal(await reload(), 'ok', 'and one that says the same in another file is taken')
    t.equal(await runs(), versionOf(policyText('a', 'only a remark')))
    client.send(2, records({ calls: [call(2, { [NUMBER]: 2 })] }))
    await until('it is taken', () => done.length > 1)
    t.same((await billed(kafka)).map((one) => (one['tag'] as Json)['policy']).sort(), [versions.a, await runs()].sort())
    t.equal(program.over, false)
    program.kill('SIGTERM')
    t.equal((await program.end()).code, 0)

    const strict = new Program(
      t,
      ['run', '--config', place.settings({ policy: place.path('policy.yaml'), notice }, 'strict.yaml')],
      place,
    )
    const { code, stderr } = await strict.end()
    t.equal(code, 2, 'a notice that the settings name is asked at the start')
    t.match(stderr, /MINIM_NOTICE_INVALID/)
  },
)

t.test('a notice that is broken later keeps the policy that runs', { timeout: 120_000 }, async (t) => {
  const place = new Place(t)
  const shipped = join(ROOT, 'config')
  const text = readFileSync(join(shipped, 'policy.yaml'), 'utf8')
  const notice = readFileSync(join(shipped, 'notice.yaml'), 'utf8')
  place.write('p.yaml', text)
  place.write('notice.yaml', notice)
  const { program, reload, runs } = await rig(t, {
    place,
    over: { policy: place.path('p.yaml'), notice: place.path('notice.yaml') },
  })
  const first = await runs()
  place.write('p.yaml', `${text}\n# another\n`)
  place.write('notice.yaml', notice.slice(0, notice.length / 2))
  t.equal(await reload(), 'notice')
  t.equal(await runs(), first)
  place.write('notice.yaml', notice)
  t.equal(await reload(), 'ok')
  t.equal(await runs(), versionOf(`${text}\n# another\n`))
  t.match(
    program
      .log()
      .filter(({ msg }) => msg === 'another policy runs from now on')
      .at(-1),
    { former: first, cause: 'SIGHUP' },
  )
})

t.test('a link that is turned over is followed, as Kubernetes does', { timeout: 60_000 }, async (t) => {
  const place = new Place(t)
  for (const [folder, text] of [
    ['one', A],
    ['two', policyText('a', 'two')],
  ] as const) {
    mkdirSync(place.path(folder))
    writeFileSync(join(place.path(folder), 'policy.yaml'), text)
  }
  symlinkSync('one', place.path('data'))
  const { reload, runs } = await rig(t, { place, over: { policy: place.path('data/policy.yaml') } })
  symlinkSync('two', place.path('data.new'))
  renameSync(place.path('data.new'), place.path('data'))
  t.equal(await reload(), 'ok')
  t.equal(await runs(), versionOf(policyText('a', 'two')))
})

t.test(
  'two policies in turn under load: nothing lost, nothing twice, none by half of one',
  { timeout: 120_000 },
  async (t) => {
    const { place, program, kafka, grpc, ops, reload } = await rig(t, { args: ['--allow-widening', 'a test'] })
    const senders = Array.from({ length: 3 }, (_, s) => {
      let acked = 0
      let ended = false
      const client = new DeliverClient({
        address: grpc,
        source: `pbx-${s}`,
        incarnation: randomUUID(),
        onAck: (n) => {
          acked = Math.max(acked, n)
        },
        onEnd: () => {
          ended = true
        },
      })
      t.teardown(() => {
        client.cancel()
      })
      return { client, s, acked: () => acked, ended: () => ended, sent: 0 }
    })
    for (const { client } of senders) await client.resumeAfter
    let over = false
    // The embedded cluster keeps 5 MB of a partition.
    const RECORDS = 8
    const feeding = Promise.all(
      senders.map(async (sender) => {
        while (!over) {
          const sequence = ++sender.sent
          const first = (sender.s * 1_000_000 + sequence * RECORDS) | 0
          sender.client.send(
            sequence,
            records({ calls: Array.from({ length: RECORDS }, (_, i) => call(i, { [NUMBER]: first + i })) }),
          )
          await until('there is room', () => sender.sent - sender.acked() < 16)
          await sleep(20)
        }
      }),
    )
    const ends: string[] = []
    const until8s = Date.now() + 8_000
    for (let round = 0; Date.now() < until8s; round++) {
      place.write('policy.yaml', round % 2 === 0 ? B : A)
      ends.push(await reload())
      await sleep(100)
    }
    over = true
    await feeding
    for (const sender of senders) await until('all is committed', () => sender.acked() === sender.sent)
    t.ok(ends.length >= 10, `${ends.length} times`)
    t.same([...new Set(ends)], ['ok'])
    t.notOk(senders.some((sender) => sender.ended()))
    const billing = await billed(kafka)
    const audit = await billed(kafka, 'pbx.audit.call')
    const expected = senders
      .flatMap(({ s, sent }) => Array.from({ length: sent * RECORDS }, (_, i) => s * 1_000_000 + RECORDS + i))
      .sort((x, y) => x - y)
    t.ok(expected.length > 1_000, `${expected.length} records`)
    t.same(unlike(numbers(billing), expected), { lost: 0, more: 0 }, 'each once')
    const wrong = billing.map((one) => wrongBy(one, versions)).filter((what) => what !== null)
    t.same(wrong.slice(0, 3), [], 'each is right by the policy that its tag names')
    const byB = billing.filter((one) => (one['tag'] as Json)['policy'] === versions.b)
    t.ok(
      byB.length > 0 && byB.length < billing.length,
      `${byB.length} by the one, ${billing.length - byB.length} by the other`,
    )
    t.same(
      unlike(numbers(audit), numbers(byB)),
      { lost: 0, more: 0 },
      'what one purpose has by a policy, the other has by it too',
    )
    const { body } = await get(ops, '/metrics')
    t.ok(
      Object.values(metric(body, 'minim_conservation_drift_records')).every((n) => n === 0),
      'all is accounted for',
    )
    t.match(
      program.log().find(({ msg }) => msg === 'another policy runs from now on'),
      { widenings: Number, reason: 'a test' },
    )
    t.equal(metric(body, 'minim_messages_produced_total')['topic="pbx.audit.call"'], audit.length)
    program.kill('SIGTERM')
    t.equal((await program.end()).code, 0)
  },
)
