/** Names of minim's own topics, which no purpose's topic may have. */

/** What was taken, by stream: written in each transaction. */
export const LEDGER_TOPIC = 'minim.ledger'
/** Refused input, encrypted. */
export const QUARANTINE_TOPIC = 'minim.quarantine'
