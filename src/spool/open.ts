/**
 * How many of the spool's environments are open in this process. Apart from the store, so that who asks does not load
 * LMDB.
 *
 * LMDB's thread is one of libuv's pool, and waits for this one in the middle of each transaction: `process.exit` joins
 * the pool, so that it never returns while a transaction is under way.
 */
let open = 0

export function environmentOpened(): void {
  open++
}

export function environmentClosed(): void {
  open--
}

/** Whether `process.exit` can be waited for. */
export function mayExit(): boolean {
  return open === 0
}
