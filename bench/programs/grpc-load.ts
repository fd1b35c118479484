// A PBX node under load: streams encoded batches to the gRPC port and waits until all are acknowledged, which is after
// their commit. Usage: grpc-load.js ADDRESS SOURCE FILE [CALLS-PER-BATCH RECORDS-PER-SECOND SECONDS]
// With a rate, batches leave on a clock and the time from sending to acknowledgement is reported, the first fifth left
// out.
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ChannelCredentials, Client } from '@grpc/grpc-js'
import { delimitedBodies, splitBody, varint } from '../generate.js'

const WARM_UP_SHARE = 0.2
const [address, source, file, perBatch, rate, forSeconds] = process.argv.slice(2)
const incarnation = randomUUID()

/** A `Batch`: source = 1, incarnation = 2, sequence = 3, then its records as they are. */
function batch(sequence: number, body: Buffer): Buffer {
  return Buffer.concat([
    Buffer.of(0x0a),
    varint(source.length),
    Buffer.from(source),
    Buffer.of(0x12),
    varint(incarnation.length),
    Buffer.from(incarnation),
    Buffer.of(0x18),
    varint(sequence),
    body,
  ])
}

/** An `Ack`: sequence = 1; absent = 0. */
function ackSequence(bytes: Buffer): number {
  let value = 0
  for (let i = 1, scale = 1; i < bytes.length; i++, scale *= 128) value += (bytes[i] & 0x7f) * scale
  return value
}

const paced = rate !== undefined
const bodies = [...delimitedBodies(readFileSync(file))]
const pieces = paced ? bodies.flatMap((body) => splitBody(body, Number(perBatch))) : bodies
const perMs = paced ? Number(rate) / Number(perBatch) / 1000 : 0
const count = paced ? Math.floor(Number(forSeconds) * 1000 * perMs) : pieces.length
// Again from the first when the calls are used up.
const batches = Array.from({ length: count }, (_, i) => batch(i + 1, pieces[i % pieces.length]))

const client = new Client(address, ChannelCredentials.createInsecure(), { 'grpc.max_send_message_length': -1 })
const stream = client.makeBidiStreamRequest('/minim.v1.Ingest/Deliver', (bytes: Buffer) => bytes, ackSequence)
let heard = (_sequence: number): void => undefined
const resume = new Promise<void>((resolve, reject) => {
  let first = true
  stream.on('data', (sequence: number) => {
    if (first) resolve()
    else heard(sequence)
    first = false
  })
  stream.on('error', (error) => {
    reject(error)
    console.error(error.message)
    process.exit(1)
  })
})
stream.write(batch(0, Buffer.alloc(0)))
await resume

const until = (sequence: number): Promise<void> =>
  new Promise((resolve) => {
    const before = heard
    heard = (acknowledged) => {
      before(acknowledged)
      if (acknowledged >= sequence) resolve()
    }
  })

const started = performance.now()
if (!paced) {
  const all = until(count)
  for (const bytes of batches)
    if (!stream.write(bytes)) await new Promise<void>((resolve) => stream.once('drain', resolve))
  await all
  console.log(JSON.stringify({ batches: count, seconds: (performance.now() - started) / 1000 }))
} else {
  const sentAt = new Float64Array(count + 1)
  const tookMs: number[] = []
  let acknowledged = 0
  heard = (sequence) => {
    const now = performance.now()
    while (acknowledged < sequence) {
      acknowledged++
      if (sentAt[acknowledged] - started > WARM_UP_SHARE * Number(forSeconds) * 1000)
        tookMs.push(now - sentAt[acknowledged])
    }
  }
  const all = until(count)
  let sent = 0
  await new Promise<void>((resolve) => {
    const clock = setInterval(() => {
      const now = performance.now()
      const due = Math.min(count, Math.floor((now - started) * perMs))
      // What is due counts from when it was due, so that a stall of this program or of the server is not hidden.
      while (sent < due) {
        sent++
        sentAt[sent] = started + sent / perMs
        stream.write(batches[sent - 1])
      }
      if (sent === count) {
        clearInterval(clock)
        resolve()
      }
    }, 1)
  })
  await all
  const seconds = (performance.now() - started) / 1000
  tookMs.sort((a, b) => a - b)
  const at = (share: number): number => tookMs[Math.min(tookMs.length - 1, Math.floor(tookMs.length * share))]
  console.log(
    JSON.stringify({ batches: count, seconds, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: tookMs[tookMs.length - 1] }),
  )
}
stream.end()
client.close()
