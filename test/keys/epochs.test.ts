import fc from 'fast-check'
import t from 'tap'
import { epochEnd, epochId, epochStart, parseEpochId } from '../../src/keys/epochs.js'
import { type EpochLength, EPOCHS } from '../../src/keys/keyring.js'

const at = (iso: string): number => Date.parse(iso)

const IDS: readonly { time: string; day: string; month: string; quarter: string; year: string }[] = [
  { time: '2026-11-24T12:00:00.000Z', day: '2026-11-24', month: '2026-11', quarter: '2026-Q4', year: '2026' },
  { time: '2025-12-31T23:59:59.999Z', day: '2025-12-31', month: '2025-12', quarter: '2025-Q4', year: '2025' },
  { time: '2026-01-01T00:00:00.000Z', day: '2026-01-01', month: '2026-01', quarter: '2026-Q1', year: '2026' },
  { time: '2026-01-01T00:30:00.000+01:00', day: '2025-12-31', month: '2025-12', quarter: '2025-Q4', year: '2025' },
  { time: '2024-02-28T23:59:59.999Z', day: '2024-02-28', month: '2024-02', quarter: '2024-Q1', year: '2024' },
  { time: '2024-02-29T00:00:00.000Z', day: '2024-02-29', month: '2024-02', quarter: '2024-Q1', year: '2024' },
  { time: '2100-02-28T23:59:59.999Z', day: '2100-02-28', month: '2100-02', quarter: '2100-Q1', year: '2100' },
  { time: '2100-03-01T00:00:00.000Z', day: '2100-03-01', month: '2100-03', quarter: '2100-Q1', year: '2100' },
  { time: '2026-03-31T23:59:59.999Z', day: '2026-03-31', month: '2026-03', quarter: '2026-Q1', year: '2026' },
  { time: '2026-04-01T00:00:00.000Z', day: '2026-04-01', month: '2026-04', quarter: '2026-Q2', year: '2026' },
  { time: '2026-06-30T23:59:59.999Z', day: '2026-06-30', month: '2026-06', quarter: '2026-Q2', year: '2026' },
  { time: '2026-07-01T00:00:00.000Z', day: '2026-07-01', month: '2026-07', quarter: '2026-Q3', year: '2026' },
  { time: '2026-09-30T23:59:59.999Z', day: '2026-09-30', month: '2026-09', quarter: '2026-Q3', year: '2026' },
  { time: '2026-10-01T00:00:00.000Z', day: '2026-10-01', month: '2026-10', quarter: '2026-Q4', year: '2026' },
  { time: '1970-01-01T00:00:00.000Z', day: '1970-01-01', month: '1970-01', quarter: '1970-Q1', year: '1970' },
]

for (const { time, ...ids } of IDS) {
  t.test(`ids at ${time}`, async (t) => {
    for (const [length, id] of Object.entries(ids)) t.equal(epochId(length as EpochLength, at(time)), id)
    t.equal(epochId('contract', at(time)), 'contract')
  })
}

const SPANS: readonly { length: EpochLength; time: string; start: string; end: string }[] = [
  { length: 'day', time: '2024-02-29T13:00:00Z', start: '2024-02-29T00:00:00Z', end: '2024-03-01T00:00:00Z' },
  { length: 'day', time: '2025-12-31T23:59:59.999Z', start: '2025-12-31T00:00:00Z', end: '2026-01-01T00:00:00Z' },
  { length: 'month', time: '2024-02-10T00:00:00Z', start: '2024-02-01T00:00:00Z', end: '2024-03-01T00:00:00Z' },
  { length: 'month', time: '2025-12-31T23:59:59.999Z', start: '2025-12-01T00:00:00Z', end: '2026-01-01T00:00:00Z' },
  { length: 'quarter', time: '2026-11-24T00:00:00Z', start: '2026-10-01T00:00:00Z', end: '2027-01-01T00:00:00Z' },
  { length: 'quarter', time: '2026-04-01T00:00:00Z', start: '2026-04-01T00:00:00Z', end: '2026-07-01T00:00:00Z' },
  { length: 'year', time: '2024-12-31T23:59:59.999Z', start: '2024-01-01T00:00:00Z', end: '2025-01-01T00:00:00Z' },
]

for (const { length, time, start, end } of SPANS) {
  t.test(`the ${length} of ${time}`, async (t) => {
    t.equal(epochStart(length, at(time)), at(start))
    t.equal(epochEnd(length, at(time)), at(end))
  })
}

t.test('a contract has no end', async (t) => {
  t.equal(epochStart('contract', 1), 0)
  t.equal(epochEnd('contract', 1), Infinity)
})

t.test('epochs follow each other without gap or overlap', async (t) => {
  const time = fc.integer({ min: 0, max: at('9998-12-31T00:00:00Z') })
  fc.assert(
    fc.property(fc.constantFrom(...EPOCHS.filter((length) => length !== 'contract')), time, (length, ms) => {
      const start = epochStart(length, ms)
      const end = epochEnd(length, ms)
      const id = epochId(length, ms)
      return (
        start <= ms &&
        ms < end &&
        epochId(length, start) === id &&
        epochId(length, end - 1) === id &&
        epochId(length, end) !== id &&
        epochStart(length, end) === end &&
        (start === 0 || epochId(length, start - 1) !== id) &&
        parseEpochId(id)?.startMs === start &&
        parseEpochId(id)?.length === length
      )
    }),
  )
  t.pass('held')
})

for (const wild of [NaN, -1, -1e300, 1e300, Infinity, -Infinity, 8.64e15 + 1, 253_402_300_800_000]) {
  t.test(`a time of ${wild} does not throw`, async (t) => {
    for (const length of EPOCHS) {
      const nearest = wild > 0 ? 253_402_300_799_999 : 0
      t.equal(epochId(length, wild), epochId(length, nearest))
      t.equal(epochStart(length, wild), epochStart(length, nearest))
      t.equal(epochEnd(length, wild), epochEnd(length, nearest))
      t.not(parseEpochId(epochId(length, wild)), null)
    }
  })
}

t.test('what is no id names no epoch', async (t) => {
  for (const id of [
    '',
    '2026-Q5',
    '2026-Q0',
    '2026-13',
    '2026-00',
    '2026-02-30',
    '2023-02-29',
    '2026-11-24T00',
    '26',
    '2026-1',
    '+012026',
    '0050',
    'Contract',
    '2026\n',
    '٢٠٢٦',
  ]) {
    t.equal(parseEpochId(id), null, JSON.stringify(id))
  }
})
