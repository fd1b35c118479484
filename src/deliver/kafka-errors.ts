/** What an error of Kafka means for a transaction. Codes are the protocol's where they are positive, and librdkafka's own below 0. */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'

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

/** Whether the id's epoch is no longer this one. */
export function isFenced(code: number): boolean {
  return FENCED.has(code)
}

const REFUSED = new Set<number>([
  ERRORS.ERR_MSG_SIZE_TOO_LARGE, ERRORS.ERR_INVALID_MSG_SIZE, ERRORS.ERR_INVALID_MSG, ERRORS.ERR_INVALID_TIMESTAMP, ERRORS.ERR_INVALID_RECORD,
  ERRORS.ERR_RECORD_LIST_TOO_LARGE, ERRORS.ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, ERRORS.ERR_POLICY_VIOLATION,
])

const UNKNOWN_OUTCOME = new Set<number>([ERRORS.ERR__TIMED_OUT, ERRORS.ERR__TRANSPORT, ERRORS.ERR_REQUEST_TIMED_OUT, ERRORS.ERR__ALL_BROKERS_DOWN])

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


export const TRANSPORT = ERRORS.ERR__TRANSPORT
export const TIMED_OUT = ERRORS.ERR__TIMED_OUT
export const UNKNOWN_PARTITION = ERRORS.ERR_UNKNOWN_TOPIC_OR_PART
export const CONCURRENT_TRANSACTIONS = ERRORS.ERR_CONCURRENT_TRANSACTIONS
export const UNKNOWN_ID = ERRORS.ERR_INVALID_PRODUCER_ID_MAPPING
export const INVALID_TIMESTAMP = ERRORS.ERR_INVALID_TIMESTAMP
export const INVALID_TXN_STATE = ERRORS.ERR_INVALID_TXN_STATE

const NAMES = new Map<number, string>(Object.entries(ERRORS).map(([name, code]) => [code, name.replace(/^ERR_+/, '').toLowerCase().replaceAll('_', ' ')]))

/** An error of a broker, or of the way to it. */
export class KafkaError extends Error {
  /** @param what where: a request's name, a topic; never a part of a message */
  constructor(readonly code: number, what: string, options?: ErrorOptions) {
    super(`${NAMES.get(code) ?? `error ${code}`} (${what})`, options)
    this.name = 'KafkaError'
  }
}

const NOT_YET = new Set<number>([
  ERRORS.ERR_CONCURRENT_TRANSACTIONS, ERRORS.ERR_COORDINATOR_LOAD_IN_PROGRESS, ERRORS.ERR_COORDINATOR_NOT_AVAILABLE, ERRORS.ERR_NOT_COORDINATOR,
])

/** Whether asking again in a moment helps: a transaction is being completed, a coordinator is loading or moving. */
export function isNotYet(code: number): boolean {
  return NOT_YET.has(code)
}

/** Whether a new attempt can help. */
export function isRetryable(error: unknown): boolean {
  return !(error instanceof MinimError) || error.retryable
}

const FORBIDDEN = new Set<number>([
  ERRORS.ERR_TOPIC_AUTHORIZATION_FAILED, ERRORS.ERR_GROUP_AUTHORIZATION_FAILED, ERRORS.ERR_CLUSTER_AUTHORIZATION_FAILED,
  ERRORS.ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ERRORS.ERR_SASL_AUTHENTICATION_FAILED,
])

/** Whether the brokers answer, and do not let this user do it. */
export function isForbidden(error: unknown): boolean {
  return FORBIDDEN.has(errorCode(error))
}
