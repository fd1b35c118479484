import Kafka from 'node-rdkafka'
import t from 'tap'
import { classify, errorCode, isNotYet, KafkaError } from '../../src/kafka/errors.js'

const { ERRORS } = Kafka.CODES

t.test('errors are sorted by what must be done', (t) => {
  const rows = [
    { code: ERRORS.ERR__FENCED, kind: 'fenced' },
    { code: ERRORS.ERR_INVALID_PRODUCER_EPOCH, kind: 'fenced' },
    { code: ERRORS.ERR_MSG_SIZE_TOO_LARGE, kind: 'refused' },
    { code: ERRORS.ERR_INVALID_TIMESTAMP, kind: 'refused' },
    { code: ERRORS.ERR_INVALID_RECORD, kind: 'refused' },
    { code: ERRORS.ERR__TIMED_OUT, kind: 'unknown_outcome' },
    { code: ERRORS.ERR__TRANSPORT, kind: 'unknown_outcome' },
    { code: ERRORS.ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, kind: 'aborted' },
    { code: 0, kind: 'aborted' },
  ]
  for (const { code, kind } of rows) t.equal(classify({ code, message: 'x' }).kind, kind, String(code))
  t.end()
})

t.test('anything can be thrown', (t) => {
  for (const thrown of [null, undefined, 'text', 7, {}, { code: 'EPIPE' }]) {
    t.equal(errorCode(thrown), 0)
    t.equal(classify(thrown).kind, 'aborted')
  }
  t.end()
})

t.test('an error of the protocol says its name and where, and is sorted by its code', (t) => {
  const error = new KafkaError(ERRORS.ERR_MSG_SIZE_TOO_LARGE, 'pbx.billing.call, partition 2')
  t.equal(error.message, 'msg size too large (pbx.billing.call, partition 2)')
  t.match(classify(error), { kind: 'refused', code: 10 })
  t.equal(classify(new KafkaError(ERRORS.ERR_PRODUCER_FENCED, 'EndTxn')).kind, 'fenced')
  t.equal(classify(new KafkaError(4321, 'x')).text, 'error 4321 (x)')
  t.ok(isNotYet(ERRORS.ERR_CONCURRENT_TRANSACTIONS))
  t.notOk(isNotYet(ERRORS.ERR_INVALID_TXN_STATE))
  t.end()
})
