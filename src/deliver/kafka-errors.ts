/** What an error of librdkafka means for a transaction. Codes are librdkafka's. */
import Kafka from 'node-rdkafka'

const { ERRORS } = Kafka.CODES

/** What must be done about it. */
export type FailureKind =
  /** Somebody else has taken the shard: stop. */
  | 'fenced'
  /** Kafka refuses a message, and would for ever. */
  | 'refused'
  /** Nobody knows what became of the transaction. */
  | 'unknown_outcome'
  /** Anything else: fill again. */
  | 'aborted'

export interface Failure {
  readonly kind: FailureKind
  readonly code: number
  /** librdkafka's text for the code: no message, no key. */
  readonly text: string
}

const FENCED = new Set<number>([ERRORS.ERR__FENCED, ERRORS.ERR_PRODUCER_FENCED, ERRORS.ERR_INVALID_PRODUCER_EPOCH])

const REFUSED = new Set<number>([
  ERRORS.ERR_MSG_SIZE_TOO_LARGE, ERRORS.ERR_INVALID_MSG_SIZE, ERRORS.ERR_INVALID_MSG, ERRORS.ERR_INVALID_TIMESTAMP, ERRORS.ERR_INVALID_RECORD,
  ERRORS.ERR_RECORD_LIST_TOO_LARGE, ERRORS.ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, ERRORS.ERR_POLICY_VIOLATION,
])

const UNKNOWN_OUTCOME = new Set<number>([ERRORS.ERR__TIMED_OUT, ERRORS.ERR__TRANSPORT, ERRORS.ERR_REQUEST_TIMED_OUT, ERRORS.ERR__ALL_BROKERS_DOWN])

// Delivery reports bring the text of an error and no code.
const REFUSED_TEXT = new Set([
  'message size too large', 'invalid message size', 'invalid message', 'invalid timestamp', 'broker failed to validate record',
  'message batch larger than configured server segment size', 'policy violation',
])

interface LibrdkafkaError { readonly code?: unknown, readonly message?: unknown, readonly isFatal?: unknown }

/** What a callback of librdkafka got, as an error to reject with. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

/** librdkafka's code, 0 when it has none. */
export function errorCode(error: unknown): number {
  const code = (error as LibrdkafkaError | null)?.code
  return typeof code === 'number' ? code : 0
}

/** Sorts an error of `produce`, `commitTransaction`, `initTransactions` … by what must be done. */
export function classify(error: unknown): Failure {
  const code = errorCode(error)
  // Messages of transactional calls may name topics; those of codes never hold more than the code's meaning.
  const message = (error as LibrdkafkaError | null)?.message
  const text = typeof message === 'string' ? message.slice(0, 300) : 'no text'
  if (FENCED.has(code)) return { kind: 'fenced', code, text }
  if (REFUSED.has(code)) return { kind: 'refused', code, text }
  if (UNKNOWN_OUTCOME.has(code)) return { kind: 'unknown_outcome', code, text }
  return { kind: 'aborted', code, text }
}

/** Whether a delivery report says that Kafka refuses this very message. */
export function isRefusalText(error: unknown): boolean {
  const message = (error as LibrdkafkaError | null)?.message
  return typeof message === 'string' && REFUSED_TEXT.has(message.toLowerCase().replace(/^broker: /, ''))
}

export const QUEUE_FULL = ERRORS.ERR__QUEUE_FULL
export const WRONG_STATE = ERRORS.ERR__STATE
export const FATAL = ERRORS.ERR__FATAL
