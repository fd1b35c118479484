/**
 * Kafka's error codes that mean something here, each once. Those above 0 are the protocol's
 * (https://kafka.apache.org/protocol#protocol_error_codes); those below 0 are librdkafka's, which reads, and are given
 * to failures of minim's own connections too.
 */
export const CODE = {
  /** No connection, or it was lost. */
  transport: -195,
  allBrokersDown: -187,
  timedOut: -185,
  fenced: -144,
  none: 0,
  offsetOutOfRange: 1,
  invalidMessage: 2,
  unknownPartition: 3,
  invalidMessageSize: 4,
  leaderNotAvailable: 5,
  notLeader: 6,
  requestTimedOut: 7,
  replicaNotAvailable: 9,
  messageTooLarge: 10,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  recordListTooLarge: 18,
  illegalGeneration: 22,
  unknownMember: 25,
  rebalanceInProgress: 27,
  topicNotAllowed: 29,
  groupNotAllowed: 30,
  clusterNotAllowed: 31,
  invalidTimestamp: 32,
  unsupportedForMessageFormat: 43,
  policyViolation: 44,
  invalidProducerEpoch: 47,
  invalidTransactionState: 48,
  /** The transactional id is not known (any more). */
  unknownId: 49,
  concurrentTransactions: 51,
  transactionalIdNotAllowed: 53,
  /** What was asked beside it failed, so this was not tried. */
  notAttempted: 55,
  storageError: 56,
  authenticationFailed: 58,
  fencedLeaderEpoch: 74,
  unknownLeaderEpoch: 75,
  offsetNotAvailable: 78,
  memberIdRequired: 79,
  fencedInstance: 82,
  invalidRecord: 87,
  unstableOffset: 88,
  producerFenced: 90,
} as const
