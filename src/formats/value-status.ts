/** What a value turned out to be when it was read, and what that costs its record. */
import type { Refusal } from '../batch/batch.js'

/** What a value turned out to be. */
export const FINE = 0
export const BAD_VALUE = 1
/** A time that is one, and that a record cannot have: before 1970, or in a unit that has more digits. */
export const BAD_TIME = 2
export type ValueStatus = typeof FINE | typeof BAD_VALUE | typeof BAD_TIME

/** What a record is refused for that has such a value; {@link FINE} is none. */
export const REASONS_BY_STATUS = [null, 'bad_value', 'clock'] as const satisfies readonly (Refusal | null)[]
