import t from 'tap'
import { catalogue } from '../../../src/catalogue/catalogue.js'
import { MinimError } from '../../../src/errors/catalogue.js'
import type { Spooled } from '../../../src/flow/source.js'
import { Outbox, type OutboxOptions } from '../../../src/sources/common/outbox.js'
import { collectingInlet } from '../../helpers/inlet.js'

const CALL = { account: 'acct-1', called: '+447700900123', start_ms: 1_795_514_445_000 }
const DEVICE = { party: '1001', start_ms: 1_795_514_445_000 }
const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms)
  })

function made(over: Partial<OutboxOptions> = {}) {
  const inlet = collectingInlet(catalogue())
  const refused: string[] = []
  const behind: boolean[] = []
  const broken: unknown[] = []
  const waiting = {
    maxPendingBytes: 100,
    onBehind: (is: boolean) => {
      behind.push(is)
    },
    onBroken: (error: unknown) => {
      broken.push(error)
    },
  }
  const outbox = new Outbox({
    source: 'ami',
    catalogue: catalogue(),
    inlet,
    maxPending: Infinity,
    refused: (reason, records) => {
      refused.push(`${reason} ${records}`)
    },
    waiting,
    ...over,
  })
  return { inlet, outbox, refused, behind, broken }
}

/** An inlet whose puts are answered when the test says so. */
function held(): {
  readonly put: (entry: Spooled) => Promise<'stored'>
  readonly answer: (error?: Error) => void
  readonly length: () => number
} {
  const waiting: { readonly stored: (what: 'stored') => void; readonly failed: (error: Error) => void }[] = []
  return {
    put: () =>
      new Promise((stored, failed) => {
        waiting.push({ stored, failed })
      }),
    answer: (error) => {
      for (const one of waiting.splice(0)) {
        if (error === undefined) one.stored('stored')
        else one.failed(error)
      }
    },
    length: () => waiting.length,
  }
}

t.test('records go together by tenant, calls by themselves', async (t) => {
  const { inlet, outbox } = made()
  for (const tenant of ['default', 'acme', 'default']) outbox.add('device', DEVICE, tenant)
  outbox.call(CALL, 'c1', 'default')
  t.equal(inlet.entries.length, 0, 'what is put is not there in the same turn')
  await sleep(30)
  t.same(
    inlet.entries.map(({ source, format, tenant, records, id }) => [source, format, tenant, records, id ?? null]),
    [
      ['ami', 'protobuf', 'default', 1, 'c1'],
      ['ami', 'protobuf', 'default', 2, null],
      ['ami', 'protobuf', 'acme', 1, null],
    ],
  )
  t.same(
    inlet.records().map(({ kind }) => kind),
    ['call', 'device', 'device', 'device'],
  )
  t.equal(outbox.pending, 0)
})

t.test('a batch that is full does not wait', async (t) => {
  const { inlet, outbox } = made()
  for (let n = 0; n < 3_000; n++) outbox.add('device', { ...DEVICE, user_agent: 'x'.repeat(40) }, 'default')
  await Promise.resolve()
  await Promise.resolve()
  t.ok(inlet.entries.length >= 2, `${inlet.entries.length} entries before the timer`)
  await outbox.close()
  t.equal(inlet.records().length, 3_000)
})

t.test('repeats and input without a record are counted and kept', async (t) => {
  const { inlet, outbox, refused } = made()
  outbox.call(CALL, 'c1', 'default')
  outbox.call(CALL, 'c1', 'default')
  outbox.refuse('Event: Cdr', 'bad_value', 'default')
  await outbox.close()
  t.same(refused, ['repeated 1'])
  t.match(inlet.entries[1], { format: 'refused', reason: 'bad_value', tenant: 'default', records: 1 })
})

t.test('who can wait is told to, and loses nothing', async (t) => {
  const { inlet, outbox, refused, behind } = made()
  inlet.full = true
  outbox.call(CALL, 'c1', 'default')
  await sleep(20)
  t.same(behind, [true])
  inlet.full = false
  await sleep(700)
  t.same([behind, inlet.entries.length, refused], [[true, false], 1, []])
})

t.test('octets that are not safe hold up reading, and half of them let it go on', async (t) => {
  const inlet = held()
  const { outbox, behind } = made({ inlet })
  for (let n = 0; n < 4; n++) outbox.call(CALL, `c${n}`, 'default')
  t.same(behind, [true])
  inlet.answer()
  await outbox.close()
  t.same(behind, [true, false])
})

t.test('at the end what has no room is tried once more, then lost and counted', async (t) => {
  const { inlet, outbox, refused } = made()
  inlet.full = true
  outbox.add('device', DEVICE, 'default')
  outbox.add('device', DEVICE, 'default')
  outbox.call(CALL, 'c1', 'default')
  await sleep(20)
  await outbox.close()
  t.same([refused.sort(), inlet.entries.length, outbox.pending], [['no_room 1', 'no_room 2'], 0, 0])
})

t.test('a mistake of the program is told, and not repeated for ever', async (t) => {
  const inlet = held()
  const { outbox, refused, broken } = made({ inlet })
  outbox.call(CALL, 'c1', 'default')
  inlet.answer(new TypeError('a mistake'))
  await outbox.close()
  t.same([broken.length, refused, inlet.length()], [1, ['no_room 1'], 0])
})

t.test('who cannot wait loses what comes beyond the bound, at once', async (t) => {
  const inlet = held()
  const { outbox, refused } = made({ inlet, maxPending: 2, waiting: null })
  for (let n = 0; n < 3; n++) outbox.call(CALL, `c${n}`, 'default')
  t.same([refused, outbox.pending, outbox.full], [['no_room 1'], 2, true])
  inlet.answer(new MinimError('MINIM_SPOOL_FULL'))
  await outbox.close()
  t.same(refused, ['no_room 1', 'no_room 1', 'no_room 1'])
})

t.test('who asks is told', async (t) => {
  const inlet = held()
  const { outbox, refused } = made({ inlet, maxPending: 1, waiting: null })
  const first = outbox.put('device', [DEVICE, DEVICE], 'd1', 'default')
  await t.rejects(outbox.put('device', [DEVICE], 'd2', 'default'), { code: 'MINIM_SPOOL_FULL' })
  let closed = false
  const closing = outbox.close().then(() => {
    closed = true
  })
  await sleep(20)
  t.notOk(closed, 'what is under way is waited for')
  inlet.answer()
  t.equal(await first, 'stored')
  await closing
  const later = outbox.put('device', [DEVICE], 'd3', 'default')
  inlet.answer(new MinimError('MINIM_SPOOL_BROKEN', { what: 'x' }))
  await t.rejects(later, { code: 'MINIM_SPOOL_BROKEN' })
  t.same([refused, outbox.pending], [[], 0], 'whoever asked counts it')
})

t.test('a record that cannot be encoded spoils no other', async (t) => {
  const { inlet, outbox } = made()
  await t.rejects(
    outbox.put(
      'device',
      [
        DEVICE,
        {
          party: {
            toString: () => {
              throw new Error('no text')
            },
          } as unknown as string,
        },
      ],
      'd1',
      'default',
    ),
  )
  t.equal(await outbox.put('device', [DEVICE, DEVICE], 'd2', 'default'), 'stored')
  t.same(
    inlet.entries.map(({ records }) => records),
    [2],
  )
  t.equal(inlet.records().length, 2)
  t.equal(outbox.pending, 0)
})
