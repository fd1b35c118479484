/**
 * What an error of Kafka means for a transaction. Codes are the protocol's where they are positive, and librdkafka's
 * own below 0.
 */
import Kafka from 'node-rdkafka'
import { MinimError } from '../errors/catalogue.js'
import { CODE } from './codes.js'

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

const FENCED = new Set<number>([CODE.fenced, CODE.producerFenced, CODE.invalidProducerEpoch])

/** Whether the id's epoch is no longer this one. */
export function isFenced(code: number): boolean {
  return FENCED.has(code)
}

const REFUSED = new Set<number>([
  CODE.messageTooLarge,
  CODE.invalidMessageSize,
  CODE.invalidMessage,
  CODE.invalidTimestamp,
  CODE.invalidRecord,
  CODE.recordListTooLarge,
  CODE.unsupportedForMessageFormat,
  CODE.policyViolation,
])

const UNKNOWN_OUTCOME = new Set<number>([CODE.timedOut, CODE.transport, CODE.requestTimedOut, CODE.allBrokersDown])

interface LibrdkafkaError {
  readonly code?: unknown
  readonly message?: unknown
  readonly isFatal?: unknown
}

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

/** What librdkafka calls each code: the words of an error. */
const NAMES = new Map<number, string>(
  Object.entries(Kafka.CODES.ERRORS).map(([name, code]) => [
    code,
    name
      .replace(/^ERR_+/, '')
      .toLowerCase()
      .replaceAll('_', ' '),
  ]),
)

/** An error of a broker, or of the way to it. */
export class KafkaError extends Error {
  /** @param what where: a request's name, a topic; never a part of a message */
  constructor(
    readonly code: number,
    what: string,
    options?: ErrorOptions,
  ) {
    super(`${NAMES.get(code) ?? `error ${code}`} (${what})`, options)
    this.name = 'KafkaError'
  }
}

const NOT_YET = new Set<number>([
  CODE.concurrentTransactions,
  CODE.coordinatorLoading,
  CODE.coordinatorNotAvailable,
  CODE.notCoordinator,
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
  CODE.topicNotAllowed,
  CODE.groupNotAllowed,
  CODE.clusterNotAllowed,
  CODE.transactionalIdNotAllowed,
  CODE.authenticationFailed,
])

/** Whether the brokers answer, and do not let this user do it. */
export function isForbidden(error: unknown): boolean {
  return FORBIDDEN.has(errorCode(error))
}
