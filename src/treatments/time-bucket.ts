/** Times rounded down, so that one says which span it lies in and no more. */
import { Type } from '@sinclair/typebox'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../base/time.js'
import type { FieldName } from '../catalogue/catalogue.js'
import { stepBucket } from './buckets.js'
import { BY_NOBODY, type Descriptor } from './treatment.js'
import { only, parameters, under, whole } from './written.js'

export interface TimeBucket {
  readonly kind: 'time-bucket'
  readonly ms: number
}

/** Absolute times: the fields whose treatment decides what a record's time reveals. */
export const TIME_FIELDS: ReadonlySet<FieldName> = new Set<FieldName>(['start_ms', 'answer_ms', 'end_ms'])

const SECOND = 1000
const NAMED = { minute: MINUTE_MS, hour: HOUR_MS, day: DAY_MS } as const
const LONGEST_MS = 366 * NAMED.day

function span(ms: number): string {
  for (const [name, length] of Object.entries(NAMED)) if (length === ms) return name
  if (ms === SECOND) return 'second'
  if (ms % NAMED.day === 0) return `${ms / NAMED.day} days`
  if (ms % NAMED.hour === 0) return `${ms / NAMED.hour} hours`
  if (ms % NAMED.minute === 0) return `${ms / NAMED.minute} minutes`
  return ms % SECOND === 0 ? `${ms / SECOND} seconds` : `${ms} ms`
}

export const timeBucket: Descriptor<TimeBucket> = {
  kind: 'time-bucket',
  rows: [
    {
      written: 'time-bucket',
      reversible: null,
      reveals: 'the second, minute, hour, day (UTC) or other span that a time lies in, by its lower bound',
    },
  ],
  dpv: 'Deidentification',
  spelling: '{ time-bucket: minute, hour or day } or { time-bucket: { ms: whole number from 1000 } }',
  shows: 'less',
  examples: [
    {
      field: 'call.start_ms',
      written: { 'time-bucket': 'minute' },
      input: 1_767_225_845_000,
      output: 1_767_225_840_000,
    },
    {
      field: 'call.start_ms',
      written: { 'time-bucket': { ms: MINUTE_MS } },
      input: 1_767_225_845_000,
      output: 1_767_225_840_000,
    },
    {
      field: 'call.end_ms',
      written: { 'time-bucket': { ms: DAY_MS } },
      input: 1_767_225_845_000,
      output: 1_767_225_600_000,
    },
  ],
  schema: () => [
    under(
      'time-bucket',
      Type.Union([
        ...Object.keys(NAMED).map((name) => Type.Literal(name)),
        parameters({ ms: Type.Integer({ minimum: SECOND }) }),
      ]),
    ),
  ],
  fits: (field, source) => source === undefined && TIME_FIELDS.has(field.name),
  read: (_, given) => {
    const ms =
      typeof given !== 'string'
        ? only(given, ['ms'])?.['ms']
        : Object.hasOwn(NAMED, given)
          ? NAMED[given as keyof typeof NAMED]
          : null
    return whole(ms, SECOND, LONGEST_MS) ? { kind: 'time-bucket', ms } : null
  },
  text: ({ ms }) => ({
    form: `rounded down to the ${span(ms)}`.replace(/the (?=\d)/, ''),
    reveals: 'the time, no finer than that',
    reversible: BY_NOBODY,
  }),
  timeStepMs: ({ ms }) => ms,
  followsFrom: (one, other) => one.ms % other.ms === 0,
  compile: ({ ms }, { field }) => ({ shape: 'number', column: field.index, call: { of: stepBucket, constants: [ms] } }),
}
