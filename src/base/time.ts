/**
 * Spans of time that a calendar has names for, in milliseconds of UTC: which has no summer time, so that each of its
 * days is as long.
 */
export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000
export const DAY_MS = 86_400_000
