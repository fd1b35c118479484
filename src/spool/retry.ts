/** How long the spool waits before it tries again what failed: a write, or what delivery could not take. */
export const RETRY_MIN_MS = 500
export const RETRY_MAX_MS = 15_000
