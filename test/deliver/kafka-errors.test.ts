import Kafka from 'node-rdkafka'
import t from 'tap'
import { classify, errorCode, isRefusalText } from '../../src/deliver/kafka-errors.js'

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
    t.equal(isRefusalText(thrown), false)
  }
  t.end()
})

t.test('delivery reports have text only', (t) => {
  t.ok(isRefusalText({ message: 'Broker: Message size too large' }))
  t.ok(isRefusalText({ message: 'invalid timestamp' }))
  t.notOk(isRefusalText({ message: 'Local: Purged in queue' }))
  t.end()
})
