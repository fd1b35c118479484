// What a Node developer would write by hand: JSON.parse, createHmac behind an lru-cache, JSON.stringify, one produce for each purpose.
// Usage: hand-written-node.mjs FILE BROKERS TOPIC-PREFIX. Last line: {"records":N,"produced":N,"seconds":s}
import { createHmac } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import Kafka from 'node-rdkafka'
import { LRUCache } from 'lru-cache'

const [file, brokers, prefix] = process.argv.slice(2)

const PURPOSES = ['billing', 'quality', 'analytics'].map((purpose) => ({
  purpose,
  topic: `${prefix}.${purpose}`,
  key: createHmac('sha256', 'benchmark master key').update(purpose).digest(),
  tokens: new LRUCache({ max: 100_000 }),
  tag: {
    purpose, basis: 'eu-gdpr:A6-1-b', policy: '0123456789ab', epoch: purpose === 'billing' ? '2026' : '2026-11',
    region: 'UK', retention_days: 30, transfer: 'adequacy',
  },
}))

function token({ key, tokens }, value) {
  let made = tokens.get(value)
  if (made === undefined) {
    made = createHmac('sha256', key).update(value).digest().subarray(0, 16).toString('base64url')
    tokens.set(value, made)
  }
  return made
}

/** Dial string → E.164; extensions and 'anonymous' as they are. */
function e164(number) {
  if (number.startsWith('+')) return number
  if (number.startsWith('00')) return `+${number.slice(2)}`
  if (number.startsWith('0')) return `+44${number.slice(1)}`
  return number
}

const DURATIONS = [3600, 900, 300, 60, 30, 0]
const bucket = (seconds) => DURATIONS.find((bound) => seconds >= bound)

const FIELDS = {
  billing: (c) => ({
    direction: c.direction, start_ms: c.start_ms - (c.start_ms % 1000), billable_seconds: c.billable_seconds,
    disposition: c.disposition, trunk: c.trunk,
  }),
  quality: (c) => ({
    start_ms: c.start_ms - (c.start_ms % 60_000), duration_seconds: c.duration_seconds,
    disposition: c.disposition, hangup_cause: c.hangup_cause, codec: c.codec,
  }),
  analytics: (c) => ({
    direction: c.direction, start_ms: c.start_ms - (c.start_ms % 3_600_000),
    duration_seconds: bucket(c.duration_seconds), disposition: c.disposition,
  }),
}

const producer = new Kafka.Producer({
  'bootstrap.servers': brokers, 'enable.idempotence': true, 'compression.codec': 'lz4', 'linger.ms': 5,
  'queue.buffering.max.messages': 1_000_000, 'partitioner': 'murmur2_random',
})
await new Promise((resolve, reject) => producer.connect({}, (error) => (error ? reject(error) : resolve())))
producer.setPollInterval(50)

/** false: the queue is full for now. */
function produce(topic, value, key, timestamp) {
  try {
    producer.produce(topic, null, value, key, timestamp)
    return true
  } catch (error) {
    if (error.code !== Kafka.CODES.ERRORS.ERR__QUEUE_FULL) throw error
    return false
  }
}

const started = performance.now()
let records = 0
let produced = 0
for await (const line of createInterface({ input: createReadStream(file) })) {
  const call = JSON.parse(line)
  const calling = e164(call.calling)
  const called = e164(call.called)
  for (const purpose of PURPOSES) {
    const account = token(purpose, call.account)
    const fields = FIELDS[purpose.purpose](call)
    const message = {
      account, call_id: token(purpose, call.call_id), calling: token(purpose, calling), called: token(purpose, called),
      source_ip: token(purpose, call.source_ip), ...fields, tag: purpose.tag,
    }
    const value = Buffer.from(JSON.stringify(message))
    while (!produce(purpose.topic, value, account, fields.start_ms)) await new Promise((resolve) => setTimeout(resolve, 5))
    produced++
  }
  records++
}
await new Promise((resolve, reject) => producer.flush(60_000, (error) => (error ? reject(error) : resolve())))
const seconds = (performance.now() - started) / 1000
producer.disconnect()
console.log(JSON.stringify({ records, produced, seconds }))
