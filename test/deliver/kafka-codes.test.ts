import Kafka from 'node-rdkafka'
import t from 'tap'
import { CODE } from '../../src/kafka/codes.js'

const { ERRORS } = Kafka.CODES

/** What librdkafka, which has them from Kafka itself, calls each. */
const NAMES: Readonly<Record<keyof typeof CODE, keyof typeof ERRORS>> = {
  transport: 'ERR__TRANSPORT',
  allBrokersDown: 'ERR__ALL_BROKERS_DOWN',
  timedOut: 'ERR__TIMED_OUT',
  fenced: 'ERR__FENCED',
  none: 'ERR_NO_ERROR',
  offsetOutOfRange: 'ERR_OFFSET_OUT_OF_RANGE',
  invalidMessage: 'ERR_INVALID_MSG',
  unknownPartition: 'ERR_UNKNOWN_TOPIC_OR_PART',
  invalidMessageSize: 'ERR_INVALID_MSG_SIZE',
  leaderNotAvailable: 'ERR_LEADER_NOT_AVAILABLE',
  notLeader: 'ERR_NOT_LEADER_FOR_PARTITION',
  requestTimedOut: 'ERR_REQUEST_TIMED_OUT',
  replicaNotAvailable: 'ERR_REPLICA_NOT_AVAILABLE',
  messageTooLarge: 'ERR_MSG_SIZE_TOO_LARGE',
  coordinatorLoading: 'ERR_COORDINATOR_LOAD_IN_PROGRESS',
  coordinatorNotAvailable: 'ERR_COORDINATOR_NOT_AVAILABLE',
  notCoordinator: 'ERR_NOT_COORDINATOR',
  recordListTooLarge: 'ERR_RECORD_LIST_TOO_LARGE',
  illegalGeneration: 'ERR_ILLEGAL_GENERATION',
  unknownMember: 'ERR_UNKNOWN_MEMBER_ID',
  rebalanceInProgress: 'ERR_REBALANCE_IN_PROGRESS',
  topicNotAllowed: 'ERR_TOPIC_AUTHORIZATION_FAILED',
  groupNotAllowed: 'ERR_GROUP_AUTHORIZATION_FAILED',
  clusterNotAllowed: 'ERR_CLUSTER_AUTHORIZATION_FAILED',
  invalidTimestamp: 'ERR_INVALID_TIMESTAMP',
  unsupportedForMessageFormat: 'ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT',
  policyViolation: 'ERR_POLICY_VIOLATION',
  invalidProducerEpoch: 'ERR_INVALID_PRODUCER_EPOCH',
  invalidTransactionState: 'ERR_INVALID_TXN_STATE',
  unknownId: 'ERR_INVALID_PRODUCER_ID_MAPPING',
  concurrentTransactions: 'ERR_CONCURRENT_TRANSACTIONS',
  transactionalIdNotAllowed: 'ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
  notAttempted: 'ERR_OPERATION_NOT_ATTEMPTED',
  storageError: 'ERR_KAFKA_STORAGE_ERROR',
  authenticationFailed: 'ERR_SASL_AUTHENTICATION_FAILED',
  fencedLeaderEpoch: 'ERR_FENCED_LEADER_EPOCH',
  unknownLeaderEpoch: 'ERR_UNKNOWN_LEADER_EPOCH',
  offsetNotAvailable: 'ERR_OFFSET_NOT_AVAILABLE',
  memberIdRequired: 'ERR_MEMBER_ID_REQUIRED',
  fencedInstance: 'ERR_FENCED_INSTANCE_ID',
  invalidRecord: 'ERR_INVALID_RECORD',
  unstableOffset: 'ERR_UNSTABLE_OFFSET_COMMIT',
  producerFenced: 'ERR_PRODUCER_FENCED',
}

t.test('each code is the one that librdkafka has by that name, and stands once', (t) => {
  for (const [name, code] of Object.entries(CODE)) t.equal(code, ERRORS[NAMES[name as keyof typeof CODE]], name)
  t.equal(new Set(Object.values(CODE)).size, Object.keys(CODE).length)
  t.end()
})
