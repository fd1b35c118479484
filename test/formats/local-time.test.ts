import fc from 'fast-check'
import t from 'tap'
import { isTimeZone, LocalTime } from '../../src/formats/local-time.js'

t.test('offsets around changes of the clocks', async (t) => {
  const cases: { zone: string; wall: string; seconds: number; name: string }[] = [
    { zone: 'UTC', wall: '2026-07-01T12:00:00', seconds: 0, name: 'UTC' },
    { zone: 'Europe/London', wall: '2026-01-01T12:00:00', seconds: 0, name: 'winter' },
    { zone: 'Europe/London', wall: '2026-07-01T12:00:00', seconds: 3600, name: 'summer' },
    { zone: 'Europe/London', wall: '2026-03-29T00:59:59', seconds: 0, name: 'the second before spring' },
    {
      zone: 'Europe/London',
      wall: '2026-03-29T01:30:00',
      seconds: 0,
      name: 'an hour that never was: the offset before it',
    },
    { zone: 'Europe/London', wall: '2026-03-29T02:00:00', seconds: 3600, name: 'the first second of summer' },
    { zone: 'Europe/London', wall: '2026-10-25T00:59:59', seconds: 3600, name: 'before the hour that comes twice' },
    { zone: 'Europe/London', wall: '2026-10-25T01:30:00', seconds: 3600, name: 'the hour that comes twice: the first' },
    { zone: 'Europe/London', wall: '2026-10-25T02:00:00', seconds: 0, name: 'after it' },
    { zone: 'America/New_York', wall: '2026-03-08T03:00:00', seconds: -14400, name: 'west of Greenwich' },
    { zone: 'America/New_York', wall: '2026-11-01T01:59:59', seconds: -14400, name: 'west, twice: the first' },
    { zone: 'Asia/Kolkata', wall: '2026-07-01T12:00:00', seconds: 19800, name: 'half an hour' },
    { zone: 'Asia/Kathmandu', wall: '2026-07-01T12:00:00', seconds: 20700, name: 'three quarters' },
    {
      zone: 'Australia/Lord_Howe',
      wall: '2026-10-04T01:59:59',
      seconds: 37800,
      name: 'a change by half an hour: before',
    },
    {
      zone: 'Australia/Lord_Howe',
      wall: '2026-10-04T02:30:00',
      seconds: 39600,
      name: 'a change by half an hour: after',
    },
    {
      zone: 'Australia/Lord_Howe',
      wall: '2026-04-05T01:30:00',
      seconds: 39600,
      name: 'a change by half an hour back: the first',
    },
    {
      zone: 'Australia/Lord_Howe',
      wall: '2026-04-05T02:00:00',
      seconds: 37800,
      name: 'a change by half an hour back: after',
    },
    { zone: 'Pacific/Apia', wall: '2011-12-31T00:00:00', seconds: 50400, name: 'a zone that skipped a day: after' },
  ]
  for (const c of cases)
    t.equal(new LocalTime(c.zone).offsetSeconds(Date.parse(`${c.wall}Z`)), c.seconds, `${c.zone}: ${c.name}`)
})

t.test('the wall clock of the instant found reads what was given, wherever that is possible', async () => {
  for (const zone of [
    'Europe/London',
    'America/Sao_Paulo',
    'Australia/Lord_Howe',
    'Africa/Casablanca',
    'Asia/Tehran',
  ]) {
    const local = new LocalTime(zone)
    const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' })
    const wallAt = (utc: number): number => Date.parse(`${format.format(utc).replace(' ', 'T')}Z`)
    // From instants to wall clocks and back: the first instant that shows this wall clock
    fc.assert(
      fc.property(fc.integer({ min: Date.UTC(2000, 0) / 1000, max: Date.UTC(2040, 0) / 1000 }), (seconds) => {
        const wall = wallAt(seconds * 1000)
        const found = wall - local.offsetSeconds(wall) * 1000
        if (wallAt(found) !== wall) throw new Error(`${zone}: ${found} does not read ${wall}`)
        if (found > seconds * 1000) throw new Error(`${zone}: ${found} is not the first`)
      }),
      { numRuns: 1000 },
    )
  }
})

t.test('names of zones', async (t) => {
  t.equal(isTimeZone('Europe/London'), true)
  t.equal(isTimeZone('Europe/Londres'), false)
  t.equal(isTimeZone(''), false)
  t.equal(new LocalTime().isEven(0), true)
  t.equal(new LocalTime('Europe/London').isEven(Date.UTC(2026, 2, 29)), false)
})
